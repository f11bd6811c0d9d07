//! A storage seen from one of its directories.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use causeway_native::MemoryStorage;
use causeway_storage::{
    Error, ErrorKind, MemorySource, Node, OpenError, Opening, Path, Provider, Remotes, Settings, Span, Storage, Value,
    WriteIntent, WriteLogNone, collect,
};
use causeway_wrap::{AliasProvider, Rooted};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

async fn put(storage: &dyn Storage, at: &str) {
    let intent = WriteIntent { path: path(at), existing: None, modified: None, media_type: String::new() };
    storage.write(&intent, Arc::new(MemorySource(Bytes::from("x"))), Arc::new(WriteLogNone)).await.unwrap();
}

async fn inner() -> Arc<dyn Storage> {
    let inner = MemoryStorage::new();
    inner.make_directory(&path("a")).await.unwrap();
    inner.make_directory(&path("a/b")).await.unwrap();
    put(&inner, "outside").await;
    Arc::new(inner)
}

#[tokio::test]
async fn every_path_lies_below_the_root() {
    let inner = inner().await;
    let rooted = Rooted::new(inner.clone(), path("a/b"));
    put(&*rooted, "f").await;
    assert!(inner.stat(&path("a/b/f")).await.unwrap().is_some());
    assert_eq!(rooted.stat(&path("outside")).await.unwrap(), None);
    let entry = rooted.stat(&path("f")).await.unwrap().unwrap();
    let body = rooted.read(&Node::of(path("f"), &entry), Span::new(0, 1)).await.unwrap();
    assert_eq!(collect(body, 1).await.unwrap(), "x");
    let moved = rooted.move_to(&Node::of(path("f"), &entry), &path("g"), None).await.unwrap();
    assert_eq!(moved.name, "g");
    assert!(inner.stat(&path("a/b/g")).await.unwrap().is_some());
}

#[tokio::test]
async fn the_root_has_no_name_and_cannot_be_removed() {
    let rooted = Rooted::new(inner().await, path("a/b"));
    assert_eq!(rooted.stat(&Path::ROOT).await.unwrap().unwrap().name, "");
    assert_eq!(rooted.remove_directory(&Node::root()).await.unwrap_err().kind, ErrorKind::Denied);
}

#[tokio::test]
async fn a_root_that_is_not_there_fails_the_probe() {
    let inner = inner().await;
    let kind = |root: &str| Rooted::new(inner.clone(), path(root));
    assert!(kind("a/b").probe().await.is_ok());
    assert_eq!(kind("nothing").probe().await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(kind("outside").probe().await.unwrap_err().kind, ErrorKind::NotADirectory);
}

struct One(Arc<dyn Storage>);

#[async_trait]
impl Remotes for One {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>, Error> {
        match remote.split_once(':') {
            Some(("one", below)) => Ok(Rooted::new(self.0.clone(), path(below))),
            _ => Err(Error::not_found(remote)),
        }
    }
}

#[tokio::test]
async fn an_alias_stands_for_a_place_in_another_backend() {
    let inner = inner().await;
    let open = async |remote: &str| {
        let mut settings = Settings::default();
        settings.set("remote", Value::Text(remote.into()));
        let remotes = Arc::new(One(inner.clone()));
        AliasProvider::new().open(Opening { tenant: "t".into(), backend: "b".into(), settings, remotes }).await
    };
    put(&*open("one:a").await.unwrap(), "f").await;
    assert!(inner.stat(&path("a/f")).await.unwrap().is_some());
    assert!(matches!(open("other:a").await, Err(OpenError::Failed(error)) if error.kind == ErrorKind::NotFound));
    let Err(OpenError::Settings(problems)) = open("a/b").await else { panic!("a remote without a colon was taken") };
    assert_eq!(problems[0].message, "Invalid remote specification: missing ':' separator");
}
