//! Planned writes: what was acknowledged is complete at the provider, whatever breaks. Hostile cases first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use causeway_http::request::{Piece, Request, Response};
use causeway_http::transfer::{
    Cutting, Outcome, Part, PartAnswer, PartPlan, Progress, Receipt, Remains, Upload, WritePlan, WritePlanner, write,
};
use causeway_storage::{Entry, Error, ErrorKind, MemorySource, Result, Source, WriteLog};
use support::{Reply, Server, egress_to, reply};

const SIZE: usize = 1_000_003;

fn content() -> Bytes {
    (0..SIZE as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// The provider's side: parts by number, or one growing file.
#[derive(Default)]
struct Store {
    parts: BTreeMap<u32, Vec<u8>>,
    file: Option<Vec<u8>>,
    finishes: u32,
}

/// A component's part: multipart uploads, or one in order.
struct Planner {
    server: Server,
    store: Arc<Mutex<Store>>,
    cutting: Option<Cutting>,
    in_order: bool,
    begins: AtomicU32,
    aborts: AtomicU32,
    resumes: AtomicU32,
    lanes: Mutex<Vec<u32>>,
    /// The answer to `finish` is lost, though it was carried out.
    finish_lost: AtomicBool,
    repeatable: bool,
}

impl Planner {
    fn parts(&self) -> Vec<u8> {
        self.store.lock().unwrap().parts.values().flatten().copied().collect()
    }

    fn entry() -> Outcome {
        Outcome::Done(Some(Entry::file("file", SIZE as u64)))
    }
}

#[async_trait]
impl WritePlanner for Planner {
    async fn begin(&self) -> Result<WritePlan> {
        let session = self.begins.fetch_add(1, Ordering::SeqCst);
        self.store.lock().unwrap().parts.clear();
        Ok(WritePlan::Upload(Upload { session: format!("s{session}"), cutting: self.cutting, first: None }))
    }

    async fn plan_part(&self, session: &str, part: &Part) -> Result<PartPlan> {
        let url = self.server.url(&format!("/{session}/{}/{}", part.number, part.span.offset));
        let request = Request::new("PUT", url).with_body(vec![Piece::Content(part.span)]);
        Ok(PartPlan { request: Request { repeatable: self.repeatable, ..request }, valid_ms: 60_000, once: false })
    }

    async fn accept_part(&self, _session: &str, part: &Part, answer: Response) -> Result<PartAnswer> {
        self.lanes.lock().unwrap().push(part.lane);
        match answer.status {
            200 if self.in_order => Ok(PartAnswer::At(Progress { offset: part.span.end(), session: None })),
            200 => Ok(PartAnswer::Stored(format!("r{}", part.number))),
            409 => Ok(PartAnswer::Again(1)),
            410 => Ok(PartAnswer::Restart),
            507 => Err(Error::new(ErrorKind::QuotaExceeded, "full")),
            status => {
                Err(Error::new(ErrorKind::Unavailable(Some(std::time::Duration::from_millis(1))), status.to_string()))
            }
        }
    }

    async fn finish(&self, _session: &str, receipts: &[Receipt]) -> Result<Outcome> {
        let numbers: Vec<u32> = receipts.iter().map(|receipt| receipt.number).collect();
        let parts = self.parts();
        let mut store = self.store.lock().unwrap();
        store.finishes += 1;
        if store.file.is_some() {
            return Err(Error::new(ErrorKind::PreconditionFailed, "another version stands there"));
        }
        if !self.in_order {
            assert_eq!(numbers, store.parts.keys().copied().collect::<Vec<_>>());
            assert!(receipts.iter().all(|receipt| receipt.receipt == format!("r{}", receipt.number)));
        }
        store.file = Some(parts);
        if self.finish_lost.swap(false, Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::PreconditionFailed, "our own write stands there"));
        }
        Ok(Planner::entry())
    }

    async fn abort(&self, _session: &str) -> Result<()> {
        self.aborts.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn resume(&self, session: &str, _receipts: &[Receipt]) -> Result<Remains> {
        self.resumes.fetch_add(1, Ordering::SeqCst);
        let current = format!("s{}", self.begins.load(Ordering::SeqCst).saturating_sub(1));
        let store = self.store.lock().unwrap();
        Ok(if store.file.is_some() {
            Remains::Complete(Planner::entry())
        } else if session != current {
            Remains::Nothing
        } else if self.in_order {
            let offset = store.parts.values().map(|part| part.len() as u64).sum();
            Remains::At(Progress { offset, session: None })
        } else {
            Remains::Parts(store.parts.keys().copied().collect())
        })
    }
}

/// A log in memory that can stop the write after so many saves.
#[derive(Default)]
struct Log {
    record: Mutex<Vec<u8>>,
    saves: AtomicU32,
    crash_at: Option<u32>,
    crashed: tokio::sync::Notify,
}

#[async_trait]
impl WriteLog for Log {
    async fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.record.lock().unwrap().clone()).filter(|record| !record.is_empty()))
    }

    async fn save(&self, record: &[u8]) -> Result<()> {
        let save = self.saves.fetch_add(1, Ordering::SeqCst);
        if self.crash_at == Some(save) {
            // The process is gone: nothing returns any more.
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
        *self.record.lock().unwrap() = record.to_vec();
        Ok(())
    }
}

