//! Every request ends in its time, whatever the storage does: here it answers nothing at all. Time is the runtime's own and
//! passes at once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, Error, ErrorKind, Path};
use causeway_vfs::{CacheMode, Close, OpenMode, VfsConfig, VfsError};
use futures::StreamExt;
use tokio::time::Instant;

mod faulty;
mod world;
use world::World;

const METADATA: Duration = Duration::from_secs(10);
const DATA: Duration = Duration::from_secs(60);
/// What the timers' own grain and the rounds of a wait may add.
const GRAIN: Duration = Duration::from_secs(2);

async fn fails_within<T: std::fmt::Debug>(most: Duration, request: impl Future<Output = Result<T, VfsError>>) {
    let began = Instant::now();
    let failed = tokio::time::timeout(Duration::from_secs(86_400), request).await.unwrap().unwrap_err();
    assert!(began.elapsed() <= most + GRAIN, "it took {:?}", began.elapsed());
    assert!(matches!(&failed, VfsError::Storage(error) if error.kind == ErrorKind::Unavailable(None)), "{failed:?}");
}

/// What is known is worth nothing once nobody answers.
fn forgetful() -> VfsConfig {
    VfsConfig { cache_max_age_ms: 0, ..VfsConfig::default() }
}

/// A storage with `d/f`, `d/g` and `f`, of which nothing fresh is known here any more.
async fn world(cannot: Can, config: VfsConfig) -> World {
    let mut world = World::new(cannot, VfsConfig { dir_cache_time_ms: 0, ..config }).await;
    let (directory, _) = world.vfs().make_directory(1, "d").await.unwrap();
    for (parent, name) in [(directory, "f"), (directory, "g"), (1, "f")] {
        world.write(parent, name, b"content").await.unwrap();
    }
    world.drained().await;
    world.reopen().await;
    world
}

// semantics: Names fail within ten seconds while the provider does not answer.
#[tokio::test(start_paused = true)]
async fn names_fail_within_ten_seconds() {
    let world = world(Can::empty(), forgetful()).await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    world.storage.hang(true);
    fails_within(METADATA, world.vfs().lookup(1, "nobody")).await;
    fails_within(METADATA, world.vfs().lookup(directory, "f")).await;
    fails_within(METADATA, world.vfs().make_directory(1, "new")).await;
    fails_within(METADATA, world.vfs().unlink(directory, "f")).await;
    fails_within(METADATA, world.vfs().remove_directory(1, "d")).await;
    fails_within(METADATA, world.vfs().rename((directory, "f"), (1, "x"), false)).await;
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    fails_within(METADATA, world.vfs().create(1, "new", mode, true)).await;
}

