//! Files through several handles at once, and files whose names go while they are open: as on the disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use causeway_vfs::{CacheMode, VfsConfig};

mod ground;
use ground::{Content, Ground, alike, pattern, soon};

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn all_of(file: &mut File) -> Content {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Content(bytes)
}

// semantics: What one handle writes, another reads at once.
#[test]
fn what_one_handle_writes_another_reads_at_once() {
    alike(|root| {
        let path = root.join("f");
        fs::write(&path, "begun").unwrap();
        let (one, mut other, mut reader) = (open(&path), open(&path), File::open(&path).unwrap());
        let mut seen = Vec::new();
        for (round, writer) in [&one, &other, &one].into_iter().enumerate() {
            writer.write_all_at(format!("round {round}").as_bytes(), round as u64 * 3).unwrap();
            seen.push(all_of(&mut reader));
            seen.push(Content(fs::read(&path).unwrap()));
        }
        seen.push(all_of(&mut other));
        seen
    });
}

#[test]
fn a_close_does_not_wait_for_another_handle_that_writes_on() {
    alike(|root| {
        let path = root.join("f");
        fs::write(&path, "begun").unwrap();
        let (one, mut other) = (open(&path), open(&path));
        one.write_all_at(b"one", 0).unwrap();
        other.write_all_at(b"other", 10).unwrap();
        let begun = Instant::now();
        drop(one);
        let waited = begun.elapsed() > Duration::from_secs(10);
        other.write_all_at(b"on", 20).unwrap();
        (waited, all_of(&mut other))
    });
}

#[test]
fn a_size_that_one_handle_changes_another_sees_at_once() {
    alike(|root| {
        let path = root.join("f");
        fs::write(&path, pattern(1, 10_000)).unwrap();
        let (writer, other) = (open(&path), File::open(&path).unwrap());
        let mut sizes = Vec::new();
        for size in [20_000, 3, 0, 5000] {
            writer.set_len(size).unwrap();
            let named = fs::metadata(&path).unwrap().len();
            sizes.push((named, other.metadata().unwrap().len(), writer.metadata().unwrap().len()));
        }
        sizes
    });
}

// semantics: Appends through several handles never fall upon each other.
#[test]
fn appends_through_several_handles_never_fall_upon_each_other() {
    alike(|root| {
        let path = root.join("log");
        File::create(&path).unwrap();
        thread::scope(|scope| {
            for name in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    let mut file = OpenOptions::new().append(true).open(path).unwrap();
                    for number in 0..100 {
                        file.write_all(format!("{name} {number:03} {}\n", "x".repeat(name * 7)).as_bytes()).unwrap();
                    }
                });
            }
        });
        // Whose line came first is chance.
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        fs::remove_file(&path).unwrap();
        lines
    });
}

#[test]
fn an_append_goes_to_the_end_that_another_handle_made() {
    alike(|root| {
        let path = root.join("f");
        fs::write(&path, "one").unwrap();
        let mut appending = OpenOptions::new().append(true).open(&path).unwrap();
        let other = open(&path);
        appending.write_all(b"two").unwrap();
        other.write_all_at(b"three", 20).unwrap();
        appending.write_all(b"four").unwrap();
        other.set_len(2).unwrap();
        appending.write_all(b"five").unwrap();
        drop(other);
        // The place does not count, and is at the end afterwards.
        appending.seek(SeekFrom::Start(0)).unwrap();
        appending.write_all(b"six").unwrap();
        (appending.stream_position().unwrap(), Content(fs::read(&path).unwrap()))
    });
}

// semantics: A file that was renamed over lives on for who has it open.
#[test]
fn a_file_that_is_renamed_over_lives_on_for_who_has_it_open() {
    alike(|root| {
        fs::write(root.join("f"), "old content").unwrap();
        fs::write(root.join("g"), "new").unwrap();
        let (mut reader, mut writer) = (File::open(root.join("f")).unwrap(), open(&root.join("f")));
        fs::rename(root.join("g"), root.join("f")).unwrap();
        let before = all_of(&mut reader);
        writer.write_all_at(b"OLD", 0).unwrap();
        writer.set_len(7).unwrap();
        (before, all_of(&mut reader), all_of(&mut writer), fs::read(root.join("f")).unwrap())
    });
}

