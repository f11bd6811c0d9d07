//! The REST API: its paths, its answers, who may ask, and what it costs to ask too much.
//!
//! It opens no storage and makes no mount: those stand behind two doors, [`Backends`] and [`Mounts`], which the program
//! implements. It does not know what a provider is made of: the [`Catalog`] gives it descriptors, from which parsing,
//! the list of providers and the checks of credentials follow.
//!
//! **Whose.** Everything under `/api/v1` but the OpenAPI document and the page after a consent needs a bearer token, and every call to the registry and
//! the doors carries the tenant that the token belongs to. What is another tenant's answers exactly as what is not there.
//!
//! **Errors** have one shape: `{"success":false,"error":"...","code":"..."}`, also those that the framework makes; wrong
//! fields are named all at once, in words in `error` and by name in `fields`. A status code is chosen nowhere but here.
//!
//! **Limits**: see [`limits`].

mod answers;
mod auth;
mod backends;
mod callback;
mod catalog;
mod connect;
mod credentials;
mod doors;
mod error;
mod events;
pub mod limits;
mod mounts;
mod observe;
mod openapi;
mod pending;
mod pins;
mod providers;
mod request;
mod sign_in;
mod vfs_config;

use std::future::{Future, IntoFuture};
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use causeway_registry::Registry;

pub use catalog::{Catalog, api_default, api_type};
pub use doors::{
    Backends, Condition, Event, GivenUp, MountError, Mounts, Pending, PendingChange, Pin, Progress, State, Status,
    Trial, Use, What,
};
pub use observe::{Metrics, admin_router};
pub use openapi::document;
pub use vfs_config::{Attributes, CacheMode, Close, VfsConfig};

/// What the API stands on. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// Tenants, backends, mounts.
    pub registry: Registry,
    /// The providers that exist.
    pub catalog: Arc<Catalog>,
    /// Live backends.
    pub backends: Arc<dyn Backends>,
    /// Live mounts.
    pub mounts: Arc<dyn Mounts>,
    /// What this machine is called where pending writes are shown: they lie on its disk.
    pub node: Arc<str>,
    /// Where browsers reach this API, without a slash at its end; none if consents cannot be asked for.
    pub public_url: Option<Arc<str>>,
}

/// Answers requests on a listener until `stop` ends, and then for at most [`limits::STOP`] those that are under way.
pub async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let stop = async move {
        stop.await;
        stopping.send_replace(true);
    };
    let served = axum::serve(listener, router).with_graceful_shutdown(stop).into_future();
    let late = async {
        // A sender that is gone means the same.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(limits::STOP).await;
    };
    tokio::select! {
        served = served => served,
        () = late => {
            tracing::warn!("requests were still under way and are cut off");
            Ok(())
        }
    }
}

/// All paths of the main listener.
pub fn router(api: Api) -> Router {
    let v1 = Router::new()
        .route("/backends", get(backends::list))
        .route(
            "/backends/{id}",
            get(backends::get).put(credentials::update).delete(backends::delete).post(connect::connect),
        )
        .route("/backends/{id}/test", get(backends::test))
        .route("/backends/{id}/authorize", post(sign_in::authorize))
        .route("/backends/{id}/events", get(events::list))
        .route("/backends/{id}/pending", get(pending::list))
        .route("/backends/{id}/pending/retry", post(pending::retry_all))
        .route("/backends/{id}/pending/{number}", delete(pending::give_up))
        .route("/backends/{id}/pending/{number}/retry", post(pending::retry))
        .route("/mounts", get(mounts::list).post(mounts::create))
        .route("/mounts/{id}", get(mounts::get).patch(mounts::update).delete(mounts::delete))
        .route("/mounts/{id}/pins", get(pins::list).put(pins::replace))
        .route("/providers", get(providers::list))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(api.clone(), auth::require_token));
    Router::new()
        .nest("/api/v1", v1)
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route(callback::PATH, get(callback::callback))
        .route("/healthz", get(observe::healthz))
        .route("/readyz", get(observe::readyz))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(limits::CONNECT_BYTES))
        .layer(from_fn_with_state(limits::Gate::new(), limits::hold))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(error::panicked))
        .layer(from_fn(observe::observe))
        .with_state(api)
}
