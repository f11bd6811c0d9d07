//! The records in the log of an edit: which bytes of a working copy are its own.
//!
//! Each has 32 bytes: what it is, two numbers, and a checksum, little-endian. A record whose checksum is wrong was never
//! finished, and nothing behind it counts.

use causeway_storage::{Span, Timestamp};

pub(crate) const RECORD_BYTES: u64 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Present(Span),
    Size(u64),
    Modified(Option<Timestamp>),
    /// The log was rewritten after so many records, into so many, which are on disk together with their data.
    Rewritten {
        dropped: u64,
        kept: u64,
    },
}

impl Record {
    pub(crate) fn encode(self) -> [u8; RECORD_BYTES as usize] {
        let (kind, first, second) = match self {
            Record::Present(span) => (1, span.offset, span.size),
            Record::Size(size) => (2, size, 0),
            Record::Modified(None) => (3, 0, 0),
            Record::Modified(Some(time)) => (4, time.seconds as u64, u64::from(time.nanoseconds)),
            Record::Rewritten { dropped, kept } => (5, dropped, kept),
        };
        let mut bytes = [0; RECORD_BYTES as usize];
        let fields = [u64::to_le_bytes(kind), first.to_le_bytes(), second.to_le_bytes()].concat();
        let sum = checksum(&fields).to_le_bytes();
        bytes.iter_mut().zip(fields.iter().chain(&sum)).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Record> {
        let word = |index: usize| -> Option<u64> {
            Some(u64::from_le_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?))
        };
        if checksum(bytes.get(..24)?) != word(3)? {
            return None;
        }
        match word(0)? {
            1 => Some(Record::Present(Span::new(word(1)?, word(2)?))),
            2 => Some(Record::Size(word(1)?)),
            3 => Some(Record::Modified(None)),
            4 => {
                let nanoseconds = u32::try_from(word(2)?).ok()?;
                Some(Record::Modified(Some(Timestamp { seconds: word(1)? as i64, nanoseconds })))
            }
            5 => Some(Record::Rewritten { dropped: word(1)?, kept: word(2)? }),
            _ => None,
        }
    }
}

/// The records of a log, up to the first that is damaged.
pub(crate) fn decode_all(bytes: &[u8]) -> impl Iterator<Item = Record> + '_ {
    bytes.chunks(RECORD_BYTES as usize).map_while(Record::decode)
}

fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}
