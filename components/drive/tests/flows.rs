//! What is asked of Google and what its answers are taken for, natively, against a scripted drive.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use std::cell::RefCell;
use std::rc::Rc;

use causeway_sdk::options::Value;
use causeway_sdk::percent::decode_form;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::{self, Sent, Stand};
use drive::Drive;
use serde_json::{Value as Json, json};

const FOLDER: &str = "application/vnd.google-apps.folder";
const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
const DOCUMENT: &str = "application/vnd.google-apps.document";
const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const MD5: &str = "9a0364b9e99bb480dd25e1f0284c8555";

/// What an answer is: status, headers, body.
type Said = (u16, Vec<(&'static str, String)>, Json);

fn said(body: Json) -> Said {
    (200, Vec::new(), body)
}

fn refused(status: u16, reason: &str) -> Said {
    let error = json!({"error": {"code": status, "message": "No.", "errors": [{"reason": reason}]}});
    (status, Vec::new(), error)
}

/// What was asked, in order.
type Asked = Rc<RefCell<Vec<Sent>>>;

/// Does something with a drive of these settings that answers so, and tells what it was asked.
fn with<T>(
    settings: &[(&str, Value)],
    answer: impl Fn(&Sent) -> Said + 'static,
    run: impl FnOnce(&Drive) -> T,
) -> (T, Vec<Sent>) {
    let asked = Asked::default();
    let kept = asked.clone();
    let stand = settings.iter().fold(Stand::default(), |stand, (name, value)| stand.setting(name, value.clone()));
    let stand = stand.secret("access-token", "AT").server(move |sent| {
        kept.borrow_mut().push(sent.clone());
        let (status, headers, body) = answer(sent);
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok((status, headers, if body.is_null() { Vec::new() } else { body.to_string().into_bytes() }))
    });
    let result = testing::with(stand, || run(&testing::open::<Drive>().unwrap()));
    (result, asked.take())
}

fn truth(name: &'static str) -> (&'static str, Value) {
    (name, Value::Truth(true))
}

fn text(name: &'static str, value: &str) -> (&'static str, Value) {
    (name, Value::Text(value.to_owned()))
}

fn query(sent: &Sent, name: &str) -> Option<String> {
    let (_, query) = sent.url.split_once('?')?;
    let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(have, _)| *have == name));
    pair.and_then(|(_, value)| decode_form(value))
}

fn path(sent: &Sent) -> &str {
    sent.url.strip_prefix("https://www.googleapis.com").unwrap_or(&sent.url).split('?').next().unwrap()
}

fn body(sent: &Sent) -> Json {
    serde_json::from_slice(&sent.body).unwrap()
}

fn directory(path: &str, cookie: &str) -> Node {
    Node { kind: Kind::Directory, path: path.into(), cookie: Some(cookie.into()), version: None }
}

fn node(path: &str, cookie: &str, version: Option<&str>) -> Node {
    Node { kind: Kind::File, version: version.map(str::to_owned), ..directory(path, cookie) }
}

fn file(id: &str, name: &str) -> Json {
    json!({
        "id": id, "name": name, "mimeType": "text/plain", "size": "4", "md5Checksum": MD5, "headRevisionId": "r1",
        "capabilities": {"canReadRevisions": true}, "parents": ["0R"], "modifiedTime": "2025-01-02T03:04:05.678Z",
        "trashed": false,
    })
}

