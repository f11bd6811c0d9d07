//! Backends in use: one open storage and at most one volume each, shared by mounts, wrappers and the API.
//!
//! A backend is opened when it is first asked for, from what the registry holds then. A changed credential is exchanged
//! inside, so that mounts and wrappers go on with it. What was cached belongs to one generation of the backend: a volume of
//! an earlier one is never handed out again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use causeway_api as api;
use causeway_api::{Backends, Catalog, Pending, Trial, Use};
use causeway_cache::{Cache, Scope};
use causeway_registry::{Backend, BackendId, BackendName, MountsWanted, Registry, Tenant};
use causeway_storage::{
    Act, ConsentRequest, Error, ErrorKind, Identity, Make, OpenError, Opening, Path, Provider, Remotes, Settings,
    SignIn, Storage,
};
use causeway_vfs::{ReadBudget, Volume, set_aside};
use causeway_wrap::Rooted;

use crate::health::Health;
use crate::keeper::{self, Keeper};
use crate::switch::Switch;
use crate::waiting;

/// How deep wrappers may stand on each other: deeper ones are a circle or a mistake.
const DEEPEST: usize = 8;
/// How long a probe may take before the answer is that it failed.
const PROBE: Duration = Duration::from_secs(25);

/// In the place of a credential generation: one that no backend has.
const OUTDATED: u64 = 0;

/// In the data directory: on the disk of the cache, so that nothing is copied.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// All backends in use.
pub(crate) struct Pool {
    registry: Registry,
    catalog: Arc<Catalog>,
    cache: Arc<Cache>,
    budget: ReadBudget,
    keeper: Arc<Keeper>,
    open: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<InUse>>>>,
    health: Mutex<HashMap<Key, Arc<Health>>>,
    /// Below which directory what was not uploaded is set aside, per tenant and backend.
    aside: PathBuf,
    /// For what is opened from inside: a wrapper's remotes.
    this: Weak<Pool>,
}

type Key = (Tenant, BackendId);

#[derive(Default)]
struct InUse {
    /// With the credential generation that it was opened with.
    storage: Option<(Arc<Switch>, u64)>,
    /// With its generation.
    volume: Option<(Arc<Volume>, u64)>,
}

impl Pool {
    pub(crate) fn new(
        registry: Registry,
        catalog: Arc<Catalog>,
        cache: Arc<Cache>,
        keeper: Arc<Keeper>,
        aside: PathBuf,
    ) -> Arc<Pool> {
        Arc::new_cyclic(|this| {
            let this = this.clone();
            let (budget, open, health) = Default::default();
            Pool { registry, catalog, cache, budget, keeper, open, health, aside, this }
        })
    }

    /// The volume of a backend, taken into use if need be.
    pub(crate) async fn volume(&self, tenant: &Tenant, id: &BackendId) -> Result<Arc<Volume>, Error> {
        let in_use = self.in_use(tenant, id);
        let mut in_use = in_use.lock().await;
        let backend = self.stored(tenant, id).await?;
        if let Some((volume, generation)) = in_use.volume.clone()
            && generation == backend.generation
        {
            if in_use.is_outdated()
                && let Err(error) = self.open_in(&mut in_use, tenant, &backend, 0).await
            {
                tracing::warn!(?error, backend = %id, "a changed backend still does not open");
            }
            return Ok(volume);
        }
        in_use.leave_volume().await;
        let storage = self.open_in(&mut in_use, tenant, &backend, 0).await?;
        // What was kept for earlier generations is of no use any more.
        self.forget_cached(tenant, id, Some(backend.generation));
        let scope = self.scope(tenant, id, backend.generation).await?;
        let volume = Volume::open(storage, scope, self.budget.clone()).await?;
        in_use.volume = Some((volume.clone(), backend.generation));
        if let Err(error) = self.let_pins_go(tenant, &volume).await {
            tracing::warn!(?error, backend = %id, "what removed mounts pinned cannot be let go");
        }
        Ok(volume)
    }

