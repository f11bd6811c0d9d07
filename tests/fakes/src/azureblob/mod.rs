//! A fake of Azure Blob Storage: accounts, containers and block blobs, addressed by host (`ACCOUNT.blob.core.windows.net`) or by path
//! (`http://127.0.0.1:PORT/ACCOUNT/...`), and of the token endpoint at `login.microsoftonline.com`. No page or append blobs, no
//! hierarchical namespaces, no versions.
//!
//! Control verbs besides those of [`oauth`](crate::oauth): `copy-polls {"polls":n}` (a copy answers `pending` so often),
//! `copy-fail {"times":n}` (the next copies fail), `lease` and `unlease {"account","container","blob"}`, `public {"account",
//! "container","access"}`, `put {"account","container","blob","text"}` and `remove {"account","container","blob"}` (behind the client's
//! back), `sas {"account","container"}` (a URL that opens the account, or the container if one is named, for a day), `holds {"account"}` (the names that there are), `uncommitted {"account"}` (how many blocks nobody has committed).

mod auth;
mod blobs;
mod blocks;
mod copy;
mod listing;
mod login;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::auth::{Access, Level};
use self::store::{Blob, Container, Properties};
use crate::oauth::TokenServer;
use crate::text::{decode, http_date, xml};
use crate::{Fake, Reply, Request, Response, World};

/// The emulator's account and its published key.
const EMULATOR: &str = "devstoreaccount1";
const EMULATOR_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// A deleted container keeps its name busy for so long.
const DELETING: SignedDuration = SignedDuration::from_secs(30);
/// Where accounts live, besides the loopback address.
const DOMAINS: [&str; 3] = [".blob.core.windows.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net"];
const LOGIN: [&str; 2] = ["login.microsoftonline.com", "login.microsoft.com"];
/// The directory that applications sign in to.
const TENANT: &str = "faketenant";

/// The fake.
#[derive(Debug)]
pub struct AzureBlob {
    accounts: BTreeMap<String, Account>,
    tokens: TokenServer,
    copy_polls: u64,
    copy_failures: u64,
}

#[derive(Debug)]
struct Account {
    key: Vec<u8>,
    containers: BTreeMap<String, Container>,
    deleting: BTreeMap<String, Timestamp>,
}

/// What a request addresses.
#[derive(Debug, Clone, Default)]
struct Target {
    account: String,
    /// The path before the container: the account where it is not in the host.
    base: String,
    container: String,
    blob: Option<String>,
}

/// An error answer.
#[derive(Debug)]
struct Failure {
    status: u16,
    code: &'static str,
    headers: Vec<(&'static str, String)>,
}

/// A request together with who sent it and what for.
struct Call<'a> {
    request: &'a Request,
    target: &'a Target,
    access: Access,
}

impl Failure {
    fn new(status: u16, code: &'static str) -> Failure {
        Failure { status, code, headers: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Failure {
        self.headers.push((name, value.into()));
        self
    }

    fn response(self, head: bool) -> Response {
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{0}</Code><Message>The fake says {0}.</Message></Error>",
            self.code
        );
        let silent = head || self.status == 304;
        let response = if silent { Response::empty(self.status) } else { Response::xml(self.status, body) };
        let response = response.with("x-ms-error-code", self.code);
        self.headers.into_iter().fold(response, |response, (name, value)| response.with(name, value))
    }
}

impl Default for AzureBlob {
    fn default() -> AzureBlob {
        AzureBlob::new()
    }
}

impl AzureBlob {
    /// Three accounts without containers: `fakeaccount`, `otheraccount` and the emulator's.
    pub fn new() -> AzureBlob {
        let account = |key: Vec<u8>| Account { key, containers: BTreeMap::new(), deleting: BTreeMap::new() };
        let emulator = BASE64.decode(EMULATOR_KEY.as_bytes()).unwrap_or_default();
        let accounts = [("fakeaccount", vec![0x5a; 64]), ("otheraccount", vec![0xa5; 64]), (EMULATOR, emulator)];
        let mut tokens = TokenServer::new("fakeclient", "fakesecret", "alice@fake.test", "alicepassword");
        // Microsoft's endpoint takes the client as form fields.
        tokens.basic = false;
        AzureBlob {
            accounts: accounts.into_iter().map(|(name, key)| (name.to_owned(), account(key))).collect(),
            tokens,
            copy_polls: 0,
            copy_failures: 0,
        }
    }

