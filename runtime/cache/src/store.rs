//! The store under the index: tables of small records in one embedded database.
//!
//! It knows nothing of the log in front of it but the number up to which the log's records are in it, which changes in the
//! same transaction as they do. After an error of the disk the database answers nothing any more, and is opened anew.

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use causeway_storage::{Error, ErrorKind, Result};
use redb::{AccessGuard, Database, ReadableDatabase, TableDefinition};

use crate::index::Table;

/// Memory for pages of the store: 16 MiB hold the records of some tens of thousands of files.
const PAGE_CACHE_BYTES: usize = 16 << 20;

/// Under which key in [`Table::Meta`] the number stands up to which the log's records are here.
const CHECKPOINTED: &str = "checkpointed";

pub(crate) type Opener = Box<dyn Fn() -> Result<Database> + Send + Sync>;

/// One record to put, or with no value to delete.
pub(crate) type Change<'a> = (&'a str, Option<&'a [u8]>);

/// The database.
pub(crate) struct Store {
    open: Opener,
    /// None while it could not be opened again.
    database: RwLock<Option<Database>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// How to open or create the database in a file.
pub(crate) fn opener(file: &Path) -> Opener {
    let file = file.to_owned();
    Box::new(move || Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(&file).map_err(broken))
}

impl Store {
    /// A store that is opened like this, again after it failed.
    pub(crate) fn over(open: Opener) -> Result<Store> {
        let database = open()?;
        let transaction = database.begin_read().map_err(broken)?;
        let complete = Table::ALL.iter().all(|table| transaction.open_table(definition(*table)).is_ok());
        drop(transaction);
        if !complete {
            let transaction = database.begin_write().map_err(broken)?;
            for table in Table::ALL {
                transaction.open_table(definition(table)).map_err(broken)?;
            }
            transaction.commit().map_err(broken)?;
        }
        Ok(Store { open, database: RwLock::new(Some(database)) })
    }

    /// The number up to which the log's records are here.
    pub(crate) fn checkpointed(&self) -> Result<u64> {
        let value = self.get(Table::Meta, CHECKPOINTED)?;
        Ok(value.and_then(|value| Some(u64::from_le_bytes(value.try_into().ok()?))).unwrap_or(0))
    }

    /// One record.
    pub(crate) fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(|database| {
            let transaction = database.begin_read().map_err(broken)?;
            let table = transaction.open_table(definition(table)).map_err(broken)?;
            Ok(table.get(key).map_err(broken)?.map(|value| value.value().to_vec()))
        })
    }

    /// Begins to look at the records whose key begins with `prefix`; what changes from now on is not seen.
    pub(crate) fn range(&self, table: Table, prefix: &str) -> Result<Records> {
        Ok(self.range_from(table, prefix)?.within(prefix))
    }

    /// As [`Store::range`], with the records whose key is `from` or comes after it.
    pub(crate) fn range_from(&self, table: Table, from: &str) -> Result<Records> {
        self.read(|database| {
            let transaction = database.begin_read().map_err(broken)?;
            let range = transaction.open_table(definition(table)).map_err(broken)?.range(from..).map_err(broken)?;
            Ok(Records { range, prefix: String::new() })
        })
    }

    /// Makes all changes, those of a table in the order given, or none; on disk when this returns.
    pub(crate) fn write<'a>(&self, tables: &[(Table, Vec<Change<'a>>)], checkpointed: u64) -> Result<()> {
        self.reopen_if_closed()?;
        let written = self.read(|database| {
            let mut transaction = database.begin_write().map_err(broken)?;
            // So that opening after a crash does not look at every page.
            transaction.set_quick_repair(true);
            for (table, changes) in tables {
                let mut table = transaction.open_table(definition(*table)).map_err(broken)?;
                for (key, value) in changes {
                    match value {
                        Some(value) => table.insert(key, value).map_err(broken)?.is_some(),
                        None => table.remove(key).map_err(broken)?.is_some(),
                    };
                }
            }
            let mut meta = transaction.open_table(definition(Table::Meta)).map_err(broken)?;
            meta.insert(CHECKPOINTED, checkpointed.to_le_bytes().as_slice()).map_err(broken)?;
            drop(meta);
            transaction.commit().map_err(broken)
        });
        if written.is_err() {
            self.close();
            if let Err(error) = self.reopen_if_closed() {
                tracing::error!(?error, "the cache's index could not be opened again");
            }
        }
        written
    }

    /// Lets go of the file, until the next write.
    pub(crate) fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn read<T>(&self, look: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        look(database.as_ref().ok_or_else(|| Error::internal("the index could not be opened again"))?)
    }

    fn reopen_if_closed(&self) -> Result<()> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some((self.open)()?);
        }
        Ok(())
    }
}

/// Records in order of their keys.
pub(crate) struct Records {
    range: redb::Range<'static, &'static str, &'static [u8]>,
    prefix: String,
}

/// A key and its value.
pub(crate) type Record = (AccessGuard<'static, &'static str>, AccessGuard<'static, &'static [u8]>);

impl Records {
    /// Those of them whose key begins with `prefix`, from the first on.
    pub(crate) fn within(self, prefix: &str) -> Records {
        Records { prefix: prefix.to_owned(), ..self }
    }

    /// The next record, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Record>> {
        let record = self.range.next().transpose().map_err(broken)?;
        Ok(record.filter(|(key, _)| key.value().starts_with(&self.prefix)))
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}

pub(crate) fn broken(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Error::new(ErrorKind::QuotaExceeded, "the disk that holds the cache is full").with_detail(error)
        }
        other => Error::internal(format!("index: {other}")),
    }
}
