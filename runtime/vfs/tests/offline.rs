//! A provider that goes away and comes back: what is known and cached works meanwhile, over a restart, what is written waits,
//! and in the end both sides have everything.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use causeway_storage::{Can, ErrorKind, Path};
use causeway_vfs::{CacheMode, VfsConfig, VfsError};

mod faulty;
mod world;
use world::World;

fn config() -> VfsConfig {
    // Old at once: what is shown while nobody answers is shown for want of better.
    VfsConfig { cache_mode: CacheMode::Full, dir_cache_time_ms: 0, ..VfsConfig::default() }
}

async fn directory(world: &World) -> u64 {
    world.vfs().lookup(1, "d").await.unwrap().0
}

async fn stored(world: &World, path: &str) -> Vec<u8> {
    world.storage.stored(&Path::parse(path).unwrap()).await.unwrap()
}

/// A storage of which all was listed and read.
async fn known() -> World {
    let world = World::new(Can::empty(), config()).await;
    world.storage.make("d").await;
    for (name, content) in [("d/read", b"read".as_slice()), ("d/edited", b"edited"), ("d/removed", b"removed")] {
        world.storage.put(name, content).await;
    }
    let directory = directory(&world).await;
    assert_eq!(world.names(directory).await.unwrap(), ["edited", "read", "removed"]);
    for name in ["read", "edited", "removed"] {
        assert_eq!(world.read(directory, name).await.unwrap(), name.as_bytes());
    }
    world
}

/// What a program does with it, whether or not anybody answers.
async fn worked_on(world: &World) {
    let directory = directory(world).await;
    assert_eq!(world.read(directory, "read").await.unwrap(), b"read");
    world.write(directory, "new", b"written offline").await.unwrap();
    world.write(directory, "edited", b"edited offline").await.unwrap();
    world.vfs().unlink(directory, "removed").await.unwrap();
    world.vfs().rename((directory, "read"), (directory, "renamed"), true).await.unwrap();
    let (made, _) = world.vfs().make_directory(directory, "made").await.unwrap();
    world.write(made, "inner", b"inner").await.unwrap();
}

async fn shows_the_work(world: &World) {
    let directory = directory(world).await;
    assert_eq!(world.names(directory).await.unwrap(), ["edited", "made", "new", "renamed"]);
    assert_eq!(world.read(directory, "renamed").await.unwrap(), b"read");
    assert_eq!(world.read(directory, "new").await.unwrap(), b"written offline");
    assert_eq!(world.read(directory, "edited").await.unwrap(), b"edited offline");
    let (made, _) = world.vfs().lookup(directory, "made").await.unwrap();
    assert_eq!(world.names(made).await.unwrap(), ["inner"]);
    assert_eq!(world.read(made, "inner").await.unwrap(), b"inner");
}

async fn is_back(world: &World) {
    world.storage.fail_all(false);
    world.until(|volume| volume.reachable()).await;
    world.drained().await;
}

#[tokio::test]
async fn everything_known_works_while_nobody_answers_and_is_there_once_somebody_does() {
    let mut world = known().await;
    world.storage.fail_all(true);
    worked_on(&world).await;
    shows_the_work(&world).await;
    world.reopen().await;
    shows_the_work(&world).await;
    assert!(!world.volume().reachable());
    let pending = world.volume().pending();
    assert_eq!((pending.files, pending.blocked), (3, 0));
    is_back(&world).await;
    shows_the_work(&world).await;
    assert_eq!(world.volume().events(), []);
    for (path, content) in
        [("d/new", "written offline"), ("d/edited", "edited offline"), ("d/renamed", "read"), ("d/made/inner", "inner")]
    {
        assert_eq!(stored(&world, path).await, content.as_bytes(), "{path}");
    }
    for path in ["d/read", "d/removed"] {
        assert_eq!(world.storage.stored(&Path::parse(path).unwrap()).await, None, "{path}");
    }
}

