//! How a backend becomes a storage.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Act, ConsentRequest, Descriptor, Error, Problem, Settings, SignIn, Storage};

/// Why a backend cannot be opened.
#[derive(Clone, Debug)]
pub enum OpenError {
    /// Settings that cannot be used, every one of them.
    Settings(Vec<Problem>),
    /// Something else.
    Failed(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        OpenError::Failed(error)
    }
}

/// Finds the storage that a remote (`backend:path`) names, for one tenant.
#[async_trait]
pub trait Remotes: Send + Sync {
    /// The storage of a remote, re-rooted at its path.
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>, Error>;
}

/// All that a provider needs to open a backend.
#[derive(Clone)]
pub struct Opening {
    /// Whose it is.
    pub tenant: String,
    /// The backend's id, 16 hex digits.
    pub backend: String,
    /// What was given, parsed against the provider's options.
    pub settings: Settings,
    /// For wrappers.
    pub remotes: Arc<dyn Remotes>,
}

/// A kind of storage: `s3`, `local`, `union`.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Who it is and what can be set.
    fn descriptor(&self) -> &Descriptor;

    /// Checks the settings together and opens the backend. Does not reach for the network: that is `Storage::probe`.
    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError>;

    /// One step of signing in. A provider whose settings suffice is always ready.
    async fn sign_in(&self, opening: Opening, act: Act) -> Result<SignIn, OpenError> {
        let (Opening { .. }, _) = (opening, act);
        Ok(SignIn::Ready)
    }

    /// Where a person is to consent.
    async fn consent_url(&self, opening: Opening, request: ConsentRequest) -> Result<String, OpenError> {
        let (Opening { .. }, ConsentRequest { .. }) = (opening, request);
        Err(Error::unsupported("ask for consent").into())
    }

    /// Drops whatever is kept for a backend that is being deleted.
    fn forget(&self, tenant: &str, backend: &str) {
        let _ = (tenant, backend);
    }
}