    /// Where a request goes: account from the host or the first segment, then container, then blob.
    fn target(&self, host: &str, path: &str) -> Result<Target, Failure> {
        let (account, base, rest) = match DOMAINS.iter().find_map(|domain| host.strip_suffix(domain)) {
            Some(account) => (account.to_owned(), String::new(), path.trim_start_matches('/')),
            None => {
                let inside = path.trim_start_matches('/');
                let (account, rest) = inside.split_once('/').unwrap_or((inside, ""));
                (account.to_owned(), format!("/{account}"), rest)
            }
        };
        if !self.accounts.contains_key(&account) {
            return Err(Failure::new(400, "InvalidUri"));
        }
        let (container, blob) = rest.split_once('/').map_or((rest, None), |(container, blob)| (container, Some(blob)));
        let blob = blob.filter(|blob| !blob.is_empty()).map(|blob| decode(blob).replace('\\', "/"));
        let target = Target { account, base, container: decode(container), blob };
        let too_long = |blob: &String| blob.chars().count() > 1024 || blob.split('/').count() > 254;
        if target.blob.as_ref().is_some_and(too_long) || !container_name(&target.container) {
            return Err(Failure::new(400, "InvalidResourceName"));
        }
        Ok(target)
    }

    fn store(&mut self, request: &Request, world: &mut World) -> Result<Response, Failure> {
        let mut target = self.target(&request.host, &request.path)?;
        let restype = request.param("restype").unwrap_or_default();
        if target.blob.is_none() && !target.container.is_empty() && restype != "container" {
            // A blob of the root container.
            target.blob = Some(std::mem::replace(&mut target.container, "$root".into()));
        }
        let account = self.accounts.get(&target.account).ok_or_else(|| Failure::new(400, "InvalidUri"))?;
        let access = auth::access(request, &target, &account.key, &self.tokens, world)?;
        let call = Call { request, target: &target, access };
        match (&target.blob, target.container.is_empty()) {
            (None, true) => self.root(&call, world),
            (None, false) => self.container(&call, world),
            (Some(name), _) => self.blob(&call, name, world),
        }
    }

    fn root(&mut self, call: &Call, world: &mut World) -> Result<Response, Failure> {
        let param = |name: &str| call.request.param(name).unwrap_or_default();
        let account = self.account(&call.target.account)?;
        match (call.request.method.as_str(), param("restype").as_str(), param("comp").as_str()) {
            ("GET", "", "list") => {
                call.access.allow(Level::Account, "l")?;
                listing::containers(&account.containers, call.target, call.request, world)
            }
            ("POST", "service", "userdelegationkey") => {
                if call.request.bearer().is_none() {
                    return Err(Failure::new(403, "AuthenticationFailed"));
                }
                let body = String::from_utf8_lossy(&call.request.body).into_owned();
                let inner = |tag: &str| {
                    let after = body.split_once(&format!("<{tag}>"))?.1;
                    Some(after.split_once("</")?.0.trim().to_owned())
                };
                let missing = || Failure::new(400, "InvalidXmlDocument");
                let (start, end) = (inner("Start").unwrap_or_default(), inner("Expiry").ok_or_else(missing)?);
                let key = BASE64.encode(&auth::delegation_key(&account.key, &start, &end));
                let (start, end) = (xml(&start), xml(&end));
                Ok(Response::xml(
                    200,
                    format!(
                        "<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey><SignedOid>oid</SignedOid><SignedTid>{TENANT}\
                         </SignedTid><SignedStart>{start}</SignedStart><SignedExpiry>{end}</SignedExpiry><SignedService>b\
                         </SignedService><SignedVersion>2021-12-02</SignedVersion><Value>{key}</Value></UserDelegationKey>"
                    ),
                ))
            }
            _ => Err(Failure::new(400, "InvalidQueryParameterValue")),
        }
    }

