//! The registry: tenants, their tokens, backends and mounts, and what components keep. It alone speaks SQL.
//!
//! It opens no storage and knows no provider: settings come in parsed and go out parsed. It runs on an embedded SQLite
//! database or on Postgres, with the same statements and the same answers.
//!
//! **Tenants.** Every call takes a [`Tenant`], and every statement names it; a row of another tenant is as absent as one
//! that never was. On Postgres the database holds to it as well: requests run as a role that owns nothing, under row-level
//! security, in a transaction that names the tenant. A `Tenant` comes from [`Registry::authenticate`] or from the
//! [`Operator`], from nowhere else.
//!
//! **Secrets.** Settings that are secret, and all that components keep, are sealed field by field (XChaCha20-Poly1305) for
//! the exact row they stand in. Of tokens only a hash is stored. The key lies in a file beside the database or where the
//! operator says; a check value tells a wrong key at start.

mod backends;
mod consents;
mod database;
mod error;
mod ids;
mod leases;
mod mounts;
mod operator;
mod seal;
mod settings;
mod state;

pub use backends::{AnotherAccount, Backend, BackendName, NewBackend, NewCredentials};
pub use consents::{Begun, CONSENT_MS, Consent};
pub use database::{Config, Database, Registry};
pub use error::Error;
pub use ids::{BackendId, MountId, Tenant, Token};
pub use mounts::{Mount, MountsWanted};
pub use operator::{Operator, TenantRow, TokenRow};
pub use state::{Held, STATE_KEY_BYTES, STATE_KEYS, STATE_VALUE_BYTES, Space};

/// What comes back.
pub type Result<T, E = Error> = std::result::Result<T, E>;
