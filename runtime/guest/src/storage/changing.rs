//! Changes other than writes: each runs alone in its directories, in directories whose way is young, and its outcome is
//! held against what was asked.
//!
//! A provider that made a *numbered copy* instead of refusing a name that is taken is undone: the copy goes, what was moved
//! goes back, and the answer is `AlreadyExists`. Any other name that a provider chose stays: the entry tells it.

use std::sync::Arc;
use std::time::Duration;

use causeway_http::transfer::Outcome;
use causeway_storage::{Can, Entry, Error, ErrorKind, Kind, Node, Notes, Path, Result, Timestamp};

use super::asking::{Asking, Before, ask};
use super::walked::Walked;
use super::{GuestStorage, LONGEST_JOB, SHORTEST_POLL, names};
use crate::bindings::causeway::provider::types;
use crate::convert;

/// A place for something: its directory, and its name there in the provider's spelling.
pub(super) struct Place {
    pub(super) parent: types::Node,
    pub(super) name: String,
}

impl GuestStorage {
    /// The place of a path, to be changed.
    pub(super) async fn place(&self, path: &Path, existing: Option<&Node>) -> Result<Place> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(ErrorKind::Invalid, "the root cannot be changed"));
        };
        // A duplicate that is replaced keeps the name that it really has.
        let own = self.unmarked(name).filter(|(_, mark)| {
            let cookie = existing.and_then(|node| node.cookie.as_deref());
            cookie.is_some_and(|cookie| names::mark(cookie) == *mark)
        });
        let name = own.map_or_else(|| name.to_owned(), |(name, _)| name);
        Ok(Place { parent: self.sure_directory(&parent).await?, name: self.asking.backend.encoding.to_provider(&name) })
    }

    /// A node as the component knows it: with its cookie, where there are cookies.
    pub(super) async fn known(&self, node: &Node) -> Result<types::Node> {
        if !self.cookies || node.cookie.is_some() || node.path.is_root() {
            return match node.path.is_root() {
                true => self.directory(&node.path).await,
                false => Ok(self.wit_node(node)),
            };
        }
        let found = self.stat_found(&node.path).await?.ok_or_else(|| Error::not_found(&node.path))?;
        Ok(self.wit_node(&Node { cookie: found.entry.cookie, ..node.clone() }))
    }

    /// A node to be changed: where the way to it is old, it must still be where it was seen.
    pub(super) async fn sure(&self, node: &Node) -> Result<types::Node> {
        let parent = node.path.parent().unwrap_or_default();
        let old = self.is_old(&parent);
        // A tree is at hand to look in: the way there is as young as that.
        let kept = self.walked.is_none() && self.hold_against_provider(&parent).await?;
        if !kept {
            // Something else may lie there by now.
            let found = self.stat_found(&node.path).await?.ok_or_else(|| Error::not_found(&node.path))?;
            if node.cookie.is_some() && found.entry.cookie != node.cookie {
                return Err(Error::new(ErrorKind::PreconditionFailed, format!("{} is another one by now", node.path)));
            }
        }
        let known = self.known(node).await?;
        if kept && old && node.cookie.is_some() && !node.path.is_root() {
            let holder = self.directory(&parent).await?;
            let seen = self.refresh(&known).await?.ok_or_else(|| Error::not_found(&node.path))?;
            let elsewhere = holder.cookie.is_some() && seen.parent != holder.cookie;
            if elsewhere || seen.entry.notes.contains(Notes::TRASHED) {
                return Err(Error::not_found(&node.path));
            }
        }
        Ok(known)
    }

    pub(super) async fn sure_maybe(&self, node: Option<&Node>) -> Result<Option<types::Node>> {
        match node {
            Some(node) => self.sure(node).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits for work that goes on at the provider.
    pub(super) async fn finish(&self, mut outcome: Outcome) -> Result<Option<Entry>> {
        let began = std::time::Instant::now();
        loop {
            let job = match outcome {
                Outcome::Done(entry) => return Ok(entry),
                Outcome::Pending(job) => job,
            };
            if began.elapsed() > LONGEST_JOB {
                return Err(Error::new(
                    ErrorKind::Unavailable(None),
                    "the provider did not finish its work in ten minutes",
                ));
            }
            tokio::time::sleep(Duration::from_millis(job.after_ms.into()).max(SHORTEST_POLL)).await;
            let jobs = self.exported(&self.asking.component.jobs, "finish what it began")?;
            let ticket = job.ticket;
            outcome =
                self.outcome(ask!(self.asking, jobs, (ticket), |guest, store| guest.call_poll(store, &ticket)).1?)?;
        }
    }

    /// The entry that a change left at a place: what the component answered, or what a look tells.
    pub(super) async fn after(&self, outcome: Outcome, place: &Place, path: &Path) -> Result<Entry> {
        let done = self.finish(outcome).await?;
        if let Some(walked) = &self.walked {
            match &done {
                Some(entry) => walked.left(&place.parent, entry),
                None => walked.doubt(),
            }
        }
        match done {
            Some(entry) if !entry.notes.intersects(Notes::INEXACT_SIZE | Notes::INEXACT_MODIFIED) => Ok(entry),
            Some(entry) if self.cookies && entry.cookie.is_some() => {
                let node = self.wit_node(&Node::of(path.clone(), &entry));
                Ok(self.refresh(&node).await?.ok_or_else(|| Error::not_found(path))?.entry)
            }
            _ => {
                let found = self.stat_found(path).await?.ok_or_else(|| Error::not_found(path))?;
                Ok(Entry { name: found.own_name, ..found.entry })
            }
        }
    }

    /// Holds the name that came out against the one that was asked for; the entry as it is shown.
    pub(super) fn named(&self, entry: Entry, place: &Place, path: &Path) -> Named {
        let encoding = self.asking.backend.encoding;
        let asked = encoding.to_people(&place.name);
        let same =
            self.names.same(&entry.name, &asked) || self.names.same(&encoding.to_provider(&entry.name), &place.name);
        if same {
            let shown = path.name().filter(|name| self.unmarked(name).is_some()).map(str::to_owned);
            return Named::Fits(Entry { name: shown.unwrap_or_else(|| entry.name.clone()), ..entry });
        }
        if names::is_numbered(&entry.name, &asked) {
            return Named::Numbered(entry);
        }
        tracing::warn!(backend = %self.asking.backend.id, %asked, chosen = %entry.name, "the provider chose another name");
        Named::Fits(entry)
    }

    /// As `named`, and a numbered copy is removed again: what it was made of is still where it was.
    pub(super) async fn settled(&self, entry: Entry, place: &Place, path: &Path) -> Result<Entry> {
        let copy = match self.named(entry, place, path) {
            Named::Fits(entry) => return Ok(entry),
            Named::Numbered(copy) => copy,
        };
        let node = self.copy_of(path, &copy)?;
        let removed = match copy.kind {
            Kind::File => {
                let removing = self.exported(&self.asking.component.removing, "remove files")?;
                ask!(self.asking, removing, (node), |guest, store| guest.call_remove_file(store, &node)).1
            }
            Kind::Directory => {
                let directories = self.exported(&self.asking.component.directories, "remove directories")?;
                ask!(self.asking, directories, (node), |guest, store| guest.call_remove_directory(store, &node)).1
            }
        };
        match removed {
            Ok(outcome) => drop(self.finish(self.outcome(outcome)?).await?),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if let Some(walked) = &self.walked {
            walked.removed(&node);
        }
        Err(taken(path))
    }

    fn copy_of(&self, path: &Path, copy: &Entry) -> Result<types::Node> {
        let at = path.parent().unwrap_or_default().child(&copy.name);
        let at = at.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        Ok(self.wit_node(&Node::of(at, copy)))
    }

    pub(super) async fn removed_file(&self, file: &Node) -> Result<()> {
        let removing = self.exported(&self.asking.component.removing, "remove files")?;
        let _alone = self.alone(&[&file.path]).await;
        let node = self.sure(file).await?;
        let there = node.clone();
        let asking = self.looking_first(move |tree| tree.holds(&there));
        let removed = ask!(asking, removing, (node), |guest, store| guest.call_remove_file(store, &node));
        self.gone(removed, &file.path, &node).await
    }

    pub(super) async fn removed_directory(&self, directory: &Node) -> Result<()> {
        let directories = self.exported(&self.asking.component.directories, "remove directories")?;
        let _alone = self.alone(&[&directory.path]).await;
        let node = self.sure(directory).await?;
        let there = node.clone();
        let asking = self.looking_first(move |tree| tree.holds_empty(&there));
        let removed = ask!(asking, directories, (node), |guest, store| guest.call_remove_directory(store, &node));
        self.gone(removed, &directory.path, &node).await
    }

    pub(super) async fn purged(&self, directory: &Node) -> Result<()> {
        let purging = self.exported(&self.asking.component.purging, "remove a directory with all that is in it")?;
        let _alone = self.alone(&[&directory.path]).await;
        let node = self.sure(directory).await?;
        let there = node.clone();
        let asking = self.looking_first(move |tree| tree.holds(&there));
        let purged = ask!(asking, purging, (node), |guest, store| guest.call_purge(store, &node));
        self.gone(purged, &directory.path, &node).await
    }

    async fn gone(&self, answer: (u32, Result<types::Outcome>), path: &Path, node: &types::Node) -> Result<()> {
        match answer {
            // Gone, after a try whose answer was lost: that try did it.
            (tries, Err(Error { kind: ErrorKind::NotFound, .. })) if tries > 1 => {}
            (_, outcome) => drop(self.finish(self.outcome(outcome?)?).await?),
        }
        self.ways.forget(path);
        if let Some(walked) = &self.walked {
            walked.removed(node);
        }
        Ok(())
    }

    pub(super) async fn made_directory(&self, path: &Path) -> Result<Entry> {
        let directories = self.exported(&self.asking.component.directories, "make directories")?;
        let _alone = self.alone(&[path]).await;
        let place = self.place(path, None).await?;
        let (parent, name) = (place.parent.clone(), place.name.clone());
        let (holder, free) = (parent.clone(), path.name().unwrap_or_default().to_owned());
        let asking = self.looking_first(move |tree| tree.is_free(&holder, &free, &[]));
        let made =
            ask!(asking, directories, (parent, name), |guest, store| guest.call_make_directory(store, &parent, &name));
        let entry = match made {
            (tries, Err(Error { kind: ErrorKind::AlreadyExists, .. })) if tries > 1 => {
                return Ok(self.stat_found(path).await?.ok_or_else(|| Error::not_found(path))?.entry);
            }
            (_, outcome) => match self.finish(self.outcome(outcome?)?).await? {
                // Where directories do not exist by themselves there is nothing to look at.
                None if !self.features.can.contains(Can::EMPTY_DIRECTORIES) => {
                    Entry::directory(path.name().unwrap_or_default())
                }
                done => self.after(Outcome::Done(done), &place, path).await?,
            },
        };
        self.settled(entry, &place, path).await
    }

    pub(super) async fn moved(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let moving = self.exported(&self.asking.component.moving, "move files")?;
        let _alone = self.alone(&[&from.path, to]).await;
        let node = self.sure(from).await?;
        let (place, origin) = (self.place(to, replaces).await?, self.place(&from.path, Some(from)).await?);
        let replaces = self.sure_maybe(replaces).await?;
        let (parent, name) = (place.parent.clone(), place.name.clone());
        let moved = node.clone();
        let (there, holder, seen) = (node.clone(), parent.clone(), replaces.clone());
        let free = self.asking.backend.encoding.to_people(&name);
        let asking = self.looking_first(move |tree| {
            tree.holds(&there)?;
            tree.is_free(&holder, &free, &[Some(&there), seen.as_ref()])
        });
        let asked = ask!(asking, moving, (moved, parent, name, replaces), |guest, store| guest.call_move_to(
            store,
            &moved,
            &parent,
            &name,
            replaces.as_ref()
        ));
        let outcome = match asked {
            (tries, Err(error)) if tries > 1 && is_doubtful(&error) => {
                let entry = self.moved_before(from, to, replaces.as_ref()).await?.ok_or(error)?;
                self.ways.moved(&from.path, to, &entry.name);
                return Ok(entry);
            }
            (_, outcome) => outcome?,
        };
        if let Some(walked) = &self.walked {
            replaces.iter().for_each(|replaced| walked.removed(replaced));
            if !self.cookies {
                walked.removed(&node);
                walked.doubt();
            }
        }
        let entry = self.after(self.outcome(outcome)?, &place, to).await?;
        let copy = match self.named(entry, &place, to) {
            Named::Fits(entry) => {
                self.ways.moved(&from.path, to, &entry.name);
                return Ok(entry);
            }
            Named::Numbered(copy) => copy,
        };
        // It must not be removed: it is what was to be moved.
        self.ways.forget(&from.path);
        let back = self.copy_of(to, &copy)?;
        let (parent, name) = (origin.parent, origin.name);
        let undone = ask!(self.asking, moving, (back, parent, name), |guest, store| guest
            .call_move_to(store, &back, &parent, &name, None))
        .1;
        let undone = match undone {
            Ok(outcome) => self.finish(self.outcome(outcome)?).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Some(walked) = &self.walked {
            walked.doubt();
        }
        match undone {
            Ok(()) => Err(taken(to)),
            Err(error) => {
                let message = format!("{to} is taken, and the provider put it beside there as \"{}\"", copy.name);
                Err(Error::new(ErrorKind::AlreadyExists, message).with_detail(format!("{error:?}")))
            }
        }
    }

    pub(super) async fn copied(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let copying = self.exported(&self.asking.component.copying, "copy files")?;
        let _alone = self.alone(&[to]).await;
        let (node, place) = (self.sure(from).await?, self.place(to, replaces).await?);
        let replaces = self.sure_maybe(replaces).await?;
        let (parent, name) = (place.parent.clone(), place.name.clone());
        let (there, holder, seen) = (node.clone(), parent.clone(), replaces.clone());
        let free = self.asking.backend.encoding.to_people(&name);
        let asking = self.looking_first(move |tree| {
            tree.holds(&there)?;
            tree.is_free(&holder, &free, &[seen.as_ref()])
        });
        let asked = ask!(asking, copying, (node, parent, name, replaces), |guest, store| guest.call_copy_to(
            store,
            &node,
            &parent,
            &name,
            replaces.as_ref(),
            None
        ));
        let outcome = match asked {
            (tries, Err(error)) if tries > 1 && is_doubtful(&error) => {
                return self.copied_before(from, to).await?.ok_or(error);
            }
            (_, outcome) => outcome?,
        };
        if let Some(walked) = &self.walked {
            replaces.iter().for_each(|replaced| walked.removed(replaced));
            if from.kind == Kind::Directory {
                walked.doubt();
            }
        }
        let entry = self.after(self.outcome(outcome)?, &place, to).await?;
        match entry.kind {
            Kind::File => self.settled(entry, &place, to).await,
            // A copy of a whole directory is not taken away again.
            Kind::Directory => match self.named(entry, &place, to) {
                Named::Fits(entry) => Ok(entry),
                Named::Numbered(copy) => {
                    let message = format!("{to} is taken, and the provider made the copy \"{}\"", copy.name);
                    Err(Error::new(ErrorKind::AlreadyExists, message))
                }
            },
        }
    }

    /// What a try moved whose answer was lost: the source is gone, and something of its kind stands where it was to go that is not what
    /// stood there before.
    async fn moved_before(&self, from: &Node, to: &Path, replaced: Option<&types::Node>) -> Result<Option<Entry>> {
        if self.stat_found(&from.path).await?.is_some() {
            return Ok(None);
        }
        let there = self.stat_found(to).await?.map(|found| found.entry).filter(|entry| entry.kind == from.kind);
        let before = replaced.and_then(|replaced| replaced.version.as_deref());
        Ok(there.filter(|entry| before.is_none() || entry.version.as_ref().map(|version| version.0.as_str()) != before))
    }

    /// What a try copied whose answer was lost: it is as large as its source.
    async fn copied_before(&self, from: &Node, to: &Path) -> Result<Option<Entry>> {
        let Some(source) = self.stat_found(&from.path).await? else { return Ok(None) };
        let there = self.stat_found(to).await?.map(|found| found.entry);
        Ok(there.filter(|entry| entry.kind == source.entry.kind && entry.size == source.entry.size))
    }

    pub(super) async fn timed(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        let times = self.exported(&self.asking.component.times, "set modification times")?;
        let (known, modified) = (self.sure(node).await?, convert::wit_time(modified));
        let outcome = ask!(self.asking, times, (known, modified), |guest, store| guest
            .call_set_modified(store, &known, modified))
        .1?;
        let place = self.place(&node.path, Some(node)).await?;
        let entry = self.after(self.outcome(outcome)?, &place, &node.path).await?;
        Ok(Entry { name: node.path.name().map_or_else(|| entry.name.clone(), str::to_owned), ..entry })
    }

    pub(super) async fn cleaned(&self, directory: &Node) -> Result<()> {
        let cleaning = self.exported(&self.asking.component.cleaning, "clean up")?;
        let node = self.known(directory).await?;
        let cleaned = ask!(self.asking, cleaning, (node), |guest, store| guest.call_clean(store, &node)).1?;
        self.finish(self.outcome(cleaned)?).await.map(|_| ())
    }

    /// Whoever looks first asks so: where the host keeps the tree, a change is preceded by this look at it, with the news of that moment.
    fn looking_first(&self, look: impl Fn(&Walked) -> Result<()> + Send + Sync + 'static) -> Asking {
        let Some(walked) = self.walked.clone() else { return self.asking.clone() };
        let look = Arc::new(look);
        let before: Before = Arc::new(move || {
            let (walked, look) = (walked.clone(), look.clone());
            Box::pin(async move {
                walked.up_to_now().await?;
                look(&walked)
            })
        });
        Asking { before: Some(before), ..self.asking.clone() }
    }

    /// Waits until no other change runs in the directories that hold these paths.
    async fn alone(&self, paths: &[&Path]) -> Vec<tokio::sync::OwnedMutexGuard<()>> {
        self.locks.changing(paths.iter().filter_map(|path| path.parent()).collect()).await
    }
}

/// What came of a name.
pub(super) enum Named {
    Fits(Entry),
    Numbered(Entry),
}

/// Whether this may be what an earlier try did, told of as if it were someone else's.
fn is_doubtful(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::PreconditionFailed)
}

fn taken(path: &Path) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{path} exists already"))
}
