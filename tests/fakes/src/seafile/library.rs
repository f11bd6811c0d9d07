//! A library: a tree of directories and files, addressed by path, in which no two entries of a directory have the same name. No HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use sha1::{Digest, Sha1};

/// A library.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) owner: String,
    /// Who else sees it.
    pub(super) shared_with: Vec<String>,
    /// `rw` or `r`, for everyone.
    pub(super) permission: String,
    /// The password of an encrypted library.
    pub(super) key: Option<String>,
    /// Until when the server remembers the key.
    pub(super) unlocked_until: Option<Timestamp>,
    pub(super) mtime: Timestamp,
    /// By path: `/a/b`, without the root.
    nodes: BTreeMap<String, Node>,
    /// What was removed: where it was and when.
    pub(super) trash: Vec<(String, Node, Timestamp)>,
}

/// An entry.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A directory.
    Dir { mtime: Timestamp },
    /// A file.
    File { content: Bytes, mtime: Timestamp, locked: bool },
}

impl Node {
    pub(super) fn mtime(&self) -> Timestamp {
        match self {
            Node::Dir { mtime } | Node::File { mtime, .. } => *mtime,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self, Node::Dir { .. })
    }

    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Node::Dir { .. } => 0,
            Node::File { content, .. } => content.len(),
        }
    }

    /// What the server calls it by: equal content has equal ids.
    pub(super) fn id(&self) -> String {
        match self {
            Node::Dir { .. } => "0".repeat(40),
            Node::File { content, .. } => {
                HEXLOWER.encode(&Sha1::new().chain_update("file ").chain_update(content).finalize())
            }
        }
    }
}

impl Library {
    pub(super) fn new(id: String, name: &str, owner: &str, key: Option<String>, now: Timestamp) -> Library {
        Library {
            id,
            name: name.to_owned(),
            owner: owner.to_owned(),
            shared_with: Vec::new(),
            permission: "rw".into(),
            key,
            unlocked_until: None,
            mtime: now,
            nodes: BTreeMap::new(),
            trash: Vec::new(),
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.nodes.values().map(Node::size_bytes).sum()
    }

    pub(super) fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        path == "/" || self.node(path).is_some_and(Node::is_dir)
    }

    pub(super) fn file(&self, path: &str) -> Option<&Node> {
        self.node(path).filter(|node| !node.is_dir())
    }

    pub(super) fn lock(&mut self, path: &str, on: bool) {
        if let Some(Node::File { locked, .. }) = self.nodes.get_mut(path) {
            *locked = on;
        }
    }

    /// Whether a file, or one below a directory, is locked by someone else.
    pub(super) fn is_locked(&self, path: &str) -> bool {
        self.below(path).any(|(_, node)| matches!(node, Node::File { locked: true, .. }))
    }

    /// The entries of a directory, or of everything below it: directories first, each by name without regard to case.
    pub(super) fn list(&self, dir: &str, recursive: bool) -> Vec<(&str, &Node)> {
        let wanted = |path: &str| path != dir && (recursive || split(path).0 == dir);
        let mut found: Vec<_> = self.below(dir).filter(|(path, _)| wanted(path)).collect();
        found.sort_by_key(|(path, node)| (!node.is_dir(), split(path).1.to_lowercase(), path.to_owned()));
        found
    }

