//! Two grounds side by side: a mount over the storage in memory, and a plain directory of this machine's disk.
//!
//! A test does the same on both and compares what came of it: answers, error numbers, names and contents. What the disk
//! does is the promise; no table of expectations can be wrong. Each test has its own mount. It is taken away when the
//! test ends however it does, and torn out from under whoever hangs in it when the test's time is over.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use causeway_cache::{Cache, Quotas};
use causeway_fuse::{MountOptions, Mounted};
use causeway_native::MemoryStorage;
use causeway_storage::{MemorySource, Node, Path as StoragePath, Span, Storage, WriteIntent, WriteLogNone, collect};
use causeway_vfs::{CacheMode, ReadBudget, Vfs, VfsConfig, Volume};
use tempfile::TempDir;

#[path = "../../../vfs/tests/faulty/mod.rs"]
mod faulty;
use faulty::Faulty;

/// What a test may take on one mount, all waiting included.
const TEST: Duration = Duration::from_secs(60);

/// All modes, those first that keep least.
pub(crate) const MODES: [CacheMode; 4] = [CacheMode::Off, CacheMode::Minimal, CacheMode::Writes, CacheMode::Full];

/// A mount and a directory beside it. The order of the fields is the order in which they go.
pub(crate) struct Ground {
    _watchdogs: Vec<Sender<()>>,
    mounted: Mounted,
    vfs: Arc<Vfs>,
    /// Another mount of the same volume.
    second: Option<Mounted>,
    volume: Arc<Volume>,
    storage: Arc<Faulty>,
    runtime: tokio::runtime::Runtime,
    directory: TempDir,
}

impl Ground {
    pub(crate) fn new(cache_mode: CacheMode) -> Ground {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let storage = Arc::new(Faulty::new(Arc::new(MemoryStorage::new())));
        let directory = tempfile::tempdir().unwrap();
        let (point, disk) = (directory.path().join("mount"), directory.path().join("disk"));
        fs::create_dir(&point).unwrap();
        fs::create_dir(&disk).unwrap();
        let cache = Cache::open(&directory.path().join("cache"), Quotas::default()).unwrap();
        let scope = cache.scope("tenant", "backend", 1).unwrap();
        let volume = runtime.block_on(Volume::open(storage.clone(), scope, ReadBudget::default())).unwrap();
        let config = VfsConfig { cache_mode, ..VfsConfig::default() };
        let (mounted, vfs) = mount(&runtime, &volume, config, &point);
        Ground { _watchdogs: vec![watch(point)], mounted, vfs, second: None, volume, storage, runtime, directory }
    }

    /// Mounts the same volume a second time, in the same way: where that is.
    pub(crate) fn mount_again(&mut self) -> PathBuf {
        let point = self.second();
        fs::create_dir(&point).unwrap();
        self._watchdogs.push(watch(point.clone()));
        self.second = Some(mount(&self.runtime, &self.volume, self.vfs.config(), &point).0);
        point
    }

    /// From now on the provider does not answer.
    pub(crate) fn fail(&self) {
        self.storage.fail_all(true);
    }

    /// Waits until an upload was tried in vain: from then on what was uploaded must stay as it is.
    pub(crate) fn tried(&self) {
        let deadline = Instant::now() + TEST;
        while self.volume.pending().last_error.is_none() {
            assert!(Instant::now() < deadline, "nobody tried to upload anything");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The provider answers again.
    pub(crate) fn recover(&self) {
        self.storage.fail_all(false);
        self.runtime.block_on(self.volume.retry()).unwrap();
    }

    /// The same, mounted anew: nobody has anything open.
    pub(crate) fn remount(mut self) -> Ground {
        self.mounted.unmount().unwrap();
        let config = self.vfs.config();
        (self.mounted, self.vfs) = mount(&self.runtime, &self.volume, config, &self.mount());
        self
    }

    /// From now on nobody answers the kernel.
    pub(crate) fn abort(&self) {
        // It says that it is busy, and has ended the conversation all the same.
        let _ = rustix::mount::unmount(self.mount(), rustix::mount::UnmountFlags::FORCE);
    }

    pub(crate) fn no_passthrough(&self) -> Option<String> {
        self.mounted.no_passthrough().map(str::to_owned)
    }

    pub(crate) fn no_lending(&self) -> Option<&'static str> {
        self.vfs.no_lending()
    }

    /// Behaves otherwise from now on.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(VfsConfig) -> VfsConfig) {
        self.vfs.reconfigure(change(self.vfs.config()));
    }