fn also(mut item: Json, more: Json) -> Json {
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

fn document(id: &str, name: &str) -> Json {
    json!({
        "id": id, "name": name, "mimeType": DOCUMENT, "size": "1", "parents": ["0R"],
        "webViewLink": "https://docs.google.com/d/1?a=1&b=2",
        "exportLinks": {
            "application/pdf": "https://docs.google.com/export?f=pdf&id=1",
            DOCX: "https://docs.google.com/export?f=docx&id=1",
        },
    })
}

fn shortcut(id: &str, name: &str, target: &str, kind: &str) -> Json {
    let details = json!({"targetId": target, "targetMimeType": kind});
    json!({"id": id, "name": name, "mimeType": SHORTCUT, "parents": ["0R"], "shortcutDetails": details})
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn listed(settings: &[(&str, Value)], items: Json) -> Vec<Entry> {
    let answer = move |sent: &Sent| match path(sent) {
        "/drive/v3/files" => said(json!({"files": items})),
        "/drive/v3/files/T" => said(file("T", "target")),
        _ => refused(404, "notFound"),
    };
    with(settings, answer, |drive| drive.list(&directory("", "0R"), None).unwrap().entries).0
}

#[test]
fn a_directory_is_asked_for_by_its_id_with_the_token() {
    let page = json!({"files": [file("1a", "a.txt")], "nextPageToken": "t"});
    let (page, asked) = with(&[], move |_| said(page.clone()), |drive| drive.list(&directory("", "0R"), None).unwrap());
    assert_eq!(page.next.as_deref(), Some("t"));
    let entry = &page.entries[0];
    assert_eq!((entry.cookie.as_deref(), entry.size), (Some("1a"), Some(4)));
    assert_eq!(entry.version.as_deref(), Some(&*format!("r1/{MD5}")));
    assert_eq!(entry.modified, Some(Instant { seconds: 1_735_787_045, nanoseconds: 678_000_000 }));
    let sent = &asked[0];
    assert_eq!(path(sent), "/drive/v3/files");
    assert_eq!(sent.header("authorization"), Some("Bearer AT"));
    assert_eq!(query(sent, "q").as_deref(), Some("trashed=false and ('0R' in parents)"));
    assert_eq!(query(sent, "pageSize").as_deref(), Some("1000"));
    assert_eq!(query(sent, "supportsAllDrives").as_deref(), Some("true"));
    assert_eq!(query(sent, "includeItemsFromAllDrives").as_deref(), Some("true"));
}

#[test]
fn what_was_not_searched_everywhere_is_no_list() {
    let (listed, _) = with(
        &[],
        |_| said(json!({"files": [], "incompleteSearch": true})),
        |drive| drive.list(&directory("d", "1d"), None),
    );
    assert_eq!(listed.unwrap_err().kind, ErrorKind::Unavailable(None));
}

#[test]
fn an_empty_list_of_what_is_gone_is_not_found() {
    let answer = |sent: &Sent| match path(sent) {
        "/drive/v3/files" => said(json!({"files": []})),
        _ => refused(404, "notFound"),
    };
    let (listed, _) = with(&[], answer, |drive| drive.list(&directory("d", "1d"), None));
    assert_eq!(listed.unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn settings_choose_where_to_look() {
    let asked = |settings: &[(&str, Value)], at: &Node| {
        let at = at.clone();
        let page = json!({"files": [file("1a", "a")]});
        with(settings, move |_| said(page.clone()), |drive| drive.list(&at, None).map(drop)).1.remove(0)
    };
    let (root, below) = (directory("", "root"), directory("d", "1d"));
    let q = |sent: &Sent| query(sent, "q").unwrap();
    assert_eq!(q(&asked(&[truth("shared_with_me")], &root)), "trashed=false and sharedWithMe=true");
    assert_eq!(q(&asked(&[truth("shared_with_me")], &below)), "trashed=false and ('1d' in parents)");
    assert_eq!(q(&asked(&[truth("starred_only")], &root)), "trashed=false and starred=true");
    let trashed = format!("(mimeType='{FOLDER}' or trashed=true) and ('1d' in parents)");
    assert_eq!(q(&asked(&[truth("trashed_only")], &below)), trashed);
    let team = asked(&[text("team_drive", "0T")], &below);
    assert_eq!((query(&team, "corpora"), query(&team, "driveId")), (Some("drive".into()), Some("0T".into())));
    let app = asked(&[text("scope", "drive.appfolder")], &below);
    assert_eq!(query(&app, "spaces").as_deref(), Some("appDataFolder"));
    let small = asked(&[("list_chunk", Value::Number(0))], &below);
    assert_eq!(query(&small, "pageSize"), None);
    let keyed = asked(&[text("root_folder_id", "1f"), text("resource_key", "0-k")], &directory("", "1f"));
    assert_eq!(keyed.header("x-goog-drive-resource-keys"), Some("1f/0-k"));
}

#[test]
fn a_name_is_compared_exactly_and_asked_for_escaped() {
    let found = json!({"files": [file("1", "it's"), file("2", "IT'S")]});
    let (found, asked) =
        with(&[], move |_| said(found.clone()), |drive| drive.look_up(&directory("", "0R"), "it's").unwrap());
    assert_eq!(found.len(), 1);
    assert_eq!(query(&asked[0], "q").as_deref(), Some("trashed=false and ('0R' in parents) and (name='it\\'s')"));
    let (_, asked) =
        with(&[], |_| said(json!({"files": []})), |drive| drive.look_up(&directory("", "0R"), "a\\b.docx"));
    let q = query(&asked[0], "q").unwrap();
    assert!(q.ends_with("(name='a\\\\b.docx' or name='a\\\\b')"), "{q}");
}

#[test]
fn a_look_up_goes_on_behind_an_empty_page() {
    let answer = |sent: &Sent| match query(sent, "pageToken") {
        None => said(json!({"files": [], "nextPageToken": "2"})),
        Some(_) => said(json!({"files": [file("1", "a"), file("2", "a")]})),
    };
    assert_eq!(with(&[], answer, |drive| drive.look_up(&directory("", "0R"), "a").unwrap().len()).0, 2);
}

#[test]
fn documents_have_the_first_extension_that_they_can_be_exported_to() {
    let items =
        json!([document("1", "Plan"), {"id": "2", "name": "Form", "mimeType": "application/vnd.google-apps.form"}]);
    let shown = listed(&[], items.clone());
    assert_eq!(names(&shown), ["Plan.docx"]);
    assert_eq!((shown[0].size, &shown[0].version), (None, &None));
    assert!(shown[0].notes.contains(Notes::READ_ONLY));
    assert_eq!(names(&listed(&[text("export_formats", "pdf,docx")], items.clone())), ["Plan.pdf"]);
    assert_eq!(names(&listed(&[text("formats", "ods, pdf")], items.clone())), ["Plan.pdf"]);
    assert_eq!(names(&listed(&[truth("show_all_gdocs")], items.clone())), ["Plan.docx", "Form"]);
    assert_eq!(names(&listed(&[truth("skip_gdocs")], items.clone())), Vec::<&str>::new());
    let link = &listed(&[text("export_formats", "url")], items)[0];
    assert_eq!((link.name.as_str(), link.size), ("Plan.url", Some(61)));
}

fn read(settings: &[(&str, Value)], node: Node, item: Json) -> (Plan, Vec<Sent>) {
    with(
        settings,
        move |_| said(item.clone()),
        move |drive| drive.read(&node, node.version.as_ref().map(|_| 4), None).unwrap(),
    )
}

#[test]
fn a_document_is_read_whole_where_its_item_says() {
    let (plan, _) = read(&[], node("Plan.docx", "1", None), document("1", "Plan"));
    let rendered =
        testing::with(Stand::default().secret("access-token", "AT"), || testing::rendered_plan(plan.clone()))
            .unwrap()
            .unwrap();
    assert_eq!(rendered.url, "https://docs.google.com/export?f=docx&id=1");
    assert_eq!(rendered.header("authorization"), Some("Bearer AT"));
    let (link, _) = read(&[text("export_formats", "url")], node("Plan.url", "1", None), document("1", "Plan"));
    let Plan::Literal(bytes) = link else { panic!("a link needs no request") };
    assert_eq!(bytes, b"[InternetShortcut]\r\nURL=https://docs.google.com/d/1?a=1&b=2\r\n");
}

fn rendered(plan: Plan) -> Sent {
    testing::with(Stand::default().secret("access-token", "AT"), || testing::rendered_plan(plan)).unwrap().unwrap()
}

#[test]
fn a_file_is_read_by_its_revision_where_google_lets_it() {
    let url = |version: &str| {
        let (plan, asked) = read(&[], node("a", "1a", Some(version)), Json::Null);
        assert!(asked.is_empty());
        rendered(plan).url
    };
    let by_revision = url(&format!("r1/{MD5}"));
    assert_eq!(
        by_revision,
        "https://www.googleapis.com/drive/v3/files/1a/revisions/r1?supportsAllDrives=true&alt=media"
    );
    let by_id = url(&format!("/{MD5}"));
    assert_eq!(by_id, "https://www.googleapis.com/drive/v3/files/1a?supportsAllDrives=true&alt=media");
}

#[test]
fn large_files_are_read_by_version_2_where_that_is_wanted() {
    let said = json!({"downloadUrl": "https://www.googleapis.com/drive/v2/files/1a?alt=media&source=downloadUrl"});
    let wanted = [("v2_download_min_size", Value::Bytes(4))];
    let (plan, asked) = read(&wanted, node("a", "1a", Some("r1/0")), said.clone());
    assert_eq!(path(&asked[0]), "/drive/v2/files/1a");
    assert_eq!(rendered(plan).url, "https://www.googleapis.com/drive/v2/files/1a?alt=media&source=downloadUrl");
    let (_, asked) = read(&[("v2_download_min_size", Value::Bytes(5))], node("a", "1a", Some("r1/0")), said);
    assert!(asked.is_empty());
}

#[test]
fn malware_is_read_only_by_who_accepts_it() {
    let malware =
        testing::answer(403, &[], br#"{"error":{"message":"","errors":[{"reason":"cannotDownloadAbusiveFile"}]}}"#);
    let bad = node("a", "1a", Some("r1/0"));
    let (verdict, _) = with(&[], |_| said(Json::Null), |drive| drive.explain(&bad, &malware));
    assert!(matches!(verdict, Verdict::Failed(error) if error.kind == ErrorKind::Denied));
    let ((first, plan, second), _) = with(
        &[truth("acknowledge_abuse")],
        |_| said(Json::Null),
        |drive| {
            (drive.explain(&bad, &malware), drive.read(&bad, Some(4), None).unwrap(), drive.explain(&bad, &malware))
        },
    );
    assert!(matches!(first, Verdict::Replan));
    assert!(rendered(plan).url.ends_with("&acknowledgeAbuse=true"));
    assert!(matches!(second, Verdict::Failed(_)), "it is accepted once");
}

#[test]
fn shortcuts_are_shown_as_what_they_lead_to() {
    let items = json!([
        shortcut("S1", "file", "T", "text/plain"),
        shortcut("S2", "folder", "F", FOLDER),
        shortcut("S3", "dangling", "X", "text/plain"),
    ]);
    let shown = listed(&[], items.clone());
    assert_eq!(names(&shown), ["file", "folder", "dangling"]);
    assert_eq!((shown[0].size, shown[0].cookie.as_deref()), (Some(4), Some("S1>T")));
    assert_eq!((shown[1].kind, shown[1].cookie.as_deref()), (Kind::Directory, Some("S2>F")));
    assert_eq!(shown[2].size, None);
    assert_eq!(names(&listed(&[truth("skip_shortcuts")], items.clone())), Vec::<&str>::new());
    // The folder is looked for, too, and is not there either.
    assert_eq!(names(&listed(&[truth("skip_dangling_shortcuts")], items)), ["file"]);
}

#[test]
fn below_a_shortcut_everything_knows_its_directory() {
    let child = also(file("1c", "c"), json!({"parents": ["F"]}));
    let page = json!({"files": [child.clone()]});
    let (found, _) =
        with(&[], move |_| said(page.clone()), |drive| drive.list(&directory("folder", "S2>F"), None).unwrap().entries);
    assert_eq!(found[0].cookie.as_deref(), Some("1c@S2>F"));
    let refresh = |item: Json| {
        let at = node("folder/c", "1c@S2>F", None);
        with(&[], move |_| said(item.clone()), move |drive| drive.refresh(&at).unwrap().unwrap()).0
    };
    assert_eq!(refresh(child).parent.as_deref(), Some("S2>F"));
    let moved = refresh(also(file("1c", "c"), json!({"parents": ["0R"]})));
    assert_eq!(moved.parent.as_deref(), Some("0R@S2>F"), "it left the directory");
}

#[test]
fn what_is_shared_lies_in_the_root() {
    let shared = [truth("shared_with_me")];
    let item = also(file("1s", "s"), json!({"parents": [], "resourceKey": "0-k"}));
    let page = json!({"files": [item.clone()]});
    let (found, _) =
        with(&shared, move |_| said(page.clone()), |drive| drive.list(&directory("", "root"), None).unwrap().entries);
    assert_eq!(found[0].cookie.as_deref(), Some("1s!0-k^"));
    let at = node("s", "1s!0-k^", None);
    let (placed, asked) = with(&shared, move |_| said(item.clone()), move |drive| drive.refresh(&at).unwrap().unwrap());
    assert_eq!(placed.parent.as_deref(), Some("root"));
    assert_eq!(asked[0].header("x-goog-drive-resource-keys"), Some("1s/0-k"));
    let (made, _) = with(&shared, |_| said(Json::Null), |drive| drive.make_directory(&directory("", "root"), "d"));
    assert_eq!(made.unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn only_what_is_owned_is_shown_on_demand() {
    let items = json!([
        also(file("1", "mine"), json!({"owners": [{"me": true}]})),
        also(file("2", "theirs"), json!({"owners": [{"me": false}]}))
    ]);
    assert_eq!(names(&listed(&[truth("auth_owner_only")], items)), ["mine"]);
}

#[test]
fn times_sizes_and_digests_follow_the_settings() {
    let item = also(
        file("1", "a"),
        json!({"createdTime": "2020-01-01T00:00:00Z", "sharedWithMeTime": "2021-01-01T00:00:00Z", "quotaBytesUsed": "9", "spaces": ["drive", "photos"]}),
    );
    let one = |settings: &[(&str, Value)]| listed(settings, json!([item])).remove(0);
    let seconds = |entry: &Entry| entry.modified.unwrap().seconds;
    assert_eq!(seconds(&one(&[truth("use_created_date")])), 1_577_836_800);
    assert_eq!(seconds(&one(&[truth("use_shared_date")])), 1_609_459_200);
    assert_eq!(one(&[]).digests.len(), 1);
    assert!(one(&[truth("skip_checksum_gphotos")]).digests.is_empty());
    let quota = one(&[truth("size_as_quota")]);
    assert_eq!((quota.size, quota.notes), (Some(9), Notes::INEXACT_SIZE));
    let keeps = |settings: &[(&str, Value)]| {
        with(settings, |_| said(Json::Null), |drive| drive.traits().abilities.contains(Abilities::KEEPS_MODIFIED)).0
    };
    assert!(keeps(&[]) && !keeps(&[truth("use_created_date")]));
}

#[test]
fn the_root_has_its_own_id_or_the_name_of_the_settings() {
    let root = |settings: &[(&str, Value)], answer: Said| {
        with(
            settings,
            move |_| answer.clone(),
            |drive| drive.refresh(&Node { kind: Kind::Directory, path: String::new(), cookie: None, version: None }),
        )
        .0
    };
    let cookie = |placed: causeway_sdk::Result<Option<Placed>>| placed.unwrap().unwrap().entry.cookie;
    let folder = json!({"id": "0R", "name": "My Drive", "mimeType": FOLDER});
    assert_eq!(cookie(root(&[], said(folder))).as_deref(), Some("0R"));
    assert_eq!(cookie(root(&[], refused(404, "notFound"))).as_deref(), Some("root"), "under a narrow scope");
    assert_eq!(root(&[text("root_folder_id", "1x")], refused(404, "notFound")).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(
        root(&[text("root_folder_id", "1x")], said(file("1x", "a"))).unwrap_err().kind,
        ErrorKind::NotADirectory
    );
}

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

#[test]
fn news_tell_what_moved_and_what_went() {
    let answer = |sent: &Sent| match path(sent) {
        "/drive/v3/changes/startPageToken" => said(json!({"startPageToken": "7"})),
        _ => said(json!({"newStartPageToken": "9", "changes": [
            {"fileId": "1a", "file": file("1a", "a")},
            {"fileId": "1b", "file": also(file("1b", "b"), json!({"trashed": true}))},
            {"fileId": "1c", "removed": true},
        ]})),
    };
    let (((first, start, _), (news, next, _)), asked) =
        with(&[], answer, |drive| (drive.changes_since(None).unwrap(), drive.changes_since(Some("7")).unwrap()));
    assert!(first.is_empty());
    assert_eq!((start.cursor.as_str(), next.cursor.as_str(), next.more), ("7", "9", false));
    assert!(matches!(&news[0], Change::Updated(placed) if placed.parent.as_deref() == Some("0R")));
    let gone = |change: &Change| matches!(change, Change::Removed(node) if node.cookie.is_some());
    assert!(gone(&news[1]) && gone(&news[2]));
    assert_eq!(query(&asked[1], "restrictToMyDrive").as_deref(), Some("true"));
}

#[test]
fn room_is_told_but_of_shared_drives() {
    let about =
        json!({"storageQuota": {"limit": "1000", "usage": "100", "usageInDrive": "90", "usageInDriveTrash": "5"}});
    let (usage, asked) = with(&[], move |_| said(about.clone()), |drive| drive.measure().unwrap());
    assert_eq!((usage.total, usage.used, usage.free, usage.trashed), (Some(1000), Some(90), Some(900), Some(5)));
    assert_eq!(query(&asked[0], "fields").as_deref(), Some("user,storageQuota"));
    let (usage, asked) = with(&[text("team_drive", "0T")], |_| said(Json::Null), |drive| drive.measure().unwrap());
    assert!(usage.total.is_none() && asked.is_empty());
}

#[test]
fn reasons_say_what_went_wrong() {
    let kind = |settings: &[(&str, Value)], status: u16, reason: &str, message: &str| {
        let body = json!({"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}).to_string();
        with(settings, |_| said(Json::Null), |drive| drive.meaning(&testing::answer(status, &[], body.as_bytes())).kind)
            .0
    };
    let usual = |status, reason| kind(&[], status, reason, "No.");
    for (status, reason, wanted) in [
        (404, "notFound", ErrorKind::NotFound),
        (401, "authError", ErrorKind::Unauthenticated),
        (403, "insufficientFilePermissions", ErrorKind::Denied),
        (403, "appNotAuthorizedToFile", ErrorKind::Denied),
        (403, "fileNotDownloadable", ErrorKind::Unsupported),
        (403, "userRateLimitExceeded", ErrorKind::RateLimited(None)),
        (429, "rateLimitExceeded", ErrorKind::RateLimited(None)),
        (403, "storageQuotaExceeded", ErrorKind::QuotaExceeded),
        (403, "dailyLimitExceeded", ErrorKind::QuotaExceeded),
        (403, "downloadQuotaExceeded", ErrorKind::QuotaExceeded),
        (400, "invalid", ErrorKind::Invalid),
        (400, "parentNotAFolder", ErrorKind::NotADirectory),
        (409, "fileIdInUse", ErrorKind::AlreadyExists),
        (412, "conditionNotMet", ErrorKind::PreconditionFailed),
        (500, "backendError", ErrorKind::Unavailable(None)),
    ] {
        assert_eq!(usual(status, reason), wanted, "{status} {reason}");
    }
    let day = "User rate limit exceeded.";
    assert_eq!(kind(&[], 403, "userRateLimitExceeded", day), ErrorKind::RateLimited(None));
    assert_eq!(kind(&[truth("stop_on_upload_limit")], 403, "userRateLimitExceeded", day), ErrorKind::QuotaExceeded);
}

fn signing_in(settings: &[(&str, Value)]) -> Oauth {
    let (traits, _) = with(settings, |_| said(Json::Null), |drive| drive.traits());
    let SigningIn::Oauth(oauth) = traits.signing_in else { panic!("the host signs in") };
    oauth
}

#[test]
fn the_host_signs_in_as_the_settings_say() {
    let usual = signing_in(&[]);
    assert!(matches!(usual.grant, OauthGrant::Consent));
    assert_eq!(usual.scopes, ["https://www.googleapis.com/auth/drive"]);
    assert_eq!(
        (usual.authorize_url.as_str(), usual.token_url.as_str()),
        ("https://accounts.google.com/o/oauth2/auth", "https://oauth2.googleapis.com/token")
    );
    assert!(usual.parameters.contains(&("access_type".into(), "offline".into())));
    let narrow =
        signing_in(&[text("scope", "drive.readonly, drive.appfolder"), text("token_url", "https://t.example/t")]);
    assert_eq!(narrow.scopes[1], "https://www.googleapis.com/auth/drive.appdata");
    assert_eq!(narrow.token_url, "https://t.example/t");
    assert!(matches!(signing_in(&[truth("client_credentials")]).grant, OauthGrant::ClientCredentials));
    let robot = signing_in(&[("service_account_credentials", Value::Secret), text("impersonate", "me@example.org")]);
    let OauthGrant::ServiceAccount(account) = robot.grant else { panic!("the account signs for itself") };
    assert_eq!(
        (account.key.name.as_str(), account.subject.as_deref()),
        ("service_account_credentials", Some("me@example.org"))
    );
}

#[test]
fn pauses_and_chunks_are_as_configured() {
    let pace = |settings: &[(&str, Value)]| {
        let (mut traits, _) = with(settings, |_| said(Json::Null), |drive| drive.traits());
        let pace = traits.paces.remove(0);
        (pace.interval_ms, pace.burst)
    };
    assert_eq!(pace(&[]), (100, 100));
    assert_eq!(pace(&[("pacer_min_sleep", Value::Milliseconds(7)), ("pacer_burst", Value::Number(3))]), (7, 3));
    assert_eq!(pace(&[("pacer_min_sleep", Value::Off)]), (0, 100));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let wrong = |settings: &[(&str, Value)]| {
        let stand = settings.iter().fold(Stand::default(), |stand, (name, value)| stand.setting(name, value.clone()));
        let problems = testing::with(stand, || testing::open::<Drive>().err().unwrap_or_default());
        problems.into_iter().map(|problem| problem.option_name).collect::<Vec<_>>()
    };
    assert_eq!(wrong(&[truth("env_auth")]), ["env_auth"]);
    assert_eq!(wrong(&[("service_account_file", Value::Secret)]), ["service_account_file"]);
    for bytes in [262_143, 300_000] {
        assert_eq!(wrong(&[("chunk_size", Value::Bytes(bytes))]), ["chunk_size"]);
    }
    assert_eq!(wrong(&[text("export_formats", "docx,exe")]), ["export_formats"]);
    assert_eq!(wrong(&[text("impersonate", "me@example.org")]), ["impersonate"]);
    assert_eq!(wrong(&[truth("shared_with_me"), truth("starred_only")]), ["shared_with_me"]);
    assert_eq!(wrong(&[("list_chunk", Value::Number(1001))]), ["list_chunk"]);
}
