//! All arms on one workload: every number, and the charts.

use super::group::{Figures, Group, Line, Read};
use super::{held, joining};
use crate::arm::Kind;
use crate::measure::Spread;
use warmpath_report::chart::{self, Area, Arm, Axis, Bar, Chart, Panel, Range, Scale};
use warmpath_report::{Cell, Mark, Row, Section, Table, percent, time_ms, times};

/// Which of two figures is the better one, where there is something to be better at.
type Better = Option<fn(f64, f64) -> f64>;

/// A column: its head, what it shows and how, and which of two figures is better.
type Column = (&'static str, Read, fn(f64) -> String, Better);

/// The one column that says something of an arm without answers.
const LOST: &str = "lost";

const LESS: Better = Some(f64::min);
const MORE: Better = Some(f64::max);

const COLUMNS: &[Column] = &[
    ("cached \u{2191}", |one| one.cached_share, percent, MORE),
    ("of bound \u{2191}", |one| one.part_of_bound, percent, None),
    ("TTFT mean", |one| one.ttft_mean_ms, time_ms, LESS),
    ("p50", |one| one.ttft_p50_ms, time_ms, LESS),
    ("p90", |one| one.ttft_p90_ms, time_ms, LESS),
    ("p99", |one| one.ttft_p99_ms, time_ms, LESS),
    ("E2E mean", |one| one.e2e_mean_ms, time_ms, LESS),
    ("p99", |one| one.e2e_p99_ms, time_ms, LESS),
    ("tokens/s \u{2191}", |one| one.output_tokens_per_s, whole, MORE),
    (LOST, |one| one.lost, whole, None),
    ("most/mean", |one| one.imbalance, |value| format!("{value:.2}"), LESS),
];

/// The columns where prefill and decode can be apart.
const SPLIT_COLUMNS: &[Column] = &[
    ("split", |one| one.split_share, percent, None),
    ("cached \u{2191}", |one| one.cached_share, percent, MORE),
    ("TTFT mean", |one| one.ttft_mean_ms, time_ms, LESS),
    ("p90", |one| one.ttft_p90_ms, time_ms, LESS),
    ("TPOT mean", |one| one.tpot_mean_ms, time_ms, LESS),
    ("p90", |one| one.tpot_p90_ms, time_ms, LESS),
    ("E2E mean", |one| one.e2e_mean_ms, time_ms, LESS),
    ("p90", |one| one.e2e_p90_ms, time_ms, LESS),
    ("p99", |one| one.e2e_p99_ms, time_ms, LESS),
    ("tokens/s \u{2191}", |one| one.output_tokens_per_s, whole, MORE),
    (LOST, |one| one.lost, whole, None),
];

/// p50, p90, p99 and mean of a figure.
type Times = fn(&Figures) -> [f64; 4];

const TIMES: [(&str, Times); 2] = [
    ("time to first token", |one| [one.ttft_p50_ms, one.ttft_p90_ms, one.ttft_p99_ms, one.ttft_mean_ms]),
    ("time to last token", |one| [one.e2e_p50_ms, one.e2e_p90_ms, one.e2e_p99_ms, one.e2e_mean_ms]),
];

const AXIS: Axis =
    Axis { label: "logarithmic; further left is better", scale: Scale::Logarithmic, show: time_ms };

const ABOUT_TIMES: &str =
    "From the median to p99, a tick at p90, a dot at the mean, which is the number behind it.";
const ABOUT_HITS: &str = "The mark is what one endless cache would hold. Above the bound, or regret: how far the mean is above that \
                          of engines that share such a cache. Shorter is better; very long bars are cut.";
const ABOUT_LOAD: &str = "Requests at the engine that has most, over time; behind the name, most over mean.";

/// The section.
pub(super) fn section(group: &Group) -> Section {
    let requests = group.lines.first().map_or(0.0, |line| line.figures.requests + line.figures.lost);
    let shown: Vec<&Line> = group.lines.iter().filter(|line| line.kind.whole().is_none()).collect();
    let ratios = ours_over_best(group);
    let mut notes = vec![format!("{} ({requests:.0} requests)", group.workload.about)];
    if group.workload.is_held {
        return held(group, notes);
    }
    notes.extend(group.losses().map(|losses| format!("lost: {losses}")));
    Section {
        title: group.workload.name.clone(),
        brief: brief(group),
        notes,
        charts: vec![
            (ABOUT_TIMES.to_owned(), ranges(&shown)),
            (ABOUT_HITS.to_owned(), bars(group, &shown)),
            (ABOUT_LOAD.to_owned(), areas(&shown)),
        ],
        table: Table::new(
            std::iter::once("").chain(columns(group).iter().map(|(head, ..)| *head)),
            group.lines.iter().map(|line| row(group, line)).chain(ratios),
        ),
        parts: joining::section(group).into_iter().collect(),
        is_folded: true,
        ..Section::default()
    }
}

/// One that is cut off: times are of all that came.
fn held(group: &Group, notes: Vec<String>) -> Section {
    let table = held::tables(group).into_iter().next().map(|(_, table)| table).unwrap_or_default();
    Section {
        title: group.workload.name.clone(),
        notes,
        table,
        parts: held::sections(group),
        is_folded: true,
        ..Section::default()
    }
}

fn columns(group: &Group) -> &'static [Column] {
    if group.workload.split.is_some() { SPLIT_COLUMNS } else { COLUMNS }
}

