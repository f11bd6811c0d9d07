//! Where a case works: a directory of its own, the storage, and the small steps that cases are made of. Each step checks what it
//! is told, so that a case that passes has seen the promises of all its steps kept.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_storage::{
    Can, Entry, Error, ErrorKind, Features, Kind, MemorySource, Node, Notes, Path, Span, Storage, Timestamp,
    WriteIntent, WriteLog, collect,
};

use crate::{Flaw, Outcome, Storm, Subject};

/// The largest content that a case reads back whole.
const MOST_BYTES: usize = 64 << 20;

/// Says what is wrong unless this holds.
macro_rules! ensure {
    ($holds:expr, $($told:tt)*) => {
        if !$holds {
            return Err($crate::Flaw(format!($($told)*)));
        }
    };
}
pub(crate) use ensure;

/// What a case has to work with.
pub struct Ground {
    pub(crate) subject: Arc<Subject>,
    /// The storage, opened for this case.
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) features: Arc<Features>,
    /// The case's own directory; made, where directories can be.
    pub(crate) root: Path,
}

impl Ground {
    pub(crate) async fn prepare(subject: Arc<Subject>, case: &str) -> Result<Ground, Flaw> {
        let storage = subject.open.open().await?;
        let features = storage.features();
        // The suite may run again where an earlier run left something.
        let name = format!("{}-{:x}", case.replace(['/', '.'], "-"), Timestamp::now().nanoseconds);
        let root = child(&subject.root, &name)?;
        if features.can.contains(Can::DIRECTORIES) {
            storage.make_directory(&root).await?;
        }
        Ok(Ground { subject, storage, features, root })
    }

    /// The same ground, for a client with nothing remembered.
    pub(crate) async fn afresh(&self) -> Result<Ground, Flaw> {
        Ok(Ground { storage: self.another().await?, ..self.same() })
    }

    /// Another client of the same backend, with nothing remembered.
    pub(crate) async fn another(&self) -> Result<Arc<dyn Storage>, Flaw> {
        Ok(self.subject.open.open().await?)
    }

    pub(crate) fn can(&self, can: Can) -> bool {
        self.features.can.contains(can)
    }

    pub(crate) fn storm(&self) -> Result<&Storm, Flaw> {
        self.subject.storm.as_deref().ok_or_else(|| Flaw("there is no storm to be had".into()))
    }

    /// A path in the case's directory.
    pub(crate) fn at(&self, below: &str) -> Result<Path, Flaw> {
        below.split('/').try_fold(self.root.clone(), |path, name| child(&path, name))
    }

    /// Makes a directory; where directories are made of what is in them, there is nothing to check.
    pub(crate) async fn directory(&self, below: &str) -> Result<Path, Flaw> {
        let path = self.at(below)?;
        let made = self.storage.make_directory(&path).await?;
        ensure!(made.kind == Kind::Directory, "making the directory {path} answered {made:?}");
        ensure!(Some(made.name.as_str()) == path.name(), "the directory {path} was made as \"{}\"", made.name);
        Ok(path)
    }

    /// Writes a file and checks what the storage says about it then.
    pub(crate) async fn put(&self, below: &str, content: &[u8]) -> Result<Node, Flaw> {
        let path = self.at(below)?;
        let entry = self.write(&path, content, None, None).await?;
        Ok(Node::of(path, &entry))
    }

    /// Writes over what stands there.
    pub(crate) async fn replace(&self, node: &Node, content: &[u8]) -> Result<Node, Flaw> {
        let entry = self.write(&node.path, content, Some(node.clone()), None).await?;
        Ok(Node::of(node.path.clone(), &entry))
    }

    pub(crate) async fn write(
        &self,
        path: &Path,
        content: &[u8],
        existing: Option<Node>,
        modified: Option<Timestamp>,
    ) -> Result<Entry, Flaw> {
        let entry = self.try_write(path, content, existing, modified).await?;
        ensure!(entry.kind == Kind::File, "writing {path} made {entry:?}");
        ensure!(Some(entry.name.as_str()) == path.name(), "{path} was written as \"{}\"", entry.name);
        ensure!(entry.version.is_some(), "the entry after writing {path} has no version");
        self.check_entry(&entry, content, path)?;
        Ok(entry)
    }

    /// The bare call.
    pub(crate) async fn try_write(
        &self,
        path: &Path,
        content: &[u8],
        existing: Option<Node>,
        modified: Option<Timestamp>,
    ) -> Result<Entry, Error> {
        let source = Arc::new(MemorySource(Bytes::copy_from_slice(content)));
        let intent =
            WriteIntent { path: path.clone(), existing, modified, media_type: "application/octet-stream".into() };
        self.storage.write(&intent, source, Arc::new(Kept::default())).await
    }

