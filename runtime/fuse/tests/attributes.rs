//! Modes, owners, times, links, pipes and extended attributes: on a mount with a sidecar they are as on the disk, and stay
//! so when what they belong to is renamed, uploaded and mounted anew; without one, programs are told so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use causeway_vfs::{AttributesMode, CacheMode, VfsConfig};

mod ground;
use ground::{Ground, python};

/// What a script has to begin with.
const PRELUDE: &str = "
import errno, os, socket, stat
def tried(act):
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno]
";

fn with_sidecar(mode: CacheMode) -> Ground {
    let ground = Ground::new(mode);
    ground.reconfigure(|config| VfsConfig { attributes: AttributesMode::Sidecar, ..config });
    ground
}

/// All that can be told of everything below a directory but what no two systems have alike.
fn described(root: &Path) -> BTreeMap<String, String> {
    let mut described = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let shown = fs::symlink_metadata(&path).unwrap();
            let mut line = format!("{:o} {}:{} device {}", shown.mode(), shown.uid(), shown.gid(), shown.rdev());
            if shown.is_dir() {
                left.push(path.clone());
            } else {
                line += &format!(" links {} size {}", shown.nlink(), shown.size());
            }
            // A time that was set is far away; the others are when the test ran.
            if shown.mtime() < 1_000_000_000 {
                line += &format!(" at {}.{:09}", shown.mtime(), shown.mtime_nsec());
            }
            if shown.is_symlink() {
                line += &format!(" -> {}", fs::read_link(&path).unwrap().display());
            }
            line += &extended(&path);
            assert!(described.insert(path.strip_prefix(root).unwrap().display().to_string(), line).is_none());
        }
    }
    described
}

fn extended(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let size = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = String::from_utf8(names[..size].to_vec()).unwrap();
    let mut told: Vec<String> = names
        .split_terminator('\0')
        .map(|name| {
            let mut value = vec![0; 65_536];
            let size = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            format!(" {name}={}", String::from_utf8_lossy(&value[..size]))
        })
        .collect();
    told.sort();
    told.concat()
}

/// The same script on the disk and on a mount, the same answers, and the same to be seen: at once, uploaded, mounted anew.
#[track_caller]
fn alike_with_a_sidecar(script: &str) {
    for mode in [CacheMode::Off, CacheMode::Full] {
        println!("in mode {mode:?}");
        let ground = with_sidecar(mode);
        let script = format!("{PRELUDE}\n{script}");
        let (disk, mount) = (python(&ground.disk(), &script), python(&ground.mount(), &script));
        assert_eq!(mount, disk, "the mount, then the disk");
        let wanted = described(&ground.disk());
        assert_eq!(described(&ground.mount()), wanted, "at once");
        ground.drain();
        assert_eq!(described(&ground.mount()), wanted, "uploaded");
        let ground = ground.remount();
        assert_eq!(described(&ground.mount()), wanted, "mounted anew");
    }
}

// semantics: With a sidecar, modes and owners are those that were set.
#[test]
fn modes_and_owners_are_those_that_were_set() {
    alike_with_a_sidecar(
        r#"
os.umask(0o027)
open("new", "w").close()
os.mkdir("directory")
os.mkdir("open", 0o777)
os.close(os.open("tight", os.O_CREAT | os.O_WRONLY, 0o400))
for mode in [0o000, 0o644, 0o1777, 0o4755, 0o2755, 0o7777]:
    name = "mode %o" % mode
    open(name, "w").write("content")
    os.chmod(name, mode)
    os.mkdir(name + " d")
    os.chmod(name + " d", mode)
open("owned", "w").close()
os.chown("owned", 1234, 5678)
os.chown("owned", -1, 99)
open("privileged", "w").close()
os.chmod("privileged", 0o6755)
os.chown("privileged", 7, 7)
print(oct(os.stat("privileged").st_mode))
os.mkdir("shared"); os.chown("shared", 5, 6); os.chmod("shared", 0o2775)
os.mkdir("shared/below"); open("shared/file", "w").close()
open("replaced", "w").close(); os.chmod("replaced", 0o600)
open("new one", "w").close(); os.chmod("new one", 0o640); os.chown("new one", 3, 4)
os.rename("new one", "replaced")
open("gone", "w").close(); os.chmod("gone", 0o755); os.unlink("gone"); open("gone", "w").close()
with open("unnamed", "w") as file:
    os.chmod("unnamed", 0o751)
    os.unlink("unnamed")
    print(oct(os.fstat(file.fileno()).st_mode), os.fstat(file.fileno()).st_nlink)
    os.fchmod(file.fileno(), 0o711)
    print(oct(os.fstat(file.fileno()).st_mode))
"#,
    );
}

