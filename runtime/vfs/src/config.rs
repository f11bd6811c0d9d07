//! How a mount behaves: what may be chosen, and what holds otherwise.

use std::time::Duration;

use causeway_cache::Limits;

use crate::volume::Wish;

/// What is kept of content, once nobody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Nothing; a close waits for the upload.
    Off,
    /// Nothing; a close waits for the upload.
    Minimal,
    /// What was written here.
    Writes,
    /// What was written and what was read.
    Full,
}

/// What a close waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// That what was written survives a power loss here.
    Journalled,
    /// That the provider has it.
    Uploaded,
}

/// What becomes of modes, owners, times of access, extended attributes, links and other things that providers do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesMode {
    /// They are not kept.
    Off,
    /// They are kept on this machine, beside the journal.
    Sidecar,
}

/// How a mount behaves. Can be changed while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VfsConfig {
    /// What is kept.
    pub cache_mode: CacheMode,
    /// For how many milliseconds after its last use.
    pub cache_max_age_ms: u64,
    /// How many bytes at most; none for no limit but the disk's.
    pub cache_max_size: Option<u64>,
    /// For how many milliseconds an answer of the provider about names counts as fresh.
    pub dir_cache_time_ms: u64,
    /// Nothing can be changed.
    pub read_only: bool,
    /// What a close waits for.
    pub close: Close,
    /// How many bytes a sequential reader is fetched ahead at most.
    pub read_ahead_max: u64,
    /// What becomes of what providers do not hold.
    pub attributes: AttributesMode,
}

impl Default for VfsConfig {
    fn default() -> VfsConfig {
        VfsConfig {
            cache_mode: CacheMode::Writes,
            cache_max_age_ms: 3_600_000,
            cache_max_size: Some(10 << 30),
            dir_cache_time_ms: 300_000,
            read_only: false,
            close: Close::Journalled,
            read_ahead_max: 64 << 20,
            attributes: AttributesMode::Off,
        }
    }
}

impl VfsConfig {
    pub(crate) fn wish(&self) -> Wish {
        let max_age_s = self.cache_max_age_ms / 1000;
        let limits = Limits { max_bytes: self.cache_max_size.unwrap_or(u64::MAX), max_age_s };
        Wish {
            limits,
            keep_written: matches!(self.cache_mode, CacheMode::Writes | CacheMode::Full),
            fresh: Duration::from_millis(self.dir_cache_time_ms),
            old: Duration::from_millis(self.cache_max_age_ms),
        }
    }

    pub(crate) fn close_uploads(&self) -> bool {
        self.close == Close::Uploaded || matches!(self.cache_mode, CacheMode::Off | CacheMode::Minimal)
    }
}
