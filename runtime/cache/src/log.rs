//! The log of one backend in memory: its intents in order, and which of them touch a path.
//!
//! It changes nothing on disk and decides nothing. Everything that a look-up needs is found by path, so it costs the depth
//! of the path and the changes of that path, however many files wait for upload. An intent counts under each path that it
//! touches, by the path's text: in the order of texts, what lies below `d` are the texts from `d/` up to `d0`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, Range};

use causeway_storage::{Path, Timestamp};

use crate::journal::Intent;
use crate::sidecar::Tally;

/// The log of one backend.
#[derive(Debug, Default)]
pub struct Log {
    intents: BTreeMap<u64, Intent>,
    touching: BTreeMap<String, BTreeSet<u64>>,
    /// Which intent names a working copy.
    writes: HashMap<u64, u64>,
    pub(crate) directories: BTreeSet<Path>,
    pub(crate) times: BTreeMap<Path, Timestamp>,
    pub(crate) kept: Tally,
}

impl Log {
    /// The intents, in order.
    pub fn intents(&self) -> &BTreeMap<u64, Intent> {
        &self.intents
    }

    /// The directories that only exist here.
    pub fn directories(&self) -> &BTreeSet<Path> {
        &self.directories
    }

    /// The modification times of directories that were set here.
    pub fn times(&self) -> &BTreeMap<Path, Timestamp> {
        &self.times
    }

    /// The intent that names a working copy.
    pub fn write_of(&self, staged: u64) -> Option<&Intent> {
        self.intents.get(self.writes.get(&staged)?)
    }

    /// The last intent numbered below `before` that touches `path` or something above it.
    pub fn last_at_or_above(&self, path: &Path, before: u64) -> Option<&Intent> {
        let above = std::iter::successors(Some(path.clone()), Path::parent);
        let touching = above.filter_map(|path| self.touching.get(path.as_str()));
        let last = touching.filter_map(|ids| ids.range(..before).next_back()).max()?;
        self.intents.get(last)
    }

    /// The last intent numbered below `before` that touches something below `path`.
    pub fn last_below(&self, path: &Path, before: u64) -> Option<&Intent> {
        let last = self.below(path, prefix(path)).filter_map(|(_, ids)| ids.range(..before).next_back()).max()?;
        self.intents.get(last)
    }

    /// The names in `directory` that intents numbered within `ids` touch.
    pub fn names_in(&self, directory: &Path, ids: Range<u64>) -> BTreeSet<String> {
        let prefix = prefix(directory);
        let mut names = BTreeSet::new();
        let mut from = prefix.clone();
        while let Some((touched, by)) = self.below(directory, from).next() {
            let rest = touched.strip_prefix(&prefix).unwrap_or_default();
            from = match rest.split_once('/') {
                // Past everything below that name.
                Some((name, _)) => format!("{prefix}{name}0"),
                None => {
                    if by.range(ids.clone()).next().is_some() {
                        names.insert(rest.to_owned());
                    }
                    format!("{touched}\0")
                }
            };
        }
        names
    }

    /// What is touched below a directory, at `from` or later.
    fn below(&self, directory: &Path, from: String) -> impl Iterator<Item = (&String, &BTreeSet<u64>)> + use<'_> {
        let end = format!("{directory}0");
        // Nothing is above the root, and no text comes after all.
        let end = if directory.is_root() { Bound::Unbounded } else { Bound::Excluded(end.as_str()) };
        let below = self.touching.range::<str, _>((Bound::Included(from.as_str()), end));
        below.filter(|(touched, _)| !touched.is_empty())
    }

    pub(crate) fn insert(&mut self, intent: Intent) {
        self.remove(intent.id);
        for path in intent.action.paths() {
            self.touching.entry(path.as_str().to_owned()).or_default().insert(intent.id);
        }
        if let Some(staged) = intent.action.staged() {
            self.writes.insert(staged, intent.id);
        }
        self.intents.insert(intent.id, intent);
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let Some(intent) = self.intents.remove(&id) else { return };
        if let Some(staged) = intent.action.staged()
            && self.writes.get(&staged) == Some(&id)
        {
            self.writes.remove(&staged);
        }
        for path in intent.action.paths() {
            let Some(ids) = self.touching.get_mut(path.as_str()) else { continue };
            ids.remove(&id);
            if ids.is_empty() {
                self.touching.remove(path.as_str());
            }
        }
    }
}

impl FromIterator<Intent> for Log {
    fn from_iter<I: IntoIterator<Item = Intent>>(intents: I) -> Log {
        let mut log = Log::default();
        intents.into_iter().for_each(|intent| log.insert(intent));
        log
    }
}

fn prefix(directory: &Path) -> String {
    if directory.is_root() { String::new() } else { format!("{directory}/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn log(paths: &[&str]) -> Log {
        let since = Timestamp { seconds: 0, nanoseconds: 0 };
        let intent = |(id, at): (u64, &&str)| {
            let action = Action::MakeDirectory { path: path(at) };
            Intent { id, action, since, started: false, failure: None }
        };
        (0..).zip(paths).map(intent).collect()
    }

    #[test]
    fn names_of_a_directory_are_those_touched_in_it_and_not_below() {
        let log = log(&["d/b", "d/a/x", "d-", "d0", "d/a", "d/c d", "d/c", "d", "e"]);
        assert_eq!(log.names_in(&path("d"), 0..u64::MAX), ["a", "b", "c", "c d"].map(String::from).into());
        assert_eq!(log.names_in(&path("d"), 5..u64::MAX), ["c", "c d"].map(String::from).into());
        assert_eq!(log.names_in(&Path::ROOT, 0..u64::MAX), ["d", "d-", "d0", "e"].map(String::from).into());
    }

    #[test]
    fn the_last_change_above_or_below_is_found() {
        let mut log = log(&["d", "d/a", "d/a/b", "d-/a", "f"]);
        let above = |log: &Log, at, before| log.last_at_or_above(&path(at), before).map(|intent| intent.id);
        assert_eq!(above(&log, "d/a/b/c", u64::MAX), Some(2));
        assert_eq!(above(&log, "d/a/c", u64::MAX), Some(1));
        assert_eq!(above(&log, "d/a/c", 1), Some(0));
        assert_eq!(above(&log, "g", u64::MAX), None);
        assert_eq!(log.last_below(&path("d"), u64::MAX).map(|intent| intent.id), Some(2));
        assert_eq!(log.last_below(&Path::ROOT, u64::MAX).map(|intent| intent.id), Some(4));
        log.remove(2);
        assert_eq!(log.last_below(&path("d"), u64::MAX).map(|intent| intent.id), Some(1));
    }
}