#[tokio::test]
async fn what_others_changed_meanwhile_is_seen_and_conflicts_become_copies() {
    let mut world = known().await;
    world.storage.fail_all(true);
    let number = directory(&world).await;
    world.write(number, "edited", b"edited offline").await.unwrap();
    world.write(number, "new", b"written offline").await.unwrap();
    world.reopen().await;
    world.storage.put("d/edited", b"edited by another").await;
    world.storage.put("d/new", b"made by another").await;
    world.storage.put("d/read", b"changed by another").await;
    world.storage.remove("d/removed").await;
    world.storage.put("d/theirs", b"theirs").await;
    is_back(&world).await;
    let number = directory(&world).await;
    let names = world.names(number).await.unwrap();
    assert_eq!(names.iter().filter(|name| name.contains("(conflict ")).count(), 2, "{names:?}");
    for (name, content) in [
        ("edited", "edited by another"),
        ("new", "made by another"),
        ("read", "changed by another"),
        ("theirs", "theirs"),
    ] {
        assert_eq!(world.read(number, name).await.unwrap(), content.as_bytes(), "{name}");
    }
    assert!(!names.contains(&"removed".to_owned()));
    let mut copies = Vec::new();
    for name in names.iter().filter(|name| name.contains("(conflict ")) {
        copies.push(String::from_utf8(world.read(number, name).await.unwrap()).unwrap());
    }
    copies.sort();
    assert_eq!(copies, ["edited offline", "written offline"]);
    assert_eq!(world.volume().events().len(), 2);
}

// semantics: After `cache_max_age` without contact what was written here is shown, and what was only known is not.
#[tokio::test]
async fn once_the_last_contact_is_too_long_ago_only_what_was_written_here_is_shown() {
    let mut world = known().await;
    world.storage.fail_all(true);
    let number = directory(&world).await;
    world.write(number, "new", b"written offline").await.unwrap();
    world.reconfigure(VfsConfig { cache_max_age_ms: 0, ..config() });
    let number = directory(&world).await;
    assert_eq!(world.read(number, "new").await.unwrap(), b"written offline");
    for answer in [world.vfs().lookup(number, "read").await.map(drop), world.names(number).await.map(drop)] {
        let error = answer.unwrap_err();
        let unavailable = matches!(&error, VfsError::Storage(error) if matches!(error.kind, ErrorKind::Unavailable(_)));
        assert!(unavailable, "{error:?}");
    }
    is_back(&world).await;
    assert_eq!(stored(&world, "d/new").await, b"written offline");
}

/// A storage that nobody answers for, `f` written here and its upload tried, and then what another wrote there meanwhile.
async fn overtaken(before: Option<&'static [u8]>) -> World {
    let world = World::new(Can::empty(), VfsConfig { cache_mode: CacheMode::Full, ..VfsConfig::default() }).await;
    if let Some(before) = before {
        world.storage.put("f", before).await;
    }
    assert_eq!(world.names(1).await.unwrap().len(), before.into_iter().count());
    world.storage.fail_all(true);
    world.write(1, "f", b"first").await.unwrap();
    world.until(|volume| volume.pending().last_error.is_some()).await;
    world.storage.put("f", b"theirs").await;
    world
}

/// What is stored but for `f`, which is what the other wrote.
async fn beside_theirs(world: &World) -> Vec<(String, Vec<u8>)> {
    is_back(world).await;
    let mut all = world.storage.everything().await;
    assert_eq!(all.remove("f").unwrap().unwrap(), b"theirs");
    assert_eq!(world.read(1, "f").await.unwrap(), b"theirs");
    let mut beside: Vec<_> = all.into_iter().map(|(name, content)| (name, content.unwrap())).collect();
    beside.sort_by(|one, other| one.1.cmp(&other.1));
    beside
}

#[tokio::test]
async fn what_was_written_after_a_conflict_came_about_is_kept_beside_theirs_as_well() {
    for before in [None, Some(b"seen".as_slice())] {
        let world = overtaken(before).await;
        world.write(1, "f", b"second").await.unwrap();
        let beside = beside_theirs(&world).await;
        let contents: Vec<_> = beside.iter().map(|(_, content)| content.as_slice()).collect();
        assert_eq!(contents, [b"first".as_slice(), b"second"]);
        assert!(beside.iter().all(|(name, _)| name.starts_with("f (conflict ")), "{beside:?}");
    }
}

#[tokio::test]
async fn a_removal_after_a_conflict_came_about_removes_what_was_written_here() {
    for before in [None, Some(b"seen".as_slice())] {
        let world = overtaken(before).await;
        world.vfs().unlink(1, "f").await.unwrap();
        assert_eq!(beside_theirs(&world).await, []);
    }
}

#[tokio::test]
async fn a_rename_after_a_conflict_came_about_moves_what_was_written_here() {
    for before in [None, Some(b"seen".as_slice())] {
        let world = overtaken(before).await;
        world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
        assert_eq!(beside_theirs(&world).await, [("g".to_owned(), b"first".to_vec())]);
        assert_eq!(world.read(1, "g").await.unwrap(), b"first");
    }
}
