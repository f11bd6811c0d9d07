//! Carrying intents out: which, when, and how each is made at the provider.
//!
//! Up to four at a time, in the order of the journal but for those that wait: an intent waits for every earlier one that
//! touches the same path, one above it or one below it. A failure that may pass is tried again for ever, with growing
//! pauses; one that will not pass is noted in the journal and blocks what depends on it, nothing else. What an intent
//! that went through changes in the journal is `finish`.
//!
//! A lost answer is not a conflict: before a refused change is called one, the provider is asked what stands there.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use causeway_cache::{Action, Failure, Intent, ObjectKey, Seen};
use causeway_digest::digest_source;
use causeway_storage::{
    Algorithm, Can, Entry, Error, ErrorKind, Kind, Node, Path, Result, Source, Span, Timestamp, WriteIntent, collect,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::VfsError;
use crate::file::blocking;
use crate::finish::Outcome;
use crate::patience::late;
use crate::unnamed::Unnamed;
use crate::view::last_touching;
use crate::volume::{Volume, Working, node_of};

/// Changes made at a time: enough to hide a round trip, few enough that each gets on.
const PARALLEL: usize = 4;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause: a provider that is back is noticed by then.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A change without any sign of life for so long is given up and tried again: a provider may take minutes to put a large
/// file together, or to copy one.
const STALL: Duration = Duration::from_secs(300);

/// After so many failures in a row the storage is taken for being down: one change at a time tries, for all of them.
const TROUBLED: u32 = 4;

/// The longest rest between two such tries: a storage that is back is noticed by then.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Digests by which two contents of one size are the same.
const STRONG: [Algorithm; 5] =
    [Algorithm::Blake3, Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5];

/// What is written down once a rename by copy has made its copy.
const COPIED: &[u8] = b"copied";

/// Content is completed and compared in pieces of 1 MiB, which fit into memory.
const PIECE_BYTES: u64 = 1 << 20;

/// How often the cache is looked through for what is too old or too much.
const TIDY: Duration = Duration::from_secs(60);

/// An intent that failed and is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    attempts: u32,
    pub(crate) until: Instant,
    pub(crate) failed: Instant,
    pub(crate) error: Error,
}

/// Carries intents out until it is aborted.
pub(crate) async fn run(volume: Arc<Volume>) {
    let mut tasks = JoinSet::new();
    let mut tidy = tokio::time::interval(TIDY);
    let mut circuit = volume.circuit.watch();
    loop {
        while tasks.len() < PARALLEL
            && let Some(intent) = volume.pick()
        {
            let volume = volume.clone();
            tasks.spawn(async move { volume.carry_out(intent).await });
        }
        let pause = volume.next_attempt();
        tokio::select! {
            () = volume.wake.notified() => {}
            Some(_) = tasks.join_next() => {}
            () = tokio::time::sleep(pause) => {}
            // A circuit lives as long as its volume.
            Ok(()) = circuit.changed() => volume.relieve(),
            _ = tidy.tick() => volume.tidy().await,
        }
    }
}

/// An intent that is being carried out, until that ended, however it did.
struct Executing<'a> {
    volume: &'a Volume,
    intent: &'a Intent,
}

impl Drop for Executing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.volume.pause(self.intent, Error::internal("a change was given up in the middle by a fault of ours"));
        }
        self.volume.state().executing.remove(&self.intent.id);
        self.volume.wake.notify_one();
        self.volume.dealt_with.notify_waiters();
    }
}

