//! Changes of a backend that wait to be made at the provider: which, why, and what to do about one that does not get on.

use axum::Json;
use axum::extract::State;
use causeway_storage::Problem;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answers::Done;
use crate::auth::Caller;
use crate::backends::find;
use crate::error::{ApiError, ApiResult, ErrorAnswer};
use crate::request::{Segment, Segments, Wish};
use crate::{Api, GivenUp, PendingChange, limits};

/// A page of what waits.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangeList {
    count: usize,
    changes: Vec<PendingChange>,
    /// What `after` is for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// On which machine's disk it all lies.
    node: String,
}

/// A change was given up.
#[derive(Serialize, ToSchema)]
pub(crate) struct LeftBehind {
    /// Always true.
    success: bool,
    /// For a person.
    message: String,
    /// Where on the machine's disk lies what it wrote, if it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_and_found: Option<String>,
}

/// Which page.
#[derive(Deserialize)]
pub(crate) struct Which {
    limit: Option<String>,
    after: Option<String>,
}

/// The changes that wait to be made at the provider, oldest first.
#[utoipa::path(
    get, path = "/api/v1/backends/{id}/pending", tag = "backends",
    params(
        ("id" = String, Path, description = "The backend's id"),
        ("limit" = Option<usize>, Query, description = "At most so many, from 1 to 1,000; 100 if absent"),
        ("after" = Option<u64>, Query, description = "Only changes numbered above this"),
    ),
    responses((status = 200, body = ChangeList), (status = 400, body = ErrorAnswer), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
    Wish(which): Wish<Which>,
) -> ApiResult<Json<ChangeList>> {
    let backend = find(&api, &tenant, &id).await?;
    let (limit, after) = which.parse().map_err(|problems| ApiError::problems(&problems))?;
    // One more tells whether this page is the last.
    let changes = api.backends.changes(&tenant, &backend.id, after, limit + 1).await;
    let mut changes = changes.map_err(ApiError::storage)?;
    let is_last = changes.len() <= limit;
    changes.truncate(limit);
    let next = changes.last().map(|change| change.number).filter(|_| !is_last);
    Ok(Json(ChangeList { count: changes.len(), changes, next, node: api.node.to_string() }))
}

/// Try all that failed, or waits to be tried again, now.
#[utoipa::path(
    post, path = "/api/v1/backends/{id}/pending/retry", tag = "backends",
    params(("id" = String, Path, description = "The backend's id")),
    responses((status = 200, body = Done), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn retry_all(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segment(id): Segment,
) -> ApiResult<Json<Done>> {
    let backend = find(&api, &tenant, &id).await?;
    api.backends.retry(&tenant, &backend.id, None).await.map_err(ApiError::storage)?;
    Ok(Json(Done::new("Pending changes are tried again")))
}

/// Try one change that failed, or waits to be tried again, now.
#[utoipa::path(
    post, path = "/api/v1/backends/{id}/pending/{number}/retry", tag = "backends",
    params(
        ("id" = String, Path, description = "The backend's id"),
        ("number" = u64, Path, description = "The change's number"),
    ),
    responses((status = 200, body = Done), (status = 404, body = ErrorAnswer))
)]
pub(crate) async fn retry(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segments(id, number): Segments,
) -> ApiResult<Json<Done>> {
    let backend = find(&api, &tenant, &id).await?;
    let number = parse(&number)?;
    match api.backends.retry(&tenant, &backend.id, Some(number)).await.map_err(ApiError::storage)? {
        true => Ok(Json(Done::new("The change is tried again"))),
        false => Err(ApiError::change_not_found()),
    }
}

/// Give a change up: it is not made at the provider, and what it wrote goes to lost+found. Only a change that is not being
/// carried out, on which no later one depends, and whose file nobody has open.
#[utoipa::path(
    delete, path = "/api/v1/backends/{id}/pending/{number}", tag = "backends",
    params(
        ("id" = String, Path, description = "The backend's id"),
        ("number" = u64, Path, description = "The change's number"),
    ),
    responses((status = 200, body = LeftBehind), (status = 404, body = ErrorAnswer), (status = 409, body = ErrorAnswer))
)]
pub(crate) async fn give_up(
    State(api): State<Api>,
    Caller(tenant): Caller,
    Segments(id, number): Segments,
) -> ApiResult<Json<LeftBehind>> {
    let backend = find(&api, &tenant, &id).await?;
    let number = parse(&number)?;
    match api.backends.give_up(&tenant, &backend.id, number).await.map_err(ApiError::storage)? {
        GivenUp::Gone(lost_and_found) => {
            let message = match &lost_and_found {
                Some(place) => format!("The change was given up; what was written lies in {place}"),
                None => "The change was given up".into(),
            };
            Ok(Json(LeftBehind { success: true, message, lost_and_found }))
        }
        GivenUp::Unknown => Err(ApiError::change_not_found()),
        GivenUp::UnderWay => Err(ApiError::conflict("CHANGE_UNDER_WAY", "The change is being carried out")),
        GivenUp::Open => {
            Err(ApiError::conflict("FILE_OPEN", "A file that the change is about is open; close it first"))
        }
        GivenUp::NeededBy(numbers) => {
            let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
            let message = format!("Later changes depend on this one; give them up first: {}", numbers.join(", "));
            Err(ApiError::conflict("CHANGE_NEEDED", message))
        }
    }
}

/// What is no number names no change.
fn parse(number: &str) -> ApiResult<u64> {
    number.parse().map_err(|_| ApiError::change_not_found())
}

impl Which {
    fn parse(self) -> Result<(usize, Option<u64>), Vec<Problem>> {
        let mut problems = Vec::new();
        let limit = match self.limit.map(|text| text.parse::<usize>()) {
            None => limits::USUAL_PAGE,
            Some(Ok(limit)) if (1..=limits::PAGE).contains(&limit) => limit,
            Some(_) => {
                problems.push(Problem::new("limit", format!("must be a number from 1 to {}", limits::PAGE)));
                limits::USUAL_PAGE
            }
        };
        let after = self.after.map(|text| text.parse::<u64>()).transpose().unwrap_or_else(|_| {
            problems.push(Problem::new("after", "must be the number of a change"));
            None
        });
        if problems.is_empty() { Ok((limit, after)) } else { Err(problems) }
    }
}
