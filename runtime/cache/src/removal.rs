//! What goes from the cache when a backend is removed, or its settings changed so that nothing of before is valid.
//!
//! It does not decide that, and touches nothing that waits for upload: a generation with pending changes stays as it is.
//! Pins go first, so that from then on eviction takes what is left, whatever ends the process. Content that someone still
//! has open stays.

use std::collections::BTreeSet;

use causeway_storage::Result;

use crate::Cache;
use crate::index::{Op, Table};
use crate::room::backend_prefix;

/// Records deleted in one step.
const AT_ONCE: usize = 256;

/// Where a backend has records, in the order in which they go. Those of content go with their files.
const TABLES: [Table; 8] = [
    Table::Pins,
    Table::Known,
    Table::Kept,
    Table::Extended,
    Table::Times,
    Table::Directories,
    Table::Progress,
    Table::Secured,
];

impl Cache {
    /// Forgets all that was kept for a backend, or all but one generation of it, which nobody may use any more. Blocking.
    pub fn forget(&self, tenant: &str, backend: &str, keep: Option<u64>) -> Result<()> {
        let backend = backend_prefix(tenant, backend);
        let kept = keep.map(|generation| format!("{backend}{generation}/"));
        for prefix in self.generations(&backend)? {
            if kept.as_ref() == Some(&prefix) {
                continue;
            }
            let pending = self.index.next(Table::Intents, &prefix)?;
            if pending.is_some_and(|(key, _)| key.starts_with(&prefix)) {
                tracing::warn!(prefix, "what is kept for a removed backend stays: changes of it are pending");
                continue;
            }
            for table in TABLES {
                self.delete_below(table, &prefix)?;
                if table == Table::Pins {
                    for candidate in self.candidates(&prefix)? {
                        self.evict(&candidate)?;
                    }
                }
            }
            let mut notes = Vec::new();
            self.index.scan(Table::Meta, "", |key, _| {
                if key.split_once(' ').is_some_and(|(_, of)| of == prefix) {
                    notes.push(Op::delete(Table::Meta, key));
                }
            })?;
            self.index.commit(notes, false)?;
        }
        Ok(())
    }

    /// Where the keys of each generation of a backend begin that has any.
    fn generations(&self, backend: &str) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for table in TABLES.into_iter().chain([Table::Objects]) {
            let mut from = backend.to_owned();
            while let Some((key, _)) = self.index.next(table, &from)? {
                let rest = key.strip_prefix(backend).and_then(|rest| rest.split_once('/'));
                let Some((generation, _)) = rest else { break };
                found.insert(format!("{backend}{generation}/"));
                // Behind all of it: this follows the slash.
                from = format!("{backend}{generation}0");
            }
        }
        Ok(found)
    }

    fn delete_below(&self, table: Table, prefix: &str) -> Result<()> {
        let mut gone = Vec::new();
        self.index.scan(table, prefix, |key, _| gone.push(Op::delete(table, key)))?;
        gone.chunks(AT_ONCE).try_for_each(|some| self.index.commit(some.to_vec(), false).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{fetch, is_here, key, open, write};
    use crate::{Quotas, Scope};

    fn fill(scope: &Scope) {
        drop(fetch(scope, "f", 5));
        scope.pin(&key("f")).unwrap();
        scope.set_pins("mount", &[causeway_storage::Path::parse("f").unwrap()]).unwrap();
        scope.set_known(vec![("d".into(), Some(b"x".to_vec()))]).unwrap();
    }

    /// Records of all kinds whose key begins with this, or is about it.
    fn records(cache: &Cache, prefix: &str) -> usize {
        let mut records = 0;
        for table in Table::ALL {
            cache.index.scan(table, "", |key, _| records += usize::from(key.contains(prefix))).unwrap();
        }
        records
    }

    #[test]
    fn nothing_is_left_of_a_removed_backend_and_all_of_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(&directory, Quotas::default());
        let scopes = [("one", "b", 1), ("one", "b", 2), ("one", "b2", 1), ("other", "b", 1)];
        let scopes = scopes.map(|(tenant, backend, generation)| cache.scope(tenant, backend, generation).unwrap());
        scopes.iter().for_each(|scope| fill(scope));
        let [first, second, other_backend, other_tenant] = &scopes;
        cache.forget("one", "b", Some(2)).unwrap();
        assert_eq!(records(&cache, &first.place.prefix), 0);
        assert!(!is_here(first, "f", 5) && is_here(second, "f", 5));
        cache.forget("one", "b", None).unwrap();
        assert_eq!(records(&cache, &second.place.prefix), 0);
        for scope in [other_backend, other_tenant] {
            assert!(is_here(scope, "f", 5));
            assert_eq!(scope.pins().unwrap().len(), 1);
            assert_eq!(scope.known("d").unwrap().as_deref(), Some(b"x".as_slice()));
        }
        assert_eq!(std::fs::read_dir(&cache.content).unwrap().count(), 2);
    }

    #[test]
    fn what_waits_for_upload_is_never_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(&directory, Quotas::default());
        let scope = cache.scope("one", "b", 1).unwrap();
        fill(&scope);
        let waits = write(&scope, "g", 5);
        let before = records(&cache, &scope.place.prefix);
        cache.forget("one", "b", None).unwrap();
        assert_eq!(records(&cache, &scope.place.prefix), before);
        assert!(is_here(&scope, "f", 5) && cache.content.join(waits.file_name()).exists());
    }
}
