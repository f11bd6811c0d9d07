//! The write-ahead log: what was accepted and has not reached the index yet, in two files of a fixed size.
//!
//! It does not know what its records mean, and it syncs nothing by itself. The files have their blocks from the start, so
//! a full disk cannot refuse what is written into them, and to sync them is to overwrite: no metadata of the file system
//! changes. Records fill one file; then the other is begun anew, if everything in it has reached the index.
//!
//! Each time a file is begun it gets a new random salt, in its header, that enters the checksum of every record. So what an
//! earlier turn left behind the last record is never taken for a record, and neither is content that somebody wrote so
//! that it looks like one. When the log is opened, its records are followed as long as their numbers have no gap: what was
//! never synced may be there in part. A file with such records is not continued, since behind its last record may stand
//! what must not be read again.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_storage::Result;

use crate::cache::remove_file;

/// One file: some 30,000 changes, or 3,000 files of 4 KiB with their content, may come faster than the index takes them
/// up. Both together bound the memory for what the index does not have yet.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;

/// The format; another one is not read.
const MAGIC: u64 = u64::from_le_bytes(*b"cwlog\0\0\x01");

const HEADER_BYTES: u64 = 24;

const FRAME_BYTES: u64 = 20;

/// So much of a new file is filled with zeros ahead of its records.
const AHEAD_BYTES: u64 = 1 << 20;

/// How much of that in one go: it keeps others waiting for less than a millisecond.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// The log.
#[derive(Debug)]
pub(crate) struct Wal {
    directory: PathBuf,
    segment_bytes: u64,
    segments: [Segment; 2],
    active: usize,
}

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    salt: u64,
    /// Behind the last record.
    end: u64,
    /// The number of the last record; 0 if there is none.
    last: u64,
    unsynced: bool,
    /// Up to here its blocks were written once; from then on, writing changes nothing but data.
    written: u64,
}

/// A record that was read back.
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) payload: Vec<u8>,
}

impl Wal {
    /// Opens or creates the log in `directory` and gives the records behind number `checkpointed`, in order.
    pub(crate) fn open(directory: &Path, segment_bytes: u64, checkpointed: u64) -> Result<(Wal, Vec<Found>)> {
        let (first, one) = Segment::open(directory, 0, segment_bytes)?;
        let (second, other) = Segment::open(directory, 1, segment_bytes)?;
        let mut found: Vec<(usize, Found)> = one.into_iter().map(|found| (0, found)).collect();
        found.extend(other.into_iter().map(|found| (1, found)));
        found.sort_by_key(|(_, found)| found.number);
        let mut expected = checkpointed + 1;
        found.retain(|(_, found)| {
            let follows = found.number == expected;
            expected += u64::from(follows);
            follows
        });
        let mut wal = Wal { directory: directory.to_owned(), segment_bytes, segments: [first, second], active: 0 };
        for (index, found) in &found {
            wal.active = *index;
            wal.segment(*index).last = found.number;
        }
        let active = wal.active;
        wal.segment(active).end = segment_bytes;
        if wal.segment(1 - active).last == 0 {
            wal.begin(1 - active)?;
        } else {
            wal.segment(1 - active).end = segment_bytes;
        }
        Ok((wal, found.into_iter().map(|(_, found)| found).collect()))
    }

    /// The size of one of the two files.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Whether the file that is not being filled can be begun anew.
    pub(crate) fn has_spare(&self, checkpointed: u64) -> bool {
        self.segments.get(1 - self.active).is_some_and(|spare| spare.last <= checkpointed)
    }

    /// Bytes of payload that can still be appended when records up to `checkpointed` are in the index.
    pub(crate) fn room(&self, checkpointed: u64) -> u64 {
        let end = self.segments.get(self.active).map_or(self.segment_bytes, |active| active.end);
        let behind = self.segment_bytes.saturating_sub(end);
        let spare = if self.has_spare(checkpointed) { self.segment_bytes - HEADER_BYTES } else { 0 };
        behind.max(spare).saturating_sub(FRAME_BYTES)
    }

    /// Appends a record, and says whether there was room. If it fails, nothing was appended.
    pub(crate) fn append(&mut self, number: u64, payload: &[u8], checkpointed: u64) -> Result<bool> {
        let bytes = FRAME_BYTES + payload.len() as u64;
        let mut index = self.active;
        if self.segment(index).end + bytes > self.segment_bytes {
            index = 1 - index;
            if self.segment(index).last > checkpointed || HEADER_BYTES + bytes > self.segment_bytes {
                return Ok(false);
            }
            self.begin(index)?;
        }
        let segment = self.segment(index);
        segment.file.write_all_at(&frame(segment.salt, number, payload), segment.end)?;
        segment.end += bytes;
        segment.last = number;
        segment.unsynced = true;
        Ok(true)
    }

