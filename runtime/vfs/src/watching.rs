//! Learning what others change at the provider, while a mount shows it.
//!
//! Where the provider has a feed of changes, that is asked every few seconds, from where an earlier process left off: what it
//! tells is laid over what is known, which then does not age, and mounts hear of it. Where there is none, or while it fails,
//! directories that are open or were looked at lately are listed again shortly before what is known of them gets old: the
//! one used last first, one request a second, compared with what was known, and mounts hear of the entries that differ. It
//! asks nothing while the storage cannot be reached, while nobody listens, or about what nobody looks at.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use causeway_cache::Action;
use causeway_storage::{Can, Change, Entry, ErrorKind, Kind, Path};
use lru::LruCache;
use tokio::time::Instant;

use crate::file::blocking;
use crate::known::{Asked, Listed, Told, is_same};
use crate::remembered::Place;
use crate::stale::Stale;
use crate::volume::Volume;

/// How often a feed is asked: what others change shows by then, and a request of a few hundred bytes every ten seconds is far
/// below what any provider allows an account.
const FEED: Duration = Duration::from_secs(10);

/// An answer of a feed that is not there by then has failed: one may stand for many changes.
const FEED_ANSWER: Duration = Duration::from_secs(60);

/// A feed that refuses, other than for a while, is asked again after so long.
const FEED_REFUSED: Duration = Duration::from_secs(60);

/// Requests of this kind are made one in so long, per backend.
const PACE: Duration = Duration::from_secs(1);

/// A directory whose listing could not be taken is not listed again for so long.
const LISTED_IN_VAIN: Duration = Duration::from_secs(5);

/// It is looked at least so often whether something is to be done: mounts may be changed meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Directories that are kept fresh: one a second for longer than what is known of the first counts as fresh by default.
const DIRECTORIES: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// More entries of one directory are not told one by one.
const DIFFERENCES: usize = 1000;

/// Changes of whole directories in one answer of a feed that are told one by one: each goes through all that is known.
const WIDE: usize = 64;

/// Directories that mounts look at, the last one first.
#[derive(Debug)]
pub(crate) struct LookedAt(LruCache<Path, Look>);

#[derive(Debug)]
struct Look {
    at: Instant,
    /// When it was listed again last.
    tried: Option<Instant>,
    open: Weak<()>,
}

impl LookedAt {
    pub(crate) fn new() -> LookedAt {
        LookedAt(LruCache::new(DIRECTORIES))
    }

    /// Somebody looked.
    pub(crate) fn note(&mut self, directory: &Path) {
        let now = Instant::now();
        match self.0.get_mut(directory) {
            Some(look) => look.at = now,
            None => drop(self.0.put(directory.clone(), Look { at: now, tried: None, open: Weak::new() })),
        }
    }

    /// Somebody looks for as long as the answer is held.
    pub(crate) fn open(&mut self, directory: &Path) -> Arc<()> {
        self.note(directory);
        let Some(look) = self.0.peek_mut(directory) else { return Arc::default() };
        look.open.upgrade().unwrap_or_else(|| {
            let open = Arc::default();
            look.open = Arc::downgrade(&open);
            open
        })
    }
}

/// Where a feed is.
enum Feed {
    /// There is one, to be asked at that moment.
    Due(Instant),
    /// There is none.
    None,
}

/// Learns what others change until it is aborted.
pub(crate) async fn run(volume: Arc<Volume>) {
    let mut feed = if volume.features.can.contains(Can::CHANGES) { Feed::Due(Instant::now()) } else { Feed::None };
    let mut open = volume.circuit.watch();
    loop {
        if !volume.announcer.is_heard() {
            volume.state().known.feed(None);
            volume.heard.notified().await;
            continue;
        }
        if *open.borrow_and_update() {
            volume.state().known.feed(None);
            // A circuit lives as long as its volume.
            let _ = open.changed().await;
            continue;
        }
        let mut rest = LONGEST_REST;
        if let Feed::Due(at) = feed {
            if at <= Instant::now() {
                feed = volume.ask_feed().await;
            }
            if let Feed::Due(at) = feed {
                rest = rest.min(at.saturating_duration_since(Instant::now()));
            }
        }
        if !volume.state().known.is_fed() {
            rest = rest.min(volume.list_again().await);
        }
        tokio::time::sleep(rest).await;
    }
}

