//! Mount points: made and opened so that nobody can lead them elsewhere.
//!
//! Each directory below the root is made 0700 and entered with `openat2`, which follows no symbolic link and never leaves
//! the root. The last one is handed out as a descriptor, and the mount is made through that: the path is never looked up
//! a second time.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use causeway_storage::Path as Names;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Why a mount point cannot be used.
#[derive(Debug)]
pub(crate) enum PointError {
    /// Something stands there.
    InUse(&'static str),
    /// The machine refused.
    Failed(io::Error),
}

impl From<Errno> for PointError {
    fn from(error: Errno) -> PointError {
        match error {
            // A directory whose file system died; it is detached at the next start.
            Errno::NOTCONN => PointError::InUse("The mount point holds a mount that died"),
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => PointError::InUse("The mount point is not a plain directory"),
            error => PointError::Failed(error.into()),
        }
    }
}

/// Where mounts stand unless something else is said.
pub(crate) const USUAL_ROOT: &str = "/hoody/mounts";

/// The root of all mounts: the given one, else `/hoody/mounts` if it can be made and no other process has it, else below the
/// data directory. It is this process's alone while the descriptor that comes with it is open.
pub(crate) fn root(given: Option<&Path>, data_dir: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o755).create(path);
    let usual = Path::new(USUAL_ROOT);
    let below_data = data_dir.join("mounts");
    let take = |root: &Path| {
        make(root)?;
        rustix::fs::access(root, rustix::fs::Access::WRITE_OK)?;
        let directory = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        // On a file system without locks it is the operator's care.
        if let Err(Errno::WOULDBLOCK) = rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process keeps its mounts there"));
        }
        // The kernel's table of mounts shows real paths; what is compared with it must be one.
        Ok((root.canonicalize()?, directory))
    };
    match given {
        Some(root) => take(root),
        None => take(usual).or_else(|_| take(&below_data)),
    }
}

/// Where a tenant's mount stands: in a directory of its own name below the root, or by default directly below the root under
/// the mount's id. The error is a sentence that begins after the field's name.
pub(crate) fn place(root: &Path, tenant: &str, id: &str, wanted: Option<&str>) -> Result<String, String> {
    let own = root.join(tenant);
    let path = match wanted {
        None => root.join(id),
        Some(wanted) => {
            let below = match wanted.starts_with('/') {
                false => Path::new(wanted),
                true => Path::new(wanted)
                    .strip_prefix(&own)
                    .map_err(|_| format!("must be relative, or begin with {}", own.display()))?,
            };
            let names = Names::parse(below.to_str().unwrap_or_default()).map_err(|error| error.to_string())?;
            if names.is_root() {
                return Err("must name a directory below the directory of mounts".into());
            }
            own.join(names.as_str())
        }
    };
    Ok(path.to_str().ok_or("must be text")?.to_owned())
}

/// Held while directories are made or removed: one that is just gone into must not go.
static CHANGING: Mutex<()> = Mutex::new(());

/// Makes and opens the mount point `names` below `root`. It must be empty and nothing be mounted on it.
pub(crate) fn open(root: &Path, names: &Names) -> Result<OwnedFd, PointError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut directory = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for name in names.names() {
        match rustix::fs::mkdirat(&directory, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        directory = rustix::fs::openat2(&directory, name, flags, Mode::empty(), resolve)?;
    }
    for entry in Dir::read_from(&directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Err(PointError::InUse("The mount point is not empty"));
        }
    }
    Ok(directory)
}

/// Removes an empty mount point, and what is empty above it. That one is in use or gone is no fault: it is not ours then.
pub(crate) fn remove(root: &Path, names: &Names) {
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut names = Some(names.clone());
    while let Some(point) = names.filter(|names| remove_one(root, names)) {
        names = point.parent();
    }
}

