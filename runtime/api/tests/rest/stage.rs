//! A whole API on a registry of its own, with the doors behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use causeway_api::{
    Api, Backends, Catalog, Condition, Event, GivenUp, MountError, Mounts, Pending, PendingChange, Pin, State, Status,
    Trial, Use, VfsConfig, router,
};
use causeway_native::{LocalProvider, MemoryProvider};
use causeway_registry::{BackendId, BackendName, Config, Database, Mount, MountId, Registry, Tenant};
use causeway_storage::{
    Act, ConsentRequest, Descriptor, Entry, Error, ErrorKind, Features, Identity, Make, Node, OpenError, Opening,
    OptionKind, OptionMarks, OptionSpec, Page, Path, Provider, Remotes, Settings, SignIn, Span, Storage, Timestamp,
};
use causeway_wrap::AliasProvider;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) struct Stage {
    pub(crate) registry: Registry,
    pub(crate) router: Router,
    pub(crate) api: Api,
    pub(crate) doors: Arc<Doors>,
    pub(crate) token: String,
    pub(crate) other_token: String,
    pub(crate) directory: TempDir,
}

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(&self, status: u16, json: Value) {
        assert_eq!((self.status.as_u16(), self.json()), (status, json));
    }

    #[track_caller]
    pub(crate) fn fails(&self, status: u16, code: &str, error: &str) {
        let json = self.json();
        assert_eq!(
            (self.status.as_u16(), &json["success"], &json["code"], &json["error"]),
            (status, &json!(false), &json!(code), &json!(error))
        );
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The id of what was made.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, StatusCode::CREATED, "{}", self.text);
        self.json()["data"]["id"].as_str().unwrap().to_owned()
    }
}

impl Stage {
    pub(crate) async fn new() -> Stage {
        Stage::at(Some("https://files.example.com")).await
    }

    pub(crate) async fn without_public_url() -> Stage {
        Stage::at(None).await
    }

    async fn at(public_url: Option<&str>) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let local = directory.path().join("local");
        std::fs::create_dir(&local).unwrap();
        let config =
            Config { database: Database::Sqlite(directory.path().join("db")), key_file: directory.path().join("key") };
        let registry = Registry::open(&config).await.unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let providers: [Arc<dyn Provider>; 6] = [
            Arc::new(MemoryProvider::new()),
            Arc::new(LocalProvider::new(Some(local))),
            Arc::new(AliasProvider::new()),
            Arc::new(Vault::new()),
            Arc::new(Vault::with_the_table_of_s3()),
            Arc::new(Porch::new(seen.clone())),
        ];
        let catalog = Arc::new(Catalog::new(providers).unwrap());
        let doors = Arc::new(Doors { registry: registry.clone(), catalog: catalog.clone(), seen });
        let api = Api {
            registry: registry.clone(),
            catalog,
            backends: doors.clone(),
            mounts: doors.clone(),
            node: "node-1".into(),
            public_url: public_url.map(Into::into),
        };
        let mut tokens = Vec::new();
        for name in ["default", "other"] {
            let tenant = registry.operator().create_tenant(name).await.unwrap();
            tokens.push(registry.operator().create_token(&tenant, "test").await.unwrap().1.expose().to_owned());
        }
        let [token, other_token] = tokens.try_into().unwrap();
        Stage { registry, router: router(api.clone()), api, doors, token, other_token, directory }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn ask_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask_as(&self.token, "GET", path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask_as(&self.token, "DELETE", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask_as(&self.token, "POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask_as(&self.token, "PUT", path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask_as(&self.token, "PATCH", path, Some(body)).await
    }

    /// A backend in memory.
    pub(crate) async fn memory(&self) -> String {
        self.post("/api/v1/backends/memory", json!({})).await.id()
    }

    /// A backend with a credential.
    pub(crate) async fn vault(&self, password: &str) -> String {
        self.post("/api/v1/backends/vault", json!({"host": "h", "user": "deploy", "pass": password})).await.id()
    }
}

/// Both doors. What the kernel and the journal would say is set by the test.
pub(crate) struct Doors {
    registry: Registry,
    catalog: Arc<Catalog>,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) mounted: BTreeMap<String, VfsConfig>,
    pub(crate) paths: BTreeSet<String>,
    pub(crate) used: BTreeMap<String, Use>,
    pub(crate) pending: Pending,
    pub(crate) changes: Vec<PendingChange>,
    /// Which changes were to be tried again, or all.
    pub(crate) retried: Vec<Option<u64>>,
    /// What becomes of every change that is given up.
    pub(crate) given_up: Option<GivenUp>,
    pub(crate) events: Vec<Event>,
    pub(crate) condition: Option<Condition>,
    pub(crate) changed: Vec<String>,
    pub(crate) waited: Vec<Duration>,
    pub(crate) pins: BTreeMap<String, Vec<Path>>,
    /// Who consented to which backend.
    pub(crate) consented: BTreeMap<String, String>,
    /// The same, on trial.
    pub(crate) tried: BTreeMap<String, String>,
    pub(crate) issuer: String,
}

struct TenantRemotes {
    doors: Registry,
    catalog: Arc<Catalog>,
    tenant: Tenant,
}

#[async_trait]
impl Remotes for TenantRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>, Error> {
        let (name, _) = remote.split_once(':').unwrap();
        let by_id = match BackendId::parse(name) {
            Some(id) => self.doors.backend(&self.tenant, &id).await.unwrap(),
            None => None,
        };
        let backend = match by_id {
            Some(backend) => backend,
            None => {
                let name = BackendName::parse(name).ok_or_else(|| Error::not_found("the remote"))?;
                let found = self.doors.backend_by_name(&self.tenant, &name).await.unwrap();
                found.ok_or_else(|| Error::not_found("the remote"))?
            }
        };
        open(&self.doors, &self.catalog, &self.tenant, &backend.id, &backend.provider, backend.settings)
            .await
            .map_err(|_| Error::internal("open"))
    }
}

