//! The charts of a workload, an arm a row or a cell; see [`crate::page`] for how charts are made.

mod hits;
mod ladder;
mod quantiles;
mod spread;

use std::fmt::Write;

use super::group::{Group, Line};
use crate::page::escape;
use crate::plan::Kind;

pub(super) use hits::hits;
pub(super) use ladder::ladder;
pub(super) use quantiles::quantiles;
pub(super) use spread::spread;

/// Room for the arms' names at the left, in SVG units.
const LEFT: f64 = 132.0;
/// Height of a row.
const ROW: f64 = 20.0;
/// Room above the rows for heads.
const TOP: f64 = 24.0;

/// The class of an arm's colour.
pub(super) const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Other => "other",
        Kind::Ours => "ours",
        Kind::Proxies => "proxies",
        Kind::Ablation | Kind::ProxiesAblation => "ablation",
        Kind::Bound => "bound",
    }
}

/// The arms that charts show.
fn shown(group: &Group) -> Vec<&Line> {
    group.lines.iter().filter(|line| line.kind.whole().is_none()).collect()
}

/// The arms' names at the left.
fn names(svg: &mut String, lines: &[&Line]) {
    for (row, line) in lines.iter().enumerate() {
        let class = if line.kind == Kind::Ours { " class=\"ours\"" } else { "" };
        let _ = writeln!(
            svg,
            "<text{class} x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            middle(row) + 4.0,
            escape(&line.rule)
        );
    }
}

/// The height at which a row's mark is.
fn middle(row: usize) -> f64 {
    TOP + ROW * (row as f64 + 0.5)
}
