//! Asking the provider what stands where.
//!
//! What is fresh is answered from what is known, in memory or remembered from before. A question that must be asked is asked
//! once, however many wait for its answer. It is about one entry, and never lists the directory, unless many entries of one
//! directory are asked for in quick succession: then one list, which is what a program that looks at everything pays anywhere,
//! answers all of them, and what is not there as well. When nobody answers, what was known is shown instead for as long as
//! mounts allow: what stood there at any failure that may pass, that nothing stood there only while the storage is taken
//! for unreachable. What never was known is an error, and never "absent".

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use causeway_storage::{Entry, Error, ErrorKind, Path, Result};
use lru::LruCache;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::VfsError;
use crate::known::{LARGEST_LISTING, Settled};
use crate::patience::Patience;
use crate::volume::{ATTEMPTS, Volume};

/// So many entries of one directory asked for within [`SUCCESSION`] are few: each question costs a round trip. One more is a
/// program that goes through the directory: a list costs as much as one of them, and brings a thousand.
const FEW: u32 = 8;

/// What counts as quick succession.
const SUCCESSION: Duration = Duration::from_secs(1);

/// A list that takes longer leaves who waits for it no time to ask for the entry.
const LISTING: Duration = Duration::from_secs(4);

/// A directory that was too large to be listed for this, or could not be, is not tried again for so long.
const NOT_AGAIN: Duration = Duration::from_secs(300);

/// Directories of which it is remembered how often they were asked about lately.
const ASKED_ABOUT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Questions under way, and how often each directory was asked about lately.
#[derive(Debug)]
pub(crate) struct Asking {
    flights: HashMap<Question, watch::Receiver<Option<Answer>>>,
    lately: LruCache<Path, Lately>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Entry(Path),
    Directory(Path),
}

#[derive(Clone, Debug)]
enum Answer {
    This(Option<Entry>),
    /// Look at what is known now.
    Again,
    Failed(Error),
}

#[derive(Debug)]
struct Lately {
    since: Instant,
    count: u32,
    refused: Option<Instant>,
}

impl Asking {
    pub(crate) fn new() -> Asking {
        Asking { flights: HashMap::new(), lately: LruCache::new(ASKED_ABOUT) }
    }

    /// What to ask to learn of a path.
    fn question(&mut self, path: &Path, may_list: bool) -> Question {
        let now = Instant::now();
        let Some(directory) = path.parent().filter(|_| may_list) else { return Question::Entry(path.clone()) };
        let fresh = || Lately { since: now, count: 0, refused: None };
        let lately = self.lately.get_or_insert_mut(directory.clone(), fresh);
        if lately.since.elapsed() > SUCCESSION {
            (lately.since, lately.count) = (now, 0);
        }
        lately.count += 1;
        let refused = lately.refused.is_some_and(|at| at.elapsed() <= NOT_AGAIN);
        if lately.count > FEW && !refused { Question::Directory(directory) } else { Question::Entry(path.clone()) }
    }

    fn refuse(&mut self, directory: &Path) {
        if let Some(lately) = self.lately.get_mut(directory) {
            lately.refused = Some(Instant::now());
        }
    }
}

impl Volume {
    /// What the provider has at `path`.
    pub(crate) async fn ask(&self, path: &Path, patience: Patience) -> Result<Option<Entry>, VfsError> {
        if let Some(entry) = self.fresh(path, patience) {
            return Ok(entry);
        }
        self.recall(path).await;
        // Without a time for which a list counts as fresh it would answer nobody.
        let mut may_list = patience.max_age >= SUCCESSION;
        for _ in 0..ATTEMPTS {
            if let Some(entry) = self.fresh(path, patience) {
                return Ok(entry);
            }
            let question = self.state().asking.question(path, may_list);
            may_list &= matches!(question, Question::Entry(_));
            match self.answer(question, patience).await {
                Answer::This(entry) => return Ok(entry),
                Answer::Again => {}
                Answer::Failed(error) => return self.instead(path, error),
            }
        }
        Err(VfsError::of(ErrorKind::Unavailable(None), "the directory changed while it was looked up"))
    }

