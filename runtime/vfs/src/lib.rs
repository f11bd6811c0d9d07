//! Files over a storage: what a mount shows and what becomes of what is written there.
//!
//! It is not FUSE (there is no errno here and no kernel request) and it is no storage. Two nouns carry it. A [`Volume`]
//! is one backend in use: its journal and the uploads, its open files, what is known of the provider's directories. It
//! lives without mounts, too, to drain. A [`Vfs`] is one mount of a volume: inodes, handles, and how fresh things must be.
//!
//! What a path shows is the journal laid over the provider (`view`): what was changed here is seen here at once, and
//! stays so until the provider agrees, also over a restart. What the provider has is known from its answers (`known`),
//! each as old as the moment in which it was asked for. Content is read through the chunk cache, always from one version
//! (`content`), and written into working copies (`file`) that the uploader sends once nobody writes to them (`upload`).

mod aside;
mod asking;
mod budget;
mod changes;
mod circuit;
mod closing;
mod config;
mod content;
mod error;
mod file;
mod finish;
mod giving_up;
mod inodes;
mod kept;
mod known;
mod lend;
mod listing;
mod patience;
mod pattern;
mod pending;
mod pins;
mod remembered;
mod stale;
mod unnamed;
mod upload;
mod vfs;
mod view;
mod volume;
mod watching;

pub use aside::{SetAside, set_aside};
pub use budget::ReadBudget;
pub use causeway_cache::{Kept, KeptKind};
pub use circuit::Outage;
pub use config::{AttributesMode, CacheMode, Close, VfsConfig};
pub use error::VfsError;
pub use giving_up::GivenUp;
pub use kept::Maker;
pub use pending::{PendingChange, Progress, What};
pub use pins::Pin;
pub use stale::{Listener, Stale};
pub use vfs::{DirectoryEntry, Forgotten, OpenMode, SetAttributes, Vfs};
pub use volume::{Attributes, Event, Pending, Volume};
