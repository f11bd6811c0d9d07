//! Storages over other storages.

mod alias;
mod rooted;

pub use alias::AliasProvider;
pub use rooted::Rooted;
