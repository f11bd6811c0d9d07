//! A mount: requests of the kernel handed to a file system over a storage, and its answers handed back.
//!
//! It decides nothing: names, content and time are the file system's (`causeway-vfs`); here are the mount itself, the
//! translation of requests (`requests`), how the kernel is served what is open (`serving`), and the one place where reasons become error numbers (`errno`). A request is
//! read by a session thread and answered from a task of the runtime, so a slow one holds nobody up.

mod errno;
mod mount;
mod requests;
mod serving;

pub use mount::{MountOptions, Mounted, mount};
