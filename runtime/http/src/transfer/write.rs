//! Writing: the content is cut, sent part by part, and what the answers mean is asked of the component.
//!
//! The engine keeps a *record* in the write log: session, receipts, and how far a write in order has come. It is saved
//! when the session begins and after each part; saves that would overlap are joined, so many lanes cost one save at a
//! time. After a crash the record is loaded and the component asked (`resume`) what is left; a part counts as stored only
//! once it is in the record. Dropping the write aborts nothing, since the log knows how to go on.
//!
//! Lost answers are not conflicts: when the answer to a part is lost, the part is sent again where order does not matter,
//! else the component is asked where the write stands; and a failed precondition is believed only after the component said
//! that the write is not complete.
//!
//! Memory per write: two pieces of 256 KiB per lane (`outbody`), and the record.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use causeway_storage::{Error, ErrorKind, Notes, Result, Source, Span, WriteLog};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::part::{Sender, Sent};
use super::plan::{Cutting, Outcome, Part, PartPlan, Receipt, Remains, WritePlan, WritePlanner};
use super::record::Record;
use crate::egress::{Egress, back_off};

/// Sessions begun anew because one was lost, per write.
const MOST_RESTARTS: u32 = 2;

/// Tries of `finish` while the provider cannot now.
const MOST_FINISHES: u32 = 4;

/// Tries of `begin` and `resume` while the provider cannot now.
const MOST_ASKED: u32 = 4;

/// The longest that a provider can make such a try wait.
const LONGEST_HINT: Duration = Duration::from_secs(60);

/// Answers in a row that leave a write in order where it was.
const MOST_STANDSTILLS: u32 = 10;

/// Lanes, whatever a component asks for: each holds a connection and 512 KiB.
const MOST_LANES: u32 = 16;

/// Parts of one write: more would not fit the record.
const MOST_PARTS: u64 = 100_000;

/// Carries a write out. What ends `Pending` stays in the log, and the same write, asked for again, gives the same ticket: the
/// caller clears the log when that work has ended. An error that passes leaves the record in the log, so that the same write goes on later; any other
/// aborts what was begun.
pub async fn write(
    egress: Arc<Egress>,
    planner: Arc<dyn WritePlanner>,
    source: Arc<dyn Source>,
    log: Arc<dyn WriteLog>,
) -> Result<Outcome> {
    let mut restarts = 0;
    let mut interrupted = Record::load(log.as_ref(), source.size()).await?;
    if let Some(job) = interrupted.as_mut().and_then(|record| record.pending.take()) {
        return Ok(Outcome::Pending(job));
    }
    loop {
        let begun = match interrupted.take() {
            Some(record) => take_up(planner.as_ref(), record).await?,
            None => begin(planner.as_ref(), log.as_ref(), source.size()).await?,
        };
        let Begun::Writing(mut writing) = begun else {
            match begun {
                Begun::Complete(outcome) => return done(outcome, log.as_ref(), source.size()).await,
                _ => continue,
            }
        };
        let engine = Engine { egress: &egress, planner: &planner, source: &source, log: &log };
        match engine.run(&mut writing).await {
            Ok(End::Complete(outcome)) => return done(outcome, log.as_ref(), source.size()).await,
            Ok(End::Restart) if restarts < MOST_RESTARTS => {
                restarts += 1;
                Record::clear(log.as_ref()).await?;
            }
            Ok(End::Restart) => {
                engine.give_up(&writing.record).await;
                let message = "the provider lost the upload again and again";
                return Err(Error::new(ErrorKind::Unavailable(None), message));
            }
            Err(error) => return engine.fail(error, &writing.record).await,
        }
    }
}

/// A write that can be gone on with.
struct Writing {
    record: Record,
    first: Option<PartPlan>,
    left: Left,
}

/// What is still to be sent.
enum Left {
    /// From this byte on, in order.
    From(u64),
    /// These parts, in any order.
    Parts(Vec<Part>),
    /// Nothing: only `finish`.
    Finish,
}

enum Begun {
    Writing(Box<Writing>),
    Complete(Outcome),
    Anew,
}

enum End {
    Complete(Outcome),
    Restart,
}

