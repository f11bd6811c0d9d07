//! One backend as its calls see it: settings, state, slots and the way out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use causeway_http::request::SecretRef;
use causeway_http::uses::SecretUse;
use causeway_http::{Egress, Secrets};
use causeway_storage::{Encoding, Error, ErrorKind, Result, Secret, Settings, Value};
use serde::{Deserialize, Serialize};

use crate::engine::Io;

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
}

/// Which of a backend's two sets of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// What the component may read.
    State,
    /// Secrets that it may only use.
    Slot,
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

/// Secrets by name: those in the settings, and slots that captures or the component fill. A slot is stored before it is
/// used, and read back when the backend is opened.
pub(crate) struct Slots {
    settings: Arc<Settings>,
    /// Names as declared; one that ends in `*` stands for all that begin so.
    declared: Vec<String>,
    state: Arc<dyn State>,
    filled: Mutex<HashMap<String, Slot>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Slot {
    value: Vec<u8>,
    /// The component sealed it itself, so it knows it.
    known: bool,
    /// Milliseconds since 1970.
    expires_ms: Option<u64>,
}

impl Slots {
    /// The slots of a backend, with what was stored for them.
    pub(crate) async fn open(settings: Arc<Settings>, declared: Vec<String>, state: Arc<dyn State>) -> Result<Slots> {
        let mut filled = HashMap::new();
        for name in declared.iter().filter(|name| !name.ends_with('*')) {
            if let Some(held) = state.get(name).await? {
                filled.insert(name.clone(), serde_json::from_slice(&held.value).map_err(Error::internal)?);
            }
        }
        Ok(Slots { settings, declared, state, filled: Mutex::new(filled) })
    }

    pub(crate) async fn seal(&self, name: &str, value: Vec<u8>) -> Result<()> {
        self.store(name, Slot { value, known: true, expires_ms: None }).await
    }

    pub(crate) async fn expire(&self, name: &str, lives: Duration) -> Result<()> {
        match self.slot(name) {
            Some(slot) => {
                let at = SystemTime::now() + lives;
                let expires_ms =
                    at.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|at| u64::try_from(at.as_millis()).ok());
                self.store(name, Slot { expires_ms, ..slot }).await
            }
            None => Ok(()),
        }
    }

    pub(crate) async fn empty(&self, name: &str) -> Result<()> {
        if self.is_declared(name) {
            self.state.remove(name).await?;
            self.filled.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        Ok(())
    }

    pub(crate) fn is_filled(&self, name: &str) -> bool {
        self.slot(name).is_some()
    }

    fn slot(&self, name: &str) -> Option<Slot> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.get(name).filter(|slot| slot.expires_ms.is_none_or(|at| at > now)).cloned()
    }

    fn is_declared(&self, name: &str) -> bool {
        self.declared.iter().any(|declared| match declared.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => declared == name,
        })
    }

    async fn store(&self, name: &str, slot: Slot) -> Result<()> {
        if !self.is_declared(name) {
            return Err(Error::new(ErrorKind::Denied, format!("`{name}` is not a declared slot")));
        }
        let record = serde_json::to_vec(&slot).map_err(Error::internal)?;
        // Stored first: a token that was rotated must not be lost.
        self.state.set(name, &record, None).await?;
        self.filled.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), slot);
        Ok(())
    }
}

#[async_trait]
impl Secrets for Slots {
    fn get(&self, name: &str) -> Option<Secret> {
        match self.settings.get(name) {
            Some(Value::Secret(secret)) => Some(secret.clone()),
            _ => self.slot(name).map(|slot| Secret::new(slot.value)),
        }
    }

    fn is_sealed_by_component(&self, name: &str) -> bool {
        self.slot(name).is_some_and(|slot| slot.known)
    }

    fn all(&self) -> Vec<Secret> {
        let of_settings = self.settings.iter().filter_map(|(_, value)| match value {
            Value::Secret(secret) => Some(secret.clone()),
            _ => None,
        });
        let filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        of_settings.chain(filled.values().map(|slot| Secret::new(slot.value.clone()))).collect()
    }

    async fn fill(&self, slot: &str, value: Secret) -> Result<()> {
        self.store(slot, Slot { value: value.expose().to_vec(), known: false, expires_ms: None }).await
    }
}
