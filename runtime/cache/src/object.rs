//! Content of one version of one object, as far as it was fetched.
//!
//! It does not fetch: who does, writes whole pieces and marks them present. The present ranges reach the index when the
//! object is saved, after the data was synced: what the index calls present is there after a power loss. Only what is small
//! and whole is not synced: its checksum is compared when it is opened. What was fetched and not saved is fetched again.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use causeway_storage::{Error, Result, Span};
use serde::{Deserialize, Serialize};

use crate::room::{Place, signed};
use crate::secured::LARGEST_RIDER_BYTES;
use crate::{Ranges, Seen};

/// Which content: whose, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// The key of what was seen; none if its version is not known.
    pub fn of(seen: &Seen) -> Option<ObjectKey> {
        let version = &seen.version.as_ref()?.0;
        // Lengths keep two pairs apart whose texts happen to join into the same one.
        Some(ObjectKey(match &seen.cookie {
            Some(cookie) => format!("c{}:{cookie}:{version}", cookie.len()),
            None => format!("p{}:{}:{version}", seen.path.as_str().len(), seen.path),
        }))
    }

    pub(crate) fn record_key(&self, scope: &str) -> String {
        format!("{scope}{}", self.0)
    }

    /// The key whose record has this key.
    pub(crate) fn of_record(scope: &str, record_key: &str) -> ObjectKey {
        ObjectKey(record_key.strip_prefix(scope).unwrap_or(record_key).to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectRecord {
    pub(crate) file: String,
    pub(crate) size: u64,
    pub(crate) present: Ranges,
    /// Seconds since 1970.
    pub(crate) used: i64,
    /// A checksum of each piece of complete content; none where it was never taken.
    #[serde(default)]
    pub(crate) sums: Vec<u64>,
}

/// The bytes that one checksum is for: what is wrong with content is found piece by piece.
pub(crate) const SUM_BYTES: u64 = 8 << 20;

/// The checksums of all of a file's pieces. Blocking.
pub(crate) fn sums(file: &File, size: u64) -> Result<Vec<u64>> {
    (0..size.div_ceil(SUM_BYTES)).map(|piece| sum(file, piece, size)).collect()
}

/// The checksum of one piece, read in steps that need little memory. Blocking.
pub(crate) fn sum(file: &File, piece: u64, size: u64) -> Result<u64> {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    let mut at = piece * SUM_BYTES;
    let end = size.min(at + SUM_BYTES);
    let mut buffer = vec![0; (end - at).min(256 << 10) as usize];
    while at < end {
        let step = buffer.len().min((end - at) as usize);
        let bytes = buffer.get_mut(..step).ok_or_else(|| Error::internal("a step is longer than its buffer"))?;
        file.read_exact_at(bytes, at)?;
        digest.update(bytes);
        at += step as u64;
    }
    Ok(digest.finalize())
}

/// Content of one version.
#[derive(Debug)]
pub struct Object {
    pub(crate) key: ObjectKey,
    pub(crate) path: PathBuf,
    pub(crate) file_name: String,
    size: u64,
    file: File,
    place: Arc<Place>,
    state: RwLock<State>,
    /// Held while its record is made and written, so that none is written of what is not there any more; taken before
    /// `state`.
    saving: Mutex<()>,
}

#[derive(Debug)]
struct State {
    present: Ranges,
    /// Bytes that are present and in no record: they count only as long as it is in use.
    unrecorded: i64,
    unsaved: bool,
    /// A record names it. Without one it goes when nobody has it open.
    recorded: bool,
    /// Something else stands in the cache as its version from now on.
    disowned: bool,
    /// When the record says that it was used last, in seconds since 1970.
    used: i64,
    /// Rises when the object is emptied.
    epoch: u64,
    /// Rises when anything that was present is taken away.
    losses: u64,
    /// As in the record.
    sums: Vec<u64>,
}

impl Object {
    pub(crate) fn new(key: ObjectKey, path: PathBuf, record: ObjectRecord, file: File, place: &Arc<Place>) -> Object {
        let ObjectRecord { file: file_name, size, present, used, sums } = record;
        let state = State {
            present,
            unrecorded: 0,
            unsaved: false,
            recorded: used > 0,
            disowned: false,
            used,
            epoch: 0,
            losses: 0,
            sums,
        };
        let (place, state, saving) = (place.clone(), RwLock::new(state), Mutex::default());
        Object { key, path, file_name, size, file, place, state, saving }
    }

    /// Which content this is.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The size of the whole content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What of `span` was not fetched yet.
    pub fn missing(&self, span: Span) -> Vec<Span> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).present.missing(span)
    }

    /// The file that holds it, opened anew to be read by others; only of use while all of it is here. Blocking.
    pub fn open_file(&self) -> Result<File> {
        Ok(File::open(&self.path)?)
    }

    /// Whether all of it is here.
    pub fn is_complete(&self) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).present.contains(Span::new(0, self.size))
    }

    /// Fills `buffer` from `offset` if all of it is present, and says whether it did. Blocking.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<bool> {
        self.place.touch();
        // Held while reading, so that nothing is punched out in between.
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if !state.present.contains(Span::new(offset, buffer.len() as u64)) {
            return Ok(false);
        }
        self.file.read_exact_at(buffer, offset)?;
        Ok(true)
    }

    /// Begins to store what is being fetched; hand the answer to [`Object::mark`].
    pub fn epoch(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Writes bytes that were fetched; they count once they are marked. Blocking.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(bytes, offset)?)
    }

    /// Marks what was written since `epoch` as present, unless the object was emptied in between.
    pub fn mark(&self, span: Span, epoch: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.epoch == epoch {
            let added = state.present.missing(span).iter().map(|hole| hole.size).sum::<u64>();
            state.present.insert(span);
            self.count(&mut state, signed(added));
        }
    }

    /// Takes back what was marked: it turned out to be of another version. A record may say otherwise until
    /// [`crate::Scope::correct`].
    pub fn unmark(&self, span: Span) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let missing = state.present.missing(span).iter().map(|hole| hole.size).sum::<u64>();
        state.present.remove(span);
        self.count(&mut state, -signed(span.size.saturating_sub(missing)));
    }

    /// Throws away what was fetched, to make room. What `forget` does with a record that there is must survive a power loss
    /// when it returns. Blocking.
    pub(crate) fn empty(&self, forget: impl FnOnce() -> Result<()>) -> Result<()> {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recorded = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            state.recorded && !state.disowned
        };
        if is_recorded {
            forget()?;
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.recorded = false;
            state.unrecorded = signed(state.present.total());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.epoch += 1;
        let removed = std::mem::take(&mut state.present).total();
        self.count(&mut state, -signed(removed));
        self.file.set_len(0)?;
        Ok(self.file.set_len(self.size)?)
    }

    /// Its file is not its own any more, and it counts for nothing.
    pub(crate) fn disown(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.unrecorded = 0;
        self.place.add_clean(-signed(state.present.total()));
        state.recorded = true;
        state.disowned = true;
    }

    /// Whether a record names it; waits until one that is being written is.
    pub(crate) fn is_recorded(&self) -> bool {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.read().unwrap_or_else(PoisonError::into_inner).recorded
    }

    /// Bytes that are present.
    pub(crate) fn present_bytes(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).present.total()
    }

    /// Gives what to write into the index to `commit`, if anything is new, with whether a record names it already; `commit`
    /// says whether it could be written. All but what is small and whole was synced before. Blocking.
    pub(crate) fn save(&self, used: i64, commit: impl FnOnce(&ObjectRecord, bool) -> Result<bool>) -> Result<()> {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let (present, mut sums, recorded, losses) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            // To order by age, a minute is exact enough, and spares a commit for each of many short looks.
            if state.disowned || (!state.unsaved && used.saturating_sub(state.used) < 60) {
                return Ok(());
            }
            (state.present.clone(), state.sums.clone(), state.recorded, state.losses)
        };
        if sums.is_empty() && present.contains(Span::new(0, self.size)) {
            sums = self::sums(&self.file, self.size)?;
        }
        // What is small and whole is looked over when it is opened.
        if sums.is_empty() || self.size > LARGEST_RIDER_BYTES {
            self.file.sync_data()?;
        }
        let record = ObjectRecord { file: self.file_name.clone(), size: self.size, present, used, sums };
        if !commit(&record, recorded)? {
            return Ok(());
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.disowned {
            return Ok(());
        }
        state.recorded = true;
        state.used = used;
        // What came or went meanwhile is in no record yet.
        state.unrecorded = signed(state.present.total()) - signed(record.present.total());
        state.unsaved = state.present != record.present;
        // What was lost may have come again, and as something else.
        match state.losses == losses {
            true => state.sums = record.sums,
            false => state.unsaved = true,
        }
        Ok(())
    }

    /// Counts bytes that came, or went.
    fn count(&self, state: &mut State, bytes: i64) {
        state.unsaved = true;
        state.unrecorded += bytes;
        if bytes < 0 {
            state.losses += 1;
            state.sums.clear();
        }
        self.place.add_clean(bytes);
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.place.add_clean(-state.unrecorded);
        if !state.recorded {
            // At worst it lies there until the cache is opened again.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The objects in use, so that each is open once and none in use is evicted.
pub(crate) type OpenObjects = Mutex<HashMap<ObjectKey, Weak<Object>>>;

/// A strong count that goes with an open object.
pub(crate) fn in_use(open: &OpenObjects, key: &ObjectKey) -> Option<Arc<Object>> {
    open.lock().unwrap_or_else(PoisonError::into_inner).get(key).and_then(Weak::upgrade)
}
