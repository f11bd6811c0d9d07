//! The part of the cache that belongs to one backend.
//!
//! It hands out working copies and content of versions, and its journal; what content means is decided above. A writer asks
//! first whether what it writes fits, and may wait until it does: it is refused before the disk is full.

mod known;
mod pins;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use causeway_storage::{Error, ErrorKind, Result, Timestamp, WriteLog};

use crate::cache::remove_file;
use crate::index::{Op, Pending, Table};
use crate::journal::{Batch, Commit, Journal};
use crate::object::{Object, ObjectKey, ObjectRecord, in_use, sums};
use crate::recovery::Boot;
use crate::room::{Place, Short, full, signed};
use crate::secured::{LARGEST_RIDER_BYTES, SMALLEST_RIDER_BYTES};
use crate::staged::{Sealed, Staged};
use crate::{Cache, Limits, Ranges};

/// The largest record of an upload's progress, as the contract says.
const PROGRESS_BYTES: usize = 16 << 20;

/// Who waits for room looks for it at most twenty times a second: each look goes through all records.
const BREATH: Duration = Duration::from_millis(50);

/// The part of the cache that belongs to one backend.
#[derive(Debug)]
pub struct Scope {
    pub(crate) tenant: Arc<str>,
    pub(crate) place: Arc<Place>,
    pub(crate) boot: Mutex<Boot>,
    /// Copies that an earlier process left, until it was seen to that they survive a power loss too.
    pub(crate) left: Mutex<Vec<Arc<Staged>>>,
    pub(crate) journal: Journal,
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
        let id = self.cache.number()?;
        let (staged, file) = Staged::create(&self.cache.content, id, base_size)?;
        staged.weigh(&self.place)?;
        Ok((Arc::new(staged), file))
    }

    /// Makes all that was written to a working copy so far survive a power loss, once the commit was waited for. Blocking.
    pub fn secure(&self, staged: &Staged) -> Result<Commit> {
        staged.secure(self.largest_rider(), |secured| self.journal.secure(staged.id(), secured))
    }

    /// Whether a working copy is secured without its file, which takes no longer than to write a few bytes, unless the log
    /// has no room: then it waits until there is some, as every change does.
    pub fn rides_along(&self, staged: &Staged) -> bool {
        staged.rides_along(self.largest_rider())
    }

    /// A log that is filled faster than it is taken up makes everyone wait: then files are synced, side by side.
    fn largest_rider(&self) -> u64 {
        if self.cache.index.is_pressed() { SMALLEST_RIDER_BYTES } else { LARGEST_RIDER_BYTES }
    }

    /// Cuts or extends a working copy; what is added is zero, and a time that was set holds no longer. Blocking.
    pub fn resize(&self, staged: &Staged, size: u64) -> Result<()> {
        staged.resize(size, || self.journal.shorten(staged.id(), size))
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
        if let Some(object) = in_use(&self.place.open, key) {
            return Ok(object);
        }
        let mut open = self.open();
        if let Some(object) = open.get(key).and_then(Weak::upgrade) {
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
        let record_key = key.record_key(&self.place.prefix);
        let Some(value) = self.cache.index.get(Table::Objects, &record_key)? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<ObjectRecord>(&value) else {
            self.cache.quarantine.take_record(&self.cache.index, Table::Objects, &record_key, &value)?;
            return Ok(None);
        };
        let path = self.cache.content.join(&record.file);
        match OpenOptions::new().read(true).write(true).open(&path) {
            // Another size under the same version: what the record says cannot be trusted.
            Ok(_) if record.size != size => remove_file(&path)?,
            // What is small was perhaps never synced.
            Ok(file) if size <= LARGEST_RIDER_BYTES && !record.sums.is_empty() && !is_sound(&file, &record) => {
                self.cache.quarantine.take_file(&record.file)?;
            }
            Ok(file) => return Ok(Some(Object::new(key.clone(), path, record, file, &self.place))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        // Whoever deletes a record takes off what it counts for.
        if self.cache.index.commit_instead(
            Table::Objects,
            &record_key,
            &value,
            vec![Op::delete(Table::Objects, &*record_key)],
        )? {
            self.place.add_clean(-signed(record.present.total()));
        }
        Ok(None)
    }

    fn begin(&self, key: &ObjectKey, size: u64) -> Result<Object> {
        let name = format!("o-{:016x}", self.cache.number()?);
        let path = self.cache.content.join(&name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        file.set_len(size)?;
        let record = ObjectRecord { file: name, size, present: Ranges::default(), used: 0, sums: Vec::new() };
        Ok(Object::new(key.clone(), path, record, file, &self.place))
    }

    /// Writes down what is present of an object and that it was used just now. Blocking.
    pub fn save(&self, object: &Object) -> Result<()> {
        object.save(Timestamp::now().seconds, |record, recorded| {
            let value = serde_json::to_vec(record).map_err(Error::internal)?;
            let key = object.key.record_key(&self.place.prefix);
            let ops = vec![Op::put(Table::Objects, key.as_str(), value)];
            // Other content of the version may have come in its place, which is not noted in the object yet.
            let is_own = |now: Option<&[u8]>| now.map_or(!recorded, |now| names(now, &object.file_name));
            Ok(self.cache.index.commit_where(Table::Objects, &key, is_own, ops, true)?.is_some())
        })
    }

    /// Sees that no record says that what was unmarked is there. Blocking.
    pub fn correct(&self, object: &Object) -> Result<()> {
        if object.is_recorded() { self.save(object) } else { Ok(()) }
    }

    /// Deletes fetched content, unless someone else has it open or it is pinned. Blocking.
    pub fn forget(&self, object: Arc<Object>) -> Result<()> {
        if self.is_pinned(&object.key)? {
            return self.save(&object);
        }
        let mut open = self.open();
        // What is in use is another one, if other content of the version came in its place: then it is gone already.
        let is_in_use = open.get(&object.key).is_some_and(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(&object)));
        // One for the caller: the map holds none.
        if !is_in_use || Arc::strong_count(&object) > 1 {
            return Ok(());
        }
        if object.is_recorded() {
            let key = object.key.record_key(&self.place.prefix);
            self.commit(vec![Op::delete(Table::Objects, key)], false)?;
            object.disown();
            remove_file(&object.path)?;
        }
        open.remove(&object.key);
        Ok(())
    }

    /// Begins to make the file of a complete object a working copy, which is its whole content: gives it a second name.
    /// Whoever has the file open goes on with it. Nobody else may use the object. Blocking, for a moment.
    pub fn take_over(&self, object: &Object) -> Result<Arc<Staged>> {
        let staged = Staged::adopt(&self.cache.content, self.cache.number()?, &object.path)?;
        staged.weigh(&self.place)?;
        Ok(Arc::new(staged))
    }

    /// In the same step as `batch`, which names the working copy that was made of it, lets an object go. Call
    /// [`Leaving::made`] when the step is made, and [`Scope::taken_over`] when it is on disk.
    pub fn let_go<'a>(&'a self, batch: &mut Batch<'_>, object: &Arc<Object>) -> Leaving<'a> {
        let record_key = object.key.record_key(&self.place.prefix);
        let leaving = Leaving { scope: self, open: self.open(), object: Some(object.clone()), record: None };
        batch.delete_object(record_key);
        leaving
    }

    /// Takes away the name that a file had as an object. Blocking.
    pub fn taken_over(&self, object: &Object) -> Result<()> {
        remove_file(&object.path)
    }

    /// Readies an uploaded working copy to be kept: it has no holes, and is not written any more. Blocking.
    pub fn seal(&self, staged: &Staged) -> Result<Sealed> {
        staged.seal()
    }

    /// In the same step as `batch`, makes an uploaded working copy the content of the version that its upload made, in place
    /// of what is here of that version: the same bytes may have been uploaded before. Call [`Leaving::made`] when the step is
    /// made, and [`Scope::kept`] when it is on disk.
    pub fn keep<'a>(
        &'a self,
        batch: &mut Batch<'_>,
        staged: &Staged,
        sealed: Sealed,
        key: &ObjectKey,
    ) -> Result<Leaving<'a>> {
        let open = self.open();
        let record_key = key.record_key(&self.place.prefix);
        let former = self.cache.index.get(Table::Objects, &record_key)?;
        let former = former.and_then(|value| serde_json::from_slice::<ObjectRecord>(&value).ok());
        let object = open.get(key).and_then(Weak::upgrade);
        let Sealed { size, sums } = sealed;
        staged.will_be_kept();
        let used = Timestamp::now().seconds;
        let record = ObjectRecord { file: staged.file_name(), size, present: Ranges::whole(size), used, sums };
        batch.put_object(record_key, &record);
        Ok(Leaving { scope: self, open, object, record: former })
    }

    /// Deletes what a kept working copy no longer needs, and the file in whose place it came. Blocking.
    pub fn kept(&self, staged: &Staged, former: Option<&FilePath>) {
        staged.delete_log();
        self.place.add_clean(signed(staged.lighten()));
        if let Some(Err(error)) = former.map(remove_file) {
            // At worst it lies there until the cache is opened again.
            tracing::warn!(?error, "content that was replaced by the same could not be deleted");
        }
    }

    /// A file on the disk of the cache that has no name and is gone when it is closed. Blocking.
    pub fn nameless_file(&self) -> Result<File> {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        Ok(rustix::fs::open(&self.cache.content, flags, mode).map_err(std::io::Error::from)?.into())
    }

    /// Where the upload of an intent writes down how far it got.
    pub fn progress(self: &Arc<Self>, intent: u64) -> Arc<dyn WriteLog> {
        Arc::new(Progress { scope: self.clone(), key: format!("{}{intent:016x}", self.place.prefix) })
    }

    /// Sets how much may be kept.
    pub fn set_limits(&self, limits: Limits) {
        self.place.set_limits(limits);
    }

    /// Whether `size_bytes` more may be written; makes room if it can, else says that there is none. Blocking.
    pub fn admit(&self, size_bytes: u64) -> Result<()> {
        self.place.touch();
        let Some(short) = self.place.short_of(size_bytes)? else { return Ok(()) };
        self.cache.make_room(&self.place, short, size_bytes)?;
        self.place.short_of(size_bytes)?.map_or(Ok(()), |short| Err(full(short)))
    }

    /// Whether `size_bytes` more may be written, as things are. Costs next to nothing.
    pub fn try_admit(&self, size_bytes: u64) -> bool {
        self.place.touch();
        matches!(self.place.short_of(size_bytes), Ok(None))
    }

    /// Whether `size_bytes` of its base may be put into a working copy that is about to be uploaded. It is the upload that
    /// makes room, so it waits for nothing but the disk. Blocking.
    pub fn admit_fill(&self, size_bytes: u64) -> Result<()> {
        if self.place.short_of(size_bytes)? != Some(Short::Disk) {
            return Ok(());
        }
        self.cache.make_room(&self.place, Short::Disk, size_bytes)?;
        if self.place.short_of(size_bytes)? == Some(Short::Disk) { Err(full(Short::Disk)) } else { Ok(()) }
    }

    /// As [`Scope::admit`], but where an upload that is pending would make room, waits for that, at most for so long.
    pub async fn admit_within(self: &Arc<Self>, size_bytes: u64, most: Duration) -> Result<()> {
        let mut room = self.cache.room.watch();
        if self.try_admit(size_bytes) {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + most;
        loop {
            let scope = self.clone();
            let admitted =
                tokio::task::spawn_blocking(move || scope.admit(size_bytes)).await.map_err(Error::internal)?;
            let Err(error) = admitted else { return Ok(()) };
            let Some(short) = self.place.short_of(size_bytes)? else { return Ok(()) };
            if !self.place.waiting_helps(short) || tokio::time::timeout_at(deadline, room.changed()).await.is_err() {
                return Err(error);
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// Makes room for `size_bytes` to be fetched into an object: others go first, and then what was fetched of this one.
    /// Whoever fetches to keep it all asks [`Scope::admit`] instead. Blocking.
    pub fn admit_fetch(&self, object: &Object, size_bytes: u64) -> Result<()> {
        match self.admit(size_bytes) {
            // Changes that wait may fill the cache alone, and an edit among them may need this very content before it can be
            // uploaded: so a fetch waits for nothing but the disk, and keeps no more than it brings.
            Err(error) if error.kind == ErrorKind::QuotaExceeded => {
                if object.present_bytes() > 0 {
                    object.empty(|| self.forget_record(object))?;
                    self.evict()?;
                }
                if self.place.short_of(size_bytes)? == Some(Short::Disk) { Err(error) } else { Ok(()) }
            }
            other => other,
        }
    }

    /// Deletes the record of an object that goes on without; on disk when this returns.
    fn forget_record(&self, object: &Object) -> Result<()> {
        let key = object.key.record_key(&self.place.prefix);
        let ops = vec![Op::delete(Table::Objects, key.as_str())];
        let is_own = |now: Option<&[u8]>| now.is_some_and(|now| names(now, &object.file_name));
        let committed = self.cache.index.commit_where(Table::Objects, &key, is_own, ops, false)?;
        committed.map_or(Ok(()), Pending::wait_blocking)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ObjectKey, Weak<Object>>> {
        self.place.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits for it: what it is about can be fetched again.
    fn commit(&self, ops: Vec<Op>, names_file: bool) -> Result<()> {
        self.cache.index.commit(ops, names_file).map(drop)
    }
}

/// Content of a version that goes with a change; it stays if the change fails. Until then nobody opens or evicts any.
#[must_use]
pub struct Leaving<'a> {
    scope: &'a Scope,
    open: MutexGuard<'a, HashMap<ObjectKey, Weak<Object>>>,
    /// It, if it is in use.
    object: Option<Arc<Object>>,
    /// What is written down of it, if it is not.
    record: Option<ObjectRecord>,
}

impl Leaving<'_> {
    /// The change was made: it counts for nothing any more. Gives its file, if there is any.
    pub fn made(mut self) -> Option<PathBuf> {
        if let Some(object) = self.object {
            self.open.remove(&object.key);
            object.disown();
            return Some(object.path.clone());
        }
        let record = self.record?;
        self.scope.place.add_clean(-signed(record.present.total()));
        Some(self.scope.cache.content.join(record.file))
    }
}

/// Whether content is what its record says; what cannot be read is not.
fn is_sound(file: &File, record: &ObjectRecord) -> bool {
    sums(file, record.size).is_ok_and(|sums| sums == record.sums)
}

/// Whether a record names this file.
fn names(record: &[u8], file: &str) -> bool {
    serde_json::from_slice::<ObjectRecord>(record).is_ok_and(|record| record.file == file)
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

#[cfg(test)]
mod tests;
