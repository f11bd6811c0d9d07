//! The index: small records in one embedded store, written by one thread.
//!
//! It does not know what its records mean. A commit is a list of puts and deletes that happens as a whole or not at all.
//! The thread takes every commit that waits, makes one transaction of them, syncs the content directory (so that no
//! record names a file that a power loss would take away), commits, and only then answers: closes that come together
//! share one sync.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use causeway_storage::{Error, Result};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::sync::oneshot;

/// Memory for pages of the store: 16 MiB hold the records of some tens of thousands of files.
const PAGE_CACHE_BYTES: usize = 16 << 20;

/// Commits that may wait for the thread; a caller beyond that waits its turn. More than the kernel requests in flight.
const WAITING_COMMITS: usize = 4096;

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
    /// Records that could not be understood, kept for people.
    Quarantine,
}

impl Table {
    const ALL: [Table; 5] = [Table::Objects, Table::Intents, Table::Progress, Table::Directories, Table::Quarantine];

    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Table::Objects => "objects",
            Table::Intents => "intents",
            Table::Progress => "progress",
            Table::Directories => "directories",
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
    database: Arc<Database>,
    sender: Option<SyncSender<Waiting>>,
    writer: Option<JoinHandle<()>>,
}

impl Index {
    /// Opens or creates the store; `content` is the directory that its records speak of.
    pub(crate) fn open(file: &Path, content: &Path) -> Result<Index> {
        let database = Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(file).map_err(broken)?;
        let transaction = database.begin_write().map_err(broken)?;
        for table in Table::ALL {
            transaction.open_table(table.definition()).map_err(broken)?;
        }
        transaction.commit().map_err(broken)?;
        let database = Arc::new(database);
        let content = std::fs::File::open(content)?;
        let (sender, receiver) = sync_channel(WAITING_COMMITS);
        let written = database.clone();
        let writer = std::thread::Builder::new()
            .name("cache-index".into())
            .spawn(move || write_all(&written, &content, &receiver))?;
        Ok(Index { database, sender: Some(sender), writer: Some(writer) })
    }

    /// Hands a commit to the thread, in order, and returns what to wait on.
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
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(table.definition()).map_err(broken)?;
        Ok(table.get(key).map_err(broken)?.map(|value| value.value().to_vec()))
    }

    /// Calls `each` with every record whose key begins with `prefix`, in order of keys.
    pub(crate) fn scan(&self, table: Table, prefix: &str, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(table.definition()).map_err(broken)?;
        for record in table.range(prefix..).map_err(broken)? {
            let (key, value) = record.map_err(broken)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            each(key.value(), value.value());
        }
        Ok(())
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

fn write_all(database: &Database, content: &std::fs::File, receiver: &Receiver<Waiting>) {
    while let Ok(first) = receiver.recv() {
        let mut together = vec![first];
        together.extend(receiver.try_iter().take(WAITING_COMMITS));
        let outcome = write(database, content, &together);
        if let Err(error) = &outcome {
            tracing::error!(?error, "the cache's index could not be written");
        }
        for waiting in together {
            // Whoever no longer waits does not need the answer.
            let _ = waiting.done.send(outcome.clone());
        }
    }
}

fn write(database: &Database, content: &std::fs::File, together: &[Waiting]) -> Result<()> {
    content.sync_all()?;
    let transaction = database.begin_write().map_err(broken)?;
    for op in together.iter().flat_map(|waiting| &waiting.ops) {
        let mut table = transaction.open_table(op.table.definition()).map_err(broken)?;
        match &op.value {
            Some(value) => table.insert(op.key.as_str(), value.as_slice()).map_err(broken)?.is_some(),
            None => table.remove(op.key.as_str()).map_err(broken)?.is_some(),
        };
    }
    transaction.commit().map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("index: {error}"))
}
