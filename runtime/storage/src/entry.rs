//! What a storage shows: entries, their versions, pages of them; and nodes, the way a caller names one.

use std::fmt;

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use crate::Path;

/// What an entry is; a link is shown as what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// It has content.
    File,
    /// It holds entries.
    Directory,
}

/// A point in time, UTC: whole seconds since 1970-01-01 (negative before it) and nanoseconds below 1,000,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Now, by the system's clock.
    pub fn now() -> Timestamp {
        std::time::SystemTime::now().into()
    }

    /// Cut down to a multiple of `step_ns`, which is how a provider that keeps coarser times will show it.
    pub fn truncated(self, step_ns: u64) -> Timestamp {
        let second = 1_000_000_000;
        if step_ns >= second {
            let step = i64::try_from(step_ns / second).unwrap_or(i64::MAX);
            return Timestamp { seconds: self.seconds - self.seconds.rem_euclid(step), nanoseconds: 0 };
        }
        let step = u32::try_from(step_ns).unwrap_or(1).max(1);
        Timestamp { seconds: self.seconds, nanoseconds: self.nanoseconds - self.nanoseconds % step }
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(time: std::time::SystemTime) -> Timestamp {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let borrow = i64::from(before.subsec_nanos() > 0);
                Timestamp {
                    seconds: -(before.as_secs() as i64) - borrow,
                    nanoseconds: if borrow == 1 { 1_000_000_000 - before.subsec_nanos() } else { 0 },
                }
            }
        }
    }
}

impl From<Timestamp> for std::time::SystemTime {
    fn from(time: Timestamp) -> std::time::SystemTime {
        let nanoseconds = std::time::Duration::from_nanos(u64::from(time.nanoseconds));
        let seconds = std::time::Duration::from_secs(time.seconds.unsigned_abs());
        if time.seconds >= 0 {
            std::time::UNIX_EPOCH + seconds + nanoseconds
        } else {
            std::time::UNIX_EPOCH - seconds + nanoseconds
        }
    }
}

/// Tells two contents of one file apart: an ETag, a generation, a digest, or, weakly, size and time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub String);

/// Where a list goes on; opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A way to digest bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// RFC 1321.
    Md5,
    /// FIPS 180.
    Sha1,
    /// FIPS 180.
    Sha256,
    /// FIPS 180.
    Sha512,
    /// ISO-HDLC, four bytes, big-endian.
    Crc32,
    /// Castagnoli, four bytes, big-endian.
    Crc32c,
    /// ISO/IEC 10118-3.
    Whirlpool,
    /// BLAKE3, 32 bytes.
    Blake3,
    /// OneDrive's XOR register, 20 bytes.
    Quickxor,
    /// Dropbox: SHA-256 of the SHA-256 of 4 MiB blocks.
    Dropbox,
    /// HiDrive: a tree over 4 KiB blocks.
    Hidrive,
    /// Mail.ru: short content as it stands, else SHA-1 with a prefix.
    Mailru,
    /// PikPak: SHA-1 of the SHA-1 of blocks.
    Gcid,
}

/// One digest of one file's content.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DigestValue {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The digest itself.
    pub value: Vec<u8>,
}

impl fmt::Debug for DigestValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:", self.algorithm)?;
        self.value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

bitflags! {
    /// What else to know about an entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Notes: u8 {
        /// `stat` gives a better size.
        const INEXACT_SIZE = 1;
        /// `stat` gives a better modification time.
        const INEXACT_MODIFIED = 1 << 1;
        /// The version says no more than size and whole seconds, so two contents can share it.
        const WEAK_VERSION = 1 << 2;
        /// The content cannot be written.
        const READ_ONLY = 1 << 3;
        /// It lies in the trash.
        const TRASHED = 1 << 4;
    }
}

