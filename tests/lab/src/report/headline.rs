//! The comparison in rows: one measure each, all arms, and Warmpath against the best arm without it.

use crate::arm::{Arm, Side};
use crate::measure::Summary;
use warmpath_report::{percent, time_ms};

/// One measure over all arms.
pub(super) struct Row {
    /// What is measured.
    pub(super) label: &'static str,
    /// A value for each arm, ready to print.
    pub(super) cells: Vec<String>,
    /// Warmpath beside the best plain arm, in words; `None` where it makes no sense or one of them is missing.
    pub(super) verdict: Option<String>,
}

#[derive(Clone, Copy)]
enum Better {
    Lower,
    Higher,
    Neither,
}

type Read = fn(&Summary) -> f64;
type Show = fn(f64) -> String;

/// Requests without a first token at the end of an arm that time ends.
const WAITING: &str = "waiting at the end";

const ROWS: [(&str, Better, Read, Show); 16] = [
    ("prompt tokens cached", Better::Higher, |arm| arm.cached_share, percent),
    ("  one endless cache", Better::Neither, |arm| arm.ideal_cached_share, percent),
    ("TTFT p50", Better::Lower, |arm| arm.ttft_ms.p50, time_ms),
    ("TTFT p90", Better::Lower, |arm| arm.ttft_ms.p90, time_ms),
    ("TTFT p99", Better::Lower, |arm| arm.ttft_ms.p99, time_ms),
    ("TTFT mean", Better::Lower, |arm| arm.ttft_ms.mean, time_ms),
    ("end to end p50", Better::Lower, |arm| arm.e2e_ms.p50, time_ms),
    ("end to end p90", Better::Lower, |arm| arm.e2e_ms.p90, time_ms),
    ("end to end p99", Better::Lower, |arm| arm.e2e_ms.p99, time_ms),
    ("time per token p50", Better::Lower, |arm| arm.tpot_ms.p50, time_ms),
    ("time per token p99", Better::Lower, |arm| arm.tpot_ms.p99, time_ms),
    ("requests/s", Better::Higher, |arm| arm.requests_per_s, rate),
    ("output tokens/s", Better::Higher, |arm| arm.output_tokens_per_s, count),
    ("requests", Better::Neither, |arm| arm.requests as f64, count),
    ("lost", Better::Neither, |arm| arm.lost as f64, count),
    (WAITING, Better::Neither, |arm| arm.waiting as f64, count),
];

/// All rows.
pub(super) fn rows(arms: &[Summary]) -> Vec<Row> {
    let row = |(label, better, read, show): (&'static str, Better, Read, Show)| Row {
        label,
        cells: arms.iter().map(|arm| show(read(arm))).collect(),
        verdict: verdict(arms, better, read),
    };
    let has_waiting = arms.iter().any(|arm| arm.waiting > 0);
    ROWS.into_iter().filter(|(label, ..)| *label != WAITING || has_waiting).map(row).collect()
}

/// What is printed where two numbers are the same to two decimals of their ratio.
const SAME: &str = "the same";

/// The number of a row, as "2.4x lower" or "1.5x higher" than the best plain arm, or "the same".
fn verdict(arms: &[Summary], better: Better, read: Read) -> Option<String> {
    let ours = ours(arms).map(read)?;
    let plain = arms.iter().filter(|arm| side(arm) == Some(Side::Plain)).map(read);
    let best = match better {
        Better::Lower => plain.reduce(f64::min)?,
        Better::Higher => plain.reduce(f64::max)?,
        Better::Neither => return None,
    };
    let (factor, word) = if ours >= best { (ours / best, "higher") } else { (best / ours, "lower") };
    let factor = factor.is_finite().then(|| format!("{factor:.2}x"))?;
    Some(if factor == "1.00x" { SAME.to_owned() } else { format!("{factor} {word}") })
}

/// The arm that a comparison is about.
pub(super) fn ours(arms: &[Summary]) -> Option<&Summary> {
    arms.iter().find(|arm| side(arm) == Some(Side::Ours))
}

fn side(arm: &Summary) -> Option<Side> {
    arm.name.parse().ok().and_then(Arm::side)
}

fn rate(value: f64) -> String {
    format!("{value:.2}")
}

fn count(value: f64) -> String {
    format!("{value:.0}")
}

/// What the arm found cached, as a part of what one endless cache would have found.
pub(super) fn part_of_ideal(arm: &Summary) -> f64 {
    if arm.ideal_cached_share > 0.0 { arm.cached_share / arm.ideal_cached_share } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Quantiles;

    fn summary(name: &'static str, ttft_ms: f64, cached_share: f64) -> Summary {
        let ttft_ms = Quantiles { p50: ttft_ms, ..Quantiles::default() };
        Summary {
            name,
            requests: 1,
            lost: 0,
            waiting: 0,
            requests_per_s: 1.0,
            cached_share,
            ideal_cached_share: 0.8,
            ttft_ms,
            tpot_ms: Quantiles::default(),
            e2e_ms: Quantiles::default(),
            output_tokens_per_s: 1.0,
        }
    }

    #[test]
    fn a_difference_that_is_not_printed_is_not_called_one() {
        let with = |name, output_tokens_per_s| Summary { output_tokens_per_s, ..summary(name, 1.0, 0.5) };
        let verdict = |ours| {
            let arms = [with("round-robin", 839.4), with("warmpath", ours)];
            rows(&arms)[12].verdict.clone().unwrap()
        };
        assert_eq!(verdict(839.1), "the same");
        assert_eq!(verdict(839.9), "the same");
        assert_eq!(verdict(800.0), "1.05x lower");
        assert_eq!(verdict(900.0), "1.07x higher");
    }

    #[test]
    fn we_are_held_against_the_best_plain_arm() {
        let arms = [
            summary("round-robin", 900.0, 0.2),
            summary("least-request", 600.0, 0.1),
            summary("warmpath", 200.0, 0.6),
        ];
        let rows = rows(&arms);
        assert_eq!(rows[0].verdict.as_deref(), Some("3.00x higher"));
        assert_eq!(rows[2].verdict.as_deref(), Some("3.00x lower"));
        assert_eq!(rows[2].cells, ["900 ms", "600 ms", "200 ms"]);
        assert_eq!((rows[12].label, rows[12].verdict.as_deref()), ("output tokens/s", Some("the same")));
        assert_eq!(rows[13].verdict, None);
        assert!(rows.iter().all(|row| row.label != WAITING), "nobody waits");
        assert!(
            super::rows(&arms[..2]).iter().all(|row| row.verdict.is_none()),
            "without us there is no verdict"
        );
    }
}
