//! What Azure Blob Storage is asked, and what its answers are taken for: whole calls against a scripted server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use std::cell::RefCell;
use std::rc::Rc;

use azureblob::AzureBlob;
use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};

type Scripted = (u16, &'static [(&'static str, &'static str)], &'static str);

const HEADERS: &[(&str, &str)] = &[
    ("etag", "\"0x8D\""),
    ("content-length", "5"),
    ("content-type", "text/plain"),
    ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
    ("last-modified", "Tue, 02 Jan 2024 03:04:05 GMT"),
    ("x-ms-meta-mtime", "2024-01-02T03:04:05.000000006Z"),
];
const LISTING: &str = r#"<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="c"><Prefix>d/</Prefix><Blobs>
    <Blob><Name>d/</Name><Properties><Etag>0x1</Etag></Properties><Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob>
    <BlobPrefix><Name>d/sub/</Name></BlobPrefix>
    <Blob><Name Encoded="true">d/a%20%EF%BF%BE</Name><Properties><Etag>0x2</Etag><Content-Length>7</Content-Length></Properties></Blob>
    <Blob><Name>d/sub</Name><Properties><Etag>0x3</Etag><Content-Length>9</Content-Length></Properties></Blob>
    </Blobs><NextMarker>more</NextMarker></EnumerationResults>"#;
const MISSING: Scripted = (404, &[("x-ms-error-code", "BlobNotFound")], "");

/// What was asked, and a server that answers by it.
fn stand(answer: impl Fn(&Sent) -> Scripted + 'static) -> (Stand, Rc<RefCell<Vec<Sent>>>) {
    let log = Rc::<RefCell<Vec<Sent>>>::default();
    let told = log.clone();
    let stand = Stand::default().now(1_704_164_645).server(move |sent| {
        told.borrow_mut().push(sent.clone());
        let (status, headers, body) = answer(sent);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok((status, headers.iter().map(owned).collect(), body.as_bytes().to_vec()))
    });
    (stand, log)
}

fn by_key(answer: impl Fn(&Sent) -> Scripted + 'static) -> (Stand, Rc<RefCell<Vec<Sent>>>) {
    let (stand, log) = stand(answer);
    (stand.text("account", "acct").base64_key("key", "a2V5"), log)
}

fn with<T>(stand: Stand, run: impl FnOnce(AzureBlob) -> T) -> T {
    testing::with(stand, || run(testing::open().unwrap()))
}

fn node(kind: Kind, path: &str, version: Option<&str>) -> Node {
    Node { kind, path: path.into(), cookie: None, version: version.map(Into::into) }
}

#[test]
fn a_range_is_signed_and_serves_that_range_alone() {
    let (stand, _) = by_key(|_| MISSING);
    let sent = with(stand, |azure| {
        let span = Span { offset: 10, size: 5 };
        let plan = azure.read(&node(Kind::File, "c/a b", Some("0x8D")), Some(100), Some(span)).unwrap();
        testing::rendered_plan(plan).unwrap().unwrap()
    });
    assert_eq!(sent.url, "https://acct.blob.core.windows.net/c/a%20b");
    assert_eq!(sent.header("x-ms-range"), Some("bytes=10-14"));
    assert_eq!(sent.header("if-match"), Some("\"0x8D\""));
    assert!(sent.header("authorization").unwrap().starts_with("SharedKey acct:"));
}

#[test]
fn a_signature_stands_at_the_end_of_each_query_and_opens_its_container() {
    let (stand, log) = stand(|_| (200, &[], LISTING));
    let stand = stand.secret("sas_url", "https://acct.blob.core.windows.net/c?sv=1&sig=x%2By");
    with(stand, |azure| {
        azure.probe().unwrap();
        let root = azure.list(&node(Kind::Directory, "", None), None).unwrap();
        assert_eq!(root.entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), ["c"]);
    });
    let sent = log.borrow();
    assert_eq!(sent.len(), 1, "the only container needs no request");
    assert!(sent[0].url.ends_with("&sv=1&sig=x%2By"), "{}", sent[0].url);
    assert!(sent[0].header("authorization").is_none());
}

