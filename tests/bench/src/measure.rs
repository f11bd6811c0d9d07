//! The single measurements: reading, writing, walking and asking, each timed in the thread that waits.
//!
//! They know paths and addresses, and nothing of who serves them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};

use crate::content::{BLOCK, Content, Numbers, PAGE};
use crate::http1::Connection;
use crate::subject::{BUCKET, headers};
use crate::{Result, Times};

/// What a client asks for at once, as most do.
const RANGE: u64 = 8 << 20;
/// How many ranges a client asks for side by side.
const RANGES: usize = 4;

/// What a sequential pass took.
#[derive(Debug)]
pub struct Pass {
    /// Until the first page was there.
    pub first: Duration,
    /// All of it.
    pub whole: Duration,
}

/// What many reads at random took.
#[derive(Debug)]
pub struct Random {
    /// Reads per second.
    pub rate: f64,
    /// Of each.
    pub times: Times,
}

/// Takes a file's pages out of the cache of its mount. What is below the mount keeps its own.
pub fn forget_pages(path: &Path) -> Result<()> {
    Ok(fadvise(File::open(path)?, 0, None, Advice::DontNeed)?)
}

/// Reads a file from its beginning up to a size, a mebibyte at a time.
pub fn sequential(path: &Path, content: &Content, size: u64) -> Result<Pass> {
    let mut buffer = vec![0; BLOCK];
    let begun = Instant::now();
    let file = File::open(path)?;
    file.read_exact_at(&mut buffer[..PAGE], 0)?;
    let first = begun.elapsed();
    for offset in (0..size).step_by(BLOCK) {
        file.read_exact_at(&mut buffer, offset)?;
        content.glance(&buffer, offset)?;
    }
    Ok(Pass { first, whole: begun.elapsed() })
}

/// Reads so much of a file from there to its beginning, so that nothing takes it for a reader that will come to the end.
pub fn backwards(path: &Path, content: &Content, size: u64) -> Result<()> {
    let (file, mut buffer) = (File::open(path)?, vec![0; BLOCK]);
    for offset in (0..size / BLOCK as u64).rev().map(|block| block * BLOCK as u64) {
        file.read_exact_at(&mut buffer, offset)?;
        content.check(&buffer, offset)?;
    }
    Ok(())
}

/// Reads single pages, none twice, with so many threads, until so many are read or the time is over.
pub fn random(
    path: &Path,
    content: &Content,
    size: u64,
    count: u64,
    threads: usize,
    limit: Duration,
) -> Result<Random> {
    let file = File::open(path)?;
    random_by(content, size, count, threads, limit, || {
        let file = file.try_clone()?;
        Ok(move |page: &mut [u8], offset: u64| Ok(file.read_exact_at(page, offset)?))
    })
}

/// The same over HTTP, a connection per thread.
pub fn random_http(
    address: &str,
    key: &str,
    content: &Content,
    size: u64,
    count: u64,
    threads: usize,
) -> Result<Random> {
    random_by(content, size, count, threads, Duration::MAX, || {
        let mut connection = Connection::open(address)?;
        let target = format!("GET /{BUCKET}/{key}");
        Ok(move |page: &mut [u8], offset: u64| {
            let range = format!("Range: bytes={offset}-{}\r\n", offset + PAGE as u64 - 1);
            Ok(connection.ask(&target, &range, "")?.read_exact(page)?)
        })
    })
}

fn random_by<R: FnMut(&mut [u8], u64) -> Result<()> + Send>(
    content: &Content,
    size: u64,
    count: u64,
    threads: usize,
    limit: Duration,
    reader: impl Fn() -> Result<R>,
) -> Result<Random> {
    let mut pages: Vec<u64> = (0..size / PAGE as u64).collect();
    Numbers(size ^ threads as u64).shuffle(&mut pages);
    pages.truncate(count as usize);
    let next = AtomicU64::new(0);
    let all = Mutex::new((Vec::new(), None));
    let readers = (0..threads).map(|_| reader()).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for mut read in readers {
            let (next, all, pages) = (&next, &all, &pages);
            scope.spawn(move || {
                let (mut times, mut page) = (Vec::new(), vec![0; PAGE]);
                let mut work = || {
                    while let Some(number) = pages.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        let started = Instant::now();
                        read(&mut page, number * PAGE as u64)?;
                        times.push(started.elapsed());
                        content.check(&page, number * PAGE as u64)?;
                        if begun.elapsed() > limit {
                            break;
                        }
                    }
                    Ok(())
                };
                let failed: Result<()> = work();
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.0.extend(times);
                all.1 = all.1.take().or(failed.err());
            });
        }
    });
    let elapsed = begun.elapsed();
    let (times, failed) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failed) = failed {
        return Err(failed);
    }
    // A single thread is not charged for its checks in between.
    let taken = if threads == 1 { times.iter().sum() } else { elapsed };
    Ok(Random { rate: times.len() as f64 / taken.as_secs_f64(), times: Times::new(times) })
}

