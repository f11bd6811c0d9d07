//! What a client may ask of the API, and why not more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::error::ApiError;

/// The largest body of a connect or mount request in bytes: service account documents are a few KiB.
pub const CONNECT_BYTES: usize = 256 << 10;
/// The largest body of a credential update in bytes, as its page says.
pub const CREDENTIAL_BYTES: usize = 16 << 10;
/// Requests at work at once; more are turned away at once. Each may hold a connect body and a provider's connection.
pub const REQUESTS: usize = 256;
/// When a request is answered, whatever it waits for.
pub const REQUEST: Duration = Duration::from_secs(30);
/// When a body must have come: whoever sends it slowly takes a place from others.
pub const BODY: Duration = Duration::from_secs(10);
/// When a provider must have answered a probe: early enough to say so.
pub const PROBE: Duration = Duration::from_secs(25);
/// How long an answer about a backend waits to learn what a person must do.
pub const LOOK: Duration = Duration::from_secs(10);
/// How long the provider is told that a backend leaves.
pub const LEAVE: Duration = Duration::from_secs(5);
/// How long a removal waits for uploads: early enough to say what is left.
pub const DRAIN: Duration = Duration::from_secs(28);
/// Paths that a mount may pin: enough to name by hand, few enough to look through at each look-up.
pub const PINS: usize = 1000;
/// The largest page of pending changes, and with that its answer: paths are up to a few KiB each.
pub const PAGE: usize = 1000;
/// A page of pending changes if nothing else is asked for.
pub(crate) const USUAL_PAGE: usize = 100;

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

/// Turns requests away beyond [`REQUESTS`] and answers them after [`REQUEST`] at the latest. What changes something is carried to
/// its end, whether or not anybody still listens: half a change would be neither the old state nor the new one.
pub(crate) async fn hold(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Ok(permit) = gate.0.try_acquire_owned() else {
        return ApiError::overloaded().into_response();
    };
    let changes = !request.method().is_safe();
    let work = async move {
        let response = next.run(request).await;
        drop(permit);
        response
    };
    if !changes {
        return tokio::time::timeout(REQUEST, work).await.unwrap_or_else(|_| ApiError::late().into_response());
    }
    let task = tokio::spawn(work.in_current_span());
    match tokio::time::timeout(REQUEST, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(failed)) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        // The program stops, or it is late.
        Ok(Err(_)) | Err(_) => ApiError::late().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    fn held() -> Router {
        Router::new()
            .route("/never", get(std::future::pending::<()>))
            .route("/at-once", get(async || "here"))
            .layer(from_fn_with_state(Gate::new(), hold))
    }

    async fn ask(router: &Router, path: &str) -> (StatusCode, String) {
        let answer = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = to_bytes(answer.into_body(), 1 << 10).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_whatever_it_waits_for() {
        let begun = tokio::time::Instant::now();
        let (status, text) = ask(&held(), "/never").await;
        assert_eq!(begun.elapsed().as_secs(), REQUEST.as_secs());
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains(r#""code":"TIMEOUT""#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_carried_to_its_end_though_nobody_waits_for_it() {
        let done = Arc::new(Semaphore::new(0));
        let after = done.clone();
        let change = async move || {
            tokio::time::sleep(Duration::from_secs(5)).await;
            after.add_permits(1);
        };
        let router = Router::new().route("/", axum::routing::post(change)).layer(from_fn_with_state(Gate::new(), hold));
        let request = Request::post("/").body(Body::empty()).unwrap();
        let gone = tokio::time::timeout(Duration::from_secs(1), router.oneshot(request)).await;
        assert!(gone.is_err());
        tokio::time::timeout(Duration::from_secs(10), done.acquire()).await.unwrap().unwrap().forget();
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_beyond_the_limit_is_turned_away_at_once_and_room_comes_back() {
        let router = held();
        let waiting: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let router = router.clone();
                tokio::spawn(async move { ask(&router, "/never").await })
            })
            .collect();
        // Time passes only when every task waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = tokio::time::Instant::now();
        let (status, text) = ask(&router, "/at-once").await;
        assert_eq!((status, begun.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
        assert!(text.contains(r#""code":"OVERLOADED""#), "{text}");
        for request in waiting {
            request.await.unwrap();
        }
        assert_eq!(ask(&router, "/at-once").await, (StatusCode::OK, "here".into()));
    }
}
