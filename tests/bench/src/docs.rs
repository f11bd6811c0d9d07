//! The page about benchmarks: how it is measured, the figures of one run, a plot for each kind of ratio, and what a person says about
//! targets that were missed.
//!
//! It is written from the results of a run, as they were kept, so it can be written again once the person has said it. That text lies
//! beside the page, a heading for each metric, and nothing of it is ever lost.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::figures::{Line, Sample, lines, table};
use crate::metrics::ABSENT;
use crate::plot::plot;

const PAGE: &str = include_str!("page.md");
const NOTES: &str = "benchmarks-missed.md";
const UNSAID: &str = "Nobody has looked into it yet.";

/// Writes page and plots below a directory.
pub fn write(directory: &Path, results: &Value) -> Result<()> {
    let samples = results["samples"].as_array().ok_or("these are no results")?;
    let samples: Vec<_> = samples.iter().filter_map(Sample::from_json).collect();
    let lines = lines(&samples);
    let notes_path = directory.join(NOTES);
    let mut notes = if notes_path.exists() { fs::read_to_string(&notes_path)? } else { String::new() };
    let mut page = format!("{PAGE}\n## The run\n{}", circumstances(results));
    page += &format!("\n{}\n", table(&lines));
    page += "Not measured:\n";
    ABSENT.iter().for_each(|(what, why)| page += &format!("- {what}: {why}.\n"));
    let plots = [
        ("benchmarks-peer.svg", "Times as good as the best peer", (|line| line.to_peer) as fn(&Line) -> _),
        ("benchmarks-limit.svg", "Times as good as the limit", |line| line.to_limit),
    ];
    for (name, title, ratio) in plots {
        fs::write(directory.join(name), plot(title, &lines, ratio))?;
        page += &format!("\n![{title}]({name})\n");
    }
    page += "\n## Targets that were missed\n";
    for line in lines.iter().filter(|line| line.targets.iter().any(|(_, met)| !met)) {
        let name = line.metric.name;
        let missed: Vec<_> = line.targets.iter().filter(|(_, met)| !met).map(|(target, _)| target.as_str()).collect();
        let said = said(&notes, name).map(str::to_owned);
        if said.is_none() {
            notes += &format!("## {name}\n\n");
        }
        let said = said.filter(|text| !text.is_empty()).unwrap_or_else(|| UNSAID.to_owned());
        page += &format!("\n**{name}, {}** ({}). {said}\n", line.metric.title, missed.join("; "));
    }
    fs::write(notes_path, notes)?;
    Ok(fs::write(directory.join("benchmarks.md"), page)?)
}

fn circumstances(results: &Value) -> String {
    let told = results["versions"].as_object().into_iter().flatten();
    let told = told.map(|(name, what)| format!("- {name}: {}\n", what.as_str().unwrap_or_default()));
    let sizes = results["sizes"].as_str().unwrap_or_default();
    let load = results["load"].as_str().unwrap_or_default();
    format!("{}- {sizes}\n- before it: {load}\n", told.collect::<String>())
}

/// What stands below the heading of a metric.
fn said<'a>(notes: &'a str, name: &str) -> Option<&'a str> {
    let mut sections = notes.split("## ").filter_map(|section| section.split_once('\n'));
    let (_, text) = sections.find(|(heading, _)| heading.trim() == name)?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Cost;
    use crate::subject::Subject::{Mount2, Ours};
    use serde_json::json;

    fn results() -> Value {
        let sample = |subject, value| {
            let sample = Sample { metric: "M1".into(), subject, round: 0, value, cost: Cost::default() };
            sample.to_json()
        };
        json!({
            "versions": {"rclone": "rclone v1"}, "sizes": "3 rounds", "load": "load 0.1 on 2 cores",
            "samples": [sample(Ours, 250.0), sample(Mount2, 100.0)],
        })
    }

    #[test]
    fn what_was_said_of_a_missed_target_is_on_the_page_and_stays_where_it_was_said() {
        let directory = tempfile::tempdir().unwrap();
        let notes = "## M7\nOf another.\n\n## M1\nThe kernel is slow today.\n";
        fs::write(directory.path().join(NOTES), notes).unwrap();
        write(directory.path(), &results()).unwrap();
        let page = fs::read_to_string(directory.path().join("benchmarks.md")).unwrap();
        assert!(page.contains("(≥ 3 of the best peer). The kernel is slow today."), "{page}");
        assert!(page.contains("- rclone: rclone v1\n") && !page.contains("Of another."));
        assert_eq!(fs::read_to_string(directory.path().join(NOTES)).unwrap(), notes);
    }

    #[test]
    fn a_missed_target_that_nobody_explained_gets_a_heading_to_do_so_once() {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            write(directory.path(), &results()).unwrap();
        }
        assert_eq!(fs::read_to_string(directory.path().join(NOTES)).unwrap(), "## M1\n\n");
        assert!(fs::read_to_string(directory.path().join("benchmarks.md")).unwrap().contains(UNSAID));
    }

    #[test]
    fn what_are_no_results_becomes_no_page() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(directory.path(), &json!({})).is_err());
        assert!(!directory.path().join("benchmarks.md").exists());
    }
}
