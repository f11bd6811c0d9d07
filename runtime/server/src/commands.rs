//! The operator's commands: tenants, tokens, providers.

use std::path::PathBuf;
use std::sync::Arc;

use causeway_guest as guest;
use causeway_http::{Gate, Policy};
use causeway_registry::{Registry, Tenant};
use causeway_storage::{OptionMarks, Provider};
use clap::Subcommand;

use crate::config::{Kept, Store, parse_store};
use crate::keeper::Keeper;
use crate::serve::prepare;

#[derive(Subcommand)]
pub(crate) enum TenantAction {
    /// Make a tenant.
    Create {
        name: String,
        #[command(flatten)]
        store: Store,
    },
    /// List the tenants.
    List {
        #[command(flatten)]
        store: Store,
    },
    /// Close the API to a tenant; its data stays.
    Revoke {
        name: String,
        #[command(flatten)]
        store: Store,
    },
}

#[derive(Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token; it is shown once.
    Create {
        tenant: String,
        /// What to call it.
        #[arg(long, default_value = "")]
        label: String,
        #[command(flatten)]
        store: Store,
    },
    /// List a tenant's tokens.
    List {
        tenant: String,
        #[command(flatten)]
        store: Store,
    },
    /// Revoke a token of a tenant.
    Revoke {
        tenant: String,
        id: String,
        #[command(flatten)]
        store: Store,
    },
}

#[derive(Subcommand)]
pub(crate) enum ProviderAction {
    /// Say what a component is and what it asks for.
    Inspect { file: PathBuf },
}

pub(crate) async fn tenant(action: TenantAction) -> Result<(), String> {
    match action {
        TenantAction::Create { name, store } => {
            let tenant = open(store).await?.operator().create_tenant(&name).await.map_err(told)?;
            println!("{tenant}");
        }
        TenantAction::List { store } => {
            for row in open(store).await?.operator().tenants().await.map_err(told)? {
                println!("{}\t{}", row.tenant, if row.revoked_at.is_some() { "revoked" } else { "active" });
            }
        }
        TenantAction::Revoke { name, store } => {
            let registry = open(store).await?;
            let tenant = known(&registry, &name).await?;
            if !registry.operator().revoke_tenant(&tenant).await.map_err(told)? {
                return Err(format!("the tenant {name} is revoked already"));
            }
        }
    }
    Ok(())
}

pub(crate) async fn token(action: TokenAction) -> Result<(), String> {
    match action {
        TokenAction::Create { tenant, label, store } => {
            let registry = open(store).await?;
            let tenant = known(&registry, &tenant).await?;
            let (_, token) = registry.operator().create_token(&tenant, &label).await.map_err(told)?;
            println!("{}", token.expose());
        }
        TokenAction::List { tenant, store } => {
            let registry = open(store).await?;
            let tenant = known(&registry, &tenant).await?;
            for row in registry.operator().tokens(&tenant).await.map_err(told)? {
                println!("{}\t{}\t{}", row.id, if row.revoked_at.is_some() { "revoked" } else { "active" }, row.label);
            }
        }
        TokenAction::Revoke { tenant, id, store } => {
            let registry = open(store).await?;
            let tenant = known(&registry, &tenant).await?;
            if !registry.operator().revoke_token(&tenant, &id).await.map_err(told)? {
                return Err(format!("the tenant {tenant} has no token {id} that is not revoked"));
            }
        }
    }
    Ok(())
}

pub(crate) async fn provider(action: ProviderAction) -> Result<(), String> {
    let ProviderAction::Inspect { file } = action;
    let wasm = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let inspection = guest::inspect(&wasm).map_err(|error| error.message)?;
    println!("digest:  sha256:{}", inspection.digest);
    println!("size:    {} bytes", inspection.size_bytes);
    println!("imports: {}", inspection.imports.join(", "));
    println!("exports: {}", inspection.exports.join(", "));
    if inspection.wasi {
        println!("wasi:    imported, and given nothing through it");
    }
    // It says the rest itself, in a sandbox without any backend. What must be granted is granted for that.
    let directory = std::env::temp_dir().join(format!("causeway-inspect-{}", std::process::id()));
    let described = describe(&directory, &wasm).await;
    let removed = std::fs::remove_dir_all(&directory);
    let provider = described?;
    removed.map_err(|error| format!("{}: {error}", directory.display()))?;
    let descriptor = provider.descriptor();
    println!("name:    {} ({}, version {})", descriptor.name, descriptor.title, descriptor.version);
    println!("options: {}", descriptor.options.len());
    for option in &descriptor.options {
        let required = if option.marks.contains(OptionMarks::REQUIRED) { ", required" } else { "" };
        let secret = if option.is_secret() { ", secret" } else { "" };
        println!("  {} ({}{required}{secret})", option.name, causeway_api::api_type(&option.kind));
    }
    Ok(())
}

async fn describe(directory: &std::path::Path, wasm: &[u8]) -> Result<Arc<guest::GuestProvider>, String> {
    let database = causeway_registry::Database::Sqlite(directory.join("registry.db"));
    let kept = Kept {
        data_dir: directory.to_owned(),
        registry: causeway_registry::Config { database, key_file: directory.join("key") },
    };
    prepare(&kept)?;
    let registry = Registry::open(&kept.registry).await.map_err(told)?;
    let said = |error: causeway_storage::Error| error.message;
    let surroundings = guest::Surroundings {
        gate: Gate::new(Policy::default()).map_err(said)?,
        keeper: Arc::new(Keeper::new(registry)),
    };
    let engine = guest::Engine::new().map_err(said)?;
    let compiled = guest::CompiledCache::open(&directory.join("compiled")).map_err(said)?;
    let catalog = guest::Catalog::new(engine, compiled, guest::Grants::default(), surroundings);
    catalog.provider(wasm).await.map_err(said)
}

async fn open(store: Store) -> Result<Registry, String> {
    let kept = parse_store(store)?;
    prepare(&kept)?;
    Registry::open(&kept.registry).await.map_err(told)
}

async fn known(registry: &Registry, name: &str) -> Result<Tenant, String> {
    registry.operator().tenant(name).await.map_err(told)?.ok_or_else(|| format!("there is no tenant {name}"))
}

fn told(error: causeway_registry::Error) -> String {
    error.to_string()
}
