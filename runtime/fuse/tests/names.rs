//! Names: made, renamed and removed, what is refused and with which number, and directories that change while they are read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags};

mod ground;
use causeway_vfs::CacheMode;
use ground::{Ground, alike};

/// What is told by its number.
fn number<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap(), |_| 0)
}

/// A file, an empty directory, and one that is not.
fn furnish(root: &Path) {
    fs::write(root.join("file"), "content").unwrap();
    fs::create_dir_all(root.join("full/below")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
}

// semantics: What is refused is refused with the error number of a local disk.
#[test]
fn what_is_refused_is_refused_with_the_number_of_the_disk() {
    let long = "n".repeat(256);
    alike(|root| {
        furnish(root);
        let at = |name: &str| root.join(name);
        let open_directory = |name: &str| {
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
            Ok(rustix::fs::open(at(name), flags, rustix::fs::Mode::empty())?)
        };
        [
            ("a missing file is opened", number(File::open(at("none")))),
            ("a file below a missing directory is made", number(File::create(at("none/f")))),
            ("a file below a file is opened", number(File::open(at("file/f")))),
            ("a file below a file is made", number(File::create(at("file/f")))),
            ("a directory is opened for writing", number(OpenOptions::new().write(true).open(at("empty")))),
            ("a file is opened as a directory", number(open_directory("file"))),
            ("a file that must be new is not", number(File::create_new(at("file")))),
            ("a file that must be new is a directory", number(File::create_new(at("empty")))),
            ("a directory is made where a file stands", number(fs::create_dir(at("file")))),
            ("a directory is made where one stands", number(fs::create_dir(at("empty")))),
            ("a directory is made below a missing one", number(fs::create_dir(at("none/d")))),
            ("a directory is unlinked", number(fs::remove_file(at("empty")))),
            ("a file is removed as a directory", number(fs::remove_dir(at("file")))),
            ("a full directory is removed", number(fs::remove_dir(at("full")))),
            ("a missing file is removed", number(fs::remove_file(at("none")))),
            ("a missing directory is removed", number(fs::remove_dir(at("none")))),
            ("a missing file is renamed", number(fs::rename(at("none"), at("f")))),
            ("a file is renamed over a directory", number(fs::rename(at("file"), at("empty")))),
            ("a directory is renamed over a file", number(fs::rename(at("empty"), at("file")))),
            ("a directory is renamed over a full one", number(fs::rename(at("empty"), at("full")))),
            ("a directory is renamed into itself", number(fs::rename(at("full"), at("full/below/f")))),
            ("a file is renamed into a missing directory", number(fs::rename(at("file"), at("none/f")))),
            ("a file is renamed onto itself", number(fs::rename(at("file"), at("file")))),
            ("a directory is renamed onto itself", number(fs::rename(at("full"), at("full")))),
            ("a file is read as a directory", number(fs::read_dir(at("file")))),
            ("a name is too long to be made", number(File::create(at(&long)))),
            ("a name is too long to be looked up", number(fs::metadata(at(&long)))),
            ("a name is too long to be renamed to", number(fs::rename(at("file"), at(&long)))),
            ("the longest name is made", number(File::create(at(&long[1..])))),
            ("a directory is cut", number(File::open(at("empty")).and_then(|file| file.set_len(0)))),
            (
                "a file is cut to less than nothing",
                number(rustix::fs::ftruncate(File::create(at("g")).unwrap(), u64::MAX).map_err(io::Error::from)),
            ),
        ]
    });
}

// semantics: A rename goes over files and empty directories, and is one step.
#[test]
fn a_rename_goes_over_files_and_empty_directories() {
    alike(|root| {
        furnish(root);
        fs::write(root.join("other"), "replaced").unwrap();
        fs::rename(root.join("file"), root.join("other")).unwrap();
        fs::rename(root.join("full"), root.join("empty")).unwrap();
        fs::rename(root.join("other"), root.join("empty/below/moved")).unwrap();
    });
}

// semantics: A rename that must not replace does not.
#[test]
fn a_rename_that_must_not_replace_does_not() {
    alike(|root| {
        furnish(root);
        let rename = |from: &str, to: &str| {
            rustix::fs::renameat_with(CWD, root.join(from), CWD, root.join(to), RenameFlags::NOREPLACE)
        };
        (rename("file", "empty"), rename("file", "new"), rename("full", "empty"), rename("new", "new"))
    });
}

#[test]
fn a_name_is_free_again_once_it_is_removed() {
    alike(|root| {
        for round in 0..10 {
            fs::create_dir(root.join("name")).unwrap();
            fs::remove_dir(root.join("name")).unwrap();
            fs::write(root.join("name"), format!("round {round}")).unwrap();
            fs::rename(root.join("name"), root.join("other")).unwrap();
            fs::remove_file(root.join("other")).unwrap();
        }
        fs::write(root.join("name"), "kept").unwrap();
    });
}

// semantics: Names in any script and with odd characters are kept.
#[test]
fn names_in_any_script_and_with_odd_characters_are_kept() {
    alike(|root| {
        let names = [
            "with space",
            "ümlaut",
            "日本語",
            "emoji 🙂",
            "tab\there",
            "line\nbreak",
            "quote\"'",
            "back\\slash",
            "per%41cent",
            ".hidden",
            "..two",
            "trailing.",
            " leading",
            "trailing ",
            "*?<>|:",
            "~tilde",
            "-dash",
            "e\u{301}",
            "\u{e9}",
        ];
        for name in names {
            fs::write(root.join(name), name).unwrap();
        }
        let listed = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
        let listed: BTreeSet<_> = listed.collect();
        assert_eq!(listed.len(), names.len());
        listed
    });
}

#[test]
fn a_directory_shows_where_it_is_and_what_is_above() {
    use std::os::unix::fs::MetadataExt;
    alike(|root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        let inode = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
        let dots = |path: &str| {
            let directory = rustix::fs::open(root.join(path), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
            let entries = rustix::fs::Dir::read_from(directory.unwrap()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_owned()).collect::<BTreeSet<_>>()
        };
        (inode("a/b/..") == inode("a"), inode("a/.") == inode("a"), dots("a"), dots("a/b"))
    });
}

// semantics: What stays in a directory is listed once while other names come and go.
#[test]
fn what_stays_is_listed_once_while_names_come_and_go() {
    for mode in [CacheMode::Off, CacheMode::Full] {
        let ground = Ground::new(mode);
        let root = ground.mount();
        let stays: BTreeSet<String> = (0..300).map(|number| format!("stays {number:04}")).collect();
        for name in &stays {
            File::create(root.join(name)).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let changing = scope.spawn(|| {
                for round in 0..300 {
                    let name = root.join(format!("comes {:02}", round % 40));
                    if name.exists() {
                        fs::remove_file(&name).unwrap();
                    } else {
                        File::create(&name).unwrap();
                    }
                    if round % 10 == 0 {
                        let (from, to) = (root.join("renamed one"), root.join("renamed two"));
                        File::create(&from).unwrap();
                        fs::rename(&from, &to).unwrap();
                    }
                }
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let mut seen = BTreeSet::new();
                    for entry in fs::read_dir(&root).unwrap() {
                        let name = entry.unwrap().file_name().into_string().unwrap();
                        assert!(seen.insert(name.clone()), "{name} is listed twice");
                    }
                    let missing: Vec<_> = stays.difference(&seen).collect();
                    assert!(missing.is_empty(), "not listed: {missing:?}");
                }
            });
            let changed = changing.join();
            done.store(true, Ordering::Relaxed);
            changed.unwrap();
        });
        ground.drain();
    }
}