    /// Takes back what is pinned for mounts that are no more: they could not while their backend did not open.
    async fn let_pins_go(&self, tenant: &Tenant, volume: &Volume) -> Result<(), Error> {
        let owners = volume.pin_owners();
        if owners.is_empty() {
            return Ok(());
        }
        let mounts = self.registry.mounts(tenant, MountsWanted::All).await.map_err(Error::internal)?;
        let stays = |owner: &String| mounts.iter().any(|mount| !mount.removing && mount.id.as_str() == owner);
        for owner in owners.iter().filter(|owner| !stays(owner)) {
            volume.set_pins(owner, Vec::new()).await?;
        }
        Ok(())
    }

    /// Takes every backend into use that an earlier process left with changes pending.
    pub(crate) async fn resume(&self, tenant: &Tenant) -> Result<(), causeway_registry::Error> {
        for backend in self.registry.backends(tenant).await? {
            let resumed = match self.left_over(tenant, &backend).await {
                Ok(0) => continue,
                Ok(_) => self.volume(tenant, &backend.id).await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = resumed {
                tracing::error!(?error, backend = %backend.id, "pending uploads cannot go on");
            }
        }
        Ok(())
    }

    /// Stops all uploads where they are. What is pending stays in the journal.
    pub(crate) async fn stop(&self) {
        let all: Vec<_> = lock(&self.open).drain().map(|(_, in_use)| in_use).collect();
        for in_use in all {
            in_use.lock().await.leave_volume().await;
        }
    }

    fn health(&self, tenant: &Tenant, id: &BackendId) -> Arc<Health> {
        let mut health = lock(&self.health);
        let of_this = health.entry((tenant.clone(), id.clone()));
        of_this.or_insert_with(|| Health::new(Arc::new(self.registry.clone()), tenant.clone(), id.clone())).clone()
    }

    async fn stored(&self, tenant: &Tenant, id: &BackendId) -> Result<Backend, Error> {
        let backend = self.registry.backend(tenant, id).await.map_err(Error::internal)?;
        backend.ok_or_else(|| Error::not_found("the backend"))
    }

    fn in_use(&self, tenant: &Tenant, id: &BackendId) -> Arc<tokio::sync::Mutex<InUse>> {
        lock(&self.open).entry((tenant.clone(), id.clone())).or_default().clone()
    }

    async fn storage(&self, tenant: &Tenant, id: &BackendId, depth: usize) -> Result<Arc<Switch>, Error> {
        let in_use = self.in_use(tenant, id);
        let mut in_use = in_use.lock().await;
        match &in_use.storage {
            Some((storage, _)) if !in_use.is_outdated() => return Ok(storage.clone()),
            _ => {}
        }
        let backend = self.stored(tenant, id).await?;
        self.open_in(&mut in_use, tenant, &backend, depth).await
    }

    /// The storage of a backend as it is stored; one that was opened with an earlier credential gets this one.
    async fn open_in(
        &self,
        in_use: &mut InUse,
        tenant: &Tenant,
        backend: &Backend,
        depth: usize,
    ) -> Result<Arc<Switch>, Error> {
        if let Some((storage, credential)) = &in_use.storage
            && *credential == backend.credential_generation
        {
            return Ok(storage.clone());
        }
        let opened = self.open_stored(tenant, backend, depth).await?;
        let storage = match in_use.storage.take() {
            Some((storage, _)) => {
                storage.exchange(opened);
                storage
            }
            None => Arc::new(Switch::new(opened, self.health(tenant, &backend.id))),
        };
        in_use.storage = Some((storage.clone(), backend.credential_generation));
        Ok(storage)
    }

    async fn open_stored(&self, tenant: &Tenant, backend: &Backend, depth: usize) -> Result<Arc<dyn Storage>, Error> {
        let provider = self.catalog.get(&backend.provider).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable(None), format!("the provider {} is not installed", backend.provider))
        })?;
        let opening = self.opening(tenant, backend.id.to_string(), backend.settings.clone(), depth);
        provider.open(opening).await.map_err(|error| match error {
            OpenError::Failed(error) => error,
            OpenError::Settings(problems) => {
                let told: Vec<_> =
                    problems.iter().map(|problem| format!("{} {}", problem.option, problem.message)).collect();
                Error::new(ErrorKind::Invalid, format!("the backend's settings cannot be used: {}", told.join("; ")))
            }
        })
    }

    fn opening(&self, tenant: &Tenant, backend: String, settings: Settings, depth: usize) -> Opening {
        self.keeper.admit(tenant);
        let remotes = TenantRemotes { pool: self.this.clone(), tenant: tenant.clone(), depth };
        Opening { tenant: tenant.name().to_owned(), backend, settings, remotes: Arc::new(remotes) }
    }

    async fn scope(&self, tenant: &Tenant, id: &BackendId, generation: u64) -> Result<Arc<Scope>, Error> {
        let (cache, tenant, id) = (self.cache.clone(), tenant.name().to_owned(), id.to_string());
        let opening = tokio::task::spawn_blocking(move || cache.scope(&tenant, &id, generation));
        opening.await.map_err(Error::internal)?
    }

    /// Forgets in the background what is kept for a backend, or for all but one generation of it.
    fn forget_cached(&self, tenant: &Tenant, id: &BackendId, keep: Option<u64>) {
        let (cache, tenant, id) = (self.cache.clone(), tenant.name().to_owned(), id.to_string());
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = cache.forget(&tenant, &id, keep) {
                tracing::warn!(?error, backend = id, "what is kept for a backend that is gone could not be deleted");
            }
        }));
    }

    /// How many changes are in the journal of a backend that is not in use.
    async fn left_over(&self, tenant: &Tenant, backend: &Backend) -> Result<usize, Error> {
        let scope = self.scope(tenant, &backend.id, backend.generation).await?;
        Ok(scope.journal().read(|intents, _| intents.len()))
    }

    /// The volume of a backend that is in use or has changes waiting; none of one that is at rest.
    async fn waiting(&self, tenant: &Tenant, id: &BackendId) -> Result<Option<Arc<Volume>>, Error> {
        let in_use = self.in_use(tenant, id);
        if let Some((volume, _)) = &in_use.lock().await.volume {
            return Ok(Some(volume.clone()));
        }
        let backend = self.stored(tenant, id).await?;
        match self.left_over(tenant, &backend).await? {
            0 => Ok(None),
            // It could not be taken into use at the start; that is tried again here, and told if it still fails.
            _ => self.volume(tenant, id).await.map(Some),
        }
    }

    fn place_aside(&self, tenant: &Tenant, id: &BackendId) -> PathBuf {
        self.aside.join(tenant.name()).join(id.as_str())
    }

    async fn close(&self, tenant: &Tenant, id: &BackendId) {
        let closed = lock(&self.open).remove(&(tenant.clone(), id.clone()));
        lock(&self.health).remove(&(tenant.clone(), id.clone()));
        if let Some(in_use) = closed {
            in_use.lock().await.leave_volume().await;
        }
    }
}

