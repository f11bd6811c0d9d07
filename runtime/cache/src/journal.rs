//! The journal: what was changed here and is not yet changed at the provider, in order.
//!
//! It is a log of intents of one backend. It does not carry them out, and it does not decide what a path shows: both
//! are the file system's business. What it promises is that the log in memory and the log on disk are the same log: a
//! change is accepted by the index, which writes it down, and made to memory in one step, so both have all changes in the
//! same order. It survives the end of the process from then on, and a power loss once its [`Commit`] was waited for. What
//! the index does not accept did not happen. If waiting fails, the change stays as one whose answer was lost, and every
//! later one is refused until the index caught up, which it tries to by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use causeway_storage::{Entry, Kind, Node, Notes, Path, Result, Timestamp, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::index::{Index, Op, Pending, Table};
use crate::log::Log;
use crate::numbers::Numbers;
use crate::object::ObjectRecord;
use crate::quarantine::Quarantine;
use crate::secured::Secured;
use crate::sidecar::Tally;

/// What was last known to stand at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where.
    pub path: Path,
    /// File or directory.
    pub kind: Kind,
    /// The provider's identity of it.
    pub cookie: Option<String>,
    /// Its version; absent where nobody saw one yet.
    pub version: Option<Version>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// When its content was changed.
    pub modified: Option<Timestamp>,
    /// Whether the version is weak.
    pub weak: bool,
}

impl Seen {
    /// What an entry shows at a path.
    pub fn of(path: Path, entry: &Entry) -> Seen {
        Seen {
            path,
            kind: entry.kind,
            cookie: entry.cookie.clone(),
            version: entry.version.clone(),
            size: entry.size,
            modified: entry.modified,
            weak: entry.notes.contains(Notes::WEAK_VERSION),
        }
    }

    /// As a storage wants it.
    pub fn node(&self) -> Node {
        Node {
            path: self.path.clone(),
            kind: self.kind,
            cookie: self.cookie.clone(),
            version: self.version.clone(),
            size: self.size,
        }
    }
}

/// What the holes of a working copy stand for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// This version at the provider.
    Remote(Seen),
    /// An earlier working copy of the same file, which is being uploaded.
    Staged {
        /// Its number.
        id: u64,
        /// Its size when this copy began.
        size: u64,
    },
}

impl Base {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Base::Remote(seen) => seen.size.unwrap_or(0),
            Base::Staged { size, .. } => *size,
        }
    }
}

/// A change to be made at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The content of a working copy becomes the file at this path.
    Write {
        /// Where.
        path: Path,
        /// The working copy.
        staged: u64,
        /// What stands there and may be replaced.
        existing: Option<Seen>,
        /// What the copy's holes stand for; none if it began empty.
        base: Option<Base>,
    },
    /// A file goes away.
    Remove {
        /// The file.
        file: Seen,
    },
    /// A directory is made.
    MakeDirectory {
        /// Where.
        path: Path,
    },
    /// An empty directory goes away.
    RemoveDirectory {
        /// The directory.
        directory: Seen,
    },
    /// A file or directory moves.
    Rename {
        /// What moves.
        from: Seen,
        /// Where to.
        to: Path,
        /// What stands there and may be replaced.
        replaces: Option<Seen>,
    },
    /// A modification time is set.
    SetModified {
        /// Whose.
        node: Seen,
        /// The time.
        modified: Timestamp,
    },
}

impl Action {
    /// The working copy that it names.
    pub fn staged(&self) -> Option<u64> {
        match self {
            Action::Write { staged, .. } => Some(*staged),
            _ => None,
        }
    }

    /// The paths that it touches.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Action::Write { path, .. } | Action::MakeDirectory { path } => (path, None),
            Action::Remove { file: seen }
            | Action::RemoveDirectory { directory: seen }
            | Action::SetModified { node: seen, .. } => (&seen.path, None),
            Action::Rename { from, to, .. } => (&from.path, Some(to)),
        };
        std::iter::once(first).chain(second)
    }
}

/// Why an intent failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A sentence for the user.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// A change that the provider has not made yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its place in the order.
    pub id: u64,
    /// What to do.
    pub action: Action,
    /// When it was asked for.
    pub since: Timestamp,
    /// Set before it is tried for the first time: from then on it may have happened, and stays as it is.
    pub started: bool,
    /// Set once it failed for good; it stays until someone retries or discards it.
    pub failure: Option<Failure>,
}

/// The journal of one backend.
#[derive(Debug)]
pub struct Journal {
    pub(crate) index: Arc<Index>,
    pub(crate) scope: String,
    numbers: Arc<Numbers>,
    log: Mutex<Log>,
    revision: watch::Sender<u64>,
}

