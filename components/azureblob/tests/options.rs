//! The option table of Azure Blob Storage against the table of the API, value for value, and the list of what has no effect yet against the code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the whole file is tests")]

use azureblob::Settings;
use causeway_sdk::options::{OptionKind, OptionMarks, OptionSpec, Options as _};
use serde_json::{Value, json};

/// A default as the API shows it.
fn api_default(spec: &OptionSpec) -> Value {
    match (&spec.default, &spec.kind) {
        (Some(text), OptionKind::Truth) => json!(text == "true"),
        (Some(text), OptionKind::Number) => json!(text.parse::<i64>().unwrap()),
        (Some(text), _) => json!(text),
        (None, _) => Value::Null,
    }
}

#[test]
fn names_types_and_defaults_are_those_of_the_api() {
    let all: Value = serde_json::from_str(include_str!("../../../tests/fixtures/options.json")).unwrap();
    let ours: Vec<_> = Settings::specs()
        .iter()
        .map(|spec| {
            let required = spec.marks.contains(OptionMarks::REQUIRED);
            let kind = match spec.kind {
                OptionKind::Truth => "boolean",
                OptionKind::Number => "integer",
                _ => "string",
            };
            json!({"name": spec.name, "type": kind, "default": api_default(spec), "required": required})
        })
        .collect();
    assert_eq!(Value::Array(ours), all["azureblob"]);
}

#[test]
fn the_list_of_options_without_effect_is_true() {
    let code: Vec<_> = include_str!("../src/wire.rs").lines().map(str::trim).collect();
    let unread = code.windows(2).filter(|lines| lines[0] == "#[expect(dead_code)]");
    let unread: Vec<_> = unread.map(|lines| lines[1].split(':').next().unwrap()).collect();
    let listed = include_str!("../options-without-effect.txt").lines().filter(|line| !line.starts_with('#'));
    let listed: Vec<_> = listed.map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(unread, listed);
}

#[test]
fn the_key_signs_and_goes_nowhere() {
    let uses = |name: &str| {
        let spec = Settings::specs().into_iter().find(|spec| spec.name == name).unwrap();
        let OptionKind::Secret(uses) = spec.kind else { panic!("{name} is no secret") };
        assert!(!uses.reveal);
        uses
    };
    assert!(uses("key").places.is_empty() && uses("key").hmac.len() == 1);
    assert!(uses("sas_url").hmac.is_empty() && uses("sas_url").places.len() == 1);
    for only_the_host in ["client_secret", "password", "client_certificate_password"] {
        assert!(uses(only_the_host).places.is_empty() && uses(only_the_host).hmac.is_empty());
    }
}
