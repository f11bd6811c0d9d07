//! Text that may hold what its author must not see: a secret by name, the content being written, a digest of either.
//!
//! A URL, a header and a body are such texts. Most are made from plain strings without anyone noticing; what is not plain is
//! appended by name here and filled in by the host at the last moment.

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
