//! Microsoft Azure Blob Storage: the first name of a path is a container, the rest a blob.
//!
//! Directories are what names have in common up to a slash; an empty one exists only where a marker was stored for it
//! (`directory_markers`). A version is an ETag, and every change is conditional on it.
//!
//! `api.rs` has a function per endpoint and the meaning of errors, `wire.rs` the settings and the XML.

use causeway_sdk::prelude::*;
use causeway_sdk::{now, random};
use serde::{Deserialize, Serialize};

mod api;
mod wire;

use api::{At, Stored};
pub use wire::Settings;

/// A block has at most so many bytes, and so has a blob that is put at once.
const LARGEST_BLOCK_BYTES: u64 = 4000 << 20;
const MOST_BLOCKS: u64 = 50_000;
/// Blobs removed by one step of a purge; they go out side by side.
const PURGED: u32 = 32;
/// A link that is to stay: signatures must end.
const LONGEST_LINK_MS: u64 = 10 * 365 * 86_400_000;

/// One account, or what a shared access signature opens of it.
#[derive(Debug)]
pub struct AzureBlob(Settings);

#[export]
impl Provider for AzureBlob {
    type Options = Settings;

    const ABOUT: About = About {
        name: "azureblob",
        title: "Microsoft Azure Blob Storage",
        documentation: "https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api",
        version: env!("CARGO_PKG_VERSION"),
        origins: &[
            "https://{account}.blob.core.windows.net",
            "https://login.microsoftonline.com",
            "http://127.0.0.1:10000",
        ],
        machine_credentials: Some("azure"),
        ..About::UNKNOWN
    };

    fn slots() -> Vec<Slot> {
        vec![Slot::new(api::EMULATOR_KEY, Uses::new().hmac(causeway_sdk::options::Hash::Sha256, "", 0, true))]
    }

    fn open(settings: Settings) -> std::result::Result<AzureBlob, Vec<Problem>> {
        let problems = settings.problems();
        if problems.is_empty() { Ok(AzureBlob(settings)) } else { Err(problems) }
    }

    fn traits(&self) -> Traits {
        let mut abilities = Abilities::ATOMIC_REPLACE | Abilities::KEEPS_MODIFIED | Abilities::CONDITIONAL;
        abilities.set(Abilities::EMPTY_DIRECTORIES, self.0.directory_markers);
        Traits {
            signing_in: self.0.signing_in(),
            abilities,
            naming: Naming { longest_bytes: Some(1024), ..Traits::default().naming },
            modified_step_ns: 1,
            digests: vec![Digest::Md5],
            early_digests: if self.0.disable_checksum { Vec::new() } else { vec![Digest::Md5] },
            largest_bytes: Some(LARGEST_BLOCK_BYTES * MOST_BLOCKS),
            ..Traits::default()
        }
    }

    fn probe(&self) -> Result<Identity> {
        match self.only_container() {
            Some(container) => self.list_blobs(At { container: &container, blob: "" }, 1, None).map(|_| ())?,
            None => self.list_containers(1, None).map(|_| ())?,
        }
        Ok(Identity { account: None, display: Some(self.account()).filter(|account| !account.is_empty()) })
    }

    /// Where the range is signed, a plan serves that range alone.
    fn read(&self, file: &Node, size: Option<u64>, range: Option<Span>) -> Result<Plan> {
        let mut request = self.at("GET", At::of(&file.path));
        if let Some(version) = &file.version {
            request = request.header("If-Match", format!("\"{version}\""));
        }
        let signed = self.signs();
        if let Some(span) = range.filter(|_| signed) {
            request =
                request.header("x-ms-range", format!("bytes={}-{}", span.offset, span.offset + span.size.max(1) - 1));
        }
        let mut plan = Plan::get(self.authorize(request, 0)?).size(size);
        if signed {
            let ranges = if range.is_some() { Ranges::Placed } else { Ranges::None };
            plan = plan.ranges(ranges).reuse(Reuse::ThisRange, SIGNED_MS);
        }
        Ok(match &file.version {
            Some(version) => plan.guard("etag", format!("\"{version}\"")).into(),
            None => plan.into(),
        })
    }

