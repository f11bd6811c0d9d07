//! The digests that vendors made for themselves.
//!
//! They serve comparison, not security. Each takes bytes in pieces of any size and gives the same result for the same
//! bytes, however they were cut.

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// OneDrive: a register of 160 bits into which byte `i` is XORed at bit `11 * i`, wrapping; at the end the length, 64 bits
/// little-endian, is XORed into the last eight bytes.
///
/// Bytes that are 160 apart meet at the same bit, so they are XORed together first, and spread over the register once.
pub(crate) struct Quickxor {
    sums: [u8; 160],
    length_bytes: u64,
}

impl Quickxor {
    pub(crate) fn new() -> Quickxor {
        Quickxor { sums: [0; 160], length_bytes: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = (self.length_bytes % 160) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(160 - at));
            for (sum, byte) in self.sums.iter_mut().skip(at).zip(now) {
                *sum ^= byte;
            }
            self.length_bytes += now.len() as u64;
            bytes = later;
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut register = [0u8; 20];
        let mut flip = |byte: usize, bits: u8| {
            if let Some(target) = register.get_mut(byte % 20) {
                *target ^= bits;
            }
        };
        for (i, sum) in self.sums.iter().enumerate() {
            let bit = i * 11 % 160;
            let spread = u16::from(*sum) << (bit % 8);
            flip(bit / 8, (spread & 0xff) as u8);
            flip(bit / 8 + 1, (spread >> 8) as u8);
        }
        for (i, byte) in self.length_bytes.to_le_bytes().into_iter().enumerate() {
            flip(12 + i, byte);
        }
        register.to_vec()
    }
}

/// Dropbox: the SHA-256 of the SHA-256 of each block of 4 MiB.
pub(crate) struct Dropbox {
    blocks: Sha256,
    block: Sha256,
    in_block_bytes: usize,
}

const DROPBOX_BLOCK_BYTES: usize = 4 * 1024 * 1024;

