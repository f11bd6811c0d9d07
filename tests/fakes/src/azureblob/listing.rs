//! Listings of containers and blobs, in pages. Where a test has set a page size, the second page of every listing is empty, with a marker:
//! the protocol allows that, and clients that stop there lose entries.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;

use super::store::{Blob, Container};
use super::{Failure, Target};
use crate::text::{encode, http_date, xml};
use crate::{Request, Response, World};

/// The most entries that a page may have.
const PAGE: usize = 5000;

/// One line of a listing of blobs.
enum Line<'a> {
    Blob(&'a str, &'a Blob),
    Prefix(String),
}

struct Window {
    /// The first name of the page.
    from: String,
    empty: bool,
    count: usize,
}

fn window(request: &Request, world: &World) -> Result<Window, Failure> {
    let wrong = || Failure::new(400, "InvalidQueryParameterValue");
    let asked = match request.param("maxresults").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse::<usize>().map_err(|_| wrong())?),
        None => None,
    };
    if asked == Some(0) {
        return Err(Failure::new(400, "OutOfRangeQueryParameterValue"));
    }
    let count = world.page(asked, PAGE);
    let marker = request.param("marker").unwrap_or_default();
    if marker.is_empty() {
        return Ok(Window { from: String::new(), empty: false, count });
    }
    // `2!` continues; `1!` is the first continuation, which is answered with an empty page.
    let (kind, name) = marker.split_once('!').ok_or_else(wrong)?;
    let from = BASE64URL_NOPAD.decode(name.as_bytes()).ok().and_then(|name| String::from_utf8(name).ok());
    Ok(Window { from: from.ok_or_else(wrong)?, empty: kind == "1" && world.page_size.is_some(), count })
}

fn marker(name: &str, first: bool) -> String {
    format!("{}!{}", if first { 1 } else { 2 }, BASE64URL_NOPAD.encode(name.as_bytes()))
}

/// `GET /?comp=list`.
pub(super) fn containers(
    containers: &BTreeMap<String, Container>,
    target: &Target,
    request: &Request,
    world: &World,
) -> Result<Response, Failure> {
    let Window { from, empty, count } = window(request, world)?;
    let prefix = request.param("prefix").unwrap_or_default();
    let count = if empty { 0 } else { count };
    let mut rest = containers.range(from.clone()..).filter(|(name, _)| name.starts_with(&prefix));
    let mut lines = String::new();
    for (name, container) in rest.by_ref().take(count) {
        let (modified, etag) = (http_date(container.stamp.modified), &container.stamp.etag);
        let public = container.public.iter().map(|public| format!("<PublicAccess>{public}</PublicAccess>"));
        lines.push_str(&format!(
            "<Container><Name>{}</Name><Properties><Last-Modified>{modified}</Last-Modified><Etag>{}</Etag>\
             <LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>{}</Properties></Container>",
            xml(name),
            xml(etag),
            public.collect::<String>()
        ));
    }
    let next = rest.next().map(|(name, _)| marker(name, from.is_empty())).unwrap_or_default();
    let endpoint = xml(&format!("{}{}/", request.origin(), target.base));
    Ok(Response::xml(
        200,
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"{endpoint}\">\
             <Containers>{lines}</Containers><NextMarker>{}</NextMarker></EnumerationResults>",
            xml(&next)
        ),
    ))
}

