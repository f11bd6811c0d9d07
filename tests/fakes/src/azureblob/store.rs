//! What an account holds: containers, blobs, blocks that are not committed yet. No HTTP but the condition headers.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};

use super::Failure;
use crate::text::parse_http_date;
use crate::{Request, World};

/// Blocks that nobody commits vanish after this.
const UNCOMMITTED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long waking an archived blob takes.
const REHYDRATION: SignedDuration = SignedDuration::from_hours(1);

/// A container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) stamp: Stamp,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) public: Option<String>,
    pub(super) blobs: BTreeMap<String, Blob>,
    pub(super) uncommitted: BTreeMap<String, Vec<Block>>,
}

/// A block before it is committed.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) id: String,
    pub(super) content: Bytes,
    pub(super) since: Timestamp,
}

/// A blob.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) content: Bytes,
    /// Id and size of the blocks it was committed from.
    pub(super) blocks: Vec<(String, usize)>,
    pub(super) properties: Properties,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) tier: Option<String>,
    pub(super) rehydrating: Option<(String, Timestamp)>,
    pub(super) created: Timestamp,
    pub(super) stamp: Stamp,
    pub(super) copy: Option<Copy>,
    pub(super) lease: Option<String>,
    pub(super) snapshots: Vec<(String, Bytes)>,
}

/// What changes with every write.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    pub(super) etag: String,
    pub(super) modified: Timestamp,
}

/// A copy that the blob is or was the target of.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) status: &'static str,
    /// How often it still answers `pending`, and what the blob holds then.
    pub(super) pending: Option<(u64, Bytes)>,
    pub(super) total: usize,
}

/// The headers that are stored with the content.
#[derive(Debug, Clone, Default)]
pub(super) struct Properties {
    pub(super) media_type: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) language: Option<String>,
    pub(super) disposition: Option<String>,
    pub(super) cache: Option<String>,
    pub(super) md5: Option<String>,
}

impl Stamp {
    pub(super) fn new(world: &mut World) -> Stamp {
        Stamp { etag: format!("\"0x8D{:012X}\"", world.number()), modified: world.now() }
    }
}

impl Properties {
    /// What `x-ms-blob-*` headers say; plain headers count only where nothing else was said.
    pub(super) fn of(request: &Request, with_plain: bool) -> Properties {
        let of = |name: &str, plain: &str| {
            let own = request.header(&format!("x-ms-blob-{name}"));
            own.or(request.header(plain).filter(|_| with_plain)).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Properties {
            media_type: of("content-type", "content-type"),
            encoding: of("content-encoding", "content-encoding"),
            language: of("content-language", "content-language"),
            disposition: of("content-disposition", ""),
            cache: of("cache-control", "cache-control"),
            md5: of("content-md5", "content-md5"),
        }
    }
}

impl Container {
    pub(super) fn new(public: Option<String>, metadata: Vec<(String, String)>, world: &mut World) -> Container {
        let stamp = Stamp::new(world);
        Container { stamp, metadata, public, blobs: BTreeMap::new(), uncommitted: BTreeMap::new() }
    }

    pub(super) fn blob(&self, name: &str) -> Result<&Blob, Failure> {
        self.blobs.get(name).ok_or_else(|| Failure::new(404, "BlobNotFound"))
    }

    /// A blob for changing it; a lease must be shown.
    pub(super) fn blob_mut(&mut self, name: &str, request: &Request) -> Result<&mut Blob, Failure> {
        let blob = self.blobs.get_mut(name).ok_or_else(|| Failure::new(404, "BlobNotFound"))?;
        blob.leased(request)?;
        Ok(blob)
    }

    /// Forgets blocks that waited too long.
    pub(super) fn prune(&mut self, now: Timestamp) {
        for blocks in self.uncommitted.values_mut() {
            blocks.retain(|block| now.duration_since(block.since) < UNCOMMITTED);
        }
        self.uncommitted.retain(|_, blocks| !blocks.is_empty());
        for blob in self.blobs.values_mut() {
            if let Some((tier, since)) = blob.rehydrating.take() {
                if now.duration_since(since) >= REHYDRATION {
                    blob.tier = Some(tier);
                } else {
                    blob.rehydrating = Some((tier, since));
                }
            }
        }
    }

