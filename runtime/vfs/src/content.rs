//! Content of one version, read through the chunk cache.
//!
//! It knows nothing of handles or writers. A read is answered from the object's file if all of it is there. If not, the
//! first missing chunk starts a *flight*: one ranged request for a run of missing chunks, whose bytes go straight to the
//! file; whoever needs one of its chunks waits for that flight, so a chunk is asked for once however many read it. A
//! flight lives on its own: a reader that gives up does not waste what is on its way.
//!
//! Every request names the version, and the storage answers from that version or fails, so no file ever holds bytes of
//! two. Memory: the pieces of the answers under way, no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cache::{Object, Scope, Seen};
use causeway_storage::{Error, ErrorKind, Result, Span, Storage};
use futures::StreamExt;
use tokio::sync::watch;

/// The unit in which content is fetched: large enough that a request is worth its round trip, small enough for a random read.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;

/// The longest run of chunks in one request: 8 MiB.
pub(crate) const LONGEST_RUN: u64 = 8;

/// A read that gets no byte for so long has failed.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// Content of one version.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) object: Arc<Object>,
    source: Mutex<Seen>,
    flights: Mutex<HashMap<u64, Arc<Flight>>>,
    /// Whether it stays in the cache after the last close.
    pub(crate) keep: AtomicBool,
}

/// Ticks with every chunk that arrived; ends with how the flight ended.
type Flight = watch::Sender<Option<Result<()>>>;

/// What a flight needs.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) scope: Arc<Scope>,
}

impl Content {
    pub(crate) fn new(object: Arc<Object>, source: Seen) -> Content {
        Content { object, source: Mutex::new(source), flights: Mutex::default(), keep: AtomicBool::new(false) }
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

    /// The bytes of `span`, which lies within the content; on a miss, `run` chunks are asked for at once.
    pub(crate) async fn read(self: &Arc<Self>, way: &Way, span: Span, run: u64) -> Result<Vec<u8>> {
        if span.end() > self.object.size() {
            return Err(Error::internal("a read beyond the end of the content"));
        }
        loop {
            let object = self.object.clone();
            let read = tokio::task::spawn_blocking(move || -> Result<Option<Vec<u8>>> {
                let mut buffer = vec![0; usize::try_from(span.size).map_err(Error::internal)?];
                Ok(object.read_at(span.offset, &mut buffer)?.then_some(buffer))
            });
            if let Some(bytes) = read.await.map_err(Error::internal)?? {
                return Ok(bytes);
            }
            for hole in self.object.missing(span) {
                self.arrive(way, hole, run).await?;
            }
        }
    }

    /// Asks for the next chunks if nobody did, without waiting for them.
    pub(crate) fn read_ahead(self: &Arc<Self>, way: &Way, offset: u64, run: u64) {
        let first = offset / CHUNK_BYTES;
        let ahead = Span::new(first * CHUNK_BYTES, run * CHUNK_BYTES);
        let end = ahead.end().min(self.object.size());
        if ahead.offset >= end {
            return;
        }
        let mut flights = self.flights();
        let missing = self.object.missing(Span::new(ahead.offset, end - ahead.offset));
        let chunk = missing.iter().map(|hole| hole.offset / CHUNK_BYTES).find(|chunk| !flights.contains_key(chunk));
        // Half a run at least: else a sequential reader would ask for one chunk at a time.
        if let Some(chunk) = chunk.filter(|chunk| *chunk <= first + run / 2) {
            self.take_off(&mut flights, way, chunk, run);
        }
    }

    /// Waits until the hole's chunks are there.
    async fn arrive(self: &Arc<Self>, way: &Way, hole: Span, run: u64) -> Result<()> {
        let mut chunk = hole.offset / CHUNK_BYTES;
        while chunk * CHUNK_BYTES < hole.end() {
            let mut news = {
                let mut flights = self.flights();
                if self.object.missing(self.chunk_span(chunk)).is_empty() {
                    chunk += 1;
                    continue;
                }
                match flights.get(&chunk) {
                    Some(flight) => flight.subscribe(),
                    None => self.take_off(&mut flights, way, chunk, run),
                }
            };
            while !self.object.missing(self.chunk_span(chunk)).is_empty() {
                if let Some(ended) = news.borrow_and_update().clone() {
                    ended?;
                    // It ended well and the chunk is gone: emptied to make room. Ask again.
                    break;
                }
                if news.changed().await.is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn take_off(
        self: &Arc<Self>,
        flights: &mut HashMap<u64, Arc<Flight>>,
        way: &Way,
        first: u64,
        run: u64,
    ) -> watch::Receiver<Option<Result<()>>> {
        let chunks = self.object.size().div_ceil(CHUNK_BYTES);
        let wanted =
            |chunk: &u64| !flights.contains_key(chunk) && !self.object.missing(self.chunk_span(*chunk)).is_empty();
        let last = (first..chunks).take(run.clamp(1, LONGEST_RUN) as usize).take_while(wanted).last().unwrap_or(first);
        let (flight, news) = watch::channel(None);
        let flight = Arc::new(flight);
        (first..=last).for_each(|chunk| drop(flights.insert(chunk, flight.clone())));
        let (content, way) = (self.clone(), way.clone());
        tokio::spawn(async move {
            let outcome = content.fetch(&way, first, last, &flight).await;
            let mut flights = content.flights();
            (first..=last).for_each(|chunk| drop(flights.remove(&chunk)));
            flight.send_replace(Some(outcome));
        });
        news
    }

    async fn fetch(&self, way: &Way, first: u64, last: u64, flight: &Flight) -> Result<()> {
        let start = first * CHUNK_BYTES;
        let end = self.chunk_span(last).end();
        let span = Span::new(start, end - start);
        let (object, scope) = (self.object.clone(), way.scope.clone());
        tokio::task::spawn_blocking(move || scope.admit_fetch(&object, span.size)).await.map_err(Error::internal)??;
        let epoch = self.object.epoch();
        let node = self.source().node();
        let mut body = in_time(way.storage.read(&node, span)).await??;
        let mut at = start;
        let mut marked = start;
        while let Some(piece) = in_time(body.next()).await? {
            let piece = piece?;
            let (object, offset) = (self.object.clone(), at);
            at += piece.len() as u64;
            if at > end {
                return Err(Error::new(ErrorKind::Corrupt, "the storage sent more than was asked for"));
            }
            tokio::task::spawn_blocking(move || object.write_at(offset, &piece)).await.map_err(Error::internal)??;
            let whole = if at == end { end } else { at / CHUNK_BYTES * CHUNK_BYTES };
            if whole > marked {
                self.object.mark(Span::new(marked, whole - marked), epoch);
                marked = whole;
                flight.send_replace(None);
            }
        }
        if at < end {
            return Err(Error::new(ErrorKind::Unavailable(None), "the storage sent less than was asked for"));
        }
        Ok(())
    }

    fn chunk_span(&self, chunk: u64) -> Span {
        let start = chunk * CHUNK_BYTES;
        Span::new(start, CHUNK_BYTES.min(self.object.size().saturating_sub(start)))
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<u64, Arc<Flight>>> {
        // A panic under this lock leaves at worst a chunk that is asked for again.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn in_time<T>(wait: impl Future<Output = T>) -> Result<T> {
    let late = || Error::new(ErrorKind::Unavailable(None), "the storage sent nothing for 60 seconds");
    tokio::time::timeout(SILENCE, wait).await.map_err(|_| late())
}
