//! The engine that runs components: its limits, its threads and its clock.
//!
//! Components run on threads of their own, never on those that answer the kernel or REST: one that computes keeps only
//! other components waiting, and every millisecond it makes way for them. A thread beside them counts those milliseconds
//! (an epoch); a call that has used up its share ends with a trap. Instances live in a pool of slots that are reserved
//! once, so that a fresh instance per call costs tens of microseconds.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Result};
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// How often a computing component makes way and its time is counted.
const TICK: Duration = Duration::from_millis(1);

/// Computing that one call may use, the host's own part in it included; waiting does not count. Plans take tens of
/// microseconds, a page of 1,000 entries a few milliseconds; what takes longer than this is a loop.
pub(crate) const MOST_COMPUTING: Duration = Duration::from_millis(50);

/// Bytes that one call into the host, or one answer, may make the host copy: twice what a small instance can hold. Without
/// this, a list whose items overlap would cost the host a thousand times what it costs the component.
pub(crate) const MOST_COPIED_BYTES: usize = 2 * SMALL_MEMORY_BYTES;

/// A call as a whole must end after this, however long it waits for the provider: the 64 requests that it may send are
/// bounded one by one.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(120);

/// Computing that signing in may use: whoever makes keys of a password does so slowly on purpose (100,000 rounds of PBKDF2). A backend
/// signs in once at a time and rarely, so this is no way to compute much.
pub(crate) const MOST_SIGNING: Duration = Duration::from_secs(5);

/// Computing that one walk through a whole account may use: 1,000,000 entries, each deciphered, take about 20 s.
pub(crate) const MOST_WALKING: Duration = Duration::from_secs(60);

/// A walk through a whole account must end after this.
pub(crate) const WALK_DEADLINE: Duration = Duration::from_secs(600);

/// Memory of one instance, of components built for this contract alone. An answer may have 8 MiB, so half of it does.
pub(crate) const SMALL_MEMORY_BYTES: usize = 16 << 20;

/// Memory of one instance that brings a language's own runtime along (it imports WASI).
pub(crate) const LARGE_MEMORY_BYTES: usize = 128 << 20;

/// Calls at once of small components: with the memory above, 4 GiB if every one of them fills its own.
const SMALL_CALLS: usize = 256;

/// Calls at once of large components: 1 GiB.
const LARGE_CALLS: usize = 8;

/// Calls at once of one tenant, so that none can fill the pool.
const TENANT_CALLS: usize = 64;

/// Tenants whose calls are counted; one that was silent for long enough starts from nothing again.
const TENANTS: usize = 10_000;

/// The engine, its threads and its slots: one per process.
pub struct Engine {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) threads: Option<tokio::runtime::Runtime>,
    pub(crate) io: Io,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    tenants: Mutex<LruCache<String, Arc<Semaphore>>>,
    clock: Arc<Clock>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Starts the engine. The runtime that it is called on is the one whose threads have sockets.
    pub fn new() -> Result<Arc<Engine>> {
        let wasmtime = wasmtime::Engine::new(&config()).map_err(Error::internal)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(cores.saturating_sub(1).max(1))
            .thread_name("component")
            .enable_time()
            .build()?;
        let clock = Arc::new(Clock::default());
        let (ticking, ticked) = (clock.clone(), wasmtime.clone());
        std::thread::Builder::new().name("component-clock".into()).spawn(move || {
            while ticking.wait_for_calls() {
                std::thread::sleep(TICK);
                ticked.increment_epoch();
            }
        })?;
        Ok(Arc::new(Engine {
            wasmtime,
            threads: Some(threads),
            io: Io(tokio::runtime::Handle::try_current().map_err(Error::internal)?),
            small: Arc::new(Semaphore::new(SMALL_CALLS)),
            large: Arc::new(Semaphore::new(LARGE_CALLS)),
            tenants: Mutex::new(LruCache::new(
                std::num::NonZeroUsize::new(TENANTS).unwrap_or(std::num::NonZeroUsize::MIN),
            )),
            clock,
        }))
    }

    /// Waits for a slot: first among the tenant's own calls, then among everyone's, in the order of arrival.
    pub(crate) async fn slot(&self, tenant: &str, large: bool) -> Result<Slot> {
        let of_tenant = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.get_or_insert(tenant.to_owned(), || Arc::new(Semaphore::new(TENANT_CALLS))).clone()
        };
        let closed = |_| Error::new(ErrorKind::Unavailable(None), "the runtime is stopping");
        let of_tenant = of_tenant.acquire_owned().await.map_err(closed)?;
        let of_all = if large { self.large.clone() } else { self.small.clone() };
        let of_all = of_all.acquire_owned().await.map_err(closed)?;
        Ok(Slot { _of_tenant: of_tenant, _of_all: of_all, _timed: Timed::new(&self.clock) })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.clock.stop();
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// The threads that have sockets and talk to the database; component threads have neither.
#[derive(Clone, Debug)]
pub(crate) struct Io(tokio::runtime::Handle);

impl Io {
    /// Runs something there, and ends it when nobody waits for it any more.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        AbortOnDrop(self.0.spawn(work)).await.map_err(Error::internal)?
    }

    /// Runs something there to its end, whoever still waits for it.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.0.spawn(work).await.map_err(Error::internal)?
    }
}

/// A task that ends when nobody waits for it any more.
pub(crate) struct AbortOnDrop<T>(pub(crate) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = std::result::Result<T, tokio::task::JoinError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}

/// The right to run one call.
#[derive(Debug)]
pub(crate) struct Slot {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    _timed: Timed,
}

/// What the clock has to measure: it stands still while no call runs, so that an idle program is idle.
#[derive(Debug, Default)]
struct Clock {
    calls: Mutex<Calls>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    running: usize,
    stopped: bool,
}

impl Clock {
    /// Waits until a call runs; false once the engine is gone.
    fn wait_for_calls(&self) -> bool {
        let idle = |calls: &mut Calls| calls.running == 0 && !calls.stopped;
        let calls = self.wake.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        !calls.stopped
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // A number and a flag.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that the clock measures, until it is dropped.
#[derive(Debug)]
struct Timed(Arc<Clock>);

impl Timed {
    fn new(clock: &Arc<Clock>) -> Timed {
        let mut calls = clock.lock();
        calls.running += 1;
        if calls.running == 1 {
            clock.wake.notify_one();
        }
        drop(calls);
        Timed(clock.clone())
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

/// What decides how a component is compiled and run; compiled code belongs to exactly one such configuration.
pub(crate) fn config() -> Config {
    let calls = (SMALL_CALLS + LARGE_CALLS) as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * 4)
        .total_memories(calls)
        .total_tables(calls * 2)
        .total_stacks(calls)
        .max_memories_per_component(1)
        .max_core_instances_per_component(8)
        .max_tables_per_component(4)
        .max_memory_size(LARGE_MEMORY_BYTES)
        .table_elements(20_000)
        // What an instance of the usual size touched is wiped in place and kept: giving pages back and getting them again
        // costs more than the plan that touched them. Where the kernel tells which pages those are, only they are wiped.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(16 * 1024)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(512 * 1024)
        .async_stack_size(1 << 20)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
