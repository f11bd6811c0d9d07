//! The traits of a provider, one per feature: what an author implements under `#[export]` is what the component exports, and what it
//! exports is what a backend can do. The first three say what a provider is; every other is optional.
//!
//! A component has [`Provider`], and usually one of [`Paths`] (things are found by path) or [`Browsing`] (things have ids of their own).
//! Each call makes the provider anew from its settings. The associated `EXPORTED` comes from `#[export]`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::nouns::*;
use crate::options::Options;
use crate::plan::{Begun, PartPlan, Plan, Source};
use crate::request::{Answer, Request};
use crate::text::Text;
use crate::{Error, Result};

/// Who a provider is, whatever is configured.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// In paths and remotes: `google-photos`.
    pub name: &'static str,
    /// Where the API's `backend_type` differs from the name: `google photos`.
    pub backend_type: Option<&'static str>,
    /// Other names that it answers to.
    pub aliases: &'static [&'static str],
    /// For people.
    pub title: &'static str,
    /// Where its API is described.
    pub documentation: &'static str,
    /// When its first number rises, nothing cached before is used.
    pub version: &'static str,
    /// Origins that may be reached besides those of endpoint options: `https://*.example.com`, `https://{account}.example.com`.
    pub origins: &'static [&'static str],
    /// Credential sources of the machine that this provider knows.
    pub machine_credentials: Option<&'static str>,
}

impl About {
    /// Nothing said yet; a name, a title and a version must be.
    pub const UNKNOWN: About = About {
        name: "",
        backend_type: None,
        aliases: &[],
        title: "",
        documentation: "",
        version: "",
        origins: &[],
        machine_credentials: None,
    };
}

/// What every provider is: settings, what they allow, and how a file is read.
pub trait Provider: Sized {
    #[doc(hidden)]
    const EXPORTED: ();
    /// What can be set.
    type Options: Options;
    /// Who it is.
    const ABOUT: About;

    /// Secrets that are no options, filled by captures or while signing in.
    fn slots() -> Vec<Slot> {
        Vec::new()
    }

    /// The provider with these settings, checked together; every problem is named. No request, and no work that a call may not need.
    fn open(options: Self::Options) -> std::result::Result<Self, Vec<Problem>>;

    /// What these settings allow.
    fn traits(&self) -> Traits;

    /// Asks whether it works: reachable, credential accepted, root present. Writes nothing.
    fn probe(&self) -> Result<Identity>;

    /// Plans the reading of a range (absent: from the start), in the version of `file.version` where the provider can.
    fn read(&self, file: &Node, size: Option<u64>, range: Option<Span>) -> Result<Plan>;

    /// What an answer means that is not the one hoped for: the one place where a provider's errors are understood.
    fn meaning(&self, answer: &Answer) -> Error {
        Error::by_status(answer)
    }

    /// What an answer to a planned read means that is not the content.
    fn explain(&self, _file: &Node, answer: &Answer) -> Verdict {
        Verdict::Failed(self.meaning(answer))
    }
}

/// What is there, at a provider where things are found by path.
pub trait Paths: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// What is at this path now; none if the provider says that there is nothing. `kind` is what it was the last time, if known.
    /// Never called for the root, and never lists the directory.
    fn stat(&self, path: &str, kind: Option<Kind>) -> Result<Option<Entry>>;

    /// Lists a directory, from the start or from a cursor. A missing directory is not-found.
    fn list(&self, directory: &Node, cursor: Option<&str>) -> Result<Page>;
}

/// What is there, at a provider where things have ids of their own.
pub trait Browsing: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Every entry of this name in the directory, newest first.
    fn look_up(&self, parent: &Node, name: &str) -> Result<Vec<Entry>>;

    /// The node as it is now, and where it is.
    fn refresh(&self, node: &Node) -> Result<Option<Placed>>;

    /// Lists a directory, from the start or from a cursor. A missing directory is not-found.
    fn list(&self, directory: &Node, cursor: Option<&str>) -> Result<Page>;
}

/// What is there, where the provider tells it all at once. The host keeps the tree and lists from it; implemented in place of `Browsing`,
/// and together with `Changes`.
pub trait Walking: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Every entry below the directory, in any order, into the sink. Returns the cursor for `changes_since` from which nothing is missed.
    fn walk(&self, directory: &Node, into: &mut Sink<'_>) -> Result<Option<String>>;
}

/// Where a walk puts what it finds.
pub struct Sink<'a> {
    found: Vec<Placed>,
    push: &'a mut dyn FnMut(Vec<Placed>) -> Result<()>,
}

impl std::fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("found", &self.found.len()).finish_non_exhaustive()
    }
}

/// Entries that are handed over at once.
const PUSHED: usize = 1000;

