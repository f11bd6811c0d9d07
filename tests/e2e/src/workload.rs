//! A program that works on a directory of its own at random, and knows at every moment what must be there.
//!
//! Before each step it writes down what it is about to do, after it that it was answered; all of that outside of what is
//! tested. When a step ends without an answer, the directory must show how it was before that step or how it is after it:
//! nothing in between, and of all earlier steps everything. Only a write that the kernel sends in several requests may have
//! come as far as one of them. The same seed does the same work.
//!
//! Steps are what programs do: files are made, written, appended to, cut, synced, renamed (over others, with their
//! directories), removed, and saved in the ways in which editors save. Some files stay open over many steps.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::content::{bytes, digest};

/// What a directory shows: contents by path; a directory has none.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// Steps told of when something is wrong.
const TOLD: usize = 40;
/// Files that one program has open at most.
const OPEN: usize = 3;
/// The kernel's requests to write begin and end at multiples of this, but for the first and the last.
const REQUEST: usize = 4096;
/// A piece of a large file.
const PIECE: usize = 512 * 1024;

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn chance(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.below(all.len())].clone()) }
    }
}

/// One thing that is done.
#[derive(Clone)]
enum Step {
    /// A new file, which stays open.
    Create(String),
    Write(String, usize, Vec<u8>),
    Append(String, Vec<u8>),
    Cut(String, usize),
    /// Opened so that it is cut to nothing, and stays open.
    Rewrite(String),
    Sync(String),
    Close(String),
    Rename(String, String),
    Remove(String),
    MakeDirectory(String),
    RemoveDirectory(String),
    Read(String),
    List(String),
}

impl Debug for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Create(path) => write!(f, "create {path}"),
            Step::Write(path, at, content) => write!(f, "write {path} at {at}, {}", shown(content)),
            Step::Append(path, content) => write!(f, "append to {path}, {}", shown(content)),
            Step::Cut(path, size) => write!(f, "cut {path} to {size}"),
            Step::Rewrite(path) => write!(f, "open {path} and cut it to nothing"),
            Step::Sync(path) => write!(f, "sync {path}"),
            Step::Close(path) => write!(f, "close {path}"),
            Step::Rename(from, to) => write!(f, "rename {from} to {to}"),
            Step::Remove(path) => write!(f, "remove {path}"),
            Step::MakeDirectory(path) => write!(f, "make directory {path}"),
            Step::RemoveDirectory(path) => write!(f, "remove directory {path}"),
            Step::Read(path) => write!(f, "read {path}"),
            Step::List(path) => write!(f, "list {path:?}"),
        }
    }
}

/// One program.
pub(crate) struct Worker {
    root: PathBuf,
    random: Random,
    /// What must be there.
    tree: Tree,
    open: BTreeMap<String, File>,
    planned: VecDeque<Step>,
    /// The step that was begun and not answered.
    doing: Option<Step>,
    done: VecDeque<String>,
    pub(crate) steps: usize,
}

impl Worker {
    /// It works in `root`, which is there and empty.
    pub(crate) fn new(root: PathBuf, seed: u64) -> Worker {
        Worker {
            root,
            random: Random::new(seed),
            tree: Tree::new(),
            open: BTreeMap::new(),
            planned: VecDeque::new(),
            doing: None,
            done: VecDeque::new(),
            steps: 0,
        }
    }

    /// What must be there by now.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Works until `ended` is set. What is refused before that is an error.
    pub(crate) fn work(&mut self, ended: &AtomicBool) -> Result<(), String> {
        while !ended.load(Ordering::SeqCst) {
            let step = match self.planned.pop_front() {
                Some(step) => step,
                None => self.choose(),
            };
            self.doing = Some(step.clone());
            match self.carry_out(&step) {
                Ok(()) => {}
                Err(_) if ended.load(Ordering::SeqCst) => break,
                Err(error) => return Err(self.told(&format!("{step:?}: {error}"))),
            }
            apply(&mut self.tree, &step);
            self.doing = None;
            self.steps += 1;
            self.done.push_back(format!("{step:?}"));
            if self.done.len() > TOLD {
                self.done.pop_front();
            }
        }
        Ok(())
    }

