//! Asking the provider: a request that is built, sent, and answered. Paths and queries are given plain and encoded once, here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::causeway::provider::requests as wire;
use crate::options::Secret;
use crate::text::{Piece, Text};
use crate::{Error, Result, data, host, percent, time};

/// A request that can be sent, or planned for the host to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub(crate) method: &'static str,
    /// Scheme and authority: `https://example.com:8080`.
    pub(crate) origin: String,
    /// Encoded, with a slash at its beginning.
    pub(crate) path: String,
    /// What ends the path besides, as it stands.
    path_rest: Text,
    /// Encoded.
    pub(crate) query: Vec<(String, Text)>,
    pub(crate) headers: Vec<(String, Text)>,
    pub(crate) body: Text,
    /// What stands in the query besides the parameters, at its end.
    query_rest: Text,
    captures: Vec<wire::Capture>,
    cookies: Option<String>,
    http1: bool,
    redirects: u8,
    repeatable: bool,
    patience_ms: Option<u32>,
}

impl Request {
    /// A request with this method to a base URL without a query (`https://example.com/api`), whose path is taken as it stands.
    pub fn new(method: &'static str, base: &str) -> Request {
        let after_scheme = base.find("://").map_or(0, |at| at + 3);
        let path_at =
            base.get(after_scheme..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| at + after_scheme);
        let (origin, path) = base.split_at(path_at);
        Request {
            method,
            origin: origin.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            path_rest: Text::new(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Text::new(),
            query_rest: Text::new(),
            captures: Vec::new(),
            cookies: None,
            http1: false,
            redirects: 0,
            // A change that is sent again on its own would be judged by its second answer: gone already, there already, changed
            // already. The host calls the component again instead, and knows then what such an answer means.
            repeatable: matches!(method, "GET" | "HEAD" | "OPTIONS"),
            patience_ms: None,
        }
    }

    /// A request to a URL that the provider gave, query included: every byte is sent as it stands.
    pub fn given(method: &'static str, url: &str) -> Request {
        let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
        let mut request = Request::new(method, base);
        if base.ends_with('/') && !request.path.is_empty() {
            request.path.push('/');
        }
        request.query_rest = query.map(Text::from).unwrap_or_default();
        request
    }

    /// Fetches.
    pub fn get(base: &str) -> Request {
        Request::new("GET", base)
    }

    /// Asks for the headers alone.
    pub fn head(base: &str) -> Request {
        Request::new("HEAD", base)
    }

    /// Stores.
    pub fn put(base: &str) -> Request {
        Request::new("PUT", base)
    }

    /// Posts.
    pub fn post(base: &str) -> Request {
        Request::new("POST", base)
    }

    /// Deletes.
    pub fn delete(base: &str) -> Request {
        Request::new("DELETE", base)
    }

    /// Goes on in the path: a slash and then this, of which every character but slashes is encoded.
    #[must_use]
    pub fn path(mut self, path: &str) -> Request {
        self.path.push('/');
        self.path.push_str(&percent::encode_path(path));
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Request {
        self.query.push((percent::encode(name), percent::encode(value).into()));
        self
    }

    /// Adds a query parameter that is a secret.
    #[must_use]
    pub fn query_secret(mut self, name: &str, secret: &Secret) -> Request {
        self.query.push((percent::encode(name), Text::from(secret).wrapped(wire::Wrap::Percent)));
        self
    }

    /// Adds a query parameter that is more than plain text, encoded already.
    #[must_use]
    pub fn query_text(mut self, name: &str, value: impl Into<Text>) -> Request {
        self.query.push((percent::encode(name), value.into()));
        self
    }

    /// Ends the query with this, as it stands (a shared access signature).
    #[must_use]
    pub fn query_rest(mut self, rest: impl Into<Text>) -> Request {
        self.query_rest = rest.into();
        self
    }

    /// Goes on in the path with this, as it stands: nothing is encoded, no slash put in between.
    #[must_use]
    pub fn raw_path(mut self, path: impl Into<String>) -> Request {
        self.path.push_str(&path.into());
        self
    }

    /// Ends the path with this, which is more than plain text (the range that is read), as it stands. Not what signatures cover.
    #[must_use]
    pub fn path_text(mut self, rest: impl Into<Text>) -> Request {
        self.path_rest = rest.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Text>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header unless its value is empty.
    #[must_use]
    pub fn header_unless_empty(self, name: &str, value: &str) -> Request {
        if value.is_empty() { self } else { self.header(name, value) }
    }

    /// Adds `Authorization: Bearer` with the token of the host's OAuth, or of a slot.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Request {
        self.header("Authorization", Text::from("Bearer ").and(token))
    }

    /// Adds `Authorization: Basic`.
    #[must_use]
    pub fn basic(self, user: &str, password: &Secret) -> Request {
        let pair = Text::from(format!("{user}:")).and(password);
        self.header("Authorization", Text::from("Basic ").and(pair.base64()))
    }

    /// Gives it a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Text>) -> Request {
        self.body = body.into();
        self
    }

    /// Gives it a form's body; names and plain values are encoded here, secrets by the host.
    #[must_use]
    pub fn form<'a>(self, fields: impl IntoIterator<Item = (&'a str, Text)>) -> Request {
        let mut body = Text::new();
        for (at, (name, value)) in fields.into_iter().enumerate() {
            let value = match value.plain() {
                Some(plain) => Text::from(percent::encode(plain)),
                None => value.form(),
            };
            body = body.and(format!("{}{}=", if at == 0 { "" } else { "&" }, percent::encode(name))).and(value);
        }
        self.header("Content-Type", "application/x-www-form-urlencoded").body(body)
    }

    /// Gives it a JSON object of strings as a body; they may be secrets.
    #[must_use]
    pub fn json_strings<'a>(self, fields: impl IntoIterator<Item = (&'a str, Text)>) -> Request {
        let mut body = Text::from("{");
        for (at, (name, value)) in fields.into_iter().enumerate() {
            let opening = if at == 0 { "" } else { "," };
            body = body.and(format!("{opening}\"{name}\":\"")).and(value.json()).and("\"");
        }
        self.header("Content-Type", "application/json").body(body.and("}"))
    }

    /// Gives it a `multipart` body of this kind (`form-data`, `related`): each part with its header lines and what is in it. The
    /// boundary is random, so that no content can hold it.
    #[must_use]
    pub fn multipart(self, kind: &str, parts: impl IntoIterator<Item = (String, Text)>) -> Request {
        let boundary = format!("part-{}", data_encoding::HEXLOWER.encode(&host::random(16)));
        let mut body = Text::new();
        for (headers, content) in parts {
            body = body.and(format!("--{boundary}\r\n{headers}\r\n\r\n")).and(content).and("\r\n");
        }
        let media_type = format!("multipart/{kind}; boundary={boundary}");
        self.header("Content-Type", media_type).body(body.and(format!("--{boundary}--\r\n")))
    }

    /// Gives it a JSON body.
    pub fn json(self, value: &impl Serialize) -> Result<Request> {
        Ok(self.header("Content-Type", "application/json").body(data::pack(value)?))
    }

    /// Takes a secret out of the answer and into a slot before anyone sees it: from here in a JSON body.
    #[must_use]
    pub fn capture_json(self, pointer: &str, slot: &str) -> Request {
        self.capture(wire::Location::Json(pointer.to_owned()), slot)
    }

    /// The same, from a header.
    #[must_use]
    pub fn capture_header(self, name: &str, slot: &str) -> Request {
        self.capture(wire::Location::Header(name.to_owned()), slot)
    }

    /// The same, from an XML body: element names from the root, joined by `/`.
    #[must_use]
    pub fn capture_xml(self, path: &str, slot: &str) -> Request {
        self.capture(wire::Location::Xml(path.to_owned()), slot)
    }

    fn capture(mut self, at: wire::Location, slot: &str) -> Request {
        self.captures.push(wire::Capture { at, slot: slot.to_owned() });
        self
    }

    /// Sends and keeps cookies, in the jar in this slot.
    #[must_use]
    pub fn cookies(mut self, slot: &str) -> Request {
        self.cookies = Some(slot.to_owned());
        self
    }

    /// Insists on HTTP/1.1.
    #[must_use]
    pub fn http1(mut self) -> Request {
        self.http1 = true;
        self
    }

    /// Lets the host follow so many redirects.
    #[must_use]
    pub fn redirects(mut self, most: u8) -> Request {
        self.redirects = most;
        self
    }

    /// Says whether sending it twice does no harm; true for what only looks unless said otherwise.
    #[must_use]
    pub fn repeatable(mut self, repeatable: bool) -> Request {
        self.repeatable = repeatable;
        self
    }

    /// Waits so many milliseconds for an answer to begin instead of the usual minute.
    #[must_use]
    pub fn patience_ms(mut self, patience_ms: u32) -> Request {
        self.patience_ms = Some(patience_ms);
        self
    }

    /// The URL, where it is nothing but plain text: to be named inside another request, or handed out.
    pub fn plain_url(&self) -> Result<String> {
        let url = self.url();
        url.plain().map(str::to_owned).ok_or_else(|| Error::invalid("this URL holds what must not be shown"))
    }

    /// Sends it. Every answer is an `Ok`, whatever its status; an error means that there was none.
    pub fn send(self) -> Result<Answer> {
        host::send(self.into_wire()).map(Answer)
    }

    /// Sends up to 32 side by side; the answers stand in the same order.
    pub fn send_all(requests: impl IntoIterator<Item = Request>) -> Vec<Result<Answer>> {
        let requests = requests.into_iter().map(Request::into_wire).collect();
        host::send_all(requests).into_iter().map(|answer| answer.map(Answer)).collect()
    }

    /// Sends it and reads the answer's body bit by bit, where it may be too large to hold. The answer comes without it.
    pub fn open(self) -> Result<(Answer, Body)> {
        host::open(self.into_wire()).map(|(response, body)| (Answer(response), body))
    }

    /// The URL as pieces: scheme and host stand in the first.
    pub(crate) fn url(&self) -> Text {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let mut url = Text::from(format!("{}{path}", self.origin)).and(self.path_rest.clone());
        for (at, (name, value)) in self.query.iter().enumerate() {
            let separator = if at == 0 { '?' } else { '&' };
            url = url.and(format!("{separator}{name}="));
            url = url.and(value.clone());
        }
        if !self.query_rest.is_empty() {
            url = url.and(if self.query.is_empty() { "?" } else { "&" }).and(self.query_rest.clone());
        }
        url
    }

    pub(crate) fn into_wire(self) -> wire::Request {
        let url = self.url().0;
        let header = |(name, value): (String, Text)| wire::Header { name, value: value.0 };
        wire::Request {
            method: self.method.to_owned(),
            url,
            headers: self.headers.into_iter().map(header).collect(),
            body: self.body.0,
            captures: self.captures,
            cookies: self.cookies,
            redirects: self.redirects,
            repeatable: self.repeatable,
            patience_ms: self.patience_ms,
            http1: self.http1,
        }
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text(vec![Piece::Bytes(bytes)])
    }
}

