//! The JSON that clients write items with: which members may be written when, and what they do to an item.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::model::{FOLDER, Item, NATIVE, SHORTCUT, parse_time};

/// Members that are written at any time.
const ALWAYS: &[&str] = &[
    "name",
    "mimeType",
    "description",
    "starred",
    "properties",
    "appProperties",
    "modifiedTime",
    "viewedByMeTime",
    "contentHints",
    "copyRequiresWriterPermission",
    "writersCanShare",
    "folderColorRgb",
    "originalFilename",
    "kind",
    "trashed",
];
/// Members that are written once.
const AT_CREATION: &[&str] = &["id", "parents", "createdTime", "shortcutDetails"];

/// What a client wants of an item.
#[derive(Debug, Clone, Default)]
pub(super) struct Metadata(Map<String, Value>);

impl Metadata {
    /// From a body; nothing is an empty object.
    pub(super) fn read(body: &[u8]) -> Result<Metadata, Failure> {
        if body.is_empty() {
            return Ok(Metadata::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Metadata(members)),
            _ => Err(Failure::invalid("parseError", "Parse Error")),
        }
    }

    /// The name, if it is one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The folders that a new item is to lie in.
    pub(super) fn parents(&self) -> Vec<String> {
        let parents = self.0.get("parents").and_then(Value::as_array);
        parents.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What a new shortcut points to.
    pub(super) fn target(&self) -> Option<&str> {
        self.0.get("shortcutDetails").and_then(|details| details.get("targetId")).and_then(Value::as_str)
    }

    /// Refuses members that cannot be written now.
    pub(super) fn check(&self, creation: bool) -> Result<(), Failure> {
        let right = |name: &str| ALWAYS.contains(&name) || (creation && AT_CREATION.contains(&name));
        match self.0.keys().map(String::as_str).find(|name| !right(name)) {
            None => Ok(()),
            Some("parents") => Err(Failure {
                message: "The parents field is not directly writable in update requests. Use the addParents and removeParents \
                    parameters instead."
                    .into(),
                ..Failure::denied("fieldNotWritable")
            }),
            Some(_) => Err(Failure {
                message: "The resource body includes fields which are not directly writable.".into(),
                ..Failure::denied("fieldNotWritable")
            }),
        }
    }

    /// Writes what can be written at any time into an item. The time becomes now where none is given.
    pub(super) fn apply(&self, item: &mut Item, now: Timestamp) -> Result<(), Failure> {
        let time = |name: &str| match self.0.get(name).map(|value| value.as_str().and_then(parse_time)) {
            None => Ok(None),
            Some(Some(time)) => Ok(Some(time)),
            Some(None) => Err(Failure::invalid("invalid", &format!("Invalid value for: {name}"))),
        };
        item.modified = time("modifiedTime")?.unwrap_or(now);
        if let Some(created) = time("createdTime")? {
            item.created = created;
        }
        if let Some(name) = self.text("name") {
            item.name = name.to_owned();
        }
        if let Some(description) = self.text("description") {
            item.description = Some(description.to_owned());
        }
        if let Some(starred) = self.0.get("starred").and_then(Value::as_bool) {
            item.starred = starred;
        }
        if let Some(trashed) = self.0.get("trashed").and_then(Value::as_bool) {
            item.trashed = trashed;
        }
        merge(&mut item.properties, self.0.get("properties"));
        merge(&mut item.app_properties, self.0.get("appProperties"));
        match self.text("mimeType") {
            // Bytes cannot become a folder or a document by being called so.
            Some(kind)
                if kind.starts_with(NATIVE) != item.mime_type.starts_with(NATIVE) && !item.mime_type.is_empty() =>
            {
                Err(Failure::invalid("invalid", "Invalid MIME type provided for the uploaded content."))
            }
            Some(kind) => {
                item.mime_type = kind.to_owned();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether the wish is for something without bytes.
    pub(super) fn is_native(&self) -> bool {
        self.text("mimeType").is_some_and(|kind| kind.starts_with(NATIVE))
    }

    /// Whether the wish is for a folder or shortcut, which have no export either.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.text("mimeType"), Some(FOLDER | SHORTCUT))
    }

    /// Without what a copy of a document does not keep.
    pub(super) fn without(mut self, name: &str) -> Metadata {
        self.0.remove(name);
        self
    }
}

/// Pairs are merged; null removes one.
fn merge(pairs: &mut BTreeMap<String, String>, change: Option<&Value>) {
    for (key, value) in change.and_then(Value::as_object).into_iter().flatten() {
        match value.as_str() {
            Some(value) => pairs.insert(key.clone(), value.to_owned()),
            None => pairs.remove(key),
        };
    }
}
