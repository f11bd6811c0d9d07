//! The ways to directories where a provider names things by cookies: each path is walked name by name from the root, and
//! the way is remembered.
//!
//! What is remembered is not trusted for long. A change, or an answer that would let somebody create something, needs a way
//! of at most [`YOUNG`]: an older one is held against the provider by id (name, parent, not trashed), and walked anew if
//! anything differs, so that a change never lands in a directory that was moved away meanwhile. Reading makes do with
//! [`OLDEST`].

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_storage::{Error, ErrorKind, Kind, Node, Notes, Path, Result};
use lru::LruCache;

use super::GuestStorage;
use crate::bindings::causeway::provider::types;

/// Directories remembered per backend, a few hundred bytes each; those used least go first.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// A way this young may be changed below.
const YOUNG: Duration = Duration::from_secs(30);

/// A way older than this is walked anew even for reading.
const OLDEST: Duration = Duration::from_secs(300);

/// One directory on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) cookie: Option<String>,
    /// As the provider has it, which a duplicate's shown name is not.
    name: String,
    seen: Instant,
}

/// The directories of one backend by path.
#[derive(Debug)]
pub(super) struct Ways(Mutex<LruCache<Path, Way>>);

impl Ways {
    pub(super) fn new() -> Ways {
        Ways(Mutex::new(LruCache::new(MOST)))
    }

    fn put(&self, path: Path, cookie: Option<String>, name: String) {
        self.lock().put(path, Way { cookie, name, seen: Instant::now() });
    }

    /// From the root down to this path, as far as it is known and no older than this.
    fn known(&self, path: &Path, oldest: Duration) -> Vec<(Path, Way)> {
        let mut ways = self.lock();
        let mut known = Vec::new();
        for step in prefixes(path) {
            match ways.get(&step).filter(|way| way.seen.elapsed() <= oldest) {
                Some(way) => known.push((step, way.clone())),
                None => break,
            }
        }
        known
    }

    /// Forgets a directory and all below it.
    pub(super) fn forget(&self, path: &Path) {
        let mut ways = self.lock();
        let gone: Vec<Path> = ways.iter().map(|(at, _)| at).filter(|at| at.is_within(path)).cloned().collect();
        gone.iter().for_each(|at| drop(ways.pop(at)));
    }

