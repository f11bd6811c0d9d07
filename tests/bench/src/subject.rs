//! What is measured: the program, its peers, and the limits that neither can pass; and how each is brought to its mount.
//!
//! Every round begins with a new daemon on an empty cache, so that no round knows what another read. Ours starts on a copy of
//! a data directory in which the backends are connected and the component is compiled, as after an installation.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::daemon::{Daemon, is_mounted, unmount_below};
use crate::http1::Connection;

/// The bucket that everything is in.
pub const BUCKET: &str = "bench";
/// What distance adds to a round trip.
pub const FAR: Duration = Duration::from_millis(20);
/// How many backends a list of them holds.
pub const LISTED: usize = 100;
const TOKEN: &str = "a-token-for-nothing-but-measuring-0123456789";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The program.
    Ours,
    /// The same, with a mount whose files the kernel never reads by itself: it closes only what is uploaded.
    Unlent,
    /// rclone's usual mount.
    Mount,
    /// rclone's other mount, which is faster.
    Mount2,
    /// The same with flags that suit what is measured.
    Tuned,
    /// rclone where it mounts nothing, or many things.
    Rclone,
    /// The disk's own file system.
    Disk,
    /// The same, and every file is synced before its close.
    DiskSynced,
    /// A FUSE file system that does nothing, through the page cache.
    RawPlain,
    /// Without the page cache.
    RawDirect,
    /// With the kernel reading and writing the file below.
    RawPassthrough,
    /// A program that does nothing but download into a file.
    RawHttp,
    /// The read engine with a plan that no component made.
    Hardcoded,
    /// An instance of a component that is asked nothing.
    Instance,
    /// The crate that a digest comes from.
    PlainCrate,
}

use Subject::{
    Disk, DiskSynced, Hardcoded, Instance, Mount, Mount2, Ours, PlainCrate, RawDirect, RawHttp, RawPassthrough,
    RawPlain, Rclone, Tuned, Unlent,
};

/// All of them, as tables show them.
const NAMES: [(Subject, &str); 15] = [
    (Ours, "causeway"),
    (Unlent, "causeway, no passthrough"),
    (Mount, "rclone mount"),
    (Mount2, "rclone mount2"),
    (Tuned, "rclone mount2, tuned"),
    (Rclone, "rclone"),
    (Disk, "ext4"),
    (DiskSynced, "ext4, synced"),
    (RawPlain, "raw FUSE"),
    (RawDirect, "raw FUSE, direct"),
    (RawPassthrough, "raw FUSE, passthrough"),
    (RawHttp, "raw HTTP"),
    (Hardcoded, "hard-coded plan"),
    (Instance, "instance alone"),
    (PlainCrate, "its crate"),
];

impl Subject {
    /// As tables show it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(subject, _)| *subject == self).map_or("", |(_, name)| name)
    }

    /// By what tables show.
    pub fn named(name: &str) -> Option<Subject> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(subject, _)| *subject)
    }

    /// Whether it is one of rclone's.
    pub fn is_peer(self) -> bool {
        matches!(self, Mount | Mount2 | Tuned | Rclone)
    }

    /// Whether it is a mount of a storage, with a cache of its own.
    pub fn is_cached(self) -> bool {
        matches!(self, Ours | Unlent | Mount | Mount2 | Tuned)
    }
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The bucket at the origin.
    Near,
    /// The same, behind the delay.
    Far,
    /// A local folder: the tree of small files.
    Folder,
}

/// A mount that stands.
#[derive(Debug)]
pub struct Mounted {
    /// What is below here was asked for.
    pub path: PathBuf,
    /// How long it took from the start of its program.
    pub after: Duration,
    /// The program behind it; the disk has none.
    pub daemon: Option<Daemon>,
    directory: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.daemon = None;
        unmount_below(&self.directory);
        // What cannot be removed stays in the directory of the run, which is removed at its end.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Everything that measurements share.
#[derive(Debug)]
pub struct Stage {
    /// The run's directory, on the disk that all caches are on.
    pub work: PathBuf,
    /// `address:port` of the origin.
    pub origin: String,
    /// Where the programs are.
    pub causeway: PathBuf,
    /// The peer.
    pub rclone: PathBuf,
    /// Where the components are.
    pub components: String,
    backends: [String; 3],
    /// The origin and the delay before it.
    _servers: [Daemon; 2],
    far: String,
}

impl Stage {
    /// Starts the servers, and prepares what every start of ours begins with.
    pub fn set(work: &Path, causeway: &Path, rclone: &Path, components: &Path) -> Result<Stage> {
        for directory in ["objects", "mounts", "local/default"] {
            fs::create_dir_all(work.join(directory))?;
        }
        fs::create_dir_all(work.join("objects").join(BUCKET))?;
        let program = std::env::current_exe()?;
        let objects = text(&work.join("objects")).to_owned();
        let mut origin = Daemon::start(&program, &["origin", &objects], &[], &work.join("origin.log"))?;
        let address = origin.says("listening at ")?;
        let mut delay = Daemon::start(&program, &["delay", &address], &[], &work.join("delay.log"))?;
        let far = delay.says("listening at ")?;
        let mut stage = Stage {
            work: work.to_owned(),
            origin: address,
            causeway: causeway.to_owned(),
            rclone: rclone.to_owned(),
            components: text(components).to_owned(),
            backends: Default::default(),
            _servers: [origin, delay],
            far,
        };
        stage.configure_rclone()?;
        stage.connect()?;
        Ok(stage)
    }

