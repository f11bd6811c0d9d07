//! What turns the bytes of an answer into content, piece by piece. It fetches nothing.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use causeway_storage::{Error, ErrorKind, Result};
use flate2::write::MultiGzDecoder;

use super::plan::Decoding;
use crate::cipher;
use crate::egress::MOST_ANSWER_BYTES;
use crate::request::AesCtr;

/// Compressed bytes handed to the decompressor at once: a thousandfold expansion of these is still a few megabytes.
const COMPRESSED_STEP_BYTES: usize = 4 * 1024;

/// One answer being decoded.
pub(crate) struct Decoder {
    way: Way,
    input: BytesMut,
    output: Bytes,
    finished: bool,
}

enum Way {
    Plain,
    AesCtr { cipher: AesCtr, position: u64 },
    Gunzip(Box<MultiGzDecoder<Vec<u8>>>),
    ByComponent { ticket: String, offset: u64 },
}

impl Decoder {
    /// A decoder for an answer whose segment begins at `segment_offset` and whose first byte stands at `position`.
    pub(crate) fn new(decoding: &Decoding, segment_offset: u64, position: u64) -> Decoder {
        let way = match decoding {
            Decoding::Plain => Way::Plain,
            Decoding::AesCtr(cipher) => Way::AesCtr { cipher: cipher.clone(), position },
            Decoding::Gunzip => Way::Gunzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Decoding::ByComponent(ticket) => Way::ByComponent { ticket: ticket.clone(), offset: segment_offset },
        };
        Decoder { way, input: BytesMut::new(), output: Bytes::new(), finished: false }
    }

    /// Takes received bytes.
    pub(crate) fn put(&mut self, received: Bytes) -> Result<()> {
        match &mut self.way {
            Way::Plain => self.output = received,
            Way::AesCtr { cipher, position } => {
                let mut bytes = BytesMut::from(received);
                cipher::apply(cipher, *position, &mut bytes)?;
                *position += bytes.len() as u64;
                self.output = bytes.freeze();
            }
            Way::Gunzip(_) => self.input.extend_from_slice(&received),
            Way::ByComponent { .. } => {
                if self.input.len() + received.len() > MOST_ANSWER_BYTES {
                    let message = "a segment that the component decodes is larger than 8 MiB";
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
                self.input.extend_from_slice(&received);
            }
        }
        Ok(())
    }

    /// The next content at hand.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>> {
        if let Way::Gunzip(gunzip) = &mut self.way {
            while self.output.is_empty() && !self.input.is_empty() {
                let step = self.input.split_to(self.input.len().min(COMPRESSED_STEP_BYTES));
                gunzip.write_all(&step).map_err(not_gzip)?;
                self.output = Bytes::from(std::mem::take(gunzip.get_mut()));
            }
        }
        let bytes = std::mem::take(&mut self.output);
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// The whole segment, where the component decodes it: ticket, offset, bytes.
    pub(crate) fn for_component(&mut self) -> Option<(String, u64, Bytes)> {
        match &self.way {
            Way::ByComponent { ticket, offset } => Some((ticket.clone(), *offset, self.input.split().freeze())),
            _ => None,
        }
    }

    /// Takes what the component made of it.
    pub(crate) fn decoded(&mut self, content: Bytes) {
        self.output = content;
    }

    /// The answer is complete.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if let Way::Gunzip(gunzip) = &mut self.way {
            // Also checks the checksum at the end; a cut stream fails here.
            gunzip.try_finish().map_err(not_gzip)?;
            self.output = Bytes::from(std::mem::take(gunzip.get_mut()));
        }
        self.finished = true;
        Ok(())
    }

    /// Whether all of the answer has come.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }
}

fn not_gzip(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "a compressed file cannot be decompressed").with_detail(error)
}
