//! What can be set, and the shapes of answers: XML and headers, and what becomes of them.

use causeway_sdk::prelude::*;
use causeway_sdk::time;
use serde::{Deserialize, Serialize};

/// The settings of one backend.
#[derive(Debug, Options)]
pub struct Settings {
    /// Access tier of new blobs: hot, cool, cold or archive; that of the account where it is empty.
    #[option(advanced)]
    pub(crate) access_tier: String,
    /// Name of the storage account.
    #[option(identity)]
    pub(crate) account: String,
    /// Delete an archived blob before it is overwritten, which the service refuses otherwise.
    #[option(advanced)]
    pub(crate) archive_tier_delete: bool,
    /// The size of the blocks of an upload, at most 4000 MiB; it grows where a file would have too many.
    #[option(advanced, default = 4_194_304)]
    pub(crate) chunk_size: Size,
    /// The password of the certificate file.
    #[option(credential)]
    pub(crate) client_certificate_password: Secret,
    /// A certificate file with its private key, for a service principal.
    #[option(machine, credential)]
    pub(crate) client_certificate_path: String,
    /// The id of the client that signs in.
    #[option(credential)]
    pub(crate) client_id: String,
    /// The secret of the client that signs in.
    #[option(credential)]
    pub(crate) client_secret: Secret,
    /// Send the certificate chain along.
    #[option(advanced)]
    #[expect(dead_code)]
    client_send_certificate_chain: bool,
    /// What to do with the snapshots of a blob that is deleted: include deletes them too, only deletes nothing else.
    #[option(advanced, choices("", "include", "only"))]
    pub(crate) delete_snapshots: String,
    /// Description of the remote.
    #[expect(dead_code)]
    description: String,
    /// Keep empty directories as marker blobs, whose names end with a slash.
    #[option(advanced)]
    pub(crate) directory_markers: bool,
    /// Do not store the MD5 of files.
    #[option(advanced)]
    pub(crate) disable_checksum: bool,
    /// Do not ask for the sign-in service's description of itself; it is never asked.
    #[option(advanced)]
    #[expect(dead_code)]
    disable_instance_discovery: bool,
    /// How names are encoded.
    #[option(advanced, encoding, default = "21078018")]
    #[expect(dead_code, reason = "the host applies it")]
    encoding: String,
    /// Endpoint of the service, without a container, where it is not https://ACCOUNT.blob.core.windows.net.
    #[option(advanced, identity, endpoint)]
    pub(crate) endpoint: String,
    /// Get the credential from the machine.
    #[option(machine, credential)]
    pub(crate) env_auth: bool,
    /// The account's shared key, in base64.
    #[option(credential, hmac(sha256, "", 0, base64))]
    pub(crate) key: Secret,
    /// How many blobs one page of a listing may have.
    #[option(advanced, default = 5000)]
    pub(crate) list_chunk: i64,
    /// How long buffers are kept; there are none.
    #[option(advanced, default = 60)]
    #[expect(dead_code)]
    memory_pool_flush_time: i64,
    /// Whether buffers are mapped; there are none.
    #[option(advanced)]
    #[expect(dead_code)]
    memory_pool_use_mmap: bool,
    /// The client id of the machine's own identity.
    #[option(advanced, machine, credential)]
    pub(crate) msi_client_id: String,
    /// The resource id of the machine's own identity.
    #[option(advanced, machine, credential)]
    pub(crate) msi_mi_res_id: String,
    /// The object id of the machine's own identity.
    #[option(advanced, machine, credential)]
    pub(crate) msi_object_id: String,
    /// Do not create containers; they are only ever created as directories.
    #[option(advanced)]
    #[expect(dead_code)]
    no_check_container: bool,
    /// Do not ask for a blob's headers before it is read; they are never asked for.
    #[option(advanced)]
    #[expect(dead_code)]
    no_head_object: bool,
    /// The user's password.
    #[option(credential)]
    pub(crate) password: Secret,
    /// Who may read new containers without a credential: nobody, blob or container.
    #[option(advanced, choices("", "blob", "container"))]
    pub(crate) public_access: String,
    /// A shared access signature URL, of the account or of one container.
    #[option(credential, identity, query_rest(field = "query"), public("origin", "path"))]
    pub(crate) sas_url: Secret,
    /// A file with the credential of a service principal.
    #[option(machine, credential)]
    pub(crate) service_principal_file: String,
    /// The id of the tenant (directory) that the client signs in to.
    #[option(credential)]
    pub(crate) tenant: String,
    /// How many blocks are uploaded side by side.
    #[option(advanced, default = 16)]
    pub(crate) upload_concurrency: i64,
    /// From which size files are cut; `chunk_size` says it.
    #[option(advanced)]
    #[expect(dead_code)]
    upload_cutoff: String,
    /// Use the credential of the machine's az program.
    #[option(advanced, machine, credential)]
    pub(crate) use_az: bool,
    /// Use the storage emulator on this machine, with its well-known account and key.
    #[option(advanced, identity)]
    pub(crate) use_emulator: bool,
    /// Use the machine's own identity.
    #[option(advanced, machine, credential)]
    pub(crate) use_msi: bool,
    /// The user's name, usually an address.
    #[option(credential)]
    pub(crate) username: String,
}

