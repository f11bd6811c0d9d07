//! Bytes on their way: spans, bodies that are read, sources that are written, and the log of a write under way.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::{Error, ErrorKind, Result};

/// `size` bytes beginning at `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub size: u64,
}

impl Span {
    /// A span.
    pub fn new(offset: u64, size: u64) -> Span {
        Span { offset, size }
    }

    /// One past the last byte.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// Content being read, in order. It ends after exactly the bytes that were asked for; what ends sooner ends with an error.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A body of bytes that are at hand.
pub fn body_of(bytes: Bytes) -> Body {
    Box::pin(futures::stream::once(async move { Ok(bytes) }))
}

/// All of a body, if it is no longer than `most_bytes`.
pub async fn collect(mut body: Body, most_bytes: usize) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if all.len() + piece.len() > most_bytes {
            return Err(Error::new(
                ErrorKind::Unavailable(None),
                format!("an answer is larger than {most_bytes} bytes"),
            ));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// Content to be written: its size is known and every byte can be read again, because a write may be repeated, resumed
/// and digested before it is sent.
pub trait Source: Send + Sync + 'static {
    /// All of it, in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset`; fails if there is less. Blocking: call it where blocking is allowed.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A source in memory.
#[derive(Clone, Debug)]
pub struct MemorySource(pub Bytes);

impl Source for MemorySource {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = self.0.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Where a storage writes down how far a write got, so that it goes on there after an interruption. The record is opaque
/// to whoever keeps it, at most 16 MiB, and belongs to one content of one file.
#[async_trait]
pub trait WriteLog: Send + Sync {
    /// What was saved last, by this process or one before it.
    async fn load(&self) -> Result<Option<Vec<u8>>>;

    /// Saves durably, in place of what was saved before.
    async fn save(&self, record: &[u8]) -> Result<()>;
}

/// The log of a write that begins anew after an interruption.
#[derive(Clone, Copy, Debug)]
pub struct WriteLogNone;

#[async_trait]
impl WriteLog for WriteLogNone {
    async fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    async fn save(&self, _record: &[u8]) -> Result<()> {
        Ok(())
    }
}
