//! Every combination of open flags, on a file that is there and one that is not, answers as the disk does: the open, a
//! read, a write, a seek, and what is in the file afterwards.
//!
//! A file that is there is either fresh, its content still waiting for its upload, or known from the storage alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use causeway_vfs::CacheMode;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

mod ground;
use ground::{Ground, MODES, tree};

#[derive(Clone, Copy, Debug)]
enum Before {
    Missing,
    Fresh,
    Uploaded,
}

/// What came of one combination.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    open: Result<(), Errno>,
    read: Option<Result<Vec<u8>, Errno>>,
    write: Option<Result<usize, Errno>>,
    place: Option<Result<u64, Errno>>,
    read_again: Option<Result<Vec<u8>, Errno>>,
    size: Option<u64>,
    content: Option<Vec<u8>>,
}

const ACCESS: [OFlags; 3] = [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR];
const OTHERS: [OFlags; 5] = [OFlags::APPEND, OFlags::CREATE, OFlags::EXCL, OFlags::SYNC, OFlags::TRUNC];

fn combinations() -> Vec<OFlags> {
    let chosen = |access: OFlags, bits: usize| {
        OTHERS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).fold(access, |flags, (_, flag)| flags | *flag)
    };
    ACCESS.iter().flat_map(|access| (0..1 << OTHERS.len()).map(move |bits| chosen(*access, bits))).collect()
}

fn attempt(path: &Path, flags: OFlags) -> Outcome {
    let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600));
    let mut outcome = Outcome {
        open: opened.as_ref().map(drop).map_err(|error| *error),
        read: None,
        write: None,
        place: None,
        read_again: None,
        size: None,
        content: None,
    };
    if let Ok(file) = opened {
        let read = |size| {
            let mut buffer = vec![0; size];
            rustix::io::read(&file, &mut buffer).map(|read| buffer[..read].to_vec())
        };
        outcome.read = Some(read(2));
        outcome.write = Some(rustix::io::write(&file, b"new"));
        outcome.place = Some(rustix::fs::seek(&file, SeekFrom::Current(0)));
        rustix::fs::seek(&file, SeekFrom::Start(1)).unwrap();
        outcome.read_again = Some(read(100));
        outcome.size = Some(rustix::fs::fstat(&file).unwrap().st_size.try_into().unwrap());
    }
    outcome.content = fs::read(path).ok();
    outcome
}

/// Every combination has its own file. Returns what differs.
fn differences(mode: CacheMode, before: Before) -> Vec<String> {
    let ground = Ground::new(mode);
    let (disk, mount) = (ground.disk(), ground.mount());
    let name = |flags: OFlags| format!("{:o}", flags.bits());
    if !matches!(before, Before::Missing) {
        for flags in combinations() {
            fs::write(disk.join(name(flags)), "content").unwrap();
            fs::write(mount.join(name(flags)), "content").unwrap();
        }
    }
    if matches!(before, Before::Uploaded) {
        ground.drain();
    }
    let mut differences = Vec::new();
    for flags in combinations() {
        let (wanted, came) = (attempt(&disk.join(name(flags)), flags), attempt(&mount.join(name(flags)), flags));
        if came != wanted {
            differences.push(format!("{mode:?} {before:?} {flags:?}:\n   disk {wanted:?}\n  mount {came:?}"));
        }
    }
    ground.drain();
    for (path, shown) in tree(&disk) {
        let stored = ground.stored(&path).map(|content| ground::Shown::File(ground::Content(content)));
        if stored.as_ref() != Some(&shown) {
            differences.push(format!("{mode:?} {before:?} {path}:\n   disk {shown:?}\n stored {stored:?}"));
        }
    }
    differences
}

#[track_caller]
fn every_combination(before: Before) {
    assert_eq!(combinations().len(), 96);
    let differences: Vec<String> = MODES.into_iter().flat_map(|mode| differences(mode, before)).collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn a_missing_file_opens_as_on_the_disk() {
    every_combination(Before::Missing);
}

#[test]
fn a_file_that_waits_for_its_upload_opens_as_on_the_disk() {
    every_combination(Before::Fresh);
}

#[test]
fn an_uploaded_file_opens_as_on_the_disk() {
    every_combination(Before::Uploaded);
}
