//! What the author of a provider sees: traits to implement, a settings struct to derive, requests to build. Not the contract itself:
//! its bindings, its pieces and brackets and the build's details stay behind these types.
//!
//! A provider answers one question per call, and each call is a fresh instance: nothing is remembered in memory, and nothing should be
//! prepared that this call does not need. It plans requests; the host fills in secrets, sends, retries, streams and caches.
//!
//! Reading order: [`options`] (what can be set), [`provider`] (the traits), [`request`] (asking), [`plan`] (what the host carries out),
//! [`text`] (text that may hold what one must not see), [`aws`] and [`time`] for providers that need them. [`testing`] stands in for
//! the host in native tests.

#[cfg(test)]
extern crate self as causeway_sdk;

pub mod aws;
mod bindings;
pub mod data;
mod error;
pub mod exported;
mod host;
mod nouns;
pub mod options;
pub mod percent;
pub mod plan;
pub mod provider;
pub mod request;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod text;
pub mod time;

pub use causeway_sdk_macros::{Options, export};
pub use error::Error;
pub use host::{now, warn};
pub use nouns::*;

/// What a call answers.
pub type Result<T> = std::result::Result<T, Error>;

/// All that a provider usually names.
pub mod prelude {
    pub use crate::nouns::*;
    pub use crate::options::{Duration, Secret, Size};
    pub use crate::plan::{Begun, PartPlan, Plan, Reuse, Source};
    pub use crate::provider::*;
    pub use crate::request::{Answer, Request};
    pub use crate::text::Text;
    pub use crate::{Error, Options, Result, export};
}
