//! Whether the storage can be reached, found out by the calls that are made anyway.
//!
//! A circuit breaker. [`Reached`] is the storage as everything in a volume uses it: each call says how it went. After a few
//! failures in a row that mean "cannot reach", or one call that was given up because nothing came, neither to it nor to any
//! other meanwhile, the circuit is open: calls fail at once, without being made, so that what is known is shown at once and
//! changes wait in their queue. While it is open, one trial at a time is made in the background, at growing intervals; the
//! first that reaches the storage closes it.
//! An answer that someone does not like (nothing there, not allowed, too fast) is an answer. It decides nothing about what
//! is shown instead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use causeway_storage::{
    Body, Cursor, Entry, Error, ErrorKind, Features, Identity, News, Node, Page, Path, Result, Room, Source, Span,
    Storage, Timestamp, WriteIntent, WriteLog,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::patience::METADATA;

/// Failures in a row that open the circuit. The storage itself tried again before it said so; one of them may be the fault
/// of what was asked for, three are not.
const FAILURES: u32 = 3;

/// A call that was given up after so long was given up because nothing came.
const SILENCE: Duration = Duration::from_secs(5);

/// The pause before the first trial; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause: a storage that is back is noticed by then.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Since when, and why, a storage cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Since when.
    pub since: Timestamp,
    /// The last failure.
    pub error: Error,
}

/// What is known of the way to a storage.
#[derive(Debug)]
pub(crate) struct Circuit {
    state: Mutex<State>,
    open: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    outage: Option<Outage>,
    contact: Option<Instant>,
}

impl Circuit {
    /// One that was last in contact at that moment, if ever.
    pub(crate) fn new(contact: Option<Instant>) -> Arc<Circuit> {
        let state = Mutex::new(State { contact, ..State::default() });
        Arc::new(Circuit { state, open: watch::Sender::new(false) })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state().outage.is_some()
    }

    pub(crate) fn outage(&self) -> Option<Outage> {
        self.state().outage.clone()
    }

    /// When the storage answered last; none if it never did.
    pub(crate) fn last_contact(&self) -> Option<Instant> {
        self.state().contact
    }

    /// Ticks whenever the circuit opens or closes.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Takes the storage for reachable until it shows that it is not.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.outage = None;
        // Under the lock, as below: whoever watches must not be told of the two in another order.
        self.open.send_if_modified(std::mem::take);
    }

    fn enter(&self) -> Result<Call<'_>> {
        match &self.state().outage {
            Some(outage) => {
                let message = format!("the storage cannot be reached: {}", outage.error.message);
                Err(Error::new(ErrorKind::Unavailable(None), message))
            }
            None => Ok(Call { circuit: self, began: Instant::now(), ended: false }),
        }
    }

    fn note<T>(&self, result: &Result<T>) {
        match result {
            Ok(_) => self.reached(),
            Err(error) => match error.kind {
                ErrorKind::Unavailable(_) => self.failed(1, error.clone()),
                // Says nothing of the way there.
                ErrorKind::Internal | ErrorKind::Unsupported | ErrorKind::Invalid => {}
                ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::IsDirectory
                | ErrorKind::NotADirectory
                | ErrorKind::DirectoryNotEmpty
                | ErrorKind::Denied
                | ErrorKind::Unauthenticated
                | ErrorKind::PreconditionFailed
                | ErrorKind::RateLimited(_)
                | ErrorKind::QuotaExceeded
                | ErrorKind::Corrupt => self.reached(),
            },
        }
    }

    fn reached(&self) {
        self.state().contact = Some(Instant::now());
        self.close();
    }

    fn failed(&self, count: u32, error: Error) {
        let mut state = self.state();
        state.failures += count;
        if state.failures < FAILURES {
            return;
        }
        match &mut state.outage {
            Some(outage) => outage.error = error,
            None => {
                tracing::warn!(?error, "the storage cannot be reached");
                state.outage = Some(Outage { since: Timestamp::now(), error });
            }
        }
        self.open.send_if_modified(|open| !std::mem::replace(open, true));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way.
struct Call<'a> {
    circuit: &'a Circuit,
    began: Instant,
    ended: bool,
}

