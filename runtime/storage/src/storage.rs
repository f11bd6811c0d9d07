//! The trait that natives, wrappers and guests are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Body, Cursor, Entry, Error, Features, News, Node, Page, Path, Result, Source, Span, Timestamp, WriteLog};

/// Whom the provider takes us for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Identity {
    /// The account's id at the provider, the same for every credential of this account and for no other.
    pub account: Option<String>,
    /// For people: a name or an address.
    pub display: Option<String>,
}

/// How much room there is, in bytes and objects; absent where the provider does not say or does not limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Room {
    pub total: Option<u64>,
    pub used: Option<u64>,
    pub free: Option<u64>,
    pub trashed: Option<u64>,
    pub objects: Option<u64>,
}

/// What shall be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteIntent {
    /// Where. The directory that holds it exists.
    pub path: Path,
    /// What is known to stand there; absent if nothing does. Where [`crate::Can::CONDITIONAL`] is promised, another version
    /// (or anything where nothing was seen) is refused as a failed precondition.
    pub existing: Option<Node>,
    /// The time to be kept.
    pub modified: Option<Timestamp>,
    /// The media type, `application/octet-stream` if nothing better is known.
    pub media_type: String,
}

/// A live object that one can list, read and write.
///
/// Every call ends: with an answer, or with an error after a stated time. `Ok(None)` means that the storage said so. Any
/// call may be dropped at any point; a change that was under way may then have happened or not. Retries of passing
/// failures are the storage's own business: an error that comes out is meant.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// What it can do. The same for the whole life of the object.
    fn features(&self) -> Arc<Features>;

    /// Whether it works: reachable, credential accepted, root present. Writes nothing.
    async fn probe(&self) -> Result<Identity>;

    /// The entry at this path, exact in name, size, time and version; none if there is none. Never lists the directory
    /// where the provider can do better. The root is a directory with an empty name.
    async fn stat(&self, path: &Path) -> Result<Option<Entry>>;

    /// A page of a directory, from the start or from a cursor. A missing directory is `NotFound`, a file `NotADirectory`.
    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page>;

    /// Exactly the bytes of `span`, which lies within the file, all from the version in `file.version`; if that is gone,
    /// `PreconditionFailed`.
    async fn read(&self, file: &Node, span: Span) -> Result<Body>;

    /// Writes a file as a whole and returns the entry as it is afterwards: with the version that this write made.
    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        let _ = (intent, content, log);
        Err(Error::unsupported("write files"))
    }

    /// Removes one file. Missing is `NotFound`, a directory `IsDirectory`.
    async fn remove_file(&self, file: &Node) -> Result<()> {
        let _ = file;
        Err(Error::unsupported("remove files"))
    }

    /// Makes a directory in an existing one. Anything of this name is `AlreadyExists`.
    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        let _ = path;
        Err(Error::unsupported("make directories"))
    }

    /// Removes an empty directory; anything in it is `DirectoryNotEmpty`.
    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        let _ = directory;
        Err(Error::unsupported("remove directories"))
    }

    /// Moves a node to another path. `replaces` is what is known to stand there; anything else there is `AlreadyExists`.
    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let _ = (from, to, replaces);
        Err(Error::unsupported("move files"))
    }

    /// Copies a node to another path, as `move_to` does.
    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let _ = (from, to, replaces);
        Err(Error::unsupported("copy files"))
    }

    /// Sets the modification time and nothing else.
    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        let _ = (node, modified);
        Err(Error::unsupported("set modification times"))
    }

    /// How much room there is.
    async fn room(&self) -> Result<Room> {
        Err(Error::unsupported("tell how much room there is"))
    }

    /// Removes a directory with all that is in it. Missing is `NotFound`, a file `NotADirectory`.
    async fn purge(&self, directory: &Node) -> Result<()> {
        let _ = directory;
        Err(Error::unsupported("remove a directory with all that is in it"))
    }

    /// A URL under which anyone can read the node, ending after this time; `Unsupported` where the provider cannot end it.
    async fn link(&self, node: &Node, lives: Option<Duration>) -> Result<String> {
        let _ = (node, lives);
        Err(Error::unsupported("make links for the public"))
    }

    /// Takes the links of a node back.
    async fn unlink(&self, node: &Node) -> Result<()> {
        let _ = node;
        Err(Error::unsupported("take links back"))
    }

    /// Empties the trash below a directory and removes what interrupted writes left there, as far as the provider tells
    /// one directory's from another's.
    async fn clean(&self, directory: &Node) -> Result<()> {
        let _ = directory;
        Err(Error::unsupported("clean up"))
    }

    /// The versions of a file, newest first: a node with an entry's cookie and version reads that version.
    async fn versions(&self, file: &Node, cursor: Option<&Cursor>) -> Result<Page> {
        let _ = (file, cursor);
        Err(Error::unsupported("list old versions"))
    }

    /// What happened since a cursor; without one, nothing yet and the cursor of now.
    async fn changes(&self, cursor: Option<&Cursor>) -> Result<News> {
        let _ = cursor;
        Err(Error::unsupported("tell what changed"))
    }
}
