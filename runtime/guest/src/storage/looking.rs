//! What is there: the three questions of `browsing`, put to the component or answered from the tree of a walk, and what
//! the host makes of the answers: one entry for each name, and lists that show every entry once.
//!
//! Where a provider keeps several entries of one name, the directory among them keeps the name, else the newest; each
//! other is shown as `name {8 hex digits of its cookie}.ext`. That needs the whole directory, so its pages are gathered
//! first, up to [`GATHERED`] entries; meanwhile the list answers empty pages, and ends in time for whoever waits.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use causeway_storage::{
    Can, Cursor, Entry, Error, ErrorKind, Kind, NormalForm, Page, Path, Result, Sameness, Timestamp,
};
use lru::LruCache;

use super::asking::ask;
use super::names::{self, Names};
use super::{GuestStorage, PAGE};
use crate::bindings::causeway::provider::types;
use crate::convert;

/// Entries of a directory that can hold a name twice.
const GATHERED: usize = 100_000;

/// Directories that are being gathered or shown at once.
const GATHERINGS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// One call of `list` gathers no longer than this: whoever waits has a deadline of its own, 10 s for most.
const GATHER_FOR: Duration = Duration::from_secs(3);

/// What `refresh` tells.
pub(super) struct Seen {
    pub(super) entry: Entry,
    /// The cookie of the directory that holds it.
    pub(super) parent: Option<String>,
}

/// An entry under the name that it is shown by.
pub(super) struct Found {
    pub(super) entry: Entry,
    /// The name that it has at the provider.
    pub(super) own_name: String,
}

/// Directories whose pages are being gathered.
#[derive(Debug)]
pub(super) struct Gatherings {
    last: AtomicU64,
    under_way: Mutex<LruCache<u64, Gathering>>,
}

#[derive(Debug, Default)]
struct Gathering {
    directory: Path,
    entries: Vec<Entry>,
    /// Where the provider's list goes on.
    next: Option<String>,
    named: bool,
}

impl GuestStorage {
    /// The node as it is now.
    pub(super) async fn refresh(&self, node: &types::Node) -> Result<Option<Seen>> {
        let answer = match (&self.walked, &self.asking.component.browsing) {
            (Some(walked), _) => return walked.refresh(node).await,
            (None, Some(browsing)) => {
                let node = node.clone();
                ask!(self.asking, browsing, (node), |guest, store| guest.call_refresh(store, &node)).1?
            }
            (None, None) => return Err(Error::unsupported("be looked at")),
        };
        let convert = if node.path.is_empty() { convert::root } else { convert::entry };
        let seen = |placed: types::Placed| {
            Ok(Seen { parent: placed.parent, entry: convert(placed.entry, self.asking.backend.encoding)? })
        };
        answer.map(seen).transpose()
    }

    /// Every entry of this name, the one that keeps the name first. A missing parent is `NotFound`.
    async fn look_up(&self, parent: &types::Node, name: &str) -> Result<Vec<Entry>> {
        let mut entries = match (&self.walked, &self.asking.component.browsing) {
            (Some(walked), _) => walked.look_up(parent, name).await?,
            (None, Some(browsing)) => {
                let (parent, spelled) = (parent.clone(), self.asking.backend.encoding.to_provider(name));
                let found = ask!(self.asking, browsing, (parent, spelled), |guest, store| guest
                    .call_look_up(store, &parent, &spelled))
                .1?;
                found.into_iter().map(|entry| self.entry(entry)).collect::<Result<Vec<_>>>()?
            }
            (None, None) => return Err(Error::unsupported("be looked at")),
        };
        let exact = self.features.sameness == Sameness::Exact && self.features.normal_form == NormalForm::AsGiven;
        if exact && entries.iter().any(|entry| entry.name != name) {
            return Err(convert::fault("a look-up found another name"));
        }
        if self.features.can.contains(Can::DUPLICATES) {
            entries.sort_by(|one, other| rank(other).cmp(&rank(one)));
        } else if let Some(at) = entries.iter().position(|entry| entry.kind == Kind::Directory) {
            entries.swap(0, at);
        }
        Ok(entries)
    }