    fn meaning(&self, answer: &Answer) -> Error {
        api::meaning(answer)
    }
}

/// A signature is accepted for 15 minutes.
const SIGNED_MS: u32 = 600_000;

#[export]
impl Paths for AzureBlob {
    /// Where nothing is known yet, asks for the blob and for one name below it side by side: a directory keeps a name that both have.
    fn stat(&self, path: &str, kind: Option<Kind>) -> Result<Option<Entry>> {
        let at = At::of(path);
        if at.blob.is_empty() {
            let found = none_if_missing(self.container_properties(at.container))?;
            return Ok(found.map(|_| Entry::directory(at.container)));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let below = format!("{}/", at.blob);
        let below = At { blob: &below, ..at };
        let directory = |answer: Result<Answer>| {
            let listed = none_if_missing(answer.and_then(|answer| self.listed(below, answer)))?;
            Ok(listed.filter(|listed| listed.exists()).map(|_| Entry::directory(name)))
        };
        let file = |answer: Result<Answer>| {
            let found = none_if_missing(answer.and_then(|answer| self.accept(answer)))?;
            Ok(found.map(|answer| wire::entry_of_headers(name, &answer)))
        };
        match kind {
            Some(Kind::File) => file(self.head_request(at)?.send()),
            Some(Kind::Directory) => directory(self.list_request(below, 1, None)?.send()),
            None => {
                let asked = [self.head_request(at)?, self.list_request(below, 1, None)?];
                let mut answers = Request::send_all(asked).into_iter();
                let mut next = || answers.next().unwrap_or_else(|| Err(Error::unavailable("an answer is missing")));
                let (found, beneath) = (file(next())?, directory(next())?);
                Ok(beneath.or(found))
            }
        }
    }

    fn list(&self, directory: &Node, cursor: Option<&str>) -> Result<Page> {
        let at = At::of(&directory.path);
        let most = u32::try_from(self.0.list_chunk).unwrap_or(5000);
        if at.container.is_empty() {
            return match self.only_container() {
                Some(container) => Ok(Page::last(vec![Entry::directory(container)])),
                None => Ok(self.list_containers(most, cursor)?.page()),
            };
        }
        let below = if at.blob.is_empty() { String::new() } else { format!("{}/", at.blob) };
        let listed = self.list_blobs(At { blob: &below, ..at }, most, cursor)?;
        let empty = !listed.exists() && listed.next.is_none();
        if empty && cursor.is_none() && !at.blob.is_empty() {
            return Err(Error::not_found("there is no such directory in the container"));
        }
        Ok(Page { entries: listed.entries, next: listed.next })
    }
}

/// An answer that something is missing, as an absence.
fn none_if_missing<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

/// What every later call of a write needs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Session {
    path: String,
    size: u64,
    media_type: String,
    /// As it is kept.
    mtime: Option<String>,
    /// The ETag that must stand there, `*` for any; absent: nothing must.
    expected: Option<String>,
    /// Of the whole content, in base64; absent where nobody may ask for it.
    md5: Option<String>,
    /// What the ids of its blocks have in common, in hexadecimal digits; absent where it is put at once.
    blocks: Option<String>,
}

