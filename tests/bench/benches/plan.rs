//! What one plan of the S3 component costs: a fresh instance, the plan of a read with its signature, and all of it dropped,
//! beside the limit, which is the instance alone. No network, no bytes.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it cannot measure")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use causeway_bench::{Times, alone, load};
use causeway_guest::{Catalog, CompiledCache, Engine, Grants, Held, Keeper, Measured, Space, State, Surroundings};
use causeway_http::{Gate, Policy};
use causeway_storage::{Error, Kind, Node, Opening, Path, Provider, Remotes, Result, Settings, Storage, Version};

/// Rounds before measuring begins: every page and every cache line has been touched by then.
const WARM_UP: usize = 500;

/// Rounds measured; 20 of them lie above the 99th percentile.
const ROUNDS: usize = 2_000;

/// What the median of a plan may cost.
const TARGET: Duration = Duration::from_micros(100);

fn main() {
    let _alone = alone().unwrap();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    threads.block_on(measure());
}

async fn measure() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::new(Policy::default()).unwrap();
    let surroundings = Surroundings { gate, keeper: Arc::new(Nothing) };
    let compiled = CompiledCache::open(directory.path()).unwrap();
    let catalog = Catalog::new(Engine::new().unwrap(), compiled, Grants::new(), surroundings);
    let provider = catalog.open(&component()).await.unwrap();
    let given = serde_json::json!({
        "provider": "AWS", "endpoint": "https://s3.eu-central-1.amazonaws.com", "region": "eu-central-1",
        "access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    });
    let settings = Settings::parse(&provider.descriptor().options, given.as_object().unwrap()).unwrap();
    let opening =
        Opening { tenant: "acme".into(), backend: "0123456789abcdef".into(), settings, remotes: Arc::new(Nothing) };
    let file = Node {
        path: Path::parse("photos/2024/summer/IMG_0001.jpg").unwrap(),
        kind: Kind::File,
        cookie: None,
        version: Some(Version("9b2cf535f27731c974343645a3985328".into())),
        size: Some(4_000_000),
    };
    let measuring = provider.measuring(opening, &file).await.unwrap();

    println!("\n{ROUNDS} rounds after {WARM_UP}; {}; times in microseconds\n", load().unwrap());
    println!("| | computing, median | p99 | wall, median | p99 |");
    println!("|---|---|---|---|---|");
    let limit = rounds(|| measuring.instance()).await;
    row("an instance alone", &limit);
    let plan = rounds(|| measuring.plan()).await;
    row("instance, plan, drop", &plan);
    let (median, limit) = (plan.computing.quantile(0.5), limit.computing.quantile(0.5));
    println!("\nA plan costs {:.2} times its limit.", median.as_secs_f64() / limit.as_secs_f64());
    if median > TARGET {
        println!("The median is over its target of {TARGET:?}.");
        std::process::exit(1);
    }
}

struct Rounds {
    computing: Times,
    wall: Times,
}

async fn rounds<F: Future<Output = Result<Measured>>>(round: impl Fn() -> F) -> Rounds {
    let mut measured = Vec::new();
    for _ in 0..WARM_UP + ROUNDS {
        measured.push(round().await.unwrap());
    }
    measured.drain(..WARM_UP);
    Rounds {
        computing: Times::new(measured.iter().map(|round| round.computing).collect()),
        wall: Times::new(measured.iter().map(|round| round.wall).collect()),
    }
}

fn row(what: &str, rounds: &Rounds) {
    println!("| {what} | {} | {} |", rounds.computing.cells(), rounds.wall.cells());
}

fn component() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/causeway/target/components");
    let directory = std::env::var_os("CAUSEWAY_COMPONENTS").map_or_else(home, PathBuf::from);
    let path = directory.join("s3.wasm");
    assert!(path.is_file(), "{} is missing: run `./just components`", path.display());
    path
}

/// A keeper that keeps nothing, and remotes that lead nowhere: a plan needs neither.
#[derive(Debug)]
struct Nothing;

impl Keeper for Nothing {
    fn state(&self, _tenant: &str, _backend: &str, _space: Space) -> Arc<dyn State> {
        Arc::new(Nothing)
    }

    fn seal(&self, _tenant: &str, _backend: &str, _what: &str, _bytes: &[u8]) -> Result<Vec<u8>> {
        Err(Error::unsupported("seal"))
    }

    fn unseal(&self, _tenant: &str, _backend: &str, _what: &str, _sealed: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[async_trait]
impl State for Nothing {
    async fn get(&self, _key: &str) -> Result<Option<Held>> {
        Ok(None)
    }

    async fn set(&self, _key: &str, _value: &[u8], _lives: Option<Duration>) -> Result<()> {
        Err(Error::unsupported("keep"))
    }

    async fn swap(&self, _key: &str, _value: &[u8], _lives: Option<Duration>, _expected: Option<u64>) -> Result<bool> {
        Err(Error::unsupported("keep"))
    }

    async fn remove(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    async fn take_lease(&self, _name: &str, _lives: Duration) -> Result<Option<u64>> {
        Err(Error::unsupported("keep"))
    }

    async fn end_lease(&self, _name: &str, _fence: u64) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Remotes for Nothing {
    async fn resolve(&self, remote: &str) -> Result<Arc<dyn Storage>> {
        Err(Error::not_found(remote))
    }
}
