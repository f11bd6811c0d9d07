//! The limit of every FUSE mount: a file system that only hands requests on to a directory of the disk.
//!
//! It caches nothing, checks nothing and forgets nothing, so whatever is slower than this paid for something. What it leaves out
//! (links, renames, removals) is not measured.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use fuser::{
    BackingId, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

/// How long the kernel may keep what it was told: longer than any round.
const LIVES: Duration = Duration::from_secs(3600);
const ONLY: Generation = Generation(0);

/// How open files are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through the page cache of the mount, which is kept.
    Plain,
    /// Every read and write is a request.
    Direct,
    /// The kernel reads and writes the file below by itself.
    Passthrough,
}

impl Mode {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Mode> {
        match name {
            "plain" => Some(Mode::Plain),
            "direct" => Some(Mode::Direct),
            "passthrough" => Some(Mode::Passthrough),
            _ => None,
        }
    }
}

/// Serves a directory at a mount point until it is unmounted.
pub fn serve(source: &Path, point: &Path, mode: Mode) -> io::Result<()> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("raw".into()), MountOption::DefaultPermissions];
    config.n_threads = Some(std::thread::available_parallelism()?.get());
    config.clone_fd = true;
    let paths = Inodes { paths: vec![source.to_owned()], numbers: HashMap::from([(source.to_owned(), 1)]) };
    fuser::mount(
        Raw { mode, inodes: Mutex::new(paths), open: RwLock::default(), backing: Mutex::default() },
        point,
        &config,
    )
}

struct Raw {
    mode: Mode,
    inodes: Mutex<Inodes>,
    /// By handle. The handle's number is one more than its index.
    open: RwLock<HashMap<u64, Open>>,
    /// What an inode is backed by, for as long as it is open: a second id for it would be refused.
    backing: Mutex<HashMap<u64, Weak<BackingId>>>,
}

struct Open {
    file: Arc<File>,
    _backing: Option<Arc<BackingId>>,
}

struct Inodes {
    paths: Vec<PathBuf>,
    numbers: HashMap<PathBuf, u64>,
}

impl Inodes {
    fn number(&mut self, path: PathBuf) -> u64 {
        let next = self.paths.len() as u64 + 1;
        *self.numbers.entry(path).or_insert_with_key(|path| {
            self.paths.push(path.clone());
            next
        })
    }
}

impl Raw {
    fn path(&self, inode: INodeNo) -> PathBuf {
        lock(&self.inodes).paths[inode.0 as usize - 1].clone()
    }

    fn entry(&self, path: PathBuf) -> io::Result<FileAttr> {
        let metadata = std::fs::symlink_metadata(&path)?;
        Ok(attributes(lock(&self.inodes).number(path), &metadata))
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&handle.0).map(|open| open.file.clone()).ok_or_else(|| rustix::io::Errno::BADF.into())
    }

    fn keep(&self, file: File, backing: Option<Arc<BackingId>>) -> FileHandle {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let handle = (1..).find(|handle| !open.contains_key(handle)).unwrap_or_default();
        open.insert(handle, Open { file: Arc::new(file), _backing: backing });
        FileHandle(handle)
    }

    fn backing(&self, inode: u64, make: impl FnOnce() -> io::Result<BackingId>) -> io::Result<Option<Arc<BackingId>>> {
        if self.mode != Mode::Passthrough {
            return Ok(None);
        }
        let mut all = lock(&self.backing);
        if let Some(there) = all.get(&inode).and_then(Weak::upgrade) {
            return Ok(Some(there));
        }
        let made = Arc::new(make()?);
        all.insert(inode, Arc::downgrade(&made));
        Ok(Some(made))
    }

    fn flags(&self) -> FopenFlags {
        match self.mode {
            Mode::Plain => FopenFlags::FOPEN_KEEP_CACHE,
            Mode::Direct => FopenFlags::FOPEN_DIRECT_IO,
            Mode::Passthrough => FopenFlags::empty(),
        }
    }

    fn list(&self, inode: INodeNo, offset: u64, mut add: impl FnMut(u64, &OsStr, &FileAttr) -> bool) -> io::Result<()> {
        for (index, entry) in std::fs::read_dir(self.path(inode))?.enumerate().skip(offset as usize) {
            let entry = entry?;
            if add(index as u64 + 1, &entry.file_name(), &self.entry(entry.path())?) {
                break;
            }
        }
        Ok(())
    }
}

impl Filesystem for Raw {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_PARALLEL_DIROPS;
        if self.mode == Mode::Passthrough {
            wanted |= InitFlags::FUSE_PASSTHROUGH;
            config.set_max_stack_depth(1).map_err(|_| io::ErrorKind::Unsupported)?;
        }
        config.add_capabilities(wanted).map_err(|missing| io::Error::other(format!("the kernel lacks {missing:?}")))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.entry(self.path(parent).join(name)) {
            Ok(attributes) => reply.entry(&LIVES, &attributes, ONLY),
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.entry(self.path(inode)) {
            Ok(attributes) => reply.attr(&LIVES, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let path = self.path(inode);
        let cut = size.map_or(Ok(()), |size| OpenOptions::new().write(true).open(&path)?.set_len(size));
        match cut.and_then(|()| self.entry(path)) {
            Ok(attributes) => reply.attr(&LIVES, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = OpenOptions::new().read(true).write(true).open(self.path(inode));
        let opened = opened.and_then(|file| Ok((self.backing(inode.0, || reply.open_backing(&file))?, file)));
        match opened {
            Ok((Some(backing), file)) => {
                reply.opened_passthrough(self.keep(file, Some(backing.clone())), self.flags(), &backing);
            }
            Ok((None, file)) => reply.opened(self.keep(file, None), self.flags()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        let path = self.path(parent).join(name);
        let made = OpenOptions::new().read(true).write(true).create(true).mode(mode).open(&path);
        let made = made.and_then(|file| {
            let attributes = self.entry(path)?;
            Ok((self.backing(attributes.ino.0, || reply.open_backing(&file))?, file, attributes))
        });
        match made {
            Ok((Some(backing), file, attributes)) => {
                let handle = self.keep(file, Some(backing.clone()));
                reply.created_passthrough(&LIVES, &attributes, ONLY, handle, self.flags(), &backing);
            }
            Ok((None, file, attributes)) => {
                reply.created(&LIVES, &attributes, ONLY, self.keep(file, None), self.flags());
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        thread_local! {
            static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(buffer.len().max(size as usize), 0);
            let read = self.file(handle).and_then(|file| file.read_at(&mut buffer[..size as usize], offset));
            match read {
                Ok(length) => reply.data(&buffer[..length]),
                Err(error) => reply.error(error.into()),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file(handle).and_then(|file| file.write_all_at(data, offset)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.list(inode, offset, |next, name, attributes| reply.add(attributes.ino, next, attributes.kind, name))
        {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readdirplus(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let listed = self.list(inode, offset, |next, name, attributes| {
            reply.add(attributes.ino, next, name, &LIVES, attributes, ONLY)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: fuser::ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }
}

fn attributes(inode: u64, metadata: &Metadata) -> FileAttr {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: INodeNo(inode),
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: if metadata.is_dir() { FileType::Directory } else { FileType::RegularFile },
        perm: (metadata.mode() & 0o7777) as u16,
        nlink: metadata.nlink() as u32,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
