//! The way out: HTTP to providers, with secrets filled in here and nowhere else.
//!
//! A component writes a request down; this crate checks where it goes and where its secrets stand, sends it, and hands
//! back the answer without the secrets in it. The engines in [`transfer`] carry out plans to read and to write. It
//! interprets no status code but 200 and 206 of a planned read, knows no provider, and nothing of the sandbox: its types
//! mirror the contract in plain Rust.
//!
//! One [`Gate`] per process owns policy, resolver, TLS and connections; one [`Egress`] per backend owns what that backend
//! may do.

mod address;
mod call;
mod capture;
mod cipher;
mod documents;
mod egress;
mod gate;
mod jar;
pub mod oauth;
mod origin;
mod outbody;
mod pace;
mod placement;
mod pool;
mod prepare;
mod render;
pub mod request;
mod secrets;
mod sign;
mod sign_rsa;
pub mod transfer;
pub mod uses;
mod weather;
mod wire;

pub use call::CallBudget;
pub use egress::{Answer, Egress, MOST_ANSWER_BYTES, Way};
pub use gate::{Gate, Policy};
pub use origin::Origin;
pub use pace::Pace;
pub use rustls::pki_types::CertificateDer;
pub use secrets::{Secrets, document_field};
pub use weather::{Sky, Weather};
