//! What follows when a change was made at the provider.
//!
//! In one step: the intent leaves the journal, what is known of the provider says what stands there now, and the next
//! intent that touches the path learns what it will find. In this order: first what is known, then the journal, so that
//! nobody sees a moment in which neither has it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use causeway_cache::{Action, Base, Batch, Intent, Leaving, ObjectKey, Seen};
use causeway_storage::{Entry, Kind, Path, Result};

use crate::file::{Held, blocking};
use crate::kept::identify;
use crate::known::Void;
use crate::stale::Stale;
use crate::upload::from_vfs;
use crate::view::last_touching;
use crate::volume::{State, Volume, Working};

/// How a change went.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The working copy is this entry now.
    Written(Entry),
    /// Something else stands there; the working copy is beside it.
    Conflict { stands: Box<Entry>, copy_path: Path, copy: Box<Entry> },
    /// This stands there now.
    Stands(Entry),
    /// A directory that only exists here.
    DirectoryHere,
    /// Nothing stands there any more.
    Gone,
    /// It stands at the other place now.
    Moved(Entry),
    /// It stands at the other place now, and what others put at its own meanwhile stays there.
    Copied(Entry),
    /// Others were faster, and what they did stays: the provider must be asked.
    Overtaken,
}

impl Volume {
    /// Takes an intent that went through out of the journal.
    pub(crate) async fn finish(self: &Arc<Self>, intent: &Intent, outcome: Outcome) -> Result<()> {
        let written = match &intent.action {
            Action::Write { staged, .. } => self.state().working.get(staged).cloned(),
            _ => None,
        };
        let kept = written.as_ref().and_then(|_| kept_at(&intent.action, &outcome));
        let sealed = match (&written, &kept) {
            (Some(working), Some(_)) => {
                let (scope, staged) = (self.scope.clone(), working.staged.clone());
                Some(blocking(move || Ok(scope.seal(&staged)?)).await.map_err(from_vfs)?)
            }
            _ => None,
        };
        let modified = written.as_ref().map(|working| working.staged.modified());
        let keeps = self.journal().keeps_any() && !matches!(outcome, Outcome::Conflict { .. });
        // What is remembered of the directories learns of the change, too.
        for parent in intent.action.paths().filter_map(Path::parent) {
            self.recall_listing(&parent).await;
        }
        let (commit, now, former) = {
            let mut state = self.state();
            let now = self.learn(&mut state, &intent.action, &outcome);
            let wide = is_wide(&intent.action, &outcome);
            let changed: BTreeSet<&Path> = intent.action.paths().chain(now.iter().map(|(path, _)| path)).collect();
            let changed = changed.into_iter();
            let outdated = changed.map(|path| Void::of(path, wide).keys(&self.scope)).collect::<Result<Vec<_>>>()?;
            let (leaving, commit) = self.journal().change(|batch| {
                batch.delete(intent.id);
                outdated.iter().flatten().for_each(|key| batch.drop_known(key));
                self.note_directories(batch, &intent.action, &outcome);
                if keeps {
                    identify(batch, intent, &now, modified)?;
                }
                for (path, _) in now.iter().filter(|(_, seen)| seen.is_some()) {
                    drop_filled(batch, intent.id, path);
                }
                // With thousands pending, most are alone on their paths: nobody waits to learn what became of them.
                let is_later =
                    |path: &Path| last_touching(batch.log(), path, u64::MAX).is_some_and(|later| later.id > intent.id);
                if intent.action.paths().chain(now.iter().map(|(path, _)| path)).any(is_later) {
                    match (&intent.action, &kept) {
                        // What comes next was decided by who never saw theirs: it finds what this found, and ours beside it.
                        (Action::Write { path, existing, .. }, Some(ours)) if ours.path != *path => {
                            expect(batch, intent.id, path, existing.as_ref(), Some(ours));
                        }
                        _ => now.iter().for_each(|(path, seen)| {
                            expect(batch, intent.id, path, seen.as_ref(), seen.as_ref());
                        }),
                    }
                    rebase(batch, &state, &intent.action, &outcome, kept.as_ref());
                }
                let key = kept.as_ref().and_then(ObjectKey::of);
                let keeping = written.as_ref().zip(key).zip(sealed);
                keeping
                    .map(|((working, key), sealed)| self.scope.keep(batch, &working.staged, sealed, &key))
                    .transpose()
            })?;
            let former = leaving.and_then(Leaving::made);
            if let Some(key) = kept.as_ref().and_then(ObjectKey::of) {
                // Who reads what was here of the version goes on; whoever opens it from now on gets what was uploaded.
                state.contents.remove(&key);
            }
            state.waits.remove(&intent.id);
            state.trouble = None;
            if let Some(working) = &written {
                state.working.remove(&working.staged.id());
                if let Some(seen) = &kept {
                    // Nobody else sets it.
                    let _ = working.became.set(seen.clone());
                }
            }
            (commit, now, former)
        };
        self.journal().wait(commit).await?;
        self.learnt.notify_one();
        if let Some(working) = written {
            self.put_away(&working, kept, former).await;
        }
        match outcome {
            // Something else altogether may stand there.
            Outcome::Overtaken => intent.action.paths().for_each(|path| self.announce(Stale::Below(path.clone()))),
            Outcome::Conflict { .. } => now.into_iter().for_each(|(path, _)| self.announce(Stale::Entry(path))),
            Outcome::Copied(_) => intent.action.paths().for_each(|path| self.announce(Stale::Entry(path.clone()))),
            // Names changed when it was asked for; the provider may keep other times than were written.
            _ => {
                let stands = now.into_iter().filter(|(_, seen)| seen.is_some());
                stands.for_each(|(path, _)| self.announce(Stale::Attributes(path)));
            }
        }
        Ok(())
    }

