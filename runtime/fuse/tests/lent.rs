//! Files that the kernel reads by itself: what shows that it does, and that nobody who reads or writes notices.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use causeway_vfs::{CacheMode, Close, VfsConfig};

mod ground;
use ground::{Content, Ground, pattern, python, soon};

/// A mount on which `f` has this content, complete in the cache and at the storage, and open nowhere.
fn with_file(content: &[u8]) -> Ground {
    let ground = Ground::new(CacheMode::Full);
    fs::write(ground.mount().join("f"), content).unwrap();
    ground.drain();
    ground.remount()
}

fn all_of(file: &mut File) -> Content {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Content(bytes)
}

/// Whether an open file can be read when nobody answers the kernel any more: then it reads by itself.
fn is_read_by_the_kernel(ground: Ground, file: &File) -> bool {
    ground.abort();
    let read = file.read_exact_at(&mut [0; 4], 0).is_ok();
    drop(ground);
    read
}

#[test]
fn a_complete_file_is_read_by_the_kernel_alone() {
    let ground = with_file(&pattern(1, 3 << 20));
    assert_eq!(ground.no_passthrough(), None);
    let file = File::open(ground.mount().join("f")).unwrap();
    assert!(is_read_by_the_kernel(ground, &file));
}

#[test]
fn a_file_that_is_not_complete_is_read_through_us() {
    let ground = Ground::new(CacheMode::Full);
    ground.put("f", &pattern(1, 3 << 20));
    let file = File::open(ground.mount().join("f")).unwrap();
    file.read_exact_at(&mut [0; 4], 0).unwrap();
    assert!(!is_read_by_the_kernel(ground, &file));
}

#[test]
fn where_a_close_waits_for_the_upload_files_are_read_through_us() {
    let ground = with_file(b"content");
    assert_eq!(ground.no_lending(), None);
    ground.reconfigure(|config| VfsConfig { close: Close::Uploaded, ..config });
    assert_eq!(ground.no_lending(), Some("a close waits for the upload"));
    let file = File::open(ground.mount().join("f")).unwrap();
    assert!(!is_read_by_the_kernel(ground, &file));
}

#[test]
fn a_reader_sees_what_a_later_writer_writes_appends_and_cuts() {
    let ground = with_file(b"begun here");
    let path = ground.mount().join("f");
    let mut reader = File::open(&path).unwrap();
    assert_eq!(all_of(&mut reader), Content(b"begun here".to_vec()));
    let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
    writer.write_all(b", went on").unwrap();
    assert_eq!(all_of(&mut reader), Content(b"begun here, went on".to_vec()));
    assert_eq!(reader.metadata().unwrap().len(), 19);
    assert_eq!(fs::metadata(&path).unwrap().len(), 19);
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"BEGUN", 0).unwrap();
    writer.set_len(10).unwrap();
    assert_eq!(all_of(&mut reader), Content(b"BEGUN here".to_vec()));
    drop((reader, writer));
    ground.drain();
    assert_eq!(ground.stored("f").unwrap(), b"BEGUN here");
    assert_eq!(fs::read(&path).unwrap(), b"BEGUN here");
}

#[test]
fn what_was_open_when_a_session_died_is_uploaded() {
    let ground = Ground::new(CacheMode::Full);
    let file = File::create(ground.mount().join("f")).unwrap();
    file.write_all_at(b"written before it died", 0).unwrap();
    ground.abort();
    ground.drain();
    assert_eq!(ground.stored("f").unwrap(), b"written before it died");
}

/// As programs do that edit a file and keep its time.
#[test]
fn what_is_written_is_uploaded_though_its_time_is_set_back() {
    let ground = with_file(b"as it was");
    let path = ground.mount().join("f");
    let mut reader = File::open(&path).unwrap();
    let before = reader.metadata().unwrap().modified().unwrap();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all_at(b"otherwise", 0).unwrap();
    writer.set_modified(before).unwrap();
    drop(writer);
    assert_eq!(all_of(&mut reader), Content(b"otherwise".to_vec()));
    drop(reader);
    ground.drain();
    assert_eq!(ground.stored("f").unwrap(), b"otherwise");
}

