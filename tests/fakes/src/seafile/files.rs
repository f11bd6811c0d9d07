//! The file server: content comes and goes through links that the API hands out. A link is bound to what it was made for, and works once.

use bytes::{Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::library::{Library, Node, absolute, join, split, valid_name};
use super::{Failure, Seafile};
use crate::text::{decode, encode};
use crate::{Part, Range, Request, Response, World};

/// How long a link works at most.
const LINK: SignedDuration = SignedDuration::from_hours(1);
/// How long the parts of an unfinished upload are kept.
const PARTS: SignedDuration = SignedDuration::from_hours(3 * 24);

/// What a link is for.
#[derive(Debug, Clone)]
pub(super) struct Link {
    user: String,
    library: String,
    purpose: Purpose,
    until: Timestamp,
}

#[derive(Debug, Clone)]
enum Purpose {
    Download { path: String, once: bool },
    Upload { dir: String },
    Update,
}

/// The parts of an upload that have arrived.
#[derive(Debug)]
pub(super) struct Parts {
    content: BytesMut,
    since: Timestamp,
}

impl Seafile {
    fn link(&mut self, user: &str, library: &str, purpose: Purpose, world: &mut World) -> String {
        let token = world.uuid();
        let until = world.now().saturating_add(LINK).unwrap_or(Timestamp::MAX);
        self.links.insert(token.clone(), Link { user: user.into(), library: library.into(), purpose, until });
        token
    }

    /// `GET api2/repos/{repo}/file/`.
    pub(super) fn download_link(
        &mut self,
        user: &str,
        id: &str,
        request: &Request,
        world: &mut World,
    ) -> Result<Response, Failure> {
        let path =
            request.param("p").and_then(|path| absolute(&path)).ok_or_else(|| Failure::invalid("Path is invalid."))?;
        self.open(user, id, world.now())?.file(&path).ok_or_else(|| Failure::no_file(&path))?;
        let once = request.param("reuse").as_deref() != Some("1");
        let link = self.file_url(user, id, &path, once, request, world);
        Ok(Response::json(200, &json!(link)))
    }

    /// A URL that content can be read from.
    pub(super) fn file_url(
        &mut self,
        user: &str,
        id: &str,
        path: &str,
        once: bool,
        request: &Request,
        world: &mut World,
    ) -> String {
        let token = self.link(user, id, Purpose::Download { path: path.to_owned(), once }, world);
        format!("{}/seafhttp/files/{token}/{}", request.origin(), encode(split(path).1, ""))
    }

    /// `GET api2/repos/{repo}/upload-link/` and `update-link/`.
    pub(super) fn upload_link(
        &mut self,
        user: &str,
        id: &str,
        kind: &str,
        request: &Request,
        world: &mut World,
    ) -> Result<Response, Failure> {
        let dir = request.param("p").unwrap_or("/".into());
        let dir = absolute(&dir).ok_or_else(|| Failure::invalid("p invalid."))?;
        if !self.open_to_write(user, id, world.now())?.is_dir(&dir) {
            return Err(Failure::no_folder(&dir));
        }
        let (purpose, place) = match kind {
            "upload-link" => (Purpose::Upload { dir }, "upload-api"),
            _ => (Purpose::Update, "update-api"),
        };
        let token = self.link(user, id, purpose, world);
        Ok(Response::json(200, &json!(format!("{}/seafhttp/{place}/{token}", request.origin()))))
    }

    /// `GET api/v2.1/repos/{repo}/file-uploaded-bytes/`.
    pub(super) fn uploaded_bytes(
        &mut self,
        user: &str,
        id: &str,
        request: &Request,
        now: Timestamp,
    ) -> Result<Response, Failure> {
        let dir = request.param("parent_dir").and_then(|dir| absolute(&dir));
        let dir = dir.ok_or_else(|| Failure::invalid("parent_dir invalid."))?;
        let name = request.param("file_name").ok_or_else(|| Failure::invalid("file_name invalid."))?;
        self.open(user, id, now)?;
        self.parts.retain(|_, parts| now.duration_since(parts.since) < PARTS);
        let parts = self.parts.get(&(id.to_owned(), join(&dir, &name)));
        Ok(Response::json(200, &json!({"uploadedBytes": parts.map_or(0, |parts| parts.content.len())})))
    }

    /// Everything below `/seafhttp/`.
    pub(super) fn file_server(
        &mut self,
        request: &Request,
        path: &[&str],
        world: &mut World,
    ) -> Result<Response, Failure> {
        if self.strict && request.header("authorization").is_some() {
            return Err(Failure::new(403, "The URL is the authorization."));
        }
        let (place, token) = match path {
            ["files", token, ..] => ("files", *token),
            [place @ ("upload-api" | "update-api"), token] => (*place, *token),
            _ => return Err(Failure::new(404, "Not found")),
        };
        let now = world.now();
        let denied = || Failure::new(403, "Access token not found");
        let link = self.links.get(token).filter(|link| link.until > now).cloned().ok_or_else(denied)?;
        match (request.method.as_str(), place, &link.purpose) {
            ("GET" | "HEAD", "files", Purpose::Download { path: wanted, once }) => {
                if path.get(2) != Some(&split(wanted).1) {
                    return Err(denied());
                }
                if *once && request.method == "GET" {
                    self.links.remove(token);
                }
                self.download(request, &link, wanted, now)
            }
            ("POST", "upload-api", Purpose::Upload { dir }) => {
                let answer = self.upload(request, &link, dir, now);
                // A link is used up by a whole file or a failure; parts go on with the same one.
                if !matches!(&answer, Ok((_, false))) {
                    self.links.remove(token);
                }
                answer.map(|(response, _)| response)
            }
            ("POST", "update-api", Purpose::Update) => {
                self.links.remove(token);
                self.update(request, &link, now)
            }
            _ => Err(denied()),
        }
    }

    fn download(&mut self, request: &Request, link: &Link, path: &str, now: Timestamp) -> Result<Response, Failure> {
        let library = self.open(&link.user, &link.library, now)?;
        let Some(Node::File { content, .. }) = library.file(path) else {
            return Err(Failure::new(404, "File not found"));
        };
        let name = encode(split(path).1, "");
        let answer = |status: u16, body: Bytes| {
            Response::of(status, "application/octet-stream", body)
                .with("Content-Disposition", format!("attachment; filename*=utf-8''{name}"))
        };
        let size = content.len();
        if library.key.is_some() || size == 0 {
            return Ok(answer(200, content.clone()));
        }
        Ok(match Range::of(request.header("range"), size) {
            Range::All => answer(200, content.clone()).with("Accept-Ranges", "bytes"),
            Range::Part(from, to) => {
                let last = to.saturating_sub(1);
                answer(206, content.slice(from..to)).with("Content-Range", format!("bytes {from}-{last}/{size}"))
            }
            Range::Outside => answer(416, Bytes::new()).with("Content-Range", format!("bytes */{size}")),
        })
    }

    /// A whole file or a part of one; whether the file is complete.
    fn upload(
        &mut self,
        request: &Request,
        link: &Link,
        dir: &str,
        now: Timestamp,
    ) -> Result<(Response, bool), Failure> {
        let form = form(request)?;
        let field = |name: &str| form.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let parent = field("parent_dir").ok_or_else(|| Failure::invalid("Invalid URL."))?;
        if absolute(parent).as_deref() != Some(dir) {
            return Err(Failure::new(403, "Permission denied."));
        }
        let relative = field("relative_path").unwrap_or_default();
        if relative.starts_with('/') || relative.contains('\\') {
            return Err(Failure::invalid("Invalid relative path"));
        }
        let below = relative.trim_end_matches('/');
        let target = if below.is_empty() { Some(dir.to_owned()) } else { absolute(&join(dir, below)) };
        let target = target.ok_or_else(|| Failure::invalid("Invalid relative path"))?;
        let (name, content, complete) = match partial(request)? {
            None => (form.name.clone(), form.content.clone(), true),
            Some(range) => {
                let key = (link.library.clone(), join(&target, &range.name));
                let parts =
                    self.parts.entry(key.clone()).or_insert_with(|| Parts { content: BytesMut::new(), since: now });
                if parts.content.len() != range.from || form.content.len() != range.to - range.from {
                    return Err(Failure::invalid("The part does not follow the last one"));
                }
                parts.content.extend_from_slice(&form.content);
                if range.to < range.total {
                    return Ok((Response::json(200, &json!({"success": true})), false));
                }
                let whole = self.parts.remove(&key).map(|parts| parts.content.freeze()).unwrap_or_default();
                (range.name, whole, true)
            }
        };
        if !valid_name(&name) || name.contains('\\') {
            return Err(Failure::new(440, "Invalid filename"));
        }
        self.room_for(&link.user, content.len())?;
        let library = self.open_to_write(&link.user, &link.library, now)?;
        if !library.is_dir(dir) {
            return Err(Failure::invalid("Parent dir doesn't exist."));
        }
        library.make_dirs(&target, now);
        let replace = field("replace") == Some("1") && library.file(&join(&target, &name)).is_some();
        let name = if replace { name } else { library.free_name(&target, &name) };
        let told = stored(library, &join(&target, &name), content, now)?;
        Ok(match request.param("ret-json").is_some() {
            true => (Response::json(200, &json!([told])), complete),
            false => (Response::text(200, told.get("id").and_then(|id| id.as_str()).unwrap_or_default()), complete),
        })
    }

    fn update(&mut self, request: &Request, link: &Link, now: Timestamp) -> Result<Response, Failure> {
        let form = form(request)?;
        let target = form.fields.iter().find(|(key, _)| key == "target_file");
        let target = target.and_then(|(_, path)| absolute(path)).ok_or_else(|| Failure::invalid("Invalid URL."))?;
        self.room_for(&link.user, form.content.len())?;
        let library = self.open_to_write(&link.user, &link.library, now)?;
        if library.file(&target).is_none() {
            return Err(Failure::new(441, "File does not exist"));
        }
        let told = stored(library, &target, form.content, now)?;
        Ok(Response::text(200, told.get("id").and_then(|id| id.as_str()).unwrap_or_default()))
    }

    fn room_for(&self, user: &str, size_bytes: usize) -> Result<(), Failure> {
        let size = size_bytes as u64;
        if self.file_max_bytes.is_some_and(|most| size > most) {
            return Err(Failure::new(442, "File size is too large"));
        }
        if self.quota_bytes.is_some_and(|quota| self.used_bytes(user) + size > quota) {
            return Err(Failure::new(443, "Out of quota"));
        }
        Ok(())
    }
}

/// Puts a file to a path, unless someone has locked the one that is there.
fn stored(library: &mut Library, path: &str, content: Bytes, now: Timestamp) -> Result<serde_json::Value, Failure> {
    if library.is_locked(path) {
        return Err(Failure::new(423, "File is locked"));
    }
    let size = content.len();
    let node = Node::File { content, mtime: now, locked: false };
    let told = json!({"name": split(path).1, "id": node.id(), "size": size});
    library.put(path, node, now);
    Ok(told)
}

/// An upload's form: fields, then the one file.
struct Form {
    fields: Vec<(String, String)>,
    name: String,
    content: Bytes,
}

fn form(request: &Request) -> Result<Form, Failure> {
    let parts = request.multipart().ok_or_else(|| Failure::invalid("No file in multipart form"))?;
    let is_file = |part: &Part| part.name().as_deref() == Some("file");
    let at = parts.iter().position(is_file).ok_or_else(|| Failure::invalid("No file in multipart form"))?;
    if at + 1 != parts.len() {
        return Err(Failure::invalid("Fields must come before the file"));
    }
    let (fields, file) = parts.split_at(at);
    let fields = fields.iter().filter_map(|part| Some((part.name()?, part.text()))).collect();
    let file = file.first().ok_or_else(|| Failure::invalid("No file in multipart form"))?;
    let name = file.file_name().ok_or_else(|| Failure::invalid("No file name"))?;
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Form { fields, name, content: file.body.clone() })
}

/// Where a part belongs.
struct Partial {
    name: String,
    from: usize,
    to: usize,
    total: usize,
}

/// What `Content-Range` and `Content-Disposition` of the request say, where it is a part.
fn partial(request: &Request) -> Result<Option<Partial>, Failure> {
    let Some(range) = request.header("content-range") else { return Ok(None) };
    let wrong = || Failure::invalid("Invalid Content-Range");
    let (span, total) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).ok_or_else(wrong)?;
    let (from, last) = span.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let (from, to, total) = (number(from)?, number(last)?.saturating_add(1), number(total)?);
    if to <= from || to > total {
        return Err(wrong());
    }
    let disposition = request.header("content-disposition").unwrap_or_default();
    let name = crate::multipart::parameter(disposition, "filename").ok_or_else(|| Failure::invalid("No file name"))?;
    Ok(Some(Partial { name: decode(&name), from, to, total }))
}
