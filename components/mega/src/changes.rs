//! Changes other than writes. The host looks before each of them, so what is asked here is there, and names are free.

use causeway_sdk::prelude::*;
use causeway_sdk::{below, known};
use serde_json::{Value, json};

use crate::crypto::{self, Attributes, NodeKey};
use crate::tree::{self, Keys};
use crate::{Mega, api, handle, wire};

/// Commands of one request.
const TOGETHER: usize = 200;

impl Mega {
    /// The command that removes a node as the settings want it.
    fn removal(&self, handle: &str) -> Result<Value> {
        if self.0.hard_delete {
            return Ok(json!({"a": "d", "n": handle}));
        }
        Ok(json!({"a": "m", "n": handle, "t": tree::bin()?}))
    }

    /// Removes what something else has taken the place of; that it is gone already is as good.
    pub(crate) fn replace(&self, handle: &str) -> Result<()> {
        match api::ask(self.removal(handle)?).and_then(api::done) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn remove(&self, node: &Node) -> Result<Outcome> {
        api::done(api::ask(self.removal(handle(node)?)?)?)?;
        Ok(Outcome::Done(None))
    }

    /// The entry of the node that a command made.
    pub(crate) fn made(&self, made: wire::Made) -> Result<Entry> {
        let keys = Keys::load()?;
        let entry = made.f.iter().find_map(|node| keys.entry(node));
        entry.map(|placed| placed.entry).ok_or_else(|| Error::unavailable("the provider does not show what it made"))
    }

    /// A node's key and all its attributes as they are now.
    fn opened(&self, node: &Node) -> Result<(NodeKey, Attributes)> {
        let key = self.key(node)?;
        let attributes = match node.kind {
            Kind::File => key.open_attributes(&api::download(handle(node)?)?.at),
            Kind::Directory => known(handle(node)?).map(|placed| tree::attributes_of(&placed.entry)),
        };
        attributes.map(|attributes| (key, attributes)).ok_or_else(|| Error::not_found("the node cannot be deciphered"))
    }

    fn rename(&self, node: &Node, name: &str) -> Result<()> {
        let (key, mut attributes) = self.opened(node)?;
        attributes.insert("n".to_owned(), name.into());
        let wrapped = Keys::load()?.wrap(&key);
        let command = json!({"a": "a", "n": handle(node)?, "attr": key.seal_attributes(&attributes)?, "key": wrapped});
        api::done(api::ask(command)?)
    }
}

#[export]
impl Removing for Mega {
    fn remove_file(&self, file: &Node) -> Result<Outcome> {
        self.remove(file)
    }
}

#[export]
impl Directories for Mega {
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome> {
        let key = NodeKey::Folder(crypto::random()?);
        let attributes = Attributes::from_iter([("n".to_owned(), name.into())]);
        let wrapped = Keys::load()?.wrap(&key);
        let node = json!({"h": "xxxxxxxx", "t": wire::FOLDER, "a": key.seal_attributes(&attributes)?, "k": wrapped});
        let made = api::ask(json!({"a": "p", "t": handle(parent)?, "n": [node]}))?;
        Ok(Outcome::Done(Some(self.made(made)?)))
    }

    /// It would go with all that is in it; the host has seen that nothing is.
    fn remove_directory(&self, directory: &Node) -> Result<Outcome> {
        self.remove(directory)
    }
}

#[export]
impl Purging for Mega {
    fn purge(&self, directory: &Node) -> Result<Outcome> {
        self.remove(directory)
    }
}

#[export]
impl Moving for Mega {
    /// First to the directory, which can fail, then to the name; what is replaced goes last.
    fn move_to(&self, node: &Node, parent: &Node, name: &str, replaces: Option<&Node>) -> Result<Outcome> {
        let gone = || Error::not_found("there is no such thing at the provider");
        let Placed { entry, parent: from, .. } = known(handle(node)?).ok_or_else(gone)?;
        let to = |target: &str| Ok::<_, Error>(json!({"a": "m", "n": handle(node)?, "t": target}));
        let target = handle(parent)?;
        let elsewhere = from.filter(|from| from != target);
        if elsewhere.is_some() {
            api::done(api::ask(to(target)?)?)?;
        }
        if entry.name != name
            && let Err(error) = self.rename(node, name)
        {
            if let Some(from) = elsewhere {
                api::done(api::ask(to(&from)?)?)?;
            }
            return Err(error);
        }
        if let Some(replaced) = replaces {
            self.replace(handle(replaced)?)?;
        }
        Ok(Outcome::Done(Some(Entry { name: name.to_owned(), ..entry })))
    }
}

#[export]
impl Copying for Mega {
    /// A copy has the key of what it was made of.
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        _modified: Option<Instant>,
    ) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("the provider copies no directories"));
        }
        let (key, mut attributes) = self.opened(node)?;
        attributes.insert("n".to_owned(), name.into());
        let (sealed, wrapped) = (key.seal_attributes(&attributes)?, Keys::load()?.wrap(&key));
        let copy = json!({"h": handle(node)?, "t": wire::FILE, "a": sealed, "k": wrapped});
        let made = self.made(api::ask(json!({"a": "p", "t": handle(parent)?, "n": [copy]}))?)?;
        if let Some(replaced) = replaces {
            self.replace(handle(replaced)?)?;
        }
        Ok(Outcome::Done(Some(made)))
    }
}

#[export]
impl Room for Mega {
    fn measure(&self) -> Result<Usage> {
        let quota: wire::Quota = api::ask(json!({"a": "uq", "xfer": 1, "strg": 1}))?;
        let free = quota.mstrg.zip(quota.cstrg).map(|(total, used)| total.saturating_sub(used));
        Ok(Usage { total: quota.mstrg, used: quota.cstrg, free, trashed: None, objects: None })
    }
}

#[export]
impl Links for Mega {
    /// Whoever has the link has the key: it stands behind the `#`, which browsers keep to themselves.
    fn link(&self, node: &Node, lives_ms: Option<u64>) -> Result<Text> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("links are made to files only: a directory would have to be shared first"));
        }
        let mut command = json!({"a": "l", "n": handle(node)?});
        if let (Some(lives_ms), Some(command)) = (lives_ms, command.as_object_mut()) {
            let seconds = i64::try_from(lives_ms.div_ceil(1000)).unwrap_or(i64::MAX);
            command.insert("ets".to_owned(), causeway_sdk::now().seconds.saturating_add(seconds).into());
        }
        let public: String = api::ask(command)?;
        Ok(format!("https://mega.nz/file/{public}#{}", crypto::encode(self.key(node)?.bytes())).into())
    }

    fn unlink(&self, node: &Node) -> Result<()> {
        api::done(api::ask(json!({"a": "l", "n": handle(node)?, "d": 1}))?)
    }
}

#[export]
impl Cleaning for Mega {
    /// Empties the rubbish bin, which is one for the whole account.
    fn clean(&self, _directory: &Node) -> Result<Outcome> {
        let removal = |placed: &Placed| placed.entry.cookie.as_ref().map(|handle| json!({"a": "d", "n": handle}));
        let removals: Vec<Value> = below(&tree::bin()?).iter().filter_map(removal).collect();
        for removals in removals.chunks(TOGETHER) {
            for answer in api::ask_all(api::number(), removals)? {
                match api::done(answer) {
                    Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(Outcome::Done(None))
    }
}
