//! What a client may ask of the API, and why not more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// The largest body of a connect or mount request in bytes: service account documents are a few KiB.
pub const CONNECT_BYTES: usize = 256 << 10;
/// The largest body of a credential update in bytes, as its page says.
pub const CREDENTIAL_BYTES: usize = 16 << 10;
/// Requests at work at once; more are turned away at once. Each may hold a connect body and a provider's connection.
pub const REQUESTS: usize = 256;
/// When a request ends, whatever it waits for.
pub const REQUEST: Duration = Duration::from_secs(30);
/// When a provider must have answered a probe: early enough to say so.
pub const PROBE: Duration = Duration::from_secs(25);
/// How long a removal waits for uploads: early enough to say what is left.
pub const DRAIN: Duration = Duration::from_secs(28);

/// How long requests under way may go on when the process stops.
pub const STOP: Duration = Duration::from_secs(10);

/// Counts the requests at work.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate(Arc::new(Semaphore::new(REQUESTS)))
    }
}

/// Turns requests away beyond [`REQUESTS`] and ends them after [`REQUEST`].
pub(crate) async fn hold(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Ok(_permit) = gate.0.try_acquire() else {
        return ApiError::overloaded().into_response();
    };
    match tokio::time::timeout(REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::late().into_response(),
    }
}
