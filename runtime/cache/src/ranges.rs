//! A set of byte ranges, kept disjoint and joined.
//!
//! It does not know what the bytes are. Each entry is `start -> end`; neighbours that touch are one entry, so the number
//! of entries is the number of holes plus one, whatever the order in which they came.

use std::collections::BTreeMap;

use causeway_storage::Span;
use serde::{Deserialize, Serialize};

/// Ranges of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// All of `0..size`.
    pub fn whole(size: u64) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.insert(Span::new(0, size));
        ranges
    }

    /// Adds a range.
    pub fn insert(&mut self, span: Span) {
        if span.size == 0 {
            return;
        }
        let (mut start, mut end) = (span.offset, span.end());
        while let Some((&near_start, &near_end)) = self.0.range(..=end).next_back() {
            if near_end < start {
                break;
            }
            self.0.remove(&near_start);
            start = start.min(near_start);
            end = end.max(near_end);
        }
        self.0.insert(start, end);
    }

    /// Forgets everything from `size` on.
    pub fn truncate(&mut self, size: u64) {
        self.0.split_off(&size);
        if let Some((_, end)) = self.0.iter_mut().next_back() {
            *end = (*end).min(size);
        }
    }

    /// Forgets what lies within `span`.
    pub fn remove(&mut self, span: Span) {
        let touched = self.0.range(..span.end()).rev().take_while(|(_, end)| **end > span.offset);
        let touched: Vec<(u64, u64)> = touched.map(|(&start, &end)| (start, end)).collect();
        for (start, end) in touched {
            self.0.remove(&start);
            if start < span.offset {
                self.0.insert(start, span.offset);
            }
            if end > span.end() {
                self.0.insert(span.end(), end);
            }
        }
    }

    /// What of `span` is not in the set, in order.
    pub fn missing(&self, span: Span) -> Vec<Span> {
        let mut missing = Vec::new();
        let mut position = span.offset;
        let first = self.0.range(..=span.offset).next_back().map_or(span.offset, |(&start, _)| start);
        for (&start, &end) in self.0.range(first..span.end()) {
            if start > position {
                missing.push(Span::new(position, start - position));
            }
            position = position.max(end);
        }
        if position < span.end() {
            missing.push(Span::new(position, span.end() - position));
        }
        missing
    }

    /// Whether all of `span` is in the set.
    pub fn contains(&self, span: Span) -> bool {
        span.size == 0 || self.0.range(..=span.offset).next_back().is_some_and(|(_, &end)| end >= span.end())
    }

    /// How many bytes there are.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.0.iter().map(|(&start, &end)| Span::new(start, end - start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(spans: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        spans.iter().for_each(|&(start, end)| ranges.insert(Span::new(start, end - start)));
        ranges
    }

    #[test]
    fn what_touches_becomes_one() {
        assert_eq!(ranges(&[(0, 4), (8, 12), (4, 8)]), ranges(&[(0, 12)]));
        assert_eq!(ranges(&[(2, 4), (6, 8), (0, 10)]), ranges(&[(0, 10)]));
        assert_eq!(ranges(&[(0, 10), (2, 4)]), ranges(&[(0, 10)]));
    }

    #[test]
    fn what_is_removed_leaves_what_is_around_it() {
        let mut ranges = ranges(&[(0, 4), (6, 10), (12, 14)]);
        ranges.remove(Span::new(2, 6));
        let left: Vec<_> = ranges.iter().map(|span| (span.offset, span.end())).collect();
        assert_eq!(left, [(0, 2), (8, 10), (12, 14)]);
        ranges.remove(Span::new(0, 20));
        assert_eq!(ranges, Ranges::default());
    }

    #[test]
    fn missing_is_exactly_the_holes() {
        let holes = ranges(&[(2, 4), (6, 8)]).missing(Span::new(0, 10));
        assert_eq!(holes, [Span::new(0, 2), Span::new(4, 2), Span::new(8, 2)]);
        assert_eq!(ranges(&[(0, 8)]).missing(Span::new(3, 4)), []);
        assert_eq!(ranges(&[(0, 4)]).missing(Span::new(3, 4)), [Span::new(4, 3)]);
    }

    #[test]
    fn truncation_cuts_the_range_it_falls_into() {
        let mut cut = ranges(&[(0, 4), (6, 10)]);
        cut.truncate(8);
        assert_eq!(cut, ranges(&[(0, 4), (6, 8)]));
        cut.truncate(5);
        assert_eq!(cut, ranges(&[(0, 4)]));
        assert_eq!(cut.total(), 4);
    }
}
