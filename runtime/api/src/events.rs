//! What happened at a backend otherwise than was asked for: conflict copies, removals and renames that others overtook.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::backends::find;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::Segment;
use crate::{Api, Event};

/// What happened lately.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventList {
    count: usize,
    events: Vec<Event>,
}

/// What went otherwise than was asked for, newest last: the last 256 since the process took the backend into use. They do
/// not survive a restart.
#[utoipa::path(
    get, path = "/api/v1/backends/{id}/events", tag = "backends", params(("id" = String, Path, description = "The backend's id")),
    responses((status = 200, body = EventList), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
) -> ApiResult<Json<EventList>> {
    let backend = find(&api, &tenant, &id).await?;
    let events = api.backends.events(&tenant, &backend.id).await.map_err(ApiError::storage)?;
    Ok(Json(EventList { count: events.len(), events }))
}
