//! What a client relies on, asked of the fake directly.

use serde_json::{Value, json};

use super::*;

struct Bench {
    fake: Seafile,
    world: World,
    token: String,
}

fn bench() -> Bench {
    let mut bench = Bench { fake: Seafile::new(), world: World::default(), token: String::new() };
    let form = "username=alice%40fake.test&password=alicepassword";
    bench.token = parsed(&bench.form("/api2/auth-token/", form))["token"].as_str().unwrap().to_owned();
    bench
}

/// The ids of Alice's libraries.
const DOCS: &str = "aaaaaaaa-0000-4000-8000-aaaaaaaaaaaa";
const SECRET: &str = "cccccccc-0000-4000-8000-cccccccccccc";

impl Bench {
    fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if !self.token.is_empty() && !path.starts_with("/seafhttp/") {
            all.push(("Authorization".into(), format!("Token {}", self.token)));
        }
        let request = Request {
            method: method.into(),
            host: "seafile.test".into(),
            authority: "seafile.test".into(),
            path: path.into(),
            query: query.into(),
            headers: all,
            body: body.to_vec().into(),
            ..Request::default()
        };
        match self.fake.answer(&request, &mut self.world) {
            Reply::Now(response) => response,
            Reply::Wait => panic!("nothing waits here"),
        }
    }

    fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, &[], b"")
    }

    fn form(&mut self, target: &str, form: &str) -> Response {
        self.send("POST", target, &[("Content-Type", "application/x-www-form-urlencoded")], form.as_bytes())
    }

    fn json(&mut self, target: &str, body: Value) -> Response {
        self.send("POST", target, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// A link that the API hands out, without its host.
    fn link(&mut self, target: &str) -> String {
        let told = parsed(&self.get(target));
        told.as_str().unwrap().strip_prefix("http://seafile.test").unwrap().to_owned()
    }

    /// Uploads with a fresh link for the root.
    fn upload(&mut self, fields: &[(&str, &str)], name: &str, content: &str) -> Response {
        let link = self.link(&format!("/api2/repos/{DOCS}/upload-link/"));
        self.post(&format!("{link}?ret-json=1"), fields, name, content, &[])
    }

    fn post(
        &mut self,
        link: &str,
        fields: &[(&str, &str)],
        name: &str,
        content: &str,
        more: &[(&str, &str)],
    ) -> Response {
        let part = |head: &str, body: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
        let mut body: String = fields.iter().map(|(name, value)| part(&format!("name=\"{name}\""), value)).collect();
        body.push_str(&part(&format!("name=\"file\"; filename=\"{name}\""), content));
        body.push_str("--b--\r\n");
        let mut headers = vec![("Content-Type", "multipart/form-data; boundary=b")];
        headers.extend(more);
        self.send("POST", link, &headers, body.as_bytes())
    }

    fn holds(&mut self) -> Value {
        self.fake.control("holds", &json!({"library": DOCS}), &mut self.world)
    }

    fn control(&mut self, verb: &str, body: Value) {
        assert_ne!(self.fake.control(verb, &body, &mut self.world), Value::Null);
    }
}

fn parsed(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn signing_in_wants_the_password_and_where_it_is_set_up_the_code() {
    let mut bench = bench();
    assert_eq!(bench.get("/api2/auth/ping/").status, 200);
    assert_eq!(bench.form("/api2/auth-token/", "username=alice%40fake.test&password=no").status, 400);
    let olga = json!({"username": OLGA, "password": "olgapassword"});
    let missing = bench.json("/api2/auth-token/", olga.clone());
    assert_eq!((missing.status, missing.header("x-seafile-otp")), (400, Some("required")));
    let mut with_code = |code: &str| {
        let headers = [("Content-Type", "application/json"), ("X-SEAFILE-OTP", code)];
        bench.send("POST", "/api2/auth-token/", &headers, olga.to_string().as_bytes())
    };
    assert_eq!(with_code("000000").status, 400);
    assert_eq!(parsed(&with_code(CODE))["token"].as_str().unwrap().len(), 40);
    bench.control("revoke-tokens", json!({}));
    let dead = bench.get("/api2/account/info/");
    assert_eq!((dead.status, parsed(&dead)), (401, json!({"detail": "Invalid token"})));
}

#[test]
fn addresses_end_in_a_slash_and_directories_are_changed_by_forms() {
    let mut bench = bench();
    assert_eq!(bench.get("/api2/ping").header("location"), Some("/api2/ping/"));
    assert_eq!(bench.form(&format!("/api2/repos/{DOCS}/dir?p=/a"), "operation=mkdir").status, 500);
    let target = format!("/api2/repos/{DOCS}/dir/?p=/a");
    assert_eq!(bench.json(&target, json!({"operation": "mkdir"})).status, 400);
    assert_eq!(bench.form(&target, "operation=mkdir").status, 201);
    assert_eq!(bench.form(&target, "operation=mkdir").status, 201);
    assert_eq!(bench.form(&format!("/api2/repos/{DOCS}/dir/?p=/none/b"), "operation=mkdir").status, 404);
    assert_eq!(bench.form(&format!("/api2/repos/{DOCS}/dir/?p=b"), "operation=mkdir").status, 400);
    assert_eq!(bench.holds(), json!(["/a", "/a (1)"]));
    assert_eq!(bench.form(&target, "operation=rename&newname=a").status, 400);
    assert_eq!(bench.form(&target, "operation=rename&newname=a%20(1)").status, 200);
    assert_eq!(bench.holds(), json!(["/a (1)", "/a (1) (1)"]));
}

#[test]
fn listings_tell_names_sizes_and_the_time_of_the_server() {
    let mut bench = bench();
    bench.control("put", json!({"library": DOCS, "path": "/d/b.txt", "text": "hello"}));
    bench.control("put", json!({"library": DOCS, "path": "/A.txt", "text": ""}));
    let list = |bench: &mut Bench, query: &str| bench.get(&format!("/api/v2.1/repos/{DOCS}/dir/?{query}"));
    let all = parsed(&list(&mut bench, "p=/&recursive=1"));
    let told = |value: &Value| {
        let entries = value["dirent_list"].as_array().unwrap().iter();
        entries
            .map(|entry| format!("{}{}", entry["parent_dir"].as_str().unwrap(), entry["name"].as_str().unwrap()))
            .collect()
    };
    let paths: Vec<String> = told(&all);
    assert_eq!(paths, ["/d", "/A.txt", "/d/b.txt"]);
    assert_eq!((&all["dirent_list"][2]["size"], all.get("user_perm")), (&json!(5), None));
    assert_eq!(list(&mut bench, "p=/&recursive=true").status, 400);
    let absent = list(&mut bench, "p=/none");
    assert_eq!((absent.status, parsed(&absent)), (404, json!({"error_msg": "Folder /none not found."})));
    let detail = |bench: &mut Bench, path: &str| bench.get(&format!("/api2/repos/{DOCS}/file/detail/?p={path}")).status;
    assert_eq!([detail(&mut bench, "/d/b.txt"), detail(&mut bench, "/d"), detail(&mut bench, "/no")], [200, 404, 404]);
    let dir =
        |bench: &mut Bench, path: &str| bench.get(&format!("/api/v2.1/repos/{DOCS}/dir/detail/?path={path}")).status;
    assert_eq!([dir(&mut bench, "/d"), dir(&mut bench, "/"), dir(&mut bench, "/A.txt")], [200, 400, 404]);
    bench.control("version", json!({"version": "6.3.0"}));
    assert_eq!(list(&mut bench, "p=/").status, 404);
    assert_eq!(parsed(&bench.get(&format!("/api2/repos/{DOCS}/dir/?p=/")))[0]["name"], "d");
}

#[test]
fn two_libraries_may_have_one_name_and_room_may_be_without_end() {
    let mut bench = bench();
    let repos = parsed(&bench.get("/api2/repos/"));
    let told: Vec<_> =
        repos.as_array().unwrap().iter().map(|repo| (repo["name"].clone(), repo["type"].clone())).collect();
    let wanted = [("Docs", "repo"), ("Docs", "srepo"), ("Secret", "repo")];
    assert_eq!(told, wanted.map(|(name, kind)| (json!(name), json!(kind))));
    assert_eq!(parsed(&bench.get("/api2/account/info/"))["total"], -2);
    let made = parsed(&bench.json("/api2/repos/", json!({"name": "New", "passwd": "p"})));
    assert_eq!(made["encrypted"], true);
    let gone = bench.send("DELETE", &format!("/api2/repos/{}/", made["repo_id"].as_str().unwrap()), &[], b"");
    assert_eq!((gone.status, parsed(&bench.get("/api2/repos/")).as_array().unwrap().len()), (200, 3));
}

#[test]
fn a_download_link_works_once_for_its_file_and_serves_ranges() {
    let mut bench = bench();
    bench.control("put", json!({"library": DOCS, "path": "/a.txt", "text": "0123456789"}));
    let target = format!("/api2/repos/{DOCS}/file/?p=/a.txt");
    let link = bench.link(&target);
    let part = bench.send("GET", &link, &[("Range", "bytes=2-4")], b"");
    assert_eq!((part.status, &part.body[..], part.header("content-range")), (206, &b"234"[..], Some("bytes 2-4/10")));
    let used = bench.get(&link);
    assert_eq!((used.status, parsed(&used)), (403, json!({"error": "Access token not found"})));
    let link = bench.link(&format!("{target}&reuse=1"));
    assert_eq!([bench.get(&link).status, bench.get(&link).status], [200, 200]);
    let outside = bench.send("GET", &link, &[("Range", "bytes=10-")], b"");
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(bench.get(&link.replace("a.txt", "b.txt")).status, 403);
    bench.world.advance(std::time::Duration::from_secs(3600));
    assert_eq!(bench.get(&link).status, 403);
    assert_eq!(bench.get(&format!("/api2/repos/{DOCS}/file/?p=/none")).status, 404);
    bench.control("strict", json!({"on": true}));
    let link = bench.link(&target);
    assert_eq!(bench.send("GET", &link, &[("Authorization", "Token x")], b"").status, 403);
}

#[test]
fn an_upload_keeps_to_its_link_and_numbers_what_is_there_unless_it_replaces() {
    let mut bench = bench();
    let first = parsed(&bench.upload(&[("parent_dir", "/"), ("relative_path", "new/dir")], "a.txt", "hello"));
    assert_eq!((&first[0]["name"], &first[0]["size"]), (&json!("a.txt"), &json!(5)));
    let again = parsed(&bench.upload(&[("parent_dir", "/"), ("relative_path", "new/dir")], "a.txt", "other"));
    assert_eq!(again[0]["name"], "a (1).txt");
    let fields = [("parent_dir", "/"), ("relative_path", "new/dir"), ("replace", "1")];
    assert_eq!(parsed(&bench.upload(&fields, "a.txt", "third"))[0]["name"], "a.txt");
    assert_eq!(bench.holds(), json!(["/new/dir", "/new", "/new/dir/a (1).txt", "/new/dir/a.txt"]));
    assert_eq!(bench.upload(&[("parent_dir", "/new")], "a.txt", "x").status, 403);
    assert_eq!(bench.upload(&[("parent_dir", "/"), ("relative_path", "/new")], "a.txt", "x").status, 400);
    assert_eq!(bench.upload(&[("parent_dir", "/"), ("relative_path", "a\\b")], "a.txt", "x").status, 400);
    assert_eq!(bench.upload(&[("parent_dir", "/")], "a\\\\b", "x").status, 440);
    let link = bench.link(&format!("/api2/repos/{DOCS}/upload-link/?p=/new"));
    let plain = bench.post(&link, &[("parent_dir", "/new")], "b.txt", "x", &[]);
    assert_eq!((plain.status, plain.body.len()), (200, 40));
    assert_eq!(bench.post(&link, &[("parent_dir", "/new")], "c.txt", "x", &[]).status, 403);
    let link = bench.link(&format!("/api2/repos/{DOCS}/upload-link/"));
    let backwards = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n\
        --b\r\nContent-Disposition: form-data; name=\"parent_dir\"\r\n\r\n/\r\n--b--\r\n";
    assert_eq!(
        bench.send("POST", &link, &[("Content-Type", "multipart/form-data; boundary=b")], backwards).status,
        400
    );
    assert_eq!(bench.get(&format!("/api2/repos/{DOCS}/upload-link/?p=/none")).status, 404);
}

#[test]
fn a_large_upload_goes_on_where_it_stopped_and_only_there() {
    let mut bench = bench();
    let link = format!("{}?ret-json=1", bench.link(&format!("/api2/repos/{DOCS}/upload-link/")));
    let part = |bench: &mut Bench, range: &str, content: &str| {
        let headers = [("Content-Range", range), ("Content-Disposition", "attachment; filename=\"x%20y.bin\"")];
        bench.post(&link, &[("parent_dir", "/")], "blob", content, &headers)
    };
    assert_eq!(parsed(&part(&mut bench, "bytes 0-3/10", "0123")), json!({"success": true}));
    assert_eq!(part(&mut bench, "bytes 4-7/10", "4567").status, 200);
    let asked = format!("/api/v2.1/repos/{DOCS}/file-uploaded-bytes/?parent_dir=/&file_name=x%20y.bin");
    assert_eq!(parsed(&bench.get(&asked)), json!({"uploadedBytes": 8}));
    assert_eq!(parsed(&part(&mut bench, "bytes 8-9/10", "89"))[0]["size"], 10);
    assert_eq!(bench.holds(), json!(["/x y.bin"]));
    assert_eq!(part(&mut bench, "bytes 0-3/10", "0123").status, 403);
    let link = bench.link(&format!("/api2/repos/{DOCS}/upload-link/"));
    let gap = [("Content-Range", "bytes 4-7/10"), ("Content-Disposition", "attachment; filename=\"z\"")];
    assert_eq!(bench.post(&link, &[("parent_dir", "/")], "blob", "4567", &gap).status, 400);
}

#[test]
fn an_encrypted_library_wants_its_key_again_after_an_hour_and_serves_no_ranges() {
    let mut bench = bench();
    bench.control("put", json!({"library": SECRET, "path": "/a.txt", "text": "0123456789"}));
    let list = format!("/api/v2.1/repos/{SECRET}/dir/?p=/");
    assert_eq!(bench.get(&list).status, 440);
    let unlock = format!("/api2/repos/{SECRET}/");
    let wrong = bench.form(&unlock, "password=no");
    assert_eq!((wrong.status, parsed(&wrong)), (400, json!({"error_msg": "Incorrect password"})));
    assert_eq!(bench.form(&unlock, "password=librarykey").status, 200);
    assert_eq!(bench.form(&format!("/api2/repos/{DOCS}/"), "password=x").status, 409);
    assert_eq!(bench.get(&list).status, 200);
    let link = bench.link(&format!("/api2/repos/{SECRET}/file/?p=/a.txt"));
    let whole = bench.send("GET", &link, &[("Range", "bytes=2-4")], b"");
    assert_eq!((whole.status, whole.body.len()), (200, 10));
    assert_eq!(bench.json("/api/v2.1/share-links/", json!({"repo_id": SECRET, "path": "/a.txt"})).status, 403);
    bench.world.advance(std::time::Duration::from_secs(3600));
    assert_eq!(bench.get(&list).status, 440);
}

#[test]
fn files_and_directories_move_into_directories_under_a_name_that_is_free() {
    let mut bench = bench();
    for path in ["/a.txt", "/b/a.txt", "/c/d/e.txt"] {
        bench.control("put", json!({"library": DOCS, "path": path, "text": path}));
    }
    let file = |path: &str| format!("/api/v2.1/repos/{DOCS}/file/?p={path}");
    let moving = |kind: &str, dir: &str| json!({"operation": kind, "dst_repo": DOCS, "dst_dir": dir});
    assert_eq!(parsed(&bench.json(&file("/a.txt"), moving("copy", "/b/")))["obj_name"], "a (1).txt");
    let same = parsed(&bench.json(&file("/a.txt"), moving("copy", "/")));
    assert_eq!((&same["obj_name"], &same["parent_dir"]), (&json!("a.txt"), &json!("/")));
    assert_eq!(parsed(&bench.json(&file("/a.txt"), moving("move", "/b")))["obj_name"], "a (2).txt");
    let rename = json!({"operation": "rename", "newname": "z.txt"});
    assert_eq!(parsed(&bench.json(&file("/b/a (2).txt"), rename.clone()))["obj_name"], "z.txt");
    assert_eq!(bench.json(&file("/b/z.txt"), rename).status, 400);
    assert_eq!(bench.json(&file("/b/z.txt"), moving("move", "/none")).status, 404);
    let batch = |from: &str, name: &str, to: &str| json!({"src_repo_id": DOCS, "src_parent_dir": from, "src_dirents": [name], "dst_repo_id": DOCS, "dst_parent_dir": to});
    let target = "/api/v2.1/repos/sync-batch-move-item/";
    assert_eq!(parsed(&bench.json(target, batch("/", "c", "/b"))), json!({"success": true}));
    assert_eq!(bench.json(target, batch("/", "b", "/b/c")).status, 400);
    assert_eq!(bench.holds(), json!(["/b", "/b/c", "/b/c/d", "/b/a (1).txt", "/b/a.txt", "/b/c/d/e.txt", "/b/z.txt"]));
}

#[test]
fn what_is_removed_lies_in_the_trash_until_it_is_emptied() {
    let mut bench = bench();
    bench.control("put", json!({"library": DOCS, "path": "/d/a.txt", "text": "x"}));
    bench.control("lock", json!({"library": DOCS, "path": "/d/a.txt"}));
    let remove = |bench: &mut Bench, kind: &str, path: &str| {
        bench.send("DELETE", &format!("/api2/repos/{DOCS}/{kind}/?p={path}"), &[], b"").status
    };
    assert_eq!(remove(&mut bench, "dir", "/d"), 423);
    bench.control("unlock", json!({"library": DOCS, "path": "/d/a.txt"}));
    assert_eq!(
        [remove(&mut bench, "file", "/d"), remove(&mut bench, "dir", "/d"), remove(&mut bench, "dir", "/d")],
        [404, 200, 404]
    );
    let trash = |bench: &mut Bench| bench.fake.control("trash", &json!({"library": DOCS}), &mut bench.world);
    assert_eq!(trash(&mut bench), json!(["/d", "/d/a.txt"]));
    let emptied = bench.send("DELETE", &format!("/api/v2.1/repos/{DOCS}/trash/"), &[], b"");
    assert_eq!((emptied.status, trash(&mut bench)), (200, json!([])));
    bench.control("permission", json!({"library": DOCS, "permission": "r"}));
    assert_eq!(bench.form(&format!("/api2/repos/{DOCS}/dir/?p=/x"), "operation=mkdir").status, 403);
}

#[test]
fn a_share_is_made_once_found_again_and_followed_by_anyone() {
    let mut bench = bench();
    bench.control("put", json!({"library": DOCS, "path": "/a.txt", "text": "shared"}));
    let wanted = json!({"repo_id": DOCS, "path": "/a.txt", "expire_days": 1});
    let made = parsed(&bench.json("/api/v2.1/share-links/", wanted.clone()));
    assert_eq!(bench.json("/api/v2.1/share-links/", wanted).status, 400);
    let found = parsed(&bench.get(&format!("/api/v2.1/share-links/?repo_id={DOCS}&path=/a.txt")));
    assert_eq!((&found[0]["link"], &found[0]["is_expired"]), (&made["link"], &json!(false)));
    let page = made["link"].as_str().unwrap().strip_prefix("http://seafile.test").unwrap().to_owned();
    let token = std::mem::take(&mut bench.token);
    let sent = bench.get(&page);
    let file = sent.header("location").unwrap().strip_prefix("http://seafile.test").unwrap().to_owned();
    assert_eq!(&bench.get(&file).body[..], b"shared");
    bench.world.advance(std::time::Duration::from_secs(86_400));
    assert_eq!(bench.get(&page).status, 404);
    bench.token = token;
    let listed = parsed(&bench.get(&format!("/api/v2.1/share-links/?repo_id={DOCS}&path=/a.txt")));
    assert_eq!(listed[0]["is_expired"], true);
    assert_eq!(
        bench.send("DELETE", &format!("/api/v2.1/share-links/{}/", made["token"].as_str().unwrap()), &[], b"").status,
        200
    );
    assert_eq!(parsed(&bench.get("/api/v2.1/share-links/")), json!([]));
}

#[test]
fn room_and_size_have_their_own_refusals() {
    let mut bench = bench();
    bench.control("max-size", json!({"bytes": 5}));
    assert_eq!(bench.upload(&[("parent_dir", "/")], "a", "123456").status, 442);
    bench.control("max-size", json!({}));
    bench.control("quota", json!({"bytes": 5}));
    assert_eq!(bench.upload(&[("parent_dir", "/")], "a", "123456").status, 443);
    assert_eq!(parsed(&bench.get("/api2/account/info/"))["total"], 5);
    let link = bench.link(&format!("/api2/repos/{DOCS}/update-link/?p=/"));
    assert_eq!(bench.post(&link, &[("target_file", "/none")], "none", "x", &[]).status, 441);
}
