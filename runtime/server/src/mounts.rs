//! Mounts in use: the kernel's side of what the registry wants mounted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use causeway_api as api;
use causeway_api::{Condition, MountError, Mounts, Pending, State, Status};
use causeway_fuse::{MountOptions, Mounted};
use causeway_registry::{BackendId, Mount, MountId, MountsWanted, Registry, Tenant};
use causeway_storage::{Error, ErrorKind, Path as Names, Result};
use causeway_vfs::{AttributesMode, CacheMode, Close, Vfs, VfsConfig, Volume};

use crate::backends::{Pool, pending};
use crate::point::{self, PointError};

/// How long a request waits for the kernel's mount before it answers that it is on its way.
const STANDS: Duration = Duration::from_secs(10);
/// How long a removed mount's uploads are waited for before it is looked again whether it should still go.
const DRAIN: Duration = Duration::from_secs(600);

/// All mounts of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Standing {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    pool: Arc<Pool>,
    root: PathBuf,
    mounts: Mutex<HashMap<(Tenant, MountId), One>>,
}

/// One mount.
enum One {
    /// With the settings that it got meanwhile.
    Mounting(Option<VfsConfig>),
    Stands {
        mounted: Arc<Mounted>,
        vfs: Arc<Vfs>,
        backend: BackendId,
    },
    Unmounting,
    Failed(String),
}

impl Standing {
    pub(crate) fn new(registry: Registry, pool: Arc<Pool>, root: PathBuf) -> Standing {
        Standing { inner: Arc::new(Inner { registry, pool, root, mounts: Mutex::default() }) }
    }

