//! Requests of the kernel, one function each: translate, ask the file system, translate back.
//!
//! What can be answered at once is answered on the thread that read the request, without a change of thread and, for reads
//! and writes, without another copy: it waits for the local disk at most. Everything else becomes a task and holds nobody
//! up. A write that becomes one waits for its turn first: its bytes are in memory, so no more than [`WRITES`] of them are
//! taken from the kernel at a time. Those before it may wait long for room in the cache, and whoever waited for them would
//! read no other request: so a write that finds neither a turn nor room is refused.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use causeway_storage::{ErrorKind, Kind, Room};
use causeway_vfs::{Attributes, AttributesMode, KeptKind, Maker, OpenMode, SetAttributes, Vfs, VfsError};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use rustix::fs::{OFlags, XattrFlags};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::errno::errno;
use crate::serving::Serving;

/// The number that tells the kernel that a name leads nowhere.
const NOTHING: u64 = 0;

/// Requests about names and handles worked on at a time; each holds a few kilobytes.
const AT_ONCE: usize = 1024;

/// Reads whose bytes are on this machine by now, answered at a time: 32 MiB of answers.
const READS: usize = 32;

/// Writes taken from the kernel at a time: 16 MiB of content.
const WRITES: usize = 16;

/// Writes taken from the kernel at a time before which privileges are taken away: 4 MiB of content.
const PRIVILEGED: usize = 4;

/// Who waits for the turn of a write looks so often whether it is room that those before it wait for.
const TURN: Duration = Duration::from_millis(20);

/// The largest write: the most that the kernel sends by default.
const LARGEST_WRITE: u32 = 1 << 20;

/// Requests without a caller waiting (read-ahead, most of all) that the kernel may have under way.
const BACKGROUND: u16 = 32;

/// What `statfs` says where nobody knows: a large round number, so that programs that check do not refuse to write.
const UNKNOWN_BYTES: u64 = 1 << 50;

/// The unit of sizes in `statfs` and `stat`.
const BLOCK_BYTES: u32 = 4096;

/// The file system as the kernel sees it.
pub(crate) struct Requests {
    vfs: Arc<Vfs>,
    runtime: Handle,
    look: Look,
    at_once: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    privileged: Arc<Semaphore>,
    serving: Arc<Serving>,
}

thread_local! {
    /// What a session thread reads into; one answer at a time.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How attributes are shown.
#[derive(Clone, Copy)]
struct Look {
    uid: u32,
    gid: u32,
    since: SystemTime,
}

impl Requests {
    pub(crate) fn new(vfs: Arc<Vfs>, runtime: Handle, uid: u32, gid: u32, serving: Arc<Serving>) -> Requests {
        let look = Look { uid, gid, since: SystemTime::now() };
        let turns = |turns| Arc::new(Semaphore::new(turns));
        let (at_once, reads) = (turns(AT_ONCE), turns(READS));
        let (writes, privileged) = (turns(WRITES), turns(PRIVILEGED));
        Requests { vfs, runtime, look, at_once, reads, writes, privileged, serving }
    }

    /// Answers at once if nothing has to be waited for, else from a task, in turn.
    fn answer<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Arc<Vfs>) -> F + Send + 'static) {
        let (vfs, at_once) = (self.vfs.clone(), self.at_once.clone());
        self.start(Box::pin(async move {
            // Those before end in their time, so everyone's turn comes; the semaphore is never closed.
            let _turn = at_once.acquire().await;
            work(vfs).await;
        }));
    }

    /// Whether what providers do not hold is kept.
    fn keeps(&self) -> bool {
        self.vfs.config().attributes == AttributesMode::Sidecar
    }

    /// How extended attributes are refused, if they are. A kernel that is told that there are none never asks again, which
    /// makes listing quicker: a mount that never kept any says so. Where they were kept before, it will ask again.
    fn no_extended(&self) -> Option<Errno> {
        match (self.keeps(), self.vfs.has_kept()) {
            (true, _) => None,
            (false, true) => Some(Errno::EOPNOTSUPP),
            (false, false) => Some(Errno::ENOSYS),
        }
    }

    /// The turn of a write; none where the cache has no room, which those who have the turns may wait for.
    fn turn(&self, turns: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(turn) = turns.clone().try_acquire_owned() {
                return Some(turn);
            }
            if !self.vfs.has_room(u64::from(LARGEST_WRITE)) {
                return None;
            }
            let waiting = async { tokio::time::timeout(TURN, turns.clone().acquire_owned()).await };
            if let Ok(Ok(turn)) = self.runtime.block_on(waiting) {
                return Some(turn);
            }
        }
    }

    /// Carries work as far as it goes without waiting, and the rest out in a task.
    fn start(&self, mut work: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let _within = self.runtime.enter();
        // Nobody need wake this: what is not done becomes a task, which looks again at once.
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.runtime.spawn(work);
        }
    }
}

