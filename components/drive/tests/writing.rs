//! The life of a write: at once, in chunks, and what it must not do.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};
use serde_json::{Value as Json, json};

mod support;

use support::*;

fn intent(existing: Option<Node>, name: &str) -> WriteIntent {
    WriteIntent {
        parent: directory("", "0R"),
        name: name.into(),
        existing,
        modified: Some(Instant { seconds: 1_735_787_045, nanoseconds: 678_900_000 }),
        created: None,
        media_type: "text/plain".into(),
    }
}

/// Nothing is there, and ids are given out.
fn nothing(sent: &Sent) -> Said {
    match path(sent) {
        "/drive/v3/files/generateIds" => said(json!({"ids": ["N1"]})),
        "/upload/drive/v3/files" => {
            (200, vec![("Location", "https://www.googleapis.com/upload/drive/v3/files?upload_id=u".into())], Json::Null)
        }
        _ => said(json!({"files": []})),
    }
}

#[test]
fn a_small_file_goes_at_once_with_an_id_of_its_own() {
    let (begun, _) = with(&[truth("keep_revision_forever")], nothing, |drive| {
        let Begun::Upload { session, cutting: None, first: Some(first) } =
            drive.begin(&intent(None, "a.txt"), Source::memory(b"abcd")).unwrap()
        else {
            panic!("it goes in one part")
        };
        let sent = testing::rendered_part(first, b"abcd").unwrap();
        let part = Part { number: 0, span: Span { offset: 0, size: 4 }, last: true, lane: 0 };
        let done = testing::answer(200, &[], file("N1", "a.txt").to_string().as_bytes());
        (sent, drive.accept_part(&session, &part, &done).unwrap())
    });
    let (sent, done) = begun;
    assert_eq!((sent.method.as_str(), path(&sent)), ("POST", "/upload/drive/v3/files"));
    assert_eq!(query(&sent, "uploadType").as_deref(), Some("multipart"));
    assert_eq!(query(&sent, "keepRevisionForever").as_deref(), Some("true"));
    let text = String::from_utf8(sent.body).unwrap();
    let parts: Vec<_> = text.split("\r\n\r\n").collect();
    let described: Json = serde_json::from_str(parts[1].split("\r\n").next().unwrap()).unwrap();
    assert_eq!(
        described,
        json!({"id": "N1", "name": "a.txt", "parents": ["0R"], "mimeType": "text/plain", "modifiedTime": "2025-01-02T03:04:05.678Z"})
    );
    assert!(parts[0].contains("application/json") && parts[1].contains("Content-Type: text/plain"));
    assert!(parts[2].starts_with("abcd\r\n--"));
    let PartAnswer::Complete(Outcome::Done(Some(entry))) = done else { panic!("it is done") };
    assert_eq!(entry.cookie.as_deref(), Some("N1"));
}

#[test]
fn a_second_sending_of_a_new_file_finds_the_first() {
    let answer =
        |sent: &Sent| if path(sent) == "/drive/v3/files/N1" { said(file("N1", "a.txt")) } else { nothing(sent) };
    let (done, _) = with(&[], answer, |drive| {
        let Begun::Upload { session, .. } = drive.begin(&intent(None, "a.txt"), Source::memory(b"abcd")).unwrap()
        else {
            panic!()
        };
        let part = Part { number: 0, span: Span { offset: 0, size: 4 }, last: true, lane: 0 };
        let in_use = testing::answer(409, &[], br#"{"error":{"message":"","errors":[{"reason":"fileIdInUse"}]}}"#);
        drive.accept_part(&session, &part, &in_use).unwrap()
    });
    assert!(matches!(done, PartAnswer::Complete(Outcome::Done(Some(_)))));
}

#[test]
fn nothing_is_made_beside_what_stands_there() {
    let answer = |sent: &Sent| match path(sent) {
        "/drive/v3/files/generateIds" => said(json!({"ids": ["N1"]})),
        _ => said(json!({"files": [file("1a", "a.txt")]})),
    };
    let (kinds, asked) = with(&[], answer, |drive| {
        let written = drive.begin(&intent(None, "a.txt"), Source::memory(b"")).unwrap_err().kind;
        (written, drive.make_directory(&directory("", "0R"), "a.txt").unwrap_err().kind)
    });
    assert_eq!(kinds, (ErrorKind::AlreadyExists, ErrorKind::AlreadyExists));
    assert!(asked.iter().all(|sent| sent.method == "GET"));
}

#[test]
fn a_file_is_replaced_under_its_id_if_it_is_the_one_that_was_seen() {
    let begin = |version: &'static str, item: Said| {
        let existing = node("a.txt", "1a", Some(version));
        with(
            &[],
            move |_| item.clone(),
            move |drive| drive.begin(&intent(Some(existing), "a.txt"), Source::memory(b"abcd")),
        )
        .0
    };
    let seen: &'static str = format!("r1/{MD5}").leak();
    let Begun::Upload { first: Some(first), .. } = begin(seen, said(file("1a", "a.txt"))).unwrap() else { panic!() };
    let sent = testing::with(Stand::default().secret("access-token", "AT"), || testing::rendered_part(first, b"abcd"))
        .unwrap();
    assert_eq!((sent.method.as_str(), path(&sent)), ("PATCH", "/upload/drive/v3/files/1a"));
    assert!(!String::from_utf8(sent.body).unwrap().contains("parents"));
    for item in [refused(404, "notFound"), said(also(file("1a", "a.txt"), json!({"trashed": true})))] {
        assert_eq!(begin(seen, item).err().unwrap().kind, ErrorKind::PreconditionFailed);
    }
    assert_eq!(begin("r0/0", said(file("1a", "a.txt"))).err().unwrap().kind, ErrorKind::PreconditionFailed);
}

