//! A component, compiled, checked and linked as far as it can be without an instance; and one call of it.
//!
//! A call is a fresh instance: a store, the linked component brought to life in it, one exported function, and all of it
//! dropped. So nothing survives in guest memory, no call sees another tenant's data, and a trap costs one call.

use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Result};
use futures::future::BoxFuture;
use wasmtime::component::{Instance, InstancePre, Linker};
use wasmtime::{Store, UpdateDeadline};

use crate::backend::Backend;
use crate::bindings::exports::causeway::provider as exports;
use crate::engine::{
    AbortOnDrop, CALL_DEADLINE, Engine, Io, MOST_COMPUTING, MOST_COPIED_BYTES, MOST_SIGNING, MOST_WALKING,
    WALK_DEADLINE,
};
use crate::host::{self, Call};
use crate::meter::Meter;

/// A component that is ready to be called.
pub(crate) struct Component {
    engine: Arc<Engine>,
    pre: InstancePre<Call>,
    /// It brings a language's own runtime along.
    large: bool,
    pub(crate) setup: exports::setup::GuestIndices,
    pub(crate) reading: exports::reading::GuestIndices,
    pub(crate) browsing: Option<exports::browsing::GuestIndices>,
    pub(crate) walking: Option<exports::walking::GuestIndices>,
    pub(crate) changes: Option<exports::changes::GuestIndices>,
    pub(crate) versions: Option<exports::versions::GuestIndices>,
    pub(crate) decoding: Option<exports::decoding::GuestIndices>,
    pub(crate) writing: Option<exports::writing::GuestIndices>,
    pub(crate) removing: Option<exports::removing::GuestIndices>,
    pub(crate) directories: Option<exports::directories::GuestIndices>,
    pub(crate) purging: Option<exports::purging::GuestIndices>,
    pub(crate) moving: Option<exports::moving::GuestIndices>,
    pub(crate) copying: Option<exports::copying::GuestIndices>,
    pub(crate) times: Option<exports::times::GuestIndices>,
    pub(crate) room: Option<exports::room::GuestIndices>,
    pub(crate) jobs: Option<exports::jobs::GuestIndices>,
    pub(crate) session: Option<exports::session::GuestIndices>,
    pub(crate) links: Option<exports::links::GuestIndices>,
    pub(crate) cleaning: Option<exports::cleaning::GuestIndices>,
}

/// How long a call may compute, and last.
#[derive(Clone, Copy)]
struct Bounds {
    computing: Duration,
    deadline: Duration,
}

const CALL: Bounds = Bounds { computing: MOST_COMPUTING, deadline: CALL_DEADLINE };
const SIGN_IN: Bounds = Bounds { computing: MOST_SIGNING, deadline: CALL_DEADLINE };
const WALK: Bounds = Bounds { computing: MOST_WALKING, deadline: WALK_DEADLINE };

impl Component {
    /// Links a compiled component with what the host offers. Its imports have been checked before.
    pub(crate) fn link(
        engine: &Arc<Engine>,
        component: &wasmtime::component::Component,
        wasi: bool,
    ) -> Result<Component> {
        let faulty = |error: wasmtime::Error| {
            Error::new(ErrorKind::Invalid, "the component does not fit the contract").with_detail(format!("{error:#}"))
        };
        let mut linker = Linker::new(&engine.wasmtime);
        host::link(&mut linker).map_err(Error::internal)?;
        if wasi {
            wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(Error::internal)?;
        }
        let pre = linker.instantiate_pre(component).map_err(faulty)?;
        Ok(Component {
            engine: engine.clone(),
            large: wasi,
            setup: exports::setup::GuestIndices::new(&pre).map_err(faulty)?,
            reading: exports::reading::GuestIndices::new(&pre).map_err(faulty)?,
            browsing: exports::browsing::GuestIndices::new(&pre).ok(),
            walking: exports::walking::GuestIndices::new(&pre).ok(),
            changes: exports::changes::GuestIndices::new(&pre).ok(),
            versions: exports::versions::GuestIndices::new(&pre).ok(),
            decoding: exports::decoding::GuestIndices::new(&pre).ok(),
            writing: exports::writing::GuestIndices::new(&pre).ok(),
            removing: exports::removing::GuestIndices::new(&pre).ok(),
            directories: exports::directories::GuestIndices::new(&pre).ok(),
            purging: exports::purging::GuestIndices::new(&pre).ok(),
            moving: exports::moving::GuestIndices::new(&pre).ok(),
            copying: exports::copying::GuestIndices::new(&pre).ok(),
            times: exports::times::GuestIndices::new(&pre).ok(),
            room: exports::room::GuestIndices::new(&pre).ok(),
            jobs: exports::jobs::GuestIndices::new(&pre).ok(),
            session: exports::session::GuestIndices::new(&pre).ok(),
            links: exports::links::GuestIndices::new(&pre).ok(),
            cleaning: exports::cleaning::GuestIndices::new(&pre).ok(),
            pre,
        })
    }

