//! A toy of a file system in memory, and random work for it and for a real one, side by side.
//!
//! It knows nothing of how the real one is driven: without a kernel or through a mount. Whatever the storage can or cannot
//! do, however it fails, whoever changes it from elsewhere and whenever the process ends, the real one shows what was
//! acknowledged, and in the end the storage has exactly that. The failures that were found stand in the tests as they were
//! minimised.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

pub(crate) const PATHS: [&str; 9] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "g", "g/a"];

/// Handles that are open at a time.
const SLOTS: usize = 3;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Open {
        slot: usize,
        path: usize,
        how: How,
    },
    Write {
        slot: usize,
        offset: u64,
        size: usize,
        seed: u8,
    },
    Read {
        slot: usize,
    },
    Cut {
        slot: usize,
        size: u64,
    },
    Sync {
        slot: usize,
    },
    Close {
        slot: usize,
    },
    /// Opened, written and closed.
    Edit {
        path: usize,
        offset: u64,
        size: usize,
        seed: u8,
    },
    /// Written through memory.
    Map {
        path: usize,
        offset: u64,
        size: usize,
        seed: u8,
    },
    CutPath {
        path: usize,
        size: u64,
    },
    /// The modification time is set.
    Touch {
        path: usize,
        seconds: i64,
    },
    ReadPath {
        path: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Unlink {
        path: usize,
    },
    MakeDirectory {
        path: usize,
    },
    RemoveDirectory {
        path: usize,
    },
    List {
        path: usize,
    },
    /// Someone else writes a file at the storage, while nobody here has anything open.
    Elsewhere {
        path: usize,
        size: usize,
        seed: u8,
    },
    Disturb {
        fails: u64,
        loses: u64,
    },
    Crash,
    Drain,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
}

impl How {
    pub(crate) fn reading() -> How {
        How { read: true, write: false, append: false, create: false, exclusive: false, truncate: false }
    }
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..60)
}

fn op() -> impl Strategy<Value = Op> {
    let path = || 0..PATHS.len();
    let slot = || 0..SLOTS;
    let content = || (0..5000u64, 0..5000usize, any::<u8>());
    prop_oneof![
        6 => (slot(), path(), how()).prop_map(|(slot, path, how)| Op::Open { slot, path, how }),
        6 => (slot(), content())
            .prop_map(|(slot, (offset, size, seed))| Op::Write { slot, offset, size, seed }),
        4 => slot().prop_map(|slot| Op::Read { slot }),
        2 => (slot(), 0..6000u64).prop_map(|(slot, size)| Op::Cut { slot, size }),
        1 => slot().prop_map(|slot| Op::Sync { slot }),
        3 => slot().prop_map(|slot| Op::Close { slot }),
        4 => (path(), content())
            .prop_map(|(path, (offset, size, seed))| Op::Edit { path, offset, size, seed }),
        1 => (path(), content()).prop_map(|(path, (offset, size, seed))| Op::Map { path, offset, size, seed }),
        2 => (path(), 0..6000u64).prop_map(|(path, size)| Op::CutPath { path, size }),
        2 => (path(), 0..1_000_000_000i64).prop_map(|(path, seconds)| Op::Touch { path, seconds }),
        4 => path().prop_map(|path| Op::ReadPath { path }),
        5 => (path(), path()).prop_map(|(from, to)| Op::Rename { from, to }),
        3 => path().prop_map(|path| Op::Unlink { path }),
        4 => path().prop_map(|path| Op::MakeDirectory { path }),
        2 => path().prop_map(|path| Op::RemoveDirectory { path }),
        3 => path().prop_map(|path| Op::List { path }),
        1 => (path(), 0..5000usize, any::<u8>())
            .prop_map(|(path, size, seed)| Op::Elsewhere { path, size, seed }),
        1 => (0..300u64, 0..300u64).prop_map(|(fails, loses)| Op::Disturb { fails, loses }),
        1 => Just(Op::Crash),
        2 => Just(Op::Drain),
    ]
}

fn how() -> impl Strategy<Value = How> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(read, write, append, create, exclusive, truncate)| How {
            read: read || !write,
            write,
            append: write && append,
            create: write && create,
            exclusive: write && create && exclusive,
            // Cutting a file that is appended to is refused by the standard library.
            truncate: write && truncate && !append,
        },
    )
}

