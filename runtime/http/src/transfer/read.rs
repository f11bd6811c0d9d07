//! Reading: a plan is carried out, and one gapless body comes of it.
//!
//! A body is made of *stretches*: one request each, never more than one in flight. For each stretch the engine takes a
//! plan (from the cache, where the plan serves every range), sends the segment's request for what is still wanted, and
//! holds the answer against the plan: a 206 must say the range that was asked for, a 200 is cut, sizes must agree, and the
//! guard must have its value. What does not fit goes to the component to be explained: it may plan anew twice, or say how
//! it failed. What breaks on the way is taken up where it broke, three times, but only if the next answer is provably of
//! the same version: by the plan's guard, or by a strong ETag.
//!
//! Nothing is ever mixed: once a byte is out, another guard, ETag or size is a failed precondition. What ends early is an
//! error, never a short body.
//!
//! Memory per read: what `wire` holds of one answer (at most 1 MiB), and 64 KiB of output per piece while unzipping; only
//! a segment that the component decodes is held whole, at most 8 MiB twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_storage::{Body, Error, ErrorKind, Result, Span, body_of};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::check::Checking;
use super::decode::Decoder;
use super::plan::{Check, Decoding, Ranges, ReadPlan, ReadPlanner, Segment, Verdict};
use super::plans::{PlanCache, Planned};
use crate::egress::{Answer, Egress, back_off};

/// Plans made anew because one had expired, per read.
const MOST_REPLANS: u32 = 2;

/// Times that a broken body is taken up again, per read.
const MOST_RESUMES: u32 = 3;

/// Waits for a provider that cannot now, before the first byte is out.
const MOST_WAITS: u32 = 5;

/// All such waits together.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// As much of an unexpected answer as the component is shown.
const MOST_EXPLAINED_BYTES: usize = 64 * 1024;

/// What a literal plan may hold.
const MOST_LITERAL_BYTES: usize = 64 * 1024;

/// What to read, and through what.
pub struct Read {
    /// The way out.
    pub egress: Arc<Egress>,
    /// Whoever plans.
    pub planner: Arc<dyn ReadPlanner>,
    /// Plans that serve again.
    pub plans: Arc<PlanCache>,
    /// Under which the plans of this file in this version are kept: everything that a plan is bound to must be in it.
    pub key: String,
    /// The file's size, if known.
    pub size: Option<u64>,
    /// Which bytes. Where the size is unknown, the body may end sooner, with the file.
    pub span: Span,
}

/// Reads a span. The first bytes have come when this returns.
pub async fn read(read: Read) -> Result<Body> {
    let end = read.span.offset.checked_add(read.span.size);
    let in_file = end.is_some_and(|end| read.size.is_none_or(|size| end <= size));
    if !in_file {
        return Err(Error::new(ErrorKind::Invalid, "a read goes beyond the end of the file"));
    }
    if read.span.size == 0 || read.size == Some(0) {
        return Ok(body_of(Bytes::new()));
    }
    let mut reader = Reader::new(read);
    let Some(first) = reader.next().await? else { return Ok(body_of(Bytes::new())) };
    let rest = futures::stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|bytes| (bytes, reader)))
    });
    Ok(Box::pin(body_of(first).chain(rest)))
}

/// A read under way.
struct Reader {
    read: Read,
    /// The next byte wanted.
    at: u64,
    end: u64,
    stretch: Option<Stretch>,
    /// Which version bytes came from; set with the first answer.
    identity: Option<Identity>,
    /// The file's size, as soon as an answer told.
    size: Option<u64>,
    check: Option<Checking>,
    replans: u32,
    resumes: u32,
    waits: u32,
    began: Instant,
}

/// What two answers of one version have in common.
#[derive(Clone, Debug)]
struct Identity {
    guard: Option<(String, String)>,
    /// Where the segment stands: another segment may be another object, with an ETag of its own.
    segment: u64,
    /// A strong one.
    etag: Option<String>,
}

impl Identity {
    fn agrees(&self, other: &Identity) -> bool {
        self.guard == other.guard && (self.segment != other.segment || self.etag == other.etag)
    }
}

