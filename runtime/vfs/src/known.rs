//! What is known of the provider's directories.
//!
//! It asks nobody. It keeps answers, each with the time at which it was *asked for*, and the changes that this volume
//! made at the provider since, or that a feed told of. An answer that was asked for before a change, or sooner after one of
//! ours than the storage promises to have caught up, does not undo it: [`Known::settle`] lays the recent changes over every
//! answer. Old answers
//! are kept until they are pushed out, so that something can be shown while the provider is unreachable; what is known to
//! be outdated is kept as well, *in doubt*, for nothing but that.
//!
//! What changed and is to be written down (`remembered`) is noted here, and what was written before must not be read
//! back.

use std::collections::{HashSet, VecDeque};
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

/// What can be known, and written down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// What stands at a path, if anything.
    Fact(Path),
    /// All that is in a directory.
    Listing(Path),
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// When it was asked for.
    pub(crate) asked: Instant,
    /// It is known to be outdated, or may be.
    pub(crate) doubted: bool,
}

/// What stands at a path, if anything.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) entry: Option<Entry>,
    pub(crate) age: Age,
}

/// A complete listing.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Sorted by name.
    pub(crate) entries: Vec<Entry>,
    pub(crate) age: Age,
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
    /// Made here.
    recent: VecDeque<Change>,
    /// Told by a feed.
    heard: VecDeque<Change>,
    /// What was asked before this number may have been outdated when it came: all was doubted since, or too much was heard.
    doubt_before: u64,
    number: u64,
    lag: Duration,
    /// While a feed tells every change: what was asked for since then does not age.
    fed: Option<Instant>,
    /// What is to be written down, or deleted there if it is not known any more.
    unwritten: HashSet<Item>,
    /// Nothing that is written down at and below these counts any more.
    outdated: Vec<Path>,
    /// What is being written or deleted at this moment.
    voids: Vec<Arc<Void>>,
    /// Rises when anything may have changed: what was written down under another number is in doubt.
    epoch: u64,
}

/// What must not be read back, because the disk is behind.
#[derive(Debug, Default)]
pub(crate) struct Void {
    /// These.
    pub(crate) items: HashSet<Item>,
    /// All at and below these.
    pub(crate) within: Vec<Path>,
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

impl Item {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Item::Fact(path) | Item::Listing(path) => path,
        }
    }
}

impl Void {
    /// What a change of a path makes outdated: with `within`, all below it as well.
    pub(crate) fn of(path: &Path, within: bool) -> Void {
        let mut items: HashSet<Item> = [Item::Fact(path.clone())].into();
        items.extend(path.parent().map(Item::Listing));
        Void { items, within: if within { vec![path.clone()] } else { Vec::new() } }
    }

    fn covers(&self, item: &Item) -> bool {
        self.items.contains(item) || self.within.iter().any(|path| item.path().is_within(path))
    }
}

impl Age {
    fn of(asked: Instant) -> Age {
        Age { asked, doubted: false }
    }

    fn is_fresh(self, max_age: Duration, fed: Option<Instant>) -> bool {
        let told = !max_age.is_zero() && fed.is_some_and(|since| self.asked >= since);
        !self.doubted && (told || self.asked.elapsed() <= max_age)
    }
}

impl Known {
    pub(crate) fn new(lag: Duration) -> Known {
        Known {
            facts: LruCache::new(FACTS),
            listings: LruCache::unbounded(),
            listed: 0,
            recent: VecDeque::new(),
            heard: VecDeque::new(),
            doubt_before: 0,
            number: 0,
            lag,
            fed: None,
            unwritten: HashSet::new(),
            outdated: Vec::new(),
            voids: Vec::new(),
            epoch: 0,
        }
    }

    /// Take this before asking.
    pub(crate) fn asking(&self) -> Asked {
        Asked { number: self.number, at: Instant::now() }
    }

    /// A feed tells every change since then, or no feed does.
    pub(crate) fn feed(&mut self, since: Option<Instant>) {
        self.fed = since;
    }

    /// What is known of a path, if it is fresh: asked for less than `max_age` ago, or told of by a feed.
    pub(crate) fn get(&mut self, path: &Path, max_age: Duration) -> Option<Option<Entry>> {
        let fed = self.fed;
        self.newest(path, |age| age.is_fresh(max_age, fed)).map(|(entry, _)| entry)
    }

