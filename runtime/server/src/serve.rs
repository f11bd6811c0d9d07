//! `causeway serve`: from the settings up to the listeners, and down again.

use std::fs::DirBuilder;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use causeway_api::{Api, Metrics};
use causeway_cache::Cache;
use causeway_guest as guest;
use causeway_http::{Gate, Policy};
use causeway_native::{LocalProvider, MemoryProvider};
use causeway_registry::{Registry, Token};
use causeway_storage::Provider;
use causeway_wrap::AliasProvider;
use indicatif::ProgressBar;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::backends::{LOST_AND_FOUND, Pool};
use crate::config::{Config, Given, Kept, parse};
use crate::keeper::Keeper;
use crate::mounts::Standing;
use crate::point;

/// At most 8 MiB of cached content are read in so much time to look for damage: 4 MB/s of a disk that nobody uses.
const SCRUB_PAUSE: Duration = Duration::from_secs(2);

/// Serves until a signal.
pub(crate) async fn run(given: Given) -> Result<(), String> {
    let config = parse(given, std::env::var("CAUSEWAY_BOOTSTRAP_TOKEN").ok())?;
    begin_logging(config.json_logs);
    prepare(&config.kept)?;
    // Before anything else listens: a port in use must not cost a migration.
    let listener = bind("listen", config.listen).await?;
    let admin = bind("admin-listen", config.admin_listen).await?;
    let registry = Registry::open(&config.kept.registry).await.map_err(|error| error.to_string())?;
    if let Some(token) = &config.bootstrap_token {
        admit_bootstrap_token(&registry, token).await?;
    }
    let keeper = Arc::new(Keeper::new(registry.clone()));
    let gate = open_gate(&config, &listener, &admin)?;
    let providers = providers(&config, gate, keeper.clone()).await?;
    let catalog = Arc::new(causeway_api::Catalog::new(providers)?);
    let cache = config.kept.data_dir.join("cache");
    let opening = tokio::task::spawn_blocking(move || Cache::open(&cache, config.cache));
    let cache = opening.await.map_err(|error| error.to_string())?.map_err(|error| error.message)?;
    tokio::spawn(scrub(Arc::downgrade(&cache)));
    let aside = config.kept.data_dir.join(LOST_AND_FOUND);
    let pool = Pool::new(registry.clone(), catalog.clone(), cache, keeper, aside);
    let root = point::root(config.mount_root.as_deref(), &config.kept.data_dir);
    let (root, _root_is_ours) = root.map_err(|error| format!("mount-root: {error}"))?;
    point::detach_leftovers(&root).map_err(|error| format!("the table of mounts cannot be read: {error}"))?;
    let standing = Standing::new(registry.clone(), pool.clone(), root);
    restore(&registry, &pool, &standing).await?;
    let node =
        std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| format!("the host's name: {error}"))?;
    let node: Arc<str> = node.trim().into();
    let mounts = Arc::new(standing.clone());
    let public_url = config.public_url.as_deref().map(Into::into);
    let api = Api { registry: registry.clone(), catalog, backends: pool.clone(), mounts, node, public_url };
    serve_api(api, listener, admin).await?;
    standing.stop().await;
    pool.stop().await;
    registry.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Looks for damaged content while nobody uses the cache.
async fn scrub(cache: Weak<Cache>) {
    let mut pause = tokio::time::interval(SCRUB_PAUSE);
    loop {
        pause.tick().await;
        let Some(cache) = cache.upgrade() else { return };
        if cache.is_idle()
            && let Ok(Err(error)) = tokio::task::spawn_blocking(move || cache.scrub_step()).await
        {
            tracing::warn!(?error, "cached content could not be looked over");
        }
    }
}

/// Makes the data directory, private.
pub(crate) fn prepare(kept: &Kept) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&kept.data_dir);
    made.map_err(|error| format!("data-dir: {}: {error}", kept.data_dir.display()))
}

