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
    /// How far the names were looked at that only the sidecar has; none once there are no more.
    kept: Option<String>,
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
            kept: (patience.sidecar && self.journal().keeps_any()).then(String::new),
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

    /// Whether what the provider has of a directory is at this path, at this moment.
    fn is_at(&self, listing: &Listing, remote: &Path) -> bool {
        self.contents(&listing.directory).remote.as_ref() == Some(remote)
    }

    /// Begins a listing of which nothing was shown yet anew, where the directory is now; none if nothing of it is at the
    /// provider.
    fn aim(&self, listing: &mut Listing) -> Option<Path> {
        listing.asked = self.state().known.asking();
        let shown = self.contents(&listing.directory);
        listing.touched = shown.touched;
        listing.remote = shown.remote.clone();
        let Some(remote) = shown.remote else {
            listing.at = At::Touched;
            return None;
        };
        let mut state = self.state();
        listing.open = Some(state.looked_at.open(&remote));
        listing.touched.extend(state.known.changed_names(&remote, listing.asked));
        Some(remote)
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
                self.take(listing, &remote, page.entries, page.next, patience).map(Some)
            }
            (At::Remembered(listed, from), _) => {
                let (listed, from) = (listed.clone(), *from);
                let upto = (from + LARGEST_LISTING / 10).min(listed.entries.len());
                let entries = listed.entries.get(from..upto).unwrap_or_default().to_vec();
                listing.at = if upto == listed.entries.len() { At::Touched } else { At::Remembered(listed, upto) };
                Ok(Some(self.show(listing, &entries, patience)?))
            }
            (At::Touched | At::Start | At::Page(_), _) => self.touched(listing, patience).await,
        }
    }

    async fn first_page(&self, listing: &mut Listing, remote: Path, patience: Patience) -> Result<Batch, VfsError> {
        let mut remote = remote;
        for _ in 0..ATTEMPTS {
            // First the watch, then the place: a move that ends in between is a change.
            let mut changes = self.journal().watch();
            if !self.is_at(listing, &remote) {
                match self.aim(listing) {
                    Some(moved) => remote = moved,
                    None => return Ok(Batch::new()),
                }
            }
            let page = patience.wait("the storage", self.storage.list(&remote, None)).await.flatten();
            let error = match page {
                Ok(page) if self.is_at(listing, &remote) => {
                    return self.take(listing, &remote, page.entries, page.next, patience);
                }
                // It moved while it was asked for: nothing of it was shown yet, so it is read where it is now.
                Ok(_) => continue,
                Err(_) if !self.is_at(listing, &remote) => continue,
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
            if self.is_made_here(&remote) || remote.is_root() {
                listing.at = At::Touched;
                return Ok(Batch::new());
            }
            if !self.anything_moves() {
                return Err(error.into());
            }
            let moved = patience.wait("a change under way", changes.changed()).await?;
            moved.map_err(causeway_storage::Error::internal)?;
        }
        Err(VfsError::of(ErrorKind::Unavailable(None), "the directory changed while it was read"))
    }

    fn take(
        &self,
        listing: &mut Listing,
        remote: &Path,
        mut entries: Vec<Entry>,
        next: Option<Cursor>,
        patience: Patience,
    ) -> Result<Batch, VfsError> {
        {
            let state = self.state();
            let refine = |entry: Entry| match remote.child(&entry.name) {
                Ok(path) => state.known.refined(&path, entry),
                Err(_) => entry,
            };
            entries = entries.into_iter().map(refine).collect();
        }
        let batch = self.show(listing, &entries, patience)?;
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
        Ok(batch)
    }

    fn show(&self, listing: &mut Listing, entries: &[Entry], patience: Patience) -> Result<Batch, VfsError> {
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
                        shown.modified = self.directory_time(&path, shown.modified);
                    }
                    let shown = self.with_kept(&path, shown, entry.cookie.as_deref(), patience)?;
                    batch.push((entry.name.clone(), shown));
                }
                Err(error) => tracing::warn!(%error, directory = %listing.directory, "an entry's name cannot be shown"),
            }
        }
        Ok(batch)
    }

    async fn touched(&self, listing: &mut Listing, patience: Patience) -> Result<Option<Batch>, VfsError> {
        if listing.touched.is_empty() {
            return self.kept_batch(listing, patience).await;
        }
        let mut batch = Batch::new();
        for _ in 0..AT_ONCE {
            // Taken out once it was looked up: after an error it is asked for again, and never left out.
            let Some(name) = listing.touched.first().cloned() else { break };
            let path = listing.directory.child(&name)?;
            // Names that only the sidecar has come at the end.
            let found = self.find(&path, patience).await?.filter(|found| !matches!(found, Found::Kept(_)));
            let shown = found.map(|found| self.shown(&path, &found, patience)).transpose()?;
            listing.touched.remove(&name);
            batch.extend(shown.map(|shown| (name, shown)));
        }
        Ok(Some(batch))
    }

    /// Names that only the sidecar has. What the provider has of them was shown before.
    async fn kept_batch(&self, listing: &mut Listing, patience: Patience) -> Result<Option<Batch>, VfsError> {
        let Some(after) = &listing.kept else { return Ok(None) };
        let Some((names, after)) = self.journal().kept_names(&listing.directory, after)? else {
            listing.kept = None;
            return Ok(None);
        };
        let mut batch = Batch::new();
        for name in names {
            if let Some(Found::Kept(kept)) = self.find(&listing.directory.child(&name)?, patience).await? {
                batch.push((name, Found::Kept(kept).attributes()));
            }
        }
        listing.kept = Some(after);
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
        kept: None,
    }
}
