//! Google Drive, version 3 of its API: files by id with duplicate names, shared drives, documents, shortcuts, uploads that
//! resume, changes, permissions, revisions; sign-in of people and of service accounts. Version 2 only as far as `downloadUrl`.
//!
//! What tests may do to it stands in [`control`]. Everything belongs to one account, `me@example.org`.
mod changes;
mod control;
mod failure;
mod fields;
mod files;
mod json;
mod labels;
mod listing;
mod media;
mod metadata;
mod model;
mod query;
mod sharing;
mod signin;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Fake, Reply, Request, Response, World};
use control::Tricks;
use failure::Failure;
use fields::{Mask, Shape};
use model::{APP_ROOT, Item, ROOT, Store};
use signin::SignIn;
use upload::Upload;

type Answer = Result<Response, Failure>;

/// The server.
#[derive(Debug)]
pub struct Drive {
    store: Store,
    sign_in: SignIn,
    /// Sessions of resumable uploads.
    uploads: BTreeMap<String, Upload>,
    /// What the hosts of media serve without a token, by the last segment of the path.
    handed_out: BTreeMap<String, String>,
    tricks: Tricks,
}

impl Default for Drive {
    fn default() -> Drive {
        Drive {
            store: Store::new(World::default().now()),
            sign_in: SignIn::default(),
            uploads: BTreeMap::new(),
            handed_out: BTreeMap::new(),
            tricks: Tricks::default(),
        }
    }
}

impl Fake for Drive {
    fn name(&self) -> &'static str {
        "drive"
    }

    fn hosts(&self) -> Vec<String> {
        let hosts = ["www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "docs.google.com"];
        hosts.into_iter().chain(["*.googleusercontent.com"]).map(str::to_owned).collect()
    }

    fn owns_path(&self, path: &str) -> bool {
        path.starts_with("/drive/") || path.starts_with("/upload/drive/")
    }

    fn answer(&mut self, request: &Request, world: &mut World) -> Reply {
        let answer = match request.host.as_str() {
            "oauth2.googleapis.com" | "accounts.google.com" => Ok(self.sign_in.answer(request, world)),
            "docs.google.com" => self.export_by_link(request, world),
            host if host.ends_with(".googleusercontent.com") => self.handed_out(request),
            _ => self.api(request, world),
        };
        Reply::Now(answer.unwrap_or_else(Response::from))
    }

    fn control(&mut self, verb: &str, body: &Value, world: &mut World) -> Value {
        self.trick(verb, body, world)
    }

    fn accounts(&self, _origin: &str) -> Value {
        self.sign_in.accounts()
    }
}

impl Drive {
    fn api(&mut self, request: &Request, world: &mut World) -> Answer {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        // The address of an upload is its own credential.
        let session = request.param("upload_id").filter(|_| path.first() == Some(&"upload"));
        if session.is_none() {
            self.sign_in.check(request, world)?;
        }
        self.tricks.limit_rate(&request.method)?;
        if let Some(session) = session {
            return self.continue_upload(&session, request, world);
        }
        self.scoped(request, &path)?;
        match (request.method.as_str(), path.as_slice()) {
            ("POST", ["upload", "drive", "v3", "files"]) => self.upload(None, request, world),
            ("PATCH", ["upload", "drive", "v3", "files", id]) => self.upload(Some(id), request, world),
            ("GET", ["drive", "v2", "files", id]) => self.version_2(id, request, world),
            (_, ["drive", "v3", "files", rest @ ..]) => self.files(rest, request, world),
            ("GET", ["drive", "v3", "about"]) => self.about(request),
            (_, ["drive", "v3", "changes", rest @ ..]) => self.changes(rest, request, world),
            (_, ["drive", "v3", "drives", rest @ ..]) => self.drives(rest, request, world),
            _ => Err(Failure::not_found(&request.path)),
        }
    }

    /// Holds a request against what the token is good for.
    fn scoped(&self, request: &Request, path: &[&str]) -> Result<(), Failure> {
        let writes = request.method != "GET";
        let narrow = path.contains(&"root") && matches!(self.tricks.scope.as_str(), "drive.file" | "drive.appdata");
        match self.tricks.scope.as_str() {
            "drive.readonly" | "drive.metadata.readonly" if writes => Err(Failure::denied("insufficientPermissions")),
            "drive.metadata.readonly" if request.param("alt").as_deref() == Some("media") => {
                Err(Failure::denied("insufficientPermissions"))
            }
            _ if narrow => Err(Failure::not_found("root")),
            _ => Ok(()),
        }
    }

    /// An item that this request may see: of shared drives only with `supportsAllDrives`, of what was shared with a
    /// resource key only with that key, and only what the scope covers.
    fn find(&self, id: &str, request: &Request) -> Result<&Item, Failure> {
        let item = self.store.get(id).filter(|item| self.visible(item, request));
        let item = item.ok_or_else(|| Failure::not_found(id))?;
        // Media is given without it: the independent client never asks for all drives there, and is known to work.
        let media = request.method == "GET" && request.param("alt").as_deref() == Some("media");
        if item.drive.is_some() && !all_drives(request) && !media {
            return Err(Failure::not_found(id));
        }
        Ok(item)
    }

    fn visible(&self, item: &Item, request: &Request) -> bool {
        let header = request.header("x-goog-drive-resource-keys").unwrap_or_default();
        let given: Vec<_> = header.split(',').filter_map(|pair| pair.trim().split_once('/')).collect();
        let keys = self.store.keys(item);
        let opened = keys.is_empty() || keys.iter().any(|(id, key)| given.contains(&(id.as_str(), key.as_str())));
        opened && (self.tricks.scope != "drive.appdata" || item.app_data)
    }

    fn about(&self, request: &Request) -> Answer {
        if request.param("fields").is_none() {
            let text = "The 'fields' parameter is required for this method.";
            return Err(Failure { status: 400, reason: "required".into(), message: text.into() });
        }
        select(request, &fields::ABOUT, "", json::about(&self.store, self.tricks.limit_bytes))
    }

    /// An item as an answer.
    fn show(&self, id: &str, request: &Request) -> Answer {
        let item = self.store.get(id).ok_or_else(|| Failure::not_found(id))?;
        select(request, &fields::FILE, "kind,id,name,mimeType,resourceKey", json::file(&self.store, item))
    }
}

/// What `fields` selects of a value; without it, or when it is empty, what the method answers by itself.
fn select(request: &Request, shape: &Shape, usual: &str, value: Value) -> Answer {
    let fields = request.param("fields").filter(|fields| !fields.is_empty()).unwrap_or_else(|| usual.to_owned());
    let mask = Mask::parse(&fields, shape).map_err(|error| Failure::invalid("invalidParameter", &error))?;
    Ok(Response::json(200, &mask.apply(value)))
}

fn truth(request: &Request, name: &str) -> bool {
    request.param(name).as_deref() == Some("true")
}

fn all_drives(request: &Request) -> bool {
    truth(request, "supportsAllDrives") || truth(request, "supportsTeamDrives")
}

/// Whether an item is one that cannot be moved or removed.
fn is_root(item: &Item) -> bool {
    item.id == ROOT || item.id == APP_ROOT || item.drive.as_ref() == Some(&item.id)
}
