//! A provider made of a script: it speaks HTTP/1.1 on a socket of its own, remembers what it was sent, byte for byte, and
//! answers as the test says. Plus a keeper of secrets in memory.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use causeway_http::request::{Piece, SecretRef};
use causeway_http::uses::{Place, Placement, SecretUse};
use causeway_http::{CertificateDer, Egress, Gate, Origin, Policy, Secrets, Way};
use causeway_storage::{Result, Secret};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub connection: usize,
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The range asked for: first and last byte.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap_or(usize::MAX)))
    }
}

/// What the provider does.
pub enum Reply {
    /// Sends these bytes and goes on.
    Raw(Vec<u8>),
    /// Sends these bytes and hangs up.
    Then(Vec<u8>),
    /// Sends nothing, for ever.
    Silence,
    /// Sends these bytes and then nothing, for ever.
    Stall(Vec<u8>),
}

/// A complete answer.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

pub fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    Reply::Raw(answer(status, headers, body))
}

/// Serves ranges of a content with these further headers, as a provider should.
pub fn serve(content: &[u8], seen: &Seen, headers: &[(&str, &str)]) -> Vec<u8> {
    let Some((first, last)) = seen.range() else { return answer(200, headers, content) };
    let last = last.min(content.len() - 1);
    let range = format!("bytes {first}-{last}/{}", content.len());
    let mut headers = headers.to_vec();
    headers.push(("Content-Range", &range));
    answer(206, &headers, &content[first..=last])
}

/// A provider at work.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::run(None, script).await
    }

    /// With a certificate for `localhost` and the names.
    pub async fn start_tls(
        names: &[&str],
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> (Server, CertificateDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        (Server::run(Some(TlsAcceptor::from(Arc::new(config))), script).await, certificate)
    }

    async fn run(tls: Option<TlsAcceptor>, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script = Arc::new(script);
        let server = Server { address, seen: seen.clone() };
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (script, seen, tls) = (script.clone(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, connection, script, seen).await;
                            }
                        }
                        None => converse(stream, connection, script, seen).await,
                    }
                });
            }
        });
        server
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    script: Arc<impl Fn(&Seen) -> Reply>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let line = head.lines().next().unwrap().to_owned();
        let mut request = Seen { connection, line, head, body: Vec::new() };
        let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        while buffer.len() < end + length {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        request.body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        seen.lock().unwrap().push(request.clone());
        match script(&request) {
            Reply::Raw(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Then(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Stall(bytes) => {
                let _ = stream.write_all(&bytes).await;
                std::future::pending().await
            }
        }
    }
}

/// Secrets in memory.
#[derive(Default)]
pub struct Keeper {
    secrets: Mutex<HashMap<String, Secret>>,
    pub sealed_by_component: Vec<String>,
}

impl Keeper {
    pub fn with(secrets: &[(&str, &str)]) -> Keeper {
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
        Keeper { secrets: Mutex::new(secrets), sealed_by_component: Vec::new() }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap())
    }
}

#[async_trait]
impl Secrets for Keeper {
    fn get(&self, name: &str) -> Option<Secret> {
        self.secrets.lock().unwrap().get(name).cloned()
    }

    fn is_sealed_by_component(&self, name: &str) -> bool {
        self.sealed_by_component.iter().any(|sealed| sealed == name)
    }

    fn all(&self) -> Vec<Secret> {
        self.secrets.lock().unwrap().values().cloned().collect()
    }

    async fn fill(&self, slot: &str, value: Secret) -> Result<()> {
        self.secrets.lock().unwrap().insert(slot.to_owned(), value);
        Ok(())
    }
}

/// A policy under which this machine may be reached.
pub fn open_policy() -> Policy {
    Policy { allow_private: vec!["127.0.0.0/8".parse().unwrap()], ..Policy::default() }
}

/// A way to these origins with these secrets.
pub fn way(origins: &[&str], keeper: Arc<Keeper>, uses: &[(&str, SecretUse)]) -> Way {
    Way {
        tenant: "tenant".into(),
        backend: "backend".into(),
        origins: origins.iter().map(|origin| Origin::parse(origin, |_| None).unwrap().unwrap()).collect(),
        uses: uses.iter().map(|(name, uses)| ((*name).to_owned(), uses.clone())).collect(),
        slots: vec!["session".into()],
        secrets: keeper,
        paces: Vec::new(),
        foreign_hosts: false,
        assigned_hosts: false,
    }
}

/// An egress to one server.
pub fn egress_to(server: &Server) -> Arc<Egress> {
    egress_with(server, Keeper::default(), &[])
}

/// An egress to one server with secrets.
pub fn egress_with(server: &Server, keeper: Keeper, uses: &[(&str, SecretUse)]) -> Arc<Egress> {
    let gate = Gate::new(open_policy()).unwrap();
    gate.egress(way(&[&server.url("")], Arc::new(keeper), uses))
}

pub fn placed(at: Place, prefix: &str) -> SecretUse {
    let placement = Placement { field: None, at, prefix: prefix.into(), wraps: Vec::new(), towards: Vec::new() };
    SecretUse { places: vec![placement], ..SecretUse::default() }
}

pub fn secret(name: &str) -> Piece {
    Piece::Secret(SecretRef::whole(name))
}

pub fn text(text: &str) -> Piece {
    Piece::text(text)
}
