//! A storage over one that works, which on demand fails, loses answers, and can less than it could.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use causeway_storage::{
    Algorithm, Body, Can, Change, Cursor, DigestValue, Entry, Error, ErrorKind, Features, Identity, Kind, MemorySource,
    News, Node, Page, Path, Result, Room, Source, Span, Storage, Timestamp, WriteIntent, WriteLog, WriteLogNone,
    collect,
};

/// What is made of an answer with content.
type Alter = fn(Body) -> Body;

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Storage>,
    features: Arc<Features>,
    failing: AtomicBool,
    failing_pages: AtomicBool,
    refusing: AtomicBool,
    /// Of a thousand calls, so many fail before anything happens.
    fails: AtomicU64,
    /// Of a thousand changes, so many happen and their answer is lost.
    loses: AtomicU64,
    random: AtomicU64,
    /// No call ends.
    hanging: AtomicBool,
    /// Calls that did not end.
    hung: AtomicU64,
    /// The next change happens and its answer is lost.
    losing_next: AtomicBool,
    /// Entries carry the MD5 of their content.
    digests: AtomicBool,
    /// Versions contain the modification time.
    timed: AtomicBool,
    /// The next write is a panic.
    panicking: AtomicBool,
    /// What is written is said to have another size.
    misreporting: AtomicBool,
    /// After the next copy, someone else puts this there.
    after_copy: Mutex<Option<(&'static str, &'static [u8])>>,
    /// What becomes of answers with content.
    altering: Mutex<Option<Alter>>,
    /// What was asked of contents.
    reads: Mutex<Vec<Span>>,
    /// Single entries that were asked for.
    stats: Mutex<Vec<Path>>,
    /// Directories of which a first page was asked for.
    lists: Mutex<Vec<Path>>,
    /// What a feed tells, where there is one.
    feed: Mutex<Vec<Change>>,
    feed_fails: AtomicBool,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Faulty {
        Faulty::without(inner, Can::empty())
    }

    /// One that cannot do this.
    pub(crate) fn without(inner: Arc<dyn Storage>, cannot: Can) -> Faulty {
        let mut features = (*inner.features()).clone();
        features.can -= cannot;
        Faulty {
            inner,
            features: Arc::new(features),
            failing: AtomicBool::new(false),
            failing_pages: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            fails: AtomicU64::new(0),
            loses: AtomicU64::new(0),
            random: AtomicU64::new(0x2545_f491_4f6c_dd1d),
            hanging: AtomicBool::new(false),
            hung: AtomicU64::new(0),
            losing_next: AtomicBool::new(false),
            digests: AtomicBool::new(false),
            timed: AtomicBool::new(false),
            panicking: AtomicBool::new(false),
            misreporting: AtomicBool::new(false),
            after_copy: Mutex::default(),
            altering: Mutex::default(),
            reads: Mutex::default(),
            stats: Mutex::default(),
            lists: Mutex::default(),
            feed: Mutex::default(),
            feed_fails: AtomicBool::new(false),
        }
    }

    /// One that has a feed of changes, which tells what [`Faulty::tell`] was told.
    pub(crate) fn with_feed(inner: Arc<dyn Storage>) -> Faulty {
        let mut faulty = Faulty::new(inner);
        let mut features = (*faulty.features).clone();
        features.can |= Can::CHANGES;
        faulty.features = Arc::new(features);
        faulty
    }

    /// The feed tells this from now on.
    pub(crate) fn tell(&self, change: Change) {
        self.feed.lock().unwrap().push(change);
    }

    /// From now on, the feed alone fails, or it works.
    pub(crate) fn fail_feed(&self, failing: bool) {
        self.feed_fails.store(failing, Ordering::SeqCst);
    }

    /// Single entries that were asked for since the last call.
    pub(crate) fn take_stats(&self) -> Vec<Path> {
        std::mem::take(&mut self.stats.lock().unwrap())
    }

    /// Directories of which a list was begun since the last call.
    pub(crate) fn take_lists(&self) -> Vec<Path> {
        std::mem::take(&mut self.lists.lock().unwrap())
    }

    /// Someone else removes a file, past everything.
    pub(crate) async fn remove(&self, path: &str) {
        let path = Path::parse(path).unwrap();
        let entry = self.inner.stat(&path).await.unwrap().unwrap();
        self.inner.remove_file(&Node::of(path, &entry)).await.unwrap();
    }

    /// Someone else makes a directory, past everything.
    pub(crate) async fn make(&self, path: &str) {
        self.inner.make_directory(&Path::parse(path).unwrap()).await.unwrap();
    }

    /// As the storage below shows it.
    pub(crate) async fn entry(&self, path: &str) -> Entry {
        self.inner.stat(&Path::parse(path).unwrap()).await.unwrap().unwrap()
    }

    /// From now on, so many of a thousand calls fail, and of a thousand changes lose their answers.
    pub(crate) fn disturb(&self, fails: u64, loses: u64) {
        self.fails.store(fails, Ordering::SeqCst);
        self.loses.store(loses, Ordering::SeqCst);
    }

    fn happens(&self, of_thousand: u64) -> bool {
        let number = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mixed = (number ^ (number >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 29)) % 1000 < of_thousand
    }

    /// The answer of a change, unless it gets lost.
    fn answer<T>(&self, done: T) -> Result<T> {
        if self.losing_next.swap(false, Ordering::SeqCst) || self.happens(self.loses.load(Ordering::SeqCst)) {
            return Err(Error::new(ErrorKind::Unavailable(None), "the answer got lost"));
        }
        Ok(done)
    }

    /// Where empty directories do not exist, one goes with its last entry.
    async fn prune(&self, path: &Path) {
        if self.features.can.contains(Can::EMPTY_DIRECTORIES) {
            return;
        }
        for above in std::iter::successors(path.parent(), Path::parent).filter(|above| !above.is_root()) {
            let Ok(Some(entry)) = self.inner.stat(&above).await else { return };
            if self.inner.remove_directory(&Node::of(above, &entry)).await.is_err() {
                return;
            }
        }
    }

    /// From now on, every call fails as if nothing answered, or none does.
    pub(crate) fn fail_all(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// From now on, content is refused for good, or taken.
    pub(crate) fn refuse_content(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::SeqCst);
    }

    /// What the storage below has.
    pub(crate) async fn stored(&self, path: &Path) -> Option<Vec<u8>> {
        let entry = self.inner.stat(path).await.unwrap()?;
        let size = entry.size.unwrap();
        let body = self.inner.read(&Node::of(path.clone(), &entry), Span::new(0, size)).await.unwrap();
        Some(collect(body, size as usize).await.unwrap().to_vec())
    }

    /// Someone else puts content there, past everything.
    pub(crate) async fn put(&self, path: &str, content: &'static [u8]) {
        self.replace(path, content).await;
    }

    /// The same, with content of the moment.
    pub(crate) async fn replace(&self, path: &str, content: &[u8]) {
        let intent = WriteIntent {
            path: Path::parse(path).unwrap(),
            existing: None,
            modified: None,
            media_type: "text/plain".into(),
        };
        if let Some(entry) = self.inner.stat(&intent.path).await.unwrap() {
            self.inner.remove_file(&Node::of(intent.path.clone(), &entry)).await.unwrap();
        }
        let content = Arc::new(MemorySource(Bytes::copy_from_slice(content)));
        self.inner.write(&intent, content, Arc::new(WriteLogNone)).await.unwrap();
    }

    /// All that the storage below has: content, or none for a directory.
    pub(crate) async fn everything(&self) -> std::collections::BTreeMap<String, Option<Vec<u8>>> {
        let mut everything = std::collections::BTreeMap::new();
        let mut left = vec![Path::ROOT];
        while let Some(directory) = left.pop() {
            let page = self.inner.list(&directory, None).await.unwrap();
            assert!(page.next.is_none(), "a small storage has one page");
            for entry in page.entries {
                let path = directory.child(&entry.name).unwrap();
                let content = if entry.kind == Kind::File { self.stored(&path).await } else { None };
                everything.insert(path.to_string(), content);
                if entry.kind == Kind::Directory {
                    left.push(path);
                }
            }
        }
        everything
    }

    /// From now on, every page of a list but the first fails.
    pub(crate) fn fail_later_pages(&self) {
        self.failing_pages.store(true, Ordering::SeqCst);
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

    /// From now on, no call ends, or they do again; those that hang go on hanging.
    pub(crate) fn hang(&self, hanging: bool) {
        self.hanging.store(hanging, Ordering::SeqCst);
    }

    /// How many calls never ended so far.
    pub(crate) fn hung(&self) -> u64 {
        self.hung.load(Ordering::SeqCst)
    }

    /// The next change happens, and its answer gets lost.
    pub(crate) fn lose_next(&self) {
        self.losing_next.store(true, Ordering::SeqCst);
    }

    /// Whether the answer that was to be lost was.
    pub(crate) fn has_lost(&self) -> bool {
        !self.losing_next.load(Ordering::SeqCst)
    }

    /// From now on, entries carry the MD5 of their content.
    pub(crate) fn show_digests(&self) {
        self.digests.store(true, Ordering::SeqCst);
    }

    /// The next write panics.
    pub(crate) fn panic_next(&self) {
        self.panicking.store(true, Ordering::SeqCst);
    }

    /// From now on, what is written is said to have another size, or its own.
    pub(crate) fn misreport_sizes(&self, misreporting: bool) {
        self.misreporting.store(misreporting, Ordering::SeqCst);
    }

    /// Right after the next copy, someone else puts content there, past everything.
    pub(crate) fn put_after_copy(&self, path: &'static str, content: &'static [u8]) {
        *self.after_copy.lock().unwrap() = Some((path, content));
    }

    /// From now on, this is made of answers with content, or nothing.
    pub(crate) fn alter_content(&self, alter: Option<Alter>) {
        *self.altering.lock().unwrap() = alter;
    }

    /// From now on, versions contain the modification time, as those of a local file system do.
    pub(crate) fn time_versions(&self) {
        self.timed.store(true, Ordering::SeqCst);
    }

    /// An entry of the storage below as it is shown.
    fn shown(&self, mut entry: Entry) -> Entry {
        if self.timed.load(Ordering::SeqCst)
            && let Some((version, modified)) = entry.version.as_mut().zip(entry.modified)
        {
            version.0 = format!("{}@{}.{:09}", version.0, modified.seconds, modified.nanoseconds);
        }
        entry
    }

    /// What was shown as the storage below knows it, if it still is that.
    async fn known(&self, node: &Node) -> Result<Node> {
        if node.version.is_none() || !self.timed.load(Ordering::SeqCst) {
            return Ok(node.clone());
        }
        let entry = self.inner.stat(&node.path).await?.ok_or_else(|| Error::not_found(&node.path))?;
        let version = entry.version.clone();
        match self.shown(entry).version == node.version {
            true => Ok(Node { version, ..node.clone() }),
            false => Err(Error::new(ErrorKind::PreconditionFailed, "it has changed")),
        }
    }

    /// The same of what may be replaced.
    async fn replaced(&self, node: Option<&Node>) -> Result<Option<Node>> {
        let Some(node) = node else { return Ok(None) };
        match self.known(node).await {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Some(node.clone())),
            known => known.map(Some),
        }
    }

    /// The spans of content that were asked for so far.
    pub(crate) fn reads(&self) -> Vec<Span> {
        self.reads.lock().unwrap().clone()
    }

    async fn check(&self) -> Result<()> {
        if self.hanging.load(Ordering::SeqCst) {
            self.hung.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        if self.failing.load(Ordering::SeqCst) || self.happens(self.fails.load(Ordering::SeqCst)) {
            return Err(Error::new(ErrorKind::Unavailable(None), "nobody answers"));
        }
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Storage for Faulty {
    fn features(&self) -> Arc<Features> {
        self.features.clone()
    }

    async fn probe(&self) -> Result<Identity> {
        self.check().await?;
        self.inner.probe().await
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        self.stats.lock().unwrap().push(path.clone());
        self.check().await?;
        let mut entry = self.inner.stat(path).await?.map(|entry| self.shown(entry));
        if self.digests.load(Ordering::SeqCst)
            && let Some(entry) = entry.as_mut().filter(|entry| entry.kind == Kind::File)
        {
            let content = self.stored(path).await.unwrap_or_default();
            let value = causeway_digest::digest_bytes(Algorithm::Md5, &content);
            entry.digests = vec![DigestValue { algorithm: Algorithm::Md5, value }];
        }
        Ok(entry)
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        if cursor.is_none() {
            self.lists.lock().unwrap().push(directory.clone());
        }
        self.check().await?;
        if cursor.is_some() && self.failing_pages.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable(None), "nobody answers any more"));
        }
        let page = self.inner.list(directory, cursor).await?;
        let entries = page.entries.into_iter().map(|entry| self.shown(entry)).collect();
        Ok(Page { entries, ..page })
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        self.check().await?;
        self.reads.lock().unwrap().push(span);
        let body = self.inner.read(&self.known(file).await?, span).await?;
        let alter = *self.altering.lock().unwrap();
        Ok(match alter {
            Some(alter) => alter(body),
            None => body,
        })
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, log: Arc<dyn WriteLog>) -> Result<Entry> {
        self.check().await?;
        assert!(!self.panicking.swap(false, Ordering::SeqCst), "a storage that panics");
        if self.refusing.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Invalid, "the name is not allowed"));
        }
        let existing = self.replaced(intent.existing.as_ref()).await?;
        let written = self.inner.write(&WriteIntent { existing, ..intent.clone() }, content, log).await?;
        let mut written = self.shown(written);
        if self.misreporting.load(Ordering::SeqCst) {
            written.size = written.size.map(|size| size + 1);
        }
        self.answer(written)
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.check().await?;
        self.inner.remove_file(&self.known(file).await?).await?;
        self.prune(&file.path).await;
        self.answer(())
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.check().await?;
        self.answer(self.inner.make_directory(path).await?)
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        self.check().await?;
        self.answer(self.inner.remove_directory(directory).await?)
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.check().await?;
        let replaces = self.replaced(replaces).await?;
        let moved = self.inner.move_to(&self.known(from).await?, to, replaces.as_ref()).await?;
        self.prune(&from.path).await;
        self.answer(self.shown(moved))
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.check().await?;
        let replaces = self.replaced(replaces).await?;
        let copied = self.inner.copy_to(&self.known(from).await?, to, replaces.as_ref()).await?;
        let after = self.after_copy.lock().unwrap().take();
        if let Some((path, content)) = after {
            self.put(path, content).await;
        }
        self.answer(self.shown(copied))
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.check().await?;
        let set = self.inner.set_modified(&self.known(node).await?, modified).await?;
        self.answer(self.shown(set))
    }

    async fn room(&self) -> Result<Room> {
        self.check().await?;
        self.inner.room().await
    }

    async fn purge(&self, directory: &Node) -> Result<()> {
        self.check().await?;
        self.answer(self.inner.purge(directory).await?)
    }

    async fn link(&self, node: &Node, lives: Option<Duration>) -> Result<String> {
        self.check().await?;
        self.inner.link(node, lives).await
    }

    async fn unlink(&self, node: &Node) -> Result<()> {
        self.check().await?;
        self.inner.unlink(node).await
    }

    async fn clean(&self, directory: &Node) -> Result<()> {
        self.check().await?;
        self.inner.clean(directory).await
    }

    async fn versions(&self, file: &Node, cursor: Option<&Cursor>) -> Result<Page> {
        self.check().await?;
        self.inner.versions(file, cursor).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<News> {
        self.check().await?;
        if self.feed_fails.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::RateLimited(None), "the feed is busy"));
        }
        if !self.features.can.contains(Can::CHANGES) {
            return self.inner.changes(cursor).await;
        }
        let told = self.feed.lock().unwrap();
        let changes = match cursor {
            None => Vec::new(),
            Some(Cursor(cursor)) => told.get(cursor.parse().unwrap()..).unwrap().to_vec(),
        };
        Ok(News { changes, cursor: Cursor(told.len().to_string()), more: false })
    }
}
