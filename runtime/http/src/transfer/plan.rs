//! Plans, one to one as the contract's interfaces `reading` and `writing` have them, and the two traits through which the
//! engines ask for them. Whoever implements these traits calls the component; the engines never do.

use async_trait::async_trait;
use bytes::Bytes;
use causeway_storage::{DigestValue, Entry, Error, Result, Span};
use serde::{Deserialize, Serialize};

use crate::request::{AesCtr, Request, Response};

/// How a range is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// By a `Range` header; a 200 instead of a 206 is taken and cut.
    ByHeader,
    /// The request has the range where the provider wants it; the answer is exactly that range.
    Placed,
    /// Not at all: the segment comes whole.
    Whole,
}

/// What turns the bytes received into content.
#[derive(Clone, PartialEq, Eq)]
pub enum Decoding {
    /// Nothing.
    Plain,
    /// AES in counter mode.
    AesCtr(AesCtr),
    /// The segment comes whole, compressed.
    Gunzip,
    /// [`ReadPlanner::decode`] with this ticket; the segment is fetched whole, at most 8 MiB.
    ByComponent(String),
}

impl std::fmt::Debug for Decoding {
    /// Keys and tickets stay unseen.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Decoding::Plain => "Plain",
            Decoding::AesCtr(_) => "AesCtr",
            Decoding::Gunzip => "Gunzip",
            Decoding::ByComponent(_) => "ByComponent",
        })
    }
}

/// What bytes are checked against once all of them have passed.
#[derive(Clone, PartialEq, Eq)]
pub enum Check {
    /// A digest.
    Digest(DigestValue),
    /// MEGA's meta-MAC, and the key and nonce that it is made with.
    MegaMac {
        /// Eight bytes.
        mac: Vec<u8>,
        /// Sixteen bytes.
        key: Vec<u8>,
        /// Eight bytes.
        nonce: Vec<u8>,
    },
}

impl std::fmt::Debug for Check {
    /// Keys stay unseen.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Check::Digest(digest) => write!(f, "Digest({digest:?})"),
            Check::MegaMac { .. } => f.write_str("MegaMac"),
        }
    }
}

/// A span of the file that one request gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it stands in the file. Ranges are counted from here.
    pub offset: u64,
    /// Absent if unknown, then it is the last.
    pub size: Option<u64>,
    /// What to send.
    pub request: Request,
    /// How a range is asked for.
    pub ranges: Ranges,
    /// What turns the bytes received into content.
    pub decoding: Decoding,
    /// Of the bytes as received.
    pub check: Option<Check>,
}

/// How often a plan serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// For every range of its segments, until it expires.
    AnyRange,
    /// For the range it was made for, as often as needed.
    ThisRange,
    /// For one request.
    Once,
}

/// How to get content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Gapless and in order; they cover at least the range asked for.
    pub segments: Vec<Segment>,
    /// The file's size, if known; an answer that contradicts it is not believed.
    pub size: Option<u64>,
    /// A response header that must have this value.
    pub guard: Option<(String, String)>,
    /// How often it serves.
    pub reuse: Reuse,
    /// Milliseconds from now for which it may be used.
    pub valid_ms: u32,
    /// How many requests may run on it at once.
    pub parallel: u32,
    /// Of the content, when all of it was read in one version.
    pub check: Option<Check>,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadPlan {
    /// By requests.
    Remote(Remote),
    /// The content itself, at most 64 KiB.
    Literal(Bytes),
}

/// What an answer means that is not the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The plan has expired: make a new one.
    Replan,
    /// It failed.
    Failed(Error),
}

/// Plans the reading of one file in one version.
#[async_trait]
pub trait ReadPlanner: Send + Sync {
    /// Plans the reading of a range; absent: from the start, as much as the plan gives.
    async fn plan(&self, range: Option<Span>) -> Result<ReadPlan>;

    /// Explains an answer that is not the content; its body is cut at 64 KiB.
    async fn explain(&self, answer: Response) -> Result<Verdict>;

    /// The content of a segment that only the component can decode.
    async fn decode(&self, ticket: &str, offset: u64, received: Bytes) -> Result<Bytes>;
}

/// How the content is cut: only the last part is shorter than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cutting {
    /// The size of part 0.
    pub first_bytes: u64,
    /// The size of each further part.
    pub other_bytes: u64,
    /// How many may be on their way at once, in any order; 1: one after the other, from the start.
    pub parallel: u32,
}

/// A write under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// All that the later calls need; at most 64 KiB.
    pub session: String,
    /// Absent: everything is part 0.
    pub cutting: Option<Cutting>,
    /// The plan for part 0, if it is ready.
    pub first: Option<PartPlan>,
}

/// The request for a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPlan {
    /// What to send.
    pub request: Request,
    /// Milliseconds from now for which it may be sent.
    pub valid_ms: u32,
    /// A second sending needs a new plan.
    pub once: bool,
}

/// Work that goes on at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What polling needs; at most 64 KiB.
    pub ticket: String,
    /// Poll no sooner than after so many milliseconds.
    pub after_ms: u32,
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the entry as the provider shows it now, if it does.
    Done(Option<Entry>),
    /// Not done yet.
    Pending(Job),
}

/// How a write begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WritePlan {
    /// Parts are to be sent.
    Upload(Upload),
    /// Nothing needs to be sent.
    Complete(Outcome),
}

/// A part to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub number: u32,
    /// Which bytes.
    pub span: Span,
    /// Whether it is the last of the file.
    pub last: bool,
    /// Below `cutting.parallel`; no two parts on the way have the same.
    pub lane: u32,
}

/// Where a write in order goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The provider holds everything up to here.
    pub offset: u64,
    /// The session, if it changed.
    pub session: Option<String>,
}

/// What the answer to a part means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartAnswer {
    /// Stored; the receipt (at most 1 KiB) goes to `finish`.
    Stored(String),
    /// In order only.
    At(Progress),
    /// The write is finished.
    Complete(Outcome),
    /// Plan and send the part again, after so many milliseconds.
    Again(u32),
    /// The session is lost: begin anew.
    Restart,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its number.
    pub number: u32,
    /// First byte and size.
    #[serde(with = "span_pair")]
    pub span: Span,
    /// What the component wants to remember of it.
    pub receipt: String,
}

/// What is left of a write after an interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remains {
    /// In order: go on here.
    At(Progress),
    /// Any order: these parts are still there.
    Parts(Vec<u32>),
    /// It had been finished.
    Complete(Outcome),
    /// Begin anew.
    Nothing,
}

/// Plans one write. Whoever implements it knows the intent and has the content.
#[async_trait]
pub trait WritePlanner: Send + Sync {
    /// Prepares the write.
    async fn begin(&self) -> Result<WritePlan>;

    /// Plans one part.
    async fn plan_part(&self, session: &str, part: &Part) -> Result<PartPlan>;

    /// Judges the answer to a part, whatever its status; the body is cut at 64 KiB.
    async fn accept_part(&self, session: &str, part: &Part, answer: Response) -> Result<PartAnswer>;

    /// Makes the parts a file.
    async fn finish(&self, session: &str, receipts: &[Receipt]) -> Result<Outcome>;

    /// Gives up.
    async fn abort(&self, session: &str) -> Result<()>;

    /// Finds out where a write stands.
    async fn resume(&self, session: &str, receipts: &[Receipt]) -> Result<Remains>;
}

mod span_pair {
    use causeway_storage::Span;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        (span.offset, span.size).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let (offset, size) = <(u64, u64)>::deserialize(deserializer)?;
        Ok(Span::new(offset, size))
    }
}