    /// Someone else puts content there, past everything.
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let path = StoragePath::parse(path).unwrap();
        let source = Arc::new(MemorySource(bytes::Bytes::copy_from_slice(content)));
        self.runtime.block_on(async {
            let existing = self.storage.stat(&path).await.unwrap().map(|entry| Node::of(path.clone(), &entry));
            let intent = WriteIntent { path, existing, modified: None, media_type: "text/plain".into() };
            self.storage.write(&intent, source, Arc::new(WriteLogNone)).await.unwrap();
        });
    }

    /// The version that the storage has.
    pub(crate) fn version(&self, path: &str) -> Option<String> {
        let stat = self.runtime.block_on(self.storage.stat(&StoragePath::parse(path).unwrap()));
        stat.unwrap().and_then(|entry| entry.version).map(|version| version.0)
    }

    pub(crate) fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn second(&self) -> PathBuf {
        self.directory.path().join("second")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Waits until the storage has everything.
    pub(crate) fn drain(&self) {
        let pending = self.runtime.block_on(self.volume.drain(Duration::from_secs(30)));
        assert_eq!(pending.changes, 0, "{pending:?}");
    }

    /// What the storage itself has, read past everything.
    pub(crate) fn stored(&self, path: &str) -> Option<Vec<u8>> {
        let path = StoragePath::parse(path).unwrap();
        self.runtime.block_on(async {
            let entry = self.storage.stat(&path).await.unwrap()?;
            let size = entry.size.unwrap();
            let body = self.storage.read(&Node::of(path, &entry), Span::new(0, size)).await.unwrap();
            Some(collect(body, usize::try_from(size).unwrap()).await.unwrap().to_vec())
        })
    }

    /// The mount shows what the disk does, and so does the storage once everything is uploaded.
    #[track_caller]
    pub(crate) fn assert_same_trees(&self) {
        let wanted = tree(&self.disk());
        assert_eq!(tree(&self.mount()), wanted, "the mount is not as the disk");
        self.drain();
        assert_eq!(tree(&self.mount()), wanted, "the mount is not as the disk once it is uploaded");
        for (path, shown) in wanted {
            if let Shown::File(content) = shown {
                assert_eq!(self.stored(&path).map(Content), Some(content), "{path} at the storage");
            }
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // A test that failed left open what it had open: that shall not keep the mount.
        for point in [self.mount(), self.second()] {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
        self.runtime.block_on(self.volume.stop());
    }
}

fn mount(
    runtime: &tokio::runtime::Runtime,
    volume: &Arc<Volume>,
    config: VfsConfig,
    point: &Path,
) -> (Mounted, Arc<Vfs>) {
    let _entered = runtime.enter();
    let vfs = Vfs::new(volume.clone(), config);
    let opened = File::open(point).unwrap().into();
    (causeway_fuse::mount(vfs.clone(), opened, MountOptions::default()).unwrap(), vfs)
}

/// Does something on the disk and on a mount of each of some modes, and sees that the same comes of it: the answer, the
/// names and the contents, and what the storage has in the end.
#[track_caller]
pub(crate) fn alike<T: PartialEq + std::fmt::Debug>(act: impl Fn(&Path) -> T) {
    for mode in [CacheMode::Off, CacheMode::Full] {
        // Shown when what follows fails.
        println!("in mode {mode:?}");
        let ground = Ground::new(mode);
        let (disk, mount) = (act(&ground.disk()), act(&ground.mount()));
        assert_eq!(mount, disk, "the mount, then the disk");
        ground.assert_same_trees();
    }
}

/// Like [`alike`], for what a program of its own does: a Python script in the directory, its output compared.
#[track_caller]
pub(crate) fn alike_in_python(script: &str) {
    alike(|root| python(root, script));
}

/// What a script prints, run in a directory.
#[track_caller]
pub(crate) fn python(root: &Path, script: &str) -> String {
    let output = Command::new("python3").args(["-c", script]).current_dir(root).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in {}: {}\n{out}{err}", root.display(), output.status);
    out.into_owned()
}

/// What stands at a path.
#[derive(PartialEq, Eq)]
pub(crate) enum Shown {
    Directory,
    File(Content),
}

/// Bytes that are told apart, but not printed in full.
#[derive(PartialEq, Eq)]
pub(crate) struct Content(pub(crate) Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = String::from_utf8_lossy(&self.0[..self.0.len().min(60)]);
        write!(f, "{} bytes {start:?}", self.0.len())
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shown::Directory => f.write_str("directory"),
            Shown::File(content) => content.fmt(f),
        }
    }
}

/// Everything below a directory.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Shown> {
    let mut tree = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let shown = if metadata.is_dir() {
                left.push(path);
                Shown::Directory
            } else {
                let content = fs::read(&path).unwrap();
                assert_eq!(metadata.len(), content.len() as u64, "the size of {name}");
                Shown::File(Content(content))
            };
            assert!(tree.insert(name, shown).is_none(), "a name is listed twice");
        }
    }
    tree
}

/// Bytes that repeat nowhere near, so that a block in the wrong place shows.
pub(crate) fn pattern(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Waits until something is so: a few times the second that is promised at most, for the sake of a machine that is busy.
#[track_caller]
pub(crate) fn soon(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fails whoever waits in the mount when the test's time is over.
fn watch(point: PathBuf) -> Sender<()> {
    let (alive, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(TEST) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the test's time is over: its mount is torn out");
            let _ = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::FORCE);
        }
    });
    alive
}
