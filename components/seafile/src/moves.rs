//! Moves and copies. The server changes a name or a directory at once, never both, and copies under the same name alone; what it finds
//! taken it numbers. So some of them take several steps, by way of a name that only this move or copy has: called again after a failure,
//! each finds there how far it came.

use causeway_sdk::prelude::*;

use crate::Seafile;
use crate::api::{At, none_if_missing};
use crate::wire::Slice;

#[export]
impl Moving for Seafile {
    /// One request where only the name or only the directory changes. Else the node goes under a name of its own, which no file in either
    /// directory has; called again, this finds it there and goes on.
    fn move_to(&self, node: &Node, parent: &Node, name: &str, replaces: Option<&Node>) -> Result<Outcome> {
        let (from, to) = self.ends(node, parent, name)?;
        if from.is_in(&to) {
            return Ok(Outcome::Done(None));
        }
        if node.kind == Kind::Directory
            && from.library.id == to.library.id
            && to.path.starts_with(&format!("{}/", from.path))
        {
            return Err(Error::invalid("a directory cannot be moved below itself"));
        }
        let (kind, source) = (node.kind, self.look(&from, Some(node.kind))?);
        let missing = || Error::not_found("what is to be moved is not there");
        if replaces.is_none() && source.is_some() {
            self.refuse_occupied(&to)?;
        }
        let replace = || replaces.map_or(Ok(()), |replaced| self.replace(&to, replaced));
        if from.parent().is_in(&to.parent()) {
            source.ok_or_else(missing)?;
            replace()?;
            return self.rename(&from, kind, name).map(Outcome::Done);
        }
        if from.name() == name {
            source.ok_or_else(missing)?;
            replace()?;
            return self.move_into(&from, kind, &to.parent()).map(Outcome::Done);
        }
        let transit = passing_name("moving", &from, &to);
        let (here, there) = (from.parent().child(&transit), to.parent().child(&transit));
        let mut arrived = false;
        if source.is_some() {
            self.rename(&from, kind, &transit)?;
        } else if self.look(&here, Some(kind))?.is_none() {
            arrived = self.look(&there, Some(kind))?.is_some();
            if !arrived {
                return Err(missing());
            }
        }
        if !arrived {
            self.move_into(&here, kind, &to.parent()).map_err(|error| lies_at(error, &here))?;
        }
        let renamed = replace().and_then(|()| self.rename(&there, kind, name));
        renamed.map(Outcome::Done).map_err(|error| lies_at(error, &there))
    }
}

#[export]
impl Copying for Seafile {
    /// To another directory under the same name the server copies by itself. Else the copy is made in a directory of its own, gets its
    /// name there, and is moved to its place; called again, this finds that directory and goes on.
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        _modified: Option<Instant>,
    ) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("only files are copied here"));
        }
        let (from, to) = self.ends(node, parent, name)?;
        let source = self.look(&from, Some(Kind::File))?;
        let source = source.ok_or_else(|| Error::not_found("what is to be copied is not there"))?;
        let directory = to.parent();
        if from.name() == name && replaces.is_none() && !from.parent().is_in(&directory) {
            self.refuse_occupied(&to)?;
            return self.copy_into(&from, &directory).map(|entry| Outcome::Done(Some(entry)));
        }
        let workshop = directory.child(&passing_name("copying", &from, &to));
        let begun = none_if_missing(self.listing(&workshop, &Slice { after: None, most: 1 }))?;
        let held = begun.as_ref().and_then(|begun| begun.items.keys().next().cloned());
        let there = self.look(&to, None)?;
        if begun.is_some() && held.is_none() && there.as_ref().is_some_and(|there| there.version == source.version) {
            self.delete(&workshop, Kind::Directory)?;
            return Ok(Outcome::Done(there));
        }
        if replaces.is_none() && there.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is already something of this name"));
        }
        if begun.is_none() {
            self.mkdir(&workshop)?;
        }
        let held = match held {
            Some(held) => held,
            None => self.copy_into(&from, &workshop)?.name,
        };
        let mut copy = workshop.child(&held);
        if held != name {
            self.rename(&copy, Kind::File, name)?;
            copy = workshop.child(name);
        }
        replaces.map_or(Ok(()), |replaced| self.replace(&to, replaced))?;
        let copied = self.move_into(&copy, Kind::File, &directory)?;
        self.delete(&workshop, Kind::Directory)?;
        Ok(Outcome::Done(copied))
    }
}

impl Seafile {
    /// Where something is, and where it is to be.
    fn ends(&self, node: &Node, parent: &Node, name: &str) -> Result<(At, At)> {
        let path = parent.child(name);
        if self.is_library(&node.path) || self.is_library(&path) {
            return Err(Error::unsupported(
                "a library is neither moved nor renamed, and nothing but libraries stands beside it",
            ));
        }
        Ok((self.place(&node.path)?, self.place(&path)?))
    }

    /// Takes away what is to be replaced, if that was not done before.
    fn replace(&self, at: &At, replaced: &Node) -> Result<()> {
        none_if_missing(self.remove(at, replaced.kind)).map(|_| ())
    }
}

/// The same name whenever the same is asked for, and no other's: a digest (FNV-1a) of both paths.
fn passing_name(what: &str, from: &At, to: &At) -> String {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for text in [&from.library.id, &from.path, &to.library.id, &to.path] {
        for byte in text.bytes().chain([0]) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!(".{what}-{digest:016x}")
}

fn lies_at(error: Error, at: &At) -> Error {
    let message = format!("{}; what was to be moved lies at {} meanwhile", error.message, at.path);
    Error { message, ..error }
}
