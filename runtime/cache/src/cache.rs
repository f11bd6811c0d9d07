//! The cache of one data directory.
//!
//! It opens, and hands out the parts that belong to backends. One process at a time: a lock on the directory is held for as
//! long as the cache is open. Opening looks at nothing that grows with what is in it: that is looked over afterwards.

use std::fs::{File, OpenOptions};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use causeway_storage::{Error, ErrorKind, Result};

use crate::index::{Index, Table};
use crate::journal::{Intent, Journal};
use crate::numbers::Numbers;
use crate::quarantine::Quarantine;
use crate::room::{Quotas, Room};
use crate::scrub::Cursor;
use crate::survey::{Survey, number};
use crate::{Scope, recovery};

/// Where the kernel tells which run of the machine this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The cache of one data directory.
#[derive(Debug)]
pub struct Cache {
    pub(crate) index: Arc<Index>,
    pub(crate) content: PathBuf,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) room: Arc<Room>,
    numbers: Arc<Numbers>,
    /// Which run of the machine this is: another one than before may have begun with a power loss.
    pub(crate) boot: String,
    /// Held by whoever makes room.
    pub(crate) evicting: Mutex<()>,
    pub(crate) scrubbed: Mutex<Cursor>,
    survey: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    _lock: File,
}

impl Cache {
    /// Opens or creates the cache in `directory`. Fails if another process has it open. Blocking.
    pub fn open(directory: &FilePath, quotas: Quotas) -> Result<Arc<Cache>> {
        Cache::open_in(directory, quotas, std::fs::read_to_string(BOOT)?.trim())
    }

    pub(crate) fn open_in(directory: &FilePath, quotas: Quotas, boot: &str) -> Result<Arc<Cache>> {
        let content = directory.join("content");
        std::fs::create_dir_all(&content)?;
        let aside = directory.join("quarantine");
        std::fs::create_dir_all(&aside)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            Error::new(ErrorKind::Unavailable(None), "the cache is in use by another process").with_detail(error)
        })?;
        // Where the directory was made just now, it shall still be there after a power loss.
        File::open(directory.join(".."))?.sync_all()?;
        let index = Arc::new(Index::open(directory, &content)?);
        let mark = match Numbers::stored(&index)? {
            Some(mark) => mark,
            None => highest_number(&index, &content)? + 1,
        };
        let room = Room::new(quotas, File::open(&content)?);
        let quarantine = Arc::new(Quarantine::new(content.clone(), aside));
        let closing = Arc::new(AtomicBool::new(false));
        let survey = Survey {
            index: index.clone(),
            room: room.clone(),
            quarantine: quarantine.clone(),
            content: content.clone(),
            intents: index.view(Table::Intents, "")?,
            objects: index.view(Table::Objects, "")?,
            mark,
            stop: closing.clone(),
        };
        let numbers = Arc::new(Numbers::new(index.clone(), mark));
        if let Err(error) = numbers.begin() {
            // On a full disk what is here is read and uploaded all the same.
            tracing::error!(?error, "numbers may be given out again after a power loss");
        }
        let survey = std::thread::Builder::new().name("cache-survey".into()).spawn(move || survey.run())?;
        Ok(Arc::new(Cache {
            numbers,
            index,
            content,
            quarantine,
            room,
            boot: boot.to_owned(),
            evicting: Mutex::default(),
            scrubbed: Mutex::default(),
            survey: Some(survey),
            closing,
            _lock: lock,
        }))
    }

    /// What could not be understood or belongs to nothing, and was set aside since the cache was opened. What lay there
    /// before is looked over in the background.
    pub fn quarantined(&self) -> Vec<String> {
        self.quarantine.told()
    }

    /// Whether what lay there before was looked over.
    pub fn is_surveyed(&self) -> bool {
        self.survey.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The part that belongs to one backend. Another generation shares nothing with this one. Blocking.
    pub fn scope(self: &Arc<Self>, tenant: &str, backend: &str, generation: u64) -> Result<Arc<Scope>> {
        let place = self.room.place(tenant, backend, generation);
        let journal = Journal::load(self.index.clone(), &self.quarantine, &place.prefix, self.numbers.clone())?;
        let boot = recovery::begin(self, &place.prefix, &journal)?;
        let (tenant, boot, left) = (tenant.into(), Mutex::new(boot), Mutex::default());
        Ok(Arc::new(Scope { tenant, place, boot, left, journal, cache: self.clone() }))
    }

    /// A number that nothing has.
    pub(crate) fn number(&self) -> Result<u64> {
        self.numbers.prepare()?;
        Ok(self.numbers.take())
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(survey) = self.survey.take() {
            // If it panicked, the next opening looks again.
            let _ = survey.join();
        }
    }
}

/// The highest number in use, where a version that kept no mark wrote the index.
fn highest_number(index: &Index, content: &FilePath) -> Result<u64> {
    let mut highest = 0;
    index.scan(Table::Intents, "", |_, value| {
        if let Ok(intent) = serde_json::from_slice::<Intent>(value) {
            highest = highest.max(intent.id);
        }
    })?;
    for file in std::fs::read_dir(content)? {
        highest = highest.max(number(&file?.file_name().to_string_lossy()).unwrap_or(0));
    }
    Ok(highest)
}

pub(crate) fn remove_file(path: &FilePath) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
