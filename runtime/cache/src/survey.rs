//! A look at everything that lay in the cache when it was opened, while it is in use already.
//!
//! It counts fetched content, deletes its records without a file, sets records aside that cannot be understood, deletes
//! fetched content without a record and sets working copies without one aside, each with its log, unless they hold nothing.
//! What it looks at is the index of the moment of opening, and of the files only those with numbers that were given out
//! before: whatever is made meanwhile it does not see.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causeway_storage::Result;

use crate::cache::remove_file;
use crate::index::{Index, Op, Table, View};
use crate::journal::Intent;
use crate::object::ObjectRecord;
use crate::quarantine::Quarantine;
use crate::room::{Room, signed};

/// What is needed for it, taken when the cache is opened.
pub(crate) struct Survey {
    pub(crate) index: Arc<Index>,
    pub(crate) room: Arc<Room>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) content: PathBuf,
    pub(crate) intents: View,
    pub(crate) objects: View,
    /// Numbers below this were given out before.
    pub(crate) mark: u64,
    /// Set when the cache is closed.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Survey {
    pub(crate) fn run(self) {
        if let Err(error) = self.look() {
            tracing::error!(?error, "the cache could not be looked over");
        }
    }

    fn look(self) -> Result<()> {
        let Survey { index, room, quarantine, content, intents, objects, mark, stop } = self;
        let stopped = || stop.load(Ordering::Relaxed);
        let mut known = HashSet::new();
        let (mut damaged, mut gone) = (Vec::new(), Vec::new());
        intents.each(|key, value| match serde_json::from_slice::<Intent>(value) {
            Ok(intent) => known.extend(intent.action.staged()),
            Err(_) => damaged.push((Table::Intents, key.to_owned(), value.to_vec())),
        })?;
        objects.each(|key, value| match serde_json::from_slice::<ObjectRecord>(value) {
            Ok(record) if !stopped() => {
                known.extend(number(&record.file));
                if let Some(place) = room.place_of_key(key) {
                    place.add_clean(signed(record.present.total()));
                    if !content.join(&record.file).exists() {
                        gone.push((place, record.present.total(), key.to_owned(), value.to_vec()));
                    }
                }
            }
            Ok(_) => {}
            Err(_) => damaged.push((Table::Objects, key.to_owned(), value.to_vec())),
        })?;
        for (place, bytes, key, value) in gone {
            // Whoever deletes a record takes off what it counts for.
            if index.commit_instead(Table::Objects, &key, &value, vec![Op::delete(Table::Objects, key.as_str())])? {
                place.add_clean(-signed(bytes));
            }
        }
        for (table, key, value) in damaged {
            quarantine.take_record(&index, table, &key, &value)?;
        }
        for file in std::fs::read_dir(&content)? {
            if stopped() {
                return Ok(());
            }
            let name = file?.file_name().to_string_lossy().into_owned();
            match number(&name) {
                Some(number) if number >= mark || known.contains(&number) => {}
                Some(_) if name.starts_with("o-") || holds_nothing(&content.join(stem(&name))) => {
                    remove_file(&content.join(&name))?;
                }
                Some(_) => quarantine.take_copy(stem(&name))?,
                None => quarantine.take_file(&name)?,
            }
        }
        Ok(())
    }
}

/// Whether nobody ever wrote to a working copy, or its content has another name here: the process ended before a record
/// named it. A small file may lie where a file system counts no blocks.
fn holds_nothing(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |file| file.len() == 0 || (file.blocks() == 0 && file.len() > 4096) || file.nlink() > 1,
    )
}

fn stem(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The number in a file's name: `o-` or `s-`, 16 hex digits, and perhaps an ending.
pub(crate) fn number(name: &str) -> Option<u64> {
    let stem = stem(name);
    u64::from_str_radix(stem.strip_prefix("o-").or_else(|| stem.strip_prefix("s-"))?, 16).ok()
}