impl Session {
    fn at(&self) -> At<'_> {
        At::of(&self.path)
    }

    fn stored(&self) -> Stored<'_> {
        let expected = self.expected.as_deref();
        Stored { media_type: &self.media_type, mtime: self.mtime.as_deref(), md5: self.md5.as_deref(), expected }
    }

    /// The id of a block; all of a blob must be of one length.
    fn block(&self, number: u32) -> String {
        let common = self.blocks.as_deref().unwrap_or_default();
        data_encoding::BASE64.encode(format!("{number:08x}{common}").as_bytes())
    }

    /// The file as the answer to its writing tells.
    fn written(&self, answer: &Answer) -> Outcome {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let entry = wire::entry_of_headers(name, answer);
        let md5 = self.md5.as_ref().and_then(|md5| wire::digest_of_base64(md5));
        Outcome::Done(Some(Entry {
            size: Some(self.size),
            modified: self.mtime.as_deref().and_then(causeway_sdk::time::parse_rfc3339).or(entry.modified),
            media_type: Some(self.media_type.clone()),
            digests: md5.into_iter().collect(),
            ..entry
        }))
    }
}

#[export]
impl Writing for AzureBlob {
    type Session = Session;

    fn begin(&self, intent: &WriteIntent, content: Source<'_>) -> Result<Begun<Session>> {
        let path = intent.parent.child(&intent.name);
        let at = At::of(&path);
        if at.blob.is_empty() {
            return Err(Error::invalid("there are only containers here: a file needs one to be in"));
        }
        let size = content.size();
        let md5 = match self.0.disable_checksum {
            true => None,
            false => Some(data_encoding::BASE64.encode(&content.digest(Digest::Md5, content.whole())?)),
        };
        let mut expected = intent.existing.as_ref().map(api::expected);
        if self.0.archive_tier_delete && expected.is_some() && self.is_archived(at)? {
            self.delete(at, expected.as_deref().unwrap_or("*"))?;
            expected = None;
        }
        let mtime = intent.modified.map(|modified| causeway_sdk::time::rfc3339(modified, 9));
        let media_type = intent.media_type.clone();
        let mut session = Session { path: path.clone(), size, media_type, mtime, expected, md5, blocks: None };
        let block = self.block_bytes(size);
        if size <= block {
            let first = PartPlan::new(self.put_request(at, session.stored(), Text::content(content.whole()), size)?);
            return Ok(Begun::Upload { session, cutting: None, first: Some(first) });
        }
        session.blocks = Some(data_encoding::HEXLOWER.encode(&random(8)));
        let parallel = u32::try_from(self.0.upload_concurrency).unwrap_or(1);
        let cutting = Cutting { first_bytes: block, other_bytes: block, parallel };
        Ok(Begun::Upload { session, cutting: Some(cutting), first: None })
    }

    fn plan_part(&self, session: &Session, part: &Part, content: Source<'_>) -> Result<PartPlan> {
        let span = part.span;
        let request = match session.blocks {
            Some(_) => {
                let md5 = data_encoding::BASE64.encode(&content.digest(Digest::Md5, span)?);
                self.put_block_request(session.at(), &session.block(part.number), &md5, span)?
            }
            None => self.put_request(session.at(), session.stored(), Text::content(span), span.size)?,
        };
        Ok(PartPlan::new(request))
    }

    fn accept_part(&self, session: &Session, _part: &Part, answer: &Answer) -> Result<PartAnswer> {
        let answer = self.accept(answer.clone())?;
        Ok(match session.blocks {
            Some(_) => PartAnswer::Stored(String::new()),
            None => PartAnswer::Complete(session.written(&answer)),
        })
    }

    fn finish(&self, session: &Session, receipts: &[Receipt], _content: Source<'_>) -> Result<Outcome> {
        let mut numbers: Vec<u32> = receipts.iter().map(|receipt| receipt.number).collect();
        numbers.sort_unstable();
        let blocks: Vec<String> = numbers.into_iter().map(|number| session.block(number)).collect();
        Ok(session.written(&self.put_block_list(session.at(), session.stored(), &blocks)?))
    }

    /// There is no call for it: blocks that nobody lists vanish after a week.
    fn abort(&self, _session: &Session) -> Result<()> {
        Ok(())
    }