impl Settings {
    /// Whether the host signs in at Entra.
    pub(crate) fn is_oauth(&self) -> bool {
        let by_key = self.key.is_given() || self.use_emulator || self.sas_url.is_given();
        !by_key && !self.client_id.is_empty()
    }

    pub(crate) fn signing_in(&self) -> SigningIn {
        if !self.is_oauth() {
            return SigningIn::Configured;
        }
        let grant = match self.username.is_empty() {
            true => OauthGrant::ClientCredentials,
            false => OauthGrant::Password((self.username.clone(), (&self.password).into())),
        };
        let token_url = format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", self.tenant);
        SigningIn::Oauth(Oauth {
            grant,
            scopes: vec!["https://storage.azure.com/.default".to_owned()],
            client_in_form: true,
            ..Oauth::new("", token_url)
        })
    }

    /// What cannot be used together, or at all.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, option: &str, message: &str| {
            if !holds {
                problems.push(Problem::new(option, message));
            }
        };
        let machine = "is not supported: give the credential itself";
        for (option, is_unset) in [
            ("env_auth", !self.env_auth),
            ("use_msi", !self.use_msi),
            ("use_az", !self.use_az),
            ("msi_client_id", self.msi_client_id.is_empty()),
            ("msi_mi_res_id", self.msi_mi_res_id.is_empty()),
            ("msi_object_id", self.msi_object_id.is_empty()),
            ("service_principal_file", self.service_principal_file.is_empty()),
            ("client_certificate_path", self.client_certificate_path.is_empty()),
        ] {
            must(is_unset, option, machine);
        }
        let unused = "belongs to a certificate file, which is not supported";
        must(!self.client_certificate_password.is_given(), "client_certificate_password", unused);
        let named = !self.account.is_empty() || self.use_emulator || self.sas_url.is_given();
        must(named, "account", "is missing");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        must(self.account.bytes().all(plain), "account", "is a name of letters and digits");
        if self.is_oauth() {
            let plain = |byte: u8| plain(byte) || byte == b'.';
            must(!self.tenant.is_empty() && self.tenant.bytes().all(plain), "tenant", "is missing, or no tenant's id");
            let secret = self.client_secret.is_given() || !self.username.is_empty();
            must(secret, "client_secret", "is missing: `client_id` is given");
            must(self.username.is_empty() || self.password.is_given(), "password", "is missing: `username` is given");
        }
        let size = self.chunk_size.0.unwrap_or(0);
        must((1..=crate::LARGEST_BLOCK_BYTES).contains(&size), "chunk_size", "must be from 1 to 4000Mi");
        must((1..=5000).contains(&self.list_chunk), "list_chunk", "must be from 1 to 5000");
        must((1..=64).contains(&self.upload_concurrency), "upload_concurrency", "must be from 1 to 64");
        problems
    }
}

