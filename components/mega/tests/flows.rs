//! What MEGA is asked, and what its answers are taken for: whole calls against a scripted server.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use std::cell::RefCell;
use std::rc::Rc;

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Stand};
use mega::Mega;

type Log = Rc<RefCell<Vec<String>>>;

/// The key of a file, and of a folder, wrapped with the master key of the session.
const FILE_KEY: &str = "D4D343gGGj6xKZ_SHfdKp2DN3IB_f7fruYLkjHtNk1I";
/// The attributes `{"n":"a.txt"}` under that file's key.
const NAMED: &str = "fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM";
const USER: &str = "AbCdEfGhIjK";

/// A session of the account; the script answers by what the request holds.
fn stand(script: &'static [(&'static str, &'static str)]) -> (Stand, Log) {
    let log = Log::default();
    let told = log.clone();
    // The master key has the bytes 20 to 2f.
    let stand = Stand::default()
        .text("user", "Alice@example.com")
        .secret("pass", "hunter2")
        .secret("sid", "SID")
        .secret("keys", &format!(r#"["{USER}","ICEiIyQlJicoKSorLC0uLw"]"#))
        .server(move |sent| {
            let body = String::from_utf8_lossy(&sent.body).into_owned();
            let asked = format!("{} {body}", sent.url);
            let answer = script.iter().find(|(holds, _)| asked.contains(holds)).map_or("[-9]", |(_, answer)| answer);
            told.borrow_mut().push(asked);
            let (status, answer) =
                answer.split_once(' ').filter(|(status, _)| status.len() == 3).unwrap_or(("200", answer));
            Ok((status.parse().unwrap(), Vec::new(), answer.as_bytes().to_vec()))
        });
    (stand, log)
}

fn with<T>(stand: Stand, run: impl FnOnce(Mega) -> T) -> T {
    testing::with(stand, || run(testing::open().unwrap()))
}

fn node(kind: Kind, handle: &str) -> Node {
    let version = (kind == Kind::File).then(|| FILE_KEY.to_owned());
    Node { kind, path: "there".into(), cookie: Some(handle.into()), version }
}

fn in_tree(handle: &str, parent: &str, name: &str) -> Placed {
    let entry = Entry { cookie: Some(handle.into()), version: Some(FILE_KEY.into()), ..Entry::file(name) };
    Placed { entry, parent: Some(parent.into()), path: None }
}

fn kind_of<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind
}

const TREE: &str = r#"[{"f":[
    {"h":"fileAAAA","p":"rootAAAA","u":"AbCdEfGhIjK","t":0,"a":"fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM","k":"AbCdEfGhIjK:D4D343gGGj6xKZ_SHfdKp2DN3IB_f7fruYLkjHtNk1I","s":5,"ts":1700000001},
    {"h":"hidden11","p":"rootAAAA","u":"AbCdEfGhIjK","t":0,"a":"fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM","k":"SomeoneElse:D4D343gGGj6xKZ_SHfdKp2DN3IB_f7fruYLkjHtNk1I","s":5,"ts":1},
    {"h":"rootAAAA","p":"","u":"AbCdEfGhIjK","t":2,"a":"","k":"","ts":1},
    {"h":"binAAAAA","p":"","u":"AbCdEfGhIjK","t":4,"a":"","k":"","ts":1}],
    "f2":[],"ok":[],"u":[{"u":"AbCdEfGhIjK","c":2}],"sn":"here"}]"#;

fn walked(script: &'static [(&'static str, &'static str)]) -> Result<(Option<String>, Vec<Placed>)> {
    let (stand, _) = stand(script);
    with(stand, |mega| {
        let mut found = Vec::new();
        let root = Node { kind: Kind::Directory, path: String::new(), cookie: None, version: None };
        let mut take = |entries: Vec<Placed>| {
            found.extend(entries);
            Ok(())
        };
        let mut sink = Sink::new(&mut take);
        let cursor = mega.walk(&root, &mut sink)?;
        sink.flush()?;
        Ok((cursor, found))
    })
}

