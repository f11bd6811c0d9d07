//! Tests of the index against a toy, a full disk, and a machine that ends at any moment.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use proptest::prelude::*;
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use super::*;
use crate::store::broken;

/// Small, so that the log goes round often.
const SMALL: u64 = 4 << 10;

/// A disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
    /// At which of the coming syncs it fails; 0 for none.
    fails_in: Arc<AtomicU32>,
}

impl Disk {
    /// What has its place goes on to be written: the header.
    fn check(&self, offset: u64) -> io::Result<()> {
        let is_full = offset >= 4096 && self.full.load(Ordering::SeqCst);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let left = self.fails_in.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if left == Ok(1) { Err(io::Error::other("the disk said no")) } else { self.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

fn open(directory: &Path, full: &Arc<AtomicBool>) -> Index {
    open_failing(directory, full, &Arc::default())
}

fn open_failing(directory: &Path, full: &Arc<AtomicBool>, fails_in: &Arc<AtomicU32>) -> Index {
    let (file, full, fails_in) = (directory.join("index.redb"), full.clone(), fails_in.clone());
    let open = move || {
        let file: File = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
        let disk =
            Disk { file: FileBackend::new(file).map_err(broken)?, full: full.clone(), fails_in: fails_in.clone() };
        Database::builder().create_with_backend(disk).map_err(broken)
    };
    Index::over(Box::new(open), directory, directory, SMALL).unwrap()
}

/// The directory as it would be if the process ended now.
fn killed(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["index.redb", "log-0", "log-1"] {
        std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn put(index: &Index, key: &str) -> Result<Pending> {
    index.commit(vec![Op::put(Table::Intents, key, *b"x")], false)
}

/// Why nothing new is accepted, if so.
fn failing(index: &Index) -> Option<Error> {
    let state = index.shared.state();
    state.log_failure.clone().or_else(|| state.store_failure.clone().filter(|_| state.is_tight()))
}

fn keys(index: &Index) -> Vec<String> {
    let mut keys = Vec::new();
    index.scan(Table::Intents, "", |key, _| keys.push(key.to_owned())).unwrap();
    keys
}

/// Lets the disk be full until commits are refused, and gives the keys of those that were not.
fn fill(index: &Index, full: &AtomicBool) -> Vec<String> {
    full.store(true, Ordering::SeqCst);
    let mut accepted = Vec::new();
    loop {
        let key = format!("{:05}", accepted.len());
        match put(index, &key) {
            Ok(_) => accepted.push(key),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::QuotaExceeded);
                assert_eq!(failing(index), Some(error));
                return accepted;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_keeps_what_it_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let index = open(directory.path(), &full);
    let accepted = fill(&index, &full);
    assert!(accepted.len() > 50, "{}", accepted.len());
    assert_eq!(keys(&index), accepted, "and nothing of what was refused");
    drop(index);
    let index = open(directory.path(), &Arc::default());
    assert_eq!(keys(&index), accepted);
}

#[test]
fn on_a_full_disk_there_is_room_for_taking_away_what_waits() {
    let directory = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let index = open(directory.path(), &full);
    let accepted = fill(&index, &full);
    index.commit(vec![Op::delete(Table::Intents, accepted[0].as_str())], false).unwrap().wait_blocking().unwrap();
    assert_eq!(keys(&index), accepted[1..]);
}

#[test]
fn room_on_the_disk_is_noticed_without_being_asked() {
    let directory = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let index = open(directory.path(), &full);
    let accepted = fill(&index, &full);
    full.store(false, Ordering::SeqCst);
    while failing(&index).is_some() {
        std::thread::yield_now();
    }
    put(&index, "after").unwrap().wait_blocking().unwrap();
    assert_eq!(keys(&index).len(), accepted.len() + 1);
}

#[test]
fn one_sync_is_for_all_that_came_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(directory.path(), &Arc::default());
    let mut commits: Vec<Pending> = (0..20).map(|key| put(&index, &key.to_string()).unwrap()).collect();
    commits.pop().unwrap().wait_blocking().unwrap();
    for earlier in commits {
        assert_eq!(earlier.answer().try_recv(), Ok(Ok(())));
    }
}

#[test]
fn all_who_wait_at_once_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(directory.path(), &Arc::default());
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let index = &index;
            scope.spawn(move || {
                for step in 0..20 {
                    put(index, &format!("{writer} {step:02}")).unwrap().wait_blocking().unwrap();
                }
            });
        }
    });
    assert_eq!(keys(&killed_and_opened(&index, directory.path()).1).len(), 160);
}

#[test]
fn a_log_that_could_not_be_synced_is_never_believed_again() {
    let directory = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let index = open(directory.path(), &full);
    put(&index, "before").unwrap().wait_blocking().unwrap();
    full.store(true, Ordering::SeqCst);
    let accepted = put(&index, "accepted").unwrap();
    index.shared.log_failed(&mut index.shared.state(), Error::internal("the disk said no"));
    assert_eq!(accepted.clone().wait_blocking().unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(put(&index, "refused").unwrap_err().kind, ErrorKind::Internal);
    full.store(false, Ordering::SeqCst);
    while failing(&index).is_some() {
        std::thread::yield_now();
    }
    accepted.wait_blocking().unwrap();
    put(&index, "later").unwrap().wait_blocking().unwrap();
    let (_copy, again) = killed_and_opened(&index, directory.path());
    assert_eq!(keys(&again), ["accepted", "before", "later"]);
}

#[test]
fn what_is_too_large_for_the_log_keeps_its_place_in_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let index = open(directory.path(), &Arc::default());
    let large = vec![7; MOST_LOGGED_BYTES + 1];
    put(&index, "before").unwrap();
    let commit = index.commit(vec![Op::put(Table::Progress, "a", large.clone())], false).unwrap();
    index.commit(vec![Op::put(Table::Progress, "a", *b"small")], false).unwrap();
    put(&index, "after").unwrap();
    commit.wait_blocking().unwrap();
    let (_copy, again) = killed_and_opened(&index, directory.path());
    assert_eq!(keys(&again), ["after", "before"]);
    assert_eq!(again.get(Table::Progress, "a").unwrap().as_deref(), Some(b"small".as_slice()));
    index.commit(vec![Op::put(Table::Progress, "a", large.clone())], false).unwrap();
    let (_copy, again) = killed_and_opened(&index, directory.path());
    assert_eq!(again.get(Table::Progress, "a").unwrap(), Some(large));
}

#[test]
fn what_is_too_large_for_the_log_is_made_or_not_wherever_the_disk_fails_and_costs_nothing_that_comes_later() {
    let mut failed = 0;
    for sync in 1..6 {
        let directory = tempfile::tempdir().unwrap();
        let fails_in = Arc::new(AtomicU32::new(0));
        let index = open_failing(directory.path(), &Arc::default(), &fails_in);
        put(&index, "before").unwrap();
        fails_in.store(sync, Ordering::SeqCst);
        let large = index.commit(vec![Op::put(Table::Progress, "a", vec![7; MOST_LOGGED_BYTES + 1])], false);
        failed += u32::from(fails_in.swap(0, Ordering::SeqCst) == 0);
        put(&index, "later").unwrap().wait_blocking().unwrap();
        let (_copy, again) = killed_and_opened(&index, directory.path());
        assert_eq!(keys(&again), ["before", "later"], "sync {sync}");
        assert_eq!(again.get(Table::Progress, "a").unwrap().is_some(), large.is_ok(), "sync {sync}");
    }
    assert!(failed > 0);
}

#[test]
fn names_are_synced_by_everyone_until_somebody_has_done_it() {
    let mut names = Names { given: 1, synced: 0 };
    let first = names.unsynced().unwrap();
    assert_eq!(names.unsynced(), Some(first));
    names.given += 1;
    let second = names.unsynced().unwrap();
    names.synced(second);
    assert_eq!(names.unsynced(), None);
    names.synced(first);
    assert_eq!(names.unsynced(), None);
    names.given += 1;
    assert!(names.unsynced().is_some());
}

/// What a process finds that begins after this one was killed.
fn killed_and_opened(index: &Index, directory: &Path) -> (tempfile::TempDir, Index) {
    let copy = {
        // The store is not being written meanwhile.
        let _storing = index.shared.storing.lock().unwrap();
        killed(directory)
    };
    let again = open(copy.path(), &Arc::default());
    (copy, again)
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, u8, Option<u8>)>),
    Store,
    Restart,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = (0..3u8, 0..12u8, proptest::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        12 => proptest::collection::vec(op, 1..6).prop_map(Step::Commit),
        2 => Just(Step::Store),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 1..40)
}

