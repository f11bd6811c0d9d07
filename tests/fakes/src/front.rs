//! The front: one listener on loopback that serves the hosts of all its fakes. It ends TLS directly (the host is told by SNI), speaks
//! plain HTTP, and is an HTTP proxy (`CONNECT` and absolute-form requests). It never dials out: a host of nobody is 502.
//!
//! A request to the loopback address itself belongs to the fake that owns its path, else to the first fake. `/control/...`
//! there, and the host `control.test`, belong to the [control](crate::control). Fakes are asked one at a time, under a lock.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_rustls::LazyConfigAcceptor;

use crate::fault::{self, Fault, Harm};
use crate::tls::{Authority, Protocols};
use crate::{Reply, Request, Response, World, control, h1, h2};

/// One provider's fake server.
pub trait Fake: Send {
    /// Its name: in [`control`](crate::control) paths and for the program.
    fn name(&self) -> &'static str;
    /// The hosts it answers for; `*.a.test` stands for every name below `a.test`.
    fn hosts(&self) -> Vec<String>;
    /// Whether a request to the loopback address with this path is its own. The first fake also gets what nobody owns.
    fn owns_path(&self, _path: &str) -> bool {
        false
    }
    /// Answers a request. It is called once per request, except after [`Reply::Wait`].
    fn answer(&mut self, request: &Request, world: &mut World) -> Reply;
    /// Does what only tests may: `POST /control/NAME/VERB`. `Null` for a verb that it does not know; an object with `error`
    /// for a body that it does not understand.
    fn control(&mut self, _verb: &str, _body: &Value, _world: &mut World) -> Value {
        Value::Null
    }
    /// What a client is to be configured with. `origin` is the front's own, `http://127.0.0.1:PORT`.
    fn accounts(&self, origin: &str) -> Value;
}

/// A request that was handled.
#[derive(Debug, Clone, Serialize)]
pub struct Logged {
    /// As in [`Request`].
    pub method: String,
    /// As in [`Request`].
    pub https: bool,
    /// As in [`Request`].
    pub host: String,
    /// As in [`Request`].
    pub path: String,
    /// As in [`Request`].
    pub query: String,
    /// As in [`Request`].
    pub headers: Vec<(String, String)>,
    /// The body's length.
    pub body_bytes: usize,
    /// The status of the answer, `None` where the connection was closed instead.
    pub status: Option<u16>,
    /// Whether a fault decided about it.
    pub harmed: bool,
}

/// What happens to a request in the end.
pub(crate) enum Outcome {
    /// It is answered; with `cut`, only so many bytes of the body.
    Answer { response: Response, cut: Option<usize> },
    /// The connection breaks.
    Break,
}

/// What connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    authority: Arc<Authority>,
}

/// What is behind the lock.
pub(crate) struct State {
    pub(crate) fakes: Vec<Box<dyn Fake>>,
    pub(crate) world: World,
    pub(crate) faults: Vec<Fault>,
    pub(crate) log: Vec<Logged>,
}

/// Starts fronts.
pub struct Front;

/// A running front. It stops when dropped.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that clients have to trust, as a PEM file. It lives as long as this.
    pub ca_pem_path: PathBuf,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Front {
    /// Starts a front on a free port, on a thread of its own.
    pub fn start(fakes: Vec<Box<dyn Fake>>) -> io::Result<Running> {
        Front::start_at(0, fakes)
    }

    /// Starts a front on this port of loopback.
    pub fn start_at(port: u16, fakes: Vec<Box<dyn Fake>>) -> io::Result<Running> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let folder = tempfile::tempdir()?;
        let ca_pem_path = folder.path().join("ca.pem");
        let authority = Arc::new(Authority::new()?);
        std::fs::write(&ca_pem_path, authority.pem())?;
        let state = State { fakes, world: World::default(), faults: Vec::new(), log: Vec::new() };
        let shared = Shared { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0), authority };
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let serving = shared.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    _ = accept(listener, serving) => {}
                }
            });
        });
        Ok(Running { address, ca_pem_path, shared, stop: Some(stop), thread: Some(thread), _folder: folder })
    }
}

impl Running {
    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The file of the authority's certificate.
    pub fn ca(&self) -> &Path {
        &self.ca_pem_path
    }

    /// Replaces the faults.
    pub fn faults(&self, faults: Vec<Fault>) {
        self.shared.state().faults = faults;
    }

