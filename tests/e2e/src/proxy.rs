//! A proxy before an S3 server that fails as a case wishes, and counts what was asked.
//!
//! One connection carries one request, to keep it simple: every answer says that the connection closes. The `Host` header
//! goes through unchanged, so signatures stay right. A case sets a rule, which is asked about every request.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What S3 is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Buckets,
    List,
    Head,
    Get,
    Put,
    Copy,
    Begin,
    Part,
    Complete,
    Delete,
    Other,
}

/// A request as the proxy saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) target: String,
    head: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// A field of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut fields = query.split('&').map(|field| field.split_once('=').unwrap_or((field, "")));
        fields.find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It goes through.
    Pass,
    /// The server never sees it; this is the answer: status, further headers, body.
    Answer(u16, Vec<(String, String)>, String),
    /// It goes through, and the answer's body ends after so many bytes.
    Cut(usize),
    /// It goes through, and after so many bytes of the answer's body nothing more comes.
    Stall(usize),
    /// It goes through, and the answer has another head.
    Forge(Forge),
    /// It goes through, and nobody hears the answer.
    LoseAnswer,
    /// Nothing ever comes back.
    Hang,
    /// The connection is closed at once.
    Close,
}

/// Makes another head of an answer's.
pub(crate) type Forge = fn(&str) -> String;

type Rule = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

/// A running proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: String,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: String,
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Request>>,
    ended: AtomicBool,
}

impl Proxy {
    /// Stands before a server and lets everything pass.
    pub(crate) fn before(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let rule: Rule = Arc::new(|_| Act::Pass);
        let inner = Arc::new(Inner {
            upstream: upstream.to_owned(),
            rule: Mutex::new(rule),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let served = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.ended.load(Ordering::Relaxed) {
                    return;
                }
                let inner = served.clone();
                // A connection that breaks concerns those at its ends.
                std::thread::spawn(move || inner.serve(stream).ok());
            }
        });
        Proxy { address, inner }
    }

    /// Decides about every request from now on.
    pub(crate) fn rule(&self, rule: impl Fn(&Request) -> Act + Send + Sync + 'static) {
        *self.inner.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Does this to requests of one kind, and lets the others pass.
    pub(crate) fn always(&self, kind: Kind, act: Act) {
        self.rule(move |request| if request.kind == kind { act.clone() } else { Act::Pass });
    }

    /// Does this to the first so many requests of one kind, and lets the others pass.
    pub(crate) fn first(&self, count: usize, kind: Kind, act: Act) {
        let met = AtomicUsize::new(0);
        self.rule(move |request| {
            if request.kind == kind && met.fetch_add(1, Ordering::Relaxed) < count { act.clone() } else { Act::Pass }
        });
    }

    pub(crate) fn pass(&self) {
        self.rule(|_| Act::Pass);
    }

    /// What was asked since this was last called.
    pub(crate) fn take_seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.inner.seen.lock().unwrap())
    }

    /// How many requests of a kind were seen and not yet taken.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.inner.seen.lock().unwrap().iter().filter(|request| request.kind == kind).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(&self.address);
    }
}

impl Inner {
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        let mut from_client = BufReader::new(client.try_clone()?);
        let head = read_head(&mut from_client)?;
        if head.is_empty() {
            return Ok(());
        }
        let request = parse(head);
        let rule = self.rule.lock().unwrap().clone();
        let act = rule(&request);
        self.seen.lock().unwrap().push(request.clone());
        let size: u64 = request.header("content-length").and_then(|size| size.parse().ok()).unwrap_or(0);
        let mut body = (&mut from_client).take(size);
        match act {
            Act::Pass => self.forward(&request, &mut body, &mut client, None, str::to_owned),
            Act::Cut(bytes) => self.forward(&request, &mut body, &mut client, Some(bytes), str::to_owned),
            Act::Stall(bytes) => {
                self.forward(&request, &mut body, &mut client, Some(bytes), str::to_owned)?;
                std::io::copy(&mut from_client, &mut std::io::sink()).map(drop)
            }
            Act::Forge(forge) => self.forward(&request, &mut body, &mut client, None, forge),
            Act::LoseAnswer => {
                self.forward(&request, &mut body, &mut std::io::sink(), None, str::to_owned)?;
                client.shutdown(Shutdown::Both)
            }
            Act::Answer(status, headers, text) => {
                std::io::copy(&mut body, &mut std::io::sink())?;
                answer(&mut client, status, &headers, &text)?;
                client.shutdown(Shutdown::Both)
            }
            // Ends when the other side gives up.
            Act::Hang => std::io::copy(&mut from_client, &mut std::io::sink()).map(drop),
            Act::Close => client.shutdown(Shutdown::Both),
        }
    }

    fn forward(
        &self,
        request: &Request,
        body: &mut impl Read,
        client: &mut impl Write,
        cut: Option<usize>,
        forge: Forge,
    ) -> Result<()> {
        let mut server = TcpStream::connect(&self.upstream)?;
        server.write_all(closing(&request.head).as_bytes())?;
        std::io::copy(body, &mut server)?;
        let mut from_server = BufReader::new(server);
        let head = read_head(&mut from_server)?;
        client.write_all(forge(&closing(&head)).as_bytes())?;
        match cut {
            None => std::io::copy(&mut from_server, client)?,
            Some(bytes) => std::io::copy(&mut from_server.take(bytes as u64), client)?,
        };
        client.flush()
    }
}

fn answer(client: &mut impl Write, status: u16, headers: &[(String, String)], body: &str) -> Result<()> {
    let mut head = format!("HTTP/1.1 {status} Test\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    client.write_all(format!("{head}\r\n{body}").as_bytes())
}

/// The head up to and with its empty line; empty if the connection ended.
fn read_head(stream: &mut impl BufRead) -> Result<String> {
    let mut head = String::new();
    while stream.read_line(&mut head)? > 2 {}
    Ok(head)
}

/// The head with the word that the connection ends after this.
fn closing(head: &str) -> String {
    let lines = head.lines().filter(|line| !line.is_empty());
    let kept = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    kept.chain(["Connection: close", ""]).map(|line| format!("{line}\r\n")).collect()
}

fn parse(head: String) -> Request {
    let mut words = head.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let mut request = Request { kind: Kind::Other, target, head };
    let path = request.target.split('?').next().unwrap_or_default().trim_matches('/');
    let in_bucket = path.contains('/');
    let upload = request.query("uploadId").is_some();
    request.kind = match method.as_str() {
        "GET" if path.is_empty() => Kind::Buckets,
        "GET" if in_bucket && !upload => Kind::Get,
        "GET"
            if !in_bucket && ["uploads", "location", "versioning"].iter().all(|name| request.query(name).is_none()) =>
        {
            Kind::List
        }
        "HEAD" => Kind::Head,
        "PUT" if upload => Kind::Part,
        "PUT" if request.header("x-amz-copy-source").is_some() => Kind::Copy,
        "PUT" if in_bucket => Kind::Put,
        "POST" if upload => Kind::Complete,
        "POST" if request.query("uploads").is_some() => Kind::Begin,
        "DELETE" => Kind::Delete,
        _ => Kind::Other,
    };
    request
}