impl InUse {
    /// Whether the credential changed and what stands here could not be opened with the new one.
    fn is_outdated(&self) -> bool {
        matches!(self.storage, Some((_, OUTDATED)))
    }

    async fn leave_volume(&mut self) {
        if let Some((volume, _)) = self.volume.take() {
            volume.stop().await;
        }
    }
}

/// A volume's pending changes as the API shows them.
pub(crate) fn pending(pending: causeway_vfs::Pending) -> Pending {
    Pending {
        files: pending.changes,
        bytes: pending.bytes,
        oldest: pending.oldest.map(|oldest| oldest.seconds),
        last_error: pending.last_error,
    }
}

#[async_trait]
impl Backends for Pool {
    fn trial(
        &self,
        tenant: &Tenant,
        id: &BackendId,
        provider: &Arc<dyn Provider>,
        settings: Settings,
    ) -> Box<dyn Trial> {
        // Natives keep nothing through the keeper, and go by the id that they will have.
        let (name, kept) = match provider.descriptor().make {
            Make::Guest => self.keeper.begin_trial(id),
            Make::Native | Make::Wrapper => (id.to_string(), Arc::default()),
        };
        let (pool, tenant, id) = (self.this.clone(), tenant.clone(), id.clone());
        Box::new(OnTrial { pool, tenant, id, name, kept, provider: provider.clone(), settings })
    }