impl Look {
    fn attributes(self, number: u64, shown: &Attributes) -> FileAttr {
        let modified = shown.modified.map_or(self.since, SystemTime::from);
        let (perm, nlink) = match shown.kind {
            Kind::File => (0o600, u32::from(shown.has_name)),
            Kind::Directory => (0o700, 2),
        };
        let kept = shown.kept.as_deref();
        let rdev = match kept.map(|kept| &kept.kind) {
            Some(KeptKind::Character { device } | KeptKind::Block { device }) => *device,
            _ => 0,
        };
        FileAttr {
            ino: INodeNo(number),
            size: shown.size,
            blocks: shown.size.div_ceil(512),
            atime: kept.and_then(|kept| kept.accessed).map_or(modified, SystemTime::from),
            mtime: modified,
            ctime: kept.and_then(|kept| kept.changed).map_or(modified, SystemTime::from),
            crtime: modified,
            kind: kind_of(shown),
            perm: kept.and_then(|kept| kept.mode).map_or(perm, |mode| mode as u16),
            nlink,
            uid: kept.and_then(|kept| kept.uid).unwrap_or(self.uid),
            gid: kept.and_then(|kept| kept.gid).unwrap_or(self.gid),
            rdev,
            blksize: BLOCK_BYTES,
            flags: 0,
        }
    }
}