    fn container(&mut self, call: &Call, world: &mut World) -> Result<Response, Failure> {
        let Call { request, target, access } = call;
        let comp = request.param("comp").unwrap_or_default();
        let account = self.account(&target.account)?;
        let now = world.now();
        account.deleting.retain(|_, since| now.duration_since(*since) < DELETING);
        if request.method == "PUT" && comp.is_empty() {
            access.allow(Level::Container, "cw")?;
            if account.deleting.contains_key(&target.container) {
                return Err(Failure::new(409, "ContainerBeingDeleted"));
            }
            if account.containers.contains_key(&target.container) {
                return Err(Failure::new(409, "ContainerAlreadyExists"));
            }
            let public = request.header("x-ms-blob-public-access").map(str::to_owned);
            if public.as_ref().is_some_and(|public| public != "container" && public != "blob") {
                return Err(Failure::new(400, "InvalidHeaderValue"));
            }
            let container = Container::new(public, store::metadata(request)?, world);
            let response = stamped(Response::empty(201), &container.stamp);
            account.containers.insert(target.container.clone(), container);
            return Ok(response);
        }
        let container = account.containers.get_mut(&target.container);
        let container = container.ok_or_else(|| Failure::new(404, "ContainerNotFound"))?;
        container.prune(now);
        match (request.method.as_str(), comp.as_str()) {
            ("GET", "list") => {
                if *access != Access::Anonymous || container.public.as_deref() != Some("container") {
                    access.allow(Level::Container, "l")?;
                }
                listing::blobs(container, target, request, world)
            }
            ("GET" | "HEAD", "" | "metadata") => {
                access.allow(Level::Container, "r")?;
                let mut response = stamped(Response::empty(200), &container.stamp);
                for (name, value) in &container.metadata {
                    response = response.with(&format!("x-ms-meta-{name}"), value);
                }
                if let Some(public) = &container.public {
                    response = response.with("x-ms-blob-public-access", public);
                }
                Ok(response.with("x-ms-lease-status", "unlocked").with("x-ms-lease-state", "available"))
            }
            ("PUT", "metadata") => {
                access.allow(Level::Container, "w")?;
                container.metadata = store::metadata(request)?;
                container.stamp = store::Stamp::new(world);
                Ok(stamped(Response::empty(200), &container.stamp))
            }
            ("DELETE", "") => {
                access.allow(Level::Container, "d")?;
                store::conditions(request, Some(&container.stamp))?;
                account.containers.remove(&target.container);
                account.deleting.insert(target.container.clone(), now);
                Ok(Response::empty(202))
            }
            _ => Err(Failure::new(405, "UnsupportedHttpVerb")),
        }
    }

    fn blob(&mut self, call: &Call, name: &str, world: &mut World) -> Result<Response, Failure> {
        let source = match call.request.header("x-ms-copy-source") {
            Some(url) => Some(self.source(url, call, world)?),
            None => None,
        };
        let (polls, mut failures) = (self.copy_polls, self.copy_failures);
        let account = self.account(&call.target.account)?;
        let container = account.containers.get_mut(&call.target.container);
        let container = container.ok_or_else(|| Failure::new(404, "ContainerNotFound"))?;
        container.prune(world.now());
        let comp = call.request.param("comp").unwrap_or_default();
        let response = match (call.request.method.as_str(), comp.as_str()) {
            ("GET" | "HEAD", "" | "metadata") => blobs::get(container, name, call),
            ("GET", "blocklist") => blocks::list(container, name, call),
            ("PUT", "block") => blocks::put(container, name, call, source, world),
            ("PUT", "blocklist") => blocks::commit(container, name, call, world),
            ("PUT", "") => match source {
                Some(source) => copy::copy(container, name, call, source, (polls, &mut failures), world),
                None => blobs::put(container, name, call, world),
            },
            ("PUT", "metadata") => blobs::set_metadata(container, name, call, world),
            ("PUT", "properties") => blobs::set_properties(container, name, call, world),
            ("PUT", "tier") => blobs::set_tier(container, name, call, world),
            ("PUT", "snapshot") => blobs::snapshot(container, name, call, world),
            ("DELETE", "") => blobs::delete(container, name, call),
            _ => Err(Failure::new(405, "UnsupportedHttpVerb")),
        };
        self.copy_failures = failures;
        response
    }

    fn account(&mut self, name: &str) -> Result<&mut Account, Failure> {
        self.accounts.get_mut(name).ok_or_else(|| Failure::new(400, "InvalidUri"))
    }

