//! Blocks: sent one by one in any order, committed by a list that says what the blob is made of.

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::auth::Level;
use super::blobs::{may_write, replace, tier};
use super::copy::Source;
use super::store::{Blob, Block, Container, Properties, check_md5, md5_of, metadata};
use super::{Call, Failure, stamped};
use crate::text::xml;
use crate::{Range, Response, World};

/// How many blocks a blob may be made of.
const BLOCKS_MAX: usize = 50_000;
/// How long a block's id may be, before base64.
const ID_MAX_BYTES: usize = 64;

/// `Put Block`, and `Put Block From URL` where there is a source.
pub(super) fn put(
    container: &mut Container,
    name: &str,
    call: &Call,
    source: Option<Source>,
    world: &World,
) -> Result<Response, Failure> {
    let request = call.request;
    may_write(container, name, call)?;
    if request.header("content-length").is_none() {
        return Err(Failure::new(411, "MissingContentLengthHeader"));
    }
    let id = request.param("blockid").ok_or_else(|| Failure::new(400, "MissingRequiredQueryParameter"))?;
    let raw = raw_length(&id)?;
    let waiting = container.uncommitted.get(name).into_iter().flatten().map(|block| block.id.as_str());
    let committed = container.blobs.get(name).into_iter().flat_map(|blob| &blob.blocks).map(|(id, _)| id.as_str());
    if waiting.chain(committed).any(|other| raw_length(other).is_ok_and(|length| length != raw)) {
        return Err(Failure::new(400, "InvalidBlobOrBlock"));
    }
    check_md5(request)?;
    let content = match source {
        None => request.body.clone(),
        Some(_) if !request.body.is_empty() => return Err(Failure::new(400, "InvalidHeaderValue")),
        Some(source) => match Range::of(request.header("x-ms-source-range"), source.content.len()) {
            Range::All => source.content,
            Range::Part(from, to) => source.content.slice(from..to),
            Range::Outside => return Err(Failure::new(416, "InvalidRange")),
        },
    };
    if content.is_empty() {
        return Err(Failure::new(400, "InvalidHeaderValue"));
    }
    let md5 = md5_of(&content);
    let blocks = container.uncommitted.entry(name.to_owned()).or_default();
    blocks.retain(|block| block.id != id);
    blocks.push(Block { id, content, since: world.now() });
    Ok(Response::empty(201).with("Content-MD5", md5).with("x-ms-request-server-encrypted", "true"))
}

fn raw_length(id: &str) -> Result<usize, Failure> {
    let raw = BASE64.decode(id.as_bytes()).map_err(|_| Failure::new(400, "InvalidBlockId"))?;
    if raw.is_empty() || raw.len() > ID_MAX_BYTES {
        return Err(Failure::new(400, "InvalidBlockId"));
    }
    Ok(raw.len())
}

/// `Put Block List`. Nothing computes an MD5 here: the blob has the one that was sent, or none.
pub(super) fn commit(
    container: &mut Container,
    name: &str,
    call: &Call,
    world: &mut World,
) -> Result<Response, Failure> {
    let request = call.request;
    may_write(container, name, call)?;
    check_md5(request)?;
    container.replaceable(name, request)?;
    let wanted = parse(&request.body)?;
    if wanted.len() > BLOCKS_MAX {
        return Err(Failure::new(400, "BlockListTooLong"));
    }
    let old = container.blobs.get(name);
    let mut blocks = Vec::new();
    let mut content = BytesMut::new();
    for (place, id) in wanted {
        let waiting =
            || container.uncommitted.get(name)?.iter().find(|block| block.id == id).map(|block| block.content.clone());
        let committed = || old.and_then(|blob| part(blob, &id));
        let found = match place.as_str() {
            "Latest" => waiting().or_else(committed),
            "Uncommitted" => waiting(),
            _ => committed(),
        };
        let bytes = found.ok_or_else(|| Failure::new(400, "InvalidBlockList"))?;
        content.extend_from_slice(&bytes);
        blocks.push((id, bytes.len()));
    }
    let properties = Properties {
        md5: request.header("x-ms-blob-content-md5").map(str::to_owned),
        ..Properties::of(request, false)
    };
    let mut blob = Blob::new(content.freeze(), properties, metadata(request)?, world);
    blob.blocks = blocks;
    blob.tier = tier(request)?;
    let response = stamped(Response::empty(201), &blob.stamp).with("x-ms-request-server-encrypted", "true");
    replace(container, name, blob);
    Ok(response)
}

/// A committed block of a blob.
fn part(blob: &Blob, wanted: &str) -> Option<Bytes> {
    let mut at = 0;
    for (id, size) in &blob.blocks {
        if id == wanted {
            return Some(blob.content.slice(at..at + size));
        }
        at += size;
    }
    None
}

/// The list of `(Latest | Committed | Uncommitted, id)`.
fn parse(body: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let wrong = || Failure::new(400, "InvalidXmlDocument");
    let text = std::str::from_utf8(body).map_err(|_| wrong())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut found = Vec::new();
    let mut place = None;
    let mut root = false;
    loop {
        match reader.read_event().map_err(|_| wrong())? {
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "BlockList" => root = true,
            Event::Start(tag) => {
                let name = tag.name().as_ref().to_owned();
                if !["Latest", "Committed", "Uncommitted"].contains(&name.as_str()) {
                    return Err(wrong());
                }
                place = Some(name);
            }
            Event::Text(text) => {
                if let Some(place) = &place {
                    // Base64 has nothing that XML would escape.
                    found.push((place.clone(), text.trim().to_owned()));
                }
            }
            Event::End(_) => place = None,
            Event::Eof => return if root { Ok(found) } else { Err(wrong()) },
            _ => {}
        }
    }
}

/// `Get Block List`.
pub(super) fn list(container: &Container, name: &str, call: &Call) -> Result<Response, Failure> {
    call.access.allow(Level::Object, "r")?;
    let blob = container.blobs.get(name);
    let waiting = container.uncommitted.get(name);
    if blob.is_none() && waiting.is_none() {
        return Err(Failure::new(404, "BlobNotFound"));
    }
    let element = |id: &str, size: usize| format!("<Block><Name>{}</Name><Size>{size}</Size></Block>", xml(id));
    let committed: String =
        blob.into_iter().flat_map(|blob| &blob.blocks).map(|(id, size)| element(id, *size)).collect();
    let uncommitted: String =
        waiting.into_iter().flatten().map(|block| element(&block.id, block.content.len())).collect();
    let committed = format!("<CommittedBlocks>{committed}</CommittedBlocks>");
    let uncommitted = format!("<UncommittedBlocks>{uncommitted}</UncommittedBlocks>");
    let inside = match call.request.param("blocklisttype").as_deref().unwrap_or("committed") {
        "all" => committed + &uncommitted,
        "uncommitted" => uncommitted,
        "committed" => committed,
        _ => return Err(Failure::new(400, "InvalidQueryParameterValue")),
    };
    let text = format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{inside}</BlockList>");
    let response = Response::xml(200, text);
    Ok(match blob {
        Some(blob) => stamped(response, &blob.stamp).with("x-ms-blob-content-length", blob.content.len().to_string()),
        None => response,
    })
}
