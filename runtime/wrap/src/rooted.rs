//! A storage seen from one of its directories: every path goes down below it, and none can climb out.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use causeway_storage::{
    Body, Cursor, Entry, Error, ErrorKind, Features, Identity, Kind, News, Node, Page, Path, Result, Room, Source,
    Span, Storage, Timestamp, WriteIntent, WriteLog,
};

/// A storage below a directory of another.
#[derive(Debug)]
pub struct Rooted {
    inner: Arc<dyn Storage>,
    root: Path,
}

impl Rooted {
    /// `inner`, seen from `root`; `inner` itself if that is the root.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(inner: Arc<dyn Storage>, root: Path) -> Arc<dyn Storage> {
        if root.is_root() { inner } else { Arc::new(Rooted { inner, root }) }
    }

    fn path(&self, path: &Path) -> Result<Path> {
        self.root.join(path).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
    }

    fn node(&self, node: &Node) -> Result<Node> {
        let Node { path, kind, cookie, version, size } = node.clone();
        Ok(Node { path: self.path(&path)?, kind, cookie, version, size })
    }

    fn maybe_node(&self, node: Option<&Node>) -> Result<Option<Node>> {
        node.map(|node| self.node(node)).transpose()
    }
}

#[async_trait]
impl Storage for Rooted {
    fn features(&self) -> Arc<Features> {
        self.inner.features()
    }

    async fn probe(&self) -> Result<Identity> {
        let identity = self.inner.probe().await?;
        match self.inner.stat(&self.root).await? {
            Some(entry) if entry.kind == Kind::Directory => Ok(identity),
            Some(_) => Err(Error::new(ErrorKind::NotADirectory, format!("{} is a file", self.root))),
            None => Err(Error::not_found(&self.root)),
        }
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        let entry = self.inner.stat(&self.path(path)?).await?;
        // The root has no name, whatever it is called where it lies.
        Ok(entry.map(|entry| if path.is_root() { Entry { name: String::new(), ..entry } } else { entry }))
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        self.inner.list(&self.path(directory)?, cursor).await
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        self.inner.read(&self.node(file)?, span).await
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        let WriteIntent { path, existing, modified, media_type } = intent.clone();
        let existing = self.maybe_node(existing.as_ref())?;
        let intent = WriteIntent { path: self.path(&path)?, existing, modified, media_type };
        self.inner.write(&intent, content, log).await
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.inner.remove_file(&self.node(file)?).await
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.inner.make_directory(&self.path(path)?).await
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        if directory.path.is_root() {
            return Err(Error::new(ErrorKind::Denied, "the root cannot be removed"));
        }
        self.inner.remove_directory(&self.node(directory)?).await
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let replaces = self.maybe_node(replaces)?;
        self.inner.move_to(&self.node(from)?, &self.path(to)?, replaces.as_ref()).await
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        let replaces = self.maybe_node(replaces)?;
        self.inner.copy_to(&self.node(from)?, &self.path(to)?, replaces.as_ref()).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.inner.set_modified(&self.node(node)?, modified).await
    }

    async fn room(&self) -> Result<Room> {
        self.inner.room().await
    }

    async fn purge(&self, directory: &Node) -> Result<()> {
        if directory.path.is_root() {
            return Err(Error::new(ErrorKind::Denied, "the root cannot be removed"));
        }
        self.inner.purge(&self.node(directory)?).await
    }

    async fn link(&self, node: &Node, lives: Option<Duration>) -> Result<String> {
        self.inner.link(&self.node(node)?, lives).await
    }

    async fn unlink(&self, node: &Node) -> Result<()> {
        self.inner.unlink(&self.node(node)?).await
    }

    async fn clean(&self, directory: &Node) -> Result<()> {
        self.inner.clean(&self.node(directory)?).await
    }

    async fn versions(&self, file: &Node, cursor: Option<&Cursor>) -> Result<Page> {
        self.inner.versions(&self.node(file)?, cursor).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<News> {
        let News { changes, cursor, more } = self.inner.changes(cursor).await?;
        let changes = changes.into_iter().filter_map(|change| change.below(&self.root)).collect();
        Ok(News { changes, cursor, more })
    }
}