struct OnTrial {
    seen: Arc<Mutex<Seen>>,
    registry: Registry,
    catalog: Arc<Catalog>,
    tenant: Tenant,
    id: BackendId,
    provider: Arc<dyn Provider>,
    settings: Settings,
}

impl OnTrial {
    fn opening(&self) -> Opening {
        let OnTrial { registry, catalog, tenant, id, settings, .. } = self;
        opening(registry, catalog, tenant, id, settings.clone())
    }
}

#[async_trait]
impl Trial for OnTrial {
    fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        self.provider.open(self.opening()).await
    }

    async fn sign_in(&self, act: Act) -> Result<SignIn, OpenError> {
        self.provider.sign_in(self.opening(), act).await
    }

    async fn consent_url(&self, request: ConsentRequest) -> Result<String, OpenError> {
        self.provider.consent_url(self.opening(), request).await
    }

    async fn keep(&self) -> Result<(), Error> {
        let mut seen = self.seen.lock().unwrap();
        if let Some(who) = seen.tried.remove(self.id.as_str()) {
            seen.consented.insert(self.id.to_string(), who);
        }
        Ok(())
    }
}

fn opening(
    registry: &Registry,
    catalog: &Arc<Catalog>,
    tenant: &Tenant,
    id: &BackendId,
    settings: Settings,
) -> Opening {
    let remotes = TenantRemotes { doors: registry.clone(), catalog: catalog.clone(), tenant: tenant.clone() };
    Opening { tenant: tenant.name().into(), backend: id.to_string(), settings, remotes: Arc::new(remotes) }
}

async fn open(
    registry: &Registry,
    catalog: &Arc<Catalog>,
    tenant: &Tenant,
    id: &BackendId,
    provider: &str,
    settings: Settings,
) -> Result<Arc<dyn Storage>, OpenError> {
    catalog.get(provider).unwrap().open(opening(registry, catalog, tenant, id, settings)).await
}

#[async_trait]
impl Backends for Doors {
    fn trial(
        &self,
        tenant: &Tenant,
        id: &BackendId,
        provider: &Arc<dyn Provider>,
        settings: Settings,
    ) -> Box<dyn Trial> {
        let (registry, catalog) = (self.registry.clone(), self.catalog.clone());
        let (seen, tenant, id) = (self.seen.clone(), tenant.clone(), id.clone());
        seen.lock().unwrap().tried.clear();
        Box::new(OnTrial { seen, registry, catalog, tenant, id, provider: provider.clone(), settings })
    }

