//! What is pinned is fetched by itself as far as there is room, is not evicted, and is shown while nobody answers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, Change, Path};
use causeway_vfs::{CacheMode, VfsConfig, Volume};

mod faulty;
mod world;
use world::World;

const MIB: usize = 1 << 20;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn paths(texts: &[&str]) -> Vec<Path> {
    texts.iter().map(|text| path(text)).collect()
}

/// Nothing is kept that is not pinned.
fn kept_by_nobody() -> VfsConfig {
    VfsConfig { cache_mode: CacheMode::Off, cache_max_age_ms: 0, ..VfsConfig::default() }
}

fn large(seed: u8) -> &'static [u8] {
    Box::leak(vec![seed; 9 * MIB].into_boxed_slice())
}

/// A storage with `d/a`, of nine mebibytes, `d/e/b` and `other`.
async fn world(config: VfsConfig) -> World {
    let world = World::fed(config).await;
    world.storage.make("d").await;
    world.storage.make("d/e").await;
    world.storage.put("d/a", large(1)).await;
    world.storage.put("d/e/b", b"content of b").await;
    world.storage.put("other", b"content of another").await;
    world
}

fn is_here(volume: &Volume, owner: &str, bytes: u64) -> bool {
    let pins = volume.pins(owner);
    let sums = pins.iter().fold((0, 0), |(here, to_go), pin| (here + pin.bytes, to_go + pin.bytes_to_go));
    assert!(pins.iter().all(|pin| pin.error.is_none()), "{pins:?}");
    sums == (bytes, 0)
}

const ALL: u64 = 9 * MIB as u64 + 12;

// semantics: What is pinned is fetched as a whole, and read while the provider does not answer, also after a restart.
#[tokio::test]
async fn a_pinned_directory_is_fetched_as_a_whole_and_read_after_a_restart_while_nobody_answers() {
    let mut world = world(kept_by_nobody()).await;
    world.volume().set_pins("mount", paths(&["d"])).await.unwrap();
    world.until(|volume| is_here(volume, "mount", ALL)).await;
    assert_eq!(world.volume().pins("mount")[0].files, 2);
    assert!(world.volume().pins("another").is_empty());
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.read(directory, "a").await.unwrap(), large(1));
    world.storage.fail_all(true);
    for _ in 0..2 {
        let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
        let (inner, _) = world.vfs().lookup(directory, "e").await.unwrap();
        assert_eq!(world.names(directory).await.unwrap(), ["a", "e"]);
        assert_eq!(world.names(inner).await.unwrap(), ["b"]);
        assert_eq!(world.read(directory, "a").await.unwrap(), large(1));
        assert_eq!(world.read(inner, "b").await.unwrap(), b"content of b");
        // The cache keeps nothing else, and forgets the rest at once.
        world.vfs().lookup(1, "other").await.unwrap_err();
        world.reopen().await;
        assert_eq!(world.volume().pins("mount").iter().map(|pin| &pin.path).collect::<Vec<_>>(), [&path("d")]);
    }
}

#[tokio::test]
async fn what_is_pinned_no_more_goes_like_all_else() {
    let world = world(kept_by_nobody()).await;
    world.volume().set_pins("one", paths(&["d/a"])).await.unwrap();
    world.volume().set_pins("two", paths(&["d/a", "d/e"])).await.unwrap();
    world.until(|volume| is_here(volume, "one", 9 << 20) && is_here(volume, "two", ALL)).await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    let reads = world.storage.reads().len();
    world.volume().set_pins("two", Vec::new()).await.unwrap();
    // Another still wants it.
    assert_eq!(world.read(directory, "a").await.unwrap(), large(1));
    assert_eq!(world.storage.reads().len(), reads);
    world.volume().set_pins("one", Vec::new()).await.unwrap();
    let began = std::time::Instant::now();
    // A close lets it go, once nobody pins it.
    while world.storage.reads().len() == reads {
        assert!(began.elapsed() < Duration::from_secs(30));
        world.read(directory, "a").await.unwrap();
    }
}

// semantics: What changes or appears below a pin is fetched as well.
#[tokio::test(start_paused = true)]
async fn what_changes_or_appears_elsewhere_is_fetched_again() {
    let world = world(VfsConfig::default()).await;
    let _listener = world.volume().listen();
    world.volume().set_pins("mount", paths(&["d"])).await.unwrap();
    world.until(|volume| is_here(volume, "mount", ALL)).await;
    for (name, content) in [("d/e/b", b"other content of b".as_slice()), ("d/new", b"new")] {
        world.storage.put(name, content).await;
        let entry = Box::new(world.storage.entry(name).await);
        world.storage.tell(Change::Updated { path: path(name), entry });
    }
    world.until(|volume| is_here(volume, "mount", ALL + 6 + 3)).await;
    world.storage.fail_all(true);
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.read(directory, "new").await.unwrap(), b"new");
    let (inner, _) = world.vfs().lookup(directory, "e").await.unwrap();
    assert_eq!(world.read(inner, "b").await.unwrap(), b"other content of b");
}

