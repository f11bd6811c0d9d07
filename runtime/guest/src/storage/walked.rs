//! The tree of a provider that is walked as a whole: kept for the backend, kept fresh, and looked up in instead of asking.
//!
//! The first question walks. From then on the news are asked for before an answer, when the last ones are older than a
//! second, or than `relist-ms` if that is longer; `everything`, and news that do not fit the tree, walk anew. Without
//! news the whole is walked again after [`REWALK`]. All of this runs once at a time, by itself: whoever waits may give up
//! and the walk goes on. A walk or news that fail are the answer's error and leave the tree as it was; there is never a
//! short one. What the host changed itself is put into the tree at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_storage::{Change, Cursor, Entry, Error, ErrorKind, Kind, News, Notes, Page, Result, Version};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::asking::{Asking, Tries, ask};
use super::looking::Seen;
use super::names::Names;
use super::tree::{At, ROOT, Tree};
use crate::backend::KnownTree;
use crate::bindings::causeway::provider::types;
use crate::bindings::exports::causeway::provider::changes::Change as WitChange;
use crate::bindings::exports::causeway::provider::walking;
use crate::convert;
use crate::sink::{PUSHED, Sink};

/// News are asked for no more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// A tree without news lives so long.
const REWALK: Duration = Duration::from_secs(300);

/// Rounds of news that one renewal takes while more is waiting.
const ROUNDS: u32 = 1_000;

/// Walks that one renewal makes.
const WALKS: u32 = 2;

/// Changes kept for those who ask what happened.
const TOLD: usize = 10_000;

/// Entries of one page.
const PAGE: usize = 5_000;

type Flight = Shared<BoxFuture<'static, Result<()>>>;

/// A tree and what keeps it fresh.
pub(super) struct Walked {
    asking: Asking,
    names: Names,
    cookies: bool,
    /// No answer comes from an older tree.
    interval: Duration,
    /// Tells this object's cursors from those of others.
    mark: u64,
    kept: Mutex<Kept>,
    flight: Mutex<Option<Flight>>,
}

struct Kept {
    tree: Tree,
    /// Absent before the first walk, or when all must be walked anew.
    walked: Option<Instant>,
    /// Where the news go on.
    cursor: Option<String>,
    /// When the tree was last known to be right.
    heard: Option<Instant>,
    told: VecDeque<Change>,
    /// How many changes were told before those.
    before: u64,
}

impl Walked {
    pub(super) fn new(asking: Asking, names: Names, cookies: bool, relist_ms: u32) -> Walked {
        let kept =
            Kept { tree: Tree::new(names), walked: None, cursor: None, heard: None, told: VecDeque::new(), before: 0 };
        Walked {
            asking,
            names,
            cookies,
            interval: SHORTEST.max(Duration::from_millis(relist_ms.into())),
            mark: rand::random(),
            kept: Mutex::new(kept),
            flight: Mutex::new(None),
        }
    }

    /// As `browsing.refresh`.
    pub(super) async fn refresh(self: &Arc<Self>, node: &types::Node) -> Result<Option<Seen>> {
        self.fresh().await?;
        let kept = self.kept();
        let tree = &kept.tree;
        let id = self.id(tree, node).filter(|id| tree.path(*id).is_some());
        let seen = |id| Some(Seen { entry: tree.entry(id)?, parent: self.parent_of(tree, id) });
        Ok(id.and_then(seen))
    }

    /// As `browsing.look-up`.
    pub(super) async fn look_up(self: &Arc<Self>, parent: &types::Node, name: &str) -> Result<Vec<Entry>> {
        self.fresh().await?;
        let kept = self.kept();
        let directory = self.directory(&kept.tree, parent)?;
        Ok(kept.tree.look_up(directory, name))
    }

