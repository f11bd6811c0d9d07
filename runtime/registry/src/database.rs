//! The database behind the registry: opening it, bringing its schema up to date, and the transaction that every call runs in.
//!
//! It knows no table but the key's check. Statements are the same for both engines (`$1` is understood by both); what
//! differs is here: how a transaction begins, and who one is in it. On Postgres the pool that serves tenants takes a role
//! without tables on every connection, and each transaction names its tenant; migrations and the operator use a pool of
//! their own.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use causeway_storage::Timestamp;
use sqlx::any::{Any, AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::{AnyPool, Row, Transaction};

use crate::seal::{Key, Place};
use crate::{Error, Operator, Result, Tenant};

/// Connections that serve tenants: SQLite has one writer anyway, and Postgres is shared with others.
const CONNECTIONS: u32 = 8;
/// Connections for migrations and the operator, who is one person.
const OPERATOR_CONNECTIONS: u32 = 2;
/// How long a call waits for a connection or, on SQLite, for the writer before it: well within a request's deadline.
const WAIT: Duration = Duration::from_secs(5);

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// A file, made at the first start.
    Sqlite(PathBuf),
    /// The URL of a Postgres database.
    Postgres(String),
}

impl Database {
    /// Parses a URL: `sqlite:PATH`, `postgres://...`.
    pub fn parse(url: &str) -> Result<Database> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Database::Postgres(url.to_owned()));
        }
        match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() => Ok(Database::Sqlite(path.into())),
            _ => Err(Error::Invalid("a database URL begins with postgres:// or is sqlite: and a path".into())),
        }
    }
}

impl std::fmt::Debug for Database {
    /// A URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Database::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Database::Postgres(_) => f.write_str("postgres"),
        }
    }
}

/// What the registry needs to open.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database.
    pub database: Database,
    /// The file of the key; made if it is missing and nothing was sealed yet.
    pub key_file: PathBuf,
}

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    tenants: AnyPool,
    operator: AnyPool,
    engine: Engine,
    key: Key,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

impl Registry {
    /// Opens the database, brings its schema up to date, and makes sure of the key.
    pub async fn open(config: &Config) -> Result<Registry> {
        sqlx::any::install_default_drivers();
        let (engine, options) = match &config.database {
            Database::Sqlite(file) => (Engine::Sqlite, sqlite_options(file)?),
            Database::Postgres(url) => (Engine::Postgres, AnyConnectOptions::from_str(url)?),
        };
        let _alone = match &config.database {
            Database::Sqlite(file) => Some(start_alone(file).await?),
            // Postgres' migrations wait for each other by themselves.
            Database::Postgres(_) => None,
        };
        let operator = connect(engine, &options, OPERATOR_CONNECTIONS, false).await?;
        let migrator = match engine {
            Engine::Sqlite => &SQLITE,
            Engine::Postgres => &POSTGRES,
        };
        migrator.run(&operator).await.map_err(Error::Schema)?;
        let key = sure_key(&operator, &config.key_file).await?;
        let tenants = connect(engine, &options, CONNECTIONS, true).await?;
        Ok(Registry { inner: Arc::new(Inner { tenants, operator, engine, key }) })
    }

    /// What the operator may do, across tenants.
    pub fn operator(&self) -> Operator<'_> {
        Operator::new(self)
    }

    /// Whether the database answers.
    pub async fn answers(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.inner.tenants).await?;
        Ok(())
    }

    /// Waits for the calls under way and closes the database.
    pub async fn close(&self) {
        self.inner.tenants.close().await;
        self.inner.operator.close().await;
    }

    pub(crate) fn key(&self) -> &Key {
        &self.inner.key
    }

    pub(crate) fn operator_pool(&self) -> &AnyPool {
        &self.inner.operator
    }

    /// A transaction in which this tenant's rows are all there is.
    pub(crate) async fn begin(&self, tenant: &Tenant) -> Result<Transaction<'static, Any>> {
        let mut transaction = self.begin_nameless().await?;
        self.name(&mut transaction, "causeway.tenant", tenant.name()).await?;
        Ok(transaction)
    }

    /// A transaction in which nothing can be seen until something is named.
    pub(crate) async fn begin_nameless(&self) -> Result<Transaction<'static, Any>> {
        Ok(match self.inner.engine {
            // Takes the write lock at once: a transaction that begins reading and then writes could otherwise fail half way.
            Engine::Sqlite => self.inner.tenants.begin_with("BEGIN IMMEDIATE").await?,
            Engine::Postgres => self.inner.tenants.begin().await?,
        })
    }

    /// Names a tenant (or a token's hash) for the rest of the transaction.
    pub(crate) async fn name(
        &self,
        transaction: &mut Transaction<'static, Any>,
        what: &str,
        value: &str,
    ) -> Result<()> {
        if self.inner.engine == Engine::Postgres {
            sqlx::query("SELECT set_config($1, $2, true)").bind(what).bind(value).execute(&mut **transaction).await?;
        }
        Ok(())
    }
}

