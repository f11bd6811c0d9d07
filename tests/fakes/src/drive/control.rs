//! What tests do to the drive, besides faults: `POST /control/drive/VERB`. Items are named by `path` (from the root of My Drive, or
//! of a shared drive with `"drive":ID`; among duplicates the first) or by `id`. Every verb that makes an item answers `{"id":...}`.
//!
//! | verb | body | what it does |
//! |---|---|---|
//! | `create` | `path`, `text` or `size` (bytes of a pattern), `mime_type?`, `modified?` | another client makes a file, also beside one of the same name |
//! | `write` | item, `text` or `size` | another client replaces its bytes |
//! | `mkdir` | `path` | another client makes a folder, also beside one of the same name |
//! | `rename` | item, `name` | |
//! | `move` | item, `to` (path of a folder) | |
//! | `trash`, `remove` | item | |
//! | `shortcut` | `path`, `target` (an id; any, so it may dangle) | |
//! | `document` | `path`, `kind` (`document` `spreadsheet` `form` ...), `size?` (of its exports) | |
//! | `shared-drive` | `name` | its `id` is also its root's |
//! | `share` | `path`, `text`, `key?`, `folder?` | a file (or folder) of someone else: shared with me, without parents; with `key` only found with that resource key |
//! | `parent` | item, `to` | a second parent, as old items have them |
//! | `mark` | item, any of `starred` `abusive` `photo` | |
//! | `tree` | | `{"items":[{path,id,mime_type,trashed,size,sha256,modified}]}` |
//! | `rate-limit` | `times`, `reason?`, `status?`, `message?`, `method?` | so many calls are refused first (403 `userRateLimitExceeded`) |
//! | `quota` | `bytes?` | the account's limit; none: unlimited |
//! | `scope` | `scope` | what all tokens are good for: `drive` `drive.readonly` `drive.metadata.readonly` `drive.file` `drive.appdata` |
//! | `expire-uploads` | | all sessions of uploads are gone |
//! | `empty-pages`, `incomplete`, `no-several-parents`, `redirect-media` | `on` | a first page without entries; `incompleteSearch`; nothing for queries with several parents; content by 302 to another host |
//! | `lag` | `listings` | what is made from now on is missing in so many listings |
//! | `oauth-...` | | see [`crate::oauth`] |
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Value, json};

use super::Drive;
use super::failure::Failure;
use super::model::{Content, FOLDER, Item, ME, NATIVE, ROOT, SHORTCUT, parse_time, write_time};
use crate::World;

/// What tests have switched on.
#[derive(Debug)]
pub(super) struct Tricks {
    refusals: u64,
    refusal: Failure,
    refused_method: Option<String>,
    lag: u64,
    hidden: BTreeMap<String, u64>,
    pub(super) limit_bytes: Option<u64>,
    pub(super) scope: String,
    pub(super) empty_pages: bool,
    pub(super) incomplete: bool,
    pub(super) no_several_parents: bool,
    pub(super) redirect_media: bool,
}

impl Default for Tricks {
    fn default() -> Tricks {
        Tricks {
            refusals: 0,
            refusal: Failure::denied("userRateLimitExceeded"),
            refused_method: None,
            lag: 0,
            hidden: BTreeMap::new(),
            limit_bytes: Some(15 << 30),
            scope: "drive".into(),
            empty_pages: false,
            incomplete: false,
            no_several_parents: false,
            redirect_media: false,
        }
    }
}

impl Tricks {
    /// Refuses a call while refusals are left.
    pub(super) fn limit_rate(&mut self, method: &str) -> Result<(), Failure> {
        if self.refusals == 0 || self.refused_method.as_deref().is_some_and(|only| only != method) {
            return Ok(());
        }
        self.refusals -= 1;
        Err(self.refusal.clone())
    }

    /// A new item, which listings may not show yet.
    pub(super) fn appeared(&mut self, id: &str) {
        if self.lag > 0 {
            self.hidden.insert(id.to_owned(), self.lag);
        }
    }

    /// What this listing does not show.
    pub(super) fn hide(&mut self) -> BTreeSet<String> {
        let hidden = self.hidden.keys().cloned().collect();
        self.hidden.retain(|_, left| {
            *left -= 1;
            *left > 0
        });
        hidden
    }
}

/// The body of a verb.
struct Body<'a>(&'a Value);

impl<'a> Body<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn need(&self, name: &str) -> Result<&'a str, String> {
        self.text(name).ok_or_else(|| format!("{name} is missing"))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    fn truth(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }

    fn bytes(&self) -> Bytes {
        match self.number("size") {
            Some(size) => (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>().into(),
            None => self.text("text").unwrap_or_default().to_owned().into(),
        }
    }
}

impl Drive {
    pub(super) fn trick(&mut self, verb: &str, body: &Value, world: &mut World) -> Value {
        if let Some(answer) = self.sign_in.tokens.control(verb, body, world) {
            return answer;
        }
        self.try_trick(verb, &Body(body), world).unwrap_or_else(|error| json!({ "error": error }))
    }

