//! Bytes coming in: media alone, multipart with metadata, and sessions that resume.
//!
//! A session takes chunks strictly in order, by PUT or POST. A chunk that is not the last must be a multiple of 256 KiB. One that
//! begins elsewhere than where the stored bytes end is not stored: the answer tells where they end.
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::failure::Failure;
use super::metadata::Metadata;
use super::model::Content;
use super::{Answer, Drive, truth};
use crate::{Request, Response, World};

const ALIGNMENT_BYTES: usize = 256 << 10;
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A session.
#[derive(Debug)]
pub(super) struct Upload {
    /// The item that is overwritten.
    target: Option<String>,
    metadata: Metadata,
    media_type: String,
    total: Option<usize>,
    stored: Vec<u8>,
    until: Timestamp,
    /// The request that began it: its query says how to answer.
    begun: Request,
    /// The item that it became.
    done: Option<String>,
}

impl Drive {
    /// A new file, or new bytes for one.
    pub(super) fn upload(&mut self, target: Option<&str>, request: &Request, world: &mut World) -> Answer {
        let target = target.map(|id| self.writable(id, request).map(|item| item.id.clone())).transpose()?;
        match request.param("uploadType").as_deref() {
            Some("media") => {
                let kind = request.media_type();
                let id = self.store_bytes(
                    target.as_deref(),
                    &Metadata::default(),
                    &kind,
                    request.body.clone(),
                    request,
                    world,
                )?;
                self.show(&id, request)
            }
            Some("multipart") => {
                let (metadata, media_type, bytes) = related(request)?;
                let id = self.store_bytes(target.as_deref(), &metadata, &media_type, bytes, request, world)?;
                self.show(&id, request)
            }
            Some("resumable") => self.begin_upload(target, request, world),
            _ => Err(Failure::invalid("invalidParameter", "Invalid value for uploadType")),
        }
    }

    fn begin_upload(&mut self, target: Option<String>, request: &Request, world: &mut World) -> Answer {
        let metadata = Metadata::read(&request.body)?;
        metadata.check(target.is_none())?;
        for parent in metadata.parents() {
            if !self.find(&parent, request)?.is_folder() {
                return Err(Failure::invalid("parentNotAFolder", "The specified parent is not a folder."));
            }
        }
        let total = request.header("x-upload-content-length").map(str::parse).transpose();
        let total = total.map_err(|_| Failure::invalid("badRequest", "Invalid X-Upload-Content-Length"))?;
        self.room(total.unwrap_or_default())?;
        let session = world.word(60);
        let kind = request.param("uploadType").unwrap_or_default();
        let location = format!("{}{}?uploadType={kind}&upload_id={session}", request.origin(), request.path);
        let upload = Upload {
            target,
            metadata,
            media_type: request.header("x-upload-content-type").unwrap_or("application/octet-stream").to_owned(),
            total,
            stored: Vec::new(),
            until: world.now().saturating_add(LIFE).unwrap_or(Timestamp::MAX),
            begun: Request { body: Bytes::new(), ..request.clone() },
            done: None,
        };
        self.uploads.insert(session.clone(), upload);
        Ok(Response::empty(200).with("Location", location).with("X-GUploader-UploadID", session))
    }

    /// A chunk, a question where the session stands, or its end.
    pub(super) fn continue_upload(&mut self, session: &str, request: &Request, world: &mut World) -> Answer {
        let gone = || Failure::not_found("upload session");
        let upload = self.uploads.get_mut(session).filter(|upload| upload.until > world.now()).ok_or_else(gone)?;
        if request.method == "DELETE" {
            self.uploads.remove(session);
            return Ok(Response::empty(499));
        }
        if !matches!(request.method.as_str(), "PUT" | "POST") {
            return Err(Failure::invalid("badRequest", "Chunks are sent by PUT"));
        }
        if let Some(id) = upload.done.clone() {
            let begun = upload.begun.clone();
            return self.show(&id, &begun);
        }
        let whole = format!("bytes 0-{}/{}", request.body.len().saturating_sub(1), request.body.len());
        let header =
            request.header("content-range").unwrap_or(if request.body.is_empty() { "bytes */0" } else { &whole });
        let range =
            ContentRange::read(header).ok_or_else(|| Failure::invalid("badRequest", "Invalid Content-Range"))?;
        upload.accept(&range, &request.body)?;
        if upload.total != Some(upload.stored.len()) {
            return Ok(incomplete(upload.stored.len(), request));
        }
        let bytes = Bytes::from(std::mem::take(&mut upload.stored));
        let (target, metadata, begun) = (upload.target.clone(), upload.metadata.clone(), upload.begun.clone());
        let media_type = upload.media_type.clone();
        let id = self.store_bytes(target.as_deref(), &metadata, &media_type, bytes, &begun, world)?;
        if let Some(upload) = self.uploads.get_mut(session) {
            upload.done = Some(id.clone());
        }
        self.show(&id, &begun)
    }

