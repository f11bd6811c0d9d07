//! The nouns of the contract that are plain as they are, with the constructors that an author wants.

pub use crate::bindings::causeway::provider::types::{
    Digest, DigestValue, Entry, ErrorKind, Instant, Job, Kind, Node, Notes, Outcome, Page, Placed, Span,
};
pub use crate::bindings::exports::causeway::provider::changes::{Change, News};
pub use crate::bindings::exports::causeway::provider::reading::Verdict;
pub use crate::bindings::exports::causeway::provider::room::Usage;
pub use crate::bindings::exports::causeway::provider::session::{Question, Step};
pub use crate::bindings::exports::causeway::provider::setup::{
    Abilities, Identity, Naming, NormalForm, Oauth, OauthGrant, Pace, Problem, Sameness, ServiceAccount, SigningIn,
    Slot, Traits,
};
pub use crate::bindings::exports::causeway::provider::writing::{
    Cutting, Part, PartAnswer, Progress, Receipt, Remains, WriteIntent,
};

impl Default for Traits {
    /// A provider with configured credentials, exact names, no limits and no promises.
    fn default() -> Traits {
        Traits {
            signing_in: SigningIn::Configured,
            abilities: Abilities::empty(),
            naming: Naming { sameness: Sameness::Exact, normal_form: NormalForm::AsGiven, longest_bytes: None },
            modified_step_ns: 0,
            digests: Vec::new(),
            early_digests: Vec::new(),
            smallest_bytes: 0,
            largest_bytes: None,
            lag_ms: 0,
            relist_ms: 0,
            paces: Vec::new(),
        }
    }
}

impl Problem {
    /// A problem with an option.
    pub fn new(option: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { option_name: option.into(), message: message.into() }
    }
}

impl Oauth {
    /// By a person's consent, with PKCE, and a client that names itself in a Basic header.
    pub fn new(authorize_url: impl Into<String>, token_url: impl Into<String>) -> Oauth {
        Oauth {
            grant: OauthGrant::Consent,
            authorize_url: authorize_url.into(),
            token_url: token_url.into(),
            scopes: Vec::new(),
            scope_separator: " ".to_owned(),
            parameters: Vec::new(),
            client_in_form: false,
            pkce: true,
            redirect_settings: Vec::new(),
        }
    }
}

impl Entry {
    /// A file of this name, of which nothing else is known yet.
    pub fn file(name: impl Into<String>) -> Entry {
        Entry {
            name: name.into(),
            kind: Kind::File,
            cookie: None,
            size: None,
            modified: None,
            created: None,
            version: None,
            media_type: None,
            digests: Vec::new(),
            notes: Notes::empty(),
        }
    }

    /// A directory of this name.
    pub fn directory(name: impl Into<String>) -> Entry {
        Entry { kind: Kind::Directory, ..Entry::file(name) }
    }
}

impl Page {
    /// The only page, or the last.
    pub fn last(entries: Vec<Entry>) -> Page {
        Page { entries, next: None }
    }
}

impl Node {
    /// The last part of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }

    /// The path of what has this name in this directory.
    pub fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    /// The path of the directory that holds this node; empty for what stands in the root, absent for the root itself.
    pub fn parent(&self) -> Option<&str> {
        if self.path.is_empty() { None } else { Some(self.path.rsplit_once('/').map_or("", |(parent, _)| parent)) }
    }
}
