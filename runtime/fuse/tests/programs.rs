//! What well-known programs do when they save, step by step, and databases and version control themselves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, RenameFlags};

mod ground;
use ground::{Content, alike, alike_in_python, pattern};

/// Saves a document of each size some times, in the way given, and reads it after each.
fn saved(save: impl Fn(&Path, &[u8])) {
    alike(|root| {
        let path = root.join("document.txt");
        fs::write(&path, "the first version").unwrap();
        let mut read = Vec::new();
        for (round, size) in [100, 0, 70_000, 3_000_000, 17].into_iter().enumerate() {
            save(&path, &pattern(round as u64, size));
            read.push(Content(fs::read(&path).unwrap()));
        }
        read
    });
}

fn written(path: &Path, content: &[u8]) {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    for piece in content.chunks(8192) {
        file.write_all(piece).unwrap();
    }
    file.sync_all().unwrap();
}

fn beside(path: &Path, name: &str) -> std::path::PathBuf {
    path.with_file_name(name)
}

#[test]
fn vim_saves_with_a_backup_that_it_renames() {
    saved(|path, content| {
        // It tries whether it may make files here, under a name of its own.
        let probe = beside(path, "4913");
        drop(OpenOptions::new().write(true).create_new(true).open(&probe).unwrap());
        fs::remove_file(&probe).unwrap();
        let backup = beside(path, "document.txt~");
        fs::rename(path, &backup).unwrap();
        written(path, content);
        fs::remove_file(&backup).unwrap();
    });
}

#[test]
fn vim_saves_in_place_with_a_copy_as_backup() {
    saved(|path, content| {
        let (swap, backup) = (beside(path, ".document.txt.swp"), beside(path, "document.txt~"));
        written(&swap, &[b'v'; 4096]);
        fs::copy(path, &backup).unwrap();
        let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
        file.write_all(content).unwrap();
        file.sync_all().unwrap();
        drop(file);
        fs::remove_file(&backup).unwrap();
        fs::remove_file(&swap).unwrap();
    });
}

#[test]
fn gedit_saves_by_a_rename_over_the_document_that_it_has_open() {
    saved(|path, content| {
        let mut old = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let before = fs::metadata(path).unwrap();
        let temporary = beside(path, ".goutputstream-XYZ123");
        written(&temporary, content);
        let mut kept = Vec::new();
        old.read_to_end(&mut kept).unwrap();
        fs::rename(&temporary, path).unwrap();
        assert_eq!(kept.len() as u64, before.len());
        drop(old);
    });
}

#[test]
fn libreoffice_saves_with_a_lock_file_and_over_the_document_itself() {
    saved(|path, content| {
        let lock = beside(path, ".~lock.document.txt#");
        written(&lock, b",somebody,somewhere,01.01.2026 12:00,file:///;");
        let temporary = beside(path, "lu12345abcde.tmp");
        written(&temporary, content);
        // It then copies the temporary file over the document, from its beginning, and cuts what is left.
        let document = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let new = fs::read(&temporary).unwrap();
        (&document).write_all(&new).unwrap();
        document.set_len(new.len() as u64).unwrap();
        document.sync_all().unwrap();
        drop(document);
        fs::remove_file(&temporary).unwrap();
        fs::remove_file(&lock).unwrap();
    });
}

#[test]
fn a_browser_downloads_under_a_name_that_it_takes_off_at_the_end() {
    saved(|path, content| {
        fs::remove_file(path).unwrap();
        // The final name is taken first.
        drop(File::create_new(path).unwrap());
        let part = beside(path, "document.txt.part");
        let mut file = OpenOptions::new().write(true).create_new(true).open(&part).unwrap();
        for piece in content.chunks(32_768) {
            file.write_all(piece).unwrap();
        }
        // Renamed while it is still open.
        fs::rename(&part, path).unwrap();
        drop(file);
    });
}

#[test]
fn a_downloader_that_must_not_replace_renames_so() {
    saved(|path, content| {
        let part = beside(path, "document.txt.crdownload");
        written(&part, content);
        let refused = rustix::fs::renameat_with(CWD, &part, CWD, path, RenameFlags::NOREPLACE).unwrap_err();
        assert_eq!(refused, rustix::io::Errno::EXIST);
        fs::remove_file(path).unwrap();
        rustix::fs::renameat_with(CWD, &part, CWD, path, RenameFlags::NOREPLACE).unwrap();
    });
}

