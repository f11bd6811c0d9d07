//! How the API shows what is stored, complete; what of it is answered is the mask's choice. Whole numbers of 64 bits are text.
use serde_json::{Map, Value, json};

use super::model::{Change, Item, ME, Revision, SHORTCUT, SharedDrive, Store, write_time};
use crate::text::encode;

/// What each type of document can be exported to: extension and type.
pub(super) const EXPORTS: &[(&str, &[(&str, &str)])] = &[
    (
        "application/vnd.google-apps.document",
        &[
            ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ("odt", "application/vnd.oasis.opendocument.text"),
            ("pdf", "application/pdf"),
            ("txt", "text/plain"),
        ],
    ),
    (
        "application/vnd.google-apps.spreadsheet",
        &[
            ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            ("ods", "application/x-vnd.oasis.opendocument.spreadsheet"),
            ("pdf", "application/pdf"),
            ("csv", "text/csv"),
        ],
    ),
    (
        "application/vnd.google-apps.presentation",
        &[
            ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
            ("odp", "application/vnd.oasis.opendocument.presentation"),
            ("pdf", "application/pdf"),
        ],
    ),
    (
        "application/vnd.google-apps.drawing",
        &[("svg", "image/svg+xml"), ("png", "image/png"), ("pdf", "application/pdf")],
    ),
    ("application/vnd.google-apps.script", &[("json", "application/vnd.google-apps.script+json")]),
];

/// The types that a document of this type can be exported to.
pub(super) fn exports(mime_type: &str) -> &'static [(&'static str, &'static str)] {
    EXPORTS.iter().find(|(native, _)| *native == mime_type).map_or(&[], |(_, formats)| formats)
}

/// A person.
pub(super) fn user(address: &str) -> Value {
    json!({
        "kind": "drive#user", "displayName": address.split('@').next().unwrap_or_default(), "me": address == ME,
        "permissionId": address.bytes().map(|byte| byte.to_string()).collect::<String>(), "emailAddress": address,
    })
}

/// An item with every field that it has.
pub(super) fn file(store: &Store, item: &Item) -> Value {
    let mut out = Map::new();
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            out.insert(name.to_owned(), value);
        }
    };
    set("kind", json!("drive#file"));
    set("id", json!(item.id));
    set("name", json!(item.name));
    set("mimeType", json!(item.mime_type));
    set("description", json!(item.description));
    set("starred", json!(item.starred));
    set("trashed", json!(store.is_trashed(item)));
    set("explicitlyTrashed", json!(item.trashed));
    set("spaces", json!(spaces(item)));
    set("version", json!(item.version.to_string()));
    set("createdTime", json!(write_time(item.created)));
    set("modifiedTime", json!(write_time(item.modified)));
    set("modifiedByMeTime", json!(write_time(item.modified)));
    set("modifiedByMe", json!(true));
    set("viewedByMe", json!(true));
    set("sharedWithMeTime", json!(item.shared_with_me.map(write_time)));
    set("webViewLink", json!(link(item)));
    set("hasThumbnail", json!(false));
    set("permissionIds", Value::Array(permissions(item).iter().filter_map(|one| one.get("id").cloned()).collect()));
    set("shared", json!(item.permissions.iter().any(|one| one.get("id") != Some(&json!(ME))) || item.owner != ME));
    set("ownedByMe", json!(item.owner == ME && item.drive.is_none()));
    set("lastModifyingUser", user(&item.owner));
    set("isAppAuthorized", json!(true));
    set("writersCanShare", json!(true));
    set("copyRequiresWriterPermission", json!(false));
    set("resourceKey", json!(item.resource_key));
    set("driveId", json!(item.drive));
    set("teamDriveId", json!(item.drive));
    set("capabilities", capabilities(item));
    if !item.parents.is_empty() {
        set("parents", json!(item.parents));
    }
    if !item.properties.is_empty() {
        set("properties", json!(item.properties));
    }
    if !item.app_properties.is_empty() {
        set("appProperties", json!(item.app_properties));
    }
    if item.drive.is_none() {
        set("owners", json!([user(&item.owner)]));
        set("permissions", Value::Array(permissions(item)));
    }
    if let Some(revision) = item.revisions.last() {
        let content = &revision.content;
        let size = content.bytes.len();
        set("size", json!(size.to_string()));
        set(
            "quotaBytesUsed",
            json!(item.revisions.iter().map(|one| one.content.bytes.len()).sum::<usize>().to_string()),
        );
        set("md5Checksum", json!(content.md5));
        set("sha1Checksum", json!(content.sha1));
        set("sha256Checksum", json!(content.sha256));
        set("headRevisionId", json!(revision.id));
        set("originalFilename", json!(item.name));
        let extension = item.name.rsplit_once('.').map(|(_, extension)| extension).unwrap_or_default();
        set("fileExtension", json!(extension));
        set("fullFileExtension", json!(extension));
        set("webContentLink", json!(format!("https://drive.google.com/uc?id={}&export=download", item.id)));
    } else {
        set("quotaBytesUsed", json!("0"));
    }
    if let Some(target) = &item.target {
        // A shortcut keeps what its target was, also when that is gone.
        let found = store.get(target);
        let mut details = json!({ "targetId": target });
        if let Some(object) = details.as_object_mut() {
            let kind = found.map_or("application/octet-stream", |target| target.mime_type.as_str());
            object.insert("targetMimeType".into(), json!(kind));
            if let Some(key) = found.and_then(|target| target.resource_key.as_ref()) {
                object.insert("targetResourceKey".into(), json!(key));
            }
        }
        set("shortcutDetails", details);
    }
    let formats = exports(&item.mime_type);
    if !formats.is_empty() {
        let links =
            formats.iter().map(|(extension, kind)| ((*kind).to_owned(), json!(export_link(&item.id, extension))));
        set("exportLinks", Value::Object(links.collect()));
    }
    Value::Object(out)
}

