//! What tests do to MEGA, besides faults: `POST /control/mega/VERB`. `account` in any body is an address; without it the first
//! account is meant. Paths begin at the cloud drive; among duplicates the newest is meant. All changes appear in the feed.
//!
//! | verb | body | what it does |
//! |---|---|---|
//! | `create` | `path`, `text` or `size` (bytes of a pattern), `attributes?` | another client makes a file, also beside one of the same name; answers `{"h"}` |
//! | `mkdir` | `path` | another client makes a folder, also beside one of the same name; answers `{"h"}` |
//! | `version` | `path`, `text` | another client replaces a file, which becomes a version of the new one; answers `{"h"}` |
//! | `rename` | `path`, `name` | |
//! | `move` | `path`, `to` | |
//! | `remove` | `path` | for good |
//! | `undecryptable` | `path` (of a folder) | a node whose key is someone else's; answers `{"h"}` |
//! | `tree` | | `{"nodes":[{h,path,kind,size,sha256,mac_fits,attributes,link,in_bin}]}` as the owner decrypts it |
//! | `revoke-sessions` | | every session ends: -15 |
//! | `second-factor` | `code?` | what sign-in wants besides the password |
//! | `zero-session` | `on` | session ids begin with a zero byte |
//! | `keyless` | `on` | accounts as if they had no RSA key yet: `tsid` in place of `csid` and `privk` |
//! | `login-error` | `code`, `times?` | sign-ins are refused with it |
//! | `blocked` | `on` | right passwords are answered -16 |
//! | `fail` | `times`, `code?`, `command?` | so many requests are answered -3 as a whole; with `command` only that command |
//! | `hashcash` | `easiness?` | `/cs` answers 402 until a challenge is solved once |
//! | `expire-urls` | | every address of transfers so far has expired |
//! | `transfer-quota` | `seconds` | downloads are refused for so long by the fakes' clock |
//! | `take-down` | `path` | its content is no longer given out |
//! | `quota` | `bytes` | the size of the account |
//! | `lose-feed` | | places in the feed from before count no more |
use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::account::{Account, Kind, Node};
use super::crypto::{encode, seal_attributes};
use super::hashcash::Challenge;
use super::{AGAIN, Code, Mega};
use crate::World;

const EASIEST: u64 = 255;

/// What tests have switched on.
#[derive(Debug, Default)]
pub(super) struct Tricks {
    failures: u64,
    failure: Code,
    failing_command: Option<String>,
    login_errors: u64,
    login_error: Code,
    quota_until: Option<Timestamp>,
    pub(super) blocked: bool,
    pub(super) zero_session: bool,
    pub(super) keyless: bool,
    pub(super) taken_down: BTreeSet<String>,
    pub(super) feed_begins: usize,
}

impl Tricks {
    /// The failure of a whole request.
    pub(super) fn fail(&mut self) -> Option<Code> {
        if self.failing_command.is_some() {
            return None;
        }
        self.failures = self.failures.checked_sub(1)?;
        Some(self.failure)
    }

    /// The failure of one command.
    pub(super) fn fail_command(&mut self, command: &str) -> Option<Code> {
        self.failing_command.as_deref().filter(|failing| *failing == command)?;
        self.failures = self.failures.checked_sub(1)?;
        Some(self.failure)
    }

    pub(super) fn refuse_login(&mut self) -> Option<Code> {
        self.login_errors = self.login_errors.checked_sub(1)?;
        Some(self.login_error)
    }