impl Volume {
    /// Tries what failed for good, and what waits, again now.
    pub async fn retry(&self) -> Result<()> {
        {
            let mut state = self.state();
            state.waits.clear();
            state.trouble = None;
        }
        self.circuit.close();
        let (_, commit) = self.journal().change(|batch| {
            for intent in batch.intents().values().filter(|intent| intent.failure.is_some()) {
                batch.put(Intent { failure: None, ..intent.clone() });
            }
            Ok(())
        })?;
        self.journal().wait(commit).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Once the storage can be reached again, what failed because it could not waits no longer.
    fn relieve(&self) {
        if self.circuit.is_open() {
            return;
        }
        let mut state = self.state();
        state.waits.retain(|_, wait| !matches!(wait.error.kind, ErrorKind::Unavailable(None)));
        state.trouble = None;
    }

    async fn tidy(&self) {
        let scope = self.scope.clone();
        if let Err(error) = blocking(move || Ok(scope.secure_left().and(scope.evict())?)).await {
            tracing::warn!(?error, "the cache could not be tidied");
        }
    }

    /// The first intent that can be carried out now, marked as being carried out.
    fn pick(&self) -> Option<Intent> {
        if self.circuit.is_open() {
            return None;
        }
        let mut state = self.state();
        let now = Instant::now();
        if let Some((failures, until)) = state.trouble
            && failures >= TROUBLED
            && (until > now || !state.executing.is_empty())
        {
            return None;
        }
        let picked = self.journal().look(|log| {
            let is_free = |intent: &&Intent| {
                let waits = state.waits.get(&intent.id).is_some_and(|wait| wait.until > now);
                let written =
                    matches!(&intent.action, Action::Write { staged, .. } if state.writing.contains_key(staged));
                let executing = state.executing.contains(&intent.id);
                let depends = || intent.action.paths().any(|path| last_touching(log, path, intent.id).is_some());
                !(waits || written || executing || intent.failure.is_some() || depends())
            };
            log.intents().values().find(is_free).cloned()
        })?;
        state.executing.insert(picked.id);
        Some(picked)
    }

    /// How long until something that waits is due.
    fn next_attempt(&self) -> Duration {
        let state = self.state();
        let due = state.waits.values().map(|wait| wait.until.saturating_duration_since(Instant::now()));
        // What is due but waits for an earlier one is looked at again when that one ends.
        let trouble = state.trouble.map(|(_, until)| until.saturating_duration_since(Instant::now()));
        due.chain(trouble).filter(|pause| !pause.is_zero()).min().unwrap_or(LONGEST_PAUSE)
    }

    async fn carry_out(self: &Arc<Self>, intent: Intent) {
        let _executing = Executing { volume: self, intent: &intent };
        let ended = match self.start(&intent).await {
            Ok(()) => {
                // Its sign of life is nobody else's, and each of its requests ends by itself.
                self.keep_for_readers(&intent.action).await;
                match self.unless_stalled(&intent.action, self.execute(&intent)).await {
                    Ok(outcome) => self.finish(&intent, outcome).await,
                    Err(error) => self.fail(&intent, error).await,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::error!(?error, "a step of a change could not be journalled");
            self.pause(&intent, error);
        }
    }

    /// Gives a change up once nothing was heard of it for too long. One that sends content is heard of whenever it reads
    /// more of it.
    async fn unless_stalled<T>(&self, action: &Action, change: impl Future<Output = Result<T>>) -> Result<T> {
        let working = match action {
            Action::Write { staged, .. } => self.state().working.get(staged).cloned(),
            _ => None,
        };
        let sign = || match action {
            Action::Write { .. } => working.as_ref().map_or(0, |working| working.sent()),
            // It may have to carry the content over.
            Action::Rename { .. } => self.sent.load(Ordering::Relaxed),
            _ => 0,
        };
        let mut change = std::pin::pin!(change);
        loop {
            let before = sign();
            match tokio::time::timeout(STALL, &mut change).await {
                Ok(outcome) => return outcome,
                Err(_) if sign() != before => {}
                Err(_) => return Err(late("the storage")),
            }
        }
    }

    /// Writes down that an intent may have happened from now on.
    async fn start(&self, intent: &Intent) -> Result<()> {
        if intent.started {
            return Ok(());
        }
        let started = self.journal().change(|batch| {
            batch.edit(intent.id, |intent| intent.started = true);
            Ok(())
        })?;
        self.journal().wait(started.1).await
    }

    async fn fail(&self, intent: &Intent, error: Error) -> Result<()> {
        tracing::warn!(?error, paths = ?intent.action.paths().collect::<Vec<_>>(), "a change could not be made");
        if may_pass(&error) {
            self.pause(intent, error);
            return Ok(());
        }
        if let Some(path) = intent.action.paths().next() {
            self.tell(path, format!("a change could not be made and waits: {error}"));
        }
        let (_, commit) = self.journal().change(|batch| {
            if let Some(current) = batch.intents().get(&intent.id) {
                let failure = Some(Failure { message: error.message.clone(), at: Timestamp::now() });
                // Refused at the first attempt: it did not happen, and can be changed as if it never was tried. What came out
                // wrong may have happened.
                let happened = matches!(error.kind, ErrorKind::Internal | ErrorKind::Corrupt);
                let started = intent.started || happened;
                batch.put(Intent { failure, started, ..current.clone() });
            }
            Ok(())
        })?;
        self.journal().wait(commit).await
    }

    /// Tries an intent again later, if it is still there.
    fn pause(&self, intent: &Intent, error: Error) {
        let mut state = self.state();
        if !self.journal().read(|intents, _| intents.contains_key(&intent.id)) {
            return;
        }
        let attempts = state.waits.get(&intent.id).map_or(0, |wait| wait.attempts) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_PAUSE);
        let asked = match error.kind {
            ErrorKind::RateLimited(asked) | ErrorKind::Unavailable(asked) => asked.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let now = Instant::now();
        let failures = state.trouble.map_or(0, |(failures, _)| failures) + 1;
        let rest = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(TROUBLED).min(16)).min(LONGEST_REST);
        state.trouble = Some((failures, now + rest));
        state.waits.insert(intent.id, Wait { attempts, until: now + pause.max(asked), failed: now, error });
    }

    async fn execute(self: &Arc<Self>, intent: &Intent) -> Result<Outcome> {
        match &intent.action {
            Action::Write { path, staged, existing, .. } => {
                self.execute_write(intent.id, path, *staged, existing.as_ref()).await
            }
            Action::Remove { file } => self.execute_remove(file).await,
            Action::MakeDirectory { path } => self.execute_make_directory(path).await,
            Action::RemoveDirectory { directory } => self.execute_remove_directory(directory).await,
            Action::Rename { from, to, replaces } => self.execute_rename(intent.id, from, to, replaces.as_ref()).await,
            Action::SetModified { node, modified } => self.execute_set_modified(node, *modified).await,
        }
    }

    /// Whoever has a file open reads on when it is removed or replaced: what they did not read yet is fetched first. That
    /// cannot be promised (it may be too much, or gone), so the change does not depend on it.
    async fn keep_for_readers(&self, action: &Action) {
        let ends = match action {
            Action::Remove { file } => Some(file),
            Action::Rename { replaces, .. } => replaces.as_ref(),
            Action::Write { existing, .. } => existing.as_ref(),
            Action::MakeDirectory { .. } | Action::RemoveDirectory { .. } | Action::SetModified { .. } => None,
        };
        let Some(key) = ends.and_then(ObjectKey::of) else { return };
        let content = {
            let state = self.state();
            let content = state.contents.get(&key).and_then(Weak::upgrade);
            let own = match action {
                Action::Write { staged, .. } => state.working.get(staged).and_then(|working| working.below.as_ref()),
                _ => None,
            };
            content.filter(|content| {
                // What an edit began from is fetched piece by piece when it is uploaded.
                let holders = 1 + usize::from(own.is_some_and(|own| Arc::ptr_eq(own, content)));
                Arc::strong_count(content) > holders
            })
        };
        if let Some(content) = content
            && let Err(error) = content.complete(&self.way()).await
        {
            tracing::info!(?error, path = %content.source().path, "who has the old version open cannot read on");
        }
    }

    async fn execute_set_modified(&self, node: &Seen, modified: Timestamp) -> Result<Outcome> {
        match self.storage.set_modified(&node.node(), modified).await {
            Ok(entry) => Ok(Outcome::Stands(entry)),
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::PreconditionFailed) => {
                let step = self.features.modified_step_ns.max(1);
                Ok(match self.storage.stat(&node.path).await? {
                    // It happened earlier, and the answer was lost.
                    Some(entry) if entry.modified == Some(modified.truncated(step)) && entry.size == node.size => {
                        Outcome::Stands(entry)
                    }
                    // Another content has its own time.
                    _ => Outcome::Overtaken,
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn execute_write(
        self: &Arc<Self>,
        id: u64,
        path: &Path,
        staged: u64,
        existing: Option<&Seen>,
    ) -> Result<Outcome> {
        let working = self.state().working.get(&staged).cloned();
        let working = working.ok_or_else(|| Error::internal("the content of a write is missing"))?;
        self.fill(&working).await?;
        let source = StagedSource::open(self, &working)?;
        let mut intent = WriteIntent {
            path: path.clone(),
            existing: node_of(existing),
            modified: Some(working.staged.modified()),
            media_type: "application/octet-stream".into(),
        };
        let log = self.scope.progress(id);
        let written = match self.as_expected(path, existing).await? {
            true => self.storage.write(&intent, source.clone(), log.clone()).await,
            false => Err(Error::new(ErrorKind::PreconditionFailed, "another version stands there")),
        };
        let written = match written {
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.make_parents(path).await?;
                self.storage.write(&intent, source.clone(), log.clone()).await
            }
            other => other,
        };
        match written {
            Ok(entry) => check_size(entry, source.size()).map(Outcome::Written),
            Err(error) if matches!(error.kind, ErrorKind::PreconditionFailed | ErrorKind::AlreadyExists) => {
                let Some(stands) = self.storage.stat(path).await? else {
                    // What was there is gone: nothing is lost by writing.
                    intent.existing = None;
                    let entry = self.storage.write(&intent, source.clone(), log.clone()).await?;
                    return check_size(entry, source.size()).map(Outcome::Written);
                };
                if self.is_same(path, &stands, &source).await? {
                    return Ok(Outcome::Written(stands));
                }
                if stands.version.is_some() && existing.is_some_and(|seen| seen.version == stands.version) {
                    return Err(Error::new(
                        ErrorKind::Unavailable(None),
                        "the storage refused the version that it shows",
                    ));
                }
                intent.path = self.conflict_path(path).await?;
                intent.existing = None;
                let copy = self.storage.write(&intent, source.clone(), log.clone()).await?;
                let message =
                    format!("the file was changed elsewhere meanwhile; what was written here is {}", intent.path);
                self.tell(path, message);
                Ok(Outcome::Conflict {
                    stands: Box::new(stands),
                    copy_path: intent.path,
                    copy: Box::new(check_size(copy, source.size())?),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether what stands there is what was seen, where the storage cannot check that itself.
    async fn as_expected(&self, path: &Path, existing: Option<&Seen>) -> Result<bool> {
        if self.features.can.contains(Can::CONDITIONAL) {
            return Ok(true);
        }
        let stands = self.storage.stat(path).await?;
        Ok(match (stands, existing) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(entry), Some(seen)) => seen.version.is_none() || entry.version == seen.version,
        })
    }

    /// Fetches what a working copy still lacks of its base.
    async fn fill(self: &Arc<Self>, working: &Arc<Working>) -> Result<()> {
        for hole in working.staged.holes() {
            for span in pieces(hole) {
                let bytes = self.read_base(working, span).await.map_err(from_vfs)?;
                let (scope, staged) = (self.scope.clone(), working.staged.clone());
                let filled = blocking(move || {
                    scope.admit_fill(span.size)?;
                    Ok(staged.fill(span.offset, &bytes)?)
                });
                filled.await.map_err(from_vfs)?;
                self.note_sent(working, span.size);
            }
        }
        Ok(())
    }

    fn note_sent(&self, working: &Working, bytes: u64) {
        working.note_sent(bytes);
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether what stands at the provider is what was to be written: by a digest that it shows, else byte for byte.
    async fn is_same(&self, path: &Path, stands: &Entry, source: &Arc<StagedSource>) -> Result<bool> {
        if stands.kind != Kind::File || stands.size != Some(source.size()) {
            return Ok(false);
        }
        if let Some(there) = stands.digests.iter().find(|digest| STRONG.contains(&digest.algorithm)) {
            let (source, algorithm) = (source.clone(), there.algorithm);
            let here = blocking(move || Ok(digest_source(source.as_ref(), algorithm, &[]).map_err(Error::from)?));
            return Ok(here.await.map_err(from_vfs)? == there.value);
        }
        let node = Node::of(path.clone(), stands);
        for span in pieces(Span::new(0, source.size())) {
            let there = collect(self.storage.read(&node, span).await?, PIECE_BYTES as usize).await?;
            let source = source.clone();
            let here = blocking(move || {
                let mut here = vec![0; span.size as usize];
                source.read_exact_at(span.offset, &mut here).map_err(Error::from)?;
                Ok(here)
            });
            if here.await.map_err(from_vfs)? != there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A free name beside the file that says what it is.
    async fn conflict_path(&self, path: &Path) -> Result<Path> {
        let name = path.name().unwrap_or_default();
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (name, String::new()),
        };
        let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H%M%S").to_string();
        let parent = path.parent().unwrap_or_default();
        // Two within one second are told apart by a number.
        for number in 1..100 {
            let number = if number == 1 { String::new() } else { format!(" {number}") };
            let candidate =
                parent.child(&format!("{stem} (conflict {now}){number}{extension}")).map_err(Error::internal)?;
            if self.storage.stat(&candidate).await?.is_none() && !self.is_touched(&candidate) {
                return Ok(candidate);
            }
        }
        Err(Error::new(ErrorKind::Unavailable(None), "no name is free for a conflict copy"))
    }

    async fn make_parents(&self, path: &Path) -> Result<()> {
        if !self.features.can.contains(Can::DIRECTORIES) {
            return Ok(());
        }
        let mut above: Vec<Path> = up(path).skip(1).filter(|path| !path.is_root()).collect();
        above.reverse();
        for directory in above {
            match self.storage.make_directory(&directory).await {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn execute_remove(&self, file: &Seen) -> Result<Outcome> {
        let removed = match self.as_expected(&file.path, Some(file)).await? {
            true => self.storage.remove_file(&file.node()).await,
            false => Err(Error::new(ErrorKind::PreconditionFailed, "another version stands there")),
        };
        match removed {
            Ok(()) => Ok(Outcome::Gone),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Outcome::Gone),
            Err(error) if error.kind == ErrorKind::PreconditionFailed => match self.storage.stat(&file.path).await? {
                None => Ok(Outcome::Gone),
                Some(_) => {
                    self.tell(&file.path, "the file was not removed: it was changed elsewhere meanwhile");
                    Ok(Outcome::Overtaken)
                }
            },
            Err(error) => Err(error),
        }
    }

    async fn execute_make_directory(&self, path: &Path) -> Result<Outcome> {
        if !self.features.can.contains(Can::EMPTY_DIRECTORIES) {
            return Ok(Outcome::DirectoryHere);
        }
        match self.storage.make_directory(path).await {
            Ok(entry) => Ok(Outcome::Stands(entry)),
            Err(error) if error.kind == ErrorKind::AlreadyExists => match self.storage.stat(path).await? {
                Some(entry) if entry.kind == Kind::Directory => Ok(Outcome::Stands(entry)),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn execute_remove_directory(&self, directory: &Seen) -> Result<Outcome> {
        if !self.features.can.contains(Can::EMPTY_DIRECTORIES) {
            return Ok(Outcome::Gone);
        }
        match self.storage.remove_directory(&directory.node()).await {
            Ok(()) => Ok(Outcome::Gone),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Outcome::Gone),
            Err(error) if error.kind == ErrorKind::DirectoryNotEmpty => {
                self.tell(&directory.path, "the directory was not removed: something was put into it elsewhere");
                Ok(Outcome::Overtaken)
            }
            Err(error) => Err(error),
        }
    }

    async fn execute_rename(
        self: &Arc<Self>,
        id: u64,
        from: &Seen,
        to: &Path,
        replaces: Option<&Seen>,
    ) -> Result<Outcome> {
        let moves = if from.kind == Kind::File { Can::MOVE } else { Can::MOVE_DIRECTORIES };
        if !self.features.can.contains(moves) {
            return self.execute_copy(id, from, to, replaces).await;
        }
        let mut moved = self.try_move(from, to, replaces).await;
        if moved.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound)
            && self.storage.stat(&from.path).await?.is_some()
        {
            self.make_parents(to).await?;
            moved = self.try_move(from, to, replaces).await;
        }
        let error = match moved {
            Ok(entry) => return Ok(Outcome::Moved(entry)),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error),
        };
        match (self.storage.stat(&from.path).await?, self.storage.stat(to).await?) {
            // It happened earlier, and the answer was lost.
            (None, Some(entry)) if entry.kind == from.kind && entry.size == from.size => Ok(Outcome::Moved(entry)),
            (None, Some(_)) => Err(error),
            (stands, _) => Ok(self.not_renamed(&from.path, stands.is_some())),
        }
    }

    async fn try_move(&self, from: &Seen, to: &Path, replaces: Option<&Seen>) -> Result<Entry> {
        if !self.as_expected(to, replaces).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, "another version stands there"));
        }
        self.storage.move_to(&from.node(), to, node_of(replaces).as_ref()).await
    }

    /// A rename in two steps: a copy, and the removal of what was copied. That the copy is there is written down before
    /// the removal begins, so that whatever gets lost in between, nothing is removed that was not copied.
    async fn execute_copy(
        self: &Arc<Self>,
        id: u64,
        from: &Seen,
        to: &Path,
        replaces: Option<&Seen>,
    ) -> Result<Outcome> {
        let progress = self.scope.progress(id);
        if progress.load().await?.as_deref() != Some(COPIED) {
            let mut copied = self.try_copy(id, from, to, replaces).await;
            if copied.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound)
                && self.storage.stat(&from.path).await?.is_some()
            {
                self.make_parents(to).await?;
                copied = self.try_copy(id, from, to, replaces).await;
            }
            match copied {
                Ok(_) => {}
                Err(error) if is_refusal(&error) => {
                    let (source, target) = (self.storage.stat(&from.path).await?, self.storage.stat(to).await?);
                    let copied = match (&source, &target) {
                        (Some(source), Some(target)) => self.are_same((&from.path, source), (to, target)).await?,
                        _ => false,
                    };
                    if !copied {
                        return Ok(self.not_renamed(&from.path, source.is_some()));
                    }
                }
                Err(error) => return Err(error),
            }
            progress.save(COPIED).await?;
        }
        let removed = self.execute_remove(from).await?;
        Ok(match (self.storage.stat(to).await?, removed) {
            (Some(entry), Outcome::Gone) => Outcome::Moved(entry),
            (Some(entry), _) => Outcome::Copied(entry),
            (None, _) => Outcome::Overtaken,
        })
    }

    async fn try_copy(self: &Arc<Self>, id: u64, from: &Seen, to: &Path, replaces: Option<&Seen>) -> Result<Entry> {
        if !self.as_expected(to, replaces).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, "another version stands there"));
        }
        if self.features.can.contains(Can::COPY) {
            self.storage.copy_to(&from.node(), to, node_of(replaces).as_ref()).await
        } else {
            self.write_anew(id, from, to, node_of(replaces)).await
        }
    }

    fn not_renamed(&self, path: &Path, stands: bool) -> Outcome {
        self.tell(
            path,
            match stands {
                true => "the file was not renamed: it was changed, or something was put in its way, elsewhere",
                false => "the file was not renamed: it was removed elsewhere meanwhile",
            },
        );
        Outcome::Overtaken
    }

    /// Whether two files at the provider are the same: by digests that both show, else byte for byte.
    async fn are_same(&self, one: (&Path, &Entry), other: (&Path, &Entry)) -> Result<bool> {
        let Some(size) = one.1.size.filter(|size| other.1.size == Some(*size)) else { return Ok(false) };
        let both = one.1.digests.iter().filter(|digest| STRONG.contains(&digest.algorithm));
        let both = both.filter_map(|digest| Some((digest.value.as_slice(), other.1.digest(digest.algorithm)?)));
        if let Some((here, there)) = both.into_iter().next() {
            return Ok(here == there);
        }
        let (one, other) = (Node::of(one.0.clone(), one.1), Node::of(other.0.clone(), other.1));
        for span in pieces(Span::new(0, size)) {
            let here = collect(self.storage.read(&one, span).await?, PIECE_BYTES as usize).await?;
            let there = collect(self.storage.read(&other, span).await?, PIECE_BYTES as usize).await?;
            if here != there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// For a storage that neither moves nor copies: what was read is written at the other place.
    async fn write_anew(self: &Arc<Self>, id: u64, from: &Seen, to: &Path, existing: Option<Node>) -> Result<Entry> {
        let size = from.size.ok_or_else(|| Error::unsupported("move a file of unknown size"))?;
        let base = causeway_cache::Base::Remote(from.clone());
        let scope = self.scope.clone();
        // No intent ever names it: it goes with this.
        let (_unnamed, staged, _file) =
            blocking(move || Ok(Unnamed::stage(scope, Some(size))?)).await.map_err(from_vfs)?;
        let working = Arc::new(Working::new(staged, id, Some(base)));
        self.fill(&working).await?;
        let intent = WriteIntent {
            path: to.clone(),
            existing,
            modified: from.modified,
            media_type: "application/octet-stream".into(),
        };
        self.storage.write(&intent, StagedSource::open(self, &working)?, self.scope.progress(id)).await
    }
}

/// A working copy as a storage reads it.
#[derive(Debug)]
struct StagedSource {
    volume: Arc<Volume>,
    working: Arc<Working>,
    file: Arc<std::fs::File>,
    size: u64,
}

impl StagedSource {
    fn open(volume: &Arc<Volume>, working: &Arc<Working>) -> Result<Arc<StagedSource>> {
        let (file, size) = (working.staged.file()?, working.staged.size());
        Ok(Arc::new(StagedSource { volume: volume.clone(), working: working.clone(), file, size }))
    }
}

impl Source for StagedSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.volume.note_sent(&self.working, buffer.len() as u64);
        std::os::unix::fs::FileExt::read_exact_at(self.file.as_ref(), buffer, offset)
    }
}

/// A span cut at multiples of the size of a piece.
pub(crate) fn pieces(span: Span) -> impl Iterator<Item = Span> {
    let first = span.offset / PIECE_BYTES;
    let piece = move |number: u64| {
        let (start, end) = ((number * PIECE_BYTES).max(span.offset), ((number + 1) * PIECE_BYTES).min(span.end()));
        Span::new(start, end - start)
    };
    (first..span.end().div_ceil(PIECE_BYTES)).map(piece).filter(|piece| piece.size > 0)
}

/// Whether the storage says that things are not as they were expected.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::NotFound | ErrorKind::PreconditionFailed | ErrorKind::AlreadyExists)
}

/// A path and everything above it.
fn up(path: &Path) -> impl Iterator<Item = Path> {
    std::iter::successors(Some(path.clone()), Path::parent)
}

/// Whether trying again may help without anyone changing anything here: also where only the account, or what it may do, must
/// be put right.
fn may_pass(error: &Error) -> bool {
    let account = matches!(error.kind, ErrorKind::Unauthenticated | ErrorKind::Denied | ErrorKind::QuotaExceeded);
    error.is_passing() || account
}

fn check_size(entry: Entry, size: u64) -> Result<Entry> {
    match entry.size {
        Some(stored) if stored != size => {
            Err(Error::new(ErrorKind::Corrupt, "the storage kept another size than was sent"))
        }
        _ => Ok(entry),
    }
}

pub(crate) fn from_vfs(error: VfsError) -> Error {
    match error {
        VfsError::Storage(error) => error,
        VfsError::Stale => Error::new(ErrorKind::PreconditionFailed, "the version that was edited is gone"),
        other => Error::internal(other),
    }
}
