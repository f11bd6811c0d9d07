//! The weather on the way to providers: for those who test how a storage bears it. Nobody else has any; a gate without one is never
//! asked about it.
//!
//! It befalls single exchanges, where a network would do the same: what retries, resumes or gives up above it cannot tell the
//! difference. So any storage can be tested against any server without a proxy in between.

use bytes::Bytes;

/// Decides what happens to each exchange.
pub trait Weather: Send + Sync + std::fmt::Debug {
    /// What happens to this one. The URL is the whole one, with whatever secrets stand in it.
    fn over(&self, method: &str, url: &str) -> Sky;
}

/// What happens to one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sky {
    /// Nothing.
    Clear,
    /// It is answered with this, and the provider never hears of it.
    Answer {
        /// The status.
        status: u16,
        /// Names in lower case.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: Bytes,
    },
    /// The connection breaks before the provider hears of it.
    Broken,
    /// The provider acts on it, and the connection breaks before the answer comes.
    LostAnswer,
    /// The answer breaks off after so many bytes of its body.
    Cut(u64),
}