impl Volume {
    async fn ask_feed(&self) -> Feed {
        loop {
            let place = self.place();
            let asked = self.state().known.asking();
            let asking = self.storage.changes(place.as_ref().map(|place| &place.cursor));
            let news = match tokio::time::timeout(FEED_ANSWER, asking).await {
                Ok(Ok(news)) => news,
                Ok(Err(error)) => return self.feed_failed(error, place.is_some()),
                Err(_) => {
                    self.state().known.feed(None);
                    return Feed::Due(Instant::now() + FEED);
                }
            };
            self.apply(news.changes, asked).await;
            // What was asked for before the first answer of a feed may have changed before its first cursor.
            let since = place.map_or_else(Instant::now, |place| place.since);
            self.set_place(Some(Place { cursor: news.cursor, since }));
            if !news.more {
                self.state().known.feed(Some(since));
                let often = self.freshness().filter(|fresh| !fresh.is_zero()).unwrap_or(FEED);
                return Feed::Due(Instant::now() + FEED.min(often.max(PACE)));
            }
        }
    }

    fn feed_failed(&self, error: causeway_storage::Error, had_cursor: bool) -> Feed {
        self.state().known.feed(None);
        match error.kind {
            ErrorKind::Unsupported => Feed::None,
            ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::PreconditionFailed if had_cursor => {
                // It no longer knows what happened since.
                tracing::info!(?error, "the provider's feed of changes begins anew");
                self.set_place(None);
                self.everything_changed();
                Feed::Due(Instant::now() + PACE)
            }
            _ => {
                tracing::warn!(?error, "the provider's feed of changes cannot be asked");
                Feed::Due(Instant::now() + if error.is_passing() { FEED } else { FEED_REFUSED })
            }
        }
    }

    fn everything_changed(&self) {
        self.learn_of(|known| known.doubt_everything());
        self.announce(Stale::Below(Path::ROOT));
    }

    /// Lays what a feed, asked at that moment, tells over what is known.
    async fn apply(&self, changes: Vec<Change>, asked: Asked) {
        let mut wide = 0;
        for change in changes {
            let (path, entry) = match change {
                Change::Everything => {
                    self.everything_changed();
                    continue;
                }
                Change::Stale(directory) => {
                    self.doubt_in(&directory).await;
                    self.announce_at(&directory, true);
                    continue;
                }
                Change::Updated { path, entry } => (path, Some(*entry)),
                Change::Removed(path) => (path, None),
            };
            self.recall(&path).await;
            let told = self.learn_of(|known| known.told(&path, asked, entry));
            wide += usize::from(told == Told::Below);
            if wide > WIDE {
                self.everything_changed();
                wide = 0;
            }
            if told != Told::Nothing {
                self.announce_at(&path, told == Told::Below);
            }
        }
    }

    /// Something in a directory changed.
    async fn doubt_in(&self, directory: &Path) {
        self.recall_listing(directory).await;
        let (scope, at) = (self.scope.clone(), directory.clone());
        let remembered = blocking(move || Ok(crate::remembered::facts_in(&scope, &at)?)).await.unwrap_or_default();
        self.learn_of(|known| known.doubt_in(directory, remembered));
    }

    /// Announces a change at the provider under the paths at which it shows: a rename that waits shows it elsewhere.
    fn announce_at(&self, remote: &Path, below: bool) {
        let mut paths = vec![remote.clone()];
        self.journal().read(|intents, _| {
            for intent in intents.values() {
                let Action::Rename { from, to, .. } = &intent.action else { continue };
                let moved = paths.last().and_then(|path| path.moved(&from.path, to));
                paths.extend(moved);
            }
        });
        for path in paths {
            self.announce(if below { Stale::Below(path) } else { Stale::Entry(path) });
        }
    }

