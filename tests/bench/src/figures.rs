//! What was measured becomes figures: medians with their spread, ratios within rounds, and whether a target was met.
//!
//! A ratio is formed within each round, against the best of the peers or of the limits in it, and the median of those is what
//! counts: what disturbs a round disturbs all that are in it.

use serde_json::{Value, json};

use crate::subject::Subject::{self, Disk, Ours, RawDirect, RawHttp, RawPassthrough, RawPlain};

/// One measured value.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The metric's name.
    pub metric: &'static str,
    /// Who.
    pub subject: Subject,
    /// Which round.
    pub round: usize,
    /// In the metric's unit.
    pub value: f64,
    /// Seconds of CPU that the client used.
    pub client: f64,
    /// Seconds of CPU that the daemon used.
    pub daemon: f64,
}

/// What is measured, and what it should come to.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Whether more is better.
    pub higher: bool,
    /// What ours should be of the best peer: at least where more is better, else at most.
    pub to_peer: Option<f64>,
    /// The limits that it is compared with.
    pub limits: &'static [Subject],
    /// What ours should be of the best limit.
    pub to_limit: Option<f64>,
    /// What ours should be at most or at least, in the unit.
    pub absolute: Option<f64>,
}

const PLAIN: Metric =
    Metric { name: "", title: "", unit: "", higher: false, to_peer: None, limits: &[], to_limit: None, absolute: None };
const RATE: Metric = Metric { unit: "MB/s", higher: true, ..PLAIN };
const READS: Metric = Metric { unit: "reads/s", higher: true, ..PLAIN };
const SECONDS: Metric = Metric { unit: "s", ..PLAIN };
const FUSE: &[Subject] = &[RawPlain, RawDirect];

/// All of them, in the order of the table.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "M1",
        title: "warm sequential read",
        to_peer: Some(3.0),
        limits: &[Disk],
        to_limit: Some(0.9),
        ..RATE
    },
    Metric {
        name: "M2",
        title: "warm random 4 KiB reads",
        to_peer: Some(20.0),
        limits: &[Disk],
        to_limit: Some(0.7),
        ..READS
    },
    Metric { name: "M2 p50", title: "the median of those", unit: "µs", limits: &[Disk, RawPassthrough], ..PLAIN },
    Metric {
        name: "M2 p99",
        title: "the 99th percentile of those",
        unit: "µs",
        limits: &[Disk, RawPassthrough],
        ..PLAIN
    },
    Metric { name: "M3", title: "sequential read, incomplete file", limits: FUSE, to_limit: Some(0.7), ..RATE },
    Metric {
        name: "M4",
        title: "random 4 KiB reads, incomplete file",
        to_peer: Some(2.5),
        limits: FUSE,
        to_limit: Some(0.7),
        ..READS
    },
    Metric { name: "M5", title: "cold sequential read", limits: &[RawHttp], to_limit: Some(0.6), ..RATE },
    Metric { name: "M5 first", title: "its first 4 KiB", unit: "ms", limits: &[RawHttp], ..PLAIN },
    Metric {
        name: "M5 far",
        title: "cold sequential read, 20 ms away",
        to_peer: Some(2.0),
        limits: &[RawHttp],
        ..RATE
    },
    Metric { name: "M5 far first", title: "its first 4 KiB", unit: "ms", limits: &[RawHttp], ..PLAIN },
    Metric { name: "M6", title: "cold random 4 KiB reads", to_peer: Some(10.0), limits: &[RawHttp], ..READS },
    Metric { name: "M6 x16", title: "the same, 16 at once", to_peer: Some(10.0), limits: &[RawHttp], ..READS },
    Metric { name: "M7", title: "write and close", limits: FUSE, to_limit: Some(0.9), ..RATE },
    Metric { name: "M7 writes", title: "the writes alone", limits: FUSE, ..RATE },
    Metric { name: "M7 uploaded", title: "until the origin has it", to_peer: Some(1.0), ..SECONDS },
    Metric { name: "M8", title: "find in 10,000 files of a fresh mount", to_peer: Some(0.25), ..SECONDS },
    Metric {
        name: "M8 local",
        title: "the same over a local folder",
        to_peer: Some(0.25),
        limits: &[Disk, RawPlain],
        ..SECONDS
    },
    Metric {
        name: "M9",
        title: "create and close many 4 KiB files",
        to_peer: Some(0.3),
        limits: &[Disk, RawPlain],
        ..SECONDS
    },
    Metric { name: "M9 uploaded", title: "until the origin has them", to_peer: Some(1.0), ..SECONDS },
    Metric { name: "M10 reading", title: "peak memory, reading", unit: "MiB", to_peer: Some(0.3), ..PLAIN },
    Metric { name: "M10 writing", title: "peak memory, writing", unit: "MiB", to_peer: Some(0.3), ..PLAIN },
    Metric { name: "M10 walking", title: "peak memory, 10,000 files", unit: "MiB", to_peer: Some(0.3), ..PLAIN },
    Metric { name: "M10 creating", title: "peak memory, many small files", unit: "MiB", to_peer: Some(0.3), ..PLAIN },
    Metric { name: "M10 idle", title: "memory of an idle mount", unit: "MiB", to_peer: Some(0.3), ..PLAIN },
    Metric {
        name: "M11",
        title: "the smallest useful API request",
        unit: "req/s",
        higher: true,
        to_peer: Some(4.0),
        ..PLAIN
    },
    Metric { name: "M18", title: "start to mounted", unit: "ms", absolute: Some(300.0), ..PLAIN },
    Metric { name: "M18 first", title: "first read after that", unit: "ms", ..PLAIN },
];

