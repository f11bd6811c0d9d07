//! The process dies while uploads are under way: what was acknowledged arrives all the same, complete, and once.

use std::fs;
use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::content::{bytes, digest};
use crate::proxy::{Act, Kind};
use crate::servers::{Server, rclone, rgw};
use crate::stage::{eventually, mounted_below};

const LARGE: usize = 17 * 1024 * 1024;

pub(crate) fn closed_files_arrive_after_a_kill_during_uploads() {
    for server in [rgw(), rclone()] {
        kill_during_uploads(server);
    }
}

fn kill_during_uploads(server: &'static Server) {
    let mut scene = Scene::new(server);
    let backend = scene.connect(json!({"upload_concurrency": 1}));
    let mount = scene.program.api.mount(&backend, json!({}));
    let root = mount.path.join(&scene.bucket);
    // One part goes through, everything after it hangs: uploads are under way when the process dies.
    let parts = std::sync::atomic::AtomicUsize::new(0);
    scene.proxy.rule(move |request| match request.kind {
        Kind::Part if parts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 => Act::Hang,
        Kind::Put | Kind::Complete => Act::Hang,
        _ => Act::Pass,
    });
    fs::create_dir(root.join("closed")).unwrap();
    // The large one first: only so many are uploaded at a time, and it shall be among them.
    fs::write(root.join("closed/large"), bytes(99, LARGE)).unwrap();
    for number in 0..6 {
        fs::write(root.join(format!("closed/{number}")), bytes(number, 10_000 * (number as usize + 1))).unwrap();
    }
    fs::rename(root.join("closed/5"), root.join("renamed")).unwrap();
    fs::remove_file(root.join("closed/4")).unwrap();
    let mut open = fs::File::create(root.join("being written")).unwrap();
    open.write_all(&bytes(7, 3_000_000)).unwrap();
    eventually(Duration::from_secs(30), "uploads are under way", || {
        let (puts, parts) = (scene.proxy.count(Kind::Put), scene.proxy.count(Kind::Part));
        if puts > 0 && parts > 1 { Ok(()) } else { Err(format!("{puts} puts, {parts} parts")) }
    });
    scene.program.kill();
    drop(open);

    scene.proxy.pass();
    scene.program.restart();
    let api = &scene.program.api;
    eventually(Duration::from_secs(10), "the mount stands again", || {
        let details = api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
        if details["status"] == "active" { Ok(()) } else { Err(details.to_string()) }
    });
    assert_eq!(
        mounted_below(&scene.program.mounts()),
        std::slice::from_ref(&mount.path),
        "dead mounts are left behind"
    );
    // Seen here at once, whether it is uploaded or not.
    assert_eq!(digest(&fs::read(root.join("closed/large")).unwrap()), digest(&bytes(99, LARGE)));
    assert_eq!(digest(&fs::read(root.join("renamed")).unwrap()), digest(&bytes(5, 60_000)));
    api.uploaded(&mount);
    api.unmount(&mount);

    let mut seen = server.client.digests(&scene.bucket);
    // It was never closed, but what `write` took survives the process.
    assert_eq!(seen.remove("being written").unwrap(), digest(&bytes(7, 3_000_000)));
    seen.retain(|key, _| !key.ends_with('/'));
    let mut expected = serde_json::Map::new();
    for number in 0..4 {
        let content = bytes(number, 10_000 * (number as usize + 1));
        expected.insert(format!("closed/{number}"), digest(&content).into());
    }
    expected.insert("closed/large".into(), digest(&bytes(99, LARGE)).into());
    expected.insert("renamed".into(), digest(&bytes(5, 60_000)).into());
    assert_eq!(seen, expected);
    assert_eq!(server.client.uploads(&scene.bucket), Vec::<String>::new(), "parts of uploads are left behind");
    scene.end();
}

pub(crate) fn a_completion_whose_answer_was_lost_is_not_made_twice() {
    for server in [rgw(), rclone()] {
        let scene = Scene::new(server);
        let backend = scene.connect(json!({}));
        let mount = scene.program.api.mount(&backend, json!({}));
        for (kind, name, size) in [(Kind::Complete, "large", LARGE), (Kind::Put, "small", 1000)] {
            scene.proxy.first(1, kind, Act::LoseAnswer);
            fs::write(mount.path.join(&scene.bucket).join(name), bytes(1, size)).unwrap();
            scene.program.api.uploaded(&mount);
            assert_eq!(server.client.get(&scene.bucket, name)["sha256"], digest(&bytes(1, size)), "{name}");
        }
        // A lost answer is no conflict: there is one file of each name, and no copy beside it.
        assert_eq!(server.client.keys(&scene.bucket), ["large", "small"]);
        assert_eq!(server.client.uploads(&scene.bucket), Vec::<String>::new());
        scene.end();
    }
}

pub(crate) fn a_kill_while_a_completion_is_unanswered_loses_nothing() {
    let server = rgw();
    let mut scene = Scene::new(server);
    let backend = scene.connect(json!({}));
    let mount = scene.program.api.mount(&backend, json!({}));
    scene.proxy.rule(|request| if request.kind == Kind::Complete { Act::LoseAnswer } else { Act::Pass });
    fs::write(mount.path.join(&scene.bucket).join("large"), bytes(1, LARGE)).unwrap();
    eventually(Duration::from_secs(30), "a completion is under way", || {
        if scene.proxy.count(Kind::Complete) > 0 { Ok(()) } else { Err("none yet".into()) }
    });
    scene.program.kill();
    scene.proxy.pass();
    scene.program.restart();
    scene.program.api.uploaded(&mount);
    assert_eq!(server.client.keys(&scene.bucket), ["large"]);
    assert_eq!(server.client.get(&scene.bucket, "large")["sha256"], digest(&bytes(1, LARGE)));
    assert_eq!(server.client.uploads(&scene.bucket), Vec::<String>::new());
    scene.end();
}