// semantics: A file that was removed lives on for who has it open.
#[test]
fn an_unlinked_file_is_read_written_and_cut_by_who_has_it_open() {
    alike(|root| {
        fs::write(root.join("f"), pattern(3, 200_000)).unwrap();
        let (mut one, mut other) = (open(&root.join("f")), open(&root.join("f")));
        fs::remove_file(root.join("f")).unwrap();
        let kept = all_of(&mut one);
        other.write_all_at(b"scratch", 199_998).unwrap();
        let grown = one.metadata().unwrap().len();
        other.set_len(10).unwrap();
        let cut = all_of(&mut one);
        let synced = other.sync_all().is_ok();
        let gone = fs::metadata(root.join("f")).unwrap_err().raw_os_error();
        (kept, grown, cut, all_of(&mut other), synced, gone)
    });
}

#[test]
fn a_file_without_a_name_has_no_links() {
    alike(|root| {
        fs::write(root.join("f"), "replaced").unwrap();
        fs::write(root.join("g"), "stays").unwrap();
        let replaced = File::open(root.join("f")).unwrap();
        fs::rename(root.join("g"), root.join("f")).unwrap();
        let removed = File::open(root.join("f")).unwrap();
        let named = removed.metadata().unwrap().nlink();
        fs::remove_file(root.join("f")).unwrap();
        (replaced.metadata().unwrap().nlink(), named, removed.metadata().unwrap().nlink())
    });
}

#[test]
fn a_name_that_is_made_anew_is_another_file_than_the_one_still_open() {
    alike(|root| {
        fs::write(root.join("f"), "first").unwrap();
        let mut first = open(&root.join("f"));
        fs::remove_file(root.join("f")).unwrap();
        fs::write(root.join("f"), "second").unwrap();
        let mut second = open(&root.join("f"));
        first.write_all_at(b"FIRST", 0).unwrap();
        second.write_all_at(b"SECOND and more", 0).unwrap();
        let same = first.metadata().unwrap().ino() == second.metadata().unwrap().ino();
        (all_of(&mut first), all_of(&mut second), fs::read_to_string(root.join("f")).unwrap(), same)
    });
}

#[test]
fn a_file_is_written_on_while_it_and_its_directory_are_renamed() {
    alike(|root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        let mut file = File::create(root.join("a/b/f")).unwrap();
        file.write_all(b"one ").unwrap();
        fs::rename(root.join("a/b/f"), root.join("a/g")).unwrap();
        file.write_all(b"two ").unwrap();
        fs::rename(root.join("a"), root.join("c")).unwrap();
        file.write_all(b"three").unwrap();
        file.sync_all().unwrap();
        let early = fs::read_to_string(root.join("c/g")).unwrap();
        file.write_all(b" four").unwrap();
        drop(file);
        (early, fs::read_to_string(root.join("c/g")).unwrap())
    });
}

// semantics: Holes, and what was cut off, read as zeroes.
#[test]
fn holes_and_what_was_cut_off_read_as_zeroes() {
    alike(|root| {
        let path = root.join("f");
        let mut seen = Vec::new();
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        // A seek past the end changes nothing by itself.
        seen.push(Content(file.seek(SeekFrom::Start(5_000_000)).unwrap().to_le_bytes().to_vec()));
        seen.push(all_of(&mut file));
        file.write_all_at(b"end", 5_000_000).unwrap();
        seen.push(all_of(&mut file));
        file.write_all_at(&pattern(4, 100_000), 1_000_001).unwrap();
        // What is cut off and comes back as a hole is not what it was.
        file.set_len(1_050_000).unwrap();
        file.set_len(1_200_000).unwrap();
        seen.push(all_of(&mut file));
        file.write_all_at(b"later", 1_150_000).unwrap();
        seen.push(all_of(&mut file));
        seen
    });
}

#[test]
fn what_is_cut_from_uploaded_content_does_not_come_back() {
    for mode in [CacheMode::Off, CacheMode::Full] {
        let ground = Ground::new(mode);
        for root in [ground.disk(), ground.mount()] {
            fs::write(root.join("f"), pattern(5, 3_000_000)).unwrap();
            ground.drain();
            let file = open(&root.join("f"));
            file.set_len(1_000_001).unwrap();
            file.set_len(2_500_000).unwrap();
            file.write_all_at(b"edited", 1_999_990).unwrap();
            file.set_len(2_400_000).unwrap();
        }
        ground.assert_same_trees();
    }
}

