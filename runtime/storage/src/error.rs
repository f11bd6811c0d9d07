//! Why something failed: a kind for callers, a message for people, a detail for the log.

use std::fmt;
use std::time::Duration;

/// What comes back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What callers act on. The list is that of the contract (`wit/0.1/types.wit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The provider said that it is not there.
    NotFound,
    /// Something of this name stands there.
    AlreadyExists,
    /// A file was wanted.
    IsDirectory,
    /// A directory was wanted.
    NotADirectory,
    /// There is something in it.
    DirectoryNotEmpty,
    /// The account, or the operator, does not allow it.
    Denied,
    /// The credential was refused before anything happened.
    Unauthenticated,
    /// The request makes no sense to the provider.
    Invalid,
    /// This storage cannot do that.
    Unsupported,
    /// The version seen is no longer the current one.
    PreconditionFailed,
    /// Too fast; wait at least so long, if known.
    RateLimited(Option<Duration>),
    /// No room left.
    QuotaExceeded,
    /// It cannot now, or its answer cannot be understood; wait at least so long, if known.
    Unavailable(Option<Duration>),
    /// What came is not what was stored.
    Corrupt,
    /// A fault of ours or of the component.
    Internal,
}

/// A failure.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    /// What callers act on.
    pub kind: ErrorKind,
    /// A sentence for the user, without secrets.
    pub message: String,
    /// For the log only: never shown to a tenant, hence without `Display`.
    pub detail: String,
}

impl Error {
    /// An error of this kind with a sentence for the user.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), detail: String::new() }
    }

    /// Adds what only the log should see.
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Error {
        self.detail = detail.to_string();
        self
    }

    /// Something is not there.
    pub fn not_found(what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::NotFound, format!("{what} does not exist"))
    }

    /// This storage cannot do that.
    pub fn unsupported(what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Unsupported, format!("this storage cannot {what}"))
    }

    /// A fault of ours: the user learns nothing but that it happened.
    pub fn internal(detail: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Internal, "an internal error occurred").with_detail(detail)
    }

    /// Whether the same call may succeed later without anyone doing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, ErrorKind::RateLimited(_) | ErrorKind::Unavailable(_))
    }
}

impl From<std::io::Error> for Error {
    /// For local files; what a provider's answer means is decided elsewhere.
    fn from(error: std::io::Error) -> Error {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            Io::NotADirectory => ErrorKind::NotADirectory,
            Io::IsADirectory => ErrorKind::IsDirectory,
            Io::DirectoryNotEmpty => ErrorKind::DirectoryNotEmpty,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::QuotaExceeded,
            Io::InvalidInput | Io::InvalidFilename => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        Error::new(kind, "a local file operation failed").with_detail(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl std::error::Error for Error {}
