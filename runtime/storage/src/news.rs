//! What happened at the provider since someone last asked, told by path. It is not a journal: it may repeat itself, and
//! what it cannot tell exactly it tells too broadly.

use crate::{Cursor, Entry, Path};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something new or different stands at this path: this is how it is now. Where it stood before, if elsewhere, is told
    /// by a [`Change::Removed`] of its own.
    Updated {
        /// Where.
        path: Path,
        /// As `stat` would show it.
        entry: Box<Entry>,
    },
    /// What stood here, and all below it, is gone.
    Removed(Path),
    /// Something in this directory changed.
    Stale(Path),
    /// Anything may have changed.
    Everything,
}

impl Change {
    /// The change as seen from `root`; none if nothing there changed.
    pub fn below(self, root: &Path) -> Option<Change> {
        match self {
            Change::Updated { path, mut entry } => match path.below(root) {
                Some(path) => {
                    if path.is_root() {
                        // The root has no name, whatever it is called where it lies.
                        entry.name = String::new();
                    }
                    Some(Change::Updated { path, entry })
                }
                // Another directory may have taken the place of one above.
                None => root.is_within(&path).then_some(Change::Everything),
            },
            Change::Removed(path) => match path.below(root) {
                Some(path) => Some(Change::Removed(path)),
                None => root.is_within(&path).then_some(Change::Everything),
            },
            Change::Stale(path) => match path.below(root) {
                Some(path) => Some(Change::Stale(path)),
                None => root.parent().is_some_and(|parent| parent == path).then_some(Change::Stale(Path::ROOT)),
            },
            Change::Everything => Some(Change::Everything),
        }
    }
}

/// What happened since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Oldest first. May repeat what was told, never omits.
    pub changes: Vec<Change>,
    /// From where to ask the next time.
    pub cursor: Cursor,
    /// More is waiting: ask again at once.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn changes_below_a_root_are_told_from_there_and_others_not() {
        let root = path("a/b");
        assert_eq!(Change::Removed(path("a/b/c")).below(&root), Some(Change::Removed(path("c"))));
        assert_eq!(Change::Removed(path("a/x")).below(&root), None);
        assert_eq!(Change::Removed(path("a/bc")).below(&root), None);
        assert_eq!(Change::Stale(path("a/b")).below(&root), Some(Change::Stale(Path::ROOT)));
        let updated = Change::Updated { path: path("a/b"), entry: Box::new(Entry::directory("b")) };
        let seen = Change::Updated { path: Path::ROOT, entry: Box::new(Entry::directory("")) };
        assert_eq!(updated.below(&root), Some(seen));
    }

    #[test]
    fn what_happens_above_a_root_may_have_changed_all_of_it() {
        let root = path("a/b");
        assert_eq!(Change::Removed(path("a")).below(&root), Some(Change::Everything));
        let updated = Change::Updated { path: path("a"), entry: Box::new(Entry::directory("a")) };
        assert_eq!(updated.below(&root), Some(Change::Everything));
    }
}
