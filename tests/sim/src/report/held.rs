//! The arms on a workload that is cut off: rates, and times of all that came, by group of sessions.

use super::group::{Group, Line};
use crate::measure::GroupClosed;
use warmpath_report::{Cell, Mark, Row, Section, Table, percent, time_ms};

type Better = Option<fn(f64, f64) -> f64>;
type Column = (&'static str, fn(&GroupClosed) -> f64, fn(f64) -> String, Better);

const LESS: Better = Some(f64::min);
const MORE: Better = Some(f64::max);

const COLUMNS: &[Column] = &[
    ("requests/s \u{2191}", |one| one.requests_per_s, rate, MORE),
    ("within 30 s \u{2191}", |one| one.quick_per_s, rate, MORE),
    ("cached \u{2191}", |one| one.cached_share, percent, MORE),
    ("TTFT p50", |one| one.ttft_ms.p50, time_ms, LESS),
    ("p90", |one| one.ttft_ms.p90, time_ms, LESS),
    ("p99", |one| one.ttft_ms.p99, time_ms, LESS),
    ("E2E mean", |one| one.e2e_ms.mean, time_ms, LESS),
    ("TPOT mean", |one| one.tpot_ms.mean, time_ms, LESS),
    ("an agent's requests, fewest \u{2191}", |one| one.agent_requests_min, whole, MORE),
    ("median \u{2191}", |one| one.agent_requests_p50, whole, MORE),
    ("refused", |one| one.refusals, whole, None),
];

/// A table for each group of sessions; the first is of all together.
pub(super) fn tables(group: &Group) -> Vec<(String, Table)> {
    let groups = group.lines.iter().map(|line| line.closed.len()).min().unwrap_or(0);
    let table = |number: usize| {
        let name = group.lines.first().map_or("", |line| line.closed[number].name);
        let rows = group.lines.iter().map(|line| row(group, line, number));
        let heads = std::iter::once(name).chain(COLUMNS.iter().map(|(head, ..)| *head));
        (name.to_owned(), Table::new(heads, rows))
    };
    (0..groups).map(table).collect()
}

/// The tables of all groups but the first.
pub(super) fn sections(group: &Group) -> Vec<Section> {
    let others = tables(group).into_iter().skip(1);
    others.map(|(title, table)| Section { title, table, ..Section::default() }).collect()
}

fn row(group: &Group, line: &Line, number: usize) -> Row {
    let cell = |(_, of, show, better): &Column| {
        let value = of(&line.closed[number]);
        let all = group.contenders().map(|line| of(&line.closed[number]));
        let is_best =
            better.and_then(|better| all.reduce(better)).is_some_and(|best| best.total_cmp(&value).is_eq());
        Cell::new(show(value), if is_best && line.is_contender() { Mark::Best } else { Mark::None })
    };
    std::iter::once(line.label().into()).chain(COLUMNS.iter().map(cell)).collect::<Row>().of(line.role())
}

fn rate(value: f64) -> String {
    format!("{value:.3}")
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}
