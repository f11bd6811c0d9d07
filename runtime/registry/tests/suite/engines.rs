//! A fresh registry for each test: a SQLite file of its own, or a database of its own in one private Postgres cluster.
//!
//! The cluster is started once per test binary, by a shell that waits for the end of its input: when this process ends, in
//! whatever way, the shell stops Postgres and removes its directory.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, atomic::AtomicU32, atomic::Ordering};

use causeway_registry::{Backend, BackendId, BackendName, Config, Database, NewBackend, Registry, Tenant};
use causeway_storage::{Secret, Settings, Value};
use tempfile::TempDir;

/// The same tests on both engines.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($home:ident) $body:block)*) => {
        mod sqlite {
            #[allow(unused_imports)]
            use super::*;
            $($(#[$meta])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { let $home = crate::engines::Home::sqlite(); $body })*
        }
        mod postgres {
            #[allow(unused_imports)]
            use super::*;
            $($(#[$meta])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { let $home = crate::engines::Home::postgres(); $body })*
        }
    };
}
pub(crate) use on_both;

/// Where a test's registry lives.
pub(crate) struct Home {
    pub(crate) directory: TempDir,
    pub(crate) database: Database,
}

impl Home {
    pub(crate) fn sqlite() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(directory.path().join("registry.db"));
        Home { directory, database }
    }

    pub(crate) fn postgres() -> Home {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::running();
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = cluster.make_database(&name);
        Home { directory: tempfile::tempdir().unwrap(), database: Database::Postgres(url) }
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    pub(crate) fn config(&self) -> Config {
        Config { database: self.database.clone(), key_file: self.key_file() }
    }

    pub(crate) async fn open(&self) -> Registry {
        Registry::open(&self.config()).await.unwrap()
    }

    /// With two tenants.
    pub(crate) async fn two_tenants(&self) -> (Registry, Tenant, Tenant) {
        let registry = self.open().await;
        let a = registry.operator().create_tenant("a").await.unwrap();
        let b = registry.operator().create_tenant("b").await.unwrap();
        (registry, a, b)
    }

    /// Everything that the database has written, as one heap of bytes.
    pub(crate) fn raw_bytes(&self) -> Vec<u8> {
        match &self.database {
            Database::Sqlite(_) => std::fs::read_dir(self.directory.path())
                .unwrap()
                .map(|file| file.unwrap().path())
                .filter(|file| *file != self.key_file())
                .flat_map(|file| std::fs::read(file).unwrap())
                .collect(),
            Database::Postgres(url) => Cluster::running().dump(url),
        }
    }
}

/// A backend with a secret.
pub(crate) fn new_backend(name: Option<&str>) -> NewBackend {
    let mut settings = Settings::default();
    settings.set("endpoint", Value::Text("https://s3.example.com".into()));
    settings.set("chunk_size", Value::Bytes(5 << 20));
    settings.set("secret_access_key", Value::Secret(Secret::new("hunter2-very-secret")));
    NewBackend {
        id: BackendId::random().unwrap(),
        provider: "s3".into(),
        name: name.map(|name| BackendName::parse(name).unwrap()),
        settings,
        account: None,
        connected: true,
    }
}

pub(crate) async fn make_backend(registry: &Registry, tenant: &Tenant) -> Backend {
    registry.create_backend(tenant, &new_backend(None)).await.unwrap()
}

struct Cluster {
    directory: PathBuf,
    binaries: PathBuf,
    /// When its input is closed, at the end of this process, the shell cleans up.
    _shell: Child,
}

const SCRIPT: &str = r#"
set -eu
umask 077
if [ "$(id -u)" = 0 ]; then
    chown nobody "$DIR"
    as() { setpriv --reuid=nobody --clear-groups --inh-caps=-all --no-new-privs env -i LC_ALL=C.UTF-8 "$@"; }
else
    as() { env -i LC_ALL=C.UTF-8 "$@"; }
fi
finish() {
    trap - EXIT
    # The first line of this file is the server's own process id.
    kill -INT "$(head -n 1 "$DIR/data/postmaster.pid")" 2>/dev/null || true
    wait
    rm -rf "$DIR"
}
trap finish EXIT
trap '' INT TERM HUP
as "$PGBIN/initdb" -D "$DIR/data" -U postgres --no-sync --auth-local=trust --auth-host=reject --encoding=UTF8 --no-instructions >/dev/null
as "$PGBIN/postgres" -D "$DIR/data" -c listen_addresses= -c unix_socket_directories="$DIR" -c fsync=off -c max_connections=300 \
    -c shared_buffers=32MB >"$DIR/log" 2>&1 </dev/null &
for i in $(seq 300); do
    if "$PGBIN/pg_isready" -q -h "$DIR"; then
        "$PGBIN/psql" -h "$DIR" -U postgres -qc "CREATE ROLE causeway LOGIN CREATEDB CREATEROLE" >/dev/null
        echo ready
        cat >/dev/null
        exit 0
    fi
    sleep 0.1
done
cat "$DIR/log" >&2
exit 1
"#;

impl Cluster {
    fn running() -> &'static Cluster {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            let binaries: PathBuf =
                std::env::var_os("PGBIN").unwrap_or_else(|| "/usr/lib/postgresql/15/bin".into()).into();
            assert!(binaries.join("initdb").exists(), "PostgreSQL is needed: name its binaries' folder in PGBIN");
            // Removed by the script.
            let directory = tempfile::Builder::new().prefix("cwpg").tempdir().unwrap().keep();
            let mut shell = Command::new("sh")
                .arg("-c")
                .arg(SCRIPT)
                .env("DIR", &directory)
                .env("PGBIN", &binaries)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .process_group(0)
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n", "Postgres did not start");
            Cluster { directory, binaries, _shell: shell }
        })
    }

    /// Makes a database that an ordinary role owns, as an operator's would be.
    fn make_database(&self, name: &str) -> String {
        let made = Command::new(self.binaries.join("createdb"))
            .arg("-h")
            .arg(&self.directory)
            .args(["-U", "causeway", name])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://causeway@localhost/{name}?host={}", self.directory.display())
    }

    fn dump(&self, url: &str) -> Vec<u8> {
        let name = url.split(['/', '?']).nth(3).unwrap();
        let dump = Command::new(self.binaries.join("pg_dump"))
            .arg("-h")
            .arg(&self.directory)
            .args(["-U", "postgres", "--inserts", name])
            .output()
            .unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        dump.stdout
    }

    /// Runs a statement as the cluster's owner.
    fn psql(&self, database: &str, statement: &str) -> String {
        let done = Command::new(self.binaries.join("psql"))
            .arg("-h")
            .arg(&self.directory)
            .args(["-U", "postgres", "-d", database, "-Atqc", statement])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

/// Runs a statement as the owner of the cluster, past every policy.
pub(crate) fn psql(home: &Home, statement: &str) -> String {
    let Database::Postgres(url) = &home.database else { panic!("this is not Postgres") };
    Cluster::running().psql(url.split(['/', '?']).nth(3).unwrap(), statement)
}
