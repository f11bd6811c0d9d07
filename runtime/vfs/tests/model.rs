//! Random operations against a toy tree in memory: whatever the storage can or cannot do, however it fails, and whenever
//! the process ends, the file system shows what was acknowledged, and in the end the storage has exactly that.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_cache::{Cache, Quotas};
use causeway_native::MemoryStorage;
use causeway_storage::{Can, ErrorKind, Kind, Path, Storage};
use causeway_vfs::{OpenMode, ReadBudget, SetAttributes, Vfs, VfsConfig, VfsError, Volume};
use proptest::prelude::*;

mod faulty;
use faulty::Faulty;

const PATHS: [&str; 9] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "g", "g/a"];

#[derive(Clone, Debug)]
enum Op {
    Write { path: usize, offset: u64, size: usize, seed: u8 },
    Create { path: usize },
    Truncate { path: usize, size: u64 },
    Read { path: usize },
    Rename { from: usize, to: usize },
    Unlink { path: usize },
    MakeDirectory { path: usize },
    RemoveDirectory { path: usize },
    List { path: usize },
    Disturb { fails: u64, loses: u64 },
    Crash,
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    let path = || 0..PATHS.len();
    prop_oneof![
        6 => (path(), 0..5000u64, 0..5000usize, any::<u8>())
            .prop_map(|(path, offset, size, seed)| Op::Write { path, offset, size, seed }),
        4 => path().prop_map(|path| Op::Create { path }),
        2 => (path(), 0..6000u64).prop_map(|(path, size)| Op::Truncate { path, size }),
        4 => path().prop_map(|path| Op::Read { path }),
        5 => (path(), path()).prop_map(|(from, to)| Op::Rename { from, to }),
        3 => path().prop_map(|path| Op::Unlink { path }),
        4 => path().prop_map(|path| Op::MakeDirectory { path }),
        2 => path().prop_map(|path| Op::RemoveDirectory { path }),
        3 => path().prop_map(|path| Op::List { path }),
        1 => (0..300u64, 0..300u64).prop_map(|(fails, loses)| Op::Disturb { fails, loses }),
        1 => Just(Op::Crash),
        2 => Just(Op::Drain),
    ]
}

/// The toy: a directory is `None`.
#[derive(Default)]
struct Tree(BTreeMap<String, Option<Vec<u8>>>);

impl Tree {
    fn parent_is_directory(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| self.0.get(parent) == Some(&None))
    }

    fn below(&self, path: &str) -> Vec<String> {
        self.0.keys().filter(|other| other.starts_with(&format!("{path}/"))).cloned().collect()
    }

    fn file(&mut self, path: &str) -> Option<&mut Vec<u8>> {
        self.0.get_mut(path).and_then(Option::as_mut)
    }

    /// Whether a program may expect this to work.
    fn allows(&self, op: &Op) -> bool {
        let at = |path: usize| self.0.get(PATHS[path]);
        match op {
            Op::Write { path, .. } | Op::Truncate { path, .. } | Op::Read { path } | Op::Unlink { path } => {
                matches!(at(*path), Some(Some(_)))
            }
            Op::Create { path } | Op::MakeDirectory { path } => {
                at(*path).is_none() && self.parent_is_directory(PATHS[*path])
            }
            Op::RemoveDirectory { path } => at(*path) == Some(&None) && self.below(PATHS[*path]).is_empty(),
            Op::List { path } => at(*path) == Some(&None),
            Op::Rename { from, to } => {
                let (source, target) = (PATHS[*from], PATHS[*to]);
                let inside = target.starts_with(&format!("{source}/"));
                let fits = match (at(*from), at(*to)) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(Some(_)), Some(replaced)) => replaced.is_some(),
                    (Some(None), Some(replaced)) => replaced.is_none() && self.below(target).is_empty(),
                };
                source == target && at(*from).is_some() || fits && !inside && self.parent_is_directory(target)
            }
            Op::Disturb { .. } | Op::Crash | Op::Drain => true,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { path, offset, size, seed } => {
                let file = self.file(PATHS[*path]).unwrap();
                let end = *offset as usize + size;
                if *size > 0 && file.len() < end {
                    file.resize(end, 0);
                }
                file.iter_mut().skip(*offset as usize).take(*size).for_each(|byte| *byte = *seed);
            }
            Op::Create { path } => drop(self.0.insert(PATHS[*path].into(), Some(Vec::new()))),
            Op::MakeDirectory { path } => drop(self.0.insert(PATHS[*path].into(), None)),
            Op::Truncate { path, size } => self.file(PATHS[*path]).unwrap().resize(*size as usize, 0),
            Op::Unlink { path } | Op::RemoveDirectory { path } => drop(self.0.remove(PATHS[*path])),
            Op::Rename { from, to } if from != to => {
                let (from, to) = (PATHS[*from], PATHS[*to]);
                for path in self.below(from).into_iter().chain([from.to_owned()]) {
                    let node = self.0.remove(&path).unwrap();
                    self.0.insert(path.replacen(from, to, 1), node);
                }
            }
            Op::Rename { .. } | Op::Read { .. } | Op::List { .. } | Op::Disturb { .. } | Op::Crash | Op::Drain => {}
        }
    }
}

