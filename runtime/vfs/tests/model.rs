//! Random work for a mount without a kernel and for a toy tree in memory, over storages that can more or less. See `toy`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use causeway_cache::{Cache, Quotas};
use causeway_native::MemoryStorage;
use causeway_storage::{Can, ErrorKind, Storage, Timestamp};
use causeway_vfs::{OpenMode, ReadBudget, SetAttributes, Vfs, VfsConfig, VfsError, Volume};
use proptest::prelude::*;

mod faulty;
mod toy;
use faulty::Faulty;
use toy::{Driver, How, Outcome, play};

struct Real {
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
    storage: Arc<Faulty>,
    live: Option<Arc<Vfs>>,
    handles: HashMap<usize, (u64, u64)>,
}

impl Real {
    fn new(cannot: Can) -> Real {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let storage = Arc::new(Faulty::without(Arc::new(MemoryStorage::new()), cannot));
        let directory = tempfile::tempdir().unwrap();
        let mut real = Real { runtime, directory, storage, live: None, handles: HashMap::new() };
        real.begin();
        real
    }

    fn begin(&mut self) {
        let cache = loop {
            match Cache::open(self.directory.path(), Quotas::default()) {
                // What was stopped is letting go of it.
                Err(error) if error.is_passing() => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let scope = cache.scope("tenant", "backend", 1).unwrap();
        let storage: Arc<dyn Storage> = self.storage.clone();
        let volume = self.runtime.block_on(Volume::open(storage, scope, ReadBudget::default())).unwrap();
        // What someone else does is noticed at once.
        self.live = Some(Vfs::new(volume, VfsConfig { dir_cache_time_ms: 0, ..VfsConfig::default() }));
    }

    fn vfs(&self) -> &Arc<Vfs> {
        self.live.as_ref().unwrap()
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, VfsError>>) -> Outcome<T> {
        match self.runtime.block_on(work) {
            Ok(done) => Outcome::Done(done),
            Err(VfsError::Storage(error)) if matches!(error.kind, ErrorKind::Unavailable(_)) => Outcome::Unknown,
            Err(error) => Outcome::Refused(format!("{error:?}")),
        }
    }

    async fn number(&self, path: &str) -> Result<u64, VfsError> {
        let mut number = 1;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            number = self.vfs().lookup(number, name).await?.0;
        }
        Ok(number)
    }

    async fn place<'a>(&self, path: &'a str) -> Result<(u64, &'a str), VfsError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.number(parent).await?, name))
    }

    async fn open_file(&self, path: &str, how: How) -> Result<(u64, u64), VfsError> {
        let vfs = self.vfs();
        let How { write, append, truncate, .. } = how;
        let mode = OpenMode { read: true, write, append, truncate };
        if how.create {
            let (parent, name) = self.place(path).await?;
            let (number, _, handle) = vfs.create(parent, name, mode, how.exclusive).await?;
            return Ok((number, handle));
        }
        let mut number = self.number(path).await?;
        match vfs.open(number, mode).await {
            // As the kernel does: it looks the name up again, once.
            Err(VfsError::Stale) => {
                number = self.number(path).await?;
                Ok((number, vfs.open(number, mode).await?))
            }
            opened => Ok((number, opened?)),
        }
    }

    async fn end_handle(&self, handle: u64) {
        // What a close says of an upload is not what this is about.
        let _ = self.vfs().flush(handle).await;
        self.vfs().release(handle).await;
    }
}

impl Driver for Real {
    fn open(&mut self, slot: usize, path: &str, how: How) -> Outcome<()> {
        match self.run(self.open_file(path, how)) {
            Outcome::Done(handle) => {
                self.handles.insert(slot, handle);
                Outcome::Done(())
            }
            Outcome::Refused(why) => Outcome::Refused(why),
            Outcome::Unknown => Outcome::Unknown,
        }
    }

    fn write(&mut self, slot: usize, offset: u64, bytes: &[u8]) -> Outcome<()> {
        let handle = self.handles[&slot].1;
        // As a mount does: at once, else in a task.
        let _within = self.runtime.enter();
        match self.vfs().write_now(handle, offset, bytes) {
            Some(written) => self.run(async { written }),
            None => self.run(self.vfs().write(handle, offset, bytes.to_vec())),
        }
    }

    fn read(&mut self, slot: usize) -> Outcome<Vec<u8>> {
        let handle = self.handles[&slot].1;
        let mut buffer = vec![0; 20_000];
        let read = {
            let _within = self.runtime.enter();
            self.vfs().read_now(handle, 0, &mut buffer)
        };
        match read {
            Some(read) => self.run(async { read.map(|size| buffer[..size].to_vec()) }),
            None => self.run(async {
                self.vfs().fetch(handle, 0, 20_000).await?;
                self.vfs().read(handle, 0, 20_000).await
            }),
        }
    }

    fn cut(&mut self, slot: usize, size: u64) -> Outcome<()> {
        let (number, handle) = self.handles[&slot];
        let set = SetAttributes { size: Some(size), ..SetAttributes::default() };
        self.run(async { self.vfs().set_attributes(number, Some(handle), set).await.map(drop) })
    }

