//! Providers that are tried against fakes: how each is configured stands in `tests/conformance/<provider>.json`, with its variants.
//!
//! A placeholder `{accounts.drive.client_id}` is filled from what the fake says of its accounts, `{origin}` is where it listens, and
//! `{prepared.id}` comes from the answer to the variant's `prepare`. A setting that is a JSON document is given as its text.

use std::path::{Path, PathBuf};

use causeway_fakes::{Front, Running};
use serde_json::{Map, Value};

/// A provider in one variant, before a fake of its own.
pub(crate) struct Subject {
    pub(crate) provider: String,
    pub(crate) settings: Value,
    /// A directory that may be used, where the root itself holds no files.
    pub(crate) root: String,
    pub(crate) part_size: Option<String>,
    pub(crate) many: u64,
    pub(crate) renews: bool,
    /// Lists of cases that are known to fail: of the provider, and of the variant besides.
    pub(crate) known: Vec<PathBuf>,
    grants: Vec<String>,
    hosts: Vec<String>,
    fake: Running,
}

/// Where the templates and the lists of what is known to fail lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance").canonicalize().unwrap()
}

/// The variants of a provider, `plain` first.
pub(crate) fn variants(provider: &str) -> Vec<String> {
    let template = template(provider);
    let named = template["variants"].as_object().into_iter().flat_map(Map::keys).cloned();
    ["plain".to_owned()].into_iter().chain(named).collect()
}

fn template(provider: &str) -> Value {
    let path = folder().join(format!("{provider}.json"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

impl Subject {
    pub(crate) fn new(provider: &str, variant: &str) -> Subject {
        let template = template(provider);
        let fake = Front::start(causeway_fakes::fakes(&[provider.to_owned()]).unwrap()).unwrap();
        let wanted = &template["variants"][variant];
        let mut known =
            Map::from_iter([("accounts".to_owned(), fake.accounts()), ("origin".to_owned(), fake.origin().into())]);
        if let Some(prepare) = wanted.get("prepare") {
            let prepared = fake.control(provider, prepare["verb"].as_str().unwrap(), &prepare["body"]);
            known.insert("prepared".to_owned(), prepared);
        }
        let known = Value::Object(known);
        let mut settings = template["settings"].as_object().unwrap().clone();
        settings.extend(
            wanted["settings"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())),
        );
        settings.retain(|_, value| !value.is_null());
        let settings = settings.into_iter().map(|(name, value)| (name, as_setting(filled(value, &known)))).collect();
        let texts = |name: &str| -> Vec<String> {
            let list = wanted.get(name).unwrap_or(&template[name]);
            list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let text = |name: &str| wanted.get(name).unwrap_or(&template[name]).as_str().map(str::to_owned);
        Subject {
            provider: provider.to_owned(),
            settings,
            root: text("root").unwrap_or_else(|| "suite".to_owned()),
            part_size: text("part_size"),
            many: template["many"].as_u64().unwrap_or(300),
            renews: wanted.get("renews").unwrap_or(&template["renews"]).as_bool().unwrap_or(false),
            known: [format!("{provider}.known")]
                .into_iter()
                .chain(wanted["known"].as_str().map(str::to_owned))
                .map(|name| folder().join(name))
                .filter(|path| path.exists())
                .collect(),
            grants: texts("grants"),
            hosts: texts("hosts"),
            fake,
        }
    }

    /// The flags by which the program reaches the fake under the provider's real names.
    pub(crate) fn flags(&self) -> Vec<String> {
        let map: Vec<_> = self.hosts.iter().map(|host| format!("{host}={}", self.fake.address)).collect();
        let mut flags = vec![format!("--extra-ca={}", self.fake.ca().display())];
        if !map.is_empty() {
            flags.push(format!("--egress-map={}", map.join(",")));
        }
        flags
    }

    /// What the operator grants, as `provider check` takes it.
    pub(crate) fn grants(&self) -> &[String] {
        &self.grants
    }

    /// The component.
    pub(crate) fn component(&self) -> PathBuf {
        crate::program::components().join(format!("{}.wasm", self.provider))
    }
}

/// Placeholders anywhere in a value, filled.
fn filled(value: Value, known: &Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(path) if !path.contains(['{', '"', ' ']) => look(path, known),
            _ => Value::String(with_parts_filled(text, known)),
        },
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, filled(value, known))).collect(),
        Value::Array(items) => items.into_iter().map(|item| filled(item, known)).collect(),
        other => other,
    }
}

fn with_parts_filled(mut text: String, known: &Value) -> String {
    while let Some((before, rest)) = text.split_once('{') {
        let Some((path, after)) = rest.split_once('}') else { break };
        let found = look(path, known);
        text = format!("{before}{}{after}", found.as_str().map_or_else(|| found.to_string(), str::to_owned));
    }
    text
}

fn look(path: &str, known: &Value) -> Value {
    let pointer = format!("/{}", path.replace('.', "/"));
    known.pointer(&pointer).unwrap_or_else(|| panic!("the fake says nothing of {path}: {known}")).clone()
}

fn as_setting(value: Value) -> Value {
    if value.is_object() { Value::String(value.to_string()) } else { value }
}