    /// As `browsing.list-directory`.
    pub(super) async fn list(self: &Arc<Self>, directory: &types::Node, cursor: Option<&str>) -> Result<Page> {
        self.fresh().await?;
        let after = cursor
            .map(|cursor| cursor.parse().map_err(|_| Error::new(ErrorKind::Invalid, "this is no cursor of a list")));
        let after = after.transpose()?;
        let kept = self.kept();
        let directory = self.directory(&kept.tree, directory)?;
        let listed = kept.tree.list(directory, after, PAGE);
        let next = listed.last().filter(|_| listed.len() == PAGE).map(|(id, _)| Cursor(id.to_string()));
        Ok(Page { entries: listed.into_iter().map(|(_, entry)| entry).collect(), next })
    }

    /// What happened since a cursor of this object; anything may have, since one of another.
    pub(super) async fn changes(self: &Arc<Self>, cursor: Option<&Cursor>) -> Result<News> {
        self.fresh().await?;
        let kept = self.kept();
        let now = kept.before + kept.told.len() as u64;
        let here = Cursor(format!("{:x}:{now}", self.mark));
        let Some(cursor) = cursor else { return Ok(News { changes: Vec::new(), cursor: here, more: false }) };
        let since = cursor.0.strip_prefix(&format!("{:x}:", self.mark)).and_then(|since| since.parse::<u64>().ok());
        let changes = match since.filter(|since| *since >= kept.before && *since <= now) {
            Some(since) => kept.told.iter().skip((since - kept.before) as usize).cloned().collect(),
            None => vec![Change::Everything],
        };
        Ok(News { changes, cursor: here, more: false })
    }

    /// A node is still there, and shown.
    pub(super) fn holds(&self, node: &types::Node) -> Result<()> {
        let kept = self.kept();
        let found = self.id(&kept.tree, node).filter(|id| kept.tree.path(*id).is_some());
        found.map(|_| ()).ok_or_else(|| Error::not_found("what was to be changed"))
    }

