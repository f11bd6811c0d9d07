//! Tests of the whole program against real servers: a person's view through REST and a mount, and an independent client's
//! view of what arrived.
//!
//! It is no test of a crate: nothing of the runtime is linked, only the built program is started. Each case has its own
//! bucket, data directory, mounts and process; the S3 servers are started when a case first wants them, once per run, and
//! end with it. Between the program and a server a case can put a `proxy` that fails in the way the case is about.
//!
//! The program and the components are found through `CAUSEWAY_BINARY` and `CAUSEWAY_COMPONENTS`, else where a build puts
//! them. `CAUSEWAY_SOAK=1` adds the cases that take minutes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // All of it is a test.

mod api;
mod cases;
mod client;
mod content;
mod program;
mod proxy;
mod servers;
mod stage;
mod subject;
mod workload;

use libtest_mimic::{Arguments, Conclusion};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let done: Conclusion = libtest_mimic::run(&arguments, cases::all());
    servers::stop();
    done.exit_code()
}
