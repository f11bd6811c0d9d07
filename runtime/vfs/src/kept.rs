//! What the sidecar keeps: modes, owners, times and extended attributes of what the provider has, and names that no
//! provider has.
//!
//! It sends nothing anywhere. What is kept of a path counts only while it is about what stands there: of the same kind, and
//! of the same identity where the provider has one; else it is dropped. The provider is asked first: a name that only the
//! sidecar has gives way to one that the provider has.

use causeway_cache::{Action, Batch, Intent, Kept, KeptKind, KeptTime, LONGEST_EXTENDED_BYTES, Seen};
use causeway_storage::{Error, ErrorKind, Kind, Path, Result, Timestamp};

use crate::VfsError;
use crate::patience::Patience;
use crate::stale::Stale;
use crate::vfs::SetAttributes;
use crate::view::last_touching;
use crate::volume::{Attributes, Found, Volume};

/// The longest target of a link, which is a path with its end.
const LONGEST_TARGET_BYTES: usize = 4095;

/// The longest name of an extended attribute.
const LONGEST_NAME_BYTES: usize = 255;

/// The bits with which a program runs as its owner or group.
const PRIVILEGES: u32 = 0o6000;

/// New entries get the directory's group.
const INHERIT_GROUP: u32 = 0o2000;

/// Who makes something, and with which permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// The permissions, twelve bits.
    pub mode: u32,
    /// Whose it shall be.
    pub uid: u32,
    /// Whose group's.
    pub gid: u32,
}

impl Volume {
    /// What a path shows of what was found there.
    pub(crate) fn shown(
        &self,
        path: &Path,
        found: &Found,
        patience: Patience,
    ) -> std::result::Result<Attributes, VfsError> {
        let shown = found.attributes();
        if shown.kept.is_some() { Ok(shown) } else { self.with_kept(path, shown, found.cookie(), patience) }
    }

    /// Attributes with what is kept of them, if this request shows that and it is about this.
    pub(crate) fn with_kept(
        &self,
        path: &Path,
        mut shown: Attributes,
        cookie: Option<&str>,
        patience: Patience,
    ) -> std::result::Result<Attributes, VfsError> {
        if !patience.sidecar || !self.journal().keeps_any() {
            return Ok(shown);
        }
        let Some(mut kept) = self.journal().kept(path)? else { return Ok(shown) };
        if !is_about(&kept, shown.kind, cookie) {
            self.drop_kept(path, &kept)?;
            return Ok(shown);
        }
        let touched = self.state().touched.peek(path).copied();
        match &kept.modified {
            Some(modified)
                if shown.kind == Kind::File && modified.version.is_some() && modified.version == shown.version =>
            {
                shown.modified = Some(modified.time);
            }
            // Set here: that it was, is when it was changed.
            Some(modified) if shown.modified == Some(modified.time) => {}
            _ => kept.changed = kept.changed.max(shown.modified),
        }
        if shown.kind == Kind::Directory {
            kept.changed = kept.changed.max(touched);
        }
        shown.kept = Some(Box::new(kept));
        Ok(shown)
    }

    /// A name that only the sidecar has.
    pub(crate) fn kept_name(&self, path: &Path, patience: Patience) -> Result<Option<Found>> {
        if !patience.sidecar || !self.journal().keeps_any() {
            return Ok(None);
        }
        Ok(self.journal().kept(path)?.filter(Kept::is_name).map(|kept| Found::Kept(Box::new(kept))))
    }

    /// Changes what is kept of a path; the mount is told what was decided under the lock.
    pub(crate) async fn set_kept(
        &self,
        path: &Path,
        patience: Patience,
        change: impl FnOnce(&mut Kept, &Found) + Send,
    ) -> std::result::Result<(), VfsError> {
        self.change_kept(path, patience, |batch, mut kept, found| {
            change(&mut kept, found);
            batch.keep(path, &kept)
        })
        .await
    }

