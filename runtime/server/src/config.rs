//! Settings of the program: flags before `CAUSEWAY_*` variables before the TOML file before defaults.
//!
//! Every source gives text; it is parsed in one place, so that a value means the same wherever it comes from, and
//! everything wrong is told at once, before anything starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use causeway_cache::Quotas;
use causeway_guest::{GRANTABLE, Grants, OauthClient, OauthClients};
use causeway_http::Policy;
use causeway_registry::{Config as RegistryConfig, Database, Token};
use causeway_storage::{Secret, parse_bytes};
use clap::Args;

use crate::out::Out;
use crate::places::Places;

/// What was given on the command line and in the environment.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Given {
    /// A TOML file with these settings, written as the flags are.
    #[arg(long, env = "CAUSEWAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:8080].
    #[arg(long, env = "CAUSEWAY_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where the operator's listener with the metrics listens [default: 127.0.0.1:8081].
    #[arg(long, env = "CAUSEWAY_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<String>,
    #[command(flatten)]
    store: Store,
    /// Below which directory mounts stand [default: /hoody/mounts if it can be made, else mounts in the data directory].
    #[arg(long, env = "CAUSEWAY_MOUNT_ROOT", value_name = "DIR")]
    mount_root: Option<String>,
    /// The directory of the providers' components, *.wasm.
    #[arg(long, env = "CAUSEWAY_COMPONENTS", value_name = "DIR")]
    components: Option<String>,
    /// Let the provider of this name use an interface that every operator must grant: reveal, foreign-hosts or
    /// assigned-hosts. May be given several times, or be a list with commas.
    #[arg(long, env = "CAUSEWAY_GRANT", value_name = "PROVIDER:INTERFACE", value_delimiter = ',')]
    grant: Vec<String>,
    /// Below which directory tenants may connect local folders; without it they may not.
    #[arg(long, env = "CAUSEWAY_LOCAL_ROOT", value_name = "DIR")]
    local_root: Option<String>,
    /// How many bytes of content the cache keeps for all tenants together, such as 200G, or off [default: off]. 256 MiB of
    /// the disk are always left free.
    #[arg(long, env = "CAUSEWAY_CACHE_MAX_SIZE", value_name = "SIZE")]
    cache_max_size: Option<String>,
    /// How many for each tenant, or off [default: off].
    #[arg(long, env = "CAUSEWAY_TENANT_CACHE_MAX_SIZE", value_name = "SIZE")]
    tenant_cache_max_size: Option<String>,
    #[command(flatten)]
    out: Out,
    /// Where browsers reach the API, such as https://files.example.com: people who consent to a provider come back there.
    #[arg(long, env = "CAUSEWAY_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// How log lines look: text or json [default: text].
    #[arg(long, env = "CAUSEWAY_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Where things are kept; what every command needs.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Store {
    /// Where everything is kept [default: /var/lib/causeway for root, else ~/.local/share/causeway].
    #[arg(long, env = "CAUSEWAY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<String>,
    /// The registry's database: postgres://... or sqlite:PATH [default: registry.db in the data directory].
    #[arg(long, env = "CAUSEWAY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The file of the key that secrets are sealed with [default: key in the data directory].
    #[arg(long, env = "CAUSEWAY_KEY_FILE", value_name = "FILE")]
    key_file: Option<String>,
}

/// Where things are kept, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) data_dir: PathBuf,
    pub(crate) registry: RegistryConfig,
}

/// All settings, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) kept: Kept,
    pub(crate) mount_root: Option<PathBuf>,
    pub(crate) components: Option<PathBuf>,
    pub(crate) grants: Grants,
    pub(crate) local_root: Option<PathBuf>,
    pub(crate) cache: Quotas,
    /// Where the way out leads; the listeners are not closed in it yet.
    pub(crate) out: Policy,
    pub(crate) json_logs: bool,
    /// Without a slash at its end.
    pub(crate) public_url: Option<String>,
    pub(crate) oauth_clients: OauthClients,
    /// What `CAUSEWAY_BOOTSTRAP_TOKEN` holds: no flag, which everyone on the machine could read.
    pub(crate) bootstrap_token: Option<Token>,
}

const NAMES: [&str; 16] = [
    "listen",
    "admin-listen",
    "data-dir",
    "database-url",
    "key-file",
    "mount-root",
    "components",
    "grant",
    "local-root",
    "cache-max-size",
    "tenant-cache-max-size",
    "allow-private-networks",
    "egress-map",
    "extra-ca",
    "log-format",
    "public-url",
];

