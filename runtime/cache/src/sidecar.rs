//! The sidecar: what a provider cannot hold of a file or directory, kept here beside it, and names that no provider has.
//!
//! A record belongs to a path and changes in the same batch as the intent that made, moved or removed what stands there, so
//! a crash never tears the two apart. Whether a record still means what the provider shows is decided above, by its kind and
//! the provider's identity. Nothing is held in memory but how much there is: records are looked up by path, and by
//! directory in the order of names. For that, a key is the directory's path, a NUL and the name.

use causeway_storage::{Error, ErrorKind, Path, Result, Timestamp, Version};
use serde::{Deserialize, Serialize};

use crate::index::{Index, Op, Table};
use crate::journal::{Batch, Journal};

/// Records of a backend: some 200 MiB of disk with names of usual length.
const RECORDS: u64 = 1_000_000;

/// Bytes of all records of a backend, extended attributes included.
const BYTES: u64 = 512 << 20;

/// The longest value of an extended attribute: what Linux passes on at most.
pub const LONGEST_EXTENDED_BYTES: usize = 64 << 10;

/// Names of the extended attributes of one file, each with its end: what Linux lists at most.
const EXTENDED_NAMES_BYTES: u32 = 64 << 10;

/// Names and values of the extended attributes of one file: four of the longest.
const EXTENDED_BYTES: u32 = 256 << 10;

/// Bytes forgotten in one step, at least.
const STEP_BYTES: u64 = 4 << 20;

/// Records taken out of the index at a time.
const PAGE: usize = 1_000;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptKind {
    /// A file of the provider.
    File,
    /// A directory of the provider.
    Directory,
    /// A symbolic link, which only the sidecar has.
    Link {
        /// Where it leads.
        target: String,
    },
    /// A named pipe, which only the sidecar has.
    Fifo,
    /// A socket, which only the sidecar has.
    Socket,
    /// A character device, which only the sidecar has.
    Character {
        /// Its number.
        device: u32,
    },
    /// A block device, which only the sidecar has.
    Block {
        /// Its number.
        device: u32,
    },
}

/// A modification time that is more exact than the provider's, or that the provider did not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTime {
    /// When.
    pub time: Timestamp,
    /// Of which version: of another one the provider knows better. None where there are no versions.
    pub version: Option<Version>,
}

/// How much the extended attributes of a file take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// Bytes of the names, with one for the end of each.
    pub names_bytes: u32,
    /// Bytes of names and values.
    pub bytes: u32,
}

/// What is kept of a path; absent is what it is without a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What stands there.
    pub kind: KeptKind,
    /// The provider's identity of it, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The permissions, twelve bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Whose group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// When it was read, as far as that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accessed: Option<Timestamp>,
    /// When its content was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<KeptTime>,
    /// When anything of it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// How much its extended attributes take.
    #[serde(default)]
    pub extended: Extended,
}

impl Kept {
    /// Nothing yet but what stands there.
    pub fn new(kind: KeptKind) -> Kept {
        Kept {
            kind,
            cookie: None,
            mode: None,
            uid: None,
            gid: None,
            accessed: None,
            modified: None,
            changed: None,
            extended: Extended::default(),
        }
    }

    /// Whether the sidecar alone has this name.
    pub fn is_name(&self) -> bool {
        !matches!(self.kind, KeptKind::File | KeptKind::Directory)
    }
}

/// How much a backend keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    records: u64,
    bytes: u64,
}

impl Tally {
    pub(crate) fn load(index: &Index, scope: &str) -> Result<Tally> {
        let Some(value) = index.get(Table::Meta, &tally_key(scope))? else { return Ok(Tally::default()) };
        if let Ok(tally) = serde_json::from_slice(&value) {
            return Ok(tally);
        }
        let mut tally = Tally::default();
        index.scan(Table::Kept, scope, |key, value| {
            tally.records += 1;
            tally.bytes += size(key, value);
        })?;
        index.scan(Table::Extended, scope, |key, value| tally.bytes += size(key, value))?;
        Ok(tally)
    }

    fn admit(self, more_bytes: u64) -> Result<()> {
        if self.records > RECORDS || self.bytes.saturating_add(more_bytes) > BYTES {
            return Err(Error::new(ErrorKind::QuotaExceeded, "no more attributes can be kept for this backend"));
        }
        Ok(())
    }
}

impl Journal {
    /// Whether the sidecar has anything.
    pub fn keeps_any(&self) -> bool {
        self.lock().kept.records > 0
    }

    /// What is kept of a path.
    pub fn kept(&self, path: &Path) -> Result<Option<Kept>> {
        let Some(value) = self.index.get(Table::Kept, &key(&self.scope, path))? else { return Ok(None) };
        match serde_json::from_slice(&value) {
            Ok(kept) => Ok(Some(kept)),
            Err(_) => {
                // Looked at once more where it can be set aside.
                let (kept, commit) = self.change(|batch| batch.kept(path))?;
                commit.leave();
                Ok(kept)
            }
        }
    }