#[test]
fn a_walk_shows_what_can_be_deciphered() {
    let (cursor, found) = walked(&[("\"f\"", TREE)]).unwrap();
    assert_eq!(cursor.as_deref(), Some("here"));
    assert_eq!(found.len(), 2, "{found:?}");
    let (file, root) = (&found[0], &found[1]);
    assert_eq!(
        (file.entry.name.as_str(), file.entry.size, file.parent.as_deref()),
        ("a.txt", Some(5), Some("rootAAAA"))
    );
    assert_eq!((file.entry.version.as_deref(), file.entry.cookie.as_deref()), (Some(FILE_KEY), Some("fileAAAA")));
    assert_eq!(file.entry.modified.unwrap().seconds, 1_700_000_001);
    assert_eq!(
        (root.entry.cookie.as_deref(), root.parent.as_deref(), root.path.as_deref()),
        (Some("rootAAAA"), None, None)
    );
}

#[test]
fn a_walk_that_did_not_see_everything_is_an_error() {
    let short: &'static str = &TREE[..TREE.len() - 40];
    assert_eq!(kind_of(walked(Box::leak(Box::new([("\"f\"", short)])))), ErrorKind::Unavailable(None));
    assert_eq!(kind_of(walked(&[("\"f\"", r#"[{"f":[],"sn":"here"}]"#)])), ErrorKind::Unavailable(None));
    assert_eq!(kind_of(walked(&[("\"f\"", "-15")])), ErrorKind::Unauthenticated);
    assert_eq!(kind_of(walked(&[("\"f\"", "[-3]")])), ErrorKind::Unavailable(None));
    assert_eq!(kind_of(walked(&[("\"f\"", "500 ")])), ErrorKind::Unavailable(None));
}

#[test]
fn the_proof_is_sent_and_the_password_never() {
    let prelude = ("\"us0\"", r#"[{"v":2,"s":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]"#);
    let (refusing, log) = stand(Box::leak(Box::new([prelude, ("\"us\"", "[-9]")])));
    assert_eq!(kind_of(with(refusing, |mega| mega.sign_in(None))), ErrorKind::Unauthenticated);
    let asked = log.borrow().join("\n");
    assert!(asked.contains("alice@example.com") && asked.contains("30MHLEivG4BoV04SolRdrw"), "{asked}");
    assert!(!asked.contains("hunter2") && !asked.contains("sid="), "{asked}");
    let (careful, log) = stand(Box::leak(Box::new([prelude, ("\"us\"", "[-26]")])));
    let step = with(careful, |mega| mega.sign_in(Some(" 123456 "))).unwrap();
    assert!(matches!(step, Step::Ask(Question { typed: true, .. })), "{step:?}");
    assert!(log.borrow()[1].contains(r#""mfa":"123456""#));
}

#[test]
fn a_range_stands_in_the_path_and_over_tls() {
    let (stand, log) = stand(&[("\"g\"", r#"[{"s":5,"at":"","g":"http://gfs1.userstorage.mega.co.nz/dl/tok"}]"#)]);
    let sent = with(stand, |mega| testing::rendered_plan(mega.read(&node(Kind::File, "fileAAAA"), Some(5), None)?));
    let sent = sent.unwrap().unwrap();
    assert_eq!(sent.url, "https://gfs1.userstorage.mega.co.nz/dl/tok/{first}-{last}");
    assert!(log.borrow()[0].contains(r#""ssl":2"#) && log.borrow()[0].contains("sid=SID"));
}

#[test]
fn a_read_that_is_refused_says_why() {
    let read = |answer: &'static str| {
        let (stand, _) = stand(Box::leak(Box::new([("\"g\"", answer)])));
        kind_of(with(stand, |mega| mega.read(&node(Kind::File, "fileAAAA"), Some(5), None)))
    };
    assert_eq!(read(r#"[{"e":-17,"tl":3600}]"#), ErrorKind::QuotaExceeded);
    assert_eq!(read(r#"[{"g":"http://x","d":1}]"#), ErrorKind::Denied);
    assert_eq!(read("[-9]"), ErrorKind::NotFound);
    assert_eq!(read("-3"), ErrorKind::Unavailable(None));
    assert_eq!(read("[-15]"), ErrorKind::Unauthenticated);
    assert_eq!(read("402 "), ErrorKind::RateLimited(None));
    let (stand, _) = stand(&[]);
    let explained = with(stand, |mega| mega.explain(&node(Kind::File, "fileAAAA"), &testing::answer(404, &[], b"")));
    assert!(matches!(explained, Verdict::Replan));
}

#[test]
fn removing_is_a_move_to_the_bin_or_for_good() {
    let remove = |hard: bool| {
        let (stand, log) = stand(&[("\"f\"", TREE), ("\"m\"", "[0]"), ("\"d\"", "[0]")]);
        with(stand.setting("hard_delete", Value::Truth(hard)), |mega| mega.remove_file(&node(Kind::File, "fileAAAA")))
            .unwrap();
        log.borrow().last().unwrap().clone()
    };
    assert!(remove(false).ends_with(r#"[{"a":"m","n":"fileAAAA","t":"binAAAAA"}]"#), "{}", remove(false));
    assert!(remove(true).ends_with(r#"[{"a":"d","n":"fileAAAA"}]"#));
}

#[test]
fn a_rename_keeps_what_else_is_known() {
    let (stand, log) = stand(&[
        ("\"g\"", r#"[{"s":5,"at":"fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM","g":"http://x"}]"#),
        ("\"a\":\"a\"", "[0]"),
        ("\"m\"", "[0]"),
    ]);
    let stand = stand.in_tree(in_tree("fileAAAA", "rootAAAA", "b.txt"));
    let (file, directory) = (node(Kind::File, "fileAAAA"), node(Kind::Directory, "folderAA"));
    let moved = with(stand, |mega| mega.move_to(&file, &directory, "a.txt", None)).unwrap();
    let Outcome::Done(Some(entry)) = moved else { panic!("{moved:?}") };
    assert_eq!(entry.name, "a.txt");
    let log = log.borrow();
    assert!(log[0].contains(r#""n":"fileAAAA","t":"folderAA""#), "{log:?}");
    assert!(log[2].contains(NAMED) && log[2].contains(FILE_KEY), "{log:?}");
}

fn news(answer: &'static str) -> Result<Vec<Change>> {
    let (stand, _) = stand(Box::leak(Box::new([("sn=here", answer)])));
    let stand = stand.in_tree(in_tree("fileAAAA", "rootAAAA", "b.txt"));
    with(stand, |mega| mega.changes_since(Some("here"))).map(|(changes, _, _)| changes)
}

#[test]
fn news_tell_what_came_went_and_was_renamed() {
    let told = news(
        r#"{"a":[{"a":"u","n":"fileAAAA","at":"fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM","ts":2},{"a":"d","n":"goneAAAA"},
            {"a":"d","n":"fileBBBB","m":1},{"a":"psts"},{"a":"t","t":{"f":[{"h":"fileBBBB","p":"x","t":0,
            "a":"fqqkyjEYIL8ICI_yr0VfeG93fIcwnt630aalwouNGQM","k":"AbCdEfGhIjK:D4D343gGGj6xKZ_SHfdKp2DN3IB_f7fruYLkjHtNk1I","s":1,"ts":3}]}}],
            "sn":"there"}"#,
    )
    .unwrap();
    let [Change::Updated(renamed), Change::Removed(gone), Change::Updated(moved)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((renamed.entry.name.as_str(), renamed.parent.as_deref()), ("a.txt", Some("rootAAAA")));
    assert_eq!(gone.cookie.as_deref(), Some("goneAAAA"));
    assert_eq!(moved.parent.as_deref(), Some("x"));
    assert!(news(r#"{"w":"https://g.api.mega.co.nz/wait"}"#).unwrap().is_empty());
}

#[test]
fn a_place_in_the_news_that_is_lost_means_everything() {
    assert!(matches!(news("-9").unwrap().as_slice(), [Change::Everything]));
    assert_eq!(kind_of(news("-15")), ErrorKind::Unauthenticated);
    assert_eq!(kind_of(news("-3")), ErrorKind::Unavailable(None));
}

#[test]
fn a_link_holds_the_key() {
    let (stand, _) = stand(&[("\"l\"", r#"["PubHndl1"]"#)]);
    let link = with(stand, |mega| mega.link(&node(Kind::File, "fileAAAA"), None)).unwrap();
    let link = link.plain().unwrap().to_owned();
    assert!(link.starts_with("https://mega.nz/file/PubHndl1#") && link.len() == 30 + 43, "{link}");
}