    /// What was known of a path last, however long ago.
    pub(crate) fn last(&mut self, path: &Path) -> Option<Option<Entry>> {
        self.newest(path, |_| true).map(|(entry, _)| entry)
    }

    /// For how long what is known of a path stays fresh; none if it is not. What a feed tells of has no end.
    pub(crate) fn fresh_for(&mut self, path: &Path, max_age: Duration) -> Option<Duration> {
        let fed = self.fed;
        let (_, age) = self.newest(path, |age| age.is_fresh(max_age, fed))?;
        let told = fed.is_some_and(|since| age.asked >= since);
        Some(if told { Duration::MAX } else { max_age.saturating_sub(age.asked.elapsed()) })
    }

    fn newest(&mut self, path: &Path, counts: impl Fn(Age) -> bool) -> Option<(Option<Entry>, Age)> {
        let fact = self.facts.get(path).filter(|fact| counts(fact.age));
        let listed = path.parent().zip(path.name()).and_then(|(parent, name)| {
            let listing = self.listings.get(&parent).filter(|listing| counts(listing.age))?;
            Some((listing, name))
        });
        match (fact, listed) {
            (Some(fact), Some((listing, _))) if fact.age.asked >= listing.age.asked => {
                Some((fact.entry.clone(), fact.age))
            }
            (_, Some((listing, name))) => Some((listing.find(name).cloned(), listing.age)),
            (fact, None) => fact.map(|fact| (fact.entry.clone(), fact.age)),
        }
    }

    /// A complete listing, if it is fresh.
    pub(crate) fn listing(&mut self, directory: &Path, max_age: Duration) -> Option<Arc<Listed>> {
        let fed = self.fed;
        self.listings.get(directory).filter(|listing| listing.age.is_fresh(max_age, fed)).cloned()
    }

    /// The last complete listing, however old. It counts as no use of it.
    pub(crate) fn last_listing(&self, directory: &Path) -> Option<&Arc<Listed>> {
        self.listings.peek(directory)
    }

    /// The single answer about a path, however old. It counts as no use of it.
    pub(crate) fn last_fact(&self, path: &Path) -> Option<&Fact> {
        self.facts.peek(path)
    }

    /// Whether the listing of the directory says the same as a single answer about a path in it.
    pub(crate) fn is_listed(&self, path: &Path, fact: &Fact) -> bool {
        let listing = path.parent().and_then(|parent| self.listings.peek(&parent)).zip(path.name());
        listing.is_some_and(|(listing, name)| !listing.age.doubted && is_same(listing.find(name), fact.entry.as_ref()))
    }

    /// Takes the answer to a question about one path.
    pub(crate) fn settle(&mut self, path: &Path, asked: Asked, answer: Option<Entry>) -> Settled {
        let concerns =
            |change: &&Change| change.path == *path || (path.is_within(&change.path) && change.number > asked.number);
        match self.newer(asked).filter(concerns).max_by_key(|change| change.number) {
            Some(change) if change.path == *path => return Settled::Known(change.entry.clone()),
            Some(_) => return Settled::Again,
            None => {}
        }
        if let Some((parent, name)) = path.parent().zip(path.name()) {
            let older = self.listings.peek(&parent).filter(|listing| listing.age.asked < asked.at);
            if older.is_some_and(|listing| !is_same(listing.find(name), answer.as_ref())) {
                self.patch(&parent, name, answer.as_ref());
            }
        }
        self.unwritten.insert(Item::Fact(path.clone()));
        self.facts.put(path.clone(), Fact { entry: answer.clone(), age: self.age(asked) });
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
        let here = self.newer(asked).filter(|change| change.path.parent().as_ref() == Some(directory));
        here.filter_map(|change| change.path.name().map(str::to_owned)).collect()
    }

