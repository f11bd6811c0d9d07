//! Errors as clients see them. What went wrong inside is logged here, once, and not sent.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use causeway_storage::{ErrorKind, Problem};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A refusal: its status, a stable code for programs, a sentence for people.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    fields: Map<String, Value>,
}

/// An error answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorAnswer {
    /// Always false.
    success: bool,
    /// For a person.
    error: String,
    /// For a program; does not change.
    code: &'static str,
    /// What is wrong with each wrong field, where fields are wrong.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), fields: Map::new() }
    }

    /// For a person.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, code, message)
    }

    /// Every wrong field at once. A problem that is a sentence of its own stands as it is.
    pub(crate) fn problems(problems: &[Problem]) -> ApiError {
        let sentence = |problem: &Problem| match problem.message.starts_with(char::is_uppercase) {
            true => problem.message.clone(),
            false => format!("Invalid {}: {}", problem.option, problem.message),
        };
        let message = problems.iter().map(sentence).collect::<Vec<_>>().join("; ");
        ApiError::invalid("INVALID_SETTINGS", message).with_fields(problems)
    }

    pub(crate) fn with_fields(mut self, problems: &[Problem]) -> ApiError {
        self.fields = problems.iter().map(|problem| (problem.option.clone(), problem.message.clone().into())).collect();
        self
    }

    pub(crate) fn backend_not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "BACKEND_NOT_FOUND", "Backend not found")
    }

    pub(crate) fn change_not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "CHANGE_NOT_FOUND", "Pending change not found")
    }

    pub(crate) fn mount_not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "MOUNT_NOT_FOUND", "Mount not found")
    }

    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "A valid bearer token is required")
    }

    pub(crate) fn overloaded() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", "Too many requests are at work; try again soon")
    }

    pub(crate) fn late() -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT", "The request took too long and was ended")
    }

    /// A fault of ours: the cause goes to the log.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> ApiError {
        tracing::error!(%cause, "a request failed");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Internal server error")
    }

    /// What a storage's failure means to who asked for something to be done.
    pub(crate) fn storage(error: causeway_storage::Error) -> ApiError {
        let (status, code) = match error.kind {
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ErrorKind::AlreadyExists
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::PreconditionFailed
            | ErrorKind::IsDirectory
            | ErrorKind::NotADirectory => (StatusCode::CONFLICT, "CONFLICT"),
            ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::Invalid | ErrorKind::Unsupported => {
                (StatusCode::BAD_REQUEST, "REFUSED")
            }
            ErrorKind::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"),
            ErrorKind::QuotaExceeded | ErrorKind::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            ErrorKind::Corrupt | ErrorKind::Internal => return ApiError::internal(format!("{error:?}")),
        };
        tracing::info!(?error, "a storage refused");
        ApiError::new(status, code, error.message)
    }
}

impl From<causeway_registry::Error> for ApiError {
    fn from(error: causeway_registry::Error) -> ApiError {
        ApiError::internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let answer = ErrorAnswer { success: false, error: self.message, code: self.code, fields: self.fields };
        let mut response = (self.status, Json(answer)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(crate) async fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is nothing at this path")
}

pub(crate) async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "This path does not answer to this method")
}

/// A fault of ours that unwound: one request fails, no other notices.
pub(crate) fn panicked(_payload: Box<dyn Any + Send>) -> Response {
    // The payload may hold anything, a secret included; the panic hook has said where it happened.
    ApiError::internal("a request panicked").into_response()
}