/// A body that is read bit by bit; a broken transfer is an error, never an end.
#[derive(Debug)]
pub struct Body(BodyOf);

#[derive(Debug)]
enum BodyOf {
    #[cfg(target_arch = "wasm32")]
    Host(host::HostBody),
    #[cfg(not(target_arch = "wasm32"))]
    Memory(std::io::Cursor<Vec<u8>>),
}

/// How much is asked of the host at once: a crossing per small read would be dear.
#[cfg(target_arch = "wasm32")]
const MOST_READ_BYTES: u32 = 65_536;

impl Body {
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn of(body: host::HostBody) -> Body {
        Body(BodyOf::Host(body))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn memory(bytes: Vec<u8>) -> Body {
        Body(BodyOf::Memory(std::io::Cursor::new(bytes)))
    }
}

impl std::io::Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.0 {
            #[cfg(target_arch = "wasm32")]
            BodyOf::Host(body) => {
                let most = u32::try_from(buffer.len()).unwrap_or(u32::MAX).min(MOST_READ_BYTES);
                let bytes = body.read(most).map_err(|error| std::io::Error::other(error.message))?;
                let (now, _) = buffer.split_at_mut(bytes.len().min(buffer.len()));
                now.copy_from_slice(bytes.get(..now.len()).unwrap_or_default());
                Ok(now.len())
            }
            #[cfg(not(target_arch = "wasm32"))]
            BodyOf::Memory(body) => std::io::Read::read(body, buffer),
        }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(pub(crate) wire::Response);

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the status says success.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers, as they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// How long the provider asks to wait: `Retry-After` in seconds or as a date.
    pub fn retry_after_ms(&self) -> Option<u32> {
        let value = self.header("retry-after")?.trim();
        let seconds = match value.parse::<i64>() {
            Ok(seconds) => seconds,
            Err(_) => time::parse_http_date(value)?.seconds - host::now().seconds,
        };
        u32::try_from(seconds.max(0)).ok()?.checked_mul(1000)
    }

    /// The body as JSON, whatever the status.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        data::json(self.body()).map_err(|error: Error| error.seen_in(self))
    }

    /// The body as XML, whatever the status.
    pub fn xml<T: DeserializeOwned>(&self) -> Result<T> {
        data::xml(self.body())
    }
}