/// The table of the file that holds OAuth clients by provider. A client's secret is in no flag, which everyone on the machine
/// could read.
const OAUTH: &str = "oauth";

/// Parses everything, the bootstrap token included; the error names all that is wrong.
pub(crate) fn parse(given: Given, bootstrap_token: Option<String>) -> Result<Config, String> {
    let mut problems = Vec::new();
    let File { settings: file, oauth_clients } =
        given.config.as_ref().map_or_else(File::default, |path| read_file(path, &mut problems));
    let or_file =
        |given: Option<String>, name: &str| given.or_else(|| file.get(name).cloned()).filter(|text| !text.is_empty());
    let listen = address(or_file(given.listen, "listen"), "listen", "127.0.0.1:8080", &mut problems);
    let admin_listen =
        address(or_file(given.admin_listen, "admin-listen"), "admin-listen", "127.0.0.1:8081", &mut problems);
    let store = Store {
        data_dir: or_file(given.store.data_dir, "data-dir"),
        database_url: or_file(given.store.database_url, "database-url"),
        key_file: or_file(given.store.key_file, "key-file"),
    };
    let kept = kept(store, &mut problems);
    let components = or_file(given.components, "components").map(PathBuf::from);
    let local_root = or_file(given.local_root, "local-root").map(PathBuf::from);
    for (name, directory) in [("components", &components), ("local-root", &local_root)] {
        if let Some(directory) = directory.as_ref().filter(|directory| !directory.is_dir()) {
            problems.push(format!("{name}: {} is not a directory", directory.display()));
        }
    }
    let mount_root = or_file(given.mount_root, "mount-root").map(PathBuf::from);
    if let Some(root) = mount_root.as_ref().filter(|root| !root.is_absolute()) {
        problems.push(format!("mount-root: {} is not an absolute path", root.display()));
    }
    if let Some(kept) = &kept {
        let components = components.as_deref();
        Places { kept, mount_root: mount_root.as_deref(), components, local_root: local_root.as_deref() }
            .check(&mut problems);
    }
    let grant = Some(given.grant.join(",")).filter(|list| !list.is_empty());
    let grants = grants(or_file(grant, "grant").as_deref().unwrap_or_default(), &mut problems);
    let mut size = |given, name| size(or_file(given, name).as_deref(), name, &mut problems);
    let cache = Quotas {
        machine_bytes: size(given.cache_max_size, "cache-max-size"),
        tenant_bytes: size(given.tenant_cache_max_size, "tenant-cache-max-size"),
        ..Quotas::default()
    };
    let out = Out {
        allow_private_networks: or_file(given.out.allow_private_networks, "allow-private-networks"),
        egress_map: or_file(given.out.egress_map, "egress-map"),
        extra_ca: or_file(given.out.extra_ca, "extra-ca"),
    };
    let out = out.policy(&mut problems);
    let json_logs = match or_file(given.log_format, "log-format").as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => {
            problems.push("log-format: must be text or json".into());
            false
        }
    };
    let public_url = or_file(given.public_url, "public-url").and_then(|text| public_url(&text, &mut problems));
    let bootstrap_token = bootstrap_token.and_then(|text| {
        let token = Token::chosen(&text).map_err(|error| problems.push(format!("CAUSEWAY_BOOTSTRAP_TOKEN: {error}")));
        token.ok()
    });
    match (listen, admin_listen, kept) {
        (Some(listen), Some(admin_listen), Some(kept)) if problems.is_empty() => Ok(Config {
            listen,
            admin_listen,
            kept,
            mount_root,
            components,
            grants,
            local_root,
            cache,
            out,
            json_logs,
            public_url,
            oauth_clients,
            bootstrap_token,
        }),
        _ => Err(told(&problems)),
    }
}

/// Parses what commands other than `serve` need.
pub(crate) fn parse_store(store: Store) -> Result<Kept, String> {
    let mut problems = Vec::new();
    kept(store, &mut problems).ok_or_else(|| told(&problems))
}

fn told(problems: &[String]) -> String {
    format!("these settings cannot be used:\n  {}", problems.join("\n  "))
}

