//! What a client relies on, asked of the fake directly, with signed requests.

use data_encoding::BASE64;
use serde_json::json;

use super::*;

struct Bench {
    fake: AzureBlob,
    world: World,
}

fn bench() -> Bench {
    let mut bench = Bench { fake: AzureBlob::new(), world: World::default() };
    assert_eq!(bench.send("PUT", "/box?restype=container", &[], b"").status, 201);
    bench
}

impl Bench {
    /// Sends a request that is signed with the account's key.
    fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut request = self.unsigned(method, target, headers, body);
        let account = &self.fake.accounts["fakeaccount"];
        let text = auth::string_to_sign(&request, "fakeaccount");
        let signature = auth::sign(&account.key, &text).unwrap();
        request.headers.push(("Authorization".into(), format!("SharedKey fakeaccount:{signature}")));
        self.ask(&request)
    }

    fn unsigned(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut all = vec![("x-ms-version", "2021-12-02".to_owned()), ("x-ms-date", http_date(self.world.now()))];
        all.push(("Content-Length", body.len().to_string()));
        all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Request {
            method: method.into(),
            https: true,
            host: "fakeaccount.blob.core.windows.net".into(),
            authority: "fakeaccount.blob.core.windows.net".into(),
            path: path.into(),
            query: query.into(),
            headers: all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: body.to_vec().into(),
            ..Request::default()
        }
    }

    fn ask(&mut self, request: &Request) -> Response {
        match self.fake.answer(request, &mut self.world) {
            Reply::Now(response) => response,
            Reply::Wait => panic!("nothing waits here"),
        }
    }

    fn put(&mut self, name: &str, content: &[u8]) -> Response {
        self.send("PUT", &format!("/box/{name}"), &[("x-ms-blob-type", "BlockBlob")], content)
    }

    fn control(&mut self, verb: &str, body: Value) {
        assert_ne!(self.fake.control(verb, &body, &mut self.world), Value::Null);
    }
}

fn code(response: &Response) -> (u16, &str) {
    (response.status, response.header("x-ms-error-code").unwrap_or_default())
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.to_vec()).unwrap()
}

