//! What the benchmarks have in common: one at a time, the machine's load beside every result, medians and not means.
//! Nothing here decides whether a number is good.

use std::fs::File;
use std::io;
use std::time::Duration;

/// Holds off every other benchmark of this machine until it is dropped.
pub fn alone() -> io::Result<File> {
    let lock = File::create(std::env::temp_dir().join("causeway-bench.lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The load of the last minute and the number of cores.
pub fn load() -> io::Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!("load {} on {cores} cores", load.split(' ').next().unwrap_or_default()))
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
