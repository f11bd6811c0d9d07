//! What can be set: a struct with `#[derive(Options)]` is the option table, its parser and the declared uses of its secrets.
//!
//! The host has checked kinds and choices before a call, so reading cannot fail here; what depends on several options is checked in
//! `Provider::open`.

pub use crate::bindings::causeway::provider::secret_uses::{Hash, Place, Rsa};
use crate::bindings::causeway::provider::secret_uses::{HmacUse, Placement, RsaUse, SecretUse};
pub use crate::bindings::causeway::provider::settings::Value;

pub use crate::bindings::exports::causeway::provider::setup::{OptionKind, OptionMarks, OptionSpec};
use crate::text::{SecretRef, Text, Wrap};
use crate::{Result, host};

/// A settings struct; derived.
pub trait Options: Sized {
    /// The option table, in the order of the fields.
    fn specs() -> Vec<OptionSpec>;
    /// The settings, where what was not given has its default.
    fn read(given: &Given) -> Self;
}

/// What was given for this backend.
#[derive(Clone, Debug, Default)]
pub struct Given(pub(crate) Vec<(String, Value)>);

impl Given {
    /// What was given for an option.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value)
    }
}

/// A type that a field of a settings struct can have.
pub trait Setting: Sized {
    /// The default where none is declared.
    const DEFAULT: Option<&'static str>;
    /// The kind of option that a field of this type is.
    fn kind() -> OptionKind;
    /// The value given, or the default.
    fn read(name: &'static str, given: Option<&Value>, default: Option<&str>) -> Self;
}

/// A type whose values are secrets with declared uses.
pub trait SecretSetting: Setting {
    /// The kind of option, with all that may be done with the secret.
    fn kind(uses: Uses) -> OptionKind;
}

/// A size in bytes; absent where it is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub Option<u64>);

/// A duration in milliseconds; absent where it is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(pub Option<u64>);

/// A secret: known by name, and whether it was given. It goes into requests and signatures, and is never seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    name: String,
    field: Option<String>,
    given: bool,
}

impl Secret {
    /// The slot of this name, or `access-token` where the host runs OAuth.
    pub fn slot(name: impl Into<String>) -> Secret {
        Secret { name: name.into(), field: None, given: true }
    }

    /// The token of the host's OAuth.
    pub fn access_token() -> Secret {
        Secret::slot("access-token")
    }

    /// A field of a secret that is a document: a JSON pointer, a key of `key=value;` pairs or of INI lines, or `origin`, `path`, `query`
    /// of a URL.
    #[must_use]
    pub fn field(&self, field: &str) -> Secret {
        Secret { field: Some(field.to_owned()), ..self.clone() }
    }

    /// Whether there is one.
    pub fn is_given(&self) -> bool {
        self.given
    }

    /// The secret, if there is one.
    pub fn if_given(&self) -> Option<&Secret> {
        self.given.then_some(self)
    }

    pub(crate) fn reference(&self) -> SecretRef {
        SecretRef { name: self.name.clone(), field: self.field.clone() }
    }

    /// What this field of a secret document says, where the declaration calls it public.
    pub fn public(&self) -> Option<String> {
        host::public_field(&self.reference())
    }

    /// The HMAC of a message with this secret as the key, declared without steps.
    pub fn hmac(&self, hash: Hash, message: &Text) -> Result<Vec<u8>> {
        host::hmac(&self.reference(), hash, &[], &message.0)
    }

    /// The RSA signature of a message with this secret as the private key.
    pub fn rsa_sign(&self, scheme: Rsa, message: &Text) -> Result<Vec<u8>> {
        host::rsa_sign(&self.reference(), scheme, &message.0)
    }

    /// The secret itself: only where the declaration says so and the operator granted it.
    pub fn reveal(&self) -> Result<Vec<u8>> {
        host::reveal(&self.reference())
    }

    /// Fills this slot with what the component made or was told. From then on it is a secret.
    pub fn seal(&self, value: &[u8]) -> Result<()> {
        host::seal(&self.name, value)
    }

    /// Says how long this slot still lives.
    pub fn expires_in_ms(&self, lives_ms: u64) {
        host::expire(&self.name, lives_ms);
    }

    /// Whether this slot is filled and alive.
    pub fn is_sealed(&self) -> bool {
        host::sealed(&self.name)
    }

    /// Empties this slot.
    pub fn empty(&self) {
        host::forget(&self.name);
    }
}

/// Builds a row of the table; for the derive.
pub fn spec(name: &str, kind: OptionKind, default: Option<&str>, marks: OptionMarks, help: &str) -> OptionSpec {
    OptionSpec { name: name.to_owned(), kind, default: default.map(str::to_owned), marks, help: help.to_owned() }
}

impl Setting for String {
    const DEFAULT: Option<&'static str> = Some("");

    fn kind() -> OptionKind {
        OptionKind::Text
    }

    fn read(_: &'static str, given: Option<&Value>, default: Option<&str>) -> String {
        match given {
            Some(Value::Text(text)) => text.clone(),
            _ => default.unwrap_or("").to_owned(),
        }
    }
}

impl Setting for bool {
    const DEFAULT: Option<&'static str> = Some("false");

    fn kind() -> OptionKind {
        OptionKind::Truth
    }

    fn read(_: &'static str, given: Option<&Value>, default: Option<&str>) -> bool {
        match given {
            Some(Value::Truth(truth)) => *truth,
            _ => default == Some("true"),
        }
    }
}

impl Setting for Option<bool> {
    const DEFAULT: Option<&'static str> = None;

    fn kind() -> OptionKind {
        OptionKind::TriState
    }

