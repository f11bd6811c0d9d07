//! Pins of a mount: paths that stay on this machine as a whole, and how much of them is here.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use causeway_registry::{Mount, Tenant};
use causeway_storage::{Path, Problem};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answers::Done;
use crate::auth::Caller;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::mounts::find;
use crate::request::{Segment, object};
use crate::{Api, Pin, limits};

/// What is pinned through a mount.
#[derive(Serialize, ToSchema)]
pub(crate) struct PinList {
    count: usize,
    pins: Vec<PinAnswer>,
}

/// A pinned path.
#[derive(Serialize, ToSchema)]
pub(crate) struct PinAnswer {
    /// From the root of the mount, without a slash at either end; empty for all of it.
    path: String,
    /// Files at and below it, as far as they were looked at.
    files: u64,
    /// Their bytes that are on this machine.
    bytes: u64,
    /// Their bytes that are still to be fetched.
    bytes_to_go: u64,
    /// What went wrong last, if it is not put right.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What is pinned through a mount, and how much of it is here.
#[utoipa::path(
    get, path = "/api/v1/mounts/{id}/pins", tag = "mounts", params(("id" = String, Path, description = "The mount's id")),
    responses((status = 200, body = PinList), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
) -> ApiResult<Json<PinList>> {
    let mount = find(&api, &tenant, &id).await?;
    let pins = api.mounts.pins(&tenant, &mount).await.map_err(ApiError::storage)?;
    let pins: Vec<_> = pins.into_iter().map(PinAnswer::of).collect();
    Ok(Json(PinList { count: pins.len(), pins }))
}

/// Say which paths, of files or whole directories, stay on this machine, instead of those before. They are fetched in the
/// background, are not evicted, and are served however long the provider is unreachable.
#[utoipa::path(
    put, path = "/api/v1/mounts/{id}/pins", tag = "mounts", params(("id" = String, Path, description = "The mount's id")),
    request_body(content = Object, description = "`paths`: at most 1,000 paths from the root of the mount"),
    responses(
        (status = 200, body = Done), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer),
        (status = 413, body = ErrorAnswer),
    )
)]
pub(crate) async fn replace(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Json<Done>> {
    let mount = staying(&api, &tenant, &id).await?;
    let given = object(&headers, body, limits::CONNECT_BYTES).await?;
    let paths = paths(given).map_err(|problems| ApiError::problems(&problems))?;
    api.mounts.set_pins(&tenant, &mount, paths).await.map_err(ApiError::storage)?;
    // It may have been removed while the body was on its way. Then nobody would ever take them back.
    if let Err(error) = staying(&api, &tenant, &id).await {
        api.mounts.set_pins(&tenant, &mount, Vec::new()).await.map_err(ApiError::storage)?;
        return Err(error);
    }
    Ok(Json(Done::new("Pins updated")))
}

/// A mount that nobody asked to go.
async fn staying(api: &Api, tenant: &Tenant, id: &str) -> ApiResult<Mount> {
    let mount = find(api, tenant, id).await?;
    if mount.removing { Err(ApiError::mount_not_found()) } else { Ok(mount) }
}

fn paths(mut given: Map<String, Value>) -> Result<Vec<Path>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut paths = Vec::new();
    match given.remove("paths") {
        None => problems.push(Problem::new("paths", "is required")),
        Some(Value::Array(texts)) if texts.len() > limits::PINS => {
            problems.push(Problem::new("paths", format!("must not be more than {}", limits::PINS)));
        }
        Some(Value::Array(texts)) => {
            for (number, text) in texts.iter().enumerate() {
                // As people write them: with or without slashes at the ends.
                let path =
                    text.as_str().map(|text| Path::parse(text.trim_matches('/')).map_err(|error| error.to_string()));
                match path.unwrap_or_else(|| Err("must be a string".into())) {
                    Ok(path) => paths.push(path),
                    Err(message) => problems.push(Problem::new(format!("paths[{number}]"), message)),
                }
            }
        }
        Some(_) => problems.push(Problem::new("paths", "must be an array of strings")),
    }
    problems.extend(given.keys().map(|name| Problem::new(name, "is not a field of pins")));
    if problems.is_empty() { Ok(paths) } else { Err(problems) }
}

impl PinAnswer {
    fn of(pin: Pin) -> PinAnswer {
        let Pin { path, files, bytes, bytes_to_go, error } = pin;
        PinAnswer { path: path.to_string(), files, bytes, bytes_to_go, error }
    }
}
