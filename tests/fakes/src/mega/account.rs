//! An account as the server keeps it: a proof of the password, keys it cannot read without it, nodes, events, sessions.
//!
//! The server of a test also remembers the password and so the master key: with these the control plays another client.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::crypto::{Block, FileKey, decode, ecb_decrypt, ecb_encrypt, encode, open_attributes, padded};
use super::keys::{Credentials, KeyPair, version_1, version_2};
use crate::World;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Content.
    File = 0,
    /// A folder.
    Folder = 1,
    /// The root.
    Root = 2,
    /// The inbox.
    Inbox = 3,
    /// The bin.
    Bin = 4,
}

/// A node: all that is readable is where it lies, its size and its time.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Eight characters.
    pub handle: String,
    /// Empty at roots. A file below a file is a former version of it.
    pub parent: String,
    /// What it is.
    pub kind: Kind,
    /// Attributes, sealed.
    pub attributes: String,
    /// Keys as answered: `OWNER:KEY`, several joined by `/`.
    pub key: String,
    /// The encrypted content.
    pub content: Bytes,
    /// When it was made, seconds.
    pub time: i64,
    /// The public handle, when a link exists.
    pub link: Option<String>,
}

/// An account.
#[derive(Debug)]
pub(super) struct Account {
    /// The address, lower case.
    pub email: String,
    /// As typed.
    pub password: String,
    /// How keys are derived: 1 or 2.
    pub version: u8,
    /// Of version 2.
    pub salt: Vec<u8>,
    /// Eleven characters.
    pub user: String,
    /// What encrypts the keys of nodes.
    pub master: Block,
    /// The code of the second factor, where one is wanted.
    pub second_factor: Option<String>,
    /// By handle.
    pub nodes: BTreeMap<String, Node>,
    /// What happened, each with the client id of who did it.
    pub events: Vec<Value>,
    /// The session ids that count.
    pub sessions: BTreeSet<String>,
    /// Shares of folders that links stand on: `ok`, `ha` and `cr` as they were sent.
    pub shares: BTreeMap<String, Value>,
    /// The size of the account.
    pub limit_bytes: u64,
    credentials: Credentials,
}

impl Account {
    /// An account with its three roots, and what every client must cope with: a former version of a file, a node that cannot be
    /// decrypted, a file without content.
    pub(super) fn new(
        email: &str,
        password: &str,
        version: u8,
        second_factor: Option<&str>,
        world: &mut World,
    ) -> Account {
        let salt = world.bytes(32);
        let credentials = match version {
            1 => version_1(password, email),
            _ => version_2(password, &salt),
        };
        let mut account = Account {
            email: email.to_lowercase(),
            password: password.to_owned(),
            version,
            salt,
            user: world.word(11),
            master: padded(&world.bytes(16)),
            second_factor: second_factor.map(str::to_owned),
            nodes: BTreeMap::new(),
            events: Vec::new(),
            sessions: BTreeSet::new(),
            shares: BTreeMap::new(),
            limit_bytes: 20 << 30,
            credentials,
        };
        for kind in [Kind::Root, Kind::Inbox, Kind::Bin] {
            let handle = account.fresh_handle(world);
            account.insert(Node { handle, ..Node::empty(kind, world.now()) });
        }
        account.seed(world);
        account
    }

    fn seed(&mut self, world: &mut World) {
        let root = self.root(Kind::Root);
        let folder = self.make_folder(&root, "seeded", world);
        let present = self.make_file(&folder, "versioned.txt", b"the present version", world);
        self.make_file(&present, "versioned.txt", b"a former version", world);
        self.make_file(&folder, "empty.bin", b"", world);
        let (handle, foreign) = (self.fresh_handle(world), world.word(11));
        let key = format!("{foreign}:{}", encode(&world.bytes(32)));
        let attributes = encode(&world.bytes(32));
        let node = Node {
            handle,
            parent: folder,
            key,
            attributes,
            content: Bytes::from_static(b"?"),
            ..Node::empty(Kind::File, world.now())
        };
        self.insert(node);
    }

    /// The handle of a root.
    pub(super) fn root(&self, kind: Kind) -> String {
        self.nodes.values().find(|node| node.kind == kind).map(|node| node.handle.clone()).unwrap_or_default()
    }

    /// What proves the password.
    pub(super) fn proof(&self) -> &str {
        &self.credentials.proof
    }

    /// The master key, encrypted with the password key.
    pub(super) fn wrapped_master(&self) -> String {
        encode(&ecb_encrypt(&self.credentials.password_key, &self.master))
    }

    /// The private key, encrypted with the master key.
    pub(super) fn private_key(&self, pair: &KeyPair) -> String {
        pair.private(&self.master)
    }

    /// A handle that no node has.
    pub(super) fn fresh_handle(&self, world: &mut World) -> String {
        loop {
            let handle = world.word(8);
            if !self.nodes.contains_key(&handle) {
                return handle;
            }
        }
    }

    /// Adds a node.
    pub(super) fn insert(&mut self, node: Node) {
        self.nodes.insert(node.handle.clone(), node);
    }

    /// What lies directly below a node.
    pub(super) fn children(&self, handle: &str) -> Vec<&Node> {
        self.nodes.values().filter(|node| node.parent == handle).collect()
    }

