//! The cache of one data directory, and the part of it that belongs to one backend.
//!
//! It opens, admits and evicts; what content means is decided above. One process at a time: a lock on the directory is
//! held for as long as the cache is open. Opening costs one pass over the index and the names in the content directory.
//!
//! Eviction takes content that the provider has and that nobody has open, least recently used first. Content that waits
//! for upload is never evicted; when there is no room for more of it, a write is refused before the disk is full.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use causeway_storage::{Error, ErrorKind, Result, Timestamp, WriteLog};

use crate::Ranges;
use crate::index::{Index, Op, Table};
use crate::journal::{Batch, Commit, Intent, Journal};
use crate::object::{Object, ObjectKey, ObjectRecord, OpenObjects, in_use, sums};
use crate::recovery::{self, Boot};
use crate::secured::LARGEST_RIDER_BYTES;
use crate::staged::{Sealed, Staged};

/// Free space that is left to others on the disk: what the index and the journal need to go on while writers are refused.
const RESERVE_BYTES: u64 = 256 << 20;

/// Bytes written between two looks at how much the working copies really occupy.
const RECOUNT_BYTES: u64 = 64 << 20;

/// Where the kernel tells which run of the machine this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The largest record of an upload's progress, as the contract says.
const PROGRESS_BYTES: usize = 16 << 20;

/// The cache of one data directory.
#[derive(Debug)]
pub struct Cache {
    pub(crate) index: Arc<Index>,
    pub(crate) content: PathBuf,
    pub(crate) quarantine: PathBuf,
    ids: Arc<AtomicU64>,
    quarantined: Vec<String>,
    /// Which run of the machine this is: another one than before may have begun with a power loss.
    pub(crate) boot: String,
    _lock: File,
}

impl Cache {
    /// Opens or creates the cache in `directory`. Fails if another process has it open. Blocking.
    pub fn open(directory: &FilePath) -> Result<Arc<Cache>> {
        Cache::open_in(directory, std::fs::read_to_string(BOOT)?.trim())
    }

    pub(crate) fn open_in(directory: &FilePath, boot: &str) -> Result<Arc<Cache>> {
        let content = directory.join("content");
        std::fs::create_dir_all(&content)?;
        let quarantine = directory.join("quarantine");
        std::fs::create_dir_all(&quarantine)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            Error::new(ErrorKind::Unavailable(None), "the cache is in use by another process").with_detail(error)
        })?;
        let index = Arc::new(Index::open(directory, &content)?);
        let (known, mut highest) = known_files(&index)?;
        let quarantined = sort_out(&content, &quarantine, &known, &mut highest)?;
        let ids = Arc::new(AtomicU64::new(highest + 1));
        Ok(Arc::new(Cache { index, content, quarantine, ids, quarantined, boot: boot.to_owned(), _lock: lock }))
    }

    /// Files of working copies that no record names, set aside when the cache was opened.
    pub fn quarantined(&self) -> &[String] {
        &self.quarantined
    }

    /// The part that belongs to one backend. Another generation shares nothing with this one. Blocking.
    pub fn scope(self: &Arc<Self>, tenant: &str, backend: &str, generation: u64) -> Result<Arc<Scope>> {
        // Lengths keep two pairs apart whose texts happen to join into the same one.
        let prefix = format!("{}:{tenant}/{}:{backend}/{generation}/", tenant.len(), backend.len());
        let journal = Journal::load(self.index.clone(), &prefix, self.ids.clone())?;
        let mut clean_bytes = 0;
        self.index.scan(Table::Objects, &prefix, |_, value| {
            clean_bytes += serde_json::from_slice::<ObjectRecord>(value).map_or(0, |record| record.present.total());
        })?;
        let boot = recovery::begin(self, &prefix, &journal)?;
        Ok(Arc::new(Scope {
            cache: self.clone(),
            tenant: tenant.into(),
            prefix,
            boot: Mutex::new(boot),
            journal,
            open: Mutex::default(),
            limits: Mutex::new(Limits::default()),
            room: Mutex::new(Counted { clean_bytes, dirty_bytes: 0, since_bytes: RECOUNT_BYTES }),
        }))
    }
}

/// How much a backend may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content, fetched and waiting together.
    pub max_bytes: u64,
    /// Seconds after its last use at which fetched content goes.
    pub max_age_s: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_bytes: u64::MAX, max_age_s: u64::MAX }
    }
}

#[derive(Debug)]
struct Counted {
    clean_bytes: u64,
    dirty_bytes: u64,
    since_bytes: u64,
}

