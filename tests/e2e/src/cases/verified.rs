//! fio writes blocks that say what and where they are, in every manner, and reads them back: at once, after a later mount
//! with nothing kept, and from the provider's own folder.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::program::{Program, Settings};
use crate::servers::lib;
use crate::stage::Stage;

/// Written in this manner, and found in the file afterwards.
const WRITERS: [(&str, &[&str]); 5] = [
    ("sequential", &["--rw=write", "--bs=1m"]),
    ("random", &["--rw=randwrite", "--bs=4k"]),
    ("odd", &["--rw=randwrite", "--bsrange=512-60k"]),
    ("mapped", &["--rw=randwrite", "--bs=4k", "--ioengine=mmap"]),
    ("several", &["--rw=randwrite", "--bs=16k", "--numjobs=3", "--fsync=64"]),
];
/// Written and read at the same time, and verified on the way.
const MIXED: [(&str, &[&str]); 2] = [
    ("mixed", &["--rw=randrw", "--bs=4k", "--verify_backlog=64"]),
    ("mixed and mapped", &["--rw=randrw", "--bs=4k", "--ioengine=mmap", "--verify_backlog=64"]),
];

pub(crate) fn every_block_is_where_it_was_written() {
    write_and_verify(6, Settings::default());
}

/// Everybody's files, each of so many MiB.
pub(crate) fn write_and_verify(size_mib: u64, settings: Settings) {
    assert!(Command::new(lib("packages.sh")).arg("fio").status().unwrap().success());
    let stage = Stage::new();
    let folder = stage.directory("local/default/folder");
    let flags = vec!["--local-root".to_owned(), stage.path().join("local").display().to_string()];
    let program = Program::start_with(&stage, Settings { flags, ..settings });
    let backend = program.api.connect("local", &json!({"path": "folder"}));
    let mount = program.api.mount(&backend, json!({}));
    for (name, options) in WRITERS.iter().chain(&MIXED) {
        fio(&mount.path, name, size_mib, options);
    }
    program.api.uploaded(&mount);
    program.api.unmount(&mount);
    let later = program.api.mount(&backend, json!({"cache_mode": "off"}));
    for (name, options) in WRITERS {
        let options = [options, &["--verify_only"]].concat();
        fio(&folder, name, size_mib, &options);
        fio(&later.path, name, size_mib, &options);
    }
    program.api.unmount(&later);
    program.stop(&[]);
}

fn fio(directory: &Path, name: &str, size_mib: u64, options: &[&str]) {
    let output = Command::new("fio")
        .arg(format!("--name={name}"))
        .arg(format!("--directory={}", directory.display()))
        .arg(format!("--size={size_mib}m"))
        .args(["--filename_format=$jobname.$jobnum", "--verify=crc32c", "--verify_fatal=1", "--fallocate=none"])
        .args(["--verify_state_save=0", "--minimal"])
        .args(options)
        // It leaves notes where it runs.
        .current_dir(directory.parent().unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "fio {name} {options:?} in {}: {told}", directory.display());
}