impl Dropbox {
    pub(crate) fn new() -> Dropbox {
        Dropbox { blocks: Sha256::new(), block: Sha256::new(), in_block_bytes: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(DROPBOX_BLOCK_BYTES - self.in_block_bytes));
            self.block.update(now);
            self.in_block_bytes += now.len();
            if self.in_block_bytes == DROPBOX_BLOCK_BYTES {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.blocks.update(self.block.finalize_reset());
        self.in_block_bytes = 0;
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.in_block_bytes > 0 {
            self.end_block();
        }
        self.blocks.finalize().to_vec()
    }
}

/// HiDrive: SHA-1 of 4 KiB blocks, the last padded with zeros, summed up a tree of 256 children per node.
///
/// A node's sum is that of `SHA-1(child, index)` over its children as 160-bit numbers; a block of zeros has the sum zero,
/// which counts for nothing but keeps its index. The tree ends at the level that holds a single sum.
pub(crate) struct Hidrive {
    block: Vec<u8>,
    /// For each level above the blocks: the sum so far, how many children it has, and whether a node was ended before it.
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    sum: [u8; 20],
    children: u32,
    /// The only child so far: what the level below amounts to if no second one comes.
    only: Option<[u8; 20]>,
}

const HIDRIVE_BLOCK_BYTES: usize = 4096;
const HIDRIVE_CHILDREN: u32 = 256;

impl Hidrive {
    pub(crate) fn new() -> Hidrive {
        Hidrive { block: Vec::with_capacity(HIDRIVE_BLOCK_BYTES), levels: Vec::new() }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(HIDRIVE_BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(now);
            if self.block.len() == HIDRIVE_BLOCK_BYTES {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.block.resize(HIDRIVE_BLOCK_BYTES, 0);
        let sum = if self.block.iter().all(|byte| *byte == 0) { [0; 20] } else { Sha1::digest(&self.block).into() };
        self.block.clear();
        self.add(0, sum);
    }

    /// Adds a child to the open node of a level. A node is ended only when the next child comes, because whether it is the
    /// only one of its level is known no sooner.
    fn add(&mut self, height: usize, child: [u8; 20]) {
        if self.levels.len() <= height {
            self.levels.push(Level::default());
        }
        if self.levels.get(height).is_some_and(|level| level.children == HIDRIVE_CHILDREN) {
            let full = self.levels.get_mut(height).map(std::mem::take).unwrap_or_default();
            self.add(height + 1, full.sum);
        }
        if let Some(level) = self.levels.get_mut(height) {
            level.only = if level.children == 0 { Some(child) } else { None };
            if child != [0; 20] {
                let mut hash = Sha1::new();
                hash.update(child);
                hash.update([level.children as u8]);
                add_160(&mut level.sum, &hash.finalize().into());
            }
            level.children += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if !self.block.is_empty() {
            self.end_block();
        }
        let mut height = 0;
        while let Some(level) = self.levels.get_mut(height) {
            let level = std::mem::take(level);
            let is_top = height + 1 == self.levels.len();
            match level.only {
                Some(only) if is_top => return only.to_vec(),
                _ => self.add(height + 1, level.sum),
            }
            height += 1;
        }
        vec![0; 20]
    }
}

/// Adds big-endian numbers of 160 bits, without the carry out of the highest byte.
fn add_160(sum: &mut [u8; 20], other: &[u8; 20]) {
    let mut carry = 0;
    for (a, b) in sum.iter_mut().zip(other).rev() {
        let total = u16::from(*a) + u16::from(*b) + carry;
        *a = (total & 0xff) as u8;
        carry = total >> 8;
    }
}

/// Mail.ru: up to 20 bytes as they stand, padded with zeros; else SHA-1 of `mrCloud`, the content, and its length in
/// decimal.
pub(crate) struct Mailru {
    hash: Sha1,
    short: Vec<u8>,
    length_bytes: u64,
}

const MAILRU_SHORT_BYTES: usize = 20;

impl Mailru {
    pub(crate) fn new() -> Mailru {
        Mailru {
            hash: Sha1::new_with_prefix(b"mrCloud"),
            short: Vec::with_capacity(MAILRU_SHORT_BYTES),
            length_bytes: 0,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length_bytes += bytes.len() as u64;
        let room = MAILRU_SHORT_BYTES - self.short.len();
        self.short.extend(bytes.iter().take(room));
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.length_bytes <= MAILRU_SHORT_BYTES as u64 {
            self.short.resize(MAILRU_SHORT_BYTES, 0);
            return self.short;
        }
        self.hash.update(self.length_bytes.to_string());
        self.hash.finalize().to_vec()
    }
}

/// PikPak: the SHA-1 of the SHA-1 of each block. A block has 256 KiB, doubled while there would be more than 512 of them
/// and it has less than 2 MiB.
///
/// The length is known only at the end, so all four block sizes are computed side by side, each until the content is too
/// long for it: the smallest is the right one up to 128 MiB, and only the largest goes on beyond 512 MiB.
pub(crate) struct Gcid {
    candidates: Vec<Blocks>,
    length_bytes: u64,
}

struct Blocks {
    block_bytes: u64,
    /// Content longer than this has larger blocks; none for the largest.
    longest_bytes: Option<u64>,
    in_block_bytes: u64,
    block: Sha1,
    blocks: Sha1,
}

const GCID_SMALLEST_BYTES: u64 = 256 * 1024;
const GCID_LARGEST_BYTES: u64 = 2 * 1024 * 1024;
const GCID_MOST_BLOCKS: u64 = 512;

impl Gcid {
    pub(crate) fn new() -> Gcid {
        let sizes = std::iter::successors(Some(GCID_SMALLEST_BYTES), |size| Some(size * 2));
        let candidates = sizes
            .take_while(|size| *size <= GCID_LARGEST_BYTES)
            .map(|block_bytes| Blocks {
                block_bytes,
                longest_bytes: (block_bytes < GCID_LARGEST_BYTES).then(|| block_bytes * GCID_MOST_BLOCKS),
                in_block_bytes: 0,
                block: Sha1::new(),
                blocks: Sha1::new(),
            })
            .collect();
        Gcid { candidates, length_bytes: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.length_bytes += bytes.len() as u64;
        let length_bytes = self.length_bytes;
        self.candidates.retain(|candidate| candidate.longest_bytes.is_none_or(|longest| length_bytes <= longest));
        for candidate in &mut self.candidates {
            candidate.update(bytes);
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.candidates.into_iter().next().map(Blocks::finish).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn block_bytes_for(&self, length_bytes: u64) -> Option<u64> {
        let mut fitting =
            self.candidates.iter().filter(|c| c.longest_bytes.is_none_or(|longest| length_bytes <= longest));
        fitting.next().map(|candidate| candidate.block_bytes)
    }
}

impl Blocks {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.block_bytes - self.in_block_bytes).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.block.update(now);
            self.in_block_bytes += now.len() as u64;
            if self.in_block_bytes == self.block_bytes {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.blocks.update(self.block.finalize_reset());
        self.in_block_bytes = 0;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.in_block_bytes > 0 {
            self.end_block();
        }
        self.blocks.finalize().to_vec()
    }
}
