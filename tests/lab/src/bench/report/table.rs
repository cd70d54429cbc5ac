//! The report on the terminal.

use std::fmt::Write;

use super::section::{Goal, Section, Table};

/// Space between columns.
const GAP: usize = 2;

/// One part: title, notes, table, goals.
pub(super) fn section(section: &Section) -> String {
    let mut text = format!("\n== {}\n", section.title);
    for note in &section.notes {
        let _ = writeln!(text, "   {note}");
    }
    text.push('\n');
    text.push_str(&table(&section.table));
    if !section.goals.is_empty() {
        text.push('\n');
        text.push_str(&table(&goals(&section.goals)));
    }
    text
}

/// Names and what they stand for, on as many lines.
pub(super) fn names(names: &[(&str, &str)]) -> String {
    let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::from("\nWho is measured:\n");
    for (name, meaning) in names {
        let _ = writeln!(text, "   {name:width$}{:GAP$}{meaning}", "");
    }
    text
}

/// Goals as a table.
pub(super) fn goals(goals: &[Goal]) -> Table {
    let row = |goal: &Goal| std::iter::once(goal.name.clone()).chain(goal.verdict()).collect();
    Table { header: vec!["our goal", "found", "to be", ""], rows: goals.iter().map(row).collect() }
}

fn table(table: &Table) -> String {
    let header: Vec<String> = table.header.iter().map(|name| (*name).to_owned()).collect();
    let rows = || std::iter::once(&header).chain(&table.rows);
    let width = |column: usize| {
        rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in rows() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(line, "{cell:width$}"),
                _ => write!(line, "{:GAP$}{cell:>width$}", ""),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
