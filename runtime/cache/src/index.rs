//! The index: small records in one embedded store, written by one thread.
//!
//! It does not know what its records mean. A commit is a list of puts and deletes that happens as a whole or not at all.
//! The thread takes every commit that waits, makes one transaction of them, syncs the content directory (so that no
//! record names a file that a power loss would take away), commits, and only then answers: closes that come together
//! share one sync.
//!
//! A transaction that fails (a full disk, most often) is answered as a failure and kept: it is tried again every second,
//! and goes before whatever comes later, so that the records on disk are always those of some moment, never a selection.
//! Who hands commits over looks first whether the store can be written at all, which bounds what is kept.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::sync::oneshot;

/// Memory for pages of the store: 16 MiB hold the records of some tens of thousands of files.
const PAGE_CACHE_BYTES: usize = 16 << 20;

/// Commits that may wait for the thread; a caller beyond that waits its turn. More than the kernel requests in flight.
const WAITING_COMMITS: usize = 4096;

/// What the disk refused is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// The kinds of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Content fetched from, or accepted by, a provider.
    Objects,
    /// Changes that a provider has not made yet.
    Intents,
    /// How far uploads got.
    Progress,
    /// Directories that only exist here.
    Directories,
    /// Modification times of directories, which most providers do not keep.
    Times,
    /// Records that could not be understood, kept for people.
    Quarantine,
}

impl Table {
    const ALL: [Table; 6] =
        [Table::Objects, Table::Intents, Table::Progress, Table::Directories, Table::Times, Table::Quarantine];

    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Table::Objects => "objects",
            Table::Intents => "intents",
            Table::Progress => "progress",
            Table::Directories => "directories",
            Table::Times => "times",
            Table::Quarantine => "quarantine",
        })
    }
}

/// One change of one record: a value to put, or none to delete.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) table: Table,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
}

struct Waiting {
    ops: Vec<Op>,
    done: oneshot::Sender<Result<()>>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Index {
    store: Arc<Store>,
    sender: Option<SyncSender<Waiting>>,
    writer: Option<JoinHandle<()>>,
}

impl Index {
    /// Opens or creates the store; `content` is the directory that its records speak of.
    pub(crate) fn open(file: &Path, content: &Path) -> Result<Index> {
        let file = file.to_owned();
        let open = move || Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(&file).map_err(broken);
        Index::over(Box::new(open), content)
    }

    /// A store that is opened like this, again after it failed.
    fn over(open: Opener, content: &Path) -> Result<Index> {
        let database = open()?;
        let transaction = database.begin_write().map_err(broken)?;
        for table in Table::ALL {
            transaction.open_table(table.definition()).map_err(broken)?;
        }
        transaction.commit().map_err(broken)?;
        let store = Arc::new(Store { open, database: RwLock::new(Some(database)), failing: Mutex::default() });
        let content = std::fs::File::open(content)?;
        let (sender, receiver) = sync_channel(WAITING_COMMITS);
        let written = store.clone();
        let writer = std::thread::Builder::new()
            .name("cache-index".into())
            .spawn(move || write_all(&written, &content, &receiver))?;
        Ok(Index { store, sender: Some(sender), writer: Some(writer) })
    }

    /// Why the store cannot be written now, if so. Nothing new should be handed to it then; it goes on trying what it
    /// was handed before.
    pub(crate) fn failing(&self) -> Option<Error> {
        lock(&self.store.failing).clone()
    }

    /// Hands a commit to the thread, in order, and returns what to wait on. If it fails, it is not on disk, and is made
    /// before everything that comes later, once the store can be written again.
    pub(crate) fn commit(&self, ops: Vec<Op>) -> oneshot::Receiver<Result<()>> {
        let (done, waiting) = oneshot::channel();
        if let Some(sender) = &self.sender {
            // A refused commit drops `done`, which the waiting side reads as a failure.
            let _ = sender.send(Waiting { ops, done });
        }
        waiting
    }

    /// One record.
    pub(crate) fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        self.store.read(|database| {
            let transaction = database.begin_read().map_err(broken)?;
            let table = transaction.open_table(table.definition()).map_err(broken)?;
            Ok(table.get(key).map_err(broken)?.map(|value| value.value().to_vec()))
        })
    }

    /// Calls `each` with every record whose key begins with `prefix`, in order of keys.
    pub(crate) fn scan(&self, table: Table, prefix: &str, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
        self.store.read(|database| {
            let transaction = database.begin_read().map_err(broken)?;
            let table = transaction.open_table(table.definition()).map_err(broken)?;
            for record in table.range(prefix..).map_err(broken)? {
                let (key, value) = record.map_err(broken)?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                each(key.value(), value.value());
            }
            Ok(())
        })
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

type Opener = Box<dyn Fn() -> Result<Database> + Send + Sync>;

/// The database, which must be opened anew after an input or output error.
struct Store {
    open: Opener,
    /// None while it could not be opened again.
    database: RwLock<Option<Database>>,
    failing: Mutex<Option<Error>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("failing", &self.failing).finish_non_exhaustive()
    }
}

impl Store {
    fn read<T>(&self, look: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        look(database.as_ref().ok_or_else(|| Error::internal("the index could not be opened again"))?)
    }

