//! What a storage can do. Wrappers compute theirs as a mask of what lies below.

use bitflags::bitflags;

use crate::Algorithm;

bitflags! {
    /// Operations and promises.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Can: u32 {
        /// `write`.
        const WRITE = 1;
        /// `remove_file`.
        const REMOVE = 1 << 1;
        /// `make_directory` and `remove_directory`.
        const DIRECTORIES = 1 << 2;
        /// Empty directories exist; else the file system keeps them until something is in them.
        const EMPTY_DIRECTORIES = 1 << 3;
        /// `move_to` for files.
        const MOVE = 1 << 5;
        /// `move_to` for directories.
        const MOVE_DIRECTORIES = 1 << 6;
        /// `copy_to` for files.
        const COPY = 1 << 7;
        /// `set_modified`.
        const SET_MODIFIED = 1 << 9;
        /// `WriteIntent::modified` is kept.
        const KEEPS_MODIFIED = 1 << 10;
        /// `Node::version` is honoured by changes.
        const CONDITIONAL = 1 << 11;
        /// A file is replaced in one step: readers see the old or the new content, never less.
        const ATOMIC_REPLACE = 1 << 12;
        /// One directory can hold several entries of one name.
        const DUPLICATES = 1 << 13;
        /// `room`.
        const ROOM = 1 << 14;
        /// `copy_to` for directories.
        const COPY_DIRECTORIES = 1 << 15;
        /// `purge`.
        const PURGE = 1 << 16;
        /// `link` and `unlink`.
        const LINKS = 1 << 17;
        /// `clean`.
        const CLEAN = 1 << 18;
        /// `versions`.
        const VERSIONS = 1 << 19;
        /// `changes`.
        const CHANGES = 1 << 20;
    }
}

/// How letter case and Unicode forms count when two names are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sameness {
    /// Byte for byte.
    #[default]
    Exact,
    /// `A` and `a` are one name.
    IgnoresCase,
    /// `A`, `a` and `ä` are one name.
    IgnoresCaseAndAccents,
}

/// The Unicode form in which names are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NormalForm {
    /// As they were given.
    #[default]
    AsGiven,
    /// Composed.
    Nfc,
    /// Composed, compatible forms folded.
    Nfkc,
}

/// What is true of a storage.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Features {
    /// Operations and promises.
    pub can: Can,
    /// When two names are one.
    pub sameness: Sameness,
    /// The form of names.
    pub normal_form: NormalForm,
    /// The longest name in bytes, where it is known.
    pub longest_name_bytes: Option<u32>,
    /// The step of modification times in nanoseconds; 0 if there are none.
    pub modified_step_ns: u64,
    /// Digests that entries carry.
    pub digests: Vec<Algorithm>,
    /// Digests worth computing while content arrives.
    pub early_digests: Vec<Algorithm>,
    /// The smallest file that can be stored: 0, or 1 where empty files are refused.
    pub smallest_bytes: u64,
    /// The largest, where there is a limit.
    pub largest_bytes: Option<u64>,
    /// For so many milliseconds after a change may listings and look-ups still show what was before.
    pub lag_ms: u32,
    /// A directory must not be listed again sooner than after so many milliseconds.
    pub relist_ms: u32,
}
