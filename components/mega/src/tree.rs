//! What nodes are taken for: which key opens them, and the entry that is made of them.
//!
//! A cookie is a node's handle. A version is its key, wrapped with the master key: a file has one content and one key for as long as
//! it lives, and whoever reads or renames it later needs nothing else.

use std::collections::BTreeMap;

use causeway_sdk::prelude::*;
use causeway_sdk::state;

use crate::api;
use crate::crypto::{self, Attributes, Block, Cipher, NodeKey};
use crate::wire::{FILE, FOLDER, Node, ROOT, ShareKey};

/// Where the keys of shared folders are kept, wrapped with the master key.
const SHARES: &str = "shares";
/// So many fit.
const MOST_SHARES: usize = 1_000;

/// What opens nodes.
pub(crate) struct Keys {
    user: String,
    pub(crate) master: Cipher,
    /// The keys of shared folders, by handle.
    shares: BTreeMap<String, String>,
}

impl Keys {
    /// Those of the session.
    pub(crate) fn load() -> Result<Keys> {
        let (user, master) = api::keys()?;
        Ok(Keys { user, master, shares: state::load(SHARES).unwrap_or_default() })
    }

    pub(crate) fn learn(&mut self, share: ShareKey) {
        if self.shares.len() < MOST_SHARES {
            self.shares.insert(share.h, share.k);
        }
    }

    /// Keeps what was learned.
    pub(crate) fn store(&self) -> Result<()> {
        if state::load::<BTreeMap<String, String>>(SHARES).unwrap_or_default() == self.shares {
            return Ok(());
        }
        state::store(SHARES, &self.shares, None)
    }

    /// The key of a node, wrapped for its owner or for a shared folder that it lies in.
    fn of(&self, node: &Node) -> Option<NodeKey> {
        let wrapped = node.k.split('/').filter_map(|part| part.split_once(':'));
        let mut opened = wrapped.filter_map(|(owner, key)| {
            let key = crypto::decode(key)?;
            if owner == self.user {
                return NodeKey::of(&self.master.decrypt_all(&key));
            }
            let share = self.master.decrypt_all(&crypto::decode(self.shares.get(owner)?)?);
            NodeKey::of(&Cipher::new(&Block::try_from(share).ok()?).decrypt_all(&key))
        });
        opened.next()
    }

    /// A key, wrapped with the master key.
    pub(crate) fn wrap(&self, key: &NodeKey) -> String {
        crypto::encode(&self.master.encrypt_all(key.bytes()))
    }

    /// The key that a version is.
    pub(crate) fn unwrap(&self, version: &str) -> Option<NodeKey> {
        NodeKey::of(&self.master.decrypt_all(&crypto::decode(version)?))
    }

    /// A node as an entry; none if it cannot be deciphered, or is nothing that is shown.
    pub(crate) fn entry(&self, node: &Node) -> Option<Placed> {
        if node.t == ROOT {
            let entry = Entry { cookie: Some(node.h.clone()), ..Entry::directory("") };
            return Some(Placed { entry, parent: None, path: None });
        }
        if !matches!(node.t, FILE | FOLDER) {
            return None;
        }
        let key = self.of(node)?;
        let attributes = key.open_attributes(&node.a)?;
        let name = name(&attributes)?;
        let of = if node.t == FILE { Entry::file(name) } else { Entry::directory(name) };
        let at = |seconds| Some(Instant { seconds, nanoseconds: 0 });
        let entry = Entry {
            cookie: Some(node.h.clone()),
            size: if node.t == FILE { node.s } else { None },
            modified: modified(&attributes).or(Some(node.ts)).and_then(at),
            created: at(node.ts),
            version: Some(self.wrap(&key)),
            ..of
        };
        Some(Placed { entry, parent: Some(node.p.clone()), path: None })
    }
}

/// The name among attributes; one that no path can hold is none.
pub(crate) fn name(attributes: &Attributes) -> Option<&str> {
    attributes.get("n")?.as_str().filter(|name| !name.is_empty())
}

/// The time that other programs keep with a file.
pub(crate) fn modified(attributes: &Attributes) -> Option<i64> {
    crypto::fingerprint_seconds(attributes.get("c")?.as_str()?)
}
