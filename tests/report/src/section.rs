//! A part of a report. The terminal and the page show the same, but for charts and for what is marked as the page's.

use crate::chart::Chart;
use crate::{Cell, Goal, Role, Row, Table};
use std::fmt::Write;

/// How wide notes are on the terminal.
const NOTE_WIDTH: usize = 110;

/// A part of a report.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// What was measured.
    pub title: String,
    /// What was found, in a few words beside the title.
    pub brief: String,
    /// What must be known to read it.
    pub notes: Vec<String>,
    /// The colours of its charts.
    pub legend: Vec<(Role, String)>,
    /// Each under a few words, which may be empty.
    pub charts: Vec<(String, Chart)>,
    /// The table.
    pub table: Table,
    /// What was to be reached.
    pub goals: Vec<Goal>,
    /// Parts of its own, below all this.
    pub parts: Vec<Section>,
    /// Whether the page shows only the title until its reader opens it.
    pub is_folded: bool,
    /// Whether the terminal leaves it out.
    pub is_for_page: bool,
}

// === impl Section ===

impl Section {
    /// For the terminal; nothing where it is only charts.
    pub fn to_text(&self) -> String {
        self.text("==")
    }

    fn text(&self, rule: &str) -> String {
        let parts: String = self.parts.iter().map(|part| part.text("--")).collect();
        let has_table = !(self.table.rows.is_empty() && self.goals.is_empty() && parts.is_empty());
        if self.is_for_page || !has_table && (self.notes.is_empty() || !self.charts.is_empty()) {
            return String::new();
        }
        let mut text = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}", format!("\n{rule} {}  {}", self.title, self.brief).trim_end());
        }
        for line in self.notes.iter().flat_map(|note| wrapped(note)) {
            let _ = writeln!(text, "   {line}");
        }
        for table in [&self.table, &goals(&self.goals)] {
            if !table.rows.is_empty() {
                let _ = write!(text, "\n{}", table.to_text());
            }
        }
        text + &parts
    }
}

/// A note in lines that a terminal has room for.
fn wrapped(note: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in note.split(' ') {
        match lines.last_mut().filter(|line| line.chars().count() + word.chars().count() < NOTE_WIDTH) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Goals, one below the other.
pub(crate) fn goals(goals: &[Goal]) -> Table {
    let has_against = goals.iter().any(|goal| !against(goal).is_empty());
    let row = |goal: &Goal| {
        let verdict = goal.verdict();
        let name =
            if goal.group.is_empty() { goal.name.clone() } else { format!("{}: {}", goal.group, goal.name) };
        let found = Cell::new(goal.shown(), verdict.mark());
        let word = format!("{} {}", verdict.sign(), verdict.word());
        let cells = [name.into(), found, goal.demanded().into(), word.into()];
        cells.into_iter().chain(has_against.then(|| against(goal).into())).collect::<Row>()
    };
    let header = ["our goal", "found", "to be", ""].into_iter().chain(has_against.then_some("against"));
    Table::new(header, goals.iter().map(row))
}

/// What a goal was held against, and what could be reached.
pub(crate) fn against(goal: &Goal) -> String {
    let bound = goal.bound.map(|bound| format!("bound {bound:.2}"));
    goal.against.iter().cloned().chain(bound).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_leaves_out_what_is_the_pages_and_wraps_notes() {
        let notes = vec!["word ".repeat(40).trim_end().to_owned()];
        let part = Section { title: "part".to_owned(), notes, ..Section::default() };
        let hidden = Section { title: "hidden".to_owned(), is_for_page: true, ..part.clone() };
        let chart = Section { charts: vec![(String::new(), Chart::default())], ..part.clone() };
        let all = Section { title: "all".to_owned(), parts: vec![part, hidden, chart], ..Section::default() };
        let text = all.to_text();
        assert!(text.starts_with("\n== all\n\n-- part\n   word"), "{text}");
        assert!(!text.contains("hidden") && text.matches("part").count() == 1, "{text}");
        assert!(text.lines().all(|line| line.len() <= NOTE_WIDTH + 3), "{text}");
    }
}
