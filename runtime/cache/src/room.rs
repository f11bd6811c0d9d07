//! How much the cache holds, and whether more fits.
//!
//! It counts and compares; what goes to make room is chosen next door. Content is counted where it is written, three
//! times: for the backend, for its tenant and for the machine. So whether a write fits is answered from a few numbers. The
//! disk's own room is looked at again after so many bytes or so many milliseconds, and what was admitted since is taken off
//! in between.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use causeway_storage::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::object::OpenObjects;

/// Bytes admitted after which the disk is looked at again: a sixteenth of what is left to others by default.
const LOOK_BYTES: u64 = 16 << 20;

/// Milliseconds after which it is, since others write to it too.
const LOOK_MS: u64 = 250;

/// How much the whole cache may keep, and each tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes of content of all tenants together, fetched and waiting.
    pub machine_bytes: u64,
    /// Bytes of content of each tenant.
    pub tenant_bytes: u64,
    /// Bytes of the disk that are left to others, and to the index and the journal so that they can go on.
    pub reserve_bytes: u64,
}

impl Default for Quotas {
    /// No limits, but for 256 MiB of the disk.
    fn default() -> Quotas {
        Quotas { machine_bytes: u64::MAX, tenant_bytes: u64::MAX, reserve_bytes: 256 << 20 }
    }
}

/// How much a backend may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content, fetched and waiting together.
    pub max_bytes: u64,
    /// Seconds after its last use at which fetched content goes.
    pub max_age_s: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_bytes: u64::MAX, max_age_s: u64::MAX }
    }
}

/// What is short when something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    Disk,
    Machine,
    Tenant,
    Backend,
}

/// Bytes of content. What was there when the cache was opened is added once it was counted: until then less is known than
/// there is, and what goes in between leaves less than nothing.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// The provider has it.
    clean: AtomicI64,
    /// It waits for its upload.
    dirty: AtomicI64,
}

impl Usage {
    fn total(&self) -> u64 {
        let total = self.clean.load(Ordering::Relaxed).saturating_add(self.dirty.load(Ordering::Relaxed));
        u64::try_from(total).unwrap_or(0)
    }

    fn waits(&self) -> bool {
        self.dirty.load(Ordering::Relaxed) > 0
    }
}

/// The room of one cache.
#[derive(Debug)]
pub(crate) struct Room {
    quotas: Quotas,
    content: File,
    machine: Usage,
    tenants: Mutex<HashMap<String, Arc<Usage>>>,
    places: Mutex<HashMap<String, Arc<Place>>>,
    /// The disk's free bytes when they were looked at, less what was admitted since.
    free: AtomicI64,
    admitted: AtomicU64,
    looked_ms: AtomicU64,
    used_ms: AtomicU64,
    began: Instant,
    changed: watch::Sender<()>,
}

/// What belongs to one backend.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where its records' keys begin.
    pub(crate) prefix: String,
    /// Where those of all backends of its tenant do.
    pub(crate) tenant_prefix: String,
    pub(crate) open: OpenObjects,
    room: Arc<Room>,
    tenant: Arc<Usage>,
    usage: Usage,
    max_bytes: AtomicU64,
    max_age_s: AtomicU64,
    /// No fetched content was used last before this, in seconds since 1970.
    pub(crate) oldest_used: AtomicI64,
}

impl Room {
    pub(crate) fn new(quotas: Quotas, content: File) -> Arc<Room> {
        Arc::new(Room {
            quotas,
            content,
            machine: Usage::default(),
            tenants: Mutex::default(),
            places: Mutex::default(),
            free: AtomicI64::new(0),
            admitted: AtomicU64::new(u64::MAX),
            looked_ms: AtomicU64::new(0),
            used_ms: AtomicU64::new(0),
            began: Instant::now(),
            changed: watch::Sender::new(()),
        })
    }

