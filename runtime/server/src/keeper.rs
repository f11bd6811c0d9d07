//! What components keep, in the registry. The guest host knows tenants and backends by name; the registry wants a tenant
//! that it made itself, so those in use are remembered here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use causeway_guest as guest;
use causeway_registry::{
    BackendId, Error as RegistryError, Registry, STATE_KEY_BYTES, STATE_KEYS, STATE_VALUE_BYTES, Space, Tenant,
};
use causeway_storage::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

/// The registry as the guest host sees it. A backend on trial goes by its id, a plus and a number.
pub(crate) struct Keeper {
    registry: Registry,
    tenants: Mutex<HashMap<String, Tenant>>,
    trials: Mutex<(u64, HashMap<u64, Weak<Trial>>)>,
}

impl Keeper {
    pub(crate) fn new(registry: Registry) -> Keeper {
        Keeper { registry, tenants: Mutex::default(), trials: Mutex::default() }
    }

    /// Begins a trial of a backend: under which name it is to be opened, and what it keeps. It ends when that is dropped.
    pub(crate) fn begin_trial(&self, backend: &BackendId) -> (String, Arc<Trial>) {
        let trial = Arc::new(Trial::default());
        let mut trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, running) = &mut *trials;
        *last += 1;
        running.retain(|_, trial| trial.strong_count() > 0);
        running.insert(*last, Arc::downgrade(&trial));
        (format!("{backend}+{last}"), trial)
    }

    /// The id of a backend, and its trial where it is on one. A trial that has ended keeps what nobody will ask for.
    fn trial<'a>(&self, backend: &'a str) -> (&'a str, Option<Arc<Trial>>) {
        let Some((id, number)) = backend.split_once('+') else { return (backend, None) };
        let trials = self.trials.lock().unwrap_or_else(PoisonError::into_inner);
        let running = number.parse().ok().and_then(|number| trials.1.get(&number)?.upgrade());
        (id, Some(running.unwrap_or_default()))
    }

    /// Remembers a tenant, before one of its backends is opened.
    pub(crate) fn admit(&self, tenant: &Tenant) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.name().to_owned()).or_insert_with(|| tenant.clone());
    }

    fn whose(&self, tenant: &str, backend: &str) -> Option<(Tenant, BackendId)> {
        let (backend, _) = self.trial(backend);
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Some((tenants.get(tenant)?.clone(), BackendId::parse(backend)?))
    }
}

impl guest::Keeper for Keeper {
    fn state(&self, tenant: &str, backend: &str, space: guest::Space) -> Arc<dyn guest::State> {
        let space = match space {
            guest::Space::State => Space::State,
            guest::Space::Slot => Space::Slot,
            guest::Space::Host => Space::Host,
        };
        let (_, trial) = self.trial(backend);
        Arc::new(State { registry: self.registry.clone(), whose: self.whose(tenant, backend), space, trial })
    }

    fn seal(&self, tenant: &str, backend: &str, what: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let (tenant, backend) = self.whose(tenant, backend).ok_or_else(unknown)?;
        self.registry.seal(&tenant, &backend, what, bytes).map_err(Error::internal)
    }

    fn unseal(&self, tenant: &str, backend: &str, what: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (tenant, backend) = self.whose(tenant, backend)?;
        self.registry.unseal(&tenant, &backend, what, sealed).map(|bytes| bytes.to_vec())
    }
}

fn unknown() -> Error {
    Error::internal("a component of a tenant that was never admitted")
}

/// One backend's values in one space.
struct State {
    registry: Registry,
    whose: Option<(Tenant, BackendId)>,
    space: Space,
    /// Where what a trial keeps lies until it is decided.
    trial: Option<Arc<Trial>>,
}

impl State {
    fn whose(&self) -> Result<&(Tenant, BackendId)> {
        self.whose.as_ref().ok_or_else(unknown)
    }
}

#[async_trait]
impl guest::State for State {
    async fn get(&self, key: &str) -> Result<Option<guest::Held>> {
        if let Some(kept) = self.trial.as_ref().and_then(|trial| trial.get(self.space, key)) {
            return Ok(kept);
        }
        let (tenant, backend) = self.whose()?;
        let held = self.registry.held(tenant, backend, self.space, key).await.map_err(explain)?;
        Ok(held.map(|held| guest::Held { value: held.value.to_vec(), change: held.change }))
    }