/// A file or directory as the storage shows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in its directory.
    pub name: String,
    /// File or directory.
    pub kind: Kind,
    /// The provider's own identity of it, where there is one: the same thing keeps it when it is renamed.
    pub cookie: Option<String>,
    /// Bytes of content; absent when only a read would tell.
    pub size: Option<u64>,
    /// When the content was last changed, if kept.
    pub modified: Option<Timestamp>,
    /// When it was created, if known.
    pub created: Option<Timestamp>,
    /// Changes whenever the content does. Files always have one; see [`Notes::WEAK_VERSION`].
    pub version: Option<Version>,
    /// The media type, if kept.
    pub media_type: Option<String>,
    /// Digests of the whole content in this version.
    pub digests: Vec<DigestValue>,
    /// What else to know.
    pub notes: Notes,
}

impl Entry {
    /// A directory of which only the name is known.
    pub fn directory(name: impl Into<String>) -> Entry {
        Entry {
            name: name.into(),
            kind: Kind::Directory,
            cookie: None,
            size: None,
            modified: None,
            created: None,
            version: None,
            media_type: None,
            digests: Vec::new(),
            notes: Notes::empty(),
        }
    }

    /// A file of which name and size are known.
    pub fn file(name: impl Into<String>, size: u64) -> Entry {
        Entry { kind: Kind::File, size: Some(size), ..Entry::directory(name) }
    }

    /// Gives a file without a version a weak one, made of size and whole seconds.
    pub fn with_some_version(mut self) -> Entry {
        if self.kind == Kind::File && self.version.is_none() {
            let seconds = self.modified.map_or(0, |time| time.seconds);
            self.version = Some(Version(format!("weak:{}:{seconds}", self.size.unwrap_or(0))));
            self.notes |= Notes::WEAK_VERSION;
        }
        self
    }

    /// The digest of this kind, if it is known.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.digests.iter().find(|digest| digest.algorithm == algorithm).map(|digest| digest.value.as_slice())
    }
}

/// How a caller names something stored: where it is, and what was last seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is.
    pub path: Path,
    /// File or directory, as the entry said.
    pub kind: Kind,
    /// As the entry said.
    pub cookie: Option<String>,
    /// The version last seen. A change of a node with a version is refused if another one stands there by now, where the
    /// storage can do that ([`crate::Can::CONDITIONAL`]); without one, it goes ahead whatever stands there.
    pub version: Option<Version>,
    /// As the entry said.
    pub size: Option<u64>,
}

impl Node {
    /// The node of an entry that was seen at this path.
    pub fn of(path: Path, entry: &Entry) -> Node {
        Node { path, kind: entry.kind, cookie: entry.cookie.clone(), version: entry.version.clone(), size: entry.size }
    }

    /// The root directory.
    pub fn root() -> Node {
        Node { path: Path::ROOT, kind: Kind::Directory, cookie: None, version: None, size: None }
    }
}

/// A piece of a list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    /// In any order, none twice, not even over pages.
    pub entries: Vec<Entry>,
    /// Where to go on; absent at the end, and only there. A page may be empty and still have a next.
    pub next: Option<Cursor>,
}

// `Cursor` has no default on purpose: a list begins without one.

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_1970_survives_the_way_there_and_back() {
        let time = Timestamp { seconds: -2, nanoseconds: 250_000_000 };
        assert_eq!(Timestamp::from(std::time::SystemTime::from(time)), time);
    }

    #[test]
    fn time_is_cut_to_the_step_of_the_provider() {
        let time = Timestamp { seconds: 5, nanoseconds: 123_456_789 };
        assert_eq!(time.truncated(1_000_000).nanoseconds, 123_000_000);
        assert_eq!(time.truncated(2_000_000_000), Timestamp { seconds: 4, nanoseconds: 0 });
    }

    #[test]
    fn a_file_without_a_version_gets_a_weak_one() {
        let entry = Entry::file("a", 3).with_some_version();
        assert!(entry.notes.contains(Notes::WEAK_VERSION));
        assert!(entry.version.is_some());
        assert!(Entry::directory("d").with_some_version().version.is_none());
    }
}
