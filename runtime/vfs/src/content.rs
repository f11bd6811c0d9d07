//! Content of one version, read through the chunk cache.
//!
//! It knows nothing of handles or writers. A read is answered from the object's file if all of it is there. If not, the
//! first missing byte starts a *flight*: one ranged request, whose bytes go straight to the file; whoever needs bytes of
//! that range waits for them, so nothing is asked for twice however many read it. What a reader misses is fetched in
//! multiples of [`UNIT_BYTES`], so a random read costs little more than itself; what a sequential reader will want next
//! is fetched before it asks, in several flights side by side, as far as the machine's budget allows (`budget`). A flight
//! lives on its own: a reader that gives up does not waste what is on its way.
//!
//! Every request names the version, and the storage answers from that version or fails, at the latest when the answer
//! ends: so the end of what was asked for counts only then, and what a flight brought that failed for more than a moment
//! is taken back. No file ever holds bytes of two versions, or such as failed their check. Memory: one batch of each
//! answer under way, no more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cache::{Object, Scope, Seen};
use causeway_storage::{Error, ErrorKind, Result, Span, Storage};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::budget::{ReadBudget, Slot};
use crate::pattern::Reach;

/// What a miss is rounded to: eight pages cost a request nothing that could be measured, and random readers come back near.
const UNIT_BYTES: u64 = 32 << 10;

/// The largest range in one request: large enough that its round trip does not count, small enough that several share a
/// connection's worth of time fairly.
pub(crate) const PART_BYTES: u64 = 8 << 20;

/// Ranges into which what is fetched ahead is divided, so that they are under way side by side.
const PARTS: u64 = 8;

/// The smallest range that is fetched ahead.
const SMALLEST_PART_BYTES: u64 = 512 << 10;

/// Bytes of an answer that are written at once: fewer changes of thread, and little memory.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// So few bytes are written where they arrive: the disk's cache takes them faster than another thread would wake up.
const SMALL_BYTES: usize = 64 << 10;

/// A read that gets no byte for so long has failed.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// Flights that break after they brought something are followed by another so often, for one reader.
const RESUMPTIONS: u32 = 3;

/// Content of one version.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) object: Arc<Object>,
    source: Mutex<Seen>,
    /// Under which the budget knows it.
    number: u64,
    flights: Mutex<BTreeMap<u64, Flight>>,
    /// Whether it stays in the cache after the last close.
    pub(crate) keep: AtomicBool,
}

/// A request under way, by where its range begins.
#[derive(Clone, Debug)]
struct Flight {
    /// Where its range ends.
    end: u64,
    news: News,
}

/// Ticks with every batch that arrived; ends with how the flight ended.
type News = watch::Receiver<Option<Result<()>>>;

/// What a flight needs.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) budget: ReadBudget,
    pub(crate) tenant: Arc<str>,
    /// What is fetched shall stay: where there is no room, it is not fetched, and nothing that came before goes for it.
    pub(crate) stays: bool,
}

impl Content {
    pub(crate) fn new(object: Arc<Object>, source: Seen) -> Content {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Content {
            object,
            source: Mutex::new(source),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            flights: Mutex::default(),
            keep: AtomicBool::new(false),
        }
    }

    /// Where it is fetched from.
    pub(crate) fn source(&self) -> Seen {
        self.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same content is at another place, or under another version, from now on.
    pub(crate) fn set_source(&self, source: Seen) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }

    /// Keeps it in the cache after the last close.
    pub(crate) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Fetches all that is missing, one range after the other. Fails if what came went again to make room for the rest.
    pub(crate) async fn complete(self: &Arc<Self>, way: &Way) -> Result<()> {
        let mut left = self.missing_bytes();
        while self.fetch_some(way).await? {
            let before = std::mem::replace(&mut left, self.missing_bytes());
            if left >= before {
                return Err(Error::new(ErrorKind::QuotaExceeded, "the cache has no room for all of it"));
            }
        }
        Ok(())
    }

