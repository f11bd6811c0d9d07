//! What the cache may hold, and who sees it: what does not fit is refused, and mounts of one backend share everything.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, ErrorKind, Path};
use causeway_vfs::{CacheMode, OpenMode, Vfs, VfsConfig, VfsError};

mod faulty;
mod world;
use world::World;

fn at_most(mebibytes: u64) -> VfsConfig {
    let cache_max_size = Some(mebibytes << 20);
    VfsConfig { cache_mode: CacheMode::Full, cache_max_size, dir_cache_time_ms: u64::MAX, ..VfsConfig::default() }
}

// semantics: What the cache has no room for is refused, and what was acknowledged is uploaded all the same.
/// Time is the runtime's own: nothing is uploaded, so the write waits in vain.
#[tokio::test(start_paused = true)]
async fn more_than_fits_is_refused_and_what_was_acknowledged_is_uploaded() {
    let world = World::new(Can::empty(), at_most(8)).await;
    world.vfs().lookup(1, "f").await.unwrap_err();
    world.storage.fail_all(true);
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let (_, _, handle) = world.vfs().create(1, "f", mode, true).await.unwrap();
    let mut written = 0;
    let refused = loop {
        match world.vfs().write(handle, written, vec![7; 1 << 20]).await {
            Ok(()) => written += 1 << 20,
            Err(error) => break error,
        }
        assert!(written <= 8 << 20);
    };
    assert!(matches!(&refused, VfsError::Storage(error) if error.kind == ErrorKind::QuotaExceeded), "{refused:?}");
    assert!(written >= 7 << 20, "{written}");
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    world.drained().await;
    assert_eq!(world.storage.stored(&Path::parse("f").unwrap()).await.unwrap().len() as u64, written);
}

#[tokio::test]
async fn two_mounts_of_one_backend_see_each_others_changes_at_once() {
    let world = World::new(Can::empty(), at_most(64)).await;
    let other = Vfs::new(world.volume().clone(), at_most(64));
    other.lookup(1, "f").await.unwrap_err();
    world.storage.fail_all(true);
    world.write(1, "f", b"first").await.unwrap();
    assert_eq!(other.lookup(1, "f").await.unwrap().1.size, 5);
    other.unlink(1, "f").await.unwrap();
    assert!(world.vfs().lookup(1, "f").await.is_err());
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    world.drained().await;
}

/// A storage whose `f` has three times the room of one request, and the cache's room several times.
async fn with_large_file() -> (World, &'static [u8]) {
    let world = World::new(Can::empty(), at_most(4)).await;
    let content: &'static [u8] = Box::leak(vec![1; 24 << 20].into_boxed_slice());
    world.storage.put("f", content).await;
    (world, content)
}

/// Everything is done soon, and little more was fetched than this.
async fn is_done(world: &World, fetched: usize) {
    let pending = world.volume().drain(Duration::from_secs(60)).await;
    assert_eq!(pending.changes, 0, "{pending:?}");
    let read: u64 = world.storage.reads().iter().map(|span| span.size).sum();
    assert!(read <= fetched as u64 + (8 << 20), "{read}");
}

#[tokio::test]
async fn an_edit_is_uploaded_although_its_base_does_not_fit_beside_it() {
    let (world, base) = with_large_file().await;
    let (inode, _) = world.vfs().lookup(1, "f").await.unwrap();
    world.storage.fail_all(true);
    let mode = OpenMode { read: false, write: true, ..OpenMode::default() };
    let handle = world.vfs().open(inode, mode).await.unwrap();
    for mebibyte in 0..3 {
        world.vfs().write(handle, mebibyte << 20, vec![2; 1 << 20]).await.unwrap();
    }
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    is_done(&world, base.len()).await;
    let stored = world.storage.stored(&Path::parse("f").unwrap()).await.unwrap();
    assert!(stored[..3 << 20].iter().all(|byte| *byte == 2) && stored[3 << 20..].iter().all(|byte| *byte == 1));
    assert_eq!(stored.len(), base.len());
}

#[tokio::test]
async fn a_file_that_is_read_and_does_not_fit_is_removed_all_the_same() {
    let (world, content) = with_large_file().await;
    let (inode, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = world.vfs().open(inode, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    world.vfs().unlink(1, "f").await.unwrap();
    is_done(&world, content.len()).await;
    assert_eq!(world.storage.stored(&Path::parse("f").unwrap()).await, None);
    world.vfs().release(handle).await;
}
