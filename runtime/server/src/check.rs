//! `causeway provider check`: anyone's component, held to every promise of the contract against whatever it is configured for.
//!
//! It runs with a registry and compiled code of its own in a temporary directory, and leaves nothing behind but what a failed case
//! left at the provider, in a directory whose name the report gives.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use causeway_conformance::{Open, Storm, Subject};
use causeway_guest::GuestProvider;
use causeway_http::{Gate, Weather};
use causeway_registry::{BackendId, NewBackend, Tenant};
use causeway_storage::{Error, Kind, OpenError, Opening, Path, Provider, Remotes, Settings, Storage, parse_bytes};
use clap::Args;

use crate::config::Kept;
use crate::keeper::Keeper;
use crate::out::Out;

/// What to check, and against what.
#[derive(Args)]
pub(crate) struct Check {
    /// The component.
    file: PathBuf,
    /// A JSON file with the settings of a backend, as they would be posted to connect it.
    #[arg(long)]
    settings: PathBuf,
    /// A directory of the backend that the suite may use; it is made if it is not there.
    #[arg(long, default_value = "causeway-check")]
    root: String,
    /// Only cases whose names begin so; may be given several times.
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// The size from which these settings make the provider cut files: adds the cases around it.
    #[arg(long, value_name = "SIZE")]
    part_size: Option<String>,
    /// How many entries a large directory gets.
    #[arg(long, default_value_t = 1000)]
    many: usize,
    /// A file of cases that are known to fail, a line each: the case, then why. A listed case that passes is a
    /// failure, too. May be given several times.
    #[arg(long, value_name = "FILE")]
    known: Vec<PathBuf>,
    /// Grant the component an interface that every operator must grant: reveal, foreign-hosts or assigned-hosts.
    #[arg(long, value_name = "INTERFACE", value_delimiter = ',')]
    grant: Vec<String>,
    /// The credential renews itself (OAuth, a session): adds the cases of one that expires.
    #[arg(long)]
    renews: bool,
    #[command(flatten)]
    out: Out,
}

pub(crate) async fn run(check: Check) -> Result<(), String> {
    let mut problems = Vec::new();
    let mut policy = check.out.policy(&mut problems);
    let part_bytes = check.part_size.as_deref().and_then(|text| {
        let bytes = parse_bytes(text).filter(|bytes| *bytes > 0);
        if bytes.is_none() {
            problems.push(format!("part-size: `{text}` is not a size such as 5Mi"));
        }
        bytes
    });
    let known = known(&check.known, &mut problems);
    let given = std::fs::read_to_string(&check.settings).map_err(|error| error.to_string());
    let given = given.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    let given = given.unwrap_or_else(|error| {
        problems.push(format!("settings: {}: {error}", check.settings.display()));
        serde_json::Map::new()
    });
    let wasm = std::fs::read(&check.file).map_err(|error| format!("{}: {error}", check.file.display()))?;
    let root = Path::parse(&check.root).map_err(|error| format!("root: {error}"))?;
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    let storm = Arc::new(Storm::default());
    policy.weather = Some(storm.clone() as Arc<dyn Weather>);
    let gate = Gate::new(policy).map_err(|error| error.message)?;
    let directory = tempfile::Builder::new().prefix("causeway-check-").tempdir();
    let directory = directory.map_err(|error| format!("a directory for the registry: {error}"))?;
    let bench = Bench::open(directory.path(), &check.file, &wasm, &check.grant, gate, given).await?;
    let opened = bench.open().await.map_err(|error| error.message)?;
    make(&*opened, &root).await.map_err(|error| format!("{root}: {}", error.message))?;
    let subject =
        Subject { open: Arc::new(bench), root, part_bytes, many: check.many, storm: Some(storm), renews: check.renews };
    let wanted = |case: &str| check.only.is_empty() || check.only.iter().any(|only| case.starts_with(only.as_str()));
    let report = causeway_conformance::run(subject, wanted, |row| println!("{row}"));
    let report = report.await.map_err(|error| error.message)?;
    println!("{report}");
    let known = known.into_iter().filter(|(case, _)| wanted(case)).collect();
    match report.against(&known).as_slice() {
        [] => Ok(()),
        broken => Err(format!("{} promises are not as they should be:\n  {}", broken.len(), broken.join("\n  "))),
    }
}

