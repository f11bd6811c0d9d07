//! Providers that name things by ids: ways that others change, names that are there twice, and names that a provider makes up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Can, Change, Entry, ErrorKind, Kind, Node, Path, Span, Storage, collect};
use serde_json::json;
use support::account::Account;
use support::server::Server;
use support::{House, hostile, kind, open, path};

struct Backend {
    account: Account,
    storage: Arc<dyn Storage>,
    _server: Server,
    _house: House,
}

async fn backend() -> Backend {
    let (account, server) = Account::served().await;
    let house = House::new();
    let provider = house.catalog.open(&hostile("puppet")).await.unwrap();
    let storage = open(&provider, json!({"endpoint": server.url()})).await.unwrap();
    Backend { account, storage, _server: server, _house: house }
}

async fn all(storage: &dyn Storage, directory: &str) -> Vec<Entry> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let page = storage.list(&path(directory), cursor.as_ref()).await.unwrap();
        entries.extend(page.entries);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return entries,
        }
    }
}

fn names(entries: &[Entry]) -> Vec<String> {
    let mut names: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
    names.sort();
    names
}

async fn node(storage: &dyn Storage, at: &str) -> Node {
    Node::of(path(at), &storage.stat(&path(at)).await.unwrap().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_a_directory_is_walked_once() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("a", "root", "directory", "a");
    account.put("b", "a", "directory", "b");
    account.put("f", "b", "file", "f");
    for _ in 0..5 {
        assert_eq!(storage.stat(&path("a/b/f")).await.unwrap().unwrap().cookie.as_deref(), Some("f"));
    }
    assert_eq!((account.asked("refresh"), account.asked("look-up")), (1, 2 + 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_is_looked_for_again_from_the_root() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("a", "root", "directory", "a");
    account.put("x", "a", "file", "x");
    assert_eq!(names(&all(&**storage, "a").await), ["x"]);
    account.remove("a");
    account.put("a2", "root", "directory", "a");
    account.put("y", "a2", "file", "y");
    assert_eq!(names(&all(&**storage, "a").await), ["y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_renames_and_removals_change_the_ways() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("a", "root", "directory", "a");
    account.put("b", "a", "directory", "b");
    account.put("f", "b", "file", "f");
    let a = {
        storage.stat(&path("a/b/f")).await.unwrap();
        node(&**storage, "a").await
    };
    storage.move_to(&a, &path("z"), None).await.unwrap();
    let asked = account.asked("look-up");
    assert!(storage.stat(&path("z/b/f")).await.unwrap().is_some());
    assert_eq!(account.asked("look-up"), asked + 1);
    assert_eq!(storage.stat(&path("a/b/f")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_entries_of_one_name_every_one_is_shown_found_and_removable() {
    let Backend { account, storage, .. } = &backend().await;
    for (cookie, seconds) in [("1", 5), ("2", 9), ("3", 7)] {
        account.put(cookie, "root", "file", "a.txt");
        account.change(cookie, |thing| thing.seconds = seconds);
    }
    account.put("4", "root", "file", "b");
    let entries = all(&**storage, "").await;
    assert_eq!(entries.len(), 4);
    let by_cookie =
        |cookie: &str| entries.iter().find(|entry| entry.cookie.as_deref() == Some(cookie)).unwrap().clone();
    assert_eq!((by_cookie("2").name.as_str(), by_cookie("4").name.as_str()), ("a.txt", "b"));
    for cookie in ["1", "3"] {
        let shown = by_cookie(cookie);
        assert!(shown.name.starts_with("a {") && shown.name.ends_with("}.txt"), "{}", shown.name);
        let found = storage.stat(&path(&shown.name)).await.unwrap().unwrap();
        assert_eq!(found, shown);
        let body = storage.read(&Node::of(path(&shown.name), &found), Span::new(0, 1)).await.unwrap();
        assert_eq!(collect(body, 1).await.unwrap(), cookie);
    }
    let oldest = by_cookie("1");
    storage.remove_file(&Node::of(path(&oldest.name), &oldest)).await.unwrap();
    assert_eq!(all(&**storage, "").await.len(), 3);
    assert!(account.thing("1").is_none() && account.thing("2").is_some());
    assert_eq!(storage.stat(&path(&oldest.name)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_its_name_before_a_newer_file() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("d", "root", "directory", "a");
    account.put("f", "root", "file", "a");
    account.change("f", |thing| thing.seconds = 99);
    assert_eq!(storage.stat(&path("a")).await.unwrap().unwrap().kind, Kind::Directory);
    let shown = all(&**storage, "").await;
    assert_eq!(shown.iter().find(|entry| entry.name == "a").unwrap().kind, Kind::Directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_copy_is_taken_away_again() {
    let Backend { account, storage, .. } = &backend().await;
    account.numbers_what_is_taken();
    account.put("a", "root", "directory", "a");
    assert_eq!(kind(storage.make_directory(&path("a")).await), ErrorKind::AlreadyExists);
    assert_eq!(account.names("root"), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_moved_to_a_numbered_name_goes_back() {
    let Backend { account, storage, .. } = &backend().await;
    account.numbers_what_is_taken();
    account.put("d", "root", "directory", "d");
    account.put("f", "d", "file", "f");
    account.put("g", "root", "file", "g");
    let f = node(&**storage, "d/f").await;
    assert_eq!(kind(storage.move_to(&f, &path("g"), None).await), ErrorKind::AlreadyExists);
    let thing = account.thing("f").unwrap();
    assert_eq!((thing.parent.as_str(), thing.name.as_str()), ("d", "f"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_in_one_directory_run_one_after_the_other() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("d", "root", "directory", "d");
    let make = |at: u32| async move { storage.make_directory(&path(&format!("d/{at}"))).await };
    let made = futures::future::join_all((0..8).map(make)).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    assert_eq!((account.names("d").len(), account.together()), (8, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_further_questions_reach_the_component() {
    let Backend { account, storage, .. } = &backend().await;
    let can = storage.features().can;
    assert!(can.contains(Can::PURGE | Can::LINKS | Can::CLEAN | Can::VERSIONS | Can::CHANGES));
    account.put("d", "root", "directory", "d");
    account.put("f", "d", "file", "f");
    let f = node(&**storage, "d/f").await;
    let link = storage.link(&f, Some(Duration::from_secs(2))).await.unwrap();
    assert_eq!(link, "https://example.com/f?ms=2000");
    storage.unlink(&f).await.unwrap();
    let versions = storage.versions(&f, None).await.unwrap();
    assert_eq!(versions.entries[0].cookie.as_deref(), Some("f-old"));
    storage.clean(&Node::root()).await.unwrap();
    assert_eq!((account.asked("unlink"), account.asked("clean")), (1, 1));
    storage.purge(&node(&**storage, "d").await).await.unwrap();
    assert!(account.thing("d").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn news_are_told_by_path() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("d", "root", "directory", "d");
    account.put("f", "d", "file", "f");
    account.put("g", "d", "file", "g");
    all(&**storage, "").await;
    all(&**storage, "d").await;
    let since = storage.changes(None).await.unwrap().cursor;
    // A rename, a removal, and something new in a directory that nobody has looked at.
    account.change("f", |thing| thing.name = "h".into());
    account.tell("f");
    account.remove("g");
    account.tell("g");
    account.put("e", "d", "directory", "e");
    account.put("n", "e", "file", "n");
    account.tell("n");
    let news = storage.changes(Some(&since)).await.unwrap();
    let told: Vec<(bool, Path)> = news
        .changes
        .into_iter()
        .map(|change| match change {
            Change::Updated { path, .. } => (true, path),
            Change::Removed(path) => (false, path),
            other => panic!("{other:?}"),
        })
        .collect();
    let (gone, there) = (|at: &str| (false, path(at)), |at: &str| (true, path(at)));
    assert_eq!(told, [gone("d/f"), there("d/h"), gone("d/g"), there("d/e/n")]);
    assert!(storage.changes(Some(&news.cursor)).await.unwrap().changes.is_empty());
    // Another object knows nothing of what this one saw.
    let other = backend().await;
    assert_eq!(other.storage.changes(Some(&news.cursor)).await.unwrap().changes, [Change::Everything]);
}
