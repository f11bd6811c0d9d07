//! A program that runs beside the measurement: started, watched from outside through `/proc`, and always ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// How long a start may take: the first one compiles the components.
const START: Duration = Duration::from_secs(90);
/// How long an end in order may take, before it is one without.
const STOP: Duration = Duration::from_secs(20);
/// The kernel's clock ticks per second in `/proc`, on every Linux there is.
const TICKS: f64 = 100.0;

/// A running program.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it. It ends with this process, however that ends.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)], log: &Path) -> Result<Daemon> {
        let out = File::create(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Daemon { child, log: log.to_owned() })
    }

    /// Waits until it has written a line with this word and gives what follows the word, up to a blank.
    pub fn says(&mut self, word: &str) -> Result<String> {
        self.until(word, |log| {
            let (_, after) = log.split_once(word)?;
            let (line, _) = after.split_once('\n')?;
            Some(line.split(' ').next().unwrap_or_default().to_owned())
        })
    }

    /// Waits until a mount stands at the point.
    pub fn mounts(&mut self, point: &Path) -> Result<()> {
        self.until("a mount", |_| is_mounted(point).then_some(()))
    }

    fn until<T>(&mut self, what: &str, mut seen: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            let log = std::fs::read(&self.log)?;
            let log = String::from_utf8_lossy(&log);
            if let Some(seen) = seen(&log) {
                return Ok(seen);
            }
            if self.child.try_wait()?.is_some() || begun.elapsed() > START {
                return Err(format!("no sign of `{what}` in time; its log ends so: {}", tail(&log)).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The seconds of CPU that it has used.
    pub fn cpu(&self) -> Result<f64> {
        cpu(&self.child.id().to_string())
    }

    /// The most memory it ever held, in MiB.
    pub fn peak(&self) -> Result<f64> {
        memory(self.child.id(), "VmHWM:")
    }

    /// The memory it holds, in MiB.
    pub fn resident(&self) -> Result<f64> {
        memory(self.child.id(), "VmRSS:")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, so every failure here is none.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < STOP && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does something that may hang in a mount; when its time is over, the mount's program is killed and the kernel fails
/// whatever waits for it.
pub fn within<T>(limit: Duration, program: u32, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let (done, waiting) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = waiting.recv_timeout(limit).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout);
        if let Some(program) = Pid::from_raw(program as i32).filter(|_| late) {
            let _ = kill_process(program, Signal::KILL);
        }
        late
    });
    let result = action();
    drop(done);
    match watchdog.join() {
        Ok(true) => Err(format!("not done within {limit:?}").into()),
        _ => result,
    }
}

/// The seconds of CPU that a process, or `self`, has used.
pub fn cpu(process: &str) -> Result<f64> {
    seconds(process, 11)
}

/// The seconds of CPU that this process's children used that have ended.
pub fn children_cpu() -> Result<f64> {
    seconds("self", 13)
}

/// The sum of two fields, counted from the one after the name.
fn seconds(process: &str, first: usize) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before the parenthesis may hold anything.
    let (_, fields) = text.rsplit_once(") ").ok_or("a strange /proc/stat")?;
    let ticks = fields.split(' ').skip(first).take(2).map(|ticks| ticks.parse::<u64>());
    Ok(ticks.sum::<std::result::Result<u64, _>>()? as f64 / TICKS)
}

/// Whether something is mounted there.
pub fn is_mounted(point: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4) == point.to_str())
}

/// Takes away what a program that was killed left behind.
pub fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in
        mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| Path::new(point).starts_with(directory))
    {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}

fn memory(process: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the process has ended")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
