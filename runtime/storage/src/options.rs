//! Settings: the values given for a provider's options, parsed once, with every wrong field told at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::{Encoding, OptionKind, OptionMarks, OptionSpec, Secret, parse_bytes, parse_duration_ms};

/// A value given for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Any text, a choice by its name, or an endpoint.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A truth, or a tri-state that was decided.
    Truth(bool),
    /// A size.
    Bytes(u64),
    /// A duration.
    Milliseconds(u64),
    /// A list.
    Several(Vec<String>),
    /// A size or a duration that is switched off.
    Off,
    /// A secret.
    Secret(Secret),
}

/// A setting that cannot be used, and why, for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The option.
    pub option: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem with an option.
    pub fn new(option: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { option: option.into(), message: message.into() }
    }
}

/// What was given for the options of one backend. Options left at their default, and tri-states left open, are absent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// Parses what a user gave. Unknown fields, wrong types, unknown choices and missing required options are all named.
    /// Empty strings count as not given; so does `null`. A required option that has a default other than `""` may be left out.
    pub fn parse(specs: &[OptionSpec], given: &Map<String, Json>) -> Result<Settings, Vec<Problem>> {
        let mut settings = BTreeMap::new();
        let mut problems = Vec::new();
        for name in given.keys().filter(|name| !specs.iter().any(|spec| spec.name == **name)) {
            problems.push(Problem::new(name, "is not an option of this provider"));
        }
        for spec in specs {
            let given = given.get(&spec.name).filter(|json| !json.is_null() && json.as_str() != Some(""));
            let Some(json) = given else {
                if spec.marks.contains(OptionMarks::REQUIRED) && spec.default.as_deref().unwrap_or("").is_empty() {
                    problems.push(Problem::new(&spec.name, "is required"));
                }
                continue;
            };
            match parse_value(&spec.kind, json) {
                Ok(value) => {
                    settings.insert(spec.name.clone(), value);
                }
                Err(message) => problems.push(Problem::new(&spec.name, message)),
            }
        }
        if problems.is_empty() { Ok(Settings(settings)) } else { Err(problems) }
    }

    /// What was given for an option.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Puts a value in, in place of what was there.
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// All that was given, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The text given for an option.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The truth given for an option; `false` if none was.
    pub fn truth(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Truth(true)))
    }

    /// The secret given for an option.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        match self.get(name) {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }
}

/// Parses one value. The error completes the sentence "`option` ...".
fn parse_value(kind: &OptionKind, json: &Json) -> Result<Value, String> {
    match kind {
        OptionKind::Text | OptionKind::SecretFile => text(json).map(Value::Text),
        OptionKind::Endpoint | OptionKind::EndpointAndBelow => endpoint(json).map(Value::Text),
        OptionKind::Secret => text(json).map(|text| Value::Secret(Secret::new(text))),
        OptionKind::Number => number(json).map(Value::Number),
        OptionKind::Truth | OptionKind::TriState => match json {
            Json::Bool(truth) => Ok(Value::Truth(*truth)),
            Json::String(text) if text == "true" => Ok(Value::Truth(true)),
            Json::String(text) if text == "false" => Ok(Value::Truth(false)),
            // Tri-states are shown as strings, and "unset" is what their tables call an open one.
            _ => Err("must be true or false".into()),
        },
        OptionKind::Bytes => match json {
            Json::Number(number) => number.as_u64().map(Value::Bytes),
            Json::String(text) if text == "off" => Some(Value::Off),
            Json::String(text) => parse_bytes(text).map(Value::Bytes),
            _ => None,
        }
        .ok_or_else(|| "must be a size: a number of bytes, or one with a unit such as \"5M\", or \"off\"".into()),
        OptionKind::Duration => match json {
            Json::Number(number) => {
                number.as_u64().and_then(|seconds| seconds.checked_mul(1000)).map(Value::Milliseconds)
            }
            Json::String(text) if text == "off" => Some(Value::Off),
            Json::String(text) => parse_duration_ms(text).map(Value::Milliseconds),
            _ => None,
        }
        .ok_or_else(|| {
            "must be a duration: a number of seconds, or one with units such as \"1h30m\", or \"off\"".into()
        }),
        OptionKind::Choice(choices) => choice(choices, json).map(Value::Text),
        OptionKind::Several(choices) => {
            let several = several(json)?;
            match several.iter().find(|name| !choices.is_empty() && !choices.contains(name)) {
                None => Ok(Value::Several(several)),
                Some(unknown) => {
                    Err(format!("has the unknown value \"{unknown}\"; must be some of {}", choices.join(", ")))
                }
            }
        }
        OptionKind::Encoding => match json {
            Json::Number(number) => number.as_u64().map(|mask| mask.to_string()),
            Json::String(text) => Some(text.clone()),
            _ => None,
        }
        .filter(|mask| Encoding::parse(mask).is_some())
        .map(Value::Text)
        .ok_or_else(|| "must be an encoding: a mask as a number, or names such as \"Slash,Dot\"".into()),
    }
}