/// The middle, the least and the most of some values.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// None of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Spread { median: f64::midpoint(lower, upper), least, most })
    }
}

/// A line of the table.
#[derive(Debug)]
pub struct Line {
    /// What it is about.
    pub metric: &'static Metric,
    /// By subject, in order.
    pub values: Vec<(Subject, Spread)>,
    /// Ours to the best peer's.
    pub to_peer: Option<Spread>,
    /// Ours to the best limit's.
    pub to_limit: Option<Spread>,
    /// Seconds of CPU, client and daemon, the median: ours and that of the peer that used the least.
    pub cpu: (Option<f64>, Option<f64>),
    /// Of its targets, whether each was met.
    pub targets: Vec<(String, bool)>,
}

/// The lines of those metrics that were measured.
pub fn lines(samples: &[Sample]) -> Vec<Line> {
    METRICS.iter().filter_map(|metric| line(metric, samples)).collect()
}

fn line(metric: &'static Metric, samples: &[Sample]) -> Option<Line> {
    let samples: Vec<_> = samples.iter().filter(|sample| sample.metric == metric.name).collect();
    let of = |subject| samples.iter().filter(move |sample| sample.subject == subject);
    let mut subjects: Vec<_> = samples.iter().map(|sample| sample.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let value = |subject: Subject| Some((subject, Spread::of(of(subject).map(|sample| sample.value).collect())?));
    let ratio = |among: &dyn Fn(Subject) -> bool| {
        let ratios = of(Ours).filter_map(|ours| {
            let others = samples.iter().filter(|sample| sample.round == ours.round && among(sample.subject));
            let values = others.map(|sample| sample.value);
            let best = if metric.higher { values.max_by(f64::total_cmp) } else { values.min_by(f64::total_cmp) };
            best.map(|best| ours.value / best)
        });
        Spread::of(ratios.collect())
    };
    let cpu = |subject| Spread::of(of(subject).map(|sample| sample.client + sample.daemon).collect());
    let (to_peer, to_limit) = (ratio(&Subject::is_peer), ratio(&|subject| metric.limits.contains(&subject)));
    let ours = value(Ours)?.1;
    let judged = [
        ("of the best peer", metric.to_peer, to_peer),
        ("of the limit", metric.to_limit, to_limit),
        (metric.unit, metric.absolute, Some(ours)),
    ];
    let targets = judged.into_iter().filter_map(|(what, target, found)| {
        let (target, found) = (target?, found?.median);
        let (sign, met) = if metric.higher { ("≥", found >= target) } else { ("≤", found <= target) };
        Some((format!("{sign} {target} {what}"), met))
    });
    let peers = subjects.iter().filter(|subject| subject.is_peer());
    Some(Line {
        metric,
        values: subjects.iter().filter_map(|subject| value(*subject)).collect(),
        to_peer,
        to_limit,
        cpu: (
            cpu(Ours).map(|cpu| cpu.median),
            peers.filter_map(|peer| Some(cpu(*peer)?.median)).min_by(f64::total_cmp),
        ),
        targets: targets.collect(),
    })
}

/// The table of all lines, in Markdown.
pub fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "| | | causeway | best peer | limit | to peer | to limit | targets | CPU s | peer's |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let metric = line.metric;
        let better = |one: f64, other: f64| if metric.higher { one.total_cmp(&other) } else { other.total_cmp(&one) };
        let best = |among: &dyn Fn(Subject) -> bool| {
            let those = line.values.iter().filter(|(subject, _)| among(*subject));
            let best = those.max_by(|one, other| better(one.1.median, other.1.median));
            best.map_or(String::new(), |(subject, spread)| format!("{} ({})", figure(spread.median), subject.name()))
        };
        let ours = line.values.iter().find(|(subject, _)| *subject == Ours).map(|(_, spread)| spread_figure(*spread));
        let ratio = |ratio: Option<Spread>| ratio.map_or(String::new(), spread_figure);
        let cpu = |cpu: Option<f64>| cpu.filter(|cpu| *cpu > 0.0).map_or(String::new(), |cpu| format!("{cpu:.2}"));
        let told = |(target, met): &(String, bool)| format!("{target}: {}", if *met { "met" } else { "**missed**" });
        table += &format!(
            "| {} | {}, {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            metric.name,
            metric.title,
            metric.unit,
            ours.unwrap_or_default(),
            best(&Subject::is_peer),
            best(&|subject| metric.limits.contains(&subject)),
            ratio(line.to_peer),
            ratio(line.to_limit),
            line.targets.iter().map(told).collect::<Vec<_>>().join("; "),
            cpu(line.cpu.0),
            cpu(line.cpu.1),
        );
    }
    table
}

