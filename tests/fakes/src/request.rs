//! A request as a fake sees it: exactly as it was sent, with readers for what it says. Nothing here judges it.

use bytes::Bytes;
use serde_json::Value;

use crate::multipart::{self, Part};
use crate::text;

/// One request, complete with its body.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `PUT` ...
    pub method: String,
    /// Whether it came through TLS.
    pub https: bool,
    /// The host it is for: lower case, without port.
    pub host: String,
    /// The host with the port, if one was written.
    pub authority: String,
    /// The path as sent, not decoded.
    pub path: String,
    /// The query as sent, without `?`; empty when there is none.
    pub query: String,
    /// Names and values as sent, in their order (HTTP/2 has lower-case names only).
    pub headers: Vec<(String, String)>,
    /// Header fields that followed a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The body, with any chunked encoding removed.
    pub body: Bytes,
    /// The last time that a request is asked about that was answered with [`Reply::Wait`](crate::Reply::Wait): now an answer is due.
    pub last_call: bool,
}

impl Request {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first query parameter of that name, decoded. The name is compared as it is.
    pub fn param(&self, name: &str) -> Option<String> {
        self.params().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All query parameters, decoded.
    pub fn params(&self) -> Vec<(String, String)> {
        text::pairs(&self.query)
    }

    /// The body as a form (`a=1&b=2`), decoded. Empty when it is none.
    pub fn form(&self) -> Vec<(String, String)> {
        std::str::from_utf8(&self.body).map(text::pairs).unwrap_or_default()
    }

    /// The first form field of that name.
    pub fn field(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body's media type in lower case, without parameters.
    pub fn media_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The parts of a `multipart/...` body in their order, `None` when it is none or broken.
    pub fn multipart(&self) -> Option<Vec<Part>> {
        multipart::parse(self.header("content-type")?, &self.body)
    }

    /// Where it was sent: `https://host:port`. What a fake hands out on the same host begins with it.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// The decoded segments of the path, without empty ones.
    pub fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|segment| !segment.is_empty()).map(text::decode).collect()
    }

    /// User and password of `Authorization: Basic`.
    pub fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let decoded = data_encoding::BASE64.decode(encoded.trim().as_bytes()).ok()?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ").map(str::trim)
    }
}

/// What a `Range` header asks of content of a certain size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// No range, or one that is written wrongly: everything.
    All,
    /// These bytes: first and the one after the last.
    Part(usize, usize),
    /// Nothing of it exists: 416.
    Outside,
}

impl Range {
    /// Reads the value of a range header. Several ranges count as none; `bytes=0--1` is written wrongly.
    pub fn of(header: Option<&str>, size_bytes: usize) -> Range {
        let Some((first, last)) = header.and_then(|value| value.strip_prefix("bytes=")).and_then(|r| r.split_once('-'))
        else {
            return Range::All;
        };
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first > last => Range::All,
            (Ok(first), _) if first >= size_bytes && (last.is_empty() || last.parse::<usize>().is_ok()) => {
                Range::Outside
            }
            (Ok(first), Ok(last)) => Range::Part(first, size_bytes.min(last.saturating_add(1))),
            (Ok(first), Err(_)) if last.is_empty() => Range::Part(first, size_bytes),
            (Err(_), Ok(0)) if first.is_empty() => Range::Outside,
            (Err(_), Ok(count)) if first.is_empty() && size_bytes > 0 => {
                Range::Part(size_bytes.saturating_sub(count), size_bytes)
            }
            (Err(_), Ok(_)) if first.is_empty() => Range::Outside,
            _ => Range::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_content_and_malformed_ones_mean_everything() {
        assert_eq!(Range::of(None, 10), Range::All);
        assert_eq!(Range::of(Some("bytes=0--1"), 10), Range::All);
        assert_eq!(Range::of(Some("bytes=2-4"), 10), Range::Part(2, 5));
        assert_eq!(Range::of(Some("bytes=2-400"), 10), Range::Part(2, 10));
        assert_eq!(Range::of(Some("bytes=2-"), 10), Range::Part(2, 10));
        assert_eq!(Range::of(Some("bytes=-3"), 10), Range::Part(7, 10));
        assert_eq!(Range::of(Some("bytes=10-"), 10), Range::Outside);
        assert_eq!(Range::of(Some("bytes=0-"), 0), Range::Outside);
    }
}