/// The list of cases that are known to fail.
fn known(files: &[PathBuf], problems: &mut Vec<String>) -> BTreeMap<String, String> {
    let texts = files.iter().map(|file| {
        std::fs::read_to_string(file).unwrap_or_else(|error| {
            problems.push(format!("known: {}: {error}", file.display()));
            String::new()
        })
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).map(|(case, why)| (case.into(), why.into())).collect()
}

/// Makes a directory and those above it.
async fn make(storage: &dyn Storage, path: &Path) -> Result<(), Error> {
    let mut at = Path::ROOT;
    for name in path.names() {
        at = at.child(name).map_err(Error::internal)?;
        match storage.stat(&at).await? {
            Some(entry) if entry.kind == Kind::Directory => {}
            _ => storage.make_directory(&at).await.map(|_| ())?,
        }
    }
    Ok(())
}

/// One backend of the component, in a registry of its own.
struct Bench {
    provider: Arc<GuestProvider>,
    tenant: Tenant,
    backend: BackendId,
    settings: Settings,
}

impl Bench {
    async fn open(
        directory: &std::path::Path,
        file: &std::path::Path,
        wasm: &[u8],
        granted: &[String],
        gate: Arc<Gate>,
        given: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Bench, String> {
        let said = |error: Error| error.message;
        let told = |error: causeway_registry::Error| error.to_string();
        let database = causeway_registry::Database::Sqlite(directory.join("registry.db"));
        let kept = Kept {
            data_dir: directory.to_owned(),
            registry: causeway_registry::Config { database, key_file: directory.join("key") },
        };
        let registry = causeway_registry::Registry::open(&kept.registry).await.map_err(told)?;
        let keeper = Arc::new(Keeper::new(registry.clone()));
        let surroundings = causeway_guest::Surroundings { gate, keeper: keeper.clone() };
        let engine = causeway_guest::Engine::new().map_err(said)?;
        let compiled = || causeway_guest::CompiledCache::open(&directory.join("compiled")).map_err(said);
        let ungranted = causeway_guest::Grants::new();
        let describing = causeway_guest::Catalog::new(engine.clone(), compiled()?, ungranted, surroundings.clone());
        let name = describing.describe(wasm).await.map_err(said)?.name;
        let grants = [(name.clone(), granted.iter().cloned().collect())].into();
        let catalog = causeway_guest::Catalog::new(engine, compiled()?, grants, surroundings);
        let provider = catalog.open(file).await.map_err(said)?;
        let settings = Settings::parse(&provider.descriptor().options, &given).map_err(|problems| {
            let told = problems.iter().map(|problem| format!("{} {}", problem.option, problem.message));
            told.collect::<Vec<_>>().join("\n")
        })?;
        let tenant = registry.operator().create_tenant("check").await.map_err(told)?;
        let backend = BackendId::random().map_err(told)?;
        let new = NewBackend {
            id: backend.clone(),
            provider: name,
            name: None,
            settings: settings.clone(),
            account: None,
            connected: true,
        };
        registry.create_backend(&tenant, &new).await.map_err(told)?;
        keeper.admit(&tenant);
        Ok(Bench { provider, tenant, backend, settings })
    }
}

#[async_trait]
impl Open for Bench {
    async fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        let opening = Opening {
            tenant: self.tenant.name().to_owned(),
            backend: self.backend.to_string(),
            settings: self.settings.clone(),
            remotes: Arc::new(NoRemotes),
        };
        self.provider.open(opening).await.map_err(|error| match error {
            OpenError::Failed(error) => error,
            OpenError::Settings(problems) => {
                let told = problems.iter().map(|problem| format!("{} {}", problem.option, problem.message));
                Error::new(causeway_storage::ErrorKind::Invalid, told.collect::<Vec<_>>().join("; "))
            }
        })
    }
}

/// A component stands on no other backend.
struct NoRemotes;

#[async_trait]
impl Remotes for NoRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>, Error> {
        Err(Error::not_found(remote))
    }
}
