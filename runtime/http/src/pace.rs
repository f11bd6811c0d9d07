//! Pacing: how fast and how many at once requests go to some origins. It counts requests and knows nothing else of them.
//!
//! A pace is a lane in which requests wait, first come first served, until the next one is due; `burst` of them may go
//! without a gap. Whoever stops waiting leaves the lane and costs nobody anything: a turn is taken only when it comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::origin::{Origin, Target};

/// A rate to be kept towards these origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Towards these.
    pub origins: Vec<Origin>,
    /// Between two requests; 0: no rate.
    pub interval_ms: u32,
    /// So many may go at once after a pause; at least 1.
    pub burst: u32,
    /// So many may be under way; 0: any number.
    pub parallel: u32,
}

/// A pace at work.
pub(crate) struct Lane {
    pace: Pace,
    /// When the next request would be due if there were no bursts.
    due: Mutex<Instant>,
    under_way: Option<Arc<Semaphore>>,
}

/// Held for as long as a request is under way.
#[derive(Default)]
pub(crate) struct Permits(#[allow(dead_code, reason = "held, not read")] Vec<OwnedSemaphorePermit>);

impl Lane {
    pub(crate) fn new(pace: Pace) -> Lane {
        let under_way = (pace.parallel > 0).then(|| Arc::new(Semaphore::new(pace.parallel as usize)));
        Lane { pace, due: Mutex::new(Instant::now()), under_way }
    }

    /// Waits for a turn.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let permit = match &self.under_way {
            // A semaphore that nobody closes always gives.
            Some(under_way) => under_way.clone().acquire_owned().await.ok(),
            None => None,
        };
        if self.pace.interval_ms > 0 {
            let interval = Duration::from_millis(u64::from(self.pace.interval_ms));
            let ahead = interval * self.pace.burst.saturating_sub(1);
            let mut due = self.due.lock().await;
            if let Some(earliest) = due.checked_sub(ahead) {
                tokio::time::sleep_until(earliest).await;
            }
            *due = (*due).max(Instant::now()) + interval;
        }
        permit
    }
}

/// Waits for a turn in every lane that leads to this target.
pub(crate) async fn turns(lanes: &[Lane], target: &Target) -> Permits {
    let mut permits = Vec::new();
    for lane in lanes.iter().filter(|lane| lane.pace.origins.iter().any(|origin| origin.covers(target))) {
        permits.extend(lane.turn().await);
    }
    Permits(permits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(interval_ms: u32, burst: u32, parallel: u32) -> Lane {
        let origins = vec![Origin::of_endpoint("https://h.example", false).unwrap()];
        Lane::new(Pace { origins, interval_ms, burst, parallel })
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_burst_wait_for_their_turn() {
        let lane = lane(100, 3, 0);
        let begin = Instant::now();
        for _ in 0..3 {
            lane.turn().await;
        }
        assert_eq!(begin.elapsed().as_millis(), 0);
        lane.turn().await;
        lane.turn().await;
        assert_eq!(begin.elapsed().as_millis(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_costs_nobody_a_turn() {
        let lane = lane(100, 1, 0);
        lane.turn().await;
        let begin = Instant::now();
        for _ in 0..10 {
            assert!(tokio::time::timeout(Duration::from_millis(1), lane.turn()).await.is_err());
        }
        lane.turn().await;
        assert_eq!(begin.elapsed().as_millis(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_allowed_are_under_way() {
        let lane = lane(0, 0, 1);
        let first = lane.turn().await;
        assert!(tokio::time::timeout(Duration::from_secs(1), lane.turn()).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_secs(1), lane.turn()).await.is_ok());
    }
}
