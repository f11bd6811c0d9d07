//! Changes of what is there: removing, directories, moves, copies, times.

use causeway_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::shown::quoted;
use crate::wire::{Written, written_time};
use crate::{Cookie, Drive, gone, taken, there};

/// A document's time is lost if it is set before its copy is made.
const COPYING_MS: u32 = 2500;

#[export]
impl Removing for Drive {
    fn remove_file(&self, file: &Node) -> Result<Outcome> {
        self.removed(file, false)
    }
}

#[export]
impl Purging for Drive {
    fn purge(&self, directory: &Node) -> Result<Outcome> {
        self.removed(directory, false)
    }
}

#[export]
impl Directories for Drive {
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome> {
        let holder = self.holder(parent)?;
        let (files, id) = self.all_and_new_id(&self.named(&holder, name), &holder)?;
        if !self.others(&holder, files, name, &[])?.is_empty() {
            return Err(taken(name));
        }
        let made = self.make_folder(&id, &holder, name)?;
        self.entry_in(&holder, made)
    }

    /// What is hidden or in the trash is not lost: it goes to the trash with its directory, or stays there.
    fn remove_directory(&self, directory: &Node) -> Result<Outcome> {
        let cookie = self.cookie(directory);
        if cookie.target.is_some() {
            // A shortcut goes alone.
            return self.removed(directory, false);
        }
        let within = format!("({} in parents)", quoted(&cookie.id));
        if self.any(&format!("trashed=false and {within}"), &cookie)? {
            return Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the directory"));
        }
        let keeps = !self.0.use_trash && self.any(&format!("trashed=true and {within}"), &cookie)?;
        self.removed(directory, keeps)
    }
}

impl Drive {
    /// Removes what something else has taken the place of; a try whose answer was lost may have done it.
    pub(crate) fn displaced(&self, replaced: &Cookie) -> Result<()> {
        match self.remove(replaced, self.0.use_trash) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes an item itself: of a shortcut not what it leads to.
    fn removed(&self, node: &Node, to_trash: bool) -> Result<Outcome> {
        let cookie = self.cookie(node);
        let file = self.get(&cookie)?.filter(|file| !file.trashed || self.0.trashed_only);
        let file = file.ok_or_else(|| gone(node))?;
        if file.parents.len() > 1 {
            return Err(Error::unsupported("it lies in several folders, and would be gone from all of them"));
        }
        self.remove(&cookie, to_trash || (self.0.use_trash && !self.0.trashed_only))?;
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Moving for Drive {
    fn move_to(&self, node: &Node, parent: &Node, name: &str, replaces: Option<&Node>) -> Result<Outcome> {
        let (cookie, holder) = (self.cookie(node), self.holder(parent)?);
        let (files, found) = self.all_and_get(&self.named(&holder, name), &holder, &cookie)?;
        let file = there(node, found)?;
        let replaced = replaces.map(|node| self.cookie(node));
        let but: Vec<&str> = replaced.iter().map(|cookie| cookie.id.as_str()).chain([file.id.as_str()]).collect();
        if !self.others(&holder, files, name, &but)?.is_empty() {
            return Err(taken(name));
        }
        let stored = self.stored_name(&file, name)?;
        let from = file.parents.join(",");
        let moved =
            (!file.parents.iter().any(|id| id == holder.content())).then_some((from.as_str(), holder.content()));
        // Without it some kinds of item get the time of the move.
        let modified_time = file.modified_time.clone();
        let written = Written { name: Some(stored), modified_time, ..Written::default() };
        let keyed = Cookie { way: Some(Box::new(holder.clone())), ..cookie.clone() };
        let moved = self.update(&cookie, moved, &keyed, &written)?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != file.id) {
            self.displaced(&replaced)?;
        }
        self.entry_in(&holder, moved)
    }
}

#[export]
impl Copying for Drive {
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        modified: Option<Instant>,
    ) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("Google copies no folders"));
        }
        let (source, holder) = (self.cookie(node), self.holder(parent)?);
        let (files, id) = self.all_and_new_id(&self.named(&holder, name), &holder)?;
        let replaced = replaces.map(|node| self.cookie(node));
        let but: Vec<&str> = replaced.iter().map(|cookie| cookie.id.as_str()).collect();
        if !self.others(&holder, files, name, &but)?.is_empty() {
            return Err(taken(name));
        }
        let from = if self.0.copy_shortcut_content { source.content() } else { &source.id };
        // Documents and shortcuts are given no ids beforehand; a document's name has an extension that it does not have itself.
        let (file, is_plain) = match &node.version {
            Some(_) => (None, source.target.is_none() || self.0.copy_shortcut_content),
            None => (self.get(&Cookie { id: from.to_owned(), target: None, ..source.clone() })?, false),
        };
        let stored = file.as_ref().map_or(Ok(name), |file| self.stored_name(file, name))?;
        let keyed = Cookie { way: Some(Box::new(holder.clone())), ..source.clone() };
        let written = Written {
            id: is_plain.then_some(id.as_str()),
            name: Some(stored),
            parents: Some([holder.content()]),
            modified_time: modified.map(written_time),
            ..Written::default()
        };
        let copied = self.copy(&keyed, from, &written)?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != copied.id) {
            self.displaced(&replaced)?;
        }
        if let Some(modified) = modified.filter(|_| copied.is_document()) {
            let cookie = self.cookie_in(&holder, &copied).to_string();
            let ticket = Ticket { cookie, seconds: modified.seconds, nanoseconds: modified.nanoseconds };
            return Ok(Outcome::Pending(Job::new(&ticket, COPYING_MS)?));
        }
        self.entry_in(&holder, copied)
    }
}

/// A copy of a document whose time is still to be set.
#[derive(Debug, Deserialize, Serialize)]
pub struct Ticket {
    cookie: String,
    seconds: i64,
    nanoseconds: u32,
}

#[export]
impl Jobs for Drive {
    type Ticket = Ticket;

    fn poll(&self, ticket: &Ticket) -> Result<Outcome> {
        let modified = Instant { seconds: ticket.seconds, nanoseconds: ticket.nanoseconds };
        self.timed(&Cookie::parse(&ticket.cookie), modified)
    }

    /// The copy is there; only its time is not set.
    fn cancel(&self, _ticket: &Ticket) -> Result<()> {
        Ok(())
    }
}

#[export]
impl Times for Drive {
    fn set_modified(&self, node: &Node, modified: Instant) -> Result<Outcome> {
        if !self.shows_modified() {
            return Err(Error::unsupported("the time that is shown is not one that can be set"));
        }
        self.timed(&self.cookie(node), modified)
    }
}

impl Drive {
    /// Whether the time that is shown is the one that can be set.
    pub(crate) fn shows_modified(&self) -> bool {
        !self.0.use_created_date && !self.0.use_shared_date
    }

    fn timed(&self, cookie: &Cookie, modified: Instant) -> Result<Outcome> {
        let written = Written { modified_time: Some(written_time(modified)), ..Written::default() };
        // A shortcut shows what it leads to, and so does its time.
        let target = Cookie { id: cookie.content().to_owned(), target: None, ..cookie.clone() };
        let file = self.update(&target, None, cookie, &written)?;
        if file.trashed && !self.0.trashed_only {
            return Err(Error::not_found("it is in the trash"));
        }
        if cookie.target.is_some() {
            return Ok(Outcome::Done(None));
        }
        Ok(Outcome::Done(self.placed(&file, cookie)?.map(|placed| placed.entry)))
    }
}