#[test]
fn a_listing_shows_each_name_once_and_its_directory_not_at_all() {
    let (stand, _) = by_key(|_| (200, &[], LISTING));
    let page = with(stand, |azure| azure.list(&node(Kind::Directory, "c/d", None), None).unwrap());
    let shown: Vec<_> = page.entries.iter().map(|entry| (&*entry.name, entry.kind)).collect();
    assert_eq!(shown, [("sub", Kind::Directory), ("a \u{fffe}", Kind::File)]);
    assert_eq!(page.next.as_deref(), Some("more"));
}

#[test]
fn headers_are_a_file_and_metadata_its_time() {
    let (stand, _) = by_key(|sent| if sent.method == "HEAD" { (200, HEADERS, "") } else { MISSING });
    let entry = with(stand, |azure| azure.stat("c/a.txt", None).unwrap().unwrap());
    assert_eq!((entry.size, entry.version.as_deref()), (Some(5), Some("0x8D")));
    assert_eq!(entry.modified, Some(Instant { seconds: 1_704_164_645, nanoseconds: 6 }));
    assert_eq!(entry.digests[0].value.len(), 16);
}

#[test]
fn a_write_is_conditional_and_says_what_it_stores() {
    let (stand, _) = by_key(|_| MISSING);
    let stand = stand.text("access_tier", "cool");
    let sent = with(stand, |azure| {
        let intent = WriteIntent {
            parent: node(Kind::Directory, "c", None),
            name: "a.txt".into(),
            existing: None,
            modified: Some(Instant { seconds: 1_704_164_645, nanoseconds: 6 }),
            created: None,
            media_type: "text/plain".into(),
        };
        let Begun::Upload { first: Some(first), .. } = azure.begin(&intent, Source::memory(b"hello")).unwrap() else {
            panic!("a small file is put at once")
        };
        testing::rendered_part(first, b"hello").unwrap()
    });
    let wanted = [
        ("if-none-match", "*"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("x-ms-meta-mtime", "2024-01-02T03:04:05.000000006Z"),
        ("x-ms-access-tier", "cool"),
    ];
    for (name, value) in wanted {
        assert_eq!(sent.header(name), Some(value), "{name}");
    }
    assert_eq!(sent.body, b"hello");
}

#[test]
fn codes_say_what_went_wrong() {
    for (status, code, kind) in [
        (409, "ContainerBeingDeleted", ErrorKind::Unavailable(Some(6000))),
        (409, "BlobAlreadyExists", ErrorKind::AlreadyExists),
        (412, "ConditionNotMet", ErrorKind::PreconditionFailed),
        (403, "AuthenticationFailed", ErrorKind::Unauthenticated),
        (403, "AuthorizationFailure", ErrorKind::Denied),
        (503, "ServerBusy", ErrorKind::RateLimited(None)),
        (400, "Md5Mismatch", ErrorKind::Corrupt),
        (409, "BlobArchived", ErrorKind::Invalid),
    ] {
        let (stand, _) = by_key(|_| MISSING);
        let answer = testing::answer(status, &[("x-ms-error-code", code)], b"");
        assert_eq!(with(stand, |azure| azure.meaning(&answer).kind), kind, "{code}");
    }
}

#[test]
fn what_cannot_be_used_is_all_named() {
    let stand = Stand::default()
        .setting("use_msi", Value::Truth(true))
        .text("client_id", "id")
        .setting("chunk_size", Value::Bytes(0))
        .setting("list_chunk", Value::Number(9000));
    let problems = testing::with(stand, || testing::open::<AzureBlob>().unwrap_err());
    let named: Vec<_> = problems.iter().map(|problem| &*problem.option_name).collect();
    for option in ["use_msi", "account", "tenant", "client_secret", "chunk_size", "list_chunk"] {
        assert!(named.contains(&option), "{option}: {named:?}");
    }
}
