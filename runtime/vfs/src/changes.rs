//! Changes of the name space: each is looked up, decided and journalled as one step, and answered once it is durable.
//!
//! Nothing is asked of the provider here but what stands where; making the change there is the uploader's. Intents that
//! were not started yet are folded where that is plainly the same: a file that never was uploaded and is removed leaves
//! no trace; one that is renamed is uploaded under its new name; a removal followed by a new file is a replacement. An
//! intent is folded only if nothing later touches its path, and a changed place in the order is a new place at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_cache::{Action, Batch, Commit, Intent, Kept, KeptKind, Seen};
use causeway_storage::{Can, ErrorKind, Kind, Path, Timestamp};

use tokio::sync::MutexGuard;

use crate::VfsError;
use crate::file::{Held, OpenFile, blocking, unknown};
use crate::kept::Maker;
use crate::patience::Patience;
use crate::stale::Stale;
use crate::unnamed::Unnamed;
use crate::view::{Place, last_touching, resolve};
use crate::volume::{Found, State, Volume, Working};

/// Directories whose times are kept: about 16 MiB.
const TIMES: usize = 65_536;

/// Entries of a directory that can be renamed one by one as one step: as many records fit into one commit of the journal
/// without holding everyone else up for seconds.
const LARGEST_RENAME: usize = 10_000;

/// Bytes that the sidecar may keep of a directory that is renamed, for the same reason.
const LARGEST_RENAME_BYTES: u64 = 16 << 20;

impl Volume {
    /// Makes a file, or opens the one that is there unless it must be new. Counts a handle of it.
    pub(crate) async fn create(
        self: &Arc<Self>,
        path: &Path,
        exclusive: bool,
        handle: u64,
        maker: Option<Maker>,
        patience: Patience,
    ) -> Result<Arc<OpenFile>, VfsError> {
        self.parent(path, patience).await?;
        let order = self.order(patience).await?;
        // Again: it may have gone or moved before this one's turn.
        self.parent(path, patience).await?;
        match self.find(path, patience).await? {
            Some(_) if exclusive => return Err(exists()),
            Some(_) => {
                drop(order);
                return self.open_file(path, patience).await;
            }
            None => {}
        }
        // A new name in a directory of this machine: quicker than another thread.
        let (unnamed, staged, opened) = Unnamed::stage(self.scope.clone(), None)?;
        let (file, commit) = {
            let mut state = self.state();
            let (intent, commit) = self.journal().change(|batch| {
                self.touch(batch, path);
                self.made(batch, path, KeptKind::File, maker)?;
                let existing = take_removal(batch, &state, path);
                Ok(batch.append(Action::Write { path: path.clone(), staged: staged.id(), existing, base: None }))
            })?;
            unnamed.named();
            let working = Arc::new(Working::new(staged.clone(), intent, None));
            state.working.insert(staged.id(), working.clone());
            state.writing.entry(staged.id()).or_default().insert(handle);
            let file = Arc::new(OpenFile::new(path.clone(), Held::Working { working, file: opened }));
            self.adopt(&file);
            state.files.insert(path.clone(), Arc::downgrade(&file));
            (file, commit)
        };
        drop(order);
        self.note_change(path.parent());
        self.names.fetch_add(1, Ordering::SeqCst);
        // Closing the file waits for what this is about, and for this.
        commit.leave();
        self.announce_to_others(Stale::Entry(path.clone()));
        Ok(file)
    }

    /// Removes a file.
    pub(crate) async fn unlink(&self, path: &Path, patience: Patience) -> Result<(), VfsError> {
        let order = self.order(patience).await?;
        let found = match self.find(path, patience).await? {
            None => return Err(VfsError::not_found()),
            Some(Found::Directory(..)) => return Err(VfsError::of(ErrorKind::IsDirectory, "this is a directory")),
            Some(found) => found,
        };
        let kept = self.shown(path, &found, patience)?.kept;
        let (dropped, commit) = {
            let mut state = self.state();
            let (dropped, commit) = self.journal().change(|batch| {
                self.touch(batch, path);
                batch.forget_kept(path)?;
                if matches!(found, Found::Kept(_)) {
                    return Ok(None);
                }
                self.keep_parent(batch, path);
                let (stands, dropped) = take_over(batch, &state, path, Some(&found));
                if let Some(file) = stands {
                    batch.append(Action::Remove { file });
                }
                Ok(dropped)
            })?;
            if let Some(file) = state.files.remove(path).and_then(|file| file.upgrade()) {
                file.set_unlinked(&state);
                file.set_kept(kept);
            }
            (forget_working(&mut state, dropped), commit)
        };
        drop(order);
        self.note_change(path.parent());
        self.settle(commit, dropped.into_iter().collect()).await?;
        self.announce_to_others(Stale::Entry(path.clone()));
        Ok(())
    }

