//! Files that the kernel reads by itself, and what happens when someone writes to one.
//!
//! A version that is complete in the cache is *lent*: the kernel gets its file and serves reads without asking anybody.
//! From then on that file has to be what the path shows for as long as such a handle is open, and whoever writes must
//! write to that very file. So a writer does not begin a working copy beside it, but takes the file over: a journalled
//! intent first ("the whole of this file is dirty, and stood there as that version"), durable, and only then bytes. Nobody
//! may depend on the content as it was; where someone does (an edit elsewhere that began from it, an upload under way),
//! the writer is sent to the path anew, and those who read go on with the version that they opened, as after a rename.
//!
//! What is written to a lent file is not seen here. Its size and time are the file's own, and its handles count as writing
//! until they are closed. It cannot be refused either, however full the disk is by then: who opens to write where there is no
//! room is not left to the kernel, and nothing stops those who were before. A file that was taken over and not written to is
//! given back as the version that it was.
//!
//! So what the path shows can come to lie in another file than the one that the kernel has. Who opens it then is not given
//! to the kernel: the number is left to those who have it open, and the path gets another.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_cache::{Action, ObjectKey, Seen};
use causeway_storage::Timestamp;

use crate::VfsError;
use crate::file::{Held, OpenFile, blocking};
use crate::volume::{Volume, Working};

/// Room that there has to be for what the kernel may write by itself, which it cannot be refused later: that of a largest
/// write through us.
const UNSEEN_BYTES: u64 = 1 << 20;

/// What a file was when it was taken over.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    seen: Seen,
    key: ObjectKey,
    size: u64,
    modified: Timestamp,
}

impl Volume {
    /// The file of a version that is complete and cannot be mistaken for another, for one more handle to be read without us;
    /// give it back with [`OpenFile::returned`].
    pub(crate) fn lend(&self, file: &OpenFile) -> Option<File> {
        let inner = file.lock();
        let Held::Clean { seen, content } = &inner.held else { return None };
        if seen.weak || inner.unlinked || !content.object.is_complete() {
            return None;
        }
        let lent = content.object.open_file().ok()?;
        file.lent.fetch_add(1, Ordering::SeqCst);
        Some(lent)
    }

    /// Whether there is room for a handle to write unseen.
    pub(crate) async fn has_room_unseen(&self) -> bool {
        let scope = self.scope.clone();
        self.scope.try_admit(UNSEEN_BYTES) || blocking(move || Ok(scope.admit(UNSEEN_BYTES)?)).await.is_ok()
    }

    /// Whether the kernel may be writing to a working copy by itself.
    pub(crate) fn is_written_unseen(&self, staged: u64) -> bool {
        let state = self.state();
        let is_passed = state.working.get(&staged).is_some_and(|working| working.staged.is_passed());
        is_passed && state.writing.contains_key(&staged)
    }

    /// Makes a lent file the working copy to which this handle writes, if it is the one that the kernel has, where that is
    /// given. False if it cannot be: nothing happened then.
    pub(crate) async fn take_over(
        self: &Arc<Self>,
        file: &Arc<OpenFile>,
        handle: u64,
        lent: Option<u64>,
    ) -> Result<bool, VfsError> {
        let (commit, object) = {
            let mut state = self.state();
            let mut inner = file.lock();
            if let Some(lent) = lent
                && !inner.held.lies_in(lent)
            {
                return Ok(false);
            }
            let content = match &inner.held {
                Held::Working { working, .. } if working.staged.is_passed() && self.is_open_to(&state, working) => {
                    state.writing.entry(working.staged.id()).or_default().insert(handle);
                    return Ok(true);
                }
                Held::Clean { content, .. } if !inner.unlinked => content.clone(),
                Held::Working { .. } | Held::Clean { .. } => return Ok(false),
            };
            // This look, and the file itself.
            let is_shared = Arc::strong_count(&content) > 2 || Arc::strong_count(&content.object) > 1;
            let source = content.source();
            let Some(key) = ObjectKey::of(&source).filter(|_| !is_shared) else { return Ok(false) };
            let staged = self.scope.take_over(&content.object)?;
            let opened = staged.file()?;
            let modified = source.modified.unwrap_or_else(Timestamp::now);
            // From now on the file's own time is what the path shows.
            opened.set_modified(modified.into()).map_err(causeway_storage::Error::from)?;
            let taken = Taken { size: content.object.size(), modified, seen: source.clone(), key: key.clone() };
            let path = inner.path.clone();
            let changed = self.journal().change(|batch| {
                let leaving = self.scope.let_go(batch, &content.object);
                let existing = Some(Seen { path: path.clone(), ..source });
                Ok((batch.append(Action::Write { path, staged: staged.id(), existing, base: None }), leaving))
            });
            let ((intent, leaving), commit) = changed.inspect_err(|_| self.scope.discard(&staged))?;
            leaving.made();
            staged.pass();
            state.contents.remove(&key);
            state.writing.entry(staged.id()).or_default().insert(handle);
            let working = Arc::new(Working::taken(staged, intent, taken));
            state.working.insert(working.staged.id(), working.clone());
            inner.held = Held::Working { working, file: opened };
            (commit, content.object.clone())
        };
        self.journal().wait(commit).await?;
        let scope = self.scope.clone();
        blocking(move || Ok(scope.taken_over(&object)?)).await?;
        Ok(true)
    }