fn kept(store: Store, problems: &mut Vec<String>) -> Option<Kept> {
    let data_dir = match store.data_dir.map(PathBuf::from).or_else(default_data_dir) {
        Some(directory) => directory,
        None => {
            problems.push("data-dir: there is no home directory; name one".into());
            return None;
        }
    };
    let database = match store.database_url {
        None => Ok(Database::Sqlite(data_dir.join("registry.db"))),
        Some(url) => Database::parse(&url),
    };
    let key_file = store.key_file.map_or_else(|| data_dir.join("key"), PathBuf::from);
    match database {
        Ok(database) => Some(Kept { data_dir, registry: RegistryConfig { database, key_file } }),
        Err(error) => {
            problems.push(format!("database-url: {error}"));
            None
        }
    }
}

fn default_data_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/causeway".into());
    }
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share/causeway"))
}

fn address(given: Option<String>, name: &str, default: &str, problems: &mut Vec<String>) -> Option<SocketAddr> {
    let text = given.as_deref().unwrap_or(default);
    let parsed = text.parse().ok();
    if parsed.is_none() {
        problems.push(format!("{name}: `{text}` is not an address with a port, such as {default}"));
    }
    parsed
}

/// A number of bytes, or no limit.
fn size(given: Option<&str>, name: &str, problems: &mut Vec<String>) -> u64 {
    let Some(text) = given.filter(|text| *text != "off") else { return u64::MAX };
    // With none nothing could be written.
    parse_bytes(text).filter(|bytes| *bytes > 0).unwrap_or_else(|| {
        problems.push(format!("{name}: `{text}` is neither a size such as 200G nor off"));
        u64::MAX
    })
}

/// What is granted to which provider: `mega:reveal,seafile:assigned-hosts`.
fn grants(list: &str, problems: &mut Vec<String>) -> Grants {
    let mut grants = Grants::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match text.split_once(':') {
            Some((provider, interface)) if !provider.is_empty() && GRANTABLE.contains(&interface) => {
                grants.entry(provider.to_owned()).or_default().insert(interface.to_owned());
            }
            _ => problems
                .push(format!("grant: `{text}` is not a provider's name, a colon and one of {}", GRANTABLE.join(", "))),
        }
    }
    grants
}

/// A URL without a slash at its end.
fn public_url(text: &str, problems: &mut Vec<String>) -> Option<String> {
    let url = text.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let sound = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]".contains(c);
    if rest.is_empty() || rest.starts_with('/') || !rest.chars().all(sound) {
        problems.push(format!("public-url: `{text}` is not a URL such as https://files.example.com"));
        return None;
    }
    Some(url.to_owned())
}

/// What a file says.
#[derive(Default)]
struct File {
    /// As text.
    settings: BTreeMap<String, String>,
    oauth_clients: OauthClients,
}

fn read_file(path: &std::path::Path, problems: &mut Vec<String>) -> File {
    let table = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let table = table.and_then(|text| text.parse::<toml::Table>().map_err(|error| error.message().to_owned()));
    let table = match table {
        Ok(table) => table,
        Err(error) => {
            problems.push(format!("config: {}: {error}", path.display()));
            return File::default();
        }
    };
    let mut file = File::default();
    for (name, value) in table {
        let text = match value {
            toml::Value::Table(table) if name == OAUTH => {
                file.oauth_clients = oauth_clients(table, problems);
                continue;
            }
            toml::Value::String(text) => Some(text),
            toml::Value::Boolean(truth) => Some(truth.to_string()),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
            }
            _ => None,
        };
        match text {
            _ if !NAMES.contains(&name.as_str()) => problems.push(format!("config: {name} is not a setting")),
            None => problems.push(format!("config: {name} has a value of the wrong kind")),
            Some(text) => {
                file.settings.insert(name, text);
            }
        }
    }
    file
}

