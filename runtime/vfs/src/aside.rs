//! Setting a backend's pending changes aside, when it shall go before they were made at the provider.
//!
//! Nothing is asked of the provider: content is completed with what lies on this machine, and what cannot be completed is
//! kept as it is, and said. Each pending write becomes a file under the name that the mount showed last; what was written
//! over before it was uploaded is beside it. All of it is on the disk under its new name before the journal forgets it, so
//! whatever ends the process in between, the data is at least once there.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use causeway_cache::{Action, Base, Intent, ObjectKey, Scope, Segment};
use causeway_storage::{ErrorKind, Kind, Path, Result};

use crate::file::{blocking, read_at};
use crate::upload::{from_vfs, pieces};
use crate::volume::{Volume, Working, recover};

/// What tells of everything that could not be kept as files.
const ACCOUNT: &str = "account.txt";

/// Files of one name that are kept beside each other; more versions of one file cannot wait at once in practice.
const MOST_OF_A_NAME: u32 = 1_000;

/// What was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it lies now.
    pub directory: PathBuf,
    /// Files that are complete.
    pub complete: u64,
    /// Files of which bytes are missing that only the provider has, or had.
    pub incomplete: u64,
    /// Changes that have no content: renames, removals, directories, times.
    pub others: u64,
}

impl Volume {
    /// Stops the queue and sets everything in it aside; see [`set_aside`]. Nothing may be mounted, and the volume is of no
    /// more use afterwards.
    pub async fn set_aside(&self, directory: &FilePath) -> Result<SetAside> {
        self.stop().await;
        let aside = set_aside(&self.scope, directory).await?;
        let mut state = self.state();
        state.working.clear();
        state.writing.clear();
        state.waits.clear();
        state.files.clear();
        Ok(aside)
    }
}

/// Moves the pending changes of a backend that is not in use out of its journal into a directory, which is made: content
/// below `files`, everything else as lines of `account.txt`.
pub async fn set_aside(scope: &Arc<Scope>, directory: &FilePath) -> Result<SetAside> {
    let (kept, place) = (scope.clone(), directory.to_owned());
    let (aside, working) = blocking(move || Ok(keep(&kept, &place)?)).await.map_err(from_vfs)?;
    let (_, commit) = scope.journal().change(|batch| {
        batch.intents().keys().for_each(|id| batch.delete(*id));
        batch.directories().iter().for_each(|directory| batch.drop_directory(directory));
        Ok(())
    })?;
    scope.journal().wait(commit).await?;
    let discarded = scope.clone();
    let discard = move || {
        working.values().for_each(|working| discarded.discard(&working.staged));
        Ok(())
    };
    blocking(discard).await.map_err(from_vfs)?;
    Ok(aside)
}

type WorkingCopies = HashMap<u64, Arc<Working>>;

fn keep(scope: &Scope, directory: &FilePath) -> Result<(SetAside, WorkingCopies)> {
    let intents: Vec<Intent> = scope.journal().read(|intents, _| intents.values().cloned().collect());
    let working = recover(scope)?;
    let files = directory.join("files");
    make_directory(&files)?;
    let mut aside = SetAside { directory: directory.to_owned(), complete: 0, incomplete: 0, others: 0 };
    let mut lines = Vec::new();
    // In order, since a later copy may stand on an earlier one.
    for intent in &intents {
        if let Action::Write { staged, .. } = &intent.action
            && let Some(copy) = working.get(staged)
        {
            complete(scope, &working, copy)?;
        }
    }
    // The newest first, so that it gets the name.
    for (index, intent) in intents.iter().enumerate().rev() {
        let Action::Write { path, staged, .. } = &intent.action else {
            aside.others += 1;
            lines.push(told(&intent.action));
            continue;
        };
        let shown = shown_at(path, intents.iter().skip(index + 1));
        let Some(copy) = working.get(staged) else {
            aside.incomplete += 1;
            lines.push(lost(&shown));
            continue;
        };
        let (_, is_complete, told) = keep_copy(copy, &shown, &files, directory)?;
        *(if is_complete { &mut aside.complete } else { &mut aside.incomplete }) += 1;
        lines.extend(told);
    }
    lines.reverse();
    let head = format!("{} files are complete. In the order in which it was asked for:", aside.complete);
    lines.insert(0, head);
    account(directory, &lines)?;
    Ok((aside, working))
}

/// What was kept of one change.
pub(crate) struct Kept {
    /// Where its content lies.
    pub(crate) place: Option<PathBuf>,
    /// What there is to tell of it.
    pub(crate) lines: Vec<String>,
}