/// One answer being read.
struct Stretch {
    answer: Answer,
    decoder: Decoder,
    /// Where the decoder's next byte stands in the file.
    position: u64,
    /// Where the answer ends in the file; absent if only its end will tell.
    end: Option<u64>,
    /// Of the bytes as received, where all of the segment comes.
    check: Option<Checking>,
    /// Held while the plan allows only so many requests at once.
    _permit: Option<OwnedSemaphorePermit>,
}

/// What an answer turned out to be.
enum Opened {
    Stretch(Box<Stretch>),
    Literal(Bytes),
    /// Try again, with a new plan or after a wait.
    Again,
}

impl Reader {
    fn new(read: Read) -> Reader {
        let span = read.span;
        Reader {
            at: span.offset,
            end: span.end(),
            size: read.size,
            read,
            stretch: None,
            identity: None,
            check: None,
            replans: 0,
            resumes: 0,
            waits: 0,
            began: Instant::now(),
        }
    }

    /// The next bytes; none at the end of the span.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.at >= self.end {
                return self.finish().map(|()| None);
            }
            let Some(stretch) = &mut self.stretch else {
                match self.open().await? {
                    Opened::Stretch(stretch) => self.stretch = Some(*stretch),
                    Opened::Literal(bytes) => return self.literal(&bytes),
                    Opened::Again => {}
                }
                continue;
            };
            match stretch.next(self.read.planner.as_ref(), self.at, self.end).await {
                Ok(Some(bytes)) => {
                    self.at += bytes.len() as u64;
                    if let Some(check) = &mut self.check {
                        check.update(&bytes);
                    }
                    return Ok(Some(bytes));
                }
                Ok(None) => {
                    let stretch = self.stretch.take();
                    // An answer of unknown size has ended where the file does.
                    if stretch.is_some_and(|stretch| stretch.end.is_none()) {
                        self.end = self.at;
                    }
                }
                Err(error) => {
                    self.stretch = None;
                    self.resume(error).await?;
                }
            }
        }
    }

    /// After a break: goes on where it stopped, if the next answer can be held against the last one.
    async fn resume(&mut self, error: Error) -> Result<()> {
        let told_apart =
            self.identity.as_ref().is_some_and(|identity| identity.guard.is_some() || identity.etag.is_some());
        let untouched = self.at == self.read.span.offset;
        if !error.is_passing() || self.resumes >= MOST_RESUMES || !(told_apart || untouched) {
            return Err(error);
        }
        self.resumes += 1;
        back_off(self.resumes).await;
        Ok(())
    }

    /// The span is complete: what can be checked is checked.
    fn finish(&mut self) -> Result<()> {
        self.stretch = None;
        match self.check.take() {
            Some(check) => check.finish("the file"),
            None => Ok(()),
        }
    }

    fn literal(&mut self, content: &Bytes) -> Result<Option<Bytes>> {
        let contradicts =
            self.size.is_some_and(|size| size != content.len() as u64) || self.at != self.read.span.offset;
        if contradicts || content.len() > MOST_LITERAL_BYTES {
            return Err(Error::new(
                ErrorKind::Unavailable(None),
                "the provider's component gives other content than it listed",
            ));
        }
        let start = usize::try_from(self.at).unwrap_or(usize::MAX).min(content.len());
        let end = usize::try_from(self.end).unwrap_or(usize::MAX).min(content.len());
        self.at = self.end;
        Ok(Some(content.slice(start..end)).filter(|bytes| !bytes.is_empty()))
    }

    /// Sends one request for what is still wanted.
    async fn open(&mut self) -> Result<Opened> {
        let wanted = Span::new(self.at, self.end - self.at);
        let planned = match self.plan(wanted).await {
            Ok(Planned::Remote(plan)) => plan,
            Ok(Planned::Literal(content)) => return Ok(Opened::Literal(content)),
            Err(error) => return self.wait(error).await,
        };
        let remote = &planned.remote;
        if let Some(size) = remote.size {
            self.check_size(size)?;
        }
        let permit = planned.permit().await;
        let (segment, last) = find(&remote.segments, self.at)?;
        if self.at == 0 && self.identity.is_none() {
            self.check = self.whole_file_check(remote.check.as_ref())?;
        }
        let ask = Ask::new(segment, self.at, self.end, self.size.or(remote.size).filter(|_| last))?;
        // A range that is signed stands in the request already.
        let by_header = segment.ranges == Ranges::ByHeader;
        let range = ask.range.filter(|_| by_header || segment.request.places_range());
        let answer = match self.read.egress.fetch(&segment.request, range).await {
            Ok(answer) => answer,
            Err(error) => return self.wait(error).await,
        };
        let guard = remote.guard.clone();
        let fits = ask.judge(&answer, segment).filter(|_| guard_holds(&answer, guard.as_ref()));
        let Some(fit) = fits else { return self.explain(answer).await };
        if let Some(size) = fit.file_size.filter(|_| segment.offset == 0 && last) {
            self.check_size(size)?;
            self.size = Some(size);
            self.end = self.end.min(size);
        }
        self.check_identity(Identity { guard, segment: segment.offset, etag: strong_etag(&answer) })?;
        let check = match &segment.check {
            Some(check) if fit.whole => Some(Checking::begin(check)?),
            _ => None,
        };
        let decoder = Decoder::new(&segment.decoding, segment.offset, fit.position);
        let stretch = Stretch { answer, decoder, position: fit.position, end: fit.end, check, _permit: permit };
        Ok(Opened::Stretch(Box::new(stretch)))
    }

    async fn plan(&self, wanted: Span) -> Result<Planned> {
        if let Some(plan) = self.read.plans.get(&self.read.key, wanted) {
            return Ok(Planned::Remote(plan));
        }
        // Where nothing is known of the size, the plan gives as much as it has.
        let range = (self.size.is_some() || wanted.offset > 0).then_some(wanted);
        match self.read.planner.plan(range).await? {
            ReadPlan::Remote(remote) => Ok(Planned::Remote(self.read.plans.put(&self.read.key, wanted, remote))),
            ReadPlan::Literal(content) => Ok(Planned::Literal(content)),
        }
    }

    fn whole_file_check(&self, check: Option<&Check>) -> Result<Option<Checking>> {
        let whole = self.size.is_none_or(|size| self.end == size);
        check.filter(|_| whole).map(Checking::begin).transpose()
    }

    /// Sizes that contradict one another mean two versions.
    fn check_size(&self, size: u64) -> Result<()> {
        match self.size {
            Some(known) if known != size => Err(changed()),
            _ => Ok(()),
        }
    }

    /// Once an answer was taken, the next must be of the same version.
    fn check_identity(&mut self, identity: Identity) -> Result<()> {
        match &self.identity {
            None => self.identity = Some(identity),
            Some(first) if !first.agrees(&identity) && self.at > self.read.span.offset => {
                self.read.plans.forget(&self.read.key);
                return Err(changed());
            }
            Some(_) => self.identity = Some(identity),
        }
        Ok(())
    }

    /// Lets the component say what an answer means.
    async fn explain(&mut self, answer: Answer) -> Result<Opened> {
        let explained = match answer.cut(MOST_EXPLAINED_BYTES).await {
            Ok(response) => self.read.planner.explain(response).await,
            Err(error) => Err(error),
        };
        match explained.unwrap_or_else(Verdict::Failed) {
            Verdict::Replan => {
                self.read.plans.forget(&self.read.key);
                if self.replans >= MOST_REPLANS {
                    let message = "the provider's answers do not fit what was planned, even with a new plan";
                    return Err(Error::new(ErrorKind::Unavailable(None), message));
                }
                self.replans += 1;
                Ok(Opened::Again)
            }
            Verdict::Failed(error) => {
                self.read.plans.forget(&self.read.key);
                self.wait(error).await
            }
        }
    }

    /// Waits for a provider that cannot now, within limits; any other error is final.
    async fn wait(&mut self, error: Error) -> Result<Opened> {
        let hint = match error.kind {
            ErrorKind::RateLimited(hint) | ErrorKind::Unavailable(hint) => hint,
            _ => return Err(error),
        };
        let rest = LONGEST_WAIT.saturating_sub(self.began.elapsed());
        if self.waits >= MOST_WAITS || hint.unwrap_or_default() >= rest || rest.is_zero() {
            return Err(error);
        }
        self.waits += 1;
        match hint {
            Some(hint) => tokio::time::sleep(hint).await,
            None => back_off(self.waits).await,
        }
        Ok(Opened::Again)
    }
}

