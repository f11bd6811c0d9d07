//! The S3 servers, each started when a case first wants it, and stopped when all cases are done.
//!
//! Ceph RGW is strict with signatures and everything else; `rclone serve s3` is a second opinion and stores plain files.
//! Both are kept by a shell that waits on a pipe from here: when this process ends, however it does, the pipe closes, and
//! the shell stops the server.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, tool};

/// A running S3 server.
pub(crate) struct Server {
    /// What the option `provider` calls it.
    provider: &'static str,
    pub(crate) client: Client,
    /// Where it keeps its buckets as directories, if it does.
    pub(crate) files: Option<PathBuf>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    child: Child,
    pipe: ChildStdin,
    _directory: TempDir,
}

static RGW: OnceLock<Server> = OnceLock::new();
static RCLONE: OnceLock<Server> = OnceLock::new();

/// Ceph RGW.
pub(crate) fn rgw() -> &'static Server {
    RGW.get_or_init(|| {
        let directory = tempfile::Builder::new().prefix("causeway-rgw-").tempdir().unwrap();
        let port = two_free_ports().to_string();
        let script = lib("rgw.sh");
        let path = directory.path().to_owned();
        let (kept, line) = keep(&[script.as_ref(), "run".as_ref(), path.as_ref(), port.as_ref()], directory);
        let words: Vec<_> = line.split_whitespace().collect();
        let [url, access, secret] = words[..] else { panic!("rgw.sh says {line}") };
        let address = url.trim_start_matches("http://").to_owned();
        Server {
            provider: "Ceph",
            client: Client { address, access: access.into(), secret: secret.into() },
            files: None,
            kept: Mutex::new(Some(kept)),
        }
    })
}

/// `rclone serve s3` over a directory.
pub(crate) fn rclone() -> &'static Server {
    RCLONE.get_or_init(|| {
        let directory = tempfile::Builder::new().prefix("causeway-rclone-").tempdir().unwrap();
        let (access, secret) = ("AKRCLONE0123456789", "rclone-secret-for-tests-0123456789abcdef");
        let files = directory.path().to_owned();
        let script = "\"$@\" & server=$!; trap 'kill -9 $server' EXIT; cat >/dev/null";
        let rclone = tool("rclone");
        let keys = format!("{access},{secret}");
        let arguments = ["bash", "-c", script, "keep"].map(AsRef::as_ref);
        let serve = ["serve", "s3", "--config", "/dev/null", "--addr", "127.0.0.1:0", "--auth-key", &keys];
        let mut all: Vec<&std::ffi::OsStr> = arguments.to_vec();
        all.push(rclone.as_ref());
        all.extend(serve.map(AsRef::<std::ffi::OsStr>::as_ref));
        all.push(files.as_ref());
        let (kept, line) = keep(&all, directory);
        let (_, address) = line.split_once("[http://").unwrap_or_else(|| panic!("rclone says {line}"));
        let address = address.split(['/', ']']).next().unwrap().to_owned();
        Server {
            provider: "Other",
            client: Client { address, access: access.into(), secret: secret.into() },
            files: Some(files),
            kept: Mutex::new(Some(kept)),
        }
    })
}

/// A private PostgreSQL cluster; it ends when this is dropped.
pub(crate) struct Postgres {
    child: Child,
    pub(crate) url: String,
}

impl Postgres {
    pub(crate) fn start() -> Postgres {
        let mut child = Command::new(lib("postgres.sh"))
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = first_line(child.stdout.take().unwrap(), "database-url: ");
        Postgres { child, url: line.trim_start_matches("database-url: ").to_owned() }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The shell waits for its child; both are asked to end.
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        for child in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            if let Some(pid) = child.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            }
        }
        let _ = self.child.wait();
    }
}

/// Stops what was started.
pub(crate) fn stop() {
    for server in [&RGW, &RCLONE].into_iter().filter_map(OnceLock::get) {
        if let Some(mut kept) = server.kept.lock().unwrap().take() {
            drop(kept.pipe);
            let _ = kept.child.wait();
        }
    }
}

impl Server {
    /// What one connects it with, through this address.
    pub(crate) fn settings_at(&self, address: &str) -> Value {
        json!({
            "provider": self.provider, "endpoint": format!("http://{address}"),
            "access_key_id": self.client.access, "secret_access_key": self.client.secret,
            // The smallest that S3 allows, so that small files show what large ones need.
            "upload_cutoff": "5Mi", "chunk_size": "5Mi",
        })
    }

    pub(crate) fn settings(&self) -> Value {
        self.settings_at(&self.client.address)
    }
}

/// Starts a command with a pipe to it, and waits for its first line.
fn keep(command: &[&std::ffi::OsStr], directory: TempDir) -> (Kept, String) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = child.stdin.take().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (say, said) = std::sync::mpsc::channel();
    for stream in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
        let say = say.clone();
        // Read to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
    }
    drop(say);
    let mut before = String::new();
    for line in said {
        if line.contains("http://") {
            return (Kept { child, pipe, _directory: directory }, line);
        }
        before.push_str(&line);
        before.push('\n');
    }
    panic!("a server ended at its start, {:?}:\n{before}", child.wait())
}

fn first_line(stream: impl Read + Send + 'static, beginning: &str) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let found = lines.find(|line| line.starts_with(beginning)).expect("the server ended at its start");
    std::thread::spawn(move || lines.for_each(drop));
    found
}

/// A script of the tests.
pub(crate) fn lib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../lib").join(name).canonicalize().unwrap()
}

/// A free port whose follower is free as well: a cluster takes both.
fn two_free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two free ports side by side")
}