/// Keeps one change of a backend in use: what it wrote is `copies`, before those on which that stands. Blocking.
pub(crate) fn keep_one(scope: &Scope, action: &Action, copies: &[Arc<Working>], directory: &FilePath) -> Result<Kept> {
    let files = directory.join("files");
    make_directory(&files)?;
    let Action::Write { path, .. } = action else { return Ok(Kept { place: None, lines: vec![told(action)] }) };
    let Some(copy) = copies.first() else { return Ok(Kept { place: None, lines: vec![lost(path)] }) };
    let all = copies.iter().map(|copy| (copy.staged.id(), copy.clone())).collect();
    for copy in copies.iter().rev() {
        complete(scope, &all, copy)?;
    }
    let (place, _, lines) = keep_copy(copy, path, &files, directory)?;
    Ok(Kept { place: Some(place), lines })
}

/// Adds to what tells of everything that could not be kept as files.
pub(crate) fn account(directory: &FilePath, lines: &[String]) -> Result<()> {
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(directory.join(ACCOUNT))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(std::fs::File::open(directory)?.sync_all()?)
}

/// Gives a working copy a name below `files`; says where, whether it is complete, and what there is to tell.
fn keep_copy(
    copy: &Working,
    shown: &Path,
    files: &FilePath,
    directory: &FilePath,
) -> Result<(PathBuf, bool, Vec<String>)> {
    let holes = copy.staged.holes();
    let name = if holes.is_empty() { shown.to_string() } else { format!("{shown} (incomplete)") };
    let target = link(copy, files, directory, &name)?;
    let mut lines = Vec::new();
    if !holes.is_empty() {
        let missing: Vec<_> = holes.iter().map(|hole| format!("{}-{}", hole.offset, hole.end())).collect();
        lines.push(format!("incomplete: {}: bytes {} are the provider's", target.display(), missing.join(", ")));
    }
    if !target.ends_with(&name) {
        lines.push(format!("renamed: {} is what was written to {shown}", target.display()));
    }
    Ok((target, holes.is_empty(), lines))
}

/// Puts what this machine has of a copy's base into its holes.
fn complete(scope: &Scope, all: &WorkingCopies, copy: &Working) -> Result<()> {
    for span in copy.staged.holes().into_iter().flat_map(pieces) {
        match copy.base() {
            Some(Base::Staged { id, .. }) => {
                let Some(below) = all.get(&id) else { continue };
                let file = below.staged.file()?;
                for segment in below.staged.segments(span) {
                    if let Segment::Own(span) = segment {
                        copy.staged.fill(span.offset, &read_at(&file, span)?)?;
                    }
                }
            }
            Some(Base::Remote(seen)) => {
                let Some((key, size)) = ObjectKey::of(&seen).zip(seen.size) else { continue };
                let mut bytes = vec![0; span.size as usize];
                if scope.object(&key, size)?.read_at(span.offset, &mut bytes)? {
                    copy.staged.fill(span.offset, &bytes)?;
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// Gives a copy a name below `files`; beside it where the name cannot be had there.
fn link(copy: &Working, files: &FilePath, directory: &FilePath, name: &str) -> Result<PathBuf> {
    let wanted = files.join(name);
    if let Some(parent) = wanted.parent()
        && make_directory(parent).is_ok()
    {
        for number in 1..MOST_OF_A_NAME {
            let target = if number == 1 { wanted.clone() } else { files.join(format!("{name} (earlier {number})")) };
            match copy.staged.link_to(&target) {
                Ok(()) => return Ok(target),
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                // Too long, or through a file: it gets a name of its own.
                Err(_) => break,
            }
        }
    }
    let target = directory.join(format!("content-{:016x}", copy.staged.id()));
    copy.staged.link_to(&target)?;
    Ok(target)
}

fn make_directory(directory: &FilePath) -> Result<()> {
    Ok(std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?)
}

/// Where later renames brought what was written at `path`.
fn shown_at<'a>(path: &Path, later: impl Iterator<Item = &'a Intent>) -> Path {
    let mut at = path.clone();
    for intent in later {
        if let Action::Rename { from, to, .. } = &intent.action
            && let Some(below) = at.below(&from.path)
            && (from.kind == Kind::Directory || below.is_root())
            && let Ok(moved) = to.join(&below)
        {
            at = moved;
        }
    }
    at
}

fn lost(path: &Path) -> String {
    format!("lost: the content of {path} is not on this machine any more")
}

fn told(action: &Action) -> String {
    match action {
        Action::Write { path, .. } => format!("not written: {path}"),
        Action::Remove { file } => format!("not removed: {}", file.path),
        Action::MakeDirectory { path } => format!("not made: the directory {path}"),
        Action::RemoveDirectory { directory } => format!("not removed: the directory {}", directory.path),
        Action::Rename { from, to, .. } => format!("not renamed: {} to {to}", from.path),
        Action::SetModified { node, .. } => format!("not set: the time of {}", node.path),
    }
}
