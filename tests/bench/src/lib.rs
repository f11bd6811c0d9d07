//! What measures Causeway: the instruments, the subjects, the rounds, the figures and the page they are told on. The program
//! (`main.rs`) runs them against a built `causeway`; another (`within`) measures parts of the runtime for it.
//!
//! One at a time, the machine's load beside every result, medians and not means.
#![allow(clippy::indexing_slicing, reason = "a benchmark ends where it cannot measure")]

use std::fs::File;
use std::io;
use std::time::Duration;

pub mod content;
pub mod daemon;
pub mod delay;
pub mod docs;
pub mod figures;
pub mod http1;
pub mod measure;
pub mod metrics;
pub mod origin;
pub mod plot;
pub mod raw;
pub mod rounds;
mod scenes;
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
}