    /// The entry that is shown under this name. A missing parent is `NotFound`.
    pub(super) async fn find(&self, parent: &types::Node, name: &str) -> Result<Option<Found>> {
        let found = self.look_up(parent, name).await?.into_iter().next();
        if let Some(entry) = found {
            return Ok(Some(Found { own_name: entry.name.clone(), entry }));
        }
        let Some((own_name, mark)) = self.unmarked(name) else { return Ok(None) };
        let others = self.look_up(parent, &own_name).await?.into_iter().skip(1);
        let marked = others.into_iter().find(|entry| entry.cookie.as_deref().is_some_and(|c| names::mark(c) == mark));
        Ok(marked.map(|entry| Found { entry: Entry { name: name.to_owned(), ..entry }, own_name }))
    }

    /// The name and the mark that a duplicate's shown name was made of.
    pub(super) fn unmarked<'a>(&self, name: &'a str) -> Option<(String, &'a str)> {
        names::unmarked(name).filter(|_| self.features.can.contains(Can::DUPLICATES))
    }

    /// A page as the provider gives it.
    async fn provider_page(&self, directory: &types::Node, cursor: Option<&str>) -> Result<Page> {
        let page = match (&self.walked, &self.asking.component.browsing) {
            (Some(walked), _) => return walked.list(directory, cursor).await,
            (None, Some(browsing)) => {
                let (directory, cursor) = (directory.clone(), cursor.map(str::to_owned));
                ask!(self.asking, browsing, (directory, cursor), |guest, store| guest.call_list_directory(
                    store,
                    &directory,
                    cursor.as_deref()
                ))
                .1?
            }
            (None, None) => return Err(Error::unsupported("be listed")),
        };
        self.page(page, cursor)
    }

    /// A component's page, checked.
    pub(super) fn page(&self, page: types::Page, cursor: Option<&str>) -> Result<Page> {
        if page.entries.len() > PAGE {
            return Err(convert::fault("a page holds more than 10,000 entries"));
        }
        if page.next.is_some() && page.next.as_deref() == cursor {
            return Err(convert::fault("a list does not go on"));
        }
        // One entry that cannot be read fails the page: a list is never silently short.
        let entries = page.entries.into_iter().map(|entry| self.entry(entry)).collect::<Result<_>>()?;
        Ok(Page { entries, next: page.next.map(Cursor) })
    }

    /// A page of a directory; a way to it that turns out to be wrong is walked anew.
    pub(super) async fn list_page(&self, path: &Path, cursor: Option<&str>) -> Result<Page> {
        let directory = self.directory(path).await?;
        let listed = self.provider_page(&directory, cursor).await;
        let gone = matches!(&listed, Err(Error { kind: ErrorKind::NotFound | ErrorKind::NotADirectory, .. }));
        let page = if gone && self.cookies && cursor.is_none() {
            self.ways.forget(path);
            let directory = self.directory(path).await?;
            self.provider_page(&directory, cursor).await?
        } else {
            listed?
        };
        self.note(path, &page.entries);
        Ok(page)
    }

    /// A page of a directory that can hold a name twice.
    pub(super) async fn gathered(&self, path: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        let (id, shown) = match cursor {
            None => (self.gatherings.last.fetch_add(1, Ordering::Relaxed), 0),
            Some(cursor) => cursor
                .0
                .split_once(':')
                .and_then(|(id, shown)| Some((id.parse().ok()?, shown.parse().ok()?)))
                .ok_or_else(|| Error::new(ErrorKind::Invalid, "this is no cursor of a list"))?,
        };
        let taken = self.gatherings.take(id).filter(|gathering| gathering.directory == *path);
        let mut gathering = match taken {
            Some(gathering) => gathering,
            None if cursor.is_none() => Gathering { directory: path.clone(), ..Gathering::default() },
            None => return Err(Error::new(ErrorKind::Unavailable(None), "the list was interrupted: begin anew")),
        };
        let began = Instant::now();
        let mut begun = cursor.is_some();
        while !gathering.named {
            if begun && gathering.next.is_some() && began.elapsed() > GATHER_FOR {
                self.gatherings.keep(id, gathering);
                return Ok(Page { entries: Vec::new(), next: Some(Cursor(format!("{id}:0"))) });
            }
            if begun && gathering.next.is_none() {
                gathering.entries = told_apart(std::mem::take(&mut gathering.entries), self.names)?;
                gathering.named = true;
                break;
            }
            let page = self.list_page(path, gathering.next.as_deref()).await?;
            begun = true;
            gathering.entries.extend(page.entries);
            gathering.next = page.next.map(|next| next.0);
            if gathering.entries.len() > GATHERED {
                let message = format!("{path} holds more than {GATHERED} entries, of which several may have one name");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        let upto = gathering.entries.len().min(PAGE + shown);
        let entries = gathering.entries.get(shown..upto).unwrap_or_default().to_vec();
        let next = (upto < gathering.entries.len()).then(|| Cursor(format!("{id}:{upto}")));
        if next.is_some() {
            self.gatherings.keep(id, gathering);
        }
        Ok(Page { entries, next })
    }
}

impl Gatherings {
    pub(super) fn new() -> Gatherings {
        Gatherings { last: AtomicU64::new(1), under_way: Mutex::new(LruCache::new(GATHERINGS)) }
    }

    fn take(&self, id: u64) -> Option<Gathering> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).pop(&id)
    }

    fn keep(&self, id: u64, gathering: Gathering) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).put(id, gathering);
    }
}