#[test]
fn chunks_go_on_where_google_says() {
    let content = vec![7; 600_000];
    let settings = [("chunk_size", Value::Bytes(262_144)), ("upload_cutoff", Value::Bytes(262_144))];
    let (_, asked) = with(&settings, nothing, |drive| {
        let Begun::Upload { session, cutting: Some(cutting), first: None } =
            drive.begin(&intent(None, "a"), Source::memory(&content)).unwrap()
        else {
            panic!("it goes in chunks")
        };
        assert_eq!((cutting.first_bytes, cutting.parallel), (262_144, 1));
        let part = Part { number: 1, span: Span { offset: 262_144, size: 262_144 }, last: false, lane: 0 };
        let plan = drive.plan_part(&session, &part, Source::memory(&content)).unwrap();
        let sent = testing::rendered_part(plan, &content).unwrap();
        assert_eq!(sent.url, "https://www.googleapis.com/upload/drive/v3/files?upload_id=u");
        assert_eq!(sent.header("content-range"), Some("bytes 262144-524287/600000"));
        assert_eq!(sent.header("authorization"), None, "the address is the credential");
        let answered = |status, headers: &[(&str, &str)], body: &[u8]| {
            drive.accept_part(&session, &part, &testing::answer(status, headers, body)).unwrap()
        };
        let at = |offset| PartAnswer::At(Progress { offset, session: None });
        assert_eq!(format!("{:?}", answered(308, &[("range", "bytes=0-262143")], b"")), format!("{:?}", at(262_144)));
        assert_eq!(format!("{:?}", answered(308, &[], b"")), format!("{:?}", at(0)));
        assert!(matches!(answered(410, &[], b""), PartAnswer::Restart));
        assert!(matches!(answered(200, &[], file("N1", "a").to_string().as_bytes()), PartAnswer::Complete(_)));
    });
    let begun = asked.iter().find(|sent| sent.method == "POST").unwrap();
    assert_eq!(query(begun, "uploadType").as_deref(), Some("resumable"));
    assert_eq!(begun.header("x-upload-content-length"), Some("600000"));
    assert_eq!(body(begun)["id"], "N1");
}

#[test]
fn files_become_documents_where_that_is_wanted() {
    let begin = |settings: &[(&str, Value)]| {
        with(settings, nothing, |drive| match drive.begin(&intent(None, "Plan.odt"), Source::memory(b"abcd"))? {
            Begun::Upload { first: Some(first), .. } => testing::rendered_part(first, b"abcd"),
            _ => panic!(),
        })
        .0
    };
    let sent = begin(&[text("import_formats", "odt"), text("export_formats", "odt")]).unwrap();
    let sent = String::from_utf8(sent.body).unwrap();
    assert!(
        sent.contains(r#"{"name":"Plan","parents":["0R"],"mimeType":"application/vnd.google-apps.document""#),
        "{sent}"
    );
    assert_eq!(begin(&[text("import_formats", "odt")]).unwrap_err().kind, ErrorKind::Invalid);
    assert!(begin(&[text("import_formats", "odt"), truth("allow_import_name_change")]).is_ok());
    assert!(String::from_utf8(begin(&[]).unwrap().body).unwrap().contains("Plan.odt"));
}
