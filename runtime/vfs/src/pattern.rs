//! How a handle is read, and so how much to ask for at once.
//!
//! It fetches nothing. A handle is taken for several *streams*, each a reader that goes on where it was: a player that
//! reads two tracks of one file, a database that scans while it looks things up. A read that continues a stream widens
//! that stream's window to four times what it has read so far, up to a limit: over a line with a delay, each round trip
//! then brings several times what the one before brought. Whoever stops early has made us fetch that much more. A read that continues nothing begins a stream of its own and gets what it asks for, rounded
//! to what a request is worth, and nothing ahead. The kernel sends the pieces of one read side by side, so a piece that
//! comes a little out of order is no jump.

use causeway_storage::Span;

/// A read that begins within so many bytes of where a stream ended continues it: what the kernel has under way of one
/// reader, four pieces of 256 KiB.
const NEAR_BYTES: u64 = 1 << 20;

/// Streams told apart in one handle; the one that was used longest ago makes room.
const STREAMS: usize = 4;

/// A stream asks ahead once it has read so much: less is a look at the beginning of a file, as many programs take it.
const SEQUENTIAL_BYTES: u64 = 96 << 10;

/// What a miss at the very beginning of a file asks for: most readers of a beginning go on.
const BEGINNING_BYTES: u64 = 256 << 10;

/// The streams of a handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pattern {
    /// The one used last comes last.
    streams: Vec<Stream>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Where its furthest read ended.
    end: u64,
    /// What it has read in one direction.
    read_bytes: u64,
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// On a miss, so many bytes from where the read begins.
    pub(crate) miss_bytes: u64,
    /// Without being asked, so many bytes beyond where the stream is.
    pub(crate) ahead_bytes: u64,
    /// Where the stream is.
    pub(crate) at: u64,
}

impl Reach {
    /// Nothing but this.
    pub(crate) fn just(span: Span) -> Reach {
        Reach { miss_bytes: span.size, ahead_bytes: 0, at: span.end() }
    }
}

impl Pattern {
    /// Notes a read, and says what to ask for, at most `most_ahead_bytes` ahead.
    pub(crate) fn note(&mut self, offset: u64, size: u64, most_ahead_bytes: u64) -> Reach {
        let end = offset.saturating_add(size);
        let continued = self.streams.iter().rposition(|stream| offset.abs_diff(stream.end) <= NEAR_BYTES);
        let stream = match continued {
            Some(index) => {
                let stream = self.streams.remove(index);
                Stream { end: stream.end.max(end), read_bytes: stream.read_bytes.saturating_add(size) }
            }
            None => Stream { end, read_bytes: size },
        };
        if self.streams.len() == STREAMS {
            self.streams.remove(0);
        }
        self.streams.push(stream);
        let is_sequential = continued.is_some() && stream.read_bytes >= SEQUENTIAL_BYTES;
        let ahead_bytes = if is_sequential { stream.read_bytes.saturating_mul(4).min(most_ahead_bytes) } else { 0 };
        let miss_bytes = if offset == 0 { size.max(BEGINNING_BYTES) } else { size };
        // Of what lies ahead a miss takes its share; the rest comes beside it.
        Reach { miss_bytes: miss_bytes.max(ahead_bytes / 4), ahead_bytes, at: stream.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 64 << 20;
    const READ: u64 = 128 << 10;

    #[test]
    fn a_sequential_reader_gets_more_and_more_ahead() {
        let mut pattern = Pattern::default();
        let ahead: Vec<u64> = (0..1000).map(|step| pattern.note(step * READ, READ, MOST).ahead_bytes).collect();
        assert_eq!(ahead[..3], [0, 8 * READ, 12 * READ]);
        assert!(ahead.is_sorted() && ahead.last() == Some(&MOST));
    }

    #[test]
    fn a_random_reader_gets_what_it_reads() {
        let mut pattern = Pattern::default();
        for step in 1..100 {
            let reach = pattern.note((step * 7919 % 101) << 30, 4096, MOST);
            assert_eq!((reach.miss_bytes, reach.ahead_bytes), (4096, 0));
        }
    }

    #[test]
    fn a_jump_between_two_streams_ends_neither() {
        let mut pattern = Pattern::default();
        for step in 0..80 {
            pattern.note(step * READ, READ, MOST);
            pattern.note((1 << 40) + step * READ, READ, MOST);
        }
        assert_eq!(pattern.note(80 * READ, READ, MOST).ahead_bytes, 4 * 81 * READ);
    }

    #[test]
    fn pieces_that_come_out_of_order_are_one_stream() {
        let mut pattern = Pattern::default();
        for pair in 0..40 {
            pattern.note((2 * pair + 1) * READ, READ, MOST);
            pattern.note(2 * pair * READ, READ, MOST);
        }
        assert_eq!(pattern.note(80 * READ, READ, MOST).ahead_bytes, 4 * 81 * READ);
    }
}