    /// Lists the directory again that is due and was used last, if any, and says when to look for the next one.
    async fn list_again(&self) -> Duration {
        let Some(fresh) = self.freshness().filter(|fresh| !fresh.is_zero()) else { return LONGEST_REST };
        let (directory, before) = match self.due(fresh) {
            Ok(due) => due,
            Err(rest) => return rest,
        };
        let asked = self.state().known.asking();
        let listing = self.listed(&directory, || tokio::time::sleep(PACE));
        match tokio::time::timeout(FEED_ANSWER, listing).await {
            Ok(Ok(true)) => self.compare(&directory, &before),
            Ok(Ok(false)) => {
                self.doubt_in(&directory).await;
                // It became too large to be known as a whole, and is not watched any more.
                self.learn_of(|known| known.drop_listing(&directory));
                self.announce_at(&directory, true);
            }
            Ok(Err(error)) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.learn_of(|known| known.gone(&directory, asked));
                self.announce_at(&directory, true);
            }
            // The next one asks.
            Ok(Err(_)) | Err(_) => {}
        }
        PACE
    }

    /// The directory to be listed again now, with what is known of it; else when to look again.
    fn due(&self, fresh: Duration) -> Result<(Path, Arc<Listed>), Duration> {
        // A little before it gets old, so that nobody waits for it.
        let period = (fresh / 4 * 3).max(Duration::from_millis(u64::from(self.features.relist_ms))).max(PACE);
        let state = &mut *self.state();
        let now = Instant::now();
        let mut rest = LONGEST_REST.min(period);
        let mut due = None;
        for (directory, look) in state.looked_at.0.iter_mut() {
            if look.open.strong_count() == 0 && look.at.elapsed() > fresh {
                continue;
            }
            let Some(listing) = state.known.last_listing(directory) else { continue };
            let mut at = if listing.age.doubted { now } else { listing.age.asked + period };
            if let Some(tried) = look.tried {
                at = at.max(tried + LISTED_IN_VAIN.max(Duration::from_millis(u64::from(self.features.relist_ms))));
            }
            if at <= now {
                look.tried = Some(now);
                due = Some((directory.clone(), listing.clone()));
                break;
            }
            rest = rest.min(at - now);
        }
        due.ok_or(rest)
    }

    /// Announces what is different in a directory than it was.
    fn compare(&self, directory: &Path, before: &Listed) {
        let Some(after) = self.state().known.last_listing(directory).cloned() else { return };
        let differences = differences(before, &after);
        let wide = |name: &str| {
            let entry = before.find(name);
            entry.is_some_and(|entry| entry.kind == Kind::Directory && !still(entry, after.find(name)))
        };
        if differences.len() > DIFFERENCES {
            self.announce_at(directory, true);
        }
        let at = |name: &&str| Some((directory.child(name).ok()?, wide(name)));
        for (path, wide) in differences.iter().take(DIFFERENCES).filter_map(at) {
            if wide {
                // Nothing that was known of its inside is known of what is in its place.
                self.learn_of(|known| known.forget(&path));
            }
            self.announce_at(&path, wide);
        }
    }
}

/// Whether a directory that was there still is.
fn still(was: &Entry, is: Option<&Entry>) -> bool {
    is.is_some_and(|is| is.kind == was.kind && is.cookie == was.cookie)
}

/// The names that look different in two listings of one directory.
fn differences<'a>(before: &'a Listed, after: &'a Listed) -> Vec<&'a str> {
    let names: HashSet<&str> = before.entries.iter().chain(&after.entries).map(|entry| entry.name.as_str()).collect();
    let mut different: Vec<&str> =
        names.into_iter().filter(|name| !is_same(before.find(name), after.find(name))).collect();
    different.sort_unstable();
    different
}