    /// How much of it is not here.
    pub(crate) fn missing_bytes(&self) -> u64 {
        self.object.missing(self.whole()).iter().map(|hole| hole.size).sum()
    }

    fn whole(&self) -> Span {
        Span::new(0, self.object.size())
    }

    /// Fetches the first range that is missing, and says whether there was one.
    pub(crate) async fn fetch_some(self: &Arc<Self>, way: &Way) -> Result<bool> {
        let missing = self.object.missing(self.whole());
        let Some(hole) = missing.first() else { return Ok(false) };
        let part = Span::new(hole.offset, hole.size.min(PART_BYTES));
        self.fetch(way, part, Reach::just(part)).await?;
        Ok(true)
    }

    /// Asks for what a sequential reader wants next, without waiting for it.
    pub(crate) fn read_ahead(self: &Arc<Self>, way: &Way, reach: Reach) {
        let end = reach.at.saturating_add(reach.ahead_bytes).min(self.object.size());
        if reach.at >= end {
            return;
        }
        let mut flights = self.flights();
        // While the nearer half is on its way or here, there is time: else each read would ask for a little.
        let half = reach.at + (end - reach.at) / 2;
        if self.gap(&flights, Span::new(reach.at, half - reach.at)).is_none() {
            return;
        }
        let part_bytes = (reach.ahead_bytes / PARTS).next_power_of_two().clamp(SMALLEST_PART_BYTES, PART_BYTES);
        let mut at = reach.at;
        while let Some(gap) = self.gap(&flights, Span::new(at, end - at)) {
            let Some(slot) = way.budget.slot(&way.tenant, self.number) else { return };
            // Parts end at multiples of their size, so that neighbours meet, and the last is as large as the others.
            let part_end = (gap.offset / part_bytes + 1) * part_bytes;
            let whole = self.gap(&flights, Span::new(gap.offset, part_end.min(self.object.size()) - gap.offset));
            let part = whole.unwrap_or(gap);
            self.take_off(&mut flights, way, part, Some(slot));
            at = part.end();
            if at >= end {
                return;
            }
        }
    }

    /// Sees that all of `span` is there; says also how much to ask for on a miss, and ahead.
    pub(crate) async fn fetch(self: &Arc<Self>, way: &Way, span: Span, reach: Reach) -> Result<()> {
        let mut resumptions = 0;
        // What this reader asked for last, from the byte it missed on. It is heard to its end: what it fails with is the answer.
        let mut own: Option<(Span, News)> = None;
        let mut heard = Instant::now();
        while let Some(hole) = self.object.missing(span).first().copied() {
            let own_covers = |(asked, _): &&(Span, News)| asked.offset <= hole.offset && hole.offset < asked.end();
            let (mut news, asked) = match own.as_ref().filter(own_covers) {
                Some((asked, news)) => (news.clone(), Some(*asked)),
                None => {
                    let mut flights = self.flights();
                    // Looked at again under the lock: a flight is taken out after what it brought is marked.
                    if self.object.missing(Span::new(hole.offset, 1)).is_empty() {
                        continue;
                    }
                    match covering(&flights, hole.offset) {
                        Some(flight) => (flight.news.clone(), None),
                        None => {
                            let wanted = self.wanted(&flights, hole.offset, span.end(), reach.miss_bytes);
                            let news = self.take_off(&mut flights, way, wanted, None);
                            let asked = Span::new(hole.offset, wanted.end() - hole.offset);
                            own = Some((asked, news.clone()));
                            (news, Some(asked))
                        }
                    }
                }
            };
            // After what is missed, so that this is not cut short.
            self.read_ahead(way, reach);
            loop {
                // First the news, then a look: what comes in between is news again.
                let ended = news.borrow_and_update().clone();
                if ended.is_none() {
                    heard = Instant::now();
                }
                if self.object.missing(Span::new(hole.offset, 1)).is_empty() {
                    break;
                }
                if ended.is_some() && asked.is_some() {
                    own = None;
                }
                match (ended, asked) {
                    // What it brought went with it, and would again.
                    (Some(Err(error)), Some(_)) if !error.is_passing() => return Err(error),
                    // Who waited in vain for about a minute does not wait another one, whoever asked.
                    (Some(Err(error)), _) if heard.elapsed() > SILENCE / 2 => return Err(error),
                    // Where it brought something, the rest is asked for. What failed for someone else is tried for this reader.
                    (Some(Err(error)), Some(asked)) => {
                        let left = self.object.missing(span).first().map(|left| left.offset);
                        if left == Some(asked.offset) || resumptions == RESUMPTIONS {
                            return Err(error);
                        }
                        resumptions += 1;
                        break;
                    }
                    // It ended and the bytes are not there: they did not come, or went to make room. Ask again.
                    (Some(_), _) => break,
                    (None, asked) => match (news.changed().await, asked) {
                        (Ok(()), _) => {}
                        // It panicked, and would again.
                        (Err(_), Some(_)) => return Err(Error::internal("a range was given up without an outcome")),
                        (Err(_), None) => break,
                    },
                }
            }
        }
        Ok(())
    }

