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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str, reading: Reading<'_>) -> Result<Listed> {
        data::xml::<Listing>(xml.as_bytes()).unwrap().read(reading)
    }

    fn v2(prefix: &str) -> Reading<'_> {
        Reading { prefix, version: 2, from: None, etag_is_md5: true }
    }

    fn names(listed: &Listed) -> Vec<&str> {
        listed.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>d/</Prefix><MaxKeys>1000</MaxKeys>
        <IsTruncated>false</IsTruncated>
        <Contents><Key>d/</Key><LastModified>2024-01-02T03:04:05.678Z</LastModified><ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><Size>0</Size></Contents>
        <Contents><Key>d/ a&amp;b </Key><LastModified>2024-01-02T03:04:05.678Z</LastModified><ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>
        <Contents><Key>d/big</Key><LastModified>2024-01-02T03:04:05.678Z</LastModified><ETag>"5d41402abc4b2a76b9719d911017c592-3"</ETag><Size>9</Size></Contents>
        <CommonPrefixes><Prefix>d/sub/</Prefix></CommonPrefixes></ListBucketResult>"#;

    #[test]
    fn a_page_becomes_entries_and_its_own_marker_is_none_of_them() {
        let listed = read(PAGE, v2("d/")).unwrap();
        assert_eq!(names(&listed), ["sub", " a&b ", "big"]);
        assert!(listed.marked && listed.next.is_none());
        let file = &listed.entries[1];
        assert_eq!((file.size, file.version.as_deref()), (Some(5), Some("5d41402abc4b2a76b9719d911017c592")));
        assert_eq!(file.modified, Some(Instant { seconds: 1_704_164_645, nanoseconds: 678_000_000 }));
        assert!(file.notes.contains(Notes::INEXACT_MODIFIED));
    }

    #[test]
    fn only_a_plain_etag_is_a_digest() {
        let listed = read(PAGE, v2("d/")).unwrap();
        let digests: Vec<_> = listed.entries.iter().map(|entry| entry.digests.len()).collect();
        assert_eq!(digests, [0, 1, 0], "a directory, a file, one that was uploaded in parts");
        let doubtful = read(PAGE, Reading { etag_is_md5: false, ..v2("d/") }).unwrap();
        assert!(doubtful.entries.iter().all(|entry| entry.digests.is_empty()));
    }

    #[test]
    fn encoded_keys_are_decoded_where_the_store_says_that_they_are() {
        let page = |encoding: &str| {
            format!(
                "<R><IsTruncated>false</IsTruncated>{encoding}<Contents><Key>a+b%2Bc%01</Key><Size>1</Size></Contents></R>"
            )
        };
        assert_eq!(names(&read(&page("<EncodingType>url</EncodingType>"), v2("")).unwrap()), ["a b+c\u{1}"]);
        assert_eq!(names(&read(&page(""), v2("")).unwrap()), ["a+b%2Bc%01"]);
    }

    #[test]
    fn a_directory_keeps_the_name_that_a_file_has_too() {
        let page = "<R><Contents><Key>a</Key><Size>1</Size></Contents><CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes></R>";
        let listed = read(page, v2("")).unwrap();
        assert_eq!(listed.entries, [Entry::directory("a")]);
    }

    #[test]
    fn a_page_that_goes_on_must_say_where() {
        let truncated = "<R><IsTruncated>true</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents></R>";
        assert!(read(truncated, v2("")).is_err(), "no token");
        let empty = "<R><IsTruncated>true</IsTruncated><NextContinuationToken/></R>";
        assert!(read(empty, v2("")).is_err(), "an empty token");
        let v1 = Reading { version: 1, ..v2("") };
        assert_eq!(read(truncated, v1).unwrap().next, Some(Cursor::Marker("a".into())), "the last key serves");
    }

    #[test]
    fn the_same_page_again_is_an_error() {
        let page = "<R><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></R>";
        let from = Cursor::Token("t".into());
        assert!(read(page, v2("")).is_ok());
        assert!(read(page, Reading { from: Some(&from), ..v2("") }).is_err());
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        assert!(read("<R><Contents><Key>other</Key><Size>1</Size></Contents></R>", v2("d/")).is_err());
    }

    #[test]
    fn keys_without_a_name_are_counted_and_not_shown() {
        let page = "<R><CommonPrefixes><Prefix>d//</Prefix></CommonPrefixes></R>";
        let listed = read(page, v2("d/")).unwrap();
        assert_eq!((listed.entries.len(), listed.below), (0, 1));
    }

    #[test]
    fn an_error_inside_a_success_is_found() {
        let body = "  \n<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>m</Message></Error>";
        assert_eq!(Failure::in_body(body.as_bytes()).unwrap().code, "InternalError");
        assert!(Failure::in_body(PAGE.as_bytes()).is_none());
        assert!(Failure::in_body(b"").is_none());
    }

    #[test]
    fn the_parts_of_an_upload_are_written_as_the_store_reads_them() {
        let parts = vec![
            StoredPart { part_number: 1, etag: "\"a\"".into() },
            StoredPart { part_number: 2, etag: "\"b\"".into() },
        ];
        let xml = data::to_xml("CompleteMultipartUpload", &Completion { parts }).unwrap();
        assert_eq!(
            xml,
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>\"b\"</ETag></Part></CompleteMultipartUpload>"
        );
    }
}
