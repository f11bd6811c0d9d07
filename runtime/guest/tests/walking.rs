//! Providers that are walked as a whole: the host keeps the tree, answers from it, and never from a short one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Change, ErrorKind, Node, Path, Result, Storage};
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
    let provider = house.catalog.open(&hostile("walker")).await.unwrap();
    let storage = open(&provider, json!({"endpoint": server.url()})).await.unwrap();
    Backend { account, storage, _server: server, _house: house }
}

async fn names(storage: &dyn Storage, directory: &str) -> Result<Vec<String>> {
    let page = storage.list(&path(directory), None).await?;
    assert_eq!(page.next, None);
    let mut names: Vec<_> = page.entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    Ok(names)
}

/// Asks until the news are asked for again and this is so; the host asks for them once a second.
async fn comes_true<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    for _ in 0..100 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came true");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_walk_answers_every_question() {
    let Backend { account, storage, .. } = &backend().await;
    // The child's id sorts before its directory's, so it is pushed first.
    account.put("1-child", "9-directory", "file", "f");
    account.put("9-directory", "root", "directory", "d");
    let asked = (0..20).map(|_| async { names(&**storage, "d").await });
    let answers = futures::future::join_all(asked).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap() == ["f"]));
    let found = storage.stat(&path("d/f")).await.unwrap().unwrap();
    assert_eq!(found.cookie.as_deref(), Some("1-child"));
    assert_eq!(storage.stat(&path("d/none")).await.unwrap(), None);
    assert_eq!(kind(storage.list(&path("none"), None).await), ErrorKind::NotFound);
    assert_eq!(account.asked("walk"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn news_change_the_tree_and_are_told_by_path() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("d", "root", "directory", "d");
    account.put("f", "d", "file", "f");
    assert_eq!(names(&**storage, "d").await.unwrap(), ["f"]);
    let since = storage.changes(None).await.unwrap().cursor;
    account.change("d", |thing| thing.name = "e".into());
    account.tell("d");
    account.put("g", "d", "file", "g");
    account.tell("g");
    account.remove("f");
    account.tell("f");
    comes_true(|| async { names(&**storage, "e").await.is_ok_and(|names| names == ["g"]) }).await;
    assert_eq!(storage.stat(&path("d")).await.unwrap(), None);
    let told: Vec<(bool, Path)> = storage
        .changes(Some(&since))
        .await
        .unwrap()
        .changes
        .into_iter()
        .map(|change| match change {
            Change::Updated { path, .. } => (true, path),
            Change::Removed(path) => (false, path),
            other => panic!("{other:?}"),
        })
        .collect();
    let (gone, there) = (|at: &str| (false, path(at)), |at: &str| (true, path(at)));
    assert_eq!(told, [gone("d"), there("e"), there("e/g"), gone("e/f")]);
    assert_eq!(account.asked("walk"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_the_trash_is_gone_from_the_tree() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("f", "root", "file", "f");
    assert_eq!(names(&**storage, "").await.unwrap(), ["f"]);
    account.change("f", |thing| thing.note = "trashed");
    account.tell("f");
    comes_true(|| async { names(&**storage, "").await.unwrap().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_walked_anew_when_anything_may_have_changed() {
    let Backend { account, storage, .. } = &backend().await;
    assert!(names(&**storage, "").await.unwrap().is_empty());
    account.put("f", "root", "file", "f");
    account.tell_line("everything now");
    comes_true(|| async { names(&**storage, "").await.unwrap() == ["f"] }).await;
    assert_eq!(account.asked("walk"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_changes_are_seen_at_once() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("f", "root", "file", "f");
    storage.make_directory(&path("d")).await.unwrap();
    let f = Node::of(path("f"), &storage.stat(&path("f")).await.unwrap().unwrap());
    storage.move_to(&f, &path("d/g"), None).await.unwrap();
    assert_eq!(names(&**storage, "").await.unwrap(), ["d"]);
    let g = Node::of(path("d/g"), &storage.stat(&path("d/g")).await.unwrap().unwrap());
    storage.remove_file(&g).await.unwrap();
    assert!(names(&**storage, "d").await.unwrap().is_empty());
    assert_eq!(account.asked("walk"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_fails_is_an_error_and_leaves_the_old_tree() {
    let Backend { account, storage, .. } = &backend().await;
    account.put("f", "root", "file", "f");
    assert_eq!(names(&**storage, "").await.unwrap(), ["f"]);
    account.walk_shows(&format!("root\t\tdirectory\t\t1\t\nx\troot\tfile\t{}\t1\t", "n".repeat(5_000)));
    account.tell_line("everything now");
    comes_true(|| async { names(&**storage, "").await.is_err() }).await;
    // The next walk is a sound one.
    assert_eq!(names(&**storage, "").await.unwrap(), ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_true_fails_the_walk_even_if_the_component_goes_on() {
    let rings = "root\t\tdirectory\t\t1\t\na\tb\tdirectory\ta\t1\t\nb\ta\tdirectory\tb\t1\t";
    // No path can hold a name of 5,000 bytes.
    let named = &format!("root\t\tdirectory\t\t1\t\na\troot\tfile\t{}\t1\t", "n".repeat(5_000));
    let without_id = "root\t\tdirectory\t\t1\t\n\troot\tfile\ta\t1\t";
    for wrong in [rings, named, without_id] {
        for deaf in ["", "go on\n"] {
            let Backend { account, storage, .. } = &backend().await;
            account.walk_shows(&format!("{deaf}{wrong}"));
            let answer = names(&**storage, "").await;
            assert!(matches!(&answer, Err(error) if error.kind == ErrorKind::Internal), "{deaf}{wrong}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_stopped_at_the_limit() {
    let Backend { account, storage, .. } = &backend().await;
    account.walk_shows("flood");
    assert_eq!(kind(names(&**storage, "").await), ErrorKind::Unsupported);
    // And the memory is given back: a sound walk follows.
    account.put("f", "root", "file", "f");
    assert_eq!(names(&**storage, "").await.unwrap(), ["f"]);
}