    /// How long downloads are still refused.
    pub(super) fn quota_seconds(&self, now: Timestamp) -> Option<i64> {
        let left = self.quota_until?.as_second() - now.as_second();
        (left > 0).then_some(left)
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

    fn code(&self) -> Option<Code> {
        self.0.get("code").and_then(Value::as_i64)
    }

    fn on(&self) -> bool {
        self.0.get("on").and_then(Value::as_bool).unwrap_or(true)
    }

    fn bytes(&self) -> Vec<u8> {
        match self.number("size") {
            Some(size) => (0..size).map(|at| (at % 251) as u8).collect(),
            None => self.text("text").unwrap_or_default().as_bytes().to_vec(),
        }
    }
}

impl Mega {
    pub(super) fn trick(&mut self, verb: &str, body: &Value, world: &mut World) -> Value {
        self.try_trick(verb, &Body(body), world).unwrap_or_else(|error| json!({ "error": error }))
    }

    fn try_trick(&mut self, verb: &str, body: &Body<'_>, world: &mut World) -> Result<Value, String> {
        match verb {
            "zero-session" => self.tricks.zero_session = body.on(),
            "keyless" => self.tricks.keyless = body.on(),
            "blocked" => self.tricks.blocked = body.on(),
            "login-error" => {
                self.tricks.login_error = body.code().ok_or("code is missing")?;
                self.tricks.login_errors = body.number("times").unwrap_or(1);
            }
            "fail" => {
                self.tricks.failure = body.code().unwrap_or(AGAIN);
                self.tricks.failing_command = body.text("command").map(str::to_owned);
                self.tricks.failures = body.number("times").unwrap_or(1);
            }
            "hashcash" => {
                let easiness = body.number("easiness").unwrap_or(EASIEST);
                self.challenge =
                    Some(Challenge::new(u8::try_from(easiness).map_err(|_| "easiness is up to 255")?, world));
            }
            "expire-urls" => {
                self.uploads.values_mut().for_each(|upload| upload.expire());
                self.downloads.values_mut().for_each(|download| download.expire());
            }
            "transfer-quota" => {
                let seconds = i64::try_from(body.number("seconds").unwrap_or(3600)).unwrap_or(i64::MAX);
                let until = world.now().saturating_add(jiff::SignedDuration::from_secs(seconds));
                self.tricks.quota_until = Some(until.unwrap_or(Timestamp::MAX));
            }
            _ => return self.trick_account(verb, body, world),
        }
        Ok(json!({}))
    }

    fn trick_account(&mut self, verb: &str, body: &Body<'_>, world: &mut World) -> Result<Value, String> {
        let email = body.text("account").map(str::to_lowercase);
        let mut accounts = self.accounts.iter_mut();
        let account = accounts
            .find(|account| email.as_ref().is_none_or(|email| account.email == *email))
            .ok_or("no such account")?;
        match verb {
            "tree" => return Ok(account.report()),
            "revoke-sessions" => account.sessions.clear(),
            "second-factor" => account.second_factor = body.text("code").map(str::to_owned),
            "quota" => account.limit_bytes = body.number("bytes").ok_or("bytes is missing")?,
            "lose-feed" => {
                account.record(json!({ "a": "psts" }), None);
                self.tricks.feed_begins = account.events.len();
            }
            "take-down" => {
                let handle = account.at(body.need("path")?)?;
                self.tricks.taken_down.insert(handle);
            }
            "create" | "mkdir" | "version" | "undecryptable" => return account.make(verb, body, world),
            "rename" | "move" | "remove" => account.change(verb, body, world)?,
            _ => return Ok(Value::Null),
        }
        Ok(json!({}))
    }
}

impl Account {
    fn make(&mut self, verb: &str, body: &Body<'_>, world: &mut World) -> Result<Value, String> {
        let path = body.need("path")?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let handle = match verb {
            "mkdir" => {
                let parent = self.at(folder)?;
                self.make_folder(&parent, name, world)
            }
            "version" => {
                let old = self.at(path)?;
                let parent = self.at(folder)?;
                let new = self.make_file(&parent, name, &body.bytes(), world);
                if let Some(node) = self.nodes.get_mut(&old) {
                    node.parent.clone_from(&new);
                }
                new
            }
            "undecryptable" => {
                let (handle, parent) = (self.fresh_handle(world), self.at(path)?);
                let key = format!("{}:{}", world.word(11), encode(&world.bytes(32)));
                let attributes = encode(&world.bytes(32));
                self.insert(Node {
                    handle: handle.clone(),
                    parent,
                    key,
                    attributes,
                    ..Node::empty(Kind::File, world.now())
                });
                handle
            }
            _ => {
                let parent = self.at(folder)?;
                let handle = self.make_file(&parent, name, &body.bytes(), world);
                if let Some(Value::Object(more)) = body.0.get("attributes") {
                    let mut attributes = Map::from_iter([("n".to_owned(), json!(name))]);
                    attributes.extend(more.clone());
                    self.seal(&handle, &Value::Object(attributes))?;
                }
                handle
            }
        };
        let shown = self.nodes.get(&handle).map(|node| self.show(node)).unwrap_or_default();
        let user = self.user.clone();
        self.record(json!({ "a": "t", "t": { "f": [shown] }, "ou": user }), None);
        Ok(json!({ "h": handle }))
    }

