//! What the host carries out: plans for reading, plans for the parts of a write. A plan names its secrets and its content and holds
//! neither.

use crate::bindings::causeway::provider::content;
use crate::bindings::causeway::provider::requests::AesCtr;
use crate::bindings::exports::causeway::provider::{reading, writing};
use crate::nouns::{Cutting, Digest, DigestValue, Outcome, Span};
use crate::request::Request;
use crate::{Result, data};

pub use reading::{MegaMac, Ranges, Reuse};

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

/// What turns the bytes received into content.
#[derive(Clone, Debug, PartialEq)]
pub enum Decode {
    /// They are the content.
    Plain,
    /// AES in counter mode; the counter is the block at the file's offset 0.
    AesCtr {
        /// The key.
        key: [u8; 16],
        /// The counter at the file's beginning.
        counter: [u8; 16],
    },
    /// They come whole, compressed.
    Gunzip,
    /// `Decoding::decode` with this ticket; they come whole, at most 8 MiB.
    ByComponent(String),
}

/// A span of the file that one request gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Where it stands in the file.
    pub offset: u64,
    /// Its size; absent if unknown, then it is the last.
    pub size: Option<u64>,
    /// What gives it.
    pub request: Request,
    /// How a range of it is asked for.
    pub ranges: Ranges,
    /// What makes content of it.
    pub decode: Decode,
    /// What it is checked against as it was received.
    pub check: Option<DigestValue>,
}

/// Requests that give the file, or any range of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RemotePlan {
    segments: Vec<Segment>,
    size: Option<u64>,
    guard: Option<(String, String)>,
    reuse: Reuse,
    valid_ms: u32,
    parallel: u32,
    check: Option<reading::Check>,
}

impl Plan {
    /// One request for the whole file; the host adds a `Range` header, and uses it for ten minutes, eight at once.
    pub fn get(request: Request) -> RemotePlan {
        Plan::segments(vec![Segment {
            offset: 0,
            size: None,
            request,
            ranges: Ranges::ByHeader,
            decode: Decode::Plain,
            check: None,
        }])
    }

    /// Several requests, gapless and in order, which together cover at least the range asked for.
    pub fn segments(segments: Vec<Segment>) -> RemotePlan {
        RemotePlan {
            segments,
            size: None,
            guard: None,
            reuse: Reuse::AnyRange,
            valid_ms: VALID_MS,
            parallel: 8,
            check: None,
        }
    }

    pub(crate) fn into_wire(self) -> reading::ReadPlan {
        match self {
            Plan::Literal(bytes) => reading::ReadPlan::Literal(bytes),
            Plan::Remote(plan) => reading::ReadPlan::Remote(reading::Remote {
                segments: plan.segments.into_iter().map(Segment::into_wire).collect(),
                size: plan.size,
                guard: plan.guard,
                reuse: plan.reuse,
                valid_ms: plan.valid_ms,
                parallel: plan.parallel,
                check: plan.check,
            }),
        }
    }
}

impl RemotePlan {
    /// The file's size, where it is known: an answer that contradicts it is not believed.
    #[must_use]
    pub fn size(mut self, size: Option<u64>) -> RemotePlan {
        self.size = size;
        if let [only] = self.segments.as_mut_slice() {
            only.size = size;
        }
        self
    }

    /// A response header that must have this value, so that two ranges never come from two versions.
    #[must_use]
    pub fn guard(mut self, header: &str, value: impl Into<String>) -> RemotePlan {
        self.guard = Some((header.to_owned(), value.into()));
        self
    }

    /// The requests name the version themselves: no answer to them is of another.
    #[must_use]
    pub fn of_one_version(self) -> RemotePlan {
        self.guard("", "")
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
        self.segments.iter_mut().for_each(|segment| segment.ranges = ranges);
        self
    }

    /// What turns the bytes received into content.
    #[must_use]
    pub fn decode(mut self, decode: Decode) -> RemotePlan {
        self.segments.iter_mut().for_each(|segment| segment.decode = decode.clone());
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
        self.check = digest.map(reading::Check::Digest);
        self
    }

    /// MEGA's meta-MAC that the whole content is checked against.
    #[must_use]
    pub fn check_mega_mac(mut self, mac: MegaMac) -> RemotePlan {
        self.check = Some(reading::Check::MegaMac(mac));
        self
    }
}

impl Segment {
    fn into_wire(self) -> reading::Segment {
        reading::Segment {
            offset: self.offset,
            size: self.size,
            request: self.request.into_wire(),
            ranges: self.ranges,
            decoding: match self.decode {
                Decode::Plain => reading::Decoding::Plain,
                Decode::AesCtr { key, counter } => {
                    reading::Decoding::AesCtr(AesCtr { key: key.to_vec(), counter: counter.to_vec() })
                }
                Decode::Gunzip => reading::Decoding::Gunzip,
                Decode::ByComponent(ticket) => reading::Decoding::ByComponent(ticket),
            },
            check: self.check.map(reading::Check::Digest),
        }
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

    /// The eight bytes of MEGA's meta-MAC of all of it, under this key and nonce.
    pub fn mega_mac(&self, key: &[u8; 16], nonce: &[u8; 8]) -> Result<Vec<u8>> {
        match self.0 {
            Content::Host(source) => source.mega_mac(key, nonce),
            #[cfg(not(target_arch = "wasm32"))]
            Content::Memory(_) => Err(crate::Error::unsupported("the stand-in makes no meta-MAC")),
        }
    }

    /// The bytes of this span, at most 8 MiB, for who must transform them.
    pub fn read(&self, span: Span) -> Result<Vec<u8>> {
        match self.0 {
            Content::Host(source) => source.read(span),
            #[cfg(not(target_arch = "wasm32"))]
            Content::Memory(bytes) => crate::testing::slice(bytes, span).map(<[u8]>::to_vec),
        }
    }
}