    /// Makes a directory.
    pub(crate) async fn make_directory(
        &self,
        path: &Path,
        maker: Option<Maker>,
        patience: Patience,
    ) -> Result<(), VfsError> {
        self.parent(path, patience).await?;
        let order = self.order(patience).await?;
        // Again: it may have gone or moved before this one's turn.
        self.parent(path, patience).await?;
        if self.find(path, patience).await?.is_some() {
            return Err(exists());
        }
        self.forget_kept_below(path)?;
        let (_, commit) = {
            let _state = self.state();
            self.journal().change(|batch| {
                self.touch(batch, path);
                self.made(batch, path, KeptKind::Directory, maker)?;
                Ok(batch.append(Action::MakeDirectory { path: path.clone() }))
            })?
        };
        drop(order);
        self.note_change(Some(path.clone()));
        self.note_change(path.parent());
        self.settle(commit, Vec::new()).await?;
        self.announce_to_others(Stale::Entry(path.clone()));
        Ok(())
    }

    /// Removes an empty directory.
    pub(crate) async fn remove_directory(self: &Arc<Self>, path: &Path, patience: Patience) -> Result<(), VfsError> {
        let order = self.order(patience).await?;
        let found = match self.find(path, patience).await? {
            None => return Err(VfsError::not_found()),
            Some(Found::Directory(_, seen)) => seen,
            Some(_) => return Err(VfsError::of(ErrorKind::NotADirectory, "this is not a directory")),
        };
        self.must_be_empty(path, patience).await?;
        self.forget_kept_below(path)?;
        let (_, commit) = {
            let state = self.state();
            self.journal().change(|batch| {
                self.touch(batch, path);
                batch.forget_kept(path)?;
                self.keep_parent(batch, path);
                batch.set_time(path, None);
                match last_touching(batch.log(), path, u64::MAX) {
                    // Made here and not yet there: it never was.
                    Some(Intent { id, action: Action::MakeDirectory { path: made }, started: false, .. })
                        if made == path && !state.executing.contains(id) =>
                    {
                        batch.delete(*id);
                    }
                    _ => {
                        let directory = Seen { kind: Kind::Directory, ..found.unwrap_or_else(|| unknown(path)) };
                        batch.append(Action::RemoveDirectory { directory: Seen { path: path.clone(), ..directory } });
                    }
                }
                Ok(())
            })?
        };
        drop(order);
        self.note_change(path.parent());
        self.settle(commit, Vec::new()).await?;
        self.announce_to_others(Stale::Below(path.clone()));
        Ok(())
    }

    /// Renames a file or a directory, over what stands at `to` unless `no_replace`.
    pub(crate) async fn rename(
        self: &Arc<Self>,
        from: &Path,
        to: &Path,
        no_replace: bool,
        patience: Patience,
    ) -> Result<(), VfsError> {
        self.parent(to, patience).await?;
        let order = self.order(patience).await?;
        self.parent(to, patience).await?;
        let found = self.find(from, patience).await?.ok_or_else(VfsError::not_found)?;
        let target = self.find(to, patience).await?;
        if target.is_some() && no_replace {
            return Err(exists());
        }
        if from == to {
            return Ok(());
        }
        if to.is_within(from) {
            return Err(VfsError::of(ErrorKind::Invalid, "a directory cannot be moved into itself"));
        }
        match (found.kind(), target.as_ref().map(Found::kind)) {
            (Kind::File, Some(Kind::Directory)) => {
                return Err(VfsError::of(ErrorKind::IsDirectory, "a directory stands there"));
            }
            (Kind::Directory, Some(Kind::File)) => {
                return Err(VfsError::of(ErrorKind::NotADirectory, "a file stands there"));
            }
            (Kind::Directory, Some(Kind::Directory)) => self.must_be_empty(to, patience).await?,
            (_, None) | (Kind::File, Some(Kind::File)) => {}
        }
        if found.kind() == Kind::Directory
            && !self.journal().keeps_at_most(from, LARGEST_RENAME, LARGEST_RENAME_BYTES)?
        {
            return Err(VfsError::CrossDevice);
        }
        if found.kind() == Kind::Directory {
            self.forget_kept_below(to)?;
        }
        let replaced = match &target {
            Some(target) => self.shown(to, target, patience)?.kept,
            None => None,
        };
        // A directory that the storage cannot move is moved entry by entry, in one step of the journal.
        let entries = match found.kind() {
            Kind::Directory if !self.features.can.contains(Can::MOVE_DIRECTORIES) => {
                self.walk(from, patience.with_sidecar(false)).await?
            }
            _ => Vec::new(),
        };
        let (dropped, commit) = self.journal_rename(from, to, &found, target.as_ref(), &entries, replaced)?;
        drop(order);
        self.moved_touched(from, to);
        self.note_change(from.parent());
        self.note_change(to.parent());
        self.settle(commit, dropped).await?;
        [from, to].into_iter().for_each(|path| self.announce_to_others(Stale::Below(path.clone())));
        Ok(())
    }

