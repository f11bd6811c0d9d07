//! What the host carries out: plans for reading, plans for the parts of a write. A plan names its secrets and its content and holds
//! neither.

use crate::bindings::causeway::provider::content;
use crate::bindings::exports::causeway::provider::{reading, writing};
use crate::nouns::{Cutting, Digest, DigestValue, Outcome, Span};
use crate::request::Request;
use crate::{Result, data};

pub use reading::{Ranges, Reuse};

/// How long a plan is good for unless it says otherwise: shorter than the 15 minutes for which dated signatures are accepted.
const VALID_MS: u32 = 600_000;

/// How a file is read.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// By requests that the host sends.
    Remote(Box<RemotePlan>),
    /// The content itself, at most 64 KiB.
    Literal(Vec<u8>),
}

/// A request that gives the file, or any range of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RemotePlan {
    request: Request,
    ranges: Ranges,
    size: Option<u64>,
    guard: Option<(String, String)>,
    reuse: Reuse,
    valid_ms: u32,
    parallel: u32,
    digest: Option<DigestValue>,
}

impl Plan {
    /// One request for the whole file; the host adds a `Range` header, and uses it for ten minutes, eight at once.
    pub fn get(request: Request) -> RemotePlan {
        RemotePlan {
            request,
            ranges: Ranges::ByHeader,
            size: None,
            guard: None,
            reuse: Reuse::AnyRange,
            valid_ms: VALID_MS,
            parallel: 8,
            digest: None,
        }
    }

    pub(crate) fn into_wire(self) -> reading::ReadPlan {
        match self {
            Plan::Literal(bytes) => reading::ReadPlan::Literal(bytes),
            Plan::Remote(plan) => reading::ReadPlan::Remote(reading::Remote {
                segments: vec![reading::Segment {
                    offset: 0,
                    size: plan.size,
                    request: plan.request.into_wire(),
                    ranges: plan.ranges,
                    decoding: reading::Decoding::Plain,
                    check: None,
                }],
                size: plan.size,
                guard: plan.guard,
                reuse: plan.reuse,
                valid_ms: plan.valid_ms,
                parallel: plan.parallel,
                check: plan.digest.map(reading::Check::Digest),
            }),
        }
    }
}

impl RemotePlan {
    /// The file's size, where it is known: an answer that contradicts it is not believed.
    #[must_use]
    pub fn size(mut self, size: Option<u64>) -> RemotePlan {
        self.size = size;
        self
    }

    /// A response header that must have this value, so that two ranges never come from two versions.
    #[must_use]
    pub fn guard(mut self, header: &str, value: impl Into<String>) -> RemotePlan {
        self.guard = Some((header.to_owned(), value.into()));
        self
    }

    /// How often it serves, and for how long.
    #[must_use]
    pub fn reuse(mut self, reuse: Reuse, valid_ms: u32) -> RemotePlan {
        (self.reuse, self.valid_ms) = (reuse, valid_ms);
        self
    }

    /// How ranges are asked for.
    #[must_use]
    pub fn ranges(mut self, ranges: Ranges) -> RemotePlan {
        self.ranges = ranges;
        self
    }

    /// How many requests may run on it at once.
    #[must_use]
    pub fn parallel(mut self, parallel: u32) -> RemotePlan {
        self.parallel = parallel;
        self
    }

    /// What the whole content is checked against.
    #[must_use]
    pub fn check(mut self, digest: Option<DigestValue>) -> RemotePlan {
        self.digest = digest;
        self
    }
}

impl From<RemotePlan> for Plan {
    fn from(plan: RemotePlan) -> Plan {
        Plan::Remote(Box::new(plan))
    }
}

/// How a write begins; `S` is all that the later calls need.
#[derive(Clone, Debug)]
pub enum Begun<S> {
    /// Parts are to be sent.
    Upload {
        /// Kept by the host, and given to each later call.
        session: S,
        /// How the content is cut; absent: everything is part 0.
        cutting: Option<Cutting>,
        /// The plan for part 0, where it is ready.
        first: Option<PartPlan>,
    },
    /// Nothing needs to be sent.
    Complete(Outcome),
}

impl<S: serde::Serialize> Begun<S> {
    pub(crate) fn into_wire(self) -> Result<writing::WritePlan> {
        Ok(match self {
            Begun::Complete(outcome) => writing::WritePlan::Complete(outcome),
            Begun::Upload { session, cutting, first } => writing::WritePlan::Upload(writing::Upload {
                session: data::pack(&session)?,
                cutting,
                first: first.map(PartPlan::into_wire),
            }),
        })
    }
}

/// The request for one part.
#[derive(Clone, Debug, PartialEq)]
pub struct PartPlan {
    request: Request,
    valid_ms: u32,
    once: bool,
}

impl PartPlan {
    /// This request, for ten minutes and as often as needed.
    pub fn new(request: Request) -> PartPlan {
        PartPlan { request, valid_ms: VALID_MS, once: false }
    }

    /// A second sending needs a new plan.
    #[must_use]
    pub fn once(mut self) -> PartPlan {
        self.once = true;
        self
    }

    /// How long it may be sent.
    #[must_use]
    pub fn valid_ms(mut self, valid_ms: u32) -> PartPlan {
        self.valid_ms = valid_ms;
        self
    }

    pub(crate) fn into_wire(self) -> writing::PartPlan {
        writing::PartPlan { request: self.request.into_wire(), valid_ms: self.valid_ms, once: self.once }
    }
}

/// The content of a write. It lies on the host's disk: its size is known, and any digest of it can be had.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a>(Content<'a>);

#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Host(&'a content::Source),
    #[cfg(not(target_arch = "wasm32"))]
    Memory(&'a [u8]),
}

impl<'a> Source<'a> {
    pub(crate) fn of(source: &'a content::Source) -> Source<'a> {
        Source(Content::Host(source))
    }

    /// Content for a test.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn memory(bytes: &'a [u8]) -> Source<'a> {
        Source(Content::Memory(bytes))
    }

    /// All of it, in bytes.
    pub fn size(&self) -> u64 {
        match self.0 {
            Content::Host(source) => source.size(),
            #[cfg(not(target_arch = "wasm32"))]
            Content::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// All of it, as a span.
    pub fn whole(&self) -> Span {
        Span { offset: 0, size: self.size() }
    }

    /// The digest of this span.
    pub fn digest(&self, algorithm: Digest, span: Span) -> Result<Vec<u8>> {
        match self.0 {
            Content::Host(source) => source.digest(algorithm, &[span]),
            #[cfg(not(target_arch = "wasm32"))]
            Content::Memory(bytes) => crate::testing::digest_of_span(algorithm, bytes, span),
        }
    }
}
