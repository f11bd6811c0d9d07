//! A folder of this machine, jailed: nothing outside of it can be named, whatever links lie in it.
//!
//! Every path is opened by `openat2` below a descriptor of the folder, with `RESOLVE_BENEATH`, so the kernel itself refuses
//! `..`, absolute links and magic links at every step, without a race. Symbolic links are not followed at all unless
//! `copy_links` is set; then they may lead to other places inside the folder. A name as the encoding spells it is one name
//! of the disk, or there is nothing of it. A file is written without a name, synced, and then gets its name, so readers see
//! the old or the new content. What is answered survives a loss of power.

use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use causeway_storage::{
    Body, Can, Cursor, Descriptor, Encoding, Entry, Error, ErrorKind, Features, Identity, Kind, Node, OpenError,
    Opening, Page, Path, Problem, Provider, Result, Room, Sameness, Settings, Source, Span, Storage, Timestamp,
    Version, WriteIntent, WriteLog,
};
use rustix::fs::{
    self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, Timestamps,
    UTIME_OMIT,
};
use rustix::io::Errno;

use crate::local_options;

/// Bytes moved at once: large enough that system calls do not count, small enough to be held by many readers.
const PIECE_BYTES: usize = 256 * 1024;

/// The most entries in one page of a list.
const PAGE: usize = 10_000;

/// What is asked of a file.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// How a file that is written is opened.
const WRITTEN: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC);

/// How the names of unfinished files begin; they are not shown.
const UNFINISHED: &str = ".causeway-unfinished-";

/// The options that have no effect yet, and are refused rather than ignored.
const NOT_YET: [&str; 2] = ["links", "unicode_normalization"];

/// The provider `local`.
#[derive(Debug)]
pub struct LocalProvider {
    descriptor: Descriptor,
    root: Option<std::path::PathBuf>,
}

impl LocalProvider {
    /// The provider over a folder that the operator chose; each tenant has a folder of its own below it. Without one,
    /// every backend is refused.
    pub fn new(root: Option<std::path::PathBuf>) -> LocalProvider {
        LocalProvider { descriptor: local_options::descriptor(), root }
    }
}

#[async_trait]
impl Provider for LocalProvider {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError> {
        let problems: Vec<Problem> = NOT_YET
            .iter()
            .filter(|name| opening.settings.truth(name))
            .map(|name| Problem::new(*name, "has no effect yet; leave it at its default"))
            .collect();
        if !problems.is_empty() {
            return Err(OpenError::Settings(problems));
        }
        let Some(root) = &self.root else {
            return Err(Error::new(
                ErrorKind::Denied,
                "local folders are not allowed here; the operator can allow them with --local-root",
            )
            .into());
        };
        let below = Path::parse(opening.settings.text("path").unwrap_or("").trim_matches('/'))
            .map_err(|error| OpenError::Settings(vec![Problem::new("path", error.to_string())]))?;
        let root = root.join(&opening.tenant);
        let storage = blocking(move || LocalStorage::open(&root, &below, &opening.settings)).await?;
        Ok(Arc::new(storage))
    }
}

/// One folder.
pub struct LocalStorage {
    features: Arc<Features>,
    jail: Arc<Jail>,
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalStorage")
    }
}