    /// The files to be synced, in this order, for everything appended so far to be durable.
    pub(crate) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        let order = [1 - self.active, self.active];
        order
            .into_iter()
            .filter_map(|index| {
                let segment = self.segment(index);
                std::mem::take(&mut segment.unsynced).then(|| segment.file.clone())
            })
            .collect()
    }

    /// Writes zeros once into what comes next and was never written, piece by piece; gives the file to be synced, or none
    /// when that is done.
    pub(crate) fn fill(&mut self) -> Result<Option<Arc<File>>> {
        let segment_bytes = self.segment_bytes;
        let segment = self.segment(self.active);
        let start = segment.written.max(segment.end);
        let size = (segment_bytes.saturating_sub(start)).min(ZEROS.len() as u64);
        if size == 0 || start >= segment.end + AHEAD_BYTES {
            return Ok(None);
        }
        segment.file.write_all_at(ZEROS.get(..size as usize).unwrap_or_default(), start)?;
        segment.written = start + size;
        Ok(Some(segment.file.clone()))
    }

    /// Begins with new files, after the old ones failed. Everything in them must be in the index.
    pub(crate) fn renew(&mut self) -> Result<()> {
        for index in [0, 1] {
            remove_file(&Segment::name(&self.directory, index))?;
            *self.segment(index) = Segment::open(&self.directory, index, self.segment_bytes)?.0;
        }
        self.begin(0)
    }

    fn begin(&mut self, index: usize) -> Result<()> {
        let salt = RandomState::new().hash_one(index);
        let segment = self.segment(index);
        segment.file.write_all_at(&header(salt), 0)?;
        segment.salt = salt;
        segment.end = HEADER_BYTES;
        segment.last = 0;
        segment.unsynced = true;
        self.active = index;
        Ok(())
    }

    fn segment(&mut self, index: usize) -> &mut Segment {
        let [first, second] = &mut self.segments;
        if index == 0 { first } else { second }
    }
}

impl Segment {
    fn name(directory: &Path, index: usize) -> PathBuf {
        directory.join(format!("log-{index}"))
    }

    fn open(directory: &Path, index: usize, bytes: u64) -> Result<(Segment, Vec<Found>)> {
        let name = Segment::name(directory, index);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name)?;
        let old_bytes = file.metadata()?.len();
        let (salt, found) = read(&file, old_bytes)?;
        let mut written = old_bytes;
        if old_bytes < bytes {
            written = 0;
            reserve(&file, bytes)?;
            file.sync_all()?;
            File::open(directory)?.sync_all()?;
        }
        // What an earlier process wrote may be in the memory of the kernel alone.
        let segment = Segment { file: Arc::new(file), salt, end: 0, last: 0, unsynced: true, written };
        Ok((segment, found))
    }
}

/// Gives the file its blocks, where the file system can do that ahead.
fn reserve(file: &File, bytes: u64) -> Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(file.set_len(bytes)?),
        other => Ok(other.map_err(std::io::Error::from)?),
    }
}

/// The salt and the sound records of a file.
fn read(file: &File, bytes: u64) -> Result<(u64, Vec<Found>)> {
    let mut start = [0; HEADER_BYTES as usize];
    let mut found = Vec::new();
    if bytes < HEADER_BYTES {
        return Ok((0, found));
    }
    file.read_exact_at(&mut start, 0)?;
    let salt = word(&start, 8).unwrap_or_default();
    if start != header(salt) {
        return Ok((0, found));
    }
    let mut at = HEADER_BYTES;
    let mut last = 0;
    while at + FRAME_BYTES <= bytes {
        let mut head = [0; FRAME_BYTES as usize];
        file.read_exact_at(&mut head, at)?;
        let (number, size) = (word(&head, 8).unwrap_or_default(), size_in(&head));
        if number <= last || at + FRAME_BYTES + size > bytes {
            break;
        }
        let mut payload = vec![0; size as usize];
        file.read_exact_at(&mut payload, at + FRAME_BYTES)?;
        if Some(sum(salt, number, &payload)) != word(&head, 0) {
            break;
        }
        at += FRAME_BYTES + size;
        last = number;
        found.push(Found { number, payload });
    }
    Ok((salt, found))
}

fn header(salt: u64) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    let sum = sum(salt, MAGIC, &[]);
    let words = [MAGIC, salt, sum].map(u64::to_le_bytes).concat();
    bytes.copy_from_slice(&words);
    bytes
}