struct World {
    directory: tempfile::TempDir,
    storage: Arc<Faulty>,
    live: Option<Arc<Vfs>>,
    tree: Tree,
}

impl World {
    async fn new(cannot: Can) -> World {
        let storage = Arc::new(Faulty::without(Arc::new(MemoryStorage::new()), cannot));
        let mut world = World { directory: tempfile::tempdir().unwrap(), storage, live: None, tree: Tree::default() };
        world.open().await;
        world
    }

    async fn open(&mut self) {
        let path = self.directory.path().to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let cache = loop {
                match Cache::open(&path, Quotas::default()) {
                    // What was stopped is letting go of it.
                    Err(error) if error.is_passing() => std::thread::yield_now(),
                    opened => break opened.unwrap(),
                }
            };
            cache.scope("tenant", "backend", 1).unwrap()
        });
        let scope = opened.await.unwrap();
        let volume =
            Volume::open(self.storage.clone() as Arc<dyn Storage>, scope, ReadBudget::default()).await.unwrap();
        self.live = Some(Vfs::new(volume, VfsConfig::default()));
    }

    /// Everything in memory is lost, wherever the uploads are.
    async fn crash(&mut self) {
        let vfs = self.live.take().unwrap();
        vfs.volume().stop().await;
        drop(vfs);
        self.open().await;
    }

    async fn drain(&self) {
        let volume = self.vfs().volume();
        volume.retry().await.unwrap();
        let pending = volume.drain(Duration::from_secs(20)).await;
        assert_eq!(pending.changes, 0, "{pending:?} {:?}", volume.events());
        assert_eq!(volume.events(), [], "nothing went otherwise than asked for");
    }

    fn vfs(&self) -> &Arc<Vfs> {
        self.live.as_ref().unwrap()
    }

    async fn number(&self, path: &str) -> Result<u64, VfsError> {
        let mut number = self.vfs().root();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            number = self.vfs().lookup(number, name).await?.0;
        }
        Ok(number)
    }

    async fn place<'a>(&self, path: &'a str) -> Result<(u64, &'a str), VfsError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.number(parent).await?, name))
    }

    async fn step(&mut self, op: &Op) {
        let outcome = match op {
            Op::Crash => return self.crash().await,
            Op::Drain => {
                self.storage.disturb(0, 0);
                return self.drain().await;
            }
            Op::Disturb { fails, loses } => return self.storage.disturb(*fails, *loses),
            other => self.run(other).await,
        };
        match outcome {
            Ok(()) => {
                assert!(self.tree.allows(op), "{op:?} went through");
                self.tree.apply(op);
            }
            // It could not look: nothing happened, and nothing is said about what is there.
            Err(VfsError::Storage(error)) if matches!(error.kind, ErrorKind::Unavailable(_)) => {}
            Err(error) => assert!(!self.tree.allows(op), "{op:?} failed: {error:?}"),
        }
    }

    async fn run(&self, op: &Op) -> Result<(), VfsError> {
        let vfs = self.vfs();
        match op {
            Op::Write { path, offset, size, seed } => {
                let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
                let handle = vfs.open(self.number(PATHS[*path]).await?, mode).await?;
                let written = if *size == 0 { Ok(()) } else { vfs.write(handle, *offset, vec![*seed; *size]).await };
                vfs.flush(handle).await?;
                vfs.release(handle).await;
                written
            }
            Op::Create { path } => {
                let (parent, name) = self.place(PATHS[*path]).await?;
                let mode = OpenMode { read: true, write: true, ..OpenMode::default() };
                let (_, _, handle) = vfs.create(parent, name, mode, true).await?;
                vfs.flush(handle).await?;
                vfs.release(handle).await;
                Ok(())
            }
            Op::Truncate { path, size } => {
                let set = SetAttributes { size: Some(*size), modified: None };
                vfs.set_attributes(self.number(PATHS[*path]).await?, None, set).await.map(drop)
            }
            Op::Read { path } => {
                let read = self.read(PATHS[*path]).await?;
                assert_eq!(Some(read), self.tree.0.get(PATHS[*path]).cloned().flatten(), "{}", PATHS[*path]);
                Ok(())
            }
            Op::Rename { from, to } => {
                let (from, to) = (self.place(PATHS[*from]).await?, self.place(PATHS[*to]).await?);
                vfs.rename(from, to, false).await
            }
            Op::Unlink { path } => {
                let (parent, name) = self.place(PATHS[*path]).await?;
                vfs.unlink(parent, name).await
            }
            Op::MakeDirectory { path } => {
                let (parent, name) = self.place(PATHS[*path]).await?;
                vfs.make_directory(parent, name).await.map(drop)
            }
            Op::RemoveDirectory { path } => {
                let (parent, name) = self.place(PATHS[*path]).await?;
                vfs.remove_directory(parent, name).await
            }
            Op::List { path } => {
                let names = self.list(PATHS[*path]).await?;
                let expected: Vec<String> = self.direct(PATHS[*path]);
                assert_eq!(names, expected, "{}", PATHS[*path]);
                Ok(())
            }
            Op::Disturb { .. } | Op::Crash | Op::Drain => Ok(()),
        }
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, VfsError> {
        let vfs = self.vfs();
        let handle = vfs.open(self.number(path).await?, OpenMode { read: true, ..OpenMode::default() }).await?;
        let read = vfs.read(handle, 0, 20_000).await;
        vfs.release(handle).await;
        read
    }

    fn direct(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.tree.0.keys().filter_map(|other| other.strip_prefix(&prefix));
        below.filter(|rest| !rest.is_empty() && !rest.contains('/')).map(str::to_owned).collect()
    }

    async fn list(&self, path: &str) -> Result<Vec<String>, VfsError> {
        let vfs = self.vfs();
        let handle = vfs.open_directory(self.number(path).await?).await?;
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let entries = vfs.read_directory(handle, offset).await;
            let entries = match entries {
                Ok((entries, _)) if entries.is_empty() => break,
                Ok((entries, _)) => entries,
                Err(error) => {
                    vfs.release_directory(handle);
                    return Err(error);
                }
            };
            offset = entries.last().unwrap().offset;
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        vfs.release_directory(handle);
        names.sort();
        Ok(names)
    }

    /// In the end everybody agrees.
    async fn check(&mut self) {
        self.storage.disturb(0, 0);
        self.drain().await;
        for reopened in [false, true] {
            if reopened {
                self.crash().await;
            }
            for (path, node) in &self.tree.0 {
                if let Some(content) = node {
                    let stored = self.storage.stored(&Path::parse(path).unwrap()).await;
                    assert_eq!(stored.as_ref(), Some(content), "{path} as stored");
                    assert_eq!(self.read(path).await.as_ref(), Ok(content), "{path} as shown");
                }
            }
            let directories = self.tree.0.iter().filter(|(_, node)| node.is_none()).map(|(path, _)| path.as_str());
            for directory in directories.chain([""]) {
                assert_eq!(self.list(directory).await.unwrap(), self.direct(directory), "{directory}");
            }
        }
        self.no_more_is_stored(Path::ROOT).await;
        self.vfs().volume().stop().await;
    }

    async fn no_more_is_stored(&self, directory: Path) {
        let mut left = vec![directory];
        while let Some(directory) = left.pop() {
            let page = self.storage.list(&directory, None).await.unwrap();
            for entry in page.entries {
                let path = directory.child(&entry.name).unwrap();
                let node = self.tree.0.get(path.as_str());
                assert_eq!(node.map(Option::is_none), Some(entry.kind == Kind::Directory), "{path} is stored");
                if entry.kind == Kind::Directory {
                    left.push(path);
                }
            }
        }
    }
}

fn play(cannot: Can, ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(cannot).await;
        for op in ops {
            world.step(op).await;
        }
        world.check().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_storage_that_can_everything_agrees_in_the_end(ops in prop::collection::vec(op(), 1..50)) {
        play(Can::empty(), &ops);
    }

    #[test]
    fn a_storage_that_cannot_move_directories_agrees_in_the_end(ops in prop::collection::vec(op(), 1..50)) {
        play(Can::MOVE_DIRECTORIES, &ops);
    }

    #[test]
    fn a_storage_that_only_copies_and_has_no_empty_directories_agrees_in_the_end(
        ops in prop::collection::vec(op(), 1..50)
    ) {
        play(Can::MOVE_DIRECTORIES | Can::MOVE | Can::EMPTY_DIRECTORIES, &ops);
    }

    #[test]
    fn a_storage_that_can_next_to_nothing_agrees_in_the_end(ops in prop::collection::vec(op(), 1..50)) {
        let cannot = Can::MOVE_DIRECTORIES | Can::MOVE | Can::COPY | Can::CONDITIONAL;
        play(cannot, &ops);
    }
}
