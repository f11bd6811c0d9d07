//! Paths that are to stay here: fetched in the background as a whole, as far as the cache's limits go, then not evicted, and
//! shown however long ago the provider answered last.
//!
//! It goes through what is pinned when pins change, soon after something changed elsewhere, and every so often: looks up what
//! there is, pins the content that it has now, lets go what was pinned before, and fetches what is missing, one range at a
//! time and not while a mount waits for the provider. What lies in a pinned directory later is found then. Reads and uploads
//! have their own ways to content; what they fetch is here as well.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cache::{ObjectKey, Seen};
use causeway_storage::{Error, ErrorKind, Kind, Path, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::VfsError;
use crate::content::{Content, Way};
use crate::file::blocking;
use crate::patience::Patience;
use crate::upload::from_vfs;
use crate::volume::{Found, Volume};

/// Pins of one owner: enough to name by hand, few enough to look through at each look-up.
const MOST_PINS: usize = 1000;

/// Files that are kept for pins, all together: about 32 MiB while they are gone through.
const MOST_FILES: usize = 100_000;

/// What is pinned is gone through so often where no mount says how long names count as fresh.
const PERIOD: Duration = Duration::from_secs(300);

/// After something changed, others may follow: what is pinned is gone through once for all that change within this time.
const SETTLED: Duration = Duration::from_secs(10);

/// A mount that read so lately reads.
const READING: Duration = Duration::from_secs(1);

/// So long a range waits at most for mounts that read: who reads all day must not keep pins from ever being fetched.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A pinned path, and how much of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Which.
    pub path: Path,
    /// Files at and below it, as far as they were looked at; none before that.
    pub files: u64,
    /// Their bytes that are here.
    pub bytes: u64,
    /// Their bytes that are still to be fetched.
    pub bytes_to_go: u64,
    /// What went wrong last, if it is not put right.
    pub error: Option<String>,
}

/// What is pinned, by who wants it.
#[derive(Debug)]
pub(crate) struct Pins {
    by_owner: Mutex<BTreeMap<String, Vec<Pin>>>,
    /// Rises when pins change: whoever goes through those before stops.
    round: AtomicU64,
    changed: Notify,
    stirred: Notify,
    read: Mutex<Option<Instant>>,
}

impl Pins {
    pub(crate) fn new(pins: BTreeMap<String, Vec<Path>>) -> Pins {
        let by_owner = pins.into_iter().map(|(owner, paths)| (owner, paths.into_iter().map(Pin::new).collect()));
        Pins {
            by_owner: Mutex::new(by_owner.collect()),
            round: AtomicU64::new(0),
            changed: Notify::new(),
            stirred: Notify::new(),
            read: Mutex::default(),
        }
    }

    /// Something at the provider changed.
    pub(crate) fn stir(&self) {
        self.stirred.notify_one();
    }

