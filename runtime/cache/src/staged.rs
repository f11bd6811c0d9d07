//! A working copy: content that was written here and that the provider does not have yet.
//!
//! It knows nothing of paths or providers. The bytes lie in `s-<id>` at their own offsets. A copy that began empty needs
//! nothing else: what was not written is zero. A copy that began as an edit of existing content ("based") has holes that
//! stand for the base, so it must remember which bytes are its own. That memory is `s-<id>.log`: records of 32 bytes
//! (present range, new size, time), each written *after* its data and *before* the write is answered, so that an end of
//! the process loses no answered write and never lets old bytes shine through. A record that ends where the next one
//! begins is extended in place, so a sequential writer keeps one record, but never one that was secured: after a power
//! loss the log counts as far as it was secured, since later records may be on disk without their data. A torn last record
//! stands for a write that was never answered and is ignored.

use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use causeway_storage::{Error, ErrorKind, Result, Span, Timestamp};

use crate::edits::{RECORD_BYTES, Record, decode_all};
use crate::object::sums;
use crate::room::{Place, Weight};
use crate::secured::{LARGEST_RIDER_BYTES, Secured};
use crate::{Commit, Ranges};

/// Records after which the log is rewritten without what later ones made superfluous: 1 MiB.
const RECORDS_BEFORE_REWRITE: u64 = 32_768;

/// Bytes written after which it is looked at how many the file occupies: what is written over would count twice.
const WEIGH_BYTES: u64 = 8 << 20;

/// Where a piece of a working copy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// From the copy itself.
    Own(Span),
    /// From the base, at the same offset.
    Base(Span),
}

/// A working copy.
#[derive(Debug)]
pub struct Staged {
    id: u64,
    path: PathBuf,
    based: bool,
    state: Mutex<State>,
    /// Held by whoever secures it, so that what is secured later is never older.
    securing: Mutex<()>,
    /// What it counts for; nothing before it was weighed.
    weight: OnceLock<Weight>,
    /// It becomes content of a version.
    kept: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Open while someone reads or writes: thousands of copies may wait for upload, descriptors are few.
    file: Weak<File>,
    log: Option<File>,
    size: u64,
    /// The base shows through below this and nowhere else.
    base_limit: u64,
    present: Ranges,
    modified: Option<Timestamp>,
    /// Records in the log.
    records: u64,
    /// Records that were written before the log was rewritten last.
    dropped: u64,
    /// The last record, while it may be extended.
    last: Option<(u64, Span)>,
    rewrite_at: u64,
    /// It is written past this object: the file itself knows its size and time.
    passed: bool,
    /// Its names are gone: who has it open goes on, but there is nothing left to remember.
    deleted: bool,
    /// Bytes written since its weight was looked at.
    unweighed: u64,
    /// Rises with every change.
    changes: u64,
    /// After how many changes this process secured it last, and what to wait on. What an earlier one secured may be older
    /// than what is here.
    secured: Option<(u64, Commit)>,
}

/// An uploaded copy that is ready to be kept: its content is synced, or small enough to be looked over when it is opened.
#[derive(Debug)]
pub struct Sealed {
    pub(crate) size: u64,
    pub(crate) sums: Vec<u64>,
}

impl Staged {
    /// A new copy: empty, or `base_size` bytes of which all are the base's.
    pub(crate) fn create(directory: &Path, id: u64, base_size: Option<u64>) -> Result<(Staged, Arc<File>)> {
        let path = directory.join(Staged::name(id));
        let file = Arc::new(OpenOptions::new().read(true).write(true).create_new(true).open(&path)?);
        let staged = Staged::new(id, path, base_size.is_some(), State::new(0, 0));
        {
            let mut state = staged.lock();
            state.file = Arc::downgrade(&file);
            if let Some(size) = base_size {
                file.set_len(size)?;
                state.size = size;
                state.base_limit = size;
                staged.record(&mut state, Record::Size(size))?;
            }
        }
        Ok((staged, file))
    }

    /// The whole content of an existing file, which gets a second name.
    pub(crate) fn adopt(directory: &Path, id: u64, existing: &Path) -> Result<Staged> {
        let path = directory.join(Staged::name(id));
        std::fs::hard_link(existing, &path)?;
        let size = std::fs::metadata(&path)?.len();
        Ok(Staged::new(id, path, false, State::new(size, 0)))
    }

