//! The claim by which a service account signs in (RFC 7523), signed with RS256.

use std::time::SystemTime;

use causeway_storage::{Error, ErrorKind, Result, Secret};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use crate::sign_rsa::PrivateKey;
use crate::uses::Rsa;

/// How long a claim holds, in seconds: the longest that is taken.
const LIFE_S: u64 = 3600;

/// A signed claim of the account whose document this is.
pub(super) fn of(document: &Secret, subject: Option<&str>, scope: &str, token_url: &str) -> Result<String> {
    let wrong = || Error::new(ErrorKind::Invalid, "the service account's key is not the JSON document of one");
    let document: Value = serde_json::from_slice(document.expose()).map_err(|_| wrong())?;
    let field = |name: &str| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (account, key) = (field("client_email").ok_or_else(wrong)?, field("private_key").ok_or_else(wrong)?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut header = Map::from_iter([("alg".to_owned(), json!("RS256")), ("typ".to_owned(), json!("JWT"))]);
    if let Some(id) = field("private_key_id") {
        header.insert("kid".to_owned(), json!(id));
    }
    let mut claims = Map::from_iter([
        ("iss".to_owned(), json!(account)),
        ("scope".to_owned(), json!(scope)),
        ("aud".to_owned(), json!(field("token_uri").unwrap_or(token_url))),
        ("iat".to_owned(), json!(now)),
        ("exp".to_owned(), json!(now + LIFE_S)),
    ]);
    if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
        claims.insert("sub".to_owned(), json!(subject));
    }
    let encoded = |part: Map<String, Value>| BASE64URL_NOPAD.encode(Value::Object(part).to_string().as_bytes());
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = PrivateKey::parse(key.as_bytes(), None)?.sign(Rsa::Pkcs1, message.as_bytes())?;
    Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)))
}
