//! The two doors: what the API needs done with live backends and live mounts. The program implements them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use causeway_registry::{BackendId, Mount, MountId, Tenant};
use causeway_storage::{
    Act, ConsentRequest, Error, Identity, OpenError, Path, Provider, Settings, SignIn, Storage, Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::VfsConfig;

/// Writes that were acknowledged and are not at the provider yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Pending {
    /// How many files and other changes.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The oldest, as Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<i64>,
    /// Why the last attempt failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Pending {
    /// Whether all is uploaded.
    pub fn is_empty(&self) -> bool {
        self.files == 0
    }
}

/// A change that waits to be made at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PendingChange {
    /// Its place in the order.
    pub number: u64,
    /// What it does.
    pub what: What,
    /// Where, from the root of the backend.
    pub path: String,
    /// Where to, if it renames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The size of what it writes, if it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// When it was asked for, as Unix seconds.
    pub since: i64,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A file gets content.
    Write,
    /// A file goes away.
    Remove,
    /// A directory is made.
    MakeDirectory,
    /// A directory goes away.
    RemoveDirectory,
    /// A file or directory moves.
    Rename,
    /// A modification time is set.
    SetModified,
}

/// How far a pending change is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Progress {
    /// It waits for its turn, or for whoever still writes to the file.
    Waiting,
    /// It is being carried out.
    Uploading,
    /// It failed and is tried again by itself.
    Retrying {
        /// When, as Unix seconds.
        retry_at: i64,
        /// Why it failed, for people.
        error: String,
    },
    /// It failed for good, and waits for someone to retry it or give it up.
    Failed {
        /// When, as Unix seconds.
        failed_at: i64,
        /// Why, for people.
        error: String,
    },
    /// It waits for an earlier change.
    Blocked {
        /// Which.
        blocked_by: u64,
    },
}

/// What became of giving a change up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It is gone; what it wrote lies there.
    Gone(Option<String>),
    /// There is no such change.
    Unknown,
    /// It is being carried out.
    UnderWay,
    /// Someone has a file open that it is about.
    Open,
    /// These, and maybe more, were built on it.
    NeededBy(Vec<u64>),
}

/// Something that went otherwise than was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Event {
    /// When, as Unix seconds.
    pub at: i64,
    /// Where, from the root of the backend.
    pub path: String,
    /// What, for people.
    pub message: String,
}

/// How a backend was used last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Whether the provider was reached and took us in.
    pub succeeded: bool,
    /// When it last did, if ever.
    pub at: Option<Timestamp>,
}

/// A backend on trial. What it obtains (tokens, a session) is laid over what is stored, and dropped with the trial unless it
/// is kept.
#[async_trait]
pub trait Trial: Send + Sync {
    /// Other settings from now on.
    fn set_settings(&mut self, settings: Settings);

    /// Opens it. Reaches for no network.
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError>;

    /// One step of signing in.
    async fn sign_in(&self, act: Act) -> Result<SignIn, OpenError>;

    /// Where a person is to consent.
    async fn consent_url(&self, request: ConsentRequest) -> Result<String, OpenError>;

    /// Stores what the trial obtained; the backend must be stored by now.
    async fn keep(&self) -> Result<(), Error>;
}

/// Live backends.
#[async_trait]
pub trait Backends: Send + Sync {
    /// A backend on trial, stored or not, with settings that are not stored.
    fn trial(
        &self,
        tenant: &Tenant,
        id: &BackendId,
        provider: &Arc<dyn Provider>,
        settings: Settings,
    ) -> Box<dyn Trial>;

    /// Probes a stored backend, opening it if need be. A probe is a use.
    async fn probe(&self, tenant: &Tenant, id: &BackendId) -> Result<Identity, Error>;

    /// How the last use went, of a probe or through a mount, as far as this process knows; none before the first. It is
    /// noted in the registry as well, a while later.
    fn last_use(&self, tenant: &Tenant, id: &BackendId) -> Option<Use>;

    /// What is stored has changed: whoever uses the backend goes on with that, from the next request on.
    async fn changed(&self, tenant: &Tenant, id: &BackendId);

    /// The backend is gone (or a trial was not stored): lets go of all that was kept for it.
    async fn forget(&self, tenant: &Tenant, id: &BackendId);

