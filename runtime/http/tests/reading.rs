//! Planned reads: one gapless body of one version, or an error. Hostile cases first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use causeway_http::request::{AesCtr, Piece, Request, Response};
use causeway_http::transfer::{
    Check, Decoding, PlanCache, Ranges, Read, ReadPlan, ReadPlanner, Remote, Reuse, Segment, Verdict, read,
};
use causeway_storage::{Algorithm, DigestValue, Error, ErrorKind, Result, Span, collect};
use support::{Reply, Server, answer, egress_to, reply, serve, text};

fn content() -> Vec<u8> {
    (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A component's part: plans what it is told, explains by status.
struct Planner {
    remote: Mutex<Remote>,
    plans: AtomicU32,
    explained: Mutex<Vec<u16>>,
    asked: Mutex<Vec<Option<Span>>>,
}

impl Planner {
    fn of(remote: Remote) -> Arc<Planner> {
        Arc::new(Planner {
            remote: Mutex::new(remote),
            plans: AtomicU32::new(0),
            explained: Mutex::default(),
            asked: Mutex::default(),
        })
    }
}

#[async_trait]
impl ReadPlanner for Planner {
    async fn plan(&self, range: Option<Span>) -> Result<ReadPlan> {
        self.plans.fetch_add(1, Ordering::SeqCst);
        self.asked.lock().unwrap().push(range);
        Ok(ReadPlan::Remote(self.remote.lock().unwrap().clone()))
    }

    async fn explain(&self, answer: Response) -> Result<Verdict> {
        self.explained.lock().unwrap().push(answer.status);
        Ok(match answer.status {
            404 => Verdict::Failed(Error::not_found("the file")),
            412 => Verdict::Failed(Error::new(ErrorKind::PreconditionFailed, "changed")),
            429 => Verdict::Failed(Error::new(ErrorKind::RateLimited(None), "too fast")),
            403 => Verdict::Replan,
            _ => Verdict::Failed(Error::new(ErrorKind::Corrupt, "not what was planned")),
        })
    }

    async fn decode(&self, ticket: &str, _offset: u64, received: Bytes) -> Result<Bytes> {
        assert_eq!(ticket, "ticket");
        Ok(received.iter().map(|byte| byte ^ 0xff).collect())
    }
}

fn segment(request: Request, size: Option<u64>) -> Segment {
    Segment { offset: 0, size, request, ranges: Ranges::ByHeader, decoding: Decoding::Plain, check: None }
}

fn remote(server: &Server, size: usize) -> Remote {
    Remote {
        segments: vec![segment(Request::new("GET", server.url("/file")), Some(size as u64))],
        size: Some(size as u64),
        guard: Some(("etag".into(), "\"one\"".into())),
        reuse: Reuse::AnyRange,
        valid_ms: 60_000,
        parallel: 8,
        check: None,
    }
}

const ETAG: &[(&str, &str)] = &[("ETag", "\"one\"")];

async fn take(
    server: &Server,
    planner: &Arc<Planner>,
    plans: &Arc<PlanCache>,
    size: Option<u64>,
    span: Span,
) -> Result<Bytes> {
    let read_it = Read {
        egress: egress_to(server),
        planner: planner.clone(),
        plans: plans.clone(),
        key: "file".into(),
        size,
        span,
    };
    collect(read(read_it).await?, usize::MAX).await
}

/// Reads everything, by a plan for everything.
async fn take_all(server: &Server, planner: &Arc<Planner>, size: usize) -> Result<Bytes> {
    take(server, planner, &Arc::new(PlanCache::new()), Some(size as u64), Span::new(0, size as u64)).await
}

#[tokio::test]
async fn a_body_that_breaks_off_for_good_is_an_error() {
    let all = content();
    let server = Server::start(move |seen| {
        let full = serve(&content(), seen, ETAG);
        Reply::Then(full[..full.len().min(200)].to_vec())
    })
    .await;
    let planner = Planner::of(remote(&server, all.len()));
    assert!(take_all(&server, &planner, all.len()).await.unwrap_err().is_passing());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_where_it_broke() {
    let all = content();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        let full = serve(&content(), seen, ETAG);
        match count.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::Then(full[..30_000].to_vec()),
            _ => Reply::Raw(full),
        }
    })
    .await;
    let planner = Planner::of(remote(&server, all.len()));
    assert_eq!(take_all(&server, &planner, all.len()).await.unwrap(), all);
    assert_eq!(planner.plans.load(Ordering::SeqCst), 1);
    let ranges: Vec<_> = server.seen().iter().map(|seen| seen.range().unwrap().0).collect();
    assert!(ranges[0] == 0 && ranges[1] > 29_000 && ranges[2] > ranges[1] + 29_000, "{ranges:?}");
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let all = content();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            let full = serve(&content(), seen, ETAG);
            return Reply::Then(full[..30_000].to_vec());
        }
        let other = vec![7; 100_000];
        Reply::Raw(serve(&other, seen, &[("ETag", "\"two\"")]))
    })
    .await;
    let planner = Planner::of(remote(&server, all.len()));
    assert_eq!(take_all(&server, &planner, all.len()).await.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(*planner.explained.lock().unwrap(), [206]);
}