// semantics: With a sidecar, times are exact to the nanosecond, whatever the provider keeps.
#[test]
fn times_are_exact_to_the_nanosecond_and_those_of_access_are_kept_when_set() {
    alike_with_a_sidecar(
        r#"
open("file", "w").write("content")
os.mkdir("directory")
os.symlink("file", "link")
os.mkfifo("pipe")
for number, name in enumerate(["file", "directory", "link", "pipe"]):
    os.utime(name, ns=(111_123456789 + number, 222_987654321 + number), follow_symlinks=False)
    print(os.lstat(name).st_atime_ns, os.lstat(name).st_mtime_ns)
before = os.stat("file").st_ctime_ns
os.chmod("file", 0o640)
after = os.stat("file").st_ctime_ns
print(before < after, os.stat("file").st_mtime_ns)
os.mkdir("changed"); os.utime("changed", ns=(5, 5))
open("changed/file", "w").close()
print(os.stat("changed").st_mtime_ns > 10**18)
"#,
    );
}

// semantics: With a sidecar, symbolic links, pipes, sockets and devices are names like others.
#[test]
fn links_pipes_sockets_and_devices_are_names_like_others() {
    alike_with_a_sidecar(
        r#"
os.mkdir("d"); open("d/file", "w").write("through the link")
os.symlink("d/file", "link"); os.symlink("nowhere", "broken"); os.symlink("d", "to directory"); os.symlink("loop", "loop")
os.symlink("x" * 4000, "d/long")
print(open("link").read(), sorted(os.listdir("to directory")), os.readlink("broken"))
for name in ["broken", "loop"]:
    print(tried(lambda: open(name).read()))
os.mkfifo("pipe", 0o640)
os.mknod("regular", 0o600 | stat.S_IFREG)
os.mknod("device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
os.mknod("disk", 0o600 | stat.S_IFBLK, os.makedev(259, 12345))
server = socket.socket(socket.AF_UNIX); server.bind("socket"); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect("socket")
child = os.fork()
if child == 0:
    with open("pipe", "w") as pipe:
        pipe.write("through the pipe")
    os._exit(0)
print(open("pipe").read()); os.waitpid(child, 0)
for name in ["link", "broken", "pipe", "device", "socket", "regular"]:
    print(name, tried(lambda: os.mkdir(name)), tried(lambda: os.symlink("x", name)), tried(lambda: os.mkfifo(name)),
          tried(lambda: os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))), tried(lambda: os.rmdir(name)),
          tried(lambda: os.listdir(name) and None), tried(lambda: os.mkdir(name + "/below")))
os.mkdir("full"); os.symlink("x", "full/link")
print(tried(lambda: os.rmdir("full")), tried(lambda: os.rename("d", "full")), tried(lambda: os.rename("pipe", "full")))
os.rename("full/link", "link")
print(os.readlink("link"), tried(lambda: os.rmdir("full")))
open("file", "w").write("replaced"); os.rename("pipe", "file"); print(stat.S_ISFIFO(os.lstat("file").st_mode))
open("other", "w").write("stays"); os.rename("other", "disk"); print(open("disk").read())
os.unlink("broken"); print(tried(lambda: os.lstat("broken")))
print(sorted(os.listdir(".")), sorted(entry.name for entry in os.scandir(".") if entry.is_symlink()))
"#,
    );
}

