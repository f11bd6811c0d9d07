//! How fast content is digested: a file in the page cache, read and digested by `digest`, and by the crate that the digest comes from. What
//! counts is the CPU that it takes: nothing here waits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use causeway_bench::Result;
use causeway_bench::content::BLOCK;
use causeway_bench::subject::Subject::{Ours, PlainCrate};
use causeway_digest::digest_source;
use causeway_storage::{Algorithm, Source};
use crc_fast::CrcAlgorithm;
use md5::Digest;

use crate::tax::cpu;
use crate::{hex, tell};

/// Those that rclone has, too, by its names for them.
const DIGESTS: [(&str, Algorithm); 11] = [
    ("md5", Algorithm::Md5),
    ("sha1", Algorithm::Sha1),
    ("sha256", Algorithm::Sha256),
    ("sha512", Algorithm::Sha512),
    ("blake3", Algorithm::Blake3),
    ("crc32", Algorithm::Crc32),
    ("whirlpool", Algorithm::Whirlpool),
    ("dropbox", Algorithm::Dropbox),
    ("hidrive", Algorithm::Hidrive),
    ("mailru", Algorithm::Mailru),
    ("quickxor", Algorithm::Quickxor),
];

/// Digests a file once by ours and, where there is one, once by the crate; tells both, and last the digest.
pub(crate) fn measure(name: &str, path: &Path) -> Result<()> {
    let (_, algorithm) = DIGESTS.into_iter().find(|(known, _)| *known == name).ok_or("no such digest")?;
    let file = File::open(path)?;
    let content = Content { size: file.metadata()?.len(), file };
    // Who is first pays for nothing that comes once.
    let beginning = Content { size: BLOCK as u64, file: content.file.try_clone()? };
    digest_source(&beginning, algorithm, &[])?;
    plain(algorithm, &beginning)?;
    let (mega, metric) = (content.size as f64 / 1e6, format!("M17 {name}"));
    let before = cpu();
    let digest = digest_source(&content, algorithm, &[])?;
    let taken = (cpu() - before).as_secs_f64();
    tell(&metric, Ours, 0, mega / taken, taken);
    let before = cpu();
    if let Some(plain) = plain(algorithm, &content)? {
        let taken = (cpu() - before).as_secs_f64();
        tell(&metric, PlainCrate, 0, mega / taken, taken);
        if plain != digest {
            return Err("the digests differ".into());
        }
    }
    println!("{}", hex(&digest));
    Ok(())
}

/// Some digests are made by the vendor's rule, and no crate has them.
fn plain(algorithm: Algorithm, content: &Content) -> io::Result<Option<Vec<u8>>> {
    Ok(Some(match algorithm {
        Algorithm::Md5 => content.digest::<md5::Md5>()?,
        Algorithm::Sha1 => content.digest::<sha1::Sha1>()?,
        Algorithm::Sha256 => content.digest::<sha2::Sha256>()?,
        Algorithm::Sha512 => content.digest::<sha2::Sha512>()?,
        Algorithm::Whirlpool => content.digest::<whirlpool::Whirlpool>()?,
        Algorithm::Blake3 => {
            let mut state = blake3::Hasher::new();
            content.blocks(|block| {
                state.update(block);
            })?;
            state.finalize().as_bytes().to_vec()
        }
        Algorithm::Crc32 => {
            let mut state = crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc);
            content.blocks(|block| state.update(block))?;
            (state.finalize() as u32).to_be_bytes().to_vec()
        }
        _ => return Ok(None),
    }))
}

struct Content {
    file: File,
    size: u64,
}

impl Content {
    fn digest<D: Digest>(&self) -> io::Result<Vec<u8>> {
        let mut state = D::new();
        self.blocks(|block| state.update(block))?;
        Ok(state.finalize().to_vec())
    }

    fn blocks(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        for offset in (0..self.size).step_by(BLOCK) {
            self.read_exact_at(offset, &mut block)?;
            take(&block);
        }
        Ok(())
    }
}

impl Source for Content {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}
