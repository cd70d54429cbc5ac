//! What engines that join cold do to those who ask: times before, right after and later, an arm a row.

use super::group::Group;
use crate::measure::Phase;
use warmpath_report::{Row, Section, Table, percent, time_ms};

/// What is shown of each part: a head, and the cell.
type Column = (&'static str, fn(&Phase) -> String);

const COLUMNS: [Column; 4] = [
    ("TTFT mean", |phase| time_ms(phase.ttft_ms.mean)),
    ("p99", |phase| time_ms(phase.ttft_ms.p99)),
    ("cached", |phase| percent(phase.cached_share)),
    ("to joiners", |phase| percent(phase.joined_share)),
];

/// Where none of the later parts has a request.
const TOO_SHORT: &str = "no request came after engines had joined: those that join play no part";

/// The table; `None` where no engine joins.
pub(super) fn section(group: &Group) -> Option<Section> {
    let phases = &group.lines.first()?.phases;
    let has_requests = |part: &usize| group.lines.iter().any(|line| line.phases[*part].requests > 0);
    let parts: Vec<usize> = (0..phases.len()).filter(has_requests).collect();
    let title = "Engines join".to_owned();
    if parts[..] == [0] {
        return Some(Section { title, notes: vec![TOO_SHORT.to_owned()], ..Section::default() });
    }
    let heads = parts.iter().map(|part| &phases[*part]).flat_map(|phase| {
        COLUMNS.iter().enumerate().map(|(column, (head, _))| match column {
            0 => format!("{} ({} requests): {head}", phase.name, phase.requests),
            _ => (*head).to_owned(),
        })
    });
    let rows = group.lines.iter().map(|line| {
        let phases = parts.iter().map(|part| &line.phases[*part]);
        let cells = phases.flat_map(|phase| COLUMNS.iter().map(move |(_, show)| show(phase)));
        std::iter::once(line.label()).chain(cells).collect::<Row>().of(line.role())
    });
    let table = Table::new(std::iter::once(String::new()).chain(heads), rows);
    (!parts.is_empty()).then(|| Section { title, table, ..Section::default() })
}