/// `[oauth.drive]` with `client_id` and `client_secret`, which may be missing.
fn oauth_clients(table: toml::Table, problems: &mut Vec<String>) -> OauthClients {
    let mut clients = OauthClients::new();
    for (provider, value) in table {
        let mut told = |what: &str| problems.push(format!("config: [{OAUTH}.{provider}] {what}"));
        let toml::Value::Table(mut fields) = value else {
            told("must be a table with client_id and client_secret");
            continue;
        };
        let mut text = |name: &str| match fields.remove(name) {
            Some(toml::Value::String(text)) if !text.is_empty() => Some(text),
            None => None,
            Some(_) => {
                told(&format!("{name} must be a string with something in it"));
                None
            }
        };
        let (id, secret) = (text("client_id"), text("client_secret").map(Secret::new));
        if id.is_none() {
            told("has no client_id");
        }
        for name in fields.keys() {
            told(&format!("{name} is not a setting"));
        }
        if let Some(id) = id {
            clients.insert(provider, OauthClient { id, secret });
        }
    }
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: Given) -> Result<Config, String> {
        super::parse(given, None)
    }

    fn given(directory: &tempfile::TempDir, file: &str) -> Given {
        let path = directory.path().join("causeway.toml");
        std::fs::write(&path, file).unwrap();
        let data_dir = Some(directory.path().display().to_string());
        Given { config: Some(path), store: Store { data_dir, ..Store::default() }, ..Given::default() }
    }

    #[test]
    fn what_is_given_comes_before_the_file_and_that_before_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let file = "listen = \"127.0.0.1:1\"\nadmin-listen = \"127.0.0.1:2\"\nlog-format = \"json\"";
        let config = parse(Given { listen: Some("127.0.0.1:3".into()), ..given(&directory, file) }).unwrap();
        assert_eq!((config.listen.port(), config.admin_listen.port(), config.json_logs), (3, 2, true));
        assert_eq!(parse(given(&directory, "")).unwrap().listen.port(), 8080);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = "listen = \"here\"\nadmin-listen = 5.5\ncolour = \"red\"\nlog-format = \"xml\"\ncomponents = \"/nowhere\"\n\
            mount-root = \"mounts\"\nallow-private-networks = [\"10.0.0.0/8\", \"everywhere\"]\ndatabase-url = \"mysql://x\"";
        let error = parse(given(&directory, file)).unwrap_err();
        for name in [
            "listen: `here`",
            "admin-listen has",
            "colour is",
            "log-format",
            "components",
            "mount-root",
            "everywhere",
            "database-url",
        ] {
            assert!(error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn oauth_clients_are_read_and_their_secrets_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = "public-url = \"https://files.example.com/\"\n\
            [oauth.drive]\nclient_id = \"me\"\nclient_secret = \"hush-hush\"\n[oauth.box]\nclient_id = \"public\"";
        let config = parse(given(&directory, file)).unwrap();
        assert_eq!(config.public_url.as_deref(), Some("https://files.example.com"));
        assert_eq!(config.oauth_clients["drive"].secret, Some(Secret::new("hush-hush")));
        assert!(config.oauth_clients["box"].secret.is_none());
        assert!(!format!("{config:?}").contains("hush-hush"));
        let file = "public-url = \"files.example.com\"\n[oauth.drive]\nclient_secret = \"hush-hush\"\ncolour = 1\n[oauth]\nbox = 1";
        let file = file.replace("[oauth]\nbox = 1", "[oauth.box]\nclient_id = 7");
        let error = parse(given(&directory, &file)).unwrap_err();
        for told in [
            "public-url: `files",
            "[oauth.drive] has no client_id",
            "[oauth.drive] colour",
            "[oauth.box] client_id must",
        ] {
            assert!(error.contains(told), "{told}: {error}");
        }
        assert!(!error.contains("hush-hush"), "{error}");
    }

    #[test]
    fn the_cache_is_limited_only_where_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(parse(given(&directory, "")).unwrap().cache, Quotas::default());
        let config = parse(given(&directory, "cache-max-size = \"2G\"\ntenant-cache-max-size = \"off\"")).unwrap();
        assert_eq!((config.cache.machine_bytes, config.cache.tenant_bytes), (2 << 30, u64::MAX));
        let error = parse(given(&directory, "cache-max-size = \"much\"\ntenant-cache-max-size = \"-1\"")).unwrap_err();
        assert!(error.contains("cache-max-size: `much`") && error.contains("tenant-cache-max-size: `-1`"), "{error}");
    }

    #[test]
    fn private_networks_are_closed_unless_named_or_all_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let networks = |file: &str| parse(given(&directory, file)).unwrap().out.allow_private.len();
        assert_eq!(networks(""), 0);
        assert_eq!(networks("allow-private-networks = false"), 0);
        assert_eq!(networks("allow-private-networks = true"), crate::out::PRIVATE.len());
        assert_eq!(networks("allow-private-networks = \"10.0.0.0/8, 127.0.0.1/32\""), 2);
    }
}