// semantics: What was known answers for a provider that does not.
#[tokio::test(start_paused = true)]
async fn what_was_known_answers_for_a_storage_that_hangs() {
    let config = VfsConfig { cache_max_age_ms: u64::MAX, ..VfsConfig::default() };
    let world = world(Can::empty(), config).await;
    let (number, shown) = world.vfs().lookup(1, "f").await.unwrap();
    world.storage.hang(true);
    let began = Instant::now();
    assert_eq!(world.vfs().attributes(number).await.unwrap(), shown);
    assert!(began.elapsed() <= METADATA + GRAIN);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_hangs_midway_is_an_error_and_no_end() {
    let world = world(Can::empty(), forgetful()).await;
    let root = world.vfs().open_directory(1).await.unwrap();
    world.storage.hang(true);
    fails_within(METADATA, world.vfs().read_directory(root, 0)).await;
    world.storage.hang(false);
    world.reachable().await;
    assert_eq!(world.vfs().read_directory(root, 0).await.unwrap().0.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn changes_that_wait_for_each_other_all_end_in_time() {
    let world = world(Can::empty(), VfsConfig::default()).await;
    world.storage.hang(true);
    let names = ["a", "b", "c", "e", "g", "h"];
    let changes = names.map(|name| fails_within(METADATA, world.vfs().make_directory(1, name)));
    futures::future::join_all(changes).await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_entry_by_entry_fails_within_ten_seconds() {
    let world = world(Can::MOVE_DIRECTORIES, forgetful()).await;
    world.vfs().lookup(1, "d").await.unwrap();
    world.storage.hang(true);
    fails_within(METADATA, world.vfs().rename((1, "d"), (1, "moved"), false)).await;
    world.storage.hang(false);
    world.reachable().await;
    world.vfs().lookup(1, "d").await.unwrap();
}

// semantics: A read without a byte fails within a minute.
#[tokio::test(start_paused = true)]
async fn a_read_without_a_byte_fails_within_a_minute() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.put("f", b"content").await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = world.vfs().open(number, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    world.storage.hang(true);
    fails_within(DATA, world.vfs().read(handle, 0, 7)).await;
    world.storage.hang(false);
    world.reachable().await;
    assert_eq!(world.vfs().read(handle, 0, 7).await.unwrap(), b"content");
}

/// Each answer brings a little: asking for the rest once more would take a minute every time.
#[tokio::test(start_paused = true)]
async fn a_read_whose_answer_falls_silent_fails_within_a_minute() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.put("f", b"content").await;
    world.storage.alter_content(Some(|body| {
        let begun = body.map(|piece| piece.map(|piece| piece.slice(..2)));
        Box::pin(begun.chain(futures::stream::pending()))
    }));
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = world.vfs().open(number, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    fails_within(DATA, world.vfs().read(handle, 0, 7)).await;
}

/// It gets on, but never there within anyone's patience: a file of a gigabyte would take a million answers.
#[tokio::test(start_paused = true)]
async fn a_read_whose_answers_break_again_and_again_fails() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.put("f", &[7; 100_000]).await;
    world.storage.alter_content(Some(|body| {
        let begun = body.take(1).map(|piece| piece.map(|piece| piece.slice(..1000)));
        let broken = futures::stream::once(async {
            // The reader sees what came before.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Err(Error::new(ErrorKind::Unavailable(None), "broken"))
        });
        Box::pin(begun.chain(broken))
    }));
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = world.vfs().open(number, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    fails_within(DATA, world.vfs().read(handle, 0, 100_000)).await;
    assert_eq!(world.storage.reads().len(), 4);
    world.storage.alter_content(None);
    assert_eq!(world.vfs().read(handle, 0, 100_000).await.unwrap(), [7; 100_000]);
}

/// Nobody tells the reader how it went: it must not ask for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_answer_panics_fails() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.put("f", b"content").await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = world.vfs().open(number, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    world.storage.alter_content(Some(|_| Box::pin(futures::stream::once(async { panic!("as the test wants it") }))));
    let read = tokio::time::timeout(Duration::from_secs(30), world.vfs().read(handle, 0, 7)).await;
    read.expect("it goes on for ever").unwrap_err();
    world.storage.alter_content(None);
    assert_eq!(world.vfs().read(handle, 0, 7).await.unwrap(), b"content");
}

#[tokio::test(start_paused = true)]
async fn opening_and_writing_need_no_storage_once_the_name_is_known() {
    let world = world(Can::empty(), VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() }).await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    world.storage.hang(true);
    let handle = world.vfs().open(number, OpenMode { write: true, ..OpenMode::default() }).await.unwrap();
    world.vfs().write(handle, 0, b"CONTENT".to_vec()).await.unwrap();
    world.vfs().flush(handle).await.unwrap();
    world.vfs().fsync(handle).await.unwrap();
    world.vfs().release(handle).await;
}

async fn close_waits_a_minute_and_loses_nothing(config: VfsConfig) {
    let mut world = World::new(Can::empty(), VfsConfig { dir_cache_time_ms: u64::MAX, ..config }).await;
    world.vfs().lookup(1, "known to be absent").await.unwrap_err();
    world.vfs().lookup(1, "f").await.unwrap_err();
    world.storage.hang(true);
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let (_, _, handle) = world.vfs().create(1, "f", mode, true).await.unwrap();
    world.vfs().write(handle, 0, b"kept".to_vec()).await.unwrap();
    // How long the disk takes is not in the runtime's time: while it syncs, hours pass.
    world.vfs().fsync(handle).await.unwrap();
    fails_within(DATA, world.vfs().flush(handle)).await;
    world.vfs().release(handle).await;
    assert_eq!(world.volume().pending().files, 1);
    world.storage.hang(false);
    world.reopen().await;
    world.drained().await;
    assert_eq!(world.storage.stored(&Path::parse("f").unwrap()).await.unwrap(), b"kept");
}

// semantics: Where a close waits for the upload, it fails after a minute without progress, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_close_that_waits_for_the_upload_ends_within_a_minute_without_progress() {
    close_waits_a_minute_and_loses_nothing(VfsConfig { close: Close::Uploaded, ..VfsConfig::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_in_mode_off_ends_within_a_minute_without_progress() {
    close_waits_a_minute_and_loses_nothing(VfsConfig { cache_mode: CacheMode::Off, ..VfsConfig::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_in_mode_minimal_ends_within_a_minute_without_progress() {
    close_waits_a_minute_and_loses_nothing(VfsConfig { cache_mode: CacheMode::Minimal, ..VfsConfig::default() }).await;
}

#[tokio::test(start_paused = true)]
async fn room_is_told_within_a_second_as_it_was_last_known() {
    let world = world(Can::empty(), VfsConfig::default()).await;
    let known = world.vfs().room().await.unwrap();
    world.storage.hang(true);
    let began = Instant::now();
    assert_eq!(world.vfs().room().await, Some(known));
    assert!(began.elapsed() <= Duration::from_secs(1) + GRAIN);
}

#[tokio::test(start_paused = true)]
async fn uploads_that_hang_are_given_up_and_tried_again() {
    let world = World::new(Can::empty(), VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() }).await;
    let names = ["u0", "u1", "u2", "u3", "u4"];
    for name in names {
        world.vfs().lookup(1, name).await.unwrap_err();
    }
    world.storage.hang(true);
    for name in names {
        world.write(1, name, b"late").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.storage.hang(false);
    world.drained().await;
    for name in names {
        assert_eq!(world.storage.stored(&Path::parse(name).unwrap()).await.unwrap(), b"late");
    }
}

/// In real time: a wait for the disk would not hold the runtime's own.
#[tokio::test]
async fn a_rename_by_copy_that_is_given_up_leaves_no_copy_behind() {
    let known = VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() };
    let mut world = World::new(Can::MOVE | Can::COPY, known).await;
    world.storage.put("f", b"content").await;
    world.vfs().lookup(1, "f").await.unwrap();
    world.vfs().lookup(1, "g").await.unwrap_err();
    let content = world.cache_directory().join("content");
    let copies = || {
        let files = std::fs::read_dir(&content).unwrap().map(|file| file.unwrap().file_name());
        files.filter(|name| name.to_string_lossy().starts_with("s-")).count()
    };
    world.storage.hang(true);
    world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
    world.until(|_| copies() > 0).await;
    world.close().await;
    assert_eq!(copies(), 0);
}