impl Stretch {
    /// The next bytes at `at`, not beyond `end`; none when the answer is complete.
    async fn next(&mut self, planner: &dyn ReadPlanner, at: u64, end: u64) -> Result<Option<Bytes>> {
        loop {
            while let Some(bytes) = self.decoder.take()? {
                if let Some(bytes) = self.cut(bytes, at, end)? {
                    return Ok(Some(bytes));
                }
            }
            if self.decoder.is_finished() {
                return self.finish().map(|()| None);
            }
            match self.answer.next().await? {
                Some(received) => {
                    if let Some(check) = &mut self.check {
                        check.update(&received);
                    }
                    self.decoder.put(received)?;
                }
                None => self.end_of_answer(planner).await?,
            }
        }
    }

    /// What of these bytes is wanted. More than the plan gives is as wrong as less.
    fn cut(&mut self, mut bytes: Bytes, at: u64, end: u64) -> Result<Option<Bytes>> {
        let start = self.position;
        self.position += bytes.len() as u64;
        if self.end.is_some_and(|end| self.position > end) {
            return Err(Error::new(ErrorKind::Unavailable(None), "an answer is longer than it should be"));
        }
        let _before = bytes.split_to(usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len()));
        let wanted = end.saturating_sub(start.max(at));
        bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    async fn end_of_answer(&mut self, planner: &dyn ReadPlanner) -> Result<()> {
        if let Some(check) = self.check.take() {
            check.finish("what was received")?;
        }
        if let Some((ticket, offset, received)) = self.decoder.for_component() {
            self.decoder.decoded(planner.decode(&ticket, offset, received).await?);
        }
        self.decoder.finish()
    }

