//! A storage whose inside can be exchanged: what is mounted goes on with a new credential from the next call on. It tells
//! how each call went to whoever keeps how the backend fares.
#![deny(clippy::missing_trait_methods)]

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use causeway_storage::{
    Body, Cursor, Entry, Features, Identity, News, Node, Page, Path, Result, Room, Source, Span, Storage, Timestamp,
    WriteIntent, WriteLog,
};
use futures::TryStreamExt;

use crate::health::Health;

/// A storage that stands for whichever is current.
#[derive(Debug)]
pub(crate) struct Switch {
    current: RwLock<Arc<dyn Storage>>,
    health: Arc<Health>,
}

impl Switch {
    pub(crate) fn new(storage: Arc<dyn Storage>, health: Arc<Health>) -> Switch {
        Switch { current: RwLock::new(storage), health }
    }

    /// Calls under way end with the storage that they began with.
    pub(crate) fn exchange(&self, storage: Arc<dyn Storage>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = storage;
    }

    fn now(&self) -> Arc<dyn Storage> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Storage for Switch {
    fn features(&self) -> Arc<Features> {
        self.now().features()
    }

    async fn probe(&self) -> Result<Identity> {
        self.health.during(self.now().probe()).await
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        self.health.during(self.now().stat(path)).await
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        self.health.during(self.now().list(directory, cursor)).await
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        let body = self.health.during(self.now().read(file, span)).await?;
        let health = self.health.clone();
        Ok(Box::pin(body.inspect_err(move |error| health.failed(error))))
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        // Not watched for being given up: a long write is stopped with the program.
        let written = self.now().write(intent, content, log).await;
        match &written {
            Ok(_) => self.health.succeeded(),
            Err(error) => self.health.failed(error),
        }
        written
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.health.during(self.now().remove_file(file)).await
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.health.during(self.now().make_directory(path)).await
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        self.health.during(self.now().remove_directory(directory)).await
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.health.during(self.now().move_to(from, to, replaces)).await
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.health.during(self.now().copy_to(from, to, replaces)).await
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.health.during(self.now().set_modified(node, modified)).await
    }

    async fn room(&self) -> Result<Room> {
        self.health.during(self.now().room()).await
    }

    async fn purge(&self, directory: &Node) -> Result<()> {
        self.health.during(self.now().purge(directory)).await
    }

    async fn link(&self, node: &Node, lives: Option<Duration>) -> Result<String> {
        self.health.during(self.now().link(node, lives)).await
    }

    async fn unlink(&self, node: &Node) -> Result<()> {
        self.health.during(self.now().unlink(node)).await
    }

    async fn clean(&self, directory: &Node) -> Result<()> {
        self.health.during(self.now().clean(directory)).await
    }

    async fn versions(&self, file: &Node, cursor: Option<&Cursor>) -> Result<Page> {
        self.health.during(self.now().versions(file, cursor)).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<News> {
        self.health.during(self.now().changes(cursor)).await
    }
}