#[tokio::test]
async fn another_version_is_noticed_by_its_etag_where_the_plan_has_no_guard() {
    let all = content();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            let full = serve(&content(), seen, ETAG);
            return Reply::Then(full[..30_000].to_vec());
        }
        Reply::Raw(serve(&vec![7; 100_000], seen, &[("ETag", "\"two\"")]))
    })
    .await;
    let planner = Planner::of(Remote { guard: None, ..remote(&server, all.len()) });
    assert_eq!(take_all(&server, &planner, all.len()).await.unwrap_err().kind, ErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn without_guard_and_etag_nothing_is_taken_up() {
    let all = content();
    let server = Server::start(move |seen| {
        let full = serve(&content(), seen, &[]);
        if seen.range().unwrap().0 == 0 { Reply::Then(full[..30_000].to_vec()) } else { Reply::Raw(full) }
    })
    .await;
    let planner = Planner::of(Remote { guard: None, ..remote(&server, all.len()) });
    assert!(take_all(&server, &planner, all.len()).await.is_err());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_wrong_content_range_is_not_believed() {
    for range in
        ["bytes 1-10/100000", "bytes 0-9/99999", "bytes 0-10/100000", "bytes 9-0/100000", "items 0-9/100000", ""]
    {
        let server =
            Server::start(move |_| reply(206, &[("Content-Range", range), ("ETag", "\"one\"")], &[1; 10])).await;
        let planner = Planner::of(remote(&server, 100_000));
        let plans = Arc::new(PlanCache::new());
        let result = take(&server, &planner, &plans, Some(100_000), Span::new(0, 10)).await;
        assert_eq!(result.unwrap_err().kind, ErrorKind::Corrupt, "{range}");
    }
}

#[tokio::test]
async fn an_answer_of_the_wrong_size_is_not_believed() {
    let server = Server::start(|_| reply(200, ETAG, b"<html>log in</html>")).await;
    let planner = Planner::of(remote(&server, 100_000));
    assert_eq!(take_all(&server, &planner, 100_000).await.unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(*planner.explained.lock().unwrap(), [200]);
}

#[tokio::test]
async fn a_plan_that_contradicts_the_listed_size_means_that_the_file_changed() {
    let server = Server::start(|seen| Reply::Raw(serve(&content(), seen, ETAG))).await;
    let planner = Planner::of(remote(&server, 99_999));
    let plans = Arc::new(PlanCache::new());
    let result = take(&server, &planner, &plans, Some(100_000), Span::new(0, 10)).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn what_the_component_explains_comes_out() {
    for (status, kind) in [(404, ErrorKind::NotFound), (412, ErrorKind::PreconditionFailed)] {
        let server = Server::start(move |_| reply(status, &[], b"no")).await;
        let planner = Planner::of(remote(&server, 10));
        assert_eq!(take_all(&server, &planner, 10).await.unwrap_err().kind, kind);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_expired_plan_is_made_anew_twice_and_no_more() {
    let server = Server::start(|_| reply(403, &[], b"expired")).await;
    let planner = Planner::of(remote(&server, 10));
    assert!(take_all(&server, &planner, 10).await.is_err());
    assert_eq!(planner.plans.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_busy_provider_is_waited_for() {
    let all = content();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| match count.fetch_add(1, Ordering::SeqCst) {
        0 => reply(429, &[], b""),
        _ => Reply::Raw(serve(&content(), seen, ETAG)),
    })
    .await;
    let planner = Planner::of(remote(&server, all.len()));
    assert_eq!(take_all(&server, &planner, all.len()).await.unwrap(), all);
}

#[tokio::test]
async fn any_range_is_served_by_one_plan() {
    let all = content();
    let server = Server::start(|seen| Reply::Raw(serve(&content(), seen, ETAG))).await;
    let planner = Planner::of(remote(&server, all.len()));
    let plans = Arc::new(PlanCache::new());
    for (offset, size) in [(0u64, 10u64), (99_990, 10), (500, 70_000), (0, 100_000)] {
        let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(offset, size)).await.unwrap();
        assert_eq!(bytes, all[offset as usize..(offset + size) as usize]);
    }
    assert_eq!(planner.plans.load(Ordering::SeqCst), 1);
    assert_eq!(server.seen()[1].header("range"), Some("bytes=99990-99999"));
}

#[tokio::test]
async fn a_plan_for_this_range_serves_no_other_and_one_for_once_serves_once() {
    for (reuse, expected) in [(Reuse::ThisRange, 2), (Reuse::Once, 3)] {
        let server = Server::start(|seen| Reply::Raw(serve(&content(), seen, ETAG))).await;
        let planner = Planner::of(Remote { reuse, ..remote(&server, 100_000) });
        let plans = Arc::new(PlanCache::new());
        for span in [Span::new(5, 5), Span::new(5, 5), Span::new(50, 5)] {
            take(&server, &planner, &plans, Some(100_000), span).await.unwrap();
        }
        assert_eq!(planner.plans.load(Ordering::SeqCst), expected, "{reuse:?}");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_cut() {
    let server = Server::start(|_| reply(200, ETAG, &content())).await;
    let planner = Planner::of(remote(&server, 100_000));
    let plans = Arc::new(PlanCache::new());
    let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(1_000, 50)).await.unwrap();
    assert_eq!(bytes, content()[1_000..1_050]);
}

#[tokio::test]
async fn a_range_that_comes_with_a_200_is_taken_for_what_its_headers_say() {
    let server = Server::start(|seen| {
        let (first, last) = seen.range().unwrap();
        let range = format!("bytes {first}-{last}/100000");
        reply(200, &[ETAG[0], ("Content-Range", &range)], &content()[first..=last])
    })
    .await;
    let planner = Planner::of(remote(&server, 100_000));
    let plans = Arc::new(PlanCache::new());
    let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(70_000, 20_000)).await.unwrap();
    assert_eq!(bytes, content()[70_000..90_000]);
}

#[tokio::test]
async fn a_placed_range_stands_where_the_request_wants_it() {
    let server = Server::start(|seen| {
        assert_eq!(seen.header("range"), None);
        let (first, last) = seen.target().strip_prefix("/f/").unwrap().split_once('-').unwrap();
        reply(200, ETAG, &content()[first.parse().unwrap()..=last.parse::<usize>().unwrap()])
    })
    .await;
    let url = vec![text(&server.url("/f/")), Piece::FirstByte, text("-"), Piece::LastByte];
    let request = Request { url, ..Request::new("GET", "") };
    let placed = Segment { ranges: Ranges::Placed, ..segment(request, Some(100_000)) };
    let planner = Planner::of(Remote { segments: vec![placed], ..remote(&server, 100_000) });
    let plans = Arc::new(PlanCache::new());
    let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(70, 30)).await.unwrap();
    assert_eq!(bytes, content()[70..100]);
}

#[tokio::test]
async fn segments_follow_one_another_without_a_gap() {
    let server = Server::start(|seen| {
        let at: usize = seen.target().trim_start_matches('/').parse().unwrap();
        Reply::Raw(serve(&content()[at..(at + 30_000).min(100_000)], seen, &[]))
    })
    .await;
    let segments = (0..4u64).map(|i| {
        let (offset, size) = (i * 30_000, if i == 3 { 10_000 } else { 30_000 });
        let ranges = if i == 1 { Ranges::Whole } else { Ranges::ByHeader };
        let request = Request::new("GET", server.url(&format!("/{offset}")));
        Segment { offset, ranges, ..segment(request, Some(size)) }
    });
    let planner = Planner::of(Remote { segments: segments.collect(), guard: None, ..remote(&server, 100_000) });
    let plans = Arc::new(PlanCache::new());
    let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(29_000, 70_500)).await.unwrap();
    assert_eq!(bytes, content()[29_000..99_500]);
}

#[tokio::test]
async fn enciphered_content_is_deciphered_at_any_offset() {
    use aes::cipher::{KeyIvInit, StreamCipher};
    let cipher = AesCtr { key: vec![3; 16], counter: vec![5; 16] };
    let mut enciphered = content();
    ctr::Ctr64BE::<aes::Aes128>::new_from_slices(&cipher.key, &cipher.counter)
        .unwrap()
        .apply_keystream(&mut enciphered);
    let server = Server::start(move |seen| Reply::Raw(serve(&enciphered, seen, ETAG))).await;
    let request = Request::new("GET", server.url("/"));
    let one = Segment { decoding: Decoding::AesCtr(cipher), ..segment(request, Some(100_000)) };
    let planner = Planner::of(Remote { segments: vec![one], ..remote(&server, 100_000) });
    let plans = Arc::new(PlanCache::new());
    let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(12_345, 54_321)).await.unwrap();
    assert_eq!(bytes, content()[12_345..12_345 + 54_321]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_content_is_decompressed_and_a_cut_one_is_an_error() {
    for cut in [0, 9] {
        let compressed = gzip(&content());
        let server = Server::start(move |_| reply(200, &[], &compressed[..compressed.len() - cut])).await;
        let request = Request::new("GET", server.url("/"));
        let one = Segment { decoding: Decoding::Gunzip, ranges: Ranges::Whole, ..segment(request, None) };
        let planner = Planner::of(Remote { segments: vec![one], size: None, guard: None, ..remote(&server, 0) });
        let plans = Arc::new(PlanCache::new());
        let result = take(&server, &planner, &plans, None, Span::new(0, u64::MAX)).await;
        match cut {
            0 => assert_eq!(result.unwrap(), content()),
            _ => assert_eq!(result.unwrap_err().kind, ErrorKind::Corrupt),
        }
    }
}

#[tokio::test]
async fn a_component_decodes_whole_segments() {
    let inverted: Vec<u8> = content().iter().map(|byte| byte ^ 0xff).collect();
    let server = Server::start(move |_| reply(200, &[], &inverted)).await;
    let request = Request::new("GET", server.url("/"));
    let decoding = Decoding::ByComponent("ticket".into());
    let one = Segment { decoding, ranges: Ranges::Whole, ..segment(request, Some(100_000)) };
    let planner = Planner::of(Remote { segments: vec![one], guard: None, ..remote(&server, 100_000) });
    let plans = Arc::new(PlanCache::new());
    let bytes = take(&server, &planner, &plans, Some(100_000), Span::new(10, 20)).await.unwrap();
    assert_eq!(bytes, content()[10..30]);
}

#[tokio::test]
async fn content_of_unknown_size_comes_whole_or_not_at_all() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n".to_vec();
    let cases: [(Reply, Option<&[u8]>); 4] = [
        (Reply::Raw(answer(200, &[], b"abcd")), Some(b"abcd")),
        (Reply::Raw(chunked.clone()), Some(b"abcd")),
        (Reply::Then(chunked[..chunked.len() - 5].to_vec()), None),
        (Reply::Then(b"HTTP/1.1 200 OK\r\n\r\nabcd".to_vec()), None),
    ];
    for (reply, expected) in cases {
        let reply = Mutex::new(Some(reply));
        let server = Server::start(move |_| reply.lock().unwrap().take().unwrap_or(Reply::Then(Vec::new()))).await;
        let one = segment(Request { repeatable: false, ..Request::new("GET", server.url("/")) }, None);
        let planner = Planner::of(Remote { segments: vec![one], size: None, guard: None, ..remote(&server, 0) });
        let plans = Arc::new(PlanCache::new());
        let result = take(&server, &planner, &plans, None, Span::new(0, u64::MAX)).await;
        assert_eq!(result.ok().as_deref(), expected);
    }
}

#[tokio::test]
async fn a_digest_of_the_whole_is_verified() {
    for (good, value) in [(true, causeway_digest::digest_bytes(Algorithm::Sha1, &content())), (false, vec![0; 20])] {
        let server = Server::start(|seen| Reply::Raw(serve(&content(), seen, ETAG))).await;
        let check = Some(Check::Digest(DigestValue { algorithm: Algorithm::Sha1, value }));
        let planner = Planner::of(Remote { check, ..remote(&server, 100_000) });
        let result = take_all(&server, &planner, 100_000).await;
        assert_eq!(result.is_ok(), good);
        assert!(good || result.unwrap_err().kind == ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_read_beyond_the_end_is_refused() {
    let server = Server::start(|seen| Reply::Raw(serve(&content(), seen, ETAG))).await;
    let planner = Planner::of(remote(&server, 100_000));
    let plans = Arc::new(PlanCache::new());
    assert!(take(&server, &planner, &plans, Some(100_000), Span::new(99_999, 2)).await.is_err());
    assert!(take(&server, &planner, &plans, Some(100_000), Span::new(u64::MAX, 2)).await.is_err());
}
