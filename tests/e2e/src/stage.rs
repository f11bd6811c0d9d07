//! What every case stands on: a directory of its own that goes with it, and waiting that polls and has a limit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// A provider that is back is noticed by then: it is tried every half minute at least, and a try may hang first.
pub(crate) const NOTICED: Duration = Duration::from_secs(45);

/// A case's own directory.
pub(crate) struct Stage {
    directory: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage { directory: tempfile::Builder::new().prefix("causeway-e2e-").tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A new directory in it.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

/// Asks until there is an answer; the last reason why there was none is told when the time is over.
#[track_caller]
pub(crate) fn eventually<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) if begun.elapsed() > limit => panic!("not within {limit:?}: {what}: {reason}"),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// What is mounted below a directory.
pub(crate) fn mounted_below(root: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(root)).collect()
}
