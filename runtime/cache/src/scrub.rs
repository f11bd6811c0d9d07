//! Looking for content that the disk changed: piece by piece, in the order of the records, and again from the start.
//!
//! It knows what was damaged, not how to mend it: damaged content is set aside, and fetched again by whoever wants it next.
//! Who has it open goes on with what is there. Content that is being written has no record, and is not looked at.

use std::fs::File;
use std::sync::PoisonError;

use causeway_storage::Result;

use crate::Cache;
use crate::index::{Op, Table};
use crate::object::{ObjectKey, ObjectRecord, SUM_BYTES, sum};
use crate::room::signed;

/// Nobody used the cache for so many milliseconds: it may be looked over.
const IDLE_MS: u64 = 5_000;

/// Records that are passed over in one step because they have nothing to compare with.
const MOST_PASSED: usize = 1_000;

/// What is looked at next.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    key: String,
    piece: u64,
}

impl Cache {
    /// Whether nobody used the cache for some seconds.
    pub fn is_idle(&self) -> bool {
        self.room.idle_ms() >= IDLE_MS
    }

    /// Compares the next piece of content, of at most 8 MiB, with its checksum, and says how many bytes that were: none at
    /// the end of everything, where the next step begins anew, and behind a thousand records that have no checksum. Blocking.
    pub fn scrub_step(&self) -> Result<u64> {
        let mut cursor = self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..MOST_PASSED {
            let Some((key, value)) = self.index.next(Table::Objects, &cursor.key)? else {
                *cursor = Cursor::default();
                return Ok(0);
            };
            let piece = if key == cursor.key { cursor.piece } else { 0 };
            let expected = serde_json::from_slice::<ObjectRecord>(&value).ok();
            let expected = expected.and_then(|record| Some((*record.sums.get(piece as usize)?, record)));
            let found = expected
                .and_then(|(sum, record)| Some((sum, File::open(self.content.join(&record.file)).ok()?, record)));
            let Some((expected, file, record)) = found else {
                // The least key behind this one.
                *cursor = Cursor { key: key + "\0", piece: 0 };
                continue;
            };
            let found = sum(&file, piece, record.size);
            *cursor = Cursor { key: key.clone(), piece: piece + 1 };
            // What cannot be read is as good as changed.
            if found.as_ref().ok() != Some(&expected) {
                tracing::error!(file = record.file, piece, error = ?found.err(), "cached content is damaged");
                self.set_content_aside(&key, &value, &record)?;
            }
            return Ok(SUM_BYTES.min(record.size - piece * SUM_BYTES));
        }
        Ok(0)
    }

    /// Sets content aside, unless its record was replaced meanwhile.
    fn set_content_aside(&self, key: &str, value: &[u8], record: &ObjectRecord) -> Result<()> {
        let Some(place) = self.room.place_of_key(key) else { return Ok(()) };
        let mut open = place.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.index.commit_instead(Table::Objects, key, value, vec![Op::delete(Table::Objects, key)])? {
            return Ok(());
        }
        let in_use = open.remove(&ObjectKey::of_record(&place.prefix, key)).and_then(|object| object.upgrade());
        match in_use {
            Some(object) => object.disown(),
            None => place.add_clean(-signed(record.present.total())),
        }
        self.quarantine.take_file(&record.file)
    }
}
