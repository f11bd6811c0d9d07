//! What was not uploaded can be taken along when a backend goes, and an edit whose base is gone is neither lost nor hidden.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, Path};
use causeway_vfs::{CacheMode, OpenMode, VfsConfig};

mod faulty;
mod world;
use world::World;

/// What someone else stored.
static LARGE: [u8; 3 << 20] = [1; 3 << 20];

/// Writes `bytes` at `offset` of an existing file and closes it.
async fn edit(world: &World, name: &str, offset: u64, bytes: &[u8]) {
    let (number, _) = world.vfs().lookup(1, name).await.unwrap();
    let handle = world.vfs().open(number, OpenMode { read: true, write: true, ..OpenMode::default() }).await.unwrap();
    world.vfs().write(handle, offset, bytes.to_vec()).await.unwrap();
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
}

async fn stored(world: &World, path: &str) -> Option<Vec<u8>> {
    world.storage.stored(&Path::parse(path).unwrap()).await
}

#[tokio::test]
async fn everything_pending_becomes_files_and_an_account() {
    let mut world = World::new(Can::empty(), VfsConfig::default()).await;
    world.write(1, "old", b"stored").await.unwrap();
    let (directory, _) = world.vfs().make_directory(1, "d").await.unwrap();
    world.drained().await;
    for (parent, name) in [(directory, "new"), (1, "tmp"), (1, "doc"), (1, "made")] {
        world.vfs().lookup(parent, name).await.unwrap_err();
    }
    world.storage.fail_all(true);
    world.write(directory, "new", b"not uploaded").await.unwrap();
    world.write(1, "tmp", b"renamed").await.unwrap();
    world.vfs().rename((1, "tmp"), (1, "doc"), false).await.unwrap();
    edit(&world, "old", 0, b"ST").await;
    world.vfs().make_directory(1, "made").await.unwrap();
    let place = world.directory().join("aside");
    let aside = world.volume().set_aside(&place).await.unwrap();
    assert_eq!((aside.complete, aside.incomplete, aside.others), (3, 0, 1), "{aside:?}");
    assert_eq!(std::fs::read(place.join("files/d/new")).unwrap(), b"not uploaded");
    assert_eq!(std::fs::read(place.join("files/doc")).unwrap(), b"renamed");
    assert_eq!(std::fs::read(place.join("files/old")).unwrap(), b"STored");
    let account = std::fs::read_to_string(place.join("account.txt")).unwrap();
    assert!(account.contains("not made: the directory made"), "{account}");
    assert_eq!(world.volume().pending().changes, 0);
    world.storage.fail_all(false);
    world.reopen().await;
    world.drained().await;
    assert_eq!(stored(&world, "old").await.unwrap(), b"stored");
    assert_eq!(stored(&world, "doc").await, None);
}

#[tokio::test]
async fn what_cannot_be_completed_is_kept_and_told() {
    let config = VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() };
    let mut world = World::new(Can::empty(), config).await;
    world.storage.put("f", &LARGE).await;
    world.vfs().lookup(1, "f").await.unwrap();
    world.storage.fail_all(true);
    edit(&world, "f", 10, b"mine").await;
    let place = world.directory().join("aside");
    let aside = world.volume().set_aside(&place).await.unwrap();
    assert_eq!((aside.complete, aside.incomplete), (0, 1));
    let kept = std::fs::read(place.join("files/f (incomplete)")).unwrap();
    assert_eq!(&kept[10..14], b"mine");
    let account = std::fs::read_to_string(place.join("account.txt")).unwrap();
    assert!(account.contains("bytes 0-10, 14-3145728 are the provider's"), "{account}");
    world.close().await;
}

#[tokio::test]
async fn two_contents_of_one_name_are_both_kept() {
    let mut world = World::new(Can::empty(), VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() }).await;
    for name in ["f", "f2"] {
        world.vfs().lookup(1, name).await.unwrap_err();
    }
    world.storage.hang(true);
    world.write(1, "f", b"first").await.unwrap();
    // Its upload begins and hangs: the next write is a generation of its own.
    while world.storage.hung() == 0 {
        tokio::task::yield_now().await;
    }
    edit(&world, "f", 0, b"SECOND").await;
    let place = world.directory().join("aside");
    let aside = world.volume().set_aside(&place).await.unwrap();
    assert_eq!((aside.complete, aside.incomplete), (2, 0));
    assert_eq!(std::fs::read(place.join("files/f")).unwrap(), b"SECOND");
    assert_eq!(std::fs::read(place.join("files/f (earlier 2)")).unwrap(), b"first");
    world.close().await;
}

#[tokio::test]
async fn an_edit_of_what_was_read_before_becomes_a_conflict_copy() {
    let config = VfsConfig { cache_mode: CacheMode::Full, ..VfsConfig::default() };
    let world = World::new(Can::empty(), config).await;
    world.write(1, "f", b"content").await.unwrap();
    world.drained().await;
    world.storage.put("f", b"THEIRS").await;
    edit(&world, "f", 0, b"MINE").await;
    world.drained().await;
    assert_eq!(stored(&world, "f").await.unwrap(), b"THEIRS");
    let events = world.volume().events();
    assert_eq!(events.len(), 1);
    let copy = events[0].message.rsplit_once("is ").unwrap().1;
    assert_eq!(stored(&world, copy).await.unwrap(), b"MINEent");
}

#[tokio::test]
async fn an_edit_whose_base_is_gone_stays_visible_and_can_be_taken_along() {
    let config = VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() };
    let mut world = World::new(Can::empty(), config).await;
    world.storage.put("f", &LARGE).await;
    world.vfs().lookup(1, "f").await.unwrap();
    world.storage.put("f", b"THEIRS").await;
    edit(&world, "f", 10, b"mine").await;
    world.volume().drain(Duration::from_secs(2)).await;
    let pending = world.volume().pending();
    assert_eq!((pending.changes, pending.blocked), (1, 1));
    assert!(pending.last_error.unwrap().contains("is gone"));
    assert_eq!(stored(&world, "f").await.unwrap(), b"THEIRS");
    let place = world.directory().join("aside");
    let aside = world.volume().set_aside(&place).await.unwrap();
    assert_eq!((aside.complete, aside.incomplete), (0, 1));
    world.close().await;
}
