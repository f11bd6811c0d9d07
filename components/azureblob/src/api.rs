//! A function per endpoint: where a container and a blob are, how a request is authorised, and what an answer means. No decision about
//! files and directories is taken here.

use causeway_sdk::azure::{SharedKey, dated};
use causeway_sdk::prelude::*;

use crate::AzureBlob;
use crate::wire::{BlockList, Blocks, Containers, Failure, Found, Listed, Listing};

/// The slot of the emulator's key, which everyone knows.
pub(crate) const EMULATOR_KEY: &str = "emulator-key";
const EMULATOR: &str = "devstoreaccount1";
const EMULATOR_KEY_VALUE: &[u8] =
    b"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// A container that is being deleted keeps its name for this long at least.
const BEING_DELETED_MS: u32 = 6000;

/// A container, and a blob in it (empty: the container itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At<'a> {
    pub(crate) container: &'a str,
    pub(crate) blob: &'a str,
}

impl<'a> At<'a> {
    /// The first name of a path is the container.
    pub(crate) fn of(path: &'a str) -> At<'a> {
        let (container, blob) = path.split_once('/').unwrap_or((path, ""));
        At { container, blob }
    }
}

/// What is written, whichever way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) mtime: Option<&'a str>,
    pub(crate) md5: Option<&'a str>,
    pub(crate) expected: Option<&'a str>,
}

/// The condition under which a node is changed: its ETag, or that it exists.
pub(crate) fn expected(node: &Node) -> String {
    node.version.as_ref().map_or_else(|| "*".to_owned(), |version| format!("\"{version}\""))
}

impl AzureBlob {
    /// The account's name, which signs.
    pub(crate) fn account(&self) -> String {
        match (self.0.account.is_empty(), self.0.use_emulator) {
            (true, true) => EMULATOR.to_owned(),
            _ => self.0.account.clone(),
        }
    }

    /// Whether requests are signed with the account's key.
    pub(crate) fn signs(&self) -> bool {
        self.0.key.is_given() || self.0.use_emulator
    }

    fn base(&self) -> String {
        let signature = || {
            let url = &self.0.sas_url;
            let (origin, path) = (url.field("origin").public()?, url.field("path").public().unwrap_or_default());
            // Below an address, the first name is the account.
            let account = path.trim_matches('/').split('/').next().filter(|_| is_address(&origin)).unwrap_or_default();
            Some(format!("{origin}/{account}"))
        };
        let base = if !self.0.endpoint.is_empty() {
            self.0.endpoint.clone()
        } else if self.0.use_emulator {
            format!("http://127.0.0.1:10000/{}", self.account())
        } else {
            let by_name = || format!("https://{}.blob.core.windows.net", self.0.account);
            self.0.sas_url.if_given().and_then(|_| signature()).unwrap_or_else(by_name)
        };
        base.trim_end_matches('/').to_owned()
    }

