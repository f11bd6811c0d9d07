//! What S3 is asked, and what its answers are taken for: whole calls against a scripted store.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};
use s3::S3;

/// 2013-05-24T00:00:00Z.
const NOW: i64 = 1_369_353_600;

type Scripted = (u16, &'static [(&'static str, &'static str)], &'static str);

fn store(answer: impl Fn(&Sent) -> Scripted + 'static) -> Stand {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Stand::default()
        .text("endpoint", "https://store.example")
        .text("access_key_id", "AKTEST")
        .secret("secret_access_key", "SKTEST")
        .now(NOW)
        .server(move |sent| {
            let (status, headers, body) = answer(sent);
            Ok((status, headers.iter().map(owned).collect(), body.as_bytes().to_vec()))
        })
}

fn with<T>(stand: Stand, run: impl FnOnce(S3) -> T) -> T {
    testing::with(stand, || run(testing::open().unwrap()))
}

fn node(kind: Kind, path: &str, version: Option<&str>) -> Node {
    Node { kind, path: path.into(), cookie: None, version: version.map(Into::into) }
}

fn directory(path: &str) -> Node {
    node(Kind::Directory, path, None)
}

fn silent(_: &Sent) -> Scripted {
    (500, &[], "")
}

const FOUND: Scripted = (200, &[("ETag", "\"5d41402abc4b2a76b9719d911017c592\""), ("Content-Length", "5")], "");
const EMPTY_LIST: Scripted = (200, &[], "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>");
const ONE_KEY: Scripted =
    (200, &[], "<ListBucketResult><Contents><Key>a/b</Key><Size>1</Size></Contents></ListBucketResult>");

mod configure {
    use super::*;

    fn wrong(stand: Stand) -> Vec<String> {
        let problems = testing::with(stand, || testing::open::<S3>().map(|_| ()).unwrap_err());
        problems.into_iter().map(|problem| problem.option_name).collect()
    }

    #[test]
    fn one_key_of_two_is_a_problem() {
        assert_eq!(wrong(Stand::default().text("access_key_id", "a")), ["secret_access_key"]);
        assert_eq!(wrong(Stand::default().secret("secret_access_key", "s")), ["access_key_id"]);
    }

    #[test]
    fn every_problem_is_named() {
        let stand = store(silent).text("sts_endpoint", "x").setting("list_chunk", Value::Number(0));
        assert_eq!(wrong(stand), ["sts_endpoint", "list_chunk"]);
    }

    #[test]
    fn conditions_are_promised_only_where_they_are_known() {
        let promises = |preset: &str| {
            with(store(silent).text("provider", preset), |s3| s3.traits().abilities.contains(Abilities::CONDITIONAL))
        };
        assert_eq!(["AWS", "Minio", "Ceph", "Wasabi", "Other"].map(promises), [true, true, true, false, false]);
    }
}

mod addressing {
    use super::*;

    fn url(stand: Stand, path: &str) -> String {
        with(stand, |s3| {
            let plan = s3.read(&node(Kind::File, path, None), None, None).unwrap();
            testing::rendered_plan(plan).unwrap().unwrap().url
        })
    }

    #[test]
    fn the_preset_says_where_the_bucket_stands() {
        assert_eq!(url(store(silent).text("provider", "AWS"), "b/k"), "https://b.store.example/k");
        assert_eq!(url(store(silent).text("provider", "Minio"), "b/k"), "https://store.example/b/k");
        let virtual_style = store(silent).text("provider", "Minio").setting("force_path_style", Value::Truth(false));
        assert_eq!(url(virtual_style, "b/k"), "https://b.store.example/k");
    }

    #[test]
    fn a_bucket_that_is_no_plain_label_stays_in_the_path() {
        assert_eq!(url(store(silent).text("provider", "AWS"), "b.c/k"), "https://store.example/b.c/k");
    }

    #[test]
    fn keys_are_encoded_once_and_dots_stay() {
        assert_eq!(url(store(silent), "b/a b+%/../ü"), "https://store.example/b/a%20b%2B%25/../%C3%BC");
    }

    #[test]
    fn without_keys_nothing_is_signed() {
        testing::with(Stand::default().text("endpoint", "https://store.example"), || {
            let s3: S3 = testing::open().unwrap();
            let plan = s3.read(&node(Kind::File, "b/k", None), None, None).unwrap();
            let sent = testing::rendered_plan(plan).unwrap().unwrap();
            assert!(sent.header("authorization").is_none() && sent.header("x-amz-date").is_none());
        });
    }
}

mod stat {
    use super::*;