    /// Looks at what is there after an end without warning, and goes on from it. Everything answered must be there, and of
    /// the step under way all or nothing.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.compare()?;
        self.doing = None;
        Ok(())
    }

    fn compare(&mut self) -> Result<(), String> {
        self.open.clear();
        self.planned.clear();
        let seen = read_tree(&self.root).map_err(|error| self.told(&format!("reading it: {error}")))?;
        let unanswered = self.doing.clone();
        let before = difference(&self.tree, &seen);
        let Some(before) = before else {
            self.done.extend(unanswered.map(|step| format!("{step:?} (unanswered, not done)")));
            return Ok(());
        };
        let Some(step) = unanswered else {
            return Err(self.told(&format!("what was answered is not there:\n{before}")));
        };
        let mut after = self.tree.clone();
        apply(&mut after, &step);
        let Some(wrong) = difference(&after, &seen) else {
            self.done.push_back(format!("{step:?} (unanswered, done)"));
            self.tree = after;
            return Ok(());
        };
        for part in parts(&self.tree, &step) {
            let mut after = self.tree.clone();
            apply(&mut after, &part);
            if after == seen {
                self.done.push_back(format!("{step:?} (unanswered, as far as this: {part:?})"));
                self.tree = after;
                return Ok(());
            }
        }
        let text = format!("neither before nor after: {step:?}\nbefore it:\n{before}after it:\n{wrong}");
        Err(self.told(&text))
    }

    fn told(&self, what: &str) -> String {
        let done: String = self.done.iter().map(|step| format!("  {step}\n")).collect();
        format!("in {}, after {} steps: {what}\nthe last steps:\n{done}", self.root.display(), self.steps)
    }

    fn carry_out(&mut self, step: &Step) -> io::Result<()> {
        let at = |path: &str| self.root.join(path);
        match step {
            Step::Create(path) => {
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(at(path))?;
                self.open.insert(path.clone(), file);
            }
            Step::Write(path, offset, content) => self.with(path, |file| file.write_all_at(content, *offset as u64))?,
            Step::Append(path, content) => {
                OpenOptions::new().append(true).open(at(path))?.write_all(content)?;
            }
            Step::Cut(path, size) => self.with(path, |file| file.set_len(*size as u64))?,
            Step::Rewrite(path) => {
                let file = OpenOptions::new().read(true).write(true).truncate(true).open(at(path))?;
                self.open.insert(path.clone(), file);
            }
            Step::Sync(path) => self.with(path, File::sync_all)?,
            Step::Close(path) => drop(self.open.remove(path)),
            Step::Rename(from, to) => {
                fs::rename(at(from), at(to))?;
                self.open.remove(to);
                let moved: Vec<_> = self.open.keys().filter(|path| is_within(path, from)).cloned().collect();
                for path in moved {
                    let file = self.open.remove(&path).unwrap();
                    self.open.insert(format!("{to}{}", &path[from.len()..]), file);
                }
            }
            Step::Remove(path) => {
                fs::remove_file(at(path))?;
                self.open.remove(path);
            }
            Step::MakeDirectory(path) => fs::create_dir(at(path))?,
            Step::RemoveDirectory(path) => fs::remove_dir(at(path))?,
            Step::Read(path) => {
                let read = fs::read(at(path))?;
                let wanted = self.tree[path].as_ref().unwrap();
                if read != *wanted {
                    return Err(io::Error::other(format!("read {}, written was {}", shown(&read), shown(wanted))));
                }
            }
            Step::List(directory) => {
                let mut names = Vec::new();
                for entry in fs::read_dir(at(directory))? {
                    names.push(entry?.file_name().into_string().unwrap());
                }
                names.sort();
                let wanted = names_in(&self.tree, directory);
                if names != wanted {
                    return Err(io::Error::other(format!("listed {names:?}, there should be {wanted:?}")));
                }
            }
        }
        Ok(())
    }

    /// Does it through the handle that is open, or one that is opened for it.
    fn with(&self, path: &str, act: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
        match self.open.get(path) {
            Some(file) => act(file),
            None => act(&OpenOptions::new().read(true).write(true).open(self.root.join(path))?),
        }
    }

    /// The next step, perhaps with others that belong to it.
    fn choose(&mut self) -> Step {
        let files: Vec<String> =
            self.tree.iter().filter(|(_, content)| content.is_some()).map(|(path, _)| path.clone()).collect();
        let directories: Vec<String> =
            self.tree.iter().filter(|(_, content)| content.is_none()).map(|(path, _)| path.clone()).collect();
        loop {
            let file = self.random.one_of(&files);
            let directory = self.random.one_of(&directories);
            let free = self.free_name(&directories);
            let step = match (self.random.below(20), file, directory) {
                (0..=2, ..) if self.open.len() < OPEN => Step::Create(free),
                (0..=4, Some(file), _) => Step::Write(file.clone(), self.place(&file), self.some()),
                (5, Some(file), _) => Step::Append(file, self.some()),
                (6, Some(file), _) => Step::Cut(file.clone(), self.place(&file)),
                (7, Some(file), _) if self.open.len() < OPEN => Step::Rewrite(file),
                (8, Some(file), _) => Step::Sync(file),
                (9 | 10, ..) if !self.open.is_empty() => {
                    let open: Vec<_> = self.open.keys().cloned().collect();
                    Step::Close(self.random.one_of(&open).unwrap_or_default())
                }
                (11, Some(file), _) => Step::Rename(file, free),
                (12, Some(file), _) => match self.random.one_of(&files) {
                    Some(other) if other != file => Step::Rename(file, other),
                    _ => continue,
                },
                (13, _, Some(directory)) if !is_within(&free, &directory) => Step::Rename(directory, free),
                (14, Some(file), _) if files.len() > 4 => Step::Remove(file),
                (15, ..) if directories.len() < 4 => Step::MakeDirectory(free),
                (15, _, Some(directory)) if names_in(&self.tree, &directory).is_empty() => {
                    Step::RemoveDirectory(directory)
                }
                (16, Some(file), _) => self.save(file),
                (17, ..) if self.random.chance(10) => self.large(free),
                (18, Some(file), _) => Step::Read(file),
                (19, _, directory) => Step::List(directory.unwrap_or_default()),
                _ => continue,
            };
            return step;
        }
    }

    /// Saved as editors do: a new file that is renamed over the old one, or the old one renamed away before.
    fn save(&mut self, file: String) -> Step {
        let (temporary, backup) = (format!("{file}.tmp"), format!("{file}~"));
        if self.tree.contains_key(&temporary) || self.tree.contains_key(&backup) {
            return Step::Read(file);
        }
        let steps = if self.random.chance(50) {
            let mut steps = vec![Step::Create(temporary.clone()), Step::Write(temporary.clone(), 0, self.some())];
            if self.random.chance(70) {
                steps.push(Step::Sync(temporary.clone()));
            }
            steps.extend([Step::Close(temporary.clone()), Step::Rename(temporary, file.clone()), Step::Read(file)]);
            steps
        } else {
            vec![
                Step::Rename(file.clone(), backup.clone()),
                Step::Create(file.clone()),
                Step::Write(file.clone(), 0, self.some()),
                Step::Sync(file.clone()),
                Step::Close(file),
                Step::Remove(backup),
            ]
        };
        self.plan(steps)
    }

    /// A file of several parts.
    fn large(&mut self, path: String) -> Step {
        let pieces = 11 + self.random.below(4);
        let seed = self.random.next();
        let mut steps = vec![Step::Create(path.clone())];
        steps.extend(
            (0..pieces)
                .map(|piece| Step::Write(path.clone(), piece * PIECE, bytes(seed.wrapping_add(piece as u64), PIECE))),
        );
        steps.extend([Step::Close(path.clone()), Step::Read(path.clone()), Step::Remove(path)]);
        // Half of them stay for a while.
        if self.random.chance(50) {
            steps.pop();
        }
        self.plan(steps)
    }

    fn plan(&mut self, steps: Vec<Step>) -> Step {
        self.planned.extend(steps);
        self.planned.pop_front().unwrap_or(Step::List(String::new()))
    }

    fn free_name(&mut self, directories: &[String]) -> String {
        loop {
            let parent = if self.random.chance(60) { self.random.one_of(directories) } else { None };
            let name = format!("n{}", self.random.below(30));
            let path = parent.map_or_else(|| name.clone(), |parent| format!("{parent}/{name}"));
            if !self.tree.contains_key(&path) && path.matches('/').count() < 4 {
                return path;
            }
        }
    }

    /// Somewhere in a file, or a little behind it.
    fn place(&mut self, file: &str) -> usize {
        let size = self.tree[file].as_ref().map_or(0, Vec::len);
        match self.random.below(4) {
            0 => 0,
            1 => size,
            2 => self.random.below(size + 1),
            _ => self.random.below(size + 10_000),
        }
    }

    fn some(&mut self) -> Vec<u8> {
        let most = [10, 5_000, 60_000, 200_000][self.random.below(4)];
        let size = 1 + self.random.below(most);
        bytes(self.random.next(), size)
    }
}

