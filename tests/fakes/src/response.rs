//! What a fake answers.

use bytes::Bytes;
use serde_json::Value;

/// The answer to a request, or that there is none yet.
#[derive(Debug, Clone)]
pub enum Reply {
    /// This is it.
    Now(Response),
    /// Ask again when another request was handled or the clock moved: a long poll. After the front's patience it is asked
    /// one last time ([`Request::last_call`](crate::Request::last_call)); a `Wait` then becomes 504.
    Wait,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Reply {
        Reply::Now(response)
    }
}

/// A status, headers and a body. The front adds `Content-Length` where it is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values, as they are to be sent.
    pub headers: Vec<(String, String)>,
    /// The body; never sent in an answer to `HEAD`.
    pub body: Bytes,
}

impl Response {
    /// A status alone.
    pub fn empty(status: u16) -> Response {
        Response { status, ..Response::default() }
    }

    /// JSON.
    pub fn json(status: u16, value: &Value) -> Response {
        Response::of(status, "application/json", value.to_string())
    }

    /// XML, given as text.
    pub fn xml(status: u16, text: impl Into<String>) -> Response {
        Response::of(status, "application/xml", text.into())
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Response {
        Response::of(status, "text/plain; charset=utf-8", text.into())
    }

    /// Bytes of a media type.
    pub fn of(status: u16, media_type: &str, body: impl Into<Bytes>) -> Response {
        Response { status, headers: vec![("Content-Type".into(), media_type.into())], body: body.into() }
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