/// A provider that stores parts, after `fault` had a say about the n-th request.
async fn stage(
    cutting: Option<Cutting>,
    in_order: bool,
    fault: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static,
) -> Arc<Planner> {
    let store: Arc<Mutex<Store>> = Arc::default();
    let kept = store.clone();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        let names: Vec<&str> = seen.target().split('/').collect();
        let number = names[2].parse().unwrap();
        let nth = count.fetch_add(1, Ordering::SeqCst);
        let fault = fault(nth);
        // What is answered with an error was not stored; what is not answered at all was.
        if matches!(fault, None | Some(Reply::Then(_) | Reply::Silence)) {
            kept.lock().unwrap().parts.insert(number, seen.body.clone());
        }
        fault.unwrap_or_else(|| reply(200, &[], b""))
    })
    .await;
    Arc::new(Planner {
        server,
        store,
        cutting,
        in_order,
        begins: AtomicU32::new(0),
        aborts: AtomicU32::new(0),
        resumes: AtomicU32::new(0),
        lanes: Mutex::default(),
        finish_lost: AtomicBool::new(false),
        repeatable: false,
    })
}

fn lanes(parallel: u32) -> Option<Cutting> {
    Some(Cutting { first_bytes: 100_000, other_bytes: 150_000, parallel })
}

async fn run(planner: &Arc<Planner>, log: Arc<Log>) -> Result<Outcome> {
    let source: Arc<dyn Source> = Arc::new(MemorySource(content()));
    write(egress_to(&planner.server), planner.clone(), source, log).await
}

/// Runs until the crash, if it comes, and once more with what the log had kept.
async fn crash_and_go_on(planner: &Arc<Planner>, crash_at: u32) {
    let log = Arc::new(Log { crash_at: Some(crash_at), ..Log::default() });
    let crashed = tokio::select! {
        outcome = run(planner, log.clone()) => { outcome.unwrap(); false }
        () = log.crashed.notified() => true,
    };
    if crashed {
        let record = Mutex::new(log.record.lock().unwrap().clone());
        run(planner, Arc::new(Log { record, ..Log::default() })).await.unwrap();
    }
}

fn assert_complete(planner: &Planner) {
    assert_eq!(planner.store.lock().unwrap().file.as_deref(), Some(&content()[..]));
}

#[tokio::test]
async fn a_crash_after_any_step_loses_nothing_in_lanes() {
    for crash_at in 0..9 {
        let planner = stage(lanes(3), false, |_| None).await;
        crash_and_go_on(&planner, crash_at).await;
        assert_complete(&planner);
        assert_eq!(planner.store.lock().unwrap().finishes, 1, "{crash_at}");
    }
}

#[tokio::test]
async fn a_crash_after_any_step_loses_nothing_in_order() {
    for crash_at in 0..9 {
        let planner = stage(lanes(1), true, |_| None).await;
        crash_and_go_on(&planner, crash_at).await;
        assert_complete(&planner);
    }
}

#[tokio::test]
async fn a_lost_answer_to_any_part_is_no_failure() {
    for in_order in [false, true] {
        for lost in 0..7 {
            let cutting = lanes(if in_order { 1 } else { 2 });
            let planner = stage(cutting, in_order, move |nth| (nth == lost).then(|| Reply::Then(Vec::new()))).await;
            run(&planner, Arc::default()).await.unwrap();
            assert_complete(&planner);
            assert_eq!(planner.begins.load(Ordering::SeqCst), 1);
        }
    }
}