    async fn set(&self, key: &str, value: &[u8], lives: Option<Duration>) -> Result<()> {
        if let Some(trial) = &self.trial {
            return trial.put(self.space, key, Some((value, lives)));
        }
        let (tenant, backend) = self.whose()?;
        match self.registry.hold(tenant, backend, self.space, key, value, lives.map(ms)).await {
            // Deleted meanwhile: there is nobody to keep it for.
            Ok(_) | Err(RegistryError::Missing) => Ok(()),
            Err(error) => Err(explain(error)),
        }
    }

    async fn swap(&self, key: &str, value: &[u8], lives: Option<Duration>, expected: Option<u64>) -> Result<bool> {
        if let Some(trial) = &self.trial {
            let found = self.get(key).await?.map(|held| held.change);
            return if found == expected {
                trial.put(self.space, key, Some((value, lives))).map(|()| true)
            } else {
                Ok(false)
            };
        }
        let (tenant, backend) = self.whose()?;
        match self.registry.swap(tenant, backend, self.space, key, value, lives.map(ms), expected).await {
            Ok(change) => Ok(change.is_some()),
            Err(RegistryError::Missing) => Ok(expected.is_none()),
            Err(error) => Err(explain(error)),
        }
    }

    async fn remove(&self, key: &str) -> Result<()> {
        if let Some(trial) = &self.trial {
            return trial.put(self.space, key, None);
        }
        let (tenant, backend) = self.whose()?;
        self.registry.drop_held(tenant, backend, self.space, key).await.map(|_| ()).map_err(explain)
    }

    async fn take_lease(&self, name: &str, lives: Duration) -> Result<Option<u64>> {
        let (tenant, backend) = self.whose()?;
        match self.registry.take_lease(tenant, backend, name, ms(lives)).await {
            Ok(fence) => Ok(fence),
            // A backend that is not stored yet is nobody else's.
            Err(RegistryError::Missing) => Ok(Some(0)),
            Err(error) => Err(explain(error)),
        }
    }

    async fn end_lease(&self, name: &str, fence: u64) -> Result<()> {
        let (tenant, backend) = self.whose()?;
        self.registry.end_lease(tenant, backend, name, fence).await.map(|_| ()).map_err(explain)
    }
}

/// What a backend on trial keeps: laid over what is stored, and not stored before the trial is won. So a token that was
/// obtained with settings that are refused in the end replaces none that works.
#[derive(Default)]
pub(crate) struct Trial {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// None where a key was removed.
    values: HashMap<(Space, String), Option<Value>>,
    changes: u64,
}

struct Value {
    bytes: Zeroizing<Vec<u8>>,
    lives: Option<Duration>,
    change: u64,
}

/// Numbers of a trial's changes begin here: above all that are stored.
const FIRST_CHANGE: u64 = 1 << 62;

impl Trial {
    /// What this trial kept: none if it did not touch the key.
    fn get(&self, space: Space, key: &str) -> Option<Option<guest::Held>> {
        let kept = self.kept();
        let value = kept.values.get(&(space, key.to_owned()))?;
        Some(value.as_ref().map(|value| guest::Held { value: value.bytes.to_vec(), change: value.change }))
    }

    fn put(&self, space: Space, key: &str, value: Option<(&[u8], Option<Duration>)>) -> Result<()> {
        if key.is_empty()
            || key.len() > STATE_KEY_BYTES
            || value.is_some_and(|(bytes, _)| bytes.len() > STATE_VALUE_BYTES)
        {
            return Err(Error::new(ErrorKind::QuotaExceeded, "a key has 1 to 256 bytes, a value at most 64 KiB"));
        }
        let mut kept = self.kept();
        kept.changes += 1;
        let change = FIRST_CHANGE + kept.changes;
        let value = value.map(|(bytes, lives)| Value { bytes: Zeroizing::new(bytes.to_vec()), lives, change });
        kept.values.insert((space, key.to_owned()), value);
        if kept.values.len() > 3 * STATE_KEYS {
            return Err(Error::new(ErrorKind::QuotaExceeded, "a backend keeps at most 1,000 keys"));
        }
        Ok(())
    }