    fn try_trick(&mut self, verb: &str, body: &Body<'_>, world: &mut World) -> Result<Value, String> {
        let on = body.truth("on").unwrap_or(true);
        match verb {
            "empty-pages" => self.tricks.empty_pages = on,
            "incomplete" => self.tricks.incomplete = on,
            "no-several-parents" => self.tricks.no_several_parents = on,
            "redirect-media" => self.tricks.redirect_media = on,
            "lag" => self.tricks.lag = body.number("listings").unwrap_or_default(),
            "quota" => self.tricks.limit_bytes = body.number("bytes"),
            "scope" => body.need("scope")?.clone_into(&mut self.tricks.scope),
            "expire-uploads" => self.uploads.clear(),
            "rate-limit" => {
                let reason = body.text("reason").unwrap_or("userRateLimitExceeded");
                let status = body.number("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(403);
                self.tricks.refusal = Failure {
                    status,
                    message: body.text("message").unwrap_or("User Rate Limit Exceeded").into(),
                    ..Failure::denied(reason)
                };
                self.tricks.refused_method = body.text("method").map(str::to_owned);
                self.tricks.refusals = body.number("times").unwrap_or(1);
            }
            "tree" => return Ok(self.tree()),
            "shared-drive" => return Ok(json!({ "id": self.add_shared_drive(body.need("name")?, world) })),
            "create" | "mkdir" | "shortcut" | "document" | "share" => return self.make(verb, body, world),
            "write" | "rename" | "move" | "trash" | "remove" | "parent" | "mark" => self.change(verb, body, world)?,
            _ => return Ok(Value::Null),
        }
        Ok(json!({}))
    }

    fn make(&mut self, verb: &str, body: &Body<'_>, world: &mut World) -> Result<Value, String> {
        let path = body.need("path")?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.at(folder, body)?;
        let now = world.now();
        let time = body.text("modified").map(|time| parse_time(time).ok_or("no time")).transpose()?.unwrap_or(now);
        let mut item = Item {
            id: self.store.fresh_id(world),
            name: name.to_owned(),
            mime_type: body.text("mime_type").unwrap_or("application/octet-stream").to_owned(),
            owner: ME.into(),
            drive: self.store.get(&parent).and_then(|parent| parent.drive.clone()),
            parents: vec![parent],
            created: now,
            modified: time,
            ..Item::default()
        };
        match verb {
            "mkdir" => item.mime_type = FOLDER.into(),
            "shortcut" => {
                item.mime_type = SHORTCUT.into();
                item.target = Some(body.need("target")?.to_owned());
            }
            "document" => {
                item.mime_type = format!("{NATIVE}{}", body.text("kind").unwrap_or("document"));
                item.export = body.bytes();
            }
            "share" if body.truth("folder") == Some(true) => item.mime_type = FOLDER.into(),
            _ => item.write(Content::from(body.bytes()), false, world),
        }
        if verb == "share" {
            item.parents.clear();
            (item.owner, item.shared_with_me) = ("someone@example.org".into(), Some(now));
            item.resource_key = body.text("key").map(str::to_owned);
        }
        let id = item.id.clone();
        self.store.put(item, now);
        self.tricks.appeared(&id);
        Ok(json!({ "id": id }))
    }

    fn change(&mut self, verb: &str, body: &Body<'_>, world: &mut World) -> Result<(), String> {
        let id = match body.text("id") {
            Some(id) => self.store.id(id).to_owned(),
            None => self.at(body.need("path")?, body)?,
        };
        let now = world.now();
        if verb == "remove" {
            self.store.remove(&id, now);
            return Ok(());
        }
        let mut item = self.store.get(&id).cloned().ok_or("no such item")?;
        match verb {
            "write" => {
                item.modified = now;
                item.write(Content::from(body.bytes()), false, world);
            }
            "rename" => body.need("name")?.clone_into(&mut item.name),
            "move" => item.parents = vec![self.at(body.need("to")?, body)?],
            "parent" => item.parents.push(self.at(body.need("to")?, body)?),
            "trash" => item.trashed = true,
            _ => {
                item.starred = body.truth("starred").unwrap_or(item.starred);
                item.abusive = body.truth("abusive").unwrap_or(item.abusive);
                item.photo = body.truth("photo").unwrap_or(item.photo);
            }
        }
        self.store.put(item, now);
        Ok(())
    }

    /// The id at a path.
    fn at(&self, path: &str, body: &Body<'_>) -> Result<String, String> {
        let mut id = body.text("drive").unwrap_or(ROOT).to_owned();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let children = self.store.children(&id);
            let found = children.into_iter().find(|child| child.name == name && !child.trashed);
            id = found.ok_or_else(|| format!("nothing at {path}"))?.id.clone();
        }
        Ok(id)
    }

    fn tree(&self) -> Value {
        let items = self.store.items.values().filter(|item| !super::is_root(item)).map(|item| {
            let mut names: Vec<&str> = Vec::new();
            let mut at = Some(item);
            while let Some(item) = at.filter(|item| !super::is_root(item) && names.len() < 100) {
                names.insert(0, &item.name);
                at = item.parents.first().and_then(|parent| self.store.get(parent));
            }
            json!({
                "path": names.join("/"), "id": item.id, "mime_type": item.mime_type, "trashed": self.store.is_trashed(item),
                "size": item.content().map(|content| content.bytes.len()), "sha256": item.content().map(|content| &content.sha256),
                "modified": write_time(item.modified), "drive": item.drive,
            })
        });
        json!({ "items": items.collect::<Vec<_>>() })
    }
}