    fn seal(&mut self, handle: &str, attributes: &Value) -> Result<String, String> {
        let node = self.nodes.get(handle).ok_or("no such node")?;
        let sealed = seal_attributes(&self.attribute_key(node).ok_or("the node cannot be decrypted")?, attributes);
        if let Some(node) = self.nodes.get_mut(handle) {
            node.attributes.clone_from(&sealed);
        }
        Ok(sealed)
    }

    fn change(&mut self, verb: &str, body: &Body<'_>, world: &World) -> Result<(), String> {
        let handle = self.at(body.need("path")?)?;
        match verb {
            "remove" => {
                self.remove(&handle, false);
                let user = self.user.clone();
                self.record(json!({ "a": "d", "n": handle, "ou": user }), None);
            }
            "move" => {
                let target = self.at(body.need("to")?)?;
                self.move_node(&handle, &target, None);
            }
            _ => {
                let node = self.nodes.get(&handle).ok_or("no such node")?;
                let mut attributes = self.attributes(node).ok_or("the node cannot be decrypted")?;
                if let Some(object) = attributes.as_object_mut() {
                    object.insert("n".into(), json!(body.need("name")?));
                }
                let sealed = self.seal(&handle, &attributes)?;
                self.rename_node(&handle, &sealed, None, world);
            }
        }
        Ok(())
    }

    /// The handle at a path.
    fn at(&self, path: &str) -> Result<String, String> {
        let mut handle = self.root(Kind::Root);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let children = self.children(&handle).into_iter().filter(|child| self.name(child).as_deref() == Some(name));
            handle =
                children.max_by_key(|child| child.time).ok_or_else(|| format!("nothing at {path}"))?.handle.clone();
        }
        Ok(handle)
    }

    fn report(&self) -> Value {
        let bin = self.root(Kind::Bin);
        let nodes = self.nodes.values().filter(|node| matches!(node.kind, Kind::File | Kind::Folder)).map(|node| {
            let mut names = Vec::new();
            let mut at = Some(node);
            while let Some(node) = at.filter(|node| matches!(node.kind, Kind::File | Kind::Folder) && names.len() < 100)
            {
                names.insert(0, self.name(node).unwrap_or_else(|| "?".into()));
                at = self.nodes.get(&node.parent);
            }
            let content = (node.kind == Kind::File).then(|| self.plain_content(node)).flatten();
            json!({
                "h": node.handle, "path": names.join("/"), "kind": node.kind as u8, "size": node.content.len(),
                "sha256": content.as_ref().map(|(plain, _)| HEXLOWER.encode(&Sha256::digest(plain))),
                "mac_fits": content.map(|(_, fits)| fits), "attributes": self.attributes(node), "link": node.link,
                "in_bin": self.is_within(&node.handle, &bin),
            })
        });
        json!({ "nodes": nodes.collect::<Vec<_>>() })
    }
}