    fn store_bytes(
        &mut self,
        target: Option<&str>,
        metadata: &Metadata,
        media_type: &str,
        bytes: Bytes,
        request: &Request,
        world: &mut World,
    ) -> Result<String, Failure> {
        self.room(bytes.len())?;
        let id = match target {
            Some(id) => {
                self.update(id, metadata, request, world)?;
                id.to_owned()
            }
            None => self.create(metadata, request, world)?,
        };
        let mut item = self.store.get(&id).cloned().ok_or_else(|| Failure::not_found(&id))?;
        if item.is_document() {
            // A conversion: what was sent is what the document exports.
            item.export = bytes;
        } else if metadata.is_native() || item.is_folder() || item.target.is_some() {
            return Err(Failure::invalid("badRequest", "This item has no content."));
        } else {
            if metadata.text("mimeType").is_none() && !media_type.is_empty() {
                item.mime_type = media_type.to_owned();
            }
            if metadata.text("modifiedTime").is_none() {
                item.modified = world.now();
            }
            if target.is_none() {
                item.revisions.clear();
            }
            item.write(Content::from(bytes), truth(request, "keepRevisionForever"), world);
        }
        self.store.put(item, world.now());
        Ok(id)
    }
}

impl Upload {
    fn accept(&mut self, range: &ContentRange, body: &[u8]) -> Result<(), Failure> {
        let wrong = |text: &str| Failure::invalid("badRequest", text);
        if let (Some(known), Some(told)) = (self.total, range.total)
            && known != told
        {
            return Err(wrong("The total size differs from the one declared."));
        }
        let Some((first, last)) = range.bytes else {
            if !body.is_empty() {
                return Err(wrong("A body without a range."));
            }
            // Where nothing is missing, this is also how an upload ends.
            if range.total == Some(self.stored.len()) {
                self.total = range.total;
            }
            return Ok(());
        };
        let end = last.checked_add(1).ok_or_else(|| wrong("Invalid Content-Range"))?;
        if end.checked_sub(first) != Some(body.len()) {
            return Err(wrong("The range does not fit the body."));
        }
        let total = range.total.or(self.total);
        if total.is_some_and(|total| end > total) {
            return Err(wrong("The range ends behind the total size."));
        }
        if total != Some(end) && !body.len().is_multiple_of(ALIGNMENT_BYTES) {
            return Err(wrong("A chunk that is not the last must be a multiple of 262144 bytes."));
        }
        if first == self.stored.len() {
            self.stored.extend_from_slice(body);
            self.total = total;
        }
        Ok(())
    }
}

/// 308. Clients that cannot see one ask for 200 with the status in a header.
fn incomplete(stored: usize, request: &Request) -> Response {
    let hidden = request.header("x-guploader-no-308").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    let answer =
        if hidden { Response::empty(200).with("X-HTTP-Status-Code-Override", "308") } else { Response::empty(308) };
    match stored.checked_sub(1) {
        Some(last) => answer.with("Range", format!("bytes=0-{last}")),
        None => answer,
    }
}

/// `bytes 0-9/20`, `bytes 0-9/*`, `bytes */20`.
struct ContentRange {
    bytes: Option<(usize, usize)>,
    total: Option<usize>,
}

impl ContentRange {
    fn read(text: &str) -> Option<ContentRange> {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        if range == "*" {
            return Some(ContentRange { bytes: None, total });
        }
        let (first, last) = range.split_once('-')?;
        Some(ContentRange { bytes: Some((first.parse().ok()?, last.parse().ok()?)), total })
    }
}

/// The two parts of `multipart/related`: metadata as JSON, then the media.
fn related(request: &Request) -> Result<(Metadata, String, Bytes), Failure> {
    let wrong = |text: &str| Failure::invalid("badContent", text);
    if request.media_type() != "multipart/related" {
        return Err(wrong("multipart/related is expected"));
    }
    let parts = request.multipart().ok_or_else(|| wrong("Malformed multipart body."))?;
    let [first, second] = parts.as_slice() else { return Err(wrong("Two parts are expected")) };
    let kind = first.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if !kind.starts_with("application/json") {
        return Err(wrong("The first part is JSON"));
    }
    let media_type = second.header("content-type").unwrap_or("application/octet-stream").to_owned();
    Ok((Metadata::read(&first.body)?, media_type, second.body.clone()))
}
