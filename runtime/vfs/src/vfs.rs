//! One mount of a volume: numbers, handles, and how fresh things must be.
//!
//! It is what a kernel wants of a file system, in asynchronous calls over numbers, and can be tested without one. What a
//! path shows and what becomes of a change is the volume's; permissions are the kernel's.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cache::KeptKind;
use causeway_storage::{ErrorKind, Path, Room, Span, Timestamp};

use crate::VfsError;
use crate::config::{AttributesMode, CacheMode, VfsConfig};
use crate::file::OpenFile;
use crate::inodes::Inodes;
use crate::kept::{Maker, apply_unnamed};
use crate::listing::Listing;
use crate::patience::{Patience, late};
use crate::pattern::{Pattern, Reach};
use crate::stale::Stale;
use crate::volume::{Attributes, Volume};

/// Entries of a directory handed out at once: more than fit into one answer to the kernel.
const ENTRIES_AT_ONCE: usize = 1024;

/// Names at a storage that does not say how long they may be: what programs are used to.
const LONGEST_NAME_BYTES: u32 = 255;

/// A read ends by then however slowly its bytes drip: the largest one then came at less than 4 KiB a second.
const LONGEST_READ: Duration = Duration::from_secs(300);

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Its content is cut to nothing.
    pub truncate: bool,
}

/// What shall be set; absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// The size in bytes.
    pub size: Option<u64>,
    /// The modification time.
    pub modified: Option<Timestamp>,
    /// The time of access. This and what follows needs a sidecar.
    pub accessed: Option<Timestamp>,
    /// The permissions, twelve bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl SetAttributes {
    fn needs_sidecar(&self) -> bool {
        self.accessed.is_some() || self.mode.is_some() || self.uid.is_some() || self.gid.is_some()
    }
}

/// An entry of a directory that is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub attributes: Attributes,
    /// Where reading goes on after it.
    pub offset: u64,
}

/// Something that a kernel has to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// A name: the number of its directory, and itself. Absent for a directory of which only the attributes changed: who
    /// works in it would find it gone.
    pub name: Option<(u64, String)>,
    /// The attributes and content of this number.
    pub number: Option<u64>,
    /// Its content stays.
    pub attributes_only: bool,
}

/// One mount of a volume.
#[derive(Debug)]
pub struct Vfs {
    volume: Arc<Volume>,
    id: u64,
    config: Mutex<VfsConfig>,
    has_kept: AtomicBool,
    inodes: Mutex<Inodes>,
    handles: Mutex<HashMap<u64, Arc<Handle>>>,
    directories: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<OpenDirectory>>>>,
}

#[derive(Debug)]
struct Handle {
    file: Arc<OpenFile>,
    mode: OpenMode,
    pattern: Mutex<Pattern>,
    /// The kernel serves it by itself.
    is_lent: AtomicBool,
}

#[derive(Debug)]
struct OpenDirectory {
    path: Path,
    /// How many changes of names there had been when the listing began.
    names: u64,
    listing: Option<Listing>,
    /// Entries not yet taken, in order.
    ready: VecDeque<DirectoryEntry>,
    /// Entries listed so far.
    listed: u64,
}

impl Vfs {
    /// A mount of a volume.
    pub fn new(volume: Arc<Volume>, config: VfsConfig) -> Arc<Vfs> {
        let id = volume.next_handle();
        volume.wish(id, Some(config.wish()));
        Arc::new(Vfs {
            volume,
            id,
            config: Mutex::new(config),
            has_kept: AtomicBool::new(config.attributes == AttributesMode::Sidecar),
            inodes: Mutex::new(Inodes::new()),
            handles: Mutex::default(),
            directories: Mutex::default(),
        })
    }

    /// The volume that it shows.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// How it behaves.
    pub fn config(&self) -> VfsConfig {
        *lock(&self.config)
    }

    /// Behaves otherwise from now on.
    pub fn reconfigure(&self, config: VfsConfig) {
        let before = std::mem::replace(&mut *lock(&self.config), config);
        if before.attributes != config.attributes {
            // Names come or go, and everything looks different.
            self.volume.announce(Stale::Below(Path::ROOT));
        }
        self.has_kept.fetch_or(config.attributes == AttributesMode::Sidecar, Ordering::Relaxed);
        self.volume.wish(self.id, Some(config.wish()));
    }

