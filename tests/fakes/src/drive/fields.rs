//! Partial answers: the `fields` parameter, and which names each resource has.
//!
//! A selection is comma-separated; `a(b,c)` and `a/b` select within. A name that the resource does not have is refused, so
//! that a misspelt field is an error and not a field that never comes.
use serde_json::{Map, Value};

/// The names of a resource, and the resources within it. What is within other names is not checked.
#[derive(Debug)]
pub(super) struct Shape {
    names: &'static [&'static str],
    nested: &'static [(&'static str, &'static Shape)],
}

/// A file, folder, shortcut or document.
pub(super) static FILE: Shape = Shape {
    names: &[
        "kind",
        "id",
        "name",
        "mimeType",
        "description",
        "starred",
        "trashed",
        "explicitlyTrashed",
        "parents",
        "properties",
        "appProperties",
        "spaces",
        "version",
        "webViewLink",
        "webContentLink",
        "iconLink",
        "hasThumbnail",
        "thumbnailLink",
        "viewedByMe",
        "viewedByMeTime",
        "createdTime",
        "modifiedTime",
        "modifiedByMe",
        "modifiedByMeTime",
        "sharedWithMeTime",
        "sharingUser",
        "owners",
        "ownedByMe",
        "shared",
        "permissions",
        "permissionIds",
        "capabilities",
        "quotaBytesUsed",
        "size",
        "md5Checksum",
        "sha1Checksum",
        "sha256Checksum",
        "headRevisionId",
        "originalFilename",
        "fullFileExtension",
        "fileExtension",
        "driveId",
        "teamDriveId",
        "shortcutDetails",
        "exportLinks",
        "resourceKey",
        "copyRequiresWriterPermission",
        "writersCanShare",
        "isAppAuthorized",
        "lastModifyingUser",
        "trashedTime",
        "trashingUser",
        "folderColorRgb",
        "contentHints",
        "contentRestrictions",
        "imageMediaMetadata",
        "videoMediaMetadata",
        "linkShareMetadata",
        "labelInfo",
        "hasAugmentedPermissions",
        "inheritedPermissionsDisabled",
        "downloadRestrictions",
        "viewersCanCopyContent",
    ],
    nested: &[],
};

/// `files.list`.
pub(super) static FILES: Shape =
    Shape { names: &["kind", "nextPageToken", "incompleteSearch", "files"], nested: &[("files", &FILE)] };

/// `about.get`.
pub(super) static ABOUT: Shape = Shape {
    names: &[
        "kind",
        "user",
        "storageQuota",
        "importFormats",
        "exportFormats",
        "maxImportSizes",
        "maxUploadSize",
        "appInstalled",
        "folderColorPalette",
        "driveThemes",
        "teamDriveThemes",
        "canCreateDrives",
        "canCreateTeamDrives",
    ],
    nested: &[("user", &USER), ("storageQuota", &QUOTA)],
};

static USER: Shape =
    Shape { names: &["kind", "displayName", "photoLink", "me", "permissionId", "emailAddress"], nested: &[] };

static QUOTA: Shape = Shape { names: &["limit", "usage", "usageInDrive", "usageInDriveTrash"], nested: &[] };

/// A shared drive.
pub(super) static DRIVE: Shape = Shape {
    names: &[
        "kind",
        "id",
        "name",
        "capabilities",
        "restrictions",
        "createdTime",
        "hidden",
        "themeId",
        "colorRgb",
        "backgroundImageFile",
        "backgroundImageLink",
        "orgUnitId",
    ],
    nested: &[],
};

/// `drives.list`.
pub(super) static DRIVES: Shape = Shape { names: &["kind", "nextPageToken", "drives"], nested: &[("drives", &DRIVE)] };

/// `changes.list`.
pub(super) static CHANGES: Shape =
    Shape { names: &["kind", "nextPageToken", "newStartPageToken", "changes"], nested: &[("changes", &CHANGE)] };

static CHANGE: Shape = Shape {
    names: &["kind", "type", "changeType", "time", "removed", "fileId", "file", "driveId", "drive", "teamDriveId"],
    nested: &[("file", &FILE), ("drive", &DRIVE)],
};

/// `changes.getStartPageToken`.
pub(super) static START: Shape = Shape { names: &["kind", "startPageToken"], nested: &[] };

/// A permission.
pub(super) static PERMISSION: Shape = Shape {
    names: &[
        "kind",
        "id",
        "type",
        "role",
        "emailAddress",
        "displayName",
        "domain",
        "allowFileDiscovery",
        "expirationTime",
        "deleted",
        "pendingOwner",
        "photoLink",
        "view",
        "permissionDetails",
        "inheritedPermissionsDisabled",
    ],
    nested: &[],
};

/// `permissions.list`.
pub(super) static PERMISSIONS: Shape =
    Shape { names: &["kind", "nextPageToken", "permissions"], nested: &[("permissions", &PERMISSION)] };

/// A revision.
pub(super) static REVISION: Shape = Shape {
    names: &[
        "kind",
        "id",
        "mimeType",
        "modifiedTime",
        "keepForever",
        "published",
        "publishAuto",
        "publishedLink",
        "publishedOutsideDomain",
        "lastModifyingUser",
        "originalFilename",
        "md5Checksum",
        "size",
        "exportLinks",
    ],
    nested: &[],
};

