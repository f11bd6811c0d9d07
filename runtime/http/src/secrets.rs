//! Secrets as the way out sees them: a keeper that knows them by name, fields of secrets that are documents, and the
//! striking of secrets out of texts.
//!
//! It does not decide where a secret may stand (`placement`) and stores nothing itself.

use std::collections::HashMap;

use async_trait::async_trait;
use causeway_storage::{Error, ErrorKind, Result, Secret};

use crate::request::SecretRef;
use crate::uses::SecretUse;

/// Values shorter than this are not struck out of texts: they would blank ordinary words and protect nothing.
const SHORTEST_STRUCK_BYTES: usize = 4;

/// Whoever keeps the secrets of one backend.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The secret of this name: an option's, a filled slot's that is still alive, or `access-token`.
    fn get(&self, name: &str) -> Option<Secret>;

    /// Whether the component itself filled this slot: such a key signs no message that holds a secret.
    fn is_sealed_by_component(&self, name: &str) -> bool;

    /// Everything that must not appear in an error or a log.
    fn all(&self) -> Vec<Secret>;

    /// Fills a slot; durable before it returns.
    async fn fill(&self, slot: &str, value: Secret) -> Result<()>;

    /// Fills a slot with a cookie jar, which changes with nearly every answer; durable before it returns.
    async fn fill_jar(&self, slot: &str, jar: Secret) -> Result<()> {
        self.fill(slot, jar).await
    }
}

/// The declared uses of the secret or slot of this name; a declared name that ends in `*` stands for all that begin so.
pub(crate) fn declared<'a>(uses: &'a HashMap<String, SecretUse>, name: &str) -> Option<&'a SecretUse> {
    uses.get(name).or_else(|| {
        uses.iter()
            .filter_map(|(declared, uses)| Some((declared.strip_suffix('*')?, uses)))
            .filter(|(begin, _)| name.starts_with(begin) && name.len() > begin.len())
            .max_by_key(|(begin, _)| begin.len())
            .map(|(_, uses)| uses)
    })
}

/// The value that a reference names.
pub(crate) fn resolve(secrets: &dyn Secrets, wanted: &SecretRef) -> Result<Secret> {
    let name = &wanted.name;
    let absent = |what: &str| Error::new(ErrorKind::Unauthenticated, format!("the {what} \"{name}\" is not set"));
    let secret = secrets.get(name).ok_or_else(|| absent("secret"))?;
    match &wanted.field {
        None => Ok(secret),
        Some(field) => {
            document_field(&secret, field).ok_or_else(|| absent(&format!("field \"{field}\" of the secret")))
        }
    }
}

/// A field of a secret that is a document: JSON, a URL, `key=value;` pairs, or lines of `key = value`.
pub fn document_field(secret: &Secret, field: &str) -> Option<Secret> {
    let text = std::str::from_utf8(secret.expose()).ok()?.trim();
    let found = if text.starts_with('{') {
        json_field(text, field)?
    } else if text.starts_with("https://") || text.starts_with("http://") {
        url_field(text, field)?
    } else if text.contains('\n') {
        pair(text.lines(), field)?
    } else {
        pair(text.split(';'), field)?
    };
    Some(Secret::new(found))
}

fn json_field(text: &str, field: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let found = if field.starts_with('/') { json.pointer(field)? } else { json.get(field)? };
    match found {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn url_field(text: &str, field: &str) -> Option<String> {
    let (before, query) = text.split_once('?').unwrap_or((text, ""));
    let rest = before.find("://").and_then(|at| before.get(at + 3..))?;
    let authority = rest.split('/').next()?;
    let origin_bytes = before.len() - rest.len() + authority.len();
    let found = match field {
        "origin" => before.get(..origin_bytes)?,
        "path" => before.get(origin_bytes..)?,
        "query" => query,
        _ => return None,
    };
    Some(found.to_owned())
}

fn pair<'a>(mut pairs: impl Iterator<Item = &'a str>, field: &str) -> Option<String> {
    pairs.find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(field).then(|| value.trim().to_owned())
    })
}

/// The text without any secret that the keeper knows.
pub(crate) fn strike(secrets: &dyn Secrets, text: &str) -> String {
    let mut struck = text.to_owned();
    for secret in secrets.all() {
        if let Ok(secret) = std::str::from_utf8(secret.expose())
            && secret.len() >= SHORTEST_STRUCK_BYTES
            && struck.contains(secret)
        {
            struck = struck.replace(secret, "<secret>");
        }
    }
    struck
}

/// The error without any secret that the keeper knows.
pub(crate) fn strike_error(secrets: &dyn Secrets, mut error: Error) -> Error {
    error.message = strike(secrets, &error.message);
    error.detail = strike(secrets, &error.detail);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(document: &str, field: &str) -> Option<String> {
        let secret = document_field(&Secret::new(document), field)?;
        Some(String::from_utf8(secret.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_field_is_found_in_each_kind_of_document() {
        assert_eq!(field(r#"{"a":{"key":"k"}}"#, "/a/key").as_deref(), Some("k"));
        assert_eq!(field(r#"{"key":"k"}"#, "key").as_deref(), Some("k"));
        assert_eq!(field("AccountName=n;AccountKey=a==", "AccountKey").as_deref(), Some("a=="));
        assert_eq!(field("[DEFAULT]\nuser = u\nregion = r", "region").as_deref(), Some("r"));
        let url = "https://h.example/c/d?sv=1&sig=x";
        assert_eq!(field(url, "origin").as_deref(), Some("https://h.example"));
        assert_eq!(field(url, "path").as_deref(), Some("/c/d"));
        assert_eq!(field(url, "query").as_deref(), Some("sv=1&sig=x"));
        assert_eq!(field(url, "port"), None);
    }

    #[test]
    fn a_star_covers_names_that_go_on() {
        let uses = HashMap::from([("session-*".to_owned(), SecretUse { reveal: true, ..SecretUse::default() })]);
        assert!(declared(&uses, "session-bucket").is_some());
        assert!(declared(&uses, "session-").is_none());
        assert!(declared(&uses, "other").is_none());
    }
}
