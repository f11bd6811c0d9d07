//! How backends fare: whether the last try reached the provider, and when one last did.
//!
//! Every call of a storage in use tells here how it went. Answers of the API show it at once; the registry hears of it at
//! most once a minute per backend, and always of the last state in the end. It probes nothing by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use causeway_api::Use;
use causeway_registry::{BackendId, Registry, Tenant};
use causeway_storage::{Error, ErrorKind, Result, Timestamp};
use tokio::time::Instant;

/// How long the registry is left in peace after it was told: what a use costs it must not grow with the uses.
const NOTED: Duration = Duration::from_secs(60);
/// A call given up after so long was given up because nothing came.
const GIVEN_UP: Duration = Duration::from_secs(5);

/// Where it is noted for good.
#[async_trait]
pub(crate) trait Notes: Send + Sync {
    async fn note(&self, tenant: &Tenant, backend: &BackendId, succeeded: bool);
}

#[async_trait]
impl Notes for Registry {
    async fn note(&self, tenant: &Tenant, backend: &BackendId, succeeded: bool) {
        if let Err(error) = self.note_use(tenant, backend, succeeded).await {
            tracing::warn!(%error, %backend, "how a backend fares cannot be noted");
        }
    }
}

/// How one backend fares.
pub(crate) struct Health {
    notes: Arc<dyn Notes>,
    tenant: Tenant,
    backend: BackendId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<bool>,
    succeeded: Option<Timestamp>,
    noted: Option<Instant>,
    /// A task is on its way to note.
    noting: bool,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Health({})", self.backend)
    }
}

impl Health {
    pub(crate) fn new(notes: Arc<dyn Notes>, tenant: Tenant, backend: BackendId) -> Arc<Health> {
        Arc::new(Health { notes, tenant, backend, state: Mutex::default() })
    }

    /// The last use; none before the first.
    pub(crate) fn last_use(&self) -> Option<Use> {
        let state = self.state();
        state.last.map(|succeeded| Use { succeeded, at: state.succeeded })
    }

    /// What was seen says nothing of what comes: another credential.
    pub(crate) fn forget(&self) {
        self.state().last = None;
    }

    /// Carries out a call and keeps how it went.
    pub(crate) async fn during<T>(self: &Arc<Self>, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut watch = Watch { health: self, begun: Instant::now(), ended: false };
        let result = call.await;
        watch.ended = true;
        match &result {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
        result
    }

    /// Keeps that a call went well.
    pub(crate) fn succeeded(self: &Arc<Self>) {
        self.went(true);
    }

    /// Keeps what a failure says of the provider.
    pub(crate) fn failed(self: &Arc<Self>, error: &Error) {
        match error.kind {
            ErrorKind::Unavailable(_) | ErrorKind::Unauthenticated => self.went(false),
            // The provider answered.
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::IsDirectory
            | ErrorKind::NotADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::PreconditionFailed => self.went(true),
            // May have been said without asking it, or says nothing of the next call.
            ErrorKind::Denied
            | ErrorKind::Invalid
            | ErrorKind::Unsupported
            | ErrorKind::RateLimited(_)
            | ErrorKind::QuotaExceeded
            | ErrorKind::Corrupt
            | ErrorKind::Internal => {}
        }
    }

    fn went(self: &Arc<Self>, succeeded: bool) {
        // A call may be dropped when the program ends and there is nothing left to note with.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let pause = {
            let mut state = self.state();
            state.last = Some(succeeded);
            if succeeded {
                state.succeeded = Some(Timestamp::now());
            }
            if std::mem::replace(&mut state.noting, true) {
                return;
            }
            state.noted.map_or(Duration::ZERO, |noted| NOTED.saturating_sub(noted.elapsed()))
        };
        let this = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            this.note().await;
        });
    }

    async fn note(&self) {
        let last = {
            let mut state = self.state();
            state.noting = false;
            state.noted = Some(Instant::now());
            state.last
        };
        if let Some(succeeded) = last {
            self.notes.note(&self.tenant, &self.backend, succeeded).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is under this lock is changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. Whoever waits for it may give up first, and drop it.
struct Watch<'a> {
    health: &'a Arc<Health>,
    begun: Instant,
    ended: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended && self.begun.elapsed() >= GIVEN_UP {
            self.health.went(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Noted(Mutex<Vec<bool>>);

    #[async_trait]
    impl Notes for Noted {
        async fn note(&self, _tenant: &Tenant, _backend: &BackendId, succeeded: bool) {
            self.0.lock().unwrap().push(succeeded);
        }
    }

    /// Time is paused only now: the registry that the tenant comes from needs it to pass.
    async fn health() -> (Arc<Noted>, Arc<Health>) {
        let directory = tempfile::tempdir().unwrap();
        let config = causeway_registry::Config {
            database: causeway_registry::Database::Sqlite(directory.path().join("db")),
            key_file: directory.path().join("key"),
        };
        let registry = Registry::open(&config).await.unwrap();
        let tenant = registry.operator().create_tenant("default").await.unwrap();
        registry.close().await;
        tokio::time::pause();
        let noted = Arc::new(Noted::default());
        (noted.clone(), Health::new(noted, tenant, BackendId::random().unwrap()))
    }

    async fn fails(health: &Arc<Health>, kind: ErrorKind) {
        let failed = health.during(async { Err::<(), _>(Error::new(kind, "no")) }).await;
        assert!(failed.is_err());
    }

    #[tokio::test]
    async fn the_registry_hears_once_a_minute_and_of_the_last_state() {
        let (noted, health) = health().await;
        assert_eq!(health.last_use(), None);
        for _ in 0..100 {
            health.during(async { Ok(()) }).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*noted.0.lock().unwrap(), [true], "the first use at once");
        health.during(async { Ok(()) }).await.unwrap();
        fails(&health, ErrorKind::Unavailable(None)).await;
        tokio::time::sleep(Duration::from_secs(58)).await;
        assert_eq!(*noted.0.lock().unwrap(), [true]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(*noted.0.lock().unwrap(), [true, false]);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(noted.0.lock().unwrap().len(), 2, "nothing is noted without a use");
    }

    #[tokio::test]
    async fn only_what_tells_of_the_provider_counts() {
        let (_, health) = health().await;
        for (kind, succeeded) in [
            (ErrorKind::NotFound, true),
            (ErrorKind::Unauthenticated, false),
            (ErrorKind::Internal, false),
            (ErrorKind::DirectoryNotEmpty, true),
            (ErrorKind::Denied, true),
            (ErrorKind::Unavailable(None), false),
        ] {
            fails(&health, kind).await;
            assert_eq!(health.last_use().unwrap().succeeded, succeeded, "{kind:?}");
        }
        health.forget();
        assert_eq!(health.last_use(), None);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_did_not_reach_the_provider() {
        let (_, health) = health().await;
        let hangs = || health.during(std::future::pending::<Result<()>>());
        assert!(tokio::time::timeout(Duration::from_secs(1), hangs()).await.is_err());
        assert_eq!(health.last_use(), None, "someone lost interest");
        assert!(tokio::time::timeout(Duration::from_secs(10), hangs()).await.is_err());
        assert!(!health.last_use().unwrap().succeeded);
    }
}