/// What a step changes.
fn apply(tree: &mut Tree, step: &Step) {
    match step {
        Step::Write(path, at, written) => {
            let content = content_in(tree, path);
            content.resize(content.len().max(at + written.len()), 0);
            content[*at..at + written.len()].copy_from_slice(written);
        }
        Step::Append(path, written) => content_in(tree, path).extend(written),
        Step::Cut(path, size) => content_in(tree, path).resize(*size, 0),
        Step::Create(path) | Step::Rewrite(path) => drop(tree.insert(path.clone(), Some(Vec::new()))),
        Step::MakeDirectory(path) => drop(tree.insert(path.clone(), None)),
        Step::Remove(path) | Step::RemoveDirectory(path) => drop(tree.remove(path)),
        Step::Rename(from, to) => {
            let moved: Vec<_> = tree.keys().filter(|path| is_within(path, from)).cloned().collect();
            for path in moved {
                if let Some(entry) = tree.remove(&path) {
                    tree.insert(format!("{to}{}", &path[from.len()..]), entry);
                }
            }
        }
        Step::Sync(_) | Step::Close(_) | Step::Read(_) | Step::List(_) => {}
    }
}

/// How far a write may have come that the kernel sends in several requests: each of them ends with a page.
fn parts(tree: &Tree, step: &Step) -> Vec<Step> {
    let (path, at, content) = match step {
        Step::Write(path, at, content) => (path, *at, content),
        Step::Append(path, content) => (path, tree[path].as_ref().map_or(0, Vec::len), content),
        _ => return Vec::new(),
    };
    let ends = (at + 1..at + content.len()).filter(|end| end % REQUEST == 0);
    ends.map(|end| Step::Write(path.clone(), at, content[..end - at].to_vec())).collect()
}

