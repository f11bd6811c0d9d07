//! Open files: reading and writing. What a flush and a close promise is next door, in `closing`.
//!
//! All handles of one path share one [`OpenFile`], whatever mount they came through. It holds either the content of one
//! version at the provider, or a working copy. The first write to the former makes the latter: a journalled intent first
//! ("this file is dirty, on that base"), durable before the write is answered; only then bytes, which from there on
//! survive the end of the process. A working copy whose upload was ever tried is never written: the write begins a new
//! generation on top of it, whose holes are the copy below, and later the version that its upload made.
//!
//! A handle *writes* from its first write to its next flush. A working copy is uploaded when no handle writes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cache::{Action, Base, Commit, Kept, ObjectKey, Seen, Segment, Staged};
use causeway_storage::{Error, ErrorKind, Path, Span, Timestamp};
use futures::future::BoxFuture;

use crate::content::Content;
use crate::patience::{METADATA, Patience, late};
use crate::pattern::Reach;
use crate::unnamed::Unnamed;
use crate::upload::pieces;
use crate::volume::{ATTEMPTS, Attributes, Found, State, Volume, Working};
use crate::{VfsError, view};

/// A write waits so long for uploads to make room for it: a third of what a request may take.
const ROOM_PATIENCE: Duration = Duration::from_secs(20);

/// A file that is open somewhere.
#[derive(Debug)]
pub(crate) struct OpenFile {
    state: Mutex<FileState>,
    /// Held by whoever writes or cuts, so that those happen one after the other.
    pub(crate) order: tokio::sync::Mutex<()>,
    pub(crate) handles: AtomicU64,
    /// Handles that the kernel serves by itself from the cached file.
    pub(crate) lent: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct FileState {
    pub(crate) path: Path,
    pub(crate) held: Held,
    /// It has no name any more: what is written is nobody's but the handles'.
    pub(crate) unlinked: bool,
    /// What the sidecar kept of it when it lost its name.
    pub(crate) kept: Option<Box<Kept>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// One version at the provider.
    Clean { seen: Seen, content: Arc<Content> },
    /// A working copy, kept open.
    Working { working: Arc<Working>, file: Arc<File> },
}

impl OpenFile {
    pub(crate) fn new(path: Path, held: Held) -> OpenFile {
        let state = Mutex::new(FileState { path, held, unlinked: false, kept: None });
        let (handles, lent) = (AtomicU64::new(0), AtomicU64::new(0));
        OpenFile { state, order: tokio::sync::Mutex::new(()), handles, lent }
    }

    pub(crate) fn held(&self) -> Held {
        self.lock().held.clone()
    }

    pub(crate) fn set_held(&self, held: Held) {
        self.lock().held = held;
    }

