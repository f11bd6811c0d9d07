//! The weather that a case makes: which of the next exchanges fails, and how.

use std::collections::BTreeSet;
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
    /// The hosts of these exchanges.
    hosts: BTreeSet<String>,
    /// From this exchange on, counted from 0, so many of them meet this.
    coming: Option<(usize, usize, Sky)>,
    /// Only at these hosts; none: at all.
    only: Option<BTreeSet<String>>,
}

impl Storm {
    /// From now on nothing happens; counting begins anew.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// The `nth` exchange from now on, counted from 0, meets this, and so do the following up to `times` in all.
    pub fn befall(&self, nth: usize, times: usize, sky: Sky) {
        *self.lock() = State { coming: Some((nth, times, sky)), ..State::default() };
    }

    /// The same, but only at the hosts that were asked since the last word: a sign-in elsewhere stays clear.
    pub fn befall_there(&self, nth: usize, times: usize, sky: Sky) {
        let mut state = self.lock();
        let only = Some(std::mem::take(&mut state.hosts));
        *state = State { coming: Some((nth, times, sky)), only, ..State::default() };
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
    fn over(&self, _method: &str, url: &str) -> Sky {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split(['/', '?']).next().unwrap_or_default();
        let mut state = self.lock();
        state.hosts.insert(host.to_owned());
        if state.only.as_ref().is_some_and(|only| !only.contains(host)) {
            return Sky::Clear;
        }
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