/// Says whether there was one and it is gone.
fn remove_one(root: &Path, names: &Names) -> bool {
    let parent = names.parent().unwrap_or(Names::ROOT);
    let Some(name) = names.name() else { return false };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let removed = rustix::fs::open(root, flags, Mode::empty()).and_then(|root| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let parent = match parent.is_root() {
            true => root,
            false => rustix::fs::openat2(&root, parent.as_str(), flags, Mode::empty(), resolve)?,
        };
        rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
    });
    if let Err(error) = removed {
        tracing::debug!(%error, "a mount point stays");
    }
    removed.is_ok()
}

/// Detaches what an earlier process left mounted below the root. Only one process at a time has a root, so what is ours and
/// stands there before we mounted anything is dead.
pub(crate) fn detach_leftovers(root: &Path) -> io::Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    for line in table.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let Some(point) = before.split(' ').nth(4).map(unescape) else { continue };
        let ours = after.split(' ').next() == Some("fuse.causeway");
        if ours && Path::new(&point).starts_with(root) {
            match rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH) {
                Ok(()) => tracing::info!(point, "detached the mount of an earlier process"),
                Err(error) => tracing::warn!(point, %error, "the mount of an earlier process cannot be detached"),
            }
        }
    }
    Ok(())
}

/// The table writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn names(text: &str) -> Names {
        Names::parse(text).unwrap()
    }

    #[test]
    fn a_tenants_mounts_stand_in_its_own_directory() {
        let place = |wanted| place(Path::new("/m"), "acme", "mount_1", wanted);
        assert_eq!(place(None).as_deref(), Ok("/m/mount_1"));
        assert_eq!(place(Some("photos/2025")).as_deref(), Ok("/m/acme/photos/2025"));
        assert_eq!(place(Some("/m/acme/photos")).as_deref(), Ok("/m/acme/photos"));
        // Not another's, not everyone's, not the machine's, whatever it is spelled like.
        for wrong in [
            "/m/other/photos",
            "/m/acme-2/photos",
            "/m/acme",
            "/m/acme/",
            "/m/photos",
            "/m",
            "/etc",
            "/",
            "//m/acme/x/../../other",
            "/m/acme/../other/photos",
            "../other/photos",
            "a/../../other",
            "a/./b",
            "..",
            ".",
            "",
        ] {
            assert!(place(Some(wrong)).is_err(), "{wrong}: {:?}", place(Some(wrong)));
        }
    }

    #[test]
    fn a_mount_point_is_made_private() {
        let root = tempfile::tempdir().unwrap();
        open(root.path(), &names("tenant/photos")).unwrap();
        let metadata = std::fs::metadata(root.path().join("tenant/photos")).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o700);
        remove(root.path(), &names("tenant/photos"));
        assert!(!root.path().join("tenant").exists());
    }

    #[test]
    fn what_others_use_stays_when_a_mount_point_goes() {
        let root = tempfile::tempdir().unwrap();
        open(root.path(), &names("tenant/a/b/c")).unwrap();
        open(root.path(), &names("tenant/a/other")).unwrap();
        remove(root.path(), &names("tenant/a/b/c"));
        assert!(!root.path().join("tenant/a/b").exists());
        assert!(root.path().join("tenant/a/other").exists());
    }

    #[test]
    fn a_root_is_one_processs_alone() {
        let (root, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_, held) = super::root(Some(root.path()), data.path()).unwrap();
        let refused = super::root(Some(root.path()), data.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        drop(held);
        super::root(Some(root.path()), data.path()).unwrap();
    }

    #[test]
    fn a_symbolic_link_leads_nowhere() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(other.path(), root.path().join("tenant")).unwrap();
        assert!(matches!(open(root.path(), &names("tenant/photos")), Err(PointError::InUse(_))));
        assert!(matches!(open(root.path(), &names("tenant")), Err(PointError::InUse(_))));
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_empty_or_no_directory_is_in_use() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("full")).unwrap();
        std::fs::write(root.path().join("full/file"), "").unwrap();
        assert!(matches!(open(root.path(), &names("full")), Err(PointError::InUse(_))));
        assert!(matches!(open(root.path(), &names("full/file")), Err(PointError::InUse(_))));
        remove(root.path(), &names("full"));
        assert!(root.path().join("full/file").exists());
    }
}
