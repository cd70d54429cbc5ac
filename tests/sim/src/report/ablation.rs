//! What each term of the cost earns on each workload: our mean times without it over those with it. The term that only
//! several proxies have is left out of theirs.

use super::group::{Figures, Group, Line, Read};
use crate::arm::Arm;
use warmpath_report::{Cell, Mark, Row, Section, Table, times};

/// A ratio this far from 1 stands out.
const NOTABLE: f64 = 0.02;

const FIGURES: [(&str, Read); 2] = [
    ("mean TTFT, without", |one: &Figures| one.ttft_mean_ms),
    ("mean E2E, without", |one: &Figures| one.e2e_mean_ms),
];

/// The tables; `None` if no term was left out.
pub(super) fn section(groups: &[Group]) -> Option<Section> {
    let groups: Vec<&Group> = groups.iter().filter(|group| ablations(group).next().is_some()).collect();
    let first = groups.first()?;
    let part = |(figure, of): (&str, Read)| {
        let terms =
            ablations(first).map(|(line, _)| line.label().trim_start_matches(Arm::WITHOUT).to_owned());
        let header = std::iter::once(figure.to_owned()).chain(terms);
        Section { table: Table::new(header, groups.iter().map(|group| row(group, of))), ..Section::default() }
    };
    let note = "Without the term over with it: above 1 it earns something, below 1 it costs something there. \u{2020}: a term that \
                only several proxies have, left out of all of them, over those proxies with it; all others in one proxy.";
    Some(Section {
        title: "What each term of the cost earns".to_owned(),
        notes: vec![note.to_owned()],
        parts: FIGURES.map(part).into(),
        ..Section::default()
    })
}

/// Arms that lack a term, each with the one that has it.
fn ablations(group: &Group) -> impl Iterator<Item = (&Line, &Line)> {
    let answered = group.lines.iter().filter(|line| line.has_answers());
    answered.filter_map(|line| Some((line, group.of(line.kind.whole()?)?)))
}

fn row(group: &Group, of: Read) -> Row {
    let cell = |(without, with): (&Line, &Line)| {
        let (without, with) = (of(&without.figures), of(&with.figures));
        let ratio = if with > 0.0 { without / with } else { 1.0 };
        let mark = match ratio {
            ratio if ratio > 1.0 + NOTABLE => Mark::Good,
            ratio if ratio < 1.0 - NOTABLE => Mark::Bad,
            _ => Mark::None,
        };
        Cell::new(times(ratio), mark)
    };
    std::iter::once(Cell::from(&*group.workload.name)).chain(ablations(group).map(cell)).collect()
}
