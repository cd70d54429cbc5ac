//! `report.html`: one page that needs nothing but itself.

use std::fmt::Write;

use crate::report::page::{self, escape, fact};

use super::section::{Section, Table};
use super::table;
use super::{ABOUT_GOALS, ABOUT_QUICK, Info, Report};

/// Facts shown on top, by the beginning of their goals' names.
const FACTS: [&str; 3] = [
    "processor time of a request, 8 KB, against",
    "processor time of a streamed piece, 32 streams, usage not asked, over",
    "feed, usable",
];

/// Tables here have up to ten columns: the page is wider than others, its text and charts are not, and cells wrap before
/// a table has to be scrolled.
const CSS: &str = "body { max-width: 72rem; } p, svg, .facts { max-width: 50rem; }\n\
                   th, td, th:first-child, td:first-child { white-space: normal; }\n\
                   table { font-size: .9rem; } td:first-child { min-width: 7rem; }\n\
                   .facts div { max-width: 15rem; }\n";

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut page = page::open_with("What routing costs, beside plain Envoy and other routers", CSS);
    page.push_str(
        "<p class=\"soft\">The same requests to the same simulated engines, through each target in turn, on one machine \
         in one run.</p>\n<dl class=\"facts\">\n",
    );
    for goal in report.goals().filter(|goal| FACTS.iter().any(|name| goal.name.starts_with(name))) {
        let [found, ..] = goal.verdict();
        // Without the spread, which the tables have.
        let found = found.split(" (").next().unwrap_or_default();
        let unit = if goal.found.min.total_cmp(&goal.found.max).is_eq() { "" } else { goal.unit };
        fact(&mut page, format!("{found} {unit}").trim_end(), &goal.name);
    }
    let (met, all) = (report.goals().filter(|goal| goal.is_met()).count(), report.goals().count());
    fact(&mut page, &format!("{met} of {all}"), "goals met");
    page.push_str("</dl>\n");
    let _ = writeln!(
        page,
        "<p>The figures above are Warmpath's, and lower is better: x is how many times as much it takes as what it is held \
         against, 1.0 x is as cheap.</p>\n<p class=\"soft\">{ABOUT_GOALS}</p>"
    );
    if report.info.is_quick {
        let _ = writeln!(page, "<p>{ABOUT_QUICK}</p>");
    }
    names(&mut page, &report.names());
    for section in report.sections() {
        self::section(&mut page, section);
    }
    method(&mut page, &report.info);
    page.push_str(page::CLOSE);
    page
}

fn names(page: &mut String, names: &[(&str, &str)]) {
    if names.is_empty() {
        return;
    }
    page.push_str("<h2>Who is measured</h2>\n<table>\n<tbody>\n");
    for (name, meaning) in names {
        let _ =
            writeln!(page, "<tr><td>{}</td><td class=\"wrap\">{}</td></tr>", escape(name), escape(meaning));
    }
    page.push_str("</tbody>\n</table>\n");
}

fn section(page: &mut String, section: &Section) {
    let _ = writeln!(page, "<h2>{}</h2>", escape(section.title));
    for note in &section.notes {
        let _ = writeln!(page, "<p class=\"soft\">{}</p>", escape(note));
    }
    page.push_str(&section.chart);
    show(page, &section.table);
    if !section.goals.is_empty() {
        show(page, &table::goals(&section.goals));
    }
}

fn show(page: &mut String, table: &Table) {
    page.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for name in &table.header {
        let _ = write!(page, "<th>{}</th>", escape(name));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for cell in row {
            // A range stays on one line.
            let _ = write!(page, "<td>{}</td>", escape(cell).replace(" to ", "&nbsp;to&nbsp;"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn method(page: &mut String, info: &Info) {
    page.push_str(
        "<h2>How it was measured</h2>\n<p>Engines, controller and targets run in processes of their own; the kernel \
         tells the processor time of each thread. Targets take turns within a repetition, and ratios compare those of \
         one repetition. Peers run with their own defaults, but for the policy that knows of caches. llm-d was measured \
         once on such a machine; its figures are scaled by what Envoy costs here.</p>\n\
         <div class=\"scroll\"><table>\n<tbody>\n",
    );
    for (name, value) in info.lines() {
        let _ =
            writeln!(page, "<tr><td>{}</td><td class=\"wrap\">{}</td></tr>", escape(&name), escape(&value));
    }
    page.push_str("</tbody>\n</table></div>\n");
}