    /// The version that it holds is somewhere else, or another one, from now on, if that is said of it.
    pub(crate) fn follow(&self, now: impl Fn(&Seen) -> Option<Seen>) {
        if let Held::Clean { seen, .. } = &mut self.lock().held
            && let Some(now) = now(seen)
        {
            *seen = now;
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.handles() > 0
    }

    pub(crate) fn handles(&self) -> u64 {
        self.handles.load(Ordering::SeqCst)
    }

    /// Its name; none if it has none any more.
    pub(crate) fn path(&self) -> Option<Path> {
        let inner = self.lock();
        (!inner.unlinked).then(|| inner.path.clone())
    }

    pub(crate) fn set_path(&self, path: Path) {
        self.lock().path = path;
    }

    /// Takes its name away. Nobody will tell it any more what became of the copy below its own, so it keeps that.
    pub(crate) fn set_unlinked(&self, state: &State) {
        let mut inner = self.lock();
        inner.unlinked = true;
        if let Held::Working { working, .. } = &inner.held
            && let Some(Base::Staged { id, .. }) = working.base()
            && let Some(below) = state.working.get(&id)
        {
            match below.staged.file() {
                // Nobody else sets it.
                Ok(file) => drop(working.copy_below.set((below.clone(), file))),
                Err(error) => tracing::warn!(?error, "who has a removed file open cannot read on"),
            }
        }
    }

    /// Without a name it has nobody but its handles to say what is kept of it.
    pub(crate) fn set_kept(&self, kept: Option<Box<Kept>>) {
        let changed = Some(Timestamp::now());
        self.lock().kept = kept.map(|kept| Box::new(Kept { changed, ..*kept }));
    }

    pub(crate) fn is_unlinked(&self) -> bool {
        self.lock().unlinked
    }

    /// What it shows, whatever its path shows by now.
    pub(crate) fn attributes(&self) -> Attributes {
        let shown = match self.held() {
            Held::Clean { seen, .. } => Found::File(seen).attributes(),
            Held::Working { working, .. } => Found::Staged { working, modified: None }.attributes(),
        };
        let state = self.lock();
        Attributes { has_name: !state.unlinked, kept: state.kept.clone(), ..shown }
    }

    /// The content of one version at the provider, if that is what it holds and some of it is still to be fetched.
    pub(crate) fn fetched(&self) -> Option<Arc<Content>> {
        match &self.lock().held {
            Held::Clean { content, .. } if !content.object.is_complete() => Some(content.clone()),
            _ => None,
        }
    }

    /// Whether it shows this content, or this working copy.
    fn shows(&self, held: &Held) -> bool {
        match (&self.lock().held, held) {
            (Held::Clean { content, .. }, Held::Clean { content: other, .. }) => Arc::ptr_eq(content, other),
            (Held::Working { working, .. }, Held::Working { working: other, .. }) => Arc::ptr_eq(working, other),
            // Uploaded just now, and about to be seen as what it became.
            (Held::Working { working, .. }, Held::Clean { content, .. }) => {
                working.became.get().and_then(ObjectKey::of).as_ref() == Some(content.object.key())
            }
            (Held::Clean { .. }, Held::Working { .. }) => false,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, FileState> {
        // Changed in single steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the holes of a working copy stand for, at this moment.
enum Below {
    Content(Arc<Content>),
    Working(Arc<Working>, Arc<File>),
}

/// What a write is about to touch.
enum Writable {
    Ready(Arc<Working>),
    /// The kernel reads the file by itself: it must be taken over, if that can be.
    Lent,
    /// It has no name any more, and what it holds is still to be uploaded, or was: the handles need one of their own.
    Kept(Arc<Working>, Arc<File>),
    /// A working copy must be made first, on this base.
    Wanted(Option<Base>),
}

impl Volume {
    /// A number for a new handle.
    pub(crate) fn next_handle(&self) -> u64 {
        let mut state = self.state();
        state.next_handle += 1;
        state.next_handle
    }

    /// Opens an existing file and counts a handle of it.
    pub(crate) async fn open_file(
        self: &Arc<Self>,
        path: &Path,
        patience: Patience,
    ) -> Result<Arc<OpenFile>, VfsError> {
        for _ in 0..ATTEMPTS {
            let before = self.resolve(path);
            let held = match self.find(path, patience).await? {
                None => return Err(VfsError::not_found()),
                Some(Found::Directory(..)) => return Err(VfsError::of(ErrorKind::IsDirectory, "this is a directory")),
                Some(Found::Kept(_)) => {
                    return Err(VfsError::of(ErrorKind::Unsupported, "what stands here has no content"));
                }
                Some(Found::Staged { working, .. }) => {
                    let staged = working.staged.clone();
                    let Ok(file) = blocking(move || Ok(staged.file()?)).await else { continue };
                    Held::Working { working, file }
                }
                Some(Found::File(seen)) => {
                    let volume = self.clone();
                    let content = {
                        let seen = seen.clone();
                        blocking(move || volume.content(&seen)).await?
                    };
                    Held::Clean { seen, content }
                }
            };
            let mut state = self.state();
            // Under this lock nothing moves, or becomes another version, by our own doing: what is registered is what the path
            // shows.
            if self.resolve(path) != before {
                continue;
            }
            let existing = state.files.get(path).and_then(std::sync::Weak::upgrade).filter(|file| file.shows(&held));
            let file = existing.unwrap_or_else(|| Arc::new(OpenFile::new(path.clone(), held)));
            file.handles.fetch_add(1, Ordering::Relaxed);
            state.files.retain(|_, file| file.strong_count() > 0);
            state.files.insert(path.clone(), Arc::downgrade(&file));
            return Ok(file);
        }
        Err(VfsError::of(ErrorKind::Unavailable(None), "the file changed while it was opened"))
    }

    /// Counts a handle of a file that was just made.
    pub(crate) fn adopt(&self, file: &OpenFile) {
        file.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// As many bytes at `offset` as the buffer holds and the file has, if all of them lie on this machine.
    pub(crate) fn read_now(&self, file: &OpenFile, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, VfsError>> {
        let size = |all: u64| all.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let read = match file.held() {
            Held::Working { working, file } => working.staged.read_own(&file, offset, buffer).transpose()?,
            Held::Clean { content, .. } => {
                let size = size(content.object.size());
                let wanted = buffer.get_mut(..size)?;
                content.object.read_at(offset, wanted).map(|read| read.then_some(size)).transpose()?
            }
        };
        Some(read.map_err(VfsError::from))
    }

    /// The bytes of `span`: fewer only at the end of the file. Says also how much to ask for on a miss, and ahead.
    pub(crate) async fn read(&self, file: &OpenFile, span: Span, reach: Reach) -> Result<Vec<u8>, VfsError> {
        self.pins.note_read();
        match file.held() {
            Held::Working { working, file } => self.read_working(working, file, span).await,
            Held::Clean { content, .. } => {
                let end = span.end().min(content.object.size());
                if span.offset >= end {
                    return Ok(Vec::new());
                }
                self.read_content(&content, Span::new(span.offset, end - span.offset), reach).await
            }
        }
    }

    /// Fetches what is not on this machine of `span`, and keeps nothing of it in memory. Says also how much to ask for on a
    /// miss, and ahead.
    pub(crate) async fn fetch(&self, file: &OpenFile, span: Span, reach: Reach) -> Result<(), VfsError> {
        match file.held() {
            Held::Working { working, .. } => self.fetch_working(working, span).await,
            Held::Clean { content, .. } => {
                let end = span.end().min(content.object.size());
                if span.offset >= end {
                    return Ok(());
                }
                self.fetch_content(&content, Span::new(span.offset, end - span.offset), reach).await
            }
        }
    }

    fn fetch_working(&self, working: Arc<Working>, span: Span) -> BoxFuture<'_, Result<(), VfsError>> {
        Box::pin(async move {
            for segment in working.staged.segments(span) {
                let Segment::Base(span) = segment else { continue };
                match self.base_of(&working).await? {
                    Below::Content(content) => self.fetch_content(&content, span, Reach::just(span)).await?,
                    Below::Working(below, _) => self.fetch_working(below, span).await?,
                }
            }
            Ok(())
        })
    }

    async fn fetch_content(&self, content: &Arc<Content>, span: Span, reach: Reach) -> Result<(), VfsError> {
        let mut changes = self.journal().watch();
        for _ in 0..ATTEMPTS {
            changes.mark_unchanged();
            let source = content.source();
            let error = match content.fetch(&self.way(), span, reach).await {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.kind, ErrorKind::PreconditionFailed | ErrorKind::NotFound) => error,
                Err(error) => return Err(error.into()),
            };
            if content.source() != source {
                continue;
            }
            if !self.is_moving(&source.path) {
                tracing::debug!(?error, "the content that was opened is gone");
                return Err(VfsError::Stale);
            }
            let moved = tokio::time::timeout(METADATA, changes.changed()).await;
            moved.map_err(|_| late("a rename under way"))?.map_err(Error::internal)?;
        }
        Err(VfsError::Stale)
    }

    async fn read_content(&self, content: &Arc<Content>, span: Span, reach: Reach) -> Result<Vec<u8>, VfsError> {
        if span.end() > content.object.size() {
            return Err(Error::internal("a read beyond the end of the content").into());
        }
        let mut buffer = vec![0; usize::try_from(span.size).map_err(Error::internal)?];
        loop {
            self.fetch_content(content, span, reach).await?;
            // It came just now, so it is in memory. Another may have emptied the object since, to make room.
            if content.object.read_at(span.offset, &mut buffer)? {
                return Ok(buffer);
            }
        }
    }

    /// Whether what stands at this path is being moved at the provider at this moment.
    fn is_moving(&self, path: &Path) -> bool {
        let state = self.state();
        self.journal().read(|intents, _| {
            let executing = state.executing.iter().filter_map(|id| intents.get(id));
            executing.into_iter().any(|intent| match &intent.action {
                Action::Rename { from, to, .. } => path.is_within(&from.path) || path.is_within(to),
                _ => false,
            })
        })
    }

    /// Bytes of a working copy, its holes from the base.
    pub(crate) fn read_working(
        &self,
        working: Arc<Working>,
        file: Arc<File>,
        span: Span,
    ) -> BoxFuture<'_, Result<Vec<u8>, VfsError>> {
        Box::pin(async move {
            let mut bytes = Vec::new();
            for segment in working.staged.segments(span) {
                match segment {
                    Segment::Own(span) => {
                        let file = file.clone();
                        bytes.extend(blocking(move || Ok(read_at(&file, span)?)).await?);
                    }
                    Segment::Base(span) => bytes.extend(self.read_base(&working, span).await?),
                }
            }
            Ok(bytes)
        })
    }

    /// Bytes of what a working copy began from.
    pub(crate) async fn read_base(&self, working: &Working, span: Span) -> Result<Vec<u8>, VfsError> {
        match self.base_of(working).await? {
            Below::Content(content) => self.read_content(&content, span, Reach::just(span)).await,
            Below::Working(below, file) => self.read_working(below, file, span).await,
        }
    }

    /// What a working copy began from.
    async fn base_of(&self, working: &Working) -> Result<Below, VfsError> {
        for _ in 0..ATTEMPTS {
            match working.base() {
                None => return Err(Error::internal("a working copy without a base has a hole").into()),
                Some(Base::Remote(seen)) => {
                    return Ok(Below::Content(match &working.below {
                        Some(content) => content.clone(),
                        None => self.content(&seen)?,
                    }));
                }
                // Gone: it was uploaded just now, and the base says which version it became.
                Some(Base::Staged { id, .. }) => {
                    if let Some((below, file)) = working.copy_below.get() {
                        return Ok(Below::Working(below.clone(), file.clone()));
                    }
                    if let Some(below) = self.state().working.get(&id).cloned() {
                        let file = below.staged.file()?;
                        return Ok(Below::Working(below, file));
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        Err(VfsError::Stale)
    }

    /// Writes at `offset`, or at the end, if a working copy is there to be written and nobody else writes.
    pub(crate) fn write_now(
        self: &Arc<Self>,
        file: &Arc<OpenFile>,
        handle: u64,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Option<Result<(), VfsError>> {
        let _order = file.order.try_lock().ok()?;
        let Writable::Ready(working) = self.try_writable(file, handle, true) else { return None };
        if !self.scope.try_admit(bytes.len() as u64) {
            return None;
        }
        let offset = offset.unwrap_or_else(|| working.staged.size());
        let written = working.staged.write_at(offset, bytes);
        self.announce_written(file);
        Some(written.map_err(VfsError::from))
    }

    /// Writes at `offset`, or at the end.
    pub(crate) async fn write(
        self: &Arc<Self>,
        file: &Arc<OpenFile>,
        handle: u64,
        offset: Option<u64>,
        bytes: Vec<u8>,
    ) -> Result<(), VfsError> {
        let _order = file.order.lock().await;
        let working = self.writable(file, handle, false).await?;
        self.scope.admit_within(bytes.len() as u64, ROOM_PATIENCE).await?;
        blocking(move || {
            let offset = offset.unwrap_or_else(|| working.staged.size());
            Ok(working.staged.write_at(offset, &bytes)?)
        })
        .await?;
        self.announce_written(file);
        Ok(())
    }

    /// Cuts or extends a file.
    pub(crate) async fn resize(self: &Arc<Self>, file: &Arc<OpenFile>, handle: u64, size: u64) -> Result<(), VfsError> {
        let _order = file.order.lock().await;
        let working = self.writable(file, handle, size == 0).await?;
        let scope = self.scope.clone();
        blocking(move || {
            scope.admit(0)?;
            Ok(scope.resize(&working.staged, size)?)
        })
        .await?;
        self.announce_written(file);
        Ok(())
    }

    /// Sets the time of a file that is being written; says whether it was one.
    pub(crate) async fn set_modified_open(
        &self,
        working: &Arc<Working>,
        modified: Timestamp,
    ) -> Result<bool, VfsError> {
        if working.became.get().is_some() || self.has_started(&self.state(), working) {
            return Ok(false);
        }
        let staged = working.staged.clone();
        blocking(move || Ok(staged.set_modified(modified)?)).await?;
        // An upload that began meanwhile may have taken the time from before.
        Ok(working.became.get().is_none() && !self.has_started(&self.state(), working))
    }

    /// The working copy that a write of this handle goes to; makes and journals one if there is none.
    async fn writable(
        self: &Arc<Self>,
        file: &Arc<OpenFile>,
        handle: u64,
        from_nothing: bool,
    ) -> Result<Arc<Working>, VfsError> {
        let mut may_take_over = true;
        for _ in 0..ATTEMPTS {
            let base = match self.try_writable(file, handle, may_take_over) {
                Writable::Ready(working) => return Ok(working),
                Writable::Lent => {
                    // Where it cannot be, readers whom the kernel serves keep what they opened.
                    may_take_over = self.take_over(file, handle, None).await?;
                    continue;
                }
                Writable::Kept(working, opened) => {
                    self.make_own(file, &working, opened).await?;
                    continue;
                }
                Writable::Wanted(base) => base.filter(|_| !from_nothing),
            };
            let scope = self.scope.clone();
            let base_size = base.as_ref().map(Base::size);
            let (unnamed, staged, opened) = blocking(move || Ok(Unnamed::stage(scope, base_size)?)).await?;
            let made = self.try_make(file, handle, &staged, opened, base, from_nothing)?;
            match made {
                Some((working, commit)) => {
                    unnamed.named();
                    // What is written survives the end of the process; a close waits for more.
                    commit.leave();
                    return Ok(working);
                }
                None => {
                    let discard = move || {
                        drop(unnamed);
                        Ok(())
                    };
                    blocking(discard).await?;
                }
            }
        }
        Err(VfsError::of(ErrorKind::Unavailable(None), "the file changed while it was written"))
    }

    /// Whether a working copy can still be written: its upload was never tried.
    pub(crate) fn is_open_to(&self, state: &State, working: &Working) -> bool {
        working.became.get().is_none() && !self.has_started(state, working)
    }

    /// Whether nothing but handles leads to a working copy: no change names it, and the cache does not keep it.
    fn is_nobodys(&self, state: &State, working: &Working) -> bool {
        let id = working.intent();
        let is_named = state.executing.contains(&id) || self.journal().read(|intents, _| intents.contains_key(&id));
        working.became.get().is_none() && !is_named
    }

    /// Gives a file without a name a copy of its own of what it holds.
    async fn make_own(&self, file: &Arc<OpenFile>, working: &Arc<Working>, opened: Arc<File>) -> Result<(), VfsError> {
        let scope = self.scope.clone();
        let stage = move || {
            let (own, fresh) = scope.stage(None)?;
            // Whoever has it open goes on without its names.
            scope.discard(&own);
            Ok((own, fresh))
        };
        let (own, fresh) = blocking(stage).await?;
        for piece in pieces(Span::new(0, working.staged.size())) {
            let bytes = self.read_working(working.clone(), opened.clone(), piece).await?;
            let own = own.clone();
            blocking(move || Ok(own.write_at(piece.offset, &bytes)?)).await?;
        }
        let mut inner = file.lock();
        if let Held::Working { working: held, .. } = &inner.held
            && Arc::ptr_eq(held, working)
        {
            inner.held = Held::Working { working: Arc::new(Working::new(own, 0, None)), file: fresh };
        }
        Ok(())
    }

    /// Whether the upload of a working copy was ever tried: then it must stay as it is, since the provider may have it.
    fn has_started(&self, state: &State, working: &Working) -> bool {
        let id = working.intent();
        state.executing.contains(&id)
            || self.journal().read(|intents, _| intents.get(&id).is_some_and(|intent| intent.started))
    }

    fn try_writable(&self, file: &OpenFile, handle: u64, may_take_over: bool) -> Writable {
        let mut state = self.state();
        let inner = file.lock();
        match &inner.held {
            Held::Clean { .. } if may_take_over && file.is_lent() => Writable::Lent,
            Held::Clean { content, .. } => Writable::Wanted(Some(Base::Remote(content.source()))),
            Held::Working { working, file } if inner.unlinked => match self.is_nobodys(&state, working) {
                true => Writable::Ready(working.clone()),
                false => Writable::Kept(working.clone(), file.clone()),
            },
            Held::Working { working, .. } if working.became.get().is_some() => {
                Writable::Wanted(working.became.get().cloned().map(Base::Remote))
            }
            Held::Working { working, .. } if !self.has_started(&state, working) => {
                state.writing.entry(working.staged.id()).or_default().insert(handle);
                state.waits.remove(&working.intent());
                Writable::Ready(working.clone())
            }
            Held::Working { working, .. } => {
                Writable::Wanted(Some(Base::Staged { id: working.staged.id(), size: working.staged.size() }))
            }
        }
    }

    /// Journals the new working copy, unless the file changed since it was looked at.
    fn try_make(
        &self,
        file: &Arc<OpenFile>,
        handle: u64,
        staged: &Arc<Staged>,
        opened: Arc<File>,
        base: Option<Base>,
        from_nothing: bool,
    ) -> Result<Option<(Arc<Working>, Commit)>, VfsError> {
        let mut state = self.state();
        let mut inner = file.lock();
        let mut below = None;
        let existing = match &inner.held {
            Held::Clean { content, .. } => {
                below = Some(content.clone()).filter(|_| base.is_some());
                let source = content.source();
                if !from_nothing && base != Some(Base::Remote(source.clone())) {
                    return Ok(None);
                }
                Seen { path: inner.path.clone(), ..source }
            }
            // What it holds is somebody else's: it gets a copy of its own.
            Held::Working { .. } if inner.unlinked => return Ok(None),
            Held::Working { working, .. } if working.became.get().is_some() => {
                let became = working.became.get().cloned().unwrap_or_else(|| unknown(&inner.path));
                if !from_nothing && base != Some(Base::Remote(became.clone())) {
                    return Ok(None);
                }
                Seen { path: inner.path.clone(), ..became }
            }
            Held::Working { working, .. } => {
                let below = Base::Staged { id: working.staged.id(), size: working.staged.size() };
                if !self.has_started(&state, working) || !(from_nothing || base == Some(below)) {
                    return Ok(None);
                }
                // The upload under way says which version this will be.
                Seen { version: None, ..unknown(&inner.path) }
            }
        };
        if inner.unlinked {
            let working = Arc::new(Working::over(staged.clone(), 0, base, below));
            inner.held = Held::Working { working: working.clone(), file: opened };
            self.scope.discard(staged);
            let (_, nothing) = self.journal().change(|_| Ok(()))?;
            return Ok(Some((working, nothing)));
        }
        let path = inner.path.clone();
        let (intent, commit) = self.journal().change(|batch| {
            let existing = Some(existing);
            Ok(batch.append(Action::Write { path, staged: staged.id(), existing, base: base.clone() }))
        })?;
        let working = Arc::new(Working::over(staged.clone(), intent, base, below));
        state.working.insert(staged.id(), working.clone());
        state.writing.entry(staged.id()).or_default().insert(handle);
        inner.held = Held::Working { working: working.clone(), file: opened };
        Ok(Some((working, commit)))
    }

    /// Whether anything pending still touches `path`.
    pub(crate) fn is_touched(&self, path: &Path) -> bool {
        self.journal().look(|log| view::last_touching(log, path, u64::MAX).is_some())
    }
}

/// What stands at a path, when only its place is known: who made it will say more.
pub(crate) fn unknown(path: &Path) -> Seen {
    Seen {
        path: path.clone(),
        kind: causeway_storage::Kind::File,
        cookie: None,
        version: None,
        size: None,
        modified: None,
        weak: false,
    }
}

/// Runs what waits for the disk where that stops nobody else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VfsError> + Send + 'static,
) -> Result<T, VfsError> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Reads all of a span.
pub(crate) fn read_at(file: &File, span: Span) -> causeway_storage::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(span.size).map_err(Error::internal)?];
    file.read_exact_at(&mut buffer, span.offset)?;
    Ok(buffer)
}
