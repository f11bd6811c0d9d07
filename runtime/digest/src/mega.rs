//! MEGA's meta-MAC: eight bytes over the plain content, under the file's own key and nonce. The content is cut into chunks
//! of 128 KiB, 256 KiB and so on up to 1 MiB, then 1 MiB each; a chunk's MAC is its CBC-MAC, the chunks' MACs are chained
//! through the cipher, and the result is folded in two. No content has a MAC of zeros.

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use std::io;

use causeway_storage::Source;

/// A chunk is this much larger than the one before it, up to eight times.
const STEP_BYTES: u64 = 128 * 1024;

/// What is read of a source at once.
const BUFFER_BYTES: u64 = 1024 * 1024;

type Block = [u8; 16];

/// A meta-MAC under way.
pub struct MegaMac {
    cipher: Aes128,
    /// The nonce twice.
    start: Block,
    /// Of the chunks that are complete.
    all: Block,
    chunk: Block,
    /// Of which the bytes taken so far are the first; from 1.
    number: u64,
    taken: u64,
}

impl MegaMac {
    /// Begins; none unless the key has 16 bytes and the nonce eight.
    pub fn new(key: &[u8], nonce: &[u8]) -> Option<MegaMac> {
        let cipher = Aes128::new_from_slice(key).ok()?;
        let start: Block = [nonce, nonce].concat().try_into().ok().filter(|_| nonce.len() == 8)?;
        Some(MegaMac { cipher, start, all: [0; 16], chunk: start, number: 1, taken: 0 })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = self.number.min(8) * STEP_BYTES - self.taken;
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (these, rest) = bytes.split_at(now);
            self.take(these);
            bytes = rest;
            if self.taken == self.number.min(8) * STEP_BYTES {
                self.end_chunk();
            }
        }
    }

    /// The eight bytes.
    pub fn finish(mut self) -> [u8; 8] {
        if self.taken > 0 {
            self.end_chunk();
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.all;
        [a ^ e, b ^ f, c ^ g, d ^ h, i ^ m, j ^ n, k ^ o, l ^ p]
    }

    /// Bytes that lie within one chunk.
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = (self.taken % 16) as usize;
            if let Some(place) = self.chunk.get_mut(at) {
                *place ^= byte;
            }
            self.taken += 1;
            if at == 15 {
                encipher(&self.cipher, &mut self.chunk);
            }
        }
    }

    fn end_chunk(&mut self) {
        if !self.taken.is_multiple_of(16) {
            encipher(&self.cipher, &mut self.chunk);
        }
        self.all.iter_mut().zip(self.chunk).for_each(|(all, chunk)| *all ^= chunk);
        encipher(&self.cipher, &mut self.all);
        self.chunk = self.start;
        self.number += 1;
        self.taken = 0;
    }
}

/// The meta-MAC of a whole source. Blocking.
pub fn mega_mac_source(source: &dyn Source, mut mac: MegaMac) -> io::Result<[u8; 8]> {
    let size = source.size();
    let mut buffer = vec![0; usize::try_from(size.min(BUFFER_BYTES)).unwrap_or_default()];
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from(size - offset).unwrap_or(usize::MAX).min(buffer.len());
        let Some(piece) = buffer.get_mut(..wanted) else { break };
        source.read_exact_at(offset, piece)?;
        mac.update(piece);
        offset += wanted as u64;
    }
    Ok(mac.finish())
}

fn encipher(cipher: &Aes128, block: &mut Block) {
    cipher.encrypt_block(GenericArray::from_mut_slice(block));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use causeway_storage::MemorySource;
    use data_encoding::HEXLOWER;

    use super::*;

    fn mac() -> MegaMac {
        let key: Vec<u8> = (0..16).collect();
        let nonce: Vec<u8> = (0x10..0x18).collect();
        MegaMac::new(&key, &nonce).unwrap()
    }

    fn of(content: &[u8]) -> String {
        let mut mac = mac();
        mac.update(content);
        HEXLOWER.encode(&mac.finish())
    }

    #[test]
    fn the_mac_is_the_one_that_was_computed_by_hand() {
        assert_eq!(of(b"hello"), "7d312c460af52681");
        assert_eq!(of(b""), "0000000000000000");
    }

    #[test]
    fn content_of_several_chunks_has_the_same_mac_however_it_comes() {
        let content: Vec<u8> = (0..131_089u32).map(|at| (at % 251) as u8).collect();
        assert_eq!(of(&content), "c73a8294ad7f26ca");
        let mut pieces = mac();
        content.chunks(1_000).for_each(|piece| pieces.update(piece));
        assert_eq!(HEXLOWER.encode(&pieces.finish()), "c73a8294ad7f26ca");
        let source = MemorySource(Bytes::from(content));
        assert_eq!(HEXLOWER.encode(&mega_mac_source(&source, mac()).unwrap()), "c73a8294ad7f26ca");
    }

    #[test]
    fn a_key_or_nonce_of_another_length_is_none() {
        assert!(MegaMac::new(&[0; 15], &[0; 8]).is_none());
        assert!(MegaMac::new(&[0; 16], &[0; 7]).is_none());
    }
}