impl Journal {
    pub(crate) fn load(
        index: Arc<Index>,
        quarantine: &Quarantine,
        scope: &str,
        numbers: Arc<Numbers>,
    ) -> Result<Journal> {
        let mut log = Log::default();
        let mut damaged = Vec::new();
        let mut aside = |table, key: &str, value: &[u8]| damaged.push((table, key.to_owned(), value.to_vec()));
        index.scan(Table::Intents, scope, |key, value| match serde_json::from_slice::<Intent>(value) {
            Ok(intent) => log.insert(intent),
            Err(_) => aside(Table::Intents, key, value),
        })?;
        let path_of = |key: &str| key.strip_prefix(scope).and_then(|path| Path::parse(path).ok());
        index.scan(Table::Directories, scope, |key, value| match path_of(key) {
            Some(path) => drop(log.directories.insert(path)),
            None => aside(Table::Directories, key, value),
        })?;
        index.scan(Table::Times, scope, |key, value| match path_of(key).zip(serde_json::from_slice(value).ok()) {
            Some((path, time)) => drop(log.times.insert(path, time)),
            None => aside(Table::Times, key, value),
        })?;
        for (table, key, value) in damaged {
            quarantine.take_record(&index, table, &key, &value)?;
        }
        log.kept = Tally::load(&index, scope)?;
        Ok(Journal { index, scope: scope.to_owned(), numbers, log: Mutex::new(log), revision: watch::Sender::new(0) })
    }

    /// Looks at the log: the intents in order, and the directories that only exist here.
    pub fn read<R>(&self, look: impl FnOnce(&BTreeMap<u64, Intent>, &BTreeSet<Path>) -> R) -> R {
        let log = self.lock();
        look(log.intents(), log.directories())
    }

    /// Looks at all of the log.
    pub fn look<R>(&self, look: impl FnOnce(&Log) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the log in one step. `decide` sees the log as it is and says what to change; if it fails, nothing is.
    pub fn change<R>(&self, decide: impl FnOnce(&mut Batch<'_>) -> Result<R>) -> Result<(R, Commit)> {
        let mut log = self.lock();
        let mut batch = Batch::new(&log, self);
        // Where nothing new is accepted, what takes something away still is.
        let prepared = self.numbers.prepare();
        let answer = decide(&mut batch)?;
        if batch.is_numbered {
            prepared?;
        }
        batch.drop_secured();
        batch.note_kept();
        let (changes, ops, kept) = (batch.changes, batch.ops, batch.tally);
        // What is put here and names a file is there already, or makes no promise about it yet.
        let commit = if ops.is_empty() { None } else { Some(self.index.commit(ops, false)?) };
        for change in changes {
            match change {
                Change::Put(intent) => log.insert(*intent),
                Change::Delete(id) => log.remove(id),
                Change::AddDirectory(path) => drop(log.directories.insert(path)),
                Change::DropDirectory(path) => drop(log.directories.remove(&path)),
                Change::SetTime(path, Some(time)) => drop(log.times.insert(path, time)),
                Change::SetTime(path, None) => drop(log.times.remove(&path)),
            }
        }
        log.kept = kept;
        drop(log);
        self.revision.send_modify(|revision| *revision += 1);
        Ok((answer, Commit(commit)))
    }

    /// Waits until a commit is on disk.
    pub async fn wait(&self, commit: Commit) -> Result<()> {
        match commit.0 {
            Some(pending) => pending.wait().await,
            None => Ok(()),
        }
    }

    /// Writes down what of a working copy survives a power loss, if an intent names it: else nothing was promised.
    pub(crate) fn secure(&self, staged: u64, secured: &Secured) -> Result<Commit> {
        let log = self.lock();
        if log.write_of(staged).is_none() {
            return Ok(Commit(None));
        }
        let op = Op::put(Table::Secured, self.key(staged), secured.encode());
        Ok(Commit(Some(self.index.commit(vec![op], secured.needs_file())?)))
    }

    /// Sees to it that no more than `size` bytes of a working copy are expected after a power loss. Blocking.
    pub(crate) fn shorten(&self, staged: u64, size: u64) -> Result<()> {
        let Some(record) = self.index.get(Table::Secured, &self.key(staged))? else { return Ok(()) };
        match Secured::decode(&record) {
            Some(Secured::File { size: secured, records }) if size < secured => {
                self.secure(staged, &Secured::File { size, records })?.wait_blocking()
            }
            _ => Ok(()),
        }
    }

    /// Ticks with every change of the log.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        // Nothing under this lock panics half way through a change: `decide` only collects.
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn key(&self, id: u64) -> String {
        format!("{}{id:016x}", self.scope)
    }
}

/// What to wait on before a change is promised to survive a power loss; see [`Journal::wait`].
#[derive(Clone, Debug)]
#[must_use = "a change that nobody waited for survives the end of the process, but not a power loss"]
pub struct Commit(Option<Pending>);

impl Commit {
    /// Does not wait: what follows will, or nobody was promised more than that it survives the end of the process.
    pub fn leave(self) {}

    /// Whether anything was promised at all.
    pub(crate) fn is_promised(&self) -> bool {
        self.0.is_some()
    }

    /// As [`Journal::wait`]. Blocking.
    pub fn wait_blocking(self) -> Result<()> {
        self.0.map_or(Ok(()), Pending::wait_blocking)
    }
}

enum Change {
    Put(Box<Intent>),
    Delete(u64),
    AddDirectory(Path),
    DropDirectory(Path),
    SetTime(Path, Option<Timestamp>),
}

/// A change of the journal being put together.
pub struct Batch<'a> {
    pub(crate) log: &'a Log,
    pub(crate) journal: &'a Journal,
    changes: Vec<Change>,
    pub(crate) ops: Vec<Op>,
    /// What the sidecar keeps, as this batch left it.
    pub(crate) kept: HashMap<String, Option<Arc<[u8]>>>,
    pub(crate) tally: Tally,
    is_numbered: bool,
}

impl<'a> Batch<'a> {
    fn new(log: &'a Log, journal: &'a Journal) -> Batch<'a> {
        Batch {
            log,
            journal,
            changes: Vec::new(),
            ops: Vec::new(),
            kept: HashMap::new(),
            tally: log.kept,
            is_numbered: false,
        }
    }

