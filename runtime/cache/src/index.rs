//! The index: small records, durable in the order in which they were changed.
//!
//! It does not know what its records mean. A commit is a list of puts and deletes that happens as a whole or not at all.
//! It is appended to a log before it is answered, so that it survives the end of the process, and is seen by everyone who
//! reads from then on. Who must know that it survives a power loss waits for it: one thread syncs the log for all who wait.
//! A second thread brings the store under the index up to date from what the log has; then that part of the log is free.
//!
//! When the store cannot be written (a full disk, most often), that is tried again every second, and commits go on to be
//! accepted while the log has room. When it has little, only those are that take something pending away; then none are:
//! what was accepted is never lost, and what cannot be is refused before anything changed. When the log itself cannot be
//! synced, nothing that waits for it is answered well any more: everything goes into the store, and the log begins anew.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use causeway_storage::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

pub(crate) use crate::op::{Op, Table};
use crate::op::{decode, encode};
use crate::overlay::{Overlay, Value};
use crate::store::{Opener, Records, Store};
use crate::wal::{SEGMENT_BYTES, Wal};

/// A larger commit goes into the store at once: an eighth of the log, so that no commit waits for more than that.
const MOST_LOGGED_BYTES: usize = 4 << 20;

/// How long the log waits for more before it goes into the store: what came and went by then never gets there.
const LAZY: Duration = Duration::from_secs(5);

/// What the disk refused is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a commit waits for room in the log while the store takes up what is in it, which takes a second at worst.
const PATIENCE: Duration = Duration::from_secs(10);

/// The records.
#[derive(Debug)]
pub(crate) struct Index {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A commit that is in the log, and can be waited for.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    shared: Arc<Shared>,
    number: u64,
}

/// Records as they were at one moment.
pub(crate) struct View {
    changed: Vec<(String, Value)>,
    stored: Records,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    /// The directory of the files that records name.
    content: std::fs::File,
    state: Mutex<State>,
    /// Rings for the thread that syncs the log.
    to_sync: Condvar,
    /// Rings for the thread that writes the store.
    to_store: Condvar,
    /// Rings when there is room in the log again, or when it is known that there will be none.
    room: Condvar,
    /// Held by whoever writes the store; taken before `state`.
    storing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    wal: Wal,
    overlay: Overlay,
    /// The number of the next commit.
    next: u64,
    /// Up to this number, commits are in the store.
    checkpointed: u64,
    /// Up to this number, commits survive a power loss.
    durable: u64,
    waiting: Vec<(u64, oneshot::Sender<Result<()>>)>,
    names: Names,
    log_failure: Option<Error>,
    store_failure: Option<Error>,
    /// The store is wanted up to date without delay.
    hurry: bool,
    stopping: bool,
}

/// How many times a file got a name that a record tells, and how many of those names survive a power loss. Two may be
/// syncing them at once: each is only done when its own sync is.
#[derive(Debug)]
struct Names {
    given: u64,
    synced: u64,
}

impl Names {
    /// What is to be said to be synced once the directory was; none if nothing is new.
    fn unsynced(&self) -> Option<u64> {
        (self.synced < self.given).then_some(self.given)
    }

    fn synced(&mut self, given: u64) {
        self.synced = self.synced.max(given);
    }
}

impl Index {
    /// Opens or creates the index in `directory`; `content` is the directory of the files that records name.
    pub(crate) fn open(directory: &Path, content: &Path) -> Result<Index> {
        Index::over(crate::store::opener(&directory.join("index.redb")), directory, content, SEGMENT_BYTES)
    }

