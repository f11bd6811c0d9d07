//! Every component, held to every promise of the contract: S3 against Ceph, the others against fakes, each in its variants.
//!
//! Most of the time they wait, for paces and after failures; so the variants of one run side by side.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use crate::program::{binary, bound, components};
use crate::servers::rgw;
use crate::stage::Stage;
use crate::subject::{Subject, variants};

pub(crate) fn s3_on_ceph_keeps_its_promises() {
    all(vec![("s3/ceph".to_owned(), Box::new(s3))]);
}

pub(crate) fn azureblob_keeps_its_promises() {
    before_a_fake("azureblob");
}

pub(crate) fn drive_keeps_its_promises() {
    before_a_fake("drive");
}

pub(crate) fn mega_keeps_its_promises() {
    before_a_fake("mega");
}

pub(crate) fn seafile_keeps_its_promises() {
    before_a_fake("seafile");
}

fn before_a_fake(provider: &'static str) {
    let run = |variant: String| -> Run {
        (format!("{provider}/{variant}"), Box::new(move || faked(&Subject::new(provider, &variant))))
    };
    all(variants(provider).into_iter().map(run).collect());
}

/// What is held to its promises, and how; what comes back is what is told of it.
type Run = (String, Box<dyn FnOnce() -> Result<String, String> + Send>);

fn all(runs: Vec<Run>) {
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (name, run) in runs {
            let failed = &failed;
            scope.spawn(move || match run() {
                Ok(told) => println!("conformance of {name}: {told}"),
                Err(told) => failed.lock().unwrap().push(format!("{name}:\n{told}")),
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn s3() -> Result<String, String> {
    let server = rgw();
    let bucket = "conformance";
    server.client.make_bucket(bucket);
    let mut command = check(&components().join("s3.wasm"));
    command.args(["--root", &format!("{bucket}/suite"), "--part-size", "5Mi", "--many", "1002"]);
    end(command, &server.settings(), &[])
}

fn faked(subject: &Subject) -> Result<String, String> {
    let mut command = check(&subject.component());
    command.args(["--root", &subject.root, "--many", &subject.many.to_string()]).args(subject.flags());
    if let Some(size) = &subject.part_size {
        command.args(["--part-size", size]);
    }
    if subject.renews {
        command.arg("--renews");
    }
    for grant in subject.grants() {
        command.args(["--grant", grant]);
    }
    end(command, &subject.settings, &subject.known)
}

fn check(component: &Path) -> Command {
    let mut command = bound(&binary());
    command.args(["provider", "check"]).arg(component).arg("--allow-private-networks=127.0.0.0/8");
    command
}

/// Runs it; what it says in the end, or all that is wrong.
fn end(mut command: Command, settings: &serde_json::Value, known: &[PathBuf]) -> Result<String, String> {
    let stage = Stage::new();
    let file = stage.path().join("settings.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    command.arg("--settings").arg(&file);
    for known in known {
        command.arg("--known").arg(known);
    }
    let done = command.stdin(Stdio::null()).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    match done.status.success() {
        true => Ok(said.lines().last().unwrap_or_default().to_owned()),
        false => Err(wrong.into_owned()),
    }
}
