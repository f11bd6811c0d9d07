//! The provider is away or silent: mounts stand, what is known stays known, and nobody waits for ever.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::Scene;
use crate::content::{bytes, digest};
use crate::proxy::Act;
use crate::servers::rgw;
use crate::stage::{NOTICED, eventually};

/// What a question about names may take, with room for a busy machine.
const METADATA: Duration = Duration::from_secs(15);

pub(crate) fn mounts_stand_before_the_provider_does() {
    let mut scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "theirs", b"there before");
    let mount = scene.program.api.mount(&scene.connect(json!({})), json!({}));
    let root = mount.path.join(&scene.bucket);
    assert_eq!(fs::read(root.join("theirs")).unwrap(), b"there before");
    // A name can only be created where it is known that nothing stands there.
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
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
    // What was known before is known again.
    for (name, size) in [("ours", 100_000), ("theirs", 12)] {
        assert_eq!(timed(|| fs::metadata(root.join(name))).unwrap().len(), size, "{name}");
    }
    let listed = timed(|| fs::read_dir(&root).and_then(Iterator::collect::<Result<Vec<_>, _>>)).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(timed(|| fs::read(root.join("ours"))).unwrap(), bytes(1, 100_000));
    // What nobody ever asked for is not absent, but cannot be looked for.
    let error = timed(|| fs::metadata(mount.path.join("never asked for"))).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NotFound);
    let details = scene.program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
    assert_eq!((&details["pending"]["files"], &details["pending"]["bytes"]), (&json!(1), &json!(100_000)), "{details}");
    scene.proxy.pass();
    scene.program.api.uploaded(&mount);
    assert_eq!(scene.server.client.get(&scene.bucket, "ours")["sha256"], digest(&bytes(1, 100_000)));
    assert_eq!(fs::read(root.join("theirs")).unwrap(), b"there before");
    scene.end();
}

pub(crate) fn a_server_that_hangs_holds_nobody_for_ever() {
    let scene = Scene::new(rgw());
    scene.server.client.put(&scene.bucket, "known/theirs", &bytes(1, 100_000));
    let backend = scene.connect(json!({}));
    let mount = scene.program.api.mount(&backend, json!({}));
    let root = mount.path.join(&scene.bucket);
    let known = root.join("known");
    assert_eq!(fs::metadata(known.join("theirs")).unwrap().len(), 100_000);
    assert_eq!(fs::read_dir(&known).unwrap().count(), 1);
    scene.proxy.rule(|_| Act::Hang);

    // What was never asked for cannot be looked for, and that is not the same as absent.
    let error = timed(|| fs::metadata(root.join("never asked for"))).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::NotFound);
    timed(|| fs::read_dir(&root).and_then(Iterator::collect::<Result<Vec<_>, _>>)).unwrap_err();
    // What is known is known.
    assert_eq!(timed(|| fs::metadata(known.join("theirs"))).unwrap().len(), 100_000);
    assert_eq!(timed(|| fs::read_dir(&known)).unwrap().count(), 1);
    timed(|| fs::write(known.join("ours"), b"taken all the same")).unwrap();
    assert_eq!(timed(|| fs::read(known.join("ours"))).unwrap(), b"taken all the same");
    // The API answers, and says what is the matter.
    let tested = scene.program.api.get(&format!("/api/v1/backends/{backend}/test")).expect(200);
    assert_eq!(tested["success"], false, "{tested}");
    assert_eq!(scene.program.api.get("/api/v1/mounts").expect(200)["count"], 1);
    // Data may take longer: a minute without a byte.
    let begun = Instant::now();
    read_once(&known.join("theirs")).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(75), "a read took {:?}", begun.elapsed());

    scene.proxy.pass();
    let read = eventually(NOTICED, "it is noticed that the server is back", || {
        fs::read(known.join("theirs")).map_err(|error| error.to_string())
    });
    assert_eq!(digest(&read), digest(&bytes(1, 100_000)));
    scene.program.api.uploaded(&mount);
    assert_eq!(scene.server.client.keys(&scene.bucket), ["known/ours", "known/theirs"]);
    scene.end();
}

/// Reads in one request: past the kernel's cache, which asks a second time for what it did not get.
fn read_once(path: &Path) -> std::io::Result<usize> {
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap();
    let mut file = fs::File::options().read(true).custom_flags(direct).open(path)?;
    file.read(&mut [0; 4096])
}

/// Does it, in the time that it may take.
fn timed<T>(act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    assert!(begun.elapsed() < METADATA, "it took {:?}", begun.elapsed());
    done
}
