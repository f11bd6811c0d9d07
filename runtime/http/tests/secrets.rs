//! Where secrets may stand. Hostile cases first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::type_complexity, reason = "tests")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use causeway_http::request::{AesCtr, Capture, Location, Piece, Request, SecretRef, Wrap};
use causeway_http::uses::{Hash, HmacUse, Place, Placement, SecretUse};
use causeway_http::{CallBudget, Gate};
use causeway_storage::{Algorithm, Error, ErrorKind, MemorySource, Source, Span};
use data_encoding::{BASE64, HEXLOWER};
use support::{Keeper, Reply, Server, egress_with, open_policy, placed, reply, secret, text, way};

const KEY: &str = "s3cr3t-k3y&\"<x>";

async fn server() -> Server {
    Server::start(|_| reply(200, &[], b"fine")).await
}

/// Sends with one secret, `key`, that may be used so.
async fn send(server: &Server, uses: SecretUse, request: Request) -> Result<(), Error> {
    let egress = egress_with(server, Keeper::with(&[("key", KEY)]), &[("key", uses)]);
    egress.send(&request, &CallBudget::new()).await.map(|_| ())
}

async fn refused(uses: SecretUse, request: impl Fn(&Server) -> Request) {
    let server = server().await;
    let error = send(&server, uses, request(&server)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
    assert!(!error.message.contains(KEY) && !error.detail.contains(KEY));
    assert!(server.seen().is_empty());
}

fn escaped(wrap: Wrap) -> Vec<Piece> {
    vec![Piece::Open(wrap), secret("key"), Piece::Close]
}

fn header_use() -> SecretUse {
    placed(Place::Header("x-key".into()), "")
}

#[tokio::test]
async fn an_undeclared_header_is_refused() {
    refused(header_use(), |s| Request::new("GET", s.url("/")).with_header("X-Meta", vec![secret("key")])).await;
}

#[tokio::test]
async fn a_secret_without_any_use_is_refused() {
    refused(SecretUse::default(), |s| Request::new("GET", s.url("/")).with_header("X-Key", vec![secret("key")])).await;
}

#[tokio::test]
async fn a_path_is_refused_whatever_is_declared() {
    for at in [Place::Query("a".into()), Place::QueryRest, Place::Header("x-key".into())] {
        refused(placed(at, ""), |s| {
            let url = vec![text(&s.url("/p/")), Piece::Open(Wrap::Percent), secret("key"), Piece::Close];
            Request { url, ..Request::new("GET", "") }
        })
        .await;
    }
}

#[tokio::test]
async fn a_host_is_refused() {
    refused(header_use(), |_| Request {
        url: vec![text("http://"), secret("key"), text("/")],
        ..Request::new("GET", "")
    })
    .await;
}

#[tokio::test]
async fn a_declared_header_is_refused_without_its_prefix() {
    let uses = || placed(Place::Header("authorization".into()), "Token ");
    refused(uses(), |s| Request::new("GET", s.url("/")).with_header("Authorization", vec![secret("key")])).await;
    refused(uses(), |s| {
        Request::new("GET", s.url("/")).with_header("Authorization", vec![secret("key"), text("Token ")])
    })
    .await;
}

#[tokio::test]
async fn a_declared_bracket_is_refused_when_it_is_missing_or_another() {
    let placement = Placement {
        field: None,
        at: Place::Header("x-key-md5".into()),
        prefix: String::new(),
        wraps: vec![Wrap::Base64, Wrap::Digest(Algorithm::Md5)],
        towards: Vec::new(),
    };
    let uses = || SecretUse { places: vec![placement.clone()], ..SecretUse::default() };
    let brackets: [&[Wrap]; 4] = [
        &[],
        &[Wrap::Base64],
        &[Wrap::Hex, Wrap::Digest(Algorithm::Md5)],
        &[Wrap::Base64, Wrap::Digest(Algorithm::Sha1)],
    ];
    for wraps in brackets {
        refused(uses(), |s| {
            let mut value: Vec<Piece> = wraps.iter().cloned().map(Piece::Open).collect();
            value.push(secret("key"));
            value.extend(wraps.iter().map(|_| Piece::Close));
            Request::new("GET", s.url("/")).with_header("X-Key-MD5", value)
        })
        .await;
    }
}

#[tokio::test]
async fn a_digest_of_a_secret_with_known_bytes_is_refused() {
    let placement = Placement {
        field: None,
        at: Place::Header("x".into()),
        prefix: String::new(),
        wraps: vec![Wrap::Hex, Wrap::Digest(Algorithm::Md5)],
        towards: Vec::new(),
    };
    let uses = SecretUse { places: vec![placement], ..SecretUse::default() };
    refused(uses, |s| {
        let value = vec![
            Piece::Open(Wrap::Hex),
            Piece::Open(Wrap::Digest(Algorithm::Md5)),
            text("known"),
            secret("key"),
            Piece::Close,
            Piece::Close,
        ];
        Request::new("GET", s.url("/")).with_header("X", value)
    })
    .await;
}

#[tokio::test]
async fn a_secret_in_a_cipher_is_refused() {
    refused(header_use(), |s| {
        let cipher = Wrap::AesCtr(AesCtr { key: vec![0; 16], counter: vec![0; 16] });
        Request::new("PUT", s.url("/")).with_body(vec![Piece::Open(cipher), secret("key"), Piece::Close])
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_would_break_out_of_its_place_is_refused() {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let json = [("Content-Type", "application/json")];
    let unescaped: [(Place, &[(&str, &str)], Vec<Piece>); 3] = [
        (Place::Form("p".into()), &form, vec![text("p="), secret("key")]),
        (Place::Json("/p".into()), &json, vec![text("{\"p\":\""), secret("key"), text("\"}")]),
        (Place::Xml("p".into()), &[], vec![text("<p>"), secret("key"), text("</p>")]),
    ];
    for (at, headers, body) in unescaped {
        refused(placed(at, ""), |s| {
            let request = Request::new("POST", s.url("/")).with_body(body.clone());
            headers.iter().fold(request, |request, (name, value)| request.with_header(*name, vec![text(value)]))
        })
        .await;
    }
    refused(placed(Place::Query("p".into()), ""), |s| Request {
        url: vec![text(&s.url("/?p=")), secret("key")],
        ..Request::new("GET", "")
    })
    .await;
}

#[tokio::test]
async fn another_field_than_the_declared_one_is_refused() {
    let body = |name: &str| {
        let mut body = vec![text(&format!("{{\"{name}\":\""))];
        body.extend(escaped(Wrap::Json));
        body.push(text("\"}"));
        body
    };
    refused(placed(Place::Json("/password".into()), ""), |s| Request::new("POST", s.url("/")).with_body(body("name")))
        .await;
    refused(placed(Place::Query("a".into()), ""), |s| {
        let mut url = vec![text(&s.url("/?b="))];
        url.extend(escaped(Wrap::Percent));
        Request { url, ..Request::new("GET", "") }
    })
    .await;
}

#[tokio::test]
async fn a_secret_goes_only_towards_what_its_placement_names() {
    let server = server().await;
    let towards = vec![server.url("/token")];
    let placement =
        Placement { field: None, at: Place::Header("x-key".into()), prefix: String::new(), wraps: vec![], towards };
    let uses = || SecretUse { places: vec![placement.clone()], ..SecretUse::default() };
    let request = |rest: &str| Request::new("POST", server.url(rest)).with_header("X-Key", vec![secret("key")]);
    for rest in ["/", "/tokens", "/token/../files", "/token/%2E%2e/files", "/x/token"] {
        assert_eq!(send(&server, uses(), request(rest)).await.unwrap_err().kind, ErrorKind::Denied, "{rest}");
    }
    assert!(server.seen().is_empty());
    for rest in ["/token", "/token?x=1", "/token/refresh"] {
        send(&server, uses(), request(rest)).await.unwrap();
    }
}

#[tokio::test]
async fn a_secret_beside_content_is_refused() {
    let server = server().await;
    let uses = placed(Place::Form("token".into()), "");
    let egress = egress_with(&server, Keeper::with(&[("key", "plain")]), &[("key", uses)]);
    let media = text("multipart/form-data; boundary=b");
    let body = vec![
        text("--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n"),
        secret("key"),
        text("\r\n--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"),
        Piece::Content(Span::new(0, 4)),
        text("\r\n--b--\r\n"),
    ];
    let request = Request::new("POST", server.url("/")).with_header("Content-Type", vec![media]).with_body(body);
    let source: Arc<dyn Source> = Arc::new(MemorySource(Bytes::from_static(b"file")));
    assert_eq!(egress.upload(&request, &source).await.unwrap_err().kind, ErrorKind::Denied);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn content_outside_an_upload_is_refused() {
    let server = server().await;
    let request = Request::new("POST", server.url("/")).with_body(vec![Piece::Content(Span::new(0, 1))]);
    let error = egress_with(&server, Keeper::default(), &[]).send(&request, &CallBudget::new()).await.unwrap_err();
    assert!(!error.is_passing(), "{error:?}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn every_declared_place_works() {
    let server = server().await;
    let base64 = Placement {
        field: None,
        at: Place::Header("authorization".into()),
        prefix: "Basic ".into(),
        wraps: vec![Wrap::Base64],
        towards: Vec::new(),
    };
    let basic = vec![text("Basic "), Piece::Open(Wrap::Base64), text("me:"), secret("key"), Piece::Close];
    let uses = SecretUse { places: vec![base64], ..SecretUse::default() };
    send(&server, uses, Request::new("GET", server.url("/")).with_header("Authorization", basic)).await.unwrap();
    let sent = server.seen().pop().unwrap();
    assert_eq!(
        sent.header("authorization").unwrap(),
        format!("Basic {}", BASE64.encode(format!("me:{KEY}").as_bytes()))
    );

    let mut url = vec![text(&server.url("/?a=1&p="))];
    url.extend(escaped(Wrap::Percent));
    send(&server, placed(Place::Query("p".into()), ""), Request { url, ..Request::new("GET", "") }).await.unwrap();
    assert_eq!(server.seen().pop().unwrap().target(), "/?a=1&p=s3cr3t-k3y%26%22%3Cx%3E");

    let bodies: [(Place, &str, &str, Wrap, &str, &str); 4] = [
        (
            Place::Form("p".into()),
            "application/x-www-form-urlencoded",
            "u=me&p=",
            Wrap::Form,
            "&z=1",
            "u=me&p=s3cr3t-k3y%26%22%3Cx%3E&z=1",
        ),
        (
            Place::Json("/a/p".into()),
            "application/json",
            "{\"a\":{\"p\":\"",
            Wrap::Json,
            "\"}}",
            "{\"a\":{\"p\":\"s3cr3t-k3y&\\\"<x>\"}}",
        ),
        (
            Place::Xml("a/p".into()),
            "application/xml",
            "<a><p>",
            Wrap::Xml,
            "</p></a>",
            "<a><p>s3cr3t-k3y&amp;&quot;&lt;x&gt;</p></a>",
        ),
        (
            Place::Json("/p".into()),
            "application/json",
            "{\"p\":\"",
            Wrap::Json,
            "\"}",
            "{\"p\":\"s3cr3t-k3y&\\\"<x>\"}",
        ),
    ];
    for (at, media, before, wrap, after, expected) in bodies {
        let mut body = vec![text(before)];
        body.extend(escaped(wrap));
        body.push(text(after));
        let request =
            Request::new("POST", server.url("/")).with_header("Content-Type", vec![text(media)]).with_body(body);
        send(&server, placed(at, ""), request).await.unwrap();
        assert_eq!(String::from_utf8(server.seen().pop().unwrap().body).unwrap(), expected);
    }
}

#[tokio::test]
async fn the_digest_of_an_encryption_key_stands_where_it_is_declared() {
    let server = server().await;
    let wraps = vec![Wrap::Base64, Wrap::Digest(Algorithm::Md5)];
    let placement =
        Placement { field: None, at: Place::Header("x-md5".into()), prefix: "".into(), wraps, towards: vec![] };
    let uses = SecretUse { places: vec![placement], ..SecretUse::default() };
    let value = vec![
        Piece::Open(Wrap::Base64),
        Piece::Open(Wrap::Digest(Algorithm::Md5)),
        secret("key"),
        Piece::Close,
        Piece::Close,
    ];
    send(&server, uses, Request::new("GET", server.url("/")).with_header("X-MD5", value)).await.unwrap();
    let expected = BASE64.encode(&causeway_digest::digest_bytes(Algorithm::Md5, KEY.as_bytes()));
    assert_eq!(server.seen()[0].header("x-md5"), Some(expected.as_str()));
}

#[tokio::test]
async fn an_access_token_needs_no_placement_after_bearer_and_nowhere_else() {
    let server = server().await;
    let egress = egress_with(&server, Keeper::with(&[("access-token", "abc")]), &[]);
    let request = |name: &str, prefix: &str| {
        Request::new("GET", server.url("/")).with_header(name, vec![text(prefix), secret("access-token")])
    };
    egress.send(&request("Authorization", "Bearer "), &CallBudget::new()).await.unwrap();
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer abc"));
    for (name, prefix) in [("Authorization", "OAuth "), ("X-Meta", "Bearer ")] {
        assert!(egress.send(&request(name, prefix), &CallBudget::new()).await.is_err());
    }
    assert_eq!(server.seen().len(), 1);
}

fn signing() -> SecretUse {
    let hmac = vec![
        HmacUse { field: None, hash: Hash::Sha256, prefix: "AWS4".into(), base64: false, steps: 4 },
        HmacUse { field: None, hash: Hash::Sha1, prefix: String::new(), base64: false, steps: 0 },
    ];
    SecretUse { hmac, ..SecretUse::default() }
}

/// The example of Amazon's documentation of signature version 4.
#[tokio::test]
async fn the_published_signature_of_version_4_comes_out() {
    let server = server().await;
    let keeper = Keeper::with(&[("key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")]);
    let egress = egress_with(&server, keeper, &[("key", signing())]);
    let steps = ["20150830", "us-east-1", "iam", "aws4_request"].map(str::to_owned);
    let message = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
                   f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
    let signature = egress.hmac(&SecretRef::whole("key"), Hash::Sha256, &steps, &[text(message)]).unwrap();
    assert_eq!(HEXLOWER.encode(&signature), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

#[tokio::test]
async fn another_number_of_steps_hash_or_key_signs_nothing() {
    let server = server().await;
    let egress = egress_with(&server, Keeper::with(&[("key", "k"), ("other", "o")]), &[("key", signing())]);
    let steps = |count: usize| vec!["s".to_owned(); count];
    let key = SecretRef::whole("key");
    for (hash, count) in [(Hash::Sha256, 0), (Hash::Sha256, 3), (Hash::Sha256, 5), (Hash::Sha1, 4), (Hash::Sha512, 0)] {
        let error = egress.hmac(&key, hash, &steps(count), &[text("m")]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Denied);
    }
    assert!(egress.hmac(&SecretRef::whole("other"), Hash::Sha1, &[], &[text("m")]).is_err());
    assert!(egress.hmac(&key, Hash::Sha1, &[], &[text("m")]).is_ok());
}

#[tokio::test]
async fn a_signed_message_holds_only_secrets_that_have_a_place() {
    let server = server().await;
    let uses =
        [("key", signing()), ("token", placed(Place::Header("x-token".into()), "")), ("pin", SecretUse::default())];
    let secrets = [("key", "k"), ("token", "t"), ("pin", "p")];
    let key = SecretRef::whole("key");
    let egress = egress_with(&server, Keeper::with(&secrets), &uses);
    assert!(egress.hmac(&key, Hash::Sha1, &[], &[secret("token")]).is_ok());
    assert!(egress.hmac(&key, Hash::Sha1, &[], &[secret("pin")]).is_err());
    let mut keeper = Keeper::with(&secrets);
    keeper.sealed_by_component.push("key".into());
    let egress = egress_with(&server, keeper, &uses);
    assert!(egress.hmac(&key, Hash::Sha1, &[], &[secret("token")]).is_err());
}

#[tokio::test]
async fn captures_fill_the_slot_and_blank_the_answer() {
    let body = br#"{"n":1.50,"auth":{"token":"tok\u0065n-12345"},"copy":"token-12345"}"#;
    let server = Server::start(move |seen| match seen.target() {
        "/json" => reply(200, &[], body),
        "/header" => reply(200, &[("X-Session", "header-12345")], b"header-12345 again"),
        _ => reply(200, &[], b"<a><s>xml&amp;12345</s><o>1</o></a>"),
    })
    .await;
    let keeper = Arc::new(Keeper::default());
    let gate = Gate::new(open_policy()).unwrap();
    let egress = gate.egress(way(&[&server.url("")], keeper.clone(), &[]));
    let ask = async |rest: &str, at: Location| {
        let captures = vec![Capture { at, slot: "session".into() }];
        let request = Request { captures, ..Request::new("GET", server.url(rest)) };
        egress.send(&request, &CallBudget::new()).await.unwrap()
    };
    let answer = ask("/json", Location::Json("/auth/token".into())).await;
    assert_eq!(keeper.text("session").as_deref(), Some("token-12345"));
    assert_eq!(&answer.body[..], br#"{"n":1.50,"auth":{"token":""},"copy":""}"#);
    let answer = ask("/header", Location::Header("x-session".into())).await;
    assert_eq!(keeper.text("session").as_deref(), Some("header-12345"));
    assert_eq!((answer.header("x-session"), &answer.body[..]), (Some(""), &b" again"[..]));
    let answer = ask("/xml", Location::Xml("a/s".into())).await;
    assert_eq!(keeper.text("session").as_deref(), Some("xml&12345"));
    assert_eq!(&answer.body[..], b"<a><s></s><o>1</o></a>");
}

#[tokio::test]
async fn a_capture_into_an_undeclared_slot_is_refused_before_anything_is_sent() {
    let server = server().await;
    let captures = vec![Capture { at: Location::Header("x".into()), slot: "key".into() }];
    let request = Request { captures, ..Request::new("GET", server.url("/")) };
    let error = egress_with(&server, Keeper::default(), &[]).send(&request, &CallBudget::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn errors_name_no_secret() {
    let server = Server::start(|_| Reply::Then(Vec::new())).await;
    let uses = placed(Place::Query("k".into()), "");
    let egress = egress_with(&server, Keeper::with(&[("key", "very-secret")]), &[("key", uses)]);
    let mut url = vec![text(&server.url("/?k="))];
    url.extend(escaped(Wrap::Percent));
    let error = egress.send(&Request { url, ..Request::new("GET", "") }, &CallBudget::new()).await.unwrap_err();
    assert!(!format!("{error:?}").contains("very-secret"));
    assert_eq!(egress.strike("a very-secret line"), "a <secret> line");
}
