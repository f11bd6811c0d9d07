//! A disk that is full: what is refused is refused cleanly, what was acknowledged stays, and all goes on with room again.
//! The disk is a small file system in memory, which takes the rights of root to mount.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write;
use std::path::{Path as FilePath, PathBuf};

use causeway_storage::{Can, ErrorKind, Path};
use causeway_vfs::{VfsConfig, VfsError};
use rustix::mount::{MountFlags, UnmountFlags};

mod faulty;
mod world;
use world::World;

/// A disk of 320 MiB, which is a little more than the cache leaves to others.
struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    fn new() -> Disk {
        let directory = tempfile::tempdir().unwrap();
        let size = c"size=320m";
        rustix::mount::mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), Some(size)).unwrap();
        Disk { directory }
    }

    fn path(&self) -> &FilePath {
        self.directory.path()
    }

    /// Takes all room away; give it back by removing what is returned.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn is_full<T: std::fmt::Debug>(outcome: Result<T, VfsError>) {
    let error = outcome.unwrap_err();
    assert!(matches!(&error, VfsError::Storage(error) if error.kind == ErrorKind::QuotaExceeded), "{error:?}");
}

// semantics: On a full disk changes are refused until it has room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_until_it_has_room_again() {
    let disk = Disk::new();
    let mut world = World::on(disk.path(), Can::empty(), VfsConfig::default()).await;
    world.write(1, "before", b"acknowledged").await.unwrap();
    world.drained().await;
    let filler = disk.fill();
    // The journal has its room already: what it accepts is acknowledged, and kept.
    let made: Vec<String> = (0..20).map(|number| format!("d{number}")).collect();
    for name in &made {
        world.vfs().make_directory(1, name).await.unwrap();
    }
    world.close().await;
    let scope = world::open_scope(world.cache_directory()).await;
    // Until that room is used up.
    while scope.progress(0).save(&[1; 1 << 20]).await.is_ok() {}
    drop(scope);
    world.reopen().await;
    is_full(world.vfs().make_directory(1, "during").await);
    is_full(world.write(1, "during", b"refused").await);
    std::fs::remove_file(filler).unwrap();
    while world.vfs().make_directory(1, "after").await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.read(1, "before").await.unwrap(), b"acknowledged");
    world.reopen().await;
    for name in &made {
        world.vfs().lookup(1, name).await.unwrap();
    }
    world.vfs().lookup(1, "after").await.unwrap();
    world.drained().await;
    assert!(world.storage.stored(&Path::parse("before").unwrap()).await.unwrap() == b"acknowledged");
    world.close().await;
}

/// Time is the runtime's own: nothing is uploaded, so the write waits in vain.
#[tokio::test(start_paused = true)]
async fn writing_more_than_the_disk_holds_stops_before_it_is_full_and_loses_nothing() {
    let disk = Disk::new();
    let mut world = World::on(disk.path(), Can::empty(), VfsConfig::default()).await;
    world.vfs().lookup(1, "f").await.unwrap_err();
    world.storage.fail_all(true);
    let mode = causeway_vfs::OpenMode { read: true, write: true, ..Default::default() };
    let (_, _, handle) = world.vfs().create(1, "f", mode, true).await.unwrap();
    let mut written = 0_u64;
    let refused = loop {
        match world.vfs().write(handle, written, vec![7; 1 << 20]).await {
            Ok(()) => written += 1 << 20,
            Err(error) => break Err::<(), _>(error),
        }
        assert!(written < 320 << 20, "the disk is full");
    };
    is_full(refused);
    assert!(written > 16 << 20, "only {written} bytes fit");
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
    world.reopen().await;
    world.storage.fail_all(false);
    world.drained().await;
    let stored = world.storage.stored(&Path::parse("f").unwrap()).await.unwrap();
    assert!(stored.len() as u64 == written && stored.iter().all(|byte| *byte == 7));
    world.close().await;
}

#[tokio::test]
async fn an_edit_that_is_completed_for_its_upload_leaves_the_reserve_alone() {
    const MIB: u64 = 1 << 20;
    let reserve = causeway_cache::Quotas::default().reserve_bytes;
    let disk = Disk::new();
    let free = || {
        let room = rustix::fs::statvfs(disk.path()).unwrap();
        room.f_bavail * room.f_frsize
    };
    let config = VfsConfig { cache_mode: causeway_vfs::CacheMode::Full, ..VfsConfig::default() };
    let mut world = World::on(disk.path(), Can::empty(), config).await;
    world.storage.put("f", Box::leak(vec![1; 12 << 20].into_boxed_slice())).await;
    assert_eq!(world.read(1, "f").await.unwrap().len(), 12 << 20);
    world.storage.fail_all(true);
    let (inode, _) = world.vfs().lookup(1, "f").await.unwrap();
    let mode = causeway_vfs::OpenMode { read: true, write: true, ..Default::default() };
    let handle = world.vfs().open(inode, mode).await.unwrap();
    world.vfs().write(handle, 0, vec![2]).await.unwrap();
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
    let filler = disk.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    while free() > reserve + 4 * MIB {
        file.write_all(&[1; 4096]).unwrap();
    }
    // Else its room is not given back when it is removed.
    drop(file);
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    world.until(|volume| volume.pending().last_error.is_some_and(|error| error.contains("disk"))).await;
    assert!(free() + MIB > reserve, "{} bytes are left", free());
    std::fs::remove_file(filler).unwrap();
    world.volume().retry().await.unwrap();
    world.drained().await;
    let stored = world.storage.stored(&Path::parse("f").unwrap()).await.unwrap();
    assert!(stored.len() == 12 << 20 && stored[0] == 2 && stored[1..].iter().all(|byte| *byte == 1));
    world.close().await;
}