fn spaces(item: &Item) -> Vec<&'static str> {
    let mut spaces = vec![if item.app_data { "appDataFolder" } else { "drive" }];
    if item.photo {
        spaces.push("photos");
    }
    spaces
}

/// Where a document is exported without a limit of size.
fn export_link(id: &str, extension: &str) -> String {
    format!(
        "https://docs.google.com/feeds/download/documents/export/Export?id={}&exportFormat={extension}",
        encode(id, "")
    )
}

fn link(item: &Item) -> String {
    let id = &item.id;
    let key = item.resource_key.as_ref().map(|key| format!("&resourcekey={key}")).unwrap_or_default();
    let name = item.mime_type.rsplit('.').next().unwrap_or_default();
    match () {
        () if item.is_folder() => format!("https://drive.google.com/drive/folders/{id}"),
        () if item.is_document() => format!("https://docs.google.com/{name}/d/{id}/edit?usp=drivesdk{key}"),
        () => format!("https://drive.google.com/file/d/{id}/view?usp=drivesdk{key}"),
    }
}

fn capabilities(item: &Item) -> Value {
    let mine = item.owner == ME || item.drive.is_some();
    json!({
        "canEdit": mine, "canRename": mine, "canTrash": mine, "canDelete": mine, "canShare": mine, "canCopy": !item.is_folder(),
        "canDownload": item.mime_type != SHORTCUT, "canAddChildren": mine && item.is_folder(),
        "canListChildren": item.is_folder(), "canModifyContent": mine, "canReadRevisions": mine,
    })
}

/// Who may do what with an item, the owner first.
pub(super) fn permissions(item: &Item) -> Vec<Value> {
    let mut owner = user(&item.owner);
    if let Some(object) = owner.as_object_mut() {
        object.insert("kind".into(), json!("drive#permission"));
        object.insert("id".into(), json!(item.owner));
        object.insert("type".into(), json!("user"));
        object.insert("role".into(), json!("owner"));
        object.remove("me");
        object.remove("permissionId");
    }
    std::iter::once(owner).chain(item.permissions.iter().cloned()).collect()
}

/// A revision.
pub(super) fn revision(revision: &Revision) -> Value {
    json!({
        "kind": "drive#revision", "id": revision.id, "mimeType": revision.mime_type, "keepForever": revision.keep,
        "modifiedTime": write_time(revision.modified), "published": false, "md5Checksum": revision.content.md5,
        "size": revision.content.bytes.len().to_string(), "lastModifyingUser": user(ME),
    })
}

/// A shared drive.
pub(super) fn drive(drive: &SharedDrive) -> Value {
    json!({
        "kind": "drive#drive", "id": drive.id, "name": drive.name, "createdTime": write_time(drive.created), "hidden": false,
        "capabilities": { "canAddChildren": true, "canEdit": true, "canListChildren": true, "canTrashChildren": true,
            "canDeleteChildren": true, "canDownload": true, "canCopy": true },
        "restrictions": { "adminManagedRestrictions": false, "copyRequiresWriterPermission": false,
            "domainUsersOnly": false, "driveMembersOnly": false },
    })
}

/// A change, with the item as it is now.
pub(super) fn change(store: &Store, change: &Change) -> Value {
    let mut out = json!({
        "kind": "drive#change", "type": "file", "changeType": "file", "time": write_time(change.time), "fileId": change.id,
        "removed": change.removed || !store.items.contains_key(&change.id),
    });
    if let (Some(object), Some(item)) = (out.as_object_mut(), store.items.get(&change.id)) {
        object.insert("file".into(), file(store, item));
    }
    out
}

/// What the account is told of itself. `limit_bytes` is absent for accounts without a limit.
pub(super) fn about(store: &Store, limit_bytes: Option<u64>) -> Value {
    let (used, bin) = store.usage();
    let mut quota = json!({
        "usage": used.to_string(), "usageInDrive": used.to_string(), "usageInDriveTrash": bin.to_string(),
    });
    if let (Some(object), Some(limit)) = (quota.as_object_mut(), limit_bytes) {
        object.insert("limit".into(), json!(limit.to_string()));
    }
    let exports = EXPORTS.iter().map(|(native, formats)| {
        let kinds: Vec<_> = formats.iter().map(|(_, kind)| kind).collect();
        ((*native).to_owned(), json!(kinds))
    });
    let imports = EXPORTS.iter().flat_map(|(native, formats)| {
        formats
            .iter()
            .filter(|(_, kind)| *kind != "application/pdf")
            .map(move |(_, kind)| ((*kind).to_owned(), json!([native])))
    });
    json!({
        "kind": "drive#about", "user": user(ME), "storageQuota": quota, "maxUploadSize": "5242880000000",
        "exportFormats": exports.collect::<Map<_, _>>(), "importFormats": imports.collect::<Map<_, _>>(),
        "canCreateDrives": true, "appInstalled": false,
    })
}
