//! HTTP/2 inside direct TLS, spoken by hyper. Header names arrive in lower case here; a broken answer is a reset stream.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Request;
use crate::front::{Outcome, Shared, split_port};

/// Serves a connection to its end.
pub(crate) async fn serve<S>(stream: S, name: Option<String>, shared: Shared) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |incoming| answer(incoming, name.clone(), shared.clone()));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    connection.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

async fn answer(
    incoming: http::Request<Incoming>,
    name: Option<String>,
    shared: Shared,
) -> io::Result<http::Response<Full<Bytes>>> {
    let (head, body) = incoming.into_parts();
    let collected = body.collect().await.map_err(io::Error::other)?;
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let authority = head.uri.authority().map(ToString::to_string).or(name.clone()).unwrap_or_default();
    let pairs = |map: &http::HeaderMap| map.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let request = Request {
        method: head.method.to_string(),
        https: true,
        host: split_port(&authority).0.to_ascii_lowercase(),
        authority,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: pairs(&head.headers),
        trailers: collected.trailers().map(pairs).unwrap_or_default(),
        body: collected.to_bytes(),
        last_call: false,
    };
    let silent = request.method == "HEAD";
    let Outcome::Answer { response, cut } = shared.handle(request, name.as_deref()).await else {
        return Err(io::ErrorKind::ConnectionAborted.into());
    };
    let mut builder = http::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        // A header of the connection has no place in HTTP/2.
        if !name.eq_ignore_ascii_case("connection") {
            builder = builder.header(name, value);
        }
    }
    let whole = if silent { Bytes::new() } else { response.body.clone() };
    if response.header("content-length").is_none() {
        builder = builder.header("content-length", response.body.len());
    }
    // A reset would overtake what is still queued; a stream that ends before its announced length breaks off exactly here.
    let sent = whole.slice(..cut.unwrap_or(whole.len()).min(whole.len()));
    builder.body(Full::new(sent)).map_err(io::Error::other)
}