// semantics: Extended attributes of users (`user.`) and of root (`trusted.`) are kept, others are EOPNOTSUPP.
#[test]
fn extended_attributes_are_kept_with_the_answers_of_the_disk() {
    alike_with_a_sidecar(
        r#"
os.mkdir("d")
for name in ["d", "d/file"]:
    if name != "d":
        open(name, "w").close()
    os.setxattr(name, "user.one", b"1")
    os.setxattr(name, "user.empty", b"")
    os.setxattr(name, "trusted.two", b"2")
    print(sorted(os.listxattr(name)), os.getxattr(name, "user.one"), tried(lambda: os.getxattr(name, "user.none")))
    print(tried(lambda: os.setxattr(name, "user.one", b"x", os.XATTR_CREATE)))
    print(tried(lambda: os.setxattr(name, "user.none", b"x", os.XATTR_REPLACE)))
    os.setxattr(name, "user.one", b"one", os.XATTR_REPLACE)
    os.removexattr(name, "user.empty")
    print(tried(lambda: os.removexattr(name, "user.empty")), tried(lambda: os.setxattr(name, "nothing", b"x")))
    print(tried(lambda: os.setxattr(name, "user." + "n" * 251, b"x")), tried(lambda: os.setxattr(name, "user.", b"x")))
os.symlink("d", "link"); print(tried(lambda: os.setxattr("link", "user.x", b"x", follow_symlinks=False)))
open("removed", "w").close(); os.setxattr("removed", "user.x", b"x"); os.unlink("removed")
open("removed", "w").close(); print(os.listxattr("removed"))
os.rename("d", "moved"); print(os.getxattr("moved/file", "user.one"), os.getxattr("moved", "trusted.two"))
"#,
    );
}

#[test]
fn what_is_kept_moves_and_goes_with_directories() {
    alike_with_a_sidecar(
        r#"
os.makedirs("a/b/c"); os.makedirs("a b")
for at in ["a", "a/b", "a/b/c", "a b"]:
    open(at + "/file", "w").write(at); os.chmod(at + "/file", 0o644); os.symlink(at, at + "/link")
    os.chmod(at, 0o711); os.setxattr(at + "/file", "user.at", at.encode())
os.rename("a/b", "b"); os.rename("a", "a b/a"); os.rename("a b", "z")
os.mkdir("empty"); os.chmod("empty", 0o777); os.rename("b", "empty")
import shutil
shutil.copytree("z", "copied", symlinks=True)
shutil.rmtree("z/a")
os.mkdir("z/a"); open("z/a/file", "w").close(); print(os.listxattr("z/a/file"), os.listdir("z/a"))
"#,
    );
}

#[test]
fn well_known_programs_keep_what_they_keep_on_the_disk() {
    alike_with_a_sidecar(
        r##"
import subprocess
os.makedirs("from/deep"); open("from/script", "w").write("#!/bin/sh\necho run\n"); os.chmod("from/script", 0o755)
os.symlink("script", "from/link"); os.mkfifo("from/deep/pipe"); os.chown("from/deep", 12, 34)
open("from/deep/secret", "w").close(); os.chmod("from/deep/secret", 0o600); os.utime("from/script", (77, 88))
print(subprocess.run(["from/link"], capture_output=True, text=True).stdout)
subprocess.run(["cp", "-a", "from", "copied"], check=True)
subprocess.run("tar -cf - from | tar -xf - --transform s,^from,unpacked,", shell=True, check=True)
"##,
    );
}

// semantics: A directory shows when its content was changed last.
#[test]
fn a_directory_shows_when_its_content_was_changed_last() {
    let script = r#"
import os
def moves(act):
    os.utime("d", ns=(5, 5))
    act()
    return os.stat("d").st_mtime_ns > 10**18
os.mkdir("d"); os.mkdir("e"); open("e/file", "w").close()
print(moves(lambda: open("d/file", "w").close()), moves(lambda: os.rename("d/file", "d/other")),
      moves(lambda: os.unlink("d/other")), moves(lambda: os.mkdir("d/below")), moves(lambda: os.rmdir("d/below")),
      moves(lambda: os.rename("e/file", "d/file")), moves(lambda: open("d/file", "w").write("x") and None))
"#;
    ground::alike_in_python(script);
}