    fn finish(&self) -> Result<()> {
        match self.end {
            Some(end) if self.position != end => {
                Err(Error::new(ErrorKind::Unavailable(None), "an answer ended before all of it had come"))
            }
            None if !self.answer.is_framed => {
                let message = "an answer of unknown size came without a way to tell that it is complete";
                Err(Error::new(ErrorKind::Unavailable(None), message))
            }
            _ => Ok(()),
        }
    }
}

/// What is asked of one segment.
struct Ask {
    /// As `Egress::fetch` takes it, counted from the segment's beginning.
    range: Option<(u64, Option<u64>)>,
    /// In the file.
    from: u64,
    /// Where the segment ends in the file, if known.
    segment_end: Option<u64>,
    /// Where this request's bytes should end in the file, if known.
    end: Option<u64>,
}

/// An answer that fits the plan.
struct Fit {
    /// Where its first byte stands in the file.
    position: u64,
    /// Where it ends, if known.
    end: Option<u64>,
    /// All of the segment comes.
    whole: bool,
    /// The size that it says the segment has.
    file_size: Option<u64>,
}

impl Ask {
    fn new(segment: &Segment, at: u64, end: u64, size: Option<u64>) -> Result<Ask> {
        let segment_end = segment.size.map(|size| segment.offset.saturating_add(size)).or(size);
        let within = segment_end.map_or(end, |segment_end| end.min(segment_end));
        let known_end = segment_end.is_some() || end < u64::MAX;
        let by_range = matches!(segment.ranges, Ranges::ByHeader | Ranges::Placed)
            && matches!(segment.decoding, Decoding::Plain | Decoding::AesCtr(_));
        if !by_range {
            if segment.ranges == Ranges::Placed {
                return Err(Error::new(ErrorKind::Internal, "a plan places ranges where the segment must come whole"));
            }
            return Ok(Ask { range: None, from: segment.offset, segment_end, end: segment_end });
        }
        let first = at - segment.offset;
        // A file of unknown size from its start: simply all of it.
        if !known_end && first == 0 && segment.ranges == Ranges::ByHeader {
            return Ok(Ask { range: None, from: at, segment_end, end: None });
        }
        let last = known_end.then(|| within - 1 - segment.offset);
        Ok(Ask { range: Some((first, last)), from: at, segment_end, end: segment_end.map(|_| within) })
    }

