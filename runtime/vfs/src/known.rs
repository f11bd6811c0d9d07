//! What is known of the provider's directories.
//!
//! It asks nobody. It keeps answers, each with the time at which it was *asked for*, and the changes that this volume
//! made at the provider since. An answer that was asked for before a change, or sooner after it than the storage promises
//! to have caught up, does not undo that change: [`Known::settle`] lays the recent changes over every answer. Old answers
//! are kept until they are pushed out, so that something can be shown while the provider is unreachable.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Entry, Kind, Notes, Path};
use lru::LruCache;
use tokio::time::Instant;

/// Single answers kept: about 16 MiB.
const FACTS: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();

/// Entries in complete listings kept, all directories together: about 32 MiB.
const LISTED: usize = 65_536;

/// The largest directory that is kept as a whole; a larger one is paged through anew by each reader.
pub(crate) const LARGEST_LISTING: usize = 10_000;

/// Changes remembered: more than can be made in the time of one listing with four uploads at a time.
const RECENT: usize = 4_096;

#[derive(Clone, Debug)]
struct Fact {
    entry: Option<Entry>,
    asked: Instant,
}

/// A complete listing.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Sorted by name.
    pub(crate) entries: Vec<Entry>,
    asked: Instant,
}

#[derive(Debug)]
struct Change {
    number: u64,
    at: Instant,
    path: Path,
    entry: Option<Entry>,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Known {
    facts: LruCache<Path, Fact>,
    listings: LruCache<Path, Arc<Listed>>,
    listed: usize,
    recent: VecDeque<Change>,
    number: u64,
    lag: Duration,
}

/// The moment in which a question was asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    number: u64,
    at: Instant,
}

/// What an answer is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// This is so.
    Known(Option<Entry>),
    /// Something above changed meanwhile: ask again.
    Again,
}

impl Known {
    pub(crate) fn new(lag: Duration) -> Known {
        let listings = LruCache::unbounded();
        Known { facts: LruCache::new(FACTS), listings, listed: 0, recent: VecDeque::new(), number: 0, lag }
    }

    /// Take this before asking.
    pub(crate) fn asking(&self) -> Asked {
        Asked { number: self.number, at: Instant::now() }
    }

    /// What is known of a path, if it was asked for less than `max_age` ago.
    pub(crate) fn get(&mut self, path: &Path, max_age: Duration) -> Option<Option<Entry>> {
        let fact = self.facts.get(path).filter(|fact| fact.asked.elapsed() <= max_age).cloned();
        let listed = path.parent().and_then(|parent| self.listing(&parent, max_age)).zip(path.name());
        let listed = listed.map(|(listing, name)| (listing.asked, listing.find(name).cloned()));
        match (fact, listed) {
            (Some(fact), Some((asked, entry))) => Some(if fact.asked >= asked { fact.entry } else { entry }),
            (Some(fact), None) => Some(fact.entry),
            (None, Some((_, entry))) => Some(entry),
            (None, None) => None,
        }
    }

    /// A complete listing that was asked for less than `max_age` ago.
    pub(crate) fn listing(&mut self, directory: &Path, max_age: Duration) -> Option<Arc<Listed>> {
        self.listings.get(directory).filter(|listing| listing.asked.elapsed() <= max_age).cloned()
    }

    /// Takes the answer to a question about one path.
    pub(crate) fn settle(&mut self, path: &Path, asked: Asked, answer: Option<Entry>) -> Settled {
        for change in self.recent.iter().rev().take_while(|change| self.is_newer(change, asked)) {
            if change.path == *path {
                return Settled::Known(change.entry.clone());
            }
            if path.is_within(&change.path) && change.number > asked.number {
                return Settled::Again;
            }
        }
        self.facts.put(path.clone(), Fact { entry: answer.clone(), asked: asked.at });
        Settled::Known(answer)
    }

    /// An entry of a listing, with the exact time of modification where one is known of the same version: some providers
    /// list another time than the one that they keep, and listing a directory must not change what its files show.
    pub(crate) fn refined(&self, path: &Path, mut entry: Entry) -> Entry {
        let known = self.facts.peek(path).and_then(|fact| fact.entry.as_ref());
        if let Some(known) = known.filter(|known| known.version.is_some() && known.version == entry.version)
            && entry.notes.contains(Notes::INEXACT_MODIFIED)
            && !known.notes.contains(Notes::INEXACT_MODIFIED)
        {
            entry.modified = known.modified;
            entry.notes.remove(Notes::INEXACT_MODIFIED);
        }
        entry
    }

    /// Lays over a page of a listing what changed since it was asked for: those entries must be looked up one by one.
    pub(crate) fn changed_names(&self, directory: &Path, asked: Asked) -> Vec<String> {
        let newer = self.recent.iter().rev().take_while(|change| self.is_newer(change, asked));
        let here = newer.filter(|change| change.path.parent().as_ref() == Some(directory));
        here.filter_map(|change| change.path.name().map(str::to_owned)).collect()
    }

