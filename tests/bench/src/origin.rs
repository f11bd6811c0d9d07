//! A small S3 server over a directory: a measuring instrument, fast enough that it is never what is measured.
//!
//! A directory below the root is a bucket, a file in it an object. An ETag is made of inode, size and modification time, so it
//! is strong, costs no hashing, and is the same in listings and in headers; a dash in it tells clients that it is no MD5.
//! Content goes from file to socket and back within the kernel. Signatures are not looked at, there are no versions, no
//! chunked uploads and no directory markers.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use crate::http1::Head;

mod listing;
#[cfg(test)]
mod tests;
mod uploads;

use uploads::Upload;

/// Smaller answers go out in one write with their head.
const SMALL: u64 = 64 << 10;
/// Where a file keeps the object's metadata, as header lines.
const METADATA: &str = "user.s3";
/// Where content is until it is complete.
const UNFINISHED: &str = ".unfinished";

/// Serves for as long as the process lives.
pub fn serve(listener: &TcpListener, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join(UNFINISHED))?;
    let origin = Arc::new(Origin { root: root.to_owned(), ..Origin::default() });
    for stream in listener.incoming() {
        let (origin, stream) = (origin.clone(), stream?);
        // A connection that breaks concerns those at its ends.
        std::thread::spawn(move || origin.converse(&stream).ok());
    }
    Ok(())
}

#[derive(Default)]
struct Origin {
    root: PathBuf,
    next: AtomicU64,
    uploads: Mutex<HashMap<String, Upload>>,
    /// Bytes of content sent, by bucket and key.
    served: Mutex<HashMap<String, u64>>,
}

struct Request {
    head: Head,
    bucket: String,
    key: String,
    query: HashMap<String, String>,
}

struct Answer {
    status: u16,
    headers: String,
    body: Body,
}

enum Body {
    Text(String),
    File { file: File, from: u64, length: u64 },
}

impl Answer {
    fn new(status: u16, headers: String) -> Answer {
        Answer { status, headers, body: Body::Text(String::new()) }
    }

    fn xml(text: &str) -> Answer {
        Answer { status: 200, headers: "Content-Type: application/xml\r\n".into(), body: Body::Text(text.into()) }
    }

    fn error(status: u16, code: &str) -> Answer {
        let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
        Answer { status, ..Answer::xml(&text) }
    }
}

