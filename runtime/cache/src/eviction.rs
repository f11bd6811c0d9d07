//! Making room: fetched content goes, least recently used first.
//!
//! It takes only what the provider has, nobody has open and nobody pinned. Where the machine's limit or the disk is what is
//! short, it takes from all tenants; where a tenant's is, from that tenant. A pass looks at the records of all that may go,
//! so it makes a little more room than is wanted. Content counts for as long as there is a record of it: where that could
//! not be deleted, on a disk that is full, it is the next time.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use causeway_storage::{Result, Timestamp};

use crate::cache::remove_file;
use crate::index::{Op, Table};
use crate::object::{ObjectKey, ObjectRecord};
use crate::room::{Place, Short, signed};
use crate::{Cache, Scope};

/// Content that may go.
pub(crate) struct Candidate {
    used: i64,
    key: String,
}

impl Cache {
    /// Evicts for `place`, which is short of something for so many bytes. Blocking.
    pub(crate) fn make_room(&self, place: &Place, short: Short, bytes: u64) -> Result<()> {
        let _one = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        // Someone made room while we waited for our turn.
        if place.has_slack(short, bytes)? {
            return Ok(());
        }
        let prefix = match short {
            Short::Disk | Short::Machine => "",
            Short::Tenant => &place.tenant_prefix,
            Short::Backend => &place.prefix,
        };
        let mut evicted = 0;
        for candidate in self.candidates(prefix)? {
            if place.has_slack(short, bytes)? {
                break;
            }
            evicted += u64::from(self.evict(&candidate)?);
        }
        tracing::debug!(files = evicted, ?short, "evicted from the cache");
        Ok(())
    }

    /// All fetched content below a prefix, least recently used first.
    pub(crate) fn candidates(&self, prefix: &str) -> Result<Vec<Candidate>> {
        let mut found = Vec::new();
        self.index.scan(Table::Objects, prefix, |key, value| {
            if let Ok(record) = serde_json::from_slice::<ObjectRecord>(value) {
                found.push(Candidate { used: record.used, key: key.to_owned() });
            }
        })?;
        found.sort_by_key(|candidate| candidate.used);
        Ok(found)
    }

    /// Deletes content unless someone has it open or it is pinned, and says whether it did.
    pub(crate) fn evict(&self, candidate: &Candidate) -> Result<bool> {
        let Some(place) = self.room.place_of_key(&candidate.key) else { return Ok(false) };
        // Held throughout, so that nobody opens it meanwhile.
        let open = place.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = ObjectKey::of_record(&place.prefix, &candidate.key);
        if open.get(&key).is_some_and(|object| object.strong_count() > 0)
            || self.is_pinned(&place.prefix, &key.record_key(""))?
        {
            return Ok(false);
        }
        // It may have been saved again since it was chosen.
        let Some(value) = self.index.get(Table::Objects, &candidate.key)? else { return Ok(false) };
        let Ok(record) = serde_json::from_slice::<ObjectRecord>(&value) else { return Ok(false) };
        // First the file: on a disk that is full there may be no room to write the record down, and a record without a file
        // is taken for nothing.
        remove_file(&self.content.join(&record.file))?;
        let gone = vec![Op::delete(Table::Objects, candidate.key.as_str())];
        if self.index.commit_instead(Table::Objects, &candidate.key, &value, gone).unwrap_or(false) {
            place.add_clean(-signed(record.present.total()));
        }
        Ok(true)
    }
}

impl Scope {
    /// Deletes fetched content that is too old or too much, least recently used first. Blocking.
    pub fn evict(&self) -> Result<()> {
        let (place, limits) = (&self.place, self.place.limits());
        if let Some(short) = place.short_of(0)? {
            self.cache.make_room(place, short, 0)?;
        }
        let eldest = Timestamp::now().seconds.saturating_sub_unsigned(limits.max_age_s);
        if place.oldest_used.load(Ordering::Relaxed) >= eldest {
            return Ok(());
        }
        let _one = self.cache.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut oldest = i64::MAX;
        for candidate in self.cache.candidates(&place.prefix)? {
            if candidate.used >= eldest || !self.cache.evict(&candidate)? {
                oldest = oldest.min(candidate.used);
            }
        }
        place.oldest_used.store(oldest.min(Timestamp::now().seconds), Ordering::Relaxed);
        Ok(())
    }
}
