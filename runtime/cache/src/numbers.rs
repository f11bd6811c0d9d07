//! The numbers of intents, working copies and objects: each is given out once, in order, whatever ends the process.
//!
//! The index holds a mark below which numbers may have been used. It is raised when the cache is opened, and from then on
//! long before it is reached: no file or record of a number is there that the mark above it might not survive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use causeway_storage::{Error, Result};

use crate::index::{Index, Op, Pending, Table};

/// By so much the mark is raised: some hours of changes. What is not used of it is lost; there are enough.
const STRIDE: u64 = 1 << 20;

const MARK: &str = "numbers";

/// Gives out numbers.
#[derive(Debug)]
pub(crate) struct Numbers {
    index: Arc<Index>,
    next: AtomicU64,
    mark: Mutex<u64>,
    /// Above this, the mark must be raised.
    raise_at: AtomicU64,
}

impl Numbers {
    /// The mark; none if a version that had none wrote the index.
    pub(crate) fn stored(index: &Index) -> Result<Option<u64>> {
        let value = index.get(Table::Meta, MARK)?;
        Ok(value.and_then(|value| Some(u64::from_le_bytes(value.try_into().ok()?))))
    }

    /// Goes on behind a mark.
    pub(crate) fn new(index: Arc<Index>, mark: u64) -> Numbers {
        Numbers { index, next: AtomicU64::new(mark), mark: Mutex::new(mark), raise_at: AtomicU64::new(mark) }
    }

    /// Raises the mark ahead of the first number, and waits until that survives a power loss. Blocking.
    pub(crate) fn begin(&self) -> Result<()> {
        match self.raise()? {
            // The caller's thread may be one of a runtime, where nothing may be waited for like this.
            Some(raised) => std::thread::scope(|scope| scope.spawn(|| raised.wait_blocking()).join())
                .map_err(|_| Error::internal("waiting for the numbers' mark panicked"))?,
            None => Ok(()),
        }
    }

    /// Sees to it that more numbers can be taken than one change does.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.raise().map(drop)
    }

    /// Raises the mark if it is near.
    fn raise(&self) -> Result<Option<Pending>> {
        if self.next.load(Ordering::Relaxed) < self.raise_at.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if self.next.load(Ordering::Relaxed) < self.raise_at.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let raised = *mark + STRIDE;
        let pending = self.index.commit(vec![Op::put(Table::Meta, MARK, raised.to_le_bytes())], false)?;
        *mark = raised;
        self.raise_at.store(raised - STRIDE / 2, Ordering::Relaxed);
        Ok(Some(pending))
    }

    /// The next number. Call [`Numbers::prepare`] before.
    pub(crate) fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
