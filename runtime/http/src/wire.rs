//! One exchange on one connection: a request that is ready to go out, and the answer as it comes in.
//!
//! It does not retry, follow or interpret; `egress` does. Limits: the answer must begin within the request's patience,
//! counted from the last byte that the connection took; between two pieces of an answer's body at most 60 s pass. HTTP/2
//! windows are 1 MiB per answer and 4 MiB per connection, HTTP/1.1 reads at most 512 KiB ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use causeway_storage::{Body, Error, ErrorKind, Result};
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, timeout};

use crate::gate::{Gate, Wire};
use crate::origin::Target;
use crate::pace::Permits;
use crate::pool::{PoolKey, Pooled, Pools, Single};
use crate::weather::Sky;

/// Between two pieces of a body.
const SILENCE: Duration = Duration::from_secs(60);

const WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const READ_AHEAD_BYTES: usize = 512 * 1024;
const MOST_HEADER_BYTES: u32 = 64 * 1024;

/// A body on its way out.
pub(crate) type SentBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A request as it goes out.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) http1: bool,
    /// It goes to a host that only an answer named.
    pub(crate) public_only: bool,
    pub(crate) patience: Duration,
}

/// Why there is no answer.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Nothing of the request can have been acted on.
    pub(crate) unsent: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, unsent: true }
    }
}

/// The time at which the connection last took a piece of the body, in milliseconds since the request began.
#[derive(Clone)]
pub(crate) struct Progress(Arc<(Instant, AtomicU64)>);

impl Progress {
    fn new() -> Progress {
        Progress(Arc::new((Instant::now(), AtomicU64::new(0))))
    }

    /// Notes that it goes on.
    pub(crate) fn note(&self) {
        let (begin, last) = &*self.0;
        last.store(begin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        let (begin, last) = &*self.0;
        *begin + Duration::from_millis(last.load(Ordering::Relaxed))
    }
}

/// An answer whose head has come.
pub(crate) struct Incoming1 {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Its end can be told from a broken connection.
    pub(crate) framed: bool,
    body: Coming,
    /// Bytes of the body that still come before it breaks off.
    cut: Option<u64>,
    lease: Option<Lease>,
    permits: Permits,
}

/// Where the body of an answer comes from.
enum Coming {
    Wire(Incoming),
    /// Nobody was asked.
    Weather(Option<Bytes>),
}

/// A connection in use, to be laid to rest once the answer is complete.
struct Lease {
    pools: Pools,
    key: PoolKey,
    single: Single,
}

/// Sends a request and waits for the head of the answer. `body` makes the body, perhaps twice: a connection that died at
/// rest is replaced as long as it took nothing.
pub(crate) async fn exchange(
    gate: &Gate,
    tenant: &str,
    outgoing: &Outgoing,
    permits: Permits,
    body: impl Fn(Progress) -> SentBody,
) -> Result<Incoming1, Failure> {
    let sky = match &gate.policy().weather {
        Some(weather) => weather
            .over(outgoing.method.as_str(), &format!("{}{}", outgoing.target.origin(), outgoing.target.path_and_query)),
        None => Sky::Clear,
    };
    match sky {
        Sky::Clear => exchange_in_earnest(gate, tenant, outgoing, permits, body).await,
        Sky::Broken => Err(Failure { error: interrupted(), unsent: true }),
        Sky::Answer { status, headers, body } => {
            let body = Coming::Weather(Some(body));
            Ok(Incoming1 { status, headers, framed: true, body, cut: None, lease: None, permits })
        }
        Sky::LostAnswer => {
            let mut lost = exchange_in_earnest(gate, tenant, outgoing, permits, body).await?;
            while lost.next().await.map_err(|error| Failure { error, unsent: false })?.is_some() {}
            Err(Failure { error: interrupted(), unsent: false })
        }
        Sky::Cut(bytes) => {
            let cut = exchange_in_earnest(gate, tenant, outgoing, permits, body).await?;
            Ok(Incoming1 { cut: Some(bytes), ..cut })
        }
    }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Unavailable(None), "the connection to the provider broke")
}