    /// Lays the outcome over what is known, and says what stands where now.
    pub(crate) fn learn(&self, state: &mut State, action: &Action, outcome: &Outcome) -> Vec<(Path, Option<Seen>)> {
        let path = action.paths().next().cloned().unwrap_or_default();
        let mut now: Vec<(Path, Kind, Option<Entry>)> = Vec::new();
        match (outcome, action) {
            (Outcome::Written(entry) | Outcome::Stands(entry), _) => {
                now.push((path, entry.kind, Some(entry.clone())));
                if let Action::SetModified { node, .. } = action {
                    relocate(state, |seen| retimed(seen, node, entry));
                }
            }
            (Outcome::Conflict { stands, copy_path, copy }, _) => {
                now.push((path, stands.kind, Some(stands.as_ref().clone())));
                now.push((copy_path.clone(), Kind::File, Some(copy.as_ref().clone())));
            }
            (Outcome::Gone, Action::RemoveDirectory { .. }) => now.push((path, Kind::Directory, None)),
            (Outcome::Gone, _) => now.push((path, Kind::File, None)),
            (Outcome::Moved(entry), Action::Rename { from, to, .. }) => {
                now.push((path, from.kind, None));
                now.push((to.clone(), from.kind, Some(entry.clone())));
                relocate(state, |seen| moved(seen, from, to, entry));
            }
            (Outcome::Copied(entry), Action::Rename { from, to, .. }) => {
                now.push((to.clone(), from.kind, Some(entry.clone())));
                relocate(state, |seen| moved(seen, from, to, entry));
                state.known.doubt(&path);
            }
            (Outcome::Moved(_) | Outcome::Copied(_) | Outcome::DirectoryHere, _) => {}
            (Outcome::Overtaken, _) => action.paths().for_each(|path| state.known.doubt(path)),
        }
        // A directory that only existed here and has something in it now exists there.
        let filled = |path: &Path| {
            let above = std::iter::successors(path.parent(), Path::parent);
            self.journal().read(|_, here| above.filter(|path| here.contains(path)).collect::<Vec<_>>())
        };
        for (path, ..) in now.iter().filter(|(.., entry)| entry.is_some()) {
            for above in filled(path) {
                let shown = named(&above, Entry::directory(""));
                // What is known of its content stays.
                state.known.changed(&above, Some(shown), Kind::File);
            }
        }
        for (path, kind, entry) in &now {
            state.known.changed(path, entry.clone().map(|entry| named(path, entry)), *kind);
        }
        now.into_iter().map(|(path, _, entry)| (path.clone(), entry.map(|entry| Seen::of(path, &entry)))).collect()
    }

