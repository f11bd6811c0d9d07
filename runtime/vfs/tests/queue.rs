//! A long queue: nothing is lost, look-ups stay quick, and a storage that comes back gets everything.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use causeway_storage::{Can, Path};
use causeway_vfs::VfsConfig;
use futures::stream::{self, StreamExt};

mod faulty;
mod world;
use world::World;

const FILES: usize = 10_000;

// semantics: Files that are written meanwhile are uploaded later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_files_closed_while_the_storage_is_down_are_all_uploaded_later() {
    let directory = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    let directory = tempfile::tempdir_in(directory).unwrap();
    let mut world =
        World::on(directory.path(), Can::empty(), VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() })
            .await;
    let root = world.vfs().open_directory(1).await.unwrap();
    assert!(world.vfs().read_directory(root, 0).await.unwrap().0.is_empty());
    world.storage.fail_all(true);
    let write = |number: usize| {
        let world = &world;
        async move { world.write(1, &format!("f{number:05}"), format!("content {number}").as_bytes()).await.unwrap() }
    };
    stream::iter(0..FILES).map(write).buffer_unordered(64).collect::<Vec<()>>().await;
    assert_eq!(world.volume().pending().files, FILES as u64);
    let began = Instant::now();
    for number in 0..FILES {
        world.vfs().lookup(1, &format!("f{number:05}")).await.unwrap();
    }
    println!("a look-up with {FILES} uploads pending took {:?}", began.elapsed() / FILES as u32);
    world.reopen().await;
    assert_eq!(world.volume().pending().files, FILES as u64);
    world.storage.fail_all(false);
    let began = Instant::now();
    world.volume().retry().await.unwrap();
    let pending = world.volume().drain(Duration::from_secs(300)).await;
    assert_eq!(pending.changes, 0, "{pending:?}");
    println!("{FILES} uploads took {:?}", began.elapsed());
    for number in 0..FILES {
        let stored = world.storage.stored(&Path::parse(&format!("f{number:05}")).unwrap()).await;
        assert_eq!(stored.unwrap(), format!("content {number}").as_bytes());
    }
    world.close().await;
}
