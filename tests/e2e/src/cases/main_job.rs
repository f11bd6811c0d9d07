//! The main job: connect, mount, write, read, change, unmount, disconnect; and an independent client sees the same.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::scene::Scene;
use crate::content::{bytes, digest};
use crate::program::Settings;
use crate::servers::{Postgres, Server, rclone, rgw};

pub(crate) fn is_done_on_ceph() {
    main_job(rgw(), Settings::default());
}

pub(crate) fn is_done_on_rclone() {
    main_job(rclone(), Settings::default());
}

pub(crate) fn is_done_with_postgres_as_registry() {
    let postgres = Postgres::start();
    let flags = vec!["--database-url".to_owned(), postgres.url.clone()];
    main_job(rclone(), Settings { flags, ..Settings::default() });
}

/// More than two parts, and no multiple of anything.
const LARGE: usize = 12 * 1024 * 1024 + 345;

fn main_job(server: &'static Server, settings: Settings) {
    let scene = Scene::with(server, settings);
    let (api, bucket) = (&scene.program.api, scene.bucket.as_str());
    server.client.put(bucket, "theirs/large", &bytes(1, LARGE));
    server.client.put(bucket, "theirs/with space & ümlaut+%41", b"odd name");

    let backend = api.connect("s3", &server.settings());
    let shown = api.get(&format!("/api/v1/backends/{backend}")).expect(200);
    assert!(!shown.to_string().contains(&server.client.secret), "{shown}");
    let mount = api.mount(&backend, json!({}));
    let root = mount.path.join(bucket);

    // What the other client wrote.
    assert_eq!(digest(&fs::read(root.join("theirs/large")).unwrap()), digest(&bytes(1, LARGE)));
    assert_eq!(names(&root.join("theirs")), ["large", "with space & ümlaut+%41"]);
    assert_eq!(fs::read(root.join("theirs/with space & ümlaut+%41")).unwrap(), b"odd name");

    // What is written here, read back here.
    fs::create_dir(root.join("ours")).unwrap();
    for (name, content) in files() {
        fs::write(root.join("ours").join(name), &content).unwrap();
        assert_eq!(digest(&fs::read(root.join("ours").join(name)).unwrap()), digest(&content), "{name}");
    }
    let modified = UNIX_EPOCH + Duration::new(1_234_567_890, 123_000_000);
    fs::File::options().write(true).open(root.join("ours/small")).unwrap().set_modified(modified).unwrap();
    assert_eq!(fs::metadata(root.join("ours/small")).unwrap().modified().unwrap(), modified);

    // Changed: renamed once before and once after it is uploaded, removed, written anew.
    fs::rename(root.join("ours/early"), root.join("ours/early renamed")).unwrap();
    api.uploaded(&mount);
    fs::rename(root.join("ours/late"), root.join("late renamed")).unwrap();
    fs::rename(root.join("ours/large"), root.join("ours/large renamed")).unwrap();
    fs::remove_file(root.join("ours/removed")).unwrap();
    assert!(!root.join("ours/removed").exists());
    for content in [&b"ours for a while"[..], b"now ours"] {
        fs::write(root.join("theirs/large"), content).unwrap();
        api.uploaded(&mount);
    }
    assert_eq!(names(&root.join("ours")), ["early renamed", "empty", "large renamed", "small"]);
    api.uploaded(&mount);
    api.unmount(&mount);

    // What the other client sees.
    let expected = [
        ("late renamed", digest(&bytes(5, 70_000))),
        ("ours/early renamed", digest(&bytes(4, 70_000))),
        ("ours/empty", digest(b"")),
        ("ours/large renamed", digest(&bytes(3, LARGE))),
        ("ours/small", digest(b"hello")),
        ("theirs/large", digest(b"now ours")),
        ("theirs/with space & ümlaut+%41", digest(b"odd name")),
    ]
    .map(|(key, digest)| (key.to_owned(), Value::from(digest)))
    .into_iter()
    .collect();
    let mut seen = server.client.digests(bucket);
    seen.retain(|key, _| !key.ends_with('/'));
    assert_eq!(seen, expected);
    assert_eq!(server.client.get(bucket, "ours/small")["metadata"]["mtime"], "1234567890.123");
    assert_eq!(server.client.uploads(bucket), Vec::<String>::new(), "parts of uploads are left behind");

    // And a later mount.
    let again = api.mount(&backend, json!({"cache_mode": "off"}));
    let root = again.path.join(bucket);
    assert_eq!(fs::metadata(root.join("ours/small")).unwrap().modified().unwrap(), modified);
    assert_eq!(digest(&fs::read(root.join("ours/large renamed")).unwrap()), digest(&bytes(3, LARGE)));
    api.unmount(&again);
    api.disconnect(&backend);
    scene.end();
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("small", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("large", bytes(3, LARGE)),
        ("early", bytes(4, 70_000)),
        ("late", bytes(5, 70_000)),
        ("removed", b"not for long".to_vec()),
    ]
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}