    /// An index over a store that is opened like this.
    fn over(open: Opener, directory: &Path, content: &Path, segment_bytes: u64) -> Result<Index> {
        let store = Store::over(open)?;
        let checkpointed = store.checkpointed()?;
        let (wal, found) = Wal::open(directory, segment_bytes, checkpointed)?;
        let mut overlay = Overlay::default();
        let mut last = checkpointed;
        for record in found {
            last = record.number;
            overlay.apply(record.number, decode(&record.payload)?);
        }
        let state = State {
            wal,
            overlay,
            next: last + 1,
            checkpointed,
            // What was read back may be in the memory of the kernel alone.
            durable: checkpointed,
            waiting: Vec::new(),
            names: Names { given: 1, synced: 0 },
            log_failure: None,
            store_failure: None,
            hurry: last > checkpointed,
            stopping: false,
        };
        let shared = Arc::new(Shared {
            store,
            content: std::fs::File::open(content)?,
            state: Mutex::new(state),
            to_sync: Condvar::new(),
            to_store: Condvar::new(),
            room: Condvar::new(),
            storing: Mutex::default(),
        });
        let mut index = Index { shared: shared.clone(), threads: Vec::new() };
        let syncing = shared.clone();
        index.threads.push(std::thread::Builder::new().name("cache-log".into()).spawn(move || syncing.sync_all())?);
        index.threads.push(std::thread::Builder::new().name("cache-index".into()).spawn(move || shared.store_all())?);
        Ok(index)
    }

    /// Accepts a commit: it survives the end of the process when this returns. If it fails, nothing changed, unless it was
    /// too large for the log and the disk would not even say what it has. `names_file` says that a record names a file that
    /// must be there when the record is. Blocks where the store must be written first.
    pub(crate) fn commit(&self, ops: Vec<Op>, names_file: bool) -> Result<Pending> {
        self.commit_if(ops, names_file, |_| Ok(true))?.ok_or_else(|| Error::internal("a commit without a condition"))
    }

    /// Makes a commit in place of a record, if that still is what it was; says whether it did.
    pub(crate) fn commit_instead(&self, table: Table, key: &str, value: &[u8], ops: Vec<Op>) -> Result<bool> {
        Ok(self.commit_where(table, key, |now| now == Some(value), ops, false)?.is_some())
    }

    /// As [`Index::commit`], if a record is as it must be; none where it is not: then nothing changed.
    pub(crate) fn commit_where(
        &self,
        table: Table,
        key: &str,
        must_be: impl Fn(Option<&[u8]>) -> bool,
        ops: Vec<Op>,
        names_file: bool,
    ) -> Result<Option<Pending>> {
        let condition = |state: &State| {
            Ok(match state.overlay.get(table, key) {
                Some(changed) => must_be(changed.as_deref()),
                None => must_be(self.shared.store.get(table, key)?.as_deref()),
            })
        };
        self.commit_if(ops, names_file, condition)
    }

