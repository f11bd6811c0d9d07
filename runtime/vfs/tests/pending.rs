//! What waits for the provider can be looked at, tried again, and given up one by one without losing what was written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use causeway_storage::{Can, Path};
use causeway_vfs::{GivenUp, OpenMode, PendingChange, Progress, VfsConfig, What};

mod faulty;
mod world;
use world::World;

async fn world() -> World {
    World::new(Can::empty(), VfsConfig::default()).await
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn all(world: &World) -> Vec<PendingChange> {
    world.volume().pending_changes(None, usize::MAX)
}

async fn give_up(world: &World, number: u64) -> GivenUp {
    world.volume().give_up(number, &world.directory().join("aside")).await.unwrap()
}

/// Waits until the first change was tried, and says its number.
async fn tried(world: &World) -> u64 {
    let is_tried =
        |change: &PendingChange| matches!(change.progress, Progress::Retrying { .. } | Progress::Failed { .. });
    world.until(|volume| volume.pending_changes(None, 1).first().is_some_and(is_tried)).await;
    all(world)[0].number
}

/// Writes at the start of an existing file and closes it.
async fn edit(world: &World, name: &str, bytes: &[u8]) {
    let (file, _) = world.vfs().lookup(1, name).await.unwrap();
    let handle = world.vfs().open(file, OpenMode { read: true, write: true, ..OpenMode::default() }).await.unwrap();
    world.vfs().write(handle, 0, bytes.to_vec()).await.unwrap();
    world.vfs().flush(handle).await.unwrap();
    world.vfs().release(handle).await;
}

#[tokio::test]
async fn a_change_that_failed_for_good_is_told_and_goes_through_when_it_is_tried_again() {
    let mut world = world().await;
    world.storage.refuse_content(true);
    world.write(1, "f", b"mine").await.unwrap();
    let number = tried(&world).await;
    let change = all(&world).remove(0);
    assert_eq!((change.what, &change.path, change.bytes), (What::Write, &path("f"), Some(4)));
    assert!(matches!(&change.progress, Progress::Failed { error, .. } if error == "the name is not allowed"));
    assert!(world.volume().retry_change(number).await.unwrap());
    tried(&world).await;
    world.storage.refuse_content(false);
    assert!(world.volume().retry_change(number).await.unwrap());
    world.drained().await;
    assert_eq!(world.storage.stored(&path("f")).await.unwrap(), b"mine");
    assert!(!world.volume().retry_change(number).await.unwrap());
    world.close().await;
}

#[tokio::test]
async fn a_change_that_waits_for_an_earlier_one_says_for_which() {
    let mut world = world().await;
    for name in ["f", "g", "d"] {
        world.vfs().lookup(1, name).await.unwrap_err();
    }
    world.storage.fail_all(true);
    world.write(1, "f", b"mine").await.unwrap();
    let write = tried(&world).await;
    world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
    world.vfs().make_directory(1, "d").await.unwrap();
    let shown = all(&world);
    let whats: Vec<_> = shown.iter().map(|change| change.what).collect();
    assert_eq!(whats, [What::Write, What::Rename, What::MakeDirectory]);
    assert!(matches!(&shown[0].progress, Progress::Retrying { error, .. } if error.contains("nobody answers")));
    assert_eq!((&shown[1].path, shown[1].to.as_ref()), (&path("f"), Some(&path("g"))));
    assert_eq!((shown[1].bytes, &shown[1].progress), (None, &Progress::Blocked { by: write }));
    let page = world.volume().pending_changes(Some(write), 1);
    assert_eq!(page.iter().map(|change| change.number).collect::<Vec<_>>(), [shown[1].number]);
    assert!(world.volume().pending_changes(Some(shown[2].number), 10).is_empty());
    assert!(world.volume().pending_changes(Some(u64::MAX), 10).is_empty());
    world.close().await;
}

#[tokio::test]
async fn what_is_given_up_is_set_aside_and_the_providers_shows_again() {
    let mut world = world().await;
    world.storage.put("f", b"theirs").await;
    world.vfs().lookup(1, "n").await.unwrap_err();
    world.vfs().lookup(1, "f").await.unwrap();
    world.storage.fail_all(true);
    edit(&world, "f", b"MINE!!").await;
    let number = tried(&world).await;
    world.write(1, "n", b"new").await.unwrap();
    let aside = world.directory().join("aside");
    assert_eq!(give_up(&world, number).await, GivenUp::Gone(Some(aside.join("files/f"))));
    assert_eq!(give_up(&world, number).await, GivenUp::Unknown);
    let number = all(&world)[0].number;
    assert_eq!(give_up(&world, number).await, GivenUp::Gone(Some(aside.join("files/n"))));
    assert!(all(&world).is_empty());
    world.storage.fail_all(false);
    world.reachable().await;
    assert_eq!(world.read(1, "f").await.unwrap(), b"theirs");
    world.vfs().lookup(1, "n").await.unwrap_err();
    // The name is as free as ever.
    world.write(1, "n", b"again").await.unwrap();
    world.drained().await;
    world.reopen().await;
    assert_eq!(world.storage.stored(&path("f")).await.unwrap(), b"theirs");
    assert_eq!(world.storage.stored(&path("n")).await.unwrap(), b"again");
    assert_eq!(std::fs::read(aside.join("files/f")).unwrap(), b"MINE!!");
    assert_eq!(std::fs::read(aside.join("files/n")).unwrap(), b"new");
    world.close().await;
}

#[tokio::test]
async fn what_others_were_built_on_goes_after_them() {
    let mut world = world().await;
    for name in ["f", "g"] {
        world.vfs().lookup(1, name).await.unwrap_err();
    }
    world.storage.fail_all(true);
    world.write(1, "f", b"mine").await.unwrap();
    let write = tried(&world).await;
    world.vfs().rename((1, "f"), (1, "g"), false).await.unwrap();
    let rename = all(&world)[1].number;
    assert_eq!(give_up(&world, write).await, GivenUp::NeededBy(vec![rename]));
    assert_eq!(all(&world).len(), 2);
    assert!(!world.directory().join("aside/files/f").exists());
    assert_eq!(give_up(&world, rename).await, GivenUp::Gone(None));
    assert_eq!(world.read(1, "f").await.unwrap(), b"mine");
    edit(&world, "f", b"MORE").await;
    let edited = all(&world)[1].number;
    assert_eq!(give_up(&world, write).await, GivenUp::NeededBy(vec![edited]));
    assert!(matches!(give_up(&world, edited).await, GivenUp::Gone(Some(_))));
    assert_eq!(world.read(1, "f").await.unwrap(), b"mine");
    assert!(matches!(give_up(&world, write).await, GivenUp::Gone(Some(_))));
    let aside = world.directory().join("aside");
    assert_eq!(std::fs::read(aside.join("files/f")).unwrap(), b"MORE");
    assert_eq!(std::fs::read(aside.join("files/f (earlier 2)")).unwrap(), b"mine");
    let account = std::fs::read_to_string(aside.join("account.txt")).unwrap();
    assert!(account.contains("not renamed: f to g"), "{account}");
    world.close().await;
}

#[tokio::test]
async fn an_upload_under_way_is_not_given_up() {
    let mut world = world().await;
    world.vfs().lookup(1, "f").await.unwrap_err();
    world.storage.hang(true);
    world.write(1, "f", b"mine").await.unwrap();
    while world.storage.hung() == 0 {
        tokio::task::yield_now().await;
    }
    let number = all(&world)[0].number;
    assert_eq!(all(&world)[0].progress, Progress::UnderWay);
    assert_eq!(give_up(&world, number).await, GivenUp::UnderWay);
    assert_eq!(world.volume().pending().changes, 1);
    assert!(!world.directory().join("aside").exists());
    world.close().await;
}

#[tokio::test]
async fn a_file_that_is_open_is_not_given_up() {
    let mut world = world().await;
    world.storage.refuse_content(true);
    let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
    let (_, _, handle) = world.vfs().create(1, "f", mode, false).await.unwrap();
    world.vfs().write(handle, 0, b"mine".to_vec()).await.unwrap();
    let number = all(&world)[0].number;
    assert_eq!(all(&world)[0].progress, Progress::Waiting);
    assert_eq!(give_up(&world, number).await, GivenUp::Open);
    world.vfs().flush(handle).await.unwrap();
    let number = tried(&world).await;
    assert_eq!(give_up(&world, number).await, GivenUp::Open);
    world.vfs().release(handle).await;
    assert!(matches!(give_up(&world, number).await, GivenUp::Gone(Some(_))));
    world.vfs().lookup(1, "f").await.unwrap_err();
    assert_eq!(give_up(&world, u64::MAX).await, GivenUp::Unknown);
    world.close().await;
}

#[tokio::test]
async fn a_change_whose_storage_panicked_is_tried_again() {
    let mut world = world().await;
    world.storage.panic_next();
    world.write(1, "f", b"mine").await.unwrap();
    world.drained().await;
    assert_eq!(world.storage.stored(&path("f")).await.unwrap(), b"mine");
    world.close().await;
}

#[tokio::test]
async fn what_came_out_wrong_and_is_removed_is_removed_at_the_provider() {
    let mut world = world().await;
    world.storage.misreport_sizes(true);
    world.write(1, "f", b"mine").await.unwrap();
    tried(&world).await;
    world.vfs().unlink(1, "f").await.unwrap();
    world.storage.misreport_sizes(false);
    world.volume().retry().await.unwrap();
    world.drained().await;
    assert_eq!(world.storage.stored(&path("f")).await, None);
    world.close().await;
}