    /// A copy that an earlier process left, with all of its log, or as far as it was secured. Nothing is changed on disk
    /// before [`Staged::trim`].
    pub(crate) fn recover(directory: &Path, id: u64, base_size: Option<u64>, secured: Option<u64>) -> Result<Staged> {
        let path = directory.join(Staged::name(id));
        let size = std::fs::metadata(&path)?.len();
        let mut state = State::new(size, base_size.unwrap_or(0));
        if base_size.is_some() {
            state.size = state.base_limit;
        }
        let bytes = match std::fs::read(log_path(&path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut most = secured.unwrap_or(u64::MAX);
        for record in decode_all(&bytes) {
            if let Record::Rewritten { dropped, kept } = record {
                state.dropped = dropped;
                most = most.saturating_sub(dropped).max(kept);
            }
            if state.records >= most {
                break;
            }
            state.apply(record);
            state.records += 1;
        }
        if secured.is_some() && state.records < most {
            return Err(Error::new(ErrorKind::Corrupt, "the log of a pending write is not complete"));
        }
        Ok(Staged::new(id, path, base_size.is_some(), state))
    }

    /// Cuts the files of a copy that was recovered to what counts of them, so that nothing of the rest comes back when they
    /// grow.
    pub(crate) fn trim(&self) -> Result<()> {
        let mut state = self.lock();
        let log = OpenOptions::new().write(true).open(log_path(&self.path));
        match log {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            log => log?.set_len(state.records * RECORD_BYTES)?,
        }
        if !self.based {
            return Ok(());
        }
        let file = self.open(&mut state)?;
        let size = file.metadata()?.len();
        if size < state.size {
            // It was being cut when the power was lost.
            self.record(&mut state, Record::Size(size))?;
        } else if size > state.size {
            // It was being cut or extended: what is added later must be zero.
            file.set_len(state.size)?;
        }
        Ok(())
    }

    fn new(id: u64, path: PathBuf, based: bool, state: State) -> Staged {
        let (state, securing, weight, kept) =
            (Mutex::new(state), Mutex::default(), OnceLock::new(), AtomicBool::default());
        Staged { id, path, based, state, securing, weight, kept }
    }

    /// Its number, which names it in the journal.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The file's name in the content directory.
    pub(crate) fn file_name(&self) -> String {
        Staged::name(self.id)
    }

    /// The name of the file of that copy.
    pub(crate) fn name(id: u64) -> String {
        format!("s-{id:016x}")
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size_now(&mut self.lock())
    }

    /// From now on it is written past this object, through a descriptor that the kernel has. Only for a copy that began
    /// as a whole: one with holes cannot be read that way.
    pub fn pass(&self) {
        self.lock().passed = true;
    }

    /// Whether it is.
    pub fn is_passed(&self) -> bool {
        self.lock().passed
    }

    fn size_now(&self, state: &mut State) -> u64 {
        if state.passed
            && let Ok(metadata) = self.open(state).and_then(|file| Ok(file.metadata()?))
        {
            state.size = metadata.len();
        }
        state.size
    }

    /// When it was last changed: the time that was set, else that of the last write.
    pub fn modified(&self) -> Timestamp {
        if let Some(modified) = self.lock().modified {
            return modified;
        }
        let written = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified());
        written.map_or_else(|_| Timestamp::now(), Timestamp::from)
    }

    /// Opens it for as long as the answer is held.
    pub fn file(&self) -> Result<Arc<File>> {
        let mut state = self.lock();
        self.open(&mut state)
    }

    /// Writes bytes of its own. Blocking.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let file = self.open(&mut state)?;
        state.changes += 1;
        file.write_all_at(bytes, offset)?;
        self.add_weight(&mut state, &file, bytes.len() as u64)?;
        let span = Span::new(offset, bytes.len() as u64);
        if self.based {
            if state.modified.is_some() {
                self.record(&mut state, Record::Modified(None))?;
            }
            self.record(&mut state, Record::Present(span))
        } else {
            state.size = self.size_now(&mut state).max(span.end());
            if state.modified.is_some() { self.record(&mut state, Record::Modified(None)) } else { Ok(()) }
        }
    }

