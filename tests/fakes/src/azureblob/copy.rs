//! Copies on the server: from the same account with its key, from another one only with a signature in the source's URL.

use bytes::Bytes;

use super::auth::{self, Access, Level};
use super::blobs::{may_write, replace, tier};
use super::store::{Blob, Container, Copy, Properties, metadata};
use super::{AzureBlob, Call, Failure, stamped};
use crate::text::pairs;
use crate::{Response, World};

/// What a copy is made from.
pub(super) struct Source {
    url: String,
    pub(super) content: Bytes,
    properties: Properties,
    metadata: Vec<(String, String)>,
    blocks: Vec<(String, usize)>,
    tier: Option<String>,
}

impl AzureBlob {
    /// Finds the source that a URL names and checks that it may be read.
    pub(super) fn source(&self, url: &str, call: &Call, world: &World) -> Result<Source, Failure> {
        let unreadable = || Failure::new(403, "CannotVerifyCopySource");
        let absent = || Failure::new(404, "CannotVerifyCopySource");
        let (_, rest) = url.split_once("://").ok_or_else(|| Failure::new(400, "InvalidHeaderValue"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let target = self.target(&host, path)?;
        let name = target.blob.as_ref().ok_or_else(absent)?;
        let account = self.accounts.get(&target.account).ok_or_else(absent)?;
        let container = account.containers.get(&target.container).ok_or_else(absent)?;
        let params = pairs(query);
        if params.iter().any(|(name, _)| name == "sig") {
            let access = auth::sas(&params, &target, &account.key, world).map_err(|_| unreadable())?;
            access.allow(Level::Object, "r").map_err(|_| unreadable())?;
        } else if (target.account != call.target.account || call.access != Access::Owner) && container.public.is_none()
        {
            return Err(unreadable());
        }
        let blob = container.blobs.get(name).ok_or_else(|| Failure::new(404, "BlobNotFound"))?;
        let etag = blob.stamp.etag.trim_matches('"');
        let condition = |name: &str| call.request.header(name).map(|tag| tag == "*" || tag.trim_matches('"') == etag);
        if condition("x-ms-source-if-match") == Some(false) || condition("x-ms-source-if-none-match") == Some(true) {
            return Err(Failure::new(412, "SourceConditionNotMet"));
        }
        if blob.is_archived() {
            return Err(Failure::new(409, "BlobArchived"));
        }
        Ok(Source {
            url: url.split('?').next().unwrap_or_default().to_owned(),
            content: blob.content.clone(),
            properties: blob.properties.clone(),
            metadata: blob.metadata.clone(),
            blocks: blob.blocks.clone(),
            tier: blob.tier.clone(),
        })
    }
}

/// `Copy Blob`; with a blob type, `Put Blob From URL`, which is done at once. `(polls, failures)`: how often the copy answers
/// `pending`, and how many copies are still to fail.
pub(super) fn copy(
    container: &mut Container,
    name: &str,
    call: &Call,
    source: Source,
    (polls, failures): (u64, &mut u64),
    world: &mut World,
) -> Result<Response, Failure> {
    let request = call.request;
    may_write(container, name, call)?;
    container.replaceable(name, request)?;
    let at_once = request.header("x-ms-blob-type").is_some() || request.header("x-ms-requires-sync") == Some("true");
    let sent = metadata(request)?;
    let metadata = if sent.is_empty() { source.metadata } else { sent };
    let total = source.content.len();
    let mut blob = Blob::new(source.content, source.properties, metadata, world);
    blob.blocks = source.blocks;
    blob.tier = tier(request)?.or(source.tier);
    let mut copy = Copy { id: world.uuid(), source: source.url, status: "success", pending: None, total };
    if *failures > 0 && !at_once {
        *failures -= 1;
        copy.status = "failed";
        blob.content = Bytes::new();
        // The answer still says pending: failure is what the looks afterwards tell.
    } else if polls > 0 && !at_once {
        copy.pending = Some((polls, std::mem::take(&mut blob.content)));
        copy.status = "pending";
    }
    let said = if copy.status == "success" { "success" } else { "pending" };
    let response = Response::empty(if request.header("x-ms-blob-type").is_some() { 201 } else { 202 });
    let response = stamped(response, &blob.stamp).with("x-ms-copy-id", &copy.id).with("x-ms-copy-status", said);
    blob.copy = Some(copy);
    replace(container, name, blob);
    Ok(response)
}
