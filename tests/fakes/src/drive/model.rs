//! What is stored: items with parents, shared drives, and the record of changes. Nothing here knows of requests or JSON.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use serde_json::{Map, Value};

use super::query::{Collection, Facts, Field};
use crate::World;

/// The type of folders.
pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";
/// The type of shortcuts.
pub(super) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
/// What the types of everything without bytes begin with.
pub(super) const NATIVE: &str = "application/vnd.google-apps.";
/// The one account.
pub(super) const ME: &str = "me@example.org";
/// Its root.
pub(super) const ROOT: &str = "0ARootOfMyDrivePVA";
/// The root of what only an application sees.
pub(super) const APP_ROOT: &str = "1appDataFolderRoot";

/// Bytes and their digests.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// The bytes.
    pub bytes: Bytes,
    /// Hexadecimal.
    pub md5: String,
    /// Hexadecimal.
    pub sha1: String,
    /// Hexadecimal.
    pub sha256: String,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content {
            md5: HEXLOWER.encode(&Md5::digest(&bytes)),
            sha1: HEXLOWER.encode(&sha1::Sha1::digest(&bytes)),
            sha256: HEXLOWER.encode(&sha2::Sha256::digest(&bytes)),
            bytes,
        }
    }
}

/// A former or present state of a file's bytes.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    /// Its id.
    pub id: String,
    /// What the file was then.
    pub content: Content,
    /// The file's type then.
    pub mime_type: String,
    /// The file's time then.
    pub modified: Timestamp,
    /// Whether it is never cleaned up.
    pub keep: bool,
}

/// A file, folder, shortcut or document.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    /// Opaque.
    pub id: String,
    /// Any text.
    pub name: String,
    /// What it is.
    pub mime_type: String,
    /// None for what was shared, several for what is old.
    pub parents: Vec<String>,
    /// The revisions of its bytes, the present one last. Empty for what has no bytes.
    pub revisions: Vec<Revision>,
    /// What a document is exported to, whatever the format.
    pub export: Bytes,
    /// When it was made.
    pub created: Timestamp,
    /// Settable.
    pub modified: Timestamp,
    /// Itself, not by its folder.
    pub trashed: bool,
    /// A mark.
    pub starred: bool,
    /// When it was shared with the account.
    pub shared_with_me: Option<Timestamp>,
    /// An address.
    pub owner: String,
    /// Free text.
    pub description: Option<String>,
    /// Visible to all applications.
    pub properties: BTreeMap<String, String>,
    /// Visible to one.
    pub app_properties: BTreeMap<String, String>,
    /// As the API shows them, besides the owner's.
    pub permissions: Vec<Value>,
    /// Fields by label.
    pub(super) labels: BTreeMap<String, Map<String, Value>>,
    /// What a shortcut points to.
    pub target: Option<String>,
    /// Without which a shared item is not found.
    pub resource_key: Option<String>,
    /// The shared drive it is in.
    pub drive: Option<String>,
    /// Whether it is in the application's own space.
    pub app_data: bool,
    /// Whether it also is a photo.
    pub photo: bool,
    /// Whether its bytes were found to be harmful.
    pub abusive: bool,
    /// Counts changes.
    pub version: u64,
}

impl Item {
    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }

    /// Whether it is a document, which has no bytes of its own.
    pub(super) fn is_document(&self) -> bool {
        self.mime_type.starts_with(NATIVE) && !self.is_folder() && self.mime_type != SHORTCUT
    }

    /// Its bytes.
    pub(super) fn content(&self) -> Option<&Content> {
        self.revisions.last().map(|revision| &revision.content)
    }

    /// New bytes.
    pub(super) fn write(&mut self, content: Content, keep: bool, world: &mut World) {
        let id = format!("0B{}", world.word(40));
        let (mime_type, modified) = (self.mime_type.clone(), self.modified);
        self.revisions.push(Revision { id, content, mime_type, modified, keep });
    }
}

/// A shared drive.
#[derive(Debug, Clone)]
pub(super) struct SharedDrive {
    /// Also the id of its root.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
}

/// That something happened to an item.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Which item.
    pub id: String,
    /// When.
    pub time: Timestamp,
    /// Whether it is gone.
    pub removed: bool,
    /// The shared drive that it was in.
    pub drive: Option<String>,
    /// Whether it was in the application's space.
    pub app_data: bool,
}

/// Everything stored.
#[derive(Debug)]
pub(super) struct Store {
    /// By id.
    pub items: BTreeMap<String, Item>,
    /// By id.
    pub drives: BTreeMap<String, SharedDrive>,
    /// The token of a page is a place in here.
    pub changes: Vec<Change>,
}

impl Store {
    /// An empty drive.
    pub(super) fn new(now: Timestamp) -> Store {
        let root = |id: &str, name: &str, app_data| Item {
            id: id.into(),
            name: name.into(),
            mime_type: FOLDER.into(),
            created: now,
            modified: now,
            owner: ME.into(),
            app_data,
            version: 1,
            ..Item::default()
        };
        let roots = [root(ROOT, "My Drive", false), root(APP_ROOT, "Application data", true)];
        let items = roots.into_iter().map(|item| (item.id.clone(), item)).collect();
        Store { items, drives: BTreeMap::new(), changes: Vec::new() }
    }

