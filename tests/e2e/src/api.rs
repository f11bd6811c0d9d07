//! The program's REST API as a tenant uses it, over a connection per request.
//!
//! It is no general HTTP client: it knows JSON, and answers that end with their connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::eventually;

/// Longer than the program may take for any answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// A tenant's way to the program.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: String,
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) body: Value,
}

/// A mount that was made.
pub(crate) struct Mount {
    pub(crate) id: String,
    pub(crate) path: std::path::PathBuf,
}

impl Api {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path, Some(body))
    }

    /// Connects a backend and gives its id.
    pub(crate) fn connect(&self, provider: &str, settings: &Value) -> String {
        let answer = self.post(&format!("/api/v1/backends/{provider}"), settings).expect(201);
        answer["data"]["id"].as_str().unwrap().to_owned()
    }

    /// Mounts a backend and sees it active.
    pub(crate) fn mount(&self, backend: &str, config: Value) -> Mount {
        let wish = json!({"backend_id": backend, "label": "e2e", "vfs_config": config});
        let made = self.post("/api/v1/mounts", &wish).expect(201);
        assert_eq!(made["data"]["status"], "active", "{made}");
        let text = |name: &str| made["data"][name].as_str().unwrap().to_owned();
        Mount { id: text("id"), path: text("mount_path").into() }
    }

    /// Waits until a mount's backend has nothing to upload any more.
    pub(crate) fn uploaded(&self, mount: &Mount) {
        eventually(Duration::from_secs(90), "everything is uploaded", || {
            let details = self.get(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
            match details.get("pending") {
                None => Ok(()),
                Some(pending) => Err(pending.to_string()),
            }
        });
    }

    /// Unmounts, everything being uploaded in time.
    pub(crate) fn unmount(&self, mount: &Mount) {
        self.delete(&format!("/api/v1/mounts/{}", mount.id)).expect(200);
        assert!(!mount.path.exists(), "the mount point is left behind");
    }

    pub(crate) fn disconnect(&self, backend: &str) {
        self.delete(&format!("/api/v1/backends/{backend}")).expect(200);
        let gone = self.get(&format!("/api/v1/backends/{backend}")).expect(404);
        assert_eq!(gone["code"], "BACKEND_NOT_FOUND");
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let body = body.map_or_else(String::new, Value::to_string);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len(),
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, text) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
        Ok(Answer { status, text: text.to_owned(), body: serde_json::from_str(text).unwrap_or(Value::Null) })
    }
}

impl Answer {
    /// The body, the status being this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }
}
