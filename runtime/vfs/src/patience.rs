//! How old an answer may be, until when to wait for a new one, and whether the sidecar has a say in it.
//!
//! It measures and asks nothing. One is made for each request of the kernel and handed down to everything that waits for
//! the storage, or for others who do: so a request about names ends in time, however many questions it takes. Waiting for the
//! local disk and its room is not measured: a change that was journalled is answered, and none is dropped half way.

use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Result};
use tokio::time::Instant;

/// A question about names that is not answered by then has failed.
pub(crate) const METADATA: Duration = Duration::from_secs(10);

/// What one request may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// What is known may be so old.
    pub(crate) max_age: Duration,
    /// What the sidecar keeps is shown, and so are the names that only it has.
    pub(crate) sidecar: bool,
    until: Instant,
}

impl Patience {
    /// That of a request which begins now.
    pub(crate) fn new(max_age: Duration) -> Patience {
        Patience { max_age, sidecar: false, until: Instant::now() + METADATA }
    }

    /// The same, with or without the sidecar.
    pub(crate) fn with_sidecar(self, sidecar: bool) -> Patience {
        Patience { sidecar, ..self }
    }

    /// Waits for an answer while there is time.
    pub(crate) async fn wait<T>(self, whose: &str, answer: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout_at(self.until, answer).await.map_err(|_| late(whose))
    }
}

/// Something did not answer in time.
pub(crate) fn late(whose: &str) -> Error {
    Error::new(ErrorKind::Unavailable(None), format!("{whose} did not answer in time"))
}
