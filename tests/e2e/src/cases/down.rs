//! The provider is away or silent: mounts stand, what is known stays known, and nobody waits for ever.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::Scene;
use crate::content::{bytes, digest};
use crate::proxy::{Act, Kind};
use crate::servers::rgw;
use crate::stage::eventually;

/// What a question about names may take, with room for a busy machine.
const METADATA: Duration = Duration::from_secs(15);

pub(crate) fn mounts_stand_before_the_provider_does() {
    let mut scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "theirs", b"there before");
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    assert_eq!(fs::read(root.join("theirs")).unwrap(), b"there before");
    scene.proxy.rule(|_| Act::Close);
    fs::write(root.join("ours"), bytes(1, 100_000)).unwrap();
    assert!(scene.program.terminate().success());

    scene.program.restart();
    eventually(METADATA, "the mount stands again", || {
        let details = scene.program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
        match details["status"].as_str() {
            Some("active" | "degraded") => Ok(()),
            _ => Err(details.to_string()),
        }
    });
    // What is here is here; what is there cannot be looked for, and that is not the same as absent.
    assert_eq!(digest(&timed(|| fs::read(root.join("ours"))).unwrap()), digest(&bytes(1, 100_000)));
    match timed(|| fs::metadata(root.join("theirs"))) {
        Ok(known) => assert_eq!(known.len(), 12),
        Err(error) => assert_ne!(error.kind(), ErrorKind::NotFound, "it could not be looked for"),
    }
    if let Ok(entries) = timed(|| fs::read_dir(&root)?.collect::<Result<Vec<_>, _>>()) {
        assert_eq!(entries.len(), 2, "the listing is short");
    }
    scene.proxy.pass();
    scene.program.api.uploaded(&mount);
    assert_eq!(scene.server.client.get(&scene.bucket, "ours")["sha256"], digest(&bytes(1, 100_000)));
    assert_eq!(fs::read(root.join("theirs")).unwrap(), b"there before");
    scene.end();
}

pub(crate) fn a_server_that_hangs_holds_nobody_for_ever() {
    let scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "theirs", &bytes(1, 100_000));
    let backend = scene.connect(json!({}));
    let mount = scene.program.api.mount(&backend, json!({}));
    let root = mount.path.join(&scene.bucket);
    assert_eq!(fs::metadata(root.join("theirs")).unwrap().len(), 100_000);
    scene.proxy.rule(|_| Act::Hang);

    let error = timed(|| fs::metadata(root.join("never asked for"))).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NotFound, "it could not be looked for");
    timed(|| fs::read_dir(&root)?.collect::<Result<Vec<_>, _>>()).map(|entries| assert_eq!(entries.len(), 1)).ok();
    timed(|| fs::write(root.join("ours"), b"taken all the same")).unwrap();
    timed(|| fs::rename(root.join("ours"), root.join("renamed"))).unwrap();
    // The API answers, and says what is the matter.
    let tested = scene.program.api.get(&format!("/api/v1/backends/{backend}/test")).expect(200);
    assert_eq!(tested["success"], false, "{tested}");
    assert_eq!(scene.program.api.get("/api/v1/mounts").expect(200)["count"], 1);
    // Data may take longer: a minute without a byte.
    let begun = Instant::now();
    fs::read(root.join("theirs")).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(75), "a read took {:?}", begun.elapsed());
    scene.proxy.pass();
    assert_eq!(digest(&fs::read(root.join("theirs")).unwrap()), digest(&bytes(1, 100_000)));
    scene.program.api.uploaded(&mount);
    assert_eq!(scene.server.client.keys(&scene.bucket), ["renamed", "theirs"]);
    assert!(scene.proxy.count(Kind::Put) > 0);
    scene.end();
}

/// Does it, in the time that it may take.
fn timed<T>(act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    assert!(begun.elapsed() < METADATA, "it took {:?}", begun.elapsed());
    done
}