    /// Size and digests of an entry must be those of its content.
    pub(crate) fn check_entry(&self, entry: &Entry, content: &[u8], path: &Path) -> Outcome {
        if let Some(size) = entry.size.filter(|_| !entry.notes.contains(Notes::INEXACT_SIZE)) {
            ensure!(size == content.len() as u64, "{path} is shown with {size} bytes and has {}", content.len());
        }
        for digest in &entry.digests {
            let source = MemorySource(Bytes::copy_from_slice(content));
            let whole = [Span::new(0, content.len() as u64)];
            let right = causeway_digest::digest_source(&source, digest.algorithm, &whole).map_err(Error::from)?;
            ensure!(digest.value == right, "{path} is shown with a wrong {:?}", digest.algorithm);
        }
        Ok(())
    }

    /// What stands at a path, which must be something.
    pub(crate) async fn stat(&self, path: &Path) -> Result<Entry, Flaw> {
        let found = self.storage.stat(path).await?;
        found.ok_or_else(|| Flaw(format!("{path} is not there")))
    }

    pub(crate) async fn node(&self, path: &Path) -> Result<Node, Flaw> {
        Ok(Node::of(path.clone(), &self.stat(path).await?))
    }

    /// Nothing stands at a path any more.
    pub(crate) async fn gone(&self, path: &Path) -> Outcome {
        self.settled(async || match self.storage.stat(path).await? {
            None => Ok(()),
            Some(entry) => Err(Flaw(format!("{path} should not be there: {entry:?}"))),
        })
        .await
    }

    /// A file stands at a path with this content, by every way of looking at it.
    pub(crate) async fn holds(&self, path: &Path, content: &[u8]) -> Outcome {
        self.settled(async || {
            let entry = self.stat(path).await?;
            ensure!(entry.kind == Kind::File, "{path} should be a file: {entry:?}");
            self.check_entry(&entry, content, path)?;
            let read = self.read(&Node::of(path.clone(), &entry)).await?;
            ensure!(read == content, "{path} has other content than was written{}", difference(&read, content));
            Ok(())
        })
        .await
    }

    /// All of a file.
    pub(crate) async fn read(&self, node: &Node) -> Result<Bytes, Flaw> {
        let size = match node.size {
            Some(size) => size,
            None => self.stat(&node.path).await?.size.unwrap_or(0),
        };
        Ok(self.read_span(node, Span::new(0, size)).await?)
    }

    /// The bare call.
    pub(crate) async fn read_span(&self, node: &Node, span: Span) -> Result<Bytes, Error> {
        let bytes = collect(self.storage.read(node, span).await?, MOST_BYTES).await?;
        if bytes.len() as u64 == span.size {
            return Ok(bytes);
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{} bytes were asked for and {} came", span.size, bytes.len())))
    }

    /// The whole directory, over all pages; no name may come twice.
    pub(crate) async fn list(&self, directory: &Path) -> Result<Vec<Entry>, Flaw> {
        let entries = list(&*self.storage, directory).await?;
        let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair.first() == pair.last());
        ensure!(twice.is_none(), "the list of {directory} holds a name twice: {twice:?}");
        Ok(entries)
    }

    /// A directory holds exactly these names.
    pub(crate) async fn lists(&self, directory: &Path, names: &[&str]) -> Outcome {
        let mut wanted: Vec<&str> = names.to_vec();
        wanted.sort_unstable();
        self.settled(async || {
            let entries = match self.list(directory).await {
                // Where directories are made of what is in them, one with nothing in it is not there.
                Err(_) if names.is_empty() && !self.can(Can::EMPTY_DIRECTORIES) => Vec::new(),
                entries => entries?,
            };
            let mut seen: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            seen.sort_unstable();
            ensure!(seen == wanted, "{directory} should hold {wanted:?} and holds {seen:?}");
            Ok(())
        })
        .await
    }

    /// Checks, and again for as long as the storage says that it may show what was before.
    pub(crate) async fn settled(&self, check: impl AsyncFn() -> Outcome) -> Outcome {
        let until = Instant::now() + Duration::from_millis(self.features.lag_ms.into());
        loop {
            match check().await {
                Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(200)).await,
                ended => return ended,
            }
        }
    }

    /// Removes the case's directory.
    pub(crate) async fn tidy(&self) -> Outcome {
        remove_tree(&*self.storage, &self.root, self.can(Can::REMOVE | Can::DIRECTORIES)).await
    }
}

