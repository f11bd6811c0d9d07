//! Listing a bucket: what begins with a prefix, up to a slash or all of it, in pages.

use std::fs;
use std::io::{ErrorKind, Result};
use std::path::Path;

use super::{Answer, Origin, Request, etag, iso, percent, xml};

impl Origin {
    /// Both versions of listing; both go on after a name, the one in a marker, the other in a token.
    pub(super) fn list(&self, request: &Request) -> Result<Answer> {
        let asked = |name: &str| request.query.get(name).map_or("", |value| value);
        let (prefix, deep, second) = (asked("prefix"), asked("delimiter").is_empty(), asked("list-type") == "2");
        let most = asked("max-keys").parse().unwrap_or(1000).min(1000);
        let after = ["continuation-token", "start-after", "marker"].map(asked);
        let after = after.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        let bucket = self.root.join(&request.bucket);
        if !bucket.is_dir() {
            return Ok(Answer::error(404, "NoSuchBucket"));
        }
        let mut found = Vec::new();
        let (directory, _) = prefix.rsplit_once('/').map_or(("", prefix), |(directory, rest)| (directory, rest));
        let base = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        collect(&bucket.join(directory), &base, prefix, deep, &mut found)?;
        found.sort();
        found.retain(|name| name.as_str() > after && !(name.ends_with('/') && after.starts_with(name.as_str())));
        let more = found.len() > most;
        found.truncate(most);
        let encode = |name: &str| if asked("encoding-type") == "url" { percent(name) } else { xml(name) };
        let mut items = String::new();
        for name in &found {
            if name.ends_with('/') {
                items += &format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", encode(name));
                continue;
            }
            let metadata = fs::metadata(bucket.join(name))?;
            items += &format!(
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
                encode(name),
                iso(&metadata),
                xml(&etag(&metadata)),
                metadata.len(),
            );
        }
        if let Some(last) = found.last().filter(|_| more) {
            let name = if second { "NextContinuationToken" } else { "NextMarker" };
            // A token comes back as it is, a marker is a name like the others.
            let last = if second { xml(last) } else { encode(last) };
            items += &format!("<{name}>{last}</{name}>");
        }
        Ok(Answer::xml(&format!(
            "<ListBucketResult><Name>{}</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount><MaxKeys>{most}</MaxKeys>\
             <EncodingType>{}</EncodingType><IsTruncated>{more}</IsTruncated>{items}</ListBucketResult>",
            xml(&request.bucket),
            encode(prefix),
            found.len(),
            xml(asked("encoding-type")),
        )))
    }
}

/// What stands below a directory and begins with a prefix: files, and either their directories or what is in those, too.
fn collect(directory: &Path, base: &str, prefix: &str, deep: bool, found: &mut Vec<String>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = format!("{base}{}", entry.file_name().to_string_lossy());
        if !name.starts_with(prefix) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true if deep => collect(&entry.path(), &format!("{name}/"), prefix, deep, found)?,
            true => found.push(format!("{name}/")),
            false => found.push(name),
        }
    }
    Ok(())
}