// semantics: Without a sidecar, links, pipes and owners are EPERM, extended attributes EOPNOTSUPP, and modes 0600 and 0700.
#[test]
fn without_a_sidecar_programs_are_told_that_nothing_of_this_is_kept() {
    let ground = Ground::new(CacheMode::Full);
    let script = r#"
open("file", "w").close()
print(tried(lambda: os.symlink("file", "link")), tried(lambda: os.mkfifo("pipe")), tried(lambda: os.link("file", "hard")),
      tried(lambda: os.chown("file", 1, 1)), tried(lambda: os.chmod("file", 0o4600)), tried(lambda: os.setxattr("file", "user.x", b"")),
      tried(lambda: os.getxattr("file", "user.x")), tried(lambda: os.listxattr("file")), tried(lambda: os.removexattr("file", "user.x")))
os.mknod("regular", 0o600 | stat.S_IFREG)
os.chmod("file", 0o644)
print(oct(os.stat("file").st_mode), os.listdir(".") == ["file", "regular"] or sorted(os.listdir(".")))
"#;
    let told = python(&ground.mount(), &format!("{PRELUDE}\n{script}"));
    assert_eq!(told, "EPERM EPERM EPERM EPERM EPERM ENOTSUP ENOTSUP ENOTSUP ENOTSUP\n0o100600 True\n");
}

// semantics: A sidecar that is switched off keeps what it has for when it is switched on again.
#[test]
fn what_is_kept_outlives_a_time_without_a_sidecar() {
    let ground = with_sidecar(CacheMode::Full);
    let ask = format!(
        "{PRELUDE}\nprint(oct(os.stat('d/file').st_mode), tried(lambda: os.readlink('d/link')), tried(lambda: os.getxattr('d/file', 'user.x')))"
    );
    let make = "
import os
os.mkdir('c'); open('c/file', 'w').close(); os.chmod('c/file', 0o751); os.symlink('x', 'c/link'); os.setxattr('c/file', 'user.x', b'1')
";
    python(&ground.mount(), make);
    ground.reconfigure(|config| VfsConfig { attributes: AttributesMode::Off, dir_cache_time_ms: 0, ..config });
    let ground = ground.remount();
    fs::rename(ground.mount().join("c"), ground.mount().join("d")).unwrap();
    assert_eq!(python(&ground.mount(), &ask), "0o100600 ENOENT ENOTSUP\n");
    ground.reconfigure(|config| VfsConfig { attributes: AttributesMode::Sidecar, ..config });
    let ground = ground.remount();
    assert_eq!(python(&ground.mount(), &ask), "0o100751 x b'1'\n");
}

// semantics: Where extended attributes were asked for before a sidecar was switched on, they are kept once it is mounted anew.
#[test]
fn a_sidecar_that_is_switched_on_late_keeps_extended_attributes_from_the_next_mount_on() {
    let ground = Ground::new(CacheMode::Full);
    fs::write(ground.mount().join("f"), "").unwrap();
    let set = format!("{PRELUDE}\nprint(tried(lambda: os.setxattr('f', 'user.x', b'1')), oct(os.stat('f').st_mode))");
    assert_eq!(python(&ground.mount(), &set), "ENOTSUP 0o100600\n");
    ground.reconfigure(|config| VfsConfig { attributes: AttributesMode::Sidecar, ..config });
    // A kernel that was told that there are none does not ask again. All else is kept from now on.
    fs::set_permissions(ground.mount().join("f"), fs::Permissions::from_mode(0o751)).unwrap();
    assert_eq!(python(&ground.mount(), &set), "ENOTSUP 0o100751\n");
    let ground = ground.remount();
    assert_eq!(python(&ground.mount(), &set), "None 0o100751\n");
}

// semantics: A file that the provider has takes the place of a link of the same name.
#[test]
fn what_the_provider_has_takes_the_place_of_a_name_that_only_the_sidecar_has() {
    let ground = with_sidecar(CacheMode::Full);
    let at = |name: &str| ground.mount().join(name);
    std::os::unix::fs::symlink("nowhere", at("name")).unwrap();
    ground.put("name", b"someone else's");
    ground.reconfigure(|config| VfsConfig { dir_cache_time_ms: 0, ..config });
    let ground = ground.remount();
    let at = |name: &str| ground.mount().join(name);
    assert_eq!(fs::read(at("name")).unwrap(), b"someone else's");
    assert_eq!(fs::read_dir(ground.mount()).unwrap().count(), 1);
}
