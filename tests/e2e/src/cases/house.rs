//! The program itself: its settings, its commands, its start.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::program::{Program, binary, components};
use crate::stage::Stage;

pub(crate) fn wrong_settings_are_told_at_once() {
    let stage = Stage::new();
    let output = Command::new(binary())
        .args(["serve", "--listen", "nowhere", "--mount-root", "relative", "--components", "/not/there"])
        .args(["--allow-private-networks=everything", "--log-format", "xml", "--database-url", "mysql://there"])
        .arg("--data-dir")
        .arg(stage.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    for name in ["listen", "mount-root", "components", "allow-private-networks", "log-format", "database-url"] {
        assert!(told.contains(name), "{name} is not told: {told}");
    }
    assert!(!stage.path().join("data").exists(), "something was made with wrong settings");
}

pub(crate) fn tenants_and_tokens_are_made_and_revoked() {
    let stage = Stage::new();
    let data = stage.path().join("data");
    let run = |arguments: &[&str]| -> Output {
        Command::new(binary()).args(arguments).arg("--data-dir").arg(&data).output().unwrap()
    };
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    text(&["tenant", "create", "acme"]);
    assert!(!run(&["tenant", "create", "acme"]).status.success(), "a tenant was made twice");
    assert!(!run(&["token", "create", "nobody"]).status.success(), "a token was made for nobody");
    let token = text(&["token", "create", "acme", "--label", "laptop"]).trim().to_owned();
    let listed = text(&["token", "list", "acme"]);
    assert!(listed.contains("laptop") && !listed.contains(&token), "{listed}");

    let program = Program::start(&stage);
    let mut api = program.api.clone();
    api.token = token.clone();
    assert_eq!(api.get("/api/v1/backends").expect(200)["count"], 0);
    let id = listed.split('\t').next().unwrap();
    text(&["token", "revoke", "acme", id]);
    assert_eq!(api.get("/api/v1/backends").expect(401)["code"], "UNAUTHORIZED");
    api.token = text(&["token", "create", "acme"]).trim().to_owned();
    api.get("/api/v1/backends").expect(200);
    text(&["tenant", "revoke", "acme"]);
    api.get("/api/v1/backends").expect(401);
    assert!(text(&["tenant", "list"]).contains("acme\trevoked"));
    program.stop(&[&token]);
}

pub(crate) fn a_component_says_what_it_is() {
    let output =
        Command::new(binary()).args(["provider", "inspect"]).arg(components().join("s3.wasm")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    for words in ["digest:  sha256:", "imports: ", "http", "name:    s3", "options: 59"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // It never asks to read a secret.
    assert!(!told.lines().any(|line| line.starts_with("imports:") && line.contains("reveal")), "{told}");
    let wrong = Command::new(binary()).args(["provider", "inspect", "/dev/null"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
}

pub(crate) fn it_is_ready_soon_with_compiled_code_kept() {
    let stage = Stage::new();
    let mut program = Program::start(&stage);
    assert!(program.terminate().success());
    let begun = Instant::now();
    program.restart();
    let took = begun.elapsed();
    eprintln!("ready after {took:.2?} with compiled code kept");
    // A second is what is wanted; other tests run beside this one.
    assert!(took < Duration::from_secs(5), "ready after {took:?}");
    program.stop(&[]);
}