    /// A directory is still there, and nothing is in it.
    pub(super) fn holds_empty(&self, node: &types::Node) -> Result<()> {
        let kept = self.kept();
        let id = self.id(&kept.tree, node).filter(|id| kept.tree.path(*id).is_some());
        let id = id.ok_or_else(|| Error::not_found("the directory"))?;
        match kept.tree.list(id, None, 1).is_empty() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the directory")),
        }
    }

    /// A directory is there and holds nothing of this name but these.
    pub(super) fn is_free(&self, parent: &types::Node, name: &str, but: &[Option<&types::Node>]) -> Result<()> {
        let kept = self.kept();
        let directory = self.directory(&kept.tree, parent)?;
        let mut found = kept.tree.look_up(directory, name).into_iter();
        let but: Vec<u32> = but.iter().flatten().filter_map(|node| self.id(&kept.tree, node)).collect();
        let but = |entry: &Entry| {
            let key = self.key(&parent.path, &self.asking.backend.encoding.to_provider(&entry.name), entry);
            key.ok().and_then(|key| kept.tree.find(&key)).is_some_and(|id| but.contains(&id))
        };
        match found.find(|entry| !but(entry)) {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::AlreadyExists, "there is already something of this name")),
        }
    }

    /// A change of ours left this entry in this directory.
    pub(super) fn left(&self, parent: &types::Node, entry: &Entry) {
        let mut kept = self.kept();
        let known = entry.cookie.as_deref().and_then(|cookie| kept.tree.known(kept.tree.find(cookie)?));
        let version = known.and_then(|(known, _)| known.version);
        let entry = &Entry { version: entry.version.clone().or(version), ..entry.clone() };
        if entry.version.is_none() {
            // That of a directory is told to nobody but the tree, by the news.
            kept.heard = None;
        }
        if kept.walked.is_none() {
            return;
        }
        let put = self.id(&kept.tree, parent).ok_or_else(|| Error::not_found("the directory")).and_then(|directory| {
            let key = self.key(&parent.path, &self.asking.backend.encoding.to_provider(&entry.name), entry)?;
            let at = match kept.tree.key(directory) {
                Some(parent) if directory != ROOT => At::Below(parent.to_owned()),
                _ => At::InRoot,
            };
            kept.tree.put(&key, at, entry.clone())
        });
        if put.is_err() {
            kept.heard = None;
        }
    }

    /// A change of ours removed this.
    pub(super) fn removed(&self, node: &types::Node) {
        let mut kept = self.kept();
        if let Some(key) = self.id(&kept.tree, node).and_then(|id| kept.tree.key(id)).map(str::to_owned) {
            kept.tree.remove(&key);
        }
    }

    /// A change of ours left something that only the provider can tell: the news come before the next answer.
    pub(super) fn doubt(&self) {
        let mut kept = self.kept();
        kept.heard = None;
        if !self.cookies {
            // The paths of all that lies below are other ones, and the news need not name each.
            kept.walked = None;
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, tree: &Tree, node: &types::Node) -> Option<u32> {
        match &node.cookie {
            Some(cookie) if self.cookies => tree.find(cookie),
            _ if node.path.is_empty() => Some(ROOT),
            _ if self.cookies => None,
            _ => tree.find(&node.path),
        }
    }

    fn directory(&self, tree: &Tree, node: &types::Node) -> Result<u32> {
        let id = self.id(tree, node).filter(|id| tree.path(*id).is_some());
        let id = id.ok_or_else(|| Error::not_found("the directory"))?;
        match tree.entry(id) {
            Some(entry) if entry.kind == Kind::Directory => Ok(id),
            _ => Err(Error::new(ErrorKind::NotADirectory, "a file holds nothing")),
        }
    }

    fn parent_of(&self, tree: &Tree, id: u32) -> Option<String> {
        let key = tree.key(tree.parent(id)?)?;
        (self.cookies && !key.is_empty()).then(|| key.to_owned())
    }

    fn key(&self, parent_path: &str, spelled: &str, entry: &Entry) -> Result<String> {
        match &entry.cookie {
            Some(cookie) if self.cookies && !cookie.is_empty() => Ok(cookie.clone()),
            _ if self.cookies => Err(convert::fault("an entry without a cookie, of a provider that has cookies")),
            _ if parent_path.is_empty() => Ok(spelled.to_owned()),
            _ => Ok(format!("{parent_path}/{spelled}")),
        }
    }

    /// An entry as the component says where it lies: the key, the place, and the entry as people see it.
    fn placed(&self, placed: types::Placed) -> Result<(String, At, Entry)> {
        let types::Placed { entry, parent, path } = placed;
        let (spelled, encoding) = (entry.name.clone(), self.asking.backend.encoding);
        let at = match (parent, path) {
            (None, None) => {
                let root = convert::root(entry, encoding)?;
                return Ok((root.cookie.clone().filter(|_| self.cookies).unwrap_or_default(), At::Root, root));
            }
            (Some(parent), _) if self.cookies => At::Below(parent),
            (_, Some(path)) if path.is_empty() => At::InRoot,
            (_, Some(path)) if !self.cookies => At::Below(path),
            _ => return Err(convert::fault("an entry does not say in which directory it lies")),
        };
        let version = entry.version.clone().map(Version);
        let entry = convert::entry(entry, encoding)?;
        let entry = Entry { version: entry.version.or(version), ..entry };
        let parent_path = match &at {
            At::Below(path) => path.as_str(),
            At::Root | At::InRoot => "",
        };
        Ok((self.key(parent_path, &spelled, &entry)?, at, entry))
    }

    /// Makes the tree as fresh as an answer needs it.
    async fn fresh(self: &Arc<Self>) -> Result<()> {
        if self.kept().heard.is_some_and(|heard| heard.elapsed() < self.interval) {
            return Ok(());
        }
        self.join().await
    }

    /// Makes the tree show all that happened before now: what comes before a change.
    pub(super) async fn up_to_now(self: &Arc<Self>) -> Result<()> {
        let now = Instant::now();
        // A renewal that is under way may have asked before now; the one after it has not.
        for _ in 0..2 {
            self.join().await?;
            if self.kept().heard.is_some_and(|heard| heard >= now) {
                break;
            }
        }
        Ok(())
    }

    /// Renews, or waits for the renewal that is under way.
    async fn join(self: &Arc<Self>) -> Result<()> {
        let flight = {
            let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
            match flight.as_ref().filter(|flight| flight.peek().is_none()) {
                Some(flight) => flight.clone(),
                None => {
                    let walked = self.clone();
                    // A task of its own: it ends its work whoever gives up waiting.
                    let task = tokio::spawn(async move { walked.renew().await });
                    let new = async move { task.await.map_err(Error::internal)? }.boxed().shared();
                    *flight = Some(new.clone());
                    new
                }
            }
        };
        flight.await
    }

    async fn renew(&self) -> Result<()> {
        for _ in 0..WALKS {
            let began = Instant::now();
            let (walked, cursor) = {
                let kept = self.kept();
                (kept.walked, kept.cursor.clone())
            };
            let old = match walked {
                None => true,
                Some(walked) => cursor.is_none() && walked.elapsed() > REWALK.max(self.interval),
            };
            if old {
                self.walk().await?;
            }
            if self.hear().await? {
                self.kept().heard = Some(began);
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Unavailable(None), "the account changes faster than it can be walked"))
    }

    async fn walk(&self) -> Result<()> {
        let Some(indices) = self.asking.component.walking.clone() else { return Err(Error::unsupported("be walked")) };
        let gathered = Arc::new(Mutex::new((Tree::new(self.names), None::<Error>)));
        let mut tries = Tries::new();
        let walked = loop {
            *gathered.lock().unwrap_or_else(PoisonError::into_inner) = (Tree::new(self.names), None);
            let walked = match tries.ready(&self.asking).await {
                Ok(()) => self.walk_into(indices.clone(), gathered.clone()).await,
                Err(error) => Err(error),
            };
            match walked {
                Ok(cursor) => break Ok(cursor),
                Err(error) => {
                    if let Err(error) = tries.again(&self.asking, error).await {
                        break Err(error);
                    }
                }
            }
        };
        let (tree, failed) = {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::replace(&mut gathered.0, Tree::new(self.names)), gathered.1.take())
        };
        if let Some(failed) = failed {
            return Err(failed);
        }
        let cursor = walked?;
        tracing::info!(backend = %self.asking.backend.id, entries = tree.len(), "an account was walked");
        let mut kept = self.kept();
        let first = kept.walked.is_none() && kept.told.is_empty() && kept.before == 0;
        kept.tree = tree;
        kept.cursor = cursor;
        kept.walked = Some(Instant::now());
        if !first {
            kept.tell(Change::Everything);
        }
        Ok(())
    }

    async fn walk_into(
        &self,
        indices: walking::GuestIndices,
        into: Arc<Mutex<(Tree, Option<Error>)>>,
    ) -> Result<Option<String>> {
        let root = types::Node { kind: types::Kind::Directory, path: String::new(), cookie: None, version: None };
        let placing = self.placing();
        let walk = self.asking.component.call_walk(self.asking.backend.clone(), move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, instance)?;
                let sink = Sink::new(move |entries| {
                    let mut gathered = into.lock().unwrap_or_else(PoisonError::into_inner);
                    let (tree, failed) = &mut *gathered;
                    let put = |placed| placing.placed(placed).and_then(|(key, at, entry)| tree.put(&key, at, entry));
                    let taken = failed.clone().map_or(Ok(()), Err).and_then(|()| entries.into_iter().try_for_each(put));
                    // A component that goes on regardless does not make a short tree a whole one.
                    *failed = taken.clone().err();
                    taken
                });
                let owned = store.data_mut().table.push(sink)?;
                let sink = wasmtime::component::Resource::<Sink>::new_borrow(owned.rep());
                guest.call_walk(store, &root, sink).await
            })
        });
        walk.await?.map_err(convert::error)
    }

    /// A copy that a sink can hold, without the tree.
    fn placing(&self) -> Walked {
        Walked::new(self.asking.clone(), self.names, self.cookies, 0)
    }

    /// Takes the news; false if all must be walked anew.
    async fn hear(&self) -> Result<bool> {
        let Some(indices) = &self.asking.component.changes else { return Ok(true) };
        for _ in 0..ROUNDS {
            let Some(cursor) = self.kept().cursor.clone() else { return Ok(true) };
            let since = Some(cursor);
            let news = ask!(self.asking, indices, (since), |guest, store| guest
                .call_changes_since(store, since.as_deref()))
            .1?;
            let mut kept = self.kept();
            for change in news.changes {
                if let Err(error) = self.apply(&mut kept, change) {
                    tracing::info!(backend = %self.asking.backend.id, ?error, "the account is walked anew");
                    kept.walked = None;
                    return Ok(false);
                }
            }
            kept.cursor = Some(news.cursor);
            if !news.more {
                return Ok(true);
            }
        }
        Err(Error::new(ErrorKind::Unavailable(None), "the provider's news do not come to an end"))
    }

    /// Fails where only a walk can tell.
    fn apply(&self, kept: &mut Kept, change: WitChange) -> Result<()> {
        match change {
            WitChange::Updated(placed) => {
                let (key, at, entry) = self.placed(placed)?;
                let was = kept.tree.find(&key).and_then(|id| kept.tree.path(id));
                if entry.notes.contains(Notes::TRASHED) {
                    kept.tree.remove(&key);
                } else {
                    kept.tree.put(&key, at, entry)?;
                }
                let is = kept.tree.find(&key).and_then(|id| Some((kept.tree.path(id)?, kept.tree.entry(id)?)));
                if let Some(was) = was.filter(|was| is.as_ref().is_none_or(|(is, _)| is != was)) {
                    kept.tell(Change::Removed(was));
                }
                if let Some((path, entry)) = is {
                    kept.tell(Change::Updated { path, entry: Box::new(entry) });
                }
            }
            WitChange::Removed(node) => {
                let id = self.id(&kept.tree, &node).filter(|id| *id != ROOT);
                let Some(key) = id.and_then(|id| kept.tree.key(id)).map(str::to_owned) else { return Ok(()) };
                if let Some(path) = id.and_then(|id| kept.tree.path(id)) {
                    kept.tell(Change::Removed(path));
                }
                kept.tree.remove(&key);
            }
            WitChange::Stale(_) | WitChange::Everything => {
                return Err(Error::new(ErrorKind::Unavailable(None), "anything may have changed"));
            }
        }
        Ok(())
    }
}

impl KnownTree for Walked {
    fn known(&self, cookie: &str) -> Option<types::Placed> {
        let kept = self.kept();
        self.shown(&kept.tree, kept.tree.find(cookie)?)
    }

    fn below(&self, cookie: &str, after: Option<&str>) -> Vec<types::Placed> {
        let kept = self.kept();
        let after = after.and_then(|after| kept.tree.find(after));
        let found = kept.tree.below(cookie, after, PUSHED);
        found.into_iter().filter_map(|id| self.shown(&kept.tree, id)).collect()
    }
}

impl Walked {
    /// An entry as its component sees it.
    fn shown(&self, tree: &Tree, id: u32) -> Option<types::Placed> {
        let (entry, parent) = tree.known(id)?;
        let entry = convert::wit_entry(entry, self.asking.backend.encoding);
        Some(types::Placed { entry, parent: parent.map(str::to_owned), path: None })
    }
}

impl Kept {
    fn tell(&mut self, change: Change) {
        self.told.push_back(change);
        while self.told.len() > TOLD {
            self.told.pop_front();
            self.before += 1;
        }
    }
}

impl std::fmt::Debug for Walked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Walked({} entries)", self.kept().tree.len())
    }
}