    /// Mounts again what a tenant had mounted, and goes on removing what was asked to go. Does not wait.
    pub(crate) async fn restore(&self, tenant: &Tenant) -> std::result::Result<(), causeway_registry::Error> {
        for mount in self.inner.registry.mounts(tenant, MountsWanted::All).await? {
            let (this, tenant) = (self.clone(), tenant.clone());
            this.put(&tenant, &mount.id, if mount.removing { One::Unmounting } else { One::Mounting(None) });
            if mount.removing {
                tokio::spawn(async move { this.finish_removal(&tenant, &mount).await });
                continue;
            }
            tokio::spawn(async move {
                let config = api::VfsConfig::parse(&mount.config)
                    .map_err(|problems| MountError::Failed(Error::internal(format!("{problems:?}"))));
                let stood = match config {
                    Ok(config) => this.stand(&tenant, &mount, &config).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = stood {
                    tracing::error!(?error, mount = %mount.id, "a mount cannot be restored");
                    this.fail(&tenant, &mount.id, &error);
                }
            });
        }
        Ok(())
    }

    /// Takes all mounts off. What is open in them goes on until it is closed or the process ends.
    pub(crate) async fn stop(&self) {
        let all: Vec<_> = self.lock().drain().collect();
        for ((_, id), one) in all {
            if let One::Stands { mounted, .. } = one
                && let Err(error) = take_off(mounted).await
            {
                tracing::warn!(?error, mount = %id, "a mount cannot be taken off");
            }
        }
    }

    /// Makes the kernel's mount.
    async fn stand(
        &self,
        tenant: &Tenant,
        mount: &Mount,
        config: &api::VfsConfig,
    ) -> std::result::Result<(), MountError> {
        let names = self.below_root(&mount.path)?;
        let volume = self.inner.pool.volume(tenant, &mount.backend).await?;
        let vfs = Vfs::new(volume, vfs_config(config));
        let default = MountOptions::default();
        let options = MountOptions {
            // The file system refuses changes itself: the kernel's flag could not be lifted while it is mounted.
            read_only: false,
            uid: config.uid.unwrap_or(default.uid),
            gid: config.gid.unwrap_or(default.gid),
            // The owner may be another than this process. The kernel holds everybody to the modes that are shown: private
            // ones, unless a sidecar keeps others that the owner set.
            allow_other: config.uid.is_some() || config.gid.is_some(),
            fs_name: format!("causeway:{}", mount.id),
        };
        let (root, shown) = (self.inner.root.clone(), vfs.clone());
        let mounting = tokio::task::spawn_blocking(move || {
            let directory = point::open(&root, &names)?;
            causeway_fuse::mount(shown, directory, options).map_err(PointError::Failed)
        });
        let mounted = mounting.await.map_err(Error::internal)?.map_err(|error| match error {
            PointError::InUse(message) => MountError::InUse(message.into()),
            PointError::Failed(error) => {
                MountError::Failed(Error::new(ErrorKind::Internal, "the machine refused the mount").with_detail(error))
            }
        })?;
        match self.keep(tenant, mount, Arc::new(mounted), vfs) {
            None => Ok(()),
            Some(mounted) => {
                take_off(mounted).await?;
                Err(MountError::Failed(Error::not_found("the mount")))
            }
        }
    }

    /// Notes that a mount stands; gives it back if it was removed while it was on its way.
    fn keep(&self, tenant: &Tenant, mount: &Mount, mounted: Arc<Mounted>, vfs: Arc<Vfs>) -> Option<Arc<Mounted>> {
        let mut mounts = self.lock();
        let Some(one) = mounts.get_mut(&(tenant.clone(), mount.id.clone())) else { return Some(mounted) };
        let One::Mounting(config) = one else { return Some(mounted) };
        if let Some(config) = config.take() {
            vfs.reconfigure(config);
        }
        *one = One::Stands { mounted, vfs, backend: mount.backend.clone() };
        None
    }

    /// Notes why a mount that was on its way does not stand, unless it was removed meanwhile.
    fn fail(&self, tenant: &Tenant, id: &MountId, error: &MountError) {
        if let Some(one) = self.lock().get_mut(&(tenant.clone(), id.clone()))
            && matches!(one, One::Mounting(_))
        {
            *one = One::Failed(sentence(error));
        }
    }

    /// Waits until nothing of a removed mount is pending, however long that takes, and removes its row.
    async fn finish_removal(&self, tenant: &Tenant, mount: &Mount) {
        loop {
            match self.removed(tenant, mount).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(?error, mount = %mount.id, "a removed mount cannot go yet");
                    tokio::time::sleep(STANDS).await;
                }
            }
        }
        self.lock().remove(&(tenant.clone(), mount.id.clone()));
    }

    /// Waits a while for what is pending of a removed mount. Whether it is gone, by us or by others.
    async fn removed(&self, tenant: &Tenant, mount: &Mount) -> Result<bool> {
        let registry = &self.inner.registry;
        if registry.mount(tenant, &mount.id).await.map_err(Error::internal)?.is_none() {
            return Ok(true);
        }
        let volume = self.inner.pool.volume(tenant, &mount.backend).await?;
        if volume.drain(DRAIN).await.changes > 0 {
            return Ok(false);
        }
        registry.delete_mount(tenant, &mount.id).await.map_err(Error::internal)?;
        Ok(true)
    }

    fn below_root(&self, path: &str) -> std::result::Result<Names, MountError> {
        let outside = || MountError::Path("is not below the directory of mounts".into());
        let below = Path::new(path).strip_prefix(&self.inner.root).map_err(|_| outside())?;
        let names = below.to_str().and_then(|text| Names::parse(text).ok()).filter(|names| !names.is_root());
        names.ok_or_else(outside)
    }

    fn put(&self, tenant: &Tenant, id: &MountId, one: One) {
        self.lock().insert((tenant.clone(), id.clone()), one);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Tenant, MountId), One>> {
        // What is under this lock is changed in single steps.
        self.inner.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mounts for Standing {
    fn place(&self, tenant: &Tenant, id: &MountId, wanted: Option<&str>) -> std::result::Result<String, MountError> {
        point::place(&self.inner.root, tenant.name(), id.as_str(), wanted).map_err(MountError::Path)
    }

    async fn mount(
        &self,
        tenant: &Tenant,
        mount: &Mount,
        config: &api::VfsConfig,
    ) -> std::result::Result<Status, MountError> {
        let (this, whose, made, config) = (self.clone(), tenant.clone(), mount.clone(), config.clone());
        self.put(tenant, &mount.id, One::Mounting(None));
        // In a task of its own, so that it goes on when the request ends first.
        let standing = tokio::spawn(async move {
            let stood = this.stand(&whose, &made, &config).await;
            if let Err(error) = &stood {
                this.fail(&whose, &made.id, error);
            }
            stood
        });
        match tokio::time::timeout(STANDS, standing).await {
            Ok(Ok(Ok(()))) => Ok(self.status(tenant, &mount.id)),
            Ok(Ok(Err(error))) => {
                let (key, mut mounts) = ((tenant.clone(), mount.id.clone()), self.lock());
                if matches!(mounts.get(&key), Some(One::Failed(_))) {
                    mounts.remove(&key);
                }
                Err(error)
            }
            Ok(Err(error)) => Err(Error::internal(error).into()),
            Err(_) => Ok(Status { state: State::Mounting, error: None }),
        }
    }

    async fn configure(
        &self,
        tenant: &Tenant,
        id: &MountId,
        config: &api::VfsConfig,
    ) -> std::result::Result<(), MountError> {
        match self.lock().get_mut(&(tenant.clone(), id.clone())) {
            Some(One::Stands { vfs, .. }) => vfs.reconfigure(vfs_config(config)),
            Some(One::Mounting(wanted)) => *wanted = Some(vfs_config(config)),
            _ => {}
        }
        Ok(())
    }

    fn status(&self, tenant: &Tenant, id: &MountId) -> Status {
        let is = |state| Status { state, error: None };
        match self.lock().get(&(tenant.clone(), id.clone())) {
            Some(One::Mounting(_)) => is(State::Mounting),
            Some(One::Unmounting) => is(State::Unmounting),
            Some(One::Stands { mounted, vfs, .. }) if !mounted.has_ended() && !vfs.volume().reachable() => {
                is(State::Degraded)
            }
            Some(One::Stands { mounted, backend, .. }) if !mounted.has_ended() => {
                match api::Backends::last_use(&*self.inner.pool, tenant, backend) {
                    Some(last) if !last.succeeded => is(State::Degraded),
                    _ => is(State::Active),
                }
            }
            Some(One::Stands { .. }) => {
                Status { state: State::Failed, error: Some("the mount was taken away from outside".into()) }
            }
            Some(One::Failed(error)) => Status { state: State::Failed, error: Some(error.clone()) },
            // It waits for its turn at the start.
            None => is(State::Mounting),
        }
    }

    fn condition(&self, tenant: &Tenant, id: &MountId) -> Option<Condition> {
        match self.lock().get(&(tenant.clone(), id.clone())) {
            Some(One::Stands { mounted, vfs, .. }) if !mounted.has_ended() => Some(Condition {
                no_passthrough: mounted.no_passthrough().or_else(|| vfs.no_lending()).map(str::to_owned),
                unreachable_since: vfs.volume().outage().map(|outage| outage.since),
            }),
            _ => None,
        }
    }

    async fn set_pins(&self, tenant: &Tenant, mount: &Mount, paths: Vec<Names>) -> Result<()> {
        self.inner.pool.volume(tenant, &mount.backend).await?.set_pins(mount.id.as_str(), paths).await
    }

    async fn pins(&self, tenant: &Tenant, mount: &Mount) -> Result<Vec<api::Pin>> {
        let pins = self.inner.pool.volume(tenant, &mount.backend).await?.pins(mount.id.as_str());
        let pin = |causeway_vfs::Pin { path, files, bytes, bytes_to_go, error }| api::Pin {
            path,
            files,
            bytes,
            bytes_to_go,
            error,
        };
        Ok(pins.into_iter().map(pin).collect())
    }

    async fn unmount(&self, tenant: &Tenant, mount: &Mount, wait: Duration) -> Result<Pending> {
        let key = (tenant.clone(), mount.id.clone());
        let was = self.lock().insert(key.clone(), One::Unmounting);
        let volume = match was {
            Some(One::Stands { mounted, vfs, .. }) => {
                let volume: Arc<Volume> = vfs.volume().clone();
                take_off(mounted).await?;
                Some(volume)
            }
            _ => None,
        };
        if let Ok(names) = self.below_root(&mount.path) {
            point::remove(&self.inner.root, &names);
        }
        // What a mount pinned goes with it; of a backend that cannot be opened, when it can.
        if let Err(error) = self.set_pins(tenant, mount, Vec::new()).await {
            tracing::warn!(?error, mount = %mount.id, "what a removed mount pinned cannot be let go");
        }
        let left = match volume {
            Some(volume) => pending(volume.drain(wait).await),
            None => api::Backends::pending(&*self.inner.pool, tenant, &mount.backend).await?,
        };
        if left.is_empty() {
            self.lock().remove(&key);
        } else {
            let (this, tenant, mount) = (self.clone(), tenant.clone(), mount.clone());
            tokio::spawn(async move { this.finish_removal(&tenant, &mount).await });
        }
        Ok(left)
    }
}

async fn take_off(mounted: Arc<Mounted>) -> Result<()> {
    let taken = tokio::task::spawn_blocking(move || mounted.unmount());
    taken.await.map_err(Error::internal)?.map_err(Error::internal)
}

fn sentence(error: &MountError) -> String {
    match error {
        MountError::Path(message) => format!("the path {message}"),
        MountError::InUse(message) => message.clone(),
        MountError::Failed(error) => error.message.clone(),
    }
}

fn vfs_config(config: &api::VfsConfig) -> VfsConfig {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    VfsConfig {
        cache_mode: match config.cache_mode {
            api::CacheMode::Off => CacheMode::Off,
            api::CacheMode::Minimal => CacheMode::Minimal,
            api::CacheMode::Writes => CacheMode::Writes,
            api::CacheMode::Full => CacheMode::Full,
        },
        cache_max_age_ms: config.cache_max_age.map_or(u64::MAX, ms),
        cache_max_size: config.cache_max_size,
        dir_cache_time_ms: config.dir_cache_time.map_or(0, ms),
        read_only: config.read_only,
        close: match config.close {
            api::Close::Journalled => Close::Journalled,
            api::Close::Uploaded => Close::Uploaded,
        },
        read_ahead_max: config.read_ahead_max,
        attributes: match config.attributes {
            api::Attributes::Off => AttributesMode::Off,
            api::Attributes::Sidecar => AttributesMode::Sidecar,
        },
    }
}