    /// Names in a directory that only the sidecar has, in order, those after `after`; none at the end. A piece may be empty:
    /// where to go on says how far it looked.
    pub fn kept_names(&self, directory: &Path, after: &str) -> Result<Option<(Vec<String>, String)>> {
        let prefix = children(&self.scope, directory);
        // No name comes between one and the same with a NUL at its end.
        let from = if after.is_empty() { prefix.clone() } else { format!("{prefix}{after}\0") };
        let page = self.index.page(Table::Kept, &prefix, &from, PAGE)?;
        let Some(last) = page.last().and_then(|(key, _)| key.strip_prefix(&prefix)).map(str::to_owned) else {
            return Ok(None);
        };
        let is_name = |value: &[u8]| serde_json::from_slice::<Kept>(value).is_ok_and(|kept| kept.is_name());
        let names = page.iter().filter(|(_, value)| is_name(value));
        let names = names.filter_map(|(key, _)| key.strip_prefix(&prefix)).map(str::to_owned).collect();
        // The root's own record has no name, and is the first.
        Ok(Some((names, if last.is_empty() { "\0".into() } else { last })))
    }

    /// Whether at most so many records, and bytes, are kept of what lies at and below `path`.
    pub fn keeps_at_most(&self, path: &Path, records: usize, bytes: u64) -> Result<bool> {
        let (mut count, mut total) = (0, 0);
        for prefix in [children(&self.scope, path), below(&self.scope, path)] {
            let mut from = prefix.clone();
            loop {
                let page = self.index.page(Table::Kept, &prefix, &from, PAGE)?;
                let Some((last, _)) = page.last() else { break };
                from = format!("{last}\0");
                count += page.len();
                for (key, value) in &page {
                    let extended = serde_json::from_slice::<Kept>(value).map_or(0, |kept| kept.extended.bytes);
                    total += size(key, value) + u64::from(extended);
                }
                if count > records || total > bytes {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The value of an extended attribute.
    pub fn extended(&self, path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        self.index.get(Table::Extended, &extended_key(&key(&self.scope, path), name))
    }

    /// The names of the extended attributes.
    pub fn extended_names(&self, path: &Path) -> Result<Vec<String>> {
        let prefix = extended_key(&key(&self.scope, path), "");
        let mut names = Vec::new();
        self.index.scan(Table::Extended, &prefix, |key, _| {
            names.extend(key.strip_prefix(&prefix).map(str::to_owned));
        })?;
        Ok(names)
    }
}

impl Batch<'_> {
    /// What is kept of a path, as this batch left it. What cannot be understood is set aside.
    pub fn kept(&mut self, path: &Path) -> Result<Option<Kept>> {
        let key = key(&self.journal.scope, path);
        let Some(value) = self.kept_value(&key)? else { return Ok(None) };
        if let Ok(kept) = serde_json::from_slice(&value) {
            return Ok(Some(kept));
        }
        tracing::error!(%path, "what was kept of a file could not be understood and was set aside");
        self.ops.push(Op::put(Table::Quarantine, format!("kept {key}"), value));
        self.put_kept(&key, None)?;
        self.forget_extended(&key)?;
        Ok(None)
    }

    /// Keeps something of a path.
    pub fn keep(&mut self, path: &Path, kept: &Kept) -> Result<()> {
        let value = serde_json::to_vec(kept).map_err(Error::internal)?;
        let before = self.tally;
        self.put_kept(&key(&self.journal.scope, path), Some(&value))?;
        // What takes no more than before is possible whatever there is.
        if self.tally.records > before.records { self.tally.admit(0) } else { Ok(()) }
    }

    /// Keeps nothing of a path any more.
    pub fn forget_kept(&mut self, path: &Path) -> Result<()> {
        let key = key(&self.journal.scope, path);
        if self.kept_value(&key)?.is_some() {
            self.put_kept(&key, None)?;
            self.forget_extended(&key)?;
        }
        Ok(())
    }

    /// Keeps nothing any more of what lies below a directory; says whether there may be more.
    pub fn forget_kept_below(&mut self, directory: &Path) -> Result<bool> {
        for prefix in [children(&self.journal.scope, directory), below(&self.journal.scope, directory)] {
            let own = key(&self.journal.scope, directory);
            let page = self.journal.index.page(Table::Kept, &prefix, &prefix, PAGE)?;
            let found: Vec<_> = page.into_iter().map(|(key, _)| key).filter(|key| *key != own).collect();
            let before = self.tally.bytes;
            for key in &found {
                self.put_kept(key, None)?;
                self.forget_extended(key)?;
                if before.saturating_sub(self.tally.bytes) > STEP_BYTES {
                    break;
                }
            }
            if !found.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is kept of `from` and everything below is kept of `to` from now on, of which nothing is kept. Ask
    /// [`Journal::keeps_at_most`] before: all of it is one step.
    pub fn move_kept(&mut self, from: &Path, to: &Path) -> Result<()> {
        let scope = self.journal.scope.clone();
        self.move_one(&key(&scope, from), &key(&scope, to))?;
        for (old, new) in [(children(&scope, from), children(&scope, to)), (below(&scope, from), below(&scope, to))] {
            let mut at = old.clone();
            loop {
                let page = self.journal.index.page(Table::Kept, &old, &at, PAGE)?;
                let Some((last, _)) = page.last() else { break };
                at = format!("{last}\0");
                for (key, _) in &page {
                    let rest = key.strip_prefix(&old).unwrap_or_default();
                    self.move_one(key, &format!("{new}{rest}"))?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is such an extended attribute, before this change.
    pub fn has_extended(&self, path: &Path, name: &str) -> Result<bool> {
        let key = extended_key(&key(&self.journal.scope, path), name);
        Ok(self.journal.index.get(Table::Extended, &key)?.is_some())
    }

    /// Sets, or with none removes, an extended attribute of what a record is kept of.
    pub fn set_extended(&mut self, path: &Path, mut kept: Kept, name: &str, value: Option<&[u8]>) -> Result<()> {
        let record = key(&self.journal.scope, path);
        let key = extended_key(&record, name);
        let before = self.journal.index.get(Table::Extended, &key)?;
        let length = name.len() as u32;
        if let Some(before) = &before {
            kept.extended.names_bytes = kept.extended.names_bytes.saturating_sub(length + 1);
            kept.extended.bytes = kept.extended.bytes.saturating_sub(length + before.len() as u32);
        }
        if let Some(value) = value {
            kept.extended.names_bytes += length + 1;
            kept.extended.bytes += length + value.len() as u32;
            if kept.extended.names_bytes > EXTENDED_NAMES_BYTES || kept.extended.bytes > EXTENDED_BYTES {
                return Err(Error::new(ErrorKind::QuotaExceeded, "a file cannot have more extended attributes"));
            }
            self.tally.admit(size(&key, value))?;
        }
        self.put_extended(&key, before.as_deref(), value);
        self.keep(path, &kept)
    }

    /// Writes down how much is kept now.
    pub(crate) fn note_kept(&mut self) {
        if self.tally != self.log.kept {
            let value = serde_json::to_vec(&self.tally).ok().map(Into::into);
            self.ops.push(Op { table: Table::Meta, key: tally_key(&self.journal.scope), value });
        }
    }

    fn kept_value(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.kept.get(key) {
            Some(value) => Ok(value.as_ref().map(|value| value.to_vec())),
            None => self.journal.index.get(Table::Kept, key),
        }
    }

    fn put_kept(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        if let Some(before) = self.kept_value(key)? {
            self.tally.records = self.tally.records.saturating_sub(1);
            self.tally.bytes = self.tally.bytes.saturating_sub(size(key, &before));
        }
        if let Some(value) = value {
            self.tally.records += 1;
            self.tally.bytes += size(key, value);
        }
        let value = value.map(std::sync::Arc::from);
        self.kept.insert(key.to_owned(), value.clone());
        self.ops.push(Op { table: Table::Kept, key: key.to_owned(), value });
        Ok(())
    }

    fn put_extended(&mut self, key: &str, before: Option<&[u8]>, value: Option<&[u8]>) {
        self.tally.bytes = self.tally.bytes.saturating_sub(before.map_or(0, |before| size(key, before)));
        self.tally.bytes += value.map_or(0, |value| size(key, value));
        self.ops.push(Op { table: Table::Extended, key: key.to_owned(), value: value.map(Into::into) });
    }

    fn forget_extended(&mut self, record: &str) -> Result<()> {
        for (key, value) in self.extended_of(record)? {
            self.put_extended(&key, Some(&value), None);
        }
        Ok(())
    }

    fn move_one(&mut self, from: &str, to: &str) -> Result<()> {
        let Some(value) = self.kept_value(from)? else { return Ok(()) };
        self.put_kept(from, None)?;
        self.put_kept(to, Some(&value))?;
        for (key, value) in self.extended_of(from)? {
            let name = key.strip_prefix(from).unwrap_or_default();
            self.put_extended(&format!("{to}{name}"), None, Some(&value));
            self.put_extended(&key, Some(&value), None);
        }
        Ok(())
    }

    /// The extended attributes of a record: as many as a file can have.
    fn extended_of(&self, record: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = extended_key(record, "");
        let mut found = Vec::new();
        self.journal.index.scan(Table::Extended, &prefix, |key, value| found.push((key.to_owned(), value.to_vec())))?;
        Ok(found)
    }
}

fn key(scope: &str, path: &Path) -> String {
    let parent = path.parent().unwrap_or_default();
    format!("{scope}{parent}\0{}", path.name().unwrap_or_default())
}

/// What the keys of everything in a directory begin with.
fn children(scope: &str, directory: &Path) -> String {
    format!("{scope}{directory}\0")
}

/// What the keys of everything below, but not in, a directory begin with. The root is never moved or removed.
fn below(scope: &str, directory: &Path) -> String {
    format!("{scope}{directory}/")
}

fn extended_key(record: &str, name: &str) -> String {
    format!("{record}\0{name}")
}

fn tally_key(scope: &str) -> String {
    format!("kept {scope}")
}

fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}
