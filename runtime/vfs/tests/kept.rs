//! What the sidecar keeps, without a kernel: over crashes, at providers that know identities and such that do not, for
//! directories with very many names, and against what nobody should ask for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use causeway_storage::{Can, Error, ErrorKind, Storage, Timestamp};
use causeway_vfs::{Attributes, AttributesMode, KeptKind, Maker, OpenMode, SetAttributes, Vfs, VfsConfig, VfsError};

mod faulty;
mod world;
use world::World;

const CONFIG: VfsConfig = VfsConfig {
    cache_mode: causeway_vfs::CacheMode::Writes,
    cache_max_age_ms: 3_600_000,
    cache_max_size: None,
    dir_cache_time_ms: u64::MAX,
    read_only: false,
    close: causeway_vfs::Close::Journalled,
    read_ahead_max: 0,
    attributes: AttributesMode::Sidecar,
};
const MAKER: Maker = Maker { mode: 0o640, uid: 10, gid: 20 };
const TIME: Timestamp = Timestamp { seconds: 100, nanoseconds: 7 };
const WRITES: OpenMode = OpenMode { read: true, write: true, append: false, truncate: false };

async fn make(vfs: &Vfs, parent: u64, name: &str) -> u64 {
    let (number, _, handle) = vfs.create_as(parent, name, WRITES, true, Some(MAKER)).await.unwrap();
    vfs.write(handle, 0, name.as_bytes().to_vec()).await.unwrap();
    vfs.flush(handle).await.unwrap();
    vfs.release(handle).await;
    number
}

fn link(target: &str) -> KeptKind {
    KeptKind::Link { target: target.into() }
}

async fn mode(vfs: &Vfs, parent: u64, name: &str) -> Option<u32> {
    vfs.lookup(parent, name).await.unwrap().1.kept.and_then(|kept| kept.mode)
}

async fn names(vfs: &Vfs, directory: u64) -> Vec<String> {
    let handle = vfs.open_directory(directory).await.unwrap();
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let entries = vfs.read_directory(handle, offset).await.unwrap().0;
        let Some(last) = entries.last() else { break };
        offset = last.offset;
        names.extend(entries.into_iter().map(|entry| entry.name));
    }
    vfs.release_directory(handle);
    names.sort();
    names
}