    /// Takes a complete listing, unless something in it changed meanwhile.
    pub(crate) fn put_listing(&mut self, directory: &Path, asked: Asked, mut entries: Vec<Entry>) {
        if entries.len() > LARGEST_LISTING
            || self.newer(asked).any(|change| is_in_or_above(&change.path, directory))
            || (self.age(asked).doubted && self.listings.contains(directory))
        {
            return;
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        self.unwritten.insert(Item::Listing(directory.clone()));
        self.keep_listing(directory, Listed { entries, age: self.age(asked) });
    }

    fn age(&self, asked: Asked) -> Age {
        Age { doubted: asked.number < self.doubt_before, ..Age::of(asked.at) }
    }

    /// The changes that an answer may not show yet: of ours those, too, which the storage may not have caught up with.
    fn newer(&self, asked: Asked) -> impl Iterator<Item = &Change> {
        let heard = self.heard.iter().rev().take_while(move |change| change.number > asked.number);
        self.recent.iter().rev().take_while(move |change| self.is_newer(change, asked)).chain(heard)
    }

    fn keep_listing(&mut self, directory: &Path, listing: Listed) {
        self.drop_listing(directory);
        self.listed += listing.entries.len();
        self.listings.put(directory.clone(), Arc::new(listing));
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
            self.forget_within(path);
        }
        self.put_fact(path, entry.clone(), at);
        self.recent.push_back(Change { number: self.number, at, path: path.clone(), entry });
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    fn put_fact(&mut self, path: &Path, entry: Option<Entry>, at: Instant) {
        if let Some((parent, name)) = path.parent().zip(path.name()) {
            self.patch(&parent, name, entry.as_ref());
            // What was written of it is outdated even if it is not known here any more.
            self.unwritten.insert(Item::Listing(parent));
        }
        self.unwritten.insert(Item::Fact(path.clone()));
        self.facts.put(path.clone(), Fact { entry, age: Age::of(at) });
    }

    /// Takes what a feed, asked at that moment, tells of a path. What was changed here since is not undone by it.
    pub(crate) fn told(&mut self, path: &Path, asked: Asked, entry: Option<Entry>) -> Told {
        let mut newer = self.recent.iter().rev().take_while(|change| self.is_newer(change, asked));
        if newer.any(|change| path.is_within(&change.path)) {
            return Told::Nothing;
        }
        let last = self.newest(path, |_| true);
        if last.as_ref().is_some_and(|(_, age)| age.asked > asked.at && !age.doubted) {
            // Whoever asked meanwhile knows better.
            return Told::Nothing;
        }
        let directory = |entry: &Entry| entry.kind == Kind::Directory;
        // Nothing that was known of the inside of a directory is known of what is in its place.
        let below = match (&last, &entry) {
            (Some((Some(was), _)), Some(entry)) => directory(was) && (!directory(entry) || was.cookie != entry.cookie),
            (Some((was, _)), None) => was.as_ref().is_some_and(directory),
            (Some((None, _)), Some(entry)) => directory(entry),
            (None, entry) => entry.as_ref().is_none_or(directory),
        };
        let told = match &last {
            Some((last, _)) if is_same(last.as_ref(), entry.as_ref()) => Told::Nothing,
            _ if below => Told::Below,
            _ => Told::Entry,
        };
        if told == Told::Below {
            self.forget_within(path);
            self.outdated.push(path.clone());
        }
        self.put_fact(path, entry.clone(), asked.at);
        // Answers that are under way may be from before it.
        self.number += 1;
        self.heard.push_back(Change { number: self.number, at: asked.at, path: path.clone(), entry });
        if self.heard.len() > RECENT
            && let Some(oldest) = self.heard.pop_front()
        {
            self.doubt_before = self.doubt_before.max(oldest.number);
        }
        told
    }

    /// What is asked for at this moment may be answered with what is doubted from now on.
    fn doubt_answers(&mut self) {
        self.number += 1;
        self.doubt_before = self.number;
    }

    /// What lies in a directory may have changed, these on the disk as well.
    pub(crate) fn doubt_in(&mut self, directory: &Path, remembered: Vec<Item>) {
        self.doubt_answers();
        self.unwritten.extend(remembered);
        for (path, fact) in self.facts.iter_mut().filter(|(path, _)| path.parent().as_ref() == Some(directory)) {
            fact.age.doubted = true;
            self.unwritten.insert(Item::Fact(path.clone()));
        }
        self.doubt_listing(directory);
    }

    fn doubt_listing(&mut self, directory: &Path) {
        if let Some(listing) = self.listings.peek_mut(directory) {
            Arc::make_mut(listing).age.doubted = true;
            self.unwritten.insert(Item::Listing(directory.clone()));
        }
    }

    /// Whether a feed tells every change.
    pub(crate) fn is_fed(&self) -> bool {
        self.fed.is_some()
    }

    /// There is no such directory, said an answer that was asked for at that moment.
    pub(crate) fn gone(&mut self, directory: &Path, asked: Asked) {
        if self.settle(directory, asked, None) == Settled::Known(None) {
            self.forget_within(directory);
            self.outdated.push(directory.clone());
            self.put_fact(directory, None, asked.at);
        }
    }

    /// Nothing is known of what stands at a path but what its directory's listing says.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.forget_within(path);
        self.outdated.push(path.clone());
    }

