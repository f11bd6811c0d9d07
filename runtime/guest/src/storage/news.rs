//! What happened at a provider that is browsed, told by path. The component names things by cookie or by path; which path
//! a cookie had is remembered for what was seen, and asked of the provider for the directory of what is new.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use causeway_storage::{Change, Cursor, Entry, Error, ErrorKind, Kind, News, Node, Notes, Path, Result};
use lru::LruCache;

use super::GuestStorage;
use super::asking::ask;
use crate::bindings::causeway::provider::types;
use crate::bindings::exports::causeway::provider::changes::Change as WitChange;
use crate::convert;

/// Paths of cookies that are remembered, about 200 bytes each.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99_999);

/// Directories that one answer asks the provider for.
const ASKED: u32 = 64;

/// Changes that one answer of a component may hold.
const CHANGES: usize = 10_000;

/// Where cookies were last seen.
#[derive(Debug)]
pub(super) struct Places {
    /// Tells this object's cursors from those of others, which know nothing of what was seen here.
    mark: u64,
    seen: Mutex<(LruCache<String, Path>, bool)>,
}

impl Places {
    pub(super) fn new() -> Places {
        Places { mark: rand::random(), seen: Mutex::new((LruCache::new(MOST), false)) }
    }

    fn put(&self, cookie: &str, path: Path) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let pushed = seen.0.push(cookie.to_owned(), path);
        if pushed.is_some_and(|(forgotten, _)| forgotten != cookie) {
            seen.1 = true;
        }
    }

    fn get(&self, cookie: &str) -> Option<Path> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.get(cookie).cloned()
    }

    /// Whether something that was seen is no longer remembered.
    fn has_forgotten(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn remove(&self, cookie: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.pop(cookie);
    }
}

impl GuestStorage {
    /// Remembers where entries are, if anyone can ask later what became of them.
    pub(super) fn note(&self, directory: &Path, entries: &[Entry]) {
        if self.asking.component.changes.is_none() || !self.cookies || self.walked.is_some() {
            return;
        }
        for entry in entries {
            if let (Some(cookie), Ok(path)) = (&entry.cookie, directory.child(&entry.name)) {
                self.places.put(cookie, path);
            }
        }
    }

    /// Remembers what the root is called.
    pub(super) fn note_root(&self, cookie: Option<&str>) {
        if let Some(cookie) = cookie.filter(|_| self.asking.component.changes.is_some()) {
            self.places.put(cookie, Path::ROOT);
        }
    }

    /// What happened since a cursor.
    pub(super) async fn news(&self, cursor: Option<&Cursor>) -> Result<News> {
        if let Some(walked) = &self.walked {
            return walked.changes(cursor).await;
        }
        let indices = self.exported(&self.asking.component.changes, "tell what changed")?;
        let (ours, since) = match cursor {
            None => (true, None),
            Some(cursor) => {
                let (mark, since) = cursor
                    .0
                    .split_once(':')
                    .ok_or_else(|| Error::new(ErrorKind::Invalid, "this is no cursor of the news"))?;
                (mark == format!("{:x}", self.places.mark), Some(since.to_owned()))
            }
        };
        let news =
            ask!(self.asking, indices, (since), |guest, store| guest.call_changes_since(store, since.as_deref())).1?;
        if news.changes.len() > CHANGES {
            return Err(convert::fault("one answer tells more than 10,000 changes"));
        }
        let mut changes = Vec::new();
        if !ours {
            changes.push(Change::Everything);
        }
        if self.cookies && !news.changes.is_empty() {
            // So that it is known which directories lie in the root.
            self.directory(&Path::ROOT).await?;
        }
        let mut asked = ASKED;
        for change in news.changes {
            self.told(change, &mut changes, &mut asked).await?;
        }
        Ok(News { changes, cursor: Cursor(format!("{:x}:{}", self.places.mark, news.cursor)), more: news.more })
    }

