//! The S3 component, opened as the runtime opens it, for a backend that needs nothing kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use causeway_bench::Result;
use causeway_guest::{Catalog, CompiledCache, Engine, Grants, GuestProvider, Held, Keeper, Space, State, Surroundings};
use causeway_http::{Gate, Policy};
use causeway_storage::{Error, Opening, Provider, Remotes, Settings, Storage};

/// The key pair; the origin looks at no signature.
pub(crate) const KEY_ID: &str = "AKBENCH";
/// Its secret.
pub(crate) const SECRET: &str = "a-secret-for-nothing";
/// Where it signs for.
pub(crate) const REGION: &str = "us-east-1";

/// Opens components.
pub(crate) struct Components {
    /// The way out, which may reach this machine.
    pub(crate) gate: Arc<Gate>,
    catalog: Catalog,
    directory: PathBuf,
}

impl Components {
    /// Those in a directory; what is compiled of them is kept in another.
    pub(crate) fn open(directory: &str, compiled: &str) -> Result<Components> {
        let gate = Gate::new(Policy { allow_private: vec!["127.0.0.0/8".parse()?], ..Policy::default() })?;
        std::fs::create_dir_all(compiled)?;
        let surroundings = Surroundings { gate: gate.clone(), keeper: Arc::new(Nothing) };
        let catalog =
            Catalog::new(Engine::new()?, CompiledCache::open(Path::new(compiled))?, Grants::new(), surroundings);
        Ok(Components { gate, catalog, directory: directory.into() })
    }

    /// The S3 component, and how a backend at this endpoint is opened.
    pub(crate) async fn s3(&self, endpoint: &str) -> Result<(Arc<GuestProvider>, Opening)> {
        let provider = self.catalog.open(&self.directory.join("s3.wasm")).await?;
        let given = serde_json::json!({
            "provider": "Other", "endpoint": endpoint, "region": REGION, "access_key_id": KEY_ID, "secret_access_key": SECRET,
        });
        let given = given.as_object().ok_or("no object")?;
        let settings = Settings::parse(&provider.descriptor().options, given)
            .map_err(|problems| format!("the settings are refused: {problems:?}"))?;
        let opening = Opening {
            tenant: "bench".into(),
            backend: "0123456789abcdef".into(),
            settings,
            remotes: Arc::new(Nothing),
        };
        Ok((provider, opening))
    }
}

/// A keeper that keeps nothing, and remotes that lead nowhere.
#[derive(Debug)]
struct Nothing;

impl Keeper for Nothing {
    fn state(&self, _tenant: &str, _backend: &str, _space: Space) -> Arc<dyn State> {
        Arc::new(Nothing)
    }

    fn seal(&self, _tenant: &str, _backend: &str, _what: &str, _bytes: &[u8]) -> causeway_storage::Result<Vec<u8>> {
        Err(Error::unsupported("seal"))
    }

    fn unseal(&self, _tenant: &str, _backend: &str, _what: &str, _sealed: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[async_trait]
impl State for Nothing {
    async fn get(&self, _key: &str) -> causeway_storage::Result<Option<Held>> {
        Ok(None)
    }

    async fn set(&self, _key: &str, _value: &[u8], _lives: Option<Duration>) -> causeway_storage::Result<()> {
        Err(Error::unsupported("keep"))
    }

    async fn swap(
        &self,
        _key: &str,
        _value: &[u8],
        _lives: Option<Duration>,
        _expected: Option<u64>,
    ) -> causeway_storage::Result<bool> {
        Err(Error::unsupported("keep"))
    }

    async fn remove(&self, _key: &str) -> causeway_storage::Result<()> {
        Ok(())
    }

    async fn take_lease(&self, _name: &str, _lives: Duration) -> causeway_storage::Result<Option<u64>> {
        Err(Error::unsupported("keep"))
    }

    async fn end_lease(&self, _name: &str, _fence: u64) -> causeway_storage::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Remotes for Nothing {
    async fn resolve(&self, remote: &str) -> causeway_storage::Result<Arc<dyn Storage>> {
        Err(Error::not_found(remote))
    }
}