    async fn probe(&self, tenant: &Tenant, id: &BackendId) -> Result<Identity, Error> {
        let backend = self.registry.backend(tenant, id).await.unwrap().unwrap();
        let storage = open(&self.registry, &self.catalog, tenant, id, &backend.provider, backend.settings).await;
        let probed = storage.map_err(|_| Error::internal("open"))?.probe().await;
        let used = Use { succeeded: probed.is_ok(), at: probed.is_ok().then(Timestamp::now) };
        self.seen.lock().unwrap().used.insert(id.to_string(), used);
        probed
    }

    fn last_use(&self, _tenant: &Tenant, id: &BackendId) -> Option<Use> {
        self.seen.lock().unwrap().used.get(id.as_str()).copied()
    }

    async fn changed(&self, _tenant: &Tenant, id: &BackendId) {
        self.seen.lock().unwrap().changed.push(id.to_string());
    }

    async fn forget(&self, _tenant: &Tenant, _id: &BackendId) {}

    async fn pending(&self, _tenant: &Tenant, _id: &BackendId) -> Result<Pending, Error> {
        Ok(self.seen.lock().unwrap().pending.clone())
    }

    async fn discard(&self, tenant: &Tenant, id: &BackendId) -> Result<String, Error> {
        self.seen.lock().unwrap().pending = Pending::default();
        Ok(format!("lost+found/{tenant}/{id}"))
    }

    async fn changes(
        &self,
        _tenant: &Tenant,
        _id: &BackendId,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<PendingChange>, Error> {
        let seen = self.seen.lock().unwrap();
        let later = seen.changes.iter().filter(|change| after.is_none_or(|after| change.number > after));
        Ok(later.take(most).cloned().collect())
    }

    async fn retry(&self, _tenant: &Tenant, _id: &BackendId, number: Option<u64>) -> Result<bool, Error> {
        let mut seen = self.seen.lock().unwrap();
        seen.retried.push(number);
        Ok(number.is_none_or(|number| seen.changes.iter().any(|change| change.number == number)))
    }

    async fn give_up(&self, _tenant: &Tenant, _id: &BackendId, _number: u64) -> Result<GivenUp, Error> {
        Ok(self.seen.lock().unwrap().given_up.clone().unwrap_or(GivenUp::Unknown))
    }

    async fn events(&self, _tenant: &Tenant, _id: &BackendId) -> Result<Vec<Event>, Error> {
        Ok(self.seen.lock().unwrap().events.clone())
    }
}

#[async_trait]
impl Mounts for Doors {
    fn place(&self, _tenant: &Tenant, id: &MountId, wanted: Option<&str>) -> Result<String, MountError> {
        match wanted {
            None => Ok(format!("/hoody/mounts/{id}")),
            Some(path) if path.starts_with('/') => Err(MountError::Path("must be relative".into())),
            Some(path) => Ok(format!("/hoody/mounts/{path}")),
        }
    }

    async fn mount(&self, _tenant: &Tenant, mount: &Mount, config: &VfsConfig) -> Result<Status, MountError> {
        let mut seen = self.seen.lock().unwrap();
        if !seen.paths.insert(mount.path.clone()) {
            return Err(MountError::InUse("The mount point is not empty".into()));
        }
        seen.mounted.insert(mount.id.to_string(), config.clone());
        Ok(Status { state: State::Active, error: None })
    }

    async fn configure(&self, _tenant: &Tenant, id: &MountId, config: &VfsConfig) -> Result<(), MountError> {
        self.seen.lock().unwrap().mounted.insert(id.to_string(), config.clone());
        Ok(())
    }

    fn status(&self, _tenant: &Tenant, id: &MountId) -> Status {
        match self.seen.lock().unwrap().mounted.contains_key(id.as_str()) {
            true => Status { state: State::Active, error: None },
            false => Status { state: State::Failed, error: Some("it does not stand".into()) },
        }
    }