    /// A directory was moved: what is known below it is known there from now on.
    pub(super) fn moved(&self, from: &Path, to: &Path, name: &str) {
        self.forget(to);
        let mut ways = self.lock();
        let moved: Vec<Path> = ways.iter().map(|(at, _)| at).filter(|at| at.is_within(from)).cloned().collect();
        for at in moved {
            let there = at.below(from).and_then(|below| to.join(&below).ok());
            if let (Some(mut way), Some(there)) = (ways.pop(&at), there) {
                if at == *from {
                    way.name = name.to_owned();
                }
                ways.put(there, way);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Path, Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every path from the root down to this one.
fn prefixes(path: &Path) -> Vec<Path> {
    let mut prefixes: Vec<Path> = std::iter::successors(Some(path.clone()), Path::parent).collect();
    prefixes.reverse();
    prefixes
}

impl GuestStorage {
    /// A directory to be read.
    pub(super) async fn directory(&self, path: &Path) -> Result<types::Node> {
        self.walk(path, OLDEST).await
    }

    /// A directory to be changed in: the way there is young, or has just been held against the provider.
    pub(super) async fn sure_directory(&self, path: &Path) -> Result<types::Node> {
        self.hold_against_provider(path).await?;
        self.walk(path, OLDEST).await
    }

    /// Whether a way is too old to be changed below.
    pub(super) fn is_old(&self, path: &Path) -> bool {
        self.remembers() && self.ways.known(path, YOUNG).len() <= path.names().count()
    }

    /// Where the whole tree is at hand, or paths are enough, there are no ways.
    fn remembers(&self) -> bool {
        self.cookies && self.walked.is_none()
    }

    async fn walk(&self, path: &Path, oldest: Duration) -> Result<types::Node> {
        if !self.cookies {
            return Ok(self.wit_node(&Node { path: path.clone(), ..Node::root() }));
        }
        let known = if self.remembers() { self.ways.known(path, oldest) } else { Vec::new() };
        let (mut at, cookie) = match known.into_iter().next_back() {
            Some((at, way)) => (at, way.cookie),
            None => {
                let root = self.wit_node(&Node::root());
                let root = self.refresh(&root).await?.ok_or_else(|| Error::not_found("the root"))?.entry;
                self.ways.put(Path::ROOT, root.cookie.clone(), String::new());
                self.note_root(root.cookie.as_deref());
                (Path::ROOT, root.cookie)
            }
        };
        let mut here = self.wit_node(&Node { path: at.clone(), cookie, ..Node::root() });
        let left = path.below(&at).unwrap_or_default();
        for name in left.names() {
            at = at.child(name).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
            let found = self.find(&here, name).await?.ok_or_else(|| Error::not_found(&at))?;
            if found.entry.kind != Kind::Directory {
                return Err(Error::new(ErrorKind::NotADirectory, format!("{at} is a file")));
            }
            self.ways.put(at.clone(), found.entry.cookie.clone(), found.own_name);
            here = self.wit_node(&Node::of(at.clone(), &found.entry));
        }
        Ok(here)
    }

    /// Asks by id whether the directories on an old way are still where they were, and forgets the way if not. Says
    /// whether it was still right.
    pub(super) async fn hold_against_provider(&self, path: &Path) -> Result<bool> {
        if !self.is_old(path) {
            return Ok(true);
        }
        let known = self.ways.known(path, OLDEST);
        let parents = std::iter::once(None).chain(known.iter().map(|(_, way)| way.cookie.clone()));
        let held = known.iter().zip(parents).filter(|((at, way), _)| way.seen.elapsed() > YOUNG && !at.is_root());
        let asked = held.map(|((at, way), parent)| async move { self.is_still(at, way, parent).await });
        let still: Vec<bool> = futures::future::try_join_all(asked).await?;
        if still.into_iter().all(|still| still) {
            for (at, way) in known {
                self.ways.put(at, way.cookie, way.name);
            }
            return Ok(true);
        }
        tracing::debug!(backend = %self.asking.backend.id, "a directory was moved or removed elsewhere");
        let first = prefixes(path).into_iter().nth(1).unwrap_or_default();
        self.ways.forget(&first);
        Ok(false)
    }

    async fn is_still(&self, at: &Path, way: &Way, parent: Option<String>) -> Result<bool> {
        let node = self.wit_node(&Node { path: at.clone(), cookie: way.cookie.clone(), ..Node::root() });
        let Some(seen) = self.refresh(&node).await? else { return Ok(false) };
        Ok(seen.entry.kind == Kind::Directory
            && !seen.entry.notes.contains(Notes::TRASHED)
            && self.names.same(&seen.entry.name, &way.name)
            && (parent.is_none() || seen.parent == parent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn put(ways: &Ways, at: &str) {
        ways.put(path(at), Some(format!("id of {at}")), path(at).name().unwrap_or_default().to_owned());
    }

    fn known(ways: &Ways, at: &str) -> Vec<String> {
        ways.known(&path(at), OLDEST).into_iter().filter_map(|(_, way)| way.cookie).collect()
    }

    #[test]
    fn a_way_is_known_as_far_as_it_goes_without_a_gap() {
        let ways = Ways::new();
        ["", "a", "a/b/c"].iter().for_each(|at| put(&ways, at));
        assert_eq!(known(&ways, "a/b/c"), ["id of ", "id of a"]);
        assert!(ways.known(&path("a"), Duration::ZERO).is_empty());
    }

    #[test]
    fn what_is_moved_is_known_where_it_is_and_what_was_there_is_not() {
        let ways = Ways::new();
        ["", "a", "a/b", "ab", "z", "z/old"].iter().for_each(|at| put(&ways, at));
        ways.moved(&path("a"), &path("z"), "z");
        assert_eq!(known(&ways, "z/b"), ["id of ", "id of a", "id of a/b"]);
        assert_eq!(known(&ways, "a"), ["id of "]);
        assert_eq!(known(&ways, "z/old"), ["id of ", "id of a"]);
        assert_eq!(known(&ways, "ab"), ["id of ", "id of ab"]);
        ways.forget(&path("z"));
        assert_eq!(known(&ways, "z/b"), ["id of "]);
    }
}
