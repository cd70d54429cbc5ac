//! `report.html`: one page that needs nothing but itself.

use std::fmt::Write;

use warmpath_demo::report::page::{self, escape, fact};

use super::section::{Section, Table};
use super::table;
use super::{Info, Report};

/// Facts shown on top, by the beginning of their goals' names.
const FACTS: [&str; 3] =
    ["warmpath, 8 KB, against", "warmpath, 32 streams, usage not asked, over", "feed, usable"];

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut page = page::open("What routing costs, beside plain Envoy and other routers");
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
    for section in report.sections() {
        self::section(&mut page, section);
    }
    method(&mut page, &report.info);
    page.push_str(page::CLOSE);
    page
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
            let _ = write!(page, "<td>{}</td>", escape(cell));
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
