//! Storages in Rust: a folder of this machine, and memory. They are providers like any other, but for needing no component.

mod local;
mod local_options;
mod memory;

pub use local::{LocalProvider, LocalStorage};
pub use memory::{MemoryProvider, MemoryStorage};
