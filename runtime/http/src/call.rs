//! What one call of a component may use of the way out, and what it saw.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use causeway_storage::{Error, ErrorKind, Result};

/// Requests per call: enough for the longest sign-in or lookup seen, too few to be a crawler.
const MOST_REQUESTS: u32 = 64;

/// Bytes of answers kept to look for host names in: four whole answers.
const MOST_SEEN_BYTES: usize = 32 * 1024 * 1024;

/// The budget of one call.
pub struct CallBudget {
    requests_left: AtomicU32,
    seen: Mutex<Vec<Bytes>>,
}

impl CallBudget {
    /// A whole budget: 64 requests.
    #[allow(clippy::new_without_default, reason = "a budget is handed out, not assumed")]
    pub fn new() -> CallBudget {
        CallBudget { requests_left: AtomicU32::new(MOST_REQUESTS), seen: Mutex::default() }
    }

    /// Takes one request from the budget.
    pub(crate) fn take_request(&self) -> Result<()> {
        let taken = self.requests_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.map(|_| ()).map_err(|_| {
            let message = format!("the provider's component sends more than {MOST_REQUESTS} requests in one call");
            Error::new(ErrorKind::Internal, message)
        })
    }

    /// Notes an answer that the call got or was given; the oldest are forgotten beyond 32 MiB.
    pub fn saw(&self, answer: Bytes) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(answer);
        while seen.len() > 1 && seen.iter().map(Bytes::len).sum::<usize>() > MOST_SEEN_BYTES {
            seen.remove(0);
        }
    }

    /// Whether a host name stood in an answer.
    pub(crate) fn has_seen(&self, host: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host.as_bytes();
        seen.iter().any(|answer| {
            answer.windows(host.len()).enumerate().any(|(at, window)| {
                let part_of_name = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-');
                window.eq_ignore_ascii_case(host)
                    && !part_of_name(at.checked_sub(1).and_then(|before| answer.get(before)))
                    && !part_of_name(answer.get(at + host.len()))
            })
        })
    }
}
