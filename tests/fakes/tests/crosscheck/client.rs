//! The client: the rclone binary with a configuration, a cache and a home of its own, gone with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use causeway_fakes::Running;

use crate::Row;

/// For one command. The slowest take a few seconds.
const SECONDS: &str = "120";

/// A client that is set up for one row.
pub(crate) struct Client {
    folder: tempfile::TempDir,
    ca: PathBuf,
    proxy: Option<String>,
    flags: &'static [&'static str],
}

impl Client {
    pub(crate) fn new(front: &Running, row: &Row) -> Client {
        let folder = tempfile::tempdir().expect("a folder");
        let proxy = row.proxy.then(|| front.origin());
        Client { folder, ca: front.ca().to_owned(), proxy, flags: row.flags }
    }

    /// Writes the remote `X`.
    pub(crate) fn configure(&self, remote: &str) {
        let text = format!("[X]\n{remote}\n");
        std::fs::write(self.folder.path().join("x.conf"), text).expect("a configuration");
    }

    /// A password as the configuration wants it.
    pub(crate) fn obscure(&self, password: &str) -> String {
        self.run(&["obscure", password]).expect("obscure").trim().to_owned()
    }

    /// A local file of this content. Nested names make folders.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join("files").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The folder of local files.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    /// Runs a command: its output, or what it complained about.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let done = self.command(arguments).output().map_err(|error| error.to_string())?;
        let Output { status, stdout, stderr } = done;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        Err(format!("{arguments:?}: {status}: {}", String::from_utf8_lossy(&stderr)))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let home = self.folder.path();
        let mut command = Command::new("timeout");
        command.arg(SECONDS).arg(binary()).args(arguments).args(self.flags);
        command.arg("--config").arg(home.join("x.conf")).arg("--cache-dir").arg(home.join("cache"));
        command.arg("--temp-dir").arg(home).arg("--ca-cert").arg(&self.ca);
        command.args(["--retries", "1", "--low-level-retries", "1", "--contimeout", "5s", "--timeout", "20s"]);
        command.args(["--checkers", "1", "--transfers", "1", "--stats", "0", "-v"]);
        command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").env("SSL_CERT_FILE", &self.ca);
        if let Some(proxy) = &self.proxy {
            command.env("HTTPS_PROXY", proxy).env("HTTP_PROXY", proxy);
        }
        command.stdin(Stdio::null());
        command
    }
}

fn binary() -> PathBuf {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = home("CAUSEWAY_CACHE")
        .or_else(|| home("XDG_CACHE_HOME").map(|cache| cache.join("causeway")))
        .or_else(|| home("HOME").map(|home| home.join(".cache/causeway")))
        .expect("a cache folder");
    let binary = cache.join("python/bin/rclone");
    assert!(Path::new(&binary).exists(), "{} is missing: `./just test` installs it", binary.display());
    binary
}
