//! `files.list`: search by pages.
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::failure::Failure;
use super::model::{Item, Stored};
use super::query::Query;
use super::{Answer, Drive, all_drives, fields, json, select, truth};
use crate::{Request, World};

const LARGEST_PAGE: usize = 1000;
const USUAL_PAGE: usize = 100;
const USUAL: &str = "kind,incompleteSearch,nextPageToken,files(kind,id,name,mimeType,resourceKey)";

impl Drive {
    pub(super) fn list(&mut self, request: &Request, world: &World) -> Answer {
        let text = request.param("q").unwrap_or_default();
        let query = match text.trim() {
            "" => None,
            text => Some(
                Query::parse(text).map_err(|error| Failure::invalid("invalid", &format!("Invalid Value: {error}")))?,
            ),
        };
        let place = Place::of(request)?;
        let page = page_size(request, world)?;
        let after = request.param("pageToken").map(|token| read_token(&token, &text)).transpose()?;
        let hidden = self.tricks.hide();
        let parents = text.matches(" in parents").count();
        let found = self.store.items.values().filter(|item| {
            place.holds(item)
                && self.visible(item, request)
                && !super::is_root(item)
                && !hidden.contains(&item.id)
                && after.as_ref().is_none_or(|after| item.id > *after)
                && query.as_ref().is_none_or(|query| query.matches(&Stored(&self.store, item)))
        });
        // As Google at times does: nothing for several parents, or a first page without entries that is not the last.
        let barren = self.tricks.no_several_parents && parents > 1;
        let found: Vec<&Item> = found.take(if barren { 0 } else { page + 1 }).collect();
        let empty = self.tricks.empty_pages && after.is_none();
        let shown = if empty { &[] } else { found.get(..page).unwrap_or(&found) };
        let mut answer = json!({
            "kind": "drive#fileList", "incompleteSearch": self.tricks.incomplete,
            "files": shown.iter().map(|item| json::file(&self.store, item)).collect::<Vec<_>>(),
        });
        if let (true, Some(object)) = (found.len() > shown.len(), answer.as_object_mut()) {
            let last = shown.last().map(|item| item.id.as_str()).unwrap_or_default();
            object.insert("nextPageToken".into(), json!(write_token(last, &text)));
        }
        select(request, &fields::FILES, USUAL, answer)
    }
}

/// How many entries are wanted, within what is allowed.
pub(super) fn page_size(request: &Request, world: &World) -> Result<usize, Failure> {
    let asked = request.param("pageSize").map(|size| size.parse::<usize>());
    match asked {
        Some(Ok(size)) if (1..=LARGEST_PAGE).contains(&size) => Ok(world.page(Some(size), LARGEST_PAGE)),
        None => Ok(world.page(Some(USUAL_PAGE), LARGEST_PAGE)),
        Some(_) => Err(Failure::invalid("invalidParameter", "Invalid value for pageSize: [1, 1000]")),
    }
}

fn write_token(last: &str, query: &str) -> String {
    format!("~!!~{}", BASE64URL_NOPAD.encode(format!("{last}\n{query}").as_bytes()))
}

/// After which item a page begins. A token goes with the query that it came from.
fn read_token(token: &str, query: &str) -> Result<String, Failure> {
    let bytes = token.strip_prefix("~!!~").and_then(|token| BASE64URL_NOPAD.decode(token.as_bytes()).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = text.as_deref().and_then(|text| text.split_once('\n')).filter(|(_, of)| *of == query);
    pair.map(|(last, _)| last.to_owned()).ok_or_else(|| Failure::invalid("invalid", "Invalid Value: pageToken"))
}

/// Where is searched.
enum Place {
    /// The application's own space.
    AppData,
    /// One shared drive.
    One(String),
    /// Everything of the account, with or without shared drives.
    Mine { shared_drives: bool },
}

impl Place {
    fn of(request: &Request) -> Result<Place, Failure> {
        let wrong = |text: &str| Err(Failure::invalid("invalid", text));
        let items = truth(request, "includeItemsFromAllDrives") || truth(request, "includeTeamDriveItems");
        if items && !all_drives(request) {
            return wrong("includeItemsFromAllDrives needs supportsAllDrives");
        }
        let drive = request.param("driveId").or_else(|| request.param("teamDriveId"));
        match (request.param("spaces").as_deref(), request.param("corpora").as_deref(), drive) {
            (Some("appDataFolder"), _, None) => Ok(Place::AppData),
            (Some("drive") | None, Some("drive" | "teamDrive"), Some(drive)) if items => Ok(Place::One(drive)),
            (_, Some("drive" | "teamDrive"), _) => wrong("corpora=drive needs driveId and includeItemsFromAllDrives"),
            (_, _, Some(_)) => wrong("driveId needs corpora=drive"),
            (Some("drive") | None, None | Some("user" | "allDrives" | "domain"), None) => {
                Ok(Place::Mine { shared_drives: items })
            }
            _ => wrong("unknown spaces or corpora"),
        }
    }

    fn holds(&self, item: &Item) -> bool {
        match self {
            Place::AppData => item.app_data,
            Place::One(drive) => item.drive.as_ref() == Some(drive),
            Place::Mine { shared_drives } => !item.app_data && (*shared_drives || item.drive.is_none()),
        }
    }
}
