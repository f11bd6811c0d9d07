//! What the machine's disk remembers for backends: content that was read, content that waits to be uploaded, and the
//! journal of changes that the provider has not made yet.
//!
//! It is not a file system and speaks to no storage: it keeps bytes and records, and hands them back after a crash. The
//! order is always the same: data, then index, then acknowledge. All records go through one log, which one thread syncs
//! for everyone who waits, into one embedded store; content lies in one sparse file per object version.
//!
//! Names tell what a file is worth. `o-*` holds content fetched from a provider: it can be fetched again, so what has no
//! record is deleted. `s-*` holds content that was written here, and perhaps beside it a log of which bytes were: what has
//! no record is moved to `quarantine/` and reported, unless it holds nothing of its own.

mod cache;
mod edits;
mod eviction;
mod index;
mod journal;
mod log;
mod numbers;
mod object;
mod op;
mod overlay;
mod quarantine;
mod ranges;
mod recovery;
mod removal;
mod room;
mod scope;
mod scrub;
mod secured;
mod sidecar;
mod staged;
mod store;
mod survey;
mod wal;

pub use cache::Cache;
pub use journal::{Action, Base, Batch, Commit, Failure, Intent, Journal, Seen};
pub use log::Log;
pub use object::{Object, ObjectKey};
pub use ranges::Ranges;
pub use recovery::Recovered;
pub use room::{Limits, Quotas};
pub use scope::{Leaving, Scope};
pub use sidecar::{Extended, Kept, KeptKind, KeptTime, LONGEST_EXTENDED_BYTES};
pub use staged::{Sealed, Segment, Staged};