async fn exchange_in_earnest(
    gate: &Gate,
    tenant: &str,
    outgoing: &Outgoing,
    permits: Permits,
    body: impl Fn(Progress) -> SentBody,
) -> Result<Incoming1, Failure> {
    let key = PoolKey::new(tenant, &outgoing.target, outgoing.http1, outgoing.public_only);
    while let Some(pooled) = gate.pools.take(&key) {
        match send_on(pooled, gate, &key, outgoing, &body).await {
            Ok((answer, lease)) => return Ok(incoming(answer, lease, permits)),
            Err(failure) if failure.unsent => continue,
            Err(failure) => return Err(failure),
        }
    }
    let fresh = open(gate, &key, outgoing).await?;
    let (answer, lease) = send_on(fresh, gate, &key, outgoing, &body).await?;
    Ok(incoming(answer, lease, permits))
}

async fn open(gate: &Gate, key: &PoolKey, outgoing: &Outgoing) -> Result<Pooled> {
    match gate.connect(&outgoing.target, outgoing.http1, outgoing.public_only).await? {
        Wire::Plain(stream) => {
            let (stream, socket) = with_copy(stream)?;
            open_http1(TokioIo::new(stream), socket).await
        }
        Wire::Tls(stream) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if is_http2 {
                return open_http2(*stream, gate, key).await;
            }
            let socket = copy(stream.get_ref().0)?;
            open_http1(TokioIo::new(*stream), socket).await
        }
    }
}

async fn open_http1<S>(io: TokioIo<S>, socket: std::net::TcpStream) -> Result<Pooled>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true).max_buf_size(READ_AHEAD_BYTES);
    let (sender, connection) = builder.handshake(io).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(Pooled::Single(Single { sender, socket }))
}

async fn open_http2<S>(stream: S, gate: &Gate, key: &PoolKey) -> Result<Pooled>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(MOST_HEADER_BYTES)
        // A dead connection is shared by many: it must be noticed.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    gate.pools.share(key.clone(), sender.clone());
    Ok(Pooled::Shared(sender))
}

fn with_copy(stream: tokio::net::TcpStream) -> Result<(tokio::net::TcpStream, std::net::TcpStream)> {
    let socket = copy(&stream)?;
    Ok((stream, socket))
}

/// A second descriptor of the same socket.
fn copy(stream: &tokio::net::TcpStream) -> Result<std::net::TcpStream> {
    use std::os::fd::AsFd;
    let descriptor = stream.as_fd().try_clone_to_owned().map_err(Error::internal)?;
    Ok(std::net::TcpStream::from(descriptor))
}

async fn send_on(
    pooled: Pooled,
    gate: &Gate,
    key: &PoolKey,
    outgoing: &Outgoing,
    body: &impl Fn(Progress) -> SentBody,
) -> Result<(hyper::Response<Incoming>, Option<Lease>), Failure> {
    let progress = Progress::new();
    let body = body(progress.clone());
    match pooled {
        Pooled::Single(mut single) => {
            let request = request(outgoing, body, false)?;
            let sent = single.sender.try_send_request(request);
            let answer = patient(outgoing.patience, &progress, sent).await?;
            let lease = Lease { pools: gate.pools.clone(), key: key.clone(), single };
            Ok((answer, Some(lease)))
        }
        Pooled::Shared(mut sender) => {
            let request = request(outgoing, body, true)?;
            let sent = sender.try_send_request(request);
            Ok((patient(outgoing.patience, &progress, sent).await?, None))
        }
    }
}

/// Waits for an answer for as long as patience lasts, counted from the last piece of the body that went out.
async fn patient<B>(
    patience: Duration,
    progress: &Progress,
    sent: impl Future<Output = Result<hyper::Response<Incoming>, TrySendError<B>>>,
) -> Result<hyper::Response<Incoming>, Failure> {
    tokio::pin!(sent);
    loop {
        match tokio::time::timeout_at(progress.last() + patience, &mut sent).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(mut error)) => {
                let unsent = error.take_message().is_some();
                return Err(Failure { error: broken(error.into_error()), unsent });
            }
            Err(_) if progress.last() + patience > Instant::now() => continue,
            Err(_) => {
                let message = format!("no answer began within {} ms", patience.as_millis());
                return Err(Failure { error: Error::new(ErrorKind::Unavailable(None), message), unsent: false });
            }
        }
    }
}