impl LocalStorage {
    /// Opens the folder `below` under `root`; makes `root`, the tenant's own, if it is not there. Blocking.
    pub fn open(root: &std::path::Path, below: &Path, settings: &Settings) -> Result<LocalStorage> {
        std::fs::create_dir_all(root)?;
        let tenant =
            fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(io_error)?;
        let mut jail = Jail {
            root: tenant,
            follow: settings.truth("copy_links"),
            warn_links: !settings.truth("skip_links"),
            one_file_system: settings.truth("one_file_system"),
            check_updated: !settings.truth("no_check_updated"),
            time: match settings.text("time_type") {
                Some("atime") => Shown::Accessed,
                Some("btime") => Shown::Created,
                Some("ctime") => Shown::Changed,
                _ => Shown::Modified,
            },
            preallocate: !settings.truth("no_preallocate"),
            encoding: settings
                .text("encoding")
                .and_then(Encoding::parse)
                .or_else(|| Encoding::parse("33554434"))
                .unwrap_or_default(),
        };
        jail.root = jail.open_at(below, OFlags::PATH | OFlags::DIRECTORY).map_err(|errno| named(errno, below))?;
        let mut can = Can::WRITE
            | Can::REMOVE
            | Can::DIRECTORIES
            | Can::EMPTY_DIRECTORIES
            | Can::MOVE
            | Can::MOVE_DIRECTORIES
            | Can::ATOMIC_REPLACE
            | Can::ROOM;
        if !settings.truth("no_set_modtime") {
            can |= Can::SET_MODIFIED | Can::KEEPS_MODIFIED;
        }
        let insensitive = settings.truth("case_insensitive") && !settings.truth("case_sensitive");
        let sameness = if insensitive { Sameness::IgnoresCase } else { Sameness::Exact };
        let features =
            Features { can, sameness, modified_step_ns: 1, longest_name_bytes: Some(255), ..Features::default() };
        Ok(LocalStorage { features: Arc::new(features), jail: Arc::new(jail) })
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce(&Jail) -> Result<T> + Send + 'static) -> Result<T> {
        let jail = self.jail.clone();
        blocking(move || work(&jail)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Which of a file's times is shown as that of its modification.
#[derive(Clone, Copy)]
enum Shown {
    Modified,
    Accessed,
    Created,
    Changed,
}

/// The folder's descriptor, and what goes through it. All of it blocks.
struct Jail {
    root: OwnedFd,
    follow: bool,
    warn_links: bool,
    one_file_system: bool,
    check_updated: bool,
    time: Shown,
    preallocate: bool,
    encoding: Encoding,
}

impl Jail {
    /// Opens a path; the kernel keeps it below the folder.
    fn open_at(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let links = if self.follow { ResolveFlags::empty() } else { ResolveFlags::NO_SYMLINKS };
        let mounts = if self.one_file_system { ResolveFlags::NO_XDEV } else { ResolveFlags::empty() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | links | mounts;
        let spelled = self.spelled(path).ok_or(Errno::NOENT)?;
        fs::openat2(
            &self.root,
            if spelled.is_empty() { "." } else { &spelled },
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    /// A path as the disk spells it; none where it cannot hold such a name.
    fn spelled(&self, path: &Path) -> Option<String> {
        Some(path.names().map(|name| self.spelled_name(name)).collect::<Option<Vec<_>>>()?.join("/"))
    }

    /// One name as the disk spells it. An encoding may turn the look-alike of a slash into a slash: that is no name here, but a
    /// way to somewhere else.
    fn spelled_name(&self, name: &str) -> Option<String> {
        let spelled = self.encoding.to_provider(name);
        let is_a_name = !matches!(&*spelled, "" | "." | "..") && !spelled.contains(['/', '\0']);
        is_a_name.then_some(spelled)
    }

    /// The directory that holds a path, and the path's name in it.
    fn open_parent(&self, path: &Path) -> Result<(OwnedFd, String)> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(Error::new(ErrorKind::Invalid, "the root cannot be changed"));
        };
        let name = self.spelled_name(name).ok_or_else(|| {
            let message = format!(
                "a disk cannot hold the name {name:?} with this encoding; let `encoding` include Slash and Dot"
            );
            Error::new(ErrorKind::Invalid, message)
        })?;
        if name.starts_with(UNFINISHED) {
            return Err(Error::new(ErrorKind::Invalid, format!("names that begin with {UNFINISHED} are not allowed")));
        }
        let directory =
            self.open_at(&parent, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|errno| named(errno, &parent))?;
        Ok((directory, name))
    }

    /// The entry at a path; none if there is none, or a link that is not followed.
    fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        match self.open_at(path, OFlags::PATH) {
            Ok(file) => self.entry(&file, path),
            // Another file system is not gone into.
            Err(Errno::XDEV) if self.one_file_system => Ok(None),
            // A file in the place of a directory on the way, or a link that is not followed: there is nothing of this name.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(named(errno, path)),
        }
    }

    /// What an open descriptor is; none for what is neither file nor directory.
    fn entry(&self, opened: impl AsFd, path: &Path) -> Result<Option<Entry>> {
        let stat = fs::statx(opened, "", AtFlags::EMPTY_PATH, WANTED).map_err(io_error)?;
        Ok(self.shown(&stat, path.name().unwrap_or_default()))
    }

    /// What these attributes are those of; none for what is neither file nor directory.
    fn shown(&self, stat: &fs::Statx, name: &str) -> Option<Entry> {
        let time = |time: fs::StatxTimestamp| Timestamp { seconds: time.tv_sec, nanoseconds: time.tv_nsec };
        let created = (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| time(stat.stx_btime));
        let modified = match self.time {
            Shown::Modified => Some(time(stat.stx_mtime)),
            Shown::Accessed => Some(time(stat.stx_atime)),
            Shown::Created => created,
            Shown::Changed => Some(time(stat.stx_ctime)),
        };
        Some(match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Directory => Entry { modified, created, ..Entry::directory(name) },
            FileType::RegularFile => {
                // The inode changes when a file is replaced, size and time when it is written to.
                let time = stat.stx_mtime;
                let version =
                    Version(format!("{}-{}-{}.{:09}", stat.stx_ino, stat.stx_size, time.tv_sec, time.tv_nsec));
                Entry { modified, created, version: Some(version), ..Entry::file(name, stat.stx_size) }
            }
            _ => return None,
        })
    }

    fn require(&self, path: &Path) -> Result<Entry> {
        self.stat(path)?.ok_or_else(|| Error::not_found(path))
    }

    /// The entry, if it still is what the caller saw.
    fn require_same(&self, node: &Node) -> Result<Entry> {
        let entry = self.require(&node.path)?;
        match &node.version {
            Some(_) if entry.version != node.version => Err(changed(&node.path)),
            _ => Ok(entry),
        }
    }

    fn list(&self, directory: &Path, cursor: Option<Cursor>) -> Result<Page> {
        let opened =
            self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|errno| named(errno, directory))?;
        let mut names = Vec::new();
        for item in fs::Dir::read_from(&opened).map_err(io_error)? {
            let item = item.map_err(io_error)?;
            match item.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) if name.starts_with(UNFINISHED) => {}
                Ok(name) if cursor.as_ref().is_none_or(|cursor| name > cursor.0.as_str()) => {
                    names.push(name.to_owned())
                }
                Ok(_) => {}
                Err(_) => tracing::warn!(directory = %directory, "left out a name that is not UTF-8"),
            }
        }
        names.sort_unstable();
        let next = names.get(PAGE - 1).filter(|_| names.len() > PAGE).map(|last| Cursor(last.clone()));
        let mut entries = Vec::new();
        for name in names.iter().take(PAGE) {
            let shown = self.encoding.to_people(name);
            let path = directory.child(&shown).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
            entries.extend(self.listed(&opened, name, &path)?);
        }
        Ok(Page { entries, next })
    }

    /// The entry of this name in a directory that is open: it may be called otherwise by now, and is the same.
    fn listed(&self, directory: &OwnedFd, name: &str, path: &Path) -> Result<Option<Entry>> {
        let stat = match fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, WANTED) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.map_err(io_error)?,
        };
        if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Symlink {
            let entry = match if self.follow { self.stat(path) } else { Ok(None) } {
                // It leads out of the folder, or where nobody may look: that is no reason to show nothing of the others.
                Err(error) if error.kind == ErrorKind::Denied => None,
                looked => looked?,
            };
            if entry.is_none() && self.warn_links {
                tracing::warn!(path = %path, "left out a symbolic link");
            }
            return Ok(entry);
        }
        let is_elsewhere = self.one_file_system && {
            let here = fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::empty()).map_err(io_error)?;
            (here.stx_dev_major, here.stx_dev_minor) != (stat.stx_dev_major, stat.stx_dev_minor)
        };
        Ok(self.shown(&stat, path.name().unwrap_or_default()).filter(|_| !is_elsewhere))
    }

    fn open_file(&self, file: &Node) -> Result<File> {
        let opened =
            self.open_at(&file.path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|errno| named(errno, &file.path))?;
        let entry = self.entry(&opened, &file.path)?.ok_or_else(|| Error::not_found(&file.path))?;
        match entry.kind {
            Kind::Directory => Err(Error::new(ErrorKind::IsDirectory, format!("{} is a directory", file.path))),
            Kind::File if file.version.is_some() && entry.version != file.version => Err(changed(&file.path)),
            Kind::File => Ok(File::from(opened)),
        }
    }

    /// Writes a file without a name, and gives it its name when it is complete.
    fn write(&self, intent: &WriteIntent, content: &dyn Source) -> Result<Entry> {
        let (directory, name) = self.open_parent(&intent.path)?;
        self.check_replaced(&intent.path, intent.existing.as_ref(), ErrorKind::PreconditionFailed)?;
        let (file, unfinished) = match fs::openat(&directory, ".", OFlags::TMPFILE | WRITTEN, Mode::from(0o644)) {
            Ok(file) => (File::from(file), None),
            // A file system that has no nameless files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let unfinished = unfinished();
                let flags = WRITTEN | OFlags::CREATE | OFlags::EXCL;
                let file = fs::openat(&directory, &unfinished, flags, Mode::from(0o644)).map_err(io_error)?;
                (File::from(file), Some(unfinished))
            }
            Err(errno) => return Err(io_error(errno)),
        };
        // Held until the file has its name: whoever gets it knows that nobody works on what stands here unfinished.
        fs::flock(&file, FlockOperation::LockExclusive).map_err(io_error)?;
        let put = self
            .fill(&file, intent, content)
            // Copying may have taken long.
            .and_then(|()| self.check_replaced(&intent.path, intent.existing.as_ref(), ErrorKind::PreconditionFailed))
            .and_then(|()| put(&directory, &file, unfinished.as_deref(), &name, intent));
        if let Err(error) = put {
            if let Some(unfinished) = unfinished {
                let _ = fs::unlinkat(&directory, &unfinished, AtFlags::empty());
            }
            return Err(error);
        }
        fs::fsync(&directory).map_err(io_error)?;
        self.entry(&file, &intent.path)?.ok_or_else(|| Error::not_found(&intent.path))
    }

    /// Removes an empty directory. One that holds nothing but what a process left unfinished that is no more is empty.
    fn remove_directory(&self, path: &Path) -> Result<()> {
        let (directory, name) = self.open_parent(path)?;
        let remove = || fs::unlinkat(&directory, &name, AtFlags::REMOVEDIR);
        let removed = match remove() {
            Err(Errno::NOTEMPTY) if self.sweep(path)? => remove(),
            removed => removed,
        };
        removed.map_err(|errno| named(errno, path))?;
        fs::fsync(&directory).map_err(io_error)
    }

    /// Removes what dead processes left unfinished in a directory; says whether that was all that is in it.
    fn sweep(&self, path: &Path) -> Result<bool> {
        let opened = self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|errno| named(errno, path))?;
        for item in fs::Dir::read_from(&opened).map_err(io_error)? {
            let item = item.map_err(io_error)?;
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if !name.to_str().is_ok_and(|name| name.starts_with(UNFINISHED)) {
                return Ok(false);
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let left = fs::openat(&opened, name, flags, Mode::empty()).map_err(io_error)?;
            if fs::flock(&left, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Ok(false);
            }
            fs::unlinkat(&opened, name, AtFlags::empty()).map_err(io_error)?;
        }
        Ok(true)
    }

    fn fill(&self, file: &File, intent: &WriteIntent, content: &dyn Source) -> Result<()> {
        let size = content.size();
        if self.preallocate && size > 0 {
            match fs::fallocate(file, fs::FallocateFlags::empty(), 0, size) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(io_error(errno)),
            }
        }
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < size {
            let length = usize::try_from(size - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = piece.get_mut(..length).unwrap_or_default();
            content.read_exact_at(offset, piece)?;
            file.write_all_at(piece, offset)?;
            offset += length as u64;
        }
        if let Some(modified) = intent.modified {
            fs::futimens(file, &times(modified)).map_err(io_error)?;
        }
        file.sync_all()?;
        Ok(())
    }

    /// Refuses to replace what the caller did not see.
    fn check_replaced(&self, path: &Path, known: Option<&Node>, otherwise: ErrorKind) -> Result<()> {
        match (self.stat(path)?, known) {
            (None, None) => Ok(()),
            (None, Some(node)) if node.version.is_none() => Ok(()),
            (None, Some(_)) => Err(changed(path)),
            (Some(_), None) => Err(Error::new(otherwise, format!("{path} exists already"))),
            (Some(_), Some(node)) => self.require_same(node).map(|_| ()),
        }
    }

    fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.require_same(from)?;
        if to != &from.path {
            self.check_replaced(to, replaces, ErrorKind::AlreadyExists)?;
            let (old_directory, old_name) = self.open_parent(&from.path)?;
            let (new_directory, new_name) = self.open_parent(to)?;
            let flags = if replaces.is_some() { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
            fs::renameat_with(&old_directory, &old_name, &new_directory, &new_name, flags)
                .map_err(|errno| named(errno, to))?;
            fs::fsync(&new_directory).map_err(io_error)?;
            if to.parent() != from.path.parent() {
                fs::fsync(&old_directory).map_err(io_error)?;
            }
        }
        self.require(to)
    }

    fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        let entry = self.require_same(node)?;
        let flags = if entry.kind == Kind::Directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
        let opened = self.open_at(&node.path, OFlags::RDONLY | flags).map_err(|errno| named(errno, &node.path))?;
        fs::futimens(&opened, &times(modified)).map_err(io_error)?;
        fs::fsync(&opened).map_err(io_error)?;
        self.require(&node.path)
    }
}