fn kind(outcome: Result<impl std::fmt::Debug, VfsError>) -> ErrorKind {
    match outcome.unwrap_err() {
        VfsError::Storage(Error { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

// semantics: What is kept agrees with the names whenever the program ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_agree_with_names_whenever_everything_ends() {
    let mut world = World::new(Can::empty(), CONFIG).await;
    let (directory, _) = world.vfs().make_directory_as(1, "d", Some(MAKER)).await.unwrap();
    let file = make(world.vfs(), directory, "file").await;
    world.vfs().make_kept(directory, "link", link("file"), MAKER).await.unwrap();
    world.vfs().set_extended(file, "user.x", b"1".to_vec(), None).await.unwrap();
    let set = SetAttributes { mode: Some(0o4711), accessed: Some(TIME), ..SetAttributes::default() };
    world.vfs().set_attributes(file, None, set).await.unwrap();
    world.vfs().rename((1, "d"), (1, "e"), false).await.unwrap();
    for drained in [false, true] {
        if drained {
            world.drained().await;
        }
        world.reopen().await;
        let (directory, shown) = world.vfs().lookup(1, "e").await.unwrap();
        assert_eq!(shown.kept.unwrap().uid, Some(10));
        let (file, shown) = world.vfs().lookup(directory, "file").await.unwrap();
        let kept = shown.kept.unwrap();
        assert_eq!((kept.mode, kept.gid, kept.accessed), (Some(0o4711), Some(20), Some(TIME)));
        assert_eq!(world.vfs().extended(file, "user.x").await.unwrap(), b"1");
        assert_eq!(names(world.vfs(), directory).await, ["file", "link"]);
        assert!(world.vfs().lookup(1, "d").await.is_err());
    }
    let (directory, _) = world.vfs().lookup(1, "e").await.unwrap();
    world.vfs().unlink(directory, "file").await.unwrap();
    world.vfs().unlink(directory, "link").await.unwrap();
    world.vfs().remove_directory(1, "e").await.unwrap();
    world.reopen().await;
    let (directory, shown) = world.vfs().make_directory(1, "e").await.unwrap();
    assert_eq!((shown.kept, names(world.vfs(), directory).await.len()), (None, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_follows_a_rename_entry_by_entry() {
    let mut world = World::new(Can::MOVE_DIRECTORIES | Can::EMPTY_DIRECTORIES, CONFIG).await;
    let (directory, _) = world.vfs().make_directory_as(1, "d", Some(MAKER)).await.unwrap();
    make(world.vfs(), directory, "file").await;
    world.vfs().make_kept(directory, "link", link("file"), MAKER).await.unwrap();
    world.drained().await;
    world.vfs().rename((1, "d"), (1, "e"), false).await.unwrap();
    world.drained().await;
    world.reopen().await;
    let (directory, _) = world.vfs().lookup(1, "e").await.unwrap();
    assert_eq!(mode(world.vfs(), directory, "file").await, Some(0o640));
    assert_eq!(names(world.vfs(), directory).await, ["file", "link"]);
}

// semantics: What was kept of another file, which was replaced at the provider, is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_of_another_file_at_the_provider_is_dropped() {
    let mut world = World::new(Can::empty(), CONFIG).await;
    make(world.vfs(), 1, "file").await;
    world.drained().await;
    assert_eq!(mode(world.vfs(), 1, "file").await, Some(0o640));
    let path = causeway_storage::Path::parse("file").unwrap();
    let before = world.storage.stat(&path).await.unwrap().unwrap();
    world.storage.remove("file").await;
    world.storage.put("file", b"another").await;
    let after = world.storage.stat(&path).await.unwrap().unwrap();
    world.reopen().await;
    world.reconfigure(VfsConfig { dir_cache_time_ms: 0, ..CONFIG });
    let expected = if before.cookie.is_some() && before.cookie != after.cookie { None } else { Some(0o640) };
    assert_eq!(mode(world.vfs(), 1, "file").await, expected);
    // One of another kind is never meant.
    world.storage.remove("file").await;
    world.storage.make_directory(&path).await.unwrap();
    assert_eq!(mode(world.vfs(), 1, "file").await, None);
}

// semantics: A directory of which more than 10,000 records are kept cannot be renamed: EXDEV, and programs copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_with_a_hundred_thousand_names_is_listed_and_refuses_to_move_in_one_step() {
    let world = World::new(Can::empty(), CONFIG).await;
    let vfs = world.vfs();
    let (few, _) = vfs.make_directory(1, "few").await.unwrap();
    let (many, _) = vfs.make_directory(1, "many").await.unwrap();
    let put = |directory: u64, count: u32| async move {
        for chunk in (0..count).collect::<Vec<_>>().chunks(256) {
            let made = chunk.iter().map(|number| async move {
                vfs.make_kept(directory, &format!("{number:06}"), KeptKind::Fifo, MAKER).await.unwrap();
            });
            futures::future::join_all(made).await;
        }
    };
    put(few, 3_000).await;
    put(many, 100_000).await;
    assert_eq!(names(vfs, many).await.len(), 100_000);
    assert_eq!(vfs.rename((1, "many"), (1, "moved"), false).await, Err(VfsError::CrossDevice));
    vfs.rename((1, "few"), (1, "moved"), false).await.unwrap();
    let (moved, _) = vfs.lookup(1, "moved").await.unwrap();
    assert_eq!(names(vfs, moved).await.len(), 3_000);
    assert_eq!(kind(vfs.remove_directory(1, "many").await), ErrorKind::DirectoryNotEmpty);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_and_too_many_attributes_and_impossible_links_are_refused() {
    let world = World::new(Can::empty(), CONFIG).await;
    let vfs = world.vfs();
    let file = make(vfs, 1, "file").await;
    let large = vec![7; 64 << 10];
    assert_eq!(vfs.set_extended(file, "user.x", vec![7; (64 << 10) + 1], None).await, Err(VfsError::LargeAttribute));
    assert_eq!(
        vfs.set_extended(file, &format!("user.{}", "n".repeat(251)), vec![], None).await,
        Err(VfsError::LongAttribute)
    );
    assert_eq!(kind(vfs.set_extended(file, "security.capability", vec![], None).await), ErrorKind::Unsupported);
    for number in 0..3 {
        vfs.set_extended(file, &format!("user.{number}"), large.clone(), None).await.unwrap();
    }
    vfs.set_extended(file, "user.0", large.clone(), Some(true)).await.unwrap();
    assert_eq!(kind(vfs.set_extended(file, "user.3", large.clone(), None).await), ErrorKind::QuotaExceeded);
    vfs.remove_extended(file, "user.0").await.unwrap();
    vfs.set_extended(file, "user.3", large.clone(), Some(false)).await.unwrap();
    assert_eq!(vfs.extended(file, "user.3").await.unwrap(), large);
    assert_eq!(vfs.extended_names(file).await.unwrap(), ["user.1", "user.2", "user.3"]);
    let long = "n".repeat(240);
    let mut refused = None;
    for number in 0..1_000 {
        refused = vfs.set_extended(file, &format!("user.{long}{number}"), vec![], None).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(kind(refused.map_or(Ok(()), Err)), ErrorKind::QuotaExceeded, "all names fit into one list");
    for (target, refusal) in
        [("x".repeat(4096), VfsError::LongName), ("a\0b".into(), VfsError::BadName), (String::new(), VfsError::BadName)]
    {
        assert_eq!(vfs.make_kept(1, "link", link(&target), MAKER).await, Err(refusal));
    }
    let (number, shown) = vfs.make_kept(1, "link", link(&"x".repeat(4095)), MAKER).await.unwrap();
    assert_eq!((shown.size, vfs.read_link(number).await.unwrap().len()), (4095, 4095));
}

// semantics: Names that only the sidecar has never reach the provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_only_the_sidecar_has_never_reach_the_provider() {
    let world = World::new(Can::empty(), CONFIG).await;
    let vfs = world.vfs();
    vfs.make_kept(1, "link", link("x"), MAKER).await.unwrap();
    vfs.make_kept(1, "pipe", KeptKind::Fifo, MAKER).await.unwrap();
    make(vfs, 1, "file").await;
    vfs.rename((1, "link"), (1, "file"), false).await.unwrap();
    vfs.rename((1, "pipe"), (1, "moved"), false).await.unwrap();
    world.drained().await;
    let listed = world.storage.list(&causeway_storage::Path::ROOT, None).await.unwrap();
    assert!(listed.entries.is_empty(), "{listed:?}");
    assert_eq!(names(vfs, 1).await, ["file", "moved"]);
}

// semantics: What is kept moves and goes with files and directories, also by mounts that do not show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mount_without_a_sidecar_does_holds_for_what_is_kept() {
    let mut world = World::new(Can::empty(), CONFIG).await;
    make(world.vfs(), 1, "file").await;
    world.vfs().make_kept(1, "link", link("x"), MAKER).await.unwrap();
    let (full, _) = world.vfs().make_directory(1, "full").await.unwrap();
    world.vfs().make_kept(full, "link", link("x"), MAKER).await.unwrap();
    world.reconfigure(VfsConfig { attributes: AttributesMode::Off, ..CONFIG });
    assert_eq!(names(world.vfs(), 1).await, ["file", "full"]);
    assert_eq!(world.vfs().make_kept(1, "new", link("x"), MAKER).await, Err(VfsError::NotKept));
    // It is not empty, whoever asks.
    assert_eq!(kind(world.vfs().remove_directory(1, "full").await), ErrorKind::DirectoryNotEmpty);
    world.vfs().rename((1, "file"), (1, "renamed"), false).await.unwrap();
    make(world.vfs(), 1, "link").await;
    world.reconfigure(CONFIG);
    assert_eq!(mode(world.vfs(), 1, "renamed").await, Some(0o640));
    let (_, shown): (u64, Attributes) = world.vfs().lookup(1, "link").await.unwrap();
    assert_eq!((shown.size, shown.kept), (4, None), "a file took the place of the link");
}
