//! What the author of a provider sees: traits to implement, a settings struct to derive, requests to build. Not the contract itself:
//! its bindings, its pieces and brackets and the build's details stay behind these types.
//!
//! A provider answers one question per call, and each call is a fresh instance: nothing is remembered in memory, and nothing should be
//! prepared that this call does not need. It plans requests; the host fills in secrets, sends, retries, streams and caches.
//!
//! Reading order: [`options`] (what can be set), [`provider`] (the traits), [`request`] (asking), [`plan`] (what the host carries out),
//! [`text`] (text that may hold what one must not see), [`aws`] and [`time`] for providers that need them. `testing` stands in for
//! the host in native tests.
//!
//! The smallest provider, read-only and addressed by paths:
//! ```
//! use causeway_sdk::prelude::*;
//! use serde::Deserialize;
//!
//! /// What can be set.
//! #[derive(Options)]
//! struct Settings {
//!     /// From the account page.
//!     #[option(credential, header("Authorization", prefix = "Basic ", base64))]
//!     api_key: Secret,
//!     /// `me`, or the id of a shared folder.
//!     #[option(default = "me", identity)]
//!     root_folder_id: String,
//! }
//!
//! struct Pixeldrain(Settings);
//!
//! #[derive(Deserialize)]
//! struct Stat {
//!     name: String,
//!     size: Option<u64>,
//!     sha256_sum: Option<String>,
//!     #[serde(default)]
//!     children: Vec<Stat>,
//! }
//!
//! impl From<Stat> for Entry {
//!     fn from(stat: Stat) -> Entry {
//!         match stat.size {
//!             Some(size) => Entry { size: Some(size), version: stat.sha256_sum, ..Entry::file(stat.name) },
//!             None => Entry::directory(stat.name),
//!         }
//!     }
//! }
//!
//! impl Pixeldrain {
//!     fn at(&self, path: &str) -> Request {
//!         let request = Request::get("https://pixeldrain.com/api/filesystem").path(&self.0.root_folder_id).path(path);
//!         self.0.api_key.if_given().into_iter().fold(request, |request, key| request.basic("", key))
//!     }
//!
//!     fn look(&self, path: &str) -> Result<Answer> {
//!         let answer = self.at(path).query("stat", "").send()?;
//!         if answer.is_ok() { Ok(answer) } else { Err(self.meaning(&answer)) }
//!     }
//! }
//!
//! #[export]
//! impl Provider for Pixeldrain {
//!     type Options = Settings;
//!     const ABOUT: About = About {
//!         name: "pixeldrain",
//!         title: "Pixeldrain",
//!         version: "0.1.0",
//!         origins: &["https://pixeldrain.com"],
//!         ..About::UNKNOWN
//!     };
//!
//!     fn open(settings: Settings) -> std::result::Result<Self, Vec<Problem>> {
//!         Ok(Pixeldrain(settings))
//!     }
//!
//!     fn traits(&self) -> Traits {
//!         Traits { abilities: Abilities::EMPTY_DIRECTORIES, ..Traits::default() }
//!     }
//!
//!     fn probe(&self) -> Result<Identity> {
//!         self.look("").map(|_| Identity { account: None, display: None })
//!     }
//!
//!     fn read(&self, file: &Node, size: Option<u64>, _range: Option<Span>) -> Result<Plan> {
//!         Ok(Plan::get(self.at(&file.path)).size(size).into())
//!     }
//! }
//!
//! #[export]
//! impl Paths for Pixeldrain {
//!     fn stat(&self, path: &str, _kind: Option<Kind>) -> Result<Option<Entry>> {
//!         match self.look(path) {
//!             Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
//!             answer => Ok(Some(answer?.json::<Stat>()?.into())),
//!         }
//!     }
//!
//!     fn list(&self, directory: &Node, _cursor: Option<&str>) -> Result<Page> {
//!         let stat: Stat = self.look(&directory.path)?.json()?;
//!         Ok(Page::last(stat.children.into_iter().map(Entry::from).collect()))
//!     }
//! }
//! ```

#[cfg(test)]
extern crate self as causeway_sdk;

pub mod aws;
pub mod azure;
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
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod text;
pub mod time;

pub use causeway_sdk_macros::{Options, export};
pub use error::Error;
pub use host::{allow_assigned, allow_foreign, below, known, now, random, warn};
pub use nouns::*;

/// What a call answers.
pub type Result<T> = std::result::Result<T, Error>;

/// All that a provider usually names.
pub mod prelude {
    pub use crate::nouns::*;
    pub use crate::options::{Duration, Place, Secret, Size, Uses};
    pub use crate::plan::{Begun, Decode, PartPlan, Plan, Ranges, Reuse, Segment, Source};
    pub use crate::provider::*;
    pub use crate::request::{Answer, Request};
    pub use crate::text::Text;
    pub use crate::{Error, Options, Result, export};
}
