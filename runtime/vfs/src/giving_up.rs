//! Giving one pending change up: it leaves the journal without being made, and what it wrote is set aside first.
//!
//! Only the last word on its paths can be given up: what came later was built on it. While its content is set aside the
//! change counts as being carried out, so that nothing starts, folds or rewrites it; and since a file may be opened or
//! written meanwhile, whether it may go is asked again in the moment in which it goes. From then on its paths show what the
//! provider has.

use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use causeway_cache::{Action, Base, Intent};
use causeway_storage::{Path, Result};

use crate::aside::{Kept, account, keep_one};
use crate::file::blocking;
use crate::finish::Outcome;
use crate::known::Void;
use crate::patience::Patience;
use crate::stale::Stale;
use crate::upload::from_vfs;
use crate::volume::{State, Volume, Working};

/// So many changes that stand in the way are named; there may be thousands, and each can only go after those behind it.
const NAMED: usize = 100;

/// What became of giving a change up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It is gone; what it wrote lies there.
    Gone(Option<PathBuf>),
    /// There is no such change.
    Unknown,
    /// It is being carried out.
    UnderWay,
    /// Someone has a file open that it is about.
    Open,
    /// These, and maybe more, were built on it.
    NeededBy(Vec<u64>),
}

impl Volume {
    /// Gives a change up that is not being carried out and on which none depends. What it wrote is put below `directory`,
    /// as [`crate::set_aside`] does it for all.
    pub async fn give_up(self: &Arc<Self>, number: u64, directory: &FilePath) -> Result<GivenUp> {
        let (action, chain) = {
            let mut state = self.state();
            if state.executing.contains(&number) {
                return Ok(GivenUp::UnderWay);
            }
            let intent = match self.last_word(&state, number) {
                Ok(intent) => intent,
                Err(refusal) => return Ok(refusal),
            };
            state.executing.insert(number);
            (intent.action.clone(), chain(&state, &intent.action))
        };
        let _claim = Claim { volume: self, number };
        let kept = {
            let (scope, directory) = (self.scope.clone(), directory.to_owned());
            blocking(move || Ok(keep_one(&scope, &action, &chain, &directory)?)).await.map_err(from_vfs)?
        };
        let gone = self.let_go(number).await;
        let directory = directory.to_owned();
        match gone {
            Ok(Ok(dropped)) => {
                let scope = self.scope.clone();
                let Kept { place, lines } = kept;
                let told = blocking(move || {
                    dropped.iter().for_each(|working| scope.discard(&working.staged));
                    Ok(account(&directory, &lines)?)
                });
                if let Err(error) = told.await {
                    tracing::warn!(?error, "what was given up is set aside, but not in the account");
                }
                Ok(GivenUp::Gone(place))
            }
            // It goes on waiting, and needs no second name.
            Ok(Err(refusal)) => {
                if let Some(place) = kept.place {
                    blocking(move || Ok(std::fs::remove_file(place).map_err(causeway_storage::Error::from)?))
                        .await
                        .map_err(from_vfs)?;
                }
                Ok(refusal)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a change out of the journal, if it still may go; returns its working copy.
    async fn let_go(&self, number: u64) -> Result<std::result::Result<Option<Arc<Working>>, GivenUp>> {
        // A change of names looks first and decides then: neither may see half of this.
        let patience = Patience::new(Duration::ZERO);
        let order = patience.wait("an earlier change of names", self.namespace.lock()).await?;
        let (intent, dropped, commit) = {
            let mut state = self.state();
            let intent = match self.last_word(&state, number) {
                Ok(intent) => intent,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let mut outdated = Vec::new();
            // What never was tried changed nothing there.
            if intent.started {
                self.learn(&mut state, &intent.action, &Outcome::Overtaken);
                for path in intent.action.paths() {
                    outdated.extend(Void::of(path, true).keys(&self.scope)?);
                }
            }
            let (_, commit) = self.journal().change(|batch| {
                batch.delete(number);
                outdated.iter().for_each(|key| batch.drop_known(key));
                if let Action::MakeDirectory { path: made } | Action::Rename { to: made, .. } = &intent.action {
                    let times = batch.log().times();
                    times.keys().filter(|path| path.is_within(made)).for_each(|path| batch.set_time(path, None));
                }
                Ok(())
            })?;
            state.waits.remove(&number);
            let dropped = intent.action.staged().and_then(|staged| state.working.remove(&staged));
            // Nobody has it open; whoever opens it next opens what is there then.
            state.files.retain(|path, _| !touches(&intent.action, path));
            (intent, dropped, commit)
        };
        drop(order);
        self.names.fetch_add(1, Ordering::SeqCst);
        self.journal().wait(commit).await?;
        intent.action.paths().for_each(|path| self.announce(Stale::Below(path.clone())));
        Ok(Ok(dropped))
    }

    /// The change of this number if nothing was built on it and nobody has open what it is about; else why it must stay.
    fn last_word(&self, state: &State, number: u64) -> std::result::Result<Intent, GivenUp> {
        let (intent, later) = self.journal().read(|intents, _| {
            let intent = intents.get(&number).ok_or(GivenUp::Unknown)?;
            let later = intents.range(number..).skip(1).filter(|(_, later)| builds_on(later, intent));
            Ok((intent.clone(), later.map(|(number, _)| *number).take(NAMED).collect::<Vec<_>>()))
        })?;
        if !later.is_empty() {
            return Err(GivenUp::NeededBy(later));
        }
        let is_open = |(path, file): (&Path, &Weak<_>)| {
            touches(&intent.action, path)
                && file.upgrade().is_some_and(|file: Arc<crate::file::OpenFile>| file.is_open())
        };
        let is_written = intent.action.staged().is_some_and(|staged| state.writing.contains_key(&staged));
        if is_written || state.files.iter().any(is_open) { Err(GivenUp::Open) } else { Ok(intent) }
    }
}

/// A change that nobody else may carry out.
struct Claim<'a> {
    volume: &'a Volume,
    number: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.volume.state().executing.remove(&self.number);
        self.volume.wake.notify_one();
        self.volume.dealt_with.notify_waiters();
    }
}

/// The working copy of a change, and those on which it stands, nearest first.
fn chain(state: &State, action: &Action) -> Vec<Arc<Working>> {
    let first = action.staged().and_then(|staged| state.working.get(&staged));
    let below = |working: &&Arc<Working>| match working.base() {
        Some(Base::Staged { id, .. }) => state.working.get(&id),
        _ => None,
    };
    std::iter::successors(first, below).cloned().collect()
}

fn builds_on(later: &Intent, earlier: &Intent) -> bool {
    let base = match &later.action {
        Action::Write { base: Some(Base::Staged { id, .. }), .. } => Some(*id),
        _ => None,
    };
    (base.is_some() && base == earlier.action.staged())
        || later.action.paths().any(|path| touches(&earlier.action, path))
}

/// Whether a change is about a path, something above it or something below it.
fn touches(action: &Action, path: &Path) -> bool {
    action.paths().any(|own| own.is_within(path) || path.is_within(own))
}
