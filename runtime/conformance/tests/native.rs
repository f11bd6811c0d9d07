//! The storages that are not components, held to their promises; and the suite itself, held to the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // All of it is a test.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use causeway_conformance::{Open, Subject, cases, run};
use causeway_native::{LocalProvider, MemoryProvider};
use causeway_storage::{Error, OpenError, Opening, Path, Provider, Remotes, Result, Settings, Storage};
use causeway_wrap::AliasProvider;

/// Opens a backend of a native provider, as often as wanted.
struct Of {
    provider: Arc<dyn Provider>,
    settings: Vec<(&'static str, &'static str)>,
    remotes: Arc<dyn Remotes>,
}

#[async_trait]
impl Open for Of {
    async fn open(&self) -> Result<Arc<dyn Storage>> {
        let given = self.settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let settings = Settings::parse(&self.provider.descriptor().options, &given).expect("settings that fit");
        let opening = Opening {
            tenant: "acme".into(),
            backend: "0123456789abcdef".into(),
            settings,
            remotes: self.remotes.clone(),
        };
        self.provider.open(opening).await.map_err(|error| match error {
            OpenError::Failed(error) => error,
            OpenError::Settings(problems) => Error::internal(format!("{problems:?}")),
        })
    }
}

struct NoRemotes;

#[async_trait]
impl Remotes for NoRemotes {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>> {
        Err(Error::not_found(remote))
    }
}

/// Every remote is the same storage.
struct OneRemote(Arc<dyn Open>);

#[async_trait]
impl Remotes for OneRemote {
    async fn resolve(&self, _remote: &str) -> Result<Arc<dyn Storage>> {
        let storage = self.0.open().await?;
        let below = Path::parse("below").expect("a path");
        if storage.stat(&below).await?.is_none() {
            storage.make_directory(&below).await?;
        }
        Ok(causeway_wrap::Rooted::new(storage, below))
    }
}

fn hold(open: Arc<dyn Open>) {
    let subject = Subject { open, root: Path::ROOT, part_bytes: None, many: 10_000, storm: None, renews: false };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(run(subject, |_| true, |row| println!("{row}"))).unwrap();
    println!("{report}");
    assert_eq!(report.against(&BTreeMap::new()), Vec::<String>::new());
    assert!(report.passed() > 60, "only {} cases applied", report.passed());
}

fn memory() -> Arc<dyn Open> {
    Arc::new(Of { provider: Arc::new(MemoryProvider::new()), settings: vec![], remotes: Arc::new(NoRemotes) })
}

#[test]
fn memory_keeps_its_promises() {
    hold(memory());
}

#[test]
fn local_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    let provider: Arc<dyn Provider> = Arc::new(LocalProvider::new(Some(directory.path().to_owned())));
    hold(Arc::new(Of { provider, settings: vec![], remotes: Arc::new(NoRemotes) }));
}

#[test]
fn alias_keeps_the_promises_of_what_it_names() {
    let provider: Arc<dyn Provider> = Arc::new(AliasProvider::new());
    let remotes = Arc::new(OneRemote(memory()));
    hold(Arc::new(Of { provider, settings: vec![("remote", "one:below")], remotes }));
}

/// Every function that a component can export has a case of its name.
#[test]
fn every_promise_of_the_contract_has_its_case() {
    let contract = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/0.1");
    let mut missing = Vec::new();
    for file in std::fs::read_dir(contract).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut interface = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("interface ") {
                interface = name.trim_end_matches(" {").to_owned();
            }
            let function = line.trim().split_once(": func(").map(|(name, _)| name).filter(|name| !name.contains(' '));
            // What the host offers, and what has no promise of its own that a caller could see.
            let other =
                ["settings", "http", "state", "clock", "random", "log", "crypto", "reveal", "content", "gathering"];
            let other = other.contains(&interface.as_str()) || interface.ends_with("-hosts");
            if let Some(function) = function.filter(|_| !other) {
                let name = format!("{interface}.{function}");
                if !cases().iter().any(|case| case.name.split('/').next() == Some(name.as_str())) {
                    missing.push(name);
                }
            }
        }
    }
    missing.sort();
    assert_eq!(missing, TESTED_ELSEWHERE);
}

/// Functions whose promises no caller of a storage can see; the tests of the guest host hold components to them.
const TESTED_ELSEWHERE: &[&str] = &[
    "batching.batch-size",
    "batching.finish-batch",
    "decoding.decode",
    "jobs.cancel",
    "jobs.poll",
    "session.sign-out",
    "setup.describe",
];
