//! HTTP/1.1 as it is spoken on one connection. Written by hand over `httparse`, because fakes need what servers hide: the
//! spelling of header names, paths that are no valid URI, trailers, and answers that break off at an exact byte.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::front::{Outcome, Shared, split_port};
use crate::{Request, Response};

/// The request line and the headers together. More is an attack or a mistake.
const HEAD_MAX_BYTES: usize = 256 * 1024;
/// A body is held whole in memory; tests of several gigabytes use real servers.
const BODY_MAX_BYTES: usize = 1 << 30;

/// Serves a connection to its end. Returns the stream and the host when it became a tunnel (`CONNECT`).
pub(crate) async fn serve<S>(
    stream: S,
    name: Option<&str>,
    https: bool,
    shared: &Shared,
) -> io::Result<Option<(S, String)>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire { stream, buffer: BytesMut::new() };
    while let Some((mut request, last)) = wire.request(https, name).await? {
        if request.method == "CONNECT" {
            let (host, _) = split_port(&request.path);
            if !shared.knows(host) {
                wire.answer(&request, &Response::text(502, "no fake answers for this host"), None, true).await?;
                return Ok(None);
            }
            let host = host.to_owned();
            wire.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            return Ok(wire.buffer.is_empty().then_some((wire.stream, host)));
        }
        wire.body(&mut request).await?;
        match shared.handle(request.clone(), name).await {
            Outcome::Break => return Ok(None),
            Outcome::Answer { response, cut } => {
                wire.answer(&request, &response, cut, last).await?;
                if last || cut.is_some() {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}

struct Wire<S> {
    stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The head of the next request, and whether it is the connection's last; `None` when the client is done.
    async fn request(&mut self, https: bool, name: Option<&str>) -> io::Result<Option<(Request, bool)>> {
        loop {
            if let Some((request, used, last)) = head(&self.buffer, https, name)? {
                self.buffer.advance(used);
                return Ok(Some((request, last)));
            }
            if self.buffer.len() > HEAD_MAX_BYTES {
                return Err(broken("a request head that does not end"));
            }
            let begun = !self.buffer.is_empty();
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if begun { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
            }
        }
    }

    async fn body(&mut self, request: &mut Request) -> io::Result<()> {
        let chunked = request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = match request.header("content-length") {
            Some(value) => value.trim().parse().map_err(|_| broken("Content-Length is no number"))?,
            None => 0,
        };
        if (chunked || length > 0) && request.header("expect").is_some() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if !chunked {
            request.body = self.exact(length).await?;
            return Ok(());
        }
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| broken("a chunk without size"))?;
            if size == 0 {
                break;
            }
            if body.len() + size > BODY_MAX_BYTES {
                return Err(broken("the body is too long"));
            }
            body.extend_from_slice(&self.exact(size).await?);
            self.exact(2).await?;
        }
        request.body = body.freeze();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(()) };
            request.trailers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }

    async fn exact(&mut self, count: usize) -> io::Result<Bytes> {
        if count > BODY_MAX_BYTES {
            return Err(broken("the body is too long"));
        }
        while self.buffer.len() < count {
            self.buffer.reserve(count - self.buffer.len());
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(count).freeze())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(at);
                self.buffer.advance(2);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.buffer.len() > HEAD_MAX_BYTES {
                return Err(broken("a line that does not end"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn answer(
        &mut self,
        request: &Request,
        response: &Response,
        cut: Option<usize>,
        last: bool,
    ) -> io::Result<()> {
        let status = http::StatusCode::from_u16(response.status).ok();
        let reason = status.and_then(|status| status.canonical_reason()).unwrap_or("Status");
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", response.status);
        for (name, value) in &response.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let silent = response.status == 204 || response.status == 304;
        if response.header("content-length").is_none() && !silent {
            text.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
        }
        if last {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        self.stream.write_all(text.as_bytes()).await?;
        if !silent && request.method != "HEAD" {
            let end = cut.unwrap_or(response.body.len()).min(response.body.len());
            self.stream.write_all(response.body.get(..end).unwrap_or_default()).await?;
        }
        self.stream.flush().await?;
        if last || cut.is_some() { self.stream.shutdown().await } else { Ok(()) }
    }
}

/// Reads a request head: the request, its length, and whether the connection ends after it.
fn head(buffer: &[u8], https: bool, name: Option<&str>) -> io::Result<Option<(Request, usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    let used = match parsed.parse(buffer).map_err(io::Error::other)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(used) => used,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<_> = parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    let mut request =
        Request { method: parsed.method.unwrap_or_default().to_owned(), https, headers, ..Request::default() };
    request.authority = request.header("host").or(name).unwrap_or_default().to_owned();
    let mut target = parsed.path.unwrap_or_default();
    if let Some(absolute) = target.strip_prefix("http://") {
        let end = absolute.find(['/', '?']).unwrap_or(absolute.len());
        let (authority, rest) = absolute.split_at(end);
        request.authority = authority.to_owned();
        target = if rest.is_empty() { "/" } else { rest };
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (request.path, request.query) = (path.to_owned(), query.to_owned());
    request.host = split_port(&request.authority).0.to_ascii_lowercase();
    let closing = request.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"));
    Ok(Some((request, used, closing || parsed.version == Some(0))))
}

fn broken(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