    /// Takes a complete listing, unless something in it changed meanwhile.
    pub(crate) fn put_listing(&mut self, directory: &Path, asked: Asked, mut entries: Vec<Entry>) {
        let changed = self.recent.iter().rev().take_while(|change| self.is_newer(change, asked));
        if entries.len() > LARGEST_LISTING || changed.into_iter().any(|change| is_in_or_above(&change.path, directory))
        {
            return;
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        self.drop_listing(directory);
        self.listed += entries.len();
        self.listings.put(directory.clone(), Arc::new(Listed { entries, asked: asked.at }));
        while self.listed > LISTED {
            let Some((_, oldest)) = self.listings.pop_lru() else { break };
            self.listed -= oldest.entries.len();
        }
    }

    /// Takes a change that was made at the provider: from now on this stands at `path`, or nothing does any more; what
    /// came or went is of this kind.
    pub(crate) fn changed(&mut self, path: &Path, entry: Option<Entry>, kind: Kind) {
        self.number += 1;
        let at = Instant::now();
        if kind == Kind::Directory {
            self.forget_below(path);
        }
        if let Some((parent, name)) = path.parent().zip(path.name()) {
            self.patch(&parent, name, entry.as_ref());
        }
        self.facts.put(path.clone(), Fact { entry: entry.clone(), asked: at });
        self.recent.push_back(Change { number: self.number, at, path: path.clone(), entry });
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Forgets what is known of a path: it must be asked for.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.forget_below(path);
        if let Some(parent) = path.parent() {
            self.drop_listing(&parent);
        }
    }

    fn patch(&mut self, directory: &Path, name: &str, entry: Option<&Entry>) {
        let Some(listing) = self.listings.peek_mut(directory) else { return };
        let listing = Arc::make_mut(listing);
        let place = listing.entries.binary_search_by(|listed| listed.name.as_str().cmp(name));
        match (place, entry) {
            (Ok(index), None) => {
                listing.entries.remove(index);
                self.listed -= 1;
            }
            (Ok(index), Some(entry)) => listing.entries.splice(index..=index, [entry.clone()]).for_each(drop),
            (Err(index), Some(entry)) => {
                listing.entries.insert(index, entry.clone());
                self.listed += 1;
            }
            (Err(_), None) => {}
        }
    }

    fn forget_below(&mut self, directory: &Path) {
        let facts: Vec<Path> =
            self.facts.iter().map(|(path, _)| path).filter(|path| path.is_within(directory)).cloned().collect();
        facts.iter().for_each(|path| drop(self.facts.pop(path)));
        let listings: Vec<Path> =
            self.listings.iter().map(|(path, _)| path).filter(|path| path.is_within(directory)).cloned().collect();
        listings.iter().for_each(|path| self.drop_listing(path));
    }

    fn drop_listing(&mut self, directory: &Path) {
        if let Some(listing) = self.listings.pop(directory) {
            self.listed -= listing.entries.len();
        }
    }

    fn is_newer(&self, change: &Change, asked: Asked) -> bool {
        change.number > asked.number || change.at + self.lag > asked.at
    }
}

impl Listed {
    fn find(&self, name: &str) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|listed| listed.name.as_str().cmp(name)).ok()?;
        self.entries.get(index)
    }
}

fn is_in_or_above(changed: &Path, directory: &Path) -> bool {
    changed.parent().as_ref() == Some(directory) || directory.is_within(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_answer_from_before_a_change_does_not_undo_it() {
        let mut known = Known::new(Duration::ZERO);
        let asked = known.asking();
        known.changed(&path("a"), Some(Entry::file("a", 3)), Kind::File);
        assert_eq!(known.settle(&path("a"), asked, None), Settled::Known(Some(Entry::file("a", 3))));
        known.changed(&path("d"), None, Kind::Directory);
        assert_eq!(known.settle(&path("d/x"), asked, None), Settled::Again);
    }

    #[test]
    fn an_answer_within_the_lag_does_not_undo_a_change() {
        let mut known = Known::new(HOUR);
        known.changed(&path("a"), None, Kind::File);
        let asked = known.asking();
        assert_eq!(known.settle(&path("a"), asked, Some(Entry::file("a", 3))), Settled::Known(None));
    }

    #[test]
    fn a_listed_time_does_not_replace_an_exact_one_of_the_same_version() {
        let entry = |version: &str, seconds, notes| Entry {
            version: Some(causeway_storage::Version(version.into())),
            modified: Some(causeway_storage::Timestamp { seconds, nanoseconds: 0 }),
            notes,
            ..Entry::file("a", 1)
        };
        let mut known = Known::new(Duration::ZERO);
        known.changed(&path("a"), Some(entry("v1", 5, Notes::empty())), Kind::File);
        assert_eq!(known.refined(&path("a"), entry("v1", 9, Notes::INEXACT_MODIFIED)), entry("v1", 5, Notes::empty()));
        let other = entry("v2", 9, Notes::INEXACT_MODIFIED);
        assert_eq!(known.refined(&path("a"), other.clone()), other);
    }

    #[test]
    fn a_complete_listing_says_what_is_not_there() {
        let mut known = Known::new(Duration::ZERO);
        let asked = known.asking();
        known.put_listing(&path("d"), asked, vec![Entry::file("b", 1), Entry::file("a", 1)]);
        assert_eq!(known.get(&path("d/a"), HOUR), Some(Some(Entry::file("a", 1))));
        assert_eq!(known.get(&path("d/c"), HOUR), Some(None));
        known.changed(&path("d/c"), Some(Entry::file("c", 2)), Kind::File);
        assert_eq!(known.get(&path("d/c"), HOUR), Some(Some(Entry::file("c", 2))));
        known.changed(&path("d"), None, Kind::Directory);
        assert_eq!(known.get(&path("d/a"), HOUR), None);
    }
}
