//! Real mounts over the storage in memory: what programs rely on.
//!
//! Each test has its own directory, cache and mount, taken away again even when it fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causeway_cache::{Cache, Quotas};
use causeway_fuse::{MountOptions, Mounted};
use causeway_native::MemoryStorage;
use causeway_storage::{Path as StoragePath, Storage};
use causeway_vfs::{CacheMode, ReadBudget, Vfs, VfsConfig, Volume};
use tempfile::TempDir;

#[path = "../../vfs/tests/faulty/mod.rs"]
mod faulty;
use faulty::Faulty;

struct Fixture {
    directory: TempDir,
    storage: Arc<Faulty>,
    runtime: tokio::runtime::Runtime,
    live: Option<Live>,
}

struct Live {
    mounted: Mounted,
    volume: Arc<Volume>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(VfsConfig::default())
    }

    fn with(config: VfsConfig) -> Fixture {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let storage = Arc::new(Faulty::new(Arc::new(MemoryStorage::new())));
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("mnt")).unwrap();
        let mut fixture = Fixture { directory, storage, runtime, live: None };
        fixture.mount(config);
        fixture
    }

    fn mount(&mut self, config: VfsConfig) {
        let cache = loop {
            match Cache::open(&self.directory.path().join("cache"), Quotas::default()) {
                // What was stopped is letting go of it.
                Err(error) if error.is_passing() => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let scope = cache.scope("tenant", "backend", 1).unwrap();
        let storage: Arc<dyn Storage> = self.storage.clone();
        let volume = self.runtime.block_on(Volume::open(storage, scope, ReadBudget::default())).unwrap();
        let _runtime = self.runtime.enter();
        let vfs = Vfs::new(volume.clone(), config);
        let point = File::open(self.root()).unwrap().into();
        let mounted = causeway_fuse::mount(vfs, point, MountOptions::default()).unwrap();
        self.live = Some(Live { mounted, volume });
    }

    /// Everything ends as it is, nothing is drained.
    fn stop(&mut self) {
        let Some(Live { mounted, volume }) = self.live.take() else { return };
        mounted.unmount().unwrap();
        self.runtime.block_on(mounted.ended());
        self.runtime.block_on(volume.stop());
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn volume(&self) -> &Arc<Volume> {
        &self.live.as_ref().unwrap().volume
    }

    fn drain(&self) {
        let pending = self.runtime.block_on(self.volume().drain(Duration::from_secs(30)));
        assert_eq!(pending.changes, 0, "{pending:?}");
    }

    /// What the storage itself has, read past everything.
    fn stored(&self, path: &str) -> Option<Vec<u8>> {
        self.runtime.block_on(self.storage.stored(&StoragePath::parse(path).unwrap()))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.root(), rustix::mount::UnmountFlags::DETACH);
        if let Some(live) = self.live.take() {
            self.runtime.block_on(live.volume.stop());
        }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// Bytes that repeat nowhere near, so that a block in the wrong place shows.
fn pattern(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[test]
fn what_is_written_is_read_back_and_uploaded() {
    let fixture = Fixture::new();
    fs::write(fixture.at("hello.txt"), "hello").unwrap();
    assert_eq!(fs::read(fixture.at("hello.txt")).unwrap(), b"hello");
    assert_eq!(names(&fixture.root()), ["hello.txt"]);
    fixture.drain();
    assert_eq!(fixture.stored("hello.txt").unwrap(), b"hello");
    assert_eq!(fs::read(fixture.at("hello.txt")).unwrap(), b"hello");
}

// semantics: A file saved by renaming another over it is never missing.
#[test]
fn a_file_saved_by_rename_is_never_lost() {
    let fixture = Fixture::new();
    fs::write(fixture.at("doc"), "old").unwrap();
    fixture.drain();
    for round in 0..20 {
        let text = format!("round {round}");
        fs::write(fixture.at("doc.tmp"), &text).unwrap();
        fs::rename(fixture.at("doc.tmp"), fixture.at("doc")).unwrap();
        assert_eq!(fs::read_to_string(fixture.at("doc")).unwrap(), text);
    }
    assert_eq!(names(&fixture.root()), ["doc"]);
    fixture.drain();
    assert_eq!(fixture.stored("doc").unwrap(), b"round 19");
    assert_eq!(fixture.stored("doc.tmp"), None);
}

#[test]
fn truncate_append_and_partial_writes_meet_the_stored_content() {
    let fixture = Fixture::new();
    let mut expected = pattern(3 << 20);
    fs::write(fixture.at("f"), &expected).unwrap();
    fixture.drain();
    let file = OpenOptions::new().read(true).write(true).open(fixture.at("f")).unwrap();
    file.write_all_at(b"edited", 1_500_000).unwrap();
    expected[1_500_000..1_500_006].copy_from_slice(b"edited");
    file.set_len(2_000_000).unwrap();
    expected.truncate(2_000_000);
    file.set_len(2_100_000).unwrap();
    expected.resize(2_100_000, 0);
    drop(file);
    OpenOptions::new().append(true).open(fixture.at("f")).unwrap().write_all(b"tail").unwrap();
    expected.extend(b"tail");
    assert!(fs::read(fixture.at("f")).unwrap() == expected);
    fixture.drain();
    assert!(fixture.stored("f").unwrap() == expected);
}

#[test]
fn directories_are_made_renamed_and_removed() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.at("a/b")).unwrap();
    fs::write(fixture.at("a/b/f"), "x").unwrap();
    assert_eq!(fs::remove_dir(fixture.at("a")).unwrap_err().raw_os_error(), Some(39), "ENOTEMPTY");
    fs::rename(fixture.at("a"), fixture.at("c")).unwrap();
    assert_eq!(names(&fixture.root()), ["c"]);
    assert_eq!(fs::read(fixture.at("c/b/f")).unwrap(), b"x");
    fixture.drain();
    assert_eq!(fixture.stored("c/b/f").unwrap(), b"x");
    fs::remove_file(fixture.at("c/b/f")).unwrap();
    fs::remove_dir(fixture.at("c/b")).unwrap();
    fs::remove_dir(fixture.at("c")).unwrap();
    assert!(names(&fixture.root()).is_empty());
    fixture.drain();
    assert_eq!(fixture.stored("c/b/f"), None);
}

#[test]
fn a_large_file_comes_back_equal_without_the_cache() {
    let mut fixture = Fixture::with(VfsConfig { cache_mode: CacheMode::Off, ..VfsConfig::default() });
    let expected = pattern(64 << 20);
    let mut file = File::create(fixture.at("big")).unwrap();
    file.write_all(&expected).unwrap();
    drop(file);
    assert!(fixture.stored("big").unwrap() == expected, "close waits for the upload");
    fixture.stop();
    fixture.mount(VfsConfig { cache_mode: CacheMode::Full, ..VfsConfig::default() });
    assert!(fs::read(fixture.at("big")).unwrap() == expected);
    let mut file = File::open(fixture.at("big")).unwrap();
    let mut middle = [0; 10];
    file.seek(SeekFrom::Start(40_000_000)).unwrap();
    file.read_exact(&mut middle).unwrap();
    assert_eq!(middle, expected[40_000_000..40_000_010]);
}

// semantics: What could not be looked up is an error, never an absence.
#[test]
fn a_failed_look_up_is_an_error_and_not_an_absence() {
    let fixture = Fixture::new();
    fixture.storage.fail_all(true);
    let error = fs::metadata(fixture.at("x")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "EIO");
    let listed: Result<Vec<_>, _> = fs::read_dir(fixture.root()).and_then(|entries| entries.collect());
    assert_eq!(listed.unwrap_err().raw_os_error(), Some(5), "EIO");
    fixture.storage.fail_all(false);
    assert_eq!(fs::metadata(fixture.at("x")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

// semantics: A directory of ten thousand entries lists each once.
#[test]
fn ten_thousand_entries_are_listed_each_once() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(fixture.storage.populate(10_000));
    let expected: Vec<String> = (0..10_000).map(|number| format!("f{number:06}")).collect();
    assert!(names(&fixture.root()) == expected);
    fs::write(fixture.at("f000005"), "new").unwrap();
    fs::remove_file(fixture.at("f000006")).unwrap();
    fs::write(fixture.at("zz"), "new").unwrap();
    let mut expected = expected;
    expected.remove(6);
    expected.push("zz".into());
    assert!(names(&fixture.root()) == expected);
}

// semantics: What was not uploaded when the program ended is uploaded when it runs again.
#[test]
fn what_was_not_uploaded_survives_and_is_uploaded_later() {
    let mut fixture = Fixture::new();
    fs::write(fixture.at("kept"), "before").unwrap();
    fs::create_dir(fixture.at("d")).unwrap();
    fixture.drain();
    assert!(names(&fixture.at("d")).is_empty(), "what is not there is known from now on");
    fixture.storage.fail_all(true);
    fs::write(fixture.at("kept"), "after").unwrap();
    fs::write(fixture.at("d/new"), "new").unwrap();
    fs::rename(fixture.at("d/new"), fixture.at("d/named")).unwrap();
    fixture.stop();
    assert_eq!(fixture.stored("kept").unwrap(), b"before");
    fixture.mount(VfsConfig::default());
    assert_eq!(fs::read(fixture.at("kept")).unwrap(), b"after");
    fixture.storage.fail_all(false);
    assert_eq!(names(&fixture.at("d")), ["named"]);
    fixture.runtime.block_on(fixture.volume().retry()).unwrap();
    fixture.drain();
    assert_eq!(fixture.stored("kept").unwrap(), b"after");
    assert_eq!(fixture.stored("d/named").unwrap(), b"new");
}

#[test]
fn times_are_kept_and_room_is_told() {
    let fixture = Fixture::new();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::create(fixture.at("f")).unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    assert_eq!(fs::metadata(fixture.at("f")).unwrap().modified().unwrap(), time);
    fixture.drain();
    assert_eq!(fs::metadata(fixture.at("f")).unwrap().modified().unwrap(), time);
    assert!(rustix::fs::statvfs(fixture.root()).unwrap().f_blocks > 0);
}

#[test]
fn an_unlinked_file_lives_on_for_who_has_it_open() {
    let fixture = Fixture::new();
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(fixture.at("f")).unwrap();
    fs::remove_file(fixture.at("f")).unwrap();
    file.write_all(b"scratch").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "scratch");
    drop(file);
    assert!(names(&fixture.root()).is_empty());
    fixture.drain();
    assert_eq!(fixture.stored("f"), None);
}

#[test]
fn an_unmount_from_outside_is_noticed() {
    let fixture = Fixture::new();
    rustix::mount::unmount(fixture.root(), rustix::mount::UnmountFlags::DETACH).unwrap();
    let mounted = &fixture.live.as_ref().unwrap().mounted;
    fixture.runtime.block_on(mounted.ended());
    assert!(mounted.has_ended());
    mounted.unmount().unwrap();
}

#[test]
fn a_mount_that_died_is_taken_away() {
    let fixture = Fixture::new();
    // While its attributes are remembered it looks as if it lived.
    fs::metadata(fixture.root()).unwrap();
    let open = File::create(fixture.at("f")).unwrap();
    rustix::mount::unmount(fixture.root(), rustix::mount::UnmountFlags::FORCE).unwrap_err();
    let mounted = &fixture.live.as_ref().unwrap().mounted;
    fixture.runtime.block_on(mounted.ended());
    mounted.unmount().unwrap();
    assert!(names(&fixture.root()).is_empty(), "the directory below shows again");
    drop(open);
}

#[test]
fn a_mount_that_took_the_place_of_one_that_ended_is_left_alone() {
    let fixture = Fixture::new();
    rustix::mount::unmount(fixture.root(), rustix::mount::UnmountFlags::DETACH).unwrap();
    let mounted = &fixture.live.as_ref().unwrap().mounted;
    fixture.runtime.block_on(mounted.ended());
    let other = Fixture::new();
    let flags = rustix::mount::MountFlags::BIND;
    rustix::mount::mount(other.root(), fixture.root(), "", flags, None::<&std::ffi::CStr>).unwrap();
    fs::write(fixture.at("theirs"), "x").unwrap();
    mounted.unmount().unwrap();
    assert_eq!(names(&fixture.root()), ["theirs"]);
}

// semantics: A file that was changed on both sides is kept twice: the other's under its name, ours beside it.
#[test]
fn a_file_changed_on_both_sides_is_kept_twice() {
    let fixture = Fixture::new();
    fs::write(fixture.at("f.txt"), "both").unwrap();
    fixture.drain();
    fixture.runtime.block_on(fixture.storage.put("f.txt", b"theirs"));
    fs::write(fixture.at("f.txt"), "mine").unwrap();
    fixture.drain();
    assert_eq!(fixture.stored("f.txt").unwrap(), b"theirs");
    let names = names(&fixture.root());
    let copy = names.iter().find(|name| name.starts_with("f (conflict ") && name.ends_with(").txt")).unwrap();
    assert_eq!(fixture.stored(copy).unwrap(), b"mine");
    assert_eq!(fixture.volume().events().len(), 1);
}

// semantics: A directory that cannot be listed to its end is an error, never a short list.
#[test]
fn a_listing_that_fails_on_page_two_is_an_error_and_never_short() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(fixture.storage.populate(2_500));
    fixture.storage.fail_later_pages();
    let listed: Result<Vec<_>, _> = fs::read_dir(fixture.root()).and_then(|entries| entries.collect());
    assert_eq!(listed.unwrap_err().raw_os_error(), Some(5), "EIO");
}

static LARGE: [u8; 16 << 20] = [7; 16 << 20];

#[test]
fn a_small_random_read_fetches_little_more_than_itself() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(fixture.storage.put("big", &LARGE));
    let mut block = [0; 4096];
    File::open(fixture.at("big")).unwrap().read_exact_at(&mut block, 5_500_000).unwrap();
    let reads = fixture.storage.reads();
    assert_eq!(reads.len(), 1, "{reads:?}");
    assert!(reads[0].size <= 64 << 10, "{reads:?}");
}

#[test]
fn a_sequential_read_asks_for_more_and_more_and_for_nothing_twice() {
    let fixture = Fixture::new();
    fixture.runtime.block_on(fixture.storage.put("big", &LARGE));
    let file = File::open(fixture.at("big")).unwrap();
    let mut block = vec![0; 128 << 10];
    for offset in (0..LARGE.len()).step_by(block.len()) {
        file.read_exact_at(&mut block, offset as u64).unwrap();
    }
    let reads = fixture.storage.reads();
    assert!(reads.len() < 24 && reads.iter().any(|span| span.size >= 4 << 20), "{reads:?}");
    assert_eq!(reads.iter().map(|span| span.size).sum::<u64>(), 16 << 20, "{reads:?}");
}

// semantics: A chmod that would not hold is refused; one that differs in what a mask of 077 takes away is not.
#[test]
fn a_mode_that_would_not_hold_is_refused_and_a_masked_one_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    fs::write(fixture.at("f"), "x").unwrap();
    let set = |mode| fs::set_permissions(fixture.at("f"), fs::Permissions::from_mode(mode));
    set(0o600).unwrap();
    set(0o644).unwrap();
    assert_eq!(set(0o400).unwrap_err().raw_os_error(), Some(1), "EPERM");
    assert_eq!(set(0o4600).unwrap_err().raw_os_error(), Some(1), "EPERM");
    assert_eq!(fs::metadata(fixture.at("f")).unwrap().permissions().mode() & 0o7777, 0o600);
}

// semantics: The time of a directory that was set stays over a rename and a restart.
#[test]
fn the_time_of_a_directory_stays_set_over_a_rename_and_a_restart() {
    let mut fixture = Fixture::new();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::create_dir(fixture.at("d")).unwrap();
    File::open(fixture.at("d")).unwrap().set_modified(time).unwrap();
    fs::rename(fixture.at("d"), fixture.at("e")).unwrap();
    fixture.drain();
    fixture.stop();
    fixture.mount(VfsConfig::default());
    assert_eq!(fs::metadata(fixture.at("e")).unwrap().modified().unwrap(), time);
}