    fn commit_if(
        &self,
        ops: Vec<Op>,
        names_file: bool,
        condition: impl Fn(&State) -> Result<bool>,
    ) -> Result<Option<Pending>> {
        let payload = encode(&ops);
        let makes_room = ops.iter().any(Op::makes_room);
        if payload.len() > MOST_LOGGED_BYTES {
            return self.commit_directly(ops, names_file, condition);
        }
        let mut state = self.shared.state();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(failure) = state.log_failure.clone() {
                return Err(failure);
            }
            if !condition(&state)? {
                return Ok(None);
            }
            let (number, checkpointed) = (state.next, state.checkpointed);
            if (makes_room || !state.is_tight()) && state.wal.append(number, &payload, checkpointed)? {
                break;
            }
            if let Some(failure) = state.store_failure.clone() {
                return Err(failure);
            }
            state.hurry = true;
            self.shared.to_store.notify_one();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Unavailable(None), "the disk that holds the cache is too slow"));
            }
            state = self.shared.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let number = state.next;
        state.next += 1;
        state.names.given += u64::from(names_file);
        let spare = state.has_spare();
        if state.overlay.is_empty() || !spare {
            state.hurry |= !spare;
            self.shared.to_store.notify_one();
        }
        state.overlay.apply(number, ops);
        Ok(Some(Pending { shared: self.shared.clone(), number }))
    }

    /// Whether all that was accepted survives a power loss.
    #[cfg(test)]
    pub(crate) fn is_durable(&self) -> bool {
        let state = self.shared.state();
        state.durable + 1 == state.next
    }

    /// Whether the log is being filled faster than the store takes it up.
    pub(crate) fn is_pressed(&self) -> bool {
        !self.shared.state().has_spare()
    }

    /// One record.
    pub(crate) fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        let changed = self.shared.state().overlay.get(table, key);
        match changed {
            Some(value) => Ok(value.map(|value| value.to_vec())),
            None => self.shared.store.get(table, key),
        }
    }

    /// Calls `each` with every record whose key begins with `prefix`, in order of keys, as they are at one moment.
    pub(crate) fn scan(&self, table: Table, prefix: &str, each: impl FnMut(&str, &[u8])) -> Result<()> {
        self.view(table, prefix)?.each(each)
    }

    /// The records whose key begins with `prefix`, as they are now.
    pub(crate) fn view(&self, table: Table, prefix: &str) -> Result<View> {
        // Nothing goes from the one into the other in between.
        let state = self.shared.state();
        Ok(View { changed: state.overlay.range(table, prefix), stored: self.shared.store.range(table, prefix)? })
    }

    /// The first record whose key is `from` or comes after it.
    pub(crate) fn next(&self, table: Table, from: &str) -> Result<Option<(String, Vec<u8>)>> {
        let mut from = from.to_owned();
        loop {
            let (changed, mut stored) = {
                let state = self.shared.state();
                (state.overlay.next(table, &from), self.shared.store.range_from(table, &from)?)
            };
            let stored = stored.next()?.map(|(key, value)| (key.value().to_owned(), value.value().to_vec()));
            match changed {
                Some((key, value)) if stored.as_ref().is_none_or(|(stored, _)| *stored >= key) => match value {
                    Some(value) => return Ok(Some((key, value.to_vec()))),
                    None => from = key + "\0",
                },
                _ => return Ok(stored),
            }
        }
    }

    /// Up to `most` records whose key begins with `prefix`, in order, from the key `from` on, which begins with it too.
    /// Everyone else waits meanwhile: ask for few.
    pub(crate) fn page(&self, table: Table, prefix: &str, from: &str, most: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let state = self.shared.state();
        let mut stored = self.shared.store.range_from(table, from)?.within(prefix);
        let mut changed = state.overlay.from(table, from).take_while(|(key, _)| key.starts_with(prefix)).peekable();
        let mut record = stored.next()?;
        let mut page = Vec::new();
        while page.len() < most {
            match (changed.peek(), &record) {
                (Some((key, _)), Some((stored_key, _))) if stored_key.value() == key.as_str() => {
                    record = stored.next()?
                }
                (Some((key, _)), Some((stored_key, value))) if stored_key.value() < key.as_str() => {
                    page.push((stored_key.value().to_owned(), value.value().to_vec()));
                    record = stored.next()?;
                }
                (Some(_), _) => {
                    let Some((key, value)) = changed.next() else { break };
                    page.extend(value.as_ref().map(|value| (key.clone(), value.to_vec())));
                }
                (None, Some((stored_key, value))) => {
                    page.push((stored_key.value().to_owned(), value.value().to_vec()));
                    record = stored.next()?;
                }
                (None, None) => break,
            }
        }
        Ok(page)
    }

    /// Puts a commit that is too large for the log into the store, with all that comes before it.
    fn commit_directly(
        &self,
        ops: Vec<Op>,
        names_file: bool,
        condition: impl Fn(&State) -> Result<bool>,
    ) -> Result<Option<Pending>> {
        let shared = &self.shared;
        let _storing = shared.storing.lock().unwrap_or_else(PoisonError::into_inner);
        shared.state().names.given += u64::from(names_file);
        // Most names before, while others go on; those that came meanwhile below.
        shared.sync_names()?;
        let mut state = shared.state();
        if let Some(failure) = state.log_failure.clone() {
            return Err(failure);
        }
        if !condition(&state)? {
            return Ok(None);
        }
        if let Some(given) = state.names.unsynced() {
            shared.content.sync_all()?;
            state.names.synced(given);
        }
        let number = state.next;
        let before = state.overlay.snapshot();
        let mut tables = before.changes();
        for op in &ops {
            tables.push((op.table, vec![(op.key.as_str(), op.value.as_deref())]));
        }
        if let Err(error) = shared.store.write(&tables, number) {
            match shared.store.checkpointed() {
                // It is made all the same; the number must not be given to another.
                Ok(stored) if stored >= number => {
                    tracing::error!(?error, "the cache's index could perhaps not be synced")
                }
                Ok(_) => return Err(error),
                Err(_) => {
                    shared.log_failed(&mut state, error.clone());
                    return Err(error);
                }
            }
        }
        drop(tables);
        state.next += 1;
        state.stored(number);
        shared.room.notify_all();
        Ok(Some(Pending { shared: shared.clone(), number }))
    }
}

