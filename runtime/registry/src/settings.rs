//! Settings as rows hold them: plain values as JSON with their kind, secrets apart. It does not parse what people give.

use causeway_storage::{Settings, Value};
use serde_json::{Map, Value as Json, json};

use crate::{Error, Result};

/// The plain values as JSON text. Secrets are left out: they stand sealed in rows of their own.
pub(crate) fn plain_json(settings: &Settings) -> String {
    let mut map = Map::new();
    for (name, value) in settings.iter() {
        let json = match value {
            Value::Text(text) => json!({ "text": text }),
            Value::Number(number) => json!({ "number": number }),
            Value::Truth(truth) => json!({ "truth": truth }),
            Value::Bytes(bytes) => json!({ "bytes": bytes }),
            Value::Milliseconds(ms) => json!({ "milliseconds": ms }),
            Value::Several(several) => json!({ "several": several }),
            Value::Off => json!("off"),
            Value::Secret(_) => continue,
        };
        map.insert(name.to_owned(), json);
    }
    Json::Object(map).to_string()
}

/// What [`plain_json`] wrote.
pub(crate) fn from_plain_json(text: &str) -> Result<Settings> {
    let damaged = || Error::Damaged("a backend's settings".into());
    let map: Map<String, Json> = serde_json::from_str(text).map_err(|_| damaged())?;
    let mut settings = Settings::default();
    for (name, json) in map {
        settings.set(name, value(&json).ok_or_else(damaged)?);
    }
    Ok(settings)
}

fn value(json: &Json) -> Option<Value> {
    if json.as_str() == Some("off") {
        return Some(Value::Off);
    }
    let (kind, value) = json.as_object()?.iter().next()?;
    match kind.as_str() {
        "text" => value.as_str().map(|text| Value::Text(text.to_owned())),
        "number" => value.as_i64().map(Value::Number),
        "truth" => value.as_bool().map(Value::Truth),
        "bytes" => value.as_u64().map(Value::Bytes),
        "milliseconds" => value.as_u64().map(Value::Milliseconds),
        "several" => {
            let items = value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned));
            items.collect::<Option<Vec<_>>>().map(Value::Several)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use causeway_storage::Secret;

    use super::*;

    #[test]
    fn every_plain_kind_comes_back_and_secrets_stay_out() {
        let mut settings = Settings::default();
        settings.set("a", Value::Text("off".into()));
        settings.set("b", Value::Number(-1));
        settings.set("c", Value::Truth(false));
        settings.set("d", Value::Bytes(u64::MAX));
        settings.set("e", Value::Milliseconds(5));
        settings.set("f", Value::Several(vec!["x".into(), "y".into()]));
        settings.set("g", Value::Off);
        let plain = settings.clone();
        settings.set("h", Value::Secret(Secret::new("hidden")));
        let text = plain_json(&settings);
        assert!(!text.contains("hidden"));
        assert_eq!(from_plain_json(&text).unwrap(), plain);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_never_a_shorter_one() {
        for text in ["", "[]", r#"{"a":{"text":1}}"#, r#"{"a":{"colour":"red"}}"#, r#"{"a":{}}"#] {
            assert!(from_plain_json(text).is_err(), "{text}");
        }
    }
}
