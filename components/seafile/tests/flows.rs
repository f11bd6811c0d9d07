//! What Seafile is asked, and what its answers are taken for: whole calls against a scripted server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use std::cell::RefCell;
use std::rc::Rc;

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};
use seafile::Seafile;

type Scripted = (u16, &'static [(&'static str, &'static str)], &'static str);
type Log = Rc<RefCell<Vec<String>>>;

const DOCS: &str = "aaaaaaaa-0000-4000-8000-aaaaaaaaaaaa";
const REPOS: &str = r#"[{"id":"aaaaaaaa-0000-4000-8000-aaaaaaaaaaaa","name":"Docs","encrypted":"","mtime":1714556000},
    {"id":"bbbbbbbb-0000-4000-8000-bbbbbbbbbbbb","name":"Docs","encrypted":false},
    {"id":"cccccccc-0000-4000-8000-cccccccccccc","name":"Secret","encrypted":1}]"#;
const FILE: &str = r#"{"type":"file","id":"f00d","name":"a.txt","size":5,"mtime":1714556000,"permission":"rw"}"#;
const NOT_THERE: Scripted = (404, &[], r#"{"error_msg":"File not found."}"#);
const MISSING: Scripted = (404, &[], r#"{"error_msg":"Folder /a not found."}"#);

/// What every test's server knows: the libraries and the version; the rest is scripted.
fn stand(answer: impl Fn(&Sent) -> Scripted + 'static) -> (Stand, Log) {
    let log = Log::default();
    let told = log.clone();
    let stand = Stand::default()
        .text("url", "https://files.example/sea")
        .text("user", "a@example.com")
        .secret("auth_token", "24fd3c")
        .now(1_714_556_000)
        .server(move |sent| {
            let path = sent.url.strip_prefix("https://files.example/sea/").unwrap_or(&sent.url);
            told.borrow_mut().push(format!("{} {path} {}", sent.method, String::from_utf8_lossy(&sent.body)));
            let (status, headers, body) = match (sent.method.as_str(), path) {
                ("GET", "api2/repos/") => (200, &[][..], REPOS),
                ("GET", "api2/server-info/") => (200, &[][..], r#"{"version":"10.0.1"}"#),
                _ => answer(sent),
            };
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Ok((status, headers.iter().map(owned).collect(), body.as_bytes().to_vec()))
        });
    (stand, log)
}

fn in_docs(answer: impl Fn(&Sent) -> Scripted + 'static) -> (Stand, Log) {
    let (stand, log) = stand(answer);
    (stand.text("library", "Docs"), log)
}

fn with<T>(stand: Stand, run: impl FnOnce(Seafile) -> T) -> T {
    testing::with(stand, || run(testing::open().unwrap()))
}

fn node(kind: Kind, path: &str, version: Option<&str>) -> Node {
    Node { kind, path: path.into(), cookie: None, version: version.map(Into::into) }
}

fn kind_of<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind
}

mod signing_in {
    use super::*;

    fn signed_in(two_factor: bool, answer: Option<&str>, told: Scripted) -> (Result<Step>, Vec<String>) {
        let log = Log::default();
        let seen = log.clone();
        let stand = Stand::default()
            .text("url", "https://files.example")
            .text("user", "a@example.com")
            .secret("pass", "p\"w")
            .setting("2fa", Value::Truth(two_factor))
            .server(move |sent| {
                let code = sent.header("x-seafile-otp").unwrap_or("no code");
                assert!(sent.header("authorization").is_none());
                seen.borrow_mut().push(format!("{} {code} {}", sent.url, String::from_utf8_lossy(&sent.body)));
                let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                Ok((told.0, told.1.iter().map(owned).collect(), told.2.as_bytes().to_vec()))
            });
        let step = with(stand, |seafile| {
            assert!(matches!(seafile.traits().signing_in, SigningIn::Session(_)));
            seafile.sign_in(answer)
        });
        let log = log.borrow().clone();
        (step, log)
    }

    #[test]
    fn the_password_goes_out_once_and_alone() {
        let (step, log) = signed_in(false, None, (200, &[], r#"{"token":"24fd3c"}"#));
        assert!(matches!(step, Ok(Step::SignedIn)));
        let body = r#"{"username":"a@example.com","password":"p\"w"}"#;
        assert_eq!(log, [format!("https://files.example/api2/auth-token/ no code {body}")]);
    }

    #[test]
    fn a_code_is_asked_for_where_the_server_wants_one_and_before_it_where_the_settings_say_so() {
        let wants: Scripted = (400, &[("X-Seafile-OTP", "required")], r#"{"non_field_errors":["missing"]}"#);
        assert!(matches!(signed_in(false, None, wants).0, Ok(Step::Ask(_))));
        let (step, log) = signed_in(true, None, wants);
        assert!(matches!(step, Ok(Step::Ask(Question { typed: true, .. }))) && log.is_empty());
        let (step, log) = signed_in(true, Some(" 123456 "), (200, &[], r#"{"token":"24fd3c"}"#));
        assert!(matches!(step, Ok(Step::SignedIn)) && log[0].contains(" 123456 {"));
        let wrong = (400, &[][..], r#"{"non_field_errors":["Two factor auth token is invalid."]}"#);
        assert!(matches!(signed_in(true, Some("1"), wrong).0, Ok(Step::Ask(_))));
    }

    #[test]
    fn a_wrong_password_is_no_failure_of_the_server() {
        let wrong = (400, &[][..], r#"{"non_field_errors":["Unable to login with provided credentials."]}"#);
        assert_eq!(kind_of(signed_in(false, None, wrong).0), ErrorKind::Unauthenticated);
        assert!(matches!(kind_of(signed_in(false, None, (503, &[], "")).0), ErrorKind::Unavailable(_)));
    }

    #[test]
    fn a_token_is_enough_and_nothing_is_a_problem() {
        let problems = testing::with(Stand::default().text("url", "https://h").text("user", "u"), || {
            testing::open::<Seafile>().map(|_| ()).unwrap_err()
        });
        assert_eq!(problems[0].option_name, "pass");
        let (stand, _) = in_docs(|sent| {
            assert_eq!(sent.header("authorization"), Some("Token 24fd3c"));
            (200, &[], FILE)
        });
        with(stand, |seafile| {
            assert!(matches!(seafile.traits().signing_in, SigningIn::Configured));
            assert!(seafile.stat("a.txt", Some(Kind::File)).unwrap().is_some());
        });
    }
}

mod looking {
    use super::*;

    #[test]
    fn a_file_is_asked_for_by_its_encoded_path() {
        let (stand, log) = in_docs(|_| (200, &[], FILE));
        let entry = with(stand, |seafile| seafile.stat("d/a+b %.txt", Some(Kind::File))).unwrap().unwrap();
        assert_eq!((entry.size, entry.version.as_deref()), (Some(5), Some("f00d")));
        assert_eq!(entry.modified, Some(Instant { seconds: 1_714_556_000, nanoseconds: 0 }));
        let asked = format!("GET api2/repos/{DOCS}/file/detail/?p=%2Fd%2Fa%2Bb%20%25.txt ");
        assert_eq!(log.borrow().last(), Some(&asked));
    }

    #[test]
    fn what_is_neither_file_nor_directory_is_none_and_a_failed_look_is_an_error() {
        let (stand, _) = in_docs(|_| NOT_THERE);
        assert_eq!(with(stand, |seafile| seafile.stat("a", None)).unwrap(), None);
        let (stand, _) = in_docs(|sent| if sent.url.contains("/dir/") { (500, &[], "") } else { NOT_THERE });
        assert!(matches!(kind_of(with(stand, |seafile| seafile.stat("a", None))), ErrorKind::Unavailable(_)));
    }

    #[test]
    fn a_directory_tells_its_time_as_a_date() {
        let told = r#"{"name":"d","mtime":"2024-05-01T10:00:00+00:00","path":"/d/"}"#;
        let (stand, _) =
            in_docs(move |sent| if sent.url.contains("/dir/detail/") { (200, &[], told) } else { MISSING });
        let entry = with(stand, |seafile| seafile.stat("d", None)).unwrap().unwrap();
        assert_eq!(entry.kind, Kind::Directory);
        assert_eq!(entry.modified, Some(Instant { seconds: 1_714_557_600, nanoseconds: 0 }));
    }

    #[test]
    fn a_library_that_is_gone_is_looked_for_anew_and_not_called_an_absence() {
        let (stand, log) = in_docs(|_| (404, &[], r#"{"error_msg":"Library aaaa not found."}"#));
        with(stand, |seafile| {
            assert!(matches!(kind_of(seafile.stat("a", Some(Kind::File))), ErrorKind::Unavailable(_)));
            assert!(matches!(kind_of(seafile.stat("a", Some(Kind::File))), ErrorKind::Unavailable(_)));
        });
        assert_eq!(log.borrow().iter().filter(|line| line.starts_with("GET api2/repos/ ")).count(), 2);
    }
}

mod listing {
    use super::*;

    const LIST: &str = r#"{"user_perm":"rw","dirent_list":[
        {"type":"dir","id":"0","name":"d","mtime":1714556000,"permission":"rw"},
        {"type":"file","id":"f00d","name":"a.txt","mtime":1714556000,"size":5,"permission":"r"}],"dir_id":"1"}"#;

    #[test]
    fn a_list_goes_on_after_a_name() {
        let (stand, log) = in_docs(|_| (200, &[], LIST));
        with(stand, |seafile| {
            let page = Paths::list(&seafile, &node(Kind::Directory, "", None), None).unwrap();
            assert_eq!(page.entries.len(), 2);
            assert!(page.next.is_none() && page.entries[0].notes.contains(Notes::READ_ONLY));
            let page = Paths::list(&seafile, &node(Kind::Directory, "", None), Some("a.txt")).unwrap();
            assert_eq!(page.entries[0].name, "d");
        });
        let asked = format!("GET api/v2.1/repos/{DOCS}/dir/?p=%2F&recursive=0 ");
        assert_eq!(log.borrow().last(), Some(&asked));
    }

    #[test]
    fn a_list_that_broke_off_is_an_error() {
        let (stand, _) = in_docs(|_| (200, &[], LIST.get(..200).unwrap()));
        let listed = with(stand, |seafile| Paths::list(&seafile, &node(Kind::Directory, "", None), None));
        assert!(matches!(kind_of(listed), ErrorKind::Unavailable(_)));
    }

    #[test]
    fn libraries_are_listed_once_and_an_encrypted_one_only_with_a_key() {
        let names = |stand: Stand| {
            let page = with(stand, |seafile| Paths::list(&seafile, &node(Kind::Directory, "", None), None)).unwrap();
            page.entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names(stand(|_| MISSING).0), ["Docs"]);
        assert_eq!(names(stand(|_| MISSING).0.secret("library_key", "k")), ["Docs", "Secret"]);
    }

    #[test]
    fn a_missing_library_is_missing_unless_it_may_be_made() {
        let list = |stand: Stand| with(stand, |seafile| Paths::list(&seafile, &node(Kind::Directory, "", None), None));
        let missing = || stand(|_| MISSING).0.text("library", "No");
        assert_eq!(kind_of(list(missing())), ErrorKind::NotFound);
        assert!(list(missing().setting("create_library", Value::Truth(true))).unwrap().entries.is_empty());
    }
}

mod encrypted {
    use super::*;

    #[test]
    fn the_key_is_sent_once_and_again_when_the_server_forgot_it() {
        let locked = Rc::new(RefCell::new(false));
        let is_locked = locked.clone();
        let (stand, log) = stand(move |sent| match sent.method.as_str() {
            "POST" => {
                *is_locked.borrow_mut() = false;
                (200, &[], "\"success\"")
            }
            _ if *is_locked.borrow() => (440, &[], r#"{"error_msg":"Library password is needed."}"#),
            _ => (200, &[], FILE),
        });
        let stand = stand.text("library", "Secret").secret("library_key", "k&y");
        with(stand, |seafile| {
            for forgotten in [false, false, true] {
                *locked.borrow_mut() = forgotten;
                assert!(seafile.stat("a.txt", Some(Kind::File)).unwrap().is_some());
            }
        });
        let log = log.borrow();
        let posts: Vec<_> = log.iter().filter(|line| line.starts_with("POST")).collect();
        assert_eq!(posts.len(), 2);
        assert_eq!(*posts[0], "POST api2/repos/cccccccc-0000-4000-8000-cccccccccccc/ password=k%26y");
    }

    #[test]
    fn a_wrong_key_or_none_is_denied() {
        let (refusing, _) = stand(|_| (400, &[], r#"{"error_msg":"Incorrect password"}"#));
        let look = |stand: Stand| with(stand.text("library", "Secret"), |seafile| seafile.stat("a", None));
        assert_eq!(kind_of(look(refusing.secret("library_key", "k"))), ErrorKind::Denied);
        let (silent, log) = stand(|_| MISSING);
        assert_eq!(kind_of(look(silent)), ErrorKind::Denied);
        assert_eq!(log.borrow().len(), 1, "nothing but the libraries is asked for");
    }
}

mod reading {
    use super::*;

    const LINK: &str = "\"https://files.example/seafhttp/files/77/a.txt\"";

    fn plan(version: &str, link: Scripted) -> Result<Plan> {
        let (stand, _) = in_docs(move |sent| if sent.url.contains("/detail/") { (200, &[], FILE) } else { link });
        with(stand, |seafile| seafile.read(&node(Kind::File, "a.txt", Some(version)), Some(5), None))
    }

    #[test]
    fn a_link_is_used_without_the_token() {
        let sent = testing::rendered_plan(plan("f00d", (200, &[], LINK)).unwrap()).unwrap().unwrap();
        assert_eq!(sent.url, "https://files.example/seafhttp/files/77/a.txt");
        assert!(sent.headers.is_empty());
        let bare: Scripted = (200, &[], "/seafhttp/files/77/a.txt");
        let sent = testing::rendered_plan(plan("f00d", bare).unwrap()).unwrap().unwrap();
        assert_eq!(sent.url, "https://files.example/seafhttp/files/77/a.txt");
    }

    #[test]
    fn a_link_made_for_this_content_serves_again_and_another_once() {
        let bound = format!("{:?}", plan("f00d", (200, &[("oid", "f00d")], LINK)).unwrap());
        assert!(bound.contains("AnyRange") && bound.contains("ByHeader"), "{bound}");
        assert!(format!("{:?}", plan("f00d", (200, &[], LINK)).unwrap()).contains("Once"));
    }

    #[test]
    fn an_encrypted_file_comes_whole() {
        let (stand, _) = stand(|sent| match sent.method.as_str() {
            "POST" => (200, &[], "\"success\""),
            _ => (200, &[("oid", "f00d")], LINK),
        });
        let stand = stand.text("library", "Secret").secret("library_key", "k");
        let plan =
            with(stand, |seafile| seafile.read(&node(Kind::File, "a.txt", Some("f00d")), Some(5), None)).unwrap();
        assert!(format!("{plan:?}").contains("ranges: Ranges::None"), "{plan:?}");
    }

    #[test]
    fn another_version_is_not_read() {
        assert_eq!(kind_of(plan("beef", (200, &[], LINK))), ErrorKind::PreconditionFailed);
        assert_eq!(kind_of(plan("f00d", (200, &[("oid", "beef")], LINK))), ErrorKind::PreconditionFailed);
    }

    #[test]
    fn a_used_link_is_replaced_and_other_answers_are_failures() {
        let (stand, _) = in_docs(|_| MISSING);
        with(stand, |seafile| {
            let file = node(Kind::File, "a.txt", None);
            let verdict = |status| seafile.explain(&file, &testing::answer(status, &[], b""));
            assert!([400, 403, 404].iter().all(|status| matches!(verdict(*status), Verdict::Replan)));
            assert!(matches!(verdict(401), Verdict::Failed(error) if error.kind == ErrorKind::Unauthenticated));
            assert!(matches!(verdict(416), Verdict::Failed(error) if error.kind == ErrorKind::PreconditionFailed));
        });
    }
}

mod writing {
    use super::*;

    const LINK: &str = "\"https://files.example/seafhttp/upload-api/77\"";
    const STORED: &[u8] = br#"[{"name":"a (1).txt","id":"f00d","size":5}]"#;

    fn intent(existing: Option<Node>) -> WriteIntent {
        WriteIntent {
            parent: node(Kind::Directory, "d", None),
            name: "a.txt".into(),
            existing,
            modified: None,
            created: None,
            media_type: "text/plain".into(),
        }
    }

    fn body(existing: Option<Node>) -> String {
        let (stand, log) = in_docs(|_| (200, &[], LINK));
        let begun = with(stand, |seafile| {
            let begun = seafile.begin(&intent(existing), Source::memory(b"hello")).unwrap();
            let Begun::Upload { first: Some(first), .. } = begun else { panic!("{begun:?}") };
            testing::rendered_part(first, b"hello").unwrap()
        });
        assert_eq!(log.borrow().last(), Some(&format!("GET api2/repos/{DOCS}/upload-link/?p=%2Fd ")));
        assert_eq!(begun.url, "https://files.example/seafhttp/upload-api/77?ret-json=1");
        assert!(begun.header("authorization").is_none());
        String::from_utf8(begun.body).unwrap()
    }

    #[test]
    fn a_new_file_replaces_nothing_and_the_file_comes_last() {
        let new = body(None);
        let fields = ["parent_dir", "relative_path", "replace", "need_idx_progress", "file"];
        let places = fields.map(|field| new.find(&format!("name=\"{field}\"")).unwrap());
        assert!(places.is_sorted() && new.contains("name=\"parent_dir\"\r\n\r\n/d\r\n"));
        assert!(new.contains("name=\"replace\"\r\n\r\n0\r\n"));
        assert!(new.contains("filename=\"a.txt\"\r\nContent-Type: application/octet-stream\r\n\r\nhello\r\n"));
        assert!(body(Some(node(Kind::File, "d/a.txt", None))).contains("name=\"replace\"\r\n\r\n1\r\n"));
    }

    fn judged(there: &'static str, answer: Answer) -> (Result<PartAnswer>, Vec<String>) {
        let (stand, log) = in_docs(move |sent| match sent.method.as_str() {
            "DELETE" => (200, &[], "\"success\""),
            _ if sent.url.contains("upload-link") => (200, &[], LINK),
            _ => (200, &[], there),
        });
        let judged = with(stand, |seafile| {
            let begun = seafile.begin(&intent(None), Source::memory(b"hello")).unwrap();
            let Begun::Upload { session, .. } = begun else { panic!("{begun:?}") };
            let part = Part { number: 0, span: Span { offset: 0, size: 5 }, last: true, lane: 0 };
            seafile.accept_part(&session, &part, &answer)
        });
        let log = log.borrow().clone();
        (judged, log)
    }

    #[test]
    fn a_numbered_copy_of_the_same_content_was_an_earlier_try() {
        let (answer, log) = judged(FILE, testing::answer(200, &[], STORED));
        let Ok(PartAnswer::Complete(Outcome::Done(Some(entry)))) = answer else { panic!("{answer:?}") };
        assert_eq!((entry.name.as_str(), entry.size), ("a.txt", Some(5)));
        assert_eq!(log.last(), Some(&format!("DELETE api2/repos/{DOCS}/file/?p=%2Fd%2Fa%20%281%29.txt ")));
    }

    #[test]
    fn a_numbered_copy_beside_other_content_is_told() {
        let other = r#"{"type":"file","id":"beef","name":"a.txt","size":5}"#;
        let (answer, log) = judged(other, testing::answer(200, &[], STORED));
        let Ok(PartAnswer::Complete(Outcome::Done(Some(entry)))) = answer else { panic!("{answer:?}") };
        assert_eq!(entry.name, "a (1).txt");
        assert!(!log.iter().any(|line| line.starts_with("DELETE")));
    }

    #[test]
    fn each_status_of_the_file_server_has_its_meaning() {
        let kind = |status| kind_of(judged(FILE, testing::answer(status, &[], b"{\"error\":\"x\"}")).0);
        assert!(
            [400, 403].iter().all(|status| {
                matches!(judged(FILE, testing::answer(*status, &[], b"")).0, Ok(PartAnswer::Again(_)))
            })
        );
        let locked = testing::answer(440, &[], br#"{"error":"Library password is needed."}"#);
        assert!(matches!(judged(FILE, locked).0, Ok(PartAnswer::Again(0))));
        assert_eq!([440, 442, 447, 413].map(kind), [const { ErrorKind::Invalid }; 4]);
        assert_eq!(kind(441), ErrorKind::AlreadyExists);
        assert_eq!(kind(443), ErrorKind::QuotaExceeded);
        assert_eq!(kind(444), ErrorKind::NotFound);
        assert_eq!([445, 446].map(kind), [const { ErrorKind::Corrupt }; 2]);
        assert!([408, 500, 503, 520].iter().all(|status| matches!(kind(*status), ErrorKind::Unavailable(None))));
        let slower = testing::answer(429, &[("Retry-After", "0")], b"");
        assert_eq!(kind_of(judged(FILE, slower).0), ErrorKind::RateLimited(Some(1000)));
    }
}

mod changing {
    use super::*;

    #[test]
    fn a_directory_is_made_by_a_form_and_its_name_is_believed() {
        let location: &[(&str, &str)] = &[("Location", "https://files.example/sea/api2/repos/x/dir/?p=/b%20%281%29")];
        let (stand, log) =
            in_docs(move |sent| if sent.method == "POST" { (201, location, "\"success\"") } else { MISSING });
        let made = with(stand, |seafile| seafile.make_directory(&node(Kind::Directory, "", None), "b"));
        let Ok(Outcome::Done(Some(entry))) = made else { panic!("{made:?}") };
        assert_eq!(entry.name, "b (1)");
        assert_eq!(log.borrow().last(), Some(&format!("POST api2/repos/{DOCS}/dir/?p=%2Fb operation=mkdir")));
    }

    #[test]
    fn libraries_are_made_only_where_the_settings_say_so() {
        let made = r#"{"repo_id":"dddddddd","repo_name":"New"}"#;
        let make =
            |stand: Stand| with(stand, |seafile| seafile.make_directory(&node(Kind::Directory, "", None), "New"));
        assert_eq!(kind_of(make(stand(|_| MISSING).0)), ErrorKind::Denied);
        let (may, log) = stand(move |_| (200, &[], made));
        assert!(make(may.setting("create_library", Value::Truth(true)).secret("library_key", "k")).is_ok());
        let asked = r#"POST api2/repos/ {"name":"New","desc":"","passwd":"k"}"#;
        assert_eq!(log.borrow().last().map(String::as_str), Some(asked));
    }

    #[test]
    fn a_source_that_is_missing_is_said_so_before_anything_is_replaced() {
        let (stand, log) = in_docs(|_| MISSING);
        let there = node(Kind::File, "b", None);
        let root = node(Kind::Directory, "", None);
        let moved = with(stand, |seafile| seafile.move_to(&node(Kind::File, "a", None), &root, "b", Some(&there)));
        assert_eq!(kind_of(moved), ErrorKind::NotFound);
        assert!(log.borrow().iter().all(|line| line.starts_with("GET")));
    }

    #[test]
    fn links_end_after_whole_days_and_serve_again() {
        let shares = r#"[{"token":"t1","link":"https://l/1","is_expired":true,"expire_date":""},
            {"token":"t2","link":"https://l/2","is_expired":false,"expire_date":"2024-05-03T09:33:20+00:00"},
            {"token":"t3","link":"https://l/3","is_expired":false,"expire_date":""}]"#;
        let (stand, log) = in_docs(move |sent| match sent.method.as_str() {
            "GET" => (200, &[], shares),
            "POST" => (200, &[], r#"{"token":"t4","link":"https://l/4"}"#),
            _ => (200, &[], r#"{"success":true}"#),
        });
        with(stand, |seafile| {
            let file = node(Kind::File, "a.txt", None);
            let link = |lives_ms| seafile.link(&file, lives_ms).map(|text| text.plain().unwrap().to_owned());
            assert_eq!(link(None).unwrap(), "https://l/3");
            assert_eq!(link(Some(2 * 86_400_000)).unwrap(), "https://l/2");
            assert_eq!(link(Some(7 * 86_400_000 + 5)).unwrap(), "https://l/4");
            assert_eq!(kind_of(link(Some(3_600_000))), ErrorKind::Unsupported);
            seafile.unlink(&file).unwrap();
        });
        let log = log.borrow();
        assert!(log.iter().any(|line| line.starts_with("POST") && line.ends_with(r#""expire_days":7}"#)));
        assert_eq!(log.iter().filter(|line| line.starts_with("DELETE")).count(), 3);
    }

    #[test]
    fn room_without_a_limit_is_no_room_of_minus_two() {
        let told = r#"{"email":"a@example.com","name":"Alice","usage":123,"total":-2}"#;
        let (stand, _) = in_docs(move |_| (200, &[], told));
        let usage = with(stand, |seafile| seafile.measure()).unwrap();
        assert_eq!((usage.total, usage.used, usage.free), (None, Some(123), None));
    }
}
