//! The body of a request as it streams out: bytes at hand, and content read from its source as the connection takes it.
//!
//! Content is read 256 KiB at a time where blocking is allowed, and no further ahead than the connection asks, so an
//! upload holds two such pieces at most, whatever its size.

use std::sync::Arc;

use bytes::Bytes;
use causeway_storage::{Source, Span};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};

use crate::cipher;
use crate::prepare::{Prepared, part_bytes};
use crate::render::BodyPart;
use crate::request::AesCtr;
use crate::wire::{Progress, SentBody};

const PIECE_BYTES: u64 = 256 * 1024;

/// Where the stream stands.
struct Position {
    parts: Arc<Vec<BodyPart>>,
    source: Option<Arc<dyn Source>>,
    part: usize,
    offset: u64,
    progress: Progress,
}

/// The body of a request, from its beginning.
pub(crate) fn make(prepared: &Prepared, progress: Progress) -> SentBody {
    if let Some(bytes) = prepared.bytes() {
        return Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    }
    let source = prepared.source.clone();
    let position = Position { parts: prepared.parts.clone(), source, part: 0, offset: 0, progress };
    let frames = stream::try_unfold(position, |mut position| async move {
        let piece = position.next().await?;
        Ok(piece.map(|bytes| (Frame::data(bytes), position)))
    });
    let sized = Sized { body: StreamBody::new(frames).boxed_unsync(), left_bytes: prepared.body_bytes };
    sized.boxed_unsync()
}

impl Position {
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        self.progress.note();
        loop {
            let Some(part) = self.parts.get(self.part) else { return Ok(None) };
            let left = part_bytes(part) - self.offset;
            if left == 0 {
                self.part += 1;
                self.offset = 0;
                continue;
            }
            let bytes = match part {
                BodyPart::Bytes(bytes) => Bytes::copy_from_slice(bytes),
                BodyPart::Content(span, cipher) => {
                    let piece = Span::new(span.offset + self.offset, left.min(PIECE_BYTES));
                    self.read(piece, cipher.clone()).await?
                }
            };
            self.offset += bytes.len() as u64;
            return Ok(Some(bytes));
        }
    }

    async fn read(&self, span: Span, cipher: Option<AesCtr>) -> std::io::Result<Bytes> {
        let source = self.source.clone().ok_or(std::io::ErrorKind::InvalidInput)?;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; span.size as usize];
            source.read_exact_at(span.offset, &mut bytes)?;
            if let Some(cipher) = cipher {
                cipher::apply(&cipher, span.offset, &mut bytes).map_err(std::io::Error::other)?;
            }
            Ok(Bytes::from(bytes))
        });
        read.await.map_err(std::io::Error::other)?
    }
}

/// A stream whose length is known, so that it is never sent chunked.
struct Sized {
    body: SentBody,
    left_bytes: u64,
}

impl http_body::Body for Sized {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = std::pin::Pin::new(&mut self.body).poll_frame(context);
        if let std::task::Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
            self.left_bytes = self.left_bytes.saturating_sub(bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left_bytes)
    }
}
