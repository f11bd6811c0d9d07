//! What is to stay here: which paths somebody wants kept, and which content that is at the moment.
//!
//! It does not know which content lies at a path, and fetches nothing. Content that is pinned is not evicted, whatever its
//! age and however little room there is, and not deleted when it is closed. Only what is not here as a whole may make room
//! for itself, where it is read and nothing else can.

use std::collections::{BTreeMap, HashSet};

use causeway_storage::{Error, Path, Result};

use super::Scope;
use crate::Cache;
use crate::object::{ObjectKey, ObjectRecord};
use crate::op::{Op, Table};

/// Records changed in one step.
const AT_ONCE: usize = 256;

impl Scope {
    /// The paths that are to stay here, by who wants them. What cannot be understood is not wanted by anybody. Blocking.
    pub fn pins(&self) -> Result<BTreeMap<String, Vec<Path>>> {
        let mut pins = BTreeMap::new();
        let prefix = format!("{}p", self.place.prefix);
        self.cache.index.scan(Table::Pins, &prefix, |key, value| {
            if let Some(owner) = key.strip_prefix(&prefix)
                && let Ok(paths) = serde_json::from_slice(value)
            {
                pins.insert(owner.to_owned(), paths);
            }
        })?;
        Ok(pins)
    }

    /// Writes down which paths this owner wants to stay here; survives a power loss when it returns. Blocking.
    pub fn set_pins(&self, owner: &str, paths: &[Path]) -> Result<()> {
        let key = format!("{}p{owner}", self.place.prefix);
        let op = match paths {
            [] => Op::delete(Table::Pins, key),
            paths => Op::put(Table::Pins, key, serde_json::to_vec(paths).map_err(Error::internal)?),
        };
        self.cache.index.commit(vec![op], false)?.wait_blocking()
    }

    /// Pins content, whatever of it is here. Blocking.
    pub fn pin(&self, content: &ObjectKey) -> Result<()> {
        if self.is_pinned(content)? {
            return Ok(());
        }
        self.commit(vec![Op::put(Table::Pins, pin_key(&self.place.prefix, &content.record_key("")), [])], false)
    }

    /// Lets all pinned content go but this. It stays in the cache for as long as any other. Blocking.
    pub fn unpin_all_but(&self, content: &HashSet<ObjectKey>) -> Result<()> {
        let wanted: HashSet<String> = content.iter().map(|key| key.record_key("")).collect();
        let pinned = pin_key(&self.place.prefix, "");
        let mut gone = Vec::new();
        self.cache.index.scan(Table::Pins, &pinned, |key, _| {
            if key.strip_prefix(&pinned).is_some_and(|content| !wanted.contains(content)) {
                gone.push(Op::delete(Table::Pins, key));
            }
        })?;
        while !gone.is_empty() {
            let rest = gone.split_off(AT_ONCE.min(gone.len()));
            self.commit(gone, false)?;
            gone = rest;
        }
        Ok(())
    }

    pub(super) fn is_pinned(&self, content: &ObjectKey) -> Result<bool> {
        self.cache.is_pinned(&self.place.prefix, &content.record_key(""))
    }

    /// How many bytes of some content are here. Blocking.
    pub fn held_bytes(&self, content: &ObjectKey) -> Result<u64> {
        if let Some(object) = crate::object::in_use(&self.place.open, content) {
            return Ok(object.present_bytes());
        }
        let record = self.cache.index.get(Table::Objects, &content.record_key(&self.place.prefix))?;
        let record = record.and_then(|record| serde_json::from_slice::<ObjectRecord>(&record).ok());
        Ok(record.map_or(0, |record| record.present.total()))
    }
}

impl Cache {
    /// Whether content of a backend is pinned, whoever uses that backend at the moment.
    pub(crate) fn is_pinned(&self, prefix: &str, content: &str) -> Result<bool> {
        Ok(self.index.get(Table::Pins, &pin_key(prefix, content))?.is_some())
    }
}

/// Where it is written down that content is pinned.
fn pin_key(prefix: &str, content: &str) -> String {
    format!("{prefix}o{content}")
}
