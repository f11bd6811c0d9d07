//! What the API refuses with.
use serde_json::json;

use crate::Response;

/// A refusal: status, reason and text. Clients decide by the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Of HTTP.
    pub status: u16,
    /// A word of the API.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// 404.
    pub fn not_found(id: &str) -> Failure {
        Failure { status: 404, reason: "notFound".into(), message: format!("File not found: {id}.") }
    }

    /// 400.
    pub fn invalid(reason: &str, message: &str) -> Failure {
        Failure { status: 400, reason: reason.into(), message: message.into() }
    }

    /// 403.
    pub fn denied(reason: &str) -> Failure {
        Failure { status: 403, reason: reason.into(), message: format!("Refused: {reason}.") }
    }
}

impl From<Failure> for Response {
    fn from(Failure { status, reason, message }: Failure) -> Response {
        let domain = if reason.ends_with("LimitExceeded") { "usageLimits" } else { "global" };
        let mut first = json!({ "domain": domain, "reason": reason, "message": message });
        if let (404, Some(object)) = (status, first.as_object_mut()) {
            object.insert("location".into(), json!("fileId"));
            object.insert("locationType".into(), json!("parameter"));
        }
        let answer =
            Response::json(status, &json!({ "error": { "code": status, "message": message, "errors": [first] } }));
        if status == 401 {
            answer.with("WWW-Authenticate", "Bearer realm=\"https://accounts.google.com/\"")
        } else {
            answer
        }
    }
}