/// The part of the cache that belongs to one backend.
#[derive(Debug)]
pub struct Scope {
    tenant: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) boot: Mutex<Boot>,
    pub(crate) journal: Journal,
    open: OpenObjects,
    limits: Mutex<Limits>,
    room: Mutex<Counted>,
    /// Last, so that everything that uses the index is gone when the lock on the directory is let go.
    pub(crate) cache: Arc<Cache>,
}

impl Scope {
    /// Whose it is.
    pub fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// The backend's journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Begins a working copy: empty, or on a base of that many bytes. It counts once an intent names it. Blocking.
    pub fn stage(&self, base_size: Option<u64>) -> Result<(Arc<Staged>, Arc<File>)> {
        self.admit(0)?;
        let id = self.cache.ids.fetch_add(1, Ordering::Relaxed);
        let (staged, file) = Staged::create(&self.cache.content, id, base_size)?;
        Ok((Arc::new(staged), file))
    }

    /// Makes all that was written to a working copy so far survive a power loss, once the commit was waited for. Blocking.
    pub fn secure(&self, staged: &Staged) -> Result<Commit> {
        staged.secure(|secured| self.journal.secure(staged.id(), secured))
    }

    /// Makes all that was written to these working copies survive a power loss. Blocking.
    pub fn secure_all(&self, copies: &[Arc<Staged>]) -> Result<()> {
        let unsecured = copies.iter().filter(|staged| !staged.is_secured());
        let commits = unsecured.map(|staged| self.secure(staged)).collect::<Result<Vec<_>>>()?;
        commits.into_iter().try_for_each(Commit::wait_blocking)
    }

    /// Deletes a working copy that no intent names any more. Who has it open goes on. Blocking.
    pub fn discard(&self, staged: &Staged) {
        staged.delete();
    }

