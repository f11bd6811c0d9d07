//! The computing time of one call.
//!
//! A call runs in turns: it computes until it waits or makes way, and goes on later, perhaps on another thread. Only its
//! turns count, by the clock of the thread that runs them; so waiting for a provider costs nothing, and neither does a busy
//! machine.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Counts the turns of one call. Nanoseconds; one thread at a time runs the call and looks here.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// All turns that have ended.
    ended: AtomicU64,
    /// What the thread's clock showed when this turn began.
    began: AtomicU64,
}

impl Meter {
    /// Runs a call and counts its turns.
    pub(crate) async fn count<T>(self: Arc<Meter>, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        std::future::poll_fn(|context| {
            self.began.store(thread_time(), Ordering::Relaxed);
            let polled = call.as_mut().poll(context);
            self.ended.fetch_add(self.this_turn(), Ordering::Relaxed);
            polled
        })
        .await
    }

    /// The time spent so far; asked during a turn.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.ended.load(Ordering::Relaxed) + self.this_turn())
    }

    /// The time spent in all turns that have ended.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.ended.load(Ordering::Relaxed))
    }

    fn this_turn(&self) -> u64 {
        thread_time().saturating_sub(self.began.load(Ordering::Relaxed))
    }
}

fn thread_time() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
