//! How a mount caches: what may be set, what holds otherwise, and how it is shown.
//!
//! What is stored is what was set; defaults are filled in when it is used, so that a better default reaches every mount
//! that never chose.

use std::time::Duration;

use causeway_storage::{Problem, parse_bytes, parse_duration_ms};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What is kept on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Nothing; a close waits for the upload.
    Off,
    /// Nothing, as with `off`: a close waits for the upload.
    Minimal,
    /// What is written.
    Writes,
    /// What is read and written.
    Full,
}

/// When a close of a written file returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// When it is in the journal.
    Journalled,
    /// When the provider has it.
    Uploaded,
}

/// What becomes of attributes that a provider cannot hold, and of names such as links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// They are kept nowhere.
    Off,
    /// They are kept on this machine.
    Sidecar,
}

/// How a mount caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VfsConfig {
    /// How long unused content stays; absent: until room is needed.
    pub cache_max_age: Option<Duration>,
    /// How much stays, in bytes; absent: as much as the disk allows.
    pub cache_max_size: Option<u64>,
    /// What is kept on the disk.
    pub cache_mode: CacheMode,
    /// How long a directory's list counts; absent: it is asked for every time.
    pub dir_cache_time: Option<Duration>,
    /// Whether changes are refused.
    pub read_only: bool,
    /// When a close returns.
    pub close: Close,
    /// Whose the files are; absent: this process's.
    pub uid: Option<u32>,
    /// Whose group; absent: this process's.
    pub gid: Option<u32>,
    /// How many bytes a sequential reader is fetched ahead at most; 0 for none.
    pub read_ahead_max: u64,
    /// What becomes of attributes that a provider cannot hold.
    pub attributes: Attributes,
}

impl Default for VfsConfig {
    fn default() -> VfsConfig {
        VfsConfig {
            cache_max_age: Some(Duration::from_secs(3600)),
            cache_max_size: Some(10 << 30),
            cache_mode: CacheMode::Writes,
            dir_cache_time: Some(Duration::from_secs(300)),
            read_only: false,
            close: Close::Journalled,
            uid: None,
            gid: None,
            read_ahead_max: 64 << 20,
            attributes: Attributes::Off,
        }
    }
}

const MODES: [(&str, CacheMode); 4] = [
    ("off", CacheMode::Off),
    ("minimal", CacheMode::Minimal),
    ("writes", CacheMode::Writes),
    ("full", CacheMode::Full),
];
const CLOSES: [(&str, Close); 2] = [("journalled", Close::Journalled), ("uploaded", Close::Uploaded)];
const ATTRIBUTES: [(&str, Attributes); 2] = [("off", Attributes::Off), ("sidecar", Attributes::Sidecar)];
/// The most that may be asked for, in bytes: more than a fast line to the other side of the world has under way.
const MOST_READ_AHEAD: u64 = 1 << 30;

