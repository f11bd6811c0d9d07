//! One question to a component, asked again while its failure is a passing one. Which question, and what the answer means,
//! is not known here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_storage::{Error, ErrorKind, Result};
use futures::future::BoxFuture;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::backend::Backend;
use crate::bindings::causeway::provider::types;
use crate::component::Component;
use crate::convert;
use crate::host::Call;
use crate::signing;

/// How often a call is made again after a passing failure.
const TRIES: u32 = 5;

/// The first pause between two tries, doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// No new try begins after this: whoever waits has a deadline of its own, 10 s for most.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) type Answered<T> = wasmtime::Result<Result<T, types::Error>>;

/// A component and the backend that it is asked about.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) component: Arc<Component>,
    pub(super) backend: Arc<Backend>,
    /// What is looked at before each try, and prevents it where it fails.
    pub(super) before: Option<Before>,
}

/// A look at what is there.
pub(super) type Before = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Calls one exported function, again while its failure is a passing one: `ask!(asking, indices, (name), |guest, store|
/// guest.call_it(store, &name))`. What stands in the parentheses is cloned for every try. Gives the number of tries and the
/// last answer.
macro_rules! ask {
    ($asking:expr, $indices:expr, ($($captured:ident),*), |$guest:ident, $store:ident| $call:expr) => {{
        let mut tries = $crate::storage::asking::Tries::new();
        loop {
            let indices = $indices.clone();
            $(let $captured = $captured.clone();)*
            let asked = $asking.ask(move |store: &mut wasmtime::Store<$crate::host::Call>, instance: &wasmtime::component::Instance| {
                let loaded = indices.load(&mut *store, instance);
                Box::pin(async move {
                    let ($guest, $store) = (loaded?, store);
                    $call.await
                })
            });
            let answered = match tries.ready(&$asking).await {
                Ok(()) => asked.await,
                Err(error) => Err(error),
            };
            match answered {
                Err(error) => {
                    if let Err(error) = tries.again(&$asking, error).await {
                        break (tries.made, Err(error));
                    }
                }
                done => {
                    $asking.backend.signing.worked();
                    break (tries.made, done);
                }
            }
        }
    }};
}
pub(super) use ask;

impl Asking {
    /// One call of the component.
    pub(super) async fn ask<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<Call>, &'a Instance) -> BoxFuture<'a, Answered<T>> + Send + 'static,
    {
        self.component.call(Some(self.backend.clone()), work).await?.map_err(convert::error)
    }
}

/// Counts the tries of a call, pauses between them, and renews the sign-in once.
pub(super) struct Tries {
    /// Calls that went out and were not refused for their credential.
    pub(super) made: u32,
    /// The generation of the sign-in that the last call went out with; none if it did not go out.
    seen: Option<u64>,
    renewed: bool,
    paused: u32,
    began: Instant,
    pause: Duration,
}

impl Tries {
    pub(super) fn new() -> Tries {
        Tries { made: 0, seen: None, renewed: false, paused: 0, began: Instant::now(), pause: PAUSE }
    }

    /// Makes sure that the backend is signed in.
    pub(super) async fn ready(&mut self, asking: &Asking) -> Result<()> {
        self.seen = None;
        let seen = signing::ready(&asking.component, &asking.backend).await?;
        if let Some(before) = &asking.before
            && let Err(error) = before().await
        {
            // That it could not be looked is no try. What was seen is the answer to one.
            self.seen = Some(seen).filter(|_| !error.is_passing() && error.kind != ErrorKind::Unauthenticated);
            return Err(error);
        }
        self.seen = Some(seen);
        Ok(())
    }

    /// Waits until another try makes sense, or signs in anew where that helps; gives the error back if nothing does.
    pub(super) async fn again(&mut self, asking: &Asking, error: Error) -> Result<()> {
        match self.seen {
            // Refused before anything happened: this was no try.
            Some(seen) if error.kind == ErrorKind::Unauthenticated && !self.renewed => {
                self.renewed = true;
                return signing::renew(&asking.component, &asking.backend, seen, error).await.map(|_| ());
            }
            Some(_) => self.made += 1,
            None => {}
        }
        self.pause(error).await
    }

    async fn pause(&mut self, error: Error) -> Result<()> {
        let wait = match error.kind {
            ErrorKind::RateLimited(hint) | ErrorKind::Unavailable(hint) => hint.unwrap_or(self.pause).max(self.pause),
            _ => return Err(error),
        };
        if self.paused >= TRIES - 1 || self.began.elapsed() + wait > PATIENCE {
            return Err(error);
        }
        self.paused += 1;
        tokio::time::sleep(wait).await;
        self.pause *= 2;
        Ok(())
    }
}
