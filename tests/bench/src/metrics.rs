//! What is measured, in what unit, and what it should come to.

use crate::subject::Subject::{
    self, Disk, DiskSynced, Hardcoded, Instance, Ours, PlainCrate, RawDirect, RawHttp, RawPassthrough, RawPlain, Unlent,
};

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether more is better.
    pub higher: bool,
    /// Whose values are judged.
    pub ours: Subject,
    /// The metric whose samples these are, where it is not the one of this name.
    pub samples: &'static str,
    /// What ours should be of the best peer: at least where more is better, else at most.
    pub to_peer: Option<f64>,
    /// The limits that it is compared with.
    pub limits: &'static [Subject],
    /// What ours should be of the best limit.
    pub to_limit: Option<f64>,
    /// What ours should be at most or at least, in the unit.
    pub absolute: Option<f64>,
}

const FUSE: &[Subject] = &[RawPlain, RawDirect];
const KERNEL: &[Subject] = &[Disk, RawPassthrough];
const CRATE: &[Subject] = &[PlainCrate];

/// All of them, in the order of the table.
pub const METRICS: &[Metric] = &[
    rate("M1", "warm sequential read").peer(3.0).limits(&[Disk]).limit(0.9),
    rate("M1 unlent", "the same without passthrough").of(Unlent, "M1").limits(FUSE).limit(0.7),
    reads("M2", "warm random 4 KiB reads").peer(20.0).limits(&[Disk]).limit(0.7),
    reads("M2 unlent", "the same without passthrough").of(Unlent, "M2").peer(2.5).limits(FUSE).limit(0.7),
    least("M2 p50", "the median of M2", "µs").limits(KERNEL),
    least("M2 p99", "the 99th percentile of M2", "µs").limits(KERNEL),
    rate("M3", "sequential read, incomplete file").limits(FUSE).limit(0.7),
    reads("M4", "random 4 KiB reads, incomplete file").peer(2.5).limits(FUSE).limit(0.7),
    rate("M5", "cold sequential read").limits(&[RawHttp]).limit(0.6),
    least("M5 first", "its first 4 KiB", "ms").limits(&[RawHttp]),
    rate("M5 far", "cold sequential read, 20 ms away").peer(2.0).limits(&[RawHttp]),
    least("M5 far first", "its first 4 KiB", "ms").limits(&[RawHttp]),
    reads("M6", "cold random 4 KiB reads").peer(10.0).limits(&[RawHttp]),
    reads("M6 x16", "the same, 16 at once").peer(10.0).limits(&[RawHttp]),
    rate("M7", "write and close").limits(FUSE).limit(0.9),
    rate("M7 synced", "the same beside a disk that syncs it").of(Ours, "M7").limits(&[DiskSynced]),
    rate("M7 writes", "the writes alone").limits(FUSE),
    least("M7 uploaded", "until the origin has it", "s").peer(1.0),
    least("M8", "find in 10,000 files of a fresh mount", "s").peer(0.25),
    least("M8 local", "the same over a local folder", "s").peer(0.25).limits(&[Disk, RawPlain]),
    least("M9", "create and close many 4 KiB files", "s").peer(0.3).limits(&[Disk, RawPlain]),
    least("M9 synced", "the same beside a disk that syncs each", "s").of(Ours, "M9").limits(&[DiskSynced]),
    least("M9 uploaded", "until the origin has them", "s").peer(1.0),
    least("M10", "peak memory after all of that", "MiB").peer(0.3),
    least("M10 idle", "memory of one more idle mount", "MiB").peer(0.3),
    most("M11", "the smallest API request", "req/s").peer(4.0),
    most("M11 list", "a list of 100 backends", "req/s").peer(10.0),
    most("M11 one", "one backend", "req/s").peer(4.0),
    most("M11 probe", "asking a provider who one is", "req/s"),
    least("M12", "fresh instance and plan, computing", "µs").limits(&[Instance]).at(50.0),
    least("M12 p99", "the 99th percentile of M12", "µs").limits(&[Instance]).at(200.0),
    least("M12 wall", "M12 as its caller waits for it", "µs"),
    most("M12 rate", "plans by two callers", "plans/s"),
    rate("M13", "read engine, component's plan").limits(&[Hardcoded]).limit(0.95),
    least("M13 CPU", "its CPU seconds", "s/GB").limits(&[Hardcoded]).limit(1.05),
    most("M13 small", "files of 64 bytes, each planned", "files/s").limits(&[Hardcoded]),
    rate("M17 md5", "MD5 of a file, by CPU").peer(1.0).limits(CRATE).limit(0.95),
    rate("M17 sha1", "SHA-1").limits(CRATE).limit(0.95),
    rate("M17 sha256", "SHA-256").peer(1.15).limits(CRATE).limit(0.95),
    rate("M17 sha512", "SHA-512").limits(CRATE).limit(0.95),
    rate("M17 blake3", "BLAKE3").peer(2.0).limits(CRATE).limit(0.95),
    rate("M17 crc32", "CRC-32").limits(CRATE).limit(0.95),
    rate("M17 whirlpool", "Whirlpool").limits(CRATE).limit(0.95),
    rate("M17 dropbox", "Dropbox's"),
    rate("M17 hidrive", "HiDrive's"),
    rate("M17 mailru", "Mail.ru's"),
    rate("M17 quickxor", "OneDrive's"),
    least("M18", "start to mounted", "ms").at(300.0),
    least("M18 first", "first read after that", "ms"),
];

/// What the suite defines and does not measure, and why.
pub const ABSENT: &[(&str, &str)] = &[
    (
        "M14 (a stream through the component)",
        "no component decodes content: plans are carried out by the runtime alone",
    ),
    ("M17 xxh3", "no provider has it, so the runtime does not either"),
];

const fn least(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        title,
        unit,
        higher: false,
        ours: Ours,
        samples: name,
        to_peer: None,
        limits: &[],
        to_limit: None,
        absolute: None,
    }
}

const fn most(name: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { higher: true, ..least(name, title, unit) }
}

const fn rate(name: &'static str, title: &'static str) -> Metric {
    most(name, title, "MB/s")
}

const fn reads(name: &'static str, title: &'static str) -> Metric {
    most(name, title, "reads/s")
}

impl Metric {
    /// By its name.
    pub fn named(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    const fn of(self, ours: Subject, samples: &'static str) -> Metric {
        Metric { ours, samples, ..self }
    }

    const fn peer(self, ratio: f64) -> Metric {
        Metric { to_peer: Some(ratio), ..self }
    }

    const fn limits(self, limits: &'static [Subject]) -> Metric {
        Metric { limits, ..self }
    }

    const fn limit(self, ratio: f64) -> Metric {
        Metric { to_limit: Some(ratio), ..self }
    }

    const fn at(self, value: f64) -> Metric {
        Metric { absolute: Some(value), ..self }
    }
}
