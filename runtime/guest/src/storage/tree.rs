//! The whole of an account as one walk showed it: what lies where, found by key, by name and by directory. It asks nobody
//! and keeps nothing fresh; `walked` does.
//!
//! A *key* is what the provider calls a thing: its cookie, or its path where there are no cookies. An entry whose directory
//! is not known waits, unseen, until the directory comes; what does not hang on the root is not shown. Entries lie in a
//! slab and name each other by number, and three ordered sets over all of them stand for what would be a map in each
//! directory: about 250 bytes an entry, besides its texts.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use causeway_storage::{DigestValue, Entry, Error, ErrorKind, Kind, Notes, Path, Result, Timestamp, Version};

use super::names::Names;

/// Entries of one tree.
const MOST_ENTRIES: usize = 2_000_000;

/// Bytes of one tree, as counted here: texts, and [`FIXED`] for each entry.
const MOST_BYTES: usize = 512 << 20;

/// What an entry costs besides its texts.
const FIXED: usize = 250;

/// Directories above one another: deeper than any path of 4,096 bytes.
const DEEPEST: usize = 2_048;

/// The root's own number.
pub(super) const ROOT: u32 = 0;

/// Where an entry lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// It is the root.
    Root,
    /// In the root.
    InRoot,
    /// In the directory of this key.
    Below(String),
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    names: Names,
    twigs: Vec<Option<Twig>>,
    free: Vec<u32>,
    keys: HashMap<Arc<str>, u32>,
    /// (directory, entry).
    held: BTreeSet<(u32, u32)>,
    /// (hash of directory and folded name, entry).
    named: BTreeSet<(u64, u32)>,
    /// Those whose directory is not known, by its key.
    waiting: HashMap<Arc<str>, BTreeSet<u32>>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Twig {
    key: Arc<str>,
    /// The directory's number, or the key that is waited for; the root has neither.
    parent: Parent,
    name: Box<str>,
    kind: Kind,
    has_cookie: bool,
    notes: Notes,
    size: Option<u64>,
    modified: Option<Timestamp>,
    version: Option<Box<str>>,
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parent {
    None,
    At(u32),
    Awaited(Arc<str>),
}

/// What few entries have.
#[derive(Clone, Debug)]
struct Rare {
    created: Option<Timestamp>,
    media_type: Option<String>,
    digests: Vec<DigestValue>,
}

impl Tree {
    /// A tree that holds nothing but a root without a key.
    pub(super) fn new(names: Names) -> Tree {
        let root = Twig::new(Arc::from(""), Parent::None, Entry::directory(""));
        Tree {
            names,
            twigs: vec![Some(root)],
            free: Vec::new(),
            keys: HashMap::new(),
            held: BTreeSet::new(),
            named: BTreeSet::new(),
            waiting: HashMap::new(),
            bytes: 0,
        }
    }

    /// How many entries there are, waiting ones included.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Puts an entry where it is now, wherever it was before. Fails over a limit, and where a directory would lie in itself.
    pub(super) fn put(&mut self, key: &str, at: At, entry: Entry) -> Result<()> {
        if at == At::Root {
            return self.put_root(key, entry);
        }
        let known = self.keys.get(key).copied();
        if known == Some(ROOT) {
            return Err(faulty("the root is said to lie in a directory"));
        }
        let parent = match at {
            At::Root | At::InRoot => Parent::At(ROOT),
            At::Below(parent) => match self.keys.get(parent.as_str()) {
                Some(parent) => Parent::At(*parent),
                None => Parent::Awaited(parent.into()),
            },
        };
        if let (Some(id), Parent::At(parent)) = (known, &parent)
            && self.is_within(*parent, id)
        {
            return Err(faulty("a directory is said to lie in itself"));
        }
        let key: Arc<str> = key.into();
        if parent == Parent::Awaited(key.clone()) {
            return Err(faulty("a directory is said to lie in itself"));
        }
        let twig = Twig::new(key.clone(), parent, entry);
        if known.is_none() && self.keys.len() >= MOST_ENTRIES || self.bytes + twig.bytes() > MOST_BYTES {
            let message = "the account holds more than this runtime can keep in mind (2,000,000 entries, 512 MiB)";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let id = match known {
            Some(id) => {
                self.unhang(id);
                id
            }
            None => self.number()?,
        };
        self.keys.insert(key.clone(), id);
        self.bytes += twig.bytes();
        self.hang(id, twig);
        if known.is_none() {
            self.gather(&key, id)?;
        }
        Ok(())
    }

    fn put_root(&mut self, key: &str, entry: Entry) -> Result<()> {
        if self.keys.get(key).is_some_and(|id| *id != ROOT) {
            return Err(faulty("the root is said to be what lies in it"));
        }
        if let Some(Some(root)) = self.twigs.first() {
            self.keys.remove(&root.key.clone());
        }
        let key: Arc<str> = key.into();
        self.keys.insert(key.clone(), ROOT);
        if let Some(root) = self.twigs.first_mut() {
            *root = Some(Twig::new(key.clone(), Parent::None, Entry { name: String::new(), ..entry }));
        }
        self.gather(&key, ROOT)
    }

    /// Removes an entry and all that lies below it.
    pub(super) fn remove(&mut self, key: &str) {
        let Some(id) = self.keys.get(key).copied().filter(|id| *id != ROOT) else { return };
        let mut going = vec![id];
        while let Some(id) = going.pop() {
            going.extend(self.children(id));
            self.unhang(id);
            if let Some(twig) = self.twigs.get_mut(id as usize).and_then(Option::take) {
                self.keys.remove(&twig.key);
            }
            self.free.push(id);
        }
    }

    /// The entry of this number with its version, which entries of directories do not show, and the key of what it lies in.
    pub(super) fn known(&self, id: u32) -> Option<(Entry, Option<&str>)> {
        let twig = self.twig(id)?;
        let parent = match &twig.parent {
            Parent::None => None,
            Parent::At(parent) => self.key(*parent),
            Parent::Awaited(key) => Some(&**key),
        };
        Some((
            Entry { version: twig.version.as_deref().map(|version| Version(version.into())), ..twig.entry() },
            parent,
        ))
    }

    /// The numbers of some that lie in what has this key, or wait for it.
    pub(super) fn below(&self, key: &str, after: Option<u32>, most: usize) -> Vec<u32> {
        let after = |id: &u32| after.is_none_or(|after| *id > after);
        match self.keys.get(key) {
            Some(id) => self.children(*id).into_iter().filter(after).take(most).collect(),
            None => self.waiting.get(key).into_iter().flatten().copied().filter(after).take(most).collect(),
        }
    }

    /// The number of what has this key.
    pub(super) fn find(&self, key: &str) -> Option<u32> {
        self.keys.get(key).copied()
    }

    /// The entry of this number.
    pub(super) fn entry(&self, id: u32) -> Option<Entry> {
        self.twig(id).map(Twig::entry)
    }

    /// What it lies in: none for the root.
    pub(super) fn parent(&self, id: u32) -> Option<u32> {
        match self.twig(id)?.parent {
            Parent::At(parent) => Some(parent),
            Parent::None | Parent::Awaited(_) => None,
        }
    }

    /// The key of this number.
    pub(super) fn key(&self, id: u32) -> Option<&str> {
        self.twig(id).map(|twig| &*twig.key)
    }

    /// Where it lies; none if it does not hang on the root, or no path can say it.
    pub(super) fn path(&self, mut id: u32) -> Option<Path> {
        let mut names = Vec::new();
        while id != ROOT {
            let twig = self.twig(id)?;
            names.push(&*twig.name);
            id = self.parent(id).filter(|_| names.len() < DEEPEST)?;
            // A file holds nothing, whatever is said to lie in it (its old versions).
            self.twig(id).filter(|holder| holder.kind == Kind::Directory)?;
        }
        Path::parse(&names.into_iter().rev().collect::<Vec<_>>().join("/")).ok()
    }

    /// The entries of this name in a directory.
    pub(super) fn look_up(&self, directory: u32, name: &str) -> Vec<Entry> {
        let hash = self.hash(directory, name);
        let twigs = self.named.range((hash, 0)..=(hash, u32::MAX)).filter_map(|(_, id)| self.twig(*id));
        let here = |twig: &&Twig| twig.parent == Parent::At(directory) && self.names.same(&twig.name, name);
        twigs.filter(here).map(Twig::entry).collect()
    }

    /// Up to `most` entries of a directory behind this number, and the number of the last; fewer than that are the last ones.
    pub(super) fn list(&self, directory: u32, after: Option<u32>, most: usize) -> Vec<(u32, Entry)> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        let ids = self.held.range((directory, from)..=(directory, u32::MAX)).map(|(_, id)| *id);
        ids.take(most).filter_map(|id| Some((id, self.entry(id)?))).collect()
    }

    fn twig(&self, id: u32) -> Option<&Twig> {
        self.twigs.get(id as usize)?.as_ref()
    }

    fn children(&self, id: u32) -> Vec<u32> {
        self.held.range((id, 0)..=(id, u32::MAX)).map(|(_, child)| *child).collect()
    }

    fn is_within(&self, mut id: u32, ancestor: u32) -> bool {
        for _ in 0..DEEPEST {
            if id == ancestor {
                return true;
            }
            match self.parent(id) {
                Some(parent) => id = parent,
                None => return false,
            }
        }
        // Deeper than anything can be shown: as good as a ring.
        true
    }

    fn number(&mut self) -> Result<u32> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        self.twigs.push(None);
        u32::try_from(self.twigs.len() - 1).map_err(Error::internal)
    }

    /// Those that waited for this directory.
    fn gather(&mut self, key: &Arc<str>, id: u32) -> Result<()> {
        for child in self.waiting.remove(key).unwrap_or_default() {
            if self.is_within(id, child) {
                return Err(faulty("a directory is said to lie in itself"));
            }
            if let Some(twig) = self.twigs.get_mut(child as usize).and_then(Option::take) {
                self.hang(child, Twig { parent: Parent::At(id), ..twig });
            }
        }
        Ok(())
    }

    fn hang(&mut self, id: u32, twig: Twig) {
        match &twig.parent {
            Parent::None => {}
            Parent::At(parent) => {
                self.held.insert((*parent, id));
                self.named.insert((self.hash(*parent, &twig.name), id));
            }
            Parent::Awaited(key) => {
                self.waiting.entry(key.clone()).or_default().insert(id);
            }
        }
        if let Some(place) = self.twigs.get_mut(id as usize) {
            *place = Some(twig);
        }
    }

    fn unhang(&mut self, id: u32) {
        let Some(twig) = self.twig(id).cloned() else { return };
        self.bytes = self.bytes.saturating_sub(twig.bytes());
        match &twig.parent {
            Parent::None => {}
            Parent::At(parent) => {
                self.held.remove(&(*parent, id));
                self.named.remove(&(self.hash(*parent, &twig.name), id));
            }
            Parent::Awaited(key) => {
                if let Some(waiting) = self.waiting.get_mut(key) {
                    waiting.remove(&id);
                    if waiting.is_empty() {
                        self.waiting.remove(key);
                    }
                }
            }
        }
    }

    fn hash(&self, directory: u32, name: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (directory, self.names.folded(name)).hash(&mut hasher);
        hasher.finish()
    }
}

