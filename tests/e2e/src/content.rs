//! Bytes to write and ways to compare them: made from a seed, told apart by their SHA-256.

use std::fs::File;
use std::io::{Read, Result, Write};
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

const PIECE_BYTES: usize = 1 << 20;

/// A stream of bytes that looks random and is the same for the same seed.
pub(crate) struct Content(u64);

impl Content {
    pub(crate) fn new(seed: u64) -> Content {
        // Neighbouring seeds must not give neighbouring streams, and none may be zero.
        Content(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes()[..eight.len()]);
        }
    }
}

/// So many bytes of a seed.
pub(crate) fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Content::new(seed).fill(&mut bytes);
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Writes a large file piece by piece, closes it, and gives its digest.
pub(crate) fn write_large(path: &Path, seed: u64, size: u64) -> Result<String> {
    let (mut content, mut hash, mut piece) = (Content::new(seed), Sha256::new(), vec![0; PIECE_BYTES]);
    let mut file = File::create(path)?;
    for _ in 0..size / PIECE_BYTES as u64 {
        content.fill(&mut piece);
        hash.update(&piece);
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(HEXLOWER.encode(&hash.finalize()))
}

/// A large file's size and digest, read piece by piece.
pub(crate) fn digest_of(path: &Path) -> Result<(u64, String)> {
    let (mut file, mut hash, mut piece, mut size) = (File::open(path)?, Sha256::new(), vec![0; PIECE_BYTES], 0);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((size, HEXLOWER.encode(&hash.finalize()))),
            read => {
                hash.update(&piece[..read]);
                size += read as u64;
            }
        }
    }
}