/// A hidden name that nobody else gives, nor an earlier process of the same number gave.
fn unfinished() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    format!("{UNFINISHED}{:016x}-{}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Gives a complete file its name, in one step.
fn put(directory: &OwnedFd, file: &File, named: Option<&str>, name: &str, intent: &WriteIntent) -> Result<()> {
    let told = |errno| match errno {
        Errno::EXIST => changed(&intent.path),
        Errno::ISDIR => Error::new(ErrorKind::IsDirectory, format!("{} is a directory", intent.path)),
        errno => io_error(errno),
    };
    let link = |name: &str| {
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::linkat(fs::CWD, itself, directory, name, AtFlags::SYMLINK_FOLLOW)
    };
    let replaces = intent.existing.is_some();
    let named = match named {
        None if !replaces => return link(name).map_err(told),
        // A name is replaced by another name alone.
        None => {
            let named = unfinished();
            link(&named).map_err(io_error)?;
            named
        }
        Some(named) => named.to_owned(),
    };
    let flags = if replaces { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    fs::renameat_with(directory, &named, directory, name, flags).map_err(|errno| {
        let _ = fs::unlinkat(directory, &named, AtFlags::empty());
        told(errno)
    })
}

fn times(modified: Timestamp) -> Timestamps {
    let omit = fs::Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps {
        last_access: omit,
        last_modification: fs::Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() },
    }
}

fn changed(path: &Path) -> Error {
    Error::new(ErrorKind::PreconditionFailed, format!("{path} has changed"))
}

fn io_error(errno: Errno) -> Error {
    Error::from(io::Error::from(errno))
}

/// An error of the kernel about a path, as the caller knows the path.
fn named(errno: Errno, path: &Path) -> Error {
    match errno {
        Errno::NOENT => Error::not_found(path),
        Errno::EXIST => Error::new(ErrorKind::AlreadyExists, format!("{path} exists already")),
        Errno::NOTDIR => Error::new(ErrorKind::NotADirectory, format!("{path} is not a directory")),
        Errno::ISDIR => Error::new(ErrorKind::IsDirectory, format!("{path} is a directory")),
        Errno::NOTEMPTY => Error::new(ErrorKind::DirectoryNotEmpty, format!("{path} is not empty")),
        Errno::LOOP | Errno::XDEV => {
            Error::new(ErrorKind::Denied, format!("{path} leads through a link that is not followed"))
        }
        errno => io_error(errno),
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn features(&self) -> Arc<Features> {
        self.features.clone()
    }

    async fn probe(&self) -> Result<Identity> {
        self.work(|jail| jail.require(&Path::ROOT)).await?;
        Ok(Identity::default())
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        let path = path.clone();
        self.work(move |jail| jail.stat(&path)).await
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        let (directory, cursor) = (directory.clone(), cursor.cloned());
        self.work(move |jail| jail.list(&directory, cursor)).await
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        let node = file.clone();
        let opened = self.work(move |jail| jail.open_file(&node)).await?;
        let state = (Arc::new(opened), span, self.jail.clone(), file.clone());
        Ok(Box::pin(futures::stream::try_unfold(state, |(opened, rest, jail, node)| async move {
            if rest.size == 0 {
                return Ok(None);
            }
            let length = rest.size.min(PIECE_BYTES as u64);
            let (file, last) = (opened.clone(), rest.size == length);
            let piece = blocking(move || {
                let piece = read_piece(&file, rest.offset, length as usize)?;
                if last && jail.check_updated {
                    let now = jail.entry(&*file, &node.path)?;
                    if node.version.is_some() && now.and_then(|entry| entry.version) != node.version {
                        return Err(changed(&node.path));
                    }
                }
                Ok((piece, jail, node))
            })
            .await?;
            let (piece, jail, node) = piece;
            let rest = Span::new(rest.offset + length, rest.size - length);
            Ok(Some((piece, (opened, rest, jail, node))))
        })))
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, _log: Arc<dyn WriteLog>) -> Result<Entry> {
        let mut intent = intent.clone();
        if !self.features.can.contains(Can::KEEPS_MODIFIED) {
            intent.modified = None;
        }
        self.work(move |jail| jail.write(&intent, &*content)).await
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        let file = file.clone();
        self.work(move |jail| {
            if jail.require_same(&file)?.kind == Kind::Directory {
                return Err(Error::new(ErrorKind::IsDirectory, format!("{} is a directory", file.path)));
            }
            let (directory, name) = jail.open_parent(&file.path)?;
            fs::unlinkat(&directory, &name, AtFlags::empty()).map_err(|errno| named(errno, &file.path))?;
            fs::fsync(&directory).map_err(io_error)
        })
        .await
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        let path = path.clone();
        self.work(move |jail| {
            let (directory, name) = jail.open_parent(&path)?;
            fs::mkdirat(&directory, &name, Mode::from(0o755)).map_err(|errno| named(errno, &path))?;
            fs::fsync(&directory).map_err(io_error)?;
            jail.require(&path)
        })
        .await
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        let node = directory.clone();
        self.work(move |jail| jail.remove_directory(&node.path)).await
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let (from, to, replaces) = (from.clone(), to.clone(), replaces.cloned());
        self.work(move |jail| jail.move_to(&from, &to, replaces.as_ref())).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        if !self.features.can.contains(Can::SET_MODIFIED) {
            return Err(Error::unsupported("set modification times"));
        }
        let node = node.clone();
        self.work(move |jail| jail.set_modified(&node, modified)).await
    }

    async fn room(&self) -> Result<Room> {
        self.work(|jail| {
            let stat = fs::fstatvfs(&jail.root).map_err(io_error)?;
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
            Ok(Room {
                total: Some(bytes(stat.f_blocks)),
                used: Some(bytes(stat.f_blocks.saturating_sub(stat.f_bfree))),
                free: Some(bytes(stat.f_bavail)),
                ..Room::default()
            })
        })
        .await
    }
}

fn read_piece(file: &File, offset: u64, length: usize) -> Result<Bytes> {
    let mut piece = BytesMut::zeroed(length);
    file.read_exact_at(&mut piece, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::new(ErrorKind::PreconditionFailed, "the file became shorter while it was read")
        }
        _ => Error::from(error),
    })?;
    Ok(piece.freeze())
}