    /// The one container that a shared access signature opens, where it opens one.
    pub(crate) fn only_container(&self) -> Option<String> {
        let url = self.0.sas_url.if_given()?;
        let path = url.field("path").public()?;
        let skipped = usize::from(is_address(&url.field("origin").public()?));
        path.trim_matches('/').split('/').nth(skipped).filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// A request for a container or a blob in it.
    pub(crate) fn at(&self, method: &'static str, at: At<'_>) -> Request {
        let request = Request::new(method, &self.base());
        match (at.container.is_empty(), at.blob.is_empty()) {
            (true, _) => request.raw_path("/"),
            (_, true) => request.path(at.container),
            _ => request.path(at.container).path(at.blob),
        }
    }

    /// Authorises a request that is complete; its body has so many bytes.
    pub(crate) fn authorize(&self, request: Request, body_bytes: u64) -> Result<Request> {
        let request = dated(request);
        if self.0.sas_url.is_given() {
            return Ok(request.query_rest(&self.0.sas_url.field("query")));
        }
        if self.0.use_emulator && !self.0.key.is_given() {
            let key = Secret::slot(EMULATOR_KEY);
            if !key.is_sealed() {
                key.seal(EMULATOR_KEY_VALUE)?;
            }
            return SharedKey { account: &self.account(), key: &key }.sign(request, body_bytes);
        }
        match (self.signs(), self.0.is_oauth()) {
            (true, _) => SharedKey { account: &self.account(), key: &self.0.key }.sign(request, body_bytes),
            (_, true) => Ok(request.bearer(&Secret::access_token())),
            _ => Ok(request),
        }
    }

    /// Authorises, sends, and understands.
    fn call(&self, request: Request, body_bytes: usize) -> Result<Answer> {
        let answer = self.authorize(request, body_bytes as u64)?.send()?;
        self.accept(answer)
    }

    /// An answer that says success, or what it says otherwise.
    pub(crate) fn accept(&self, answer: Answer) -> Result<Answer> {
        if answer.is_ok() { Ok(answer) } else { Err(meaning(&answer)) }
    }

    pub(crate) fn list_containers(&self, most: u32, marker: Option<&str>) -> Result<Containers> {
        let request = self.at("GET", At { container: "", blob: "" }).query("comp", "list");
        let request = request.query("maxresults", &most.to_string());
        self.call(after(request, marker), 0)?.xml()
    }

    fn listing(&self, below: At<'_>, most: u32, marker: Option<&str>) -> Request {
        let request = self.at("GET", At { blob: "", ..below }).query("restype", "container").query("comp", "list");
        let request = request.query("include", "metadata").query("maxresults", &most.to_string());
        after(if below.blob.is_empty() { request } else { request.query("prefix", below.blob) }, marker)
    }

    pub(crate) fn list_request(&self, below: At<'_>, most: u32, marker: Option<&str>) -> Result<Request> {
        self.authorize(self.listing(below, most, marker).query("delimiter", "/"), 0)
    }

    pub(crate) fn listed(&self, below: At<'_>, answer: Answer) -> Result<Listed> {
        Ok(self.accept(answer)?.xml::<Listing>()?.listed(below.blob))
    }

    pub(crate) fn list_blobs(&self, below: At<'_>, most: u32, marker: Option<&str>) -> Result<Listed> {
        self.listed(below, self.list_request(below, most, marker)?.send()?)
    }

    /// Names of blobs at every level below.
    pub(crate) fn blobs_below(&self, below: At<'_>, most: u32) -> Result<Found> {
        Ok(self.call(self.listing(below, most, None), 0)?.xml::<Listing>()?.found())
    }

    pub(crate) fn container_properties(&self, container: &str) -> Result<Answer> {
        self.call(self.at("HEAD", At { container, blob: "" }).query("restype", "container"), 0)
    }

    pub(crate) fn create_container(&self, container: &str) -> Result<Answer> {
        let request = self.at("PUT", At { container, blob: "" }).query("restype", "container");
        self.call(request.header_unless_empty("x-ms-blob-public-access", &self.0.public_access), 0)
    }

    pub(crate) fn delete_container(&self, container: &str) -> Result<()> {
        self.call(self.at("DELETE", At { container, blob: "" }).query("restype", "container"), 0).map(|_| ())
    }

    pub(crate) fn head_request(&self, at: At<'_>) -> Result<Request> {
        self.authorize(self.at("HEAD", at), 0)
    }

    pub(crate) fn head(&self, at: At<'_>) -> Result<Answer> {
        self.accept(self.head_request(at)?.send()?)
    }

    pub(crate) fn is_archived(&self, at: At<'_>) -> Result<bool> {
        match self.head(at) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
            found => Ok(found?.header("x-ms-access-tier") == Some("Archive")),
        }
    }

    /// What is said of a blob that is stored, and what must stand in its place.
    fn described(&self, request: Request, stored: Stored<'_>) -> Request {
        let request = match stored.expected {
            Some(etag) => request.header("If-Match", etag),
            None => request.header("If-None-Match", "*"),
        };
        request
            .header("x-ms-blob-content-type", stored.media_type)
            .header_unless_empty("x-ms-blob-content-md5", stored.md5.unwrap_or_default())
            .header_unless_empty("x-ms-meta-mtime", stored.mtime.unwrap_or_default())
            .header_unless_empty("x-ms-access-tier", &self.0.access_tier)
    }