    fn note_directories(&self, batch: &mut Batch<'_>, action: &Action, outcome: &Outcome) {
        match (outcome, action) {
            (Outcome::DirectoryHere, Action::MakeDirectory { path }) => batch.add_directory(path),
            (Outcome::Gone, Action::RemoveDirectory { directory }) if batch.directories().contains(&directory.path) => {
                batch.drop_directory(&directory.path);
            }
            (Outcome::Moved(_), Action::Rename { from, to, .. }) if from.kind == Kind::Directory => {
                for path in batch.directories().iter().filter(|path| path.is_within(&from.path)) {
                    batch.drop_directory(path);
                    if let Some(moved) = path.moved(&from.path, to) {
                        batch.add_directory(&moved);
                    }
                }
            }
            _ => {}
        }
    }

    /// An uploaded working copy becomes the cached content of its version, and `former` goes, the file that was that before;
    /// who has the copy open reads the content from now on.
    pub(crate) async fn put_away(
        self: &Arc<Self>,
        working: &Arc<Working>,
        kept: Option<Seen>,
        former: Option<PathBuf>,
    ) {
        let (volume, working) = (self.clone(), working.clone());
        let put = blocking(move || {
            volume.scope.kept(&working.staged, former.as_deref());
            let Some(seen) = kept else { return Ok(()) };
            let content = volume.content(&seen)?;
            let keep = volume.keeps_written();
            if keep {
                content.keep();
            }
            let mut open = false;
            let files: Vec<_> = volume.state().files.values().filter_map(std::sync::Weak::upgrade).collect();
            for file in files {
                if let Held::Working { working: held, .. } = file.held()
                    && Arc::ptr_eq(&held, &working)
                {
                    file.set_held(Held::Clean { seen: seen.clone(), content: content.clone() });
                    // Who closes it from now on finds it clean, and puts it away.
                    open |= file.is_open();
                }
            }
            if !keep && !open {
                let object = content.object.clone();
                drop(content);
                volume.scope.forget(object)?;
            }
            Ok(())
        });
        if let Err(error) = put.await {
            tracing::warn!(?error, "an uploaded file could not be put into the cache");
        }
    }
}

/// Whether what is known of a whole directory changed.
fn is_wide(action: &Action, outcome: &Outcome) -> bool {
    let directory = match action {
        Action::RemoveDirectory { .. } => true,
        Action::Rename { from, .. } => from.kind == Kind::Directory,
        _ => false,
    };
    directory || matches!(outcome, Outcome::Overtaken)
}

/// Directories that only existed here are forgotten once something is in them, unless what is still to come could empty
/// them again.
fn drop_filled(batch: &mut Batch<'_>, finished: u64, path: &Path) {
    for above in std::iter::successors(path.parent(), Path::parent) {
        if !batch.directories().contains(&above) {
            continue;
        }
        if batch.log().last_below(&above, u64::MAX).is_none_or(|intent| intent.id == finished) {
            batch.drop_directory(&above);
        }
    }
}

/// Where, and as which version, a working copy is at the provider now.
fn kept_at(action: &Action, outcome: &Outcome) -> Option<Seen> {
    match outcome {
        Outcome::Written(entry) => Some(Seen::of(action.paths().next()?.clone(), entry)),
        Outcome::Conflict { copy_path, copy, .. } => Some(Seen::of(copy_path.clone(), copy)),
        _ => None,
    }
}

fn named(path: &Path, mut entry: Entry) -> Entry {
    entry.name = path.name().unwrap_or_default().to_owned();
    entry
}

/// Tells the next intent that touches `path` what it will find there if it puts something else there, and where it finds
/// what it is about: there, or beside it.
fn expect(batch: &mut Batch<'_>, finished: u64, path: &Path, stands: Option<&Seen>, ours: Option<&Seen>) {
    let mut at = path.clone();
    for intent in batch.intents().values().filter(|intent| intent.id > finished) {
        let touches = match &intent.action {
            Action::Write { path, .. } => *path == at,
            Action::Remove { file: seen } | Action::SetModified { node: seen, .. } => seen.path == at,
            Action::Rename { from, to, .. } if from.path != at && *to != at => {
                if at.is_within(&from.path) {
                    at = at.moved(&from.path, to).unwrap_or(at);
                }
                false
            }
            Action::Rename { .. } => true,
            Action::MakeDirectory { .. } | Action::RemoveDirectory { .. } => false,
        };
        if touches {
            batch.edit(intent.id, |intent| find(&mut intent.action, &at, stands, ours));
            return;
        }
    }
}

