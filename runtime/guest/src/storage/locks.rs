//! One change at a time in each directory: providers without exclusive creation would make two things of one name. Writes
//! hold their own path instead, or one long upload would keep a directory closed: those of different names may meet, and
//! a write may meet another change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use causeway_storage::Path;
use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// Locks that nobody holds are swept out when there are more than this.
const SWEEP: usize = 1_024;

/// The directories that are being changed.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<Path, Weak<Lock<()>>>>);

impl Locks {
    /// Waits until no other change runs in these directories; several are taken in order, so that none waits in a ring.
    pub(super) async fn changing(&self, mut directories: Vec<Path>) -> Vec<OwnedMutexGuard<()>> {
        directories.sort();
        directories.dedup();
        let mut held = Vec::new();
        for directory in directories {
            held.push(self.lock(directory).lock_owned().await);
        }
        held
    }

    fn lock(&self, directory: Path) -> Arc<Lock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.len() > SWEEP {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        if let Some(lock) = locks.get(&directory).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Lock::new(()));
        locks.insert(directory, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn two_changes_of_one_directory_do_not_meet_and_those_of_others_do() {
        let locks = Locks::default();
        let path = |text: &str| Path::parse(text).unwrap();
        let held = locks.changing(vec![path("a"), path("b"), path("a")]).await;
        assert!(locks.changing(vec![path("b")]).now_or_never().is_none());
        assert!(locks.changing(vec![path("c")]).now_or_never().is_some());
        drop(held);
        assert!(locks.changing(vec![path("a")]).now_or_never().is_some());
    }
}
