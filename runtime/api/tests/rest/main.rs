//! What clients rely on: the pages' examples, and what the pages leave open. Requests go through the whole router, onto a
//! real registry and the real native providers; only the kernel's side of mounts is played here.

// A test may stop at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod connecting;
mod consenting;
mod credentials;
mod documents;
mod edges;
mod managing;
mod mounting;
mod pinning;
mod stage;
mod tenants;
mod waiting;
