//! Why a call failed: a kind for the host to act on, a sentence for the user, a detail for the log. Never a secret in any of them.

pub use crate::bindings::causeway::provider::types::Error;
use crate::nouns::ErrorKind;
use crate::request::Answer;

/// How much of an answer goes into the log: enough for an error document, too little for content.
const DETAIL_BYTES: usize = 512;

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), detail: String::new() }
    }

    /// The provider says that there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, message)
    }

    /// What was asked cannot be done here, now or ever.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, message)
    }

    /// What was asked makes no sense to the provider.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    /// The provider cannot now, or what it answered cannot be understood.
    pub fn unavailable(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unavailable(None), message)
    }

    /// The same error with a detail for the log.
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = detail.into();
        self
    }

    /// The same error with the answer that it was made from as its detail.
    pub fn seen_in(self, answer: &Answer) -> Error {
        let body = answer.body().get(..DETAIL_BYTES).unwrap_or(answer.body());
        let detail = format!("status {}: {}", answer.status(), String::from_utf8_lossy(body));
        self.detail(detail)
    }

    /// What a status usually means, for providers whose statuses mean what they should.
    pub fn by_status(answer: &Answer) -> Error {
        let (kind, message) = match answer.status() {
            401 => (ErrorKind::Unauthenticated, "the provider refused the credential"),
            403 => (ErrorKind::Denied, "the provider denied this"),
            404 | 410 => (ErrorKind::NotFound, "there is no such thing at the provider"),
            409 => (ErrorKind::AlreadyExists, "there is already something at the provider"),
            412 => (ErrorKind::PreconditionFailed, "it has been changed at the provider"),
            429 => (ErrorKind::RateLimited(answer.retry_after_ms()), "the provider asks for fewer requests"),
            501 => (ErrorKind::Unsupported, "the provider does not support this"),
            507 => (ErrorKind::QuotaExceeded, "there is no room left at the provider"),
            400..=499 => (ErrorKind::Invalid, "the provider refused the request"),
            _ => (ErrorKind::Unavailable(answer.retry_after_ms()), "the provider cannot answer now"),
        };
        Error::new(kind, message).seen_in(answer)
    }
}
