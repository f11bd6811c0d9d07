//! What is known of the provider, kept over a restart: small records by key, which only help.
//!
//! It does not know what they mean. Nobody waits until one survives a power loss, and each carries a checksum: one that was
//! damaged is as if it were not there.

use causeway_storage::Result;
use crc_fast::{CrcAlgorithm, checksum};

use super::Scope;
use crate::op::{Op, Table};

/// Bytes of records changed in one step: what is too large for the log is written into the store while everyone waits.
const STEP_BYTES: usize = 1 << 20;

/// Bytes of the checksum at the end of each record.
const CHECKSUM_BYTES: usize = 4;

impl Scope {
    /// A record; none where there is none, or what is there was damaged. Blocking.
    pub fn known(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let record = self.cache.index.get(Table::Known, &format!("{}{key}", self.place.prefix))?;
        Ok(record.and_then(|record| sound(&record).map(<[u8]>::to_vec)))
    }

    /// Calls `each` with every sound record whose key begins with `prefix`, in order of keys. Blocking.
    pub fn each_known(&self, prefix: &str, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
        self.cache.index.scan(Table::Known, &format!("{}{prefix}", self.place.prefix), |key, record| {
            if let Some((key, record)) = key.strip_prefix(&self.place.prefix).zip(sound(record)) {
                each(key, record);
            }
        })
    }

    /// Puts and deletes records, in order: if it fails, the first of them may be changed. Blocking, as every change of the
    /// index.
    pub fn set_known(&self, changes: Vec<(String, Option<Vec<u8>>)>) -> Result<()> {
        let op = |(key, record): (String, Option<Vec<u8>>)| {
            let key = format!("{}{key}", self.place.prefix);
            record.map_or(Op::delete(Table::Known, key.clone()), |record| Op::put(Table::Known, key, sealed(record)))
        };
        in_steps(changes).into_iter().try_for_each(|step| self.commit(step.into_iter().map(op).collect(), false))
    }
}

/// The changes in order, in steps of which only one of a single record is larger than a step.
fn in_steps(changes: Vec<(String, Option<Vec<u8>>)>) -> Vec<Vec<(String, Option<Vec<u8>>)>> {
    let mut steps = Vec::new();
    let mut left = STEP_BYTES;
    for (key, record) in changes {
        let bytes = key.len() + record.as_ref().map_or(0, Vec::len);
        match steps.last_mut() {
            Some(step) if bytes <= left => Vec::push(step, (key, record)),
            _ => {
                steps.push(vec![(key, record)]);
                left = STEP_BYTES;
            }
        }
        left = left.saturating_sub(bytes);
    }
    steps
}

fn sealed(mut record: Vec<u8>) -> Vec<u8> {
    record.extend(crc(&record));
    record
}

fn sound(record: &[u8]) -> Option<&[u8]> {
    let (record, sum) = record.split_at_checked(record.len().checked_sub(CHECKSUM_BYTES)?)?;
    (crc(record) == sum).then_some(record)
}

fn crc(record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    // Its upper half is empty.
    (checksum(CrcAlgorithm::Crc32Iscsi, record) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Quotas};

    #[test]
    fn a_damaged_record_is_as_if_it_were_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let scope = Cache::open(directory.path(), Quotas::default()).unwrap().scope("tenant", "backend", 1).unwrap();
        scope.set_known(vec![("a".into(), Some(b"good".to_vec())), ("b".into(), Some(b"bad".to_vec()))]).unwrap();
        scope.commit(vec![Op::put(Table::Known, format!("{}b", scope.place.prefix), *b"bad!!!!")], false).unwrap();
        assert_eq!(scope.known("a").unwrap().as_deref(), Some(b"good".as_slice()));
        assert_eq!(scope.known("b").unwrap(), None);
        assert_eq!(scope.known("c").unwrap(), None);
        let mut keys = Vec::new();
        scope.each_known("", |key, _| keys.push(key.to_owned())).unwrap();
        assert_eq!(keys, ["a"]);
    }

    #[test]
    fn however_much_it_is_no_step_is_too_large_for_the_log() {
        let changes: Vec<_> = (0..20).map(|key| (format!("{key:02}"), Some(vec![7; key * 50_000]))).collect();
        let steps = in_steps(changes.clone());
        let bytes = |step: &Vec<(String, Option<Vec<u8>>)>| -> usize {
            step.iter().map(|(_, record)| record.as_ref().unwrap().len()).sum()
        };
        assert!(
            steps.iter().all(|step| bytes(step) <= STEP_BYTES),
            "{:?}",
            steps.iter().map(bytes).collect::<Vec<_>>()
        );
        assert!(steps.len() < changes.len());
        assert_eq!(steps.concat(), changes);
        assert_eq!(in_steps(vec![("a".into(), Some(vec![7; 2 * STEP_BYTES])), ("b".into(), None)]).len(), 2);
    }

    #[test]
    fn another_backend_sees_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), Quotas::default()).unwrap();
        let (scope, other) = (cache.scope("tenant", "b", 1).unwrap(), cache.scope("tenant", "b/1", 1).unwrap());
        scope.set_known(vec![("a".into(), Some(b"x".to_vec()))]).unwrap();
        assert_eq!(other.known("a").unwrap(), None);
        other.each_known("", |key, _| panic!("{key}")).unwrap();
    }
}
