//! `changes`: what happened since a token. A token is a place in the record, one for all drives.
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Answer, Drive, all_drives, fields, json, select, truth};
use crate::{Request, World};

impl Drive {
    pub(super) fn changes(&mut self, rest: &[&str], request: &Request, world: &World) -> Answer {
        let drive = request.param("driveId");
        if drive.is_some() && !all_drives(request) {
            return Err(Failure::denied("teamDrivesNotSupported"));
        }
        if let Some(missing) = drive.as_ref().filter(|id| !self.store.drives.contains_key(*id)) {
            return Err(Failure {
                message: format!("Shared drive not found: {missing}"),
                ..Failure::not_found(missing)
            });
        }
        match (request.method.as_str(), rest) {
            ("GET", ["startPageToken"]) => {
                let token = token(self.store.changes.len());
                let answer = json!({ "kind": "drive#startPageToken", "startPageToken": token });
                select(request, &fields::START, "*", answer)
            }
            ("GET", []) => self.changes_since(drive.as_deref(), request, world),
            _ => Err(Failure::not_found(&request.path)),
        }
    }

    fn changes_since(&self, drive: Option<&str>, request: &Request, world: &World) -> Answer {
        let text = request.param("pageToken");
        let text = text.ok_or_else(|| Failure::invalid("required", "Required parameter: pageToken"))?;
        let from = text.parse::<usize>().ok().and_then(|token| token.checked_sub(FIRST));
        let from = from.filter(|from| *from <= self.store.changes.len());
        let from = from.ok_or_else(|| Failure::invalid("invalid", "Invalid Value: pageToken"))?;
        let size = super::listing::page_size(request, world)?;
        let shared = truth(request, "includeItemsFromAllDrives") && !truth(request, "restrictToMyDrive");
        let removed = request.param("includeRemoved").as_deref() != Some("false");
        let app_data = request.param("spaces").as_deref() == Some("appDataFolder");
        let seen = self.store.changes.get(from..).unwrap_or_default();
        let page = seen.get(..size).unwrap_or(seen);
        // Of several changes of one item the last one tells all, as at Google.
        let last = |index: usize, id: &str| page.iter().skip(index + 1).all(|later| later.id != id);
        let wanted = page.iter().enumerate().filter(|(index, change)| {
            let here = match drive {
                Some(drive) => change.drive.as_deref() == Some(drive),
                None => change.drive.is_none() || shared,
            };
            here && change.app_data == app_data && (removed || !change.removed) && last(*index, &change.id)
        });
        let changes: Vec<Value> = wanted.map(|(_, change)| json::change(&self.store, change)).collect();
        let mut answer = json!({ "kind": "drive#changeList", "changes": changes });
        if let Some(object) = answer.as_object_mut() {
            let name = if seen.len() > size { "nextPageToken" } else { "newStartPageToken" };
            object.insert(name.into(), json!(token(from + page.len())));
        }
        let usual = "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,fileId,file(kind,id,name,mimeType))";
        select(request, &fields::CHANGES, usual, answer)
    }
}

/// Tokens are numbers, but not from zero.
const FIRST: usize = 100;

fn token(place: usize) -> String {
    (FIRST + place).to_string()
}