impl<'a> Sink<'a> {
    /// A sink that hands over to this, up to 1,000 at once.
    pub fn new(push: &'a mut dyn FnMut(Vec<Placed>) -> Result<()>) -> Sink<'a> {
        Sink { found: Vec::new(), push }
    }

    /// Takes an entry.
    pub fn push(&mut self, entry: Placed) -> Result<()> {
        self.found.push(entry);
        if self.found.len() < PUSHED { Ok(()) } else { self.flush() }
    }

    /// Hands over what is left.
    pub fn flush(&mut self) -> Result<()> {
        if self.found.is_empty() { Ok(()) } else { (self.push)(std::mem::take(&mut self.found)) }
    }
}

/// Content that only the provider's own code can decode.
pub trait Decoding: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// The content of a segment whose plan says `Decode::ByComponent` with this ticket; same bytes in, same bytes out.
    fn decode(&self, ticket: &str, offset: u64, received: &[u8]) -> Result<Vec<u8>>;
}

/// How content is written. Between two calls only the session and the receipts live.
pub trait Writing: Provider {
    #[doc(hidden)]
    const EXPORTED: ();
    /// All that the later calls need; packed, at most 64 KiB.
    type Session: Serialize + DeserializeOwned;

    /// Prepares a write. Changes nothing that a reader of the old content could see.
    fn begin(&self, intent: &WriteIntent, content: Source<'_>) -> Result<Begun<Self::Session>>;

    /// Plans one part, where the beginning did not.
    fn plan_part(&self, session: &Self::Session, part: &Part, content: Source<'_>) -> Result<PartPlan>;

    /// Judges the answer to a part, whatever its status.
    fn accept_part(&self, session: &Self::Session, part: &Part, answer: &Answer) -> Result<PartAnswer>;

    /// Makes the parts a file; may be called again after a failure.
    fn finish(&self, session: &Self::Session, receipts: &[Receipt], content: Source<'_>) -> Result<Outcome>;

    /// Gives up, and removes what was left behind.
    fn abort(&self, session: &Self::Session) -> Result<()>;

    /// Finds out where a write stands whose last answer was lost.
    fn resume(&self, session: &Self::Session, receipts: &[Receipt]) -> Result<Remains>;
}

/// Removes files.
pub trait Removing: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Removes one file. Missing is not-found.
    fn remove_file(&self, file: &Node) -> Result<Outcome>;
}

/// Makes and removes directories.
pub trait Directories: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Makes one directory in an existing parent. One of this name is already-exists.
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome>;

    /// Removes an empty directory; one with anything in it is directory-not-empty.
    fn remove_directory(&self, directory: &Node) -> Result<Outcome>;
}

/// Removes whole directories.
pub trait Purging: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Removes the directory and everything below it.
    fn purge(&self, directory: &Node) -> Result<Outcome>;
}

/// Moves and renames at the provider.
pub trait Moving: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Moves a node to this directory and name; `replaces` is what is known to stand there.
    fn move_to(&self, node: &Node, parent: &Node, name: &str, replaces: Option<&Node>) -> Result<Outcome>;
}

/// Copies at the provider.
pub trait Copying: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Copies a node to this directory and name; `modified` is kept where times can be set.
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        modified: Option<Instant>,
    ) -> Result<Outcome>;
}

/// Sets modification times.
pub trait Times: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Sets the time and nothing else.
    fn set_modified(&self, node: &Node, modified: Instant) -> Result<Outcome>;
}

/// Work in several steps; implemented by whoever answers `Outcome::Pending`.
pub trait Jobs: Provider {
    #[doc(hidden)]
    const EXPORTED: ();
    /// What a later step needs; packed, at most 64 KiB.
    type Ticket: Serialize + DeserializeOwned;

    /// Takes the work one step further; may be called again with an older ticket.
    fn poll(&self, ticket: &Self::Ticket) -> Result<Outcome>;

    /// Gives the work up, as far as that is possible.
    fn cancel(&self, ticket: &Self::Ticket) -> Result<()>;
}

/// How much room there is.
pub trait Room: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// The usage now.
    fn measure(&self) -> Result<Usage>;
}

/// Links for the public.
pub trait Links: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// A URL under which anyone can read the node, for so many milliseconds.
    fn link(&self, node: &Node, lives_ms: Option<u64>) -> Result<Text>;

    /// Takes the links of a node back.
    fn unlink(&self, node: &Node) -> Result<()>;
}

/// Empties the trash and removes what interrupted writes left behind.
pub trait Cleaning: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Cleans below this directory.
    fn clean(&self, directory: &Node) -> Result<Outcome>;
}

/// Old versions.
pub trait Versions: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// The versions of a file, newest first, each with a cookie that reads it.
    fn versions_of(&self, file: &Node, cursor: Option<&str>) -> Result<Page>;
}

/// News from the provider.
pub trait Changes: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// The news since the cursor; without one, no news and the cursor of now. The request is one that ends when something happens.
    fn changes_since(&self, cursor: Option<&str>) -> Result<(Vec<Change>, Next, Option<Request>)>;
}

/// Where news go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The next cursor.
    pub cursor: String,
    /// More is waiting: ask again at once.
    pub more: bool,
}

/// Signing in where it takes more than a configured credential or OAuth.
pub trait Session: Provider {
    #[doc(hidden)]
    const EXPORTED: ();

    /// Obtains or renews the session; `answer` answers the last question.
    fn sign_in(&self, answer: Option<&str>) -> Result<Step>;

    /// Ends the session and empties the slots.
    fn sign_out(&self) -> Result<()>;
}