    /// An alias resolved.
    pub(super) fn id<'a>(&self, id: &'a str) -> &'a str {
        match id {
            "root" => ROOT,
            "appDataFolder" => APP_ROOT,
            other => other,
        }
    }

    /// An item by id or alias.
    pub(super) fn get(&self, id: &str) -> Option<&Item> {
        self.items.get(self.id(id))
    }

    /// An id that nothing has.
    pub(super) fn fresh_id(&self, world: &mut World) -> String {
        loop {
            let id = format!("1{}", world.word(32));
            if !self.items.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds or replaces an item and records it.
    pub(super) fn put(&mut self, mut item: Item, now: Timestamp) {
        item.version += 1;
        self.record(&item, now, false);
        self.items.insert(item.id.clone(), item);
    }

    /// Removes an item with everything that is only below it.
    pub(super) fn remove(&mut self, id: &str, now: Timestamp) {
        let Some(item) = self.items.remove(id) else { return };
        self.record(&item, now, true);
        for child in self.children(id).into_iter().map(|child| child.id.clone()).collect::<Vec<_>>() {
            self.remove(&child, now);
        }
    }

    fn record(&mut self, item: &Item, time: Timestamp, removed: bool) {
        let (drive, app_data) = (item.drive.clone(), item.app_data);
        self.changes.push(Change { id: item.id.clone(), time, removed, drive, app_data });
    }

    /// What lies directly in a folder.
    pub(super) fn children(&self, id: &str) -> Vec<&Item> {
        self.items.values().filter(|item| item.parents.iter().any(|parent| parent == id)).collect()
    }

    /// The item and the folders above it, each once.
    pub(super) fn chain(&self, item: &Item) -> Vec<&Item> {
        let (mut seen, mut out) = (BTreeSet::new(), Vec::new());
        let mut waiting = vec![item.id.as_str()];
        while let Some(id) = waiting.pop() {
            if let Some(item) = self.items.get(id).filter(|_| seen.insert(id)) {
                out.push(item);
                waiting.extend(item.parents.iter().map(String::as_str));
            }
        }
        out
    }

    /// Whether it or a folder above it is in the bin.
    pub(super) fn is_trashed(&self, item: &Item) -> bool {
        self.chain(item).iter().any(|above| above.trashed)
    }

    /// The keys that would each open the item: its own and those of the folders above; empty when it needs none.
    pub(super) fn keys(&self, item: &Item) -> Vec<(String, String)> {
        let key = |above: &&Item| Some((above.id.clone(), above.resource_key.clone()?));
        self.chain(item).iter().filter_map(key).collect()
    }

    /// The bytes stored: everything, and what is in the bin.
    pub(super) fn usage(&self) -> (u64, u64) {
        let mine = self.items.values().filter(|item| item.owner == ME && item.drive.is_none());
        mine.fold((0, 0), |(all, bin), item| {
            let size = item.content().map_or(0, |content| content.bytes.len() as u64);
            (all + size, bin + if self.is_trashed(item) { size } else { 0 })
        })
    }
}

/// An item in its store, as a query asks about it.
#[derive(Debug)]
pub(super) struct Stored<'a>(pub &'a Store, pub &'a Item);

impl Facts for Stored<'_> {
    fn text(&self, field: Field) -> String {
        let Stored(store, item) = self;
        match field {
            Field::Name | Field::FullText => item.name.to_lowercase(),
            Field::MimeType => item.mime_type.clone(),
            Field::Modified => write_time(item.modified),
            Field::Created => write_time(item.created),
            Field::Trashed => store.is_trashed(item).to_string(),
            Field::Starred => item.starred.to_string(),
            Field::SharedWithMe => item.shared_with_me.is_some().to_string(),
            Field::ShortcutTarget => item.target.clone().unwrap_or_default(),
            Field::Properties | Field::AppProperties => String::new(),
        }
    }

    fn within(&self, value: &str, collection: Collection) -> bool {
        let Stored(store, item) = self;
        let role = |wanted: &[&str]| {
            item.permissions.iter().any(|permission| {
                let text = |name: &str| permission.get(name).and_then(Value::as_str).unwrap_or_default();
                text("emailAddress") == value && wanted.contains(&text("role"))
            })
        };
        match collection {
            Collection::Parents => item.parents.iter().any(|parent| parent == store.id(value)),
            Collection::Owners => value == "me" && item.owner == ME || item.owner == value,
            Collection::Writers => item.owner == value || role(&["writer", "owner", "organizer", "fileOrganizer"]),
            Collection::Readers => item.owner == value || role(&["reader", "commenter", "writer", "owner"]),
        }
    }

    fn has(&self, field: Field, key: &str, value: &str) -> bool {
        let pairs = if field == Field::AppProperties { &self.1.app_properties } else { &self.1.properties };
        pairs.get(key).is_some_and(|have| have == value)
    }
}

/// RFC 3339 in milliseconds, as the API writes it.
pub(super) fn write_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// RFC 3339, cut to milliseconds; without a zone it is UTC.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().or_else(|_| format!("{text}Z").parse()).ok()?;
    let beyond = time.as_nanosecond().rem_euclid(1_000_000);
    time.saturating_sub(SignedDuration::from_nanos(i64::try_from(beyond).ok()?)).ok()
}
