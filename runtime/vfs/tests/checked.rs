//! Content that fails the check at the end of its answer is shown to nobody and kept nowhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use causeway_storage::{Body, Can, Error, ErrorKind, Result};
use causeway_vfs::{CacheMode, OpenMode, VfsConfig, VfsError};
use futures::StreamExt;

mod faulty;
mod world;
use world::World;

/// More than is written at once.
const SIZE: usize = 3 << 20;

async fn world() -> (World, u64) {
    let world = World::new(Can::empty(), VfsConfig { cache_mode: CacheMode::Full, ..VfsConfig::default() }).await;
    world.storage.put("f", Box::leak(vec![7; SIZE].into_boxed_slice())).await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    let handle = world.vfs().open(number, OpenMode { read: true, ..OpenMode::default() }).await.unwrap();
    (world, handle)
}

fn in_pieces(body: Body) -> impl futures::Stream<Item = Result<bytes::Bytes>> + Send {
    body.flat_map(|piece| {
        let piece = piece.unwrap();
        futures::stream::iter((0..piece.len()).step_by(1 << 20).map(move |at| Ok(piece.slice(at..at + (1 << 20)))))
    })
}

async fn read(world: &World, handle: u64) -> Result<Vec<u8>, VfsError> {
    world.vfs().read(handle, 0, SIZE as u32).await
}

#[tokio::test]
async fn content_that_fails_its_check_is_not_shown_and_is_asked_for_again() {
    let (world, handle) = world().await;
    world.storage.alter_content(Some(|body| {
        let spoilt = Error::new(ErrorKind::Corrupt, "it does not have the digest that was told");
        Box::pin(in_pieces(body).chain(futures::stream::iter([Err(spoilt)])))
    }));
    for _ in 0..2 {
        let error = read(&world, handle).await.unwrap_err();
        assert!(matches!(&error, VfsError::Storage(error) if error.kind == ErrorKind::Corrupt), "{error:?}");
        assert!(world.vfs().read_now(handle, 0, &mut [0; 16]).is_none());
        assert!(world.vfs().lend(handle).is_none());
    }
    world.storage.alter_content(None);
    assert!(read(&world, handle).await.unwrap() == [7; SIZE]);
    assert!(world.vfs().lend(handle).is_some());
}

#[tokio::test]
async fn the_end_of_an_answer_that_has_not_ended_is_not_shown() {
    let (world, handle) = world().await;
    world.storage.alter_content(Some(|body| Box::pin(in_pieces(body).chain(futures::stream::pending()))));
    let vfs = world.vfs().clone();
    let reading = tokio::spawn(async move { vfs.read(handle, 0, SIZE as u32).await });
    // What came before is there.
    while world.vfs().read_now(handle, (1 << 20) - 1, &mut [0; 2]).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(world.vfs().read_now(handle, SIZE as u64 - 1, &mut [0]).is_none());
    assert!(world.vfs().lend(handle).is_none());
    reading.abort();
}