/// Everything, for programs.
pub fn figures(samples: &[Sample], lines: &[Line]) -> Value {
    let samples = samples.iter().map(|sample| {
        json!({
            "metric": sample.metric, "subject": sample.subject.name(), "round": sample.round, "value": sample.value,
            "client_cpu_s": sample.client, "daemon_cpu_s": sample.daemon,
        })
    });
    let lines = lines.iter().map(|line| {
        let spread = |spread: Spread| json!({"median": spread.median, "min": spread.least, "max": spread.most});
        let values = line.values.iter().map(|(subject, found)| (subject.name().to_owned(), spread(*found)));
        json!({
            "metric": line.metric.name, "title": line.metric.title, "unit": line.metric.unit,
            "values": values.collect::<serde_json::Map<_, _>>(),
            "to_peer": line.to_peer.map(spread), "to_limit": line.to_limit.map(spread),
            "targets": line.targets.iter().map(|(target, met)| json!({"target": target, "met": met})).collect::<Vec<_>>(),
        })
    });
    json!({"lines": lines.collect::<Vec<_>>(), "samples": samples.collect::<Vec<_>>()})
}

fn spread_figure(spread: Spread) -> String {
    format!("{} ({}–{})", figure(spread.median), figure(spread.least), figure(spread.most))
}

/// Three digits, or all before the point.
pub fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
