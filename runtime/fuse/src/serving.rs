//! How the kernel reads and writes what is open: through us, or by itself from the cached file.
//!
//! It decides no content; what may be read without us is the file system's to say. The kernel has a rule of its own: while
//! a number has a handle that it serves by itself, every handle of that number has to be one, of the same file; and one
//! that goes through us and was mapped into memory forbids the other kind. Which ones were mapped nobody tells, so a
//! number has handles of one kind at a time, and changes the kind only when none is open.
//!
//! Through us means `FOPEN_DIRECT_IO`: each read and write is one request, without a copy in the kernel that could be out of
//! date, and mapping a file into memory works all the same.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use causeway_vfs::{OpenMode, SetAttributes, Vfs, VfsError};
use fuser::{BackingId, FileHandle, FopenFlags, ReplyOpen};

/// The kinds of the numbers that are open.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    open: Mutex<HashMap<u64, Kind>>,
    passthrough: Passthrough,
}

/// Whether the kernel may serve files by itself; decided when the mount stands.
#[derive(Debug, Default)]
pub(crate) struct Passthrough {
    offered: AtomicBool,
    refused: OnceLock<String>,
}

#[derive(Debug)]
enum Kind {
    /// Every handle goes through us: so many.
    Through(usize),
    /// The kernel serves every handle: so many, from this file.
    Alone(usize, Lent),
}

/// A file of the cache that the kernel has.
#[derive(Clone, Debug)]
struct Lent {
    backing: Arc<BackingId>,
    /// The file's own number, by which it is told from another that holds what the path shows by now.
    inode: u64,
}

/// What to do with a handle.
enum Turn {
    Through,
    Alone(Lent),
    /// The kernel serves the others of this number.
    Join(Lent),
}

impl Passthrough {
    /// The kernel offers it.
    pub(crate) fn offer(&self) {
        self.offered.store(true, Ordering::Relaxed);
    }

    /// It cannot be used, for this reason.
    pub(crate) fn refuse(&self, reason: impl Into<String>) {
        // The first reason counts.
        let _ = self.refused.set(reason.into());
    }

    /// Why it is not used, if it is not.
    pub(crate) fn refused(&self) -> Option<&str> {
        match self.offered.load(Ordering::Relaxed) {
            false => Some("the kernel does not offer it"),
            true => self.refused.get().map(String::as_str),
        }
    }
}

impl Serving {
    pub(crate) fn passthrough(&self) -> &Passthrough {
        &self.passthrough
    }

    /// Answers an open; `handle` was not cut yet.
    pub(crate) async fn opened(
        &self,
        vfs: &Vfs,
        number: u64,
        handle: u64,
        mode: OpenMode,
        reply: ReplyOpen,
    ) -> Result<(), (ReplyOpen, VfsError)> {
        let turn = self.turn(vfs, number, handle, mode.write || mode.truncate, &reply);
        let mut ready = match &turn {
            Turn::Join(lent) => vfs.join_lent(number, handle, lent.inode).await,
            Turn::Through | Turn::Alone(_) => Ok(true),
        };
        // Not before: those whose file this is not would find theirs emptied, and what is written then elsewhere.
        if mode.truncate && matches!(ready, Ok(true)) {
            let cut = SetAttributes { size: Some(0), ..SetAttributes::default() };
            ready = vfs.set_attributes(number, Some(handle), cut).await.map(|_| true);
        }
        let shown = FileHandle(handle);
        match (ready, turn) {
            (Ok(true), Turn::Through) => reply.opened(shown, FopenFlags::FOPEN_DIRECT_IO),
            (Ok(true), Turn::Alone(lent) | Turn::Join(lent)) => {
                reply.opened_passthrough(shown, FopenFlags::empty(), &lent.backing);
            }
            (failed, _) => {
                self.released(number);
                // The handle is gone unless something failed half way.
                if failed.is_err() {
                    vfs.release(handle).await;
                }
                return Err((reply, failed.err().unwrap_or(VfsError::Stale)));
            }
        }
        Ok(())
    }

    /// Notes that a file was created, or was found when it should be, and its handle goes through us. False if the kernel
    /// serves that number by itself: it has to look the name up and open it.
    pub(crate) fn created(&self, number: u64) -> bool {
        match self.lock().entry(number).or_insert(Kind::Through(0)) {
            Kind::Through(handles) => *handles += 1,
            Kind::Alone(..) => return false,
        }
        true
    }

    /// A handle of this number is gone.
    pub(crate) fn released(&self, number: u64) {
        let mut open = self.lock();
        let Some(kind) = open.get_mut(&number) else { return };
        let (Kind::Through(handles) | Kind::Alone(handles, _)) = kind;
        *handles -= 1;
        if *handles == 0 {
            open.remove(&number);
        }
    }

    fn turn(&self, vfs: &Vfs, number: u64, handle: u64, writes: bool, reply: &ReplyOpen) -> Turn {
        let mut open = self.lock();
        match open.get_mut(&number) {
            Some(Kind::Through(handles)) => {
                *handles += 1;
                Turn::Through
            }
            Some(Kind::Alone(handles, lent)) => {
                *handles += 1;
                Turn::Join(lent.clone())
            }
            None => {
                let lent = if writes || self.passthrough.refused().is_some() { None } else { vfs.lend(handle) };
                // A file that the kernel refuses is served through us; the handle counts as lent, which harms nothing.
                let give = |file: File| {
                    let inode = file.metadata()?.ino();
                    reply.open_backing(file).map(|backing| Lent { backing: Arc::new(backing), inode })
                };
                let kind = match lent.map(give) {
                    Some(Ok(lent)) => Kind::Alone(1, lent),
                    Some(Err(error)) => {
                        self.passthrough.refuse(format!("the kernel refuses a cached file: {error}"));
                        tracing::warn!(%error, "the kernel does not read cached files by itself; all reads go through this program");
                        Kind::Through(1)
                    }
                    None => Kind::Through(1),
                };
                let turn = match &kind {
                    Kind::Through(_) => Turn::Through,
                    Kind::Alone(_, lent) => Turn::Alone(lent.clone()),
                };
                open.insert(number, kind);
                turn
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Kind>> {
        // Changed in single steps.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
