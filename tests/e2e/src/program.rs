//! The program under test: started, watched, killed, started again, and what it must leave behind: nothing.
//!
//! A case that hangs inside a mount cannot end itself. So a watchdog kills the program when the case's time is over: the
//! kernel then fails whatever waits, and the case fails with it. The same happens when a case fails for any reason.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::api::Api;
use crate::client::cache;
use crate::stage::{Stage, eventually, mounted_below};

/// What a case may take, all waiting included.
const CASE: Duration = Duration::from_secs(180);
/// What a case may take that moves gigabytes.
const LONG_CASE: Duration = Duration::from_secs(1800);
/// How long a start may take: the first one compiles the components.
const START: Duration = Duration::from_secs(60);
/// How long a stop may take: requests under way are given ten seconds.
const STOP: Duration = Duration::from_secs(20);

/// A running program.
pub(crate) struct Program {
    child: Child,
    settings: Settings,
    directory: PathBuf,
    pub(crate) api: Api,
    /// Where the operator's listener is.
    pub(crate) admin: String,
    /// What the watchdog kills.
    pid: Arc<Mutex<Option<Pid>>>,
    _watchdog: Sender<()>,
}

/// How it is started.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// Providers on private networks are refused.
    pub(crate) closed: bool,
    /// For minutes.
    pub(crate) long: bool,
    /// More flags.
    pub(crate) flags: Vec<String>,
    /// More of the environment.
    pub(crate) environment: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn start(stage: &Stage) -> Program {
        Program::start_with(stage, Settings::default())
    }

    pub(crate) fn start_with(stage: &Stage, settings: Settings) -> Program {
        Program::start_in(stage.path(), settings)
    }

    pub(crate) fn start_in(directory: &Path, settings: Settings) -> Program {
        let directory = directory.to_owned();
        let token = format!("token-{}", crate::content::digest(directory.as_os_str().as_encoded_bytes()));
        let child = spawn(&directory, &settings, &token);
        let pid = Arc::new(Mutex::new(Pid::from_raw(child.id() as i32)));
        let limit = if settings.long { LONG_CASE } else { CASE };
        let api = Api { address: String::new(), token };
        let mut program = Program {
            child,
            settings,
            directory,
            api,
            admin: String::new(),
            _watchdog: watch(pid.clone(), limit),
            pid,
        };
        program.ready(0);
        program
    }

    /// Ends it as a power cut would end the process.
    pub(crate) fn kill(&mut self) {
        *self.pid.lock().unwrap() = None;
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        let told = self.log().len();
        self.child = spawn(&self.directory, &self.settings, &self.api.token);
        *self.pid.lock().unwrap() = Pid::from_raw(self.child.id() as i32);
        self.ready(told);
    }

    /// Stops it in order, and sees that nothing is left behind and that the secrets stand nowhere.
    pub(crate) fn stop(mut self, secrets: &[&str]) {
        assert!(self.terminate().success(), "the program did not stop in order");
        assert_eq!(mounted_below(&self.mounts()), Vec::<PathBuf>::new(), "a mount is left behind");
        for secret in secrets {
            self.holds_not(secret);
        }
    }

    /// Asks it to stop and waits.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = eventually(STOP, "the program stops", || {
            self.child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        *self.pid.lock().unwrap() = None;
        status
    }

    /// The most memory it ever held, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.join("log")).unwrap()).into_owned()
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.directory.join("mounts")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Looks for a secret in the log and in every file below the data directory, in the forms in which it could stand there.
    pub(crate) fn holds_not(&self, secret: &str) {
        let mut files = vec![self.directory.join("log")];
        collect(&self.data(), &mut files);
        for file in files {
            let content = std::fs::read(&file).unwrap();
            for form in forms(secret.as_bytes()) {
                let found = content.windows(form.len()).any(|window| window == form);
                assert!(!found, "the secret stands in {} as {}", file.display(), String::from_utf8_lossy(&form));
            }
        }
    }

    /// Waits for the line that says where it listens, and for the listener.
    fn ready(&mut self, told: usize) {
        let (address, admin) = eventually(START, "the program is ready", || {
            let log = self.log();
            let line = log[told..].lines().find(|line| line.contains(" ready ")).ok_or_else(|| tail(&log));
            if line.is_err() && self.child.try_wait().unwrap().is_some() {
                panic!("the program ended:\n{}", tail(&log));
            }
            let word = |line: &str, name: &str| {
                let (_, after) = line.split_once(name).unwrap();
                after.split(' ').next().unwrap().trim().to_owned()
            };
            line.map(|line| (word(line, " address=http://"), word(line, " admin=http://")))
        });
        self.api.address = address;
        self.admin = admin;
        eventually(START, "the program answers", || {
            let answer = self.api.try_call("GET", "/readyz", None).map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text) }
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program's log ends so:\n{}", tail(&self.log()));
        }
        *self.pid.lock().unwrap() = None;
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for point in mounted_below(&self.mounts()) {
            let _ = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// The built program.
pub(crate) fn binary() -> PathBuf {
    let beside = || {
        // This runs from `release/deps`.
        std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("causeway")
    };
    let path = std::env::var_os("CAUSEWAY_BINARY").map_or_else(beside, PathBuf::from);
    assert!(path.is_file(), "{} is not there: run `./just build` first", path.display());
    path
}

/// The built components.
pub(crate) fn components() -> PathBuf {
    let usual = || cache().join("target/components");
    let path = std::env::var_os("CAUSEWAY_COMPONENTS").map_or_else(usual, PathBuf::from);
    assert!(path.join("s3.wasm").is_file(), "{} holds no components: run `./just build` first", path.display());
    path
}

/// A command that dies with the thread that starts it, whatever becomes of that.
pub(crate) fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn spawn(directory: &Path, settings: &Settings, token: &str) -> Child {
    let log: File = OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
    let mut command = bound(&binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(directory.join("data"));
    command.arg("--mount-root").arg(directory.join("mounts"));
    command.arg("--components").arg(components());
    if !settings.closed {
        command.arg("--allow-private-networks=127.0.0.0/8");
    }
    command.args(&settings.flags);
    command.envs(settings.environment.iter().cloned());
    command.env("CAUSEWAY_BOOTSTRAP_TOKEN", token).env("RUST_LOG", "debug,sqlx=info,causeway_api=warn");
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

fn watch(pid: Arc<Mutex<Option<Pid>>>, limit: Duration) -> Sender<()> {
    let (alive, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
            && let Some(pid) = *pid.lock().unwrap()
        {
            eprintln!("the case's time is over: the program is killed");
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    alive
}

/// All files below a directory.
pub(crate) fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match std::fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => collect(&path, files),
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
}

/// A secret as it is, in hexadecimal, and in Base64 at each of the three places where it can begin.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
    let mut forms = vec![secret.to_vec(), HEXLOWER.encode(secret).into_bytes(), HEXUPPER.encode(secret).into_bytes()];
    for before in 0..3 {
        let shifted = [&b"xx"[..before], secret].concat();
        let whole = shifted.len() / 3 * 3;
        let encoded = BASE64.encode(&shifted[..whole]).into_bytes();
        // The first four characters also hold what stands before.
        forms.push(encoded[if before == 0 { 0 } else { 4 }..].to_vec());
    }
    forms
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