/// What became of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    Done(T),
    /// It was looked at, and cannot be.
    Refused(String),
    /// Nobody could look: nothing happened, and nothing is said about what is there.
    Unknown,
}

/// The real one.
pub(crate) trait Driver {
    fn open(&mut self, slot: usize, path: &str, how: How) -> Outcome<()>;
    fn write(&mut self, slot: usize, offset: u64, bytes: &[u8]) -> Outcome<()>;
    fn read(&mut self, slot: usize) -> Outcome<Vec<u8>>;
    fn cut(&mut self, slot: usize, size: u64) -> Outcome<()>;
    fn sync(&mut self, slot: usize) -> Outcome<()>;
    fn close(&mut self, slot: usize);
    /// Writes through memory to a range of a file that it has.
    fn map(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Outcome<()>;
    fn cut_path(&mut self, path: &str, size: u64) -> Outcome<()>;
    fn touch(&mut self, path: &str, seconds: i64) -> Outcome<()>;
    fn rename(&mut self, from: &str, to: &str) -> Outcome<()>;
    fn unlink(&mut self, path: &str) -> Outcome<()>;
    fn make_directory(&mut self, path: &str) -> Outcome<()>;
    fn remove_directory(&mut self, path: &str) -> Outcome<()>;
    fn list(&mut self, path: &str) -> Outcome<Vec<String>>;
    /// Someone else puts content at the storage, past everything.
    fn put_elsewhere(&mut self, path: &str, bytes: &[u8]);
    fn disturb(&mut self, fails: u64, loses: u64);
    /// All that is only in memory is gone, wherever the uploads are.
    fn crash(&mut self);
    /// Waits until the storage has everything; nothing may have gone otherwise than asked for.
    fn drain(&mut self);
    /// All that the storage has: content, or none for a directory.
    fn stored(&mut self) -> BTreeMap<String, Option<Vec<u8>>>;
    /// Whether directories without entries exist at the storage.
    fn keeps_empty_directories(&self) -> bool;
}

type Content = Rc<RefCell<Vec<u8>>>;

/// The toy: a directory has no content.
#[derive(Default)]
struct Toy {
    tree: BTreeMap<String, Option<Content>>,
    handles: [Option<(Content, How)>; SLOTS],
}

impl Toy {
    fn parent_is_directory(&self, path: &str) -> bool {
        path.rsplit_once('/').is_none_or(|(parent, _)| matches!(self.tree.get(parent), Some(None)))
    }

    fn below(&self, path: &str) -> Vec<String> {
        self.tree.keys().filter(|other| other.starts_with(&format!("{path}/"))).cloned().collect()
    }

    fn file(&self, path: &str) -> Option<Content> {
        self.tree.get(path)?.clone()
    }

    fn is_directory(&self, path: &str) -> bool {
        matches!(self.tree.get(path), Some(None))
    }

    /// The content that an open of this kind leads to.
    fn open(&mut self, path: &str, how: How) -> Option<Content> {
        let content = match self.tree.get(path) {
            Some(Some(_)) if how.exclusive => return None,
            Some(Some(content)) => content.clone(),
            None if how.create && self.parent_is_directory(path) => {
                let content = Content::default();
                self.tree.insert(path.into(), Some(content.clone()));
                content
            }
            Some(None) | None => return None,
        };
        if how.truncate {
            content.borrow_mut().clear();
        }
        Some(content)
    }

    fn can_rename(&self, from: &str, to: &str) -> bool {
        let fits = match (self.tree.get(from), self.tree.get(to)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Some(_)), Some(replaced)) => replaced.is_some(),
            (Some(None), Some(replaced)) => replaced.is_none() && self.below(to).is_empty(),
        };
        let inside = to.starts_with(&format!("{from}/"));
        from == to && self.tree.contains_key(from) || fits && !inside && self.parent_is_directory(to)
    }

    fn rename(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        for path in self.below(from).into_iter().chain([from.to_owned()]) {
            let node = self.tree.remove(&path).unwrap();
            self.tree.insert(path.replacen(from, to, 1), node);
        }
    }

    fn direct(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.tree.keys().filter_map(|other| other.strip_prefix(&prefix));
        below.filter(|rest| !rest.is_empty() && !rest.contains('/')).map(str::to_owned).collect()
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if !bytes.is_empty() && content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content.iter_mut().skip(offset).zip(bytes).for_each(|(to, from)| *to = *from);
}

