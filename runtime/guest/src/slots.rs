//! The secrets of one backend by name: those in the settings, the slots that captures or the component fill, and the
//! access token where the host runs OAuth.
//!
//! A slot is stored before it is used, and read back when the backend is opened, or when another process may have filled
//! it. Slots named by a star are listed beside them (`*`), since nobody else would know their names after a restart.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use causeway_http::Secrets;
use causeway_storage::{Error, ErrorKind, Result, Secret, Settings, Value};
use serde::{Deserialize, Serialize};

use crate::backend::State;

/// The name of OAuth's token.
pub(crate) const ACCESS_TOKEN: &str = "access-token";

/// Where the names of filled slots that a star stands for are listed. No slot has this name.
const NAMES: &str = "*";

/// Secrets by name.
pub(crate) struct Slots {
    settings: Arc<Settings>,
    /// Names as declared; one that ends in `*` stands for all that begin so.
    declared: Vec<String>,
    state: Arc<dyn State>,
    held: Mutex<Held>,
    /// One change of the list of names at a time.
    naming: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    filled: HashMap<String, Slot>,
    access: Option<Secret>,
    /// What only the host uses, and no text may show.
    hidden: Vec<Secret>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    value: Vec<u8>,
    /// The component sealed it itself, so it knows it.
    known: bool,
    /// Milliseconds since 1970.
    expires_ms: Option<u64>,
    /// A cookie jar: it changes with nearly every answer, so a change says nothing of a new sign-in.
    #[serde(default)]
    jar: bool,
}

impl Slots {
    /// The slots of a backend; nothing is in them until [`Slots::reload`].
    pub(crate) fn new(settings: Arc<Settings>, declared: Vec<String>, state: Arc<dyn State>) -> Slots {
        Slots { settings, declared, state, held: Mutex::default(), naming: tokio::sync::Mutex::default() }
    }

    /// Reads what is stored. Whether something else was stored than was known, cookies aside.
    pub(crate) async fn reload(&self) -> Result<bool> {
        let mut names: BTreeSet<String> = self.declared.iter().filter(|name| !name.ends_with('*')).cloned().collect();
        if names.len() < self.declared.len() {
            names.extend(self.names().await?);
        }
        let mut filled = HashMap::new();
        for name in names {
            if let Some(found) = self.state.get(&name).await? {
                let slot: Slot = serde_json::from_slice(&found.value).map_err(Error::internal)?;
                filled.insert(name, slot);
            }
        }
        let told = |slots: &HashMap<String, Slot>| {
            let told = slots.iter().filter(|(_, slot)| !slot.jar);
            told.map(|(name, slot)| (name.clone(), slot.value.clone())).collect::<HashMap<_, _>>()
        };
        let mut held = self.held();
        let changed = told(&held.filled) != told(&filled);
        held.filled = filled;
        Ok(changed)
    }

    /// What is filled counts for nothing: it belongs to another sign-in. Nothing that is stored is touched.
    pub(crate) fn disregard(&self) {
        self.held().filled.clear();
    }

    /// The access token from now on, and what renews it.
    pub(crate) fn grant(&self, access: Option<Secret>, hidden: Vec<Secret>) {
        let mut held = self.held();
        held.access = access;
        held.hidden = hidden;
    }

    pub(crate) async fn seal(&self, name: &str, value: Vec<u8>) -> Result<()> {
        self.store(name, Slot { value, known: true, expires_ms: None, jar: false }).await
    }

    pub(crate) async fn expire(&self, name: &str, lives: Duration) -> Result<()> {
        match self.slot(name) {
            Some(slot) => {
                let lives_ms = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
                self.store(name, Slot { expires_ms: Some(now_ms().saturating_add(lives_ms)), ..slot }).await
            }
            None => Ok(()),
        }
    }

    pub(crate) async fn empty(&self, name: &str) -> Result<()> {
        if self.is_declared(name) {
            self.state.remove(name).await?;
            self.held().filled.remove(name);
        }
        Ok(())
    }

    pub(crate) fn is_filled(&self, name: &str) -> bool {
        self.slot(name).is_some()
    }

    /// How long the first of the filled slots still lives that has an end; zero if one has ended.
    pub(crate) fn shortest_life(&self) -> Option<Duration> {
        let ends = self.held().filled.values().filter_map(|slot| slot.expires_ms).min();
        ends.map(|at| Duration::from_millis(at.saturating_sub(now_ms())))
    }

    fn slot(&self, name: &str) -> Option<Slot> {
        let now = now_ms();
        self.held().filled.get(name).filter(|slot| slot.expires_ms.is_none_or(|at| at > now)).cloned()
    }

    fn is_declared(&self, name: &str) -> bool {
        self.declared.iter().any(|declared| match declared.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning) && name.len() > beginning.len(),
            None => declared == name,
        })
    }

    async fn store(&self, name: &str, slot: Slot) -> Result<()> {
        if !self.is_declared(name) {
            return Err(Error::new(ErrorKind::Denied, format!("`{name}` is not a declared slot")));
        }
        if !self.declared.iter().any(|declared| declared == name) {
            self.note(name).await?;
        }
        let record = serde_json::to_vec(&slot).map_err(Error::internal)?;
        // Stored first: a token that was rotated must not be lost.
        self.state.set(name, &record, None).await?;
        self.held().filled.insert(name.to_owned(), slot);
        Ok(())
    }

    async fn note(&self, name: &str) -> Result<()> {
        let _one = self.naming.lock().await;
        let mut names = self.names().await?;
        if names.insert(name.to_owned()) {
            let list = serde_json::to_vec(&names).map_err(Error::internal)?;
            self.state.set(NAMES, &list, None).await?;
        }
        Ok(())
    }

    async fn names(&self) -> Result<BTreeSet<String>> {
        match self.state.get(NAMES).await? {
            Some(list) => serde_json::from_slice(&list.value).map_err(Error::internal),
            None => Ok(BTreeSet::new()),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // What is under this lock is changed in single steps.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Secrets for Slots {
    fn get(&self, name: &str) -> Option<Secret> {
        if name == ACCESS_TOKEN
            && let Some(access) = &self.held().access
        {
            return Some(access.clone());
        }
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
        let held = self.held();
        let filled = held.filled.values().map(|slot| Secret::new(slot.value.clone()));
        of_settings.chain(filled).chain(held.access.clone()).chain(held.hidden.clone()).collect()
    }

    async fn fill(&self, slot: &str, value: Secret) -> Result<()> {
        self.store(slot, Slot { value: value.expose().to_vec(), known: false, expires_ms: None, jar: false }).await
    }

    async fn fill_jar(&self, slot: &str, jar: Secret) -> Result<()> {
        self.store(slot, Slot { value: jar.expose().to_vec(), known: false, expires_ms: None, jar: true }).await
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}