fn content_in<'a>(tree: &'a mut Tree, path: &str) -> &'a mut Vec<u8> {
    tree.get_mut(path).and_then(Option::as_mut).unwrap()
}

fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

fn names_in(tree: &Tree, directory: &str) -> Vec<String> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let below = tree.keys().filter_map(|path| path.strip_prefix(&prefix));
    let mut names: Vec<_> = below.filter(|name| !name.contains('/')).map(str::to_owned).collect();
    names.sort();
    names
}

/// Everything below a directory.
pub(crate) fn read_tree(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        let named = |error: io::Error| io::Error::other(format!("{}: {error}", directory.display()));
        for entry in fs::read_dir(&directory).map_err(named)? {
            let path = entry.map_err(named)?.path();
            let named = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
            let metadata = fs::symlink_metadata(&path).map_err(named)?;
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if metadata.is_dir() {
                left.push(path);
                tree.insert(name, None);
                continue;
            }
            let content = fs::read(&path).map_err(named)?;
            if content.len() as u64 != metadata.len() {
                let text = format!("{name} shows {} bytes and has {}", metadata.len(), content.len());
                return Err(io::Error::other(text));
            }
            tree.insert(name, Some(content));
        }
    }
    Ok(tree)
}

/// What is wrong, if anything.
pub(crate) fn difference(wanted: &Tree, seen: &Tree) -> Option<String> {
    let describe = |entry: Option<&Option<Vec<u8>>>| match entry {
        None => "nothing".to_owned(),
        Some(None) => "a directory".to_owned(),
        Some(Some(content)) => shown(content),
    };
    let mut text = String::new();
    for path in wanted.keys().chain(seen.keys().filter(|path| !wanted.contains_key(*path))) {
        let (wanted, seen) = (wanted.get(path), seen.get(path));
        if wanted == seen {
            continue;
        }
        text.push_str(&format!("  {path}: {} instead of {}", describe(seen), describe(wanted)));
        if let (Some(Some(wanted)), Some(Some(seen))) = (wanted, seen) {
            let first = wanted.iter().zip(seen).position(|(one, other)| one != other);
            text.push_str(&format!(", different from {}", first.unwrap_or(wanted.len().min(seen.len()))));
        }
        text.push('\n');
    }
    (!text.is_empty()).then_some(text)
}

fn shown(content: &[u8]) -> String {
    format!("{} bytes ({})", content.len(), &digest(content)[..8])
}
