//! A mount without a kernel, over a storage in memory that can be made to fail, in a directory of its own.
#![allow(dead_code, clippy::panic, reason = "each test program uses a part of it")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causeway_cache::{Cache, Quotas, Scope};
use causeway_native::MemoryStorage;
use causeway_storage::{Can, Storage};
use causeway_vfs::{OpenMode, ReadBudget, Vfs, VfsConfig, VfsError, Volume};
use tempfile::TempDir;

use crate::faulty::Faulty;

pub(crate) struct World {
    pub(crate) storage: Arc<Faulty>,
    directory: PathBuf,
    /// Its own directory, unless it was given one.
    _own: Option<TempDir>,
    config: VfsConfig,
    vfs: Option<Arc<Vfs>>,
}

impl World {
    pub(crate) async fn new(cannot: Can, config: VfsConfig) -> World {
        let own = tempfile::tempdir().unwrap();
        let mut world = World::on(own.path(), cannot, config).await;
        world._own = Some(own);
        world
    }

    /// One whose storage has a feed of changes.
    pub(crate) async fn fed(config: VfsConfig) -> World {
        let own = tempfile::tempdir().unwrap();
        let storage = Faulty::with_feed(Arc::new(MemoryStorage::new()));
        let mut world = World::over(own.path(), storage, config).await;
        world._own = Some(own);
        world
    }

    /// One that keeps its things in this directory.
    pub(crate) async fn on(directory: &std::path::Path, cannot: Can, config: VfsConfig) -> World {
        World::over(directory, Faulty::without(Arc::new(MemoryStorage::new()), cannot), config).await
    }

    async fn over(directory: &std::path::Path, storage: Faulty, config: VfsConfig) -> World {
        let storage = Arc::new(storage);
        let mut world = World { storage, directory: directory.to_owned(), _own: None, config, vfs: None };
        world.reopen().await;
        world
    }

    pub(crate) fn vfs(&self) -> &Arc<Vfs> {
        self.vfs.as_ref().unwrap()
    }

    pub(crate) fn volume(&self) -> &Arc<Volume> {
        self.vfs().volume()
    }

    pub(crate) fn cache_directory(&self) -> PathBuf {
        self.directory.join("cache")
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Everything ends as it is; nothing is drained.
    pub(crate) async fn close(&mut self) {
        if let Some(vfs) = self.vfs.take() {
            vfs.volume().stop().await;
        }
    }

    /// Ends as it is, and begins anew with what lies on the disk.
    pub(crate) async fn reopen(&mut self) {
        self.close().await;
        let scope = open_scope(self.cache_directory()).await;
        let volume =
            Volume::open(self.storage.clone() as Arc<dyn Storage>, scope, ReadBudget::default()).await.unwrap();
        self.vfs = Some(Vfs::new(volume, self.config));
    }

    /// Behaves otherwise from now on.
    pub(crate) fn reconfigure(&mut self, config: VfsConfig) {
        self.config = config;
        self.vfs().reconfigure(config);
    }

    /// Waits until nothing is pending.
    pub(crate) async fn drained(&self) {
        let pending = self.volume().drain(Duration::from_secs(10 * 365 * 86_400)).await;
        assert_eq!(pending.changes, 0, "{pending:?}");
    }

    /// Waits until this holds, at most a minute of the runtime's time.
    pub(crate) async fn until(&self, holds: impl Fn(&Volume) -> bool) {
        for _ in 0..600 {
            if holds(self.volume()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it did not happen: {:?}", self.volume());
    }

    /// Waits until the storage is taken for reachable again.
    pub(crate) async fn reachable(&self) {
        self.until(Volume::reachable).await;
    }

    /// Makes a file as a program does: create, write, close.
    pub(crate) async fn write(&self, parent: u64, name: &str, content: &[u8]) -> Result<(), VfsError> {
        let vfs = self.vfs();
        let mode = OpenMode { read: true, write: true, truncate: true, ..OpenMode::default() };
        let (_, _, handle) = vfs.create(parent, name, mode, false).await?;
        let written = vfs.write(handle, 0, content.to_vec()).await;
        let flushed = vfs.flush(handle).await;
        vfs.release(handle).await;
        written.and(flushed)
    }

    /// The names in a directory, as a program lists it.
    pub(crate) async fn names(&self, directory: u64) -> Result<Vec<String>, VfsError> {
        let vfs = self.vfs();
        let handle = vfs.open_directory(directory).await?;
        let mut names = Vec::new();
        let mut offset = 0;
        let listed = loop {
            match vfs.read_directory(handle, offset).await {
                Ok((entries, _)) if entries.is_empty() => break Ok(()),
                Ok((entries, _)) => {
                    offset = entries.last().unwrap().offset;
                    names.extend(entries.into_iter().map(|entry| entry.name));
                }
                Err(error) => break Err(error),
            }
        };
        vfs.release_directory(handle);
        names.sort();
        listed.map(|()| names)
    }

    /// All of a file, as a program reads it.
    pub(crate) async fn read(&self, parent: u64, name: &str) -> Result<Vec<u8>, VfsError> {
        let vfs = self.vfs();
        let (number, shown) = vfs.lookup(parent, name).await?;
        let handle = vfs.open(number, OpenMode { read: true, ..OpenMode::default() }).await?;
        let read = vfs.read(handle, 0, u32::try_from(shown.size).unwrap()).await;
        vfs.release(handle).await;
        read
    }
}

/// The scope of a cache that the one before may still be letting go of.
pub(crate) async fn open_scope(directory: PathBuf) -> Arc<Scope> {
    let opening = tokio::task::spawn_blocking(move || {
        let cache = loop {
            match Cache::open(&directory, Quotas::default()) {
                Err(error) if error.is_passing() => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        cache.scope("tenant", "backend", 1).unwrap()
    });
    opening.await.unwrap()
}
