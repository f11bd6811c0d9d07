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
}

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
            match asked.await {
                Err(error) => {
                    if let Err(error) = tries.pause(error).await {
                        break (tries.made, Err(error));
                    }
                }
                done => break (tries.made, done),
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

/// Counts the tries of a call, and pauses between them.
pub(super) struct Tries {
    pub(super) made: u32,
    began: Instant,
    pause: Duration,
}

impl Tries {
    pub(super) fn new() -> Tries {
        Tries { made: 0, began: Instant::now(), pause: PAUSE }
    }

    /// Waits until another try makes sense; gives the error back if none does.
    pub(super) async fn pause(&mut self, error: Error) -> Result<()> {
        self.made += 1;
        let wait = match error.kind {
            ErrorKind::RateLimited(hint) | ErrorKind::Unavailable(hint) => hint.unwrap_or(self.pause).max(self.pause),
            _ => return Err(error),
        };
        if self.made >= TRIES || self.began.elapsed() + wait > PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        self.pause *= 2;
        Ok(())
    }
}