impl VfsConfig {
    /// Parses what was set. Every wrong field at once; `null` is the default.
    pub fn parse(set: &Map<String, Value>) -> Result<VfsConfig, Vec<Problem>> {
        let mut config = VfsConfig::default();
        let mut problems = Vec::new();
        for (name, value) in set {
            if let Err(message) = config.set(name, value) {
                problems.push(Problem::new(name, message));
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let default = VfsConfig::default();
        let null = value.is_null();
        match name {
            "cache_max_age" => self.cache_max_age = if null { default.cache_max_age } else { duration(value)? },
            "cache_max_size" => self.cache_max_size = if null { default.cache_max_size } else { bytes(value)? },
            "cache_mode" => self.cache_mode = if null { default.cache_mode } else { choice(&MODES, value)? },
            "dir_cache_time" => self.dir_cache_time = if null { default.dir_cache_time } else { duration(value)? },
            "read_only" => self.read_only = !null && value.as_bool().ok_or("must be true or false")?,
            "close" => self.close = if null { default.close } else { choice(&CLOSES, value)? },
            "uid" => self.uid = if null { None } else { Some(owner(value)?) },
            "gid" => self.gid = if null { None } else { Some(owner(value)?) },
            "attributes" => self.attributes = if null { default.attributes } else { choice(&ATTRIBUTES, value)? },
            "read_ahead_max" => {
                let wanted = if null { Some(default.read_ahead_max) } else { bytes(value)? };
                self.read_ahead_max = wanted.unwrap_or(0);
                if self.read_ahead_max > MOST_READ_AHEAD {
                    return Err(format!("must be at most {MOST_READ_AHEAD}"));
                }
            }
            _ => return Err("is not a field of vfs_config".into()),
        }
        Ok(())
    }

    /// How answers show it.
    pub(crate) fn show(&self) -> Shown {
        Shown {
            cache_max_age: seconds(self.cache_max_age),
            cache_max_size: self.cache_max_size.map_or(json!("off"), |bytes| json!(bytes)),
            cache_mode: name(&MODES, self.cache_mode),
            dir_cache_time: seconds(self.dir_cache_time),
            read_only: self.read_only,
            close: name(&CLOSES, self.close),
            uid: self.uid,
            gid: self.gid,
            attributes: name(&ATTRIBUTES, self.attributes),
            read_ahead_max: self.read_ahead_max,
        }
    }
}

/// A configuration in answers: the four fields of the page first, then ours. What is off is shown as `"off"`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Shown {
    /// Seconds.
    cache_max_age: Value,
    /// Bytes.
    cache_max_size: Value,
    cache_mode: &'static str,
    /// Seconds.
    dir_cache_time: Value,
    read_only: bool,
    close: &'static str,
    uid: Option<u32>,
    gid: Option<u32>,
    attributes: &'static str,
    /// Bytes.
    read_ahead_max: u64,
}

fn name<T: PartialEq>(choices: &[(&'static str, T)], chosen: T) -> &'static str {
    choices.iter().find(|(_, choice)| *choice == chosen).map_or("", |(name, _)| name)
}

/// What was set, changed by what is set now: `null` takes a field back to its default.
pub(crate) fn merge(stored: &Map<String, Value>, set: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = stored.clone();
    merged.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    merged.retain(|_, value| !value.is_null());
    merged
}

/// Whole seconds, rounded up: what is shown as 0 is 0.
fn seconds(duration: Option<Duration>) -> Value {
    duration.map_or(json!("off"), |duration| json!(duration.as_millis().div_ceil(1000) as u64))
}

fn duration(value: &Value) -> Result<Option<Duration>, String> {
    let parsed = match value {
        Value::String(text) if text == "off" => return Ok(None),
        Value::String(text) => parse_duration_ms(text),
        Value::Number(number) => number.as_u64().and_then(|seconds| seconds.checked_mul(1000)),
        _ => None,
    };
    let wrong = "must be a duration: a number of seconds, or one with units such as \"1h30m\", or \"off\"";
    parsed.map(|ms| Some(Duration::from_millis(ms))).ok_or_else(|| wrong.into())
}

fn bytes(value: &Value) -> Result<Option<u64>, String> {
    let parsed = match value {
        Value::String(text) if text == "off" => return Ok(None),
        Value::String(text) => parse_bytes(text),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    parsed
        .map(Some)
        .ok_or_else(|| "must be a size: a number of bytes, or one with a unit such as \"10G\", or \"off\"".into())
}

fn choice<T: Copy>(choices: &[(&str, T)], value: &Value) -> Result<T, String> {
    let found = value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(_, choice)| *choice).ok_or_else(|| format!("must be one of {}", names()))
}

fn owner(value: &Value) -> Result<u32, String> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
    id.ok_or_else(|| "must be a user's or group's number".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: Value) -> Result<VfsConfig, Vec<Problem>> {
        VfsConfig::parse(json.as_object().unwrap())
    }

    #[test]
    fn numbers_and_words_mean_the_same() {
        let words = parse(json!({"cache_max_age": "1h", "cache_max_size": "20G", "dir_cache_time": "5m"})).unwrap();
        let numbers =
            parse(json!({"cache_max_age": 3600, "cache_max_size": 21474836480u64, "dir_cache_time": 300})).unwrap();
        assert_eq!(words, numbers);
        let off = parse(json!({"cache_max_age": "off", "cache_max_size": "off", "dir_cache_time": "off"})).unwrap();
        assert_eq!((off.cache_max_age, off.cache_max_size, off.dir_cache_time), (None, None, None));
    }

    #[test]
    fn every_wrong_field_is_told_at_once() {
        let wrong = json!({"cache_max_age": -1, "cache_max_size": "lots", "cache_mode": "some", "dir_cache_time": [], "read_only": "yes",
            "close": 1, "uid": -1, "gid": 4294967295u32, "attributes": "x", "read_ahead_max": "x", "colour": "red"});
        assert_eq!(parse(wrong.clone()).unwrap_err().len(), wrong.as_object().unwrap().len());
    }

    #[test]
    fn attributes_are_kept_on_this_machine_only_where_that_is_asked_for() {
        assert_eq!(VfsConfig::default().attributes, Attributes::Off);
        assert_eq!(parse(json!({"attributes": "sidecar"})).unwrap().attributes, Attributes::Sidecar);
        let given = json!({"attributes": "off", "read_ahead_max": "64M"});
        assert_eq!(parse(given), Ok(VfsConfig::default()));
        assert_eq!(parse(json!({"attributes": null, "read_ahead_max": null})), Ok(VfsConfig::default()));
    }

    #[test]
    fn reading_ahead_has_a_limit_and_can_be_off() {
        assert_eq!(parse(json!({"read_ahead_max": "off"})).unwrap().read_ahead_max, 0);
        assert_eq!(parse(json!({"read_ahead_max": "256M"})).unwrap().read_ahead_max, 256 << 20);
        assert!(parse(json!({"read_ahead_max": "2G"})).is_err());
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let config =
            parse(json!({"cache_mode": "full", "cache_max_age": "off", "uid": 1000, "attributes": "sidecar"})).unwrap();
        assert_eq!(VfsConfig::parse(serde_json::to_value(config.show()).unwrap().as_object().unwrap()), Ok(config));
    }

    #[test]
    fn null_restores_the_default() {
        let stored = json!({"cache_mode": "full", "uid": 1});
        let merged = merge(stored.as_object().unwrap(), json!({"cache_mode": null, "gid": 2}).as_object().unwrap());
        assert_eq!(Value::Object(merged), json!({"uid": 1, "gid": 2}));
    }
}
