//! Components made into storages.
//!
//! A provider's code is a WebAssembly component behind the contract in `wit/`. This crate compiles it, reads off its file
//! what it asks for, runs each call in a fresh instance with nothing but what was granted, and turns what it answers into
//! the runtime's own types. It moves no bulk data: reads and writes are carried out by `causeway-http` from the
//! component's plans. It alone names wasmtime.

mod backend;
mod bindings;
mod catalog;
mod compiled;
mod component;
mod convert;
mod engine;
mod host;
mod measuring;
mod meter;
mod planners;
mod provider;
mod signing;
mod sink;
mod slots;
mod storage;

pub use backend::{Held, Keeper, Space, State};
pub use catalog::{Catalog, GRANTABLE, Grants, Inspection, Refused, Surroundings, inspect};
pub use compiled::CompiledCache;
pub use engine::Engine;
#[doc(hidden)]
pub use measuring::{Measured, Measuring};
pub use provider::GuestProvider;
pub use signing::way::{OauthClient, OauthClients};
