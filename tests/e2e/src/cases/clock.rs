//! The program's clock jumps, forwards and back: what was acknowledged stays, and work goes on.
//!
//! The machine's own clock is left alone: `libfaketime` shows the program another one, which it reads from a file anew.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::scene::{bucket, merged};
use crate::content::{bytes, digest};
use crate::program::{Program, Settings};
use crate::servers::{lib, rclone, rgw};
use crate::stage::{Stage, eventually};

/// A program whose clock is set by what `set` writes.
fn settings(stage: &Stage) -> Settings {
    assert!(Command::new(lib("packages.sh")).arg("faketime").status().unwrap().success());
    let libraries =
        fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.into_iter().find(|path| path.exists()).expect("libfaketime is installed");
    set(stage.path(), "+0");
    let text = |path: &Path| path.display().to_string();
    let environment = [
        ("LD_PRELOAD", text(&library)),
        ("FAKETIME_TIMESTAMP_FILE", text(&stage.path().join("clock"))),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // What measures spans of time does not jump.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    Settings { environment, ..Settings::default() }
}

/// The clock goes by so much from now on.
fn set(directory: &Path, offset: &str) {
    fs::write(directory.join("clock.new"), offset).unwrap();
    fs::rename(directory.join("clock.new"), directory.join("clock")).unwrap();
}

pub(crate) fn a_jump_loses_nothing_and_stops_nothing() {
    let stage = Stage::new();
    let folder = stage.directory("local/default/folder");
    let mut settings = settings(&stage);
    settings.flags = vec!["--local-root".to_owned(), stage.path().join("local").display().to_string()];
    let mut program = Program::start_with(&stage, settings);
    let mount =
        program.api.mount(&program.api.connect("local", &json!({"path": "folder"})), json!({"cache_mode": "full"}));
    for (number, offset) in ["+0", "+400d", "-400d", "+1h", "-1h", "+0"].into_iter().enumerate() {
        set(stage.path(), offset);
        let name = format!("file {number}");
        fs::write(mount.path.join(&name), bytes(number as u64, 100_000)).unwrap();
        fs::write(mount.path.join("same"), bytes(number as u64, 50_000)).unwrap();
        eventually(Duration::from_secs(15), "it is uploaded", || match fs::read(folder.join(&name)) {
            Ok(read) if digest(&read) == digest(&bytes(number as u64, 100_000)) => Ok(()),
            other => Err(format!("with the clock at {offset}: {:?}", other.map(|read| read.len()))),
        });
        program.api.uploaded(&mount);
        for number in 0..=number {
            let read = fs::read(mount.path.join(format!("file {number}"))).unwrap();
            assert_eq!(digest(&read), digest(&bytes(number as u64, 100_000)));
        }
        if number == 2 {
            fs::write(mount.path.join("kept"), b"over a restart").unwrap();
            program.kill();
            program.restart();
            eventually(Duration::from_secs(15), "the mount stands again", || {
                fs::read(mount.path.join("kept")).map_err(|error| error.to_string())
            });
        }
    }
    assert_eq!(digest(&fs::read(folder.join("same")).unwrap()), digest(&bytes(5, 50_000)));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 8, "there are copies");
    program.api.unmount(&mount);
    program.stop(&[]);
}

pub(crate) fn a_clock_that_s3_refuses_for_a_while_loses_nothing() {
    for server in [rgw(), rclone()] {
        let stage = Stage::new();
        let bucket = bucket();
        server.client.make_bucket(&bucket);
        let program = Program::start_with(&stage, settings(&stage));
        let backend = program.api.connect("s3", &merged(server.settings(), json!({})));
        let mount = program.api.mount(&backend, json!({}));
        let root = mount.path.join(&bucket);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        set(stage.path(), "+2h");
        fs::write(root.join("file"), bytes(1, 100_000)).unwrap();
        let pending = || program.api.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200)["pending"].clone();
        let told = eventually(Duration::from_secs(15), "the upload was refused", || {
            let pending = pending();
            pending["last_error"].as_str().map(str::to_lowercase).ok_or_else(|| pending.to_string())
        });
        assert!(told.contains("clock") || told.contains("time"), "{told}");
        assert_eq!(digest(&fs::read(root.join("file")).unwrap()), digest(&bytes(1, 100_000)));
        set(stage.path(), "+0");
        program.api.uploaded(&mount);
        assert_eq!(server.client.get(&bucket, "file")["sha256"], digest(&bytes(1, 100_000)));
        program.api.unmount(&mount);
        program.stop(&[&server.client.secret]);
    }
}