    /// What stands at a path, and what is below it, must be asked for. It is still better than nothing.
    pub(crate) fn doubt(&mut self, path: &Path) {
        self.doubt_answers();
        self.outdated.push(path.clone());
        self.doubt_where(|known| known.is_within(path));
        if let Some(parent) = path.parent() {
            self.doubt_listing(&parent);
        }
    }

    /// Anything may have changed.
    pub(crate) fn doubt_everything(&mut self) {
        self.epoch += 1;
        self.doubt_answers();
        self.doubt_where(|_| true);
    }

    fn doubt_where(&mut self, meant: impl Fn(&Path) -> bool) {
        self.facts.iter_mut().filter(|(path, _)| meant(path)).for_each(|(_, fact)| fact.age.doubted = true);
        let listings = self.listings.iter_mut().filter(|(path, _)| meant(path));
        listings.for_each(|(_, listing)| Arc::make_mut(listing).age.doubted = true);
    }

    fn patch(&mut self, directory: &Path, name: &str, entry: Option<&Entry>) {
        let Some(listing) = self.listings.peek_mut(directory) else { return };
        self.unwritten.insert(Item::Listing(directory.clone()));
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

    /// Forgets all that is known at and below a path.
    fn forget_within(&mut self, path: &Path) {
        let facts: Vec<Path> =
            self.facts.iter().map(|(known, _)| known).filter(|known| known.is_within(path)).cloned().collect();
        facts.iter().for_each(|path| drop(self.facts.pop(path)));
        let listings: Vec<Path> =
            self.listings.iter().map(|(known, _)| known).filter(|known| known.is_within(path)).cloned().collect();
        listings.iter().for_each(|path| self.drop_listing(path));
    }

    /// A directory's listing is not known any more.
    pub(crate) fn drop_listing(&mut self, directory: &Path) {
        if let Some(listing) = self.listings.pop(directory) {
            self.listed -= listing.entries.len();
        }
    }

    fn is_newer(&self, change: &Change, asked: Asked) -> bool {
        change.number > asked.number || change.at + self.lag > asked.at
    }

    /// Whether anything is to be written down.
    pub(crate) fn is_unwritten(&self) -> bool {
        !self.unwritten.is_empty() || !self.outdated.is_empty()
    }

    /// What is to be written down, at most so much of it, and what is to be deleted before. None of it is read back until
    /// [`Known::written`].
    pub(crate) fn unwritten(&mut self, most: usize) -> Arc<Void> {
        let items: HashSet<Item> = self.unwritten.iter().take(most).cloned().collect();
        self.unwritten.retain(|item| !items.contains(item));
        let within = std::mem::take(&mut self.outdated);
        self.void(Void { items, within })
    }

    /// From now until [`Known::written`], the disk is behind in this.
    pub(crate) fn void(&mut self, void: Void) -> Arc<Void> {
        let void = Arc::new(void);
        self.voids.push(void.clone());
        void
    }

    /// The disk has caught up.
    pub(crate) fn written(&mut self, void: &Arc<Void>) {
        self.voids.retain(|other| !Arc::ptr_eq(other, void));
    }

    /// It could not be written down: it is tried again.
    pub(crate) fn not_written(&mut self, void: &Arc<Void>) {
        self.unwritten.extend(void.items.iter().cloned());
        self.outdated.extend(void.within.iter().cloned());
        self.written(void);
    }

    /// Whether what was to be written of an item, as it was at that moment, is still right.
    pub(crate) fn is_unchanged(&self, item: &Item, since: Asked, own: &Arc<Void>) -> bool {
        !self.is_behind(item, since, Some(own))
    }

    /// Whether the disk, as it was at that moment, is behind in an item.
    fn is_behind(&self, item: &Item, since: Asked, but: Option<&Arc<Void>>) -> bool {
        let counts = |void: &&Arc<Void>| but.is_none_or(|own| !Arc::ptr_eq(void, own));
        let changed = |change: &Change| match item {
            Item::Fact(path) => path.is_within(&change.path),
            Item::Listing(directory) => is_in_or_above(&change.path, directory),
        };
        self.unwritten.contains(item)
            || self.outdated.iter().any(|path| item.path().is_within(path))
            || self.voids.iter().filter(counts).any(|void| void.covers(item))
            || self.recent.iter().rev().take_while(|change| change.number > since.number).any(changed)
    }

    /// What is to be read back when a path is asked about: what is not in memory.
    pub(crate) fn lacks(&self, path: &Path) -> Vec<Item> {
        let fact = (!self.facts.contains(path)).then(|| Item::Fact(path.clone()));
        let listing = path.parent().filter(|parent| !self.listings.contains(parent)).map(Item::Listing);
        fact.into_iter().chain(listing).collect()
    }

    /// Takes a fact that was read back; reading began at that moment.
    pub(crate) fn recall_fact(&mut self, path: Path, began: Asked, fact: Fact) {
        if !self.facts.contains(&path) && !self.is_behind(&Item::Fact(path.clone()), began, None) {
            self.facts.put(path, fact);
        }
    }

    /// Takes a listing that was read back; reading began at that moment.
    pub(crate) fn recall_listing(&mut self, directory: Path, began: Asked, listing: Listed) {
        if !self.listings.contains(&directory) && !self.is_behind(&Item::Listing(directory.clone()), began, None) {
            self.keep_listing(&directory, listing);
        }
    }

    /// The number under which records are written that are not in doubt.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Goes on from the number of an earlier process.
    pub(crate) fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }
}

