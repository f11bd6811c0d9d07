//! The mount: made through a descriptor where one is given, so that nobody can exchange the directory in between.
//!
//! The device is opened and mounted here, not by the FUSE crate, which would resolve the path anew. A mount ends when it
//! is unmounted, by us or from outside; either way its session threads end and [`Mounted::ended`] returns. Handles that
//! are open at that moment keep the session alive until they are closed: the detached mount still serves them.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_vfs::{Forgotten, Listener, Vfs};
use fuser::{BackingId, Config, INodeNo, Notifier, Session, SessionACL};
use rustix::mount::{MountFlags, UnmountFlags};
use tokio::sync::watch;

use crate::requests::Requests;
use crate::serving::Serving;

/// How a mount looks to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// The kernel refuses changes.
    pub read_only: bool,
    /// Whose the files are.
    pub uid: u32,
    /// The group of the files.
    pub gid: u32,
    /// Other users than that of this process may look, as far as the modes let them: files are 0600, directories 0700.
    pub allow_other: bool,
    /// What the mount table shows as its source.
    pub fs_name: String,
}

impl Default for MountOptions {
    /// Read and write, owned by the process.
    fn default() -> MountOptions {
        MountOptions {
            read_only: false,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            allow_other: false,
            fs_name: "causeway".into(),
        }
    }
}

/// A mount that stands.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
    device: u64,
    serving: Arc<Serving>,
    ended: watch::Receiver<bool>,
}

impl Mounted {
    /// Where it is.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Why the kernel does not read cached files by itself, if it does not.
    pub fn no_passthrough(&self) -> Option<&str> {
        self.serving.passthrough().refused()
    }

    /// Takes it off its mount point at once. Handles that are open go on until they are closed.
    pub fn unmount(&self) -> io::Result<()> {
        if !self.is_ours()? {
            return Ok(());
        }
        Ok(rustix::mount::unmount(&self.point, UnmountFlags::DETACH)?)
    }

    /// Whether it ended, by whomever.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until it ended.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // A sender that is gone has ended as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Whether what is mounted there is this mount, and not another that took its place.
    fn is_ours(&self) -> io::Result<bool> {
        if self.has_ended() {
            // A session that died leaves its mount behind: that is ours to take away. Its number may be another's by now, and
            // its attributes may be remembered, so this asks what only a session can answer.
            return Ok(matches!(rustix::fs::statfs(&self.point), Err(rustix::io::Errno::NOTCONN)));
        }
        match device_of(&self.point) {
            Ok(device) => Ok(device == self.device),
            // It dies at this moment.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Mounts a file system on a directory. `directory` is a descriptor of it, opened however the caller found safe. Must be
/// called within a tokio runtime, on which requests are answered.
pub fn mount(vfs: Arc<Vfs>, directory: OwnedFd, options: MountOptions) -> io::Result<Mounted> {
    let through = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let point = std::fs::read_link(&through)?;
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let root = rustix::fs::fstat(&directory)?.st_mode & 0o170_000;
    let mut data = format!(
        "fd={},rootmode={root:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    if options.read_only {
        flags |= MountFlags::RDONLY;
    }
    let data = std::ffi::CString::new(data)?;
    rustix::mount::mount(options.fs_name.as_str(), through.as_str(), "fuse.causeway", flags, Some(data.as_c_str()))?;
    start(vfs, device.into(), &point, &options).inspect_err(|_| {
        // A mount without a session would answer every request with an error for ever.
        let _ = rustix::mount::unmount(&point, UnmountFlags::DETACH);
    })
}

fn start(vfs: Arc<Vfs>, device: OwnedFd, point: &Path, options: &MountOptions) -> io::Result<Mounted> {
    let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    let serving = Arc::new(Serving::default());
    let requests = Requests::new(vfs.clone(), runtime.clone(), options.uid, options.gid, serving.clone());
    let mut config = Config::default();
    // They answer reads and writes themselves: more than there are cores would only wake each other up. Two at least, so that
    // one may wait for the disk.
    config.n_threads = Some(std::thread::available_parallelism()?.get().max(2));
    config.clone_fd = true;
    let probed = device.try_clone()?;
    // Who may enter is the kernel's to say: it knows `allow_other` from the mount itself.
    let session = Session::from_fd(requests, device, SessionACL::All, config)?;
    if serving.passthrough().refused().is_none()
        && let Err(error) = probe(&vfs, &probed)
    {
        serving.passthrough().refuse(error.to_string());
    }
    if let Some(reason) = serving.passthrough().refused() {
        tracing::info!(mount = %point.display(), reason, "cached files are read through this program");
    }
    let (ending, ended) = watch::channel(false);
    // Heard from before the first request is answered.
    let listener = vfs.volume().listen();
    runtime.spawn(forget(vfs.clone(), listener, session.notifier(), ended.clone()));
    let name = point.display().to_string();
    std::thread::Builder::new().name("fuse-session".into()).spawn(move || {
        if let Err(error) = session.run() {
            tracing::warn!(%error, mount = name, "a mount's session ended with an error");
        }
        // A kernel that was cut off releases nothing; what was written waits for that to be uploaded.
        runtime.block_on(vfs.release_all());
        ending.send_replace(true);
    })?;
    let device = device_of(point)?;
    Ok(Mounted { point: point.to_owned(), device, serving, ended })
}

/// Whether the kernel takes a file of the cache to serve it by itself. It keeps this one, which is empty and has no name,
/// until the mount ends.
fn probe(vfs: &Vfs, device: &OwnedFd) -> io::Result<()> {
    let file = vfs.volume().nameless_file().map_err(io::Error::other)?;
    BackingId::create_raw(device, file).map(drop)
}

/// Lets the kernel forget what is not as it was shown. From a thread that answers nothing: the kernel holds locks of
/// requests under way while it forgets.
async fn forget(vfs: Arc<Vfs>, mut listener: Listener, notifier: Notifier, mut ended: watch::Receiver<bool>) {
    let vfs = Arc::downgrade(&vfs);
    loop {
        let stale = tokio::select! {
            stale = listener.next() => stale,
            _ = ended.wait_for(|ended| *ended) => None,
        };
        let Some((stale, vfs)) = stale.zip(vfs.upgrade()) else { return };
        let notifier = notifier.clone();
        let told = tokio::task::spawn_blocking(move || {
            for Forgotten { name, number, attributes_only } in vfs.forgotten(&stale) {
                // What the kernel does not know it need not forget, and one that is gone knows nothing.
                if let Some(number) = number {
                    let from = if attributes_only { -1 } else { 0 };
                    let _ = notifier.inval_inode(INodeNo(number), from, 0);
                }
                if let Some((parent, name)) = name {
                    let _ = notifier.inval_entry(INodeNo(parent), name.as_ref());
                }
            }
        });
        if told.await.is_err() {
            return;
        }
    }
}

fn device_of(point: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::symlink_metadata(point)?.dev())
}
