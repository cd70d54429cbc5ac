//! What each term of the cost earns on each workload: our mean times without it over those with it. The term that only
//! several proxies have is left out of theirs.

use std::fmt::Write;

use super::group::{Figures, Group, Read};
use crate::page::escape;
use crate::plan::Arm;

/// A ratio this far from 1 stands out.
const NOTABLE: f64 = 0.02;

const FIGURES: [(&str, Read); 2] =
    [("mean TTFT", |one: &Figures| one.ttft_mean_ms), ("mean E2E", |one: &Figures| one.e2e_mean_ms)];

/// One workload: the ratio of each term, for each figure.
struct Row<'a> {
    workload: &'a str,
    ratios: Vec<(String, [f64; 2])>,
}

/// The tables of the page; nothing if no term was left out.
pub(super) fn html(page: &mut String, groups: &[Group]) {
    let rows = rows(groups);
    let Some(first) = rows.first() else { return };
    page.push_str(
        "<h2>What each term of the cost earns</h2>\n<p class=\"soft\">Without the term over with it: above 1 it earns \
         something, below 1 it costs something there. \u{2020}: a term that only several proxies have, left out of all of \
         them, over those proxies with it; all others in one proxy.</p>\n",
    );
    for (number, (figure, _)) in FIGURES.iter().enumerate() {
        let _ = write!(
            page,
            "<div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th>{figure}, without</th>"
        );
        for (term, _) in &first.ratios {
            let _ = write!(page, "<th>{}</th>", escape(term));
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in &rows {
            let _ = write!(page, "<tr><td class=\"name\">{}</td>", escape(row.workload));
            for (_, ratios) in &row.ratios {
                let class = match ratios[number] {
                    ratio if ratio > 1.0 + NOTABLE => "met",
                    ratio if ratio < 1.0 - NOTABLE => "missed",
                    _ => "soft",
                };
                let _ = write!(page, "<td class=\"{class}\">{:.2}x</td>", ratios[number]);
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
}

/// The tables of the terminal.
pub(super) fn text(text: &mut String, groups: &[Group]) {
    let rows = rows(groups);
    let Some(first) = rows.first() else { return };
    for (number, (figure, _)) in FIGURES.iter().enumerate() {
        let _ = write!(text, "{:22}", format!("{figure}, without"));
        for (term, _) in &first.ratios {
            let _ = write!(text, "{term:>10}");
        }
        text.push('\n');
        for row in &rows {
            let _ = write!(text, "  {:20}", row.workload);
            for (_, ratios) in &row.ratios {
                let _ = write!(text, "{:>9.2}x", ratios[number]);
            }
            text.push('\n');
        }
        text.push('\n');
    }
    let mark = '\u{2020}';
    if first.ratios.iter().any(|(term, _)| term.contains(mark)) {
        let _ = writeln!(
            text,
            "  above 1: the term earns something; {mark} in several proxies, over those with it; all others in one proxy\n"
        );
    }
}

fn rows(groups: &[Group]) -> Vec<Row<'_>> {
    groups.iter().map(row).filter(|row| !row.ratios.is_empty()).collect()
}

fn row(group: &Group) -> Row<'_> {
    let ratios = group.lines.iter().filter(|line| line.has_answers()).filter_map(|line| {
        let with = &group.of(line.kind.whole()?)?.figures;
        let term = line.label().trim_start_matches(Arm::WITHOUT).to_owned();
        Some((term, FIGURES.map(|(_, of)| if of(with) > 0.0 { of(&line.figures) / of(with) } else { 1.0 })))
    });
    Row { workload: &group.workload.name, ratios: ratios.collect() }
}