    async fn change_kept(
        &self,
        path: &Path,
        patience: Patience,
        change: impl FnOnce(&mut Batch<'_>, Kept, &Found) -> Result<()> + Send,
    ) -> std::result::Result<(), VfsError> {
        let order = self.order(patience).await?;
        let found = self.find(path, patience).await?.ok_or_else(VfsError::not_found)?;
        let (_, commit) = self.journal().change(|batch| {
            let before = batch.kept(path)?.filter(|kept| match &found {
                Found::Kept(_) => kept.is_name(),
                found => is_about(kept, found.kind(), found.cookie()),
            });
            let mut kept = match before {
                Some(kept) => kept,
                None => {
                    batch.forget_kept(path)?;
                    Kept::new(if found.kind() == Kind::File { KeptKind::File } else { KeptKind::Directory })
                }
            };
            kept.cookie = found.cookie().map(str::to_owned).or(kept.cookie);
            kept.changed = Some(Timestamp::now());
            change(batch, kept, &found)
        })?;
        drop(order);
        self.settle(commit, Vec::new()).await?;
        self.announce_to_others(Stale::Entry(path.clone()));
        Ok(())
    }

    /// Makes a name that only the sidecar has.
    pub(crate) async fn make_kept(
        &self,
        path: &Path,
        kind: KeptKind,
        maker: Maker,
        patience: Patience,
    ) -> std::result::Result<(), VfsError> {
        if let KeptKind::Link { target } = &kind {
            if target.len() > LONGEST_TARGET_BYTES {
                return Err(VfsError::LongName);
            }
            if target.is_empty() || target.contains('\0') {
                return Err(VfsError::BadName);
            }
        }
        self.parent(path, patience).await?;
        let order = self.order(patience).await?;
        self.parent(path, patience).await?;
        if self.find(path, patience).await?.is_some() {
            return Err(VfsError::of(ErrorKind::AlreadyExists, "something of this name exists"));
        }
        let (_, commit) = self.journal().change(|batch| {
            self.touch(batch, path);
            self.made(batch, path, kind, Some(maker))
        })?;
        drop(order);
        self.note_change(path.parent());
        self.settle(commit, Vec::new()).await?;
        self.announce_to_others(Stale::Entry(path.clone()));
        Ok(())
    }

    /// In the same step as what makes it: nothing is kept of `path` but what its maker wants.
    pub(crate) fn made(&self, batch: &mut Batch<'_>, path: &Path, kind: KeptKind, maker: Option<Maker>) -> Result<()> {
        batch.forget_kept(path)?;
        let Some(Maker { mut mode, uid, mut gid }) = maker else { return Ok(()) };
        let parent = path.parent().unwrap_or_default();
        if let Some(directory) = batch.kept(&parent)?.filter(|kept| kept.mode.unwrap_or(0) & INHERIT_GROUP != 0) {
            gid = directory.gid.unwrap_or(gid);
            mode |= if kind == KeptKind::Directory { INHERIT_GROUP } else { 0 };
        }
        let now = Timestamp::now();
        let is_name = !matches!(kind, KeptKind::File | KeptKind::Directory);
        let modified = is_name.then_some(KeptTime { time: now, version: None });
        let (mode, uid, gid, now) = (Some(mode & 0o7777), Some(uid), Some(gid), Some(now));
        batch.keep(path, &Kept { mode, uid, gid, accessed: now, changed: now, modified, ..Kept::new(kind) })
    }

    /// In the same step as what changes it: the directory that holds `path` was changed now.
    pub(crate) fn touch(&self, batch: &mut Batch<'_>, path: &Path) {
        let Some(parent) = path.parent() else { return };
        if batch.log().times().contains_key(&parent) {
            batch.set_time(&parent, None);
        }
    }

    /// Remembers that the content of a directory was changed now.
    pub(crate) fn note_change(&self, directory: Option<Path>) {
        if let Some(directory) = directory {
            self.state().touched.put(directory, Timestamp::now());
        }
    }

    /// What is remembered of directories moves with them.
    pub(crate) fn moved_touched(&self, from: &Path, to: &Path) {
        let mut state = self.state();
        let moved: Vec<_> =
            state.touched.iter().filter(|(path, _)| path.is_within(from)).map(|(path, _)| path.clone()).collect();
        for path in moved {
            let target = path.moved(from, to);
            if let Some((time, target)) = state.touched.pop(&path).zip(target) {
                state.touched.put(target, time);
            }
        }
    }

    /// Forgets what is kept of what once stood below a path where nothing, or an empty directory, stands now. The turn to
    /// change names is the caller's.
    pub(crate) fn forget_kept_below(&self, path: &Path) -> Result<()> {
        while self.journal().keeps_any() {
            let (more, commit) = self.journal().change(|batch| batch.forget_kept_below(path))?;
            // What follows will wait.
            commit.leave();
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Whether a directory holds names that only the sidecar has.
    pub(crate) fn has_kept_names(&self, directory: &Path) -> Result<bool> {
        let mut after = String::new();
        while self.journal().keeps_any() {
            let Some((names, next)) = self.journal().kept_names(directory, &after)? else { break };
            if !names.is_empty() {
                return Ok(true);
            }
            after = next;
        }
        Ok(false)
    }

    /// Sets what the provider cannot hold, and how exact it cannot hold it.
    pub(crate) async fn set_kept_attributes(
        &self,
        path: &Path,
        set: SetAttributes,
        patience: Patience,
    ) -> std::result::Result<(), VfsError> {
        self.set_kept(path, patience, |kept, found| {
            let version = match found {
                Found::File(seen) => seen.version.clone(),
                _ => None,
            };
            apply(kept, set, version);
        })
        .await
    }

    pub(crate) fn is_privileged(&self, path: &Path) -> bool {
        let has_bits = |kept: &Kept| kept.mode.is_some_and(|mode| mode & PRIVILEGES != 0);
        self.journal().keeps_any() && self.journal().kept(path).is_ok_and(|kept| kept.as_ref().is_some_and(has_bits))
    }

    /// Takes away the bits with which a program runs as its owner or group: others write to it.
    pub(crate) async fn drop_privileges(&self, path: &Path, patience: Patience) -> std::result::Result<(), VfsError> {
        if !self.is_privileged(path) {
            return Ok(());
        }
        self.set_kept(path, patience, |kept, _| kept.mode = kept.mode.map(without_privileges)).await
    }

    /// The value of an extended attribute.
    pub(crate) async fn extended(
        &self,
        path: &Path,
        name: &str,
        patience: Patience,
    ) -> std::result::Result<Vec<u8>, VfsError> {
        is_kept_name(name)?;
        let has_any = self.kept_now(path, patience).await?.is_some_and(|kept| kept.extended.bytes > 0);
        let value = if has_any { self.journal().extended(path, name)? } else { None };
        value.ok_or(VfsError::NoAttribute)
    }

    /// The names of the extended attributes.
    pub(crate) async fn extended_names(
        &self,
        path: &Path,
        patience: Patience,
    ) -> std::result::Result<Vec<String>, VfsError> {
        let has_any = self.kept_now(path, patience).await?.is_some_and(|kept| kept.extended.bytes > 0);
        Ok(if has_any { self.journal().extended_names(path)? } else { Vec::new() })
    }

    /// Sets, or with none removes, an extended attribute. `exists` says whether it must, or must not, be there.
    pub(crate) async fn set_extended(
        &self,
        path: &Path,
        name: &str,
        value: Option<Vec<u8>>,
        exists: Option<bool>,
        patience: Patience,
    ) -> std::result::Result<(), VfsError> {
        is_kept_name(name)?;
        if name.len() > LONGEST_NAME_BYTES {
            return Err(VfsError::LongAttribute);
        }
        if value.as_ref().is_some_and(|value| value.len() > LONGEST_EXTENDED_BYTES) {
            return Err(VfsError::LargeAttribute);
        }
        let mut refused = None;
        let changed = self.change_kept(path, patience, |batch, kept, _| {
            let is_there = kept.extended.bytes > 0 && batch.has_extended(path, name)?;
            refused = match exists {
                Some(true) if !is_there => Some(VfsError::NoAttribute),
                Some(false) if is_there => Some(VfsError::of(ErrorKind::AlreadyExists, "the attribute exists")),
                _ => None,
            };
            if refused.is_some() {
                return Err(Error::new(ErrorKind::Invalid, "refused"));
            }
            batch.set_extended(path, kept, name, value.as_deref())
        });
        let changed = changed.await;
        refused.map_or(changed, Err)
    }

    async fn kept_now(&self, path: &Path, patience: Patience) -> std::result::Result<Option<Kept>, VfsError> {
        let found = self.find(path, patience).await?.ok_or_else(VfsError::not_found)?;
        Ok(self.shown(path, &found, patience)?.kept.map(|kept| *kept))
    }

    /// Drops what is kept of something else than what stands there, unless it changed meanwhile.
    /// Drops what is kept of something else than the provider has at a path. Who asks may have been told of the path long ago,
    /// as readers of directories are: it must be what is known of the provider now, and nothing be about to change it.
    fn drop_kept(&self, path: &Path, stale: &Kept) -> Result<()> {
        let mut state = self.state();
        let Some(Some(stands)) = state.known.last(path) else { return Ok(()) };
        if is_about(stale, stands.kind, stands.cookie.as_deref()) {
            return Ok(());
        }
        let (_, commit) = self.journal().change(|batch| match batch.kept(path)? {
            Some(kept) if kept == *stale && last_touching(batch.log(), path, u64::MAX).is_none() => {
                batch.forget_kept(path)
            }
            _ => Ok(()),
        })?;
        drop(state);
        // Lost in a power loss, it is dropped again.
        commit.leave();
        Ok(())
    }
}

impl Found {
    /// The provider's identity of it, if it is known.
    pub(crate) fn cookie(&self) -> Option<&str> {
        match self {
            Found::Directory(_, Some(seen)) | Found::File(seen) => seen.cookie.as_deref(),
            Found::Directory(_, None) | Found::Staged { .. } | Found::Kept(_) => None,
        }
    }
}

/// In the same step in which an intent leaves the journal: what is kept of what it made learns which identity and version
/// that has now.
pub(crate) fn identify(
    batch: &mut Batch<'_>,
    finished: &Intent,
    now: &[(Path, Option<Seen>)],
    written: Option<Timestamp>,
) -> Result<()> {
    for (path, seen) in now {
        let Some(seen) = seen else { continue };
        let Some(at) = shown_at(batch, finished.id, path, seen.kind) else { continue };
        let Some(mut kept) = batch.kept(&at)?.filter(|kept| is_kind(kept, seen.kind)) else { continue };
        let before = kept.clone();
        kept.cookie = seen.cookie.clone();
        let is_set = |time: Timestamp| before.modified.as_ref().is_some_and(|modified| modified.time == time);
        match (&finished.action, written) {
            // A time that was set while it was on its way comes after it.
            (Action::Write { .. }, Some(time)) if !sets_time(batch, finished.id, &at) => {
                if !is_set(time) {
                    kept.changed = kept.changed.max(Some(time));
                }
                kept.modified = Some(KeptTime { time, version: seen.version.clone() });
            }
            (Action::SetModified { modified, .. }, _) if is_set(*modified) => {
                kept.modified = Some(KeptTime { time: *modified, version: seen.version.clone() });
            }
            (Action::Rename { from, .. }, _) => {
                if let Some(modified) = kept.modified.as_mut().filter(|modified| modified.version == from.version) {
                    modified.version = seen.version.clone();
                }
            }
            _ => {}
        }
        if kept != before {
            batch.keep(&at, &kept)?;
        }
    }
    Ok(())
}

/// Where what an intent made is shown, if nothing later took its place.
fn shown_at(batch: &Batch<'_>, finished: u64, path: &Path, kind: Kind) -> Option<Path> {
    let mut at = path.clone();
    if batch.log().last_at_or_above(&at, u64::MAX).is_none_or(|last| last.id <= finished) {
        return Some(at);
    }
    for intent in batch.intents().range(finished + 1..).map(|(_, intent)| intent) {
        match &intent.action {
            Action::Rename { from, to, .. }
                if at == from.path || (at.is_within(&from.path) && from.kind == Kind::Directory) =>
            {
                at = at.moved(&from.path, to)?;
            }
            Action::Rename { to, .. } if at == *to => return None,
            Action::Remove { file: gone } | Action::RemoveDirectory { directory: gone } if at == gone.path => {
                return None;
            }
            // Another content of the same file, whose times are its own.
            Action::Write { path, .. } if at == *path && kind == Kind::File => return None,
            _ => {}
        }
    }
    Some(at)
}

/// Whether a time is still to be set.
fn sets_time(batch: &Batch<'_>, finished: u64, at: &Path) -> bool {
    let sets = |intent: &Intent| matches!(&intent.action, Action::SetModified { node, .. } if node.path == *at);
    // Most are alone on their paths.
    batch.log().last_at_or_above(at, u64::MAX).is_some_and(|last| last.id > finished)
        && batch.intents().range(finished + 1..).any(|(_, intent)| sets(intent))
}

fn is_kind(kept: &Kept, kind: Kind) -> bool {
    match kept.kind {
        KeptKind::File => kind == Kind::File,
        KeptKind::Directory => kind == Kind::Directory,
        _ => false,
    }
}

/// Whether what is kept is about what stands there.
fn is_about(kept: &Kept, kind: Kind, cookie: Option<&str>) -> bool {
    let is_other = kept.cookie.as_deref().zip(cookie).is_some_and(|(kept, cookie)| kept != cookie);
    is_kind(kept, kind) && !is_other
}

fn apply(kept: &mut Kept, set: SetAttributes, version: Option<causeway_storage::Version>) {
    let SetAttributes { size: _, modified, accessed, mode, uid, gid } = set;
    if let Some(time) = modified {
        kept.modified = Some(KeptTime { time, version });
    }
    kept.accessed = accessed.or(kept.accessed);
    kept.mode = mode.map(|mode| mode & 0o7777).or(kept.mode);
    kept.uid = uid.or(kept.uid);
    kept.gid = gid.or(kept.gid);
}

/// The same of a file that has no name any more.
pub(crate) fn apply_unnamed(kept: Option<Box<Kept>>, set: SetAttributes) -> Option<Box<Kept>> {
    let mut kept = kept.unwrap_or_else(|| Box::new(Kept::new(KeptKind::File)));
    apply(&mut kept, set, None);
    Some(kept)
}

fn without_privileges(mode: u32) -> u32 {
    // Without the right to run it, the group's bit means something else.
    if mode & 0o010 != 0 { mode & !PRIVILEGES } else { mode & !0o4000 }
}

/// Attributes of programs and of root are kept. Those of the system are not: nothing here would act on them.
fn is_kept_name(name: &str) -> std::result::Result<(), VfsError> {
    match name.strip_prefix("user.").or_else(|| name.strip_prefix("trusted.")) {
        Some("") => Err(VfsError::BadName),
        Some(_) => Ok(()),
        None => Err(Error::unsupported("keep extended attributes of this kind").into()),
    }
}
