//! An independent S3 client: boto3, through a small script. It shares no code with the program, so what both see is there.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// boto3 with one server's keys.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    pub(crate) access: String,
    pub(crate) secret: String,
}

impl Client {
    pub(crate) fn make_bucket(&self, bucket: &str) {
        self.run(&["make", bucket], &[]);
    }

    pub(crate) fn put(&self, bucket: &str, key: &str, content: &[u8]) {
        self.run(&["put", bucket, key], content);
    }

    /// Puts many texts by their keys.
    pub(crate) fn put_all(&self, bucket: &str, texts: &Value) {
        self.run(&["put-all", bucket], texts.to_string().as_bytes());
    }

    /// Puts many empty objects.
    pub(crate) fn put_empty(&self, bucket: &str, prefix: &str, count: usize) {
        self.run(&["fill", bucket, prefix, &count.to_string()], &[]);
    }

    /// `{"size", "sha256", "metadata"}`
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Value {
        self.run(&["get", bucket, key], &[])
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        strings(&self.run(&["list", bucket], &[]))
    }

    /// Every object's digest by its key.
    pub(crate) fn digests(&self, bucket: &str) -> serde_json::Map<String, Value> {
        self.run(&["digests", bucket], &[]).as_object().unwrap().clone()
    }

    /// The keys of multipart uploads that were begun and not ended.
    pub(crate) fn uploads(&self, bucket: &str) -> Vec<String> {
        strings(&self.run(&["uploads", bucket], &[]))
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/s3.py");
        let mut child = Command::new(tool("python"))
            .arg(script)
            .args(arguments)
            .env("S3_ENDPOINT", format!("http://{}", self.address))
            .env("S3_ACCESS", &self.access)
            .env("S3_SECRET", &self.secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the independent client failed: {arguments:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A program of the virtual environment that `tests/lib/python.sh` makes, else one from the path.
pub(crate) fn tool(name: &str) -> PathBuf {
    let inside = cache().join("python/bin").join(name);
    if inside.exists() { inside } else { name.into() }
}

/// Where the recipes keep what they build.
pub(crate) fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    variable("CAUSEWAY_CACHE").unwrap_or_else(|| {
        let home = || variable("HOME").unwrap().join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(home).join("causeway")
    })
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