    /// A mount reads.
    pub(crate) fn note_read(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a path is pinned, or leads to one that is.
    pub(crate) fn lead_to(&self, path: &Path) -> bool {
        self.lock().values().flatten().any(|pin| path.is_within(&pin.path) || pin.path.is_within(path))
    }

    /// Whether pins changed since.
    fn is_over(&self, round: u64) -> bool {
        self.round.load(Ordering::SeqCst) != round
    }

    fn paths(&self) -> Vec<Path> {
        let mut paths: Vec<Path> = self.lock().values().flatten().map(|pin| pin.path.clone()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn edit(&self, path: &Path, edit: impl Fn(&mut Pin)) {
        self.lock().values_mut().flatten().filter(|pin| pin.path == *path).for_each(edit);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Pin>>> {
        // Changed in single steps.
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no mount reads, but not for ever.
    async fn turn(&self) {
        let began = Instant::now();
        while began.elapsed() < LONGEST_WAIT {
            let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(left) = read.and_then(|at| READING.checked_sub(at.elapsed())) else { return };
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }
}

impl Pin {
    fn new(path: Path) -> Pin {
        Pin { path, files: 0, bytes: 0, bytes_to_go: 0, error: None }
    }
}

/// Fetches what is pinned until it is aborted.
pub(crate) async fn run(volume: Arc<Volume>) {
    let mut circuit = volume.circuit.watch();
    loop {
        // A circuit lives as long as its volume.
        let _ = circuit.wait_for(|open| !*open).await;
        volume.fetch_pinned().await;
        let period = volume.freshness().unwrap_or(PERIOD).max(PERIOD);
        tokio::select! {
            () = volume.pins.changed.notified() => {}
            () = tokio::time::sleep(period) => {}
            () = async {
                volume.pins.stirred.notified().await;
                tokio::time::sleep(SETTLED).await;
            } => {}
        }
    }
}

impl Volume {
    /// Says which paths, of files or whole directories, are to stay here for this owner, instead of those before. Fails if
    /// they are more than a thousand.
    pub async fn set_pins(&self, owner: &str, mut paths: Vec<Path>) -> Result<()> {
        paths.sort_unstable();
        paths.dedup();
        if paths.len() > MOST_PINS {
            return Err(Error::new(ErrorKind::Invalid, "more than 1,000 paths cannot be pinned"));
        }
        let (scope, name, wanted) = (self.scope.clone(), owner.to_owned(), paths.clone());
        blocking(move || Ok(scope.set_pins(&name, &wanted)?)).await.map_err(from_vfs)?;
        {
            let mut by_owner = self.pins.lock();
            let before = by_owner.remove(owner).unwrap_or_default();
            let known =
                |path: Path| before.iter().find(|pin| pin.path == path).cloned().unwrap_or_else(|| Pin::new(path));
            let pins: Vec<Pin> = paths.into_iter().map(known).collect();
            if !pins.is_empty() {
                by_owner.insert(owner.to_owned(), pins);
            }
        }
        self.pins.round.fetch_add(1, Ordering::SeqCst);
        self.pins.changed.notify_one();
        Ok(())
    }

    /// For whom something is to stay here.
    pub fn pin_owners(&self) -> Vec<String> {
        self.pins.lock().keys().cloned().collect()
    }

    /// What is to stay here for this owner.
    pub fn pins(&self, owner: &str) -> Vec<Pin> {
        self.pins.lock().get(owner).cloned().unwrap_or_default()
    }

    /// Goes through all that is pinned once, or until pins change.
    async fn fetch_pinned(self: &Arc<Self>) {
        let round = self.pins.round.load(Ordering::SeqCst);
        let mut wanted = HashSet::new();
        let mut pinned = Vec::new();
        let mut complete = true;
        for path in self.pins.paths() {
            let found = self.pin_files_at(&path, &mut wanted).await;
            if self.pins.is_over(round) {
                return;
            }
            let (files, failure) = match found {
                Ok(found) => found,
                Err(error) => (Vec::new(), Some(error)),
            };
            complete &= !failure.as_ref().is_some_and(is_passing);
            pinned.push((path, files, failure));
        }
        // Before anything is fetched: what is in the place of a file needs its room. What could not be looked at for a while may
        // be what is pinned.
        if complete {
            let scope = self.scope.clone();
            if let Err(error) = blocking(move || Ok(scope.unpin_all_but(&wanted)?)).await {
                tracing::warn!(?error, "what is pinned no more could not be let go");
            }
        }
        for (path, files, failure) in pinned {
            let fetched = self.fetch_pin(&path, round, files).await;
            if self.pins.is_over(round) {
                return;
            }
            let error = fetched.err().or(failure);
            if let Some(error) = &error {
                tracing::debug!(?error, %path, "a pinned path is not here as a whole");
            }
            let error = error.map(|error| error.to_string());
            self.pins.edit(&path, |pin| pin.error.clone_from(&error));
        }
    }

    /// Pins the content of the files at and below a path, as far as they can be looked at; with each, how much of it is here.
    async fn pin_files_at(
        self: &Arc<Self>,
        path: &Path,
        wanted: &mut HashSet<ObjectKey>,
    ) -> Result<(Vec<(Seen, u64)>, Option<VfsError>), VfsError> {
        let (found, failure) = self.files_at(path, MOST_FILES.saturating_sub(wanted.len())).await?;
        wanted.extend(found.iter().filter_map(ObjectKey::of));
        let scope = self.scope.clone();
        let files = blocking(move || {
            let mut files = Vec::new();
            for seen in found {
                let mut held = 0;
                if let Some(key) = ObjectKey::of(&seen) {
                    scope.pin(&key)?;
                    held = scope.held_bytes(&key)?;
                }
                files.push((seen, held));
            }
            Ok(files)
        });
        Ok((files.await?, failure))
    }

    async fn fetch_pin(self: &Arc<Self>, path: &Path, round: u64, files: Vec<(Seen, u64)>) -> Result<(), VfsError> {
        let number = files.len() as u64;
        let all: u64 = files.iter().filter_map(|(seen, _)| seen.size).sum();
        let mut here: u64 = files.iter().map(|(_, held)| held).sum();
        let show = |here: u64| {
            let to_go = all.saturating_sub(here);
            self.pins.edit(path, |pin| (pin.files, pin.bytes, pin.bytes_to_go) = (number, here, to_go));
        };
        show(here);
        let mut failed = None;
        for (seen, held) in files {
            here -= held;
            match self.fetch_file(&seen, round, |came| show(here + came)).await {
                Ok(()) => here += seen.size.unwrap_or(0),
                // Nobody there, or no room: the others would fare the same.
                Err(error) if is_of_all(&error) => return Err(error),
                Err(error) => {
                    here += held;
                    failed = failed.or(Some(error));
                }
            }
            if self.pins.is_over(round) {
                break;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The files at and below a path whose content is the provider's: what waits to be uploaded is here anyway. With them, why
    /// others could not be looked at, if that is not passing.
    async fn files_at(self: &Arc<Self>, path: &Path, most: usize) -> Result<(Vec<Seen>, Option<VfsError>), VfsError> {
        let max_age = self.freshness().unwrap_or(PERIOD);
        let mut files = Vec::new();
        let mut failure = None;
        let mut left = Vec::new();
        match self.find(path, Patience::new(max_age)).await? {
            None => return Err(VfsError::not_found()),
            Some(Found::File(seen)) => files.push(seen),
            Some(Found::Directory(..)) => left.push(path.clone()),
            Some(Found::Staged { .. } | Found::Kept(_)) => {}
        }
        while let Some(directory) = left.pop() {
            match self.files_in(&directory, max_age, most, &mut files, &mut left).await {
                Ok(true) => {}
                Ok(false) => {
                    let error = VfsError::of(ErrorKind::QuotaExceeded, "more than 100,000 files are pinned");
                    return Ok((files, Some(error)));
                }
                Err(error) if is_passing(&error) => return Err(error),
                // What nobody may look at keeps nothing else from being pinned.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Ok((files, failure))
    }

    /// Adds the files of a directory, and the directories to be looked at next; false if they became too many.
    async fn files_in(
        self: &Arc<Self>,
        directory: &Path,
        max_age: Duration,
        most: usize,
        files: &mut Vec<Seen>,
        left: &mut Vec<Path>,
    ) -> Result<bool, VfsError> {
        let mut listing = self.list(directory, Patience::new(max_age)).await?;
        while let Some(batch) = self.next(&mut listing, Patience::new(max_age)).await? {
            for (name, shown) in batch {
                if files.len() + left.len() >= most {
                    return Ok(false);
                }
                let path = directory.child(&name)?;
                if shown.kind == Kind::Directory {
                    left.push(path);
                } else if let Some(Found::File(seen)) = self.find(&path, Patience::new(max_age)).await? {
                    files.push(seen);
                }
            }
        }
        Ok(true)
    }

    /// Fetches what is missing of a file, and says how much of it is here whenever that is more.
    async fn fetch_file(self: &Arc<Self>, seen: &Seen, round: u64, came: impl Fn(u64)) -> Result<(), VfsError> {
        let (volume, version) = (self.clone(), seen.clone());
        let content = blocking(move || volume.content(&version)).await?;
        let fetched = self.fetch_missing(&content, round, came).await;
        let scope = self.scope.clone();
        blocking(move || Ok(scope.save(&content.object)?)).await?;
        fetched
    }

    async fn fetch_missing(&self, content: &Arc<Content>, round: u64, came: impl Fn(u64)) -> Result<(), VfsError> {
        let size = content.object.size();
        let mut left = content.missing_bytes();
        came(size - left);
        let no_room = || VfsError::of(ErrorKind::QuotaExceeded, "the cache has no room for all that is pinned");
        while left > 0 && !self.pins.is_over(round) {
            self.pins.turn().await;
            match content.fetch_some(&Way { stays: true, ..self.way() }).await {
                Err(error) if error.kind == ErrorKind::QuotaExceeded => return Err(no_room()),
                fetched => fetched?,
            };
            let before = std::mem::replace(&mut left, content.missing_bytes());
            if left >= before {
                return Err(no_room());
            }
            came(size - left);
        }
        Ok(())
    }
}

fn is_passing(error: &VfsError) -> bool {
    matches!(error, VfsError::Storage(error) if error.is_passing() || error.kind == ErrorKind::Unauthenticated)
}

/// Whether what kept one file from being fetched keeps all others, too.
fn is_of_all(error: &VfsError) -> bool {
    let VfsError::Storage(error) = error else { return false };
    error.is_passing() || matches!(error.kind, ErrorKind::QuotaExceeded | ErrorKind::Unauthenticated)
}