    fn write<'a>(&self, content: &std::fs::File, ops: impl Iterator<Item = &'a Op>) -> Result<()> {
        self.reopen_if_closed()?;
        content.sync_all()?;
        self.read(|database| {
            let transaction = database.begin_write().map_err(broken)?;
            for op in ops {
                let mut table = transaction.open_table(op.table.definition()).map_err(broken)?;
                match &op.value {
                    Some(value) => table.insert(op.key.as_str(), value.as_slice()).map_err(broken)?.is_some(),
                    None => table.remove(op.key.as_str()).map_err(broken)?.is_some(),
                };
            }
            transaction.commit().map_err(broken)
        })
    }

    fn reopen_if_closed(&self) -> Result<()> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some((self.open)()?);
        }
        Ok(())
    }

    fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn write_all(store: &Store, content: &std::fs::File, receiver: &Receiver<Waiting>) {
    let mut refused: Vec<Op> = Vec::new();
    loop {
        let first = match refused.is_empty() {
            true => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => receiver.recv_timeout(AGAIN),
        };
        let mut together = match first {
            Ok(first) => vec![first],
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        together.extend(receiver.try_iter().take(WAITING_COMMITS));
        let ops = refused.iter().chain(together.iter().flat_map(|waiting| &waiting.ops));
        let outcome = store.write(content, ops);
        *lock(&store.failing) = outcome.as_ref().err().cloned();
        if let Err(error) = &outcome {
            tracing::error!(?error, "the cache's index could not be written");
            // After an error of the disk the database answers nothing any more until it is opened anew.
            store.close();
            if let Err(error) = store.reopen_if_closed() {
                tracing::error!(?error, "the cache's index could not be opened again");
            }
        } else {
            refused.clear();
        }
        for waiting in together {
            if outcome.is_err() {
                refused.extend(waiting.ops);
            }
            // Whoever no longer waits does not need the answer.
            let _ = waiting.done.send(outcome.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A single value, replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Error::new(ErrorKind::QuotaExceeded, "the disk that holds the cache is full").with_detail(error)
        }
        other => Error::internal(format!("index: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::FileBackend;

    use super::*;

    /// A disk that can be full.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn check(&self) -> io::Result<()> {
            if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
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
            self.check()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }

    fn open(directory: &Path, full: &Arc<AtomicBool>) -> Index {
        let (file, full) = (directory.join("index"), full.clone());
        let open = move || {
            let file: File = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
            let disk = Disk { file: FileBackend::new(file).map_err(broken)?, full: full.clone() };
            Database::builder().create_with_backend(disk).map_err(broken)
        };
        Index::over(Box::new(open), directory).unwrap()
    }

    fn put(index: &Index, key: &str) -> Result<()> {
        let op = Op { table: Table::Intents, key: key.into(), value: Some(b"x".to_vec()) };
        index.commit(vec![op]).blocking_recv().unwrap()
    }

    #[test]
    fn a_full_disk_refuses_and_what_was_refused_comes_first_later() {
        let directory = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let index = open(directory.path(), &full);
        put(&index, "before").unwrap();
        full.store(true, Ordering::SeqCst);
        for key in ["a", "b"] {
            assert_eq!(put(&index, key).unwrap_err().kind, ErrorKind::QuotaExceeded);
            assert!(index.failing().is_some());
        }
        full.store(false, Ordering::SeqCst);
        put(&index, "after").unwrap();
        assert_eq!(index.failing(), None);
        drop(index);
        let index = open(directory.path(), &full);
        for key in ["before", "a", "b", "after"] {
            assert!(index.get(Table::Intents, key).unwrap().is_some(), "{key}");
        }
    }

    #[test]
    fn room_on_the_disk_is_noticed_without_being_asked() {
        let directory = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let index = open(directory.path(), &full);
        full.store(true, Ordering::SeqCst);
        put(&index, "a").unwrap_err();
        full.store(false, Ordering::SeqCst);
        while index.failing().is_some() {
            std::thread::yield_now();
        }
        assert!(index.get(Table::Intents, "a").unwrap().is_some());
    }

    #[test]
    fn what_was_never_acknowledged_is_all_that_the_end_of_the_process_takes() {
        let directory = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let index = open(directory.path(), &full);
        put(&index, "acknowledged").unwrap();
        full.store(true, Ordering::SeqCst);
        put(&index, "refused").unwrap_err();
        drop(index);
        full.store(false, Ordering::SeqCst);
        let index = open(directory.path(), &full);
        assert!(index.get(Table::Intents, "acknowledged").unwrap().is_some());
        assert!(index.get(Table::Intents, "refused").unwrap().is_none());
    }
}
