//! Numbers for names, as the kernel knows them.
//!
//! No look-up happens here. A number stands for a path for as long as the kernel remembers it, and a while longer: programs
//! that compare the numbers of files (version control, backups) take another one for another file. When another version
//! appears at a path whose old version is still open, the path gets a new number: the kernel caches pages by number, and
//! so never mixes two versions. The old number is left to its handles.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

use causeway_storage::{Kind, Path};

use lru::LruCache;

use crate::file::OpenFile;

/// The number of the root.
pub(crate) const ROOT: u64 = 1;

/// Numbers kept after the kernel forgot them: about 4 MiB.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(32_768).unwrap();

#[derive(Debug)]
pub(crate) struct Inodes {
    numbers: HashMap<u64, Inode>,
    paths: HashMap<Path, u64>,
    /// What paths had that the kernel forgot.
    remembered: LruCache<Path, u64>,
    next: u64,
}

#[derive(Debug)]
struct Inode {
    /// None once the name is gone or leads to another number.
    path: Option<Path>,
    kind: Kind,
    lookups: u64,
    file: Weak<OpenFile>,
}

impl Inodes {
    pub(crate) fn new() -> Inodes {
        let root = Inode { path: Some(Path::ROOT), kind: Kind::Directory, lookups: 1, file: Weak::new() };
        let (numbers, paths) = ([(ROOT, root)].into(), [(Path::ROOT, ROOT)].into());
        Inodes { numbers, paths, remembered: LruCache::new(REMEMBERED), next: ROOT + 1 }
    }

    /// The number of a path, counted once more.
    pub(crate) fn look_up(&mut self, path: &Path, kind: Kind) -> u64 {
        let number = match self.paths.get(path) {
            Some(number) => *number,
            None => {
                let number = self.remembered.pop(path).unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                self.paths.insert(path.clone(), number);
                let inode = Inode { path: Some(path.clone()), kind, lookups: 0, file: Weak::new() };
                self.numbers.insert(number, inode);
                number
            }
        };
        if let Some(inode) = self.numbers.get_mut(&number) {
            inode.lookups += 1;
            inode.kind = kind;
        }
        number
    }

    /// The number that a path has, if any.
    pub(crate) fn number(&self, path: &Path) -> Option<u64> {
        self.paths.get(path).copied()
    }

    /// The kernel forgot so many of its look-ups.
    pub(crate) fn forget(&mut self, number: u64, lookups: u64) {
        let Some(inode) = self.numbers.get_mut(&number) else { return };
        inode.lookups = inode.lookups.saturating_sub(lookups);
        if inode.lookups > 0 || number == ROOT {
            return;
        }
        if let Some(path) = self.numbers.remove(&number).and_then(|inode| inode.path)
            && self.paths.get(&path) == Some(&number)
        {
            self.paths.remove(&path);
            self.remembered.put(path, number);
        }
    }

    /// Where a number leads; none if it has no name any more.
    pub(crate) fn path(&self, number: u64) -> Option<Path> {
        self.numbers.get(&number)?.path.clone()
    }

    /// The file that is open under this number.
    pub(crate) fn file(&self, number: u64) -> Option<Arc<OpenFile>> {
        self.numbers.get(&number)?.file.upgrade()
    }

    pub(crate) fn set_file(&mut self, number: u64, file: &Arc<OpenFile>) {
        if let Some(inode) = self.numbers.get_mut(&number) {
            inode.file = Arc::downgrade(file);
        }
    }

    /// The name is gone, or shall lead to another number.
    pub(crate) fn detach(&mut self, path: &Path) {
        self.remembered.pop(path);
        if let Some(inode) = self.paths.remove(path).and_then(|number| self.numbers.get_mut(&number)) {
            inode.path = None;
        }
    }

    /// The name of this number shall lead to another one.
    pub(crate) fn detach_number(&mut self, number: u64) {
        if let Some(path) = self.path(number).filter(|path| self.paths.get(path) == Some(&number)) {
            self.detach(&path);
        }
    }

    /// What the kernel may know of a path: the number of its directory, and its own.
    pub(crate) fn known(&self, path: &Path) -> (Option<u64>, Option<u64>) {
        (path.parent().and_then(|parent| self.number(&parent)), self.number(path))
    }

    pub(crate) fn is_directory(&self, number: u64) -> bool {
        self.numbers.get(&number).is_some_and(|inode| inode.kind == Kind::Directory)
    }

    /// The paths at and below this one that have numbers.
    pub(crate) fn below(&self, path: &Path) -> Vec<Path> {
        self.paths.keys().filter(|other| other.is_within(path)).cloned().collect()
    }

    /// Everything at and below `from` is at `to` now.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        self.detach(to);
        let gone =
            self.remembered.iter().map(|(path, _)| path).filter(|path| path.is_within(from) || path.is_within(to));
        let gone: Vec<Path> = gone.cloned().collect();
        for path in &gone {
            self.remembered.pop(path);
        }
        let moved: Vec<(Path, u64)> = self
            .paths
            .iter()
            .filter(|(path, _)| path.is_within(from))
            .map(|(path, number)| (path.clone(), *number))
            .collect();
        for (path, number) in moved {
            self.paths.remove(&path);
            let target = path.moved(from, to);
            if let Some(inode) = self.numbers.get_mut(&number) {
                inode.path = target.clone();
            }
            if let Some(target) = target {
                self.paths.insert(target, number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_number_although_the_kernel_forgot_it_and_what_moves_into_its_place_has_another() {
        let path = |text| Path::parse(text).unwrap();
        let mut inodes = Inodes::new();
        let (a, b) = (inodes.look_up(&path("d/a"), Kind::File), inodes.look_up(&path("b"), Kind::File));
        inodes.forget(a, 1);
        assert_eq!(inodes.look_up(&path("d/a"), Kind::File), a);
        inodes.forget(a, 1);
        inodes.rename(&path("b"), &path("d/a"));
        assert_eq!(inodes.look_up(&path("d/a"), Kind::File), b);
        inodes.forget(b, 2);
        inodes.detach(&path("d/a"));
        assert_ne!(inodes.look_up(&path("d/a"), Kind::File), b);
    }
}
