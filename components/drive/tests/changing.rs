//! How things are moved, copied, removed and shared.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::Sent;
use serde_json::{Value as Json, json};

mod support;

use support::*;

#[test]
fn removing_goes_to_the_trash_or_not_and_says_what_was_gone() {
    let remove = |settings: &[(&str, Value)], item: Said| {
        let answer =
            move |sent: &Sent| if sent.method == "DELETE" { (204, Vec::new(), Json::Null) } else { item.clone() };
        with(settings, answer, |drive| drive.remove_file(&node("a", "1a", None)).map(drop))
    };
    let (_, asked) = remove(&[], said(file("1a", "a")));
    assert_eq!((asked[1].method.as_str(), body(&asked[1])), ("PATCH", json!({"trashed": true})));
    let (_, asked) = remove(&[("use_trash", Value::Truth(false))], said(file("1a", "a")));
    assert_eq!(asked[1].method, "DELETE");
    for item in [refused(404, "notFound"), said(also(file("1a", "a"), json!({"trashed": true})))] {
        assert_eq!(remove(&[], item).0.unwrap_err().kind, ErrorKind::NotFound);
    }
    let everywhere = also(file("1a", "a"), json!({"parents": ["0R", "1d"]}));
    assert_eq!(remove(&[], said(everywhere)).0.unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn a_directory_that_holds_only_trash_is_not_lost_with_it() {
    let answer = |sent: &Sent| match query(sent, "q") {
        Some(q) if q.starts_with("trashed=true") => said(json!({"files": [file("1t", "t")]})),
        Some(_) => said(json!({"files": [], "nextPageToken": null})),
        None => said(json!({"id": "1d", "mimeType": FOLDER, "parents": ["0R"]})),
    };
    let (_, asked) = with(&[("use_trash", Value::Truth(false))], answer, |drive| {
        drive.remove_directory(&directory("d", "1d")).unwrap()
    });
    assert_eq!(asked.last().unwrap().method, "PATCH");
    let full = |_: &Sent| said(json!({"files": [file("1t", "t")]}));
    let (removed, asked) = with(&[], full, |drive| drive.remove_directory(&directory("d", "1d")));
    assert_eq!(removed.unwrap_err().kind, ErrorKind::DirectoryNotEmpty);
    assert_eq!(asked.len(), 1);
    let (_, asked) = with(
        &[],
        |_| said(shortcut("S", "s", "F", FOLDER)),
        |drive| drive.remove_directory(&directory("s", "S>F")).unwrap(),
    );
    assert_eq!(path(asked.last().unwrap()), "/drive/v3/files/S", "what it leads to stays");
}

#[test]
fn a_move_changes_directory_and_name_at_once() {
    let answer = |sent: &Sent| match (sent.method.as_str(), path(sent)) {
        ("GET", "/drive/v3/files") => said(json!({"files": [also(file("1o", "b"), json!({"parents": ["1d"]}))]})),
        _ => said(also(file("1a", "b"), json!({"parents": ["0R"]}))),
    };
    let (_, asked) = with(&[], answer, |drive| {
        drive.move_to(&node("a", "1a", None), &directory("d", "1d"), "b", Some(&node("d/b", "1o", None))).unwrap()
    });
    let changes: Vec<_> = asked.iter().filter(|sent| sent.method == "PATCH").collect();
    assert_eq!(
        (query(changes[0], "addParents"), query(changes[0], "removeParents")),
        (Some("1d".into()), Some("0R".into()))
    );
    assert_eq!(body(changes[0])["name"], "b");
    assert_eq!((path(changes[1]), body(changes[1])), ("/drive/v3/files/1o", json!({"trashed": true})), "replaced last");
    let (moved, asked) =
        with(&[], answer, |drive| drive.move_to(&node("a", "1a", None), &directory("d", "1d"), "b", None));
    assert_eq!(moved.unwrap_err().kind, ErrorKind::AlreadyExists);
    assert!(asked.iter().all(|sent| sent.method == "GET"));
}

#[test]
fn a_document_keeps_its_extension() {
    let answer = |sent: &Sent| match path(sent) {
        "/drive/v3/files" => said(json!({"files": []})),
        _ => said(document("1", "Plan")),
    };
    let rename = |name: &str| {
        with(&[], answer, |drive| {
            drive.move_to(&node("Plan.docx", "1", None), &directory("", "0R"), name, None).map(drop)
        })
    };
    assert_eq!(rename("Other.txt").0.unwrap_err().kind, ErrorKind::Invalid);
    let (_, asked) = rename("Other.docx");
    assert_eq!(body(asked.last().unwrap())["name"], "Other");
}

#[test]
fn the_copy_of_a_document_gets_its_time_later() {
    let answer = |sent: &Sent| match path(sent) {
        "/drive/v3/files" => said(json!({"files": []})),
        "/drive/v3/files/generateIds" => said(json!({"ids": ["N1"]})),
        _ => said(document("1", "Plan")),
    };
    let modified = Some(Instant { seconds: 1_600_000_000, nanoseconds: 0 });
    let (copied, asked) = with(&[], answer, |drive| {
        drive.copy_to(&node("Plan.docx", "1", None), &directory("", "0R"), "Copy.docx", None, modified).unwrap()
    });
    assert!(matches!(copied, Outcome::Pending(Job { after_ms: 2500, .. })));
    let copy = body(asked.last().unwrap());
    assert_eq!((copy["name"].as_str(), copy.get("id")), (Some("Copy"), None));
}

#[test]
fn a_shortcut_is_copied_itself_unless_its_content_is_wanted() {
    let copied = |settings: &[(&str, Value)]| {
        let answer = |sent: &Sent| match path(sent) {
            "/drive/v3/files/generateIds" => said(json!({"ids": ["N1"]})),
            "/drive/v3/files" => said(json!({"files": []})),
            _ => said(file("N1", "c")),
        };
        let source = node("s", "S>T", Some("r1/0"));
        let (_, asked) =
            with(settings, answer, move |drive| drive.copy_to(&source, &directory("", "0R"), "c", None, None).unwrap());
        path(asked.last().unwrap()).to_owned()
    };
    assert_eq!(copied(&[]), "/drive/v3/files/S/copy");
    assert_eq!(copied(&[truth("copy_shortcut_content")]), "/drive/v3/files/T/copy");
}

#[test]
fn links_are_for_everyone_and_for_good() {
    let (link, asked) = with(
        &[],
        |_| said(json!({})),
        |drive| {
            assert_eq!(drive.link(&node("a", "1a", None), Some(1000)).unwrap_err().kind, ErrorKind::Unsupported);
            drive.link(&node("a", "1a", None), None).unwrap()
        },
    );
    assert_eq!(link.plain(), Some("https://drive.google.com/open?id=1a"));
    assert_eq!(body(&asked[0]), json!({"role": "reader", "type": "anyone", "allowFileDiscovery": false}));
    let permissions = json!({"permissions": [{"id": "1", "type": "user"}, {"id": "anyoneWithLink", "type": "anyone"}]});
    let (_, asked) =
        with(&[], move |_| said(permissions.clone()), |drive| drive.unlink(&node("a", "1a", None)).unwrap());
    assert_eq!(path(&asked[1]), "/drive/v3/files/1a/permissions/anyoneWithLink");
    assert_eq!(asked.len(), 2);
}
