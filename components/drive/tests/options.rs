//! The option table of Google Drive against the table of the API, value for value, and the list of what has no effect yet against the code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use causeway_sdk::options::{OptionKind, OptionSpec, Options as _};
use drive::Settings;
use serde_json::{Value, json};

fn table() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../tests/fixtures/options.json")).unwrap();
    all["drive"].as_array().unwrap().clone()
}

fn api_type(spec: &OptionSpec) -> &'static str {
    match spec.kind {
        OptionKind::Truth => "boolean",
        OptionKind::Number | OptionKind::Duration => "integer",
        _ => "string",
    }
}

/// A default as the API shows it.
fn api_default(spec: &OptionSpec) -> Value {
    match (&spec.default, api_type(spec)) {
        (None, _) => Value::Null,
        (Some(text), "boolean") => json!(text == "true"),
        (Some(text), "integer") => json!(text.parse::<i64>().unwrap()),
        (Some(text), _) => json!(text),
    }
}

#[test]
fn names_types_and_defaults_are_those_of_the_api() {
    let ours: Vec<_> = Settings::specs()
        .iter()
        .map(|spec| {
            let required = spec.marks.contains(causeway_sdk::options::OptionMarks::REQUIRED);
            json!({"name": spec.name, "type": api_type(spec), "default": api_default(spec), "required": required})
        })
        .collect();
    let theirs = table();

    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn every_option_says_what_it_is_for() {
    for spec in Settings::specs() {
        assert!(spec.help.ends_with('.') && spec.help.len() > 10, "{}", spec.name);
    }
}

#[test]
fn the_list_of_options_without_effect_is_true() {
    // A field that nobody reads is marked so for the compiler, which objects when somebody does.
    let code: Vec<_> = include_str!("../src/options.rs").lines().map(str::trim).collect();
    let unread = code.windows(2).filter(|lines| lines[0] == "#[expect(dead_code)]");
    let unread: Vec<_> = unread.map(|lines| lines[1].split(':').next().unwrap()).collect();
    let listed = include_str!("../options-without-effect.txt").lines().filter(|line| !line.starts_with('#'));
    let listed: Vec<_> = listed.map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(unread, listed);
}

#[test]
fn no_secret_but_the_token_goes_anywhere() {
    let mut names = Vec::new();
    for spec in Settings::specs() {
        if let OptionKind::Secret(uses) | OptionKind::SecretFile(uses) = spec.kind {
            assert!(
                uses.places.is_empty() && uses.hmac.is_empty() && uses.rsa.is_empty() && !uses.reveal,
                "{}",
                spec.name
            );
            names.push(spec.name);
        }
    }
    assert_eq!(names, ["client_secret", "service_account_credentials", "service_account_file", "token"]);
}