impl Twig {
    fn new(key: Arc<str>, parent: Parent, entry: Entry) -> Twig {
        let Entry { name, kind, cookie, size, modified, created, version, media_type, digests, notes } = entry;
        let rare = created.is_some() || media_type.is_some() || !digests.is_empty();
        Twig {
            key,
            parent,
            name: name.into(),
            kind,
            has_cookie: cookie.is_some(),
            notes,
            size,
            modified,
            version: version.map(|version| version.0.into()),
            rare: rare.then(|| Box::new(Rare { created, media_type, digests })),
        }
    }

    fn entry(&self) -> Entry {
        let rare = self.rare.as_deref();
        Entry {
            name: self.name.to_string(),
            kind: self.kind,
            cookie: self.has_cookie.then(|| self.key.to_string()),
            size: self.size,
            modified: self.modified,
            created: rare.and_then(|rare| rare.created),
            version: self
                .version
                .as_ref()
                .filter(|_| self.kind == Kind::File)
                .map(|version| Version(version.to_string())),
            media_type: rare.and_then(|rare| rare.media_type.clone()),
            digests: rare.map(|rare| rare.digests.clone()).unwrap_or_default(),
            notes: self.notes,
        }
    }

    fn bytes(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| {
            let digests: usize = rare.digests.iter().map(|digest| digest.value.len() + 32).sum();
            80 + rare.media_type.as_ref().map_or(0, String::len) + digests
        });
        FIXED + self.key.len() + self.name.len() + self.version.as_ref().map_or(0, |version| version.len()) + rare
    }
}