    /// The bucket's directory at the origin.
    pub fn objects(&self) -> PathBuf {
        self.work.join("objects").join(BUCKET)
    }

    /// `address:port` of the origin, or of the delay before it.
    pub fn address(&self, far: bool) -> &str {
        if far { &self.far } else { &self.origin }
    }

    /// How many bytes of an object the origin has sent so far.
    pub fn served(&self, key: &str) -> Result<u64> {
        Ok(Connection::open(&self.origin)?.text(&format!("GET /-/{BUCKET}/{key}"), "", "")?.parse()?)
    }

    /// The local folder.
    pub fn folder(&self) -> PathBuf {
        self.work.join("local/default/tree")
    }

    /// Brings a subject to its mount. `name` is that of its directory.
    pub fn mount(&self, subject: Subject, source: Source) -> Result<Mounted> {
        let below = match source {
            Source::Near | Source::Far => self.objects(),
            Source::Folder => self.folder(),
        };
        let directory = self.work.join("round");
        let point = directory.join("mount");
        fs::create_dir_all(&point)?;
        let log = directory.join("log");
        let begun = Instant::now();
        let mut mounted = Mounted { path: point.clone(), after: Duration::ZERO, daemon: None, directory };
        let raw = |mode: &str| {
            let arguments = ["raw", text(&below), text(&point), mode];
            Daemon::start(&std::env::current_exe()?, &arguments, &[], &log)
        };
        let mut daemon = match subject {
            RawPlain => raw("plain")?,
            RawDirect => raw("direct")?,
            RawPassthrough => raw("passthrough")?,
            Mount | Mount2 | Tuned => self.start_rclone(subject, source, &mounted.directory, &point, &log)?,
            Ours | Unlent => {
                copy(&self.work.join("template"), &mounted.directory.join("data"))?;
                let (daemon, address) = self.start_ours(&mounted.directory, &log)?;
                mounted.daemon = Some(daemon);
                let made = self.make_mount(&address, source, "bench", subject == Unlent)?;
                mounted.path = PathBuf::from(made["mount_path"].as_str().ok_or("a mount without a path")?);
                if source != Source::Folder {
                    mounted.path.push(BUCKET);
                }
                mounted.after = begun.elapsed();
                return Ok(mounted);
            }
            _ => {
                mounted.path = below;
                return Ok(mounted);
            }
        };
        let stands = daemon.mounts(&point);
        mounted.after = begun.elapsed();
        mounted.daemon = Some(daemon);
        stands.map(|()| mounted)
    }

    /// Starts the program on the data in a directory and gives its address.
    pub fn start_ours(&self, directory: &Path, log: &Path) -> Result<(Daemon, String)> {
        let (data, mounts, local) = (directory.join("data"), directory.join("mounts"), self.work.join("local"));
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        arguments.extend(["--components", &self.components, "--allow-private-networks=127.0.0.0/8"]);
        arguments.extend(["--data-dir", text(&data), "--mount-root", text(&mounts), "--local-root", text(&local)]);
        let environment = [("CAUSEWAY_BOOTSTRAP_TOKEN", TOKEN)];
        let mut daemon = Daemon::start(&self.causeway, &arguments, &environment, log)?;
        let address = daemon.says(" ready address=http://")?;
        Ok((daemon, address))
    }

    /// Mounts a backend through REST; `unlent`, so that no file is left to the kernel.
    pub fn make_mount(&self, address: &str, source: Source, label: &str, unlent: bool) -> Result<Value> {
        let backend = &self.backends[source as usize];
        let close = if unlent { "uploaded" } else { "journalled" };
        let config = json!({"cache_mode": "full", "cache_max_size": "off", "close": close});
        let wish = json!({"backend_id": backend, "label": label, "mount_path": label, "vfs_config": config});
        let made = call(address, "POST /api/v1/mounts", &wish)?["data"].clone();
        let path = made["mount_path"].as_str().unwrap_or_default();
        if made["status"] == "active" && is_mounted(Path::new(path)) { Ok(made) } else { Err(made.to_string().into()) }
    }