    fn journal_rename(
        &self,
        from: &Path,
        to: &Path,
        found: &Found,
        target: Option<&Found>,
        entries: &[(Path, Found)],
        replaced: Option<Box<Kept>>,
    ) -> Result<(Vec<Arc<Working>>, Commit), VfsError> {
        let mut state = self.state();
        let (renamed, commit) = self.journal().change(|batch| {
            let mut renamed = Renamed::default();
            self.touch(batch, from);
            self.touch(batch, to);
            batch.forget_kept(to)?;
            batch.move_kept(from, to)?;
            if matches!(found, Found::Kept(_)) {
                replace(batch, &state, to, target, &mut renamed);
                return Ok(renamed);
            }
            self.keep_parent(batch, from);
            if let Found::Directory(_, seen) = found {
                rename_times(batch, from, to);
                if target.is_some() {
                    let directory = Seen { kind: Kind::Directory, ..unknown(to) };
                    batch.append(Action::RemoveDirectory { directory });
                }
                if self.features.can.contains(Can::MOVE_DIRECTORIES) {
                    let seen = seen.clone().unwrap_or_else(|| unknown(from));
                    let from = Seen { path: from.clone(), kind: Kind::Directory, ..seen };
                    batch.append(Action::Rename { from, to: to.clone(), replaces: None });
                } else {
                    rename_entries(batch, &state, from, to, entries, &mut renamed)?;
                }
            } else {
                rename_file(batch, &state, (from, found), (to, target), &mut renamed);
            }
            Ok(renamed)
        })?;
        for (staged, intent) in renamed.moved {
            if let Some(working) = state.working.get(&staged) {
                working.set_intent(intent);
            }
        }
        let dropped = renamed.dropped.into_iter().filter_map(|id| forget_working(&mut state, Some(id))).collect();
        rename_open(&mut state, from, to, replaced);
        Ok((dropped, commit))
    }

    /// Sets a modification time. A directory's is kept here: most providers have none.
    pub(crate) async fn set_modified(
        &self,
        path: &Path,
        modified: Timestamp,
        patience: Patience,
    ) -> Result<(), VfsError> {
        let found = self.find(path, patience).await?.ok_or_else(VfsError::not_found)?;
        self.set_modified_of(path, found, modified).await?;
        self.announce_to_others(Stale::Entry(path.clone()));
        Ok(())
    }

    async fn set_modified_of(&self, path: &Path, found: Found, modified: Timestamp) -> Result<(), VfsError> {
        let node = match found {
            Found::Directory(..) => return self.set_directory_time(path, modified).await,
            Found::Staged { working, .. } => {
                if self.set_modified_open(&working, modified).await? {
                    return Ok(());
                }
                unknown(path)
            }
            Found::File(seen) => Seen { path: path.clone(), ..seen },
            // Its record has its time.
            Found::Kept(_) => return Ok(()),
        };
        if !self.features.can.contains(Can::SET_MODIFIED) {
            return Err(causeway_storage::Error::unsupported("set modification times").into());
        }
        let (_, commit) = {
            let _state = self.state();
            self.journal().change(|batch| Ok(batch.append(Action::SetModified { node, modified })))?
        };
        self.settle(commit, Vec::new()).await
    }

    async fn set_directory_time(&self, path: &Path, modified: Timestamp) -> Result<(), VfsError> {
        let (_, commit) = self.journal().change(|batch| {
            if batch.log().times().len() >= TIMES && !batch.log().times().contains_key(path) {
                return Err(causeway_storage::Error::unsupported("keep the times of more directories"));
            }
            batch.set_time(path, Some(modified));
            Ok(())
        })?;
        self.settle(commit, Vec::new()).await
    }

