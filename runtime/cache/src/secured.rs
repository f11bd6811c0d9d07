//! What of a working copy survives a power loss, as the index keeps it.
//!
//! A small copy that began empty rides along: its bytes are in the record, and its file need not be synced. Of any other
//! the record says that its file was, and how far its log: what follows in the log was never waited for, and may be there
//! although the bytes that it speaks of are not. The record goes when no intent names the copy any more.

use causeway_storage::Timestamp;

/// The largest content that rides along: to sync the log with so much more in it takes less time than to sync a file.
pub(crate) const LARGEST_RIDER_BYTES: u64 = 64 << 10;

/// Content up to here always does: it is hardly larger than the record of its intent.
pub(crate) const SMALLEST_RIDER_BYTES: u64 = 4 << 10;

/// What was secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Secured {
    /// All of the content, and when it was changed.
    Content { modified: Timestamp, bytes: Vec<u8> },
    /// The file, which had at least so many bytes, and so many records of its log, counted from the copy's beginning.
    File { size: u64, records: u64 },
}

impl Secured {
    /// Whether the file must be there for the record to be worth anything.
    pub(crate) fn needs_file(&self) -> bool {
        matches!(self, Secured::File { .. })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        match self {
            Secured::Content { modified, bytes } => {
                encoded.push(1);
                encoded.extend(modified.seconds.to_le_bytes());
                encoded.extend(modified.nanoseconds.to_le_bytes());
                encoded.extend(bytes);
            }
            Secured::File { size, records } => {
                encoded.push(3);
                encoded.extend(size.to_le_bytes());
                encoded.extend(records.to_le_bytes());
            }
        }
        encoded
    }

    /// None if it is torn, or from a newer version.
    pub(crate) fn decode(encoded: &[u8]) -> Option<Secured> {
        match encoded.split_first()? {
            (1, rest) => {
                let (seconds, rest) = rest.split_first_chunk()?;
                let (nanoseconds, bytes) = rest.split_first_chunk()?;
                let (seconds, nanoseconds) = (i64::from_le_bytes(*seconds), u32::from_le_bytes(*nanoseconds));
                Some(Secured::Content { modified: Timestamp { seconds, nanoseconds }, bytes: bytes.to_vec() })
            }
            (3, rest) => {
                let (size, records) = rest.split_first_chunk()?;
                let (size, records) = (u64::from_le_bytes(*size), u64::from_le_bytes(records.try_into().ok()?));
                Some(Secured::File { size, records })
            }
            _ => None,
        }
    }
}