#[test]
fn git_keeps_a_repository() {
    let git = |root: &Path, arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(root)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", root.parent().unwrap())
            .envs([("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"), ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")])
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "core.fileMode=false",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    };
    for mode in [causeway_vfs::CacheMode::Off, causeway_vfs::CacheMode::Full] {
        println!("in mode {mode:?}");
        let ground = ground::Ground::new(mode);
        // Its packs name themselves by their content, but not its index by its times: what it says is compared.
        let told = [ground.disk(), ground.mount()].map(|root| {
            git(&root, &["init", "--quiet"]);
            for number in 0..20 {
                fs::write(root.join(format!("file {number}")), pattern(number, 2000)).unwrap();
            }
            git(&root, &["add", "."]);
            git(&root, &["commit", "--quiet", "-m", "first"]);
            git(&root, &["checkout", "--quiet", "-b", "other"]);
            fs::write(root.join("file 3"), "changed").unwrap();
            fs::remove_file(root.join("file 4")).unwrap();
            git(&root, &["commit", "--quiet", "-a", "-m", "second"]);
            git(&root, &["checkout", "--quiet", "main"]);
            git(&root, &["merge", "--quiet", "other"]);
            git(&root, &["gc", "--quiet"]);
            git(&root, &["fsck", "--strict", "--full"]);
            (
                git(&root, &["log", "--format=%H %s"]),
                git(&root, &["status", "--porcelain"]),
                git(&root, &["ls-files", "-s"]),
            )
        });
        assert_eq!(told[1], told[0], "the mount, then the disk");
        ground.drain();
        git(&ground.mount(), &["fsck", "--strict", "--full"]);
    }
}

/// Two connections in two processes, a rollback, a check.
const SQLITE: &str = r#"
import os, sqlite3
first = sqlite3.connect("data.db", timeout=20, isolation_level=None)
print(first.execute("pragma journal_mode=MODE").fetchone())
first.execute("create table t (n integer primary key, text text)")
# A connection must not be carried into another process.
first.close()

def fill(connection, start):
    for n in range(start, start + 20):
        connection.execute("begin immediate")
        connection.execute("insert into t values (?, ?)", (n, "x" * (n * 37 % 3000)))
        connection.execute("commit")

child = os.fork()
if child == 0:
    other = sqlite3.connect("data.db", timeout=20, isolation_level=None)
    fill(other, 1000)
    other.close()
    os._exit(0)
first = sqlite3.connect("data.db", timeout=20, isolation_level=None)
fill(first, 0)
print(os.waitpid(child, 0)[1])
first.execute("begin")
first.execute("delete from t")
first.execute("rollback")
print(first.execute("select count(*), sum(n), sum(length(text)) from t").fetchone())
print(first.execute("pragma integrity_check").fetchone())
first.close()
# What a later process finds.
again = sqlite3.connect("data.db")
print(again.execute("select count(*), sum(n), sum(length(text)) from t").fetchone())
again.execute("vacuum")
again.execute("pragma journal_mode=delete")
again.close()
print(sorted(os.listdir(".")))
# Their order is chance, and so are its pages.
os.unlink("data.db")
"#;

#[test]
fn sqlite_keeps_a_database_with_a_journal() {
    for mode in ["delete", "truncate", "persist"] {
        alike_in_python(&SQLITE.replace("MODE", mode));
    }
}

// semantics: SQLite keeps a database on a mount, with a journal or with a write-ahead log.
#[test]
fn sqlite_keeps_a_database_with_a_write_ahead_log() {
    alike_in_python(&SQLITE.replace("MODE", "wal"));
}

#[test]
fn a_sqlite_database_survives_a_writer_that_is_killed() {
    for mode in ["delete", "wal"] {
        let script = r#"
import os, signal, sqlite3
first = sqlite3.connect("data.db", isolation_level=None)
first.execute("pragma journal_mode=MODE")
first.execute("create table t (n integer primary key, text text)")
first.executemany("insert into t values (?, ?)", [(n, "x" * 500) for n in range(100)])
first.close()
child = os.fork()
if child == 0:
    other = sqlite3.connect("data.db", isolation_level=None)
    other.execute("pragma cache_size=5")
    other.execute("begin")
    other.execute("update t set text = text || 'changed'")
    os.kill(os.getpid(), signal.SIGKILL)
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
first = sqlite3.connect("data.db")
print(first.execute("select count(*), sum(length(text)) from t").fetchone())
print(first.execute("pragma integrity_check").fetchone())
first.close()
for name in os.listdir("."):
    os.unlink(name)
"#;
        alike_in_python(&script.replace("MODE", mode));
    }
}