fn begin_logging(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match json {
        true => lines.json().init(),
        false => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

async fn bind(name: &str, address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{name}: {address}: {error}"))
}

/// Makes a token valid for the tenant `default`.
async fn admit_bootstrap_token(registry: &Registry, token: &Token) -> Result<(), String> {
    let told = |error: causeway_registry::Error| format!("CAUSEWAY_BOOTSTRAP_TOKEN: {error}");
    let operator = registry.operator();
    let tenant = match operator.tenant("default").await.map_err(told)? {
        Some(tenant) => tenant,
        None => operator.create_tenant("default").await.map_err(told)?,
    };
    operator.admit_token(&tenant, token, "bootstrap").await.map_err(told)
}

fn open_gate(config: &Config, listener: &TcpListener, admin: &TcpListener) -> Result<Arc<Gate>, String> {
    if !config.out.allow_private.is_empty() {
        tracing::warn!(networks = ?config.out.allow_private, "providers may be on private networks");
    }
    let own = [listener, admin].map(|listener| listener.local_addr().map_err(|error| error.to_string()));
    let closed = own.into_iter().collect::<Result<Vec<_>, _>>()?;
    let policy = Policy { closed, ..config.out.clone() };
    Gate::new(policy).map_err(|error| error.message)
}

/// All providers: natives, wrappers, and the components of the directory. One that cannot be used is told and left out.
async fn providers(config: &Config, gate: Arc<Gate>, keeper: Arc<Keeper>) -> Result<Vec<Arc<dyn Provider>>, String> {
    let mut providers: Vec<Arc<dyn Provider>> = vec![
        Arc::new(MemoryProvider::new()),
        Arc::new(LocalProvider::new(config.local_root.clone())),
        Arc::new(AliasProvider::new()),
    ];
    let Some(directory) = &config.components else { return Ok(providers) };
    let said = |error: causeway_storage::Error| error.message;
    let engine = guest::Engine::new().map_err(said)?;
    let compiled = guest::CompiledCache::open(&config.kept.data_dir.join("compiled")).map_err(said)?;
    let surroundings = guest::Surroundings { gate, keeper };
    let catalog = guest::Catalog::new(engine, compiled, config.grants.clone(), surroundings)
        .with_oauth_clients(config.oauth_clients.clone());
    let terminal = std::io::stderr().is_terminal();
    let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.enable_steady_tick(Duration::from_millis(100));
    let loaded = catalog.load(directory, |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match terminal {
            true => bar.set_message(format!("preparing {name} (compiled once, then kept)")),
            false => tracing::info!(component = name, "preparing"),
        }
    });
    let (guests, refused) = loaded.await.map_err(said)?;
    bar.finish_and_clear();
    for refused in refused {
        tracing::error!(component = %refused.path.display(), error = ?refused.error, "a component cannot be used");
    }
    let named = |name: &String| guests.iter().any(|provider| provider.descriptor().name == *name);
    for name in config.grants.keys().filter(|name| !named(name)) {
        tracing::warn!(provider = name, "a grant names a provider that there is no usable component of");
    }
    for name in config.oauth_clients.keys().filter(|name| !named(name)) {
        tracing::warn!(provider = name, "an OAuth client is for a provider that there is no usable component of");
    }
    for provider in guests {
        let (name, inspection) = (&provider.descriptor().name, provider.inspection());
        tracing::info!(
            provider = name,
            digest = inspection.digest,
            imports = inspection.imports.join(","),
            "component"
        );
        providers.push(provider);
    }
    Ok(providers)
}

/// Goes on with what an earlier process left: pending uploads, and mounts. Waits for no provider.
async fn restore(registry: &Registry, pool: &Arc<Pool>, standing: &Standing) -> Result<(), String> {
    let tenants = registry.operator().tenants().await.map_err(|error| error.to_string())?;
    for row in tenants {
        standing.restore(&row.tenant).await.map_err(|error| error.to_string())?;
        let pool = pool.clone();
        tokio::spawn(async move {
            if let Err(error) = pool.resume(&row.tenant).await {
                tracing::error!(%error, tenant = %row.tenant, "pending uploads cannot be looked for");
            }
        });
    }
    Ok(())
}

async fn serve_api(api: Api, listener: TcpListener, admin: TcpListener) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
    let (stop, stopped) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        drop(stop);
    });
    let until = |mut stopped: tokio::sync::watch::Receiver<()>| async move {
        // The sender is dropped to stop: that is the only change.
        while stopped.changed().await.is_ok() {}
    };
    let address = listener.local_addr().map_err(told)?;
    let admin_address = admin.local_addr().map_err(told)?;
    let metrics = Metrics::install();
    let main = causeway_api::serve(listener, causeway_api::router(api.clone()), until(stopped.clone()));
    let admin = causeway_api::serve(admin, causeway_api::admin_router(api, metrics), until(stopped));
    tracing::info!(address = %format_args!("http://{address}"), admin = %format_args!("http://{admin_address}"), "ready");
    let (main, admin) = tokio::join!(main, admin);
    main.and(admin).map_err(told)
}
