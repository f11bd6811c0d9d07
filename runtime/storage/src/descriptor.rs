//! What a provider says of itself: its name, its options. One declaration, from which the parser, the REST answers, the
//! documentation and the sealing follow.

use bitflags::bitflags;

/// How a provider is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// In Rust, in this program.
    Native,
    /// In Rust, over other storages.
    Wrapper,
    /// In a component.
    Guest,
}

/// The kinds of option. In the API a truth is a boolean, a number or a duration an integer (strings are accepted), anything
/// else a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Truth,
    /// A truth that may stay open; `null` is its default.
    TriState,
    /// A size: bytes, `5M`, `off`.
    Bytes,
    /// Seconds, `1h30m`, `off`.
    Duration,
    /// One of these, given by name or by its index.
    Choice(Vec<String>),
    /// Any number of these (of anything, if none is named).
    Several(Vec<String>),
    /// A base URL, or a host name, which means https.
    Endpoint,
    /// The same, and hosts one label below it.
    EndpointAndBelow,
    /// The mask of characters to be replaced in names.
    Encoding,
    /// Kept sealed.
    Secret,
    /// Names a file of the machine; what is in it is the secret.
    SecretFile,
}

bitflags! {
    /// What else holds of an option.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct OptionMarks: u8 {
        /// Must be given, unless it has a default.
        const REQUIRED = 1;
        /// Shown only to those who ask for it.
        const ADVANCED = 1 << 1;
        /// Part of the credential: may be exchanged while the backend is in use (secret or not).
        const CREDENTIAL = 1 << 2;
        /// Another value means another account or root: nothing cached before is used.
        const IDENTITY = 1 << 3;
        /// Uses the machine's files or identity: refused unless the operator allows it for the tenant.
        const MACHINE = 1 << 4;
    }
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// As it is given.
    pub name: String,
    /// What may be given.
    pub kind: OptionKind,
    /// What holds when nothing is given, as text in the shape that the API shows; none for an open tri-state.
    pub default: Option<String>,
    /// What else holds.
    pub marks: OptionMarks,
    /// For people.
    pub help: String,
}

impl OptionSpec {
    /// Whether its value is a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, OptionKind::Secret | OptionKind::SecretFile)
    }
}

/// What is true of a provider whatever is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// In paths and remotes: `google-photos`.
    pub name: String,
    /// Where the API's `backend_type` differs from the name: `google photos`.
    pub backend_type: Option<String>,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// For people.
    pub title: String,
    /// Native, wrapper or guest.
    pub make: Make,
    /// The version; when its first number rises, nothing cached before is used.
    pub version: String,
    /// In the order in which they are shown.
    pub options: Vec<OptionSpec>,
    /// What it may use of the host: the interfaces that a component imports.
    pub imports: Vec<String>,
}

impl Descriptor {
    /// The name that the API shows as `backend_type`.
    pub fn backend_type(&self) -> &str {
        self.backend_type.as_deref().unwrap_or(&self.name)
    }

    /// The option of this name.
    pub fn option(&self, name: &str) -> Option<&OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }
}
