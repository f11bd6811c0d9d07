//! The JSON of the API and what becomes of it, and the cookies.

use std::collections::BTreeMap;

use causeway_sdk::prelude::*;
use causeway_sdk::time;
use serde::{Deserialize, Serialize};

const NATIVE: &str = "application/vnd.google-apps.";
pub(crate) const FOLDER: &str = "application/vnd.google-apps.folder";
pub(crate) const SHORTCUT: &str = "application/vnd.google-apps.shortcut";

/// An item: file, folder, shortcut or document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    /// A number, as text.
    size: Option<String>,
    quota_bytes_used: Option<String>,
    pub(crate) md5_checksum: Option<String>,
    sha1_checksum: Option<String>,
    sha256_checksum: Option<String>,
    head_revision_id: Option<String>,
    capabilities: Capabilities,
    pub(crate) trashed: bool,
    pub(crate) modified_time: Option<String>,
    created_time: Option<String>,
    shared_with_me_time: Option<String>,
    pub(crate) parents: Vec<String>,
    pub(crate) web_view_link: Option<String>,
    pub(crate) shortcut_details: Option<Shortcut>,
    pub(crate) export_links: BTreeMap<String, String>,
    pub(crate) resource_key: Option<String>,
    owners: Vec<Owner>,
    spaces: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Capabilities {
    can_read_revisions: bool,
}

/// Where a shortcut leads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Shortcut {
    pub(crate) target_id: String,
    pub(crate) target_mime_type: String,
    pub(crate) target_resource_key: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Owner {
    me: bool,
}

/// A page of items.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Files {
    pub(crate) files: Vec<File>,
    pub(crate) next_page_token: Option<String>,
    pub(crate) incomplete_search: bool,
}

/// What is written of an item.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parents: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mime_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trashed: Option<bool>,
}

/// Who is asking, and how much room there is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct About {
    pub(crate) user: User,
    pub(crate) storage_quota: Quota,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct User {
    pub(crate) email_address: Option<String>,
    pub(crate) permission_id: Option<String>,
}

/// Numbers, as text.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Quota {
    limit: Option<String>,
    usage: Option<String>,
    usage_in_drive: Option<String>,
    usage_in_drive_trash: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ids {
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Permissions {
    #[serde(default)]
    pub(crate) permissions: Vec<Permission>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Permission {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) of: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    pub(crate) start_page_token: String,
}

/// What happened.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct News {
    pub(crate) changes: Vec<Changed>,
    pub(crate) next_page_token: Option<String>,
    pub(crate) new_start_page_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Changed {
    pub(crate) file_id: Option<String>,
    pub(crate) removed: bool,
    pub(crate) file: Option<File>,
}

/// Revisions of a file, oldest first.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Revisions {
    pub(crate) revisions: Vec<Revision>,
    pub(crate) next_page_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Revision {
    pub(crate) id: String,
    mime_type: String,
    modified_time: Option<String>,
    md5_checksum: Option<String>,
    size: Option<String>,
}

/// The only thing that is asked of version 2.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version2 {
    pub(crate) download_url: Option<String>,
}

/// An error.
#[derive(Debug, Deserialize)]
pub(crate) struct Failed {
    pub(crate) error: Failure,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) errors: Vec<Reason>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reason {
    pub(crate) reason: String,
}

impl Quota {
    pub(crate) fn usage(&self) -> Usage {
        let total = number(self.limit.as_ref());
        let free = total.zip(number(self.usage.as_ref())).map(|(total, used)| total.saturating_sub(used));
        let used = number(self.usage_in_drive.as_ref());
        Usage { total, used, free, trashed: number(self.usage_in_drive_trash.as_ref()), objects: None }
    }
}

fn number(text: Option<&String>) -> Option<u64> {
    text.and_then(|text| text.parse().ok())
}

/// As times are written.
pub(crate) fn written_time(instant: Instant) -> String {
    time::rfc3339(instant, 3)
}

/// Digits of a digest as a digest.
fn digest(algorithm: Digest, hex: Option<&String>) -> Option<DigestValue> {
    let value = data_encoding::HEXLOWER_PERMISSIVE.decode(hex?.as_bytes()).ok()?;
    Some(DigestValue { algorithm, value })
}

/// The digest in a version that was made by [`File::version`].
pub(crate) fn digest_in_version(version: &str) -> Option<DigestValue> {
    let (_, md5) = version.split_once('/')?;
    digest(Digest::Md5, Some(&md5.to_owned()))
}

impl File {
    pub(crate) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }

    /// Neither bytes, nor a folder, nor a shortcut.
    pub(crate) fn is_document(&self) -> bool {
        self.mime_type.starts_with(NATIVE) && !self.is_folder() && self.mime_type != SHORTCUT
    }

    pub(crate) fn is_mine(&self) -> bool {
        self.owners.iter().any(|owner| owner.me)
    }

    /// The head revision, if it may be read by itself, a slash, and the MD5: absent for what has no bytes.
    pub(crate) fn version(&self) -> Option<String> {
        let md5 = self.md5_checksum.as_ref()?;
        let revision = self.head_revision_id.as_deref().filter(|_| self.capabilities.can_read_revisions);
        Some(format!("{}/{md5}", revision.unwrap_or_default()))
    }

    /// The item as it is shown under this name; its cookie is the caller's to add.
    pub(crate) fn entry(&self, settings: &crate::Settings, name: String) -> Entry {
        let modified = match () {
            () if settings.use_created_date => &self.created_time,
            () if settings.use_shared_date && self.shared_with_me_time.is_some() => &self.shared_with_me_time,
            () => &self.modified_time,
        };
        let instant = |text: &Option<String>| text.as_deref().and_then(time::parse_rfc3339);
        let (modified, created) = (instant(modified), instant(&self.created_time));
        if self.is_folder() {
            return Entry { modified, created, ..Entry::directory(name) };
        }
        // Google tells wrong digests of photos, and sizes of documents that an export does not have.
        let digests = match settings.skip_checksum_gphotos && self.spaces.iter().any(|space| space == "photos") {
            true => Vec::new(),
            false => [
                digest(Digest::Md5, self.md5_checksum.as_ref()),
                digest(Digest::Sha1, self.sha1_checksum.as_ref()),
                digest(Digest::Sha256, self.sha256_checksum.as_ref()),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        let size = if self.is_document() { None } else { number(self.size.as_ref()) };
        Entry {
            size,
            modified,
            created,
            version: self.version(),
            media_type: Some(self.mime_type.clone()).filter(|kind| !kind.is_empty()),
            digests,
            ..Entry::file(name)
        }
    }

    /// The room that it takes.
    pub(crate) fn quota_bytes(&self) -> Option<u64> {
        number(self.quota_bytes_used.as_ref())
    }
}

impl Revision {
    /// The revision as an entry; its cookie is the caller's to add.
    pub(crate) fn entry(&self, name: &str) -> Option<Entry> {
        let size = number(self.size.as_ref())?;
        Some(Entry {
            size: Some(size),
            modified: self.modified_time.as_deref().and_then(time::parse_rfc3339),
            version: Some(format!("{}/{}", self.id, self.md5_checksum.as_deref().unwrap_or_default())),
            media_type: Some(self.mime_type.clone()),
            digests: digest(Digest::Md5, self.md5_checksum.as_ref()).into_iter().collect(),
            notes: Notes::READ_ONLY,
            ..Entry::file(name)
        })
    }
}