async fn begin(planner: &dyn WritePlanner, log: &dyn WriteLog, size: u64) -> Result<Begun> {
    let upload = match patiently(|| planner.begin()).await? {
        WritePlan::Complete(outcome) => return Ok(Begun::Complete(outcome)),
        WritePlan::Upload(upload) => upload,
    };
    let record = Record::new(size, upload.session, upload.cutting)?;
    record.save(log).await?;
    let left = match in_order(record.cutting) {
        true => Left::From(0),
        false => Left::Parts(parts(size, record.cutting)?),
    };
    Ok(Begun::Writing(Box::new(Writing { record, first: upload.first, left })))
}

/// Goes on with a write of before.
async fn take_up(planner: &dyn WritePlanner, mut record: Record) -> Result<Begun> {
    let remains = match patiently(|| planner.resume(&record.session, &record.receipts)).await {
        Ok(remains) => remains,
        // A session that the component cannot make sense of is as good as none.
        Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Internal) => {
            tracing::warn!(?error, "an interrupted upload cannot be taken up: it begins anew");
            return Ok(Begun::Anew);
        }
        Err(error) => return Err(error),
    };
    let left = match remains {
        Remains::Complete(outcome) => return Ok(Begun::Complete(outcome)),
        Remains::Nothing => return Ok(Begun::Anew),
        Remains::At(progress) => Left::From(record.take(progress)?),
        Remains::Parts(there) => still_missing(&mut record, &there)?,
    };
    Ok(Begun::Writing(Box::new(Writing { record, first: None, left })))
}

/// A part is there if the provider has it and we its receipt.
fn still_missing(record: &mut Record, there: &[u32]) -> Result<Left> {
    let there: BTreeSet<u32> = there.iter().copied().collect();
    record.receipts.retain(|receipt| there.contains(&receipt.number));
    let held: BTreeSet<u32> = record.receipts.iter().map(|receipt| receipt.number).collect();
    let mut missing = parts(record.size, record.cutting)?;
    missing.retain(|part| !held.contains(&part.number));
    Ok(if missing.is_empty() { Left::Finish } else { Left::Parts(missing) })
}

fn in_order(cutting: Option<Cutting>) -> bool {
    cutting.is_some_and(|cutting| cutting.parallel <= 1)
}

/// Every part of the content.
fn parts(size: u64, cutting: Option<Cutting>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut offset = 0;
    loop {
        let number = u32::try_from(parts.len()).map_err(Error::internal)?;
        let part = part_at(size, cutting, number, offset)?;
        offset = part.span.end();
        parts.push(part);
        if part.last {
            return Ok(parts);
        }
        if parts.len() as u64 >= MOST_PARTS {
            return Err(Error::internal("the component cuts the content into more than 100,000 parts"));
        }
    }
}

/// The part that begins at this byte.
fn part_at(size: u64, cutting: Option<Cutting>, number: u32, offset: u64) -> Result<Part> {
    let most = match cutting {
        None => size,
        Some(cutting) if number == 0 => cutting.first_bytes,
        Some(cutting) => cutting.other_bytes,
    };
    let span = Span::new(offset, most.min(size.saturating_sub(offset)));
    if span.size == 0 && size > 0 {
        return Err(Error::internal("the component cuts the content into parts of no bytes"));
    }
    Ok(Part { number, span, last: span.end() == size, lane: 0 })
}

/// The number of the part that begins at, or holds, this byte.
fn number_at(cutting: Option<Cutting>, offset: u64) -> u32 {
    match cutting {
        Some(cutting) if offset > 0 => {
            let further = offset.saturating_sub(cutting.first_bytes) / cutting.other_bytes.max(1);
            u32::try_from(further.saturating_add(u64::from(offset >= cutting.first_bytes))).unwrap_or(u32::MAX)
        }
        _ => 0,
    }
}

/// Asks a planner, and again while it only cannot now: what it asks the provider meets the same weather as the parts.
async fn patiently<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> Result<T> {
    let mut tries = 0;
    loop {
        match ask().await {
            Err(error) if error.is_passing() && tries + 1 < MOST_ASKED => {
                tries += 1;
                wait_for(&error, tries).await;
            }
            answered => return answered,
        }
    }
}

/// As long as the provider asks for, within limits, else longer each time.
async fn wait_for(error: &Error, tries: u32) {
    match error.kind {
        ErrorKind::RateLimited(Some(hint)) | ErrorKind::Unavailable(Some(hint)) => {
            tokio::time::sleep(hint.min(LONGEST_HINT)).await;
        }
        _ => back_off(tries).await,
    }
}

