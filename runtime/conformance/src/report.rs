//! How the cases ended, for people and for the list of what is known to fail.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The promise was kept.
    Passed,
    /// The storage makes no such promise.
    Inapplicable(String),
    /// The promise was broken.
    Failed(String),
}

/// One case and how it ended.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub case: &'static str,
    /// How.
    pub ended: Ended,
    /// After how long.
    pub took: Duration,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which they ran.
    pub rows: Vec<Row>,
}

impl Report {
    /// How many ended so.
    pub fn passed(&self) -> usize {
        self.rows.iter().filter(|row| row.ended == Ended::Passed).count()
    }

    /// Those that do not apply.
    pub fn inapplicable(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.ended, Ended::Inapplicable(_))).count()
    }

    /// Those that failed, with what was seen.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.rows.iter().filter_map(|row| match &row.ended {
            Ended::Failed(flaw) => Some((row.case, flaw.as_str())),
            _ => None,
        })
    }

    /// Holds the report against what is known to fail (case and reason): what failed and is not known, and what is known and did not
    /// fail. Such a list can only shrink.
    pub fn against(&self, known: &BTreeMap<String, String>) -> Vec<String> {
        let failed: BTreeMap<&str, &str> = self.failed().collect();
        let news = failed.iter().filter(|(case, _)| !known.contains_key(**case));
        let news = news.map(|(case, flaw)| format!("{case}: {flaw}"));
        let gone = known.keys().filter(|case| !failed.contains_key(case.as_str()));
        news.chain(gone.map(|case| format!("{case}: is listed as known to fail, and does not"))).collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ended {
            Ended::Passed => write!(f, "ok    {:<58} {:>6} ms", self.case, self.took.as_millis()),
            Ended::Inapplicable(why) => write!(f, "-     {:<58} {why}", self.case),
            Ended::Failed(flaw) => write!(f, "FAIL  {}\n      {flaw}", self.case),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed().count();
        write!(f, "{} kept, {failed} broken, {} not promised", self.passed(), self.inapplicable())
    }
}