    /// The turn to change names.
    pub(crate) async fn order(&self, patience: Patience) -> Result<MutexGuard<'_, ()>, VfsError> {
        Ok(patience.wait("an earlier change of names", self.namespace.lock()).await?)
    }

    /// Waits until a change is durable; then what it made superfluous goes.
    pub(crate) async fn settle(&self, commit: Commit, dropped: Vec<Arc<Working>>) -> Result<(), VfsError> {
        self.names.fetch_add(1, Ordering::SeqCst);
        self.journal().wait(commit).await?;
        self.wake.notify_one();
        if dropped.is_empty() {
            return Ok(());
        }
        let scope = self.scope.clone();
        let discard = move || {
            dropped.iter().for_each(|working| scope.discard(&working.staged));
            Ok(())
        };
        blocking(discard).await
    }

    /// The directory in which `path` shall be made exists.
    pub(crate) async fn parent(&self, path: &Path, patience: Patience) -> Result<(), VfsError> {
        let parent = path.parent().ok_or_else(exists)?;
        match self.find(&parent, patience).await? {
            None => Err(VfsError::not_found()),
            Some(Found::Directory(..)) => Ok(()),
            Some(_) => Err(VfsError::of(ErrorKind::NotADirectory, "this is not a directory")),
        }
    }

    async fn must_be_empty(&self, path: &Path, patience: Patience) -> Result<(), VfsError> {
        let mut listing = self.list(path, patience).await?;
        while let Some(batch) = self.next(&mut listing, patience).await? {
            if !batch.is_empty() {
                return Err(not_empty());
            }
        }
        // Also those that this mount does not show: they would be gone without a trace.
        if self.has_kept_names(path)? { Err(not_empty()) } else { Ok(()) }
    }

    /// Where empty directories do not exist, the one that holds `path` shall stay when its last entry goes.
    fn keep_parent(&self, batch: &mut Batch<'_>, path: &Path) {
        let Some(parent) = path.parent().filter(|parent| !parent.is_root()) else { return };
        if self.features.can.contains(Can::EMPTY_DIRECTORIES) || batch.directories().contains(&parent) {
            return;
        }
        if let Place::Remote { path: remote, .. } = resolve(batch.log(), &parent).place
            && remote == parent
        {
            batch.add_directory(&parent);
        }
    }

    /// Everything below a directory, directories before what is in them.
    async fn walk(self: &Arc<Self>, directory: &Path, patience: Patience) -> Result<Vec<(Path, Found)>, VfsError> {
        let mut found = Vec::new();
        let mut left = vec![directory.clone()];
        while let Some(directory) = left.pop() {
            let mut listing = self.list(&directory, patience).await?;
            while let Some(batch) = self.next(&mut listing, patience).await? {
                for (name, _) in batch {
                    let path = directory.child(&name)?;
                    let Some(entry) = self.find(&path, patience).await? else { continue };
                    if entry.kind() == Kind::Directory {
                        left.push(path.clone());
                    }
                    found.push((path, entry));
                    if found.len() > LARGEST_RENAME {
                        return Err(VfsError::CrossDevice);
                    }
                }
            }
        }
        Ok(found)
    }
}

/// What became of working copies by a rename.
#[derive(Default)]
struct Renamed {
    /// Working copies that another intent names now.
    moved: Vec<(u64, u64)>,
    /// Working copies that nothing names any more.
    dropped: Vec<u64>,
}

fn rename_file(
    batch: &mut Batch<'_>,
    state: &State,
    from: (&Path, &Found),
    to: (&Path, Option<&Found>),
    renamed: &mut Renamed,
) {
    let (replaces, dropped) = take_over(batch, state, to.0, to.1);
    renamed.dropped.extend(dropped);
    let (from, found) = from;
    if let Some((id, Action::Write { staged, existing, base: None, .. })) = own_write(batch, state, from, found) {
        batch.delete(id);
        let write = Action::Write { path: to.0.clone(), staged, existing: replaces, base: None };
        renamed.moved.push((staged, batch.append(write)));
        if let Some(file) = existing {
            batch.append(Action::Remove { file });
        }
        return;
    }
    let from = match found {
        Found::File(seen) => Seen { path: from.clone(), ..seen.clone() },
        Found::Staged { .. } | Found::Directory(..) | Found::Kept(_) => unknown(from),
    };
    batch.append(Action::Rename { from, to: to.0.clone(), replaces });
}

/// What the provider has at a path gives way to a name that it does not have.
fn replace(batch: &mut Batch<'_>, state: &State, path: &Path, stands: Option<&Found>, renamed: &mut Renamed) {
    if let Some(Found::Directory(..) | Found::Kept(_)) | None = stands {
        return;
    }
    let (file, dropped) = take_over(batch, state, path, stands);
    renamed.dropped.extend(dropped);
    if let Some(file) = file {
        batch.append(Action::Remove { file });
    }
}

