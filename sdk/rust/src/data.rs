//! Reading and writing JSON and XML, and packing what must survive between two calls (sessions, cursors, tickets).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::nouns::ErrorKind;
use crate::{Error, Result};

/// Packs a session, a cursor or a ticket.
pub fn pack(value: &impl Serialize) -> Result<String> {
    let told = |error: serde_json::Error| {
        Error::new(ErrorKind::Internal, "this could not be put down for later").detail(error.to_string())
    };
    serde_json::to_string(value).map_err(told)
}

/// Unpacks what `pack` made.
pub fn unpack<T: DeserializeOwned>(packed: &str) -> Result<T> {
    let told = |error: serde_json::Error| {
        Error::new(ErrorKind::Internal, "what was put down earlier cannot be read").detail(error.to_string())
    };
    serde_json::from_str(packed).map_err(told)
}

/// An XML document as a value; one that cannot be read is the provider's failure.
pub fn xml<T: DeserializeOwned>(document: &[u8]) -> Result<T> {
    let told = |detail: String| Error::unavailable("the provider's answer cannot be understood").detail(detail);
    let text = std::str::from_utf8(document).map_err(|error| told(error.to_string()))?;
    quick_xml::de::from_str(text).map_err(|error| told(error.to_string()))
}

/// A JSON document as a value; one that cannot be read is the provider's failure.
pub fn json<T: DeserializeOwned>(document: &[u8]) -> Result<T> {
    let told = |error: serde_json::Error| {
        Error::unavailable("the provider's answer cannot be understood").detail(error.to_string())
    };
    serde_json::from_slice(document).map_err(told)
}

/// A value as an XML document with this root.
pub fn to_xml(root: &str, value: &impl Serialize) -> Result<String> {
    let told = |error: quick_xml::SeError| {
        Error::new(ErrorKind::Internal, "the request could not be written").detail(error.to_string())
    };
    quick_xml::se::to_string_with_root(root, value).map_err(told)
}