#[test]
fn a_directory_is_emptied_while_it_is_read() {
    alike(|root| {
        fs::create_dir(root.join("d")).unwrap();
        for number in 0..500 {
            File::create(root.join(format!("d/{number}"))).unwrap();
        }
        for entry in fs::read_dir(root.join("d")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::remove_dir(root.join("d")).unwrap();
    });
}

#[test]
fn a_directory_that_is_read_again_from_its_beginning_shows_what_is_new() {
    alike(|root| {
        fs::write(root.join("one"), "").unwrap();
        let opened = rustix::fs::open(root, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        let mut directory = rustix::fs::Dir::new(opened).unwrap();
        let list = |directory: &mut rustix::fs::Dir| {
            let names = directory.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned());
            names.collect::<BTreeSet<_>>()
        };
        let first = list(&mut directory);
        fs::write(root.join("two"), "").unwrap();
        fs::remove_file(root.join("one")).unwrap();
        directory.rewind();
        (first, list(&mut directory))
    });
}

#[test]
fn a_removed_directory_is_empty_for_who_is_in_it() {
    alike(|root| {
        fs::create_dir(root.join("d")).unwrap();
        let inside = rustix::fs::open(root.join("d"), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        fs::remove_dir(root.join("d")).unwrap();
        let made = rustix::fs::openat(
            &inside,
            "f",
            rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
            rustix::fs::Mode::from_raw_mode(0o600),
        );
        (made.map(drop), rustix::fs::statat(&inside, "f", rustix::fs::AtFlags::empty()).map(drop))
    });
}
