//! A change that happened and whose answer got lost is done: no conflict, no copy, nothing undone and nothing twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, Path, Storage, Timestamp};
use causeway_vfs::{SetAttributes, VfsConfig};

mod faulty;
mod world;
use world::World;

const TIME: Timestamp = Timestamp { seconds: 1_000_000_000, nanoseconds: 5 };

/// A world in which `f` and the empty directory `d` are stored, and the next change's answer will get lost.
async fn world(cannot: Can) -> World {
    let world = World::new(cannot, VfsConfig::default()).await;
    world.write(1, "f", b"content").await.unwrap();
    world.vfs().make_directory(1, "d").await.unwrap();
    world.drained().await;
    world.storage.lose_next();
    world
}

/// Everything is done and quiet, and the lost answer was one of those that were given.
async fn is_done(world: &World) {
    let pending = world.volume().drain(Duration::from_secs(30)).await;
    assert_eq!(pending.changes, 0, "{pending:?}");
    assert!(world.storage.has_lost());
    assert_eq!(world.volume().events(), []);
}

async fn names(world: &World) -> Vec<String> {
    let page = world.storage.list(&Path::ROOT, None).await.unwrap();
    let mut names: Vec<_> = page.entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

async fn stored(world: &World, path: &str) -> Option<Vec<u8>> {
    world.storage.stored(&Path::parse(path).unwrap()).await
}

#[tokio::test]
async fn a_new_file_is_written_once() {
    let world = world(Can::empty()).await;
    world.write(1, "new", b"new").await.unwrap();
    is_done(&world).await;
    assert_eq!(stored(&world, "new").await.unwrap(), b"new");
    assert_eq!(names(&world).await, ["d", "f", "new"]);
}

// semantics: An answer of the provider that got lost is no conflict.
#[tokio::test]
async fn a_replaced_file_is_no_conflict() {
    let world = world(Can::empty()).await;
    world.write(1, "f", b"CONTENT").await.unwrap();
    is_done(&world).await;
    assert_eq!(stored(&world, "f").await.unwrap(), b"CONTENT");
    assert_eq!(names(&world).await, ["d", "f"]);
}

#[tokio::test]
async fn a_replaced_file_is_no_conflict_where_the_storage_checks_no_version() {
    let world = world(Can::CONDITIONAL).await;
    world.write(1, "f", b"CONTENT").await.unwrap();
    is_done(&world).await;
    assert_eq!(stored(&world, "f").await.unwrap(), b"CONTENT");
    assert_eq!(names(&world).await, ["d", "f"]);
}

#[tokio::test]
async fn a_digest_that_the_storage_shows_spares_reading_back() {
    let world = world(Can::empty()).await;
    world.storage.show_digests();
    world.write(1, "f", b"CONTENT").await.unwrap();
    is_done(&world).await;
    assert_eq!(names(&world).await, ["d", "f"]);
    assert_eq!(world.storage.reads(), []);
}

#[tokio::test]
async fn a_digest_of_another_content_is_a_conflict() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.write(1, "f", b"content").await.unwrap();
    world.drained().await;
    world.storage.show_digests();
    world.storage.put("f", b"THEIRS!").await;
    world.write(1, "f", b"CONTENT").await.unwrap();
    world.drained().await;
    assert_eq!(stored(&world, "f").await.unwrap(), b"THEIRS!");
    let names = names(&world).await;
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(world.storage.reads(), []);
}

#[tokio::test]
async fn a_removed_file_is_gone() {
    let world = world(Can::empty()).await;
    world.vfs().unlink(1, "f").await.unwrap();
    is_done(&world).await;
    assert_eq!(names(&world).await, ["d"]);
}

#[tokio::test]
async fn a_made_directory_stands() {
    let world = world(Can::empty()).await;
    world.vfs().make_directory(1, "new").await.unwrap();
    is_done(&world).await;
    assert_eq!(names(&world).await, ["d", "f", "new"]);
}

#[tokio::test]
async fn a_removed_directory_is_gone() {
    let world = world(Can::empty()).await;
    world.vfs().remove_directory(1, "d").await.unwrap();
    is_done(&world).await;
    assert_eq!(names(&world).await, ["f"]);
}

async fn a_rename_is_made(cannot: Can) {
    let world = world(cannot).await;
    world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
    is_done(&world).await;
    assert_eq!(stored(&world, "g").await.unwrap(), b"content");
    assert_eq!(names(&world).await, ["d", "g"]);
}

#[tokio::test]
async fn a_renamed_file_is_at_its_new_place() {
    a_rename_is_made(Can::empty()).await;
}

#[tokio::test]
async fn a_file_renamed_by_copy_is_at_its_new_place() {
    a_rename_is_made(Can::MOVE).await;
}

#[tokio::test]
async fn a_file_renamed_by_writing_it_anew_is_at_its_new_place() {
    a_rename_is_made(Can::MOVE | Can::COPY).await;
}

#[tokio::test]
async fn a_renamed_directory_is_at_its_new_place() {
    let world = world(Can::empty()).await;
    world.vfs().rename((1, "d"), (1, "e"), false).await.unwrap();
    is_done(&world).await;
    assert_eq!(names(&world).await, ["e", "f"]);
}

#[tokio::test]
async fn a_time_that_was_set_stays_set() {
    let world = world(Can::empty()).await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let set = SetAttributes { modified: Some(TIME), ..SetAttributes::default() };
    world.vfs().set_attributes(number, None, set).await.unwrap();
    is_done(&world).await;
    assert_eq!(world.vfs().attributes(number).await.unwrap().modified, Some(TIME));
    assert_eq!(world.storage.stat(&Path::parse("f").unwrap()).await.unwrap().unwrap().modified, Some(TIME));
}