fn frame(salt: u64, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_BYTES as usize + payload.len());
    bytes.extend(sum(salt, number, payload).to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn sum(salt: u64, number: u64, payload: &[u8]) -> u64 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    digest.update(&salt.to_le_bytes());
    digest.update(&number.to_le_bytes());
    digest.update(&(payload.len() as u64).to_le_bytes());
    digest.update(payload);
    digest.finalize()
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn size_in(head: &[u8; FRAME_BYTES as usize]) -> u64 {
    let [.., a, b, c, d] = *head;
    u64::from(u32::from_le_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two segments of this many bytes, without anything in the index.
    fn open(directory: &Path) -> (Wal, Vec<(u64, Vec<u8>)>) {
        open_behind(directory, 0)
    }

    fn open_behind(directory: &Path, checkpointed: u64) -> (Wal, Vec<(u64, Vec<u8>)>) {
        let (wal, found) = Wal::open(directory, 400, checkpointed).unwrap();
        (wal, found.into_iter().map(|found| (found.number, found.payload)).collect())
    }

    fn payload(number: u64) -> Vec<u8> {
        vec![number as u8; 5 + number as usize % 7]
    }

    fn append(wal: &mut Wal, numbers: impl Iterator<Item = u64>) -> Vec<(u64, Vec<u8>)> {
        let appended = numbers.map(|number| {
            assert!(wal.append(number, &payload(number), 0).unwrap());
            (number, payload(number))
        });
        appended.collect()
    }

    fn copy(from: &Path) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for name in ["log-0", "log-1"] {
            std::fs::copy(from.join(name), copy.path().join(name)).unwrap();
        }
        copy
    }

    /// What ends at this byte, and nothing behind it, is what is found.
    #[test]
    fn wherever_the_log_is_cut_or_damaged_what_is_before_is_there_and_nothing_half() {
        let directory = tempfile::tempdir().unwrap();
        let mut wal = open(directory.path()).0;
        let appended = append(&mut wal, 1..20);
        let active = wal.active;
        let mut ends = Vec::new();
        let mut end = HEADER_BYTES;
        for (_, payload) in appended.iter().filter(|(number, _)| *number > wal.segments[1 - active].last) {
            end += FRAME_BYTES + payload.len() as u64;
            ends.push(end);
        }
        let before = appended.len() - ends.len();
        assert!(before > 0 && ends.len() > 3, "both files are in use");
        for at in 0..end {
            for damage in [true, false] {
                let copy = copy(directory.path());
                let name = Segment::name(copy.path(), active);
                let mut bytes = std::fs::read(&name).unwrap();
                match damage {
                    true => bytes[at as usize] ^= 0x55,
                    false => bytes.truncate(at as usize),
                }
                std::fs::write(&name, bytes).unwrap();
                let whole = before + if at < HEADER_BYTES { 0 } else { ends.iter().filter(|end| **end <= at).count() };
                assert_eq!(open(copy.path()).1, appended[..whole], "at {at}, damaged: {damage}");
            }
        }
    }

    #[test]
    fn a_gap_ends_what_is_believed_although_the_other_file_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut wal = open(directory.path()).0;
        let appended = append(&mut wal, 1..20);
        let first = 1 - wal.active;
        let last = wal.segments[first].last;
        let name = Segment::name(directory.path(), first);
        let mut bytes = std::fs::read(&name).unwrap();
        bytes[wal.segments[first].end as usize - 1] ^= 1;
        std::fs::write(&name, bytes).unwrap();
        let (mut wal, found) = open(directory.path());
        assert_eq!(found, appended[..last as usize - 1]);
        // And what lay behind the gap is not found later, when the gap is filled with something else.
        let again = append(&mut wal, last..last + 2);
        drop(wal);
        assert_eq!(open(directory.path()).1, [&found[..], &again[..]].concat());
    }

    #[test]
    fn a_file_is_begun_anew_only_when_the_index_has_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut wal = open(directory.path()).0;
        let mut number = 1;
        while wal.append(number, &payload(number), 0).unwrap() {
            number += 1;
        }
        assert!(!wal.append(number, &payload(number), 1).unwrap());
        let spared = wal.segments[1 - wal.active].last;
        assert!(wal.append(number, &payload(number), spared).unwrap());
        assert_eq!(open_behind(directory.path(), spared).1.len() as u64, number - spared);
    }

    #[test]
    fn what_an_earlier_process_left_unsynced_is_synced_before_what_comes_after_it() {
        let directory = tempfile::tempdir().unwrap();
        append(&mut open(directory.path()).0, 1..20);
        let (mut wal, found) = open(directory.path());
        assert_eq!(found.len(), 19);
        assert_eq!(wal.take_unsynced().len(), 2);
        assert_eq!(wal.take_unsynced().len(), 0);
    }

    #[test]
    fn content_that_looks_like_a_record_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut wal = open(directory.path()).0;
        // Left from the turn before, exactly where the next record is looked for.
        let forged = [frame(0, 1, b"x"), frame(0, 2, b"forged"), frame(0, 3, b"forged")].concat();
        let name = Segment::name(directory.path(), wal.active);
        let file = OpenOptions::new().write(true).open(&name).unwrap();
        file.write_all_at(&forged, HEADER_BYTES).unwrap();
        assert!(wal.append(1, b"x", 0).unwrap());
        assert_eq!(open(directory.path()).1, [(1, b"x".to_vec())]);
    }
}