    /// The intents as they are before this change.
    pub fn intents(&self) -> &'a BTreeMap<u64, Intent> {
        self.log.intents()
    }

    /// The log as it is before this change.
    pub fn log(&self) -> &'a Log {
        self.log
    }

    /// The directories that only exist here, before this change.
    pub fn directories(&self) -> &'a BTreeSet<Path> {
        self.log.directories()
    }

    /// Adds an intent at the end and returns its number.
    pub fn append(&mut self, action: Action) -> u64 {
        let id = self.journal.numbers.take();
        self.is_numbered = true;
        self.put(Intent { id, action, since: Timestamp::now(), started: false, failure: None });
        id
    }

    /// Replaces the intent of the same number.
    pub fn put(&mut self, intent: Intent) {
        let value = serde_json::to_vec(&intent).ok().map(Into::into);
        self.ops.push(Op { table: Table::Intents, key: self.journal.key(intent.id), value });
        self.changes.push(Change::Put(Box::new(intent)));
    }

    /// Changes an intent, as this batch left it.
    pub fn edit(&mut self, id: u64, change: impl FnOnce(&mut Intent)) {
        let changed = self.changes.iter().rev().find_map(|change| match change {
            Change::Put(intent) if intent.id == id => Some(intent.as_ref().clone()),
            _ => None,
        });
        if let Some(mut intent) = changed.or_else(|| self.log.intents().get(&id).cloned()) {
            change(&mut intent);
            self.put(intent);
        }
    }

    /// Takes an intent out, with the record of its progress.
    pub fn delete(&mut self, id: u64) {
        let key = self.journal.key(id);
        self.ops.push(Op::delete(Table::Intents, key.clone()));
        self.ops.push(Op::delete(Table::Progress, key));
        self.changes.push(Change::Delete(id));
    }

    /// Notes a directory that only exists here.
    pub fn add_directory(&mut self, path: &Path) {
        self.ops.push(Op::put(Table::Directories, format!("{}{path}", self.journal.scope), []));
        self.changes.push(Change::AddDirectory(path.clone()));
    }

    /// Forgets a directory that only existed here.
    pub fn drop_directory(&mut self, path: &Path) {
        self.ops.push(Op::delete(Table::Directories, format!("{}{path}", self.journal.scope)));
        self.changes.push(Change::DropDirectory(path.clone()));
    }

    /// Notes, or with none forgets, the modification time of a directory.
    pub fn set_time(&mut self, path: &Path, time: Option<Timestamp>) {
        let value = time.and_then(|time| serde_json::to_vec(&time).ok()).map(Into::into);
        self.ops.push(Op { table: Table::Times, key: format!("{}{path}", self.journal.scope), value });
        self.changes.push(Change::SetTime(path.clone(), time));
    }

    pub(crate) fn delete_object(&mut self, key: String) {
        self.ops.push(Op::delete(Table::Objects, key));
    }

    /// Deletes a record of what is known of the provider, in the same step: a change that was made must not be undone by
    /// what was written down before it.
    pub fn drop_known(&mut self, key: &str) {
        self.ops.push(Op::delete(Table::Known, format!("{}{key}", self.journal.scope)));
    }

    pub(crate) fn put_object(&mut self, key: String, record: &ObjectRecord) {
        self.ops.push(Op { table: Table::Objects, key, value: serde_json::to_vec(record).ok().map(Into::into) });
    }

    /// What was secured of working copies goes with the intents that named them.
    fn drop_secured(&mut self) {
        let (mut named, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for change in &self.changes {
            match change {
                Change::Put(intent) => named.extend(intent.action.staged()),
                Change::Delete(id) => gone.extend(self.log.intents().get(id).and_then(|intent| intent.action.staged())),
                _ => {}
            }
        }
        // One that was renamed before its upload is named by the intent that took the place of the other.
        let keys = gone.difference(&named).map(|staged| self.journal.key(*staged));
        self.ops.extend(keys.map(|key| Op::delete(Table::Secured, key)));
    }
}