    /// Whether it keeps, or ever kept, what providers do not hold.
    pub fn has_kept(&self) -> bool {
        self.has_kept.load(Ordering::Relaxed)
    }

    /// The entry of this name in a directory: its number, counted, and what it shows.
    pub async fn lookup(&self, parent: u64, name: &str) -> Result<(u64, Attributes), VfsError> {
        let path = self.child(parent, name)?;
        self.look_up(&path, self.patience()).await
    }

    /// The number of an entry that [`Vfs::read_directory`] showed, counted.
    pub fn adopt(&self, parent: u64, entry: &DirectoryEntry) -> Result<u64, VfsError> {
        // What the provider has is shown, however long its name is.
        let path = self.within(parent, &entry.name)?;
        Ok(self.number(&path, &entry.attributes))
    }

    /// A number to show for an entry that nobody looked up: its own, if it has one, else one made of its path.
    pub fn show_number(&self, parent: u64, name: &str) -> u64 {
        let Ok(path) = self.within(parent, name) else { return u64::MAX };
        lock(&self.inodes).number(&path).unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            // Apart from the counted ones.
            hasher.finish() | 1 << 63
        })
    }

    /// So many look-ups of a number are forgotten.
    pub fn forget(&self, number: u64, lookups: u64) {
        lock(&self.inodes).forget(number, lookups);
    }

    /// What a number shows.
    pub async fn attributes(&self, number: u64) -> Result<Attributes, VfsError> {
        self.shown(number, self.patience()).await
    }

    /// For how long what a number shows, or the name of an entry, may be trusted unless the volume's listener hears otherwise.
    pub fn fresh_for(&self, number: u64, name: Option<&str>) -> Duration {
        let path = lock(&self.inodes).path(number);
        let path = path.and_then(|path| name.map_or(Some(path.clone()), |name| path.child(name).ok()));
        path.map_or(Duration::ZERO, |path| self.volume.fresh_for(&path, self.patience().max_age))
    }

    async fn shown(&self, number: u64, patience: Patience) -> Result<Attributes, VfsError> {
        let (path, file, is_directory) = {
            let inodes = lock(&self.inodes);
            (inodes.path(number), inodes.file(number), inodes.is_directory(number))
        };
        let Some(path) = path else {
            // A directory that was removed is one for who is in it.
            let removed = is_directory.then(|| Attributes { has_name: false, ..Attributes::default() });
            return file.map(|file| file.attributes()).or(removed).ok_or(VfsError::Stale);
        };
        match self.stat(&path, patience).await {
            Ok(Some(attributes)) => Ok(attributes),
            Ok(None) => file.map(|file| file.attributes()).ok_or_else(VfsError::not_found),
            Err(error) => file.map(|file| file.attributes()).ok_or(error),
        }
    }

    /// Sets a size or a time. `handle` is one of the file that may write, if the caller has one.
    pub async fn set_attributes(
        &self,
        number: u64,
        handle: Option<u64>,
        set: SetAttributes,
    ) -> Result<Attributes, VfsError> {
        self.may_change()?;
        let patience = self.patience();
        if let Some(size) = set.size {
            match handle {
                Some(id) => self.volume.resize(&self.handle(id)?.file, id, size).await?,
                None => self.resize_unopened(number, size, patience).await?,
            }
        }
        let (path, file) = {
            let inodes = lock(&self.inodes);
            (inodes.path(number), inodes.file(number))
        };
        let Some(path) = path else {
            // Nobody but its handles sees what has no name.
            if let Some(file) = file.filter(|_| patience.sidecar) {
                file.set_kept(apply_unnamed(file.attributes().kept, set));
            }
            return self.shown(number, patience).await;
        };
        if let Some(modified) = set.modified {
            let told = self.volume.set_modified(&path, modified, patience).await;
            let is_refused = matches!(&told, Err(VfsError::Storage(error)) if error.kind == ErrorKind::Unsupported);
            // Kept for the version that is there, if there is one.
            if !(is_refused && patience.sidecar && self.shown(number, patience).await?.version.is_some()) {
                told?;
            }
        }
        if patience.sidecar && (set.modified.is_some() || set.needs_sidecar()) {
            self.volume.set_kept_attributes(&path, set, patience).await?;
        }
        self.shown(number, patience).await
    }

    async fn resize_unopened(&self, number: u64, size: u64, patience: Patience) -> Result<(), VfsError> {
        let handle = self.open_in(number, OpenMode { write: true, ..OpenMode::default() }, patience).await?;
        let file = self.handle(handle)?.file.clone();
        let resized = self.volume.resize(&file, handle, size).await;
        let flushed = self.flush(handle).await;
        self.release(handle).await;
        resized.and(flushed)
    }

    /// Opens a file.
    pub async fn open(&self, number: u64, mode: OpenMode) -> Result<u64, VfsError> {
        self.open_in(number, mode, self.patience()).await
    }

    async fn open_in(&self, number: u64, mode: OpenMode, patience: Patience) -> Result<u64, VfsError> {
        if mode.write || mode.truncate {
            self.may_change()?;
        }
        let path = lock(&self.inodes).path(number).ok_or(VfsError::Stale)?;
        let file = self.volume.open_file(&path, patience).await?;
        let id = self.volume.next_handle();
        let another = {
            let mut inodes = lock(&self.inodes);
            let another = inodes.file(number).is_some_and(|open| !Arc::ptr_eq(&open, &file));
            if another {
                inodes.detach(&path);
            } else {
                inodes.set_file(number, &file);
            }
            another
        };
        if another {
            // The kernel looks the name up again and finds the new number.
            self.volume.release(file, id, self.keeps_read()).await;
            return Err(VfsError::Stale);
        }
        self.add_handle(id, file.clone(), mode);
        if mode.truncate
            && let Err(error) = self.volume.resize(&file, id, 0).await
        {
            self.release(id).await;
            return Err(error);
        }
        Ok(id)
    }

    /// Why the kernel is given no file to read by itself, if it is given none.
    pub fn no_lending(&self) -> Option<&'static str> {
        let config = self.config();
        (config.close_uploads() && !config.read_only).then_some("a close waits for the upload")
    }

    /// The cached file behind a handle that only reads, if the kernel may read it by itself: all of a version is there, and
    /// no close has to wait for an upload of what is written unseen. The handle counts as lent from then on.
    pub fn lend(&self, handle: u64) -> Option<File> {
        if self.no_lending().is_some() {
            return None;
        }
        let open = self.handle(handle).ok()?;
        let lent = self.volume.lend(&open.file)?;
        open.is_lent.store(true, Ordering::SeqCst);
        Some(lent)
    }

    /// A handle of a number that the kernel serves from the file of this number in the cache's directory is served by it as
    /// well. One that writes takes the file over first; where that cannot be, or what the path shows lies elsewhere by now,
    /// the answer is no, the handle is released, and the kernel has to look the name up again.
    pub async fn join_lent(&self, number: u64, handle: u64, lent: u64) -> Result<bool, VfsError> {
        let open = self.handle(handle)?;
        let joins = match open.mode.write {
            false => true,
            // What the kernel writes is not seen here: no close could wait for its upload, and nobody could refuse it.
            true if self.config().close_uploads() || !self.volume.has_room_unseen().await => false,
            true => {
                let taken = self.volume.take_over(&open.file, handle, Some(lent)).await?;
                if !taken {
                    self.volume.leave(&open.file);
                }
                taken
            }
        };
        if joins && open.file.lent_again(lent) {
            open.is_lent.store(true, Ordering::SeqCst);
            if open.mode.write {
                self.volume.announce_written(&open.file);
            }
            return Ok(true);
        }
        lock(&self.inodes).detach_number(number);
        drop(open);
        self.release(handle).await;
        Ok(false)
    }

    /// Makes a file, or opens the one that is there unless it must be new: its number, counted, and a handle.
    pub async fn create(
        &self,
        parent: u64,
        name: &str,
        mode: OpenMode,
        exclusive: bool,
    ) -> Result<(u64, Attributes, u64), VfsError> {
        self.create_as(parent, name, mode, exclusive, None).await
    }

    /// The same for someone, which a sidecar keeps.
    pub async fn create_as(
        &self,
        parent: u64,
        name: &str,
        mode: OpenMode,
        exclusive: bool,
        maker: Option<Maker>,
    ) -> Result<(u64, Attributes, u64), VfsError> {
        self.may_change()?;
        let path = self.child(parent, name)?;
        let id = self.volume.next_handle();
        let patience = self.patience();
        let maker = maker.filter(|_| patience.sidecar);
        let file = self.volume.create(&path, exclusive, id, maker, patience).await?;
        self.add_handle(id, file.clone(), mode);
        if mode.truncate
            && let Err(error) = self.volume.resize(&file, id, 0).await
        {
            self.release(id).await;
            return Err(error);
        }
        let attributes = match self.volume.with_kept(&path, file.attributes(), None, patience) {
            Ok(attributes) => attributes,
            Err(error) => {
                self.release(id).await;
                return Err(error);
            }
        };
        let number = self.number(&path, &attributes);
        lock(&self.inodes).set_file(number, &file);
        Ok((number, attributes, id))
    }

    /// Up to `buffer.len()` bytes at `offset`, if they lie on this machine: how many, fewer only at the end of the file. None
    /// means that [`Vfs::read`] has to fetch them. Waits for the local disk alone.
    pub fn read_now(&self, handle: u64, offset: u64, buffer: &mut [u8]) -> Option<Result<usize, VfsError>> {
        let open = match self.readable(handle) {
            Ok(open) => open,
            Err(error) => return Some(Err(error)),
        };
        let read = self.volume.read_now(&open.file, offset, buffer)?;
        if let Ok(size) = read {
            let reach = self.note(&open, Span::new(offset, size as u64));
            if let Some(content) = open.file.fetched().filter(|_| reach.ahead_bytes > 0) {
                content.read_ahead(&self.volume.way(), reach);
            }
        }
        Some(read)
    }

    /// Fetches what is not on this machine of `size` bytes at `offset`, and keeps nothing of it in memory: many may wait here
    /// for a storage that is slow. Then [`Vfs::read`] has them at once.
    pub async fn fetch(&self, handle: u64, offset: u64, size: u32) -> Result<(), VfsError> {
        let open = self.readable(handle)?;
        let span = Span::new(offset, u64::from(size));
        let fetching = self.volume.fetch(&open.file, span, self.note(&open, span));
        // Who gives up wastes nothing: what is on its way arrives for the next one.
        tokio::time::timeout(LONGEST_READ, fetching).await.map_err(|_| late("the storage"))?
    }

    /// Up to `size` bytes at `offset`: fewer only at the end of the file.
    pub async fn read(&self, handle: u64, offset: u64, size: u32) -> Result<Vec<u8>, VfsError> {
        let open = self.readable(handle)?;
        let span = Span::new(offset, u64::from(size));
        let reading = self.volume.read(&open.file, span, Reach::just(span));
        tokio::time::timeout(LONGEST_READ, reading).await.map_err(|_| late("the storage"))?
    }

    /// Notes a read, and says what to ask for.
    fn note(&self, open: &Handle, span: Span) -> Reach {
        lock(&open.pattern).note(span.offset, span.size, self.config().read_ahead_max)
    }

    fn readable(&self, handle: u64) -> Result<Arc<Handle>, VfsError> {
        self.handle(handle).and_then(|open| if open.mode.read { Ok(open) } else { Err(VfsError::BadHandle) })
    }

    /// Writes all of `bytes`, if that needs nothing but the local disk. None means that [`Vfs::write`] has to prepare the
    /// file first.
    pub fn write_now(&self, handle: u64, offset: u64, bytes: &[u8]) -> Option<Result<(), VfsError>> {
        match self.writable(handle) {
            Ok(open) => self.volume.write_now(&open.file, handle, (!open.mode.append).then_some(offset), bytes),
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the cache has room for so many bytes more, as things are.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.volume.scope.try_admit(bytes)
    }

    /// Writes all of `bytes`.
    pub async fn write(&self, handle: u64, offset: u64, bytes: Vec<u8>) -> Result<(), VfsError> {
        let open = self.writable(handle)?;
        let offset = (!open.mode.append).then_some(offset);
        self.volume.write(&open.file, handle, offset, bytes).await
    }

    fn writable(&self, handle: u64) -> Result<Arc<Handle>, VfsError> {
        self.may_change()?;
        self.handle(handle).and_then(|open| if open.mode.write { Ok(open) } else { Err(VfsError::BadHandle) })
    }

    /// What a close promises, and where its error comes from.
    pub async fn flush(&self, handle: u64) -> Result<(), VfsError> {
        let uploads = self.config().close_uploads();
        let open = self.handle(handle)?;
        self.volume.flush(&open.file, handle, uploads, open.is_lent.load(Ordering::SeqCst)).await
    }

    /// Makes what was written survive a power loss.
    pub async fn fsync(&self, handle: u64) -> Result<(), VfsError> {
        self.volume.sync(&self.handle(handle)?.file).await
    }

    /// Takes a handle away.
    pub async fn release(&self, handle: u64) {
        let open = lock(&self.handles).remove(&handle);
        if let Some(open) = open {
            let file = open.file.clone();
            if open.is_lent.load(Ordering::SeqCst) {
                file.returned();
                if open.mode.write {
                    self.volume.announce_written(&file);
                }
            }
            // Else what it read could not be put away.
            drop(open);
            self.volume.release(file, handle, self.keeps_read()).await;
        }
    }

    /// Releases every handle, when whoever had them is gone and will not.
    pub async fn release_all(&self) {
        let left: Vec<u64> = lock(&self.handles).keys().copied().collect();
        for handle in left {
            self.release(handle).await;
        }
    }

    /// Makes a directory.
    pub async fn make_directory(&self, parent: u64, name: &str) -> Result<(u64, Attributes), VfsError> {
        self.make_directory_as(parent, name, None).await
    }

    /// The same for someone, which a sidecar keeps.
    pub async fn make_directory_as(
        &self,
        parent: u64,
        name: &str,
        maker: Option<Maker>,
    ) -> Result<(u64, Attributes), VfsError> {
        self.may_change()?;
        let path = self.child(parent, name)?;
        let patience = self.patience();
        self.volume.make_directory(&path, maker.filter(|_| patience.sidecar), patience).await?;
        self.look_up(&path, patience).await
    }

    /// Makes a name that only a sidecar has: a link, a pipe, a socket or a device.
    pub async fn make_kept(
        &self,
        parent: u64,
        name: &str,
        kind: KeptKind,
        maker: Maker,
    ) -> Result<(u64, Attributes), VfsError> {
        self.may_change()?;
        let path = self.child(parent, name)?;
        let patience = self.patience();
        if !patience.sidecar {
            return Err(VfsError::NotKept);
        }
        self.volume.make_kept(&path, kind, maker, patience).await?;
        self.look_up(&path, patience).await
    }

    /// Where a link leads.
    pub async fn read_link(&self, number: u64) -> Result<String, VfsError> {
        match self.attributes(number).await?.kept.map(|kept| kept.kind) {
            Some(KeptKind::Link { target }) => Ok(target),
            _ => Err(VfsError::of(ErrorKind::Invalid, "this is not a link")),
        }
    }

    /// The value of an extended attribute.
    pub async fn extended(&self, number: u64, name: &str) -> Result<Vec<u8>, VfsError> {
        let (path, patience) = self.keeps(number)?;
        self.volume.extended(&path, name, patience).await
    }

    /// The names of the extended attributes.
    pub async fn extended_names(&self, number: u64) -> Result<Vec<String>, VfsError> {
        let (path, patience) = self.keeps(number)?;
        self.volume.extended_names(&path, patience).await
    }

    /// Sets an extended attribute; `exists` says whether it must, or must not, be there before.
    pub async fn set_extended(
        &self,
        number: u64,
        name: &str,
        value: Vec<u8>,
        exists: Option<bool>,
    ) -> Result<(), VfsError> {
        self.may_change()?;
        let (path, patience) = self.keeps(number)?;
        self.volume.set_extended(&path, name, Some(value), exists, patience).await
    }

    /// Removes an extended attribute.
    pub async fn remove_extended(&self, number: u64, name: &str) -> Result<(), VfsError> {
        self.may_change()?;
        let (path, patience) = self.keeps(number)?;
        self.volume.set_extended(&path, name, None, Some(true), patience).await
    }

    /// Whether a file is run as its owner or group by others, as far as a sidecar keeps that. Waits for the local disk alone.
    pub fn is_privileged(&self, number: u64) -> bool {
        self.keeps(number).is_ok_and(|(path, _)| self.volume.is_privileged(&path))
    }

    /// Takes away the bits with which a program runs as its owner or group, if a sidecar keeps them.
    pub async fn drop_privileges(&self, number: u64) -> Result<(), VfsError> {
        match self.keeps(number) {
            Ok((path, patience)) => self.volume.drop_privileges(&path, patience).await,
            // Without a name nobody runs it, and without a sidecar it has none.
            Err(_) => Ok(()),
        }
    }

    fn keeps(&self, number: u64) -> Result<(Path, Patience), VfsError> {
        let patience = self.patience();
        if !patience.sidecar {
            return Err(causeway_storage::Error::unsupported("keep extended attributes").into());
        }
        Ok((lock(&self.inodes).path(number).ok_or(VfsError::Stale)?, patience))
    }

    /// Removes a file.
    pub async fn unlink(&self, parent: u64, name: &str) -> Result<(), VfsError> {
        self.may_change()?;
        let path = self.child(parent, name)?;
        self.volume.unlink(&path, self.patience()).await?;
        lock(&self.inodes).detach(&path);
        Ok(())
    }

    /// Removes an empty directory.
    pub async fn remove_directory(&self, parent: u64, name: &str) -> Result<(), VfsError> {
        self.may_change()?;
        let path = self.child(parent, name)?;
        self.volume.remove_directory(&path, self.patience()).await?;
        lock(&self.inodes).detach(&path);
        Ok(())
    }

    /// Renames, over what stands there unless `no_replace`.
    pub async fn rename(&self, from: (u64, &str), to: (u64, &str), no_replace: bool) -> Result<(), VfsError> {
        self.may_change()?;
        let (from, to) = (self.child(from.0, from.1)?, self.child(to.0, to.1)?);
        self.volume.rename(&from, &to, no_replace, self.patience()).await?;
        if from != to {
            lock(&self.inodes).rename(&from, &to);
        }
        Ok(())
    }

    /// Opens a directory.
    pub async fn open_directory(&self, number: u64) -> Result<u64, VfsError> {
        let path = lock(&self.inodes).path(number).ok_or_else(VfsError::not_found)?;
        let names = self.names();
        let listing = Some(self.volume.list(&path, self.patience()).await?);
        let id = self.volume.next_handle();
        let open = OpenDirectory { path, names, listing, ready: VecDeque::new(), listed: 0 };
        lock(&self.directories).insert(id, Arc::new(tokio::sync::Mutex::new(open)));
        Ok(id)
    }

    /// Entries that come after `offset` (0 is the beginning); none at the end. What is not taken is shown again. Says also
    /// whether no name changed since the directory was listed: else one of these may be gone by now.
    pub async fn read_directory(&self, handle: u64, offset: u64) -> Result<(Vec<DirectoryEntry>, bool), VfsError> {
        let open = lock(&self.directories).get(&handle).cloned().ok_or(VfsError::BadHandle)?;
        let patience = self.patience();
        let mut open = patience.wait("another reader of this directory", open.lock()).await?;
        let first = open.ready.front().map_or(open.listed + 1, |entry| entry.offset);
        if offset + 1 < first {
            open.names = self.names();
            open.listing = Some(self.volume.list(&open.path, patience).await?);
            open.ready.clear();
            open.listed = 0;
        }
        loop {
            while open.ready.front().is_some_and(|entry| entry.offset <= offset) {
                open.ready.pop_front();
            }
            if !open.ready.is_empty() {
                let entries = open.ready.iter().take(ENTRIES_AT_ONCE).cloned().collect();
                return Ok((entries, open.names == self.names()));
            }
            let Some(mut listing) = open.listing.take() else { return Ok((Vec::new(), true)) };
            let batch = self.volume.next(&mut listing, patience).await;
            // Put back first: after an error the same page is asked for again, and never taken for the end.
            open.listing = Some(listing);
            let Some(batch) = batch? else { return Ok((Vec::new(), true)) };
            for (name, attributes) in batch {
                open.listed += 1;
                let offset = open.listed;
                open.ready.push_back(DirectoryEntry { name, attributes, offset });
            }
        }
    }

    /// Rises with every change of names that a kernel has to hear of.
    pub fn names(&self) -> u64 {
        self.volume.names.load(Ordering::SeqCst)
    }

    /// Closes a directory.
    pub fn release_directory(&self, handle: u64) {
        lock(&self.directories).remove(&handle);
    }

    /// What a kernel has to forget when this is told, as far as it can know it.
    pub fn forgotten(&self, stale: &Stale) -> Vec<Forgotten> {
        let inodes = lock(&self.inodes);
        let (paths, is_name) = match stale {
            Stale::Attributes(path) => {
                let number = inodes.number(path);
                let forgotten = Forgotten { number, attributes_only: true, ..Forgotten::default() };
                return number.map(|_| forgotten).into_iter().collect();
            }
            Stale::Entry(path) => (vec![path.clone()], false),
            Stale::Below(path) => {
                let mut paths = inodes.below(path);
                // A name that was shown as absent has no number.
                paths.push(path.clone());
                (paths, true)
            }
        };
        let forget = |path: Path| {
            let (parent, number) = inodes.known(&path);
            let is_directory = number.is_some_and(|number| inodes.is_directory(number));
            let name = parent.zip(path.name().map(str::to_owned)).filter(|_| is_name || !is_directory);
            Forgotten { name, number, attributes_only: false }
        };
        paths.into_iter().map(forget).filter(|forgotten| *forgotten != Forgotten::default()).collect()
    }

    /// How much room there is, if anybody knows; within a second.
    pub async fn room(&self) -> Option<Room> {
        self.volume.room().await
    }

    /// The longest name of an entry.
    pub fn longest_name_bytes(&self) -> u32 {
        self.volume.features.longest_name_bytes.unwrap_or(LONGEST_NAME_BYTES)
    }

    async fn look_up(&self, path: &Path, patience: Patience) -> Result<(u64, Attributes), VfsError> {
        let attributes = self.stat(path, patience).await?.ok_or_else(VfsError::not_found)?;
        Ok((self.number(path, &attributes), attributes))
    }

    async fn stat(&self, path: &Path, patience: Patience) -> Result<Option<Attributes>, VfsError> {
        let found = self.volume.find(path, patience).await?;
        found.map(|found| self.volume.shown(path, &found, patience)).transpose()
    }

    fn number(&self, path: &Path, attributes: &Attributes) -> u64 {
        let mut inodes = lock(&self.inodes);
        let open = inodes.number(path).and_then(|number| inodes.file(number));
        let shown = open.and_then(|file| file.attributes().version);
        if shown.is_some() && attributes.version.is_some() && shown != attributes.version {
            inodes.detach(path);
        }
        inodes.look_up(path, attributes.kind)
    }

    fn child(&self, parent: u64, name: &str) -> Result<Path, VfsError> {
        if name.len() > self.longest_name_bytes() as usize {
            return Err(VfsError::LongName);
        }
        self.within(parent, name)
    }

    fn within(&self, parent: u64, name: &str) -> Result<Path, VfsError> {
        let parent = lock(&self.inodes).path(parent).ok_or_else(VfsError::not_found)?;
        Ok(parent.child(name)?)
    }

    fn handle(&self, handle: u64) -> Result<Arc<Handle>, VfsError> {
        lock(&self.handles).get(&handle).cloned().ok_or(VfsError::BadHandle)
    }

    fn add_handle(&self, id: u64, file: Arc<OpenFile>, mode: OpenMode) {
        let handle = Handle { file, mode, pattern: Mutex::default(), is_lent: AtomicBool::new(false) };
        lock(&self.handles).insert(id, Arc::new(handle));
    }

    /// That of a request which begins now.
    fn patience(&self) -> Patience {
        let config = self.config();
        Patience::new(Duration::from_millis(config.dir_cache_time_ms))
            .with_sidecar(config.attributes == AttributesMode::Sidecar)
    }

    fn keeps_read(&self) -> bool {
        self.config().cache_mode == CacheMode::Full
    }

    fn may_change(&self) -> Result<(), VfsError> {
        if self.config().read_only { Err(VfsError::ReadOnly) } else { Ok(()) }
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        self.volume.wish(self.id, None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under these locks is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