    async fn told(&self, change: WitChange, changes: &mut Vec<Change>, asked: &mut u32) -> Result<()> {
        match change {
            WitChange::Updated(placed) => self.updated(placed, changes, asked).await?,
            WitChange::Removed(node) => {
                let path = self.path_of(&node)?;
                match path {
                    Some(path) => {
                        self.ways.forget(&path);
                        changes.push(Change::Removed(path));
                    }
                    // Never seen here, or seen and forgotten.
                    None if self.places.has_forgotten() => changes.push(Change::Everything),
                    None => {}
                }
                node.cookie.iter().for_each(|cookie| self.places.remove(cookie));
            }
            WitChange::Stale(node) => match self.path_of(&node)? {
                Some(path) => changes.push(Change::Stale(path)),
                None if self.places.has_forgotten() => changes.push(Change::Everything),
                None => {}
            },
            WitChange::Everything => {
                self.ways.forget(&Path::ROOT);
                changes.push(Change::Everything);
            }
        }
        Ok(())
    }

    async fn updated(&self, placed: types::Placed, changes: &mut Vec<Change>, asked: &mut u32) -> Result<()> {
        let types::Placed { entry, parent, path } = placed;
        let entry = self.entry(entry)?;
        let was = entry.cookie.as_deref().and_then(|cookie| self.places.get(cookie));
        let directory = match (parent, path) {
            _ if entry.notes.contains(Notes::TRASHED) => None,
            (Some(parent), _) if self.cookies => match self.place_of(parent, asked).await? {
                Place::At(path) => Some(path),
                Place::Nowhere => None,
                Place::Unknown => {
                    changes.push(Change::Everything);
                    return Ok(());
                }
            },
            (_, Some(path)) => Some(self.people_path(&path)?),
            (_, None) => None,
        };
        let is = directory.and_then(|directory| directory.child(&entry.name).ok());
        if let Some(was) = was.filter(|was| is.as_ref() != Some(was)) {
            self.ways.forget(&was);
            changes.push(Change::Removed(was));
        }
        let Some(path) = is else { return Ok(()) };
        if let (Some(parent), Some(_)) = (path.parent(), &entry.cookie) {
            self.note(&parent, std::slice::from_ref(&entry));
        }
        changes.push(Change::Updated { path, entry: Box::new(entry) });
        Ok(())
    }

    /// Where the directory of this cookie is: remembered, or asked for from directory to directory up to one that is.
    async fn place_of(&self, cookie: String, asked: &mut u32) -> Result<Place> {
        let mut below = Vec::new();
        let mut cookie = cookie;
        let mut path = loop {
            if let Some(path) = self.places.get(&cookie) {
                break path;
            }
            if *asked == 0 {
                return Ok(Place::Unknown);
            }
            *asked -= 1;
            let node = Node { cookie: Some(cookie.clone()), ..Node::root() };
            // Any path but that of the root, whose entry has no name.
            let node = types::Node { path: "?".into(), ..self.wit_node(&node) };
            let Some(seen) = self.refresh(&node).await? else { return Ok(Place::Nowhere) };
            if seen.entry.notes.contains(Notes::TRASHED) || seen.entry.kind != Kind::Directory {
                return Ok(Place::Nowhere);
            }
            match seen.parent {
                Some(parent) => below.push((std::mem::replace(&mut cookie, parent), seen.entry.name)),
                None => break Path::ROOT,
            }
        };
        while let Some((cookie, name)) = below.pop() {
            path = path.child(&name).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
            self.places.put(&cookie, path.clone());
        }
        Ok(Place::At(path))
    }

    fn path_of(&self, node: &types::Node) -> Result<Option<Path>> {
        match &node.cookie {
            Some(cookie) if self.cookies => Ok(self.places.get(cookie)),
            _ if node.path.is_empty() && self.cookies => Ok(None),
            _ => self.people_path(&node.path).map(Some),
        }
    }

    /// A provider's path as people see it.
    fn people_path(&self, path: &str) -> Result<Path> {
        let names: Vec<_> = path
            .split('/')
            .filter(|name| !name.is_empty())
            .map(|name| self.asking.backend.encoding.to_people(name))
            .collect();
        Path::parse(&names.join("/")).map_err(|_| convert::fault("news have a path that is none"))
    }
}

enum Place {
    At(Path),
    /// In the trash, or gone: nobody sees it.
    Nowhere,
    /// Too many had to be asked for.
    Unknown,
}