fn op((table, key, value): (u8, u8, Option<u8>)) -> Op {
    let table = Table::ALL[usize::from(table)];
    let value = value.map(|value| vec![value; usize::from(value)].into());
    Op { table, key: format!("{}/{key:02}", key % 3), value }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map_whatever_happens(steps in steps()) {
        let mut directory = tempfile::tempdir().unwrap();
        let mut index = open(directory.path(), &Arc::default());
        let mut model: BTreeMap<(usize, String), Vec<u8>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Commit(ops) => {
                    let ops: Vec<Op> = ops.into_iter().map(op).collect();
                    for op in &ops {
                        let key = (op.table as usize, op.key.clone());
                        match &op.value {
                            Some(value) => drop(model.insert(key, value.to_vec())),
                            None => drop(model.remove(&key)),
                        }
                    }
                    index.commit(ops, false).unwrap();
                }
                Step::Store => index.shared.store_once().unwrap(),
                Step::Restart => {
                    drop(index);
                    index = open(directory.path(), &Arc::default());
                }
                Step::Kill => (directory, index) = killed_and_opened(&index, directory.path()),
            }
            for table in &Table::ALL[..3] {
                for prefix in ["", "1/"] {
                    let mut found = BTreeMap::new();
                    index.scan(*table, prefix, |key, value| {
                        found.insert((*table as usize, key.to_owned()), value.to_vec());
                    }).unwrap();
                    let expected = model.iter().filter(|((of, key), _)| *of == *table as usize && key.starts_with(prefix));
                    prop_assert_eq!(found, expected.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>());
                }
                for key in 0..12 {
                    let key = format!("{}/{key:02}", key % 3);
                    let expected = model.get(&(*table as usize, key.clone())).cloned();
                    prop_assert_eq!(index.get(*table, &key).unwrap(), expected);
                }
            }
        }
    }
}
