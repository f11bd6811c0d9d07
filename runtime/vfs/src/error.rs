//! Why an operation on a file failed.
//!
//! Most reasons are the storage's own; the rest are those that only a file system has. It holds no errno: the crate that
//! speaks to the kernel has the one place where reasons become numbers.

use causeway_storage::{Error, ErrorKind, PathError};

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VfsError {
    /// The storage, the cache or the journal said so.
    #[error("{0}")]
    Storage(#[from] Error),
    /// The version that the handle reads is gone.
    #[error("the content that was opened no longer exists")]
    Stale,
    /// A directory with more entries than can be renamed as one step.
    #[error("the directory has too many entries to be renamed in one step")]
    CrossDevice,
    /// The mount is read-only.
    #[error("this mount is read-only")]
    ReadOnly,
    /// The handle is unknown, or was opened for something else.
    #[error("the file was not opened for this")]
    BadHandle,
    /// The storage has no names of such a length.
    #[error("a name is too long")]
    LongName,
    /// There is no extended attribute of this name.
    #[error("there is no such attribute")]
    NoAttribute,
    /// The name of an extended attribute is too long.
    #[error("the name of an attribute is too long")]
    LongAttribute,
    /// The value of an extended attribute is too long.
    #[error("the value of an attribute is too long")]
    LargeAttribute,
    /// Something that only a sidecar could keep, on a mount without one.
    #[error("this mount keeps no such names")]
    NotKept,
    /// No path has such a name.
    #[error("a name is empty, too long, or has characters that no name can have")]
    BadName,
}

impl VfsError {
    pub(crate) fn of(kind: ErrorKind, message: &str) -> VfsError {
        VfsError::Storage(Error::new(kind, message))
    }

    pub(crate) fn not_found() -> VfsError {
        VfsError::of(ErrorKind::NotFound, "there is no such file or directory")
    }
}

impl From<PathError> for VfsError {
    fn from(_: PathError) -> VfsError {
        VfsError::BadName
    }
}