    /// What is not uploaded yet.
    async fn pending(&self, tenant: &Tenant, id: &BackendId) -> Result<Pending, Error>;

    /// Moves what is not uploaded to the tenant's `lost+found`, and says where that is.
    async fn discard(&self, tenant: &Tenant, id: &BackendId) -> Result<String, Error>;

    /// The changes numbered above `after` that wait, oldest first, at most `most`.
    async fn changes(
        &self,
        tenant: &Tenant,
        id: &BackendId,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<PendingChange>, Error>;

    /// Tries one change, or all, again now; says whether there is such a change.
    async fn retry(&self, tenant: &Tenant, id: &BackendId, number: Option<u64>) -> Result<bool, Error>;

    /// Gives a change up: what it wrote goes to the tenant's `lost+found`.
    async fn give_up(&self, tenant: &Tenant, id: &BackendId, number: u64) -> Result<GivenUp, Error>;

    /// What went otherwise than was asked for since the backend was taken into use, newest last.
    async fn events(&self, tenant: &Tenant, id: &BackendId) -> Result<Vec<Event>, Error>;
}

/// How a mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On its way.
    Mounting,
    /// It stands.
    Active,
    /// It stands, and the provider cannot be reached: what is cached is served.
    Degraded,
    /// On its way out.
    Unmounting,
    /// It does not stand.
    Failed,
}

/// How a mount is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// How.
    pub state: State,
    /// Why, for people, if it failed.
    pub error: Option<String>,
}

/// What a mount that stands can tell of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why the kernel does not read cached files by itself, if it does not.
    pub no_passthrough: Option<String>,
    /// Since when the provider cannot be reached, if it cannot.
    pub unreachable_since: Option<Timestamp>,
}

/// A path that stays on this machine as a whole, and how much of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Which, from the root of the mount.
    pub path: Path,
    /// Files at and below it, as far as they were looked at.
    pub files: u64,
    /// Their bytes that are here.
    pub bytes: u64,
    /// Their bytes that are still to be fetched.
    pub bytes_to_go: u64,
    /// What went wrong last, if it is not put right.
    pub error: Option<String>,
}

/// Why a mount cannot be made or changed.
#[derive(Debug)]
pub enum MountError {
    /// The path is not allowed; the sentence says why.
    Path(String),
    /// The mount point is in use.
    InUse(String),
    /// Something else.
    Failed(Error),
}

impl From<Error> for MountError {
    fn from(error: Error) -> MountError {
        MountError::Failed(error)
    }
}

/// Live mounts.
#[async_trait]
pub trait Mounts: Send + Sync {
    /// Where a mount would stand: below the tenant's directory, or where the operator allows. Makes nothing.
    fn place(&self, tenant: &Tenant, id: &MountId, wanted: Option<&str>) -> Result<String, MountError>;

    /// Mounts. Answers when the kernel's mount stands or after at most 10 s, then as `Mounting`.
    async fn mount(&self, tenant: &Tenant, mount: &Mount, config: &VfsConfig) -> Result<Status, MountError>;

    /// Changes how a live mount caches, without unmounting.
    async fn configure(&self, tenant: &Tenant, id: &MountId, config: &VfsConfig) -> Result<(), MountError>;

    /// How a mount is.
    fn status(&self, tenant: &Tenant, id: &MountId) -> Status;

    /// What a mount can tell of itself; none if it does not stand.
    fn condition(&self, tenant: &Tenant, id: &MountId) -> Option<Condition>;

    /// Says which paths are to stay here for a mount, instead of those before; survives restarts.
    async fn set_pins(&self, tenant: &Tenant, mount: &Mount, paths: Vec<Path>) -> Result<(), Error>;

    /// What is to stay here for a mount.
    async fn pins(&self, tenant: &Tenant, mount: &Mount) -> Result<Vec<Pin>, Error>;

    /// Detaches a mount at once, then waits at most so long for its backend's uploads. What is then still pending goes on
    /// by itself; a mount whose row says `removing` loses its row when nothing is pending any more.
    async fn unmount(&self, tenant: &Tenant, mount: &Mount, wait: Duration) -> Result<Pending, Error>;
}
