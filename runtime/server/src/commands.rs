//! The operator's commands: tenants, tokens, providers.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use causeway_guest as guest;
use causeway_http::{Gate, Policy};
use causeway_registry::{Registry, Tenant};
use causeway_storage::{Descriptor, OptionMarks, OptionSpec};
use clap::Subcommand;

use crate::check::Check;
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
    /// Hold a component to every promise of the contract, against what it is configured for.
    Check(Box<Check>),
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
    let file = match action {
        ProviderAction::Inspect { file } => file,
        ProviderAction::Check(check) => return crate::check::run(*check).await,
    };
    let wasm = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let inspection = guest::inspect(&wasm).map_err(|error| error.message)?;
    // It says the rest itself, in an instance that has neither a backend nor a way out, whatever it would be granted.
    let directory = tempfile::Builder::new().prefix("causeway-inspect-").tempdir();
    let directory = directory.map_err(|error| format!("a directory for the compiled component: {error}"))?;
    let descriptor = describe(directory.path(), &wasm).await?;
    match std::io::stdout().write_all(account(&inspection, &descriptor).as_bytes()) {
        // Whoever reads it has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| error.to_string()),
    }
}

/// What `provider inspect` prints.
fn account(inspection: &guest::Inspection, descriptor: &Descriptor) -> String {
    let needs_grant = |import: &&String| guest::GRANTABLE.contains(&import.as_str());
    let marked = |import: &String| match needs_grant(&import) {
        true => format!("{import} (needs a grant)"),
        false => import.clone(),
    };
    let mut lines = vec![
        format!("digest:  sha256:{}", inspection.digest),
        format!("size:    {} bytes", inspection.size_bytes),
        format!("imports: {}", inspection.imports.iter().map(marked).collect::<Vec<_>>().join(", ")),
        format!("exports: {}", inspection.exports.join(", ")),
    ];
    if inspection.wasi {
        lines.push("wasi:    imported, and given nothing through it".into());
    }
    let grants = inspection.imports.iter().filter(needs_grant);
    let grants: Vec<_> = grants.map(|import| format!("--grant {}:{import}", descriptor.name)).collect();
    if !grants.is_empty() {
        lines.push(format!("usable:  only with {}", grants.join(" ")));
    }
    lines.push(format!("name:    {} ({}, version {})", descriptor.name, descriptor.title, descriptor.version));
    lines.push(format!("options: {}", descriptor.options.len()));
    lines.push(format!("  {:<32} {:<8} {:<20} default", "name", "type", "marks"));
    lines.extend(descriptor.options.iter().map(option_line));
    lines.join("\n") + "\n"
}

fn option_line(option: &OptionSpec) -> String {
    let marks = [
        ("required", option.marks.contains(OptionMarks::REQUIRED)),
        ("secret", option.is_secret()),
        ("credential", option.marks.contains(OptionMarks::CREDENTIAL)),
    ];
    let marks: Vec<_> = marks.into_iter().filter(|(_, holds)| *holds).map(|(mark, _)| mark).collect();
    let (kind, default) = (causeway_api::api_type(&option.kind), causeway_api::api_default(option));
    format!("  {:<32} {kind:<8} {:<20} {default}", option.name, marks.join(" "))
}

async fn describe(directory: &std::path::Path, wasm: &[u8]) -> Result<Descriptor, String> {
    let database = causeway_registry::Database::Sqlite(directory.join("registry.db"));
    let kept = Kept {
        data_dir: directory.to_owned(),
        registry: causeway_registry::Config { database, key_file: directory.join("key") },
    };
    let registry = Registry::open(&kept.registry).await.map_err(told)?;
    let said = |error: causeway_storage::Error| error.message;
    let surroundings = guest::Surroundings {
        gate: Gate::new(Policy::default()).map_err(said)?,
        keeper: Arc::new(Keeper::new(registry.clone())),
    };
    let engine = guest::Engine::new().map_err(said)?;
    let compiled = guest::CompiledCache::open(&directory.join("compiled")).map_err(said)?;
    let catalog = guest::Catalog::new(engine, compiled, guest::Grants::default(), surroundings);
    let described = catalog.describe(wasm).await.map_err(said);
    registry.close().await;
    described
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

#[cfg(test)]
mod tests {
    use causeway_storage::{Make, OptionKind};

    use super::*;

    #[test]
    fn what_a_component_must_be_granted_is_marked() {
        let imports = vec!["http".to_owned(), "reveal".to_owned()];
        let inspection = guest::Inspection {
            digest: "ab".into(),
            size_bytes: 7,
            imports: imports.clone(),
            exports: vec!["setup".into()],
            wasi: false,
        };
        let option = OptionSpec {
            name: "pass".into(),
            kind: OptionKind::Secret,
            default: Some(String::new()),
            marks: OptionMarks::REQUIRED | OptionMarks::CREDENTIAL,
            help: String::new(),
        };
        let descriptor = Descriptor {
            name: "mega".into(),
            backend_type: None,
            aliases: Vec::new(),
            title: "Mega".into(),
            make: Make::Guest,
            version: "1.0.0".into(),
            options: vec![option],
            imports,
        };
        let shown = account(&inspection, &descriptor);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "digest:  sha256:ab",
                "size:    7 bytes",
                "imports: http, reveal (needs a grant)",
                "exports: setup",
                "usable:  only with --grant mega:reveal",
                "name:    mega (Mega, version 1.0.0)",
                "options: 1",
                "  name                             type     marks                default",
                "  pass                             string   required secret credential \"\"",
            ]
        );
    }
}
