//! The one door to the host's imports. Natively there is no host, and the stand-in of `testing` answers.

use crate::Result;
use crate::bindings::causeway::provider::requests::{Piece, Request, Response, SecretRef};
use crate::nouns::Instant;
use crate::options::{Given, Hash};

#[cfg(not(target_arch = "wasm32"))]
use crate::testing as host;

#[cfg(target_arch = "wasm32")]
use crate::bindings::causeway::provider as host;

pub(crate) fn given() -> Given {
    Given(host::settings::given())
}

pub(crate) fn send(request: Request) -> Result<Response> {
    host::http::send(&request)
}

pub(crate) fn send_all(requests: Vec<Request>) -> Vec<Result<Response>> {
    host::http::send_all(&requests)
}

pub(crate) fn hmac(key: &SecretRef, hash: Hash, steps: &[String], message: &[Piece]) -> Result<Vec<u8>> {
    host::crypto::hmac(key, hash, steps, message)
}

/// Now, UTC.
pub fn now() -> Instant {
    host::clock::now()
}

/// Writes a warning for the operator.
pub fn warn(message: &str) {
    host::log::write(host::log::Level::Warning, message);
}