impl View {
    /// Calls `each` with every record, in order of keys.
    pub(crate) fn each(self, mut each: impl FnMut(&str, &[u8])) -> Result<()> {
        let View { changed, mut stored } = self;
        let mut record = stored.next()?;
        for (key, value) in changed {
            while let Some((stored_key, stored_value)) = record.take_if(|(stored, _)| stored.value() <= key.as_str()) {
                if stored_key.value() != key {
                    each(stored_key.value(), stored_value.value());
                }
                record = stored.next()?;
            }
            if let Some(value) = value {
                each(&key, &value);
            }
        }
        while let Some((key, value)) = record {
            each(key.value(), value.value());
            record = stored.next()?;
        }
        Ok(())
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.to_sync.notify_one();
        self.shared.to_store.notify_one();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing to say any more.
            let _ = thread.join();
        }
        // Whoever still holds a commit does not keep the files open.
        self.shared.store.close();
    }
}

impl Pending {
    /// Waits until it survives a power loss.
    pub(crate) async fn wait(self) -> Result<()> {
        self.answer().await.map_err(|_| stopped()).flatten()
    }

    /// Waits until it survives a power loss. Blocking.
    pub(crate) fn wait_blocking(self) -> Result<()> {
        self.answer().blocking_recv().map_err(|_| stopped()).flatten()
    }

    fn answer(self) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.state();
        // Who no longer waits does not need the answer, here and below.
        if self.number <= state.durable {
            let _ = sender.send(Ok(()));
        } else if let Some(failure) = &state.log_failure {
            let _ = sender.send(Err(failure.clone()));
        } else if !state.stopping {
            state.waiting.push((self.number, sender));
            self.shared.to_sync.notify_one();
        }
        receiver
    }
}

impl State {
    /// The last of the log's room is kept for commits that take something away: some 10,000.
    fn is_tight(&self) -> bool {
        self.wal.room(self.checkpointed) < self.wal.segment_bytes() / 8
    }

    fn has_spare(&self) -> bool {
        self.wal.has_spare(self.checkpointed)
    }

