//! What others rely on in the registry, once on SQLite and once on Postgres.

// A test may stop at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod engines;
mod isolation;
mod keeping;
mod sealing;
mod signing_in;
mod state;
