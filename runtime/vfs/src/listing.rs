//! Listing a directory, a page at a time.
//!
//! It does not hold the directory: it holds one page of the provider's, and the names that the journal has something to
//! say about. Those are left out of the provider's pages and looked up one by one at the end, so a file that is uploaded
//! while the directory is read shows exactly once. A page that fails fails the listing; small directories that were read
//! to the end are remembered.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use causeway_storage::{Can, Cursor, Entry, ErrorKind, Kind, Path};

use crate::VfsError;
use crate::known::{Asked, LARGEST_LISTING, Listed};
use crate::patience::Patience;
use crate::view::{Contents, contents};
use crate::volume::{ATTEMPTS, Attributes, Found, Volume};

/// Names looked up between two answers.
const AT_ONCE: usize = 64;

/// A directory being read.
#[derive(Debug)]
pub(crate) struct Listing {
    directory: Path,
    remote: Option<Path>,
    touched: BTreeSet<String>,
    asked: Asked,
    at: At,
    /// What was seen so far, to be remembered, while it is not too much.
    collected: Option<Vec<Entry>>,
    /// Names already shown, where a directory can hold one twice.
    shown: HashSet<String>,
    /// While it is held, the directory is open.
    open: Option<Arc<()>>,
}

#[derive(Debug)]
enum At {
    Start,
    Page(Cursor),
    Remembered(Arc<Listed>, usize),
    Touched,
}

/// A piece of a listing.
pub(crate) type Batch = Vec<(String, Attributes)>;

impl Volume {
    /// Begins to list a directory.
    pub(crate) async fn list(&self, directory: &Path, patience: Patience) -> Result<Listing, VfsError> {
        match self.find(directory, patience).await? {
            None => return Err(VfsError::not_found()),
            Some(Found::Directory(..)) => {}
            Some(_) => return Err(VfsError::of(ErrorKind::NotADirectory, "this is not a directory")),
        }
        // First the time, then the journal: what leaves the journal from now on is a change since then.
        let asked = self.state().known.asking();
        let shown = self.contents(directory);
        let mut listing = Listing {
            directory: directory.clone(),
            remote: shown.remote,
            touched: shown.touched,
            asked,
            at: At::Touched,
            collected: Some(Vec::new()),
            shown: HashSet::new(),
            open: None,
        };
        if let Some(remote) = &listing.remote {
            self.recall_listing(remote).await;
            let mut state = self.state();
            listing.open = Some(state.looked_at.open(remote));
            listing.touched.extend(state.known.changed_names(remote, asked));
            listing.at = match state.known.listing(remote, patience.max_age) {
                Some(listed) => At::Remembered(listed, 0),
                None => At::Start,
            };
        }
        Ok(listing)
    }

    fn contents(&self, directory: &Path) -> Contents {
        self.journal().look(|log| contents(log, directory))
    }

    /// The next piece; none at the end. A piece may be empty.
    pub(crate) async fn next(&self, listing: &mut Listing, patience: Patience) -> Result<Option<Batch>, VfsError> {
        match (&listing.at, listing.remote.clone()) {
            (At::Start, Some(remote)) => self.first_page(listing, remote, patience).await.map(Some),
            (At::Page(cursor), Some(remote)) => {
                let cursor = cursor.clone();
                let page = patience.wait("the storage", self.storage.list(&remote, Some(&cursor))).await??;
                Ok(Some(self.take(listing, &remote, page.entries, page.next)))
            }
            (At::Remembered(listed, from), _) => {
                let (listed, from) = (listed.clone(), *from);
                let upto = (from + LARGEST_LISTING / 10).min(listed.entries.len());
                let entries = listed.entries.get(from..upto).unwrap_or_default().to_vec();
                listing.at = if upto == listed.entries.len() { At::Touched } else { At::Remembered(listed, upto) };
                Ok(Some(self.show(listing, &entries)))
            }
            (At::Touched | At::Start | At::Page(_), _) => self.touched(listing, patience).await,
        }
    }