    /// Opens what is here of one version, or begins with nothing. Blocking.
    pub fn object(&self, key: &ObjectKey, size: u64) -> Result<Arc<Object>> {
        if let Some(object) = in_use(&self.open, key) {
            return Ok(object);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(object) = open.get(key).and_then(std::sync::Weak::upgrade) {
            return Ok(object);
        }
        let object = Arc::new(match self.open_existing(key, size)? {
            Some(object) => object,
            None => self.begin(key, size)?,
        });
        open.retain(|_, object| object.strong_count() > 0);
        open.insert(key.clone(), Arc::downgrade(&object));
        Ok(object)
    }

    fn open_existing(&self, key: &ObjectKey, size: u64) -> Result<Option<Object>> {
        let record_key = key.record_key(&self.prefix);
        let Some(value) = self.cache.index.get(Table::Objects, &record_key)? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<ObjectRecord>(&value) else { return Ok(None) };
        let path = self.cache.content.join(&record.file);
        match OpenOptions::new().read(true).write(true).open(&path) {
            // What is small was perhaps never synced.
            Ok(file) if size <= LARGEST_RIDER_BYTES && !record.sums.is_empty() && record.sums != sums(&file, size)? => {
                tracing::warn!(file = record.file, "cached content is damaged and is fetched again");
                Ok(None)
            }
            Ok(file) if record.size == size => Ok(Some(Object::new(key.clone(), path, record, file))),
            // Another size under the same version, or a file that is gone: what the record says cannot be trusted.
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn begin(&self, key: &ObjectKey, size: u64) -> Result<Object> {
        let name = format!("o-{:016x}", self.cache.ids.fetch_add(1, Ordering::Relaxed));
        let path = self.cache.content.join(&name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(size)?;
        let record = ObjectRecord { file: name, size, present: Ranges::default(), used: 0, sums: Vec::new() };
        Ok(Object::new(key.clone(), path, record, file))
    }

    /// Writes down what is present of an object and that it was used just now. Blocking.
    pub fn save(&self, object: &Object) -> Result<()> {
        let Some(record) = object.record(Timestamp::now().seconds)? else { return Ok(()) };
        let value = serde_json::to_vec(&record).map_err(Error::internal)?;
        self.commit(vec![Op::put(Table::Objects, object.key.record_key(&self.prefix), value)], true)
    }

    /// Deletes fetched content, unless someone else has it open. Blocking.
    pub fn forget(&self, object: Arc<Object>) -> Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // One for the caller: the map holds none.
        if Arc::strong_count(&object) > 1 {
            return Ok(());
        }
        open.remove(&object.key);
        if !object.is_recorded() {
            return Ok(());
        }
        let key = object.key.record_key(&self.prefix);
        self.commit(vec![Op::delete(Table::Objects, key)], false)?;
        remove_file(&object.path)
    }

    /// Begins to make the file of a complete object a working copy, which is its whole content: gives it a second name.
    /// Whoever has the file open goes on with it. Nobody else may use the object. Blocking, for a moment.
    pub fn take_over(&self, object: &Object) -> Result<Arc<Staged>> {
        let id = self.cache.ids.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Staged::adopt(&self.cache.content, id, &object.path)?))
    }

    /// In the same step as `batch`, which names the working copy that was made of it, lets an object go. Call
    /// [`Scope::taken_over`] when the step is on disk.
    pub fn let_go(&self, batch: &mut Batch<'_>, object: &Object) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&object.key);
        batch.delete_object(object.key.record_key(&self.prefix));
        object.disown();
        let mut room = self.room();
        room.clean_bytes = room.clean_bytes.saturating_sub(object.present_bytes());
    }

    /// Takes away the name that a file had as an object. Blocking.
    pub fn taken_over(&self, object: &Object) -> Result<()> {
        remove_file(&object.path)
    }

    /// Readies an uploaded working copy to be kept: it has no holes, and is not written any more. Blocking.
    pub fn seal(&self, staged: &Staged) -> Result<Sealed> {
        staged.seal()
    }

    /// In the same step as `batch`, makes an uploaded working copy the content of the version that its upload made. Call
    /// [`Scope::kept`] when the step is on disk.
    pub fn keep(&self, batch: &mut Batch<'_>, staged: &Staged, sealed: Sealed, key: &ObjectKey) {
        let Sealed { size, sums } = sealed;
        let used = Timestamp::now().seconds;
        let record = ObjectRecord { file: staged.file_name(), size, present: Ranges::whole(size), used, sums };
        batch.put_object(key.record_key(&self.prefix), &record);
        self.room().clean_bytes += size;
    }

    /// Deletes what a kept working copy no longer needs. Blocking.
    pub fn kept(&self, staged: &Staged) {
        staged.delete_log();
    }

    /// A file on the disk of the cache that has no name and is gone when it is closed. Blocking.
    pub fn nameless_file(&self) -> Result<File> {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        Ok(rustix::fs::open(&self.cache.content, flags, mode).map_err(std::io::Error::from)?.into())
    }

    /// Where the upload of an intent writes down how far it got.
    pub fn progress(self: &Arc<Self>, intent: u64) -> Arc<dyn WriteLog> {
        Arc::new(Progress { scope: self.clone(), key: format!("{}{intent:016x}", self.prefix) })
    }

    /// Sets how much may be kept.
    pub fn set_limits(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Whether `size_bytes` more may be written; makes room if it can, else says that there is none. Blocking.
    pub fn admit(&self, size_bytes: u64) -> Result<()> {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |room: &Counted| {
            let wanted = room.clean_bytes.saturating_add(room.dirty_bytes).saturating_add(room.since_bytes);
            wanted <= limits.max_bytes
        };
        let low = |free: u64| free < RESERVE_BYTES.saturating_add(size_bytes);
        {
            let mut room = self.room();
            room.since_bytes = room.since_bytes.saturating_add(size_bytes);
            if room.since_bytes < RECOUNT_BYTES && fits(&room) && !low(self.free_bytes()?) {
                return Ok(());
            }
        }
        let dirty = self.dirty_bytes();
        {
            let mut room = self.room();
            room.dirty_bytes = dirty;
            room.since_bytes = size_bytes;
        }
        self.evict()?;
        if low(self.free_bytes()?) {
            return Err(Error::new(ErrorKind::QuotaExceeded, "the disk that holds the cache is full"));
        }
        if fits(&self.room()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::QuotaExceeded, "the cache is full of changes that wait to be uploaded"))
    }

    /// Deletes fetched content that is too old or too much, least recently used first. Blocking.
    pub fn evict(&self) -> Result<()> {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now().seconds;
        let mut records = Vec::new();
        self.cache.index.scan(Table::Objects, &self.prefix, |key, value| {
            if let Ok(record) = serde_json::from_slice::<ObjectRecord>(value) {
                records.push((record.used, key.to_owned(), record.file, record.present.total()));
            }
        })?;
        records.sort();
        let dirty = self.dirty_bytes();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<Arc<Object>> = open.values().filter_map(std::sync::Weak::upgrade).collect();
        let in_use: HashSet<&str> = used.iter().map(|object| object.file_name.as_str()).collect();
        records.retain(|(_, _, file, _)| !in_use.contains(file.as_str()));
        let open_bytes: u64 = used.iter().map(|object| object.present_bytes()).sum();
        let mut clean: u64 = records.iter().map(|(.., bytes)| bytes).sum::<u64>() + open_bytes;
        let mut gone = Vec::new();
        for (used, key, file, bytes) in records {
            let aged = now.saturating_sub(used) as u64 > limits.max_age_s;
            let crowded = clean.saturating_add(dirty) > limits.max_bytes || self.free_bytes()? < RESERVE_BYTES;
            if !(aged || crowded) {
                continue;
            }
            // First the file: on a disk that is full there may be no room to write the record down.
            remove_file(&self.cache.content.join(&file))?;
            clean -= bytes;
            gone.push(Op::delete(Table::Objects, key));
        }
        let evicted = gone.len();
        if evicted > 0 {
            self.commit(gone, false)?;
        }
        drop(open);
        let mut room = self.room();
        room.clean_bytes = clean;
        room.dirty_bytes = dirty;
        if evicted > 0 {
            tracing::debug!(files = evicted, "evicted from the cache");
        }
        Ok(())
    }

    /// Makes room for `size_bytes` to be fetched into an object: others go first, and then what was fetched of this one.
    /// Blocking.
    pub fn admit_fetch(&self, object: &Object, size_bytes: u64) -> Result<()> {
        match self.admit(size_bytes) {
            // Changes that wait may fill the cache alone, and an edit among them may need this very content before it can be
            // uploaded: so a fetch waits for nothing but the disk, and keeps no more than it brings.
            Err(error) if error.kind == ErrorKind::QuotaExceeded => {
                if object.present_bytes() > 0 {
                    object.empty()?;
                    self.evict()?;
                }
                if self.free_bytes()? < RESERVE_BYTES.saturating_add(size_bytes) { Err(error) } else { Ok(()) }
            }
            other => other,
        }
    }

    /// Bytes that working copies occupy on disk.
    fn dirty_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let staged: Vec<u64> =
            self.journal.read(|intents, _| intents.values().filter_map(|intent| intent.action.staged()).collect());
        let occupied = |id: u64| {
            let path = self.cache.content.join(format!("s-{id:016x}"));
            std::fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
        };
        staged.into_iter().map(occupied).sum()
    }