#[test]
fn only_right_signatures_of_now_are_accepted() {
    let mut bench = bench();
    let mut request = bench.unsigned("GET", "/?comp=list", &[], b"");
    assert_eq!(code(&bench.ask(&request)), (401, "NoAuthenticationInformation"));
    request.headers.push(("Authorization".into(), "SharedKey fakeaccount:AAAA".into()));
    assert_eq!(code(&bench.ask(&request)), (403, "AuthenticationFailed"));
    request.headers.retain(|(name, _)| name != "x-ms-version");
    assert_eq!(code(&bench.ask(&request)), (400, "MissingRequiredHeader"));
    let old = [("x-ms-date", "Tue, 02 Jan 2024 03:04:05 GMT")];
    let mut late = bench.unsigned("GET", "/?comp=list", &[], b"");
    late.headers.retain(|(name, _)| name != "x-ms-date");
    late.headers.extend(old.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let signature =
        auth::sign(&bench.fake.accounts["fakeaccount"].key, &auth::string_to_sign(&late, "fakeaccount")).unwrap();
    late.headers.push(("Authorization".into(), format!("SharedKey fakeaccount:{signature}")));
    assert_eq!(code(&bench.ask(&late)), (403, "AuthenticationFailed"));
}

#[test]
fn a_container_signature_opens_its_container_until_it_ends() {
    let mut bench = bench();
    bench.put("a.txt", b"hello");
    let end = "2098-01-01T00:00:00Z";
    let lines = ["rl", "", end, "/blob/fakeaccount/box", "", "", "", "2021-12-02", "c", "", "", "", "", "", "", ""];
    let signature = auth::sign(&bench.fake.accounts["fakeaccount"].key, &lines.join("\n")).unwrap();
    let signature = crate::text::encode(&signature, "");
    let query = format!("sv=2021-12-02&sr=c&sp=rl&se={end}&sig={signature}");
    let ask = |bench: &mut Bench, method: &str, target: String| {
        let request = bench.unsigned(method, &target, &[("x-ms-blob-type", "BlockBlob")], b"");
        let answer = bench.ask(&request);
        (answer.status, answer.header("x-ms-error-code").unwrap_or_default().to_owned())
    };
    assert_eq!(ask(&mut bench, "GET", format!("/box/a.txt?{query}")).0, 200);
    assert_eq!(ask(&mut bench, "GET", format!("/box?restype=container&comp=list&{query}")).0, 200);
    assert_eq!(ask(&mut bench, "PUT", format!("/box/b.txt?{query}")), (403, "AuthorizationPermissionMismatch".into()));
    assert_eq!(ask(&mut bench, "GET", format!("/?comp=list&{query}")), (403, "AuthenticationFailed".into()));
    bench.world.advance(std::time::Duration::from_secs(80 * 366 * 86_400));
    assert_eq!(ask(&mut bench, "GET", format!("/box/a.txt?{query}")), (403, "AuthenticationFailed".into()));
}

#[test]
fn writing_checks_type_digest_and_conditions() {
    let mut bench = bench();
    assert_eq!(code(&bench.send("PUT", "/box/a", &[], b"x")), (400, "MissingRequiredHeader"));
    let wrong = [("x-ms-blob-type", "BlockBlob"), ("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==")];
    assert_eq!(code(&bench.send("PUT", "/box/a", &wrong, b"other")), (400, "Md5Mismatch"));
    assert_eq!(bench.send("PUT", "/box/a", &wrong, b"hello").status, 201);
    let fresh = [("x-ms-blob-type", "BlockBlob"), ("If-None-Match", "*")];
    assert_eq!(code(&bench.send("PUT", "/box/a", &fresh, b"x")), (409, "BlobAlreadyExists"));
    let etag = bench.send("HEAD", "/box/a", &[], b"").header("etag").unwrap().to_owned();
    assert_eq!(code(&bench.send("GET", "/box/a", &[("If-None-Match", &etag)], b"")).0, 304);
    bench.put("a", b"newer");
    let guarded = [("x-ms-blob-type", "BlockBlob"), ("If-Match", etag.as_str())];
    assert_eq!(code(&bench.send("PUT", "/box/a", &guarded, b"x")), (412, "ConditionNotMet"));
    assert_eq!(code(&bench.send("GET", "/box/a", &[("If-Match", &etag)], b"")), (412, "ConditionNotMet"));
    let absent = bench.send("HEAD", "/box/none", &[], b"");
    assert_eq!((code(&absent), absent.body.len()), ((404, "BlobNotFound"), 0));
}

#[test]
fn ranges_prefer_the_own_header_and_keep_the_digest_of_the_whole() {
    let mut bench = bench();
    bench.put("a", b"0123456789");
    let part = bench.send("GET", "/box/a", &[("x-ms-range", "bytes=2-4"), ("Range", "bytes=0-0")], b"");
    assert_eq!((part.status, text(&part)), (206, "234".into()));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(part.header("x-ms-blob-content-md5"), Some(store::md5_of(b"0123456789").as_str()));
    assert_eq!(part.header("content-md5"), None);
    assert_eq!(code(&bench.send("GET", "/box/a", &[("x-ms-range", "bytes=10-")], b"")), (416, "InvalidRange"));
}

#[test]
fn blocks_are_committed_in_the_order_of_the_list_and_only_known_ones() {
    let mut bench = bench();
    let id = |number: u8| BASE64.encode(&[number; 6]);
    let block = |id: &str| format!("/box/big?comp=block&blockid={}", crate::text::encode(id, ""));
    assert_eq!(bench.send("PUT", &block(&id(2)), &[], b"two").status, 201);
    assert_eq!(bench.send("PUT", &block(&id(1)), &[], b"one").status, 201);
    assert_eq!(code(&bench.send("PUT", &block(&BASE64.encode(b"short")), &[], b"x")), (400, "InvalidBlobOrBlock"));
    assert_eq!(code(&bench.send("PUT", &block("no base64"), &[], b"x")), (400, "InvalidBlockId"));
    assert_eq!(code(&bench.send("GET", "/box/big", &[], b"")), (404, "BlobNotFound"));
    let list = |ids: &[String]| {
        let latest: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{latest}</BlockList>")
    };
    let unknown = list(&[id(1), id(3)]);
    assert_eq!(code(&bench.send("PUT", "/box/big?comp=blocklist", &[], unknown.as_bytes())), (400, "InvalidBlockList"));
    let known = list(&[id(1), id(2), id(1)]);
    let headers = [("x-ms-blob-content-type", "text/x"), ("x-ms-meta-Mtime", "then")];
    assert_eq!(bench.send("PUT", "/box/big?comp=blocklist", &headers, known.as_bytes()).status, 201);
    let whole = bench.send("GET", "/box/big", &[], b"");
    assert_eq!((text(&whole).as_str(), whole.header("content-type")), ("onetwoone", Some("text/x")));
    assert_eq!((whole.header("x-ms-meta-mtime"), whole.header("content-md5")), (Some("then"), None));
    assert!(whole.headers.iter().any(|(name, _)| name == "x-ms-meta-Mtime"));
    // What was committed can be committed again; nothing waits any more.
    assert_eq!(bench.send("PUT", "/box/big?comp=blocklist", &[], list(&[id(2)]).as_bytes()).status, 201);
    let blocks = text(&bench.send("GET", "/box/big?comp=blocklist&blocklisttype=all", &[], b""));
    assert!(
        blocks.contains("<Size>3</Size>") && blocks.contains("<UncommittedBlocks></UncommittedBlocks>"),
        "{blocks}"
    );
}

#[test]
fn uncommitted_blocks_vanish_after_a_week() {
    let mut bench = bench();
    let id = BASE64.encode(b"000001");
    bench.send("PUT", &format!("/box/big?comp=block&blockid={id}"), &[], b"x");
    bench.world.advance(std::time::Duration::from_secs(7 * 86_400));
    let absent = bench.send("GET", "/box/big?comp=blocklist&blocklisttype=all", &[], b"");
    assert_eq!(code(&absent), (404, "BlobNotFound"));
}

#[test]
fn metadata_and_properties_are_replaced_as_a_whole() {
    let mut bench = bench();
    let first = [
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-meta-a", "1"),
        ("x-ms-meta-b", "2"),
        ("x-ms-blob-cache-control", "no"),
    ];
    bench.send("PUT", "/box/a", &first, b"x");
    bench.send("PUT", "/box/a?comp=metadata", &[("x-ms-meta-c", "3")], b"");
    bench.send("PUT", "/box/a?comp=properties", &[("x-ms-blob-content-type", "text/y")], b"");
    let head = bench.send("HEAD", "/box/a", &[], b"");
    assert_eq!((head.header("x-ms-meta-a"), head.header("x-ms-meta-c")), (None, Some("3")));
    assert_eq!((head.header("cache-control"), head.header("content-type")), (None, Some("text/y")));
    let bad = bench.send("PUT", "/box/a?comp=metadata", &[("x-ms-meta-1-2", "3")], b"");
    assert_eq!(code(&bad), (400, "InvalidMetadata"));
}

#[test]
fn listings_fold_prefixes_and_have_an_empty_page_in_the_middle() {
    let mut bench = bench();
    for name in ["a", "d/1", "d/2", "e/1", "f"] {
        bench.put(name, b"x");
    }
    bench.world.page_size = Some(2);
    let (mut marker, mut pages) = (String::new(), Vec::new());
    loop {
        let query = format!("/box?restype=container&comp=list&delimiter=%2F&marker={marker}");
        let page = text(&bench.send("GET", &query, &[], b""));
        let names: Vec<String> =
            page.split("<Name>").skip(1).map(|rest| rest.split('<').next().unwrap().into()).collect();
        pages.push(names);
        let next = page.split("<NextMarker>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
        if next.is_empty() {
            break;
        }
        marker = crate::text::encode(next, "");
    }
    assert_eq!(pages, [vec!["a", "d/"], vec![], vec!["e/", "f"]]);
}

#[test]
fn a_copy_shows_its_content_only_when_it_is_done() {
    let mut bench = bench();
    bench.put("from", b"content");
    bench.control("copy-polls", json!({"polls": 2}));
    let source = [("x-ms-copy-source", "https://fakeaccount.blob.core.windows.net/box/from")];
    let begun = bench.send("PUT", "/box/to", &source, b"");
    assert_eq!((begun.status, begun.header("x-ms-copy-status")), (202, Some("pending")));
    let status =
        |bench: &mut Bench| bench.send("HEAD", "/box/to", &[], b"").header("x-ms-copy-status").unwrap().to_owned();
    assert_eq!([status(&mut bench), status(&mut bench), status(&mut bench)], ["pending", "pending", "success"]);
    assert_eq!(text(&bench.send("GET", "/box/to", &[], b"")), "content");
    bench.control("copy-polls", json!({"polls": 0}));
    bench.control("copy-fail", json!({"times": 1}));
    bench.send("PUT", "/box/to2", &source, b"");
    assert_eq!(bench.send("HEAD", "/box/to2", &[], b"").header("x-ms-copy-status"), Some("failed"));
    let foreign = [("x-ms-copy-source", "https://otheraccount.blob.core.windows.net/box/from")];
    assert_eq!(code(&bench.send("PUT", "/box/to3", &foreign, b"")).0, 404);
}

#[test]
fn archived_blobs_cannot_be_read_or_replaced_until_they_are_awake() {
    let mut bench = bench();
    bench.put("a", b"x");
    assert_eq!(bench.send("PUT", "/box/a?comp=tier", &[("x-ms-access-tier", "Archive")], b"").status, 200);
    assert_eq!(code(&bench.send("GET", "/box/a", &[], b"")), (409, "BlobArchived"));
    assert_eq!(code(&bench.put("a", b"y")), (409, "BlobArchived"));
    assert_eq!(bench.send("PUT", "/box/a?comp=tier", &[("x-ms-access-tier", "Hot")], b"").status, 202);
    assert_eq!(bench.send("HEAD", "/box/a", &[], b"").header("x-ms-archive-status"), Some("rehydrate-pending-to-hot"));
    bench.world.advance(std::time::Duration::from_secs(3600));
    assert_eq!(bench.send("GET", "/box/a", &[], b"").status, 200);
}

#[test]
fn a_deleted_container_keeps_its_name_busy_and_leases_and_snapshots_hold_blobs() {
    let mut bench = bench();
    bench.put("a", b"x");
    bench.control("lease", json!({"container": "box", "blob": "a"}));
    assert_eq!(code(&bench.send("DELETE", "/box/a", &[], b"")), (412, "LeaseIdMissing"));
    bench.control("unlease", json!({"container": "box", "blob": "a"}));
    assert_eq!(bench.send("PUT", "/box/a?comp=snapshot", &[], b"").status, 201);
    assert_eq!(code(&bench.send("DELETE", "/box/a", &[], b"")), (409, "SnapshotsPresent"));
    assert_eq!(bench.send("DELETE", "/box/a", &[("x-ms-delete-snapshots", "include")], b"").status, 202);
    assert_eq!(bench.send("DELETE", "/box?restype=container", &[], b"").status, 202);
    assert_eq!(code(&bench.send("PUT", "/box?restype=container", &[], b"")), (409, "ContainerBeingDeleted"));
    assert_eq!(code(&bench.send("GET", "/box/a", &[], b"")), (404, "ContainerNotFound"));
    bench.world.advance(std::time::Duration::from_secs(31));
    assert_eq!(bench.send("PUT", "/box?restype=container", &[], b"").status, 201);
    assert_eq!(code(&bench.send("PUT", "/box?restype=container", &[], b"")), (409, "ContainerAlreadyExists"));
}

#[test]
fn tokens_come_from_the_sign_in_and_are_refused_in_its_words() {
    let mut bench = bench();
    let mut ask = |form: &str| {
        let request = Request {
            method: "POST".into(),
            https: true,
            host: "login.microsoftonline.com".into(),
            authority: "login.microsoftonline.com".into(),
            path: format!("/{TENANT}/oauth2/v2.0/token"),
            body: form.to_owned().into(),
            ..Request::default()
        };
        let answer = bench.ask(&request);
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let scope = "scope=https%3A%2F%2Fstorage.azure.com%2F.default";
    let form =
        |secret: &str| format!("grant_type=client_credentials&client_id=fakeclient&client_secret={secret}&{scope}");
    assert_eq!(ask(&form("wrong"))["error_codes"], json!([7_000_215]));
    let token = ask(&form("fakesecret"))["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        ask("grant_type=client_credentials&client_id=fakeclient&client_secret=fakesecret")["error"],
        "invalid_scope"
    );
    let bearer = format!("Bearer {token}");
    let mut request = bench.unsigned("GET", "/?comp=list", &[("Authorization", &bearer)], b"");
    assert_eq!(bench.ask(&request).status, 200);
    request.https = false;
    assert_eq!(code(&bench.ask(&request)), (403, "AuthenticationFailed"));
    request.https = true;
    bench.world.advance(std::time::Duration::from_secs(3601));
    assert_eq!(code(&bench.ask(&request)), (401, "InvalidAuthenticationInfo"));
}
