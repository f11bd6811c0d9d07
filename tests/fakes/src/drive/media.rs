//! Bytes going out: content, exports of documents, and the hosts of media.
use serde_json::json;

use super::failure::Failure;
use super::json::exports;
use super::model::{Content, Item};
use super::{Answer, Drive, json, truth};
use crate::{Range, Request, Response, World};

const LARGEST_EXPORT_BYTES: usize = 10 << 20;

impl Drive {
    /// `alt=media`.
    pub(super) fn download(&mut self, id: &str, request: &Request, world: &mut World) -> Answer {
        let item = self.find(id, request)?;
        let content = readable(item, request)?.clone();
        let (id, mime_type) = (item.id.clone(), item.mime_type.clone());
        if self.tricks.redirect_media {
            let token = world.word(40);
            let location = format!("https://doc-0s-9k-docs.googleusercontent.com/docs/securesc/{token}");
            self.handed_out.insert(token, id);
            return Ok(Response::empty(302).with("Location", location));
        }
        Ok(send(&content, &mime_type, request))
    }

    /// A host of media: the path is the credential.
    pub(super) fn handed_out(&mut self, request: &Request) -> Answer {
        let token = request.path.rsplit('/').next().unwrap_or_default();
        let id = self.handed_out.get(token).ok_or_else(|| Failure::not_found(token))?;
        let item = self.store.get(id).ok_or_else(|| Failure::not_found(id))?;
        let content = item.content().ok_or_else(|| Failure::not_found(id))?;
        Ok(send(content, &item.mime_type, request))
    }

    /// `files.export`: up to 10 MB, always whole.
    pub(super) fn export(&self, id: &str, request: &Request) -> Answer {
        let item = self.find(id, request)?;
        let wanted = request.param("mimeType").unwrap_or_default();
        if !item.is_document() {
            return Err(Failure::denied("fileNotExportable"));
        }
        if !exports(&item.mime_type).iter().any(|(_, kind)| *kind == wanted) {
            return Err(Failure::invalid("badRequest", "The requested conversion is not supported."));
        }
        if item.export.len() > LARGEST_EXPORT_BYTES {
            return Err(Failure::denied("exportSizeLimitExceeded"));
        }
        Ok(Response::of(200, &wanted, item.export.clone()))
    }

    /// The address in `exportLinks`: of any size, always whole.
    pub(super) fn export_by_link(&self, request: &Request, world: &World) -> Answer {
        self.sign_in.check(request, world)?;
        let id = request.param("id").unwrap_or_default();
        let item = self.store.get(&id).ok_or_else(|| Failure::not_found(&id))?;
        let extension = request.param("exportFormat").unwrap_or_default();
        let format = exports(&item.mime_type).iter().find(|(known, _)| *known == extension);
        let (_, kind) = format.ok_or_else(|| Failure::invalid("badRequest", "unknown format"))?;
        Ok(Response::of(200, kind, item.export.clone()))
    }

    /// Version 2, of which only `downloadUrl` is left and the address that it gives.
    pub(super) fn version_2(&mut self, id: &str, request: &Request, world: &mut World) -> Answer {
        if request.param("alt").as_deref() == Some("media") {
            return self.download(id, request, world);
        }
        let item = self.find(id, request)?;
        let origin = request.origin();
        let mut answer = json!({ "kind": "drive#file", "id": item.id, "title": item.name, "mimeType": item.mime_type });
        if let (Some(object), Some(_)) = (answer.as_object_mut(), item.content()) {
            let url = format!("{origin}/drive/v2/files/{}?alt=media&source=downloadUrl", item.id);
            object.insert("downloadUrl".into(), json!(url));
        }
        let names = request.param("fields");
        if let (Some(names), Some(object)) = (names, answer.as_object_mut()) {
            object.retain(|name, _| names.split(',').any(|wanted| wanted.trim() == name));
        }
        Ok(Response::json(200, &answer))
    }

    /// A revision, as JSON or its bytes.
    pub(super) fn revision(&self, id: &str, revision: &str, request: &Request) -> Answer {
        let item = self.find(id, request)?;
        let found = item.revisions.iter().rev().find(|one| one.id == revision || revision == "head");
        let found = found.ok_or_else(|| Failure::not_found(revision))?;
        if request.param("alt").as_deref() == Some("media") {
            return Ok(send(&found.content, &found.mime_type, request));
        }
        super::select(request, &super::fields::REVISION, "kind,id,mimeType,modifiedTime", json::revision(found))
    }
}

fn readable<'a>(item: &'a Item, request: &Request) -> Result<&'a Content, Failure> {
    let content = item.content().ok_or_else(|| Failure::denied("fileNotDownloadable"))?;
    if item.abusive && !truth(request, "acknowledgeAbuse") {
        return Err(Failure::denied("cannotDownloadAbusiveFile"));
    }
    Ok(content)
}

fn send(content: &Content, mime_type: &str, request: &Request) -> Response {
    let size = content.bytes.len();
    match Range::of(request.header("range"), size) {
        Range::All => Response::of(200, mime_type, content.bytes.clone()),
        Range::Part(start, end) => Response::of(206, mime_type, content.bytes.slice(start..end))
            .with("Content-Range", format!("bytes {start}-{}/{size}", end.saturating_sub(1))),
        Range::Outside => Response::empty(416).with("Content-Range", format!("bytes */{size}")),
    }
}