    fn condition(&self, _tenant: &Tenant, _id: &MountId) -> Option<Condition> {
        self.seen.lock().unwrap().condition.clone()
    }

    async fn set_pins(&self, _tenant: &Tenant, mount: &Mount, paths: Vec<Path>) -> Result<(), Error> {
        self.seen.lock().unwrap().pins.insert(mount.id.to_string(), paths);
        Ok(())
    }

    async fn pins(&self, _tenant: &Tenant, mount: &Mount) -> Result<Vec<Pin>, Error> {
        let paths = self.seen.lock().unwrap().pins.get(mount.id.as_str()).cloned().unwrap_or_default();
        let pin = |(number, path)| match number {
            0 => Pin { path, files: 2, bytes: 10, bytes_to_go: 5, error: Some("nobody answers".into()) },
            _ => Pin { path, files: 0, bytes: 0, bytes_to_go: 0, error: None },
        };
        Ok(paths.into_iter().enumerate().map(pin).collect())
    }

    async fn unmount(&self, _tenant: &Tenant, mount: &Mount, wait: Duration) -> Result<Pending, Error> {
        let mut seen = self.seen.lock().unwrap();
        seen.mounted.remove(mount.id.as_str());
        seen.paths.remove(&mount.path);
        seen.waited.push(wait);
        Ok(seen.pending.clone())
    }
}

/// A provider with a credential: `pass` opens the account that stands after its colon (`good:ada`), or one without an id
/// (`good`); anything else is refused.
#[derive(Debug)]
struct Vault {
    descriptor: Descriptor,
}

impl Vault {
    fn new() -> Vault {
        let option = |name: &str, kind, marks| OptionSpec {
            name: name.into(),
            kind,
            default: Some(String::new()),
            marks,
            help: String::new(),
        };
        let options = vec![
            option("host", OptionKind::Text, OptionMarks::REQUIRED),
            option("user", OptionKind::Text, OptionMarks::empty()),
            option("pass", OptionKind::Secret, OptionMarks::CREDENTIAL),
            option("port", OptionKind::Number, OptionMarks::empty()),
            option("size", OptionKind::Bytes, OptionMarks::empty()),
            option("key_file", OptionKind::SecretFile, OptionMarks::MACHINE.union(OptionMarks::CREDENTIAL)),
        ];
        let descriptor = Descriptor {
            name: "vault".into(),
            backend_type: Some("the vault".into()),
            aliases: vec!["safe".into()],
            title: "The Vault".into(),
            make: Make::Guest,
            version: "1.0.0".into(),
            options,
            imports: vec!["causeway:provider/http@0.1.0".into()],
        };
        Vault { descriptor }
    }

    /// With the name and the options of `s3`, from the tables of the pages.
    fn with_the_table_of_s3() -> Vault {
        let tables: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/options.json")).unwrap();
        let options = tables["s3"].as_array().unwrap().iter().map(|row| {
            let name = row["name"].as_str().unwrap();
            let secret = ["secret_access_key", "session_token", "sse_customer_key", "sse_customer_key_base64"];
            let mut marks = OptionMarks::empty();
            if row["required"] == true {
                marks |= OptionMarks::REQUIRED;
            }
            if secret.contains(&name) || name == "access_key_id" {
                marks |= OptionMarks::CREDENTIAL;
            }
            OptionSpec {
                name: name.into(),
                kind: match row["type"].as_str().unwrap() {
                    "boolean" => OptionKind::Truth,
                    "integer" => OptionKind::Number,
                    _ if secret.contains(&name) => OptionKind::Secret,
                    _ if row["default"].is_null() => OptionKind::TriState,
                    _ => OptionKind::Text,
                },
                default: match &row["default"] {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                },
                marks,
                help: String::new(),
            }
        });
        let descriptor = Descriptor {
            name: "s3".into(),
            backend_type: None,
            aliases: Vec::new(),
            title: "S3".into(),
            options: options.collect(),
            ..Vault::new().descriptor
        };
        Vault { descriptor }
    }
}

#[async_trait]
impl Provider for Vault {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError> {
        let secret = opening.settings.secret("pass").map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap());
        // S3's key is not what this storage looks at.
        let word = if self.descriptor.name == "s3" { "good".into() } else { secret.unwrap_or_default() };
        Ok(Arc::new(VaultStorage(word)))
    }
}

