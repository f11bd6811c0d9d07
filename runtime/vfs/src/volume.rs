//! One backend in use: what all its mounts share, and what lives on without any.
//!
//! This file holds the volume itself, its look-ups and what it says of its queue; what is asked of the provider, changes of
//! the name space, open files and uploads are next door. Locks: `state` is held for moments and never while waiting; the journal's own lock is taken
//! inside it, never the other way round. `namespace` orders changes of names and is held over their look-ups, which ask the
//! provider where it is not known what stands there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use causeway_cache::{Action, Base, Intent, Journal, Kept, KeptKind, Limits, ObjectKey, Scope, Seen, Staged};
use causeway_storage::{Can, Error, ErrorKind, Features, Kind, Node, Path, Result, Room, Storage, Timestamp, Version};
use lru::LruCache;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::VfsError;
use crate::asking::Asking;
use crate::budget::ReadBudget;
use crate::circuit::{Circuit, Outage, Reached};
use crate::content::{Content, Way};
use crate::file::{OpenFile, blocking};
use crate::known::Known;
use crate::lend::Taken;
use crate::patience::Patience;
use crate::pins::Pins;
use crate::remembered::{Left, Remembering};
use crate::stale::{Announcer, Listener, Stale};
use crate::upload::Wait;
use crate::view::{Place, Resolved, resolve};
use crate::watching::LookedAt;

/// `statfs` answers by then, with what it knew before if need be.
const ROOM: Duration = Duration::from_secs(1);

/// For so long may an answer be trusted whose every change is announced: one that overtakes the word of its own change is put
/// right by then.
const ANNOUNCED: Duration = Duration::from_secs(300);

/// Changes of a file's size and time through one mount show in the others by then.
const WRITTEN: Duration = Duration::from_secs(1);

/// For so long may something be trusted that is shown for want of a fresh answer.
const OLD: Duration = Duration::from_secs(1);

/// Answers that changed under our feet are asked for again so often; each time needs a change in just that moment.
pub(crate) const ATTEMPTS: usize = 16;

/// Directories of which is remembered when their content was changed: about 4 MiB.
const TOUCHED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Things that happened which someone should know, kept for so many.
const EVENTS: usize = 256;

/// One backend in use.
#[derive(Debug)]
pub struct Volume {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) features: Arc<Features>,
    pub(crate) scope: Arc<Scope>,
    budget: ReadBudget,
    state: Mutex<State>,
    pub(crate) namespace: tokio::sync::Mutex<()>,
    /// Rings when the uploader may find something to do.
    pub(crate) wake: Notify,
    /// Rises with every change of names, once it can be seen.
    pub(crate) names: AtomicU64,
    /// Rings when a change that was carried out, or given up for now, is dealt with to the end.
    pub(crate) dealt_with: Notify,
    /// Rings when something was learnt that may be written down.
    pub(crate) learnt: Notify,
    pub(crate) remembering: tokio::sync::Mutex<Remembering>,
    /// From where the provider's feed of changes goes on.
    pub(crate) place: Mutex<Option<crate::remembered::Place>>,
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) pins: Pins,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Rises with everything that any upload reads.
    pub(crate) sent: AtomicU64,
    /// What each mount asks of the cache.
    wishes: Mutex<HashMap<u64, Wish>>,
    pub(crate) announcer: Announcer,
    /// Rings when someone begins to listen.
    pub(crate) heard: Notify,
}

/// What one mount asks of the cache. The largest of all mounts' wishes counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) limits: Limits,
    pub(crate) keep_written: bool,
    /// For how long an answer about names counts as fresh.
    pub(crate) fresh: Duration,
    /// For how long after the last contact something is shown that is not.
    pub(crate) old: Duration,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) known: Known,
    pub(crate) asking: Asking,
    pub(crate) looked_at: LookedAt,
    /// The working copies that intents name.
    pub(crate) working: HashMap<u64, Arc<Working>>,
    pub(crate) files: HashMap<Path, Weak<OpenFile>>,
    pub(crate) contents: HashMap<ObjectKey, Weak<Content>>,
    /// Files that were written and of which that is to be announced.
    written: HashSet<Path>,
    /// Intents that are being carried out.
    pub(crate) executing: HashSet<u64>,
    /// Handles that wrote to a working copy since they were last flushed.
    pub(crate) writing: HashMap<u64, HashSet<u64>>,
    /// Intents that failed and are tried again later.
    pub(crate) waits: HashMap<u64, Wait>,
    /// How often in a row changes failed in a way that may pass, and until when the next attempt waits.
    pub(crate) trouble: Option<(u32, Instant)>,
    /// When the content of directories was changed here last.
    pub(crate) touched: LruCache<Path, Timestamp>,
    events: VecDeque<Event>,
    room: Option<Room>,
    pub(crate) next_handle: u64,
}

