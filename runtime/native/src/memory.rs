//! A storage in memory: it is lost when the program ends, and belongs to one backend alone.
//!
//! A sorted map from path to item. A file's bytes are shared with whoever reads them, so a reader keeps its version while
//! a writer puts another in its place.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use causeway_storage::{
    Body, Can, Cursor, Descriptor, Entry, Error, ErrorKind, Features, Identity, Make, Node, OpenError, Opening,
    OptionKind, OptionMarks, OptionSpec, Page, Path, Provider, Result, Room, Source, Span, Storage, Timestamp, Version,
    WriteIntent, WriteLog, body_of,
};

/// The most bytes of content that one backend may hold: it is memory of all tenants.
const MOST_BYTES: u64 = 1 << 30;

/// The most entries in one page of a list, so that a large directory does not become one large answer.
const PAGE: usize = 1000;

/// The provider `memory`. Keeps each backend's content until the backend is deleted.
#[derive(Debug)]
pub struct MemoryProvider {
    descriptor: Descriptor,
    backends: Mutex<HashMap<(String, String), Arc<MemoryStorage>>>,
}

impl MemoryProvider {
    /// The provider, without any backend.
    pub fn new() -> MemoryProvider {
        let description = OptionSpec {
            name: "description".into(),
            kind: OptionKind::Text,
            default: Some(String::new()),
            marks: OptionMarks::empty(),
            help: "Human-readable description of the remote.".into(),
        };
        MemoryProvider {
            descriptor: Descriptor {
                name: "memory".into(),
                backend_type: None,
                aliases: Vec::new(),
                title: "Memory".into(),
                make: Make::Native,
                version: env!("CARGO_PKG_VERSION").into(),
                options: vec![description],
                imports: Vec::new(),
            },
            backends: Mutex::default(),
        }
    }
}

impl Default for MemoryProvider {
    fn default() -> MemoryProvider {
        MemoryProvider::new()
    }
}

#[async_trait]
impl Provider for MemoryProvider {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError> {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        let storage = backends.entry((opening.tenant, opening.backend)).or_default();
        Ok(storage.clone())
    }

    fn forget(&self, tenant: &str, backend: &str) {
        let mut backends = self.backends.lock().unwrap_or_else(PoisonError::into_inner);
        backends.remove(&(tenant.to_owned(), backend.to_owned()));
    }
}

/// The content of one backend.
pub struct MemoryStorage {
    features: Arc<Features>,
    tree: Mutex<Tree>,
}

#[derive(Default)]
struct Tree {
    items: BTreeMap<Path, Item>,
    /// Of all files together.
    bytes: u64,
    /// Counts changes: a file's version.
    changes: u64,
}

#[derive(Clone)]
struct Item {
    /// None for a directory.
    content: Option<Bytes>,
    modified: Timestamp,
    version: u64,
    media_type: String,
}

impl Default for MemoryStorage {
    fn default() -> MemoryStorage {
        MemoryStorage::new()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStorage")
    }
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> MemoryStorage {
        let features = Features {
            can: Can::WRITE
                | Can::REMOVE
                | Can::DIRECTORIES
                | Can::EMPTY_DIRECTORIES
                | Can::MOVE
                | Can::MOVE_DIRECTORIES
                | Can::COPY
                | Can::SET_MODIFIED
                | Can::KEEPS_MODIFIED
                | Can::CONDITIONAL
                | Can::ATOMIC_REPLACE
                | Can::ROOM,
            modified_step_ns: 1,
            largest_bytes: Some(MOST_BYTES),
            ..Features::default()
        };
        MemoryStorage { features: Arc::new(features), tree: Mutex::default() }
    }

