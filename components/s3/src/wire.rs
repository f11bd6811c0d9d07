//! The XML shapes of S3, and what becomes of them: keys to names, times and ETags to entries.

use causeway_sdk::prelude::*;
use causeway_sdk::{data, percent, time};
use serde::{Deserialize, Serialize};

/// A listing, by either version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Listing {
    is_truncated: bool,
    next_marker: Option<String>,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
    last_modified: Option<String>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

/// Where a listing goes on.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Version 1: after this key.
    Marker(String),
    /// Version 2.
    Token(String),
}

/// What one page of a listing holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: Option<Cursor>,
    /// The prefix itself is a key: a marker.
    pub(crate) marked: bool,
    /// How many keys and common prefixes stand below the prefix, whether they can be shown or not.
    pub(crate) below: usize,
}

/// What a listing's ETags are worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) version: i64,
    /// Where the page began.
    pub(crate) from: Option<&'a Cursor>,
    pub(crate) etag_is_md5: bool,
}

impl Listing {
    /// The entries below a prefix. Fails for a page that says it goes on without saying where, or where it began.
    pub(crate) fn read(self, reading: Reading<'_>) -> Result<Listed> {
        let encoded = self.encoding_type.as_deref() == Some("url");
        let decode = |text: String| match encoded {
            false => Ok(text),
            true => percent::decode_form(&text)
                .ok_or_else(|| Error::unavailable("a listed key cannot be decoded").detail(text)),
        };
        let mut listed = Listed { entries: Vec::new(), next: None, marked: false, below: 0 };
        let mut last = None;
        for common in self.common_prefixes {
            let prefix = decode(common.prefix)?;
            let name = below(&prefix, reading.prefix)?.trim_end_matches('/').to_owned();
            listed.below += 1;
            if let Some(name) = shown(name) {
                listed.entries.push(Entry::directory(name));
            }
            last = last.max(Some(prefix));
        }
        let directories = listed.entries.len();
        for object in self.contents {
            let key = decode(object.key)?;
            let name = below(&key, reading.prefix)?.to_owned();
            last = last.max(Some(key));
            if name.is_empty() {
                listed.marked = true;
                continue;
            }
            listed.below += 1;
            // A directory keeps its name when there is also a file that has it.
            let taken = listed.entries.iter().take(directories).any(|directory| directory.name == name);
            if let Some(name) = shown(name).filter(|_| !taken) {
                listed.entries.push(file(name, object.size, object.last_modified, object.etag, reading.etag_is_md5));
            }
        }
        if self.is_truncated {
            let next = match reading.version {
                1 => self.next_marker.map(decode).transpose()?.or(last).map(Cursor::Marker),
                _ => self.next_continuation_token.map(Cursor::Token),
            };
            let next =
                next.filter(|next| !matches!(next, Cursor::Marker(text) | Cursor::Token(text) if text.is_empty()));
            let next =
                next.ok_or_else(|| Error::unavailable("the listing goes on, but the store does not say where"))?;
            if reading.from == Some(&next) {
                return Err(Error::unavailable("the store gives the same page of a listing again"));
            }
            listed.next = Some(next);
        }
        Ok(listed)
    }
}

/// What a key says below its prefix.
fn below<'a>(key: &'a str, prefix: &str) -> Result<&'a str> {
    key.strip_prefix(prefix).ok_or_else(|| Error::unavailable("the store lists what was not asked for").detail(key))
}

/// A name that can be shown; a key with two slashes in a row has a part without a name, which no file system can have.
fn shown(name: String) -> Option<String> {
    if !name.is_empty() && !name.contains('/') {
        return Some(name);
    }
    causeway_sdk::warn("a key with an empty part in its path is not shown");
    None
}

fn file(name: String, size: u64, last_modified: Option<String>, etag: Option<String>, etag_is_md5: bool) -> Entry {
    let etag = etag.map(|etag| unquoted(&etag).to_owned()).filter(|etag| !etag.is_empty());
    Entry {
        size: Some(size),
        modified: last_modified.as_deref().and_then(time::parse_rfc3339),
        digests: etag.as_deref().filter(|_| etag_is_md5).and_then(md5_of_etag).into_iter().collect(),
        version: etag,
        notes: Notes::INEXACT_MODIFIED,
        ..Entry::file(name)
    }
}

/// An ETag without its quotes: headers have them, and not every listing does.
pub(crate) fn unquoted(etag: &str) -> &str {
    etag.trim().trim_start_matches("W/").trim_matches('"')
}

/// The MD5 that an ETag is when it looks like one; whether it can be one is for the caller to know.
pub(crate) fn md5_of_etag(etag: &str) -> Option<DigestValue> {
    let value = data_encoding::HEXLOWER_PERMISSIVE.decode(etag.as_bytes()).ok().filter(|value| value.len() == 16)?;
    Some(DigestValue { algorithm: Digest::Md5, value })
}

/// The answer to ListBuckets.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct BucketList {
    pub(crate) owner: Owner,
    buckets: Buckets,
    continuation_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Owner {
    #[serde(rename = "ID")]
    pub(crate) id: Option<String>,
    pub(crate) display_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Buckets {
    bucket: Vec<Bucket>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Bucket {
    name: String,
    creation_date: Option<String>,
}

impl BucketList {
    /// The buckets as directories.
    pub(crate) fn page(self) -> Page {
        let entry = |bucket: Bucket| Entry {
            created: bucket.creation_date.as_deref().and_then(time::parse_rfc3339),
            ..Entry::directory(bucket.name)
        };
        let next = self.continuation_token.filter(|token| !token.is_empty());
        Page { entries: self.buckets.bucket.into_iter().map(entry).collect(), next }
    }
}

/// A failure, also where the status says success.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) region: Option<String>,
}

impl Failure {
    /// The failure in a body, if it is one.
    pub(crate) fn in_body(body: &[u8]) -> Option<Failure> {
        // Completing may send white space to keep the connection, and a declaration before the element.
        let text = std::str::from_utf8(body).ok()?.trim_start();
        let text = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or(text, |(_, rest)| rest);
        if !text.trim_start().starts_with("<Error") {
            return None;
        }
        data::xml(text.as_bytes()).ok()
    }
}

/// The answer to CreateMultipartUpload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Initiated {
    pub(crate) upload_id: String,
}

/// The answer to CompleteMultipartUpload, CopyObject and UploadPartCopy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Stored {
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
}

/// The answer to ListParts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Parts {
    pub(crate) is_truncated: bool,
    pub(crate) next_part_number_marker: Option<u32>,
    #[serde(rename = "Part")]
    pub(crate) parts: Vec<StoredPart>,
}

/// One part, as stored and as it is named when the upload is completed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StoredPart {
    pub(crate) part_number: u32,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
}

/// The body of CompleteMultipartUpload.
#[derive(Debug, Serialize)]
pub(crate) struct Completion {
    #[serde(rename = "Part")]
    pub(crate) parts: Vec<StoredPart>,
}

/// The body of CreateBucket.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BucketConfiguration<'a> {
    pub(crate) location_constraint: &'a str,
}
