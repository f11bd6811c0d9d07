//! Permissions of items, and their revisions.
use serde_json::{Value, json};

use super::failure::Failure;
use super::model::ME;
use super::{Answer, Drive, fields, json, select, truth};
use crate::{Request, Response, World};

const ROLES: &[&str] = &["owner", "organizer", "fileOrganizer", "writer", "commenter", "reader"];

impl Drive {
    pub(super) fn permissions(&mut self, id: &str, rest: &[&str], request: &Request, world: &World) -> Answer {
        let mut item = self.find(id, request)?.clone();
        let all = json::permissions(&item);
        let position = |wanted: &str| item.permissions.iter().position(|one| one.get("id") == Some(&json!(wanted)));
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let answer = json!({ "kind": "drive#permissionList", "permissions": all });
                select(request, &fields::PERMISSIONS, "kind,permissions(kind,id,type,role)", answer)
            }
            ("GET", [one]) => {
                let found = all.into_iter().find(|have| have.get("id") == Some(&json!(one)));
                let found = found.ok_or_else(|| missing(one))?;
                select(request, &fields::PERMISSION, "kind,id,type,role", found)
            }
            ("POST", []) => {
                self.writable(id, request)?;
                let body = request.json().ok_or_else(|| Failure::invalid("parseError", "Parse Error"))?;
                let permission = permission(&body)?;
                if body.get("role") == Some(&json!("owner")) {
                    if !truth(request, "transferOwnership") {
                        return Err(Failure::denied("forbidden"));
                    }
                    item.owner = body.get("emailAddress").and_then(Value::as_str).unwrap_or(ME).to_owned();
                } else {
                    item.permissions.retain(|one| one.get("id") != permission.get("id"));
                    item.permissions.push(permission.clone());
                }
                self.store.put(item, world.now());
                select(request, &fields::PERMISSION, "kind,id,type,role", permission)
            }
            ("PATCH", [one]) => {
                let index = position(one).ok_or_else(|| missing(one))?;
                let role = request.json().and_then(|body| body.get("role").cloned()).unwrap_or_default();
                let found =
                    item.permissions.get_mut(index).and_then(Value::as_object_mut).ok_or_else(|| missing(one))?;
                found.insert("role".into(), role);
                let answer = Value::Object(found.clone());
                self.store.put(item, world.now());
                select(request, &fields::PERMISSION, "kind,id,type,role", answer)
            }
            ("DELETE", [one]) => {
                let index = position(one).ok_or_else(|| missing(one))?;
                item.permissions.remove(index);
                self.store.put(item, world.now());
                Ok(Response::empty(204))
            }
            _ => Err(Failure::not_found(&request.path)),
        }
    }

    pub(super) fn revisions(&mut self, id: &str, rest: &[&str], request: &Request, world: &World) -> Answer {
        let mut item = self.find(id, request)?.clone();
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let size = super::listing::page_size(request, world)?;
                let from = request.param("pageToken").and_then(|token| token.parse().ok()).unwrap_or(0_usize);
                let rest = item.revisions.get(from..).unwrap_or_default();
                let shown: Vec<Value> = rest.iter().take(size).map(json::revision).collect();
                let mut answer = json!({ "kind": "drive#revisionList", "revisions": shown });
                if let (true, Some(object)) = (rest.len() > size, answer.as_object_mut()) {
                    object.insert("nextPageToken".into(), json!((from + size).to_string()));
                }
                let usual = "kind,nextPageToken,revisions(kind,id,mimeType,modifiedTime)";
                select(request, &fields::REVISIONS, usual, answer)
            }
            ("PATCH", [revision]) => {
                let found = item.revisions.iter_mut().find(|one| one.id == *revision);
                let found = found.ok_or_else(|| Failure::not_found(revision))?;
                let keep = request.json().and_then(|body| body.get("keepForever").and_then(Value::as_bool));
                found.keep = keep.unwrap_or(found.keep);
                let answer = json::revision(found);
                self.store.put(item, world.now());
                select(request, &fields::REVISION, "kind,id,mimeType,modifiedTime", answer)
            }
            ("DELETE", [revision]) => {
                if item.revisions.last().is_some_and(|last| last.id == *revision) {
                    return Err(Failure::invalid("cannotDeleteOnlyRevision", "The head revision cannot be deleted."));
                }
                let count = item.revisions.len();
                item.revisions.retain(|one| one.id != *revision);
                if item.revisions.len() == count {
                    return Err(Failure::not_found(revision));
                }
                self.store.put(item, world.now());
                Ok(Response::empty(204))
            }
            _ => Err(Failure::not_found(&request.path)),
        }
    }
}

fn missing(id: &str) -> Failure {
    Failure { message: format!("Permission not found: {id}."), ..Failure::not_found(id) }
}

/// A permission from what a client wants. The one for anyone has a fixed id.
fn permission(body: &Value) -> Result<Value, Failure> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, role) = (text("type"), text("role"));
    if !ROLES.contains(&role) {
        return Err(Failure::invalid("invalid", "The permission role field is required."));
    }
    match kind {
        "anyone" if body.get("expirationTime").is_some() => Err(Failure::denied("expirationDateNotAllowedForAnyone")),
        "anyone" => {
            let discovery = body.get("allowFileDiscovery").and_then(Value::as_bool).unwrap_or(false);
            let id = if discovery { "anyone" } else { "anyoneWithLink" };
            Ok(
                json!({ "kind": "drive#permission", "id": id, "type": kind, "role": role, "allowFileDiscovery": discovery }),
            )
        }
        "user" | "group" if text("emailAddress").contains('@') => {
            let id = json::user(text("emailAddress")).get("permissionId").cloned().unwrap_or_default();
            Ok(json!({
                "kind": "drive#permission", "id": id, "type": kind, "role": role, "emailAddress": text("emailAddress"),
            }))
        }
        "domain" if !text("domain").is_empty() => {
            let id = format!("{}k", text("domain"));
            Ok(json!({ "kind": "drive#permission", "id": id, "type": kind, "role": role, "domain": text("domain") }))
        }
        _ => Err(Failure::invalid("invalid", "The permission type field is required.")),
    }
}