    /// What to ask for when the byte at `at` is missing: in whole units, up to what is there or on its way already.
    fn wanted(&self, flights: &BTreeMap<u64, Flight>, at: u64, end: u64, miss_bytes: u64) -> Span {
        let end = at.saturating_add(miss_bytes.min(PART_BYTES)).max(end.min(at.saturating_add(PART_BYTES)));
        let end = end.div_ceil(UNIT_BYTES).saturating_mul(UNIT_BYTES).min(self.object.size());
        let mut start = at / UNIT_BYTES * UNIT_BYTES;
        while let Some(gap) = self.gap(flights, Span::new(start, end - start)) {
            if gap.end() > at {
                return Span::new(gap.offset, gap.end() - gap.offset);
            }
            start = gap.end();
        }
        Span::new(at, end - at)
    }

    /// The first stretch of `span` that is neither here nor on its way.
    fn gap(&self, flights: &BTreeMap<u64, Flight>, span: Span) -> Option<Span> {
        for hole in self.object.missing(span) {
            let mut at = hole.offset;
            while at < hole.end() {
                if let Some(flight) = covering(flights, at) {
                    at = flight.end;
                    continue;
                }
                let next = flights.range(at..).next().map_or(u64::MAX, |(start, _)| *start);
                return Some(Span::new(at, hole.end().min(next) - at));
            }
        }
        None
    }

    fn take_off(
        self: &Arc<Self>,
        flights: &mut BTreeMap<u64, Flight>,
        way: &Way,
        span: Span,
        slot: Option<Slot>,
    ) -> News {
        let (told, news) = watch::channel(None);
        flights.insert(span.offset, Flight { end: span.end(), news: news.clone() });
        let (listed, way) = (Listed { content: self.clone(), start: span.offset }, way.clone());
        tokio::spawn(async move {
            let outcome = listed.content.fly(&way, span, &told).await;
            if let Err(error) = &outcome {
                tracing::debug!(?error, path = %listed.content.source().path, "a range did not come");
                if !error.is_passing() {
                    listed.content.take_back(&way, span).await;
                }
            }
            // Whoever hears that it ended can ask anew.
            drop(listed);
            told.send_replace(Some(outcome));
            drop(slot);
        });
        news
    }

    /// Forgets what came of a range whose answer failed its check, or was of another version.
    async fn take_back(&self, way: &Way, span: Span) {
        self.object.unmark(span);
        let (object, scope) = (self.object.clone(), way.scope.clone());
        let corrected = tokio::task::spawn_blocking(move || scope.correct(&object)).await;
        if let Err(error) = corrected.map_err(Error::internal).flatten() {
            tracing::warn!(?error, "it stays written down that a range is here which was taken back");
        }
    }

