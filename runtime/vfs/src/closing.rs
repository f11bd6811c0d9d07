//! What a flush, a sync and a close promise, and what becomes of a file that is closed.
//!
//! A handle writes from its first write to its next flush; a working copy is uploaded when no handle writes. So the mark that
//! a handle writes is taken away here, after what it wrote is durable and never while one of its writes is under way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_storage::ErrorKind;
use tokio::time::Instant;

use crate::VfsError;
use crate::content::SILENCE;
use crate::file::{Held, OpenFile, blocking};
use crate::patience::late;
use crate::volume::{Volume, Working};

impl Volume {
    /// Makes what was written survive a power loss.
    pub(crate) async fn sync(&self, file: &OpenFile) -> Result<(), VfsError> {
        let Held::Working { working, .. } = file.held() else { return Ok(()) };
        if file.is_unlinked() {
            return Ok(());
        }
        let (scope, staged) = (self.scope.clone(), working.staged.clone());
        // What rides along is read from memory; a file is synced where that stops nobody else.
        let commit = match self.scope.rides_along(&staged) {
            true => scope.secure(&staged)?,
            false => blocking(move || Ok(scope.secure(&staged)?)).await?,
        };
        Ok(self.journal().wait(commit).await?)
    }

    /// What a close promises: what this handle wrote is durable, and may be uploaded; with `uploaded`, it was. A handle whose
    /// writes the kernel makes by itself goes on `unseen`: its file is uploaded once it is released.
    pub(crate) async fn flush(
        &self,
        file: &OpenFile,
        handle: u64,
        uploaded: bool,
        unseen: bool,
    ) -> Result<(), VfsError> {
        let writes = |id| self.state().writing.get(&id).is_some_and(|handles| handles.contains(&handle));
        let is_written = |held: &Held| matches!(held, Held::Working { working, .. } if writes(working.staged.id()));
        if file.is_unlinked() || !is_written(&file.held()) {
            return Ok(());
        }
        // A write of this handle that is under way ends first: it must be neither closed nor uploaded before.
        let order = file.order.lock().await;
        let held = file.held();
        let Held::Working { working, .. } = &held else { return Ok(()) };
        if !is_written(&held) {
            return Ok(());
        }
        self.sync(file).await?;
        if unseen {
            return Ok(());
        }
        self.no_longer_writes(working.staged.id(), handle);
        drop(order);
        if uploaded { self.uploaded(working).await } else { Ok(()) }
    }

    /// Takes a handle away.
    pub(crate) async fn release(self: &Arc<Self>, file: Arc<OpenFile>, handle: u64, keep: bool) {
        if let Held::Working { working, .. } = file.held() {
            self.stop_writing(working.staged.id(), handle);
            // Before the uploader looks.
            if let Err(error) = self.give_back(&working).await {
                tracing::warn!(?error, "a file that nobody wrote to is uploaded again");
            }
            self.wake.notify_one();
        }
        {
            // Under this lock handles are counted up: whoever opens the path meanwhile gets this file, or one of its own.
            let mut state = self.state();
            if file.handles.fetch_sub(1, Ordering::SeqCst) > 1 {
                return;
            }
            let path = file.lock().path.clone();
            if state.files.get(&path).is_some_and(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(&file))) {
                state.files.remove(&path);
            }
        }
        match file.held() {
            Held::Working { working, .. } => working.staged.settle(),
            Held::Clean { content, .. } => {
                let scope = self.scope.clone();
                let object = content.object.clone();
                let keep = keep || content.keep.load(Ordering::Relaxed);
                drop((content, file));
                let put_away =
                    move || if keep { scope.save(&object) } else { scope.forget(object) }.map_err(VfsError::from);
                if let Err(error) = blocking(put_away).await {
                    tracing::warn!(?error, "what was read could not be put into the cache");
                }
            }
        }
    }

    pub(crate) fn no_longer_writes(&self, staged: u64, handle: u64) {
        self.stop_writing(staged, handle);
        self.wake.notify_one();
    }

    fn stop_writing(&self, staged: u64, handle: u64) {
        let mut state = self.state();
        if let Some(handles) = state.writing.get_mut(&staged) {
            handles.remove(&handle);
            if handles.is_empty() {
                state.writing.remove(&staged);
            }
        }
    }

    /// Waits until a working copy was uploaded. Fails if that failed for good, keeps failing for a minute, or does not
    /// get on for a minute: the copy stays in the journal either way.
    async fn uploaded(&self, working: &Working) -> Result<(), VfsError> {
        let mut changes = self.journal().watch();
        let mut alive = (self.sign_of_life(working), Instant::now());
        loop {
            // Someone writes on: the upload waits for them, and their close waits for it.
            if self.state().writing.contains_key(&working.staged.id()) {
                return Ok(());
            }
            let (id, failure) = {
                // A rename puts another intent in the place of this one under this lock.
                let _state = self.state();
                let id = working.intent();
                (id, self.journal().read(|intents, _| intents.get(&id).map(|intent| intent.failure.clone())))
            };
            match failure {
                None => return Ok(()),
                Some(Some(failure)) => return Err(VfsError::of(ErrorKind::Internal, &failure.message)),
                Some(None) => {}
            }
            let failed = self.state().waits.get(&id).map(|wait| wait.error.clone());
            let sign = self.sign_of_life(working);
            // An attempt after a failed one is not getting on: it may send everything once more, and fail again.
            if failed.is_none() && sign != alive.0 {
                alive = (sign, Instant::now());
            }
            if alive.1.elapsed() >= SILENCE {
                return Err(failed.unwrap_or_else(|| late("the upload")).into());
            }
            // The tick is for the minute, which no change of the journal announces.
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        }
    }

    /// Changes while an upload gets on: by its own bytes, or, while it waits for its turn, by those of others.
    fn sign_of_life(&self, working: &Working) -> (bool, u64) {
        let executing = self.state().executing.contains(&working.intent());
        (executing, if executing { working.sent() } else { self.sent.load(Ordering::Relaxed) })
    }
}
