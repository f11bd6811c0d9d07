//! Reasons as error numbers, for programs that know nothing else.
//!
//! There is no wildcard: a new reason has to choose its number. What could not be looked at is `EIO`, never `ENOENT`.

use causeway_storage::{Error, ErrorKind};
use causeway_vfs::VfsError;
use fuser::Errno;

/// The number of a reason.
pub(crate) fn errno(error: &VfsError) -> Errno {
    match error {
        VfsError::Storage(Error { kind, .. }) => match kind {
            ErrorKind::NotFound => Errno::ENOENT,
            ErrorKind::AlreadyExists => Errno::EEXIST,
            ErrorKind::IsDirectory => Errno::EISDIR,
            ErrorKind::NotADirectory => Errno::ENOTDIR,
            ErrorKind::DirectoryNotEmpty => Errno::ENOTEMPTY,
            ErrorKind::Denied | ErrorKind::Unauthenticated => Errno::EACCES,
            ErrorKind::Invalid => Errno::EINVAL,
            ErrorKind::Unsupported => Errno::EOPNOTSUPP,
            ErrorKind::PreconditionFailed => Errno::ESTALE,
            ErrorKind::QuotaExceeded => Errno::ENOSPC,
            ErrorKind::RateLimited(_) | ErrorKind::Unavailable(_) | ErrorKind::Corrupt | ErrorKind::Internal => {
                Errno::EIO
            }
        },
        VfsError::Stale => Errno::ESTALE,
        VfsError::CrossDevice => Errno::EXDEV,
        VfsError::ReadOnly => Errno::EROFS,
        VfsError::BadHandle => Errno::EBADF,
        VfsError::LongName => Errno::ENAMETOOLONG,
        VfsError::NoAttribute => Errno::ENODATA,
        VfsError::LongAttribute => Errno::ERANGE,
        VfsError::LargeAttribute => Errno::E2BIG,
        VfsError::NotKept => Errno::EPERM,
        VfsError::BadName => Errno::EINVAL,
    }
}
