//! Random work for a real mount and for a toy tree in memory. See `toy`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use causeway_cache::{Cache, Quotas};
use causeway_fuse::{MountOptions, Mounted};
use causeway_native::MemoryStorage;
use causeway_storage::{Can, Storage};
use causeway_vfs::{CacheMode, ReadBudget, Vfs, VfsConfig, Volume};
use proptest::prelude::*;

#[path = "../../vfs/tests/faulty/mod.rs"]
mod faulty;
#[path = "../../vfs/tests/toy/mod.rs"]
mod toy;
use faulty::Faulty;
use toy::{Driver, How, Outcome, play};

struct Real {
    live: Option<(Mounted, Arc<Volume>)>,
    handles: HashMap<usize, File>,
    storage: Arc<Faulty>,
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
    config: VfsConfig,
}

impl Real {
    fn new(cannot: Can, cache_mode: CacheMode) -> Real {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let storage = Arc::new(Faulty::without(Arc::new(MemoryStorage::new()), cannot));
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("mount")).unwrap();
        // What someone else does is noticed at once.
        let config = VfsConfig { cache_mode, dir_cache_time_ms: 0, ..VfsConfig::default() };
        let mut real = Real { live: None, handles: HashMap::new(), storage, runtime, directory, config };
        real.begin();
        real
    }

    fn begin(&mut self) {
        let cache = loop {
            match Cache::open(&self.directory.path().join("cache"), Quotas::default()) {
                // What was stopped is letting go of it.
                Err(error) if error.is_passing() => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let scope = cache.scope("tenant", "backend", 1).unwrap();
        let storage: Arc<dyn Storage> = self.storage.clone();
        let volume = self.runtime.block_on(Volume::open(storage, scope, ReadBudget::default())).unwrap();
        let _within = self.runtime.enter();
        let vfs = Vfs::new(volume.clone(), self.config);
        let point = File::open(self.at("")).unwrap().into();
        self.live = Some((causeway_fuse::mount(vfs, point, MountOptions::default()).unwrap(), volume));
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("mount").join(path)
    }

    fn end(&mut self) {
        self.handles.clear();
        let Some((mounted, volume)) = self.live.take() else { return };
        mounted.unmount().unwrap();
        self.runtime.block_on(async {
            mounted.ended().await;
            volume.stop().await;
        });
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.end();
    }
}

fn outcome<T>(result: io::Result<T>) -> Outcome<T> {
    match result {
        Ok(done) => Outcome::Done(done),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Outcome::Unknown,
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut piece = vec![0; 7000];
    loop {
        match file.read_at(&mut piece, all.len() as u64)? {
            0 => return Ok(all),
            size => all.extend(&piece[..size]),
        }
    }
}

impl Driver for Real {
    fn open(&mut self, slot: usize, path: &str, how: How) -> Outcome<()> {
        let mut options = OpenOptions::new();
        options.read(how.read).write(how.write && !how.append).append(how.append).truncate(how.truncate);
        options.create(how.create).create_new(how.exclusive);
        outcome(options.open(self.at(path)).map(|file| drop(self.handles.insert(slot, file))))
    }

    fn write(&mut self, slot: usize, offset: u64, bytes: &[u8]) -> Outcome<()> {
        outcome(self.handles[&slot].write_all_at(bytes, offset))
    }

    fn read(&mut self, slot: usize) -> Outcome<Vec<u8>> {
        outcome(read_all(&self.handles[&slot]))
    }

    fn cut(&mut self, slot: usize, size: u64) -> Outcome<()> {
        outcome(self.handles[&slot].set_len(size))
    }

    fn sync(&mut self, slot: usize) -> Outcome<()> {
        outcome(self.handles[&slot].sync_all())
    }

    fn close(&mut self, slot: usize) {
        self.handles.remove(&slot).unwrap();
    }

    #[allow(unsafe_code)]
    fn map(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Outcome<()> {
        use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};
        let file = match OpenOptions::new().read(true).write(true).open(self.at(path)) {
            Ok(file) => file,
            Err(error) => return outcome(Err(error)),
        };
        let size = file.metadata().unwrap().len() as usize;
        // Pages that cannot be read end the process: they are read otherwise first.
        if let Err(error) = read_all(&file) {
            return outcome(Err(error));
        }
        let (rights, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice, of a file that nobody cuts while it lives.
        let map = unsafe { rustix::mm::mmap(std::ptr::null_mut(), size, rights, shared, &file, 0) }.unwrap();
        // SAFETY: the mapping is as long as the file, which has this range, and nobody else uses it.
        let mapped = unsafe { std::slice::from_raw_parts_mut(map.cast::<u8>(), size) };
        mapped[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        // SAFETY: it was mapped above, with this length, and `mapped` is not used any more.
        let synced = unsafe { rustix::mm::msync(map, size, MsyncFlags::SYNC) };
        // SAFETY: as above.
        unsafe { rustix::mm::munmap(map, size) }.unwrap();
        synced.unwrap();
        Outcome::Done(())
    }

    #[allow(unsafe_code)]
    fn cut_path(&mut self, path: &str, size: u64) -> Outcome<()> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(self.at(path).as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends with a zero and lives longer than the call.
        let cut = unsafe { libc::truncate(path.as_ptr(), size as libc::off_t) };
        outcome(if cut == 0 { Ok(()) } else { Err(io::Error::last_os_error()) })
    }

    fn touch(&mut self, path: &str, seconds: i64) -> Outcome<()> {
        let modified = std::time::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        outcome(File::open(self.at(path)).and_then(|file| file.set_modified(modified)))
    }

    fn rename(&mut self, from: &str, to: &str) -> Outcome<()> {
        outcome(fs::rename(self.at(from), self.at(to)))
    }

    fn unlink(&mut self, path: &str) -> Outcome<()> {
        outcome(fs::remove_file(self.at(path)))
    }

    fn make_directory(&mut self, path: &str) -> Outcome<()> {
        outcome(fs::create_dir(self.at(path)))
    }

    fn remove_directory(&mut self, path: &str) -> Outcome<()> {
        outcome(fs::remove_dir(self.at(path)))
    }

    fn list(&mut self, path: &str) -> Outcome<Vec<String>> {
        let names = fs::read_dir(self.at(path)).and_then(|entries| {
            let mut names: Vec<String> =
                entries.map(|entry| Ok(entry?.file_name().into_string().unwrap())).collect::<io::Result<_>>()?;
            names.sort();
            Ok(names)
        });
        outcome(names)
    }

    fn put_elsewhere(&mut self, path: &str, bytes: &[u8]) {
        self.runtime.block_on(self.storage.replace(path, bytes));
    }

    fn disturb(&mut self, fails: u64, loses: u64) {
        self.storage.disturb(fails, loses);
    }

    fn crash(&mut self) {
        self.end();
        self.begin();
    }

    fn drain(&mut self) {
        let volume = &self.live.as_ref().unwrap().1;
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
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mount_that_keeps_everything_agrees_in_the_end(ops in toy::ops()) {
        play(&mut Real::new(Can::empty(), CacheMode::Full), &ops);
    }

    #[test]
    fn a_mount_over_a_storage_that_can_next_to_nothing_agrees_in_the_end(ops in toy::ops()) {
        let cannot = Can::MOVE_DIRECTORIES | Can::MOVE | Can::COPY | Can::CONDITIONAL;
        play(&mut Real::new(cannot, CacheMode::Writes), &ops);
    }
}