    fn read(_: &'static str, given: Option<&Value>, _: Option<&str>) -> Option<bool> {
        match given {
            Some(Value::Truth(truth)) => Some(*truth),
            _ => None,
        }
    }
}

impl Setting for i64 {
    const DEFAULT: Option<&'static str> = Some("0");

    fn kind() -> OptionKind {
        OptionKind::Number
    }

    fn read(_: &'static str, given: Option<&Value>, default: Option<&str>) -> i64 {
        match given {
            Some(Value::Number(number)) => *number,
            _ => default.and_then(|default| default.parse().ok()).unwrap_or(0),
        }
    }
}

impl Setting for Vec<String> {
    const DEFAULT: Option<&'static str> = Some("");

    fn kind() -> OptionKind {
        OptionKind::Several(Vec::new())
    }

    fn read(_: &'static str, given: Option<&Value>, default: Option<&str>) -> Vec<String> {
        match given {
            Some(Value::Several(several)) => several.clone(),
            _ => default.unwrap_or("").split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        }
    }
}

impl Setting for Size {
    const DEFAULT: Option<&'static str> = Some("off");

    fn kind() -> OptionKind {
        OptionKind::Bytes
    }

    /// A default is written in bytes, or `off`.
    fn read(_: &'static str, given: Option<&Value>, default: Option<&str>) -> Size {
        match given {
            Some(Value::Bytes(bytes)) => Size(Some(*bytes)),
            Some(Value::Off) => Size(None),
            _ => Size(default.and_then(|default| default.parse().ok())),
        }
    }
}

impl Setting for Duration {
    const DEFAULT: Option<&'static str> = Some("off");

    fn kind() -> OptionKind {
        OptionKind::Duration
    }

    /// A default is written in seconds, or `off`.
    fn read(_: &'static str, given: Option<&Value>, default: Option<&str>) -> Duration {
        match given {
            Some(Value::Milliseconds(ms)) => Duration(Some(*ms)),
            Some(Value::Off) => Duration(None),
            _ => Duration(default.and_then(|default| default.parse::<u64>().ok()).map(|seconds| seconds * 1000)),
        }
    }
}

impl Setting for Secret {
    const DEFAULT: Option<&'static str> = Some("");

    /// A secret with no declared use: only the host makes use of it.
    fn kind() -> OptionKind {
        <Secret as SecretSetting>::kind(Uses::new())
    }

    fn read(name: &'static str, given: Option<&Value>, _: Option<&str>) -> Secret {
        Secret { name: name.to_owned(), field: None, given: given.is_some() }
    }
}

impl SecretSetting for Secret {
    fn kind(uses: Uses) -> OptionKind {
        OptionKind::Secret(uses.0)
    }
}

/// Which list of uses is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Used {
    Place,
    Hmac,
    Rsa,
}

/// What may be done with one secret; for the derive, and for slots.
#[derive(Clone, Debug)]
pub struct Uses(pub(crate) SecretUse);

impl Uses {
    /// Nothing.
    #[allow(clippy::new_without_default, reason = "nothing is a decision here, not a default")]
    pub fn new() -> Uses {
        Uses(SecretUse {
            places: Vec::new(),
            hmac: Vec::new(),
            rsa: Vec::new(),
            reveal: false,
            public_fields: Vec::new(),
        })
    }

    /// It may stand here, after this prefix and inside these brackets, towards these URLs (none: all that may get secrets).
    #[must_use]
    pub fn place(mut self, at: Place, prefix: &str, wraps: Vec<Wrap>, towards: Vec<String>) -> Uses {
        self.0.places.push(Placement { field: None, at, prefix: prefix.to_owned(), wraps, towards });
        self
    }

    /// It may be the key of this HMAC; `base64` says that it is configured so.
    #[must_use]
    pub fn hmac(mut self, hash: Hash, prefix: &str, steps: u8, base64: bool) -> Uses {
        self.0.hmac.push(HmacUse { field: None, hash, prefix: prefix.to_owned(), base64, steps });
        self
    }

    /// It may be the private key of RSA signatures.
    #[must_use]
    pub fn rsa(mut self, scheme: Rsa) -> Uses {
        self.0.rsa.push(RsaUse { field: None, scheme });
        self
    }

    /// This field of it is no secret; one that is a URL adds its origin, as an endpoint option does.
    #[must_use]
    pub fn public_field(mut self, field: &str) -> Uses {
        self.0.public_fields.push(field.to_owned());
        self
    }

    /// The use that was named last is of this field of it alone.
    #[must_use]
    pub fn of_field(mut self, of: Used, field: &str) -> Uses {
        let field = Some(field.to_owned());
        let used = match of {
            Used::Place => self.0.places.last_mut().map(|used| &mut used.field),
            Used::Hmac => self.0.hmac.last_mut().map(|used| &mut used.field),
            Used::Rsa => self.0.rsa.last_mut().map(|used| &mut used.field),
        };
        if let Some(used) = used {
            *used = field;
        }
        self
    }

    /// It may be read raw.
    #[must_use]
    pub fn reveal(mut self) -> Uses {
        self.0.reveal = true;
        self
    }
}

impl From<&Secret> for SecretRef {
    fn from(secret: &Secret) -> SecretRef {
        secret.reference()
    }
}

impl crate::nouns::Slot {
    /// A slot of this name, filled by captures or by `Secret::seal`.
    pub fn new(name: &str, uses: Uses) -> crate::nouns::Slot {
        crate::nouns::Slot { name: name.to_owned(), uses: uses.0 }
    }
}

impl From<Uses> for crate::bindings::causeway::provider::secret_uses::SecretUse {
    fn from(uses: Uses) -> Self {
        uses.0
    }
}
