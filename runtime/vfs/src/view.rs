//! What a path shows: the journal laid over the provider.
//!
//! Nothing is asked here; the log of intents is walked backwards. A path that an intent made, removed or moved is
//! answered by that intent; a moved path is followed to where it came from, and what is left when the log ends is a path
//! at the provider. So the view needs no state of its own and is right after a restart by construction. Only the intents
//! that touch the path or something above it are looked at, however long the log is.

use std::collections::BTreeSet;

use causeway_cache::{Action, Intent, Log, Seen};
use causeway_storage::{Kind, Path, Timestamp};

/// What answers for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was removed, or moved away, or cannot be there.
    Absent,
    /// The working copy of this intent.
    Staged { intent: u64, staged: u64 },
    /// A file of the provider that a rename will move here.
    Moved(Seen),
    /// A directory made here: nothing of the provider is in it.
    Fresh,
    /// Whatever the provider has at this path; renames of directories led there.
    Remote { path: Path, through: Vec<u64> },
}

/// What a path shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) place: Place,
    /// A modification time that will be set.
    pub(crate) modified: Option<Timestamp>,
}

/// What answers for `path`.
pub(crate) fn resolve(log: &Log, path: &Path) -> Resolved {
    let mut at = path.clone();
    let mut modified = None;
    let mut moved = None;
    let mut through = Vec::new();
    let mut before = u64::MAX;
    while let Some(intent) = log.last_at_or_above(&at, before) {
        before = intent.id;
        let absent = match &intent.action {
            Action::Write { path, staged, .. } if *path == at => {
                let place = Place::Staged { intent: intent.id, staged: *staged };
                return Resolved { place, modified };
            }
            Action::MakeDirectory { path } if *path == at => return Resolved { place: Place::Fresh, modified },
            Action::Write { path, .. } | Action::MakeDirectory { path } => at.is_within(path),
            Action::Remove { file: seen } | Action::RemoveDirectory { directory: seen } => at.is_within(&seen.path),
            Action::Rename { from, to, .. } => match at.below(to) {
                Some(rest) if from.kind == Kind::Directory => {
                    through.push(intent.id);
                    at = from.path.join(&rest).unwrap_or_default();
                    false
                }
                Some(rest) if rest.is_root() => {
                    moved = Some(from.clone());
                    at = from.path.clone();
                    false
                }
                Some(_) => true,
                None => at.is_within(&from.path),
            },
            Action::SetModified { node, modified: time } => {
                if node.path == at && modified.is_none() {
                    modified = Some(*time);
                }
                false
            }
        };
        if absent {
            return Resolved { place: Place::Absent, modified: None };
        }
    }
    let place = match moved {
        // A directory above it may be about to move as well.
        Some(seen) => Place::Moved(Seen { path: at, ..seen }),
        None => Place::Remote { path: at, through },
    };
    Resolved { place, modified }
}

/// What a directory shows: the provider's names but for the touched ones, and the touched ones as they resolve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Where the provider's names come from; none if nothing of the provider shows.
    pub(crate) remote: Option<Path>,
    /// Names that the journal has something to say about.
    pub(crate) touched: BTreeSet<String>,
}

/// What `directory`, which exists, shows.
pub(crate) fn contents(log: &Log, directory: &Path) -> Contents {
    let mut at = directory.clone();
    let mut touched = BTreeSet::new();
    // What was touched in it under the name that it has at this point of the log.
    let mut upto = u64::MAX;
    let mut before = u64::MAX;
    while let Some(intent) = log.last_at_or_above(&at, before) {
        before = intent.id;
        match &intent.action {
            Action::MakeDirectory { path } if *path == at => {
                touched.extend(log.names_in(&at, before..upto));
                return Contents { remote: None, touched };
            }
            Action::Rename { from, to, .. } => {
                if let Some(rest) = at.below(to) {
                    touched.extend(log.names_in(&at, before..upto));
                    at = from.path.join(&rest).unwrap_or_default();
                    upto = before;
                }
            }
            _ => {}
        }
    }
    touched.extend(log.names_in(&at, 0..upto));
    let here = log.directories().iter().filter(|path| path.parent().as_ref() == Some(&at));
    touched.extend(here.filter_map(|path| path.name().map(str::to_owned)));
    Contents { remote: Some(at), touched }
}

