//! Commands that change nodes: `p`, `m`, `a`, `d`, `l`, `s2`. The server sees only ciphertext, and refuses what cannot be any.
use bytes::Bytes;
use serde_json::{Value, json};

use super::account::{Account, Kind, Node};
use super::commands::{Command, Done};
use super::crypto::decode;
use super::{CIRCULAR, Code, EXPIRED, Mega, NO_ACCESS, NO_SESSION, NOT_FOUND, WRONG_ARGUMENTS};
use crate::World;

const FILE_KEY_CHARACTERS: usize = 43;
const FOLDER_KEY_CHARACTERS: usize = 22;
const LARGEST_ATTRIBUTES_BYTES: usize = 64 << 10;
const NEW_FOLDER: &str = "xxxxxxxx";

impl Mega {
    /// `p`: new nodes, from uploads, copies of other nodes, or folders.
    pub(super) fn put_nodes(&mut self, command: Command<'_>, index: usize, world: &mut World) -> Done {
        let target = command.need("t")?;
        let account = self.accounts.get(index).ok_or(NO_SESSION)?;
        let folder = account.nodes.get(target).ok_or(NOT_FOUND)?;
        if folder.kind == Kind::File {
            return Err(WRONG_ARGUMENTS);
        }
        let wanted = command.list("n");
        if wanted.is_empty() {
            return Err(WRONG_ARGUMENTS);
        }
        let mut made: Vec<(String, Node)> = Vec::new();
        for node in wanted.iter().map(Command) {
            let source = node.need("h")?;
            let parent = match node.text("p") {
                // Below a node of the same command, named by what that was made from.
                Some(within) => made
                    .iter()
                    .find(|(from, _)| from == within)
                    .map(|(_, node)| node.handle.clone())
                    .ok_or(NOT_FOUND)?,
                None => target.to_owned(),
            };
            let (kind, content) = self.source(node, source, index)?;
            let key = sealed(node, kind)?;
            let account = self.accounts.get_mut(index).ok_or(NO_SESSION)?;
            let handle = account.fresh_handle(world);
            let new = Node {
                handle: handle.clone(),
                parent,
                attributes: node.need("a")?.to_owned(),
                key: format!("{}:{key}", account.user),
                content,
                ..Node::empty(kind, world.now())
            };
            if let Some(old) = node.text("ov") {
                account.overwrite(old, &new)?;
            }
            account.insert(new.clone());
            made.push((source.to_owned(), new));
        }
        for node in wanted.iter().map(Command) {
            self.used_up(node.text("h").unwrap_or_default());
        }
        let account = self.accounts.get_mut(index).ok_or(NO_SESSION)?;
        let shown: Vec<Value> = made.iter().map(|(_, node)| account.show(node)).collect();
        let user = account.user.clone();
        account.record(json!({ "a": "t", "t": { "f": shown }, "ou": user }), command.text("i"));
        Ok(json!({ "f": shown }))
    }

    /// What a new node is made from.
    fn source(&self, node: Command<'_>, source: &str, index: usize) -> Result<(Kind, Bytes), Code> {
        let account = self.accounts.get(index).ok_or(NO_SESSION)?;
        match node.number("t") {
            Some(1) if source == NEW_FOLDER => Ok((Kind::Folder, Bytes::new())),
            Some(1) => account
                .nodes
                .get(source)
                .filter(|from| from.kind == Kind::Folder)
                .map(|_| (Kind::Folder, Bytes::new()))
                .ok_or(NOT_FOUND),
            Some(0) => {
                let uploaded = self.uploaded(source, index);
                let copied = || {
                    account.nodes.get(source).filter(|from| from.kind == Kind::File).map(|from| from.content.clone())
                };
                uploaded.or_else(copied).map(|content| (Kind::File, content)).ok_or(EXPIRED)
            }
            _ => Err(WRONG_ARGUMENTS),
        }
    }
}

/// The key of a new node, when key and attributes can be ciphertext.
fn sealed<'a>(node: Command<'a>, kind: Kind) -> Result<&'a str, Code> {
    check_attributes(node.need("a")?)?;
    let key = node.need("k")?;
    check_key(key, kind)?;
    Ok(key)
}

fn check_key(key: &str, kind: Kind) -> Result<(), Code> {
    let length = if kind == Kind::File { FILE_KEY_CHARACTERS } else { FOLDER_KEY_CHARACTERS };
    if key.len() == length && decode(key).is_some() { Ok(()) } else { Err(WRONG_ARGUMENTS) }
}

fn check_attributes(sealed: &str) -> Result<(), Code> {
    let fits =
        |bytes: Vec<u8>| !bytes.is_empty() && bytes.len().is_multiple_of(16) && bytes.len() <= LARGEST_ATTRIBUTES_BYTES;
    if decode(sealed).is_some_and(fits) { Ok(()) } else { Err(WRONG_ARGUMENTS) }
}

impl Account {
    /// A node that is no root.
    fn own(&self, handle: &str) -> Result<&Node, Code> {
        let node = self.nodes.get(handle).ok_or(NOT_FOUND)?;
        if matches!(node.kind, Kind::File | Kind::Folder) { Ok(node) } else { Err(NO_ACCESS) }
    }

