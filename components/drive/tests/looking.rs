//! What directories are asked for, and how their items are shown.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::Value;
use causeway_sdk::prelude::*;
use causeway_sdk::testing::Sent;
use serde_json::{Value as Json, json};

mod support;

use support::*;

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
