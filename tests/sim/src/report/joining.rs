//! What engines that join cold do to those who ask: times before, right after and later, an arm a row.

use std::fmt::Write;

use super::chart;
use super::group::Group;
use crate::measure::Phase;
use crate::page::{escape, percent, time_ms};

/// What is told of each part: a head, and the cell.
type Column = (&'static str, fn(&Phase) -> String);

const COLUMNS: [Column; 4] = [
    ("TTFT mean", |phase| time_ms(phase.ttft_ms.mean)),
    ("p99", |phase| time_ms(phase.ttft_ms.p99)),
    ("cached", |phase| percent(phase.cached_share)),
    ("to joiners", |phase| percent(phase.joined_share)),
];

/// Told where none of the later parts has a request.
const TOO_SHORT: &str = "no request came after engines had joined: those that join play no part";

/// The parts of a run in which an arm has requests; none where no engine joins.
fn parts(group: &Group) -> Vec<usize> {
    let count = group.lines.first().map_or(0, |line| line.phases.len());
    let has_requests = |part: &usize| group.lines.iter().any(|line| line.phases[*part].requests > 0);
    (0..count).filter(has_requests).collect()
}

const NAME_WIDTH: usize = 19;
const CELL_WIDTH: usize = 11;

/// The table of the terminal; nothing where no engine joins.
pub(super) fn text(text: &mut String, group: &Group) {
    let (Some(first), parts) = (group.lines.first(), parts(group)) else { return };
    match parts[..] {
        [] => return,
        [0] => {
            let _ = writeln!(text, "  {TOO_SHORT}\n");
            return;
        }
        _ => {}
    }
    let _ = write!(text, "  {:NAME_WIDTH$}", "");
    for phase in parts.iter().map(|part| &first.phases[*part]) {
        let head = format!("{} ({} requests)", phase.name, phase.requests);
        let _ = write!(text, "| {head:width$}", width = COLUMNS.len() * CELL_WIDTH);
    }
    let _ = write!(text, "\n  {:NAME_WIDTH$}", "");
    for _ in &parts {
        text.push_str("| ");
        for (head, _) in COLUMNS {
            let _ = write!(text, "{head:<CELL_WIDTH$}");
        }
    }
    text.push('\n');
    for line in &group.lines {
        let _ = write!(text, "  {:NAME_WIDTH$}", line.label());
        for phase in parts.iter().map(|part| &line.phases[*part]) {
            text.push_str("| ");
            for (_, show) in COLUMNS {
                let _ = write!(text, "{:<CELL_WIDTH$}", show(phase));
            }
        }
        text.push('\n');
    }
    text.push('\n');
}

/// The table of the page; nothing where no engine joins.
pub(super) fn html(page: &mut String, group: &Group) {
    let (Some(first), parts) = (group.lines.first(), parts(group)) else { return };
    match parts[..] {
        [] => return,
        [0] => {
            let _ = writeln!(page, "<p class=\"soft\">{TOO_SHORT}</p>");
            return;
        }
        _ => {}
    }
    page.push_str(
        "<h3>Engines join</h3>\n<div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th></th>",
    );
    for phase in parts.iter().map(|part| &first.phases[*part]) {
        let _ = write!(page, "<th colspan=\"{}\">{}</th>", COLUMNS.len(), escape(phase.name));
    }
    page.push_str("</tr><tr><th></th>");
    for _ in &parts {
        for (head, _) in COLUMNS {
            let _ = write!(page, "<th>{head}</th>");
        }
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for line in &group.lines {
        let _ = write!(page, "<tr class=\"{}\"><td>{}</td>", chart::class(line.kind), escape(&line.label()));
        for phase in parts.iter().map(|part| &line.phases[*part]) {
            for (_, show) in COLUMNS {
                let _ = write!(page, "<td>{}</td>", show(phase));
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}
