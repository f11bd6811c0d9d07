//! Fake servers of storage providers that no independent server exists for. Each is written from what the provider documents, by
//! someone who has not read the component that speaks to it; an independent client is run against them in `tests/crosscheck.rs`.
//! Agreement of the two proves that they read the documentation alike, not that the provider does so.
//!
//! [`Front`] serves any number of [`Fake`]s on one loopback port, with TLS for every host; [`control`] is what tests do to them:
//! faults, clock, page size, request log. Nothing here ever dials out, and no credential is real.

pub mod azureblob;
pub mod control;
pub mod drive;
pub mod fault;
mod front;
mod h1;
mod h2;
pub mod mega;
pub mod multipart;
pub mod oauth;
mod request;
mod response;
pub mod seafile;
pub mod text;
mod tls;
mod world;

pub use fault::{Fault, Harm};
pub use front::{Fake, Front, Logged, Running};
pub use multipart::Part;
pub use request::{Range, Request};
pub use response::{Reply, Response};
pub use world::World;

/// The fakes by the names of their providers, in the order of the names; `None` for a name that has no fake.
pub fn fakes(names: &[String]) -> Option<Vec<Box<dyn Fake>>> {
    names.iter().map(|name| fake(name)).collect()
}

fn fake(name: &str) -> Option<Box<dyn Fake>> {
    Some(match name {
        "azureblob" => Box::new(azureblob::AzureBlob::new()),
        "drive" => Box::new(drive::Drive::default()),
        "mega" => Box::new(mega::Mega::default()),
        "seafile" => Box::new(seafile::Seafile::new()),
        _ => return None,
    })
}