/// Downloads an object into a file, ranges side by side, and does nothing else.
pub fn download(address: &str, key: &str, size: u64, to: &Path) -> Result<Pass> {
    let target = format!("GET /{BUCKET}/{key}");
    let range = |from: u64, length: u64| format!("Range: bytes={from}-{}\r\n", (from + length).min(size) - 1);
    let begun = Instant::now();
    Connection::open(address)?.ask(&target, &range(0, PAGE as u64), "")?.read_exact(&mut [0; PAGE])?;
    let first = begun.elapsed();
    File::create(to)?.set_len(size)?;
    let next = AtomicU64::new(0);
    let part = || -> Result<()> {
        let mut connection = Connection::open(address)?;
        let mut file = File::options().write(true).open(to)?;
        loop {
            let from = next.fetch_add(RANGE, Ordering::Relaxed);
            if from >= size {
                return Ok(());
            }
            file.seek(SeekFrom::Start(from))?;
            std::io::copy(&mut connection.ask(&target, &range(from, RANGE), "")?, &mut file)?;
        }
    };
    side_by_side(RANGES, part)?;
    Ok(Pass { first, whole: begun.elapsed() - first })
}

/// What writing a file took.
#[derive(Debug)]
pub struct Written {
    /// The writes alone.
    pub writes: Duration,
    /// With the close, and where asked with a sync before it.
    pub staged: Duration,
    /// When it began.
    pub begun: Instant,
}

/// Writes a file, a mebibyte at a time.
pub fn write(path: &Path, content: &mut Content, size: u64, sync: bool) -> Result<Written> {
    let begun = Instant::now();
    let mut file = File::create(path)?;
    for offset in (0..size).step_by(BLOCK) {
        file.write_all(content.at(offset))?;
    }
    let writes = begun.elapsed();
    if sync {
        file.sync_data()?;
    }
    drop(file);
    Ok(Written { writes, staged: begun.elapsed(), begun })
}

/// Writes many files of a page each.
pub fn write_many(directory: &Path, content: &mut Content, count: u64, sync: bool) -> Result<Written> {
    let begun = Instant::now();
    for number in 0..count {
        let mut file = File::create(directory.join(format!("file-{number:05}")))?;
        file.write_all(&content.at(number * BLOCK as u64)[..PAGE])?;
        if sync {
            file.sync_data()?;
        }
    }
    Ok(Written { writes: begun.elapsed(), staged: begun.elapsed(), begun })
}

/// Waits until something holds and gives the time since.
pub fn until(begun: Instant, limit: Duration, holds: impl Fn() -> bool) -> Result<Duration> {
    while !holds() {
        if begun.elapsed() > limit {
            return Err(format!("did not happen within {limit:?}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(begun.elapsed())
}

/// Walks a tree as `find` does when it prints sizes. Gives the number of files and the sum of their sizes.
pub fn walk(directory: &Path) -> Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let below = if metadata.is_dir() { walk(&entry.path())? } else { (1, metadata.len()) };
        files += below.0;
        bytes += below.1;
    }
    Ok((files, bytes))
}

/// Asks the same again and again over so many connections, and gives the answers per second.
pub fn requests(address: &str, first: &str, body: &str, connections: usize, time: Duration) -> Result<f64> {
    let answers = AtomicU64::new(0);
    let begun = Instant::now();
    let ask = || -> Result<()> {
        let mut connection = Connection::open(address)?;
        while begun.elapsed() < time {
            connection.text(first, &headers(), body)?;
            answers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    side_by_side(connections, ask)?;
    Ok(answers.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Does the same in so many threads; what failed in one of them failed.
fn side_by_side(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })
}