    fn free_bytes(&self) -> Result<u64> {
        let disk = rustix::fs::statvfs(&self.cache.content).map_err(std::io::Error::from)?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    fn room(&self) -> MutexGuard<'_, Counted> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits for it: what it is about can be fetched again.
    fn commit(&self, ops: Vec<Op>, names_file: bool) -> Result<()> {
        self.cache.index.commit(ops, names_file).map(drop)
    }
}

struct Progress {
    scope: Arc<Scope>,
    key: String,
}

#[async_trait]
impl WriteLog for Progress {
    async fn load(&self) -> Result<Option<Vec<u8>>> {
        let (scope, key) = (self.scope.clone(), self.key.clone());
        let loaded = tokio::task::spawn_blocking(move || scope.cache.index.get(Table::Progress, &key));
        loaded.await.map_err(Error::internal)?
    }

    async fn save(&self, record: &[u8]) -> Result<()> {
        if record.len() > PROGRESS_BYTES {
            return Err(Error::internal("a record of progress is larger than 16 MiB"));
        }
        let op = Op::put(Table::Progress, self.key.clone(), record);
        let scope = self.scope.clone();
        // A large record is written into the store before this returns.
        let committed = tokio::task::spawn_blocking(move || scope.cache.index.commit(vec![op], false));
        committed.await.map_err(Error::internal)??.wait().await
    }
}

/// The names that records give, and the highest number in use.
fn known_files(index: &Index) -> Result<(HashSet<String>, u64)> {
    let mut known = HashSet::new();
    let mut highest = 0;
    index.scan(Table::Intents, "", |_, value| {
        if let Ok(intent) = serde_json::from_slice::<Intent>(value) {
            highest = highest.max(intent.id);
            known.extend(intent.action.staged().map(|id| format!("s-{id:016x}")));
        }
    })?;
    index.scan(Table::Objects, "", |_, value| {
        if let Ok(record) = serde_json::from_slice::<ObjectRecord>(value) {
            known.insert(record.file);
        }
    })?;
    Ok((known, highest))
}

/// Deletes fetched content without a record and sets working copies without one aside.
fn sort_out(
    content: &FilePath,
    quarantine: &FilePath,
    known: &HashSet<String>,
    highest: &mut u64,
) -> Result<Vec<String>> {
    let mut quarantined = Vec::new();
    for file in std::fs::read_dir(content)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let stem = name.split('.').next().unwrap_or("");
        let number = stem.get(2..).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        *highest = (*highest).max(number.unwrap_or(0));
        if known.contains(stem) {
            continue;
        }
        if stem.starts_with("o-") {
            remove_file(&content.join(&name))?;
        } else {
            std::fs::rename(content.join(&name), quarantine.join(&name))?;
            tracing::warn!(%name, "a working copy without a record was set aside");
            quarantined.push(name);
        }
    }
    Ok(quarantined)
}

fn remove_file(path: &FilePath) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