    fn resume(&self, session: &Session, _receipts: &[Receipt]) -> Result<Remains> {
        if session.blocks.is_some() {
            let waiting = none_if_missing(self.waiting_blocks(session.at()))?.unwrap_or_default();
            let number = |number: &u32| waiting.contains(&session.block(*number));
            let parts: Vec<u32> = (0..u32::try_from(waiting.len()).unwrap_or(0)).filter(number).collect();
            if !parts.is_empty() {
                return Ok(Remains::Parts(parts));
            }
        }
        let Some(found) = none_if_missing(self.head(session.at()))? else { return Ok(Remains::Nothing) };
        let entry = wire::entry_of_headers("", &found);
        // Nobody else writes the same bytes with the same time; where neither is known it cannot be told.
        let same = found.header("x-ms-meta-mtime") == session.mtime.as_deref()
            && entry.size == Some(session.size)
            && found.header("etag") != session.expected.as_deref()
            && session.md5.is_some()
            && found.header("content-md5") == session.md5.as_deref();
        Ok(if same { Remains::Complete(session.written(&found)) } else { Remains::Nothing })
    }
}

impl AzureBlob {
    /// The size of blocks; it grows where a file would have too many.
    fn block_bytes(&self, size: u64) -> u64 {
        self.0.chunk_size.0.unwrap_or(4 << 20).max(size.div_ceil(MOST_BLOCKS))
    }
}

#[export]
impl Removing for AzureBlob {
    fn remove_file(&self, file: &Node) -> Result<Outcome> {
        self.delete(At::of(&file.path), &api::expected(file)).map(|()| Outcome::Done(None))
    }
}

#[export]
impl Directories for AzureBlob {
    /// A container, or a marker. Without markers there is nothing to store: the directory exists once something is in it.
    fn make_directory(&self, parent: &Node, name: &str) -> Result<Outcome> {
        let path = parent.child(name);
        let at = At::of(&path);
        if at.blob.is_empty() {
            self.create_container(at.container)?;
        } else if self.0.directory_markers {
            if parent.path.contains('/') && self.stat(&parent.path, Some(Kind::Directory))?.is_none() {
                return Err(Error::not_found("the directory that is to hold it is not there"));
            }
            if self.stat(&path, None)?.is_some() {
                return Err(Error::new(ErrorKind::AlreadyExists, "there is already something of this name"));
            }
            self.put_marker(At { blob: &format!("{}/", at.blob), ..at })?;
        }
        Ok(Outcome::Done(Some(Entry::directory(name))))
    }

    fn remove_directory(&self, directory: &Node) -> Result<Outcome> {
        let at = At::of(&directory.path);
        let below = if at.blob.is_empty() { String::new() } else { format!("{}/", at.blob) };
        // Two names tell whether there is anything besides the marker.
        let listed = self.list_blobs(At { blob: &below, ..at }, 2, None)?;
        if !listed.entries.is_empty() || listed.next.is_some() {
            return Err(Error::new(ErrorKind::DirectoryNotEmpty, "there is something in the directory"));
        }
        match (&listed.marker, at.blob.is_empty()) {
            (_, true) => self.delete_container(at.container)?,
            (Some(marker), _) => self.delete(At { blob: marker, ..at }, "*")?,
            (None, _) => return Err(Error::not_found("there is no such directory in the container")),
        }
        Ok(Outcome::Done(None))
    }
}

#[export]
impl Purging for AzureBlob {
    /// A container goes with all that is in it; a directory step by step.
    fn purge(&self, directory: &Node) -> Result<Outcome> {
        let at = At::of(&directory.path);
        if at.blob.is_empty() {
            return self.delete_container(at.container).map(|()| Outcome::Done(None));
        }
        if self.stat(&directory.path, Some(Kind::Directory))?.is_none() {
            return Err(Error::not_found("there is no such directory in the container"));
        }
        self.poll(&Ticket::Purge { path: directory.path.clone() })
    }
}