fn faulty(what: &str) -> Error {
    Error::new(ErrorKind::Internal, "the provider's component is faulty").with_detail(what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn tree() -> Tree {
        Tree::new(Names::exact())
    }

    fn entry(key: &str, name: &str, kind: Kind) -> Entry {
        Entry { cookie: Some(key.into()), kind, ..Entry::directory(name) }
    }

    fn directory(key: &str) -> Entry {
        entry(key, key, Kind::Directory)
    }

    fn below(parent: &str) -> At {
        At::Below(parent.into())
    }

    fn shown(tree: &Tree, id: u32) -> Vec<String> {
        let mut names: Vec<_> = tree.list(id, None, usize::MAX).into_iter().map(|(_, entry)| entry.name).collect();
        names.sort();
        names
    }

    #[test]
    fn an_entry_waits_unseen_for_its_directory() {
        let mut tree = tree();
        tree.put("f", below("d"), entry("f", "file", Kind::File)).unwrap();
        assert_eq!(tree.path(tree.find("f").unwrap()), None);
        tree.put("d", At::InRoot, directory("d")).unwrap();
        assert_eq!(tree.path(tree.find("f").unwrap()), Some(Path::parse("d/file").unwrap()));
        assert_eq!(shown(&tree, tree.find("d").unwrap()), ["file"]);
    }

    #[test]
    fn what_lies_below_the_roots_key_comes_before_or_after_the_root() {
        let mut tree = tree();
        tree.put("a", below("r"), directory("a")).unwrap();
        assert_eq!(shown(&tree, ROOT), [""; 0]);
        tree.put("r", At::Root, directory("r")).unwrap();
        tree.put("b", below("r"), directory("b")).unwrap();
        assert_eq!(shown(&tree, ROOT), ["a", "b"]);
        assert_eq!(tree.entry(ROOT).unwrap().name, "");
    }

    #[test]
    fn a_file_holds_nothing_that_is_shown() {
        let mut tree = tree();
        tree.put("f", At::InRoot, entry("f", "file", Kind::File)).unwrap();
        tree.put("old", below("f"), entry("old", "file", Kind::File)).unwrap();
        assert_eq!(tree.path(tree.find("old").unwrap()), None);
        assert_eq!(shown(&tree, ROOT), ["file"]);
    }

    #[test]
    fn what_waits_is_known_by_what_it_waits_for() {
        let mut tree = tree();
        let version = Some(Version("key".into()));
        tree.put("a", below("bin"), Entry { version: version.clone(), ..directory("a") }).unwrap();
        tree.put("b", below("bin"), directory("b")).unwrap();
        let (a, b) = (tree.find("a").unwrap(), tree.find("b").unwrap());
        assert_eq!(tree.below("bin", None, 9), [a, b]);
        assert_eq!(tree.below("bin", Some(a), 9), [b]);
        let (known, parent) = tree.known(a).unwrap();
        assert_eq!((known.version, parent), (version, Some("bin")));
        // The version of a directory is nobody's but the component's.
        assert_eq!(tree.entry(a).unwrap().version, None);
        tree.put("bin", At::InRoot, directory("bin")).unwrap();
        assert_eq!(tree.below("bin", None, 9), [a, b]);
    }

    #[test]
    fn a_directory_in_itself_is_refused_and_nothing_changes() {
        let mut tree = tree();
        tree.put("a", At::InRoot, directory("a")).unwrap();
        tree.put("b", below("a"), directory("b")).unwrap();
        assert!(tree.put("a", below("b"), directory("a")).is_err());
        assert!(tree.put("x", below("x"), directory("x")).is_err());
        assert_eq!(shown(&tree, ROOT), ["a"]);
        // Two that wait for each other.
        tree.put("p", below("q"), directory("p")).unwrap();
        assert!(tree.put("q", below("p"), directory("q")).is_err());
    }

    #[test]
    fn entries_of_one_name_are_all_found() {
        let mut tree = tree();
        tree.put("1", At::InRoot, entry("1", "same", Kind::File)).unwrap();
        tree.put("2", At::InRoot, entry("2", "same", Kind::File)).unwrap();
        assert_eq!(tree.look_up(ROOT, "same").len(), 2);
        tree.remove("1");
        assert_eq!(tree.look_up(ROOT, "same").len(), 1);
    }

    #[test]
    fn what_is_removed_takes_all_below_with_it_and_its_room_back() {
        let mut tree = tree();
        tree.put("d", At::InRoot, directory("d")).unwrap();
        tree.put("f", below("d"), entry("f", "f", Kind::File)).unwrap();
        tree.remove("d");
        assert_eq!((tree.find("f"), tree.len(), tree.bytes), (None, 0, 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put { key: u8, parent: Option<u8>, name: u8 },
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..12, proptest::option::of(0u8..12), 0u8..4)
                .prop_map(|(key, parent, name)| Step::Put { key, parent, name }),
            1 => (0u8..12).prop_map(Step::Remove),
        ]
    }

    /// Key to directory (none: the root) and name.
    type Model = BTreeMap<u8, (Option<u8>, u8)>;

    fn is_above(model: &Model, ancestor: u8, mut key: u8) -> bool {
        loop {
            match model.get(&key) {
                _ if key == ancestor => return true,
                Some((Some(parent), _)) => key = *parent,
                _ => return false,
            }
        }
    }

    fn children(model: &Model, parent: Option<u8>) -> Vec<u8> {
        model.iter().filter(|(_, (of, _))| *of == parent).map(|(key, _)| *key).collect()
    }

    proptest! {
        #[test]
        fn the_tree_holds_what_a_simple_map_holds(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut tree, mut model) = (tree(), Model::new());
            for step in steps {
                match step {
                    Step::Put { key, parent, name } => {
                        let at = parent.map_or(At::InRoot, |parent| below(&parent.to_string()));
                        let put = tree.put(&key.to_string(), at, entry(&key.to_string(), &name.to_string(), Kind::Directory));
                        // A ring can close over one that waits: then the entry is held and never shown.
                        let ring = parent.is_some_and(|parent| is_above(&model, key, parent));
                        prop_assert_eq!(put.is_err(), ring);
                        if ring {
                            return Ok(());
                        }
                        model.insert(key, (parent, name));
                    }
                    Step::Remove(key) => {
                        tree.remove(&key.to_string());
                        // What waits for a directory that never came does not go with it.
                        let mut going = if model.contains_key(&key) { vec![key] } else { vec![] };
                        while let Some(key) = going.pop() {
                            going.extend(children(&model, Some(key)));
                            model.remove(&key);
                        }
                    }
                }
                prop_assert_eq!(tree.len(), model.len());
                for parent in std::iter::once(None).chain(model.keys().copied().map(Some)) {
                    let id = parent.map_or(ROOT, |key| tree.find(&key.to_string()).unwrap());
                    let mut held: Vec<u8> = tree.list(id, None, usize::MAX).into_iter()
                        .map(|(_, entry)| entry.cookie.unwrap().parse().unwrap()).collect();
                    held.sort_unstable();
                    prop_assert_eq!(&held, &children(&model, parent));
                    for key in held {
                        let name = model[&key].1;
                        let found = tree.look_up(id, &name.to_string());
                        prop_assert!(found.iter().any(|entry| entry.cookie == Some(key.to_string())));
                    }
                }
            }
        }
    }
}