fn find(action: &mut Action, at: &Path, stands: Option<&Seen>, ours: Option<&Seen>) {
    let stands = stands.map(|seen| Seen { path: at.clone(), ..seen.clone() });
    // The directory may have another name by now.
    let beside = |seen: &Seen| at.parent().zip(seen.path.name()).and_then(|(parent, name)| parent.child(name).ok());
    let ours = ours.map(|seen| Seen { path: beside(seen).unwrap_or_else(|| at.clone()), ..seen.clone() });
    match action {
        Action::Write { existing, .. } => *existing = stands,
        Action::Remove { file: seen } | Action::SetModified { node: seen, .. } => {
            *seen = ours.unwrap_or_else(|| Seen { version: None, ..seen.clone() });
        }
        Action::Rename { from, .. } if from.path == *at => *from = ours.unwrap_or_else(|| from.clone()),
        Action::Rename { replaces, .. } => *replaces = stands,
        Action::MakeDirectory { .. } | Action::RemoveDirectory { .. } => {}
    }
}

/// Working copies that began from what was uploaded, moved or given a time just now learn where that is.
fn rebase(batch: &mut Batch<'_>, state: &State, action: &Action, outcome: &Outcome, kept: Option<&Seen>) {
    let pending = batch.intents();
    for intent in pending.values() {
        let Action::Write { staged, base: Some(base), .. } = &intent.action else { continue };
        let new = match (base, action, outcome) {
            (Base::Staged { id, .. }, Action::Write { staged: uploaded, .. }, _) if id == uploaded => kept.cloned(),
            (Base::Remote(seen), Action::Rename { from, to, .. }, Outcome::Moved(entry) | Outcome::Copied(entry)) => {
                moved(seen, from, to, entry)
            }
            (Base::Remote(seen), Action::SetModified { node, .. }, Outcome::Stands(entry)) => {
                retimed(seen, node, entry)
            }
            _ => None,
        };
        let Some(new) = new.map(Base::Remote) else { continue };
        if let Some(working) = state.working.get(staged) {
            working.set_base(new.clone());
        }
        batch.edit(intent.id, |intent| {
            if let Action::Write { base, .. } = &mut intent.action {
                *base = Some(new);
            }
        });
    }
}

/// Open content follows what moved, or became another version of the same bytes: also for who opens it from now on.
fn relocate(state: &mut State, now: impl Fn(&Seen) -> Option<Seen>) {
    let contents: Vec<_> = state.contents.values().filter_map(std::sync::Weak::upgrade).collect();
    for content in contents {
        let Some(source) = now(&content.source()) else { continue };
        let key = ObjectKey::of(&source);
        content.set_source(source);
        // Who opened it there before this was known has a content of their own.
        if let Some(key) = key.filter(|key| state.contents.get(key).is_none_or(|other| other.strong_count() == 0)) {
            state.contents.insert(key, Arc::downgrade(&content));
        }
    }
    for file in state.files.values().filter_map(std::sync::Weak::upgrade) {
        file.follow(&now);
    }
}

/// Where `seen` is after a move, if it moved along.
fn moved(seen: &Seen, from: &Seen, to: &Path, entry: &Entry) -> Option<Seen> {
    let below = seen.path.below(&from.path)?;
    let path = to.join(&below).ok()?;
    // Another version at that path stayed behind, or was replaced: it did not move along. Whatever stood there moved where
    // nobody knew its version.
    match from.kind {
        Kind::File if from.version.is_none() || seen.version == from.version => {
            Some(Seen { modified: seen.modified, ..Seen::of(path, entry) })
        }
        Kind::File => None,
        Kind::Directory => Some(Seen { path, ..seen.clone() }),
    }
}

/// What `seen` is after its time was set, if that is what was set.
fn retimed(seen: &Seen, node: &Seen, entry: &Entry) -> Option<Seen> {
    let is_it = seen.path == node.path && seen.version.is_some() && seen.version == node.version;
    is_it.then(|| Seen::of(node.path.clone(), entry))
}