/// `revisions.list`.
pub(super) static REVISIONS: Shape =
    Shape { names: &["kind", "nextPageToken", "revisions"], nested: &[("revisions", &REVISION)] };

/// A selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mask {
    /// Everything.
    All,
    /// These, and within them.
    Only(Vec<(String, Mask)>),
}

impl Mask {
    /// Reads a selection and holds it against the names of a resource.
    pub(super) fn parse(text: &str, shape: &Shape) -> Result<Mask, String> {
        let mut rest = text;
        let mask = list(&mut rest, Some(shape))?;
        if rest.is_empty() { Ok(mask) } else { Err(format!("Invalid field selection {text}")) }
    }

    /// What is selected of a value. Lists are looked through.
    pub(super) fn apply(&self, value: Value) -> Value {
        match (self, value) {
            (Mask::All, value) => value,
            (mask, Value::Array(values)) => Value::Array(values.into_iter().map(|value| mask.apply(value)).collect()),
            (Mask::Only(names), Value::Object(mut object)) => {
                let chosen =
                    names.iter().filter_map(|(name, inner)| Some((name.clone(), inner.apply(object.remove(name)?))));
                Value::Object(chosen.collect::<Map<_, _>>())
            }
            (Mask::Only(_), value) => value,
        }
    }
}

fn list(rest: &mut &str, shape: Option<&Shape>) -> Result<Mask, String> {
    let mut chosen: Vec<(String, Mask)> = Vec::new();
    let mut all = false;
    loop {
        match one(rest, shape)? {
            None => all = true,
            Some((name, mask)) => match chosen.iter_mut().find(|(have, _)| *have == name) {
                Some((_, have)) => *have = merge(std::mem::replace(have, Mask::All), mask),
                None => chosen.push((name, mask)),
            },
        }
        match rest.strip_prefix(',') {
            Some(after) => *rest = after.trim_start(),
            None => return Ok(if all { Mask::All } else { Mask::Only(chosen) }),
        }
    }
}

/// One name with what is selected within it; none for `*`.
fn one(rest: &mut &str, shape: Option<&Shape>) -> Result<Option<(String, Mask)>, String> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return Ok(None);
    }
    let end = rest.find(|next: char| !next.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() || shape.is_some_and(|shape| !shape.names.contains(&name)) {
        return Err(format!("Invalid field selection {name}"));
    }
    let inner = shape.and_then(|shape| shape.nested.iter().find(|(known, _)| *known == name)).map(|(_, inner)| *inner);
    *rest = after;
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let mask = list(rest, inner)?;
        *rest = rest.strip_prefix(')').ok_or_else(|| format!("Invalid field selection {name}"))?;
        return Ok(Some((name.to_owned(), mask)));
    }
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        let mask = one(rest, inner)?.map_or(Mask::All, |within| Mask::Only(vec![within]));
        return Ok(Some((name.to_owned(), mask)));
    }
    Ok(Some((name.to_owned(), Mask::All)))
}

/// Both selections together: `a/b,a/c` is `a(b,c)`.
fn merge(left: Mask, right: Mask) -> Mask {
    match (left, right) {
        (Mask::Only(mut left), Mask::Only(right)) => {
            for (name, mask) in right {
                match left.iter_mut().find(|(have, _)| *have == name) {
                    Some((_, have)) => *have = merge(std::mem::replace(have, Mask::All), mask),
                    None => left.push((name, mask)),
                }
            }
            Mask::Only(left)
        }
        _ => Mask::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page() -> Value {
        json!({ "kind": "k", "nextPageToken": "t", "files": [{ "id": "1", "name": "a", "size": "5" }, { "id": "2" }] })
    }

    #[test]
    fn only_what_is_selected_is_answered() {
        let select = |fields: &str| Mask::parse(fields, &FILES).unwrap().apply(page());
        assert_eq!(select("files(id)"), json!({ "files": [{ "id": "1" }, { "id": "2" }] }));
        assert_eq!(
            select("files/id, files/name,nextPageToken"),
            json!({ "files": [{ "id": "1", "name": "a" }, { "id": "2" }], "nextPageToken": "t" })
        );
        assert_eq!(select("*"), page());
        assert_eq!(select("files(*),kind"), json!({ "kind": "k", "files": page()["files"] }));
        let owners = Mask::parse("owners(me),capabilities/canEdit", &FILE).unwrap();
        let file =
            json!({ "owners": [{ "me": true, "emailAddress": "a" }], "capabilities": { "canEdit": true, "x": 1 } });
        assert_eq!(owners.apply(file), json!({ "owners": [{ "me": true }], "capabilities": { "canEdit": true } }));
    }

    #[test]
    fn unknown_names_and_broken_selections_are_refused() {
        for fields in
            ["", "title", "files(title)", "files/title", "files(id", "files)", "id", "files(id),", "files//id"]
        {
            assert!(Mask::parse(fields, &FILES).is_err(), "{fields} was accepted");
        }
    }
}
