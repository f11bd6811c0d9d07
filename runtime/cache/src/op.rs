//! Changes of the index, and how they are written down.
//!
//! It does not apply them. An encoded change is a table's number, the key, and the value or that there is none.

use std::sync::Arc;

use causeway_storage::{Error, ErrorKind, Result};

/// Stands for a value that is not there.
const NONE: u32 = u32::MAX;

/// The kinds of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Content fetched from, or accepted by, a provider.
    Objects,
    /// Changes that a provider has not made yet.
    Intents,
    /// How far uploads got.
    Progress,
    /// Directories that only exist here.
    Directories,
    /// Modification times of directories, which most providers do not keep.
    Times,
    /// Records that could not be understood, kept for people.
    Quarantine,
    /// What of a working copy survives a power loss.
    Secured,
    /// What the cache knows of itself.
    Meta,
    /// What is known of providers' directories.
    Known,
    /// Paths whose content is to stay here.
    Pins,
    /// What providers cannot hold of files and directories, and names that they do not have.
    Kept,
    /// Extended attributes.
    Extended,
}

impl Table {
    /// By their numbers, which are on disk.
    pub(crate) const ALL: [Table; 12] = [
        Table::Objects,
        Table::Intents,
        Table::Progress,
        Table::Directories,
        Table::Times,
        Table::Quarantine,
        Table::Secured,
        Table::Meta,
        Table::Known,
        Table::Pins,
        Table::Kept,
        Table::Extended,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Objects => "objects",
            Table::Intents => "intents",
            Table::Progress => "progress",
            Table::Directories => "directories",
            Table::Times => "times",
            Table::Quarantine => "quarantine",
            Table::Secured => "secured",
            Table::Meta => "meta",
            Table::Known => "known",
            Table::Pins => "pins",
            Table::Kept => "kept",
            Table::Extended => "extended",
        }
    }
}

/// One change of one record: a value to put, or none to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) table: Table,
    pub(crate) key: String,
    pub(crate) value: Option<Arc<[u8]>>,
}

impl Op {
    pub(crate) fn put(table: Table, key: impl Into<String>, value: impl Into<Arc<[u8]>>) -> Op {
        Op { table, key: key.into(), value: Some(value.into()) }
    }

    pub(crate) fn delete(table: Table, key: impl Into<String>) -> Op {
        Op { table, key: key.into(), value: None }
    }

    /// Whether it takes away something that waited: that makes room, and must be possible where there is little.
    pub(crate) fn makes_room(&self) -> bool {
        self.table == Table::Intents && self.value.is_none()
    }
}

/// The changes as bytes.
pub(crate) fn encode(ops: &[Op]) -> Vec<u8> {
    let size = ops.iter().map(|op| 9 + op.key.len() + op.value.as_ref().map_or(0, |value| value.len())).sum();
    let mut bytes = Vec::with_capacity(size);
    for op in ops {
        bytes.push(op.table as u8);
        bytes.extend((op.key.len() as u32).to_le_bytes());
        bytes.extend(op.key.as_bytes());
        let value = op.value.as_deref();
        bytes.extend(value.map_or(NONE, |value| value.len() as u32).to_le_bytes());
        bytes.extend(value.unwrap_or_default());
    }
    bytes
}

/// The changes that bytes stand for. Fails if a newer version wrote them.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    while !bytes.is_empty() {
        let op = decode_one(&mut bytes);
        ops.push(op.ok_or_else(|| Error::new(ErrorKind::Unsupported, "the cache was written by a newer version"))?);
    }
    Ok(ops)
}

fn decode_one(bytes: &mut &[u8]) -> Option<Op> {
    let table = *Table::ALL.get(usize::from(*take(bytes, 1)?.first()?))?;
    let size = take_size(bytes)?;
    let key = String::from_utf8(take(bytes, size as usize)?.to_vec()).ok()?;
    let value = match take_size(bytes)? {
        NONE => None,
        size => Some(take(bytes, size as usize)?.into()),
    };
    Some(Op { table, key, value })
}

fn take_size(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(taken)
}