/// The directory over all pages.
pub(crate) async fn list(storage: &dyn Storage, directory: &Path) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut cursor = None;
    loop {
        let page = storage.list(directory, cursor.as_ref()).await?;
        entries.extend(page.entries);
        match page.next {
            None => return Ok(entries),
            next => cursor = next,
        }
    }
}

async fn remove_tree(storage: &dyn Storage, directory: &Path, able: bool) -> Outcome {
    if !able {
        return Ok(());
    }
    // A file that a directory of its name hid is seen only when that is gone.
    for _ in 0..2 {
        remove_entries(storage, directory).await?;
    }
    let node = storage.stat(directory).await?.map(|entry| Node::of(directory.clone(), &entry));
    match node {
        Some(node) => let_go(storage.remove_directory(&node).await),
        None => Ok(()),
    }
}

async fn remove_entries(storage: &dyn Storage, directory: &Path) -> Outcome {
    let entries = match list(storage, directory).await {
        Err(Error { kind: ErrorKind::NotFound, .. }) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = child(directory, &entry.name)?;
        let node = Node { version: None, ..Node::of(path.clone(), &entry) };
        let removed = match entry.kind {
            Kind::File => storage.remove_file(&node).await,
            Kind::Directory => Box::pin(remove_tree(storage, &path, true)).await.map(|()| Ok(()))?,
        };
        let_go(removed)?;
    }
    Ok(())
}

/// What is gone already need not be removed.
fn let_go(removed: Result<(), Error>) -> Outcome {
    match removed {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

pub(crate) fn child(path: &Path, name: &str) -> Result<Path, Flaw> {
    path.child(name).map_err(|error| Flaw(format!("\"{name}\": {error}")))
}

/// A call must have failed, and so.
pub(crate) fn refused<T: Debug>(what: &str, result: Result<T, Error>, kinds: &[ErrorKind]) -> Outcome {
    match result {
        Err(error) if kinds.iter().any(|kind| same_kind(*kind, error.kind)) => Ok(()),
        Err(error) => Err(Flaw(format!("{what} must fail as {kinds:?} and failed as {error:?}"))),
        Ok(answer) => Err(Flaw(format!("{what} must fail as {kinds:?} and answered {answer:?}"))),
    }
}

fn same_kind(one: ErrorKind, other: ErrorKind) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// Content that is different for every seed and never repeats within a part.
pub(crate) fn content(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut content: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next()).collect();
    content.truncate(bytes);
    content
}

fn difference(read: &[u8], written: &[u8]) -> String {
    match read.iter().zip(written).position(|(read, written)| read != written) {
        Some(at) => format!(": the first difference is at byte {at} of {}", written.len()),
        None => format!(": {} bytes instead of {}", read.len(), written.len()),
    }
}

/// The log of a write, as a journal keeps it.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<Vec<u8>>>);

impl Kept {
    pub(crate) fn holding(record: &[u8]) -> Kept {
        Kept(Mutex::new(Some(record.to_vec())))
    }
}

#[async_trait::async_trait]
impl WriteLog for Kept {
    async fn load(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, record: &[u8]) -> Result<(), Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(record.to_vec());
        Ok(())
    }
}

impl Ground {
    /// The same place, for another client.
    pub(crate) fn same(&self) -> Ground {
        Ground {
            subject: self.subject.clone(),
            storage: self.storage.clone(),
            features: self.features.clone(),
            root: self.root.clone(),
        }
    }

    /// The name of the nth file that `fill` makes.
    pub(crate) fn nth(at: usize) -> String {
        format!("file-{at:05}")
    }

    /// Makes many small files, side by side.
    pub(crate) async fn fill(&self, many: usize) -> Outcome {
        use futures::{StreamExt, TryStreamExt};
        let put = |at: usize| async move { self.put(&Ground::nth(at), &content(at as u64, 12)).await.map(|_| ()) };
        futures::stream::iter((0..many).map(put)).buffer_unordered(8).try_collect().await
    }

    /// Lets so much time go by that what the storage may still know from a moment ago is no answer any more.
    pub(crate) async fn outlast_what_was_heard(&self) {
        tokio::time::sleep(Duration::from_millis(self.features.lag_ms.into())).await;
    }

    /// Waits for as long as changes believe a way of ids without asking; where there are no ids nothing is believed.
    pub(crate) async fn outlast_a_way(&self, seen: &Node) {
        if seen.cookie.is_some() {
            tokio::time::sleep(Duration::from_secs(31)).await;
        }
    }
}