    /// What belongs to a backend of a tenant.
    pub(crate) fn place(self: &Arc<Self>, tenant: &str, backend: &str, generation: u64) -> Arc<Place> {
        let prefix = format!("{}{generation}/", backend_prefix(tenant, backend));
        self.place_of(&tenant_prefix(tenant), &prefix)
    }

    /// What belongs to the backend of a record's key; none if the key is not one.
    pub(crate) fn place_of_key(self: &Arc<Self>, key: &str) -> Option<Arc<Place>> {
        let (tenant, rest) = split_name(key)?;
        let (backend, rest) = split_name(rest)?;
        let (generation, _) = rest.split_once('/')?;
        let prefix = key.get(..tenant.len() + backend.len() + generation.len() + 1)?;
        Some(self.place_of(tenant, prefix))
    }

    fn place_of(self: &Arc<Self>, tenant_prefix: &str, prefix: &str) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(prefix) {
            return place.clone();
        }
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Arc::new(Place {
            prefix: prefix.to_owned(),
            tenant_prefix: tenant_prefix.to_owned(),
            open: OpenObjects::default(),
            room: self.clone(),
            tenant: tenants.entry(tenant_prefix.to_owned()).or_default().clone(),
            usage: Usage::default(),
            max_bytes: AtomicU64::new(u64::MAX),
            max_age_s: AtomicU64::new(u64::MAX),
            oldest_used: AtomicI64::new(0),
        });
        places.insert(prefix.to_owned(), place.clone());
        place
    }

    /// Rings when there may be more room.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// For how many milliseconds nobody used the cache.
    pub(crate) fn idle_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.used_ms.load(Ordering::Relaxed))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the disk has room for so many bytes and the reserve.
    fn disk_has(&self, bytes: u64) -> Result<bool> {
        let now = self.now_ms();
        let admitted = self.admitted.load(Ordering::Relaxed).saturating_add(bytes);
        if admitted >= LOOK_BYTES || now.saturating_sub(self.looked_ms.load(Ordering::Relaxed)) >= LOOK_MS {
            let disk = rustix::fs::fstatvfs(&self.content).map_err(std::io::Error::from)?;
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            self.free.store(i64::try_from(free).unwrap_or(i64::MAX), Ordering::Relaxed);
            self.admitted.store(0, Ordering::Relaxed);
            self.looked_ms.store(now, Ordering::Relaxed);
        }
        let wanted = i64::try_from(self.quotas.reserve_bytes.saturating_add(bytes)).unwrap_or(i64::MAX);
        Ok(self.free.load(Ordering::Relaxed) >= wanted)
    }

    fn spend(&self, bytes: u64) {
        // At worst it starts again at zero after 16 EiB.
        self.admitted.fetch_add(bytes, Ordering::Relaxed);
        self.free.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

impl Place {
    /// What is too short for so many bytes more; nothing if they fit, and then they count as about to be written.
    pub(crate) fn short_of(&self, bytes: u64) -> Result<Option<Short>> {
        self.touch();
        let quotas = &self.room.quotas;
        let fits = |usage: &Usage, most: u64| usage.total().saturating_add(bytes) <= most;
        Ok(if !self.room.disk_has(bytes)? {
            Some(Short::Disk)
        } else if !fits(&self.room.machine, quotas.machine_bytes) {
            Some(Short::Machine)
        } else if !fits(&self.tenant, quotas.tenant_bytes) {
            Some(Short::Tenant)
        } else if !fits(&self.usage, self.max_bytes.load(Ordering::Relaxed)) {
            Some(Short::Backend)
        } else {
            self.room.spend(bytes);
            None
        })
    }

    /// Whether a sixteenth of the limit is free beside so many bytes: then eviction, which looks at every record, is not
    /// wanted again soon.
    pub(crate) fn has_slack(&self, short: Short, bytes: u64) -> Result<bool> {
        let quotas = &self.room.quotas;
        let slack = |usage: &Usage, most: u64| usage.total().saturating_add(bytes) <= most - most / 16;
        Ok(match short {
            Short::Disk => {
                self.room.admitted.store(u64::MAX, Ordering::Relaxed);
                self.room.disk_has(bytes.saturating_add(quotas.reserve_bytes / 16))?
            }
            Short::Machine => slack(&self.room.machine, quotas.machine_bytes),
            Short::Tenant => slack(&self.tenant, quotas.tenant_bytes),
            Short::Backend => slack(&self.usage, self.max_bytes.load(Ordering::Relaxed)),
        })
    }

    /// Whether there will be more room when what waits is uploaded.
    pub(crate) fn waiting_helps(&self, short: Short) -> bool {
        match short {
            Short::Disk | Short::Machine => self.room.machine.waits(),
            Short::Tenant => self.tenant.waits(),
            Short::Backend => self.usage.waits(),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        let (max_bytes, max_age_s) = (self.max_bytes.load(Ordering::Relaxed), self.max_age_s.load(Ordering::Relaxed));
        Limits { max_bytes, max_age_s }
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        self.max_bytes.store(limits.max_bytes, Ordering::Relaxed);
        self.max_age_s.store(limits.max_age_s, Ordering::Relaxed);
        self.room.changed.send_replace(());
    }

    /// Someone uses the cache.
    pub(crate) fn touch(&self) {
        self.room.used_ms.store(self.room.now_ms(), Ordering::Relaxed);
    }

    /// Counts fetched content that came, or went.
    pub(crate) fn add_clean(&self, bytes: i64) {
        for usage in [&self.usage, &*self.tenant, &self.room.machine] {
            usage.clean.fetch_add(bytes, Ordering::Relaxed);
        }
        if bytes < 0 {
            self.room.changed.send_replace(());
        }
    }

    fn add_dirty(&self, bytes: i64) {
        for usage in [&self.usage, &*self.tenant, &self.room.machine] {
            usage.dirty.fetch_add(bytes, Ordering::Relaxed);
        }
        if bytes < 0 {
            self.room.changed.send_replace(());
        }
    }
}

/// What one working copy counts for, as long as it waits.
#[derive(Debug)]
pub(crate) struct Weight {
    place: Arc<Place>,
    bytes: AtomicU64,
}

impl Weight {
    pub(crate) fn new(place: &Arc<Place>) -> Weight {
        Weight { place: place.clone(), bytes: AtomicU64::new(0) }
    }

    /// Counts bytes that were written. What was written over counts twice until the file is looked at.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.place.add_dirty(signed(bytes));
    }

    /// Counts what the file really occupies.
    pub(crate) fn set(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        self.place.add_dirty(signed(bytes).saturating_sub(signed(before)));
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The error of what does not fit.
pub(crate) fn full(short: Short) -> Error {
    Error::new(
        ErrorKind::QuotaExceeded,
        match short {
            Short::Disk => "the disk that holds the cache is full",
            Short::Machine => "the cache of this machine is full of changes that wait to be uploaded",
            Short::Tenant => "the cache of this tenant is full of changes that wait to be uploaded",
            Short::Backend => "the cache is full of changes that wait to be uploaded",
        },
    )
}

/// Where the keys of all generations of a backend begin.
pub(crate) fn backend_prefix(tenant: &str, backend: &str) -> String {
    // Lengths keep two pairs apart whose texts happen to join into the same one.
    format!("{}{}:{backend}/", tenant_prefix(tenant), backend.len())
}

fn tenant_prefix(tenant: &str) -> String {
    format!("{}:{tenant}/", tenant.len())
}

/// Splits `3:abc/rest` behind the slash.
fn split_name(key: &str) -> Option<(&str, &str)> {
    let (digits, _) = key.split_once(':')?;
    let end = digits.len() + 1 + digits.parse::<usize>().ok()? + 1;
    let (name, rest) = (key.get(..end)?, key.get(end..)?);
    name.ends_with('/').then_some((name, rest))
}