    async fn fly(&self, way: &Way, span: Span, told: &watch::Sender<Option<Result<()>>>) -> Result<()> {
        if !way.scope.try_admit(span.size) {
            let (object, scope) = (self.object.clone(), way.scope.clone());
            let stays = way.stays;
            let admitted = tokio::task::spawn_blocking(move || match stays {
                true => scope.admit(span.size),
                false => scope.admit_fetch(&object, span.size),
            });
            admitted.await.map_err(Error::internal)??;
        }
        let epoch = self.object.epoch();
        let node = self.source().node();
        let mut body = in_time(way.storage.read(&node, span)).await??;
        let mut batch = Vec::new();
        let (mut at, mut batch_bytes, mut ended) = (span.offset, 0, false);
        while !ended {
            // The last batch waits for the end of the answer, where the storage may still take back all that it sent.
            let is_last = at + batch_bytes as u64 == span.end();
            // What has come already joins the batch; a batch that would have to wait is written first.
            let piece = match body.next().now_or_never() {
                Some(piece) => piece,
                None if batch.is_empty() || is_last => in_time(body.next()).await?,
                None => {
                    at = self.land(at, &mut batch, &mut batch_bytes, epoch, told).await?;
                    continue;
                }
            };
            match piece.transpose() {
                Ok(Some(piece)) => {
                    batch_bytes += piece.len();
                    batch.push(piece);
                }
                Ok(None) => ended = true,
                Err(error) => {
                    if error.is_passing() && !is_last {
                        self.land(at, &mut batch, &mut batch_bytes, epoch, told).await?;
                    }
                    return Err(error);
                }
            }
            let end = at + batch_bytes as u64;
            if end > span.end() {
                return Err(Error::new(ErrorKind::Corrupt, "the storage sent more than was asked for"));
            }
            if ended || (batch_bytes >= BATCH_BYTES && end < span.end()) {
                at = self.land(at, &mut batch, &mut batch_bytes, epoch, told).await?;
            }
        }
        if at < span.end() {
            return Err(Error::new(ErrorKind::Unavailable(None), "the storage sent less than was asked for"));
        }
        Ok(())
    }

    /// Writes a batch and tells who waits for it; says where the next one goes.
    async fn land(
        &self,
        at: u64,
        batch: &mut Vec<bytes::Bytes>,
        batch_bytes: &mut usize,
        epoch: u64,
        told: &watch::Sender<Option<Result<()>>>,
    ) -> Result<u64> {
        let (pieces, size) = (std::mem::take(batch), std::mem::take(batch_bytes));
        if pieces.is_empty() {
            return Ok(at);
        }
        let object = self.object.clone();
        let write = move || {
            pieces.iter().try_fold(at, |at, piece| object.write_at(at, piece).map(|()| at + piece.len() as u64))
        };
        let end = match size <= SMALL_BYTES {
            true => write()?,
            false => tokio::task::spawn_blocking(write).await.map_err(Error::internal)??,
        };
        self.object.mark(Span::new(at, end - at), epoch);
        told.send_replace(None);
        Ok(end)
    }

    fn flights(&self) -> MutexGuard<'_, BTreeMap<u64, Flight>> {
        // A panic under this lock leaves at worst a range that is asked for again.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flight's place among the others, left however the flight ends.
struct Listed {
    content: Arc<Content>,
    start: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.content.flights().remove(&self.start);
    }
}

/// The flight whose range holds this byte.
fn covering(flights: &BTreeMap<u64, Flight>, at: u64) -> Option<&Flight> {
    flights.range(..=at).next_back().map(|(_, flight)| flight).filter(|flight| flight.end > at)
}

async fn in_time<T>(wait: impl Future<Output = T>) -> Result<T> {
    let late = || Error::new(ErrorKind::Unavailable(None), "the storage sent nothing for 60 seconds");
    tokio::time::timeout(SILENCE, wait).await.map_err(|_| late())
}
