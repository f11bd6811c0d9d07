//! What all reading ahead together may have under way, and who gets how much of it.
//!
//! It fetches nothing and knows no content. A range that is fetched ahead of its reader holds a [`Slot`]: a connection, up
//! to [`crate::content::BATCH_BYTES`] of memory, and room that its bytes will take on the disk. What a reader waits for
//! needs none, and so is never held up by what nobody waits for yet. Slots are shared fairly: between the tenants that
//! read at the moment, and of a tenant's share between the files that are read. No tenant ever has all of them, so another one
//! finds some free; from then on who has more than their share gets no new ones until the shares are even.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ranges fetched ahead at a time, over all: 24 MiB of memory, and as many connections.
const SLOTS: usize = 24;

/// The most that one tenant has.
const TENANT_SLOTS: usize = SLOTS / 4 * 3;

/// The most that one file has: with ranges of 8 MiB, 96 MiB under way, more than a line of 10 Gbit/s carries in 50 ms.
const FILE_SLOTS: usize = SLOTS / 2;

/// The budget of a machine. Cheap to clone: clones share it.
#[derive(Clone, Debug, Default)]
pub struct ReadBudget(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    tenants: HashMap<Arc<str>, HashMap<u64, usize>>,
}

/// The right to fetch one range ahead, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    budget: ReadBudget,
    tenant: Arc<str>,
    file: u64,
}

impl ReadBudget {
    /// A slot for a file of a tenant, if its share allows one more.
    pub(crate) fn slot(&self, tenant: &Arc<str>, file: u64) -> Option<Slot> {
        let mut taken = self.lock();
        let has = taken.tenants.get(tenant);
        let tenants = taken.tenants.len() + usize::from(has.is_none());
        let files = has.map_or(1, |files| files.len() + usize::from(!files.contains_key(&file)));
        let of_tenant: usize = has.map_or(0, |files| files.values().sum());
        let of_file = has.and_then(|files| files.get(&file)).copied().unwrap_or(0);
        let tenant_share = (SLOTS / tenants).clamp(1, TENANT_SLOTS);
        let file_share = (tenant_share / files).clamp(1, FILE_SLOTS);
        if taken.all >= SLOTS || of_tenant >= tenant_share || of_file >= file_share {
            return None;
        }
        taken.all += 1;
        *taken.tenants.entry(tenant.clone()).or_default().entry(file).or_default() += 1;
        Some(Slot { budget: self.clone(), tenant: tenant.clone(), file })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Counters, changed without a panic in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.budget.lock();
        taken.all -= 1;
        let Some(files) = taken.tenants.get_mut(&self.tenant) else { return };
        if let Some(count) = files.get_mut(&self.file) {
            *count -= 1;
            if *count == 0 {
                files.remove(&self.file);
            }
        }
        if files.is_empty() {
            taken.tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(budget: &ReadBudget, tenant: &Arc<str>, file: u64) -> Vec<Slot> {
        std::iter::from_fn(|| budget.slot(tenant, file)).collect()
    }

    #[test]
    fn who_comes_next_finds_some_free_and_shares_become_even() {
        let (budget, a, b) = (ReadBudget::default(), Arc::from("a"), Arc::from("b"));
        let mut first: Vec<Slot> = (0..2).flat_map(|file| take(&budget, &a, file)).collect();
        first.extend(take(&budget, &a, 2));
        assert!(first.len() <= TENANT_SLOTS);
        let second = take(&budget, &b, 0);
        assert!(!second.is_empty());
        while first.len() >= SLOTS / 2 {
            assert!(budget.slot(&a, 0).is_none(), "it has more than its half");
            first.pop();
        }
        assert!(budget.slot(&b, 0).is_some());
    }

    #[test]
    fn a_tenant_with_many_files_gets_no_more_than_one_with_one() {
        let (budget, a, b) = (ReadBudget::default(), Arc::from("a"), Arc::from("b"));
        let _one = budget.slot(&b, 0).unwrap();
        let many: Vec<Slot> = (0..100).filter_map(|file| budget.slot(&a, file)).collect();
        assert_eq!(many.len(), SLOTS / 2);
        assert_eq!(take(&budget, &b, 0).len(), SLOTS / 2 - 1);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (budget, a) = (ReadBudget::default(), Arc::from("a"));
        drop(take(&budget, &a, 1));
        assert_eq!(take(&budget, &a, 2).len(), FILE_SLOTS);
    }
}