    pub(crate) fn put_request(&self, at: At<'_>, stored: Stored<'_>, body: Text, bytes: u64) -> Result<Request> {
        let request = self.described(self.at("PUT", at).header("x-ms-blob-type", "BlockBlob"), stored);
        self.authorize(request.body(body), bytes)
    }

    pub(crate) fn put_marker(&self, at: At<'_>) -> Result<()> {
        let request = self.at("PUT", at).header("x-ms-blob-type", "BlockBlob").header("If-None-Match", "*");
        self.call(request.header("x-ms-meta-hdi_isfolder", "true"), 0).map(|_| ())
    }

    pub(crate) fn put_block_request(&self, at: At<'_>, block: &str, md5: &str, span: Span) -> Result<Request> {
        let request = self.at("PUT", at).query("comp", "block").query("blockid", block).header("Content-MD5", md5);
        self.authorize(request.body(Text::content(span)), span.size)
    }

    pub(crate) fn put_block_list(&self, at: At<'_>, stored: Stored<'_>, blocks: &[String]) -> Result<Answer> {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>{}",
            causeway_sdk::data::to_xml("BlockList", &BlockList { latest: blocks })?
        );
        let request = self.described(self.at("PUT", at).query("comp", "blocklist"), stored);
        let bytes = body.len();
        self.call(request.header("Content-Type", "application/xml").body(body), bytes)
    }

    /// The ids of blocks that no list names yet.
    pub(crate) fn waiting_blocks(&self, at: At<'_>) -> Result<Vec<String>> {
        let request = self.at("GET", at).query("comp", "blocklist").query("blocklisttype", "uncommitted");
        Ok(self.call(request, 0)?.xml::<Blocks>()?.waiting())
    }

    pub(crate) fn delete(&self, at: At<'_>, expected: &str) -> Result<()> {
        self.call(self.deleting(at).header("If-Match", expected), 0).map(|_| ())
    }

    fn deleting(&self, at: At<'_>) -> Request {
        self.at("DELETE", at).header_unless_empty("x-ms-delete-snapshots", &self.0.delete_snapshots)
    }

    /// Removes blobs side by side; one that is gone already is no failure.
    pub(crate) fn delete_all(&self, container: &str, blobs: &[String]) -> Result<()> {
        let requests = blobs.iter().map(|blob| self.authorize(self.deleting(At { container, blob }), 0));
        for answer in Request::send_all(requests.collect::<Result<Vec<_>>>()?) {
            match self.accept(answer?) {
                Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a directory's marker, if its own name holds one.
    pub(crate) fn delete_marker(&self, at: At<'_>) -> Result<()> {
        let found = self.head(at)?;
        match crate::wire::is_marker(&crate::wire::metadata(&found)) {
            true => self.delete(at, found.header("etag").unwrap_or("*")),
            false => Ok(()),
        }
    }

    pub(crate) fn set_metadata(&self, at: At<'_>, metadata: &[(String, String)], etag: &str) -> Result<Answer> {
        let request = self.at("PUT", at).query("comp", "metadata").header("If-Match", etag);
        self.call(with_metadata(request, metadata), 0)
    }

    /// Asks for a copy within the account. Without metadata that of the source goes along.
    pub(crate) fn copy(
        &self,
        from: At<'_>,
        version: &str,
        to: At<'_>,
        replaced: Option<&str>,
        metadata: &[(String, String)],
    ) -> Result<Answer> {
        if self.0.sas_url.is_given() {
            // The source's URL would have to hold the signature, which may stand in a query alone.
            return Err(Error::unsupported("a shared access signature cannot name the source of a copy"));
        }
        let source = self.at("GET", from).plain_url()?;
        let request = self.at("PUT", to).header("x-ms-copy-source", source).header("x-ms-source-if-match", version);
        let request = match replaced {
            Some(etag) => request.header("If-Match", etag),
            None => request.header("If-None-Match", "*"),
        };
        let request = request.header_unless_empty("x-ms-access-tier", &self.0.access_tier);
        match self.call(with_metadata(request, metadata), 0) {
            Err(error) if error.kind == ErrorKind::AlreadyExists && replaced.is_some() => {
                Err(Error { kind: ErrorKind::PreconditionFailed, ..error })
            }
            answer => answer,
        }
    }

    /// A URL that anyone can read the blob by until then.
    pub(crate) fn signed_url(&self, at: At<'_>, until: Instant) -> Result<Text> {
        if !self.signs() {
            return Err(Error::unsupported("links are signed with the account's key, and none is given"));
        }
        let emulated = Secret::slot(EMULATOR_KEY);
        let key = self.0.key.if_given().unwrap_or(&emulated);
        let path = format!("/{}/{}", at.container, at.blob);
        let signed = SharedKey { account: &self.account(), key }.read_access("blob", &path, 'b', until)?;
        let url = signed.iter().fold(self.at("GET", at), |request, (name, value)| request.query(name, value));
        url.plain_url().map(Text::from)
    }
}

fn is_address(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, rest)| rest).split(':').next().unwrap_or_default();
    host == "localhost" || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn after(request: Request, marker: Option<&str>) -> Request {
    marker.into_iter().fold(request, |request, marker| request.query("marker", marker))
}

fn with_metadata(request: Request, metadata: &[(String, String)]) -> Request {
    metadata.iter().fold(request, |request, (name, value)| request.header(&format!("x-ms-meta-{name}"), &**value))
}

/// What an answer means that is not the one hoped for: its code says it, in a header where there is no body.
pub(crate) fn meaning(answer: &Answer) -> Error {
    let told = answer.xml::<Failure>().ok();
    let code = answer.header("x-ms-error-code").map(str::to_owned);
    let code = code.or_else(|| told.as_ref().map(|told| told.code.clone())).unwrap_or_default();
    let (kind, message) = match &*code {
        "BlobNotFound" | "ContainerNotFound" | "ResourceNotFound" | "CannotVerifyCopySource"
            if answer.status() == 404 =>
        {
            (ErrorKind::NotFound, "there is no such thing in the account")
        }
        "ContainerAlreadyExists" | "BlobAlreadyExists" => {
            (ErrorKind::AlreadyExists, "there is already one of this name")
        }
        "ContainerBeingDeleted" => {
            (ErrorKind::Unavailable(Some(BEING_DELETED_MS)), "a container of this name is still being deleted")
        }
        "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation" => {
            (ErrorKind::Unauthenticated, "the service refused the credential")
        }
        "PublicAccessNotPermitted" => (ErrorKind::Denied, "the account allows no public access"),
        "LeaseAlreadyPresent" | "LeaseIdMissing" => (ErrorKind::PreconditionFailed, "somebody holds a lease on it"),
        "SnapshotsPresent" => (ErrorKind::Invalid, "the blob has snapshots: set `delete_snapshots`"),
        "BlobArchived" => (ErrorKind::Invalid, "the blob is archived: it must be rehydrated first"),
        "InvalidBlobType" => (ErrorKind::Invalid, "the blob is of a type that only its maker can write"),
        "Md5Mismatch" => (ErrorKind::Corrupt, "the service received other bytes than were sent"),
        "ServerBusy" => (ErrorKind::RateLimited(answer.retry_after_ms()), "the service asks for fewer requests"),
        "OperationTimedOut" | "InternalError" => {
            (ErrorKind::Unavailable(answer.retry_after_ms()), "the service cannot answer now")
        }
        _ if answer.status() == 409 => (ErrorKind::Invalid, "the service refused the request as it is now"),
        _ if answer.status() == 304 => (ErrorKind::PreconditionFailed, "it has been changed in the account"),
        _ => return Error::by_status(answer),
    };
    Error::new(kind, message).seen_in(answer)
}