/// Now, as rows hold it: milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let now = Timestamp::now();
    now.seconds * 1000 + i64::from(now.nanoseconds / 1_000_000)
}

/// A row's time.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1000), nanoseconds: (ms.rem_euclid(1000) * 1_000_000) as u32 }
}

fn sqlite_options(file: &Path) -> Result<AnyConnectOptions> {
    use std::os::unix::fs::OpenOptionsExt;
    // Made here, so that nobody else can read it, whatever the umask says. One that exists is not touched: closing it
    // would drop the locks that SQLite holds on it in this process.
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::Invalid(format!("the database file {} cannot be made: {error}", file.display())));
        }
        _ => {}
    }
    let path = file.to_str().ok_or_else(|| Error::Invalid("the database's path must be text".into()))?;
    let mut url = String::from("sqlite://");
    for c in path.chars() {
        match c {
            '%' | '?' | '#' => url.push_str(&format!("%{:02X}", c as u32)),
            _ => url.push(c),
        }
    }
    Ok(AnyConnectOptions::from_str(&url)?)
}

/// Waits until no other process is starting on this database: two migrations at once would fail. The lock goes with the
/// answer.
async fn start_alone(file: &Path) -> Result<std::fs::File> {
    let lock = file.with_extension("lock");
    let locked = tokio::task::spawn_blocking(move || {
        let handle = std::fs::File::create(lock)?;
        handle.lock()?;
        std::io::Result::Ok(handle)
    });
    let locked = locked.await.map_err(std::io::Error::other).and_then(|locked| locked);
    locked.map_err(|error| Error::Invalid(format!("the database {} cannot be locked: {error}", file.display())))
}

async fn connect(engine: Engine, options: &AnyConnectOptions, most: u32, for_tenants: bool) -> Result<AnyPool> {
    let pool = AnyPoolOptions::new().max_connections(most).acquire_timeout(WAIT).after_connect(move |connection, _| {
        Box::pin(async move {
            let statements: &[&'static str] = match (engine, for_tenants) {
                // An acknowledged change must survive the loss of power: synchronous is FULL.
                (Engine::Sqlite, _) => &[
                    "PRAGMA busy_timeout = 5000",
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA foreign_keys = ON",
                    "PRAGMA secure_delete = ON",
                ],
                (Engine::Postgres, true) => &["SET ROLE causeway_tenant"],
                (Engine::Postgres, false) => &[],
            };
            for statement in statements {
                sqlx::query(*statement).execute(&mut *connection).await?;
            }
            Ok(())
        })
    });
    Ok(pool.connect_with(options.clone()).await?)
}

/// Loads the key and compares it with the check value; the first start writes that.
async fn sure_key(pool: &AnyPool, file: &Path) -> Result<Key> {
    const PLACE: Place<'_> = Place { table: "key_check", tenant: "", backend: "", field: "check" };
    let read = || async {
        let row = sqlx::query("SELECT sealed FROM key_check WHERE id = 1").fetch_optional(pool).await?;
        row.map(|row| row.try_get::<Vec<u8>, _>("sealed")).transpose()
    };
    let found = read().await?;
    let key = Key::load(file, found.is_none())?;
    let check = match found {
        Some(check) => check,
        None => {
            sqlx::query("INSERT INTO key_check (id, sealed) VALUES (1, $1) ON CONFLICT DO NOTHING")
                .bind(key.seal(PLACE, b"causeway")?)
                .execute(pool)
                .await?;
            // Another process may have been first.
            read().await?.ok_or_else(|| Error::Damaged("the key's check value".into()))?
        }
    };
    if key.open(PLACE, &check).is_some() {
        return Ok(key);
    }
    Err(Error::Key(format!(
        "the key in {} (id {}) is not the one that this registry was sealed with (id {}): put that key back or name its file",
        file.display(),
        key.id(),
        Key::id_in(&check).unwrap_or_else(|| "unknown".into()),
    )))
}
