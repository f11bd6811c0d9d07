//! What measures Causeway: the instruments, the subjects, the rounds and the figures. The program (`main.rs`) runs them
//! against a built `causeway`; the benches measure parts of the runtime from within.
//!
//! One at a time, the machine's load beside every result, medians and not means.
#![allow(clippy::indexing_slicing, reason = "a benchmark ends where it cannot measure")]

use std::fs::File;
use std::io;
use std::time::Duration;

pub mod content;
pub mod daemon;
pub mod delay;
pub mod figures;
pub mod http1;
pub mod measure;
pub mod origin;
pub mod raw;
pub mod rounds;
pub mod subject;

/// Why something could not be measured.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What was measured, or why not.
pub type Result<T> = std::result::Result<T, Failure>;

/// Holds off every other benchmark of this machine until it is dropped.
pub fn alone() -> io::Result<File> {
    let lock = File::create(std::env::temp_dir().join("causeway-bench.lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The load of the last minute.
pub fn load_average() -> io::Result<f64> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    load.split(' ').next().unwrap_or_default().parse().map_err(io::Error::other)
}

/// The load of the last minute and the number of cores.
pub fn load() -> io::Result<String> {
    Ok(format!("load {} on {} cores", load_average()?, std::thread::available_parallelism()?))
}

/// Times, sorted.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The times of at least one round.
    pub fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// The time that this share of the rounds did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }

    /// Median and 99th percentile in microseconds, as cells of a table.
    pub fn cells(&self) -> String {
        let us = |share| self.quantile(share).as_secs_f64() * 1e6;
        format!("{:.1} | {:.1}", us(0.5), us(0.99))
    }
}