    async fn probe(&self, tenant: &Tenant, id: &BackendId) -> Result<Identity, Error> {
        let storage = self.storage(tenant, id, 0).await?;
        let probed = tokio::time::timeout(PROBE, storage.probe()).await;
        probed.map_err(|_| Error::new(ErrorKind::Unavailable(None), "the provider did not answer in time"))?
    }

    fn last_use(&self, tenant: &Tenant, id: &BackendId) -> Option<Use> {
        lock(&self.health).get(&(tenant.clone(), id.clone()))?.last_use()
    }

    async fn changed(&self, tenant: &Tenant, id: &BackendId) {
        self.health(tenant, id).forget();
        let in_use = self.in_use(tenant, id);
        let mut in_use = in_use.lock().await;
        let opened = async {
            let backend = self.stored(tenant, id).await?;
            if in_use.volume.as_ref().is_some_and(|(_, generation)| *generation != backend.generation) {
                in_use.leave_volume().await;
            }
            match in_use.storage {
                Some(_) => self.open_in(&mut in_use, tenant, &backend, 0).await.map(|_| ()),
                None => Ok(()),
            }
        };
        if let Err(error) = opened.await {
            tracing::error!(?error, backend = %id, "a changed backend does not open; its next user tries again");
            // What is mounted goes on with what it has: a second volume beside it would be a second journal.
            if let Some((_, credential)) = &mut in_use.storage {
                *credential = OUTDATED;
            }
            return;
        }
        // What the old credential was refused waits for nothing any more.
        if let Some((volume, _)) = &in_use.volume
            && let Err(error) = volume.retry().await
        {
            tracing::warn!(?error, backend = %id, "pending changes are not tried again at once");
        }
    }

    async fn forget(&self, tenant: &Tenant, id: &BackendId) {
        self.close(tenant, id).await;
        self.forget_cached(tenant, id, None);
        for provider in self.catalog.iter() {
            provider.forget(tenant.name(), id.as_str());
        }
    }

    async fn pending(&self, tenant: &Tenant, id: &BackendId) -> Result<Pending, Error> {
        Ok(self.waiting(tenant, id).await?.map_or_else(Pending::default, |volume| pending(volume.pending())))
    }

    async fn discard(&self, tenant: &Tenant, id: &BackendId) -> Result<String, Error> {
        let place = self.place_aside(tenant, id);
        let in_use = self.in_use(tenant, id);
        let mut in_use = in_use.lock().await;
        let aside = match in_use.volume.take() {
            Some((volume, _)) => volume.set_aside(&place).await?,
            None => {
                let backend = self.stored(tenant, id).await?;
                set_aside(&self.scope(tenant, id, backend.generation).await?, &place).await?
            }
        };
        Ok(aside.directory.display().to_string())
    }