    /// Everything up to this number is in the store.
    fn stored(&mut self, number: u64) {
        self.overlay.drop_until(number);
        self.checkpointed = number;
        self.durable = self.durable.max(number);
        self.store_failure = None;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs the log for whoever waits; with nobody waiting, gives new files their blocks.
    fn sync_all(&self) {
        let mut state = self.state();
        loop {
            if !state.waiting.is_empty() {
                state = self.sync_once(state);
            } else if state.stopping {
                return;
            } else {
                let filled = if state.log_failure.is_none() { state.wal.fill() } else { Ok(None) };
                state = match filled {
                    Ok(Some(file)) => {
                        drop(state);
                        let synced = file.sync_data();
                        let mut state = self.state();
                        if let Err(error) = synced {
                            self.log_failed(&mut state, error.into());
                        }
                        state
                    }
                    Ok(None) => self.to_sync.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Err(error) => {
                        self.log_failed(&mut state, error);
                        state
                    }
                };
            }
        }
    }

    fn sync_once<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let until = state.next - 1;
        let files = state.wal.take_unsynced();
        let waiting = std::mem::take(&mut state.waiting);
        let failed = state.log_failure.clone();
        drop(state);
        let synced = match failed {
            Some(failure) => Err(failure),
            None => {
                self.sync_names().and_then(|()| files.iter().try_for_each(|file| file.sync_data()).map_err(Error::from))
            }
        };
        let mut state = self.state();
        match &synced {
            Ok(()) => state.durable = state.durable.max(until),
            Err(error) => self.log_failed(&mut state, error.clone()),
        }
        let durable = state.durable;
        for (number, sender) in waiting {
            let _ = sender.send(if number <= durable { Ok(()) } else { synced.clone() });
        }
        state
    }

    /// Syncs the names that files had been given when this was called, unless that was done.
    fn sync_names(&self) -> Result<()> {
        let unsynced = self.state().names.unsynced();
        if let Some(given) = unsynced {
            self.content.sync_all()?;
            self.state().names.synced(given);
        }
        Ok(())
    }

    /// What was not synced once may be gone although a later sync goes well: the files are of no more use.
    fn log_failed(&self, state: &mut State, error: Error) {
        tracing::error!(?error, "the cache's log could not be written");
        state.log_failure = Some(error);
        state.hurry = true;
        self.to_store.notify_one();
    }

    /// Brings the store up to date: when it is wanted, else a while after something came.
    fn store_all(&self) {
        let mut state = self.state();
        loop {
            if state.stopping {
                drop(state);
                // What cannot be written now is in the log.
                let _ = self.store_once();
                return;
            }
            let behind = state.store_failure.is_some() && !state.overlay.is_empty();
            let due = state.hurry || state.log_failure.is_some() || behind;
            if due {
                state.hurry = false;
                drop(state);
                let stored = self.store_once();
                state = self.state();
                if stored.is_err() && !state.stopping {
                    state = self.to_store.wait_timeout(state, AGAIN).unwrap_or_else(PoisonError::into_inner).0;
                }
            } else if state.overlay.is_empty() {
                state = self.to_store.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                let since = Instant::now();
                while !(state.hurry || state.stopping || state.log_failure.is_some()) && since.elapsed() < LAZY {
                    let left = LAZY.saturating_sub(since.elapsed());
                    state = self.to_store.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                state.hurry = true;
            }
        }
    }

    fn store_once(&self) -> Result<()> {
        let _storing = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let (snapshot, until) = {
            let state = self.state();
            if state.overlay.is_empty() && state.log_failure.is_none() {
                return Ok(());
            }
            (state.overlay.snapshot(), state.next - 1)
        };
        let written = self.sync_names().and_then(|()| self.store.write(&snapshot.changes(), until));
        let mut state = self.state();
        match &written {
            Ok(()) => state.stored(until),
            Err(error) => {
                tracing::error!(?error, "the cache's index could not be written");
                state.store_failure = Some(error.clone());
            }
        }
        let outcome = written.and_then(|()| state.renew_log());
        state.hurry |= outcome.is_ok() && !state.has_spare();
        drop(state);
        self.room.notify_all();
        outcome
    }
}

impl State {
    /// A log that failed begins anew once nothing in it is needed any more.
    fn renew_log(&mut self) -> Result<()> {
        if self.log_failure.is_none() {
            return Ok(());
        }
        if !self.overlay.is_empty() {
            self.hurry = true;
            return Ok(());
        }
        self.wal.renew()?;
        self.log_failure = None;
        Ok(())
    }
}

fn stopped() -> Error {
    Error::internal("the index has stopped")
}

#[cfg(test)]
mod tests;