    #[test]
    fn neither_object_nor_key_below_is_none() {
        let stand = store(|sent| if sent.method == "HEAD" { (404, &[], "") } else { EMPTY_LIST });
        assert_eq!(with(stand, |s3| s3.stat("b/a", None)).unwrap(), None);
    }

    #[test]
    fn a_key_below_makes_a_directory_which_keeps_the_name() {
        let stand = store(|sent| if sent.method == "HEAD" { FOUND } else { ONE_KEY });
        assert_eq!(with(stand, |s3| s3.stat("b/a", None)).unwrap(), Some(Entry::directory("a")));
    }

    #[test]
    fn a_failed_look_is_an_error_and_not_absence() {
        for status in [403, 500, 503] {
            let stand = store(move |sent| if sent.method == "HEAD" { (404, &[], "") } else { (status, &[], "") });
            assert!(with(stand, |s3| s3.stat("b/a", None)).is_err(), "{status} to the list");
            let stand = store(move |sent| if sent.method == "HEAD" { (status, &[], "") } else { EMPTY_LIST });
            assert!(with(stand, |s3| s3.stat("b/a", None)).is_err(), "{status} to the look");
        }
    }

    #[test]
    fn the_stored_time_is_exact() {
        const TIMED: Scripted = (
            200,
            &[
                ("ETag", "\"e\""),
                ("Content-Length", "5"),
                ("Last-Modified", "Tue, 27 Mar 2007 19:36:42 GMT"),
                ("x-amz-meta-mtime", "7.5"),
            ],
            "",
        );
        let file = with(store(|_| TIMED), |s3| s3.stat("b/a", Some(Kind::File))).unwrap().unwrap();
        assert_eq!(file.modified, Some(Instant { seconds: 7, nanoseconds: 500_000_000 }));
        assert!(!file.notes.contains(Notes::INEXACT_MODIFIED));
    }

    #[test]
    fn an_object_without_a_size_is_not_an_empty_one() {
        let stand = store(|_| (200, &[("ETag", "\"e\"")], ""));
        assert!(with(stand, |s3| s3.stat("b/a", Some(Kind::File))).is_err());
    }
}

mod list {
    use super::*;

    #[test]
    fn missing_directory_is_not_found() {
        let error = with(store(|_| EMPTY_LIST), |s3| s3.list(&directory("b/a"), None)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }

    #[test]
    fn an_empty_bucket_is_empty() {
        assert_eq!(with(store(|_| EMPTY_LIST), |s3| s3.list(&directory("b"), None)).unwrap(), Page::last(vec![]));
    }

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        const FIRST: Scripted = (
            200,
            &[],
            "<R><IsTruncated>true</IsTruncated><NextMarker>a/b</NextMarker><Contents><Key>a/b</Key><Size>1</Size></Contents></R>",
        );
        let stand = store(|sent| if sent.url.contains("marker=a%2Fb") { EMPTY_LIST } else { FIRST });
        with(stand, |s3| {
            let first = s3.list(&directory("b/a"), None).unwrap();
            let second = s3.list(&directory("b/a"), first.next.as_deref()).unwrap();
            assert_eq!((first.entries.len(), second), (1, Page::last(vec![])));
        });
    }

    #[test]
    fn keys_that_may_not_list_buckets_are_told_so() {
        let stand = store(|_| (403, &[], "<Error><Code>AccessDenied</Code></Error>"));
        let error = with(stand, |s3| s3.list(&directory(""), None)).unwrap_err();
        assert_eq!((error.kind, error.message.contains("list buckets")), (ErrorKind::Denied, true));
    }
}

mod read {
    use super::*;

    #[test]
    fn a_plan_insists_on_the_version() {
        with(store(silent), |s3| {
            let plan = s3.read(&node(Kind::File, "b/k", Some("e")), Some(5), None).unwrap();
            let sent = testing::rendered_plan(plan).unwrap().unwrap();
            assert_eq!((sent.header("if-match"), sent.header("range")), (Some("\"e\""), None));
        });
    }

    #[test]
    fn answers_that_are_no_content_are_explained() {
        let explained = |status, body: &str| {
            with(store(silent), |s3| {
                match s3.explain(&node(Kind::File, "b/k", None), &testing::answer(status, &[], body.as_bytes())) {
                    Verdict::Failed(error) => error,
                    Verdict::Replan => panic!("nothing here asks for a new plan"),
                }
            })
        };
        let code = |code: &str| format!("<Error><Code>{code}</Code><Region>eu-west-1</Region></Error>");
        assert_eq!(explained(412, "").kind, ErrorKind::PreconditionFailed);
        assert_eq!(explained(404, &code("NoSuchKey")).kind, ErrorKind::NotFound);
        assert_eq!(explained(403, &code("AccessDenied")).kind, ErrorKind::Denied);
        assert_eq!(explained(403, &code("SignatureDoesNotMatch")).kind, ErrorKind::Unauthenticated);
        assert!(explained(403, &code("RequestTimeTooSkewed")).message.contains("clock"));
        assert_eq!(explained(503, &code("SlowDown")).kind, ErrorKind::RateLimited(None));
        assert_eq!(explained(500, "gibberish").kind, ErrorKind::Unavailable(None));
        let moved = explained(301, &code("PermanentRedirect"));
        assert_eq!((moved.kind, moved.message.contains("eu-west-1")), (ErrorKind::Invalid, true));
    }
}