    async fn changes(
        &self,
        tenant: &Tenant,
        id: &BackendId,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<api::PendingChange>, Error> {
        let Some(volume) = self.waiting(tenant, id).await? else { return Ok(Vec::new()) };
        // With thousands of changes it takes a while to see which waits for which.
        let changes = tokio::task::spawn_blocking(move || volume.pending_changes(after, most));
        Ok(changes.await.map_err(Error::internal)?.into_iter().map(waiting::change).collect())
    }

    async fn retry(&self, tenant: &Tenant, id: &BackendId, number: Option<u64>) -> Result<bool, Error> {
        match (self.waiting(tenant, id).await?, number) {
            (Some(volume), Some(number)) => volume.retry_change(number).await,
            (Some(volume), None) => volume.retry().await.map(|()| true),
            (None, number) => Ok(number.is_none()),
        }
    }

    async fn give_up(&self, tenant: &Tenant, id: &BackendId, number: u64) -> Result<api::GivenUp, Error> {
        match self.waiting(tenant, id).await? {
            Some(volume) => Ok(waiting::given_up(volume.give_up(number, &self.place_aside(tenant, id)).await?)),
            None => Ok(api::GivenUp::Unknown),
        }
    }

    async fn events(&self, tenant: &Tenant, id: &BackendId) -> Result<Vec<api::Event>, Error> {
        let events = self.waiting(tenant, id).await?.map(|volume| volume.events()).unwrap_or_default();
        Ok(events.into_iter().map(waiting::event).collect())
    }
}

/// A backend on trial.
struct OnTrial {
    pool: Weak<Pool>,
    tenant: Tenant,
    id: BackendId,
    /// What it goes by towards the keeper.
    name: String,
    kept: Arc<keeper::Trial>,
    provider: Arc<dyn Provider>,
    settings: Settings,
}

impl OnTrial {
    fn opening(&self) -> Result<Opening, Error> {
        let pool = self.pool.upgrade().ok_or_else(|| Error::internal("the program stops"))?;
        Ok(pool.opening(&self.tenant, self.name.clone(), self.settings.clone(), 0))
    }
}

#[async_trait]
impl Trial for OnTrial {
    fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        self.provider.open(self.opening()?).await
    }

    async fn sign_in(&self, act: Act) -> Result<SignIn, OpenError> {
        self.provider.sign_in(self.opening()?, act).await
    }

    async fn consent_url(&self, request: ConsentRequest) -> Result<String, OpenError> {
        self.provider.consent_url(self.opening()?, request).await
    }

    async fn keep(&self) -> Result<(), Error> {
        let pool = self.pool.upgrade().ok_or_else(|| Error::internal("the program stops"))?;
        self.kept.store(&pool.registry, &self.tenant, &self.id).await
    }
}

/// The remotes of one tenant, for a wrapper.
struct TenantRemotes {
    pool: Weak<Pool>,
    tenant: Tenant,
    depth: usize,
}

#[async_trait]
impl Remotes for TenantRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>, Error> {
        let invalid = |message: &str| Error::new(ErrorKind::Invalid, format!("the remote \"{remote}\" {message}"));
        let pool = self.pool.upgrade().ok_or_else(|| Error::internal("the program stops"))?;
        let (name, path) = remote.split_once(':').ok_or_else(|| invalid("has no colon"))?;
        let path = Path::parse(path.trim_matches('/')).map_err(|error| invalid(&error.to_string()))?;
        if self.depth >= DEEPEST {
            return Err(invalid("stands on more than eight others, or on itself"));
        }
        let by_id = match BackendId::parse(name) {
            Some(id) => pool.registry.backend(&self.tenant, &id).await.map_err(Error::internal)?,
            None => None,
        };
        let found = match (by_id, BackendName::parse(name)) {
            (Some(backend), _) => Some(backend),
            (None, Some(name)) => pool.registry.backend_by_name(&self.tenant, &name).await.map_err(Error::internal)?,
            (None, None) => None,
        };
        let backend = found.ok_or_else(|| Error::not_found(format!("the backend \"{name}\"")))?;
        let storage = pool.storage(&self.tenant, &backend.id, self.depth + 1).await?;
        Ok(Rooted::new(storage, path))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is under these locks is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
