//! Text that may hold what its author must not see: a secret by name, the content being written, a digest of either.
//!
//! A URL, a header and a body are such texts. Most are made from plain strings without anyone noticing; what is not plain is
//! appended by name here and filled in by the host at the last moment.

use crate::bindings::causeway::provider::requests::AesCtr;
pub use crate::bindings::causeway::provider::requests::Wrap;
pub(crate) use crate::bindings::causeway::provider::requests::{Piece, SecretRef};
use crate::nouns::{Digest, Span};
use crate::options::Secret;

/// Pieces, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(pub(crate) Vec<Piece>);

impl Text {
    /// Nothing.
    pub fn new() -> Text {
        Text::default()
    }

    /// Bytes that need not be text.
    pub fn bytes(bytes: Vec<u8>) -> Text {
        Text(vec![Piece::Bytes(bytes)])
    }

    /// The content being written, this span of it.
    pub fn content(span: Span) -> Text {
        Text(vec![Piece::Content(span)])
    }

    /// This, and then that.
    #[must_use]
    pub fn and(mut self, more: impl Into<Text>) -> Text {
        for piece in more.into().0 {
            match (self.0.last_mut(), piece) {
                (Some(Piece::Text(last)), Piece::Text(more)) => last.push_str(&more),
                (_, piece) => self.0.push(piece),
            }
        }
        self
    }

    /// This inside a bracket.
    #[must_use]
    pub fn wrapped(self, wrap: Wrap) -> Text {
        let mut pieces = Vec::with_capacity(self.0.len() + 2);
        pieces.push(Piece::Open(wrap));
        pieces.extend(self.0);
        pieces.push(Piece::Close);
        Text(pieces)
    }

    /// In base64.
    #[must_use]
    pub fn base64(self) -> Text {
        self.wrapped(Wrap::Base64)
    }

    /// Back from base64: the inside of a secret that is configured so.
    #[must_use]
    pub fn from_base64(self) -> Text {
        self.wrapped(Wrap::FromBase64)
    }

    /// As the inside of a JSON string.
    #[must_use]
    pub fn json(self) -> Text {
        self.wrapped(Wrap::Json)
    }

    /// As a value in a form or a query.
    #[must_use]
    pub fn form(self) -> Text {
        self.wrapped(Wrap::Form)
    }

    /// The content inside, enciphered as its place in the file demands: `counter` is the block at offset 0.
    #[must_use]
    pub fn aes_ctr(self, key: &[u8; 16], counter: &[u8; 16]) -> Text {
        self.wrapped(Wrap::AesCtr(AesCtr { key: key.to_vec(), counter: counter.to_vec() }))
    }

    /// The first byte of the range being read, in decimal digits.
    pub fn first_byte() -> Text {
        Text(vec![Piece::FirstByte])
    }

    /// The last byte of the range being read, in decimal digits.
    pub fn last_byte() -> Text {
        Text(vec![Piece::LastByte])
    }

    /// Its digest, in hexadecimal digits.
    #[must_use]
    pub fn hex_digest(self, algorithm: Digest) -> Text {
        self.wrapped(Wrap::Digest(algorithm)).wrapped(Wrap::Hex)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it says, where it is nothing but plain text.
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        if text.is_empty() { Text::new() } else { Text(vec![Piece::Text(text.to_owned())]) }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        if text.is_empty() { Text::new() } else { Text(vec![Piece::Text(text)]) }
    }
}

impl From<&Secret> for Text {
    fn from(secret: &Secret) -> Text {
        Text(vec![Piece::Secret(secret.reference())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;
    use crate::testing::{self, Stand};

    fn body(request: Request) -> String {
        let stand = Stand::default().secret("pass", "a\"&b").now(0);
        testing::with(stand, || String::from_utf8(testing::rendered(request, b"content").unwrap().body).unwrap())
    }

    #[test]
    fn a_secret_is_escaped_where_it_stands() {
        let pass = || Text::from(&Secret::slot("pass"));
        let form = Request::post("https://h.example").form([("u ser", "x y".into()), ("pass", pass())]);
        assert_eq!(body(form), "u%20ser=x%20y&pass=a%22%26b");
        let json = Request::post("https://h.example").json_strings([("user", "x\"y".into()), ("pass", pass())]);
        assert_eq!(body(json), r#"{"user":"x\"y","pass":"a\"&b"}"#);
    }

    #[test]
    fn parts_stand_between_boundaries() {
        let span = Span { offset: 1, size: 3 };
        let part = ("Content-Type: text/plain".to_owned(), Text::content(span));
        let request =
            testing::with(Stand::default(), || Request::post("https://h.example").multipart("related", [part]));
        let boundary = "part-000102030405060708090a0b0c0d0e0f";
        assert_eq!(body(request), format!("--{boundary}\r\nContent-Type: text/plain\r\n\r\nont\r\n--{boundary}--\r\n"));
    }

    #[test]
    fn a_given_url_stays_as_it_is() {
        let url = |request: Request| testing::rendered(request, b"").unwrap().url;
        for given in [
            "https://h.example/a%2Fb/c?x=1&y=%41",
            "https://h.example/a/",
            "https://h.example/a?",
            "https://h.example/",
        ] {
            assert_eq!(url(Request::given("GET", given)), given.trim_end_matches('?'));
        }
        let added = Request::given("GET", "https://h.example/a?x=1").query("y", "2");
        assert_eq!(url(added), "https://h.example/a?y=2&x=1");
    }
}
