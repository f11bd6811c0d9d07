//! What is asked of the provider: each thing once, one entry for one entry, a list where that is cheaper, and nothing while
//! nobody answers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, ErrorKind, Path};
use causeway_vfs::{VfsConfig, VfsError};
use futures::future::join_all;
use tokio::time::Instant;

mod faulty;
mod world;
use world::World;

fn kind(error: &VfsError) -> ErrorKind {
    match error {
        VfsError::Storage(error) => error.kind,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hundred_who_ask_for_one_path_ask_the_provider_once() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.put("f", b"x").await;
    world.storage.take_stats();
    let asked = join_all((0..100).map(|_| world.vfs().lookup(1, "f"))).await;
    assert!(asked.iter().all(|answer| answer.as_ref().unwrap().1.size == 1));
    assert_eq!(world.storage.take_stats(), [Path::parse("f").unwrap()]);
    let asked = join_all((0..100).map(|_| world.vfs().lookup(1, "absent"))).await;
    assert!(asked.iter().all(|answer| kind(answer.as_ref().unwrap_err()) == ErrorKind::NotFound));
    world.vfs().lookup(1, "absent").await.unwrap_err();
    assert_eq!(world.storage.take_stats(), [Path::parse("absent").unwrap()]);
    assert_eq!(world.storage.take_lists(), []);
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_one_that_gave_up_is_answered() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.put("f", b"x").await;
    world.storage.hang(true);
    let given_up = tokio::time::timeout(Duration::from_secs(1), world.vfs().lookup(1, "f"));
    let late = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.storage.hang(false);
        world.vfs().lookup(1, "f").await
    };
    let (given_up, late) = tokio::join!(given_up, late);
    given_up.unwrap_err();
    assert_eq!(late.unwrap().1.size, 1);
}

#[tokio::test(start_paused = true)]
async fn many_stats_in_one_directory_become_one_list() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.populate(100).await;
    for number in 0..100 {
        world.vfs().lookup(1, &format!("f{number:06}")).await.unwrap();
        world.vfs().lookup(1, &format!("absent{number}")).await.unwrap_err();
    }
    assert_eq!((world.storage.take_stats().len(), world.storage.take_lists().len()), (8, 1));
}

#[tokio::test(start_paused = true)]
async fn few_stats_in_one_directory_list_nothing() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.populate(100).await;
    for number in 0..100 {
        world.vfs().lookup(1, &format!("f{number:06}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!((world.storage.take_stats().len(), world.storage.take_lists().len()), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn while_nobody_answers_nothing_is_asked_and_nobody_waits() {
    let config = VfsConfig { dir_cache_time_ms: 60_000, cache_max_age_ms: u64::MAX, ..VfsConfig::default() };
    let world = World::new(Can::empty(), config).await;
    world.storage.put("f", b"x").await;
    assert_eq!(world.names(1).await.unwrap(), ["f"]);
    assert!(world.volume().reachable() && world.volume().outage().is_none());
    tokio::time::sleep(Duration::from_secs(120)).await;
    world.storage.hang(true);
    // The first one finds out.
    world.vfs().lookup(1, "f").await.unwrap();
    assert!(!world.volume().reachable());
    let asked = world.storage.hung();
    let began = Instant::now();
    for _ in 0..100 {
        world.vfs().lookup(1, "f").await.unwrap();
        assert_eq!(world.names(1).await.unwrap(), ["f"]);
        // It was not there, as far as anybody knows, so it can be made.
        assert_eq!(kind(&world.vfs().lookup(1, "g").await.unwrap_err()), ErrorKind::NotFound);
    }
    assert!(world.vfs().room().await.is_none());
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(world.storage.hung(), asked);
    world.write(1, "g", b"waits").await.unwrap();
    assert_eq!(world.volume().pending().files, 1);
    assert!(world.volume().outage().unwrap().error.message.contains("does not answer"));
    world.storage.hang(false);
    world.reachable().await;
    world.drained().await;
    assert_eq!(world.storage.stored(&Path::parse("g").unwrap()).await.unwrap(), b"waits");
}

#[tokio::test(start_paused = true)]
async fn what_never_was_known_is_an_error_while_nobody_answers() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.fail_all(true);
    for name in ["a", "b", "c", "d", "e"] {
        assert!(matches!(kind(&world.vfs().lookup(1, name).await.unwrap_err()), ErrorKind::Unavailable(_)), "{name}");
    }
    assert!(!world.volume().reachable());
    assert!(matches!(kind(&world.names(1).await.unwrap_err()), ErrorKind::Unavailable(_)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_is_an_answer() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    for number in 0..50 {
        assert_eq!(kind(&world.vfs().lookup(1, &format!("absent{number}")).await.unwrap_err()), ErrorKind::NotFound);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(world.volume().reachable());
}