    /// Sends whoever opens the path from now on to a file of its own; those who have this one open keep it as it is. Not
    /// where any but one of them go through us: they could write to it, and would not see what is written to the other.
    pub(crate) fn leave(&self, file: &Arc<OpenFile>) {
        let mut state = self.state();
        if file.handles() > file.lent.load(Ordering::SeqCst) + 1 {
            return;
        }
        let path = file.lock().path.clone();
        if state.files.get(&path).is_some_and(|open| std::ptr::eq(open.as_ptr(), Arc::as_ptr(file))) {
            state.files.remove(&path);
        }
    }

    /// Makes a file that was taken over and not written to the version again that it was.
    pub(crate) async fn give_back(self: &Arc<Self>, working: &Arc<Working>) -> Result<(), VfsError> {
        let Some(taken) = working.taken.as_ref().filter(|taken| is_untouched(working, taken)) else { return Ok(()) };
        let (scope, staged) = (self.scope.clone(), working.staged.clone());
        let sealed = blocking(move || Ok(scope.seal(&staged)?)).await?;
        let (commit, former) = {
            let mut state = self.state();
            let id = working.staged.id();
            let is_written = state.writing.contains_key(&id) || !self.is_open_to(&state, working);
            if is_written || !state.working.contains_key(&id) || !is_untouched(working, taken) {
                return Ok(());
            }
            let (leaving, commit) = self.journal().change(|batch| {
                batch.delete(working.intent());
                self.scope.keep(batch, &working.staged, sealed, &taken.key)
            })?;
            state.contents.remove(&taken.key);
            state.working.remove(&id);
            // As if it had been uploaded, and had become what stands there.
            let _ = working.became.set(taken.seen.clone());
            (commit, leaving.made())
        };
        self.journal().wait(commit).await?;
        self.put_away(working, Some(taken.seen.clone()), former).await;
        Ok(())
    }
}

impl Held {
    /// Whether all of it lies in the file of this number in the cache's directory.
    fn lies_in(&self, inode: u64) -> bool {
        let metadata = match self {
            Held::Clean { content, .. } => content.object.open_file().and_then(|file| Ok(file.metadata()?)),
            Held::Working { file, .. } => file.metadata().map_err(causeway_storage::Error::from),
        };
        metadata.is_ok_and(|metadata| metadata.ino() == inode)
    }
}

/// Who writes past us moves the time on; who sets it back, as some programs do, does that through us.
fn is_untouched(working: &Working, taken: &Taken) -> bool {
    let (staged, is_as_it_was) = (&working.staged, working.staged.modified() == taken.modified);
    is_as_it_was && staged.size() == taken.size && !staged.was_changed()
}

impl OpenFile {
    /// Whether the kernel reads it by itself somewhere.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent.load(Ordering::SeqCst) > 0
    }

    /// One more handle is served without us, if this is the file that the kernel has.
    pub(crate) fn lent_again(&self, lent: u64) -> bool {
        let inner = self.lock();
        let is_lent = inner.held.lies_in(lent);
        if is_lent {
            self.lent.fetch_add(1, Ordering::SeqCst);
        }
        is_lent
    }

    /// A handle that was served without us is closed.
    pub(crate) fn returned(&self) {
        self.lent.fetch_sub(1, Ordering::SeqCst);
    }
}
