//! The API through its requests, as far as a client relies on it.
use serde_json::{Value, json};

use super::Drive;
use super::model::ROOT;
use crate::{Fake, Reply, Request, Response, World};

struct Stage {
    drive: Drive,
    world: World,
    token: String,
}

impl Stage {
    fn new() -> Stage {
        let drive = Drive::default();
        let token = drive.accounts("")["access_token"].as_str().unwrap().to_owned();
        Stage { drive, world: World::default(), token }
    }

    fn raw(&mut self, request: &Request) -> Response {
        match self.drive.answer(request, &mut self.world) {
            Reply::Now(response) => response,
            Reply::Wait => panic!("nothing here waits"),
        }
    }

    fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut request = request(method, target, headers, body);
        request.headers.push(("authorization".into(), format!("Bearer {}", self.token)));
        self.raw(&request)
    }

    fn json(&mut self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, target, &[], body.as_bytes());
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    fn control(&mut self, verb: &str, body: Value) -> Value {
        let answer = self.drive.control(verb, &body, &mut self.world);
        assert!(answer.get("error").is_none() && !answer.is_null(), "{verb}: {answer}");
        answer
    }

    fn made(&mut self, verb: &str, body: Value) -> String {
        self.control(verb, body)["id"].as_str().unwrap().to_owned()
    }

    fn list(&mut self, query: &str) -> Vec<String> {
        let target = format!("/drive/v3/files?fields=files(name)&q={}", crate::text::encode(query, ""));
        let (status, answer) = self.json("GET", &target, &Value::Null);
        assert_eq!(status, 200, "{answer}");
        answer["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Request {
    let (host, rest) = match target.strip_prefix("https://") {
        Some(rest) => rest.split_at(rest.find('/').unwrap()),
        None => ("www.googleapis.com", target),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Request {
        method: method.into(),
        https: true,
        host: host.into(),
        authority: host.into(),
        path: path.into(),
        query: query.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_vec().into(),
        ..Request::default()
    }
}

fn reason(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["errors"][0]["reason"].as_str().unwrap_or_default())
}

#[test]
fn calls_without_a_token_that_counts_are_refused() {
    let mut stage = Stage::new();
    assert_eq!(stage.raw(&request("GET", "/drive/v3/about?fields=user", &[], b"")).status, 401);
    assert_eq!(stage.json("GET", "/drive/v3/about?fields=user", &Value::Null).0, 200);
    stage.world.advance(std::time::Duration::from_secs(3601));
    let refused = stage.json("GET", "/drive/v3/about?fields=user", &Value::Null);
    assert_eq!(reason(&refused), (401, "authError"));
}

#[test]
fn about_wants_fields_and_counts_as_text() {
    let mut stage = Stage::new();
    assert_eq!(reason(&stage.json("GET", "/drive/v3/about", &Value::Null)), (400, "required"));
    stage.control("create", json!({ "path": "a", "text": "12345" }));
    let (_, about) = stage.json("GET", "/drive/v3/about?fields=storageQuota(usage,limit)", &Value::Null);
    assert_eq!(about, json!({ "storageQuota": { "usage": "5", "limit": (15_u64 << 30).to_string() } }));
    stage.control("quota", json!({ "bytes": 6 }));
    let refused = stage.json("POST", "/upload/drive/v3/files?uploadType=media", &json!("too long"));
    assert_eq!(reason(&refused), (403, "storageQuotaExceeded"));
}

#[test]
fn duplicates_live_side_by_side_and_names_are_found_without_case() {
    let mut stage = Stage::new();
    for name in ["Same.txt", "same.TXT", "same.TXT"] {
        stage.control("create", json!({ "path": name, "text": "x" }));
    }
    assert_eq!(stage.list("trashed=false and ('root' in parents) and (name='same.txt')").len(), 3);
    let answer = stage.json("GET", "/drive/v3/files?q=title%3D'x'", &Value::Null);
    assert_eq!(reason(&answer), (400, "invalid"));
    let (_, first) = stage.json("GET", "/drive/v3/files?pageSize=2", &Value::Null);
    assert_eq!(first["files"][0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "kind", "mimeType", "name"]);
    let token = first["nextPageToken"].as_str().unwrap().to_owned();
    let (_, second) = stage.json("GET", &format!("/drive/v3/files?pageSize=2&pageToken={token}"), &Value::Null);
    assert_eq!((second["files"].as_array().unwrap().len(), second.get("nextPageToken")), (1, None));
    let other = stage.json("GET", &format!("/drive/v3/files?q=trashed%3Dfalse&pageToken={token}"), &Value::Null);
    assert_eq!(reason(&other), (400, "invalid"));
}

#[test]
fn an_empty_page_is_not_the_end() {
    let mut stage = Stage::new();
    stage.control("create", json!({ "path": "a", "text": "x" }));
    stage.control("empty-pages", json!({ "on": true }));
    let (_, first) = stage.json("GET", "/drive/v3/files", &Value::Null);
    assert_eq!(first["files"], json!([]));
    let token = first["nextPageToken"].as_str().unwrap().to_owned();
    let (_, second) = stage.json("GET", &format!("/drive/v3/files?pageToken={token}"), &Value::Null);
    assert_eq!(second["files"].as_array().unwrap().len(), 1);
}

#[test]
fn a_resumable_upload_takes_aligned_chunks_in_order_and_needs_no_token() {
    let mut stage = Stage::new();
    let begun = stage.send(
        "POST",
        "/upload/drive/v3/files?uploadType=resumable&fields=size,md5Checksum",
        &[],
        br#"{"name":"big"}"#,
    );
    let address = begun.header("location").unwrap().to_owned();
    let content: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
    let mut put = |range: &str, body: &[u8]| stage.raw(&request("PUT", &address, &[("content-range", range)], body));
    assert_eq!(put("bytes 0-99999/300000", &content[..100_000]).status, 400);
    let query = put("bytes */300000", b"");
    assert_eq!((query.status, query.header("range")), (308, None));
    let first = put("bytes 0-262143/300000", &content[..262_144]);
    assert_eq!((first.status, first.header("range")), (308, Some("bytes=0-262143")));
    let again = put("bytes 0-262143/300000", &content[..262_144]);
    assert_eq!((again.status, again.header("range")), (308, Some("bytes=0-262143")));
    assert_eq!(put("bytes 262144-299999/300001", &content[262_144..]).status, 400);
    let last = put("bytes 262144-299999/300000", &content[262_144..]);
    assert_eq!(last.status, 200);
    let file: Value = serde_json::from_slice(&last.body).unwrap();
    assert_eq!(file["size"], "300000");
    assert_eq!(put("bytes */300000", b"").body, last.body);
    assert_eq!(put("", b"").status, 200);
}

#[test]
fn an_upload_of_unknown_size_ends_where_it_says_so_and_a_session_can_be_given_up() {
    let mut stage = Stage::new();
    let begin = |stage: &mut Stage| {
        let begun = stage.send("POST", "/upload/drive/v3/files?uploadType=resumable&fields=size", &[], b"{}");
        begun.header("location").unwrap().to_owned()
    };
    let address = begin(&mut stage);
    let chunk = vec![7; 262_144];
    let sent = stage.raw(&request("POST", &address, &[("content-range", "bytes 0-262143/*")], &chunk));
    assert_eq!(sent.status, 308);
    let done = stage.raw(&request("PUT", &address, &[("content-range", "bytes */262144")], b""));
    assert_eq!((done.status, &done.body[..]), (200, &br#"{"size":"262144"}"#[..]));
    let other = begin(&mut stage);
    assert_eq!(stage.raw(&request("DELETE", &other, &[], b"")).status, 499);
    assert_eq!(stage.raw(&request("PUT", &other, &[("content-range", "bytes */1")], b"")).status, 404);
    let old = begin(&mut stage);
    stage.world.advance(std::time::Duration::from_secs(8 * 86_400));
    assert_eq!(stage.raw(&request("PUT", &old, &[("content-range", "bytes */1")], b"")).status, 404);
}

#[test]
fn multipart_is_metadata_and_then_media() {
    let mut stage = Stage::new();
    let part = |kind: &str, body: &str| format!("--b\r\nContent-Type: {kind}\r\n\r\n{body}\r\n");
    let metadata =
        part("application/json; charset=UTF-8", r#"{"name":"a","modifiedTime":"2025-01-02T03:04:05.678999Z"}"#);
    let media = part("text/x-odd", "hello");
    let kind = [("content-type", "multipart/related; boundary=b")];
    let target = "/upload/drive/v3/files?uploadType=multipart&fields=name,mimeType,modifiedTime,md5Checksum";
    let made = stage.send("POST", target, &kind, format!("{metadata}{media}--b--\r\n").as_bytes());
    let file: Value = serde_json::from_slice(&made.body).unwrap();
    let wanted = json!({
        "name": "a", "mimeType": "text/x-odd", "modifiedTime": "2025-01-02T03:04:05.678Z",
        "md5Checksum": "5d41402abc4b2a76b9719d911017c592",
    });
    assert_eq!(file, wanted);
    let wrong = stage.send("POST", target, &kind, format!("{media}{metadata}--b--\r\n").as_bytes());
    assert_eq!(wrong.status, 400);
}

#[test]
fn what_is_in_a_shared_drive_is_found_only_when_all_drives_are_supported() {
    let mut stage = Stage::new();
    let drive = stage.made("shared-drive", json!({ "name": "team" }));
    let id = stage.made("create", json!({ "path": "a", "text": "x", "drive": drive }));
    assert_eq!(reason(&stage.json("GET", &format!("/drive/v3/files/{id}"), &Value::Null)), (404, "notFound"));
    assert_eq!(stage.json("GET", &format!("/drive/v3/files/{id}?supportsAllDrives=true"), &Value::Null).0, 200);
    let both = "includeItemsFromAllDrives=true&supportsAllDrives=true";
    let (_, found) = stage.json("GET", &format!("/drive/v3/files?corpora=drive&driveId={drive}&{both}"), &Value::Null);
    assert_eq!(found["files"].as_array().unwrap().len(), 1);
    assert_eq!(stage.list("trashed=false").len(), 0);
    assert_eq!(stage.json("GET", &format!("/drive/v3/files?driveId={drive}"), &Value::Null).0, 400);
}

#[test]
fn a_document_has_no_bytes_but_exports_which_are_always_whole() {
    let mut stage = Stage::new();
    let id = stage.made("document", json!({ "path": "doc", "size": 1000 }));
    let (_, file) =
        stage.json("GET", &format!("/drive/v3/files/{id}?fields=size,md5Checksum,exportLinks"), &Value::Null);
    assert!(file.get("size").is_none() && file.get("md5Checksum").is_none());
    let media = stage.json("GET", &format!("/drive/v3/files/{id}?alt=media"), &Value::Null);
    assert_eq!(reason(&media), (403, "fileNotDownloadable"));
    let link = file["exportLinks"]["application/pdf"].as_str().unwrap().to_owned();
    for target in [link, format!("/drive/v3/files/{id}/export?mimeType=application%2Fpdf")] {
        let answer = stage.send("GET", &target, &[("range", "bytes=0-9")], b"");
        assert_eq!((answer.status, answer.body.len()), (200, 1000), "{target}");
    }
    let large = stage.made("document", json!({ "path": "large", "size": (10 << 20) + 1 }));
    let refused =
        stage.json("GET", &format!("/drive/v3/files/{large}/export?mimeType=application%2Fpdf"), &Value::Null);
    assert_eq!(reason(&refused), (403, "exportSizeLimitExceeded"));
}

#[test]
fn reads_take_ranges_and_harmful_content_wants_to_be_acknowledged() {
    let mut stage = Stage::new();
    let id = stage.made("create", json!({ "path": "a", "text": "0123456789" }));
    let target = format!("/drive/v3/files/{id}?alt=media");
    let part = stage.send("GET", &target, &[("range", "bytes=2-4")], b"");
    assert_eq!((part.status, &part.body[..], part.header("content-range")), (206, &b"234"[..], Some("bytes 2-4/10")));
    assert_eq!(stage.send("GET", &target, &[("range", "bytes=10-")], b"").status, 416);
    stage.control("mark", json!({ "id": id, "abusive": true }));
    assert_eq!(reason(&stage.json("GET", &target, &Value::Null)), (403, "cannotDownloadAbusiveFile"));
    assert_eq!(stage.send("GET", &format!("{target}&acknowledgeAbuse=true"), &[], b"").status, 200);
    stage.control("mark", json!({ "id": id, "abusive": false }));
    stage.control("redirect-media", json!({}));
    let sent = stage.send("GET", &target, &[], b"");
    let location = sent.header("location").unwrap().to_owned();
    assert_eq!(stage.raw(&request("GET", &location, &[], b"")).body, "0123456789");
}

#[test]
fn moving_replaces_the_parent_and_only_writable_members_are_taken() {
    let mut stage = Stage::new();
    let (one, two) = (stage.made("mkdir", json!({ "path": "one" })), stage.made("mkdir", json!({ "path": "one/two" })));
    let id = stage.made("create", json!({ "path": "a", "text": "x" }));
    let add = stage.json("PATCH", &format!("/drive/v3/files/{id}?addParents={one}"), &Value::Null);
    assert_eq!(reason(&add), (403, "cannotAddParent"));
    let target = format!("/drive/v3/files/{id}?addParents={one}&removeParents=root&fields=parents,name");
    assert_eq!(stage.json("PATCH", &target, &json!({ "name": "b" })).1, json!({ "parents": [one], "name": "b" }));
    let direct = stage.json("PATCH", &format!("/drive/v3/files/{id}"), &json!({ "parents": [ROOT] }));
    assert_eq!(reason(&direct), (403, "fieldNotWritable"));
    let within =
        stage.json("PATCH", &format!("/drive/v3/files/{one}?addParents={two}&removeParents=root"), &Value::Null);
    assert_eq!(reason(&within), (400, "invalid"));
    let file = stage.json("POST", "/drive/v3/files", &json!({ "name": "x", "parents": [id] }));
    assert_eq!(reason(&file), (400, "parentNotAFolder"));
}

#[test]
fn the_bin_holds_what_is_below_a_folder_and_deleting_is_recursive() {
    let mut stage = Stage::new();
    let folder = stage.made("mkdir", json!({ "path": "d" }));
    let id = stage.made("create", json!({ "path": "d/a", "text": "x" }));
    stage.json("PATCH", &format!("/drive/v3/files/{folder}"), &json!({ "trashed": true }));
    let fields = "fields=trashed,explicitlyTrashed";
    let (_, file) = stage.json("GET", &format!("/drive/v3/files/{id}?{fields}"), &Value::Null);
    assert_eq!(file, json!({ "trashed": true, "explicitlyTrashed": false }));
    assert_eq!(stage.send("DELETE", "/drive/v3/files/trash", &[], b"").status, 204);
    assert_eq!(stage.json("GET", &format!("/drive/v3/files/{id}"), &Value::Null).0, 404);
}

#[test]
fn changes_tell_what_happened_since_a_token_page_by_page() {
    let mut stage = Stage::new();
    let gone = stage.made("create", json!({ "path": "gone", "text": "x" }));
    let (_, start) = stage.json("GET", "/drive/v3/changes/startPageToken", &Value::Null);
    let start = start["startPageToken"].as_str().unwrap().to_owned();
    stage.control("remove", json!({ "id": gone }));
    let new = stage.made("create", json!({ "path": "new", "text": "x" }));
    let fields = "fields=nextPageToken,newStartPageToken,changes(fileId,removed,file(name))";
    let page = |stage: &mut Stage, token: &str| {
        stage.json("GET", &format!("/drive/v3/changes?pageToken={token}&pageSize=1&{fields}"), &Value::Null).1
    };
    let first = page(&mut stage, &start);
    assert_eq!(first["changes"], json!([{ "fileId": gone, "removed": true }]));
    let second = page(&mut stage, first["nextPageToken"].as_str().unwrap());
    assert_eq!(second["changes"], json!([{ "fileId": new, "removed": false, "file": { "name": "new" } }]));
    let last = second["newStartPageToken"].as_str().unwrap();
    assert_eq!(page(&mut stage, last)["changes"], json!([]));
    assert_eq!(stage.json("GET", "/drive/v3/changes?pageToken=99999", &Value::Null).0, 400);
}

#[test]
fn what_is_shared_with_a_key_is_found_only_with_it() {
    let mut stage = Stage::new();
    let id = stage.made("share", json!({ "path": "theirs", "text": "x", "key": "0-key" }));
    let target = format!("/drive/v3/files/{id}?fields=parents,resourceKey");
    assert_eq!(stage.json("GET", &target, &Value::Null).0, 404);
    let header = format!("other/k,{id}/0-key");
    let found = stage.send("GET", &target, &[("X-Goog-Drive-Resource-Keys", &header)], b"");
    assert_eq!((found.status, &found.body[..]), (200, &br#"{"resourceKey":"0-key"}"#[..]));
    let deleted =
        stage.send("DELETE", &format!("/drive/v3/files/{id}"), &[("X-Goog-Drive-Resource-Keys", &header)], b"");
    assert_eq!(deleted.status, 403);
}

#[test]
fn a_link_is_a_permission_for_anyone() {
    let mut stage = Stage::new();
    let id = stage.made("create", json!({ "path": "a", "text": "x" }));
    let target = format!("/drive/v3/files/{id}/permissions");
    let wish = json!({ "role": "reader", "type": "anyone", "allowFileDiscovery": false });
    assert_eq!(stage.json("POST", &target, &wish).1["id"], "anyoneWithLink");
    let (_, all) = stage.json("GET", &format!("{target}?fields=permissions(id,role)"), &Value::Null);
    assert_eq!(all["permissions"][1], json!({ "id": "anyoneWithLink", "role": "reader" }));
    assert_eq!(stage.send("DELETE", &format!("{target}/anyoneWithLink"), &[], b"").status, 204);
    assert_eq!(stage.json("DELETE", &format!("{target}/anyoneWithLink"), &Value::Null).0, 404);
}

#[test]
fn labels_are_set_and_removed() {
    let mut stage = Stage::new();
    let id = stage.made("create", json!({ "path": "a", "text": "x" }));
    let fields = json!([{ "fieldId": "f", "setTextValues": ["v"] }]);
    let change =
        json!({ "labelModifications": [{ "labelId": "l", "fieldModifications": fields }, { "labelId": "m" }] });
    assert_eq!(stage.json("POST", &format!("/drive/v3/files/{id}/modifyLabels"), &change).0, 200);
    let list = format!("/drive/v3/files/{id}/listLabels");
    let (_, all) = stage.json("GET", &list, &Value::Null);
    assert_eq!((&all["labels"][0]["fields"]["f"]["text"], &all["labels"][1]["id"]), (&json!(["v"]), &json!("m")));
    let removal = json!({ "labelModifications": [{ "labelId": "l", "removeLabel": true }] });
    stage.json("POST", &format!("/drive/v3/files/{id}/modifyLabels"), &removal);
    assert_eq!(stage.json("GET", &list, &Value::Null).1["labels"].as_array().unwrap().len(), 1);
}

#[test]
fn refusals_for_the_rate_pass() {
    let mut stage = Stage::new();
    stage.control("rate-limit", json!({ "times": 1 }));
    let refused = stage.json("GET", "/drive/v3/files", &Value::Null);
    assert_eq!(
        (reason(&refused), &refused.1["error"]["errors"][0]["domain"]),
        ((403, "userRateLimitExceeded"), &json!("usageLimits"))
    );
    assert_eq!(stage.json("GET", "/drive/v3/files", &Value::Null).0, 200);
}

#[test]
fn what_was_just_made_can_be_missing_from_a_listing() {
    let mut stage = Stage::new();
    stage.control("lag", json!({ "listings": 1 }));
    stage.control("create", json!({ "path": "a", "text": "x" }));
    assert!(stage.list("name='a'").is_empty());
    assert_eq!(stage.list("name='a'"), ["a"]);
}

#[test]
fn consent_brings_a_refresh_token_only_when_asked_for() {
    let mut stage = Stage::new();
    let client = "client_id=fake-client.apps.googleusercontent.com";
    for (access, wanted) in [("&access_type=offline", true), ("", false)] {
        let query = format!(
            "response_type=code&{client}&redirect_uri=http%3A%2F%2Fback%2F&state=s&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdrive{access}"
        );
        let sent = stage.raw(&request("GET", &format!("https://accounts.google.com/o/oauth2/auth?{query}"), &[], b""));
        let code = sent.header("location").unwrap().split(['=', '&']).nth(1).unwrap().to_owned();
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=http%3A%2F%2Fback%2F&{client}&client_secret=fake-client-secret"
        );
        let answer = stage.raw(&request("POST", "https://oauth2.googleapis.com/token", &[], form.as_bytes()));
        let reply: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, reply.get("refresh_token").is_some()), (200, wanted), "{reply}");
        assert!(reply["scope"].as_str().unwrap().ends_with("/auth/drive"));
    }
}
