//! The queue as people see it: each change that waits to be made at the provider, and why it still waits.
//!
//! It orders nothing and carries nothing out. A change is shown as it is in its own moment, so that a long queue is looked
//! through without holding up whoever uses it; two neighbours may be told from two moments.

use std::ops::Bound;

use causeway_cache::{Action, Intent, Log};
use causeway_storage::{Path, Result, Timestamp};
use tokio::time::Instant;

use crate::view::last_touching;
use crate::volume::{State, Volume};

/// A change that waits to be made at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingChange {
    /// Its place in the order.
    pub number: u64,
    /// What it does.
    pub what: What,
    /// Where.
    pub path: Path,
    /// Where to, if it renames.
    pub to: Option<Path>,
    /// The size of what it writes, if it writes.
    pub bytes: Option<u64>,
    /// When it was asked for.
    pub since: Timestamp,
    /// How far it is.
    pub progress: Progress,
}

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A file gets content.
    Write,
    /// A file goes away.
    Remove,
    /// A directory is made.
    MakeDirectory,
    /// A directory goes away.
    RemoveDirectory,
    /// A file or directory moves.
    Rename,
    /// A modification time is set.
    SetModified,
}

/// How far a pending change is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for its turn, or for whoever still writes to the file.
    Waiting,
    /// It is being carried out.
    UnderWay,
    /// It failed and is tried again by itself.
    Retrying {
        /// When.
        at: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It failed for good, and waits for someone.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        error: String,
    },
    /// It waits for an earlier one.
    Blocked {
        /// Which.
        by: u64,
    },
}

impl Volume {
    /// The pending changes numbered above `after`, oldest first, at most `most`.
    pub fn pending_changes(&self, after: Option<u64>, most: usize) -> Vec<PendingChange> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let numbers: Vec<u64> = self.journal().read(|intents, _| {
            let later = intents.range((from, Bound::Unbounded));
            later.map(|(number, _)| *number).take(most).collect()
        });
        let shown = |number| {
            let state = self.state();
            self.journal().look(|log| Some(show(log, &state, log.intents().get(&number)?)))
        };
        numbers.into_iter().filter_map(shown).collect()
    }

    /// Tries one change again now, whether it failed for good or waits; says whether there is such a change.
    pub async fn retry_change(&self, number: u64) -> Result<bool> {
        let (is_there, commit) = self.journal().change(|batch| {
            let intent = batch.intents().get(&number);
            if intent.is_some_and(|intent| intent.failure.is_some()) {
                batch.edit(number, |intent| intent.failure = None);
            }
            Ok(intent.is_some())
        })?;
        self.journal().wait(commit).await?;
        if is_there {
            let mut state = self.state();
            state.waits.remove(&number);
            state.trouble = None;
            drop(state);
            self.circuit.close();
            self.wake.notify_one();
        }
        Ok(is_there)
    }
}

fn show(log: &Log, state: &State, intent: &Intent) -> PendingChange {
    let what = match &intent.action {
        Action::Write { .. } => What::Write,
        Action::Remove { .. } => What::Remove,
        Action::MakeDirectory { .. } => What::MakeDirectory,
        Action::RemoveDirectory { .. } => What::RemoveDirectory,
        Action::Rename { .. } => What::Rename,
        Action::SetModified { .. } => What::SetModified,
    };
    let mut paths = intent.action.paths().cloned();
    let copy = intent.action.staged().and_then(|staged| state.working.get(&staged));
    PendingChange {
        number: intent.id,
        what,
        path: paths.next().unwrap_or_default(),
        to: paths.next(),
        bytes: copy.map(|working| working.staged.size()),
        since: intent.since,
        progress: progress(log, state, intent),
    }
}

fn progress(log: &Log, state: &State, intent: &Intent) -> Progress {
    if state.executing.contains(&intent.id) {
        return Progress::UnderWay;
    }
    if let Some(failure) = &intent.failure {
        return Progress::Failed { at: failure.at, error: failure.message.clone() };
    }
    let earlier = intent.action.paths().filter_map(|path| last_touching(log, path, intent.id));
    if let Some(by) = earlier.map(|earlier| earlier.id).max() {
        return Progress::Blocked { by };
    }
    match state.waits.get(&intent.id) {
        Some(wait) => {
            let mut at = Timestamp::now();
            let pause = wait.until.saturating_duration_since(Instant::now());
            at.seconds = at.seconds.saturating_add_unsigned(pause.as_secs());
            Progress::Retrying { at, error: wait.error.message.clone() }
        }
        None => Progress::Waiting,
    }
}