/// Whether it was done; the toy says whether it may be.
fn agreed<T: std::fmt::Debug>(op: &Op, outcome: Outcome<T>, allowed: bool) -> Option<T> {
    match outcome {
        Outcome::Done(done) => {
            assert!(allowed, "{op:?} went through: {done:?}");
            Some(done)
        }
        Outcome::Refused(why) => {
            assert!(!allowed, "{op:?} failed: {why}");
            None
        }
        Outcome::Unknown => None,
    }
}

/// Does the work on both, and sees that they agree all the time and in the end.
pub(crate) fn play(driver: &mut impl Driver, ops: &[Op]) {
    let mut toy = Toy::default();
    for op in ops {
        step(driver, &mut toy, op);
    }
    close_all(driver, &mut toy);
    driver.disturb(0, 0);
    driver.drain();
    for crashed in [false, true] {
        if crashed {
            driver.crash();
        }
        for (path, node) in &toy.tree {
            if let Some(content) = node {
                assert_eq!(read_path(driver, path), Outcome::Done(content.borrow().clone()), "{path} as shown");
            }
        }
        for directory in toy.tree.iter().filter(|(_, node)| node.is_none()).map(|(path, _)| path.as_str()).chain([""]) {
            assert_eq!(driver.list(directory), Outcome::Done(toy.direct(directory)), "{directory}");
        }
    }
    let keeps = driver.keeps_empty_directories();
    let wanted: BTreeMap<String, Option<Vec<u8>>> = toy
        .tree
        .iter()
        .filter(|(path, node)| keeps || node.is_some() || toy.below(path).iter().any(|below| toy.file(below).is_some()))
        .map(|(path, node)| (path.clone(), node.as_ref().map(|content| content.borrow().clone())))
        .collect();
    assert_eq!(driver.stored(), wanted, "as stored");
}

fn close_all(driver: &mut impl Driver, toy: &mut Toy) {
    for slot in 0..SLOTS {
        if toy.handles[slot].take().is_some() {
            driver.close(slot);
        }
    }
}

fn read_path(driver: &mut impl Driver, path: &str) -> Outcome<Vec<u8>> {
    // A slot of its own.
    match driver.open(SLOTS, path, How::reading()) {
        Outcome::Done(()) => {
            let read = driver.read(SLOTS);
            driver.close(SLOTS);
            read
        }
        Outcome::Refused(why) => Outcome::Refused(why),
        Outcome::Unknown => Outcome::Unknown,
    }
}

