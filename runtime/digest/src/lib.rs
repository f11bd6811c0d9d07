//! Digests: every algorithm that the contract names, many of them in one pass over the bytes.
//!
//! It compares nothing and knows nothing of files or providers. The published algorithms come from their crates; those
//! that vendors made are in `vendors`, each after its published description; MEGA's keyed one is in `mega`. A [`Digester`] holds one state per algorithm
//! and hands every update to each, so that content is read once however many digests are wanted. Memory: the states, at
//! most a few kilobytes each (GCID, whose block size depends on the
//! length, keeps one state per possible size, and HiDrive one block and one sum per level).

mod mega;
mod vendors;

use std::io;

use causeway_storage::{Algorithm, DigestValue, Source, Span};
use crc_fast::CrcAlgorithm;
use md5::Digest as _;

pub use mega::{MegaMac, mega_mac_source};
use vendors::{Dropbox, Gcid, Hidrive, Mailru, Quickxor};

/// How much [`digest_source`] reads at once: large enough that the system call does not matter, small enough to stay in
/// the processor's cache.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Digests under way.
pub struct Digester(Vec<(Algorithm, State)>);

impl Digester {
    /// Begins one digest for each algorithm; one named twice is made once.
    pub fn new(algorithms: &[Algorithm]) -> Digester {
        let mut states: Vec<(Algorithm, State)> = Vec::with_capacity(algorithms.len());
        for algorithm in algorithms {
            if !states.iter().any(|(known, _)| known == algorithm) {
                states.push((*algorithm, State::new(*algorithm)));
            }
        }
        Digester(states)
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for (_, state) in &mut self.0 {
            state.update(bytes);
        }
    }

    /// The digests, in the order in which they were named.
    pub fn finish(self) -> Vec<DigestValue> {
        self.0.into_iter().map(|(algorithm, state)| DigestValue { algorithm, value: state.finish() }).collect()
    }
}

/// The digest of bytes at hand.
pub fn digest_bytes(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let mut state = State::new(algorithm);
    state.update(bytes);
    state.finish()
}

/// The digest over these spans of a source, one after the other; no span means everything. Blocking.
pub fn digest_source(source: &dyn Source, algorithm: Algorithm, spans: &[Span]) -> io::Result<Vec<u8>> {
    let everything = [Span::new(0, source.size())];
    let spans = if spans.is_empty() { &everything } else { spans };
    let mut state = State::new(algorithm);
    let longest = spans.iter().map(|span| span.size).max().unwrap_or(0);
    let mut buffer = vec![0; usize::try_from(longest).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES)];
    for span in spans {
        let end = span.offset.checked_add(span.size).ok_or(io::ErrorKind::InvalidInput)?;
        let mut offset = span.offset;
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(BUFFER_BYTES).min(buffer.len());
            let Some(piece) = buffer.get_mut(..wanted) else { break };
            source.read_exact_at(offset, piece)?;
            state.update(piece);
            offset += wanted as u64;
        }
    }
    Ok(state.finish())
}

/// One digest under way. BLAKE3's state is large, hence the box.
enum State {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Crc(crc_fast::Digest),
    Whirlpool(whirlpool::Whirlpool),
    Blake3(Box<blake3::Hasher>),
    Quickxor(Quickxor),
    Dropbox(Dropbox),
    Hidrive(Hidrive),
    Mailru(Mailru),
    Gcid(Gcid),
}

impl State {
    fn new(algorithm: Algorithm) -> State {
        match algorithm {
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            Algorithm::Crc32 => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            Algorithm::Crc32c => State::Crc(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
            Algorithm::Whirlpool => State::Whirlpool(whirlpool::Whirlpool::new()),
            Algorithm::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
            Algorithm::Quickxor => State::Quickxor(Quickxor::new()),
            Algorithm::Dropbox => State::Dropbox(Dropbox::new()),
            Algorithm::Hidrive => State::Hidrive(Hidrive::new()),
            Algorithm::Mailru => State::Mailru(Mailru::new()),
            Algorithm::Gcid => State::Gcid(Gcid::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            State::Md5(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Crc(state) => state.update(bytes),
            State::Whirlpool(state) => state.update(bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
            State::Quickxor(state) => state.update(bytes),
            State::Dropbox(state) => state.update(bytes),
            State::Hidrive(state) => state.update(bytes),
            State::Mailru(state) => state.update(bytes),
            State::Gcid(state) => state.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            State::Md5(state) => state.finalize().to_vec(),
            State::Sha1(state) => state.finalize().to_vec(),
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
            // Both are 32 bits wide: the upper half of the result is zero.
            State::Crc(state) => (state.finalize() as u32).to_be_bytes().to_vec(),
            State::Whirlpool(state) => state.finalize().to_vec(),
            State::Blake3(state) => state.finalize().as_bytes().to_vec(),
            State::Quickxor(state) => state.finish(),
            State::Dropbox(state) => state.finish(),
            State::Hidrive(state) => state.finish(),
            State::Mailru(state) => state.finish(),
            State::Gcid(state) => state.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