    /// Reads from `file`, which is this copy, as many bytes as the buffer holds and the copy has, if none of them is the
    /// base's. Blocking.
    pub fn read_own(&self, file: &File, offset: u64, buffer: &mut [u8]) -> Result<Option<usize>> {
        let size = {
            let mut state = self.lock();
            let size = self.size_now(&mut state).saturating_sub(offset).min(buffer.len() as u64);
            if !state.holes(Span::new(offset, size)).is_empty() {
                return Ok(None);
            }
            usize::try_from(size).map_err(Error::internal)?
        };
        // A cut in between leaves less.
        let mut read = 0;
        while read < size {
            let rest = buffer.get_mut(read..size).unwrap_or_default();
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(read))
    }

    /// Puts bytes of the base where nothing was written meanwhile. Blocking.
    pub fn fill(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let file = self.open(&mut state)?;
        state.changes += 1;
        let span = Span::new(offset, (bytes.len() as u64).min(state.base_limit.saturating_sub(offset)));
        for hole in state.present.missing(span) {
            let start = usize::try_from(hole.offset - offset).map_err(Error::internal)?;
            let end = usize::try_from(hole.end() - offset).map_err(Error::internal)?;
            let piece = bytes.get(start..end).ok_or_else(|| Error::internal("a hole lies outside of its filling"))?;
            file.write_all_at(piece, hole.offset)?;
            self.add_weight(&mut state, &file, hole.size)?;
            self.record(&mut state, Record::Present(hole))?;
        }
        Ok(())
    }

    /// Cuts or extends it; what is added is zero, and a time that was set holds no longer. Before it is cut, `shorten` sees
    /// to it that no more is expected after a power loss. Blocking.
    pub(crate) fn resize(&self, size: u64, shorten: impl FnOnce() -> Result<()>) -> Result<()> {
        // Nobody secures the size from before meanwhile.
        let _turn = if size < self.size() {
            let turn = self.securing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            shorten()?;
            Some(turn)
        } else {
            None
        };
        let mut state = self.lock();
        let file = self.open(&mut state)?;
        state.changes += 1;
        if state.modified.is_some() {
            self.record(&mut state, Record::Modified(None))?;
        }
        if !self.based {
            file.set_len(size)?;
            state.size = size;
            return Ok(());
        }
        // The record never counts on bytes that the file does not have, wherever the process ends.
        if size < state.size {
            self.record(&mut state, Record::Size(size))?;
            return Ok(file.set_len(size)?);
        }
        file.set_len(size)?;
        self.record(&mut state, Record::Size(size))
    }

    /// Sets the time of its last change, until it is written again. Blocking.
    pub fn set_modified(&self, modified: Timestamp) -> Result<()> {
        let mut state = self.lock();
        state.changes += 1;
        if state.passed {
            // A later write changes the file's own time, and is not seen here.
            self.open(&mut state)?.set_modified(modified.into())?;
            return self.record(&mut state, Record::Modified(None));
        }
        self.record(&mut state, Record::Modified(Some(modified)))
    }

    /// Where the bytes of `span` come from, cut at its end.
    pub fn segments(&self, span: Span) -> Vec<Segment> {
        let mut state = self.lock();
        let end = span.end().min(self.size_now(&mut state));
        if span.offset >= end {
            return Vec::new();
        }
        let holes = state.holes(Span::new(span.offset, end - span.offset));
        let mut segments = Vec::new();
        let mut position = span.offset;
        for hole in holes {
            if hole.offset > position {
                segments.push(Segment::Own(Span::new(position, hole.offset - position)));
            }
            segments.push(Segment::Base(hole));
            position = hole.end();
        }
        if position < end {
            segments.push(Segment::Own(Span::new(position, end - position)));
        }
        segments
    }

    /// Whether it was written to, cut, or given a time through us by this process.
    pub fn was_changed(&self) -> bool {
        self.lock().changes > 0
    }

    /// What still has to come from the base.
    pub fn holes(&self) -> Vec<Span> {
        let state = self.lock();
        state.holes(Span::new(0, state.size))
    }

    /// Counts what it occupies from now on, for as long as it waits.
    pub(crate) fn weigh(&self, place: &Arc<Place>) -> Result<()> {
        let weight = self.weight.get_or_init(|| Weight::new(place));
        weight.set(occupied(&std::fs::metadata(&self.path)?));
        Ok(())
    }