#[test]
fn reads_at_and_past_the_end_are_short_or_empty() {
    alike(|root| {
        fs::write(root.join("f"), pattern(6, 10_000)).unwrap();
        let file = File::open(root.join("f")).unwrap();
        let mut buffer = vec![0; 8192];
        [0, 4096, 9_999, 10_000, 10_001, 1 << 40].map(|at| file.read_at(&mut buffer, at).unwrap())
    });
}

// semantics: A file that is being read and written shows old or new blocks, never others.
#[test]
fn a_reader_beside_a_writer_sees_old_or_new_blocks() {
    const BLOCK: usize = 4096;
    const BLOCKS: usize = 64;
    for mode in [CacheMode::Off, CacheMode::Full] {
        let ground = Ground::new(mode);
        let path = ground.mount().join("f");
        fs::write(&path, vec![0; BLOCK * BLOCKS]).unwrap();
        ground.drain();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let file = File::open(&path).unwrap();
                    let (mut block, mut highest) = (vec![0; BLOCK], [0; BLOCKS]);
                    let mut at = 0;
                    while !done.load(Ordering::Relaxed) {
                        at = (at + 7) % BLOCKS;
                        assert_eq!(file.read_at(&mut block, (at * BLOCK) as u64).unwrap(), BLOCK, "a short read");
                        assert!(block.iter().all(|byte| *byte == block[0]), "a block of two rounds");
                        assert!(block[0] >= highest[at], "a block went back from {} to {}", highest[at], block[0]);
                        highest[at] = block[0];
                    }
                });
            }
            // In the order of blocks, so that each reader sees both.
            for round in 1..=10 {
                let file = open(&path);
                for at in 0..BLOCKS {
                    file.write_all_at(&[round; BLOCK], (at * BLOCK) as u64).unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        ground.drain();
        assert!(ground.stored("f").unwrap() == [10; BLOCK * BLOCKS]);
    }
}

#[test]
fn writers_of_different_parts_of_a_file_all_get_through() {
    for mode in [CacheMode::Off, CacheMode::Full] {
        let ground = Ground::new(mode);
        let path = ground.mount().join("f");
        let wanted = pattern(7, 4 << 20);
        fs::write(&path, pattern(8, 4 << 20)).unwrap();
        ground.drain();
        thread::scope(|scope| {
            for part in 0..4 {
                let (path, wanted) = (&path, &wanted);
                scope.spawn(move || {
                    for number in 0..16 {
                        // Opened and closed anew: uploads come in between.
                        let at = (number * 4 + part) << 16;
                        open(path).write_all_at(&wanted[at..at + (1 << 16)], at as u64).unwrap();
                    }
                });
            }
        });
        assert!(fs::read(&path).unwrap() == wanted, "{mode:?}");
        ground.drain();
        assert!(ground.stored("f").unwrap() == wanted, "{mode:?}");
    }
}

#[test]
fn a_file_is_copied_within_the_kernel() {
    alike(|root| {
        fs::write(root.join("from"), pattern(9, 3_000_000)).unwrap();
        // The standard library asks for `copy_file_range`, and falls back.
        fs::copy(root.join("from"), root.join("to")).unwrap();
        let (from, to) = (File::open(root.join("from")).unwrap(), open(&root.join("to")));
        let (mut at, mut there) = (100_000, 500);
        let copied = rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut there), 1000).unwrap();
        (copied, at, there)
    });
}

// semantics: A time that is set on an open file stays after its close.
#[test]
fn a_time_that_is_set_on_an_open_file_stays_after_its_close() {
    let time = std::time::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    alike(|root| {
        let path = root.join("f");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"content").unwrap();
        file.set_modified(time).unwrap();
        let open = fs::metadata(&path).unwrap().modified().unwrap();
        drop(file);
        (open, fs::metadata(&path).unwrap().modified().unwrap())
    });
}

// semantics: A write moves the modification time of a file on.
#[test]
fn a_write_moves_the_time_of_a_file_on() {
    alike(|root| {
        let path = root.join("f");
        fs::write(&path, "x").unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let kept = fs::metadata(&path).unwrap().modified().unwrap() == old;
        open(&path).write_all(b"y").unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap() > old;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        open(&path).set_len(3).unwrap();
        let cut = fs::metadata(&path).unwrap().modified().unwrap() > old;
        (kept, written, cut)
    });
}

