//! What a component may do with each secret, one to one as the contract's interface `secret-uses` has it.
//!
//! Declarations only: the check of a request against them is in `placement`, that of a signature in `sign`.

use crate::request::Wrap;

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header by name.
    Header(String),
    /// A query parameter by name.
    Query(String),
    /// The whole rest of the query, as it stands.
    QueryRest,
    /// A form field by name, urlencoded or multipart.
    Form(String),
    /// A string in a JSON body, by pointer.
    Json(String),
    /// An element in an XML body: names from the root, joined by `/`.
    Xml(String),
    /// A cookie by name.
    Cookie(String),
}

/// One place where a secret may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Only this field, where the secret is a document.
    pub field: Option<String>,
    /// Where.
    pub at: Place,
    /// How the value must begin: `Bearer `, `Basic `.
    pub prefix: String,
    /// The brackets that it must stand in, from the outside in, besides the escaping that the place itself demands.
    pub wraps: Vec<Wrap>,
    /// Only towards these origins or beginnings of URLs, braces already replaced; empty: towards all that may get secrets.
    pub towards: Vec<String>,
}

/// The hashes that HMAC is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// RFC 1321.
    Md5,
    /// FIPS 180.
    Sha1,
    /// FIPS 180.
    Sha256,
    /// FIPS 180.
    Sha512,
}

/// One way to use a secret as a key for HMAC. A result comes out after exactly so many steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacUse {
    /// Only this field, where the secret is a document.
    pub field: Option<String>,
    /// With this hash.
    pub hash: Hash,
    /// What stands before the secret in the key.
    pub prefix: String,
    /// The secret is configured in base64.
    pub base64: bool,
    /// How often the key is replaced before it signs.
    pub steps: u8,
}

/// RSA with SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rsa {
    /// PKCS #1 version 1.5.
    Pkcs1,
    /// Probabilistic.
    Pss,
}

/// One way to use a secret as a private RSA key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaUse {
    /// Only this field, where the secret is a document.
    pub field: Option<String>,
    /// With this scheme.
    pub scheme: Rsa,
}

/// All that may be done with one secret; nothing at all is right for what only the host uses.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SecretUse {
    /// Where it may stand.
    pub places: Vec<Placement>,
    /// How it may sign.
    pub hmac: Vec<HmacUse>,
    /// How it may sign.
    pub rsa: Vec<RsaUse>,
    /// Read it raw; needs the `reveal` import too.
    pub reveal: bool,
    /// Fields of the document that are no secret.
    pub public_fields: Vec<String>,
}
