//! What most cases begin with: a program, a server, and a bucket of the case's own.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::program::{Program, Settings};
use crate::proxy::Proxy;
use crate::servers::Server;
use crate::stage::Stage;

/// A program before a server. The order of the fields is the order in which they go.
pub(crate) struct Scene {
    pub(crate) program: Program,
    pub(crate) proxy: Proxy,
    pub(crate) server: &'static Server,
    pub(crate) bucket: String,
    pub(crate) stage: Stage,
}

impl Scene {
    pub(crate) fn new(server: &'static Server) -> Scene {
        Scene::with(server, Settings::default())
    }

    pub(crate) fn with(server: &'static Server, settings: Settings) -> Scene {
        let stage = Stage::new();
        let bucket = bucket();
        server.client.make_bucket(&bucket);
        let program = Program::start_with(&stage, settings);
        Scene { program, proxy: Proxy::before(&server.client.address), server, bucket, stage }
    }

    /// Connects the server through the proxy, with these settings besides.
    pub(crate) fn connect(&self, more: Value) -> String {
        self.program.api.connect("s3", &merged(self.server.settings_at(&self.proxy.address), more))
    }

    /// Ends the program in order, everything clean.
    pub(crate) fn end(self) {
        self.program.stop(&[&self.server.client.secret]);
        let path = self.stage.path().to_owned();
        drop(self.stage);
        assert!(!path.exists(), "files are left behind");
    }
}

/// A name that no other case has.
pub(crate) fn bucket() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn merged(mut settings: Value, more: Value) -> Value {
    if let Value::Object(more) = more {
        settings.as_object_mut().unwrap().extend(more);
    }
    settings
}