/// What a feed's word changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: it was known.
    Nothing,
    /// What stands at the path.
    Entry,
    /// That, and perhaps everything below.
    Below,
}

impl Listed {
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|listed| listed.name.as_str().cmp(name)).ok()?;
        self.entries.get(index)
    }
}

/// Whether two entries of one name look the same to who has the file system before them.
pub(crate) fn is_same(one: Option<&Entry>, other: Option<&Entry>) -> bool {
    let looks = |entry: &Entry| (entry.kind, entry.cookie.clone(), entry.size, entry.modified, entry.version.clone());
    one.map(looks) == other.map(looks)
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
    fn an_answer_from_before_a_feed_told_does_not_undo_it() {
        let mut known = Known::new(Duration::ZERO);
        let listed = known.asking();
        let polled = known.asking();
        known.told(&path("d/new"), polled, Some(Entry::file("new", 3)));
        known.told(&path("d/gone"), polled, None);
        // Page by page, begun before.
        assert_eq!(known.changed_names(&path("d"), listed), ["gone", "new"]);
        known.put_listing(&path("d"), listed, vec![Entry::file("gone", 1)]);
        assert!(known.last_listing(&path("d")).is_none());
        assert_eq!(known.settle(&path("d/new"), listed, None), Settled::Known(Some(Entry::file("new", 3))));
        assert_eq!(known.settle(&path("d/gone"), listed, Some(Entry::file("gone", 1))), Settled::Known(None));
        // What is told next is believed, however short the time between.
        let mut known = Known::new(HOUR);
        let polled = known.asking();
        known.told(&path("a"), polled, Some(Entry::file("a", 3)));
        let polled = known.asking();
        assert_eq!(known.told(&path("a"), polled, Some(Entry::file("a", 4))), Told::Entry);
        let asked = known.asking();
        assert_eq!(known.settle(&path("a"), asked, None), Settled::Known(None));
    }

    #[test]
    fn an_answer_that_was_under_way_when_all_was_doubted_is_in_doubt() {
        let mut known = Known::new(Duration::ZERO);
        let asked = known.asking();
        known.doubt_everything();
        assert_eq!(known.settle(&path("a"), asked, None), Settled::Known(None));
        known.put_listing(&path("d"), asked, vec![Entry::file("b", 1)]);
        assert_eq!((known.get(&path("a"), HOUR), known.get(&path("d/b"), HOUR)), (None, None));
        assert_eq!(known.last(&path("d/b")), Some(Some(Entry::file("b", 1))));
        let asked = known.asking();
        known.settle(&path("a"), asked, None);
        assert_eq!(known.get(&path("a"), HOUR), Some(None));
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