/// Which of several entries keeps the name: the largest.
fn rank(entry: &Entry) -> (bool, Option<Timestamp>, Option<Timestamp>, Option<&str>) {
    (entry.kind == Kind::Directory, entry.modified, entry.created, entry.cookie.as_deref())
}

/// Gives every entry a name of its own.
fn told_apart(mut entries: Vec<Entry>, names: Names) -> Result<Vec<Entry>> {
    let mut keeping: HashMap<String, usize> = HashMap::with_capacity(entries.len());
    let mut others = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let keeper = keeping.entry(names.folded(&entry.name).into_owned()).or_insert(at);
        if *keeper == at {
            continue;
        }
        let keeps = entries.get(*keeper).is_some_and(|keeper| rank(keeper) >= rank(entry));
        others.push(if keeps { at } else { std::mem::replace(keeper, at) });
    }
    for at in others {
        if let Some(entry) = entries.get_mut(at) {
            let Some(cookie) = &entry.cookie else {
                return Err(convert::fault("two entries of one name, and no cookie tells them apart"));
            };
            entry.name = names::marked(&entry.name, cookie);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, cookie: &str, seconds: i64) -> Entry {
        let modified = Some(Timestamp { seconds, nanoseconds: 0 });
        Entry { cookie: Some(cookie.into()), modified, ..Entry::file(name, 1) }
    }

    #[test]
    fn the_newest_keeps_the_name_and_the_others_are_marked() {
        let entries = vec![entry("a.txt", "1", 5), entry("b", "2", 1), entry("a.txt", "3", 9), entry("a.txt", "4", 7)];
        let named = told_apart(entries, Names::exact()).unwrap();
        let shown: Vec<_> = named.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!(shown, [names::marked("a.txt", "1"), "b".into(), "a.txt".into(), names::marked("a.txt", "4")]);
    }

    #[test]
    fn a_directory_keeps_the_name_before_any_file() {
        let directory = Entry { kind: Kind::Directory, ..entry("a", "1", 1) };
        let named = told_apart(vec![entry("a", "2", 9), directory], Names::exact()).unwrap();
        assert_eq!(named[1].name, "a");
        assert_eq!(named[0].name, names::marked("a", "2"));
    }
}
