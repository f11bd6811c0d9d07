//! What nodes are taken for: which key opens them, and the entry that is made of them.
//!
//! A cookie is a node's handle. A version is its key, wrapped with the master key: a file has one content and one key for as long as
//! it lives, and whoever reads or renames it later needs nothing else. Of folders, only the host's tree knows it.

use std::collections::BTreeMap;

use causeway_sdk::prelude::*;
use causeway_sdk::state;

use crate::api;
use crate::crypto::{self, Attributes, Block, Cipher, NodeKey};
use crate::wire::{self, FILE, FOLDER, Node, ROOT, ShareKey};

/// Where the keys of shared folders are kept, wrapped with the master key.
const SHARES: &str = "shares";
/// Where the handle of the rubbish bin is kept.
pub(crate) const BIN: &str = "bin";
/// Behind this, a folder's version has what is kept of its attributes besides the name: no command tells them.
const REST: char = '.';
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
        let wrapped = version.split_once(REST).map_or(version, |(wrapped, _)| wrapped);
        NodeKey::of(&self.master.decrypt_all(&crypto::decode(wrapped)?))
    }

    /// An entry of the tree under the attributes that it has now.
    pub(crate) fn renamed(&self, known: Placed, sealed: &str) -> Option<Placed> {
        let Placed { entry, parent, path } = known;
        let key = self.unwrap(entry.version.as_deref()?)?;
        let attributes = key.open_attributes(sealed)?;
        let version = Some(self.version(&key, &attributes)?);
        let modified = seconds(modified(&attributes)).or(entry.created);
        Some(Placed { entry: Entry { name: name(&attributes)?.to_owned(), modified, version, ..entry }, parent, path })
    }

    /// What a node's version is.
    fn version(&self, key: &NodeKey, attributes: &Attributes) -> Option<String> {
        let wrapped = self.wrap(key);
        match key {
            NodeKey::Folder(_) if attributes.len() > 1 => {
                let rest = attributes.iter().filter(|(name, _)| *name != "n");
                let rest = serde_json::to_vec(&rest.collect::<BTreeMap<_, _>>()).ok()?;
                Some(format!("{wrapped}{REST}{}", crypto::encode(&rest)))
            }
            _ => Some(wrapped),
        }
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
        let entry = Entry {
            cookie: Some(node.h.clone()),
            size: if node.t == FILE { node.s } else { None },
            modified: seconds(modified(&attributes).or(Some(node.ts))),
            created: seconds(Some(node.ts)),
            version: Some(self.version(&key, &attributes)?),
            ..of
        };
        Some(Placed { entry, parent: Some(node.p.clone()), path: None })
    }
}

/// All attributes of a folder that the tree knows.
pub(crate) fn attributes_of(folder: &Entry) -> Attributes {
    let rest = folder.version.as_deref().and_then(|version| version.split_once(REST));
    let rest = rest.and_then(|(_, rest)| serde_json::from_slice(&crypto::decode(rest)?).ok());
    let mut attributes: Attributes = rest.unwrap_or_default();
    attributes.insert("n".to_owned(), folder.name.clone().into());
    attributes
}

fn seconds(seconds: Option<i64>) -> Option<Instant> {
    Some(Instant { seconds: seconds?, nanoseconds: 0 })
}

/// The handle of the rubbish bin, where it was forgotten: it comes early in the tree.
fn find_bin() -> Result<String> {
    struct Bin(Option<String>);
    impl wire::Gathering for Bin {
        fn node(&mut self, node: Node) -> Result<()> {
            if node.t != wire::BIN {
                return Ok(());
            }
            self.0 = Some(node.h);
            Err(Error::new(ErrorKind::Internal, "the rest does not matter"))
        }

        fn share(&mut self, _: ShareKey) -> Result<()> {
            Ok(())
        }
    }
    let mut bin = Bin(None);
    let read = wire::tree(api::tree()?, &mut bin);
    match (bin.0, read) {
        (Some(bin), _) => {
            state::store(BIN, &bin, None)?;
            Ok(bin)
        }
        (None, Ok(wire::Told::Refused(number))) => Err(api::refused(number)),
        (None, Err(error)) => Err(error),
        (None, Ok(wire::Told::Whole(_))) => Err(Error::unavailable("the account has no rubbish bin")),
    }
}

/// The handle of the rubbish bin.
pub(crate) fn bin() -> Result<String> {
    state::load(BIN).map_or_else(find_bin, Ok)
}

/// The name among attributes; one that no path can hold is none.
pub(crate) fn name(attributes: &Attributes) -> Option<&str> {
    attributes.get("n")?.as_str().filter(|name| !name.is_empty())
}

/// The time that other programs keep with a file.
pub(crate) fn modified(attributes: &Attributes) -> Option<i64> {
    crypto::fingerprint_seconds(attributes.get("c")?.as_str()?)
}
