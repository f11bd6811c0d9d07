//! What goes wrong at the provider's side: each is told as what it is, and never becomes a wrong file.

use std::fs;
use std::io::ErrorKind;

use serde_json::json;

use super::scene::{Scene, merged};
use crate::content::{bytes, digest};
use crate::program::{Program, Settings};
use crate::proxy::{Act, Kind, Proxy};
use crate::servers::{rclone, rgw};
use crate::stage::Stage;

const FAILED_INSIDE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>";

fn xml(status: u16, body: &str) -> Act {
    Act::Answer(status, vec![("Content-Type".into(), "application/xml".into())], body.into())
}

pub(crate) fn wrong_keys_are_refused_at_connect() {
    for server in [rgw(), rclone()] {
        let stage = Stage::new();
        let program = Program::start(&stage);
        let wrong = "a-wrong-secret-that-is-long-enough";
        for more in [json!({"secret_access_key": wrong}), json!({"access_key_id": "AKNOBODY000000000000"})] {
            let answer = program.api.post("/api/v1/backends/s3", &merged(server.settings(), more));
            let told = answer.expect(400);
            assert_eq!(told["code"], "CONNECTION_FAILED");
            let message = told["error"].as_str().unwrap().to_lowercase();
            assert!(["key", "credential", "sign"].iter().any(|word| message.contains(word)), "{message}");
            assert!(!told.to_string().contains(wrong) && !told.to_string().contains(&server.client.secret));
        }
        assert_eq!(program.api.get("/api/v1/backends").expect(200)["count"], 0);
        program.stop(&[wrong, &server.client.secret]);
    }
}

