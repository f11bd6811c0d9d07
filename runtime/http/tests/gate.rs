//! Where requests may go, and what arrives there. Hostile cases first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use causeway_http::request::{Piece, Request};
use causeway_http::uses::Place;
use causeway_http::{CallBudget, Gate, Origin, Pace, Policy};
use causeway_storage::ErrorKind;
use support::{Keeper, Reply, Server, answer, egress_to, egress_with, open_policy, placed, reply, secret, text, way};

fn ok() -> Reply {
    reply(200, &[], b"fine")
}

#[tokio::test]
async fn a_private_address_is_refused_and_the_error_says_what_to_do() {
    let server = Server::start(|_| ok()).await;
    let gate = Gate::new(Policy::default()).unwrap();
    let egress = gate.egress(way(&[&server.url("")], Arc::default(), &[]));
    let error = egress.send(&Request::new("GET", server.url("/")), &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("127.0.0.1") && error.message.contains("--allow-private-networks"), "{error}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_refused() {
    let server = Server::start(|_| ok()).await;
    let url = format!("http://localhost:{}", server.address.port());
    let gate = Gate::new(Policy::default()).unwrap();
    let egress = gate.egress(way(&[&url], Arc::default(), &[]));
    let error = egress.send(&Request::new("GET", url), &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn metadata_addresses_are_refused_even_where_everything_is_allowed() {
    let policy =
        Policy { allow_private: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], ..Policy::default() };
    let gate = Gate::new(policy).unwrap();
    for url in ["http://169.254.169.254/latest", "http://[fd00:ec2::254]/latest", "http://[::ffff:169.254.169.254]/"] {
        let egress = gate.egress(way(&[url], Arc::default(), &[]));
        let error = egress.send(&Request::new("GET", url), &CallBudget::new()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{url}");
    }
}

#[tokio::test]
async fn our_own_listeners_are_refused_by_any_name() {
    let server = Server::start(|_| ok()).await;
    let policy = Policy { closed: vec![server.address], ..open_policy() };
    let gate = Gate::new(policy).unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}", server.address.port());
        let egress = gate.egress(way(&[&url], Arc::default(), &[]));
        let error = egress.send(&Request::new("GET", url), &CallBudget::new()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_origin_that_is_not_declared_is_refused() {
    let server = Server::start(|_| ok()).await;
    let other = Server::start(|_| ok()).await;
    let egress = egress_to(&server);
    let error = egress.send(&Request::new("GET", other.url("/")), &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn no_later_piece_moves_the_host() {
    let server = Server::start(|_| ok()).await;
    let egress = egress_to(&server);
    let hosts = [server.url(""), "http://127.0.0.1".into(), "http://".into(), "".into()];
    for first in hosts {
        for second in [".evil.example/", "@evil.example/", ":80@evil.example/", "/fine"] {
            let url = vec![text(&first), text(second)];
            let request = Request { url, ..Request::new("GET", "") };
            let error = egress.send(&request, &CallBudget::new()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Denied, "{first}{second}");
        }
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_line_break_in_a_header_is_refused() {
    let server = Server::start(|_| ok()).await;
    for value in ["a\r\nX-Injected: b", "a\nb", "a\rb", "a\0b"] {
        let request = Request::new("GET", server.url("/")).with_header("X-Note", vec![text(value)]);
        let error = egress_to(&server).send(&request, &CallBudget::new()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn headers_that_belong_to_the_host_are_refused() {
    let server = Server::start(|_| ok()).await;
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Proxy-Authorization"] {
        let request = Request::new("GET", server.url("/")).with_header(name, vec![text("1")]);
        assert!(egress_to(&server).send(&request, &CallBudget::new()).await.is_err(), "{name}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn path_and_query_arrive_byte_for_byte() {
    let server = Server::start(|_| ok()).await;
    let egress = egress_to(&server);
    for rest in ["//a/../b/./c", "/%2e%2e/%2F%zz", "/a;b|c\\d?x={y}&p=[1]^", "/?a=+%20&&b", "/a/?"] {
        egress.send(&Request::new("GET", server.url(rest)), &CallBudget::new()).await.unwrap();
        assert_eq!(server.seen().last().unwrap().target(), rest);
    }
}

#[tokio::test]
async fn the_host_adds_host_length_and_user_agent_and_nothing_else() {
    let server = Server::start(|_| ok()).await;
    let egress = egress_to(&server);
    let request =
        Request::new("POST", server.url("/x")).with_body(vec![text("abc")]).with_header("X-One", vec![text("1")]);
    egress.send(&request, &CallBudget::new()).await.unwrap();
    let seen = server.seen();
    let mut names: Vec<&str> = seen[0]
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split(": ").next())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["Content-Length", "Host", "User-Agent", "X-One"]);
    assert_eq!(seen[0].header("user-agent"), Some("causeway/0.1"));
    assert_eq!(seen[0].header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(seen[0].body, b"abc");
}

#[tokio::test]
async fn a_redirect_to_an_undeclared_host_is_refused_and_nothing_arrives_there() {
    let other = Server::start(|_| ok()).await;
    let location = other.url("/steal");
    let server = Server::start(move |_| reply(302, &[("Location", &location)], b"")).await;
    let uses = [("token", placed(Place::Header("authorization".into()), "Bearer "))];
    let egress = egress_with(&server, Keeper::with(&[("token", "t0ken-t0ken")]), &uses);
    let request =
        Request::new("GET", server.url("/")).with_header("Authorization", vec![text("Bearer "), secret("token")]);
    let error = egress.send(&Request { redirects: 3, ..request }, &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer t0ken-t0ken"));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_redirect_to_another_declared_origin_leaves_the_secrets_behind() {
    let other = Server::start(|_| ok()).await;
    let location = other.url("/elsewhere");
    let server = Server::start(move |_| reply(307, &[("Location", &location)], b"")).await;
    let uses = [("token", placed(Place::Header("authorization".into()), "Bearer "))];
    let keeper = Arc::new(Keeper::with(&[("token", "t0ken-t0ken")]));
    let gate = Gate::new(open_policy()).unwrap();
    let egress = gate.egress(way(&[&server.url(""), &other.url("")], keeper, &uses));
    let request = Request::new("GET", server.url("/"))
        .with_header("Authorization", vec![text("Bearer "), secret("token")])
        .with_header("X-Plain", vec![text("p")]);
    let response = egress.send(&Request { redirects: 1, ..request }, &CallBudget::new()).await.unwrap();
    assert_eq!(response.status, 200);
    let seen = other.seen();
    assert!(!seen[0].head.contains("t0ken"), "{}", seen[0].head);
    assert_eq!(seen[0].header("x-plain"), Some("p"));
}

#[tokio::test]
async fn a_redirect_on_the_same_origin_keeps_the_secrets() {
    let server = Server::start(|seen| match seen.target() {
        "/a" => reply(302, &[("Location", "/b")], b""),
        _ => ok(),
    })
    .await;
    let uses = [("token", placed(Place::Header("authorization".into()), "Bearer "))];
    let egress = egress_with(&server, Keeper::with(&[("token", "t0ken-t0ken")]), &uses);
    let request =
        Request::new("GET", server.url("/a")).with_header("Authorization", vec![text("Bearer "), secret("token")]);
    egress.send(&Request { redirects: 1, ..request }, &CallBudget::new()).await.unwrap();
    assert_eq!(server.seen()[1].header("authorization"), Some("Bearer t0ken-t0ken"));
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_asked_and_no_more() {
    let server = Server::start(|_| reply(302, &[("Location", "/again")], b"")).await;
    let request = Request { redirects: 2, ..Request::new("GET", server.url("/")) };
    let response = egress_to(&server).send(&request, &CallBudget::new()).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn https_is_never_left_for_http() {
    let plain = Server::start(|_| ok()).await;
    let location = plain.url("/");
    let (server, root) =
        Server::start_tls(&["provider.example"], move |_| reply(302, &[("Location", &location)], b"")).await;
    let egress_map = vec![("provider.example".into(), server.address)];
    let gate = Gate::new(Policy { egress_map, extra_roots: vec![root], ..open_policy() }).unwrap();
    let egress = gate.egress(way(&["https://provider.example", &plain.url("")], Arc::default(), &[]));
    let request = Request { redirects: 1, ..Request::new("GET", "https://provider.example/") };
    let error = egress.send(&request, &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(plain.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let (server, _root) = Server::start_tls(&["provider.example"], |_| ok()).await;
    let egress_map = vec![("provider.example".into(), server.address)];
    let gate = Gate::new(Policy { egress_map, ..open_policy() }).unwrap();
    let egress = gate.egress(way(&["https://provider.example"], Arc::default(), &[]));
    let error = egress.send(&Request::new("GET", "https://provider.example/"), &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable(None));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_vouched_certificate_for_another_name_is_refused() {
    let (server, root) = Server::start_tls(&["other.example"], |_| ok()).await;
    let egress_map = vec![("provider.example".into(), server.address)];
    let gate = Gate::new(Policy { egress_map, extra_roots: vec![root], ..open_policy() }).unwrap();
    let egress = gate.egress(way(&["https://provider.example"], Arc::default(), &[]));
    assert!(egress.send(&Request::new("GET", "https://provider.example/"), &CallBudget::new()).await.is_err());
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_never_answers_costs_no_more_than_its_patience() {
    let server = Server::start(|_| Reply::Silence).await;
    let request = Request { patience_ms: Some(50), repeatable: false, ..Request::new("GET", server.url("/")) };
    let begin = std::time::Instant::now();
    let error = egress_to(&server).send(&request, &CallBudget::new()).await.unwrap_err();
    assert!(error.is_passing());
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn only_a_repeatable_request_goes_out_again_when_the_connection_breaks() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let server = Server::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) % 3 {
        2 => ok(),
        _ => Reply::Then(Vec::new()),
    })
    .await;
    let egress = egress_to(&server);
    let response = egress.send(&Request::new("GET", server.url("/")), &CallBudget::new()).await.unwrap();
    assert_eq!((response.status, count.load(Ordering::SeqCst)), (200, 3));
    let error = egress.send(&Request::new("POST", server.url("/")), &CallBudget::new()).await.unwrap_err();
    assert!(error.is_passing());
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_status_is_an_answer_and_never_tried_again() {
    let server = Server::start(|_| reply(503, &[("Retry-After", "9")], b"busy")).await;
    let response = egress_to(&server).send(&Request::new("GET", server.url("/")), &CallBudget::new()).await.unwrap();
    assert_eq!((response.status, response.header("retry-after")), (503, Some("9")));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn connections_are_used_again_but_never_by_another_tenant() {
    let server = Server::start(|_| ok()).await;
    let gate = Gate::new(open_policy()).unwrap();
    let one = gate.egress(way(&[&server.url("")], Arc::default(), &[]));
    let other =
        gate.egress(causeway_http::Way { tenant: "other".into(), ..way(&[&server.url("")], Arc::default(), &[]) });
    let request = Request::new("GET", server.url("/"));
    one.send(&request, &CallBudget::new()).await.unwrap();
    // The connection is laid to rest by a task of its own.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    one.send(&request, &CallBudget::new()).await.unwrap();
    other.send(&request, &CallBudget::new()).await.unwrap();
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn a_byte_that_came_unasked_is_not_taken_for_the_next_answer() {
    let smuggled = answer(200, &[], b"smuggled");
    let first = [answer(200, &[], b"fine"), smuggled].concat();
    let server = Server::start(move |seen| match seen.connection {
        0 => Reply::Raw(first.clone()),
        _ => reply(200, &[], b"honest"),
    })
    .await;
    let egress = egress_to(&server);
    let request = Request::new("GET", server.url("/"));
    assert_eq!(&egress.send(&request, &CallBudget::new()).await.unwrap().body[..], b"fine");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(&egress.send(&request, &CallBudget::new()).await.unwrap().body[..], b"honest");
}

#[tokio::test]
async fn an_answer_larger_than_8_mib_is_an_error() {
    let server = Server::start(|_| reply(200, &[], &vec![b'x'; 8 * 1024 * 1024 + 1])).await;
    let error = egress_to(&server).send(&Request::new("GET", server.url("/")), &CallBudget::new()).await.unwrap_err();
    assert!(error.message.contains("8 MiB"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let server = Server::start(|_| Reply::Then(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec())).await;
    let request = Request { repeatable: false, ..Request::new("GET", server.url("/")) };
    assert!(egress_to(&server).send(&request, &CallBudget::new()).await.is_err());
}

#[tokio::test]
async fn a_call_sends_at_most_64_requests() {
    let server = Server::start(|_| ok()).await;
    let (egress, call) = (egress_to(&server), CallBudget::new());
    let request = Request::new("GET", server.url("/"));
    for _ in 0..64 {
        egress.send(&request, &call).await.unwrap();
    }
    assert!(egress.send(&request, &call).await.is_err());
    assert_eq!(server.seen().len(), 64);
}

#[tokio::test]
async fn brackets_that_do_not_match_and_lists_too_long_are_refused() {
    use causeway_http::request::Wrap;
    let server = Server::start(|_| ok()).await;
    let open = || Piece::Open(Wrap::Base64);
    let deep: Vec<Piece> = std::iter::repeat_with(open).take(5).chain(std::iter::repeat_n(Piece::Close, 5)).collect();
    for body in [vec![open()], vec![Piece::Close], deep, vec![text("x"); 257]] {
        let request = Request::new("POST", server.url("/")).with_body(body);
        assert_eq!(egress_to(&server).send(&request, &CallBudget::new()).await.unwrap_err().kind, ErrorKind::Invalid);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_pace_keeps_requests_apart() {
    let server = Server::start(|_| ok()).await;
    let gate = Gate::new(open_policy()).unwrap();
    let mut slow = way(&[&server.url("")], Arc::default(), &[]);
    let origins = vec![Origin::of_endpoint(&server.url(""), false).unwrap()];
    slow.paces = vec![Pace { origins, interval_ms: 30, burst: 1, parallel: 1 }];
    let egress = gate.egress(slow);
    let begin = std::time::Instant::now();
    for _ in 0..4 {
        egress.send(&Request::new("GET", server.url("/")), &CallBudget::new()).await.unwrap();
    }
    assert!(begin.elapsed() >= std::time::Duration::from_millis(90));
}

#[tokio::test]
async fn a_foreign_host_needs_a_grant_and_an_answer_that_named_it() {
    let server = Server::start(|_| reply(200, &[], br#"{"url":"https:\/\/cdn.example\/f"}"#)).await;
    let request = Request::new("GET", server.url("/"));
    let gate = Gate::new(open_policy()).unwrap();
    let call = CallBudget::new();
    let refused = gate.egress(way(&[&server.url("")], Arc::default(), &[]));
    assert!(refused.allow_foreign("https://cdn.example/f", &call).is_err());
    let mut granted = way(&[&server.url("")], Arc::default(), &[]);
    granted.foreign_hosts = true;
    let granted = gate.egress(granted);
    assert!(granted.allow_foreign("https://cdn.example/f", &call).is_err());
    granted.send(&request, &call).await.unwrap();
    granted.allow_foreign("https://cdn.example/f", &call).unwrap();
    assert!(granted.allow_foreign("http://cdn.example/f", &call).is_err());
    assert!(granted.allow_foreign("https://dn.example/f", &call).is_err());
    let secretly = Request::new("GET", "https://cdn.example/f")
        .with_header("Authorization", vec![text("Bearer "), secret("access-token")]);
    let error = granted.send(&secretly, &call).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
}