impl Filesystem for Requests {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
        ];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::debug!(?flag, "the kernel does not offer this");
            }
        }
        if config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP).is_err() {
            tracing::warn!(
                "this kernel is older than Linux 6.6: shared mappings of files on the mount fail with ENODEV"
            );
        }
        // The files that it reads by itself lie on a file system that stands on no other.
        if config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok() && config.set_max_stack_depth(1).is_ok() {
            self.serving.passthrough().offer();
        }
        let set = config.set_max_write(LARGEST_WRITE).and(config.set_max_background(BACKGROUND).map_err(u32::from));
        set.map(drop).map_err(|_| std::io::Error::other("the FUSE crate refused the limits"))
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (look, name) = (self.look, text(name));
        self.answer(move |vfs| async move {
            let names = vfs.names();
            match async { vfs.lookup(parent.0, name.as_ref().map_err(Clone::clone)?).await }.await {
                Ok((number, shown)) => {
                    reply.entry(&vfs.fresh_for(number, None), &look.attributes(number, &shown), Generation(0));
                }
                // That nothing is there is remembered as well.
                Err(VfsError::Storage(error)) if error.kind == ErrorKind::NotFound => {
                    // One that came while it was looked for was told before the kernel knew that there was none.
                    let is_current = names == vfs.names();
                    let fresh = vfs.fresh_for(parent.0, name.as_deref().ok());
                    let trust = if is_current { fresh } else { Duration::ZERO };
                    reply.entry(&trust, &look.attributes(NOTHING, &Attributes::default()), Generation(0));
                }
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.vfs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let look = self.look;
        self.answer(move |vfs| async move {
            match vfs.attributes(ino.0).await {
                Ok(shown) => reply.attr(&vfs.fresh_for(ino.0, None), &look.attributes(ino.0, &shown)),
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (look, keeps) = (self.look, self.keeps());
        if !keeps && (uid.is_some_and(|uid| uid != look.uid) || gid.is_some_and(|gid| gid != look.gid)) {
            return reply.error(Errno::EPERM);
        }
        let time = |time| match time {
            TimeOrNow::SpecificTime(time) => time.into(),
            TimeOrNow::Now => SystemTime::now().into(),
        };
        let mut set = SetAttributes { size, modified: mtime.map(time), ..SetAttributes::default() };
        if keeps {
            set = SetAttributes { accessed: atime.map(time), mode, uid, gid, ..set };
        }
        self.answer(move |vfs| async move {
            let shown = vfs.attributes(ino.0).await;
            if let (Some(mode), Ok(shown), false) = (mode, &shown, keeps)
                && !can_have(shown.kind, mode)
            {
                return reply.error(Errno::EPERM);
            }
            let changed = match set == SetAttributes::default() {
                true => shown,
                false => vfs.set_attributes(ino.0, fh.map(|fh| fh.0), set).await,
            };
            match changed {
                Ok(shown) => reply.attr(&vfs.fresh_for(ino.0, None), &look.attributes(ino.0, &shown)),
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (look, name, maker) = (self.look, text(name), maker(req, mode, umask));
        self.answer(move |vfs| async move {
            let made = async { vfs.make_directory_as(parent.0, &name?, Some(maker)).await }.await;
            entry(&vfs, look, made, reply);
        });
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &std::path::Path, reply: ReplyEntry) {
        // The mode of a link is never looked at; this is what others show.
        let (look, name, maker) = (self.look, text(name), maker(req, 0o777, 0));
        let target = text(target.as_os_str());
        self.answer(move |vfs| async move {
            let made = async {
                let kind = KeptKind::Link { target: target? };
                vfs.make_kept(parent.0, &name?, kind, maker).await
            };
            entry(&vfs, look, made.await, reply);
        });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(move |vfs| async move {
            match vfs.read_link(ino.0).await {
                Ok(target) => reply.data(target.as_bytes()),
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        let (look, name, maker) = (self.look, text(name), maker(req, mode, umask));
        let kind = match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::RegularFile => None,
            rustix::fs::FileType::Fifo => Some(KeptKind::Fifo),
            rustix::fs::FileType::Socket => Some(KeptKind::Socket),
            rustix::fs::FileType::CharacterDevice => Some(KeptKind::Character { device: rdev }),
            rustix::fs::FileType::BlockDevice => Some(KeptKind::Block { device: rdev }),
            _ => return reply.error(Errno::EINVAL),
        };
        self.answer(move |vfs| async move {
            let made = async {
                let Some(kind) = kind else {
                    let writes = OpenMode { write: true, ..OpenMode::default() };
                    let (number, shown, handle) = vfs.create_as(parent.0, &name?, writes, true, Some(maker)).await?;
                    let flushed = vfs.flush(handle).await;
                    vfs.release(handle).await;
                    return flushed.map(|()| (number, shown));
                };
                vfs.make_kept(parent.0, &name?, kind, maker).await
            };
            entry(&vfs, look, made.await, reply);
        });
    }

    fn link(&self, _req: &Request, _ino: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        // No provider has two names for one file, and a sidecar that made two of one would have to keep its content.
        reply.error(Errno::EPERM);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if let Some(refused) = self.no_extended() {
            return reply.error(refused);
        }
        let name = text(name);
        self.answer(move |vfs| async move {
            extended(reply, size, async { vfs.extended(ino.0, &name?).await }.await);
        });
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if let Some(refused) = self.no_extended() {
            return reply.error(refused);
        }
        let is_root = req.uid() == 0;
        self.answer(move |vfs| async move {
            let names = vfs.extended_names(ino.0).await.map(|names| {
                // Those of root are nobody else's to know.
                let shown = names.into_iter().filter(|name| is_root || !name.starts_with("trusted."));
                shown.flat_map(|name| [name.into_bytes(), vec![0]].concat()).collect()
            });
            extended(reply, size, names);
        });
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if let Some(refused) = self.no_extended() {
            return reply.error(refused);
        }
        let exists = match XattrFlags::from_bits(flags as u32) {
            Some(flags) if flags.is_empty() => None,
            Some(XattrFlags::CREATE) => Some(false),
            Some(XattrFlags::REPLACE) => Some(true),
            _ => return reply.error(Errno::EINVAL),
        };
        let (name, value) = (text(name), value.to_vec());
        self.answer(move |vfs| async move {
            empty(reply, async { vfs.set_extended(ino.0, &name?, value, exists).await }.await);
        });
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if let Some(refused) = self.no_extended() {
            return reply.error(refused);
        }
        let name = text(name);
        self.answer(move |vfs| async move { empty(reply, async { vfs.remove_extended(ino.0, &name?).await }.await) });
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = text(name);
        self.answer(move |vfs| async move { empty(reply, async { vfs.unlink(parent.0, &name?).await }.await) });
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = text(name);
        self.answer(
            move |vfs| async move { empty(reply, async { vfs.remove_directory(parent.0, &name?).await }.await) },
        );
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let no_replace = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (name, newname) = (text(name), text(newname));
        self.answer(move |vfs| async move {
            let renamed = async { vfs.rename((parent.0, &name?), (newparent.0, &newname?), no_replace).await };
            empty(reply, renamed.await);
        });
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (mode, serving) = (open_mode(flags), self.serving.clone());
        self.answer(move |vfs| async move {
            let failed = match vfs.open(ino.0, OpenMode { truncate: false, ..mode }).await {
                Ok(handle) => serving.opened(&vfs, ino.0, handle, mode, reply).await,
                Err(error) => Err((reply, error)),
            };
            if let Err((reply, error)) = failed {
                reply.error(told(&error));
            }
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let maker = maker(req, mode, umask);
        let (look, name, mode) = (self.look, text(name), open_mode(OpenFlags(flags)));
        let (exclusive, serving) = (has(flags, OFlags::EXCL), self.serving.clone());
        self.answer(move |vfs| async move {
            match async { vfs.create_as(parent.0, &name?, mode, exclusive, Some(maker)).await }.await {
                Ok((number, _, handle)) if !serving.created(number) => {
                    vfs.release(handle).await;
                    vfs.forget(number, 1);
                    reply.error(Errno::ESTALE);
                }
                Ok((number, shown, handle)) => {
                    let (attributes, trust) = (look.attributes(number, &shown), vfs.fresh_for(number, None));
                    let direct = FopenFlags::FOPEN_DIRECT_IO;
                    reply.created(&trust, &attributes, Generation(0), FileHandle(handle), direct);
                }
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _within = self.runtime.enter();
        let reply = BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(buffer.len().max(size as usize), 0);
            let wanted = buffer.get_mut(..size as usize).unwrap_or_default();
            match self.vfs.read_now(fh.0, offset, wanted) {
                Some(Ok(read)) => reply.data(wanted.get(..read).unwrap_or_default()),
                Some(Err(error)) => reply.error(told(&error)),
                None => return Some(reply),
            }
            None
        });
        let Some(reply) = reply else { return };
        let (vfs, reads) = (self.vfs.clone(), self.reads.clone());
        self.runtime.spawn(async move {
            // Without a turn: whoever waits for a storage that hangs holds nobody else up, and no memory.
            if let Err(error) = vfs.fetch(fh.0, offset, size).await {
                return reply.error(told(&error));
            }
            // The semaphore is never closed.
            let _turn = reads.acquire().await;
            match vfs.read(fh.0, offset, size).await {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // A write is at most `LARGEST_WRITE` long.
        let written = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let is_privileged = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) && self.vfs.is_privileged(ino.0);
        let now = if is_privileged {
            None
        } else {
            let _within = self.runtime.enter();
            self.vfs.write_now(fh.0, offset, data)
        };
        match now {
            Some(Ok(())) => return reply.written(written),
            Some(Err(error)) => return reply.error(told(&error)),
            None => {}
        }
        // Those that may have to ask the provider first take turns of their own: nobody else waits for it.
        let turns = if is_privileged { &self.privileged } else { &self.writes };
        let Some(turn) = self.turn(turns) else { return reply.error(Errno::ENOSPC) };
        let (vfs, bytes) = (self.vfs.clone(), data.to_vec());
        self.runtime.spawn(async move {
            if is_privileged && let Err(error) = vfs.drop_privileges(ino.0).await {
                return reply.error(told(&error));
            }
            match vfs.write(fh.0, offset, bytes).await {
                Ok(()) => reply.written(written),
                Err(error) => reply.error(told(&error)),
            }
            drop(turn);
        });
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        // Apart from the others: it may wait for a whole upload, and holds nothing but its place.
        let vfs = self.vfs.clone();
        self.start(Box::pin(async move { empty(reply, vfs.flush(fh.0).await) }));
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.answer(move |vfs| async move { empty(reply, vfs.fsync(fh.0).await) });
    }

    fn release(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let serving = self.serving.clone();
        self.answer(move |vfs| async move {
            serving.released(ino.0);
            vfs.release(fh.0).await;
            reply.ok();
        });
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.answer(move |vfs| async move {
            match vfs.open_directory(ino.0).await {
                Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.answer(move |vfs| async move {
            for (dot, next) in dots(offset) {
                if reply.add(ino, next, FileType::Directory, dot) {
                    return reply.ok();
                }
            }
            match vfs.read_directory(fh.0, offset.saturating_sub(DOTS)).await {
                Ok((entries, _)) => {
                    for entry in entries {
                        let number = INodeNo(vfs.show_number(ino.0, &entry.name));
                        if reply.add(number, entry.offset + DOTS, kind_of(&entry.attributes), &entry.name) {
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn readdirplus(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let look = self.look;
        self.answer(move |vfs| async move {
            let here = Attributes::default();
            for (dot, next) in dots(offset) {
                if reply.add(ino, next, dot, &Duration::ZERO, &look.attributes(ino.0, &here), Generation(0)) {
                    return reply.ok();
                }
            }
            match vfs.read_directory(fh.0, offset.saturating_sub(DOTS)).await {
                Ok((entries, is_current)) => {
                    for entry in entries {
                        let Ok(number) = vfs.adopt(ino.0, &entry) else { continue };
                        let shown = look.attributes(number, &entry.attributes);
                        // A name that went while the directory was read must not come back for as long as it is trusted.
                        let trust = if is_current { vfs.fresh_for(number, None) } else { Duration::ZERO };
                        let next = entry.offset + DOTS;
                        if reply.add(INodeNo(number), next, &entry.name, &trust, &shown, Generation(0)) {
                            vfs.forget(number, 1);
                            break;
                        }
                    }
                    reply.ok();
                }
                Err(error) => reply.error(told(&error)),
            }
        });
    }

    fn releasedir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.vfs.release_directory(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // Changes of names are durable before they are answered.
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // Apart from the others: it answers within a second whatever they wait for.
        let vfs = self.vfs.clone();
        self.runtime.spawn(async move {
            let room = vfs.room().await.unwrap_or_default();
            let (total, free) = blocks(&room);
            reply.statfs(total, free, free, 0, 0, BLOCK_BYTES, vfs.longest_name_bytes(), BLOCK_BYTES);
        });
    }
}

/// Whether `chmod` may say yes. Modes are those of the mount, 0600 and 0700, as if under a mask of 0177 for files and 0077
/// for directories: a mode that differs in masked bits alone is what the mask makes of it, as on other file systems without
/// modes, so that programs which copy modes along work. One that would take the owner's own access away, or add what no
/// mask covers, is refused: it would not hold.
fn can_have(kind: Kind, mode: u32) -> bool {
    let owner = match kind {
        Kind::File => 0o600,
        Kind::Directory => 0o700,
    };
    mode & owner == owner && mode & 0o7000 == 0
}

/// `.` and `..` come before what the file system lists.
const DOTS: u64 = 2;

fn dots(offset: u64) -> impl Iterator<Item = (&'static str, u64)> {
    [(".", 1), ("..", DOTS)].into_iter().filter(move |(_, next)| *next > offset)
}

/// All blocks and free ones.
fn blocks(room: &Room) -> (u64, u64) {
    let used = room.used.unwrap_or(0);
    let free = room.free.or(room.total.map(|total| total.saturating_sub(used))).unwrap_or(UNKNOWN_BYTES);
    let total = room.total.unwrap_or(free.saturating_add(used));
    (total / u64::from(BLOCK_BYTES), free / u64::from(BLOCK_BYTES))
}

fn open_mode(flags: OpenFlags) -> OpenMode {
    let mode = flags.acc_mode();
    OpenMode {
        // The kernel reads pages of a file that is open for writing alone, too.
        read: true,
        write: mode != OpenAccMode::O_RDONLY,
        append: has(flags.0, OFlags::APPEND),
        truncate: has(flags.0, OFlags::TRUNC),
    }
}

fn has(flags: i32, flag: OFlags) -> bool {
    OFlags::from_bits_retain(flags as u32).contains(flag)
}

fn kind_of(shown: &Attributes) -> FileType {
    match (shown.kept.as_ref().map(|kept| &kept.kind), shown.kind) {
        (Some(KeptKind::Link { .. }), _) => FileType::Symlink,
        (Some(KeptKind::Fifo), _) => FileType::NamedPipe,
        (Some(KeptKind::Socket), _) => FileType::Socket,
        (Some(KeptKind::Character { .. }), _) => FileType::CharDevice,
        (Some(KeptKind::Block { .. }), _) => FileType::BlockDevice,
        (Some(KeptKind::File | KeptKind::Directory) | None, Kind::File) => FileType::RegularFile,
        (Some(KeptKind::File | KeptKind::Directory) | None, Kind::Directory) => FileType::Directory,
    }
}

/// Names are UTF-8, as everywhere at providers.
fn text(name: &OsStr) -> Result<String, VfsError> {
    name.to_str().map(str::to_owned).ok_or(VfsError::BadName)
}

/// Who asks for something to be made. The kernel leaves what the mask takes away to us where it does not do so itself.
fn maker(req: &Request, mode: u32, umask: u32) -> Maker {
    Maker { mode: mode & !umask & 0o7777, uid: req.uid(), gid: req.gid() }
}

fn entry(vfs: &Vfs, look: Look, outcome: Result<(u64, Attributes), VfsError>, reply: ReplyEntry) {
    match outcome {
        Ok((number, shown)) => {
            reply.entry(&vfs.fresh_for(number, None), &look.attributes(number, &shown), Generation(0));
        }
        Err(error) => reply.error(told(&error)),
    }
}

/// A value, or how long it is for who asks with no room.
fn extended(reply: ReplyXattr, size: u32, value: Result<Vec<u8>, VfsError>) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(told(&error)),
    }
}

fn empty(reply: ReplyEmpty, outcome: Result<(), VfsError>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(told(&error)),
    }
}

/// The number of a reason; what the number hides goes to the log.
fn told(error: &VfsError) -> Errno {
    let number = errno(error);
    if number.code() == Errno::EIO.code() {
        tracing::warn!(?error, "a request failed");
    }
    number
}