/// A working copy and what its holes stand for.
#[derive(Debug)]
pub(crate) struct Working {
    pub(crate) staged: Arc<Staged>,
    /// The intent that names it.
    intent: AtomicU64,
    base: Mutex<Option<Base>>,
    /// The content of its base as far as it is here: it stays as long as there may be holes, also when the base is gone
    /// everywhere else.
    pub(crate) below: Option<Arc<Content>>,
    /// The copy that its base is, kept open, if no intent names this one any more.
    pub(crate) copy_below: OnceLock<(Arc<Working>, Arc<std::fs::File>)>,
    /// What it was, if it is a file of the cache that was taken over as a whole.
    pub(crate) taken: Option<Taken>,
    /// What its upload made of it: from then on its bytes are that version's and must stay as they are.
    pub(crate) became: OnceLock<Seen>,
    /// Rises with everything that its upload reads: the sign that the upload is getting on.
    sent: AtomicU64,
}

impl Working {
    pub(crate) fn new(staged: Arc<Staged>, intent: u64, base: Option<Base>) -> Working {
        Working {
            staged,
            intent: AtomicU64::new(intent),
            base: Mutex::new(base),
            below: None,
            copy_below: OnceLock::new(),
            taken: None,
            became: OnceLock::new(),
            sent: AtomicU64::new(0),
        }
    }

    pub(crate) fn over(staged: Arc<Staged>, intent: u64, base: Option<Base>, below: Option<Arc<Content>>) -> Working {
        Working { below, ..Working::new(staged, intent, base) }
    }

    pub(crate) fn taken(staged: Arc<Staged>, intent: u64, taken: Taken) -> Working {
        Working { taken: Some(taken), ..Working::new(staged, intent, None) }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn note_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn intent(&self) -> u64 {
        self.intent.load(Ordering::Relaxed)
    }

    pub(crate) fn set_intent(&self, intent: u64) {
        self.intent.store(intent, Ordering::Relaxed);
    }

    pub(crate) fn base(&self) -> Option<Base> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_base(&self, base: Base) {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(base);
    }
}

/// What a path shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// File or directory.
    pub kind: Kind,
    /// Bytes of content.
    pub size: u64,
    /// When the content was last changed, if known.
    pub modified: Option<Timestamp>,
    /// The version at the provider; absent for directories and for what is not uploaded yet.
    pub version: Option<Version>,
    /// A path leads to it. What was removed lives on without one for as long as it is open.
    pub has_name: bool,
    /// What the sidecar keeps of it, if the mount shows that.
    pub kept: Option<Box<Kept>>,
}

impl Default for Attributes {
    /// Those of a directory of which nothing is known.
    fn default() -> Attributes {
        Attributes { kind: Kind::Directory, size: 0, modified: None, version: None, has_name: true, kept: None }
    }
}

/// What answers for a path, with what is needed to open or change it.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Directory(Option<Timestamp>, Option<Seen>),
    Staged {
        working: Arc<Working>,
        modified: Option<Timestamp>,
    },
    File(Seen),
    /// A name that only the sidecar has.
    Kept(Box<Kept>),
}

impl Found {
    pub(crate) fn kind(&self) -> Kind {
        if let Found::Directory(..) = self { Kind::Directory } else { Kind::File }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        match self {
            Found::Directory(modified, _) => Attributes { modified: *modified, ..Attributes::default() },
            Found::Staged { working, modified, .. } => Attributes {
                kind: Kind::File,
                size: working.staged.size(),
                modified: Some(modified.unwrap_or_else(|| working.staged.modified())),
                version: None,
                has_name: true,
                kept: None,
            },
            Found::File(seen) => Attributes {
                kind: Kind::File,
                size: seen.size.unwrap_or(0),
                modified: seen.modified,
                version: seen.version.clone(),
                has_name: true,
                kept: None,
            },
            Found::Kept(kept) => Attributes {
                kind: Kind::File,
                size: match &kept.kind {
                    KeptKind::Link { target } => target.len() as u64,
                    _ => 0,
                },
                modified: kept.modified.as_ref().map(|modified| modified.time),
                version: None,
                has_name: true,
                kept: Some(kept.clone()),
            },
        }
    }
}

