//! The one door to the host's imports. Natively there is no host, and the stand-in of `testing` answers.

use crate::Result;
use crate::bindings::causeway::provider::crypto::PrivateKey;
use crate::bindings::causeway::provider::requests::{Piece, Request, Response, SecretRef};
pub(crate) use crate::bindings::causeway::provider::state::Held;
use crate::nouns::{Instant, Placed};
use crate::options::{Given, Hash, Rsa};
use crate::request::Body;

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::causeway::provider::http::Body as HostBody;

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

pub(crate) fn open(request: Request) -> Result<(Response, Body)> {
    #[cfg(target_arch = "wasm32")]
    return host::http::open(&request).map(|(response, body)| (response, Body::of(body)));
    #[cfg(not(target_arch = "wasm32"))]
    host::http::open(&request).map(|(response, body)| (response, Body::memory(body)))
}

pub(crate) fn public_field(secret: &SecretRef) -> Option<String> {
    host::settings::public_field(secret)
}

pub(crate) fn rsa_sign(key: &SecretRef, scheme: Rsa, message: &[Piece]) -> Result<Vec<u8>> {
    let key = PrivateKey { key: key.clone(), passphrase: None };
    host::crypto::rsa_sign(&key, scheme, message)
}

pub(crate) fn reveal(secret: &SecretRef) -> Result<Vec<u8>> {
    host::reveal::reveal(secret)
}

pub(crate) fn seal(slot: &str, value: &[u8]) -> Result<()> {
    host::state::seal(slot, value)
}

pub(crate) fn expire(slot: &str, lives_ms: u64) {
    host::state::expire(slot, lives_ms);
}

pub(crate) fn sealed(slot: &str) -> bool {
    host::state::sealed(slot)
}

pub(crate) fn held(key: &str) -> Option<Held> {
    host::state::get(key)
}

pub(crate) fn hold(key: &str, value: &[u8], lives_ms: Option<u64>) -> Result<()> {
    host::state::set(key, value, lives_ms)
}

pub(crate) fn swap(key: &str, value: &[u8], lives_ms: Option<u64>, expected: Option<u64>) -> Result<bool> {
    host::state::swap(key, value, lives_ms, expected)
}

pub(crate) fn forget(key: &str) {
    host::state::remove(key);
}

/// So many random bytes, fit for keys; at most 4,096.
pub fn random(count: u32) -> Vec<u8> {
    host::random::bytes(count)
}

/// Lets requests without any secret go to this URL's host for an hour; an answer of this call must have named it.
pub fn allow_foreign(url: &str) -> Result<()> {
    host::foreign_hosts::allow(url)
}

/// Lets requests go to this URL's host until the next sign-in; an answer of this sign-in must have named it.
pub fn allow_assigned(url: &str) -> Result<()> {
    host::assigned_hosts::allow(url)
}

/// What the host's tree holds under a cookie, as of the last news; for providers that are walked.
pub fn known(cookie: &str) -> Option<Placed> {
    host::gathering::known(cookie)
}

/// All that the host's tree shows in what has this cookie, or would show if that were shown.
pub fn below(cookie: &str) -> Vec<Placed> {
    let mut found: Vec<Placed> = Vec::new();
    loop {
        let last = found.last().and_then(|placed| placed.entry.cookie.clone());
        let more = host::gathering::below(cookie, last.as_deref());
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
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