#[test]
fn handles_opened_before_and_after_an_upload_are_of_one_file() {
    for mode in [CacheMode::Off, CacheMode::Full] {
        println!("in mode {mode:?}");
        let ground = Ground::new(mode);
        let seen = [ground.disk(), ground.mount()].map(|root| {
            let path = root.join("f");
            let mut before = File::create(&path).unwrap();
            before.write_all(b"content").unwrap();
            drop(before);
            let before = open(&path);
            ground.drain();
            let after = open(&path);
            let one = before.metadata().unwrap().ino() == after.metadata().unwrap().ino();
            before.write_all_at(b"BEFORE", 20).unwrap();
            after.write_all_at(b"AFTER", 0).unwrap();
            let mut handles = [before, after];
            (one, handles.each_mut().map(all_of), Content(fs::read(&path).unwrap()))
        });
        assert_eq!(seen[1], seen[0], "the mount, then the disk");
        ground.assert_same_trees();
    }
}

#[test]
fn an_upload_in_between_takes_nothing_from_what_several_handles_write() {
    for mode in [CacheMode::Off, CacheMode::Full] {
        println!("in mode {mode:?}");
        let ground = Ground::new(mode);
        let path = ground.mount().join("f");
        fs::write(&path, vec![b'.'; 64 * 100]).unwrap();
        thread::scope(|scope| {
            for writer in 0..4_usize {
                let path = &path;
                scope.spawn(move || {
                    // One keeps its handle, the others open and close: uploads begin and end all the time.
                    let kept = open(path);
                    for line in 0..100 {
                        let at = (line * 64 + writer * 16) as u64;
                        let text = format!("{writer:03} wrote {line:04}.\n");
                        let handle = if writer == 0 { kept.try_clone().unwrap() } else { open(path) };
                        handle.write_all_at(text.as_bytes(), at).unwrap();
                    }
                });
            }
        });
        let wanted: String =
            (0..100).flat_map(|line| (0..4).map(move |writer| format!("{writer:03} wrote {line:04}.\n"))).collect();
        assert_eq!(Content(fs::read(&path).unwrap()), Content(wanted.clone().into()));
        ground.drain();
        assert_eq!(ground.stored("f").map(Content), Some(Content(wanted.into())));
        assert_eq!(fs::read_dir(ground.mount()).unwrap().count(), 1, "there are copies");
    }
}

/// Sixteen writes may wait for uploads to make room; those after them are refused, and hold nobody up.
#[test]
fn writers_that_wait_for_room_keep_nobody_else_waiting() {
    const MIB: usize = 1 << 20;
    let ground = Ground::new(CacheMode::Full);
    ground.reconfigure(|config| VfsConfig { cache_max_size: Some(32 << 20), ..config });
    let create = |name: &str| File::create_new(ground.mount().join(name)).unwrap();
    let writers: Vec<File> = (0..24).map(|writer| create(&format!("w{writer}"))).collect();
    let filler = create("filler");
    ground.fail();
    filler.write_all_at(&pattern(1, 31 * MIB + MIB / 2), 0).unwrap();
    drop(filler);
    let (refused, written) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(|| match writer.write_all_at(&pattern(2, MIB), 0) {
                Ok(()) => written.fetch_add(1, Ordering::SeqCst),
                Err(error) if error.raw_os_error() == Some(28) => refused.fetch_add(1, Ordering::SeqCst),
                Err(error) => panic!("{error}"),
            });
        }
        soon(|| refused.load(Ordering::SeqCst) == 8);
        let begun = Instant::now();
        assert_eq!(fs::read(ground.mount().join("w0")).unwrap(), b"");
        rustix::fs::statvfs(ground.mount()).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        ground.recover();
    });
    assert_eq!(written.into_inner(), 16);
}

#[test]
fn more_first_writes_at_once_than_have_a_turn_all_go_through() {
    let ground = Ground::new(CacheMode::Full);
    let at = |writer: usize| ground.mount().join(format!("w{writer}"));
    (0..96).for_each(|writer| fs::write(at(writer), "before").unwrap());
    ground.drain();
    let content = pattern(3, 1 << 20);
    let writers: Vec<File> = (0..96).map(|writer| open(&at(writer))).collect();
    thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(|| writer.write_all_at(&content, 0).unwrap());
        }
    });
    for writer in 0..96 {
        assert!(fs::read(at(writer)).unwrap() == content, "{writer}");
    }
}
