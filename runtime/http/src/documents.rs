//! Just enough parsing of what requests and answers carry: pairs, multipart forms, JSON by pointer, XML by path.
//!
//! It finds values and where they stand, so that a secret can be looked for and blanked; it builds nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use causeway_storage::{Error, ErrorKind, Result};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::value::RawValue;

/// The values of `name` in `a=1&b=2`, decoded.
pub(crate) fn pairs(text: &str, name: &str) -> Vec<String> {
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(found, _)| decode(found) == name).map(|(_, value)| decode(value)).collect()
}

/// Percent-encoding and `+` undone; what is not UTF-8 becomes replacement characters, which equal no secret.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let ahead = bytes.as_slice_two();
        match (byte, ahead) {
            (b'%', Some(value)) => {
                decoded.push(value);
                bytes.nth(1);
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Looks two hex digits ahead.
trait HexAhead {
    fn as_slice_two(&self) -> Option<u8>;
}

impl HexAhead for std::str::Bytes<'_> {
    fn as_slice_two(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let high = ahead.next().and_then(digit)?;
        let low = ahead.next().and_then(digit)?;
        u8::try_from(high * 16 + low).ok()
    }
}

/// The values of the parts called `name` of a multipart form.
pub(crate) fn multipart(body: &str, media: &str, name: &str) -> Vec<String> {
    let Some(boundary) = media.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary=")) else {
        return Vec::new();
    };
    let boundary = format!("\r\n--{}", boundary.trim_matches('"'));
    let body = format!("\r\n{body}");
    let parts = body.split(boundary.as_str()).skip(1).filter_map(|part| part.split_once("\r\n\r\n"));
    let wanted = format!("name=\"{name}\"");
    parts
        .filter(|(head, _)| {
            let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
            disposition.is_some_and(|line| line.split(';').any(|parameter| parameter.trim() == wanted))
        })
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// Where the value at a JSON pointer stands in the text, and the value: a string, or a number or truth as text.
pub(crate) fn json_at(text: &str, pointer: &str) -> Option<(Range<usize>, String)> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for name in pointer.strip_prefix('/')?.split('/') {
        let name = name.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            items.get(name.parse::<usize>().ok()?).copied()?
        } else {
            let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value.get()).ok()?;
            members.get(name.as_str()).copied()?
        };
    }
    let raw = value.get();
    let start = (raw.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let found = match raw.as_bytes().first()? {
        b'"' => serde_json::from_str(raw).ok()?,
        b'{' | b'[' | b'n' => return None,
        _ => raw.to_owned(),
    };
    Some((start..start + raw.len(), found))
}

/// The texts of the elements at a path of names from the root, namespaces' prefixes aside.
pub(crate) fn xml_texts(text: &str, path: &str) -> Result<Vec<String>> {
    Ok(xml_at(text, path)?.into_iter().map(|(_, value)| value).collect())
}

/// Where the texts of the elements at a path stand, and the texts.
pub(crate) fn xml_at(text: &str, path: &str) -> Result<Vec<(Range<usize>, String)>> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Invalid, "a text that should be XML is not").with_detail(error)
    };
    let mut reader = Reader::from_str(text);
    let mut names: Vec<String> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut found = Vec::new();
    loop {
        let before = reader.buffer_position() as usize;
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(element) => {
                names.push(element.local_name().as_ref().to_owned());
                if names.join("/") == path {
                    open = Some((reader.buffer_position() as usize, String::new()));
                }
            }
            Event::End(_) => {
                if names.join("/") == path
                    && let Some((start, value)) = open.take()
                {
                    found.push((start..before, value));
                }
                names.pop();
            }
            Event::Text(piece) => {
                if let Some((_, value)) = &mut open {
                    value.push_str(&piece);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some((_, value)) = &mut open {
                    let escaped = format!("&{};", &*reference);
                    value.push_str(&quick_xml::escape::unescape(&escaped).map_err(|error| wrong(&error))?);
                }
            }
            Event::CData(piece) => {
                if let Some((_, value)) = &mut open {
                    value.push_str(&piece);
                }
            }
            Event::Eof if names.is_empty() => return Ok(found),
            Event::Eof => return Err(wrong(&"it ends inside an element")),
            _ => {}
        }
    }
}
