//! What the operator sees: a line and a measure per request, health, and the admin listener with the metrics.
//!
//! The line has the route's pattern, never the path or the query: those may name what a tenant keeps.

use std::sync::OnceLock;
use std::time::Instant;

use axum::Json;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rand::Rng;
use serde_json::json;
use tracing::Instrument;

use crate::Api;
use crate::error;

/// Requests by method, route and status.
const REQUESTS: &str = "causeway_http_requests_total";
/// How long requests took, by method and route.
const SECONDS: &str = "causeway_http_request_seconds";

const REQUEST_ID: &str = "x-request-id";
/// The longest id that is taken over from a client, in bytes: it stands in every line of the request.
const REQUEST_ID_BYTES: usize = 64;

/// The measures of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to measure. There is one per process: later calls answer with the same.
    pub fn install() -> Metrics {
        static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = INSTALLED.get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
            }
            metrics::describe_counter!(REQUESTS, "Requests answered, by method, route and status");
            metrics::describe_histogram!(
                SECONDS,
                metrics::Unit::Seconds,
                "How long requests took, by method and route"
            );
            handle
        });
        Metrics(handle.clone())
    }

    /// In the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// All paths of the operator's listener. It must be reachable by the operator alone.
pub fn admin_router(api: Api, metrics: Metrics) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) }),
        )
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(api)
}

/// That the process answers.
pub(crate) async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// That it can do its work: the registry answers.
pub(crate) async fn readyz(State(api): State<Api>) -> Response {
    match api.registry.answers().await {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the registry does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unready"}))).into_response()
        }
    }
}

/// Gives each request an id, a span and a measure.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = request.method().to_string();
    let route = request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |path| path.as_str().to_owned());
    let begun = Instant::now();
    let span = tracing::info_span!("request", id, method, tenant = tracing::field::Empty);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    let elapsed = begun.elapsed();
    span.in_scope(|| tracing::info!(route, status = status.as_u16(), ms = elapsed.as_millis() as u64, "answered"));
    metrics::counter!(REQUESTS, "method" => method.clone(), "route" => route.clone(), "status" => status.as_str().to_owned())
        .increment(1);
    metrics::histogram!(SECONDS, "method" => method, "route" => route).record(elapsed.as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The client's own id, if it is short and plain, else a new one.
fn request_id(request: &Request) -> String {
    let plain = |text: &&str| {
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !text.is_empty() && text.len() <= REQUEST_ID_BYTES && text.bytes().all(sound)
    };
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    given.map_or_else(|| format!("{:032x}", rand::rng().random::<u128>()), str::to_owned)
}