    /// Makes an old file the former version of a new one that takes its place.
    fn overwrite(&mut self, old: &str, new: &Node) -> Result<(), Code> {
        if self.own(old)?.kind != Kind::File || new.kind != Kind::File {
            return Err(WRONG_ARGUMENTS);
        }
        if let Some(node) = self.nodes.get_mut(old) {
            node.parent.clone_from(&new.handle);
        }
        Ok(())
    }

    /// `m`.
    pub(super) fn relocate(&mut self, command: Command<'_>) -> Done {
        let (handle, target) = (command.need("n")?, command.need("t")?);
        self.own(handle)?;
        match self.nodes.get(target).ok_or(NOT_FOUND)?.kind {
            Kind::File => return Err(WRONG_ARGUMENTS),
            _ if self.is_within(target, handle) => return Err(CIRCULAR),
            _ => {}
        }
        self.move_node(handle, target, command.text("i"));
        Ok(json!(0))
    }

    /// Moves a node and records it as the feed tells it: gone, and there again with everything below.
    pub(super) fn move_node(&mut self, handle: &str, target: &str, client: Option<&str>) {
        if let Some(node) = self.nodes.get_mut(handle) {
            target.clone_into(&mut node.parent);
        }
        let user = self.user.clone();
        let below: Vec<Value> = self.subtree(handle).into_iter().map(|node| self.show(node)).collect();
        self.record(json!({ "a": "d", "n": handle, "m": 1, "ou": user }), client);
        self.record(json!({ "a": "t", "t": { "f": below }, "ou": user }), client);
    }

    /// A node and everything below, parents first.
    fn subtree(&self, handle: &str) -> Vec<&Node> {
        let mut out: Vec<&Node> = self.nodes.get(handle).into_iter().collect();
        let mut next = 0;
        while let Some(node) = out.get(next) {
            let below = self.children(&node.handle);
            out.extend(below);
            next += 1;
        }
        out
    }

    /// `a`.
    pub(super) fn set_attributes(&mut self, command: Command<'_>, world: &World) -> Done {
        let handle = command.need("n")?;
        let sealed = command.text("at").or_else(|| command.text("attr")).ok_or(WRONG_ARGUMENTS)?;
        check_attributes(sealed)?;
        let kind = self.own(handle)?.kind;
        // The key is sent again in the older form; it must be the node's own.
        if let Some(key) = command.text("key") {
            check_key(key, kind)?;
            if !self.own(handle)?.key.ends_with(key) {
                return Err(WRONG_ARGUMENTS);
            }
        }
        self.rename_node(handle, sealed, command.text("i"), world);
        Ok(json!(0))
    }

    /// Sets sealed attributes and records it.
    pub(super) fn rename_node(&mut self, handle: &str, sealed: &str, client: Option<&str>, world: &World) {
        if let Some(node) = self.nodes.get_mut(handle) {
            sealed.clone_into(&mut node.attributes);
        }
        let event = json!({ "a": "u", "n": handle, "u": self.user, "at": sealed, "ts": world.now().as_second() });
        self.record(event, client);
    }

    /// `d`.
    pub(super) fn delete(&mut self, command: Command<'_>) -> Done {
        let handle = command.need("n")?;
        self.own(handle)?;
        self.remove(handle, command.number("v") == Some(1));
        let user = self.user.clone();
        self.record(json!({ "a": "d", "n": handle, "ou": user }), command.text("i"));
        Ok(json!(0))
    }

    /// `l`: the public handle of a file, or of a folder that is shared with everyone.
    pub(super) fn link(&mut self, command: Command<'_>, world: &mut World) -> Done {
        let handle = command.need("n")?;
        let folder = self.own(handle)?.kind == Kind::Folder;
        if command.number("d") == Some(1) {
            if let Some(node) = self.nodes.get_mut(handle) {
                node.link = None;
            }
            self.shares.remove(handle);
            return Ok(json!(0));
        }
        // A link that ends is for accounts that pay.
        if command.number("ets").is_some() || (folder && !self.shares.contains_key(handle)) {
            return Err(NO_ACCESS);
        }
        let fresh = world.word(8);
        let node = self.nodes.get_mut(handle).ok_or(NOT_FOUND)?;
        Ok(json!(node.link.get_or_insert(fresh)))
    }

    /// `s2`: a share with everyone, which a folder's link stands on. The key of every node below must come with it.
    pub(super) fn share(&mut self, command: Command<'_>) -> Done {
        let handle = command.need("n")?;
        if self.own(handle)?.kind != Kind::Folder {
            return Err(WRONG_ARGUMENTS);
        }
        let with: Vec<&str> = command.list("s").iter().filter_map(|one| one.get("u")?.as_str()).collect();
        if with != ["EXP"] {
            return Err(WRONG_ARGUMENTS);
        }
        for name in ["ok", "ha"] {
            check_key(command.need(name)?, Kind::Folder)?;
        }
        let keys = command.list("cr");
        let nodes = keys.get(1).and_then(Value::as_array).cloned().unwrap_or_default();
        let all = self.subtree(handle).iter().all(|node| nodes.contains(&json!(node.handle)));
        if !all || !keys.first().and_then(Value::as_array).is_some_and(|shares| shares.contains(&json!(handle))) {
            return Err(WRONG_ARGUMENTS);
        }
        self.shares.insert(handle.to_owned(), command.0.clone());
        Ok(json!({ "r": [0] }))
    }
}
