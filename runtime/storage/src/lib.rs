//! The heart: what a storage is, and the nouns that every other crate speaks in.
//!
//! It is not a provider, a cache or a file system; it does no input or output of its own. A [`Storage`] is a live object
//! that one can list, read and write, whatever it is made of: native code, a wrapper over other storages, or a component.
//!
//! Three rules run through all of it. *Absent* and *could not look* are different answers: the first is `Ok(None)`, the
//! second an [`Error`]. A list that did not finish is an error, never a short list. And callers branch on
//! [`ErrorKind`] alone; messages are for people.

mod content;
mod descriptor;
mod encoding;
mod entry;
mod error;
mod features;
mod news;
mod options;
mod path;
mod provider;
mod secret;
mod sign_in;
mod storage;
mod units;

pub use content::{Body, MemorySource, Source, Span, WriteLog, WriteLogNone, body_of, collect};
pub use descriptor::{Descriptor, Make, OptionKind, OptionMarks, OptionSpec};
pub use encoding::Encoding;
pub use entry::{Algorithm, Cursor, DigestValue, Entry, Kind, Node, Notes, Page, Timestamp, Version};
pub use error::{Error, ErrorKind, Result};
pub use features::{Can, Features, NormalForm, Sameness};
pub use news::{Change, News};
pub use options::{Problem, Settings, Value};
pub use path::{Path, PathError};
pub use provider::{OpenError, Opening, Provider, Remotes};
pub use secret::Secret;
pub use sign_in::{Act, ConsentRequest, SignIn};
pub use storage::{Identity, Room, Storage, WriteIntent};
pub use units::{format_bytes, parse_bytes, parse_duration_ms};