    /// The requests so far, oldest first. Requests to the control are not among them.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.state().log.clone()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.state().log.clear();
    }

    /// Moves the clock of all fakes.
    pub fn advance(&self, by: Duration) {
        self.shared.state().world.advance(by);
        self.shared.wake();
    }

    /// Sets the longest page of any listing.
    pub fn set_page_size(&self, entries: Option<usize>) {
        self.shared.state().world.page_size = entries;
    }

    /// Sets how long a request may wait.
    pub fn set_patience(&self, patience: Duration) {
        self.shared.state().world.patience = patience;
    }

    /// What `POST /control/PROVIDER/VERB` does.
    pub fn control(&self, provider: &str, verb: &str, body: &Value) -> Value {
        let done = control::provider(&mut self.shared.state(), provider, verb, body);
        self.shared.wake();
        done
    }

    /// What clients are to be configured with, by provider.
    pub fn accounts(&self) -> Value {
        let origin = self.origin();
        self.shared.state().fakes.iter().map(|fake| (fake.name().to_owned(), fake.accounts(&origin))).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The thread ends by itself if the channel is gone already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets waiting requests be asked again.
    pub(crate) fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether anyone answers for a host.
    pub(crate) fn knows(&self, host: &str) -> bool {
        host == control::HOST || self.state().owner(host, "/").is_some()
    }

    /// Handles a request. `name` is the host that TLS was made for.
    pub(crate) async fn handle(&self, request: Request, name: Option<&str>) -> Outcome {
        if control::is_for(&request) {
            let response = control::answer(&request, &mut self.state());
            self.wake();
            return Outcome::Answer { response, cut: None };
        }
        if request.https && name.is_some_and(|name| name != request.host) {
            return Outcome::Answer { response: Response::text(421, "the certificate is another host's"), cut: None };
        }
        let harm = fault::judge(&mut self.state().faults, &request);
        let harmed = harm.is_some();
        let mut cut = None;
        let mut lose = false;
        match harm {
            None => {}
            Some(Harm::Refuse) => {
                self.note(&request, None, harmed);
                return Outcome::Break;
            }
            Some(Harm::Status { status, headers, body }) => {
                self.note(&request, Some(status), harmed);
                return Outcome::Answer { response: Harm::response(status, &headers, &body), cut: None };
            }
            Some(Harm::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Harm::Cut { bytes }) => cut = Some(bytes),
            Some(Harm::LoseAnswer) => lose = true,
        }
        let response = self.answered(request.clone()).await;
        self.note(&request, (!lose).then_some(response.status), harmed);
        self.wake();
        if lose { Outcome::Break } else { Outcome::Answer { response, cut } }
    }

    /// The fake's answer, waited for.
    async fn answered(&self, mut request: Request) -> Response {
        let mut changed = self.changed.subscribe();
        let patience = self.state().world.patience;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            changed.mark_unchanged();
            match self.state().ask(&request) {
                Reply::Now(response) => return response,
                Reply::Wait if request.last_call => return Response::text(504, "still nothing to say"),
                Reply::Wait => {}
            }
            let woken = tokio::time::timeout_at(deadline, changed.changed()).await;
            request.last_call = woken.is_err();
        }
    }

    fn note(&self, request: &Request, status: Option<u16>, harmed: bool) {
        let Request { method, https, host, path, query, headers, body, .. } = request.clone();
        let logged = Logged { method, https, host, path, query, headers, body_bytes: body.len(), status, harmed };
        self.state().log.push(logged);
    }
}

impl State {
    fn owner(&self, host: &str, path: &str) -> Option<usize> {
        if is_loopback(host) {
            let owner = self.fakes.iter().position(|fake| fake.owns_path(path));
            return owner.or((!self.fakes.is_empty()).then_some(0));
        }
        self.fakes.iter().position(|fake| fake.hosts().iter().any(|pattern| covers(pattern, host)))
    }

    fn ask(&mut self, request: &Request) -> Reply {
        match self.owner(&request.host, &request.path).and_then(|at| self.fakes.get_mut(at)) {
            Some(fake) => fake.answer(request, &mut self.world),
            None => Response::text(502, format!("no fake answers for {}", request.host)).into(),
        }
    }
}

/// Whether a host is the front itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}

/// Host and port of an authority.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

async fn accept(listener: TcpListener, shared: Shared) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that ends with an error is the client's to notice.
        let serving = shared.clone();
        tokio::spawn(async move { connection(stream, serving).await });
    }
}

async fn connection(stream: TcpStream, shared: Shared) -> io::Result<()> {
    if is_tls(&stream).await? {
        return tls(stream, None, shared).await;
    }
    let Some((stream, host)) = h1::serve(stream, None, false, &shared).await? else { return Ok(()) };
    if is_tls(&stream).await? {
        return tls(stream, Some(host), shared).await;
    }
    h1::serve(stream, Some(&host), false, &shared).await.map(|_| ())
}

/// Whether a TLS handshake begins: its first byte is 22, which begins no HTTP method.
async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first == [22])
}

/// Ends TLS. `tunnel` is the host of the tunnel it runs through.
async fn tls(stream: TcpStream, tunnel: Option<String>, shared: Shared) -> io::Result<()> {
    let hello = LazyConfigAcceptor::new(Default::default(), stream).await?;
    let name = hello.client_hello().server_name().map(str::to_ascii_lowercase).or_else(|| tunnel.clone());
    let protocols = if tunnel.is_some() { Protocols::Silent } else { Protocols::Both };
    let host = name.as_deref().unwrap_or("127.0.0.1");
    let config = shared.authority.serve(host, protocols)?;
    let stream = hello.into_stream(config).await?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return h2::serve(stream, name, shared).await;
    }
    h1::serve(stream, name.as_deref(), true, &shared).await.map(|_| ())
}