    /// Whether a write may replace what is there: conditions, lease, tier, running copy.
    pub(super) fn replaceable(&self, name: &str, request: &Request) -> Result<(), Failure> {
        let blob = self.blobs.get(name);
        conditions(request, blob.map(|blob| &blob.stamp))?;
        let Some(blob) = blob else { return Ok(()) };
        blob.leased(request)?;
        if blob.is_archived() {
            return Err(Failure::new(409, "BlobArchived"));
        }
        if blob.copy.as_ref().is_some_and(|copy| copy.pending.is_some()) {
            return Err(Failure::new(409, "PendingCopyOperation"));
        }
        Ok(())
    }
}

impl Blob {
    /// A blob as it is after a write.
    pub(super) fn new(
        content: Bytes,
        properties: Properties,
        metadata: Vec<(String, String)>,
        world: &mut World,
    ) -> Blob {
        let stamp = Stamp::new(world);
        Blob {
            content,
            blocks: Vec::new(),
            properties,
            metadata,
            tier: None,
            rehydrating: None,
            created: stamp.modified,
            stamp,
            copy: None,
            lease: None,
            snapshots: Vec::new(),
        }
    }

    pub(super) fn is_archived(&self) -> bool {
        self.tier.as_deref().is_some_and(|tier| tier.eq_ignore_ascii_case("archive"))
    }

    /// Lets one more look at a running copy pass.
    pub(super) fn poll_copy(&mut self) {
        let Some(copy) = &mut self.copy else { return };
        match &mut copy.pending {
            Some((polls, _)) if *polls > 0 => *polls -= 1,
            Some((_, content)) => {
                self.content = std::mem::take(content);
                copy.pending = None;
                copy.status = "success";
            }
            None => {}
        }
    }

    fn leased(&self, request: &Request) -> Result<(), Failure> {
        match (&self.lease, request.header("x-ms-lease-id")) {
            (Some(_), None) => Err(Failure::new(412, "LeaseIdMissing")),
            (Some(lease), Some(given)) if lease != given => Err(Failure::new(409, "LeaseIdMismatchWithBlobOperation")),
            _ => Ok(()),
        }
    }
}

/// Judges the condition headers of a request against what is there.
pub(super) fn conditions(request: &Request, stamp: Option<&Stamp>) -> Result<(), Failure> {
    let reading = matches!(request.method.as_str(), "GET" | "HEAD");
    let failed = || Failure::new(412, "ConditionNotMet");
    let unchanged = || if reading { Failure::new(304, "ConditionNotMet") } else { failed() };
    let names = |header: &str, stamp: &Stamp| {
        let wanted = stamp.etag.trim_matches('"');
        header == "*" || header.split(',').any(|tag| tag.trim().trim_matches('"') == wanted)
    };
    if let Some(header) = request.header("if-match")
        && !stamp.is_some_and(|stamp| names(header, stamp))
    {
        return Err(failed());
    }
    let Some(stamp) = stamp else { return Ok(()) };
    if let Some(header) = request.header("if-none-match") {
        if header == "*" && !reading {
            return Err(Failure::new(409, "BlobAlreadyExists"));
        }
        if names(header, stamp) {
            return Err(unchanged());
        }
    }
    let date = |name: &str| request.header(name).and_then(parse_http_date).map(|date| date.as_second());
    let modified = stamp.modified.as_second();
    if date("if-modified-since").is_some_and(|date| modified <= date) {
        return Err(unchanged());
    }
    if date("if-unmodified-since").is_some_and(|date| modified > date) {
        return Err(failed());
    }
    Ok(())
}

/// The `x-ms-meta-*` of a request, in the spelling they were sent in.
pub(super) fn metadata(request: &Request) -> Result<Vec<(String, String)>, Failure> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, value) in &request.headers {
        let prefix = name.get(..10).filter(|prefix| prefix.eq_ignore_ascii_case("x-ms-meta-"));
        let Some(key) = prefix.and_then(|_| name.get(10..)) else { continue };
        let valid = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !valid || !value.is_ascii() {
            return Err(Failure::new(400, "InvalidMetadata"));
        }
        found.push((key.to_owned(), value.clone()));
    }
    if found.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > 8192 {
        return Err(Failure::new(400, "MetadataTooLarge"));
    }
    Ok(found)
}

/// The Content-MD5 of bytes.
pub(super) fn md5_of(content: &[u8]) -> String {
    BASE64.encode(&Md5::digest(content))
}

/// Compares `Content-MD5` with the body.
pub(super) fn check_md5(request: &Request) -> Result<(), Failure> {
    match request.header("content-md5").filter(|value| !value.is_empty()) {
        Some(given) if given != md5_of(&request.body) => Err(Failure::new(400, "Md5Mismatch")),
        _ => Ok(()),
    }
}
