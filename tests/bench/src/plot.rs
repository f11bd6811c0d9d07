//! A plot of ratios, as SVG: a bar from one to the median for each metric, a whisker from least to most, a mark at the target.
//!
//! The axis is logarithmic, and a ratio of something of which less is better is turned round, so that right of the line is always better.

use std::fmt::Write;

use crate::figures::{Line, Spread, figure};

/// In pixels: the labels' column, the bars' column, the values' column, and a row.
const LABELS: f64 = 330.0;
const BARS: f64 = 520.0;
const VALUES: f64 = 70.0;
const ROW: f64 = 22.0;
/// What the axis shows.
const LEAST: f64 = 0.1;
const MOST: f64 = 100.0;

/// The plot of those lines that have such a ratio.
pub fn plot(title: &str, lines: &[Line], ratio: fn(&Line) -> Option<Spread>) -> String {
    let rows: Vec<_> = lines.iter().filter_map(|line| Some((line, ratio(line)?))).collect();
    let is_peer = title.contains("peer");
    let (width, height) = (LABELS + BARS + VALUES, ROW * (rows.len() + 3) as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LABELS}\" y=\"16\" font-weight=\"bold\">{title}</text>\n"
    );
    let bottom = height - ROW;
    for at in [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        let (x, strong) = (place(at), if at == 1.0 { "#333" } else { "#ddd" });
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {ROW}V{bottom}\" stroke=\"{strong}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\" fill=\"#555\">{at}</text>",
            bottom + 15.0
        );
    }
    for (index, (line, found)) in rows.into_iter().enumerate() {
        let metric = line.metric;
        let better = |ratio: f64| if metric.higher { ratio } else { ratio.recip() };
        let target = if is_peer { metric.to_peer } else { metric.to_limit }.map(better);
        let middle = ROW * (index as f64 + 1.5);
        let (one, value) = (place(1.0), place(better(found.median)));
        let colour = match target {
            Some(target) if better(found.median) < target => "#d9822b",
            Some(_) => "#3a7d44",
            None => "#7a8fa6",
        };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}, {}</text>\
             <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\" fill=\"{colour}\"/>\
             <path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#000\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LABELS - 8.0,
            middle + 4.0,
            metric.name,
            metric.title,
            one.min(value),
            middle - 6.0,
            (one - value).abs(),
            place(better(found.least)),
            place(better(found.most)),
            LABELS + BARS + 8.0,
            middle + 4.0,
            figure(better(found.median)),
        );
        if let Some(target) = target {
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {:.1}v18\" stroke=\"#b00\" stroke-width=\"2\"/>",
                place(target),
                middle - 9.0
            );
        }
    }
    svg + "</svg>\n"
}

/// Where a ratio stands from the left; beyond its ends the axis ends.
fn place(ratio: f64) -> f64 {
    let share = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LABELS + BARS * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Cost, Sample, lines};
    use crate::subject::Subject::{Mount2, Ours};

    #[test]
    fn less_of_what_should_be_little_is_drawn_as_better() {
        let sample = |subject, value| Sample { metric: "M9".into(), subject, round: 0, value, cost: Cost::default() };
        let svg =
            plot("Times as good as the best peer", &lines(&[sample(Ours, 1.0), sample(Mount2, 4.0)]), |l| l.to_peer);
        assert!(svg.contains(">4.00</text>") && svg.contains("#3a7d44"), "{svg}");
    }

    #[test]
    fn what_lies_beyond_the_axis_is_drawn_at_its_end() {
        assert_eq!(place(1000.0), LABELS + BARS);
        assert_eq!(place(0.0), LABELS);
    }
}
