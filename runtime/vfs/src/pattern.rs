//! How a handle is read, and so how much to ask for at once.
//!
//! It fetches nothing. A reader gets what it reads and no more than its chunk, until it has read a quarter of a chunk in
//! one direction; from then on more is asked for, the more it goes on, up to the longest run. The kernel sends the pieces
//! of one read side by side, so a piece that comes a little out of order is no jump.

use crate::content::{CHUNK_BYTES, LONGEST_RUN};

/// A read that begins within so many bytes of where the last one ended goes on: four of the kernel's windows of 128 KiB.
const NEAR_BYTES: u64 = 512 << 10;

/// What was read last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pattern {
    end: Option<u64>,
    sequential_bytes: u64,
}

impl Pattern {
    /// Notes a read and says how many chunks to ask for if it misses.
    pub(crate) fn note(&mut self, offset: u64, size: u64) -> u64 {
        let end = offset.saturating_add(size);
        match self.end {
            Some(last) if offset.abs_diff(last) <= NEAR_BYTES => {
                self.sequential_bytes += size;
                self.end = Some(end.max(last));
            }
            _ => {
                self.sequential_bytes = 0;
                self.end = Some(end);
            }
        }
        if self.sequential_bytes < CHUNK_BYTES / 4 {
            return 1;
        }
        (2 + self.sequential_bytes / CHUNK_BYTES).min(LONGEST_RUN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequential_reader_asks_for_more_and_more() {
        let mut pattern = Pattern::default();
        let runs: Vec<u64> = (0..80).map(|step| pattern.note(step << 17, 1 << 17)).collect();
        assert_eq!(runs[..3], [1, 1, 2]);
        assert!(runs.is_sorted() && runs.last() == Some(&LONGEST_RUN));
    }

    #[test]
    fn a_jump_asks_for_one_chunk_again() {
        let mut pattern = Pattern::default();
        for step in 0..80 {
            pattern.note(step << 17, 1 << 17);
        }
        assert_eq!(pattern.note(1 << 40, 4096), 1);
        assert_eq!(pattern.note(5 << 20, 4096), 1);
    }
}