    fn sync(&mut self, slot: usize) -> Outcome<()> {
        self.run(self.vfs().fsync(self.handles[&slot].1))
    }

    fn close(&mut self, slot: usize) {
        let (_, handle) = self.handles.remove(&slot).unwrap();
        self.runtime.block_on(self.end_handle(handle));
    }

    fn map(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Outcome<()> {
        // Without a kernel there is no memory to map: what the kernel makes of it is a write.
        let opened = self.run(self.open_file(path, How { write: true, ..How::reading() }));
        let Outcome::Done((_, handle)) = opened else {
            return if opened == Outcome::Unknown { Outcome::Unknown } else { Outcome::Refused("no open".into()) };
        };
        let written = self.run(self.vfs().write(handle, offset, bytes.to_vec()));
        self.runtime.block_on(self.end_handle(handle));
        written
    }

    fn cut_path(&mut self, path: &str, size: u64) -> Outcome<()> {
        let set = SetAttributes { size: Some(size), ..SetAttributes::default() };
        self.run(async {
            let number = self.number(path).await?;
            match self.vfs().set_attributes(number, None, set).await {
                Err(VfsError::Stale) => self.vfs().set_attributes(self.number(path).await?, None, set).await.map(drop),
                other => other.map(drop),
            }
        })
    }

    fn touch(&mut self, path: &str, seconds: i64) -> Outcome<()> {
        let modified = Some(Timestamp { seconds, nanoseconds: 0 });
        let set = SetAttributes { modified, ..SetAttributes::default() };
        self.run(async { self.vfs().set_attributes(self.number(path).await?, None, set).await.map(drop) })
    }

    fn rename(&mut self, from: &str, to: &str) -> Outcome<()> {
        self.run(async {
            let (from, to) = (self.place(from).await?, self.place(to).await?);
            self.vfs().rename(from, to, false).await
        })
    }

    fn unlink(&mut self, path: &str) -> Outcome<()> {
        self.run(async {
            let (parent, name) = self.place(path).await?;
            self.vfs().unlink(parent, name).await
        })
    }

    fn make_directory(&mut self, path: &str) -> Outcome<()> {
        self.run(async {
            let (parent, name) = self.place(path).await?;
            self.vfs().make_directory(parent, name).await.map(drop)
        })
    }

    fn remove_directory(&mut self, path: &str) -> Outcome<()> {
        self.run(async {
            let (parent, name) = self.place(path).await?;
            self.vfs().remove_directory(parent, name).await
        })
    }

    fn list(&mut self, path: &str) -> Outcome<Vec<String>> {
        self.run(async {
            let vfs = self.vfs();
            let handle = vfs.open_directory(self.number(path).await?).await?;
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
        })
    }

    fn put_elsewhere(&mut self, path: &str, bytes: &[u8]) {
        self.runtime.block_on(self.storage.replace(path, bytes));
    }

    fn disturb(&mut self, fails: u64, loses: u64) {
        self.storage.disturb(fails, loses);
    }

    fn crash(&mut self) {
        self.handles.clear();
        let vfs = self.live.take().unwrap();
        self.runtime.block_on(vfs.volume().stop());
        drop(vfs);
        self.begin();
    }

    fn drain(&mut self) {
        let volume = self.vfs().volume();
        let pending = self.runtime.block_on(async {
            volume.retry().await.unwrap();
            volume.drain(Duration::from_secs(20)).await
        });
        assert_eq!(pending.changes, 0, "{pending:?} {:?}", volume.events());
        assert_eq!(volume.events(), [], "nothing went otherwise than asked for");
    }

    fn stored(&mut self) -> BTreeMap<String, Option<Vec<u8>>> {
        self.runtime.block_on(self.storage.everything())
    }

    fn keeps_empty_directories(&self) -> bool {
        self.storage.features().can.contains(Can::EMPTY_DIRECTORIES)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_storage_that_can_everything_agrees_in_the_end(ops in toy::ops()) {
        play(&mut Real::new(Can::empty()), &ops);
    }

    #[test]
    fn a_storage_whose_versions_contain_the_time_agrees_in_the_end(ops in toy::ops()) {
        let mut real = Real::new(Can::empty());
        real.storage.time_versions();
        play(&mut real, &ops);
    }

    #[test]
    fn a_storage_that_cannot_move_directories_agrees_in_the_end(ops in toy::ops()) {
        play(&mut Real::new(Can::MOVE_DIRECTORIES), &ops);
    }

    #[test]
    fn a_storage_that_only_copies_and_has_no_empty_directories_agrees_in_the_end(ops in toy::ops()) {
        play(&mut Real::new(Can::MOVE_DIRECTORIES | Can::MOVE | Can::EMPTY_DIRECTORIES), &ops);
    }

    #[test]
    fn a_storage_that_can_next_to_nothing_agrees_in_the_end(ops in toy::ops()) {
        play(&mut Real::new(Can::MOVE_DIRECTORIES | Can::MOVE | Can::COPY | Can::CONDITIONAL), &ops);
    }
}
