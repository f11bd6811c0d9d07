//! Reading, writing, describing and removing whole blobs.

use super::auth::{Access, Level};
use super::store::{self, Blob, Container, Properties, check_md5, conditions, md5_of, metadata};
use super::{Call, Failure, stamped};
use crate::text::http_date;
use crate::{Range, Request, Response, World};

/// The most that one `Put Blob` may hold.
const SINGLE_MAX_BYTES: usize = 5000 << 20;
const TIERS: [&str; 4] = ["Hot", "Cool", "Cold", "Archive"];

/// `GET` and `HEAD`.
pub(super) fn get(container: &mut Container, name: &str, call: &Call) -> Result<Response, Failure> {
    let Call { request, access, .. } = call;
    if *access != Access::Anonymous || container.public.is_none() {
        access.allow(Level::Object, "r")?;
    }
    let head = request.method == "HEAD";
    if let Some(blob) = container.blobs.get_mut(name).filter(|_| head) {
        blob.poll_copy();
    }
    let blob = container.blob(name)?;
    conditions(request, Some(&blob.stamp))?;
    let content = match request.param("snapshot") {
        Some(time) => {
            let found = blob.snapshots.iter().find(|(taken, _)| *taken == time);
            found.map(|(_, content)| content.clone()).ok_or_else(|| Failure::new(404, "BlobNotFound"))?
        }
        None => blob.content.clone(),
    };
    if head || request.param("comp").is_some() {
        let response = described(Response::empty(200), blob, request);
        let length = if head { content.len() } else { 0 };
        let response = response.with("Content-Length", length.to_string());
        return Ok(with_md5(response, "Content-MD5", blob));
    }
    if blob.is_archived() {
        return Err(Failure::new(409, "BlobArchived"));
    }
    let range = request.header("x-ms-range").or(request.header("range"));
    match Range::of(range, content.len()) {
        Range::All => {
            let whole = Response { status: 200, body: content, ..Response::default() };
            Ok(with_md5(described(whole, blob, request), "Content-MD5", blob))
        }
        Range::Part(from, to) => {
            let total = content.len();
            let body = content.slice(from..to);
            let wants_md5 = request.header("x-ms-range-get-content-md5") == Some("true");
            let mut part = described(Response { status: 206, body, ..Response::default() }, blob, request);
            if wants_md5 {
                let md5 = md5_of(&part.body);
                part = part.with("Content-MD5", md5);
            }
            let last = to.saturating_sub(1);
            Ok(with_md5(part, "x-ms-blob-content-md5", blob)
                .with("Content-Range", format!("bytes {from}-{last}/{total}")))
        }
        Range::Outside => {
            Err(Failure::new(416, "InvalidRange").with("Content-Range", format!("bytes */{}", content.len())))
        }
    }
}

fn with_md5(response: Response, header: &str, blob: &Blob) -> Response {
    match &blob.properties.md5 {
        Some(md5) => response.with(header, md5),
        None => response,
    }
}

/// With everything that is known about a blob but its length.
fn described(response: Response, blob: &Blob, request: &Request) -> Response {
    let mut response = stamped(response, &blob.stamp)
        .with("Accept-Ranges", "bytes")
        .with("x-ms-blob-type", "BlockBlob")
        .with("x-ms-creation-time", http_date(blob.created))
        .with("x-ms-access-tier", blob.tier.as_deref().unwrap_or("Hot"))
        .with("x-ms-lease-status", if blob.lease.is_some() { "locked" } else { "unlocked" })
        .with("x-ms-lease-state", if blob.lease.is_some() { "leased" } else { "available" })
        .with("x-ms-server-encrypted", "true");
    if blob.tier.is_none() {
        response = response.with("x-ms-access-tier-inferred", "true");
    }
    if let Some((tier, _)) = &blob.rehydrating {
        response = response.with("x-ms-archive-status", format!("rehydrate-pending-to-{}", tier.to_lowercase()));
    }
    let own = &blob.properties;
    let media_type = own.media_type.clone().or_else(|| Some("application/octet-stream".into()));
    let named = [
        ("Content-Type", media_type, "rsct"),
        ("Content-Encoding", own.encoding.clone(), "rsce"),
        ("Content-Language", own.language.clone(), "rscl"),
        ("Content-Disposition", own.disposition.clone(), "rscd"),
        ("Cache-Control", own.cache.clone(), "rscc"),
    ];
    for (header, value, instead) in named {
        let overridden = request.param(instead).filter(|_| request.param("sig").is_some());
        if let Some(value) = overridden.or(value) {
            response = response.with(header, value);
        }
    }
    for (name, value) in &blob.metadata {
        response = response.with(&format!("x-ms-meta-{name}"), value);
    }
    if let Some(copy) = &blob.copy {
        let done = if copy.status == "success" { copy.total } else { 0 };
        response = response
            .with("x-ms-copy-id", &copy.id)
            .with("x-ms-copy-source", &copy.source)
            .with("x-ms-copy-status", copy.status)
            .with("x-ms-copy-progress", format!("{done}/{}", copy.total));
    }
    response
}

/// Creating needs `c` or `w`, replacing needs `w`.
pub(super) fn may_write(container: &Container, name: &str, call: &Call) -> Result<(), Failure> {
    call.access.allow(Level::Object, if container.blobs.contains_key(name) { "w" } else { "cw" })
}