    async fn first_page(&self, listing: &mut Listing, remote: Path, patience: Patience) -> Result<Batch, VfsError> {
        for _ in 0..ATTEMPTS {
            let mut changes = self.journal().watch();
            let page = patience.wait("the storage", self.storage.list(&remote, None)).await.flatten();
            let error = match page {
                Ok(page) if self.contents(&listing.directory).remote.as_ref() == Some(&remote) => {
                    return Ok(self.take(listing, &remote, page.entries, page.next));
                }
                Ok(_) => {
                    return Err(VfsError::of(ErrorKind::Unavailable(None), "the directory moved while it was read"));
                }
                Err(error) => error,
            };
            if error.is_passing() {
                // Old names are better than none while the storage cannot be reached.
                let old = self.state().known.last_listing(&remote).cloned();
                let listed = old.filter(|_| self.shows_old(&listing.directory)).ok_or(error)?;
                listing.at = At::Remembered(listed, 0);
                return Ok(Batch::new());
            }
            if error.kind != ErrorKind::NotFound {
                return Err(error.into());
            }
            if self.journal().read(|_, directories| directories.contains(&remote)) || remote.is_root() {
                listing.at = At::Touched;
                return Ok(Batch::new());
            }
            if self.state().executing.is_empty() {
                return Err(error.into());
            }
            let moved = patience.wait("a change under way", changes.changed()).await?;
            moved.map_err(causeway_storage::Error::internal)?;
        }
        Err(VfsError::of(ErrorKind::Unavailable(None), "the directory changed while it was read"))
    }

    fn take(&self, listing: &mut Listing, remote: &Path, mut entries: Vec<Entry>, next: Option<Cursor>) -> Batch {
        {
            let state = self.state();
            let refine = |entry: Entry| match remote.child(&entry.name) {
                Ok(path) => state.known.refined(&path, entry),
                Err(_) => entry,
            };
            entries = entries.into_iter().map(refine).collect();
        }
        let batch = self.show(listing, &entries);
        let mut state = self.state();
        if let Some(collected) = &mut listing.collected {
            if collected.len() + entries.len() <= LARGEST_LISTING {
                collected.extend(entries);
            } else {
                for entry in collected.drain(..).chain(entries) {
                    if let Ok(path) = remote.child(&entry.name) {
                        state.known.settle(&path, listing.asked, Some(entry));
                    }
                }
                listing.collected = None;
            }
        } else {
            let named = entries.iter().filter_map(|entry| Some((remote.child(&entry.name).ok()?, entry)));
            // A touched name has newer facts than this page.
            for (path, entry) in named.filter(|(_, entry)| !listing.touched.contains(&entry.name)) {
                state.known.settle(&path, listing.asked, Some(entry.clone()));
            }
        }
        listing.at = match next {
            Some(cursor) => At::Page(cursor),
            None => {
                if let Some(collected) = listing.collected.take() {
                    state.known.put_listing(remote, listing.asked, collected);
                }
                At::Touched
            }
        };
        drop(state);
        self.learnt.notify_one();
        batch
    }

    fn show(&self, listing: &mut Listing, entries: &[Entry]) -> Batch {
        let twice = self.features.can.contains(Can::DUPLICATES);
        let mut batch = Batch::new();
        for entry in entries {
            if listing.touched.contains(&entry.name) || (twice && !listing.shown.insert(entry.name.clone())) {
                continue;
            }
            match listing.directory.child(&entry.name) {
                Ok(path) => {
                    let mut shown = attributes_of(entry);
                    if entry.kind == Kind::Directory {
                        shown.modified = self.directory_time(&path).or(shown.modified);
                    }
                    batch.push((entry.name.clone(), shown));
                }
                Err(error) => tracing::warn!(%error, directory = %listing.directory, "an entry's name cannot be shown"),
            }
        }
        batch
    }

    async fn touched(&self, listing: &mut Listing, patience: Patience) -> Result<Option<Batch>, VfsError> {
        if listing.touched.is_empty() {
            return Ok(None);
        }
        let mut batch = Batch::new();
        for _ in 0..AT_ONCE {
            // Taken out once it was looked up: after an error it is asked for again, and never left out.
            let Some(name) = listing.touched.first().cloned() else { break };
            let found = self.find(&listing.directory.child(&name)?, patience).await?;
            listing.touched.remove(&name);
            batch.extend(found.map(|found| (name, found.attributes())));
        }
        Ok(Some(batch))
    }
}

fn attributes_of(entry: &Entry) -> Attributes {
    Attributes {
        kind: entry.kind,
        size: entry.size.unwrap_or(0),
        modified: entry.modified,
        version: entry.version.clone(),
        has_name: true,
    }
}
