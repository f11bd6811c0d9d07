//! One backend as its calls see it: settings, state, slots and the way out.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use causeway_http::request::SecretRef;
use causeway_http::uses::SecretUse;
use causeway_http::{Egress, Secrets};
use causeway_storage::{Encoding, Error, ErrorKind, Result, Secret, Settings};

use crate::bindings::causeway::provider::types;
use crate::engine::Io;
use crate::signing::Signing;
use crate::slots::Slots;

/// A value of a backend's state and the number of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The value.
    pub value: Vec<u8>,
    /// Rises with every change.
    pub change: u64,
}

/// What outlives a call, for one backend: sealed at rest, shared by all nodes, 1,000 keys of at most 256 bytes, values of
/// at most 64 KiB.
#[async_trait]
pub trait State: Send + Sync {
    /// The value, if it is there and has not expired.
    async fn get(&self, key: &str) -> Result<Option<Held>>;
    /// Stores a value for so long (absent: until removed). Over a limit: `QuotaExceeded`.
    async fn set(&self, key: &str, value: &[u8], lives: Option<Duration>) -> Result<()>;
    /// Stores a value if the last change is still this one (absent: if there is none); false if another was faster.
    async fn swap(&self, key: &str, value: &[u8], lives: Option<Duration>, expected: Option<u64>) -> Result<bool>;
    /// Forgets a key.
    async fn remove(&self, key: &str) -> Result<()>;
    /// Takes a lease, which ends by itself after so long: its number, higher than all before it; none while another process
    /// holds it.
    async fn take_lease(&self, name: &str, lives: Duration) -> Result<Option<u64>>;
    /// Ends a lease before its time, if it is still this one.
    async fn end_lease(&self, name: &str, fence: u64) -> Result<()>;
}

/// Which of a backend's sets of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// What the component may read.
    State,
    /// Secrets that it may only use.
    Slot,
    /// What the host itself notes: how it is signed in.
    Host,
}

/// Keeps what belongs to backends: their state, and, sealed, what the host itself writes down.
pub trait Keeper: Send + Sync {
    /// A set of values of a tenant's backend.
    fn state(&self, tenant: &str, backend: &str, space: Space) -> Arc<dyn State>;
    /// Seals bytes that only this backend may open again, and only as what they are.
    fn seal(&self, tenant: &str, backend: &str, what: &str, bytes: &[u8]) -> Result<Vec<u8>>;
    /// Opens what was sealed for this backend as this; none if it was sealed for another, or with another key.
    fn unseal(&self, tenant: &str, backend: &str, what: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// All that belongs to one backend.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) tenant: String,
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) settings: Arc<Settings>,
    pub(crate) encoding: Encoding,
    pub(crate) state: Arc<dyn State>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) keeper: Arc<dyn Keeper>,
    pub(crate) uses: Arc<HashMap<String, SecretUse>>,
    pub(crate) io: Io,
    pub(crate) egress: Arc<Egress>,
    pub(crate) signing: Arc<Signing>,
    /// This is the backend as a running `sign-in` sees it: it alone may assign hosts.
    pub(crate) signs_in: bool,
    /// The tree of a walk, where the host keeps one.
    pub(crate) tree: Arc<OnceLock<Weak<dyn KnownTree>>>,
}

/// What a component may ask of the tree that is kept of its walk.
pub(crate) trait KnownTree: Send + Sync {
    /// What has this cookie.
    fn known(&self, cookie: &str) -> Option<types::Placed>;
    /// Some of what lies in it, behind this one.
    fn below(&self, cookie: &str, after: Option<&str>) -> Vec<types::Placed>;
}

impl Backend {
    /// A field of a secret document that its declaration calls public.
    pub(crate) fn public_field(&self, secret: &SecretRef) -> Option<String> {
        let field = secret.field.as_ref()?;
        let declared = self.uses.get(&secret.name).is_some_and(|uses| uses.public_fields.contains(field));
        let document = self.slots.get(&secret.name).filter(|_| declared)?;
        let value = causeway_http::document_field(&document, field)?;
        String::from_utf8(value.expose().to_vec()).ok()
    }

    /// A secret itself, where its declaration says so.
    pub(crate) fn reveal(&self, secret: &SecretRef) -> Result<Secret> {
        let absent = || Error::new(ErrorKind::NotFound, format!("the secret \"{}\" is not set", secret.name));
        if !self.uses.get(&secret.name).is_some_and(|uses| uses.reveal) {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("the secret \"{}\" is not declared to be revealed", secret.name),
            ));
        }
        let whole = self.slots.get(&secret.name).ok_or_else(absent)?;
        match &secret.field {
            None => Ok(whole),
            Some(field) => causeway_http::document_field(&whole, field).ok_or_else(absent),
        }
    }
}