    /// Connects so many backends that a list of them has [`LISTED`], and gives the id of one.
    pub fn connect_more(&self, address: &str) -> Result<String> {
        for number in self.backends.len()..LISTED {
            connect(address, "s3", &s3(&self.origin, &format!("more-{number}")))?;
        }
        Ok(self.backends[Source::Near as usize].clone())
    }

    /// Starts rclone's own API and gives its address.
    pub fn start_rcd(&self, directory: &Path, log: &Path) -> Result<(Daemon, String)> {
        let (config, cache) = (self.work.join("rclone.conf"), directory.join("cache"));
        let mut arguments = vec!["rcd", "--rc-no-auth", "--rc-addr", "127.0.0.1:0"];
        arguments.extend(["--config", text(&config), "--cache-dir", text(&cache)]);
        let mut daemon = Daemon::start(&self.rclone, &arguments, &[], log)?;
        let address = daemon.says("http://")?;
        Ok((daemon, address.trim_end_matches('/').to_owned()))
    }

    fn start_rclone(
        &self,
        subject: Subject,
        source: Source,
        directory: &Path,
        point: &Path,
        log: &Path,
    ) -> Result<Daemon> {
        let folder = self.folder();
        let near = format!("near:{BUCKET}");
        let far = format!("far:{BUCKET}");
        let what = match source {
            Source::Near => &near,
            Source::Far => &far,
            Source::Folder => text(&folder),
        };
        let (config, cache) = (self.work.join("rclone.conf"), directory.join("cache"));
        let command = if subject == Mount { "mount" } else { "mount2" };
        let mut arguments = vec![command, what, text(point), "--config", text(&config), "--cache-dir", text(&cache)];
        arguments.extend(["--vfs-cache-mode", "full"]);
        if subject == Tuned {
            // Kernel and tree keep what they know, ranges in parallel, times out of listings, uploads at once.
            arguments.extend(["--attr-timeout", "60s", "--dir-cache-time", "1h", "--use-server-modtime"]);
            arguments.extend(["--vfs-read-chunk-streams", "8", "--vfs-read-chunk-size", "8M"]);
            arguments.extend(["--vfs-write-back", "0s", "--transfers", "16"]);
        }
        Daemon::start(&self.rclone, &arguments, &[], log)
    }

    fn configure_rclone(&self) -> Result<()> {
        let mut config = String::new();
        let mut add = |name: &str, address: &str| {
            config += &format!(
                "[{name}]\ntype = s3\nprovider = Other\nendpoint = http://{address}\nregion = us-east-1\n\
                 access_key_id = AKBENCH\nsecret_access_key = a-secret-for-nothing\nno_check_bucket = true\n"
            );
        };
        add("near", &self.origin);
        add("far", &self.far);
        // As many as our backends when lists of them are asked for.
        (2..LISTED).for_each(|number| add(&format!("more-{number}"), &self.origin));
        Ok(fs::write(self.work.join("rclone.conf"), config)?)
    }

    fn connect(&mut self) -> Result<()> {
        let directory = self.work.join("first");
        fs::create_dir_all(&directory)?;
        fs::create_dir_all(self.folder())?;
        let (daemon, address) = self.start_ours(&directory, &self.work.join("first.log"))?;
        self.backends = [
            connect(&address, "s3", &s3(&self.origin, "near"))?,
            connect(&address, "s3", &s3(&self.far, "far"))?,
            connect(&address, "local", &json!({"path": "tree", "name": "local"}))?,
        ];
        drop(daemon);
        fs::rename(directory.join("data"), self.work.join("template"))?;
        Ok(fs::remove_dir_all(directory)?)
    }
}

/// The settings of a backend at the origin.
fn s3(address: &str, name: &str) -> Value {
    json!({
        "provider": "Other", "endpoint": format!("http://{address}"), "region": "us-east-1", "access_key_id": "AKBENCH",
        "secret_access_key": "a-secret-for-nothing", "name": name,
    })
}

/// A request to the program's REST API.
pub fn call(address: &str, first: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Ok(serde_json::from_str(&Connection::open(address)?.text(first, &headers(), &body)?)?)
}

/// What every such request carries.
pub fn headers() -> String {
    format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n")
}

fn connect(address: &str, provider: &str, settings: &Value) -> Result<String> {
    let made = call(address, &format!("POST /api/v1/backends/{provider}"), settings)?;
    Ok(made["data"]["id"].as_str().ok_or("a backend without an id")?.to_owned())
}

/// A directory with all that is in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// As an argument: every path here was made here, of plain letters.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
