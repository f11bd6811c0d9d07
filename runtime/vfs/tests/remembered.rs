//! What is known survives a restart: it is shown as if there had been none, and with nobody there to ask.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use causeway_storage::{Can, ErrorKind, Path};
use causeway_vfs::{CacheMode, OpenMode, VfsConfig, VfsError};

mod faulty;
mod world;
use world::World;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn cached() -> VfsConfig {
    VfsConfig { cache_mode: CacheMode::Full, ..VfsConfig::default() }
}

/// What a mount shows is old at once.
fn impatient() -> VfsConfig {
    VfsConfig { dir_cache_time_ms: 0, ..cached() }
}

fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, VfsError>) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, VfsError::Storage(error) if matches!(error.kind, ErrorKind::Unavailable(_))), "{error:?}");
}

fn is_absent<T: std::fmt::Debug>(answer: Result<T, VfsError>) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, VfsError::Storage(error) if error.kind == ErrorKind::NotFound), "{error:?}");
}

/// A storage with `d/a`, `d/b` and `d/e`, a directory, of which `d` was listed and `d/a` was read.
async fn listed(config: VfsConfig) -> World {
    let world = World::new(Can::empty(), config).await;
    for directory in ["d", "d/e"] {
        world.storage.make(directory).await;
    }
    world.storage.put("d/a", b"content of a").await;
    world.storage.put("d/b", b"content of b").await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.names(directory).await.unwrap(), ["a", "b", "e"]);
    assert_eq!(world.read(directory, "a").await.unwrap(), b"content of a");
    world
}

// semantics: What was known before a restart is known after it.
#[tokio::test]
async fn what_was_listed_is_shown_after_a_restart_without_asking() {
    let mut world = listed(cached()).await;
    world.reopen().await;
    world.storage.take_stats();
    world.storage.take_lists();
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.names(directory).await.unwrap(), ["a", "b", "e"]);
    world.vfs().lookup(directory, "b").await.unwrap();
    is_absent(world.vfs().lookup(directory, "c").await);
    assert_eq!(world.read(directory, "a").await.unwrap(), b"content of a");
    assert_eq!((world.storage.take_stats(), world.storage.take_lists()), (vec![], vec![]));
    assert_eq!(world.storage.reads().len(), 1);
}

#[tokio::test]
async fn what_is_too_old_is_asked_for_again_after_a_restart() {
    let mut world = listed(impatient()).await;
    world.reopen().await;
    world.storage.put("d/c", b"new").await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.names(directory).await.unwrap(), ["a", "b", "c", "e"]);
}

#[tokio::test]
async fn what_was_known_is_shown_after_a_restart_while_nobody_answers() {
    let mut world = listed(impatient()).await;
    world.storage.fail_all(true);
    world.reopen().await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.names(directory).await.unwrap(), ["a", "b", "e"]);
    assert_eq!(world.read(directory, "a").await.unwrap(), b"content of a");
    // Known and not here: the content cannot be read, and the file is there nevertheless.
    is_unavailable(world.read(directory, "b").await);
    let (inner, _) = world.vfs().lookup(directory, "e").await.unwrap();
    // Never listed: not empty, but unknown.
    is_unavailable(world.names(inner).await);
    is_unavailable(world.vfs().lookup(inner, "x").await);
}

#[tokio::test]
async fn nothing_old_is_shown_once_the_last_contact_is_too_long_ago() {
    let mut world = listed(impatient()).await;
    world.storage.fail_all(true);
    world.reconfigure(VfsConfig { cache_max_age_ms: 0, ..impatient() });
    world.reopen().await;
    is_unavailable(world.vfs().lookup(1, "d").await);
}

#[tokio::test]
async fn a_file_that_waits_for_upload_is_read_after_a_restart_while_nobody_answers() {
    let mut world = World::new(Can::empty(), cached()).await;
    world.storage.make("d").await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    is_absent(world.vfs().lookup(directory, "f").await);
    world.storage.fail_all(true);
    world.write(directory, "f", b"written while nobody answered").await.unwrap();
    world.close().await;
    // What was remembered is lost: the journal alone must do.
    let scope = world::open_scope(world.cache_directory()).await;
    let mut keys = Vec::new();
    scope.each_known("", |key, _| keys.push((key.to_owned(), None))).unwrap();
    assert!(!keys.is_empty());
    scope.set_known(keys).unwrap();
    drop(scope);
    world.reopen().await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.read(directory, "f").await.unwrap(), b"written while nobody answered");
    is_unavailable(world.vfs().lookup(1, "nobody knows").await);
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    world.drained().await;
    assert_eq!(world.storage.stored(&path("d/f")).await.unwrap(), b"written while nobody answered");
}

#[tokio::test]
async fn what_was_changed_here_is_not_undone_by_what_was_remembered_before() {
    let mut world = listed(cached()).await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    // Written down as it is now, and then changed.
    world.reopen().await;
    world.write(directory_of(&world).await, "new", b"x").await.unwrap();
    world.vfs().unlink(directory_of(&world).await, "b").await.unwrap();
    world.vfs().remove_directory(directory_of(&world).await, "e").await.unwrap();
    world.vfs().rename((directory_of(&world).await, "a"), (1, "moved"), false).await.unwrap();
    world.drained().await;
    assert_ne!(directory, 0);
    world.reopen().await;
    assert_eq!(world.names(directory_of(&world).await).await.unwrap(), ["new"]);
    is_absent(world.vfs().lookup(directory_of(&world).await, "b").await);
    assert_eq!(world.read(1, "moved").await.unwrap(), b"content of a");
}

async fn directory_of(world: &World) -> u64 {
    world.vfs().lookup(1, "d").await.unwrap().0
}

#[tokio::test]
async fn a_record_that_nobody_understands_is_as_if_it_were_not_there() {
    let mut world = listed(cached()).await;
    world.close().await;
    let scope = world::open_scope(world.cache_directory()).await;
    let mut keys = Vec::new();
    scope.each_known("", |key, record| keys.push((key.to_owned(), record.to_vec()))).unwrap();
    // Sound by its checksum, and cut, or something else altogether.
    let broken = keys.into_iter().enumerate().map(|(number, (key, record))| match number % 2 {
        0 => (key, Some(record[..record.len() / 2].to_vec())),
        _ => (key, Some(vec![255; record.len()])),
    });
    scope.set_known(broken.collect()).unwrap();
    drop(scope);
    world.reopen().await;
    let directory = directory_of(&world).await;
    assert_eq!(world.names(directory).await.unwrap(), ["a", "b", "e"]);
    assert_eq!(world.read(directory, "a").await.unwrap(), b"content of a");
}

#[tokio::test]
async fn a_file_edited_while_nobody_answers_is_edited_from_what_is_cached() {
    let mut world = listed(impatient()).await;
    world.storage.fail_all(true);
    world.reopen().await;
    let (number, _) = world.vfs().lookup(directory_of(&world).await, "a").await.unwrap();
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let handle = world.vfs().open(number, mode).await.unwrap();
    world.vfs().write(handle, 0, b"CONTENT".to_vec()).await.unwrap();
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    world.drained().await;
    assert_eq!(world.storage.stored(&path("d/a")).await.unwrap(), b"CONTENT of a");
}