    fn with_tree<T>(&self, work: impl FnOnce(&mut Tree) -> Result<T>) -> Result<T> {
        work(&mut self.tree.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Item {
    fn entry(&self, path: &Path) -> Entry {
        let name = path.name().unwrap_or_default();
        let Some(content) = &self.content else {
            return Entry { modified: Some(self.modified), ..Entry::directory(name) };
        };
        Entry {
            modified: Some(self.modified),
            version: Some(Version(self.version.to_string())),
            media_type: Some(self.media_type.clone()),
            ..Entry::file(name, content.len() as u64)
        }
    }
}

impl Tree {
    /// The item at a path; the root is there always.
    fn item(&self, path: &Path) -> Option<Item> {
        if path.is_root() {
            return Some(Item::directory());
        }
        self.items.get(path).cloned()
    }

    fn require(&self, path: &Path) -> Result<Item> {
        self.item(path).ok_or_else(|| Error::not_found(path))
    }

    fn require_parent(&self, path: &Path) -> Result<()> {
        let parent = path.parent().ok_or_else(|| Error::new(ErrorKind::AlreadyExists, "the root is there already"))?;
        match self.require(&parent)?.content {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::NotADirectory, format!("{parent} is a file"))),
        }
    }

    /// Refuses a change of what is not as the caller saw it.
    fn check_version(&self, node: &Node) -> Result<()> {
        let Some(expected) = &node.version else { return Ok(()) };
        match self.item(&node.path) {
            Some(item) if item.version.to_string() == expected.0 => Ok(()),
            _ => Err(Error::new(ErrorKind::PreconditionFailed, format!("{} has changed", node.path))),
        }
    }

    /// Refuses to put something where there is what the caller did not see, or a directory with something in it.
    fn check_target(&self, path: &Path, known: Option<&Node>, otherwise: ErrorKind) -> Result<()> {
        self.require_parent(path)?;
        match (self.item(path), known) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Error::new(otherwise, format!("{path} exists already"))),
            (Some(item), Some(node)) => {
                self.check_version(node)?;
                if item.content.is_none() && self.children(path).next().is_some() {
                    return Err(Error::new(ErrorKind::DirectoryNotEmpty, format!("{path} is not empty")));
                }
                Ok(())
            }
        }
    }

    /// Everything below a directory, deepest last.
    fn below<'a>(&'a self, directory: &Path) -> impl Iterator<Item = (&'a Path, &'a Item)> + use<'a> {
        let directory = directory.clone();
        self.items
            .range((Bound::Excluded(directory.clone()), Bound::Unbounded))
            // Between `a` and `a/b` may stand `a-b`: the order is that of bytes.
            .take_while({
                let directory = directory.clone();
                move |(path, _)| path.as_str().starts_with(directory.as_str())
            })
            .filter(move |(path, _)| path.is_within(&directory))
    }

    fn children<'a>(&'a self, directory: &Path) -> impl Iterator<Item = (&'a Path, &'a Item)> + use<'a> {
        let directory = directory.clone();
        self.below(&directory).filter(move |(path, _)| path.parent().as_ref() == Some(&directory))
    }

    fn put(&mut self, path: &Path, mut item: Item) -> Result<Entry> {
        let added = item.content.as_ref().map_or(0, |content| content.len() as u64);
        let freed = self.items.get(path).and_then(|old| old.content.as_ref()).map_or(0, |content| content.len() as u64);
        let bytes = self.bytes - freed + added;
        if bytes > MOST_BYTES {
            return Err(Error::new(ErrorKind::QuotaExceeded, "a memory backend holds at most 1 GiB"));
        }
        self.bytes = bytes;
        self.changes += 1;
        item.version = self.changes;
        let entry = item.entry(path);
        self.items.insert(path.clone(), item);
        Ok(entry)
    }

    fn take(&mut self, path: &Path) {
        if let Some(Item { content: Some(content), .. }) = self.items.remove(path) {
            self.bytes -= content.len() as u64;
        }
    }
}

impl Item {
    fn directory() -> Item {
        Item { content: None, modified: Timestamp::now(), version: 0, media_type: String::new() }
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn features(&self) -> Arc<Features> {
        self.features.clone()
    }

    async fn probe(&self) -> Result<Identity> {
        Ok(Identity::default())
    }

    async fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        self.with_tree(|tree| Ok(tree.item(path).map(|item| item.entry(path))))
    }

    async fn list(&self, directory: &Path, cursor: Option<&Cursor>) -> Result<Page> {
        self.with_tree(|tree| {
            if tree.require(directory)?.content.is_some() {
                return Err(Error::new(ErrorKind::NotADirectory, format!("{directory} is a file")));
            }
            let after = |path: &Path| cursor.is_none_or(|cursor| path.name() > Some(cursor.0.as_str()));
            let mut entries: Vec<Entry> = tree
                .children(directory)
                .filter(|(path, _)| after(path))
                .take(PAGE + 1)
                .map(|(path, item)| item.entry(path))
                .collect();
            let more = entries.len() > PAGE;
            entries.truncate(PAGE);
            let next = entries.last().filter(|_| more).map(|last| Cursor(last.name.clone()));
            Ok(Page { entries, next })
        })
    }

    async fn read(&self, file: &Node, span: Span) -> Result<Body> {
        self.with_tree(|tree| {
            let item = tree.require(&file.path)?;
            let content = item
                .content
                .as_ref()
                .ok_or_else(|| Error::new(ErrorKind::IsDirectory, format!("{} is a directory", file.path)))?;
            tree.check_version(file)?;
            let range = usize::try_from(span.offset).ok().zip(usize::try_from(span.end()).ok());
            match range.filter(|(_, end)| *end <= content.len()) {
                Some((start, end)) => Ok(body_of(content.slice(start..end))),
                None => Err(Error::new(ErrorKind::Invalid, format!("{} is shorter than asked for", file.path))),
            }
        })
    }