/// What carries a write out.
struct Engine<'a> {
    egress: &'a Arc<Egress>,
    planner: &'a Arc<dyn WritePlanner>,
    source: &'a Arc<dyn Source>,
    log: &'a Arc<dyn WriteLog>,
}

impl Engine<'_> {
    async fn run(&self, writing: &mut Writing) -> Result<End> {
        let first = writing.first.take();
        let record = &mut writing.record;
        let sent = match std::mem::replace(&mut writing.left, Left::Finish) {
            Left::From(offset) => self.send_in_order(record, first, offset).await,
            Left::Parts(parts) => self.send_in_lanes(record, first, parts).await,
            Left::Finish => Ok(None),
        };
        let error = match sent {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => match self.finish(record).await {
                Ok(end) => return Ok(end),
                Err(error) => error,
            },
            Err(error) => error,
        };
        // The answer that said "done" may have been lost, and the one that says "conflict" be about our own write.
        let doubtful = matches!(error.kind, ErrorKind::PreconditionFailed | ErrorKind::AlreadyExists);
        if doubtful && let Ok(Remains::Complete(outcome)) = self.resume(record).await {
            return Ok(End::Complete(outcome));
        }
        Err(error)
    }

    /// One part after the other; each answer says where to go on.
    async fn send_in_order(
        &self,
        record: &mut Record,
        mut first: Option<PartPlan>,
        mut offset: u64,
    ) -> Result<Option<End>> {
        let mut standstills = 0;
        let mut taken = false;
        loop {
            // An empty file is one empty part.
            if offset >= record.size && (record.size > 0 || taken) {
                return Ok(None);
            }
            let part = part_at(record.size, record.cutting, number_at(record.cutting, offset), offset)?;
            let sent = self.sender(record, false).send(part, first.take()).await?;
            let before = offset;
            match sent {
                Sent::Stored(receipt) => {
                    offset = part.span.end();
                    record.store(receipt)?;
                    taken = true;
                }
                Sent::At(progress) => {
                    offset = record.take(progress)?;
                    taken = true;
                }
                Sent::Lost => match self.resume(record).await? {
                    Remains::At(progress) => offset = record.take(progress)?,
                    Remains::Parts(there) => {
                        // The parts are counted by their receipts: the one in doubt is there, or it is sent again.
                        if there.contains(&part.number) && record.receipts.iter().all(|held| held.number != part.number)
                        {
                            return Ok(Some(End::Restart));
                        }
                    }
                    Remains::Complete(outcome) => return Ok(Some(End::Complete(outcome))),
                    Remains::Nothing => return Ok(Some(End::Restart)),
                },
                Sent::Complete(outcome) => return Ok(Some(End::Complete(outcome))),
                Sent::Restart => return Ok(Some(End::Restart)),
            }
            standstills = if offset > before || record.size == 0 { 0 } else { standstills + 1 };
            if standstills >= MOST_STANDSTILLS {
                return Err(Error::new(ErrorKind::Unavailable(None), "the provider takes no more of the upload"));
            }
            record.save(self.log.as_ref()).await?;
        }
    }

    /// Several parts at once, each on a lane of its own; receipts are saved as they come.
    async fn send_in_lanes(
        &self,
        record: &mut Record,
        mut first: Option<PartPlan>,
        parts: Vec<Part>,
    ) -> Result<Option<End>> {
        let lanes = record.cutting.map_or(1, |cutting| cutting.parallel.clamp(1, MOST_LANES));
        let mut free: Vec<u32> = (0..lanes).rev().collect();
        let mut waiting: VecDeque<Part> = parts.into();
        let mut losses = 0;
        let mut under_way = FuturesUnordered::new();
        let mut saving: Option<BoxFuture<'_, Result<()>>> = None;
        let mut unsaved = false;
        loop {
            while let Some(lane) = free.pop() {
                let Some(part) = waiting.pop_front() else { break };
                let plan = first.take().filter(|_| part.number == 0);
                let sender = self.sender(record, true);
                let part = Part { lane, ..part };
                under_way.push(async move { (part, sender.send(part, plan).await) });
            }
            if saving.is_none() && std::mem::take(&mut unsaved) {
                let bytes = record.encode()?;
                saving = Some(async move { self.log.save(&bytes).await }.boxed());
            }
            if under_way.is_empty() && saving.is_none() {
                return Ok(None);
            }
            tokio::select! {
                Some((part, sent)) = under_way.next(), if !under_way.is_empty() => {
                    free.push(part.lane);
                    match sent? {
                        Sent::Stored(receipt) => {
                            record.store(receipt)?;
                            unsaved = true;
                        }
                        Sent::Complete(outcome) => return Ok(Some(End::Complete(outcome))),
                        Sent::Restart => return Ok(Some(End::Restart)),
                        Sent::Lost => match self.resume(record).await? {
                            Remains::Complete(outcome) => return Ok(Some(End::Complete(outcome))),
                            Remains::Nothing => return Ok(Some(End::Restart)),
                            Remains::At(_) | Remains::Parts(_) if losses < MOST_STANDSTILLS => {
                                losses += 1;
                                waiting.push_back(part);
                            }
                            Remains::At(_) | Remains::Parts(_) => {
                                let message = "the answers to an upload are lost again and again";
                                return Err(Error::new(ErrorKind::Unavailable(None), message));
                            }
                        },
                        Sent::At(_) => {
                            let detail = "the component answers a part in any order with a place in an order";
                            return Err(Error::internal(detail));
                        }
                    }
                }
                Some(saved) = async { Some(saving.as_mut()?.await) }, if saving.is_some() => {
                    saving = None;
                    saved?;
                }
            }
        }
    }

    fn sender(&self, record: &Record, any_order: bool) -> Sender {
        Sender {
            egress: self.egress.clone(),
            planner: self.planner.clone(),
            source: self.source.clone(),
            session: record.session.clone(),
            any_order: any_order && record.cutting.is_some(),
        }
    }

    /// Makes the parts a file. After a failure the component is asked first whether it was done.
    async fn finish(&self, record: &Record) -> Result<End> {
        let mut tries = 0;
        loop {
            let error = match self.planner.finish(&record.session, &record.receipts).await {
                Ok(outcome) => return Ok(End::Complete(outcome)),
                Err(error) => error,
            };
            tries += 1;
            if !error.is_passing() || tries >= MOST_FINISHES {
                return Err(error);
            }
            wait_for(&error, tries).await;
            match self.resume(record).await {
                Ok(Remains::Complete(outcome)) => return Ok(End::Complete(outcome)),
                Ok(Remains::Nothing) => return Ok(End::Restart),
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn resume(&self, record: &Record) -> Result<Remains> {
        patiently(|| self.planner.resume(&record.session, &record.receipts)).await
    }

    /// The write failed: what will pass leaves everything for later, and so does a refused credential, which is renewed and
    /// the write repeated.
    async fn fail(&self, error: Error, record: &Record) -> Result<Outcome> {
        if error.is_passing() || error.kind == ErrorKind::Unauthenticated {
            record.save(self.log.as_ref()).await?;
        } else {
            self.give_up(record).await;
        }
        Err(error)
    }

    async fn give_up(&self, record: &Record) {
        if let Err(error) = self.planner.abort(&record.session).await {
            tracing::warn!(?error, "what an abandoned upload left at the provider could not be removed");
        }
        if let Err(error) = Record::clear(self.log.as_ref()).await {
            tracing::warn!(?error, "the record of an abandoned upload could not be removed");
        }
    }
}

/// The write is done: the record goes, and what the provider shows must be as large as what was sent. Where the provider
/// goes on by itself, the record keeps the ticket until the caller clears the log.
async fn done(outcome: Outcome, log: &dyn WriteLog, size: u64) -> Result<Outcome> {
    match &outcome {
        Outcome::Pending(job) => Record::save_pending(log, size, job).await?,
        Outcome::Done(_) => Record::clear(log).await?,
    }
    if let Outcome::Done(Some(entry)) = &outcome {
        let exact = !entry.notes.contains(Notes::INEXACT_SIZE);
        if let Some(shown) = entry.size.filter(|shown| exact && *shown != size) {
            let message = format!("{size} bytes were sent and the provider shows {shown}");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
    }
    Ok(outcome)
}

/// Every part that a receipt can be about.
pub(super) fn receipt_of(part: &Part, receipt: String) -> Receipt {
    Receipt { number: part.number, span: part.span, receipt }
}