/// What an error document says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Failure {
    pub(crate) code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Containers {
    #[serde(default)]
    containers: ContainerList,
    #[serde(default)]
    next_marker: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerList {
    container: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Name {
    name: NameText,
}

/// A name; percent-encoded where XML could not hold it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NameText {
    #[serde(rename = "@Encoded")]
    encoded: bool,
    #[serde(rename = "$text")]
    text: String,
}

impl NameText {
    fn plain(&self) -> String {
        let decoded =
            self.encoded.then(|| causeway_sdk::percent::decode_form(&self.text.replace('+', "%2B"))).flatten();
        decoded.unwrap_or_else(|| self.text.clone())
    }
}

impl Containers {
    pub(crate) fn page(self) -> Page {
        let entries = self.containers.container.iter().map(|container| Entry::directory(container.name.plain()));
        Page { entries: entries.collect(), next: Some(self.next_marker).filter(|marker| !marker.is_empty()) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listing {
    #[serde(default)]
    blobs: BlobList,
    #[serde(default)]
    next_marker: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct BlobList {
    blob: Vec<Blob>,
    blob_prefix: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: NameText,
    properties: Properties,
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, Option<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Properties {
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    #[serde(rename = "Creation-Time")]
    creation_time: String,
    #[serde(rename = "Etag", alias = "ETag")]
    etag: String,
    #[serde(rename = "Content-Length")]
    content_length: Option<u64>,
    #[serde(rename = "Content-Type")]
    content_type: String,
    #[serde(rename = "Content-MD5")]
    content_md5: String,
}

/// A page below a prefix.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) entries: Vec<Entry>,
    /// The name of the blob that marks the directory itself.
    pub(crate) marker: Option<String>,
    pub(crate) next: Option<String>,
}

impl Listed {
    /// Whether the directory is there, as far as this page tells.
    pub(crate) fn exists(&self) -> bool {
        !self.entries.is_empty() || self.marker.is_some()
    }
}

/// Names at every level.
pub(crate) struct Found {
    pub(crate) names: Vec<String>,
    pub(crate) more: bool,
}

impl Listing {
    /// The entries of a page below this prefix. A marker shows its directory once, wherever in the page what is in it comes.
    pub(crate) fn listed(self, prefix: &str) -> Listed {
        let mut listed =
            Listed { next: Some(self.next_marker).filter(|marker| !marker.is_empty()), ..Listed::default() };
        let inside = |name: &str| name.strip_prefix(prefix).map(|name| name.trim_end_matches('/').to_owned());
        for below in self.blobs.blob_prefix {
            listed.entries.extend(inside(&below.name.plain()).map(Entry::directory));
        }
        for blob in self.blobs.blob {
            let name = blob.name.plain();
            let Some(short) = inside(&name) else { continue };
            let metadata: Vec<_> =
                blob.metadata.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
            if short.is_empty() {
                listed.marker = Some(name);
            } else if name.ends_with('/') || is_marker(&metadata) {
                listed.entries.push(Entry::directory(short));
            } else {
                listed.entries.push(blob.properties.entry(short, &metadata));
            }
        }
        // One directory may have a prefix and a marker, and a file of its name beside it.
        let directories: std::collections::BTreeSet<String> = listed
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::Directory)
            .map(|entry| entry.name.clone())
            .collect();
        let mut shown = std::collections::BTreeSet::new();
        listed.entries.retain(|entry| {
            let keeps = entry.kind == Kind::Directory || !directories.contains(&entry.name);
            keeps && shown.insert(entry.name.clone())
        });
        listed
    }

    pub(crate) fn found(self) -> Found {
        let names = self.blobs.blob.iter().map(|blob| blob.name.plain()).collect();
        Found { names, more: !self.next_marker.is_empty() }
    }
}

impl Properties {
    fn entry(self, name: String, metadata: &[(String, String)]) -> Entry {
        Entry {
            size: self.content_length,
            modified: mtime(metadata).or_else(|| time::parse_http_date(&self.last_modified)),
            created: time::parse_http_date(&self.creation_time),
            version: Some(unquoted(&self.etag)).filter(|etag| !etag.is_empty()),
            media_type: Some(self.content_type).filter(|kind| !kind.is_empty()),
            digests: digest_of_base64(&self.content_md5).into_iter().collect(),
            ..Entry::file(name)
        }
    }
}

/// What the headers of a blob say.
pub(crate) fn entry_of_headers(name: &str, answer: &Answer) -> Entry {
    let metadata = metadata(answer);
    if is_marker(&metadata) {
        return Entry::directory(name);
    }
    let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    Properties {
        last_modified: header("last-modified"),
        creation_time: header("x-ms-creation-time"),
        etag: header("etag"),
        content_length: answer.header("content-length").and_then(|size| size.parse().ok()),
        content_type: header("content-type"),
        content_md5: header("content-md5"),
    }
    .entry(name.to_owned(), &metadata)
}

/// The metadata of a blob, names without their prefix.
pub(crate) fn metadata(answer: &Answer) -> Vec<(String, String)> {
    let of = |(name, value): (&str, &str)| {
        let name = name.to_ascii_lowercase();
        Some((name.strip_prefix("x-ms-meta-")?.to_owned(), value.to_owned()))
    };
    answer.headers().filter_map(of).collect()
}

pub(crate) fn is_marker(metadata: &[(String, String)]) -> bool {
    metadata.iter().any(|(name, value)| name.eq_ignore_ascii_case("hdi_isfolder") && value == "true")
}

fn mtime(metadata: &[(String, String)]) -> Option<Instant> {
    let (_, value) = metadata.iter().find(|(name, _)| name.eq_ignore_ascii_case("mtime"))?;
    time::parse_rfc3339(value)
}

pub(crate) fn set_mtime(metadata: &mut Vec<(String, String)>, modified: Instant) {
    metadata.retain(|(name, _)| !name.eq_ignore_ascii_case("mtime"));
    metadata.push(("mtime".to_owned(), time::rfc3339(modified, 9)));
}

pub(crate) fn digest_of_base64(md5: &str) -> Option<DigestValue> {
    let value = data_encoding::BASE64.decode(md5.as_bytes()).ok().filter(|value| value.len() == 16)?;
    Some(DigestValue { algorithm: Digest::Md5, value })
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// Blocks to be made a blob, in order.
#[derive(Serialize)]
pub(crate) struct BlockList<'a> {
    #[serde(rename = "Latest")]
    pub(crate) latest: &'a [String],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Blocks {
    #[serde(default)]
    uncommitted_blocks: Waiting,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Waiting {
    block: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Block {
    name: String,
}

impl Blocks {
    pub(crate) fn waiting(self) -> Vec<String> {
        self.uncommitted_blocks.block.into_iter().map(|block| block.name).collect()
    }
}
