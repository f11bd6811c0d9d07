//! Each provider through a mount: many small files and one of several parts, written, listed, renamed, read back and deleted; and a
//! later mount, with nothing remembered, sees the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::content::{bytes, digest};
use crate::program::{Program, Settings};
use crate::stage::Stage;
use crate::subject::Subject;

/// Small files in one directory.
const MANY: usize = 1000;
/// More than two parts of every provider's template, and no multiple of anything.
const LARGE: usize = 3 * 1024 * 1024 + 345;

pub(crate) fn azureblob_through_a_mount() {
    through_a_mount("azureblob");
}

pub(crate) fn drive_through_a_mount() {
    through_a_mount("drive");
}

pub(crate) fn mega_through_a_mount() {
    through_a_mount("mega");
}

pub(crate) fn seafile_through_a_mount() {
    through_a_mount("seafile");
}

fn through_a_mount(provider: &str) {
    let subject = Subject::new(provider, "plain");
    let stage = Stage::new();
    let grants = subject.grants().iter().map(|grant| format!("--grant={provider}:{grant}"));
    let flags = subject.flags().into_iter().chain(grants).collect();
    let program = Program::start_with(&stage, Settings { flags, long: true, ..Settings::default() });
    let api = &program.api;
    let backend = api.connect(provider, &subject.settings);
    let mount = api.mount(&backend, json!({}));
    let root = mount.path.join(&subject.root);
    if !root.exists() {
        fs::create_dir_all(&root).unwrap();
    }
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    for at in 0..MANY {
        fs::write(many.join(name(at)), small(at)).unwrap();
    }
    fs::write(root.join("large"), bytes(1, LARGE)).unwrap();
    assert_eq!(names(&many), (0..MANY).map(name).collect());
    api.uploaded(&mount);
    fs::rename(root.join("large"), root.join("large, renamed")).unwrap();
    fs::rename(many.join(name(0)), root.join("moved")).unwrap();
    fs::rename(many.join(name(1)), many.join("renamed")).unwrap();
    api.uploaded(&mount);
    api.unmount(&mount);

    // With nothing remembered but what is stored.
    let again = api.mount(&backend, json!({"cache_mode": "off"}));
    let root = again.path.join(&subject.root);
    let many = root.join("many");
    let expected: BTreeSet<String> = (2..MANY).map(name).chain(["renamed".to_owned()]).collect();
    assert_eq!(names(&many), expected);
    assert_eq!(digest(&fs::read(root.join("large, renamed")).unwrap()), digest(&bytes(1, LARGE)));
    assert_eq!(fs::read(root.join("moved")).unwrap(), small(0));
    for at in 2..MANY {
        assert_eq!(fs::read(many.join(name(at))).unwrap(), small(at), "{}", name(at));
    }
    for name in names(&many) {
        fs::remove_file(many.join(name)).unwrap();
    }
    fs::remove_dir(&many).unwrap();
    fs::remove_file(root.join("moved")).unwrap();
    fs::remove_file(root.join("large, renamed")).unwrap();
    assert!(names(&root).is_empty(), "{:?}", names(&root));
    api.uploaded(&again);
    api.unmount(&again);
    api.disconnect(&backend);
    let secrets: Vec<&str> = subject
        .settings
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| is_secret(name))
        .filter_map(|(_, value)| value.as_str())
        .collect();
    program.stop(&secrets);
}

fn is_secret(name: &str) -> bool {
    ["key", "pass", "client_secret", "token", "library_key", "service_account_credentials"].contains(&name)
}

fn name(at: usize) -> String {
    format!("file {at:04}.txt")
}

fn small(at: usize) -> Vec<u8> {
    format!("the content of file {at}").into_bytes()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
