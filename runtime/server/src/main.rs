//! The program `causeway`: reads its settings, puts the parts together from the bottom up, serves, and stops in order.
//!
//! It decides nothing about storages, paths or answers: it opens what the other crates offer and implements the two doors
//! that the API asks for.

mod backends;
mod check;
mod commands;
mod config;
mod health;
mod keeper;
mod mounts;
mod out;
mod places;
mod point;
mod serve;
mod switch;
mod waiting;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Connects storage providers and mounts them as file systems.
#[derive(Parser)]
#[command(name = "causeway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API and the mounts.
    Serve(Box<config::Given>),
    /// Make, list and revoke tenants.
    Tenant {
        #[command(subcommand)]
        action: commands::TenantAction,
    },
    /// Make, list and revoke a tenant's tokens.
    Token {
        #[command(subcommand)]
        action: commands::TokenAction,
    },
    /// Look at providers.
    Provider {
        #[command(subcommand)]
        action: commands::ProviderAction,
    },
}

/// Each thread of each mount has a buffer of 16 MiB, of which most is never touched. Taken from the system and not from the
/// heap, it costs what is touched; left alone, the allocator would begin to keep such buffers after the first one is freed.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn give_large_buffers_back() {
    // SAFETY: it sets a number of the allocator, and no other thread runs yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20) };
}

#[cfg(not(target_env = "gnu"))]
fn give_large_buffers_back() {}

fn main() -> ExitCode {
    give_large_buffers_back();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Serve(given) => serve::run(*given).await,
            Command::Tenant { action } => commands::tenant(action).await,
            Command::Token { action } => commands::token(action).await,
            Command::Provider { action } => commands::provider(action).await,
        }
    });
    // What still blocks in a thread must not keep a stopped program alive.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(&message),
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("causeway: {message}");
    ExitCode::FAILURE
}