    fn add_weight(&self, state: &mut State, file: &File, bytes: u64) -> Result<()> {
        let Some(weight) = self.weight.get() else { return Ok(()) };
        state.unweighed += bytes;
        if state.unweighed < WEIGH_BYTES {
            weight.add(bytes);
        } else {
            weight.set(occupied(&file.metadata()?));
            state.unweighed = 0;
        }
        Ok(())
    }

    /// It will be content of a version.
    pub(crate) fn will_be_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Counts for nothing any more; gives the bytes that it counts for as content of a version.
    pub(crate) fn lighten(&self) -> u64 {
        if let Some(weight) = self.weight.get() {
            weight.set(0);
        }
        if self.kept.load(Ordering::Relaxed) { self.size() } else { 0 }
    }

    /// Makes everything answered so far survive a power loss, once what `commit` gives for it was waited for. Blocking.
    /// Content of at most `largest_rider` bytes rides along.
    pub(crate) fn secure(&self, largest_rider: u64, commit: impl FnOnce(&Secured) -> Result<Commit>) -> Result<Commit> {
        let _turn = self.securing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (changes, records, size, rider) = {
            let mut state = self.lock();
            if let Some((changes, commit)) = &state.secured
                && *changes == state.changes
                && !state.passed
            {
                return Ok(commit.clone());
            }
            let size = self.size_now(&mut state);
            if let Some(weight) = self.weight.get() {
                weight.set(occupied(&self.open(&mut state)?.metadata()?));
                state.unweighed = 0;
            }
            let rides = !self.based && size <= largest_rider;
            let rider = if rides { Some(self.rider(&mut state, size)?) } else { None };
            // What is written from now on may be in the log before it is in the file: it gets records of its own.
            state.last = None;
            (state.changes, state.dropped + state.records, size, rider)
        };
        let secured = match rider {
            Some(rider) => rider,
            None => {
                self.sync()?;
                Secured::File { size, records }
            }
        };
        let commit = commit(&secured)?;
        if commit.is_promised() {
            self.lock().secured = Some((changes, commit.clone()));
        }
        Ok(commit)
    }

    /// Records of its log since its beginning.
    pub(crate) fn logged(&self) -> u64 {
        let state = self.lock();
        state.dropped + state.records
    }

    /// Whether it is secured without its file, where content of at most `largest_rider` bytes is.
    pub(crate) fn rides_along(&self, largest_rider: u64) -> bool {
        !self.based && self.size() <= largest_rider
    }

    /// Whether nothing changed since it was secured.
    pub(crate) fn is_secured(&self) -> bool {
        let state = self.lock();
        !state.passed && state.secured.as_ref().is_some_and(|(changes, _)| *changes == state.changes)
    }

    fn rider(&self, state: &mut State, size: u64) -> Result<Secured> {
        let file = self.open(state)?;
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let modified = match state.modified {
            Some(modified) => modified,
            None => file.metadata()?.modified()?.into(),
        };
        Ok(Secured::Content { modified, bytes })
    }

    /// Syncs the content and the memory of which of it is here.
    fn sync(&self) -> Result<()> {
        let (file, log) = {
            let mut state = self.lock();
            let file = self.open(&mut state)?;
            let log = match &state.log {
                Some(log) => Some(log.try_clone()?),
                None if state.records > 0 => Some(File::open(log_path(&self.path))?),
                None => None,
            };
            (file, log)
        };
        file.sync_data()?;
        Ok(log.map_or(Ok(()), |log| log.sync_data())?)
    }

    /// Readies a copy that is not written any more to be kept. Blocking.
    pub(crate) fn seal(&self) -> Result<Sealed> {
        let file = self.file()?;
        let size = self.size();
        // One that rides along is looked over when it is opened.
        if size > LARGEST_RIDER_BYTES {
            file.sync_data()?;
        }
        Ok(Sealed { size, sums: sums(&file, size)? })
    }

