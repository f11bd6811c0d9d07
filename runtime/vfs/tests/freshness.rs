//! What others change at the provider shows in a mount that listens, and mounts hear of exactly that.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use causeway_storage::{Can, Change, Path, Timestamp};
use causeway_vfs::{Listener, OpenMode, SetAttributes, Stale, Vfs, VfsConfig};

mod faulty;
mod world;
use world::World;

const FRESH: Duration = Duration::from_secs(300);

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn entry(text: &str) -> Stale {
    Stale::Entry(path(text))
}

fn below(text: &str) -> Stale {
    Stale::Below(path(text))
}

/// What a listener hears within a minute of silence, sorted.
async fn heard(listener: &mut Listener) -> Vec<Stale> {
    let mut heard = Vec::new();
    while let Ok(Some(stale)) = tokio::time::timeout(Duration::from_secs(60), listener.next()).await {
        heard.push(stale);
    }
    heard.sort_by_key(|stale| format!("{stale:?}"));
    heard
}

// semantics: Where there is no feed, a directory that is looked at is listed again after `dir_cache_time`.
#[tokio::test(start_paused = true)]
async fn a_directory_that_is_looked_at_is_listed_again_and_differences_are_told() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    world.storage.make("d").await;
    for name in ["d/same", "d/changed", "d/gone"] {
        world.storage.put(name, b"before").await;
    }
    let mut listener = world.volume().listen();
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    let open = world.vfs().open_directory(directory).await.unwrap();
    while let Some(last) = world.vfs().read_directory(open, 0).await.unwrap().0.last() {
        if world.vfs().read_directory(open, last.offset).await.unwrap().0.is_empty() {
            break;
        }
    }
    world.storage.put("d/changed", b"after it").await;
    world.storage.put("d/new", b"new").await;
    world.storage.remove("d/gone").await;
    world.storage.take_lists();
    tokio::time::sleep(FRESH).await;
    assert_eq!(world.storage.take_lists(), [path("d")]);
    assert_eq!(heard(&mut listener).await, [entry("d/changed"), entry("d/gone"), entry("d/new")]);
    world.storage.take_stats();
    assert_eq!(world.names(directory).await.unwrap(), ["changed", "new", "same"]);
    assert_eq!(world.vfs().lookup(directory, "changed").await.unwrap().1.size, 8);
    assert_eq!(world.storage.take_stats(), [path("d")]);
    // It stays open: it is listed for as long as that, and nobody is told of nothing.
    world.storage.take_lists();
    tokio::time::sleep(FRESH * 4).await;
    let lists = world.storage.take_lists().len();
    assert!((4..=6).contains(&lists), "{lists}");
    assert_eq!(heard(&mut listener).await, []);
    world.vfs().release_directory(open);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_looks_at_is_not_listed_again() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    let _listener = world.volume().listen();
    world.names(1).await.unwrap();
    tokio::time::sleep(FRESH * 3).await;
    world.storage.take_lists();
    tokio::time::sleep(FRESH * 10).await;
    assert_eq!(world.storage.take_lists(), []);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_directories_are_listed_one_a_second_and_not_while_nobody_answers() {
    let world = World::new(Can::empty(), VfsConfig { cache_max_age_ms: u64::MAX, ..VfsConfig::default() }).await;
    for number in 0..100 {
        world.storage.make(&format!("d{number}")).await;
    }
    let _listener = world.volume().listen();
    let mut open = Vec::new();
    for number in 0..100 {
        let (directory, _) = world.vfs().lookup(1, &format!("d{number}")).await.unwrap();
        let handle = world.vfs().open_directory(directory).await.unwrap();
        assert!(world.vfs().read_directory(handle, 0).await.unwrap().0.is_empty());
        open.push(handle);
    }
    // When the first is due, a list a second begins.
    tokio::time::sleep(FRESH / 4 * 3 - Duration::from_secs(5)).await;
    world.storage.take_lists();
    tokio::time::sleep(Duration::from_secs(65)).await;
    let lists = world.storage.take_lists().len();
    assert!((40..=66).contains(&lists), "{lists}");
    world.storage.fail_all(true);
    world.until(|volume| !volume.reachable()).await;
    world.storage.take_lists();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.storage.take_lists(), []);
}

