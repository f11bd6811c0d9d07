//! Requests written down, one to one as the contract's interface `requests` has them.
//!
//! Nothing here sends or renders: a request is a description in which secrets are names, content is a span, and brackets
//! say what happens to the bytes between them.

use causeway_storage::{Algorithm, Span};

/// The most pieces that one list may have: generous for a form of a hundred fields, small enough to be cheap to check.
pub const MOST_PIECES: usize = 256;

/// How deep brackets may nest.
pub const MOST_DEPTH: usize = 4;

/// A secret by name: a secret option, a declared slot, or `access-token`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef {
    /// The name.
    pub name: String,
    /// A JSON pointer, a key of `key=value;` pairs, an INI key, or `origin`, `path`, `query` of a URL, when the secret is a
    /// document.
    pub field: Option<String>,
}

impl SecretRef {
    /// The whole secret of this name.
    pub fn whole(name: impl Into<String>) -> SecretRef {
        SecretRef { name: name.into(), field: None }
    }
}

/// AES in counter mode; `counter` is the 16-byte block at the file's offset 0, its last 8 bytes count up big-endian.
#[derive(Clone, PartialEq, Eq)]
pub struct AesCtr {
    /// 16, 24 or 32 bytes.
    pub key: Vec<u8>,
    /// 16 bytes.
    pub counter: Vec<u8>,
}

impl std::fmt::Debug for AesCtr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AesCtr(..)")
    }
}

/// What a bracket does to the bytes inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// Padded, standard alphabet.
    Base64,
    /// Unpadded, URL alphabet.
    Base64UrlUnpadded,
    /// Lower case.
    Hex,
    /// Back from base64, for keys that are configured so.
    FromBase64,
    /// All but unreserved characters percent-encoded.
    Percent,
    /// As a value in a form body: like percent, and a space is `+`.
    Form,
    /// As the inside of a JSON string.
    Json,
    /// As XML text.
    Xml,
    /// The digest of the bytes inside, raw.
    Digest(Algorithm),
    /// The content inside, enciphered as its place in the file demands.
    AesCtr(AesCtr),
}

/// A part of a URL, header or body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// As they stand.
    Bytes(Vec<u8>),
    /// A secret, where one of its placements allows it.
    Secret(SecretRef),
    /// A span of the content being written.
    Content(Span),
    /// The first byte of the range being read, decimal.
    FirstByte,
    /// The last byte of the range being read, inclusive, decimal.
    LastByte,
    /// Begins a bracket.
    Open(Wrap),
    /// Ends the innermost bracket.
    Close,
}

impl Piece {
    /// A text.
    pub fn text(text: impl Into<String>) -> Piece {
        Piece::Text(text.into())
    }
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// What it holds; a value that renders to a line break is refused.
    pub value: Vec<Piece>,
}

/// Where in an answer a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A header by name.
    Header(String),
    /// A JSON pointer into the body.
    Json(String),
    /// Element names from the root, joined by `/`.
    Xml(String),
}

/// Takes a secret out of an answer, if it is there, into a declared slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Where it stands.
    pub at: Location,
    /// Where it goes.
    pub slot: String,
}

/// A request that can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, `PROPFIND`, ...
    pub method: String,
    /// Absolute; every byte is sent as it stands. Scheme and host stand in the first piece.
    pub url: Vec<Piece>,
    /// In order.
    pub headers: Vec<Header>,
    /// Sent with an exact `Content-Length`, never chunked.
    pub body: Vec<Piece>,
    /// What to take out of the answer.
    pub captures: Vec<Capture>,
    /// A cookie jar in this declared slot.
    pub cookies: Option<String>,
    /// How many redirects to follow.
    pub redirects: u8,
    /// Sending it twice does no harm.
    pub repeatable: bool,
    /// Milliseconds until an answer must begin, where the usual 60,000 is not enough.
    pub patience_ms: Option<u32>,
    /// Only HTTP/1.1 will do.
    pub http1: bool,
}

impl Request {
    /// A request of this method to this URL, repeatable if it is a `GET` or a `HEAD`, with nothing else in it.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Request {
        let method = method.into();
        Request {
            repeatable: method == "GET" || method == "HEAD",
            method,
            url: vec![Piece::Text(url.into())],
            headers: Vec::new(),
            body: Vec::new(),
            captures: Vec::new(),
            cookies: None,
            redirects: 0,
            patience_ms: None,
            http1: false,
        }
    }

    /// With this header.
    pub fn with_header(mut self, name: impl Into<String>, value: Vec<Piece>) -> Request {
        self.headers.push(Header { name: name.into(), value });
        self
    }

    /// With this body.
    pub fn with_body(mut self, body: Vec<Piece>) -> Request {
        self.body = body;
        self
    }

    /// Whether the URL or a header names the range that is being read.
    pub fn places_range(&self) -> bool {
        let headers = self.headers.iter().flat_map(|header| &header.value);
        self.url
            .iter()
            .chain(headers)
            .chain(&self.body)
            .any(|piece| matches!(piece, Piece::FirstByte | Piece::LastByte))
    }
}

/// An answer, whatever its status.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// In order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it, or as much as the call promises.
    pub body: bytes::Bytes,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

impl std::fmt::Debug for Response {
    /// Shows no header's value and no body: either may hold a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Response({}, {} bytes)", self.status, self.body.len())
    }
}

/// The first header of this name, in any case.
pub(crate) fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