    /// Gives the content a second name, on disk when this returns; where that cannot be, makes a copy. Fails if something
    /// has that name. Blocking.
    pub fn link_to(&self, target: &Path) -> Result<()> {
        match std::fs::hard_link(&self.path, target) {
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                let mut copy = OpenOptions::new().write(true).create_new(true).open(target)?;
                std::io::copy(&mut File::open(&self.path)?, &mut copy)?;
            }
            linked => linked?,
        }
        File::open(target)?.sync_all()?;
        Ok(File::open(target.parent().unwrap_or(target))?.sync_all()?)
    }

    /// Closes what is kept open between writes. Call it when no more writes are expected.
    pub fn settle(&self) {
        self.lock().log = None;
    }

    /// Deletes the names; who has it open goes on, and it counts until they closed it.
    pub(crate) fn delete(&self) {
        let is_open = {
            let mut state = self.lock();
            state.deleted = true;
            state.file.strong_count() > 0
        };
        if !is_open {
            self.lighten();
        }
        for path in [self.path.clone(), log_path(&self.path)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(%error, "a finished working copy could not be deleted");
                }
                _ => {}
            }
        }
    }

    /// Deletes the log alone: the content lives on as an object.
    pub(crate) fn delete_log(&self) {
        let _ = std::fs::remove_file(log_path(&self.path));
    }

    fn open(&self, state: &mut State) -> Result<Arc<File>> {
        if let Some(file) = state.file.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(&self.path)?);
        state.file = Arc::downgrade(&file);
        Ok(file)
    }

    fn record(&self, state: &mut State, record: Record) -> Result<()> {
        if state.deleted {
            state.apply(record);
            return Ok(());
        }
        if state.log.is_none() {
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
            state.log = Some(options.open(log_path(&self.path))?);
        }
        let joined = match (record, state.last) {
            (Record::Present(span), Some((slot, last))) if last.end() == span.offset => {
                Some((slot, Span::new(last.offset, last.size + span.size)))
            }
            _ => None,
        };
        let (slot, written) = match joined {
            Some((slot, span)) => (slot, Record::Present(span)),
            None => (state.records, record),
        };
        let log = state.log.as_ref().ok_or_else(|| Error::internal("a log that was just opened is gone"))?;
        log.write_all_at(&written.encode(), slot * RECORD_BYTES)?;
        state.records = state.records.max(slot + 1);
        state.last = if let Record::Present(span) = written { Some((slot, span)) } else { None };
        state.apply(record);
        if state.records >= state.rewrite_at { self.rewrite(state) } else { Ok(()) }
    }

    /// Replaces the log by one that says the same in fewer records.
    fn rewrite(&self, state: &mut State) -> Result<()> {
        let mut records = Vec::new();
        if self.based {
            // The base limit comes first, as a size: whatever grew beyond it is zero, not the base's.
            records.extend([Record::Size(state.base_limit), Record::Size(state.size)]);
            records.extend(state.present.iter().map(Record::Present));
            // All of it counts from now on.
            self.open(state)?.sync_data()?;
        }
        records.push(Record::Modified(state.modified));
        let (dropped, kept) = (state.dropped + state.records, records.len() as u64 + 1);
        records.insert(0, Record::Rewritten { dropped, kept });
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.encode()).collect();
        let path = log_path(&self.path);
        let fresh = path.with_extension("log-new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        std::fs::rename(&fresh, &path)?;
        state.log = Some(file);
        (state.dropped, state.records) = (dropped, kept);
        state.last = None;
        state.rewrite_at = RECORDS_BEFORE_REWRITE.max(2 * state.records);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock leaves at worst a range that is not yet marked as present.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn new(size: u64, base_limit: u64) -> State {
        State {
            file: Weak::new(),
            log: None,
            size,
            base_limit,
            present: Ranges::default(),
            modified: None,
            records: 0,
            dropped: 0,
            last: None,
            rewrite_at: RECORDS_BEFORE_REWRITE,
            passed: false,
            deleted: false,
            unweighed: 0,
            changes: 0,
            secured: None,
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Present(span) => {
                self.present.insert(span);
                self.size = self.size.max(span.end());
            }
            Record::Size(size) => {
                self.size = size;
                self.base_limit = self.base_limit.min(size);
                self.present.truncate(size);
            }
            Record::Modified(modified) => self.modified = modified,
            Record::Rewritten { .. } => {}
        }
    }

    fn holes(&self, span: Span) -> Vec<Span> {
        let end = span.end().min(self.base_limit);
        if span.offset >= end { Vec::new() } else { self.present.missing(Span::new(span.offset, end - span.offset)) }
    }
}

/// Bytes that a file takes on the disk.
fn occupied(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

fn log_path(path: &Path) -> PathBuf {
    path.with_extension("log")
}

#[cfg(test)]
mod tests;
