//! The front itself: TLS by the name that is asked for, the proxy, HTTP/2, faults, waiting, the clock, the control over HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_fakes::{Fake, Fault, Front, Harm, Reply, Request, Response, Running, World};
use http_body_util::{BodyExt, Full};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// Answers with what it saw, and remembers how often.
#[derive(Default)]
struct Mirror {
    seen: u64,
    /// How often a waiting request was asked about.
    asked: u64,
    released: bool,
}

impl Fake for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn hosts(&self) -> Vec<String> {
        vec!["a.test".into(), "*.b.test".into()]
    }

    fn answer(&mut self, request: &Request, world: &mut World) -> Reply {
        match request.path.as_str() {
            "/wait" if !self.released && !request.last_call => {
                self.asked += 1;
                return Reply::Wait;
            }
            "/release" => self.released = true,
            _ => {}
        }
        self.seen += 1;
        let names: Vec<&String> = request.headers.iter().map(|(name, _)| name).collect();
        let told = json!({"method": request.method, "https": request.https, "host": request.host, "path": request.path,
            "query": request.query, "headers": names, "body": String::from_utf8_lossy(&request.body), "seen": self.seen, "asked": self.asked,
            "now": world.now().as_second(), "page": world.page(None, 1000)});
        Response::json(200, &told).into()
    }

    fn control(&mut self, verb: &str, body: &Value, _: &mut World) -> Value {
        if verb == "twice" { json!({"twice": body["number"].as_u64().unwrap_or(0) * 2}) } else { Value::Null }
    }

    fn accounts(&self, origin: &str) -> Value {
        json!({"url": origin})
    }
}

fn front() -> Running {
    Front::start(vec![Box::new(Mirror::default())]).unwrap()
}