    /// The entry itself, if it is not the root, and all below it.
    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let inside = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let wanted = move |found: &str| found == path || found.starts_with(&inside);
        self.nodes.iter().map(|(path, node)| (path.as_str(), node)).filter(move |(path, _)| wanted(path))
    }

    /// `name`, or the first of `name (1)`, `name (2)` ... that is free.
    pub(super) fn free_name(&self, dir: &str, name: &str) -> String {
        let taken = |name: &str| self.nodes.contains_key(&join(dir, name));
        let (stem, ending) = match name.rfind('.').filter(|at| *at > 0) {
            Some(at) => name.split_at(at),
            None => (name, ""),
        };
        let numbered = (1u32..).map(|number| format!("{stem} ({number}){ending}"));
        std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }

    /// Makes a directory and those above it that are missing.
    pub(super) fn make_dirs(&mut self, path: &str, now: Timestamp) {
        if path != "/" && !self.is_dir(path) {
            self.make_dirs(split(path).0, now);
            self.put(path, Node::Dir { mtime: now }, now);
        }
    }

    /// Puts an entry at a path, in the place of what was there.
    pub(super) fn put(&mut self, path: &str, node: Node, now: Timestamp) {
        self.nodes.insert(path.to_owned(), node);
        self.touch(path, now);
    }

    fn touch(&mut self, path: &str, now: Timestamp) {
        self.mtime = now;
        if let Some(Node::Dir { mtime }) = self.nodes.get_mut(split(path).0) {
            *mtime = now;
        }
    }

    /// Takes an entry out, with all below it: paths relative to it, the entry itself first as the empty path.
    pub(super) fn take(&mut self, path: &str, now: Timestamp) -> Vec<(String, Node)> {
        let found: Vec<String> = self.below(path).map(|(path, _)| path.to_owned()).collect();
        self.touch(path, now);
        let relative = |found: &String| found.get(path.len()..).unwrap_or_default().to_owned();
        found.iter().filter_map(|found| Some((relative(found), self.nodes.remove(found)?))).collect()
    }

    /// A copy of an entry with all below it, as [`Library::take`] returns it.
    pub(super) fn copy_of(&self, path: &str) -> Vec<(String, Node)> {
        let relative = |found: &str| found.get(path.len()..).unwrap_or_default().to_owned();
        self.below(path).map(|(found, node)| (relative(found), node.clone())).collect()
    }

    /// Puts what was taken to a path.
    pub(super) fn place(&mut self, path: &str, taken: Vec<(String, Node)>, now: Timestamp) {
        self.nodes.extend(taken.into_iter().map(|(relative, node)| (format!("{path}{relative}"), node)));
        self.touch(path, now);
    }

    /// Moves an entry to the trash.
    pub(super) fn remove(&mut self, path: &str, now: Timestamp) {
        for (relative, node) in self.take(path, now) {
            self.trash.push((format!("{path}{relative}"), node, now));
        }
    }
}

/// `/a/b` from a directory and a name.
pub(super) fn join(dir: &str, name: &str) -> String {
    format!("{}/{name}", dir.trim_end_matches('/'))
}

/// Directory and name of a path.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(pair) => pair,
        None => ("/", path),
    }
}

/// An absolute path without slashes at its end, `None` for one that is none.
pub(super) fn absolute(path: &str) -> Option<String> {
    let inside = path.strip_prefix('/')?.trim_end_matches('/');
    let odd = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if !inside.is_empty() && inside.split('/').any(odd) {
        return None;
    }
    Some(format!("/{inside}"))
}

/// Whether an entry may be called so.
pub(super) fn valid_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_before_the_ending_and_directories_as_a_whole() {
        let now = Timestamp::UNIX_EPOCH;
        let mut library = Library::new("id".into(), "Docs", "alice", None, now);
        let file = || Node::File { content: Bytes::new(), mtime: now, locked: false };
        assert_eq!(library.free_name("/", "a.b.txt"), "a.b.txt");
        library.put("/a.b.txt", file(), now);
        assert_eq!(library.free_name("/", "a.b.txt"), "a.b (1).txt");
        library.put("/a.b (1).txt", file(), now);
        assert_eq!(library.free_name("/", "a.b.txt"), "a.b (2).txt");
        library.put("/.hidden", file(), now);
        assert_eq!(library.free_name("/", ".hidden"), ".hidden (1)");
    }

    #[test]
    fn a_directory_moves_with_all_that_is_in_it_and_nothing_beside_it() {
        let now = Timestamp::UNIX_EPOCH;
        let mut library = Library::new("id".into(), "Docs", "alice", None, now);
        library.make_dirs("/a/deep", now);
        library.make_dirs("/ab", now);
        let taken = library.take("/a", now);
        library.place("/c", taken, now);
        let paths: Vec<&str> = library.list("/", true).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/ab", "/c", "/c/deep"]);
    }
}