fn step(driver: &mut impl Driver, toy: &mut Toy, op: &Op) {
    match op {
        Op::Open { slot, path, how } => {
            let path = PATHS[*path];
            // To open a directory for reading is something else.
            if toy.is_directory(path) && !how.write {
                return;
            }
            if toy.handles[*slot].take().is_some() {
                driver.close(*slot);
            }
            let outcome = driver.open(*slot, path, *how);
            let may_be = toy.file(path).is_some_and(|_| !how.exclusive)
                || (!toy.tree.contains_key(path) && how.create && toy.parent_is_directory(path));
            if agreed(op, outcome, may_be).is_some() {
                toy.handles[*slot] = toy.open(path, *how).map(|content| (content, *how));
            }
        }
        Op::Write { slot, offset, size, seed } => {
            let Some((content, how)) = toy.handles[*slot].clone().filter(|(_, how)| how.write) else { return };
            let bytes = vec![*seed; *size];
            if agreed(op, driver.write(*slot, *offset, &bytes), true).is_some() {
                let content = &mut *content.borrow_mut();
                let offset = if how.append { content.len() } else { *offset as usize };
                put(content, offset, &bytes);
            }
        }
        Op::Read { slot } => {
            let Some((content, _)) = toy.handles[*slot].clone().filter(|(_, how)| how.read) else { return };
            if let Some(read) = agreed(op, driver.read(*slot), true) {
                assert!(read == *content.borrow(), "{op:?} gave {} other bytes", read.len());
            }
        }
        Op::Cut { slot, size } => {
            let Some((content, _)) = toy.handles[*slot].clone().filter(|(_, how)| how.write) else { return };
            if agreed(op, driver.cut(*slot, *size), true).is_some() {
                content.borrow_mut().resize(*size as usize, 0);
            }
        }
        Op::Sync { slot } => {
            if toy.handles[*slot].is_some() {
                agreed(op, driver.sync(*slot), true);
            }
        }
        Op::Close { slot } => {
            if toy.handles[*slot].take().is_some() {
                driver.close(*slot);
            }
        }
        Op::Edit { path, offset, size, seed } => {
            let path = PATHS[*path];
            let content = toy.file(path);
            let how = How { write: true, ..How::reading() };
            if agreed(op, driver.open(SLOTS, path, how), content.is_some()).is_none() {
                return;
            }
            let bytes = vec![*seed; *size];
            let written = driver.write(SLOTS, *offset, &bytes);
            driver.close(SLOTS);
            if agreed(op, written, true).is_some() {
                put(&mut content.unwrap().borrow_mut(), *offset as usize, &bytes);
            }
        }
        Op::Map { path, offset, size, seed } => {
            let path = PATHS[*path];
            let Some(content) = toy.file(path) else { return };
            let end = (*offset as usize).saturating_add(*size).min(content.borrow().len());
            let Some(size) = end.checked_sub(*offset as usize).filter(|size| *size > 0) else { return };
            let bytes = vec![*seed; size];
            if agreed(op, driver.map(path, *offset, &bytes), true).is_some() {
                put(&mut content.borrow_mut(), *offset as usize, &bytes);
            }
        }
        Op::CutPath { path, size } => {
            let content = toy.file(PATHS[*path]);
            if agreed(op, driver.cut_path(PATHS[*path], *size), content.is_some()).is_some() {
                content.unwrap().borrow_mut().resize(*size as usize, 0);
            }
        }
        Op::Touch { path, seconds } => {
            let path = PATHS[*path];
            agreed(op, driver.touch(path, *seconds), toy.tree.contains_key(path));
        }
        Op::ReadPath { path } => {
            if toy.is_directory(PATHS[*path]) {
                return;
            }
            let content = toy.file(PATHS[*path]);
            if let Some(read) = agreed(op, read_path(driver, PATHS[*path]), content.is_some()) {
                assert!(read == *content.unwrap().borrow(), "{op:?} gave {} other bytes", read.len());
            }
        }
        Op::Rename { from, to } => {
            let (from, to) = (PATHS[*from], PATHS[*to]);
            if agreed(op, driver.rename(from, to), toy.can_rename(from, to)).is_some() {
                toy.rename(from, to);
            }
        }
        Op::Unlink { path } => {
            let path = PATHS[*path];
            if agreed(op, driver.unlink(path), toy.file(path).is_some()).is_some() {
                toy.tree.remove(path);
            }
        }
        Op::MakeDirectory { path } => {
            let path = PATHS[*path];
            let may_be = !toy.tree.contains_key(path) && toy.parent_is_directory(path);
            if agreed(op, driver.make_directory(path), may_be).is_some() {
                toy.tree.insert(path.into(), None);
            }
        }
        Op::RemoveDirectory { path } => {
            let path = PATHS[*path];
            let may_be = toy.is_directory(path) && toy.below(path).is_empty();
            if agreed(op, driver.remove_directory(path), may_be).is_some() {
                toy.tree.remove(path);
            }
        }
        Op::List { path } => {
            let path = PATHS[*path];
            if let Some(names) = agreed(op, driver.list(path), toy.is_directory(path)) {
                assert_eq!(names, toy.direct(path), "{op:?}");
            }
        }
        Op::Elsewhere { path, size, seed } => {
            let path = PATHS[*path];
            let Some(content) = toy.file(path) else { return };
            close_all(driver, toy);
            driver.disturb(0, 0);
            driver.drain();
            let bytes = vec![*seed; *size];
            driver.put_elsewhere(path, &bytes);
            *content.borrow_mut() = bytes.clone();
            // It is noticed while the storage answers; later an outage may show what was noticed last.
            assert_eq!(read_path(driver, path), Outcome::Done(bytes), "{op:?}");
        }
        Op::Disturb { fails, loses } => driver.disturb(*fails, *loses),
        Op::Crash => {
            // Handles end with the process, and with them what has no name.
            toy.handles = Default::default();
            driver.crash();
        }
        Op::Drain => {
            driver.disturb(0, 0);
            // What is written to is uploaded once nobody writes.
            close_all(driver, toy);
            driver.drain();
        }
    }
}