    fn fresh(&self, path: &Path, patience: Patience) -> Option<Option<Entry>> {
        let mut state = self.state();
        let entry = state.known.get(path, patience.max_age)?;
        if let Some(parent) = path.parent() {
            state.looked_at.note(&parent);
        }
        Some(entry)
    }

    /// What was known, where nobody answers.
    fn instead(&self, path: &Path, error: Error) -> Result<Option<Entry>, VfsError> {
        if !error.is_passing() || !self.shows_old(path) {
            return Err(error.into());
        }
        match self.state().known.last(path) {
            Some(Some(entry)) => Ok(Some(entry)),
            Some(None) if self.circuit.is_open() => Ok(None),
            _ => Err(error.into()),
        }
    }

    /// The answer to a question, which is asked unless somebody asks it already.
    async fn answer(&self, question: Question, patience: Patience) -> Answer {
        let (flight, answer) = {
            let mut state = self.state();
            match state.asking.flights.get(&question) {
                Some(answer) => (None, answer.clone()),
                None => {
                    let (tell, answer) = watch::channel(None);
                    state.asking.flights.insert(question.clone(), answer.clone());
                    (Some(Flight { volume: self, question: question.clone(), tell }), answer)
                }
            }
        };
        let Some(flight) = flight else { return follow(answer, patience).await };
        let asked = async {
            match &question {
                Question::Entry(path) => self.look_up(path).await,
                Question::Directory(path) => match tokio::time::timeout(LISTING, self.list_for_all(path)).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        self.state().asking.refuse(path);
                        Answer::Again
                    }
                },
            }
        };
        match patience.wait("the storage", asked).await {
            Ok(answer) => {
                flight.tell.send_replace(Some(answer.clone()));
                answer
            }
            // Those who wait for the same may have more patience.
            Err(error) => Answer::Failed(error),
        }
    }

    async fn look_up(&self, path: &Path) -> Answer {
        let asked = self.state().known.asking();
        match self.storage.stat(path).await {
            Ok(entry) => match self.learn_of(|known| known.settle(path, asked, entry)) {
                Settled::Known(entry) => Answer::This(entry),
                Settled::Again => Answer::Again,
            },
            Err(error) => Answer::Failed(error),
        }
    }

    /// Lists a directory once for everybody who asks about what is in it.
    async fn list_for_all(&self, directory: &Path) -> Answer {
        match self.listed(directory, || std::future::ready(())).await {
            Ok(true) => {}
            Ok(false) => self.state().asking.refuse(directory),
            Err(error) if error.is_passing() => return Answer::Failed(error),
            // Each entry is asked for by itself then.
            Err(_) => self.state().asking.refuse(directory),
        }
        Answer::Again
    }

    /// Lists a directory and takes what it says, with a pause between two pages; not if it is too large to be known as a
    /// whole.
    pub(crate) async fn listed<P: Future<Output = ()>>(&self, directory: &Path, pause: impl Fn() -> P) -> Result<bool> {
        let asked = self.state().known.asking();
        let mut entries: Vec<Entry> = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.storage.list(directory, cursor.as_ref()).await?;
            entries.extend(page.entries);
            if entries.len() > LARGEST_LISTING {
                return Ok(false);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
            pause().await;
        }
        self.learn_of(|known| {
            let refine = |entry: Entry| match directory.child(&entry.name) {
                Ok(path) => known.refined(&path, entry),
                Err(_) => entry,
            };
            let entries = entries.into_iter().map(refine).collect();
            known.put_listing(directory, asked, entries);
        });
        Ok(true)
    }
}

async fn follow(mut answer: watch::Receiver<Option<Answer>>, patience: Patience) -> Answer {
    let told = async {
        // Whoever asked may have given up.
        answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone()).unwrap_or(Answer::Again)
    };
    patience.wait("the storage", told).await.unwrap_or_else(Answer::Failed)
}

/// A question under way. When it ends, however it does, the next one is asked anew.
struct Flight<'a> {
    volume: &'a Volume,
    question: Question,
    tell: watch::Sender<Option<Answer>>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.volume.state().asking.flights.remove(&self.question);
    }
}