impl Call<'_> {
    fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.ended = true;
        self.circuit.note(&result);
        result
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Where others were answered meanwhile, it is what was asked for that does not come.
        let answered = self.circuit.last_contact().is_some_and(|contact| contact > self.began);
        if !self.ended && !answered && self.began.elapsed() >= SILENCE {
            self.circuit.failed(FAILURES, silent());
        }
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Unavailable(None), "it does not answer")
}

/// Tries, while the circuit is open, whether the storage is back, until it is aborted.
pub(crate) async fn run(circuit: Arc<Circuit>, storage: Arc<dyn Storage>) {
    let mut open = circuit.watch();
    loop {
        // A circuit that is gone has nobody left to try for.
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let mut pause = FIRST_PAUSE;
        while circuit.is_open() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let tried = tokio::time::timeout(METADATA, storage.probe()).await.unwrap_or_else(|_| Err(silent()));
            match &tried {
                Err(error) if matches!(error.kind, ErrorKind::Unavailable(_)) => {
                    if circuit.is_open() {
                        circuit.failed(FAILURES, error.clone());
                    }
                }
                // Whatever it answered, it is there, or asking it again does not help.
                _ => circuit.reached(),
            }
        }
        tracing::info!("the storage can be reached again");
    }
}

/// A storage whose calls say whether it can be reached, and are not made while it cannot.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) circuit: Arc<Circuit>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Storage for Reached {
    fn features(&self) -> Arc<Features> {
        self.inner.features()
    }

    async fn probe(&self) -> Result<Identity> {
        let call = self.circuit.enter()?;
        call.end(self.inner.probe().await)
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        let call = self.circuit.enter()?;
        call.end(self.inner.stat(path).await)
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        let call = self.circuit.enter()?;
        call.end(self.inner.list(directory, cursor).await)
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        let call = self.circuit.enter()?;
        call.end(self.inner.read(file, span).await)
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        let call = self.circuit.enter()?;
        call.end(self.inner.write(intent, content, log).await)
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        let call = self.circuit.enter()?;
        call.end(self.inner.remove_file(file).await)
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        let call = self.circuit.enter()?;
        call.end(self.inner.make_directory(path).await)
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        let call = self.circuit.enter()?;
        call.end(self.inner.remove_directory(directory).await)
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let call = self.circuit.enter()?;
        call.end(self.inner.move_to(from, to, replaces).await)
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let call = self.circuit.enter()?;
        call.end(self.inner.copy_to(from, to, replaces).await)
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        let call = self.circuit.enter()?;
        call.end(self.inner.set_modified(node, modified).await)
    }

    async fn room(&self) -> Result<Room> {
        let call = self.circuit.enter()?;
        call.end(self.inner.room().await)
    }

    async fn purge(&self, directory: &Node) -> Result<()> {
        let call = self.circuit.enter()?;
        call.end(self.inner.purge(directory).await)
    }

    async fn link(&self, node: &Node, lives: Option<Duration>) -> Result<String> {
        let call = self.circuit.enter()?;
        call.end(self.inner.link(node, lives).await)
    }

    async fn unlink(&self, node: &Node) -> Result<()> {
        let call = self.circuit.enter()?;
        call.end(self.inner.unlink(node).await)
    }

    async fn clean(&self, directory: &Node) -> Result<()> {
        let call = self.circuit.enter()?;
        call.end(self.inner.clean(directory).await)
    }

    async fn versions(&self, file: &Node, cursor: Option<&Cursor>) -> Result<Page> {
        let call = self.circuit.enter()?;
        call.end(self.inner.versions(file, cursor).await)
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<News> {
        let call = self.circuit.enter()?;
        call.end(self.inner.changes(cursor).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    /// Answers a probe, or not, and counts them.
    #[derive(Debug, Default)]
    struct There {
        silent: AtomicBool,
        failing: AtomicBool,
        probes: AtomicU32,
    }

    #[async_trait]
    impl Storage for There {
        fn features(&self) -> Arc<Features> {
            Arc::default()
        }

        async fn probe(&self) -> Result<Identity> {
            self.probes.fetch_add(1, Ordering::SeqCst);
            self.stat(&Path::ROOT).await.map(|_| Identity::default())
        }

        async fn stat(&self, _: &Path) -> Result<Option<Entry>> {
            if self.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            match self.failing.load(Ordering::SeqCst) {
                true => Err(Error::new(ErrorKind::Unavailable(None), "no route")),
                false => Ok(None),
            }
        }

        async fn list(&self, _: &Path, _: Option<&Cursor>) -> Result<Page> {
            Err(Error::new(ErrorKind::RateLimited(None), "too fast"))
        }

        async fn read(&self, _: &Node, _: Span) -> Result<Body> {
            Err(Error::unsupported("read"))
        }
    }

    fn reached() -> (Arc<There>, Reached, tokio::task::JoinHandle<()>) {
        let (there, circuit) = (Arc::new(There::default()), Circuit::new(None));
        let running = tokio::spawn(run(circuit.clone(), there.clone()));
        (there.clone(), Reached { inner: there, circuit }, running)
    }

    #[tokio::test(start_paused = true)]
    async fn three_failures_in_a_row_open_it_and_one_or_two_do_not() {
        let (there, storage, _running) = reached();
        for _ in 0..3 {
            there.failing.store(true, Ordering::SeqCst);
            storage.stat(&Path::ROOT).await.unwrap_err();
            storage.stat(&Path::ROOT).await.unwrap_err();
            assert!(!storage.circuit.is_open());
            there.failing.store(false, Ordering::SeqCst);
            storage.stat(&Path::ROOT).await.unwrap();
        }
        there.failing.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            storage.stat(&Path::ROOT).await.unwrap_err();
        }
        assert_eq!(storage.circuit.outage().unwrap().error.message, "no route");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_or_too_fast_was_reached() {
        let (_, storage, _running) = reached();
        for _ in 0..10 {
            storage.list(&Path::ROOT, None).await.unwrap_err();
        }
        assert!(!storage.circuit.is_open() && storage.circuit.last_contact().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_given_up_because_nothing_came_opens_it_and_one_given_up_at_once_does_not() {
        let (there, storage, _running) = reached();
        there.silent.store(true, Ordering::SeqCst);
        tokio::time::timeout(Duration::from_secs(1), storage.stat(&Path::ROOT)).await.unwrap_err();
        assert!(!storage.circuit.is_open());
        tokio::time::timeout(METADATA, storage.stat(&Path::ROOT)).await.unwrap_err();
        assert!(storage.circuit.is_open());
        let began = Instant::now();
        let error = storage.stat(&Path::ROOT).await.unwrap_err();
        assert_eq!((error.kind, began.elapsed()), (ErrorKind::Unavailable(None), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_given_up_while_others_were_answered_does_not_open_it() {
        let (there, storage, _running) = reached();
        there.silent.store(true, Ordering::SeqCst);
        let given_up = async { tokio::time::timeout(METADATA, storage.stat(&Path::ROOT)).await };
        let answered = async {
            tokio::time::sleep(METADATA / 2).await;
            storage.list(&Path::ROOT, None).await
        };
        let (given_up, _) = tokio::join!(given_up, answered);
        given_up.unwrap_err();
        assert!(!storage.circuit.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_at_growing_intervals_and_closes_within_half_a_minute() {
        let (there, storage, _running) = reached();
        there.failing.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            storage.stat(&Path::ROOT).await.unwrap_err();
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let probes = there.probes.load(Ordering::SeqCst);
        assert!((120..=130).contains(&probes), "{probes}");
        there.failing.store(false, Ordering::SeqCst);
        tokio::time::sleep(LONGEST_PAUSE).await;
        assert!(!storage.circuit.is_open());
        storage.stat(&Path::ROOT).await.unwrap();
    }
}
