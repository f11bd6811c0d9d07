//! The options of `local`: the seventeen of its table, and `path`, which is ours.

use causeway_storage::{Descriptor, Make, OptionKind, OptionMarks, OptionSpec};

/// What `local` says of itself.
pub(crate) fn descriptor() -> Descriptor {
    Descriptor {
        name: "local".into(),
        backend_type: None,
        aliases: Vec::new(),
        title: "Local disk".into(),
        make: Make::Native,
        version: env!("CARGO_PKG_VERSION").into(),
        options: options(),
        imports: Vec::new(),
    }
}

fn options() -> Vec<OptionSpec> {
    let text = |name: &str, help: &str| option(name, OptionKind::Text, "", help);
    let truth = |name: &str, help: &str| option(name, OptionKind::Truth, "false", help);
    let times = ["mtime", "atime", "btime", "ctime"].map(str::to_owned).to_vec();
    vec![
        text("description", "Human-readable description of the remote."),
        option("encoding", OptionKind::Encoding, "33554434", "Characters of names that the disk cannot hold."),
        truth("case_insensitive", "Take names that differ in case alone for one name."),
        truth("case_sensitive", "Take names that differ in case alone for two names."),
        truth("links", "Show symbolic links as files with the suffix .hoody-vfslink."),
        truth("copy_links", "Follow symbolic links that stay inside the folder."),
        truth("skip_links", "Leave out symbolic links without a warning."),
        truth("zero_size_links", "Deprecated, without effect: the size of a link is always read."),
        truth("unicode_normalization", "Compose the Unicode characters of names (NFC)."),
        truth("one_file_system", "Do not go into other file systems that are mounted below the folder."),
        truth("nounc", "Only for Windows: without effect."),
        truth("no_preallocate", "Do not reserve room on the disk before a file is written."),
        truth("no_sparse", "Only for Windows: without effect."),
        truth("no_check_updated", "Do not check whether a file changes while it is read."),
        truth("no_set_modtime", "Do not set modification times."),
        truth("no_clone", "Only for macOS: without effect."),
        option("time_type", OptionKind::Choice(times), "0", "Which time to show: mtime, atime, btime or ctime."),
        OptionSpec {
            marks: OptionMarks::IDENTITY,
            ..text("path", "The folder, below the tenant's own on this machine; the tenant's own if left out.")
        },
    ]
}

fn option(name: &str, kind: OptionKind, default: &str, help: &str) -> OptionSpec {
    OptionSpec {
        name: name.into(),
        kind,
        default: Some(default.into()),
        marks: OptionMarks::empty(),
        help: help.into(),
    }
}
