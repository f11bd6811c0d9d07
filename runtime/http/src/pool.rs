//! Connections at rest, per tenant and origin.
//!
//! An HTTP/1.1 connection rests here between two requests; an HTTP/2 connection is shared by all requests of its tenant
//! and origin. Limits: 16 resting connections per origin, 1,024 in all (each holds a file descriptor), 60 s of rest (less
//! than most servers wait before they hang up). A resting connection on which anything arrived, be it a byte or its end,
//! is thrown away and never asked: a byte that came unasked must not be taken for the beginning of the next answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::time::Instant;

use crate::origin::Target;
use crate::wire::SentBody;

const MOST_RESTING_PER_ORIGIN: usize = 16;
const MOST_RESTING: usize = 1024;
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Whose connection it is, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    tenant: String,
    origin: String,
    http1: bool,
    public_only: bool,
}

impl PoolKey {
    pub(crate) fn new(tenant: &str, target: &Target, http1: bool, public_only: bool) -> PoolKey {
        PoolKey { tenant: tenant.to_owned(), origin: target.origin(), http1, public_only }
    }
}

/// An HTTP/1.1 connection that carries one request at a time.
pub(crate) struct Single {
    pub(crate) sender: http1::SendRequest<SentBody>,
    /// The same socket, to look at without reading.
    pub(crate) socket: std::net::TcpStream,
}

impl Single {
    /// Whether nothing came while it rested.
    fn is_silent(&self) -> bool {
        let peeked = self.socket.peek(&mut [0]);
        !self.sender.is_closed() && peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// What a pool has for a request.
pub(crate) enum Pooled {
    Single(Single),
    Shared(http2::SendRequest<SentBody>),
}

/// All pools of the process.
#[derive(Clone, Default)]
pub(crate) struct Pools(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pools: HashMap<PoolKey, Pool>,
    resting: usize,
    /// Whether a task looks for connections that have rested too long.
    swept: bool,
}

#[derive(Default)]
struct Pool {
    resting: Vec<(Instant, Single)>,
    shared: Option<(Instant, http2::SendRequest<SentBody>)>,
}

impl Pools {
    /// A connection that is fit for use.
    pub(crate) fn take(&self, key: &PoolKey) -> Option<Pooled> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = state.pools.get_mut(key)?;
        if let Some((used, shared)) = &mut pool.shared {
            if !shared.is_closed() {
                *used = Instant::now();
                return Some(Pooled::Shared(shared.clone()));
            }
            pool.shared = None;
        }
        let mut dropped = 0;
        let mut found = None;
        // The one used last is the likeliest to live.
        while let Some((since, single)) = pool.resting.pop() {
            dropped += 1;
            if since.elapsed() < LONGEST_REST && single.sender.is_ready() && single.is_silent() {
                found = Some(Pooled::Single(single));
                break;
            }
        }
        state.resting = state.resting.saturating_sub(dropped);
        found
    }

    /// Lays a connection to rest.
    pub(crate) fn rest(&self, key: PoolKey, single: Single) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.resting >= MOST_RESTING {
            return;
        }
        let pool = state.pools.entry(key).or_default();
        if pool.resting.len() >= MOST_RESTING_PER_ORIGIN {
            return;
        }
        pool.resting.push((Instant::now(), single));
        state.resting += 1;
        self.sweep_later(&mut state);
    }

    /// Shares a connection from now on.
    pub(crate) fn share(&self, key: PoolKey, shared: http2::SendRequest<SentBody>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.pools.entry(key).or_default().shared = Some((Instant::now(), shared));
        self.sweep_later(&mut state);
    }

    /// Sees to it that what rests too long is closed. The task ends when nothing is left.
    fn sweep_later(&self, state: &mut State) {
        if std::mem::replace(&mut state.swept, true) {
            return;
        }
        let pools = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LONGEST_REST / 2).await;
                let Some(pools) = pools.upgrade() else { return };
                let mut state = pools.lock().unwrap_or_else(PoisonError::into_inner);
                state.sweep();
                if state.pools.is_empty() {
                    state.swept = false;
                    return;
                }
            }
        });
    }
}

impl State {
    fn sweep(&mut self) {
        self.pools.retain(|_, pool| {
            pool.resting.retain(|(since, single)| since.elapsed() < LONGEST_REST && single.is_silent());
            pool.shared.take_if(|(used, shared)| shared.is_closed() || used.elapsed() >= LONGEST_REST);
            !pool.resting.is_empty() || pool.shared.is_some()
        });
        self.resting = self.pools.values().map(|pool| pool.resting.len()).sum();
    }
}