// semantics: What is pinned and does not fit is told, and not fetched again and again.
#[tokio::test]
async fn what_does_not_fit_is_said_and_not_fetched_for_ever() {
    let config = VfsConfig { cache_max_size: Some(4 << 20), ..VfsConfig::default() };
    let world = world(config).await;
    world.volume().set_pins("mount", paths(&["d/a", "d/e/b", "missing"])).await.unwrap();
    world.until(|volume| volume.pins("mount").iter().filter(|pin| pin.error.is_some()).count() == 2).await;
    let errors = world.volume().pins("mount").into_iter().map(|pin| pin.error.unwrap_or_default());
    let errors: Vec<String> = errors.collect();
    assert!(errors[0].contains("no room") && errors[1].is_empty() && errors[2].contains("no such file"), "{errors:?}");
    let reads = world.storage.reads().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.storage.reads().len(), reads);
}

#[tokio::test]
async fn many_small_files_do_not_go_beyond_the_limits_either() {
    let world = world(VfsConfig { cache_max_size: Some(4 << 20), ..VfsConfig::default() }).await;
    world.storage.make("many").await;
    for number in 0..12 {
        world.storage.put(&format!("many/{number:02}"), Box::leak(vec![number; MIB].into_boxed_slice())).await;
    }
    world.volume().set_pins("mount", paths(&["many"])).await.unwrap();
    world.until(|volume| volume.pins("mount")[0].error.is_some()).await;
    let pin = &world.volume().pins("mount")[0];
    assert!(pin.error.as_ref().unwrap().contains("no room"), "{pin:?}");
    assert!(pin.bytes <= 4 << 20 && pin.bytes >= 2 << 20, "{pin:?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_the_place_of_a_pinned_file_has_its_room() {
    let world = world(VfsConfig { cache_max_size: Some(12 << 20), ..VfsConfig::default() }).await;
    let _listener = world.volume().listen();
    world.volume().set_pins("mount", paths(&["d"])).await.unwrap();
    world.until(|volume| is_here(volume, "mount", ALL)).await;
    world.storage.put("d/a", large(2)).await;
    let entry = Box::new(world.storage.entry("d/a").await);
    world.storage.tell(Change::Updated { path: path("d/a"), entry });
    let reads = world.storage.reads().len();
    world.until(|volume| world.storage.reads().len() > reads && volume.pins("mount")[0].bytes == ALL).await;
    let pin = world.volume().pins("mount").remove(0);
    assert_eq!((pin.bytes_to_go, pin.error), (0, None));
    world.storage.fail_all(true);
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.read(directory, "a").await.unwrap(), large(2));
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_cache_was_full_stays_and_is_not_fetched_again_and_again() {
    let world = world(VfsConfig { cache_max_size: Some(12 << 20), ..VfsConfig::default() }).await;
    world.storage.put("huge", Box::leak(vec![3; 20 * MIB].into_boxed_slice())).await;
    world.volume().set_pins("mount", paths(&["huge"])).await.unwrap();
    world.until(|volume| volume.pins("mount")[0].error.is_some()).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.storage.reads().len(), 1);
    assert_eq!(world.volume().pins("mount")[0].bytes, 8 << 20);
}

#[tokio::test(start_paused = true)]
async fn pins_wait_while_a_mount_reads_but_not_for_ever() {
    let world = world(VfsConfig { cache_mode: CacheMode::Full, ..VfsConfig::default() }).await;
    world.read(1, "other").await.unwrap();
    let reads = world.storage.reads().len();
    world.volume().set_pins("mount", paths(&["d/a"])).await.unwrap();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.read(1, "other").await.unwrap();
    }
    assert_eq!(world.storage.reads().len(), reads);
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.read(1, "other").await.unwrap();
    }
    assert!(world.storage.reads().len() > reads);
}

#[tokio::test]
async fn more_than_a_thousand_pins_are_refused() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    let many = (0..1001).map(|number| path(&format!("f{number}"))).collect();
    world.volume().set_pins("mount", many).await.unwrap_err();
    assert!(world.volume().pins("mount").is_empty());
}
