//! What was measured becomes figures: medians with their spread, ratios within rounds, and whether a target was met.
//!
//! A ratio is formed within each round, against the best of the peers or of the limits in it, and the median of those is what
//! counts: what disturbs a round disturbs all that are in it.

use serde_json::{Value, json};

use crate::metrics::{METRICS, Metric};
use crate::subject::Subject;

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub metric: String,
    /// Who.
    pub subject: Subject,
    /// Which round.
    pub round: usize,
    /// In the metric's unit.
    pub value: f64,
    /// What it cost.
    pub cost: Cost,
}

/// What a measurement cost; nothing where that is not known or stands at another metric.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Seconds of CPU that the client used.
    pub client: f64,
    /// Seconds of CPU that the daemon used.
    pub daemon: f64,
    /// The most memory that the daemon had held by its end, in MiB.
    pub peak: f64,
}

impl Sample {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let Cost { client, daemon, peak } = self.cost;
        json!({
            "metric": self.metric, "subject": self.subject.name(), "round": self.round, "value": self.value,
            "client_cpu_s": client, "daemon_cpu_s": daemon, "peak_mib": peak,
        })
    }

    /// What [`Sample::to_json`] wrote.
    pub fn from_json(told: &Value) -> Option<Sample> {
        let number = |name: &str| told[name].as_f64();
        Some(Sample {
            metric: told["metric"].as_str()?.to_owned(),
            subject: Subject::named(told["subject"].as_str()?)?,
            round: told["round"].as_u64()? as usize,
            value: number("value")?,
            cost: Cost { client: number("client_cpu_s")?, daemon: number("daemon_cpu_s")?, peak: number("peak_mib")? },
        })
    }
}

/// The middle, the least and the most of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    pub cpu: (f64, f64),
    /// The most memory so far in MiB, the same.
    pub peak: (f64, f64),
    /// Of its targets, whether each was met.
    pub targets: Vec<(String, bool)>,
}

/// The lines of those metrics that were measured.
pub fn lines(samples: &[Sample]) -> Vec<Line> {
    METRICS.iter().filter_map(|metric| line(metric, samples)).collect()
}

fn line(metric: &'static Metric, samples: &[Sample]) -> Option<Line> {
    let samples: Vec<_> = samples.iter().filter(|sample| sample.metric == metric.samples).collect();
    let is_shown = |subject: Subject| subject == metric.ours || subject.is_peer() || metric.limits.contains(&subject);
    let mut subjects: Vec<_> =
        samples.iter().map(|sample| sample.subject).filter(|subject| is_shown(*subject)).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let of = |subject| samples.iter().filter(move |sample| sample.subject == subject);
    let spread = |subject, figure: fn(&Sample) -> f64| Spread::of(of(subject).map(|sample| figure(sample)).collect());
    let ratio = |among: &dyn Fn(Subject) -> bool| {
        let ratios = of(metric.ours).filter_map(|ours| {
            let others = samples.iter().filter(|sample| sample.round == ours.round && among(sample.subject));
            let values = others.map(|sample| sample.value);
            let best = if metric.higher { values.max_by(f64::total_cmp) } else { values.min_by(f64::total_cmp) };
            best.map(|best| ours.value / best)
        });
        Spread::of(ratios.collect())
    };
    let median = |subject, figure| spread(subject, figure).map_or(0.0, |spread| spread.median);
    let beside = |figure: fn(&Sample) -> f64| {
        let peers = subjects.iter().filter(|subject| subject.is_peer());
        let least = peers.map(|peer| median(*peer, figure)).min_by(f64::total_cmp);
        (median(metric.ours, figure), least.unwrap_or(0.0))
    };
    let (to_peer, to_limit) = (ratio(&Subject::is_peer), ratio(&|subject| metric.limits.contains(&subject)));
    let judged = [
        ("of the best peer", metric.to_peer, to_peer),
        ("of the limit", metric.to_limit, to_limit),
        (metric.unit, metric.absolute, spread(metric.ours, |sample| sample.value)),
    ];
    // Nothing to judge where we were not measured.
    judged[2].2?;
    let targets = judged.into_iter().filter_map(|(what, target, found)| {
        let (target, found) = (target?, found?.median);
        let (sign, met) = if metric.higher { ("≥", found >= target) } else { ("≤", found <= target) };
        Some((format!("{sign} {target} {what}"), met))
    });
    Some(Line {
        metric,
        values: subjects.iter().filter_map(|&subject| Some((subject, spread(subject, |one| one.value)?))).collect(),
        to_peer,
        to_limit,
        cpu: beside(|sample| sample.cost.client + sample.cost.daemon),
        peak: beside(|sample| sample.cost.peak),
        targets: targets.collect(),
    })
}

/// The table of all lines, in Markdown.
pub fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "| | | causeway | best peer | limit | to peer | to limit | targets | CPU s | peer's | MiB | peer's |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let metric = line.metric;
        let better = |one: f64, other: f64| if metric.higher { one.total_cmp(&other) } else { other.total_cmp(&one) };
        let best = |among: &dyn Fn(Subject) -> bool| {
            let those = line.values.iter().filter(|(subject, _)| among(*subject));
            let best = those.max_by(|one, other| better(one.1.median, other.1.median));
            best.map_or(String::new(), |(subject, spread)| format!("{} ({})", figure(spread.median), subject.name()))
        };
        let ours = line.values.iter().find(|(subject, _)| *subject == metric.ours);
        let spread = |spread: Option<Spread>| spread.map_or(String::new(), spread_figure);
        let told = |(target, met): &(String, bool)| format!("{target}: {}", if *met { "met" } else { "**missed**" });
        let cells = [
            metric.name.to_owned(),
            format!("{}, {}", metric.title, metric.unit),
            spread(ours.map(|(_, spread)| *spread)),
            best(&Subject::is_peer),
            best(&|subject| metric.limits.contains(&subject)),
            spread(line.to_peer),
            spread(line.to_limit),
            line.targets.iter().map(told).collect::<Vec<_>>().join("; "),
            cost(line.cpu.0),
            cost(line.cpu.1),
            cost(line.peak.0),
            cost(line.peak.1),
        ];
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

