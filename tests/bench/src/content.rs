//! Content that tells where it belongs, so that every byte read can be checked and a wrong page cannot pass for the right one.
//!
//! A file is a row of 4 KiB pages. The first word of a page is made of the file's seed and the page's number; the rest repeats
//! every mebibyte. So writing and a quick look cost a word a page, and the full check is a comparison of memory.

use std::fs::File;
use std::io::{Result, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The unit that is stamped.
pub const PAGE: usize = 4096;
/// What sequential measurements read and write at once.
pub const BLOCK: usize = 1 << 20;

/// What a read gave and should not have given.
#[derive(Debug)]
pub struct Wrong(String);

impl Wrong {
    /// Says what is wrong.
    pub fn new(what: String) -> Wrong {
        Wrong(what)
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WRONG CONTENT: {}", self.0)
    }
}

impl std::error::Error for Wrong {}

/// The content of a file.
#[derive(Debug)]
pub struct Content {
    seed: u64,
    block: Vec<u8>,
}

impl Content {
    /// Other seeds make other files.
    pub fn new(seed: u64) -> Content {
        let words = (0..BLOCK as u64 / 8).flat_map(|word| mix(seed ^ mix(word)).to_le_bytes());
        Content { seed, block: words.collect() }
    }

    /// The block of a mebibyte at this offset, which is a multiple of it.
    pub fn at(&mut self, offset: u64) -> &[u8] {
        for (index, page) in self.block.chunks_exact_mut(PAGE).enumerate() {
            page[..8].copy_from_slice(&stamp(self.seed, offset / PAGE as u64 + index as u64));
        }
        &self.block
    }

    /// Whether every page is in its place. It costs next to nothing.
    pub fn glance(&self, read: &[u8], offset: u64) -> std::result::Result<(), Wrong> {
        for (index, page) in read.chunks(PAGE).enumerate() {
            let page_number = offset / PAGE as u64 + index as u64;
            if page[..8] != stamp(self.seed, page_number) {
                return Err(Wrong(format!("the page at {}", page_number * PAGE as u64)));
            }
        }
        Ok(())
    }

    /// Whether every byte is right. `offset` is a multiple of a page, and what was read stays within a mebibyte.
    pub fn check(&self, read: &[u8], offset: u64) -> std::result::Result<(), Wrong> {
        self.glance(read, offset)?;
        let expected = &self.block[offset as usize % BLOCK..];
        for (read, expected) in read.chunks(PAGE).zip(expected.chunks(PAGE)) {
            if read[8..] != expected[8..read.len()] {
                return Err(Wrong(format!("within the pages from {offset}")));
            }
        }
        Ok(())
    }

    /// Makes a file of so many mebibytes.
    pub fn make(&mut self, path: &Path, size: u64) -> Result<()> {
        let mut file = File::create(path)?;
        for offset in (0..size).step_by(BLOCK) {
            file.write_all(self.at(offset))?;
        }
        Ok(())
    }

    /// Reads a whole file and checks every byte.
    pub fn verify(&self, path: &Path, size: u64) -> crate::Result<()> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if found != size {
            return Err(Wrong(format!("{} has {found} bytes, not {size}", path.display())).into());
        }
        let mut buffer = vec![0; BLOCK];
        for offset in (0..size).step_by(BLOCK) {
            file.read_exact_at(&mut buffer, offset)?;
            self.check(&buffer, offset)?;
        }
        Ok(())
    }
}

/// A stream of numbers that is the same in every run.
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % limit
    }

    /// Brings into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

fn stamp(seed: u64, page: u64) -> [u8; 8] {
    mix(seed.wrapping_add(page)).to_le_bytes()
}

/// Every bit of the result depends on every bit of the number.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
