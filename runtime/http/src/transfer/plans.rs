//! Plans that serve again. It holds plans and nothing else: no content, no answers.
//!
//! Limits: 4,096 plans (a few kilobytes each), the least recently used go first. A plan is used until a tenth of its life,
//! at most 5 s, is left: what is sent then still arrives in time.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use causeway_storage::Span;
use lru::LruCache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::plan::{Remote, Reuse, Segment};

const MOST_PLANS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
const LARGEST_MARGIN: Duration = Duration::from_secs(5);

/// The plans of one backend.
pub struct PlanCache(Mutex<LruCache<String, Arc<RemotePlan>>>);

/// A plan in use.
pub(crate) struct RemotePlan {
    pub(crate) remote: Remote,
    until: Instant,
    /// The range that it was made for.
    made_for: Span,
    under_way: Arc<Semaphore>,
}

/// What a planner gave.
pub(crate) enum Planned {
    Remote(Arc<RemotePlan>),
    Literal(Bytes),
}

impl PlanCache {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "where plans are kept is a choice, not a default")]
    pub fn new() -> PlanCache {
        PlanCache(Mutex::new(LruCache::new(MOST_PLANS)))
    }

    /// Forgets every plan: settings, credential or component changed.
    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn get(&self, key: &str, wanted: Span) -> Option<Arc<RemotePlan>> {
        let mut plans = self.lock();
        let plan = plans.get(key)?;
        if plan.until <= Instant::now() {
            plans.pop(key);
            return None;
        }
        plan.serves(wanted).then(|| plan.clone())
    }

    pub(crate) fn put(&self, key: &str, made_for: Span, remote: Remote) -> Arc<RemotePlan> {
        let life = Duration::from_millis(u64::from(remote.valid_ms));
        let until = Instant::now() + life.saturating_sub((life / 10).min(LARGEST_MARGIN));
        let under_way = Arc::new(Semaphore::new(remote.parallel.max(1) as usize));
        let plan = Arc::new(RemotePlan { remote, until, made_for, under_way });
        if plan.remote.reuse != Reuse::Once {
            self.lock().put(key.to_owned(), plan.clone());
        }
        plan
    }

    pub(crate) fn forget(&self, key: &str) {
        self.lock().pop(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<String, Arc<RemotePlan>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemotePlan {
    fn serves(&self, wanted: Span) -> bool {
        match self.remote.reuse {
            Reuse::AnyRange => self.remote.segments.iter().any(|segment| {
                let offset = segment.offset;
                offset <= wanted.offset && segment.size.is_none_or(|size| wanted.offset - offset < size)
            }),
            Reuse::ThisRange => {
                // The range as a whole, or what is left of it after whole segments.
                let begins = |segment: &Segment| segment.offset == wanted.offset;
                let left = wanted.end() == self.made_for.end() && self.remote.segments.iter().any(begins);
                self.made_for == wanted || left
            }
            Reuse::Once => false,
        }
    }

    /// Waits until the plan allows another request.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.under_way.clone().acquire_owned().await.ok()
    }
}