fn brief(group: &Group) -> String {
    let (ttft, e2e) = (group.ratio(|one| one.ttft_mean_ms), group.ratio(|one| one.e2e_mean_ms));
    ttft.zip(e2e).map_or_else(String::new, |(ttft, e2e)| {
        format!("mean TTFT {}, mean E2E {} of the best other rule for each", times(ttft), times(e2e))
    })
}

fn row(group: &Group, line: &Line) -> Row {
    let cell = |(head, of, show, better): &Column| {
        let value = of(&line.figures);
        let best = better.and_then(|better| group.contenders().map(|line| of(&line.figures)).reduce(better));
        let is_best = line.is_contender() && best.is_some_and(|best| value.total_cmp(&best).is_eq());
        if line.has_answers() || *head == LOST {
            Cell::new(show(value), if is_best { Mark::Best } else { Mark::None })
        } else {
            "\u{2013}".into()
        }
    };
    let cells = columns(group).iter().map(cell);
    std::iter::once(line.label().into()).chain(cells).collect::<Row>().of(line.role())
}

/// Ours over the best other of each column; `None` where one of them is missing.
fn ours_over_best(group: &Group) -> Option<Row> {
    let ours = group.ours()?;
    group.others().next()?;
    let cell = |(_, of, _, better): &Column| {
        let best = better.and_then(|better| group.others().map(|line| of(&line.figures)).reduce(better));
        best.filter(|best| *best > 0.0).map_or_else(String::new, |best| times(of(&ours.figures) / best))
    };
    Some(std::iter::once("ours / best other".to_owned()).chain(columns(group).iter().map(cell)).collect())
}

fn ranges(lines: &[&Line]) -> Chart {
    let range = |line: &Line, of: Times| {
        let [low, tick, high, value] = of(&line.figures);
        Range { arm: line.arm(), low, high, tick: Some(tick), value }
    };
    let groups = TIMES.map(|(label, of)| chart::Group {
        label: label.to_owned(),
        ranges: lines.iter().map(|line| range(line, of)).collect(),
    });
    chart::ranges("Times to first and to last token by rule", &AXIS, &groups)
}

fn bars(group: &Group, lines: &[&Line]) -> Chart {
    let cached = |line: &Line| {
        let figures = &line.figures;
        Some(Bar { value: figures.cached_share, mark: Some(figures.bound_cached_share) })
    };
    let panel = |head, show, is_cut, bar: &dyn Fn(&Line) -> Option<Bar>| Panel {
        head,
        show,
        is_cut,
        bars: lines.iter().map(|line| bar(line)).collect(),
    };
    let mut panels = vec![panel("prompt tokens cached", percent, false, &cached)];
    if let Some(bound) = group.of(Kind::Bound) {
        let regret = |of: Read| {
            move |line: &Line| {
                let value = (of(&line.figures) - of(&bound.figures)).max(0.0);
                (line.kind != Kind::Bound).then_some(Bar { value, mark: None })
            }
        };
        panels.push(panel("mean TTFT above the bound", time_ms, true, &regret(|one| one.ttft_mean_ms)));
        panels.push(panel("mean E2E above the bound", time_ms, true, &regret(|one| one.e2e_mean_ms)));
    }
    let arms: Vec<Arm> = lines.iter().map(|line| line.arm()).collect();
    chart::bars("Cached tokens, and times above the bound, by rule", &arms, &panels)
}

fn areas(lines: &[&Line]) -> Chart {
    let bin = |bin: &Spread| [bin.at_s, bin.most, bin.mean];
    let area = |line: &&Line| Area {
        arm: line.arm(),
        note: times(line.figures.imbalance),
        bins: line.spread.iter().map(bin).collect(),
    };
    let areas: Vec<Area> = lines.iter().filter(|line| !line.spread.is_empty()).map(area).collect();
    chart::areas("Requests at an engine over time by rule", "requests", &areas)
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}