// semantics: What a provider tells of in a feed of changes shows within seconds.
#[tokio::test(start_paused = true)]
async fn what_a_feed_tells_shows_within_seconds_and_nothing_ages() {
    let world = World::fed(VfsConfig::default()).await;
    world.storage.make("d").await;
    world.storage.put("d/changed", b"before").await;
    world.storage.put("d/gone", b"before").await;
    let mut listener = world.volume().listen();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.names(directory).await.unwrap(), ["changed", "gone"]);
    world.storage.take_lists();
    world.storage.take_stats();
    tokio::time::sleep(FRESH * 100).await;
    assert_eq!(world.names(directory).await.unwrap(), ["changed", "gone"]);
    assert_eq!((world.storage.take_stats(), world.storage.take_lists()), (vec![], vec![]));
    world.storage.put("d/changed", b"after it").await;
    let changed = Box::new(world.storage.entry("d/changed").await);
    world.storage.tell(Change::Updated { path: path("d/changed"), entry: changed });
    world.storage.remove("d/gone").await;
    world.storage.tell(Change::Removed(path("d/gone")));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(heard(&mut listener).await, [entry("d/changed"), entry("d/gone")]);
    assert_eq!(world.names(directory).await.unwrap(), ["changed"]);
    assert_eq!(world.vfs().lookup(directory, "changed").await.unwrap().1.size, 8);
    assert_eq!((world.storage.take_stats(), world.storage.take_lists()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_tells_too_broadly_makes_everything_be_asked_for() {
    let world = World::fed(VfsConfig::default()).await;
    world.storage.make("d").await;
    let mut listener = world.volume().listen();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    for (number, change) in [Change::Stale(path("d")), Change::Everything].into_iter().enumerate() {
        let names = world.names(directory).await.unwrap();
        world.storage.put(["d/a", "d/b"][number], b"x").await;
        world.storage.tell(change);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(world.names(directory).await.unwrap().len(), names.len() + 1);
    }
    assert_eq!(heard(&mut listener).await, [below(""), below("d")]);
}

#[tokio::test(start_paused = true)]
async fn while_a_feed_fails_things_age_as_without() {
    let world = World::fed(VfsConfig::default()).await;
    world.storage.make("d").await;
    let _listener = world.volume().listen();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert!(world.names(directory).await.unwrap().is_empty());
    world.storage.fail_feed(true);
    world.storage.put("d/new", b"x").await;
    tokio::time::sleep(FRESH + Duration::from_secs(11)).await;
    assert_eq!(world.names(directory).await.unwrap(), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_nothing_ran_is_learnt_from_the_feed_and_not_by_listing() {
    let mut world = World::fed(VfsConfig::default()).await;
    world.storage.make("d").await;
    world.storage.put("d/gone", b"x").await;
    {
        let _listener = world.volume().listen();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
        assert_eq!(world.names(directory).await.unwrap(), ["gone"]);
    }
    world.close().await;
    world.storage.remove("d/gone").await;
    world.storage.tell(Change::Removed(path("d/gone")));
    world.storage.put("d/new", b"x").await;
    let new = Box::new(world.storage.entry("d/new").await);
    world.storage.tell(Change::Updated { path: path("d/new"), entry: new });
    world.storage.take_lists();
    world.storage.take_stats();
    // What is old without a feed is not with one.
    world.reopen().await;
    world.reconfigure(VfsConfig { dir_cache_time_ms: 1, ..VfsConfig::default() });
    let mut listener = world.volume().listen();
    assert_eq!(heard(&mut listener).await, [entry("d/gone"), entry("d/new")]);
    let (directory, _) = world.vfs().lookup(1, "d").await.unwrap();
    assert_eq!(world.names(directory).await.unwrap(), ["new"]);
    assert_eq!((world.storage.take_stats(), world.storage.take_lists()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_feed_does_not_undo_what_was_changed_here() {
    let world = World::fed(VfsConfig { dir_cache_time_ms: u64::MAX, ..VfsConfig::default() }).await;
    world.storage.put("f", b"theirs").await;
    let _listener = world.volume().listen();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.names(1).await.unwrap();
    let theirs = Box::new(world.storage.entry("f").await);
    world.storage.fail_all(true);
    world.write(1, "f", b"ours, longer").await.unwrap();
    world.storage.fail_all(false);
    world.volume().retry().await.unwrap();
    // Told while it waits: the journal shows what was written here.
    world.storage.tell(Change::Updated { path: path("f"), entry: theirs });
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(world.vfs().lookup(1, "f").await.unwrap().1.size, 12);
    world.drained().await;
    let ours = Box::new(world.storage.entry("f").await);
    world.storage.tell(Change::Updated { path: path("f"), entry: ours });
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(world.read(1, "f").await.unwrap(), b"ours, longer");
}

#[tokio::test]
async fn what_one_mount_changes_is_told_to_the_others() {
    let world = World::new(Can::empty(), VfsConfig::default()).await;
    let _other = Vfs::new(world.volume().clone(), VfsConfig::default());
    world.storage.fail_all(true);
    world.storage.put("known", b"x").await;
    world.storage.fail_all(false);
    world.names(1).await.unwrap();
    world.storage.fail_all(true);
    let mut listener = world.volume().listen();
    let vfs = world.vfs();
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let (number, _, handle) = vfs.create(1, "f", mode, true).await.unwrap();
    assert_eq!(listener.next().await, Some(entry("f")));
    vfs.write(handle, 0, b"one".to_vec()).await.unwrap();
    vfs.write(handle, 3, b"two".to_vec()).await.unwrap();
    assert_eq!(listener.next().await, Some(entry("f")));
    vfs.flush(handle).await.unwrap();
    vfs.release(handle).await;
    let modified = Some(Timestamp { seconds: 5, nanoseconds: 0 });
    vfs.set_attributes(number, None, SetAttributes { modified, ..SetAttributes::default() }).await.unwrap();
    assert_eq!(listener.next().await, Some(entry("f")));
    vfs.make_directory(1, "d").await.unwrap();
    assert_eq!(listener.next().await, Some(entry("d")));
    vfs.rename((1, "f"), (1, "g"), false).await.unwrap();
    assert_eq!((listener.next().await, listener.next().await), (Some(below("f")), Some(below("g"))));
    vfs.unlink(1, "g").await.unwrap();
    assert_eq!(listener.next().await, Some(entry("g")));
    vfs.remove_directory(1, "d").await.unwrap();
    assert_eq!(listener.next().await, Some(below("d")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_trusted_for_the_rest_of_its_time_and_what_the_journal_says_for_minutes() {
    let world = World::new(Can::empty(), VfsConfig { dir_cache_time_ms: 60_000, ..VfsConfig::default() }).await;
    world.storage.put("f", b"x").await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    world.vfs().lookup(1, "absent").await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.vfs().fresh_for(number, None), Duration::from_secs(40));
    assert_eq!(world.vfs().fresh_for(1, Some("absent")), Duration::from_secs(40));
    tokio::time::sleep(Duration::from_secs(41)).await;
    assert_eq!(world.vfs().fresh_for(number, None), Duration::from_secs(1));
    world.vfs().lookup(1, "new").await.unwrap_err();
    world.storage.hang(true);
    world.write(1, "new", b"x").await.unwrap();
    assert_eq!(world.vfs().fresh_for(1, Some("new")), Duration::from_secs(300));
}

#[tokio::test(start_paused = true)]
async fn what_a_feed_tells_of_may_be_trusted_for_minutes() {
    let world = World::fed(VfsConfig { dir_cache_time_ms: 60_000, ..VfsConfig::default() }).await;
    world.storage.put("f", b"x").await;
    let _listener = world.volume().listen();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (number, _) = world.vfs().lookup(1, "f").await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(world.vfs().fresh_for(number, None), Duration::from_secs(300));
}

#[tokio::test]
async fn what_others_put_where_a_file_was_copied_away_shows_at_once() {
    let world = World::new(Can::MOVE, VfsConfig::default()).await;
    world.write(1, "f", b"mine").await.unwrap();
    world.drained().await;
    world.storage.put_after_copy("f", b"theirs");
    world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
    world.drained().await;
    assert_eq!(world.read(1, "f").await.unwrap(), b"theirs");
    assert_eq!(world.read(1, "g").await.unwrap(), b"mine");
    assert_eq!(world.names(1).await.unwrap(), ["f", "g"]);
}