impl Origin {
    fn converse(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        while let Some(head) = Head::read(&mut reader)? {
            let body = head.length();
            if head.field("expect").is_some() {
                (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let headless = head.word(0) == "HEAD";
            let request = parse(head);
            let mut content = (&mut reader).take(body);
            let answer = match self.answer(&request, &mut content) {
                Ok(answer) => answer,
                Err(error) if error.kind() == ErrorKind::NotFound => Answer::error(404, "NoSuchKey"),
                Err(error) => Answer::error(500, &format!("InternalError: {error}")),
            };
            std::io::copy(&mut content, &mut std::io::sink())?;
            let sent = send(stream, answer, headless)?;
            if sent > 0 && request.head.word(0) == "GET" {
                let name = format!("{}/{}", request.bucket, request.key);
                *lock(&self.served).entry(name).or_default() += sent;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request, content: &mut (impl Read + Sized)) -> Result<Answer> {
        let has = |name: &str| request.query.contains_key(name);
        let path = self.root.join(&request.bucket).join(request.key.trim_start_matches('/'));
        if request.key.split('/').chain([&*request.bucket]).any(|name| name == "..") {
            return Ok(Answer::error(400, "InvalidArgument"));
        }
        Ok(match (request.head.word(0), &*request.bucket, &*request.key) {
            ("GET", "", _) => self.buckets()?,
            // How much of an object was sent, for those who measure.
            ("GET", "-", key) => {
                let served = lock(&self.served).get(key).copied().unwrap_or(0);
                Answer { status: 200, headers: String::new(), body: Body::Text(served.to_string()) }
            }
            ("HEAD", _, "") if path.is_dir() => Answer::new(200, String::new()),
            ("HEAD", _, "") => Answer::error(404, "NoSuchBucket"),
            ("PUT", _, "") => fs::create_dir_all(path).map(|()| Answer::new(200, String::new()))?,
            ("GET", _, "") if has("location") => Answer::xml("<LocationConstraint/>"),
            ("GET", _, "") if has("versioning") => Answer::xml("<VersioningConfiguration/>"),
            ("GET", _, "") if has("uploads") => Answer::xml("<ListMultipartUploadsResult/>"),
            ("GET", _, "") => self.list(request)?,
            ("GET", ..) if has("uploadId") => self.list_parts(request),
            ("GET" | "HEAD", ..) => get(&path, &request.head)?,
            ("PUT", ..) if has("uploadId") => self.put_part(request, content)?,
            ("PUT", ..) => self.put(request, &path, content)?,
            ("POST", ..) if has("uploads") => self.begin(request)?,
            ("POST", ..) if has("uploadId") => self.complete(request, &path, content)?,
            ("DELETE", ..) if has("uploadId") => {
                lock(&self.uploads).remove(&request.query["uploadId"]);
                Answer::new(204, String::new())
            }
            ("DELETE", ..) => self.delete(&path)?,
            _ => Answer::error(501, "NotImplemented"),
        })
    }

    fn buckets(&self) -> Result<Answer> {
        let mut buckets = String::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                let made = iso(&entry.metadata()?);
                buckets += &format!("<Bucket><Name>{}</Name><CreationDate>{made}</CreationDate></Bucket>", xml(&name));
            }
        }
        Ok(Answer::xml(&format!("<ListAllMyBucketsResult><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>")))
    }

    fn put(&self, request: &Request, path: &Path, content: &mut impl Read) -> Result<Answer> {
        if request.key.ends_with('/') {
            return Ok(Answer::error(501, "NotImplemented"));
        }
        let unfinished = self.unfinished();
        let Some(source) = request.head.field("x-amz-copy-source") else {
            let mut file = File::create(&unfinished)?;
            std::io::copy(content, &mut file)?;
            return self.finish(&request.head, &metadata(&request.head), &unfinished, path, "");
        };
        let source = self.root.join(decode(source.trim_start_matches('/')));
        fs::copy(&source, &unfinished)?;
        let anew = request.head.field("x-amz-metadata-directive") == Some("REPLACE");
        let kept = if anew { metadata(&request.head) } else { stored(&source) };
        self.finish(&request.head, &kept, &unfinished, path, "CopyObjectResult")
    }

    /// Gives a complete file its name, if what stands there is what was expected.
    fn finish(&self, head: &Head, metadata: &str, unfinished: &Path, path: &Path, told: &str) -> Result<Answer> {
        let there = fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|there| etag(&there));
        let unwanted = head.field("if-none-match") == Some("*") && there.is_some();
        let missed = head.field("if-match").is_some_and(|wanted| there.as_deref() != Some(wanted));
        if unwanted || missed {
            return Ok(Answer::error(412, "PreconditionFailed"));
        }
        setxattr(unfinished, METADATA, metadata.as_bytes(), XattrFlags::empty())?;
        fs::create_dir_all(path.parent().ok_or(ErrorKind::NotFound)?)?;
        fs::rename(unfinished, path)?;
        let now = fs::metadata(path)?;
        let (etag, modified) = (etag(&now), iso(&now));
        let mut answer = Answer::new(200, format!("ETag: {etag}\r\n"));
        if !told.is_empty() {
            let etag = xml(&etag);
            answer.body =
                Body::Text(format!("<{told}><ETag>{etag}</ETag><LastModified>{modified}</LastModified></{told}>"));
        }
        Ok(answer)
    }

    /// A directory goes with the last of what is in it, as it does where there are only keys.
    fn delete(&self, path: &Path) -> Result<Answer> {
        if fs::remove_file(path).is_ok() {
            let inside = |parent: &&Path| parent.parent().is_some_and(|bucket| bucket != self.root);
            path.ancestors().skip(1).take_while(inside).all(|parent| fs::remove_dir(parent).is_ok());
        }
        Ok(Answer::new(204, String::new()))
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join(UNFINISHED).join(format!("u{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

fn get(path: &Path, head: &Head) -> Result<Answer> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(Answer::error(404, "NoSuchKey"));
    }
    let (size, etag) = (metadata.len(), etag(&metadata));
    if head.field("if-match").is_some_and(|wanted| wanted != etag) {
        return Ok(Answer::error(412, "PreconditionFailed"));
    }
    let headers = format!(
        "ETag: {etag}\r\nLast-Modified: {}\r\nAccept-Ranges: bytes\r\n{}",
        time(&metadata).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        stored(path),
    );
    let Some(range) = head.field("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return Ok(Answer { status: 200, headers, body: Body::File { file, from: 0, length: size } });
    };
    let (first, last) = match range.split_once('-').map(|(first, last)| (first.parse(), last.parse::<u64>())) {
        Some((Ok(first), Ok(last))) => (first, last.min(size.saturating_sub(1))),
        Some((Ok(first), Err(_))) => (first, size.saturating_sub(1)),
        Some((Err(_), Ok(tail))) => (size.saturating_sub(tail), size.saturating_sub(1)),
        _ => return Ok(Answer::error(400, "InvalidArgument")),
    };
    if first >= size || last < first {
        return Ok(Answer::error(416, "InvalidRange"));
    }
    let headers = format!("{headers}Content-Range: bytes {first}-{last}/{size}\r\n");
    Ok(Answer { status: 206, headers, body: Body::File { file, from: first, length: last - first + 1 } })
}

/// Gives the bytes of content sent.
fn send(mut stream: &TcpStream, answer: Answer, headless: bool) -> Result<u64> {
    let length = match &answer.body {
        Body::Text(text) => text.len() as u64,
        Body::File { length, .. } => *length,
    };
    let mut out = format!(
        "HTTP/1.1 {} Origin\r\nContent-Length: {length}\r\nx-amz-request-id: 1\r\n{}\r\n",
        answer.status, answer.headers
    )
    .into_bytes();
    match answer.body {
        _ if headless => stream.write_all(&out).map(|()| 0),
        Body::Text(text) => {
            out.extend_from_slice(text.as_bytes());
            stream.write_all(&out).map(|()| 0)
        }
        Body::File { file, from, length } if length <= SMALL => {
            let head = out.len();
            out.resize(head + length as usize, 0);
            file.read_exact_at(&mut out[head..], from)?;
            stream.write_all(&out).map(|()| length)
        }
        Body::File { mut file, from, length } => {
            stream.write_all(&out)?;
            file.seek(SeekFrom::Start(from))?;
            std::io::copy(&mut file.take(length), &mut stream)
        }
    }
}

fn parse(head: Head) -> Request {
    let target = head.word(1);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    Request { bucket: decode(bucket), key: decode(key), query, head }
}

fn metadata(head: &Head) -> String {
    let own = head.fields("x-amz-meta-").chain(head.fields("content-type"));
    own.map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

fn stored(path: &Path) -> String {
    let mut bytes = [0; 4096];
    let length = getxattr(path, METADATA, &mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn etag(metadata: &fs::Metadata) -> String {
    let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    format!("\"{:x}-{:x}-{modified:x}\"", metadata.ino(), metadata.len())
}

fn time(metadata: &fs::Metadata) -> jiff::Timestamp {
    jiff::Timestamp::from_second(metadata.mtime()).unwrap_or_default()
}

fn iso(metadata: &fs::Metadata) -> String {
    time(metadata).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let code = others.get(..2).filter(|_| first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