/// What waits to be made at the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Changes of every kind.
    pub changes: u64,
    /// Files to be written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Changes that failed for good and wait for someone.
    pub blocked: u64,
    /// When the oldest was made.
    pub oldest: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Something that someone should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub path: Path,
    /// What, in a sentence.
    pub message: String,
}

impl Volume {
    /// Takes a backend into use: recovers what an earlier process left and goes on uploading it. What it reads ahead is
    /// part of `budget`, which all volumes of a machine share. Call [`Volume::stop`] in the end.
    pub async fn open(storage: Arc<dyn Storage>, scope: Arc<Scope>, budget: ReadBudget) -> Result<Arc<Volume>> {
        let features = storage.features();
        let recovering = scope.clone();
        let recovered = tokio::task::spawn_blocking(move || {
            Ok((recover(&recovering)?, Left::load(&recovering), Pins::new(recovering.pins()?)))
        });
        let (working, left, pins) = recovered.await.map_err(Error::internal).flatten()?;
        let mut known = Known::new(Duration::from_millis(u64::from(features.lag_ms)));
        known.set_epoch(left.epoch);
        let circuit = Circuit::new(left.contact);
        let state = State {
            known,
            asking: Asking::new(),
            looked_at: LookedAt::new(),
            working,
            files: HashMap::new(),
            contents: HashMap::new(),
            written: HashSet::new(),
            executing: HashSet::new(),
            writing: HashMap::new(),
            waits: HashMap::new(),
            trouble: None,
            touched: LruCache::new(TOUCHED),
            events: VecDeque::new(),
            room: None,
            next_handle: 1,
        };
        let volume = Arc::new(Volume {
            storage: Arc::new(Reached { inner: storage.clone(), circuit: circuit.clone() }),
            features,
            scope,
            budget,
            state: Mutex::new(state),
            namespace: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
            names: AtomicU64::new(0),
            dealt_with: Notify::new(),
            learnt: Notify::new(),
            remembering: tokio::sync::Mutex::default(),
            place: Mutex::new(left.place),
            circuit: circuit.clone(),
            pins,
            tasks: Mutex::default(),
            sent: AtomicU64::new(0),
            wishes: Mutex::default(),
            announcer: Announcer::new(),
            heard: Notify::new(),
        });
        *volume.tasks.lock().unwrap_or_else(PoisonError::into_inner) = vec![
            tokio::spawn(crate::upload::run(volume.clone())),
            tokio::spawn(crate::remembered::run(volume.clone())),
            tokio::spawn(crate::watching::run(volume.clone())),
            tokio::spawn(crate::pins::run(volume.clone())),
            tokio::spawn(crate::circuit::run(circuit, storage)),
        ];
        Ok(volume)
    }

