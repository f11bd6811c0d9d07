//! A storage whose inside can be exchanged: what is mounted goes on with a new credential from the next call on.
#![deny(clippy::missing_trait_methods)]

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use causeway_storage::{
    Body, Cursor, Entry, Features, Identity, Node, Page, Path, Result, Room, Source, Span, Storage, Timestamp,
    WriteIntent, WriteLog,
};

/// A storage that stands for whichever is current.
#[derive(Debug)]
pub(crate) struct Switch(RwLock<Arc<dyn Storage>>);

impl Switch {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Switch {
        Switch(RwLock::new(storage))
    }

    /// Calls under way end with the storage that they began with.
    pub(crate) fn exchange(&self, storage: Arc<dyn Storage>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = storage;
    }

    fn now(&self) -> Arc<dyn Storage> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Storage for Switch {
    fn features(&self) -> Arc<Features> {
        self.now().features()
    }

    async fn probe(&self) -> Result<Identity> {
        self.now().probe().await
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        self.now().stat(path).await
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        self.now().list(directory, cursor).await
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        self.now().read(file, span).await
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        self.now().write(intent, content, log).await
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.now().remove_file(file).await
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.now().make_directory(path).await
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        self.now().remove_directory(directory).await
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.now().move_to(from, to, replaces).await
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.now().copy_to(from, to, replaces).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.now().set_modified(node, modified).await
    }

    async fn room(&self) -> Result<Room> {
        self.now().room().await
    }
}
