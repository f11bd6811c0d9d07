//! `causeway-bench-within plans|tax|digest ...`: measures parts of the runtime by themselves, for `causeway-bench`, which starts
//! it. What it prints are samples, one a line.
//!
//! It is a program of its own because it links the runtime, and the one that measures from outside must not.
#![allow(clippy::indexing_slicing, reason = "a benchmark ends where it cannot measure")]

mod component;
mod digests;
mod hardcoded;
mod plans;
mod tax;

use std::path::Path;
use std::process::ExitCode;

use causeway_bench::Result;
use causeway_bench::figures::{Cost, Sample};
use causeway_bench::subject::Subject;

use component::Components;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match measure(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn measure(words: &[&str]) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    threads.block_on(async {
        match *words {
            ["plans", components, compiled] => plans::measure(&Components::open(components, compiled)?).await,
            ["tax", components, compiled, origin, size] => {
                tax::measure(&Components::open(components, compiled)?, origin, size.parse()?).await
            }
            ["digest", name, file] => digests::measure(name, Path::new(file)),
            _ => Err("it is started by causeway-bench".into()),
        }
    })
}

/// Tells what was measured.
fn tell(metric: &str, subject: Subject, round: usize, value: f64, cpu: f64) {
    let cost = Cost { client: cpu, ..Cost::default() };
    println!("{}", Sample { metric: metric.to_owned(), subject, round, value, cost }.to_json());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
