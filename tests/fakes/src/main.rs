//! The program `causeway-fakes`: runs fakes for tests in other processes. It prints one line of JSON when it is ready and ends when its
//! standard input closes or SIGTERM comes.

use std::io::{self, Read, Write};

use causeway_fakes::Front;
use clap::Parser;
use serde_json::json;

/// Fake servers of storage providers, on one loopback port.
#[derive(Parser)]
struct Arguments {
    /// Which providers, separated by commas; the first one answers on the loopback address for paths that nobody owns.
    #[arg(long, value_delimiter = ',', required = true)]
    providers: Vec<String>,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Arguments { providers, port } = Arguments::parse();
    let fakes = causeway_fakes::fakes(&providers)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no fake of one of these providers"))?;
    let running = Front::start_at(port, fakes)?;
    let ready = json!({
        "address": running.address.to_string(),
        "ca": running.ca_pem_path,
        "control": format!("{}/control", running.origin()),
        "accounts": running.accounts(),
    });
    println!("{ready}");
    io::stdout().flush()?;
    // Until the one who started it goes away, closes the pipe, or says so by a signal.
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut closed = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        _ = ended.recv() => {}
        _ = &mut closed => {}
    }
    drop(running);
    // A read of the standard input cannot be cancelled, and the runtime would wait for it.
    std::process::exit(0)
}