    /// Removes a node with everything below; the versions of a file only when they are not to be kept.
    pub(super) fn remove(&mut self, handle: &str, keep_versions: bool) {
        let Some(node) = self.nodes.remove(handle) else { return };
        let below: Vec<String> = self.children(handle).into_iter().map(|child| child.handle.clone()).collect();
        if keep_versions && node.kind == Kind::File {
            // The newest of them takes its place.
            let mut versions = below.into_iter();
            let newest = versions.next();
            if let Some(heir) = newest.as_ref().and_then(|newest| self.nodes.get_mut(newest)) {
                heir.parent = node.parent;
            }
            for version in versions {
                if let (Some(version), Some(newest)) = (self.nodes.get_mut(&version), &newest) {
                    version.parent.clone_from(newest);
                }
            }
            return;
        }
        for child in below {
            self.remove(&child, false);
        }
    }

    /// Whether a node lies at or below another.
    pub(super) fn is_within(&self, handle: &str, above: &str) -> bool {
        let mut at = handle.to_owned();
        for _ in 0..=self.nodes.len() {
            if at == above {
                return true;
            }
            let Some(node) = self.nodes.get(&at) else { return false };
            at.clone_from(&node.parent);
        }
        false
    }

    /// The bytes stored.
    pub(super) fn used_bytes(&self) -> u64 {
        self.nodes.values().map(|node| node.content.len() as u64).sum()
    }

    /// Encrypts and adds a file as a client would.
    pub(super) fn make_file(&mut self, parent: &str, name: &str, plain: &[u8], world: &mut World) -> String {
        let nonce = world.bytes(8).try_into().unwrap_or_default();
        let file = FileKey::of(padded(&world.bytes(16)), nonce, plain);
        let node = Node {
            handle: self.fresh_handle(world),
            parent: parent.to_owned(),
            attributes: super::crypto::seal_attributes(&file.key, &json!({ "n": name })),
            key: self.own_key(&file.pack()),
            content: file.cipher(plain).into(),
            ..Node::empty(Kind::File, world.now())
        };
        let handle = node.handle.clone();
        self.insert(node);
        handle
    }

    /// Encrypts and adds a folder as a client would.
    pub(super) fn make_folder(&mut self, parent: &str, name: &str, world: &mut World) -> String {
        let key = padded(&world.bytes(16));
        let node = Node {
            handle: self.fresh_handle(world),
            parent: parent.to_owned(),
            attributes: super::crypto::seal_attributes(&key, &json!({ "n": name })),
            key: self.own_key(&key),
            ..Node::empty(Kind::Folder, world.now())
        };
        let handle = node.handle.clone();
        self.insert(node);
        handle
    }

    fn own_key(&self, key: &[u8]) -> String {
        format!("{}:{}", self.user, encode(&ecb_encrypt(&self.master, key)))
    }

    /// A node's key, decrypted: the bytes of the part that belongs to the account.
    pub(super) fn plain_key(&self, node: &Node) -> Option<Vec<u8>> {
        let part = node.key.split('/').find_map(|part| part.strip_prefix(self.user.as_str())?.strip_prefix(':'))?;
        Some(ecb_decrypt(&self.master, &decode(part)?))
    }

    /// What a node's attributes are encrypted with.
    pub(super) fn attribute_key(&self, node: &Node) -> Option<Block> {
        let key = self.plain_key(node)?;
        match node.kind {
            Kind::File => FileKey::unpack(&key).map(|file| file.key),
            _ => Some(padded(&key)),
        }
    }

    /// A node's attributes, as its owner reads them.
    pub(super) fn attributes(&self, node: &Node) -> Option<Value> {
        open_attributes(&self.attribute_key(node)?, &node.attributes)
    }

    /// A node's name.
    pub(super) fn name(&self, node: &Node) -> Option<String> {
        self.attributes(node)?.get("n")?.as_str().map(str::to_owned)
    }

    /// A file's content and whether its meta-MAC fits; empty content has none.
    pub(super) fn plain_content(&self, node: &Node) -> Option<(Vec<u8>, bool)> {
        let file = FileKey::unpack(&self.plain_key(node)?)?;
        let plain = file.cipher(&node.content);
        let right = plain.is_empty() || FileKey::of(file.key, file.nonce, &plain) == file;
        Some((plain, right))
    }

    /// A node as answered.
    pub(super) fn show(&self, node: &Node) -> Value {
        let mut out = Map::new();
        out.insert("h".into(), json!(node.handle));
        out.insert("p".into(), json!(node.parent));
        out.insert("u".into(), json!(self.user));
        out.insert("t".into(), json!(node.kind as u8));
        out.insert("a".into(), json!(node.attributes));
        out.insert("k".into(), json!(node.key));
        out.insert("ts".into(), json!(node.time));
        if node.kind == Kind::File {
            out.insert("s".into(), json!(node.content.len()));
            out.insert("fa".into(), json!(""));
        }
        Value::Object(out)
    }

    /// Records what happened, for the feed.
    pub(super) fn record(&mut self, mut event: Value, client: Option<&str>) {
        if let (Some(client), Some(object)) = (client, event.as_object_mut()) {
            object.insert("i".into(), json!(client));
        }
        self.events.push(event);
    }

    /// The place in the feed after everything so far.
    pub(super) fn sequence(&self) -> String {
        sequence(self.events.len())
    }
}

impl Node {
    /// One without anything.
    pub(super) fn empty(kind: Kind, now: Timestamp) -> Node {
        let (handle, parent, attributes, key) = (String::new(), String::new(), String::new(), String::new());
        Node { handle, parent, kind, attributes, key, content: Bytes::new(), time: now.as_second(), link: None }
    }
}

/// A place in the feed: eleven characters.
pub(super) fn sequence(place: usize) -> String {
    encode(&(place as u64).to_be_bytes())
}

/// The reverse of [`sequence`].
pub(super) fn place(sequence: &str) -> Option<usize> {
    let bytes: [u8; 8] = decode(sequence)?.try_into().ok()?;
    usize::try_from(u64::from_be_bytes(bytes)).ok()
}