/// A provider that a person must let in: `account` consents by giving its own name as the code; `quiz` is asked, `device` types.
struct Porch {
    descriptor: Descriptor,
    seen: Arc<Mutex<Seen>>,
}

impl Porch {
    fn new(seen: Arc<Mutex<Seen>>) -> Porch {
        let mut descriptor = Vault::new().descriptor;
        descriptor.options.truncate(1);
        descriptor.options[0].name = "account".into();
        Porch { descriptor: Descriptor { name: "porch".into(), aliases: Vec::new(), ..descriptor }, seen }
    }
}

#[async_trait]
impl Provider for Porch {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    async fn open(&self, opening: Opening) -> Result<Arc<dyn Storage>, OpenError> {
        let seen = self.seen.lock().unwrap();
        let who = seen.tried.get(&opening.backend).or_else(|| seen.consented.get(&opening.backend));
        Ok(Arc::new(VaultStorage(who.map_or("bad".into(), |who| format!("good:{who}")))))
    }

    async fn sign_in(&self, opening: Opening, act: Act) -> Result<SignIn, OpenError> {
        let refused = |kind| Err(OpenError::Failed(Error::new(kind, "it was refused")));
        let mut seen = self.seen.lock().unwrap();
        let question = SignIn::Question { prompt: "Which code?".into(), typed: true };
        match (act, opening.settings.text("account").unwrap()) {
            (Act::Code { issuer, .. }, _) if issuer != seen.issuer => refused(ErrorKind::PreconditionFailed),
            (Act::Code { code, .. }, _) if code.expose() == b"refused" => refused(ErrorKind::Unauthenticated),
            (Act::Code { code, .. }, _) => {
                seen.tried.insert(opening.backend, String::from_utf8(code.expose().to_vec()).unwrap());
                Ok(SignIn::Ready)
            }
            (Act::Answer(Some(answer)), "quiz") if answer.expose() == b"123" => {
                seen.tried.insert(opening.backend, "quiz".into());
                Ok(SignIn::Ready)
            }
            (Act::Answer(_), "quiz") => refused(ErrorKind::Unauthenticated),
            _ if seen.consented.contains_key(&opening.backend) => Ok(SignIn::Ready),
            (_, "quiz") => Ok(question),
            (_, "device") => {
                Ok(SignIn::Device { url: "https://where.example/".into(), code: "ABCD".into(), expires_s: 60 })
            }
            _ => Ok(SignIn::Consent { reason: "nobody has consented".into(), issuer: seen.issuer.clone() }),
        }
    }

    async fn consent_url(&self, _opening: Opening, request: ConsentRequest) -> Result<String, OpenError> {
        Ok(format!("https://issuer.example/?back={}&state={}", request.redirect_uri, request.state))
    }
}

struct VaultStorage(String);

impl std::fmt::Debug for VaultStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultStorage")
    }
}

#[async_trait]
impl Storage for VaultStorage {
    fn features(&self) -> Arc<Features> {
        Arc::default()
    }

    async fn probe(&self) -> causeway_storage::Result<Identity> {
        let (word, account) =
            self.0.split_once(':').map_or((self.0.as_str(), None), |(word, account)| (word, Some(account)));
        match word.starts_with("good") {
            true => Ok(Identity { account: account.map(str::to_owned), display: None }),
            false => Err(Error::new(ErrorKind::Unauthenticated, "The vault does not know this password")),
        }
    }

    async fn stat(&self, _path: &Path) -> causeway_storage::Result<Option<Entry>> {
        Ok(None)
    }

    async fn list(
        &self,
        _directory: &Path,
        _cursor: Option<&causeway_storage::Cursor>,
    ) -> causeway_storage::Result<Page> {
        Ok(Page::default())
    }

    async fn read(&self, _file: &Node, _span: Span) -> causeway_storage::Result<causeway_storage::Body> {
        Err(Error::not_found("the file"))
    }
}