fn text(json: &Json) -> Result<String, String> {
    match json {
        Json::String(text) if text.contains('\0') => Err("must not contain a NUL character".into()),
        Json::String(text) => Ok(text.clone()),
        _ => Err("must be a string".into()),
    }
}

fn number(json: &Json) -> Result<i64, String> {
    let number = match json {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| "must be a whole number".into())
}

fn several(json: &Json) -> Result<Vec<String>, String> {
    let wrong = || "must be a list of strings, or one string with commas".to_owned();
    match json {
        Json::String(text) => {
            Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
        }
        Json::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

fn choice(choices: &[String], json: &Json) -> Result<String, String> {
    let by_index = |index: usize| choices.get(index).cloned();
    let found = match json {
        Json::Number(number) => number.as_u64().and_then(|index| usize::try_from(index).ok()).and_then(by_index),
        Json::String(name) if choices.contains(name) => Some(name.clone()),
        Json::String(index) => index.parse().ok().and_then(by_index),
        _ => None,
    };
    found.ok_or_else(|| {
        format!(
            "must be one of {}",
            choices.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>().join(", ")
        )
    })
}

/// An endpoint as a URL without a slash at its end: a bare host means https.
fn endpoint(json: &Json) -> Result<String, String> {
    let text = text(json)?;
    let text = text.trim();
    let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let wrong = || "must be a host name or a URL such as https://s3.example.com".to_owned();
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or("");
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let rest_sound = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '\\' | '"' | '<' | '>');
    if authority.is_empty() || !authority.chars().all(sound) || !rest.chars().all(rest_sound) {
        return Err(wrong());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: OptionKind, marks: OptionMarks) -> OptionSpec {
        OptionSpec { name: name.into(), kind, default: Some(String::new()), marks, help: String::new() }
    }

    fn parse(kind: OptionKind, json: Json) -> Result<Value, String> {
        parse_value(&kind, &json)
    }

    #[test]
    fn every_wrong_field_is_told_at_once() {
        let specs = [
            spec("endpoint", OptionKind::Endpoint, OptionMarks::REQUIRED),
            spec("size", OptionKind::Bytes, OptionMarks::empty()),
            spec("flag", OptionKind::Truth, OptionMarks::empty()),
        ];
        let given = serde_json::json!({"size": "lots", "flag": "perhaps", "colour": "red"});
        let problems = Settings::parse(&specs, given.as_object().unwrap()).unwrap_err();
        let names: Vec<_> = problems.iter().map(|problem| problem.option.as_str()).collect();
        assert_eq!(names, ["colour", "endpoint", "size", "flag"]);
    }

    #[test]
    fn a_choice_goes_by_name_or_index() {
        let kind = || OptionKind::Choice(vec!["mtime".into(), "atime".into()]);
        assert_eq!(parse(kind(), "1".into()), Ok(Value::Text("atime".into())));
        assert_eq!(parse(kind(), "mtime".into()), Ok(Value::Text("mtime".into())));
        assert_eq!(parse(kind(), "ctime".into()), Err("must be one of mtime, atime".into()));
    }

    #[test]
    fn a_bare_host_means_https() {
        assert_eq!(
            parse(OptionKind::Endpoint, "s3.example.com".into()),
            Ok(Value::Text("https://s3.example.com".into()))
        );
        for wrong in ["ftp://a", "https://", "https://user@host", "https://a/?q", "https://a b"] {
            assert!(parse(OptionKind::Endpoint, wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn integers_may_come_as_strings_and_off_is_a_value() {
        assert_eq!(parse(OptionKind::Number, "7".into()), Ok(Value::Number(7)));
        assert_eq!(parse(OptionKind::Duration, 60.into()), Ok(Value::Milliseconds(60_000)));
        assert_eq!(parse(OptionKind::Duration, "off".into()), Ok(Value::Off));
    }
}