#[test]
fn a_reader_sees_a_file_emptied_and_filled_anew() {
    let ground = with_file(b"what stood here before");
    let path = ground.mount().join("f");
    let mut reader = File::open(&path).unwrap();
    fs::write(&path, "anew").unwrap();
    assert_eq!(all_of(&mut reader), Content(b"anew".to_vec()));
    drop(reader);
    ground.drain();
    assert_eq!(ground.stored("f").unwrap(), b"anew");
}

#[test]
fn what_is_written_is_uploaded_once_the_writer_is_gone_and_again_after_the_next() {
    let ground = with_file(b"0");
    let path = ground.mount().join("f");
    let mut reader = File::open(&path).unwrap();
    for round in 1..6u64 {
        let content = pattern(round, 100_000);
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all_at(&content, 0).unwrap();
        drop(writer);
        ground.drain();
        assert_eq!(ground.stored("f").as_ref(), Some(&content), "round {round}");
        assert_eq!(all_of(&mut reader), Content(content), "round {round}");
    }
}

#[test]
fn who_opens_to_write_and_does_not_makes_no_upload() {
    let ground = with_file(b"content");
    let path = ground.mount().join("f");
    let before = ground.version("f");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let reader = File::open(&path).unwrap();
    drop(OpenOptions::new().read(true).write(true).open(&path).unwrap());
    ground.drain();
    assert_eq!(ground.version("f"), before);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
    drop(reader);
}

#[test]
fn a_file_that_is_removed_or_replaced_lives_on_for_its_readers() {
    for replaced in [false, true] {
        let ground = with_file(b"kept by its reader");
        let path = ground.mount().join("f");
        let mut reader = File::open(&path).unwrap();
        if replaced {
            fs::write(ground.mount().join("g"), "new").unwrap();
            fs::rename(ground.mount().join("g"), &path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "new").unwrap();
        }
        ground.drain();
        assert_eq!(all_of(&mut reader), Content(b"kept by its reader".to_vec()));
        assert_eq!(reader.metadata().unwrap().nlink(), 0);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(ground.stored("f").unwrap(), b"new");
    }
}

// semantics: What changes at the provider is a new file: who has the old one open reads that to its end.
#[test]
fn what_changes_at_the_provider_is_a_new_file_and_its_readers_keep_the_old() {
    let ground = with_file(b"theirs, the first");
    ground.reconfigure(|config| VfsConfig { dir_cache_time_ms: 0, ..config });
    let path = ground.mount().join("f");
    let mut reader = File::open(&path).unwrap();
    ground.put("f", b"theirs, the second");
    assert_eq!(fs::read(&path).unwrap(), b"theirs, the second");
    assert_eq!(all_of(&mut reader), Content(b"theirs, the first".to_vec()));
}

/// Cuts a file by its path: not even the kernel has a handle of it.
fn cut_path(directory: &Path, name: &str, size: u64) {
    python(directory, &format!("import os; os.truncate('{name}', {size})"));
}

/// What is written while an upload is under way goes to another file than the one that the kernel reads.
#[test]
fn what_is_changed_while_an_upload_waits_is_what_later_readers_and_writers_have() {
    for is_cut in [false, true] {
        let mut ground = with_file(b"the first content");
        let (path, second) = (ground.mount().join("f"), ground.mount_again());
        let mut reader = File::open(&path).unwrap();
        ground.fail();
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"THE", 0).unwrap();
        ground.tried();
        let wanted = if is_cut {
            cut_path(&ground.mount(), "f", 9);
            b"THE first".to_vec()
        } else {
            OpenOptions::new().write(true).open(second.join("f")).unwrap().write_all_at(b"FIRST", 4).unwrap();
            b"THE FIRST content".to_vec()
        };
        assert_eq!(fs::read(&path).map(Content).unwrap(), Content(wanted.clone()), "is cut: {is_cut}");
        ground.recover();
        ground.drain();
        assert_eq!(ground.stored("f").map(Content), Some(Content(wanted.clone())), "is cut: {is_cut}");
        assert_eq!(all_of(&mut reader), Content(b"THE first content".to_vec()), "the reader keeps what it opened");
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"our", 0).unwrap();
        ground.drain();
        let wanted = [b"our", &wanted[3..]].concat();
        assert_eq!(ground.stored("f").map(Content), Some(Content(wanted)), "is cut: {is_cut}");
        drop(reader);
    }
}

