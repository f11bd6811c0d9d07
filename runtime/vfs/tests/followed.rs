//! Who has a file open goes on with it when it gets another name, or none, or another time where that is part of the version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, Path, Timestamp};
use causeway_vfs::{OpenMode, SetAttributes, VfsConfig};

mod faulty;
mod world;
use world::World;

const TIME: Timestamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 5 };

/// More than a read of its beginning fetches.
const SIZE: usize = 1 << 20;

/// A storage whose versions contain the time, with a large file `f` that is open: its number, and the handle.
async fn world() -> (World, u64, u64) {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.time_versions();
    world.storage.put("f", Box::leak(vec![7; SIZE].into_boxed_slice())).await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = open(&world, number).await;
    (world, number, handle)
}

async fn open(world: &World, number: u64) -> u64 {
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    world.vfs().open(number, mode).await.unwrap()
}

async fn touch(world: &World, number: u64) {
    let set = SetAttributes { modified: Some(TIME), ..SetAttributes::default() };
    world.vfs().set_attributes(number, None, set).await.unwrap();
}

async fn close(world: &World, handle: u64) {
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
}

/// Everything went as asked for, and the one file has these bytes at its beginning.
async fn has_become(world: &World, name: &str, beginning: &[u8]) {
    let pending = world.volume().drain(Duration::from_secs(30)).await;
    assert_eq!(pending.changes, 0, "{pending:?}");
    assert_eq!(world.volume().events(), []);
    let all = world.storage.everything().await;
    assert_eq!(all.keys().collect::<Vec<_>>(), [name]);
    let stored = world.storage.stored(&Path::parse(name).unwrap()).await.unwrap();
    let mut wanted = vec![7; SIZE];
    wanted[..beginning.len()].copy_from_slice(beginning);
    assert!(stored == wanted);
}

#[tokio::test]
async fn an_edit_of_what_has_yet_to_get_its_time_is_uploaded() {
    let (world, number, handle) = world().await;
    world.storage.fail_all(true);
    touch(&world, number).await;
    world.vfs().write(handle, 0, b"mine".to_vec()).await.unwrap();
    close(&world, handle).await;
    world.storage.fail_all(false);
    world.reachable().await;
    has_become(&world, "f", b"mine").await;
}

#[tokio::test]
async fn an_edit_of_what_got_its_time_meanwhile_is_no_conflict() {
    for restarts in [false, true] {
        let (mut world, number, handle) = world().await;
        touch(&world, number).await;
        world.drained().await;
        world.storage.fail_all(true);
        world.vfs().write(handle, 0, b"mine".to_vec()).await.unwrap();
        close(&world, handle).await;
        if restarts {
            world.reopen().await;
        }
        world.storage.fail_all(false);
        world.reachable().await;
        has_become(&world, "f", b"mine").await;
    }
}

#[tokio::test]
async fn a_reader_reads_on_when_the_file_gets_a_time() {
    let (world, number, handle) = world().await;
    assert_eq!(world.vfs().read(handle, 0, 4).await.unwrap(), [7; 4]);
    touch(&world, number).await;
    world.drained().await;
    assert!(world.vfs().read(handle, 0, SIZE as u32).await.unwrap() == [7; SIZE]);
    world.vfs().release(handle).await;
}

#[tokio::test]
async fn all_who_have_a_file_open_see_one_file_whatever_name_or_time_it_got_between_their_opens() {
    let (world, number, first) = world().await;
    touch(&world, number).await;
    world.drained().await;
    let second = open(&world, number).await;
    world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
    world.drained().await;
    let third = open(&world, world.vfs().lookup(1, "g").await.unwrap().0).await;
    for (at, handle) in [(0, first), (1, second), (2, third)] {
        world.vfs().write(handle, at, vec![at as u8]).await.unwrap();
    }
    assert_eq!(world.vfs().read(first, 0, 4).await.unwrap(), [0, 1, 2, 7]);
    for handle in [first, second, third] {
        close(&world, handle).await;
    }
    has_become(&world, "g", &[0, 1, 2]).await;
}

#[tokio::test]
async fn an_edit_without_a_name_keeps_what_it_began_from_when_that_is_uploaded() {
    for replaced in [false, true] {
        let world = World::new(Can::empty(), VfsConfig::default()).await;
        world.write(1, "g", b"other").await.unwrap();
        world.drained().await;
        world.vfs().lookup(1, "f").await.unwrap_err();
        world.storage.fail_all(true);
        world.write(1, "f", b"content").await.unwrap();
        world.until(|volume| volume.pending().last_error.is_some()).await;
        let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
        let handle = open(&world, number).await;
        world.vfs().write(handle, 0, b"C".to_vec()).await.unwrap();
        match replaced {
            true => world.vfs().rename((1, "g"), (1, "f"), false).await.unwrap(),
            false => world.vfs().unlink(1, "f").await.unwrap(),
        }
        world.storage.fail_all(false);
        world.reachable().await;
        world.drained().await;
        assert_eq!(world.vfs().read(handle, 0, 10).await.unwrap(), b"Content");
        world.vfs().write(handle, 1, b"O".to_vec()).await.unwrap();
        assert_eq!(world.vfs().read(handle, 0, 10).await.unwrap(), b"COntent");
        close(&world, handle).await;
    }
}
