//! `rclone serve s3`: an S3 server that keeps objects as files of a directory, one directory per bucket.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

pub const KEY: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A server at work; ends with its value.
pub struct Rclone {
    process: Child,
    pub url: String,
    pub directory: tempfile::TempDir,
}

impl Rclone {
    /// A server with these buckets.
    pub fn start(buckets: &[&str]) -> Rclone {
        let directory = tempfile::tempdir().unwrap();
        for bucket in buckets {
            std::fs::create_dir(directory.path().join(bucket)).unwrap();
        }
        let mut process = Command::new(program())
            .args(["serve", "s3", "--config", "/dev/null", "--addr", "127.0.0.1:0"])
            .args(["--auth-key", &format!("{KEY},{SECRET}")])
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rclone does not start");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("Starting s3 server on [")?;
            Some(rest.split_once("/]")?.0.to_owned())
        });
        // What it says later is read and dropped, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Rclone { process, url: url.expect("rclone does not say where it listens"), directory }
    }

    /// The settings of a backend at this server.
    pub fn settings(&self) -> Json {
        json!({"provider": "Other", "endpoint": self.url, "access_key_id": KEY, "secret_access_key": SECRET})
    }

    /// The settings, with others in place of some.
    pub fn settings_but(&self, others: Json) -> Json {
        let mut settings = self.settings();
        settings.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        settings
    }

    /// The bytes of an object, as they lie on the disk.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The one that the test programs come with, else the machine's.
fn program() -> PathBuf {
    let installed = super::cache().join("python/bin/rclone");
    if installed.is_file() { installed } else { "rclone".into() }
}