fn trusting(front: &Running, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(front.ca()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Sends text and reads to the end of the connection: status, and the body as it came.
fn ask(stream: &mut (impl Read + Write), text: &str) -> (u16, String) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that breaks shows what came before.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn plain(front: &Running, text: &str) -> (u16, String) {
    ask(&mut TcpStream::connect(front.address).unwrap(), text)
}

fn get(front: &Running, path: &str) -> (u16, String) {
    plain(front, &format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"))
}

fn parsed((status, body): (u16, String)) -> Value {
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn tls(front: &Running, stream: TcpStream, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(trusting(front, &[]), name).unwrap(), stream)
}

#[test]
fn tls_is_ended_for_any_host_by_the_name_that_is_asked_for() {
    let front = front();
    for host in ["a.test", "x.b.test"] {
        let mut stream = tls(&front, TcpStream::connect(front.address).unwrap(), host);
        let seen = parsed(ask(&mut stream, &format!("GET /p HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")));
        assert_eq!((seen["https"].as_bool(), seen["host"].as_str()), (Some(true), Some(host)));
    }
    let mut stream = tls(&front, TcpStream::connect(front.address).unwrap(), "a.test");
    assert_eq!(ask(&mut stream, "GET / HTTP/1.1\r\nHost: x.b.test\r\nConnection: close\r\n\r\n").0, 421);
}

#[test]
fn a_tunnel_reaches_known_hosts_and_no_others() {
    let front = front();
    let mut stream = TcpStream::connect(front.address).unwrap();
    stream.write_all(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").unwrap();
    let mut reply = [0; 19];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 OK\r\n\r\n");
    let mut stream = tls(&front, stream, "a.test");
    let seen = parsed(ask(&mut stream, "GET /in HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"));
    assert_eq!(seen["path"], "/in");
    assert_eq!(stream.conn.alpn_protocol(), None);
    assert_eq!(plain(&front, "CONNECT unknown.test:443 HTTP/1.1\r\nHost: unknown.test:443\r\n\r\n").0, 502);
    assert_eq!(plain(&front, "GET / HTTP/1.1\r\nHost: unknown.test\r\nConnection: close\r\n\r\n").0, 502);
}

#[test]
fn a_request_arrives_as_it_was_sent() {
    let front = front();
    let text = "PUT http://x.b.test/a%2Fb//c?q=%41 HTTP/1.1\r\nHost: ignored\r\nX-Odd-CASE: 1\r\nTransfer-Encoding: chunked\r\n\
        Connection: close\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n";
    let seen = parsed(plain(&front, text));
    assert_eq!((seen["host"].as_str(), seen["path"].as_str()), (Some("x.b.test"), Some("/a%2Fb//c")));
    assert_eq!((seen["query"].as_str(), seen["body"].as_str()), (Some("q=%41"), Some("abcde")));
    assert!(seen["headers"].as_array().unwrap().contains(&json!("X-Odd-CASE")));
}

#[tokio::test]
async fn http2_is_spoken_where_the_client_asks_for_it_and_a_lost_answer_resets_the_stream() {
    let front = front();
    let stream = tokio::net::TcpStream::connect(front.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(trusting(&front, &["h2"]));
    let stream = connector.connect(ServerName::try_from("a.test").unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = |path: &str| {
        let uri = format!("https://a.test{path}");
        http::Request::builder().method("POST").uri(uri).body(Full::new(Bytes::from("content"))).unwrap()
    };
    let answer = sender.send_request(request("/two")).await.unwrap();
    let seen: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((seen["path"].as_str(), seen["body"].as_str()), (Some("/two"), Some("content")));
    front.faults(vec![Fault::once("/lost", Harm::LoseAnswer), Fault::once("/cut", Harm::Cut { bytes: 5 })]);
    assert!(sender.send_request(request("/lost")).await.is_err());
    let cut = sender.send_request(request("/cut")).await.unwrap();
    assert!(cut.into_body().collect().await.is_err());
    assert_eq!(front.log().iter().map(|entry| entry.status).collect::<Vec<_>>(), [Some(200), None, Some(200)]);
}

#[test]
fn faults_harm_what_they_name_and_say_so_in_the_log() {
    let front = front();
    let busy = Harm::Status { status: 503, headers: vec![("Retry-After".into(), "1".into())], body: "busy".into() };
    front.faults(vec![
        Fault { method: Some("GET".into()), ..Fault::once("/busy", busy) },
        Fault::once("/refused", Harm::Refuse),
        Fault::once("/lost", Harm::LoseAnswer),
        Fault::once("/cut", Harm::Cut { bytes: 10 }),
        Fault::once("/late", Harm::Delay { ms: 1 }),
    ]);
    assert_eq!(get(&front, "/busy"), (503, "busy".into()));
    assert_eq!(parsed(get(&front, "/busy"))["seen"], 1);
    assert_eq!(get(&front, "/refused").0, 0);
    assert_eq!(get(&front, "/lost").0, 0);
    let (status, body) = get(&front, "/cut");
    assert_eq!((status, body.len()), (200, 10));
    // The refused request was not seen, the lost one and the cut one were.
    assert_eq!(parsed(get(&front, "/late"))["seen"], 4);
    let told: Vec<_> = front.log().into_iter().map(|entry| (entry.path, entry.status, entry.harmed)).collect();
    let wanted = [
        ("/busy", Some(503), true),
        ("/busy", Some(200), false),
        ("/refused", None, true),
        ("/lost", None, true),
        ("/cut", Some(200), true),
        ("/late", Some(200), true),
    ];
    assert_eq!(told, wanted.map(|(path, status, harmed)| (path.to_owned(), status, harmed)));
}

#[test]
fn a_waiting_request_is_answered_when_another_one_changes_things_or_at_the_end_of_patience() {
    let front = front();
    let mut waiting = TcpStream::connect(front.address).unwrap();
    waiting.write_all(b"GET /wait HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    // Each of these requests also lets the waiting one be asked again.
    while parsed(get(&front, "/"))["asked"].as_u64() < Some(2) {}
    parsed(get(&front, "/release"));
    assert_eq!(ask(&mut waiting, "").0, 200);

    let impatient = self::front();
    impatient.set_patience(Duration::from_millis(10));
    assert_eq!(get(&impatient, "/wait").0, 200);
}

#[test]
fn the_control_works_over_http_and_leaves_no_trace_in_the_log() {
    let front = front();
    let post = |path: &str, body: &str| {
        let length = body.len();
        plain(
            &front,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ),
        )
    };
    let before = parsed(get(&front, "/"))["now"].as_i64().unwrap();
    assert_eq!(post("/control/clock", r#"{"advance_ms":3600000}"#).0, 200);
    assert_eq!(post("/control/page-size", r#"{"entries":3}"#).0, 200);
    assert_eq!(post("/control/faults", r#"[{"path":"/x","what":"refuse"}]"#).0, 200);
    assert_eq!(post("/control/faults", r#"[{"pathh":"/x","what":"refuse"}]"#).0, 400);
    assert_eq!(parsed(post("/control/mirror/twice", r#"{"number":21}"#))["twice"], 42);
    assert_eq!(post("/control/mirror/unknown", "{}").0, 404);
    let after = parsed(get(&front, "/"));
    assert!(after["now"].as_i64().unwrap() >= before + 3600);
    assert_eq!(after["page"], 3);
    assert_eq!(get(&front, "/x").0, 0);
    let log = plain(&front, "GET /log HTTP/1.1\r\nHost: control.test\r\nConnection: close\r\n\r\n");
    let log = parsed(log);
    let paths: Vec<&str> = log.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/", "/", "/x"]);
    assert_eq!(front.accounts()["mirror"]["url"], front.origin());
}

#[test]
fn the_program_says_where_it_listens_and_ends_with_its_input_leaving_nothing_behind() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway-fakes"));
    command.args(["--providers", "seafile,azureblob"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let address = ready["address"].as_str().unwrap();
    let ca = std::path::PathBuf::from(ready["ca"].as_str().unwrap());
    assert!(ca.exists() && ready["accounts"]["azureblob"]["client_id"].is_string());
    // Each of the two owns its paths on the loopback address.
    for (path, wanted) in [("/api2/ping/", 200), ("/fakeaccount?comp=list", 400)] {
        let mut stream = TcpStream::connect(address).unwrap();
        let text = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        assert_eq!(ask(&mut stream, &text).0, wanted, "{path}");
    }
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert!(!ca.exists());
    let unknown = Command::new(env!("CARGO_BIN_EXE_causeway-fakes")).args(["--providers", "nobody"]).output().unwrap();
    assert!(!unknown.status.success());
}