/// `GET /C?restype=container&comp=list`.
pub(super) fn blobs(
    container: &Container,
    target: &Target,
    request: &Request,
    world: &World,
) -> Result<Response, Failure> {
    let Window { from, empty, count } = window(request, world)?;
    let prefix = request.param("prefix").unwrap_or_default();
    let delimiter = request.param("delimiter").filter(|text| !text.is_empty());
    let include = request.param("include").unwrap_or_default();
    let with_metadata = include.split(',').any(|word| word.eq_ignore_ascii_case("metadata"));

    let mut lines: Vec<Line> = Vec::new();
    let mut next = None;
    let wanted = container.blobs.range(from.clone()..).filter(|(name, _)| name.starts_with(&prefix));
    for (name, blob) in wanted {
        let rest = name.get(prefix.len()..).unwrap_or_default();
        let folded =
            delimiter.as_ref().and_then(|delimiter| rest.find(delimiter.as_str()).map(|at| at + delimiter.len()));
        let folded = folded.map(|end| format!("{prefix}{}", rest.get(..end).unwrap_or_default()));
        if let (Some(Line::Prefix(last)), Some(this)) = (lines.last(), &folded)
            && last == this
        {
            continue;
        }
        if empty || lines.len() == count {
            next = Some(name);
            break;
        }
        lines.push(folded.map_or(Line::Blob(name, blob), Line::Prefix));
    }
    let next = next.map(|name| marker(name, from.is_empty())).unwrap_or_default();
    let lines: String = lines.iter().map(|line| written(line, with_metadata)).collect();
    let delimiter = delimiter.map(|text| format!("<Delimiter>{}</Delimiter>", xml(&text))).unwrap_or_default();
    let endpoint = xml(&format!("{}{}/", request.origin(), target.base));
    Ok(Response::xml(
        200,
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"{endpoint}\" \
             ContainerName=\"{}\"><Prefix>{}</Prefix><MaxResults>{count}</MaxResults>{delimiter}<Blobs>{lines}</Blobs>\
             <NextMarker>{}</NextMarker></EnumerationResults>",
            xml(&target.container),
            xml(&prefix),
            xml(&next)
        ),
    ))
}

fn written(line: &Line, with_metadata: bool) -> String {
    let (name, blob) = match line {
        Line::Prefix(prefix) => return format!("<BlobPrefix>{}</BlobPrefix>", name_element(prefix)),
        Line::Blob(name, blob) => (name, blob),
    };
    let mut properties = String::new();
    let mut add = |element: &str, value: &str| properties.push_str(&format!("<{element}>{}</{element}>", xml(value)));
    add("Creation-Time", &http_date(blob.created));
    add("Last-Modified", &http_date(blob.stamp.modified));
    add("Etag", blob.stamp.etag.trim_matches('"'));
    add("Content-Length", &blob.content.len().to_string());
    add("Content-Type", blob.properties.media_type.as_deref().unwrap_or("application/octet-stream"));
    add("Content-Encoding", blob.properties.encoding.as_deref().unwrap_or_default());
    add("Content-Language", blob.properties.language.as_deref().unwrap_or_default());
    add("Content-MD5", blob.properties.md5.as_deref().unwrap_or_default());
    add("Cache-Control", blob.properties.cache.as_deref().unwrap_or_default());
    add("Content-Disposition", blob.properties.disposition.as_deref().unwrap_or_default());
    add("BlobType", "BlockBlob");
    add("AccessTier", blob.tier.as_deref().unwrap_or("Hot"));
    if blob.tier.is_none() {
        add("AccessTierInferred", "true");
    }
    if let Some((tier, _)) = &blob.rehydrating {
        add("ArchiveStatus", &format!("rehydrate-pending-to-{}", tier.to_lowercase()));
    }
    add("LeaseStatus", if blob.lease.is_some() { "locked" } else { "unlocked" });
    add("LeaseState", if blob.lease.is_some() { "leased" } else { "available" });
    if let Some(copy) = &blob.copy {
        add("CopyId", &copy.id);
        add("CopyStatus", copy.status);
    }
    add("ServerEncrypted", "true");
    let metadata = if with_metadata {
        let pairs = blob.metadata.iter().map(|(name, value)| format!("<{name}>{}</{name}>", xml(value)));
        format!("<Metadata>{}</Metadata>", pairs.collect::<String>())
    } else {
        String::new()
    };
    format!("<Blob>{}<Properties>{properties}</Properties>{metadata}<OrMetadata /></Blob>", name_element(name))
}

/// A name, percent-encoded and marked so where XML cannot carry it.
fn name_element(name: &str) -> String {
    let illegal =
        |letter: char| (letter < ' ' && !"\t\n\r".contains(letter)) || matches!(letter, '\u{fffe}' | '\u{ffff}');
    if name.contains(illegal) {
        format!("<Name Encoded=\"true\">{}</Name>", encode(name, "/"))
    } else {
        format!("<Name>{}</Name>", xml(name))
    }
}
