//! The origin as a client sees it: whoever measures with it relies on these.

use std::net::TcpListener;

use super::serve;
use crate::http1::Connection;

/// An origin of its own, with a connection to it.
struct World {
    directory: tempfile::TempDir,
    connection: Connection,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, root) = (listener.local_addr().unwrap(), directory.path().to_owned());
        std::thread::spawn(move || serve(&listener, &root));
        let mut world = World { directory, connection: Connection::open(&address.to_string()).unwrap() };
        world.ask("PUT /b", "", "");
        world
    }

    /// The body of an answer of success.
    fn ask(&mut self, first: &str, headers: &str, body: &str) -> String {
        self.connection.text(first, headers, body).unwrap()
    }

    /// The status and body of any other.
    fn refused(&mut self, first: &str, headers: &str, body: &str) -> String {
        self.connection.text(first, headers, body).unwrap_err().to_string()
    }

    /// A header of an answer.
    fn field(&mut self, first: &str, name: &str) -> String {
        self.connection.head(first).unwrap().field(name).unwrap_or_default().to_owned()
    }
}

fn all<'a>(xml: &'a str, element: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    xml.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0)).collect()
}

#[test]
fn a_listing_in_pages_has_every_name_once_and_in_order() {
    let mut world = World::new();
    for name in ["a/1", "a/2", "a/deep/x", "a/deep/y", "b", "c%20d", "e/1"] {
        world.ask(&format!("PUT /b/{name}"), "", "content");
    }
    for (query, expected) in [
        ("", vec!["a/1", "a/2", "a/deep/x", "a/deep/y", "b", "c d", "e/1"]),
        ("&prefix=a/", vec!["a/1", "a/2", "a/deep/x", "a/deep/y"]),
        ("&delimiter=/", vec!["a/", "b", "c d", "e/"]),
        ("&delimiter=/&prefix=a/", vec!["a/1", "a/2", "a/deep/"]),
        ("&delimiter=/&prefix=a/d", vec!["a/deep/"]),
        ("&prefix=none", vec![]),
    ] {
        for (version, marker, next) in
            [("2", "continuation-token", "NextContinuationToken"), ("1", "marker", "NextMarker")]
        {
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let first = format!("GET /b?list-type={version}&max-keys=2{query}&{marker}={after}");
                let page = world.ask(&first, "", "");
                let below = all(&page, "CommonPrefixes").into_iter().flat_map(|prefix| all(prefix, "Prefix"));
                let mut names: Vec<_> = all(&page, "Key").into_iter().chain(below).map(str::to_owned).collect();
                names.sort();
                assert!(names.len() <= 2, "{page}");
                found.extend(names);
                if all(&page, "IsTruncated") == ["false"] {
                    break;
                }
                after = all(&page, next)[0].replace(' ', "%20");
            }
            assert_eq!(found, expected, "{query}, version {version}");
        }
    }
}

#[test]
fn an_etag_is_the_same_in_listings_in_headers_and_in_the_answer_to_the_write() {
    let mut world = World::new();
    world.ask("PUT /b/file", "", "content");
    let page = world.ask("GET /b?list-type=2", "", "");
    let listed = all(&page, "ETag")[0].replace("&quot;", "\"");
    assert_eq!(world.field("HEAD /b/file", "etag"), listed);
    assert_eq!(world.field("GET /b/file", "etag"), listed);
    let replaced = world.field("PUT /b/file", "etag");
    assert_ne!(replaced, listed);
    assert_eq!(world.field("HEAD /b/file", "etag"), replaced);
}

#[test]
fn a_range_gives_its_bytes_and_says_where_they_stand() {
    let mut world = World::new();
    world.ask("PUT /b/file", "", "0123456789");
    for (range, expected) in [("2-4", "234"), ("7-", "789"), ("-3", "789"), ("8-99", "89"), ("0-0", "0")] {
        assert_eq!(world.ask("GET /b/file", &format!("Range: bytes={range}\r\n"), ""), expected, "{range}");
    }
    assert!(world.refused("GET /b/file", "Range: bytes=10-12\r\n", "").contains("416"));
    assert!(world.refused("GET /b/file", "Range: bytes=4-2\r\n", "").contains("416"));
    assert_eq!(world.ask("GET /-/b/file", "", ""), "12", "all that was sent of it");
}