    /// The threads that have sockets.
    pub(crate) fn io(&self) -> Io {
        self.engine.io.clone()
    }

    /// Calls an exported function in a fresh instance, on the component threads. What traps, loops or asks for too much
    /// ends as an error of kind `Internal`.
    pub(crate) async fn call<T, W>(self: &Arc<Self>, backend: Option<Arc<Backend>>, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<Call>, &'a Instance) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static,
    {
        self.call_metered(backend, Arc::default(), work).await
    }

    /// Calls `walk`: it reads through all that an account holds, so it may compute and last longer than any other call.
    pub(crate) async fn call_walk<T, W>(self: &Arc<Self>, backend: Arc<Backend>, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<Call>, &'a Instance) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static,
    {
        self.call_within(Some(backend), Arc::default(), WALK, work).await
    }

    /// Calls `sign-in`: it may have to make keys of a password, so it may compute longer than most.
    pub(crate) async fn call_sign_in<T, W>(self: &Arc<Self>, backend: Arc<Backend>, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<Call>, &'a Instance) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static,
    {
        self.call_within(Some(backend), Arc::default(), SIGN_IN, work).await
    }

    /// The same as `call`, and what it computes is shown by this meter.
    pub(crate) async fn call_metered<T, W>(
        self: &Arc<Self>,
        backend: Option<Arc<Backend>>,
        meter: Arc<Meter>,
        work: W,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<Call>, &'a Instance) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static,
    {
        self.call_within(backend, meter, CALL, work).await
    }

    async fn call_within<T, W>(
        self: &Arc<Self>,
        backend: Option<Arc<Backend>>,
        meter: Arc<Meter>,
        bounds: Bounds,
        work: W,
    ) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<Call>, &'a Instance) -> BoxFuture<'a, wasmtime::Result<T>> + Send + 'static,
    {
        let tenant = backend.as_ref().map_or("", |backend| backend.tenant.as_str());
        let slot = self.engine.slot(tenant, self.large).await?;
        let Some(threads) = &self.engine.threads else {
            return Err(Error::new(ErrorKind::Unavailable(None), "the runtime is stopping"));
        };
        let component = self.clone();
        let provider = backend.as_ref().map(|backend| backend.provider.clone()).unwrap_or_default();
        let counted = meter.clone();
        let run = async move {
            let _slot = slot;
            let mut store = component.store(backend, meter, bounds.computing);
            let instance = component.pre.instantiate_async(&mut store).await?;
            work(&mut store, &instance).await
        };
        let running = AbortOnDrop(threads.spawn(tokio::time::timeout(bounds.deadline, counted.count(run))));
        match running.await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => {
                metrics::counter!("causeway_component_traps_total", "provider" => provider.clone()).increment(1);
                tracing::warn!(%provider, error = %format!("{error:#}"), "a component's call failed");
                let what = "the provider's component failed; the call was ended and nothing else is affected";
                Err(Error::new(ErrorKind::Internal, what).with_detail(format!("{error:#}")))
            }
            Ok(Err(_elapsed)) => Err(Error::new(ErrorKind::Unavailable(None), "the provider did not answer in time")),
            Err(error) => Err(Error::internal(error)),
        }
    }

    fn store(&self, backend: Option<Arc<Backend>>, meter: Arc<Meter>, computing: Duration) -> Store<Call> {
        let mut store = Store::new(&self.engine.wasmtime, Call::new(backend, self.large));
        store.limiter(|call| &mut call.limits);
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(MOST_COPIED_BYTES);
        store.epoch_deadline_callback(move |_| {
            if meter.spent() > computing {
                return Err(wasmtime::Error::msg(format!(
                    "the call used up its {} ms of computing time",
                    computing.as_millis()
                )));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}
