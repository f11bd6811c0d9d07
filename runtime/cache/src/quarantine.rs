//! What could not be understood, kept for people: records in a table of their own, files in a directory of their own.
//!
//! Nothing here is ever read again by the program, or deleted.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use causeway_storage::{Result, Timestamp};

use crate::index::{Index, Op, Table};

/// So many are told by name; all are kept.
const MOST_TOLD: usize = 1_000;

/// The quarantine of one cache.
#[derive(Debug)]
pub(crate) struct Quarantine {
    content: PathBuf,
    directory: PathBuf,
    told: Mutex<Vec<String>>,
}

impl Quarantine {
    pub(crate) fn new(content: PathBuf, directory: PathBuf) -> Quarantine {
        Quarantine { content, directory, told: Mutex::default() }
    }

    /// What was set aside since the cache was opened.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves a record here, unless it was replaced meanwhile.
    pub(crate) fn take_record(&self, index: &Index, table: Table, key: &str, value: &[u8]) -> Result<()> {
        let aside = Op::put(Table::Quarantine, format!("{} {key}", table.name()), value);
        if index.commit_instead(table, key, value, vec![aside, Op::delete(table, key)])? {
            self.tell(format!("a record of {}: {key}", table.name()));
        }
        Ok(())
    }

    /// Moves a content file here, if it is there.
    pub(crate) fn take_file(&self, name: &str) -> Result<()> {
        // The time tells it apart from one that came here earlier.
        let target = self.directory.join(format!("{name}.{}", Timestamp::now().seconds));
        match std::fs::rename(self.content.join(name), &target) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => {
                self.tell(format!("the file {name}"));
                Ok(())
            }
        }
    }

    /// Moves a working copy here, and with it what tells its own bytes from those of its base.
    pub(crate) fn take_copy(&self, name: &str) -> Result<()> {
        // First the log: without its file it would be taken for nothing.
        self.take_file(&format!("{name}.log"))?;
        self.take_file(name)
    }

    fn tell(&self, what: String) {
        tracing::error!(what, "what could not be understood, or belongs to nothing, was set aside");
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MOST_TOLD {
            told.push(what);
        }
    }
}
