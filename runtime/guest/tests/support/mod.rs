//! A host for components, as small as it can be: an engine, a gate that lets nothing private pass but loopback, and a
//! keeper in memory. Not a server: those are beside it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use causeway_guest::{Catalog, CompiledCache, Engine, Grants, GuestProvider, Held, Keeper, Space, State, Surroundings};
use causeway_http::{Gate, Policy};
use causeway_storage::{Error, ErrorKind, OpenError, Opening, Path, Provider, Remotes, Result, Settings, Storage};
use serde_json::{Map, Value as Json};

pub mod account;
pub mod rclone;
pub mod server;

/// Everything that components need around them, for one test.
pub struct House {
    pub catalog: Catalog,
    pub keeper: Arc<Memory>,
}

impl House {
    /// Nothing granted, loopback allowed.
    pub fn new() -> House {
        House::with(Policy::default(), Grants::new())
    }

    /// With further rules; loopback is allowed in any case.
    pub fn with(policy: Policy, grants: Grants) -> House {
        House::on(Arc::default(), policy, grants)
    }

    /// On what another house keeps: another process, or the same one after a restart.
    pub fn on(keeper: Arc<Memory>, mut policy: Policy, grants: Grants) -> House {
        policy.allow_private.push("127.0.0.0/8".parse().unwrap());
        let surroundings = Surroundings { gate: Gate::new(policy).unwrap(), keeper: keeper.clone() };
        House { catalog: Catalog::new(Engine::new().unwrap(), compiled(), grants, surroundings), keeper }
    }

    /// A provider of a component that was built before.
    pub async fn provider(&self, name: &str) -> Arc<GuestProvider> {
        self.catalog.open(&component(name)).await.unwrap()
    }
}

/// The file of a component that was built before.
pub fn component(name: &str) -> PathBuf {
    built(&components(), name, "./just components")
}

/// The file of a component that misbehaves; those lie beside the directory of the real ones.
pub fn hostile(name: &str) -> PathBuf {
    let directory = components().with_file_name("hostile");
    built(&directory, name, &format!("components/build.sh {} tests/hostile", directory.display()))
}

fn components() -> PathBuf {
    std::env::var_os("CAUSEWAY_COMPONENTS").map_or_else(|| cache().join("target/components"), PathBuf::from)
}

/// Where everything lies that is built or installed once.
fn cache() -> PathBuf {
    let given = std::env::var_os("CAUSEWAY_CACHE").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/causeway"))
}

fn built(directory: &FilePath, name: &str, how: &str) -> PathBuf {
    let path = directory.join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `{how}`", path.display());
    path
}

/// Compiled code is shared by all tests and kept between runs.
fn compiled() -> CompiledCache {
    static OPENING: Mutex<()> = Mutex::new(());
    let _one = OPENING.lock().unwrap();
    let name = format!("compiled-{}", std::env::current_exe().unwrap().file_name().unwrap().display());
    CompiledCache::open(&FilePath::new(env!("CARGO_TARGET_TMPDIR")).join(name)).unwrap()
}

/// Opens a backend of tenant `acme`.
pub async fn open(provider: &GuestProvider, given: Json) -> Result<Arc<dyn Storage>, OpenError> {
    open_as(provider, "acme", given).await
}

/// Opens a backend of a tenant.
pub async fn open_as(provider: &GuestProvider, tenant: &str, given: Json) -> Result<Arc<dyn Storage>, OpenError> {
    let given: Map<String, Json> = serde_json::from_value(given).unwrap();
    let settings = Settings::parse(&provider.descriptor().options, &given).map_err(OpenError::Settings)?;
    let backend = "0123456789abcdef".to_owned();
    provider.open(Opening { tenant: tenant.to_owned(), backend, settings, remotes: Arc::new(NoRemotes) }).await
}

pub fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// What kind of failure this is; panics where there is none.
pub fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().expect("this should have failed").kind
}

struct NoRemotes;

#[async_trait]
impl Remotes for NoRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>> {
        Err(Error::not_found(remote))
    }
}

type Values = Arc<Mutex<HashMap<String, Held>>>;
type Leases = Arc<Mutex<HashMap<String, (u64, Instant)>>>;

/// A keeper in memory. Its seal is a name in front: enough to see whether something was sealed, and as what.
#[derive(Default)]
pub struct Memory {
    values: Mutex<HashMap<String, (Values, Leases)>>,
}

impl Memory {
    /// Everything that was stored, of all tenants.
    pub fn all(&self) -> Vec<u8> {
        let values = self.values.lock().unwrap();
        values
            .values()
            .flat_map(|(of, _)| of.lock().unwrap().values().flat_map(|held| held.value.clone()).collect::<Vec<_>>())
            .collect()
    }
}

impl Keeper for Memory {
    fn state(&self, tenant: &str, backend: &str, space: Space) -> Arc<dyn State> {
        let key = format!("{tenant}/{backend}/{space:?}");
        let (values, leases) = self.values.lock().unwrap().entry(key).or_default().clone();
        Arc::new(MemoryState(values, leases))
    }

    fn seal(&self, tenant: &str, backend: &str, what: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok([format!("sealed {tenant} {backend} {what}:").as_bytes(), bytes].concat())
    }

    fn unseal(&self, tenant: &str, backend: &str, what: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        sealed.strip_prefix(format!("sealed {tenant} {backend} {what}:").as_bytes()).map(<[u8]>::to_vec)
    }
}

struct MemoryState(Values, Leases);

#[async_trait]
impl State for MemoryState {
    async fn get(&self, key: &str) -> Result<Option<Held>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8], _lives: Option<Duration>) -> Result<()> {
        let mut values = self.0.lock().unwrap();
        let change = values.get(key).map_or(0, |held| held.change) + 1;
        values.insert(key.to_owned(), Held { value: value.to_vec(), change });
        Ok(())
    }

    async fn swap(&self, key: &str, value: &[u8], lives: Option<Duration>, expected: Option<u64>) -> Result<bool> {
        if self.0.lock().unwrap().get(key).map(|held| held.change) != expected {
            return Ok(false);
        }
        self.set(key, value, lives).await.map(|()| true)
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }

    async fn take_lease(&self, name: &str, lives: Duration) -> Result<Option<u64>> {
        let mut leases = self.1.lock().unwrap();
        let (fence, until) = leases.get(name).copied().unwrap_or((0, Instant::now()));
        if until > Instant::now() {
            return Ok(None);
        }
        leases.insert(name.to_owned(), (fence + 1, Instant::now() + lives));
        Ok(Some(fence + 1))
    }

    async fn end_lease(&self, name: &str, fence: u64) -> Result<()> {
        if let Some(lease) = self.1.lock().unwrap().get_mut(name).filter(|lease| lease.0 == fence) {
            lease.1 = Instant::now();
        }
        Ok(())
    }
}

/// The lines that are logged, by any thread, while this runs. One at a time: what other tests log meanwhile is in there, too.
pub async fn logged(work: impl Future<Output = ()>) -> Vec<String> {
    static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    static ONCE: std::sync::Once = std::sync::Once::new();

    struct Lines;

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LINES.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    ONCE.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines).init());
    work.await;
    String::from_utf8_lossy(&LINES.lock().unwrap()).lines().map(str::to_owned).collect()
}