fn rename_entries(
    batch: &mut Batch<'_>,
    state: &State,
    from: &Path,
    to: &Path,
    entries: &[(Path, Found)],
    renamed: &mut Renamed,
) -> causeway_storage::Result<()> {
    batch.append(Action::MakeDirectory { path: to.clone() });
    let outside = |_| causeway_storage::Error::internal("an entry to be renamed lies outside of its directory");
    for (path, found) in entries {
        let below = path.below(from).unwrap_or_default();
        let target = to.join(&below).map_err(outside)?;
        if found.kind() == Kind::Directory {
            batch.append(Action::MakeDirectory { path: target });
        } else {
            rename_file(batch, state, (path, found), (&target, None), renamed);
        }
    }
    let directories = entries.iter().rev().filter(|(_, found)| found.kind() == Kind::Directory);
    for path in directories.map(|(path, _)| path).chain([from]) {
        let directory = Seen { kind: Kind::Directory, ..unknown(path) };
        batch.append(Action::RemoveDirectory { directory });
    }
    Ok(())
}

/// The write of this very path, if it was not started and nothing later touches the path.
fn own_write(batch: &Batch<'_>, state: &State, path: &Path, found: &Found) -> Option<(u64, Action)> {
    let Found::Staged { working, .. } = found else { return None };
    let last = last_touching(batch.log(), path, u64::MAX)?;
    let own = matches!(&last.action, Action::Write { path: written, .. } if written == path);
    (own && last.id == working.intent() && !last.started && !state.executing.contains(&last.id))
        .then(|| (last.id, last.action.clone()))
}

/// What a change of `path` will find at the provider. A write that was not started is taken out; its working copy is told.
fn take_over(batch: &mut Batch<'_>, state: &State, path: &Path, found: Option<&Found>) -> (Option<Seen>, Option<u64>) {
    match found {
        None | Some(Found::Kept(_)) => (take_removal(batch, state, path), None),
        Some(Found::File(seen)) => (Some(Seen { path: path.clone(), ..seen.clone() }), None),
        Some(Found::Directory(..)) => (Some(unknown(path)), None),
        Some(found @ Found::Staged { .. }) => match own_write(batch, state, path, found) {
            Some((id, Action::Write { existing, staged, .. })) => {
                batch.delete(id);
                (existing, Some(staged))
            }
            _ => (Some(unknown(path)), None),
        },
    }
}

/// Takes out a removal of this very path that was not started: what it would have removed is there to be replaced.
fn take_removal(batch: &mut Batch<'_>, state: &State, path: &Path) -> Option<Seen> {
    let last = last_touching(batch.log(), path, u64::MAX)?;
    match &last.action {
        Action::Remove { file } if file.path == *path && !last.started && !state.executing.contains(&last.id) => {
            batch.delete(last.id);
            Some(file.clone())
        }
        _ => None,
    }
}

fn forget_working(state: &mut State, staged: Option<u64>) -> Option<Arc<Working>> {
    let working = state.working.remove(&staged?)?;
    state.writing.remove(&working.staged.id());
    state.waits.remove(&working.intent());
    Some(working)
}

fn rename_times(batch: &mut Batch<'_>, from: &Path, to: &Path) {
    batch.set_time(to, None);
    for (path, time) in batch.log().times().iter().filter(|(path, _)| path.is_within(from)) {
        batch.set_time(path, None);
        if let Some(moved) = path.moved(from, to) {
            batch.set_time(&moved, Some(*time));
        }
    }
}

/// Open files follow their names; one that is replaced has none any more.
fn rename_open(state: &mut State, from: &Path, to: &Path, kept: Option<Box<Kept>>) {
    if let Some(replaced) = state.files.remove(to).and_then(|file| file.upgrade()) {
        replaced.set_unlinked(state);
        replaced.set_kept(kept);
    }
    let moved: Vec<Path> = state.files.keys().filter(|path| path.is_within(from)).cloned().collect();
    for path in moved {
        let Some(file) = state.files.remove(&path) else { continue };
        let Some(target) = path.moved(from, to) else { continue };
        if let Some(file) = file.upgrade() {
            file.set_path(target.clone());
        }
        state.files.insert(target, file);
    }
}

fn not_empty() -> VfsError {
    VfsError::of(ErrorKind::DirectoryNotEmpty, "the directory is not empty")
}

fn exists() -> VfsError {
    VfsError::of(ErrorKind::AlreadyExists, "something of this name exists")
}
