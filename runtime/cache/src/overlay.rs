//! What the log has and the store under the index does not have yet, laid over the store for everyone who reads.
//!
//! It is as large as what is in the log, and goes with each checkpoint.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::op::{Op, Table};
use crate::store::Change;

/// A value, or that there is none.
pub(crate) type Value = Option<Arc<[u8]>>;

/// The newest change of each record that was changed.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    tables: [BTreeMap<String, (u64, Value)>; Table::ALL.len()],
}

/// The changes of each table, at one moment.
pub(crate) struct Snapshot(Vec<(Table, Vec<(String, Value)>)>);

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.iter().all(BTreeMap::is_empty)
    }

    /// Lays the changes of the commit of that number over what is there.
    pub(crate) fn apply(&mut self, number: u64, ops: Vec<Op>) {
        for Op { table, key, value } in ops {
            if let Some(changes) = self.tables.get_mut(table as usize) {
                changes.insert(key, (number, value));
            }
        }
    }

    /// The value of a record, if it was changed.
    pub(crate) fn get(&self, table: Table, key: &str) -> Option<Value> {
        Some(self.tables.get(table as usize)?.get(key)?.1.clone())
    }

    /// The changed records of a table whose key begins with `prefix`, in order of keys.
    pub(crate) fn range(&self, table: Table, prefix: &str) -> Vec<(String, Value)> {
        let changes = self.tables.get(table as usize).into_iter();
        let from = changes.flat_map(|changes| changes.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)));
        let found = from.take_while(|(key, _)| key.starts_with(prefix));
        found.map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }

    /// The changed records of a table from this key on, in order of keys.
    pub(crate) fn from(&self, table: Table, from: &str) -> impl Iterator<Item = (&String, &Value)> {
        let changes = self.tables.get(table as usize).into_iter();
        let from = changes.flat_map(move |changes| changes.range::<str, _>((Bound::Included(from), Bound::Unbounded)));
        from.map(|(key, (_, value))| (key, value))
    }

    /// The first changed record whose key is `from` or comes after it.
    pub(crate) fn next(&self, table: Table, from: &str) -> Option<(String, Value)> {
        let mut changes = self.tables.get(table as usize)?.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        changes.next().map(|(key, (_, value))| (key.clone(), value.clone()))
    }

    /// All changes.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let changes = |changes: &BTreeMap<String, (u64, Value)>| {
            changes.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect()
        };
        Snapshot(Table::ALL.into_iter().zip(self.tables.iter().map(changes)).collect())
    }

    /// Forgets the changes of all commits up to that number.
    pub(crate) fn drop_until(&mut self, number: u64) {
        for changes in &mut self.tables {
            changes.retain(|_, (changed, _)| *changed > number);
        }
    }
}

impl Snapshot {
    /// As the store takes them.
    pub(crate) fn changes(&self) -> Vec<(Table, Vec<Change<'_>>)> {
        let tables = self.0.iter().filter(|(_, changes)| !changes.is_empty());
        fn change((key, value): &(String, Value)) -> Change<'_> {
            (key.as_str(), value.as_deref())
        }
        tables.map(|(table, changes)| (*table, changes.iter().map(change).collect())).collect()
    }
}