    async fn write(&self, intent: &WriteIntent, content: Arc<dyn Source>, _log: Arc<dyn WriteLog>) -> Result<Entry> {
        let size = content.size();
        if size > MOST_BYTES {
            return Err(Error::new(ErrorKind::QuotaExceeded, "a memory backend holds at most 1 GiB"));
        }
        let bytes = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; size as usize];
            content.read_exact_at(0, &mut bytes).map(|()| Bytes::from(bytes))
        })
        .await
        .map_err(Error::internal)??;
        self.with_tree(|tree| {
            tree.check_target(&intent.path, intent.existing.as_ref(), ErrorKind::PreconditionFailed)?;
            if tree.item(&intent.path).is_some_and(|item| item.content.is_none()) {
                return Err(Error::new(ErrorKind::IsDirectory, format!("{} is a directory", intent.path)));
            }
            // What was seen and is gone by now was changed, too.
            if let Some(node) = &intent.existing {
                tree.check_version(node)?;
            }
            let modified = intent.modified.unwrap_or_else(Timestamp::now);
            let media_type = intent.media_type.clone();
            tree.put(&intent.path, Item { content: Some(bytes), modified, version: 0, media_type })
        })
    }

    async fn remove_file(&self, file: &Node) -> Result<()> {
        self.with_tree(|tree| {
            if tree.require(&file.path)?.content.is_none() {
                return Err(Error::new(ErrorKind::IsDirectory, format!("{} is a directory", file.path)));
            }
            tree.check_version(file)?;
            tree.take(&file.path);
            Ok(())
        })
    }

    async fn make_directory(&self, path: &Path) -> Result<Entry> {
        self.with_tree(|tree| {
            tree.check_target(path, None, ErrorKind::AlreadyExists)?;
            tree.put(path, Item::directory())
        })
    }

    async fn remove_directory(&self, directory: &Node) -> Result<()> {
        self.with_tree(|tree| {
            if tree.require(&directory.path)?.content.is_some() {
                return Err(Error::new(ErrorKind::NotADirectory, format!("{} is a file", directory.path)));
            }
            if directory.path.is_root() {
                return Err(Error::new(ErrorKind::Denied, "the root cannot be removed"));
            }
            if tree.children(&directory.path).next().is_some() {
                return Err(Error::new(ErrorKind::DirectoryNotEmpty, format!("{} is not empty", directory.path)));
            }
            tree.take(&directory.path);
            Ok(())
        })
    }

    async fn move_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.with_tree(|tree| {
            let item = tree.require(&from.path)?;
            tree.check_version(from)?;
            if to == &from.path {
                return Ok(item.entry(to));
            }
            if from.path.is_root() || to.is_within(&from.path) {
                return Err(Error::new(ErrorKind::Invalid, "a directory cannot be moved into itself"));
            }
            tree.check_target(to, replaces, ErrorKind::AlreadyExists)?;
            if let Some(standing) = tree.item(to) {
                match (item.content.is_some(), standing.content.is_some()) {
                    (true, false) => return Err(Error::new(ErrorKind::IsDirectory, format!("{to} is a directory"))),
                    (false, true) => return Err(Error::new(ErrorKind::NotADirectory, format!("{to} is a file"))),
                    _ => tree.take(to),
                }
            }
            let below: Vec<Path> = tree.below(&from.path).map(|(path, _)| path.clone()).collect();
            for old in std::iter::once(from.path.clone()).chain(below) {
                let new = to
                    .join(&old.below(&from.path).unwrap_or_default())
                    .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
                if let Some(item) = tree.items.remove(&old) {
                    tree.items.insert(new, item);
                }
            }
            Ok(item.entry(to))
        })
    }

    async fn copy_to(&self, from: &Node, to: &Path, replaces: Option<&Node>) -> Result<Entry> {
        self.with_tree(|tree| {
            let item = tree.require(&from.path)?;
            tree.check_version(from)?;
            if item.content.is_none() {
                return Err(Error::new(ErrorKind::IsDirectory, format!("{} is a directory", from.path)));
            }
            tree.check_target(to, replaces, ErrorKind::AlreadyExists)?;
            if tree.item(to).is_some_and(|standing| standing.content.is_none()) {
                return Err(Error::new(ErrorKind::IsDirectory, format!("{to} is a directory")));
            }
            tree.put(to, item)
        })
    }

    async fn set_modified(&self, node: &Node, modified: Timestamp) -> Result<Entry> {
        self.with_tree(|tree| {
            tree.item(&node.path).ok_or_else(|| Error::not_found(&node.path))?;
            tree.check_version(node)?;
            let item = tree.items.get_mut(&node.path).ok_or_else(|| Error::not_found(&node.path))?;
            item.modified = modified;
            Ok(item.entry(&node.path))
        })
    }

    async fn room(&self) -> Result<Room> {
        self.with_tree(|tree| {
            let objects = tree.items.values().filter(|item| item.content.is_some()).count() as u64;
            Ok(Room {
                total: Some(MOST_BYTES),
                used: Some(tree.bytes),
                free: Some(MOST_BYTES - tree.bytes),
                trashed: None,
                objects: Some(objects),
            })
        })
    }
}