#[tokio::test]
async fn a_precondition_that_our_own_write_failed_is_success() {
    let planner = stage(lanes(2), false, |_| None).await;
    planner.finish_lost.store(true, Ordering::SeqCst);
    run(&planner, Arc::default()).await.unwrap();
    assert_complete(&planner);
    assert_eq!((planner.resumes.load(Ordering::SeqCst), planner.aborts.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn a_final_failure_aborts_and_forgets_and_a_passing_one_keeps_everything() {
    for (status, aborts, kept) in [(507, 1, false), (503, 0, true)] {
        let planner = stage(lanes(1), false, move |nth| (nth >= 2).then(|| reply(status, &[], b""))).await;
        let log = Arc::new(Log::default());
        let error = run(&planner, log.clone()).await.unwrap_err();
        assert_eq!(error.is_passing(), kept);
        assert_eq!(planner.aborts.load(Ordering::SeqCst), aborts);
        assert_eq!(log.load().await.unwrap().is_some(), kept);
    }
}

#[tokio::test]
async fn a_part_is_sent_again_when_asked_for_and_only_so_often() {
    let planner = stage(lanes(2), false, |nth| (nth < 3).then(|| reply(409, &[], b""))).await;
    run(&planner, Arc::default()).await.unwrap();
    assert_complete(&planner);
    let planner = stage(None, false, |_| Some(reply(409, &[], b""))).await;
    assert!(run(&planner, Arc::default()).await.unwrap_err().is_passing());
    assert_eq!(planner.server.seen().len(), 11);
}

#[tokio::test]
async fn a_lost_session_is_begun_anew_twice_and_no_more() {
    let planner = stage(lanes(1), false, |nth| (nth == 1 || nth == 3).then(|| reply(410, &[], b""))).await;
    run(&planner, Arc::default()).await.unwrap();
    assert_complete(&planner);
    assert_eq!(planner.begins.load(Ordering::SeqCst), 3);
    let planner = stage(lanes(1), false, |_| Some(reply(410, &[], b""))).await;
    assert!(run(&planner, Arc::default()).await.is_err());
    assert_eq!(planner.begins.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn parts_are_cut_exactly_and_each_has_its_length() {
    let planner = stage(lanes(3), false, |_| None).await;
    run(&planner, Arc::default()).await.unwrap();
    let seen = planner.server.seen();
    assert!(seen.iter().all(|seen| seen.header("transfer-encoding").is_none()));
    let mut lengths: Vec<usize> =
        seen.iter().map(|seen| seen.header("content-length").unwrap().parse().unwrap()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [3, 100_000, 150_000, 150_000, 150_000, 150_000, 150_000, 150_000]);
    assert!(planner.lanes.lock().unwrap().iter().all(|lane| *lane < 3));
}

#[tokio::test]
async fn a_record_of_other_content_is_not_gone_on_with() {
    let planner = stage(lanes(1), false, |_| None).await;
    let log = Log::default();
    *log.record.lock().unwrap() = br#"{"format":1,"size":5,"session":"old","cutting":null,"receipts":[]}"#.to_vec();
    run(&planner, Arc::new(log)).await.unwrap();
    assert_eq!(planner.resumes.load(Ordering::SeqCst), 0);
    assert_complete(&planner);
}

#[tokio::test]
async fn an_early_answer_is_taken() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 512];
        let _ = stream.read(&mut head).await;
        stream.write_all(b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull").await.unwrap();
        // The rest of the body is never read, and the connection stays.
        std::future::pending::<()>().await;
    });
    let mut other = Server::start(|_| reply(200, &[], b"")).await;
    other.address = address;
    let source: Arc<dyn Source> = Arc::new(MemorySource(Bytes::from(vec![1; 32 * 1024 * 1024])));
    let body = vec![Piece::Content(causeway_storage::Span::new(0, source.size()))];
    let request = Request::new("PUT", other.url("/big")).with_body(body);
    let answer = egress_to(&other).upload(&request, &source).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (507, &b"full"[..]));
}

#[tokio::test]
async fn a_digest_of_the_content_stands_where_it_was_asked_for() {
    use causeway_http::request::Wrap;
    use causeway_storage::{Algorithm, Span};
    let server = Server::start(|_| reply(200, &[], b"")).await;
    let source: Arc<dyn Source> = Arc::new(MemorySource(content()));
    let value = vec![
        Piece::Open(Wrap::Base64),
        Piece::Open(Wrap::Digest(Algorithm::Md5)),
        Piece::Content(Span::new(0, SIZE as u64)),
        Piece::Close,
        Piece::Close,
    ];
    let request = Request::new("PUT", server.url("/")).with_header("Content-MD5", value);
    let request = request.with_body(vec![Piece::Content(Span::new(0, SIZE as u64))]);
    egress_to(&server).upload(&request, &source).await.unwrap();
    let seen = server.seen();
    let expected = data_encoding::BASE64.encode(&causeway_digest::digest_bytes(Algorithm::Md5, &content()));
    assert_eq!(seen[0].header("content-md5"), Some(expected.as_str()));
    assert_eq!(seen[0].body, content());
}
