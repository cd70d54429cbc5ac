//! The page: nothing but itself is needed to read it.

use crate::section::{against, goals};
use crate::{Cell, Document, Goal, Mark, Role, Row, Section, Table};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The look of every page; colours follow the reader's scheme.
const CSS: &str = include_str!("page.css");

/// Columns beyond which a table is set in smaller type.
const COLUMNS_WIDE: usize = 6;

/// Cells up to this long stay on one line.
const UNBROKEN: usize = 14;
const NBSP: &str = "\u{a0}";
const TO: &str = "\u{a0}to\u{a0}";

pub(crate) fn page(document: &Document) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Warmpath: " (document.title) }
                style { (PreEscaped(CSS)) }
            }
            body {
                h1 { (document.title) }
                p.soft { (document.lead) }
                dl.facts { @for (value, label) in &document.facts { div { dd { (value) } dt { (label) } } } }
                @for note in &document.notes { p.soft { (note) } }
                @for part in &document.sections { (section(part, 2)) }
            }
        }
    }
}

fn section(section: &Section, level: usize) -> Markup {
    if section.is_folded {
        return html! { details { summary { b { (section.title) } " " span.soft { (section.brief) } } (body(section, level)) } };
    }
    html! {
        @if section.title.is_empty() {} @else if level == 2 { h2 { (section.title) } } @else { h3 { (section.title) " " span.soft { (section.brief) } } }
        (body(section, level))
    }
}

fn body(part: &Section, level: usize) -> Markup {
    let (matrix, list) = matrix(&part.goals);
    html! {
        @for note in &part.notes { p.soft { (note) } }
        @if !part.legend.is_empty() {
            p.legend { @for (role, label) in &part.legend { span { i class=(role.class()) {} (label) } } }
        }
        @for (caption, chart) in &part.charts {
            @if !caption.is_empty() { p.soft { (caption) } }
            (chart)
        }
        (table(&part.table)) (table(&matrix)) (table(&list))
        @for part in &part.parts { (section(part, level + 1)) }
    }
}

/// A table; nothing for one without rows.
fn table(table: &Table) -> Markup {
    let is_wide = table.header.len() > COLUMNS_WIDE;
    html! {
        @if !table.rows.is_empty() {
            div.scroll { table.wide[is_wide].pairs[table.header.is_empty()] {
                @if !table.header.is_empty() { thead { tr { @for name in &table.header { th { (name) } } } } }
                tbody { @for row in &table.rows {
                    tr class=[row.role.map(Role::class)] {
                        @for cell in &row.cells { td class=[class(cell.mark)] { (PreEscaped(text(&cell.text))) } }
                    }
                } }
            } }
        }
    }
}

/// A cell's text, where a range stays on one line and a break is one.
fn text(text: &str) -> String {
    let unbroken = if text.len() <= UNBROKEN { text.replace(' ', NBSP) } else { text.replace(" to ", TO) };
    html! { (unbroken) }.into_string().replace('\n', "<br>")
}

const fn class(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::None => None,
        Mark::Best => Some("best"),
        Mark::Good => Some("met"),
        Mark::Fair => Some("short"),
        Mark::Bad => Some("missed"),
    }
}

/// Goals that several groups have as a table with a group a row, and the others as a list.
fn matrix(all: &[Goal]) -> (Table, Table) {
    let mut names: Vec<&str> = Vec::new();
    let is_common = |goal: &Goal| all.iter().any(|one| one.name == goal.name && one.group != goal.group);
    let (common, single): (Vec<&Goal>, Vec<&Goal>) = all.iter().partition(|goal| is_common(goal));
    let mut groups: Vec<&str> = common.iter().map(|goal| goal.group.as_str()).collect();
    groups.dedup();
    for goal in &common {
        if !names.contains(&goal.name.as_str()) {
            names.push(&goal.name);
        }
    }
    let cell = |group: &str, name: &str| {
        let goal = common.iter().find(|goal| goal.group == group && goal.name == name);
        goal.map_or_else(Cell::default, |goal| {
            let verdict = goal.verdict();
            Cell::new(format!("{} {}\n{}", goal.shown(), verdict.sign(), against(goal)), verdict.mark())
        })
    };
    let row = |group: &&str| {
        let cells = names.iter().map(|name| cell(group, name));
        std::iter::once(Cell::from(*group)).chain(cells).collect::<Row>()
    };
    let header = std::iter::once("").chain(names.iter().copied());
    let single: Vec<Goal> = single.into_iter().cloned().collect();
    (Table::new(header, groups.iter().map(row)), goals(&single))
}