fn request(outgoing: &Outgoing, body: SentBody, http2: bool) -> Result<hyper::Request<SentBody>> {
    let path_and_query = outgoing.target.path_and_query.as_str();
    let wrong = |error: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Invalid, "the URL holds characters that cannot be sent").with_detail(error)
    };
    let uri: Uri = if http2 {
        let scheme = if outgoing.target.https { "https" } else { "http" };
        let builder = Uri::builder().scheme(scheme).authority(outgoing.target.authority());
        builder.path_and_query(path_and_query).build().map_err(|error| wrong(&error))?
    } else {
        path_and_query.parse().map_err(|error| wrong(&error))?
    };
    if uri.path_and_query().map(|sent| sent.as_str()) != Some(path_and_query) {
        return Err(wrong(&"it would be sent differently"));
    }
    let mut request = hyper::Request::new(body);
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = outgoing.headers.clone();
    if http2 {
        request.headers_mut().remove(http::header::HOST);
    }
    Ok(request)
}

fn incoming(answer: hyper::Response<Incoming>, lease: Option<Lease>, permits: Permits) -> Incoming1 {
    let (head, body) = answer.into_parts();
    let headers = head.headers.iter();
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let framed = head.version == http::Version::HTTP_2
        || headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    Incoming1 { status: head.status.as_u16(), headers, framed, body: Coming::Wire(body), cut: None, lease, permits }
}

impl Incoming1 {
    /// The next bytes of the body; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.next_in_earnest().await?;
        let (Some(left), Some(bytes)) = (self.cut.as_mut(), &next) else { return Ok(next) };
        if *left == 0 {
            return Err(interrupted());
        }
        let now = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
        *left -= now as u64;
        Ok(Some(bytes.slice(..now)))
    }

    async fn next_in_earnest(&mut self) -> Result<Option<Bytes>> {
        let wire = match &mut self.body {
            Coming::Wire(wire) => wire,
            Coming::Weather(body) => return Ok(body.take().filter(|body| !body.is_empty())),
        };
        loop {
            let frame = match timeout(SILENCE, wire.frame()).await {
                Ok(frame) => frame,
                Err(_) => {
                    return Err(Error::new(ErrorKind::Unavailable(None), "an answer stopped: 60 s without a byte"));
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => continue,
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => return Err(broken(error)),
                None => {
                    if let Some(lease) = self.lease.take() {
                        lease.end();
                    }
                    self.permits = Permits::default();
                    return Ok(None);
                }
            }
        }
    }

    /// At most so many bytes of the body; what lies beyond is left.
    pub(crate) async fn at_most(&mut self, most_bytes: usize) -> Result<Bytes> {
        let mut all = bytes::BytesMut::new();
        while let Some(bytes) = self.next().await? {
            let room = most_bytes - all.len();
            all.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or(&bytes));
            if all.len() == most_bytes {
                break;
            }
        }
        Ok(all.freeze())
    }

    /// The rest of the body.
    pub(crate) fn into_body(self) -> Body {
        Box::pin(futures::stream::try_unfold(self, |mut incoming| async move {
            Ok(incoming.next().await?.map(|bytes| (bytes, incoming)))
        }))
    }
}

impl Lease {
    /// The answer is complete: the connection rests as soon as it is ready for another request.
    fn end(self) {
        tokio::spawn(async move {
            let Lease { pools, key, mut single } = self;
            if let Ok(Ok(())) = timeout(Duration::from_secs(1), single.sender.ready()).await {
                pools.rest(key, single);
            }
        });
    }
}

fn broken(error: hyper::Error) -> Error {
    if error.is_user() {
        return Error::new(ErrorKind::Internal, "the content to be sent could not be read").with_detail(error);
    }
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        detail.push_str(": ");
        detail.push_str(&cause.to_string());
        source = cause.source();
    }
    Error::new(ErrorKind::Unavailable(None), "the connection to the provider broke").with_detail(detail)
}