#[test]
fn a_condition_that_does_not_hold_changes_and_gives_nothing() {
    let mut world = World::new();
    world.ask("PUT /b/file", "If-None-Match: *\r\n", "first");
    assert!(world.refused("PUT /b/file", "If-None-Match: *\r\n", "second").contains("412"));
    assert!(world.refused("PUT /b/file", "If-Match: \"another\"\r\n", "third").contains("412"));
    assert!(world.refused("GET /b/file", "If-Match: \"another\"\r\n", "").contains("412"));
    let etag = world.field("HEAD /b/file", "etag");
    assert_eq!(world.ask("GET /b/file", &format!("If-Match: {etag}\r\n"), ""), "first");
    world.ask("PUT /b/file", &format!("If-Match: {etag}\r\n"), "fourth");
    assert_eq!(world.ask("GET /b/file", "", ""), "fourth");
}

#[test]
fn parts_that_come_in_any_order_become_the_object_in_their_order() {
    let mut world = World::new();
    let begun = world.ask("POST /b/dir/large?uploads", "x-amz-meta-mtime: 12.5\r\n", "");
    let id = all(&begun, "UploadId")[0].to_owned();
    let part = |number: u32| format!("PUT /b/dir/large?uploadId={id}&partNumber={number}");
    world.ask(&part(3), "", "5");
    world.ask(&part(1), "", "12");
    world.ask(&part(2), "", "34");
    let listed = world.ask(&format!("GET /b/dir/large?uploadId={id}"), "", "");
    assert_eq!(all(&listed, "Size"), ["2", "2", "1"]);
    assert!(world.refused("GET /b/dir/large", "", "").contains("404"));
    let wanted: String = (1..=3).map(|number| format!("<Part><PartNumber>{number}</PartNumber></Part>")).collect();
    let done = world.ask(&format!("POST /b/dir/large?uploadId={id}"), "", &wanted);
    assert_eq!(world.ask("GET /b/dir/large", "", ""), "12345");
    assert_eq!(world.field("HEAD /b/dir/large", "etag"), all(&done, "ETag")[0].replace("&quot;", "\""));
    assert_eq!(world.field("HEAD /b/dir/large", "x-amz-meta-mtime"), "12.5");
    assert!(world.refused(&format!("POST /b/dir/large?uploadId={id}"), "", &wanted).contains("404"));
}

#[test]
fn a_part_that_never_came_completes_nothing() {
    let mut world = World::new();
    let begun = world.ask("POST /b/large?uploads", "", "");
    let id = all(&begun, "UploadId")[0].to_owned();
    world.ask(&format!("PUT /b/large?uploadId={id}&partNumber=1"), "", "12");
    let wanted = "<Part><PartNumber>1</PartNumber></Part><Part><PartNumber>2</PartNumber></Part>";
    assert!(world.refused(&format!("POST /b/large?uploadId={id}"), "", wanted).contains("InvalidPart"));
}

#[test]
fn a_copy_keeps_metadata_unless_it_is_told_other() {
    let mut world = World::new();
    world.ask("PUT /b/file", "x-amz-meta-mtime: 1\r\n", "content");
    world.ask("PUT /b/copy", "x-amz-copy-source: /b/file\r\n", "");
    let anew = "x-amz-copy-source: /b/file\r\nx-amz-metadata-directive: REPLACE\r\nx-amz-meta-mtime: 2\r\n";
    world.ask("PUT /b/other", anew, "");
    assert_eq!(world.ask("GET /b/copy", "", ""), "content");
    assert_eq!(["copy", "other"].map(|name| world.field(&format!("HEAD /b/{name}"), "x-amz-meta-mtime")), ["1", "2"]);
}

#[test]
fn a_directory_goes_with_the_last_of_what_is_in_it() {
    let mut world = World::new();
    world.ask("PUT /b/a/b/file", "", "content");
    world.ask("DELETE /b/a/b/file", "", "");
    world.ask("DELETE /b/a/b/file", "", "");
    assert_eq!(all(&world.ask("GET /b?list-type=2", "", ""), "KeyCount"), ["0"]);
    assert!(world.directory.path().join("b").is_dir() && !world.directory.path().join("b/a").exists());
}

#[test]
fn nobody_gets_out_of_the_buckets() {
    let mut world = World::new();
    assert!(world.refused("GET /b/..%2F..%2Fetc/passwd", "", "").contains("400"));
    assert!(world.refused("GET /../etc", "", "").contains("400"));
}
