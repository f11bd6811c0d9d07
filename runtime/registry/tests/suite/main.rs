//! What others rely on in the registry, once on SQLite and once on Postgres.

mod engines;
mod isolation;
mod keeping;
mod sealing;
mod state;