#[test]
fn writers_on_two_mounts_lose_nothing_although_an_upload_came_between() {
    let mut ground = with_file(b"here there");
    let (path, second) = (ground.mount().join("f"), ground.mount_again());
    let reader = File::open(&path).unwrap();
    ground.fail();
    let there = OpenOptions::new().write(true).open(second.join("f")).unwrap();
    there.write_all_at(b"t", 5).unwrap();
    // A copy of the handle that is closed: what was written so far may be uploaded.
    drop(there.try_clone().unwrap());
    ground.tried();
    let here = OpenOptions::new().write(true).open(&path).unwrap();
    here.write_all_at(b"HERE", 0).unwrap();
    there.write_all_at(b"THERE", 5).unwrap();
    drop((here, there));
    ground.recover();
    ground.drain();
    assert_eq!(ground.stored("f").map(Content), Some(Content(b"HERE THERE".to_vec())));
    drop(reader);
}

// semantics: Two mounts of one backend see each other's content at once, and names, sizes and times within a second.
#[test]
fn two_mounts_see_each_others_content_at_once_and_the_rest_soon_whoever_writes() {
    let mut ground = with_file(b"0");
    let (first, second) = (ground.mount(), ground.mount_again());
    fs::metadata(second.join("new")).unwrap_err();
    fs::write(first.join("new"), "new").unwrap();
    soon(|| fs::read(second.join("new")).is_ok_and(|content| content == b"new"));
    let shown =
        |root: &Path| fs::metadata(root.join("f")).map(|shown| (shown.len(), shown.modified().unwrap())).unwrap();
    // First the kernel writes by itself, then we do.
    for reader in [Some(File::open(first.join("f")).unwrap()), None] {
        let mut writer = OpenOptions::new().append(true).open(first.join("f")).unwrap();
        for _ in 0..2 {
            let before = shown(&second).0;
            writer.write_all(b"more").unwrap();
            soon(|| shown(&second) == shown(&first));
            assert_eq!(shown(&second).0, before + 4);
        }
        // Last, since to read makes a kernel ask for the time of access, and all else with it.
        writer.write_all(b"end").unwrap();
        assert!(fs::read(second.join("f")).unwrap().ends_with(b"moreend"));
        drop((reader, writer));
    }
}

#[test]
fn who_writes_where_there_is_no_room_is_not_left_to_the_kernel() {
    let ground = with_file(&pattern(1, 1 << 20));
    let reader = File::open(ground.mount().join("f")).unwrap();
    let mut waits = File::create(ground.mount().join("waits")).unwrap();
    ground.fail();
    waits.write_all(&pattern(2, 3 << 20)).unwrap();
    ground.reconfigure(|config| VfsConfig { cache_max_size: Some(4 << 20), ..config });
    let writer = OpenOptions::new().write(true).open(ground.mount().join("f")).unwrap();
    ground.abort();
    writer.write_all_at(b"unseen", 0).unwrap_err();
    reader.read_exact_at(&mut [0; 4], 0).unwrap();
}

#[test]
fn a_close_that_is_made_to_wait_for_the_upload_does_so_although_the_kernel_serves_readers() {
    let ground = with_file(b"content");
    let path = ground.mount().join("f");
    let mut reader = File::open(&path).unwrap();
    ground.reconfigure(|config| VfsConfig { close: Close::Uploaded, ..config });
    fs::write(&path, "written").unwrap();
    assert_eq!(ground.stored("f").unwrap(), b"written");
    assert_eq!(all_of(&mut reader), Content(b"written".to_vec()));
}

#[test]
fn a_file_that_was_mapped_while_it_filled_can_be_opened_by_others() {
    let ground = Ground::new(CacheMode::Full);
    ground.put("f", &pattern(1, 1 << 20));
    let script = "
import mmap
f = open('f', 'rb')
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
f.close()
print(all(open('f', 'rb').read() == m[:] for _ in range(3)))
";
    assert_eq!(python(&ground.mount(), script), "True\n");
}