    /// Holds the head of an answer against what was asked.
    fn judge(&self, answer: &Answer, segment: &Segment) -> Option<Fit> {
        let length: Option<u64> = answer.header("content-length").and_then(|length| length.trim().parse().ok());
        match (answer.status, segment.ranges, self.range) {
            (206, Ranges::ByHeader, Some(_)) => self.judge_partial(answer, segment, length),
            // Some servers say 200 and send the range all the same; the length then tells which of both they mean.
            (200, Ranges::ByHeader, Some(_)) if answer.header("content-range").is_some() && length.is_some() => {
                self.judge_partial(answer, segment, length)
            }
            (206, Ranges::Placed, Some(_)) if answer.header("content-range").is_some() => {
                self.judge_partial(answer, segment, length)
            }
            (200 | 206, Ranges::Placed, Some(_)) => {
                let wanted = self.end? - self.from;
                let agrees = length.is_none_or(|length| length == wanted);
                let whole = self.from == segment.offset && self.end == self.segment_end;
                agrees.then_some(Fit { position: self.from, end: self.end, whole, file_size: None })
            }
            (200, _, _) => self.judge_whole(answer, segment, length),
            _ => None,
        }
    }

    fn judge_partial(&self, answer: &Answer, segment: &Segment, length: Option<u64>) -> Option<Fit> {
        let range = ContentRange::parse(answer.header("content-range")?)?;
        let position = segment.offset + range.first;
        let end = (segment.offset + range.last).checked_add(1)?;
        let size_agrees = match (range.size, segment.size) {
            (Some(said), Some(size)) => said == size,
            _ => true,
        };
        let agrees = position == self.from
            && size_agrees
            && self.end.is_none_or(|asked| end <= asked)
            && length.is_none_or(|length| length == end - position);
        let whole = range.first == 0 && Some(end) == self.segment_end;
        agrees.then_some(Fit { position, end: Some(end), whole, file_size: range.size })
    }

    /// A 200: the whole segment, whatever was asked.
    fn judge_whole(&self, answer: &Answer, segment: &Segment, length: Option<u64>) -> Option<Fit> {
        let same_size = matches!(segment.decoding, Decoding::Plain | Decoding::AesCtr(_));
        // A server that encoded the body by itself sends other bytes than the file's.
        let encoded = answer.header("content-encoding").is_some_and(|encoding| encoding != "identity" && same_size);
        let expected = self.segment_end.map(|end| end - segment.offset);
        let agrees = match (length, expected) {
            (Some(length), Some(expected)) if same_size => length == expected,
            _ => true,
        };
        if !agrees || encoded {
            return None;
        }
        let told = length.filter(|_| same_size);
        let end = self.segment_end.or_else(|| told.map(|length| segment.offset + length));
        Some(Fit { position: segment.offset, end, whole: true, file_size: told.filter(|_| segment.size.is_none()) })
    }
}

/// `bytes 0-9/100`.
struct ContentRange {
    first: u64,
    last: u64,
    size: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<ContentRange> {
        let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = ContentRange {
            first: first.trim().parse().ok()?,
            last: last.trim().parse().ok()?,
            size: match size.trim() {
                "*" => None,
                size => Some(size.parse().ok()?),
            },
        };
        (range.first <= range.last && range.size.is_none_or(|size| range.last < size)).then_some(range)
    }
}

/// The segment that holds this byte, and whether it is the last.
fn find(segments: &[Segment], at: u64) -> Result<(&Segment, bool)> {
    let holds = |segment: &&Segment| segment.offset <= at && segment.size.is_none_or(|size| at - segment.offset < size);
    let found = segments.iter().find(holds);
    let found = found.ok_or_else(|| Error::internal("the component's plan does not cover what it was asked for"))?;
    Ok((found, segments.last().is_some_and(|last| std::ptr::eq(last, found))))
}

/// A guard without a name is kept by the request itself, which names the version.
fn guard_holds(answer: &Answer, guard: Option<&(String, String)>) -> bool {
    guard.is_none_or(|(name, value)| name.is_empty() || answer.header(name) == Some(value.as_str()))
}

fn strong_etag(answer: &Answer) -> Option<String> {
    answer.header("etag").filter(|etag| etag.starts_with('"')).map(str::to_owned)
}

fn changed() -> Error {
    Error::new(ErrorKind::PreconditionFailed, "the file changed while it was being read")
}
