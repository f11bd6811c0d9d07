//! A working copy between its making and the intent that names it.
//!
//! What nothing names is deleted at the next start; until then it would count for what the cache holds. So it goes with
//! whoever was about to name it, however that ended.

use std::fs::File;
use std::sync::Arc;

use causeway_cache::{Scope, Staged};
use causeway_storage::Result;

/// A working copy that nothing names yet: deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Unnamed {
    scope: Arc<Scope>,
    staged: Option<Arc<Staged>>,
}

impl Unnamed {
    /// Begins a working copy as [`Scope::stage`] does. Blocking.
    pub(crate) fn stage(scope: Arc<Scope>, base_size: Option<u64>) -> Result<(Unnamed, Arc<Staged>, Arc<File>)> {
        let (staged, file) = scope.stage(base_size)?;
        Ok((Unnamed { scope, staged: Some(staged.clone()) }, staged, file))
    }

    /// Something names it: it stays.
    pub(crate) fn named(mut self) {
        self.staged = None;
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(staged) = &self.staged {
            self.scope.discard(staged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use causeway_cache::{Cache, Quotas};

    #[test]
    fn what_nobody_named_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let scope = Cache::open(directory.path(), Quotas::default()).unwrap().scope("tenant", "backend", 1).unwrap();
        let files = || std::fs::read_dir(directory.path().join("content")).unwrap().count();
        let before = files();
        let (unnamed, staged, _file) = Unnamed::stage(scope.clone(), Some(1 << 20)).unwrap();
        staged.write_at(0, b"content").unwrap();
        assert!(files() > before);
        drop(unnamed);
        assert_eq!(files(), before);
        let (unnamed, ..) = Unnamed::stage(scope, None).unwrap();
        unnamed.named();
        assert!(files() > before);
    }
}
