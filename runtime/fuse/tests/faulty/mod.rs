//! A storage that fails on demand, over one that works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use causeway_storage::{
    Body, Cursor, Entry, Error, ErrorKind, Features, Identity, MemorySource, Node, Page, Path, Result, Room, Source,
    Span, Storage, Timestamp, WriteIntent, WriteLog, WriteLogNone, collect,
};

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Storage>,
    failing: AtomicBool,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Faulty {
        Faulty { inner, failing: AtomicBool::new(false) }
    }

    /// From now on, every call fails as if nothing answered, or none does.
    pub(crate) fn fail_all(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// What the storage below has.
    pub(crate) async fn stored(&self, path: &Path) -> Option<Vec<u8>> {
        let entry = self.inner.stat(path).await.unwrap()?;
        let size = entry.size.unwrap();
        let body = self.inner.read(&Node::of(path.clone(), &entry), Span::new(0, size)).await.unwrap();
        Some(collect(body, size as usize).await.unwrap().to_vec())
    }

    /// Fills the root with so many files, past everything.
    pub(crate) async fn populate(&self, files: usize) {
        for number in 0..files {
            let intent = WriteIntent {
                path: Path::parse(&format!("f{number:06}")).unwrap(),
                existing: None,
                modified: None,
                media_type: "text/plain".into(),
            };
            let content = Arc::new(MemorySource(Bytes::from_static(b"x")));
            self.inner.write(&intent, content, Arc::new(WriteLogNone)).await.unwrap();
        }
    }

    fn check(&self) -> Result<()> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable(None), "nobody answers"));
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Storage for Faulty {
    fn features(&self) -> Arc<Features> {
        self.inner.features()
    }

    async fn probe(&self) -> Result<Identity> {
        self.check()?;
        self.inner.probe().await
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        self.check()?;
        self.inner.stat(path).await
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        self.check()?;
        self.inner.list(directory, cursor).await
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        self.check()?;
        self.inner.read(file, span).await
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        self.check()?;
        self.inner.write(intent, content, log).await
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.check()?;
        self.inner.remove_file(file).await
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.check()?;
        self.inner.make_directory(path).await
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        self.check()?;
        self.inner.remove_directory(directory).await
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.check()?;
        self.inner.move_to(from, to, replaces).await
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.check()?;
        self.inner.copy_to(from, to, replaces).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.check()?;
        self.inner.set_modified(node, modified).await
    }

    async fn room(&self) -> Result<Room> {
        self.check()?;
        self.inner.room().await
    }
}