#[export]
impl Copying for AzureBlob {
    /// Metadata goes along, and the time with it.
    fn copy_to(
        &self,
        node: &Node,
        parent: &Node,
        name: &str,
        replaces: Option<&Node>,
        modified: Option<Instant>,
    ) -> Result<Outcome> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("the service copies no directories"));
        }
        let path = parent.child(name);
        let anew = match modified {
            Some(modified) => {
                let mut metadata = wire::metadata(&self.head(At::of(&node.path))?);
                wire::set_mtime(&mut metadata, modified);
                metadata
            }
            None => Vec::new(),
        };
        let (source, replaced) = (api::expected(node), replaces.map(api::expected));
        let answer = self.copy(At::of(&node.path), &source, At::of(&path), replaced.as_deref(), &anew)?;
        self.copied(&path, &answer)
    }
}

impl AzureBlob {
    /// How a copy stands, by the answer that tells of it.
    fn copied(&self, path: &str, answer: &Answer) -> Result<Outcome> {
        match answer.header("x-ms-copy-status") {
            Some("pending") => Ok(Outcome::Pending(Job::new(&Ticket::Copy { path: path.to_owned() }, 500)?)),
            Some("failed" | "aborted") => Err(Error::unavailable("the service gave the copy up").seen_in(answer)),
            _ => Ok(Outcome::Done(None)),
        }
    }
}

/// Work that goes on.
#[derive(Debug, Deserialize, Serialize)]
pub enum Ticket {
    /// The service copies to this path.
    Copy {
        /// Where to.
        path: String,
    },
    /// A directory is being emptied.
    Purge {
        /// Which.
        path: String,
    },
}

#[export]
impl Jobs for AzureBlob {
    type Ticket = Ticket;

    fn poll(&self, ticket: &Ticket) -> Result<Outcome> {
        match ticket {
            Ticket::Copy { path } => self.copied(path, &self.head(At::of(path))?),
            Ticket::Purge { path } => {
                let at = At::of(path);
                let found = self.blobs_below(At { blob: &format!("{}/", at.blob), ..at }, PURGED)?;
                self.delete_all(at.container, &found.names)?;
                match found.more {
                    true => Ok(Outcome::Pending(Job::new(ticket, 0)?)),
                    // A marker of the other kind has the directory's own name.
                    false => none_if_missing(self.delete_marker(at)).map(|_| Outcome::Done(None)),
                }
            }
        }
    }

    /// What is removed or copied already stays so.
    fn cancel(&self, _ticket: &Ticket) -> Result<()> {
        Ok(())
    }
}

#[export]
impl Times for AzureBlob {
    /// Metadata is replaced as a whole, on the version that it was read from.
    fn set_modified(&self, node: &Node, modified: Instant) -> Result<Outcome> {
        let at = At::of(&node.path);
        let found = self.head(at)?;
        let mut metadata = wire::metadata(&found);
        wire::set_mtime(&mut metadata, modified);
        let answer = self.set_metadata(at, &metadata, found.header("etag").unwrap_or("*"))?;
        let before = wire::entry_of_headers(node.name(), &found);
        let after = wire::entry_of_headers(node.name(), &answer);
        Ok(Outcome::Done(Some(Entry { modified: Some(modified), version: after.version, ..before })))
    }
}

#[export]
impl Links for AzureBlob {
    /// A shared access signature, made without asking the service.
    fn link(&self, node: &Node, lives_ms: Option<u64>) -> Result<Text> {
        if node.kind == Kind::Directory {
            return Err(Error::unsupported("only files have links here"));
        }
        let lives_s = i64::try_from(lives_ms.unwrap_or(LONGEST_LINK_MS) / 1000).unwrap_or(i64::MAX);
        let until = Instant { seconds: now().seconds.saturating_add(lives_s), nanoseconds: 0 };
        self.signed_url(At::of(&node.path), until)
    }

    fn unlink(&self, _node: &Node) -> Result<()> {
        Err(Error::unsupported("a signed link ends by itself, or with the account's key"))
    }
}