    fn controlled(&mut self, verb: &str, body: &Value, world: &mut World) -> Option<Value> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or_default();
        let wanted = Some(text("account")).filter(|name| !name.is_empty()).unwrap_or("fakeaccount".into());
        let account = self.accounts.get_mut(&wanted)?;
        match verb {
            "sas" => {
                let query = auth::signed(&wanted, &text("container"), &account.key, world.now());
                let url = format!("https://{wanted}.blob.core.windows.net/{}?{query}", text("container"));
                return Some(json!({"url": url}));
            }
            "copy-polls" => self.copy_polls = number("polls"),
            "copy-fail" => self.copy_failures = number("times"),
            "lease" | "unlease" => {
                let blob = account.containers.get_mut(&text("container"))?.blobs.get_mut(&text("blob"))?;
                blob.lease = (verb == "lease").then(|| world.uuid());
            }
            "public" => {
                account.containers.get_mut(&text("container"))?.public =
                    Some(text("access")).filter(|text| !text.is_empty());
            }
            "put" => {
                let content = text("text").into_bytes();
                let properties = Properties { md5: Some(store::md5_of(&content)), ..Properties::default() };
                let blob = Blob::new(content.into(), properties, Vec::new(), world);
                let fresh = || Container::new(None, Vec::new(), world);
                account.containers.entry(text("container")).or_insert_with(fresh).blobs.insert(text("blob"), blob);
            }
            "remove" => drop(account.containers.get_mut(&text("container"))?.blobs.remove(&text("blob"))),
            "holds" => {
                let names = account.containers.iter().map(|(name, held)| (name, held.blobs.keys().collect::<Vec<_>>()));
                return Some(json!(names.collect::<BTreeMap<_, _>>()));
            }
            "uncommitted" => {
                let blocks = account.containers.values().flat_map(|container| container.uncommitted.values());
                return Some(json!({"blocks": blocks.map(Vec::len).sum::<usize>()}));
            }
            _ => return self.tokens.control(verb, body, world),
        }
        Some(json!({}))
    }
}

impl Fake for AzureBlob {
    fn name(&self) -> &'static str {
        "azureblob"
    }

    fn hosts(&self) -> Vec<String> {
        DOMAINS.iter().map(|domain| format!("*{domain}")).chain(LOGIN.map(str::to_owned)).collect()
    }

    fn owns_path(&self, path: &str) -> bool {
        self.accounts.contains_key(path.trim_start_matches('/').split('/').next().unwrap_or_default())
    }

    fn answer(&mut self, request: &Request, world: &mut World) -> Reply {
        if LOGIN.contains(&request.host.as_str()) {
            return self.login(request, world).into();
        }
        let response = self.store(request, world).unwrap_or_else(|failure| failure.response(request.method == "HEAD"));
        let mut response = response
            .with("Server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")
            .with("x-ms-request-id", world.uuid())
            .with("x-ms-version", request.header("x-ms-version").unwrap_or("2021-12-02"))
            .with("Date", http_date(world.now()));
        if let Some(id) = request.header("x-ms-client-request-id") {
            response = response.with("x-ms-client-request-id", id);
        }
        response.into()
    }

    fn control(&mut self, verb: &str, body: &Value, world: &mut World) -> Value {
        self.controlled(verb, body, world).unwrap_or(Value::Null)
    }

    fn accounts(&self, origin: &str) -> Value {
        let accounts = self.accounts.iter().map(|(name, account)| {
            let value = json!({"key": BASE64.encode(&account.key), "endpoint": format!("{origin}/{name}"),
                "host": format!("{name}.blob.core.windows.net")});
            (name.clone(), value)
        });
        json!({
            "accounts": accounts.collect::<BTreeMap<_, _>>(),
            "account": "fakeaccount",
            "tenant": TENANT,
            "client_id": "fakeclient",
            "client_secret": "fakesecret",
            "username": "alice@fake.test",
            "password": "alicepassword",
        })
    }
}

/// With ETag and Last-Modified.
fn stamped(response: Response, stamp: &store::Stamp) -> Response {
    response.with("ETag", &stamp.etag).with("Last-Modified", http_date(stamp.modified))
}

/// 3 to 63 of `[a-z0-9-]`, single dashes inside only; the empty name stands for the account.
fn container_name(name: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let plain = (3..=63).contains(&name.len())
        && name.chars().all(letters)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    plain || name.is_empty() || ["$root", "$web", "$logs"].contains(&name)
}
