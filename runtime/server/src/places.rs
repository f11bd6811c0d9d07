//! Whether the directories of the settings lie so that no tenant reaches what is not its own.
//!
//! Tenants put files below local-root and mounts below mount-root, each in a directory of its own name. So neither may hold
//! the other, and neither may hold what is the program's alone: the data directory, the key, the database, the components.
//! The data directory may hold both, in directories of their own beside the program's. It makes no directory; links in what
//! exists already are followed before anything is compared.

use std::path::{Path, PathBuf};

use causeway_registry::Database;

use crate::backends::LOST_AND_FOUND;
use crate::config::Kept;
use crate::point::USUAL_ROOT;

/// The directories that settings name.
pub(crate) struct Places<'a> {
    pub(crate) kept: &'a Kept,
    pub(crate) mount_root: Option<&'a Path>,
    pub(crate) components: Option<&'a Path>,
    pub(crate) local_root: Option<&'a Path>,
}

/// What the program keeps in the data directory, by name: a tenant of such a name would get it as its own.
const OWN: [&str; 3] = ["cache", "compiled", LOST_AND_FOUND];

impl Places<'_> {
    /// Adds every pair of directories that must not lie as they do.
    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        let usual = [PathBuf::from(USUAL_ROOT), self.kept.data_dir.join("mounts")];
        // Which of the usual ones is used is only known when it was tried to make it.
        let mount_roots = self.mount_root.map_or(usual.to_vec(), |root| vec![root.to_owned()]);
        let mount_roots: Vec<PathBuf> = mount_roots.iter().map(|root| real(root)).collect();
        let local_root = self.local_root.map(real);
        let theirs = mount_roots.iter().map(|root| ("mount-root", root));
        let theirs: Vec<_> = theirs.chain(local_root.iter().map(|root| ("local-root", root))).collect();
        for (name, directory) in &theirs {
            for (own, path) in self.own() {
                if path.starts_with(directory) {
                    problems.push(format!(
                        "{name}: {} holds the {own} ({}), which tenants must not reach",
                        directory.display(),
                        path.display()
                    ));
                }
            }
            for own in OWN.map(|own| real(&self.kept.data_dir.join(own))) {
                if directory.starts_with(&own) {
                    problems.push(format!(
                        "{name}: {} is the program's own part of the data directory",
                        directory.display()
                    ));
                }
            }
        }
        let Some(local_root) = &local_root else { return };
        for mount_root in mount_roots.iter().filter(|root| root.starts_with(local_root) || local_root.starts_with(root))
        {
            problems.push(format!(
                "local-root: {} and mount-root {} lie in each other: mounts of one tenant could cover or show the files of another",
                local_root.display(),
                mount_root.display()
            ));
        }
    }

    /// What is the program's alone.
    fn own(&self) -> Vec<(&'static str, PathBuf)> {
        let mut own = vec![("data directory", real(&self.kept.data_dir)), ("key", real(&self.kept.registry.key_file))];
        if let Database::Sqlite(file) = &self.kept.registry.database {
            own.push(("database", real(file)));
        }
        own.extend(self.components.map(|components| ("components", real(components))));
        own
    }
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors()
        .find_map(|above| {
            let real = above.canonicalize().ok()?;
            Some(real.join(path.strip_prefix(above).ok()?))
        })
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use causeway_registry::Config as RegistryConfig;

    use super::*;

    struct Given {
        top: tempfile::TempDir,
        kept: Kept,
    }

    impl Given {
        /// With a data directory of this name.
        fn new(data_dir: &str) -> Given {
            let top = tempfile::tempdir().unwrap();
            let data_dir = top.path().join(data_dir);
            let database = Database::Sqlite(data_dir.join("registry.db"));
            let registry = RegistryConfig { database, key_file: data_dir.join("key") };
            Given { top, kept: Kept { data_dir, registry } }
        }

        fn problems(&self, mount_root: &str, local_root: &str) -> Vec<String> {
            let (mounts, local) = (self.top.path().join(mount_root), self.top.path().join(local_root));
            let components = self.top.path().join("components");
            let mut problems = Vec::new();
            let places = Places {
                kept: &self.kept,
                mount_root: Some(&mounts),
                components: Some(&components),
                local_root: Some(&local),
            };
            places.check(&mut problems);
            problems
        }
    }

    #[test]
    fn directories_beside_each_other_are_fine() {
        let given = Given::new("data");
        assert_eq!(given.problems("mounts", "local"), [""; 0]);
        assert_eq!(given.problems("data/mounts", "data/local"), [""; 0]);
        // A name that begins alike is another directory.
        assert_eq!(given.problems("data-mounts", "mount"), [""; 0]);
    }

    #[test]
    fn what_is_the_programs_is_not_reached() {
        for (data, mounts, local, says) in [
            ("data", "data", "local", "mount-root"),
            ("data", "mounts", "data", "local-root"),
            ("files/tenant/data", "mounts", "files", "local-root"),
            ("files/data", "files", "local", "mount-root"),
            ("data", "data/cache/mounts", "local", "mount-root"),
            ("data", "mounts", "data/compiled", "local-root"),
        ] {
            let problems = Given::new(data).problems(mounts, local);
            assert!(!problems.is_empty(), "{data} {mounts} {local}");
            assert!(problems.iter().all(|problem| problem.starts_with(says)), "{problems:?}");
        }
        let mut given = Given::new("data");
        given.kept.registry.key_file = given.top.path().join("local/tenant/key");
        assert!(given.problems("mounts", "local").concat().contains("holds the key"));
        assert!(Given::new("data").problems("mounts", "").concat().contains("holds the components"));
    }

    #[test]
    fn mounts_and_local_files_do_not_lie_in_each_other() {
        let given = Given::new("data");
        for (mounts, local) in [("shared", "shared"), ("local/a", "local"), ("mounts", "mounts/a")] {
            let problems = given.problems(mounts, local);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains("lie in each other"), "{problems:?}");
        }
    }

    #[test]
    fn a_link_is_followed_before_places_are_compared() {
        let given = Given::new("data");
        std::fs::create_dir_all(given.top.path().join("local/a")).unwrap();
        std::os::unix::fs::symlink(given.top.path().join("local/a"), given.top.path().join("link")).unwrap();
        assert!(given.problems("link/mounts", "local").concat().contains("lie in each other"));
    }
}