mod write {
    use super::*;

    fn intent(existing: Option<Node>) -> WriteIntent {
        WriteIntent {
            parent: directory("b"),
            name: "k".into(),
            existing,
            modified: Some(Instant { seconds: 7, nanoseconds: 500_000_000 }),
            created: None,
            media_type: "text/plain".into(),
        }
    }

    fn single(stand: Stand, existing: Option<Node>) -> Sent {
        with(stand, |s3| match s3.begin(&intent(existing), Source::memory(b"hello")).unwrap() {
            Begun::Upload { cutting: None, first: Some(first), .. } => testing::rendered_part(first, b"hello").unwrap(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_small_file_is_one_put() {
        let sent = single(store(silent), None);
        assert_eq!((&*sent.method, &*sent.url, &*sent.body), ("PUT", "https://store.example/b/k", &b"hello"[..]));
        assert_eq!(sent.header("content-md5"), Some("XUFAKrxLKna5cZ2REBfFkg=="));
        assert_eq!(sent.header("x-amz-meta-mtime"), Some("7.5"));
        assert_eq!(sent.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    }

    #[test]
    fn over_http_the_content_is_signed() {
        let plain = Stand::default()
            .text("endpoint", "http://store.example")
            .text("access_key_id", "a")
            .secret("secret_access_key", "s");
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(single(plain.now(NOW), None).header("x-amz-content-sha256"), Some(digest));
    }

    #[test]
    fn conditions_are_sent_where_they_are_promised() {
        let seen = || Some(node(Kind::File, "b/k", Some("e")));
        let minio = || store(silent).text("provider", "Minio");
        assert_eq!(single(minio(), None).header("if-none-match"), Some("*"));
        assert_eq!(single(minio(), seen()).header("if-match"), Some("\"e\""));
        assert_eq!(single(store(silent), seen()).header("if-match"), None);
        // Where quotes are taken for a part of the name.
        assert_eq!(single(store(silent).text("provider", "Ceph"), seen()).header("if-match"), Some("e"));
    }

    const INITIATED: Scripted = (200, &[], "<R><UploadId>u1</UploadId></R>");

    fn large(answer: impl Fn(&Sent) -> Scripted + 'static) -> Stand {
        store(answer).setting("upload_cutoff", Value::Bytes(5)).setting("disable_checksum", Value::Truth(true))
    }

    fn begun(s3: &S3) -> <S3 as Writing>::Session {
        match s3.begin(&intent(None), Source::memory(b"hello")).unwrap() {
            Begun::Upload { session, cutting: Some(cutting), first: None } => {
                assert_eq!((cutting.first_bytes, cutting.parallel), (5 << 20, 4));
                session
            }
            other => panic!("{other:?}"),
        }
    }

    const PART: Part = Part { number: 0, span: Span { offset: 0, size: 5 }, last: true, lane: 0 };

    fn receipts() -> [Receipt; 1] {
        [Receipt { number: 0, span: PART.span, receipt: "e".into() }]
    }

    #[test]
    fn parts_count_from_one_and_their_etags_are_the_receipts() {
        with(large(|_| INITIATED), |s3| {
            let session = begun(&s3);
            let plan = s3.plan_part(&session, &PART, Source::memory(b"hello")).unwrap();
            assert_eq!(
                testing::rendered_part(plan, b"hello").unwrap().url,
                "https://store.example/b/k?partNumber=1&uploadId=u1"
            );
            let stored = s3.accept_part(&session, &PART, &testing::answer(200, &[("etag", "\"e\"")], b"")).unwrap();
            assert_eq!(stored, PartAnswer::Stored("e".into()));
            let lost = s3.accept_part(
                &session,
                &PART,
                &testing::answer(404, &[], b"<Error><Code>NoSuchUpload</Code></Error>"),
            );
            assert_eq!(lost.unwrap(), PartAnswer::Restart);
        });
    }

    #[test]
    fn an_error_inside_a_completed_answer_is_an_error() {
        const FAILED: Scripted = (200, &[], "   <Error><Code>InternalError</Code><Message>m</Message></Error>");
        with(large(|sent| if sent.url.ends_with("?uploads=") { INITIATED } else { FAILED }), |s3| {
            let error = s3.finish(&begun(&s3), &receipts(), Source::memory(b"hello")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unavailable(None));
        });
    }

    #[test]
    fn what_is_left_of_an_upload_are_the_parts_that_the_store_still_has() {
        const PARTS: Scripted = (200, &[], "<R><Part><PartNumber>1</PartNumber><ETag>\"e\"</ETag></Part></R>");
        with(large(|sent| if sent.method == "POST" { INITIATED } else { PARTS }), |s3| {
            assert_eq!(s3.resume(&begun(&s3), &receipts()).unwrap(), Remains::Parts(vec![0]));
        });
        const GONE: Scripted = (404, &[], "<Error><Code>NoSuchUpload</Code></Error>");
        with(large(|sent| if sent.method == "POST" { INITIATED } else { GONE }), |s3| {
            assert_eq!(s3.resume(&begun(&s3), &receipts()).unwrap(), Remains::Nothing);
        });
    }

    #[test]
    fn a_single_put_whose_answer_was_lost_is_known_by_its_digest() {
        let resumed = |answer: Scripted| {
            with(store(move |_| answer), |s3| match s3.begin(&intent(None), Source::memory(b"hello")).unwrap() {
                Begun::Upload { session, .. } => s3.resume(&session, &[]).unwrap(),
                other => panic!("{other:?}"),
            })
        };
        assert!(matches!(resumed(FOUND), Remains::Complete(_)));
        const OTHER: Scripted = (200, &[("ETag", "\"7d41402abc4b2a76b9719d911017c592\""), ("Content-Length", "5")], "");
        assert_eq!(resumed(OTHER), Remains::Nothing);
    }

    #[test]
    fn a_file_cannot_stand_beside_the_buckets() {
        let beside = WriteIntent { parent: directory(""), ..intent(None) };
        let error = with(store(silent), |s3| s3.begin(&beside, Source::memory(b"")).unwrap_err());
        assert_eq!(error.kind, ErrorKind::Invalid);
    }
}

mod change {
    use super::*;

    #[test]
    fn removing_what_is_not_there_is_not_found() {
        let error = with(store(|_| (404, &[], "")), |s3| s3.remove_file(&node(Kind::File, "b/k", None))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_with_something_in_it_stays() {
        let error = with(store(|_| ONE_KEY), |s3| s3.remove_directory(&directory("b/a"))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::DirectoryNotEmpty);
    }

    #[test]
    fn without_markers_a_directory_takes_no_request() {
        let stand = Stand::default().text("endpoint", "https://store.example");
        let made = testing::with(stand, || testing::open::<S3>().unwrap().make_directory(&directory("b"), "d"));
        assert_eq!(made.unwrap(), Outcome::Done(Some(Entry::directory("d"))));
    }

    #[test]
    fn a_copy_onto_something_unseen_is_refused() {
        let copied =
            with(store(|_| FOUND), |s3| s3.copy_to(&node(Kind::File, "b/k", None), &directory("b"), "l", None, None));
        assert_eq!(copied.unwrap_err().kind, ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_new_time_keeps_everything_else() {
        const RICH: Scripted = (
            200,
            &[
                ("ETag", "\"e\""),
                ("Content-Length", "5"),
                ("Content-Type", "image/png"),
                ("Content-Encoding", "aws-chunked,br"),
                ("x-amz-meta-mtime", "1"),
                ("x-amz-meta-colour", "red"),
                ("x-amz-storage-class", "STANDARD_IA"),
            ],
            "",
        );
        let stand = store(|sent| match &*sent.method {
            "HEAD" => RICH,
            _ => {
                let expected = [
                    ("x-amz-metadata-directive", "REPLACE"),
                    ("x-amz-copy-source", "/b/k%20k"),
                    ("x-amz-copy-source-if-match", "\"e\""),
                    ("content-type", "image/png"),
                    ("content-encoding", "br"),
                    ("x-amz-meta-mtime", "7.5"),
                    ("x-amz-meta-colour", "red"),
                    ("x-amz-storage-class", "STANDARD_IA"),
                ];
                for (name, value) in expected {
                    assert_eq!(sent.header(name), Some(value), "{name}");
                }
                assert_eq!(sent.headers.iter().filter(|(name, _)| name == "x-amz-meta-mtime").count(), 1);
                (200, &[], "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>")
            }
        });
        let modified = Instant { seconds: 7, nanoseconds: 500_000_000 };
        let set = with(stand, |s3| s3.set_modified(&node(Kind::File, "b/k k", None), modified));
        assert_eq!(set.unwrap(), Outcome::Done(None));
    }
}