    /// Stores what was kept. A key that fails leaves those before it stored: they are no worse alone.
    pub(crate) async fn store(&self, registry: &Registry, tenant: &Tenant, backend: &BackendId) -> Result<()> {
        let values = std::mem::take(&mut self.kept().values);
        for ((space, key), value) in values {
            let done = match value {
                Some(Value { bytes, lives, .. }) => {
                    registry.hold(tenant, backend, space, &key, &bytes, lives.map(ms)).await.map(|_| ())
                }
                None => registry.drop_held(tenant, backend, space, &key).await.map(|_| ()),
            };
            done.map_err(explain)?;
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is under this lock is changed in single steps.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn explain(error: RegistryError) -> Error {
    match error {
        RegistryError::Limit(limit) => Error::new(ErrorKind::QuotaExceeded, limit),
        error => Error::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use causeway_guest::Keeper as _;
    use causeway_registry::{Config, Database, NewBackend};
    use causeway_storage::Settings;

    use super::*;

    async fn stored() -> (tempfile::TempDir, Registry, Keeper, Tenant, BackendId) {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(directory.path().join("db"));
        let registry = Registry::open(&Config { database, key_file: directory.path().join("key") }).await.unwrap();
        let tenant = registry.operator().create_tenant("default").await.unwrap();
        let id = BackendId::random().unwrap();
        let (provider, settings) = ("p".to_owned(), Settings::default());
        let new = NewBackend { id: id.clone(), provider, name: None, settings, account: None, connected: true };
        registry.create_backend(&tenant, &new).await.unwrap();
        let keeper = Keeper::new(registry.clone());
        keeper.admit(&tenant);
        (directory, registry, keeper, tenant, id)
    }

    async fn text(state: &Arc<dyn guest::State>, key: &str) -> Option<String> {
        state.get(key).await.unwrap().map(|held| String::from_utf8(held.value).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_trial_keeps_is_seen_by_nobody_else_until_it_is_stored() {
        let (_directory, registry, keeper, tenant, id) = stored().await;
        let live = keeper.state("default", id.as_str(), guest::Space::Host);
        live.set("token", b"old", None).await.unwrap();
        live.set("note", b"n", None).await.unwrap();
        let (name, trial) = keeper.begin_trial(&id);
        let tried = keeper.state("default", &name, guest::Space::Host);
        assert_eq!(text(&tried, "token").await.as_deref(), Some("old"), "it begins with what is stored");
        let change = tried.get("token").await.unwrap().unwrap().change;
        assert!(!tried.swap("token", b"new", None, Some(change + 1)).await.unwrap());
        assert!(tried.swap("token", b"new", None, Some(change)).await.unwrap());
        tried.remove("note").await.unwrap();
        assert_eq!((text(&tried, "token").await.as_deref(), text(&tried, "note").await), (Some("new"), None));
        assert_eq!(
            (text(&live, "token").await.as_deref(), text(&live, "note").await.as_deref()),
            (Some("old"), Some("n"))
        );
        trial.store(&registry, &tenant, &id).await.unwrap();
        assert_eq!((text(&live, "token").await.as_deref(), text(&live, "note").await), (Some("new"), None));
        let (name, trial) = keeper.begin_trial(&id);
        keeper.state("default", &name, guest::Space::Host).set("token", b"lost", None).await.unwrap();
        drop(trial);
        assert_eq!(text(&live, "token").await.as_deref(), Some("new"), "a trial that is dropped was none");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_is_held_against_trials_and_other_processes_alike() {
        let (_directory, registry, keeper, tenant, id) = stored().await;
        let live = keeper.state("default", id.as_str(), guest::Space::Host);
        let (name, _trial) = keeper.begin_trial(&id);
        let tried = keeper.state("default", &name, guest::Space::Host);
        let fence = live.take_lease("sign-in", Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(tried.take_lease("sign-in", Duration::from_secs(60)).await.unwrap(), None);
        assert_eq!(registry.take_lease(&tenant, &id, "sign-in", 60_000).await.unwrap(), None);
        live.end_lease("sign-in", fence).await.unwrap();
        assert!(tried.take_lease("sign-in", Duration::from_secs(60)).await.unwrap().is_some());
    }
}