pub(crate) fn a_missing_bucket_is_absent() {
    for server in [rgw(), rclone()] {
        let scene = Scene::new(server);
        let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
        let missing = mount.path.join("no-such-bucket-of-ours");
        assert_eq!(fs::metadata(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_dir(&missing).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read(missing.join("file")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::write(missing.join("file"), b"x").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(fs::metadata(mount.path.join(&scene.bucket)).unwrap().is_dir());
        scene.end();
    }
}

pub(crate) fn a_clock_that_is_off_is_named() {
    let scene = Scene::new(rclone());
    let skewed = "<?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the \
        request time and the current time is too large.</Message></Error>";
    let skewed = xml(403, skewed);
    scene.proxy.rule(move |_| skewed.clone());
    let settings = scene.server.settings_at(&scene.proxy.address);
    let told = scene.program.api.post("/api/v1/backends/s3", &settings).expect(400);
    assert_eq!(told["code"], "CONNECTION_FAILED");
    let message = told["error"].as_str().unwrap().to_lowercase();
    assert!(message.contains("clock") || message.contains("time"), "{message}");
    scene.end();
}

pub(crate) fn a_truncated_answer_is_never_a_short_file() {
    let scene = Scene::new(rgw());
    let size = 6 * 1024 * 1024 + 1;
    for name in ["resumed", "always cut", "never begun"] {
        scene.server.client.put(&scene.bucket, name, &bytes(2, size));
    }
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    scene.proxy.first(2, Kind::Get, Act::Cut(300_000));
    assert_eq!(digest(&fs::read(root.join("resumed")).unwrap()), digest(&bytes(2, size)));
    for (name, at) in [("always cut", 1000), ("never begun", 0)] {
        scene.proxy.always(Kind::Get, Act::Cut(at));
        // Resuming may get through, a thousand bytes at a time; being short is what it may not.
        if let Ok(read) = fs::read(root.join(name)) {
            assert_eq!(digest(&read), digest(&bytes(2, size)), "{name} has {} bytes", read.len());
        }
        scene.proxy.pass();
        assert_eq!(digest(&fs::read(root.join(name)).unwrap()), digest(&bytes(2, size)));
    }
    scene.end();
}

pub(crate) fn an_error_inside_200_is_not_a_completed_upload() {
    let scene = Scene::new(rgw());
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    scene.proxy.first(2, Kind::Complete, xml(200, FAILED_INSIDE));
    let content = bytes(3, 11 * 1024 * 1024);
    fs::write(mount.path.join(&scene.bucket).join("large"), &content).unwrap();
    scene.program.api.uploaded(&mount);
    assert!(scene.proxy.count(Kind::Complete) > 2, "the completion was not tried again");
    assert_eq!(scene.server.client.get(&scene.bucket, "large")["sha256"], digest(&content));
    assert_eq!(scene.server.client.uploads(&scene.bucket), Vec::<String>::new());
    scene.end();
}

pub(crate) fn an_error_inside_200_is_not_a_copy() {
    let scene = Scene::new(rgw());
    let content = bytes(4, 100_000);
    scene.server.client.put(&scene.bucket, "before", &content);
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    scene.proxy.first(2, Kind::Copy, xml(200, FAILED_INSIDE));
    fs::rename(root.join("before"), root.join("after")).unwrap();
    scene.program.api.uploaded(&mount);
    assert_eq!(scene.server.client.keys(&scene.bucket), ["after"]);
    assert_eq!(scene.server.client.get(&scene.bucket, "after")["sha256"], digest(&content));
    // What was taken for a copy would have cost the file: its removal comes after the copy that was one.
    let seen = scene.proxy.take_seen();
    let place = |kind| seen.iter().rposition(|request| request.kind == kind).unwrap();
    assert!(place(Kind::Copy) < place(Kind::Delete));
    scene.end();
}

pub(crate) fn a_listing_that_fails_on_page_two_is_an_error() {
    for server in [rgw(), rclone()] {
        let scene = Scene::new(server);
        server.client.put_empty(&scene.bucket, "many/", 25);
        let mount = scene.program.api.mount(&scene.connect(json!({"list_chunk": 10})), json!({}));
        let directory = mount.path.join(&scene.bucket).join("many");
        let failing = xml(500, FAILED_INSIDE);
        scene.proxy.rule(move |request| {
            let later = ["marker", "continuation-token"]
                .iter()
                .any(|name| request.query(name).is_some_and(|at| !at.is_empty()));
            if request.kind == Kind::List && later { failing.clone() } else { Act::Pass }
        });
        let entries: Result<Vec<_>, _> = fs::read_dir(&directory).and_then(Iterator::collect);
        assert_eq!(entries.map(|entries| entries.len()).unwrap_err().raw_os_error(), Some(5), "EIO");
        scene.proxy.pass();
        assert_eq!(fs::read_dir(&directory).unwrap().map(Result::unwrap).count(), 25);
        scene.end();
    }
}

pub(crate) fn a_redirect_carries_no_credential_elsewhere() {
    let scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "file", b"content");
    let elsewhere = Proxy::before(&scene.server.client.address);
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let location = format!("http://{}/{}/file", elsewhere.address, scene.bucket);
    for status in [301, 302, 307, 308] {
        scene.proxy.always(Kind::Get, Act::Answer(status, vec![("Location".into(), location.clone())], String::new()));
        fs::read(mount.path.join(&scene.bucket).join("file")).unwrap_err();
        for request in elsewhere.take_seen() {
            assert_eq!(request.header("authorization"), None, "the credential went along with {status}");
            assert!(!request.target.to_lowercase().contains("signature"), "{status}");
        }
    }
    scene.proxy.pass();
    assert_eq!(fs::read(mount.path.join(&scene.bucket).join("file")).unwrap(), b"content");
    scene.end();
}

pub(crate) fn a_private_address_is_refused_unless_allowed() {
    let stage = Stage::new();
    let program = Program::start_with(&stage, Settings { closed: true, ..Settings::default() });
    let proxy = Proxy::before(&rclone().client.address);
    let (_, port) = proxy.address.split_once(':').unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254"] {
        let settings = rclone().settings_at(&format!("{host}:{port}"));
        let told = program.api.post("/api/v1/backends/s3", &settings).expect(400);
        assert_eq!(told["code"], "CONNECTION_FAILED", "{host}: {told}");
        let message = told["error"].as_str().unwrap();
        assert!(message.contains("private") || message.contains("never reached"), "{host}: {message}");
    }
    assert!(proxy.take_seen().is_empty(), "a private address was asked");
    program.stop(&[&rclone().client.secret]);
}