/// All lines, for programs.
pub fn told(lines: &[Line]) -> Value {
    let spread = |spread: Spread| json!({"median": spread.median, "min": spread.least, "max": spread.most});
    let told = lines.iter().map(|line| {
        let values = line.values.iter().map(|(subject, found)| (subject.name().to_owned(), spread(*found)));
        json!({
            "metric": line.metric.name, "title": line.metric.title, "unit": line.metric.unit,
            "values": values.collect::<serde_json::Map<_, _>>(),
            "to_peer": line.to_peer.map(spread), "to_limit": line.to_limit.map(spread),
            "targets": line.targets.iter().map(|(target, met)| json!({"target": target, "met": met})).collect::<Vec<_>>(),
        })
    });
    told.collect()
}

fn cost(value: f64) -> String {
    if value > 0.0 { figure(value) } else { String::new() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject::{Disk, Mount, Mount2, Ours, RawDirect, RawPlain, Unlent};

    fn sample(metric: &str, subject: Subject, round: usize, value: f64) -> Sample {
        Sample { metric: metric.to_owned(), subject, round, value, cost: Cost::default() }
    }

    fn only(samples: &[Sample]) -> Line {
        let mut lines = lines(samples);
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 10.0]), Some(Spread { median: 3.0, least: 1.0, most: 10.0 }));
    }

    #[test]
    fn a_ratio_is_formed_within_its_round_against_the_best_of_the_peers() {
        let line = only(&[
            sample("M1", Ours, 0, 600.0),
            sample("M1", Mount, 0, 100.0),
            sample("M1", Mount2, 0, 200.0),
            // A round in which all were slow changes the values and not the ratio.
            sample("M1", Ours, 1, 60.0),
            sample("M1", Mount2, 1, 20.0),
            sample("M1", Mount, 1, 10.0),
        ]);
        assert_eq!(line.to_peer, Some(Spread { median: 3.0, least: 3.0, most: 3.0 }));
        assert_eq!(line.targets, [("≥ 3 of the best peer".to_owned(), true)]);
        assert_eq!(line.to_limit, None);
    }

    #[test]
    fn where_less_is_better_the_best_is_the_least_and_a_target_is_the_most_allowed() {
        let lines = lines(&[sample("M9", Ours, 0, 1.0), sample("M9", Mount, 0, 4.0), sample("M9", Mount2, 0, 2.0)]);
        // The second one judges the same files beside a disk that syncs.
        let line = &lines[0];
        assert_eq!(line.to_peer.map(|ratio| ratio.median), Some(0.5));
        assert_eq!(line.targets, [("≤ 0.3 of the best peer".to_owned(), false)]);
    }

    #[test]
    fn a_target_in_the_unit_is_held_against_our_median() {
        let line = only(&[sample("M18", Ours, 0, 250.0), sample("M18", Ours, 1, 350.0), sample("M18", Ours, 2, 290.0)]);
        assert_eq!(line.targets, [("≤ 300 ms".to_owned(), true)]);
    }

    #[test]
    fn the_lane_without_passthrough_is_judged_by_itself_against_raw_fuse() {
        let samples = [
            sample("M1", Ours, 0, 5000.0),
            sample("M1", Unlent, 0, 900.0),
            sample("M1", Disk, 0, 5000.0),
            sample("M1", RawPlain, 0, 600.0),
            sample("M1", RawDirect, 0, 1000.0),
        ];
        let lines = lines(&samples);
        assert_eq!(lines.iter().map(|line| line.metric.name).collect::<Vec<_>>(), ["M1", "M1 unlent"]);
        assert_eq!(lines[0].to_limit.map(|ratio| ratio.median), Some(1.0));
        assert_eq!(lines[1].to_limit.map(|ratio| ratio.median), Some(0.9));
        assert!(lines[1].values.iter().all(|(subject, _)| ![Ours, Disk].contains(subject)));
    }

    #[test]
    fn what_only_others_were_measured_at_has_no_line() {
        assert!(lines(&[sample("M1", Mount2, 0, 200.0)]).is_empty());
    }

    #[test]
    fn a_table_says_which_targets_were_missed() {
        let table = table(&lines(&[sample("M1", Ours, 0, 250.0), sample("M1", Mount2, 0, 100.0)]));
        assert!(table.contains("2.50 (2.50–2.50)") && table.contains("≥ 3 of the best peer: **missed**"), "{table}");
    }

    #[test]
    fn samples_come_back_from_json_as_they_were() {
        let cost = Cost { client: 0.25, daemon: 1.5, peak: 12.0 };
        let sample = Sample { cost, ..sample("M5 far", Mount2, 2, 471.5) };
        assert_eq!(Sample::from_json(&sample.to_json()), Some(sample));
        assert_eq!(Sample::from_json(&json!({"metric": "M1"})), None);
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[..index].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
    }
}