/// The last intent numbered below `before` that a change of `path` depends on: it touches the path, something above it or
/// something below it.
pub(crate) fn last_touching<'a>(log: &'a Log, path: &Path, before: u64) -> Option<&'a Intent> {
    let (above, below) = (log.last_at_or_above(path, before), log.last_below(path, before));
    above.into_iter().chain(below).max_by_key(|intent| intent.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn seen(text: &str, kind: Kind) -> Seen {
        Seen { path: path(text), kind, cookie: None, version: None, size: None, modified: None, weak: false }
    }

    fn log(actions: Vec<Action>) -> Log {
        let since = Timestamp { seconds: 0, nanoseconds: 0 };
        let intent = |(id, action)| Intent { id, action, since, started: false, failure: None };
        (0..).zip(actions).map(intent).collect()
    }

    fn rename(from: &str, kind: Kind, to: &str) -> Action {
        Action::Rename { from: seen(from, kind), to: path(to), replaces: None }
    }

    fn write(at: &str, staged: u64) -> Action {
        Action::Write { path: path(at), staged, existing: None, base: None }
    }

    fn place(intents: &Log, at: &str) -> Place {
        resolve(intents, &path(at)).place
    }

    #[test]
    fn a_renamed_directory_shows_what_the_provider_has_at_its_old_path() {
        let intents = log(vec![rename("a", Kind::Directory, "b"), rename("b/c", Kind::Directory, "d")]);
        assert_eq!(place(&intents, "d/x"), Place::Remote { path: path("a/c/x"), through: vec![1, 0] });
        assert_eq!(place(&intents, "b/c/x"), Place::Absent);
        assert_eq!(place(&intents, "a"), Place::Absent);
    }

    #[test]
    fn a_file_written_and_renamed_is_still_the_working_copy() {
        let intents = log(vec![write("tmp", 7), rename("tmp", Kind::File, "doc")]);
        assert_eq!(place(&intents, "doc"), Place::Staged { intent: 0, staged: 7 });
        assert_eq!(place(&intents, "tmp"), Place::Absent);
    }

    #[test]
    fn a_file_moved_out_of_a_directory_that_is_about_to_move_is_where_the_provider_has_it() {
        let intents = log(vec![rename("c", Kind::Directory, "d"), rename("d/f", Kind::File, "g")]);
        assert_eq!(place(&intents, "g"), Place::Moved(seen("c/f", Kind::File)));
        assert_eq!(place(&intents, "d/f"), Place::Absent);
    }

    #[test]
    fn a_directory_made_anew_shows_nothing_of_the_one_before() {
        let intents = log(vec![
            Action::RemoveDirectory { directory: seen("d", Kind::Directory) },
            Action::MakeDirectory { path: path("d") },
            write("d/new", 1),
        ]);
        assert_eq!(place(&intents, "d"), Place::Fresh);
        assert_eq!(place(&intents, "d/old"), Place::Absent);
        let shown = contents(&intents, &path("d"));
        assert_eq!(shown, Contents { remote: None, touched: ["new".to_owned()].into() });
    }

    #[test]
    fn a_directory_shows_names_touched_before_it_was_renamed() {
        let intents = log(vec![write("a/x", 1), rename("a", Kind::Directory, "b"), write("b/y", 2)]);
        let shown = contents(&intents, &path("b"));
        assert_eq!(shown.remote, Some(path("a")));
        assert_eq!(shown.touched, ["x".to_owned(), "y".to_owned()].into());
    }
}
