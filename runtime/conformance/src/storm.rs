//! The weather that a case makes: which of the next exchanges fails, and how.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use causeway_http::{Sky, Weather};

/// Fails exchanges as a case wants it; clear until told otherwise.
#[derive(Debug, Default)]
pub struct Storm(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Exchanges since the last word.
    seen: usize,
    /// From this exchange on, counted from 0, so many of them meet this.
    coming: Option<(usize, usize, Sky)>,
}

impl Storm {
    /// From now on nothing happens; counting begins anew.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// The `nth` exchange from now on, counted from 0, meets this, and so do the following up to `times` in all.
    pub fn befall(&self, nth: usize, times: usize, sky: Sky) {
        *self.lock() = State { seen: 0, coming: Some((nth, times, sky)) };
    }

    /// Exchanges since the last word.
    pub fn seen(&self) -> usize {
        self.lock().seen
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Weather for Storm {
    fn over(&self, _method: &str, _url: &str) -> Sky {
        let mut state = self.lock();
        let now = state.seen;
        state.seen += 1;
        match &state.coming {
            Some((nth, times, sky)) if (*nth..nth.saturating_add(*times)).contains(&now) => sky.clone(),
            _ => Sky::Clear,
        }
    }
}

/// An answer that the provider never gave.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)]) -> Sky {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sky::Answer { status, headers, body: Bytes::new() }
}