/// The tier that a request names.
pub(super) fn tier(request: &Request) -> Result<Option<String>, Failure> {
    match request.header("x-ms-access-tier") {
        None => Ok(None),
        Some(given) => match TIERS.iter().find(|tier| tier.eq_ignore_ascii_case(given)) {
            Some(tier) => Ok(Some((*tier).to_owned())),
            None => Err(Failure::new(400, "InvalidHeaderValue")),
        },
    }
}

/// `Put Blob`.
pub(super) fn put(container: &mut Container, name: &str, call: &Call, world: &mut World) -> Result<Response, Failure> {
    let request = call.request;
    may_write(container, name, call)?;
    if request.header("content-length").is_none() && request.header("transfer-encoding").is_some() {
        return Err(Failure::new(411, "MissingContentLengthHeader"));
    }
    match request.header("x-ms-blob-type") {
        None => return Err(Failure::new(400, "MissingRequiredHeader")),
        Some("BlockBlob") => {}
        Some(_) => return Err(Failure::new(400, "InvalidHeaderValue")),
    }
    if request.body.len() > SINGLE_MAX_BYTES {
        return Err(Failure::new(413, "RequestBodyTooLarge"));
    }
    check_md5(request)?;
    container.replaceable(name, request)?;
    let mut properties = Properties::of(request, true);
    let md5 = md5_of(&request.body);
    if properties.md5.as_ref().is_some_and(|given| *given != md5) {
        return Err(Failure::new(400, "Md5Mismatch"));
    }
    properties.md5 = Some(md5.clone());
    let mut blob = Blob::new(request.body.clone(), properties, metadata(request)?, world);
    blob.tier = tier(request)?;
    let response = stamped(Response::empty(201), &blob.stamp).with("Content-MD5", md5);
    replace(container, name, blob);
    Ok(response.with("x-ms-request-server-encrypted", "true"))
}

/// Puts a new state in the place of the old one: what was not committed is gone, snapshots and the lease stay.
pub(super) fn replace(container: &mut Container, name: &str, mut blob: Blob) {
    container.uncommitted.remove(name);
    if let Some(old) = container.blobs.remove(name) {
        (blob.created, blob.lease, blob.snapshots) = (old.created, old.lease, old.snapshots);
    }
    container.blobs.insert(name.to_owned(), blob);
}

/// `Set Blob Metadata`: replaces all of it.
pub(super) fn set_metadata(
    container: &mut Container,
    name: &str,
    call: &Call,
    world: &mut World,
) -> Result<Response, Failure> {
    call.access.allow(Level::Object, "w")?;
    let blob = container.blob_mut(name, call.request)?;
    conditions(call.request, Some(&blob.stamp))?;
    blob.metadata = metadata(call.request)?;
    blob.stamp = store::Stamp::new(world);
    Ok(stamped(Response::empty(200), &blob.stamp))
}

/// `Set Blob Properties`: clears what is not sent.
pub(super) fn set_properties(
    container: &mut Container,
    name: &str,
    call: &Call,
    world: &mut World,
) -> Result<Response, Failure> {
    call.access.allow(Level::Object, "w")?;
    let blob = container.blob_mut(name, call.request)?;
    conditions(call.request, Some(&blob.stamp))?;
    blob.properties = Properties::of(call.request, false);
    blob.stamp = store::Stamp::new(world);
    Ok(stamped(Response::empty(200), &blob.stamp))
}

/// `Set Blob Tier`: waking from the archive takes its time.
pub(super) fn set_tier(container: &mut Container, name: &str, call: &Call, world: &World) -> Result<Response, Failure> {
    call.access.allow(Level::Object, "w")?;
    let wanted = tier(call.request)?.ok_or_else(|| Failure::new(400, "MissingRequiredHeader"))?;
    let blob = container.blob_mut(name, call.request)?;
    if blob.is_archived() && wanted != "Archive" {
        blob.rehydrating = Some((wanted, world.now()));
        return Ok(Response::empty(202));
    }
    blob.tier = Some(wanted);
    Ok(Response::empty(200))
}

/// `Snapshot Blob`.
pub(super) fn snapshot(container: &mut Container, name: &str, call: &Call, world: &World) -> Result<Response, Failure> {
    call.access.allow(Level::Object, "cw")?;
    let blob = container.blob_mut(name, call.request)?;
    let time = world.now().strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string();
    blob.snapshots.push((time.clone(), blob.content.clone()));
    Ok(stamped(Response::empty(201), &blob.stamp).with("x-ms-snapshot", time))
}

/// `Delete Blob`.
pub(super) fn delete(container: &mut Container, name: &str, call: &Call) -> Result<Response, Failure> {
    call.access.allow(Level::Object, "d")?;
    let blob = container.blob_mut(name, call.request)?;
    conditions(call.request, Some(&blob.stamp))?;
    match call.request.header("x-ms-delete-snapshots") {
        Some("only") => {
            blob.snapshots.clear();
            return Ok(Response::empty(202));
        }
        Some("include") => {}
        Some(_) => return Err(Failure::new(400, "InvalidHeaderValue")),
        None if blob.snapshots.is_empty() => {}
        None => return Err(Failure::new(409, "SnapshotsPresent")),
    }
    container.blobs.remove(name);
    container.uncommitted.remove(name);
    Ok(Response::empty(202).with("x-ms-delete-type-permanent", "true"))
}
