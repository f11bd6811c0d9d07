//! Several mounts, several makes: natives, wrappers and guests are one thing to whoever looks through a mount.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;

use super::scene::Scene;
use crate::content::{bytes, digest};
use crate::program::{Program, Settings};
use crate::proxy::{Act, Kind};
use crate::servers::{rclone, rgw};
use crate::stage::{Stage, eventually, mounted_below};

pub(crate) fn mounts_of_one_backend_see_each_other() {
    let scene = Scene::new(rclone());
    let api = &scene.program.api;
    let backend = scene.connect(json!({}));
    let (one, other) = (api.mount(&backend, json!({})), api.mount(&backend, json!({"read_only": true})));
    let (here, there) = (one.path.join(&scene.bucket), other.path.join(&scene.bucket));
    fs::write(here.join("file"), b"one").unwrap();
    eventually(Duration::from_secs(5), "the other mount sees it", || {
        fs::read(there.join("file")).map_err(|error| error.to_string()).map(|read| assert_eq!(read, b"one"))
    });
    assert_eq!(fs::write(there.join("file"), b"no").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    let refused = api.delete(&format!("/api/v1/backends/{backend}")).expect(409);
    assert_eq!(refused["code"], "ACTIVE_MOUNTS");
    api.unmount(&one);
    assert_eq!(fs::read(there.join("file")).unwrap(), b"one");
    api.unmount(&other);
    api.disconnect(&backend);
    scene.end();
}

pub(crate) fn a_live_mount_is_changed() {
    let scene = Scene::new(rclone());
    let api = &scene.program.api;
    let mount = api.mount(&scene.connect(json!({})), json!({}));
    let path = format!("/api/v1/mounts/{}", mount.id);
    let open = fs::File::create(mount.path.join(&scene.bucket).join("open")).unwrap();
    let wish = json!({"vfs_config": {"cache_mode": "full", "dir_cache_time": 7}});
    api.patch(&path, &wish).expect(200);
    let config = api.get(&path).expect(200)["vfs_config"].clone();
    assert_eq!((&config["cache_mode"], &config["dir_cache_time"]), (&json!("full"), &json!(7)));
    std::io::Write::write_all(&mut &open, b"written after the change").unwrap();
    drop(open);
    api.uploaded(&mount);
    let wrong = api.patch(&path, &json!({"vfs_config": {"cache_mode": "some", "colour": 1}})).expect(400);
    let told = wrong["error"].as_str().unwrap();
    assert!(told.contains("cache_mode") && told.contains("colour"), "{told}");
    let get = scene.server.client.get(&scene.bucket, "open");
    assert_eq!(get["sha256"], digest(b"written after the change"));
    scene.end();
}

pub(crate) fn a_removed_mount_drains_first() {
    let scene = Scene::new(rgw());
    let api = &scene.program.api;
    let backend = scene.connect(json!({}));
    let mount = api.mount(&backend, json!({}));
    let refusing = Act::Answer(503, vec![("Retry-After".into(), "1".into())], String::new());
    scene.proxy.always(Kind::Put, refusing);
    fs::write(mount.path.join(&scene.bucket).join("late"), bytes(1, 50_000)).unwrap();
    // It waits for 30 seconds, in vain; the mount is gone at once.
    let path = format!("/api/v1/mounts/{}", mount.id);
    let leaving = api.delete(&path).expect(202);
    assert_eq!(
        (&leaving["data"]["pending"]["files"], &leaving["data"]["pending"]["bytes"]),
        (&json!(1), &json!(50_000))
    );
    assert_eq!(mounted_below(&scene.program.mounts()).len(), 0);
    assert_eq!(api.get(&path).expect(200)["status"], "unmounting");
    assert_eq!(api.delete(&format!("/api/v1/backends/{backend}")).expect(409)["code"], "PENDING_UPLOADS");
    scene.proxy.pass();
    eventually(Duration::from_secs(90), "the mount goes when its uploads are done", || {
        let answer = api.get(&path);
        if answer.status == 404 { Ok(()) } else { Err(answer.text) }
    });
    assert_eq!(scene.server.client.get(&scene.bucket, "late")["sha256"], digest(&bytes(1, 50_000)));
    api.disconnect(&backend);
    scene.end();
}

pub(crate) fn what_is_pending_can_be_set_aside() {
    let scene = Scene::new(rclone());
    let api = &scene.program.api;
    let backend = scene.connect(json!({}));
    let mount = api.mount(&backend, json!({}));
    scene.proxy.always(Kind::Put, Act::Answer(503, Vec::new(), String::new()));
    fs::write(mount.path.join(&scene.bucket).join("stuck"), bytes(1, 50_000)).unwrap();
    // It does not wait, and the file is not lost with the mount.
    api.delete(&format!("/api/v1/mounts/{}?force=true", mount.id)).expect(200);
    let path = format!("/api/v1/backends/{backend}");
    assert_eq!(api.delete(&path).expect(409)["code"], "PENDING_UPLOADS");
    let gone = api.delete(&format!("{path}?discard_pending=true")).expect(200);
    let told = gone["message"].as_str().unwrap();
    let (_, place) = told.split_once(" lies in ").unwrap_or_else(|| panic!("{told}"));
    let mut files = Vec::new();
    crate::program::collect(std::path::Path::new(place), &mut files);
    let found = files.iter().any(|file| digest(&fs::read(file).unwrap()) == digest(&bytes(1, 50_000)));
    assert!(found, "what was not uploaded is not among {files:?}");
    api.get(&path).expect(404);
    scene.end();
}

pub(crate) fn a_local_folder_is_a_jail() {
    let stage = Stage::new();
    let (root, outside) = (stage.directory("local"), stage.directory("outside"));
    fs::write(outside.join("secret"), b"not yours").unwrap();
    let own = stage.directory("local/default/folder");
    symlink(&outside, own.join("link")).unwrap();
    symlink(outside.join("secret"), own.join("file link")).unwrap();
    fs::write(own.join("theirs"), b"from the disk").unwrap();
    let flags = vec!["--local-root".to_owned(), root.display().to_string()];
    let program = Program::start_with(&stage, Settings { flags, ..Settings::default() });
    for escape in ["../..", "folder/link", "folder/../../../outside"] {
        program.api.post("/api/v1/backends/local", &json!({"path": escape})).expect(400);
    }
    for followed in [false, true] {
        let settings = json!({"path": "folder", "copy_links": followed});
        let backend = program.api.connect("local", &settings);
        let mount = program.api.mount(&backend, json!({}));
        assert_eq!(fs::read(mount.path.join("theirs")).unwrap(), b"from the disk");
        for path in ["link/secret", "file link", "link/../link/secret"] {
            fs::read(mount.path.join(path)).unwrap_err();
        }
        assert!(fs::write(mount.path.join("link/new"), b"x").is_err());
        fs::write(mount.path.join("ours"), bytes(1, 200_000)).unwrap();
        program.api.uploaded(&mount);
        assert_eq!(digest(&fs::read(own.join("ours")).unwrap()), digest(&bytes(1, 200_000)));
        program.api.unmount(&mount);
        program.api.disconnect(&backend);
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    program.stop(&[]);
}

pub(crate) fn memory_is_mounted_like_the_rest() {
    let stage = Stage::new();
    let program = Program::start(&stage);
    let (one, other) = (program.api.connect("memory", &json!({})), program.api.connect("memory", &json!({})));
    let (here, there) = (program.api.mount(&one, json!({})), program.api.mount(&other, json!({})));
    // Its first names are buckets, as those of an object store.
    fs::create_dir_all(here.path.join("bucket/a/b")).unwrap();
    fs::write(here.path.join("bucket/a/b/file"), bytes(1, 300_000)).unwrap();
    fs::rename(here.path.join("bucket/a/b/file"), here.path.join("bucket/moved")).unwrap();
    program.api.uploaded(&here);
    assert_eq!(digest(&fs::read(here.path.join("bucket/moved")).unwrap()), digest(&bytes(1, 300_000)));
    assert_eq!(fs::read_dir(&there.path).unwrap().count(), 0, "backends in memory share something");
    program.api.unmount(&here);
    program.api.unmount(&there);
    program.stop(&[]);
}

pub(crate) fn an_alias_stands_for_a_place_in_s3() {
    let scene = Scene::new(rgw());
    let api = &scene.program.api;
    let backend = scene.connect(json!({"name": "store"}));
    scene.server.client.put(&scene.bucket, "deep/er/theirs", b"through the alias");
    let alias = api.connect("alias", &json!({"remote": format!("store:{}/deep", scene.bucket)}));
    let mount = api.mount(&alias, json!({}));
    assert_eq!(fs::read(mount.path.join("er/theirs")).unwrap(), b"through the alias");
    fs::write(mount.path.join("er/ours"), bytes(1, 7 << 20)).unwrap();
    fs::rename(mount.path.join("er/ours"), mount.path.join("ours")).unwrap();
    api.uploaded(&mount);
    assert_eq!(scene.server.client.keys(&scene.bucket), ["deep/er/theirs", "deep/ours"]);
    assert_eq!(scene.server.client.get(&scene.bucket, "deep/ours")["sha256"], digest(&bytes(1, 7 << 20)));
    assert_eq!(api.delete(&format!("/api/v1/backends/{backend}")).expect(409)["code"], "BACKEND_IN_USE");
    api.unmount(&mount);
    api.disconnect(&alias);
    api.disconnect(&backend);
    scene.end();
}
