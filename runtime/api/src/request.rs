//! What comes with a request, taken apart with errors in our shape: ids in paths, flags in queries, JSON objects in bodies.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ApiError, ApiResult};
use crate::limits;

/// The one segment of a path that names something.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(segment)| Segment(segment))
            .map_err(|_| ApiError::invalid("INVALID_PATH", "The path is not valid text"))
    }
}

/// Two segments of a path, where one thing is named within another.
pub(crate) struct Segments(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segments, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        path.map(|Path((outer, inner))| Segments(outer, inner))
            .map_err(|_| ApiError::invalid("INVALID_PATH", "The path is not valid text"))
    }
}

/// The query.
pub(crate) struct Wish<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Wish<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Wish<T>, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(wish)) => Ok(Wish(wish)),
            Err(rejection) => Err(ApiError::invalid("INVALID_QUERY", rejection.body_text())),
        }
    }
}

/// A body that is a JSON object of at most so many bytes.
pub(crate) async fn object(headers: &HeaderMap, body: Body, most_bytes: usize) -> ApiResult<Map<String, Value>> {
    let too_large = || {
        let message = format!("Request body exceeds {} KB limit", most_bytes >> 10);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
    };
    let told: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    if told.is_some_and(|told| told > most_bytes) {
        return Err(too_large());
    }
    if !is_json(headers) {
        let message = "The request body must be JSON, sent as Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
    }
    // One byte more than allowed tells a body that is too large from one that broke off.
    let bytes = tokio::time::timeout(limits::BODY, to_bytes(body, most_bytes + 1)).await;
    let bytes = bytes.map_err(|_| ApiError::invalid("INVALID_BODY", "The request body did not come in time"))?;
    let bytes = bytes.map_err(|error| {
        match std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("length limit")) {
            true => too_large(),
            false => ApiError::invalid("INVALID_BODY", "The request body broke off"),
        }
    })?;
    if bytes.len() > most_bytes {
        return Err(too_large());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::invalid("INVALID_JSON", "The request body must be a JSON object")),
        // The position alone: the text around it may be a secret.
        Err(error) => {
            let message =
                format!("The request body is not valid JSON (line {}, column {})", error.line(), error.column());
            Err(ApiError::invalid("INVALID_JSON", message))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}
