//! The disk of the cache is full, or nearly: writers are told before it is, nothing acknowledged is lost, and room comes back
//! with the uploads.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use crate::content::{bytes, digest};
use crate::program::{Program, Settings};
use crate::proxy::{Act, Kind, Proxy};
use crate::servers::rgw;
use crate::stage::{Stage, eventually};

/// The whole disk: what is kept free for others, and a few files.
const DISK_MIB: u64 = 320;
const PIECE: usize = 4 << 20;
const ENOSPC: i32 = 28;

/// A small disk; it goes with this.
struct Disk(PathBuf);

impl Disk {
    fn at(path: PathBuf) -> Disk {
        fs::create_dir(&path).unwrap();
        let data = std::ffi::CString::new(format!("size={DISK_MIB}m")).unwrap();
        mount("causeway-e2e", &path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(data.as_c_str())).unwrap();
        Disk(path)
    }

    fn free(&self) -> u64 {
        let room = rustix::fs::statvfs(&self.0).unwrap();
        room.f_bavail * room.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

pub(crate) fn writers_are_refused_before_the_disk_is_full_and_lose_nothing() {
    let server = rgw();
    let stage = Stage::new();
    let disk = Disk::at(stage.path().join("data"));
    let bucket = super::scene::bucket();
    server.client.make_bucket(&bucket);
    let mut program = Program::start_with(&stage, Settings::default());
    let proxy = Proxy::before(&server.client.address);
    let backend = program.api.connect("s3", &server.settings_at(&proxy.address));
    let mount = program.api.mount(&backend, json!({"cache_mode": "full"}));
    let root = mount.path.join(&bucket);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    proxy.rule(|request| if matches!(request.kind, Kind::Put | Kind::Begin) { Act::Close } else { Act::Pass });

    let taken = fill(&root);
    assert!(taken > 0, "nothing was taken");
    assert!(disk.free() > 16 << 20, "the disk is full: {} bytes are left", disk.free());
    // What was taken is there, before and after a death; what was refused left no file that is taken for one.
    all_there(&root, 0..taken);
    program.kill();
    program.restart();
    eventually(Duration::from_secs(20), "the mount stands again", || {
        fs::read_dir(&root).map(drop).map_err(|error| error.to_string())
    });
    all_there(&root, 0..taken);
    // Names can still be changed, and files removed.
    fs::rename(root.join("0"), root.join("renamed")).unwrap();
    fs::rename(root.join("renamed"), root.join("0")).unwrap();

    proxy.pass();
    program.api.uploaded(&mount);
    // As much again as there was room for: what is uploaded makes room for what comes.
    let again = 2 * taken;
    for number in taken..again {
        fs::write(root.join(number.to_string()), bytes(number as u64, PIECE)).unwrap();
    }
    program.api.uploaded(&mount);
    all_there(&root, 0..again);
    let stored = server.client.digests(&bucket);
    for number in 0..again {
        assert_eq!(stored[&number.to_string()], digest(&bytes(number as u64, PIECE)), "{number}");
    }
    program.api.unmount(&mount);
    program.stop(&[&server.client.secret]);
}

/// Writes files until one is refused; says with which number that was.
fn fill(root: &Path) -> usize {
    for number in 0..200 {
        let path = root.join(number.to_string());
        if let Err(error) = fs::write(&path, bytes(number as u64, PIECE)) {
            assert_eq!(error.raw_os_error(), Some(ENOSPC), "{number}: {error}");
            let _ = fs::remove_file(&path);
            return number;
        }
    }
    panic!("more was taken than there is room for")
}

fn all_there(root: &Path, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let read = fs::read(root.join(number.to_string())).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(digest(&read), digest(&bytes(number as u64, PIECE)), "{number}");
    }
}