    /// Stops uploading, wherever it is, and everything else that goes on by itself. What was not uploaded stays in the
    /// journal for the next [`Volume::open`].
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            // An aborted task ends with an error by design.
            let _ = task.await;
        }
        let scope = self.scope.clone();
        let open: Vec<_> = self.state().working.values().map(|working| working.staged.clone()).collect();
        if let Err(error) = blocking(move || Ok(scope.secure_all(&open)?)).await {
            tracing::error!(?error, "what was written and not closed may not survive the machine's end");
        }
        self.remember().await;
    }

    /// What waits to be made at the provider.
    pub fn pending(&self) -> Pending {
        let state = self.state();
        let last_error = state.waits.values().max_by_key(|wait| wait.failed).map(|wait| wait.error.to_string());
        self.journal().read(|intents, _| {
            let mut pending = Pending { last_error, ..Pending::default() };
            for intent in intents.values() {
                pending.changes += 1;
                pending.oldest = pending.oldest.min(Some(intent.since)).or(Some(intent.since));
                if let Some(failure) = &intent.failure {
                    pending.blocked += 1;
                    pending.last_error = Some(failure.message.clone());
                }
                if let Action::Write { staged, .. } = &intent.action {
                    pending.files += 1;
                    pending.bytes += state.working.get(staged).map_or(0, |working| working.staged.size());
                }
            }
            pending
        })
    }

    /// Waits until nothing is pending, at most for so long; says what still is.
    pub async fn drain(&self, most: Duration) -> Pending {
        let mut changes = self.journal().watch();
        let drained = async {
            loop {
                let dealt_with = self.dealt_with.notified();
                let is_empty = self.journal().read(|intents, _| intents.is_empty());
                if is_empty && self.state().executing.is_empty() {
                    break;
                }
                tokio::select! {
                    () = dealt_with => {}
                    changed = changes.changed() => if changed.is_err() { break },
                }
            }
        };
        // Whether it ended in time is what the answer says.
        let _ = tokio::time::timeout(most, drained).await;
        self.pending()
    }

    /// A file without a name on the disk of the cache, to try things with. Blocking.
    pub fn nameless_file(&self) -> Result<std::fs::File> {
        self.scope.nameless_file()
    }

    /// Hears what mounts must not trust any more, from now on.
    pub fn listen(&self) -> Listener {
        let listener = self.announcer.listen();
        self.heard.notify_one();
        listener
    }

    pub(crate) fn announce(&self, stale: Stale) {
        self.names.fetch_add(1, Ordering::SeqCst);
        self.announcer.tell(stale);
        self.pins.stir();
    }

    /// Announces what was changed through a mount, if there are others: its own kernel knows.
    pub(crate) fn announce_to_others(&self, stale: Stale) {
        if self.wishes().len() > 1 {
            self.announce(stale);
        }
    }

    /// Announces that a file shows another size and time: soon, and once for all that is written until then.
    pub(crate) fn announce_written(self: &Arc<Self>, file: &Arc<OpenFile>) {
        let Some(path) = file.path().filter(|_| self.wishes().len() > 1) else { return };
        if !self.state().written.insert(path.clone()) {
            return;
        }
        let volume = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WRITTEN).await;
            volume.state().written.remove(&path);
            volume.announce(Stale::Entry(path));
        });
    }

    /// Whether the provider is taken for reachable. While it is not, what is known is shown and changes wait.
    pub fn reachable(&self) -> bool {
        !self.circuit.is_open()
    }

    /// Since when the provider cannot be reached, and why; none if it can.
    pub fn outage(&self) -> Option<Outage> {
        self.circuit.outage()
    }

    /// For how long what was just shown at `path` may be trusted unless [`Volume::listen`] says otherwise; an answer of the
    /// provider's counts as fresh for `max_age`.
    pub fn fresh_for(&self, path: &Path, max_age: Duration) -> Duration {
        if path.is_root() {
            return ANNOUNCED;
        }
        match self.resolve(path).place {
            Place::Remote { path, .. } => {
                let fresh = self.state().known.fresh_for(&path, max_age);
                fresh.map_or(OLD, |fresh| fresh.min(ANNOUNCED.max(max_age)))
            }
            Place::Staged { staged, .. } if self.is_written_unseen(staged) => WRITTEN,
            Place::Absent | Place::Staged { .. } | Place::Moved(_) | Place::Fresh => ANNOUNCED,
        }
    }

    /// Whether something is shown at `path` that is not fresh, if it cannot be asked for.
    pub(crate) fn shows_old(&self, path: &Path) -> bool {
        if self.pins.lead_to(path) {
            return true;
        }
        let longest = self.wishes().values().map(|wish| wish.old).max();
        let contact = self.circuit.last_contact();
        contact.is_some_and(|at| longest.is_none_or(|longest| at.elapsed() <= longest))
    }

    /// For how long an answer about names counts as fresh, by the strictest mount; none without a mount.
    pub(crate) fn freshness(&self) -> Option<Duration> {
        self.wishes().values().map(|wish| wish.fresh).min()
    }

    pub(crate) fn learn_of<T>(&self, learn: impl FnOnce(&mut Known) -> T) -> T {
        let learnt = learn(&mut self.state().known);
        self.learnt.notify_one();
        learnt
    }

    /// What happened lately, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.iter().cloned().collect()
    }

    /// What `path` shows, if anything; what is known of the provider may be `max_age` old.
    pub async fn stat(&self, path: &Path, max_age: Duration) -> Result<Option<Attributes>, VfsError> {
        Ok(self.find(path, Patience::new(max_age)).await?.map(|found| found.attributes()))
    }

    /// How much room there is, within a second: the last answer if there is no new one, none if there never was one.
    pub async fn room(&self) -> Option<Room> {
        if self.features.can.contains(Can::ROOM)
            && let Ok(Ok(room)) = tokio::time::timeout(ROOM, self.storage.room()).await
        {
            self.state().room = Some(room);
        }
        self.state().room
    }

    /// Notes, or with none forgets, what a mount asks of the cache.
    pub(crate) fn wish(&self, mount: u64, wish: Option<Wish>) {
        let mut wishes = self.wishes();
        match wish {
            Some(wish) => drop(wishes.insert(mount, wish)),
            None => drop(wishes.remove(&mount)),
        }
        let all = wishes.values().map(|wish| wish.limits);
        let largest = all.reduce(|one, other| Limits {
            max_bytes: one.max_bytes.max(other.max_bytes),
            max_age_s: one.max_age_s.max(other.max_age_s),
        });
        // Without a mount the last wishes go on to hold.
        if let Some(limits) = largest {
            self.scope.set_limits(limits);
        }
    }

    /// Whether what was written here stays in the cache.
    pub(crate) fn keeps_written(&self) -> bool {
        self.wishes().values().any(|wish| wish.keep_written)
    }

    fn wishes(&self) -> MutexGuard<'_, HashMap<u64, Wish>> {
        // Changed in single steps.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> &Journal {
        self.scope.journal()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // What is under this lock is changed in single steps; a panic between two leaves nothing half changed that
        // matters more than going on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn way(&self) -> Way {
        let (storage, scope) = (self.storage.clone(), self.scope.clone());
        Way { storage, tenant: scope.tenant().clone(), scope, budget: self.budget.clone(), stays: false }
    }

    pub(crate) fn tell(&self, path: &Path, message: impl Into<String>) {
        let message = message.into();
        tracing::warn!(%path, %message, "a change went otherwise than asked for");
        let mut state = self.state();
        state.events.push_back(Event { at: Timestamp::now(), path: path.clone(), message });
        if state.events.len() > EVENTS {
            state.events.pop_front();
        }
    }

    pub(crate) fn resolve(&self, path: &Path) -> Resolved {
        self.journal().look(|log| resolve(log, path))
    }

    /// What answers for `path`: the journal, else the provider.
    pub(crate) async fn find(&self, path: &Path, patience: Patience) -> Result<Option<Found>, VfsError> {
        Ok(match self.find_any(path, patience).await? {
            Some(Found::Directory(modified, seen)) => Some(Found::Directory(self.directory_time(path, modified), seen)),
            None => self.kept_name(path, patience)?,
            found => found,
        })
    }

    /// The modification time of a directory: the one that was set here, else when its content was changed last, here or at
    /// the provider.
    pub(crate) fn directory_time(&self, path: &Path, provider: Option<Timestamp>) -> Option<Timestamp> {
        let set = self.journal().look(|log| log.times().get(path).copied());
        set.or_else(|| self.state().touched.peek(path).copied().max(provider))
    }

    async fn find_any(&self, path: &Path, patience: Patience) -> Result<Option<Found>, VfsError> {
        if path.is_root() {
            return Ok(Some(Found::Directory(None, None)));
        }
        let mut changes = self.journal().watch();
        for _ in 0..ATTEMPTS {
            changes.mark_unchanged();
            let resolved = self.resolve(path);
            let place = resolved.place.clone();
            let (remote, through) = match resolved.place {
                Place::Absent => return Ok(None),
                Place::Fresh => return Ok(Some(Found::Directory(resolved.modified, None))),
                // What moves is named by a version, unless the change before it has yet to tell which.
                Place::Moved(seen) if seen.version.is_none() => (seen.path, Vec::new()),
                Place::Moved(seen) => {
                    let modified = resolved.modified.or(seen.modified);
                    return Ok(Some(Found::File(Seen { modified, ..seen })));
                }
                Place::Staged { staged, .. } => {
                    // If it is gone it was uploaded just now, and the journal says something else.
                    let Some(working) = self.state().working.get(&staged).cloned() else { continue };
                    return Ok(Some(Found::Staged { working, modified: resolved.modified }));
                }
                Place::Remote { path, through } => (path, through),
            };
            let answer = match self.ask(&remote, patience).await {
                Err(VfsError::Storage(error))
                    if error.is_passing() && (self.must_exist(path) || self.is_made_here(&remote)) =>
                {
                    return Ok(Some(Found::Directory(resolved.modified, None)));
                }
                answer => answer?,
            };
            if self.resolve(path).place != place {
                continue;
            }
            if let Some(entry) = answer {
                let mut seen = Seen::of(remote, &entry);
                seen.modified = resolved.modified.or(seen.modified);
                return Ok(Some(match entry.kind {
                    Kind::Directory => Found::Directory(seen.modified, Some(seen)),
                    Kind::File => Found::File(seen),
                }));
            }
            if self.is_made_here(&remote) {
                return Ok(Some(Found::Directory(None, None)));
            }
            let is_moving = match place {
                Place::Moved(_) => self.anything_moves(),
                _ => self.move_one_of(&through),
            };
            if is_moving {
                // It, or the directory above, is on its way: where it is at this moment only the end of the move can tell.
                patience.wait("a rename under way", changes.changed()).await?.map_err(Error::internal)?;
                continue;
            }
            return Ok(None);
        }
        Err(VfsError::of(ErrorKind::Unavailable(None), "the name changed while it was looked up"))
    }

    /// Whether any change is under way, or a move that was begun has not told its outcome.
    pub(crate) fn anything_moves(&self) -> bool {
        let state = self.state();
        !state.executing.is_empty()
            || self.journal().read(|intents, _| intents.values().any(|one| is_begun(&state, one)))
    }

    /// The same of these.
    fn move_one_of(&self, ids: &[u64]) -> bool {
        if ids.is_empty() {
            return false;
        }
        let state = self.state();
        self.journal().read(|intents, _| {
            ids.iter().any(|id| {
                state.executing.contains(id) || intents.get(id).is_some_and(|intent| is_begun(&state, intent))
            })
        })
    }

    /// Whether a directory was made here at a provider that has no empty ones.
    pub(crate) fn is_made_here(&self, remote: &Path) -> bool {
        self.journal().read(|_, directories| directories.contains(remote))
    }

    /// Whether something that waits to be made at the provider shows that a directory is there: it was when that was asked
    /// for, whoever cannot be asked now.
    fn must_exist(&self, path: &Path) -> bool {
        self.journal().look(|log| {
            let moved = |intent: &Intent| match &intent.action {
                Action::Rename { from, to, .. } => from.kind == Kind::Directory && to == path,
                _ => false,
            };
            log.last_below(path, u64::MAX).is_some() || log.last_at_or_above(path, u64::MAX).is_some_and(moved)
        })
    }

    /// The content of a version, shared by all who read it. Blocking.
    pub(crate) fn content(&self, seen: &Seen) -> Result<Arc<Content>, VfsError> {
        let key = ObjectKey::of(seen).ok_or_else(|| Error::unsupported("tell which version of a file it shows"))?;
        let size = seen.size.ok_or_else(|| Error::unsupported("tell the size of this file"))?;
        if let Some(content) = self.state().contents.get(&key).and_then(Weak::upgrade) {
            return Ok(content);
        }
        let object = self.scope.object(&key, size)?;
        let mut state = self.state();
        if let Some(content) = state.contents.get(&key).and_then(Weak::upgrade) {
            return Ok(content);
        }
        let content = Arc::new(Content::new(object, seen.clone()));
        state.contents.retain(|_, content| content.strong_count() > 0);
        state.contents.insert(key, Arc::downgrade(&content));
        Ok(content)
    }
}

/// Whether a move was begun whose outcome is not known: its answer may have been lost, and is asked for when it is tried again.
fn is_begun(state: &State, intent: &Intent) -> bool {
    // Who is told to come again later has had nothing done.
    let refused = state.waits.get(&intent.id).is_some_and(|wait| matches!(wait.error.kind, ErrorKind::RateLimited(_)));
    matches!(intent.action, Action::Rename { .. }) && intent.started && intent.failure.is_none() && !refused
}

/// As a storage wants to see what is expected to stand somewhere.
pub(crate) fn node_of(seen: Option<&Seen>) -> Option<Node> {
    seen.map(Seen::node)
}

/// The working copies that an earlier process left. Of one that is missing the upload will say so, and block what depends
/// on it; everything else goes on.
pub(crate) fn recover(scope: &Scope) -> Result<HashMap<u64, Arc<Working>>> {
    let mut copies = scope.recover()?.copies;
    Ok(scope.journal().read(|intents, _| {
        let working = intents.values().filter_map(|intent| {
            let Action::Write { staged, base, .. } = &intent.action else { return None };
            Some((*staged, Arc::new(Working::new(copies.remove(staged)?, intent.id, base.clone()))))
        });
        working.collect()
    }))
}
