//! What components keep, in the registry. The guest host knows tenants and backends by name; the registry wants a tenant
//! that it made itself, so those in use are remembered here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use causeway_guest as guest;
use causeway_registry::{BackendId, Error as RegistryError, Registry, Space, Tenant};
use causeway_storage::{Error, ErrorKind, Result};

/// The registry as the guest host sees it.
pub(crate) struct Keeper {
    registry: Registry,
    tenants: Mutex<HashMap<String, Tenant>>,
}

impl Keeper {
    pub(crate) fn new(registry: Registry) -> Keeper {
        Keeper { registry, tenants: Mutex::default() }
    }

    /// Remembers a tenant, before one of its backends is opened.
    pub(crate) fn admit(&self, tenant: &Tenant) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.name().to_owned()).or_insert_with(|| tenant.clone());
    }

    fn whose(&self, tenant: &str, backend: &str) -> Option<(Tenant, BackendId)> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Some((tenants.get(tenant)?.clone(), BackendId::parse(backend)?))
    }
}

impl guest::Keeper for Keeper {
    fn state(&self, tenant: &str, backend: &str, space: guest::Space) -> Arc<dyn guest::State> {
        let space = match space {
            guest::Space::State => Space::State,
            guest::Space::Slot => Space::Slot,
        };
        Arc::new(State { registry: self.registry.clone(), whose: self.whose(tenant, backend), space })
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

/// One backend's values in one space. A backend on trial has no row yet: what it keeps is dropped, which costs it at most
/// the requests that found it.
struct State {
    registry: Registry,
    whose: Option<(Tenant, BackendId)>,
    space: Space,
}

impl State {
    fn whose(&self) -> Result<&(Tenant, BackendId)> {
        self.whose.as_ref().ok_or_else(unknown)
    }
}

#[async_trait]
impl guest::State for State {
    async fn get(&self, key: &str) -> Result<Option<guest::Held>> {
        let (tenant, backend) = self.whose()?;
        let held = self.registry.held(tenant, backend, self.space, key).await.map_err(explain)?;
        Ok(held.map(|held| guest::Held { value: held.value.to_vec(), change: held.change }))
    }

    async fn set(&self, key: &str, value: &[u8], lives: Option<Duration>) -> Result<()> {
        let (tenant, backend) = self.whose()?;
        match self.registry.hold(tenant, backend, self.space, key, value, lives.map(ms)).await {
            Ok(_) | Err(RegistryError::Missing) => Ok(()),
            Err(error) => Err(explain(error)),
        }
    }

    async fn swap(&self, key: &str, value: &[u8], lives: Option<Duration>, expected: Option<u64>) -> Result<bool> {
        let (tenant, backend) = self.whose()?;
        match self.registry.swap(tenant, backend, self.space, key, value, lives.map(ms), expected).await {
            Ok(change) => Ok(change.is_some()),
            Err(RegistryError::Missing) => Ok(expected.is_none()),
            Err(error) => Err(explain(error)),
        }
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let (tenant, backend) = self.whose()?;
        self.registry.drop_held(tenant, backend, self.space, key).await.map(|_| ()).map_err(explain)
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
