//! Rows of cells, the first column left-aligned.

use crate::Role;
use std::fmt::Write;

/// Space between columns on the terminal.
const GAP: usize = 2;

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns' names; none where the rows are names with their meaning.
    pub header: Vec<String>,
    /// As many cells each as there are columns.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Whose it is, where the table compares arms.
    pub role: Option<Role>,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What is in it.
    pub text: String,
    /// How it stands out.
    pub mark: Mark,
}

/// How a cell stands out: as a colour or weight on the page, as a sign on the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// It does not.
    #[default]
    None,
    /// The best of its column.
    Best,
    /// Better than it had to be.
    Good,
    /// Tolerated.
    Fair,
    /// Worse than it may be.
    Bad,
}

// === impl Table ===

impl Table {
    /// Of a header and rows.
    pub fn new<H: Into<String>>(
        header: impl IntoIterator<Item = H>,
        rows: impl IntoIterator<Item = Row>,
    ) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: rows.into_iter().collect() }
    }

    /// Names with their meaning.
    pub fn pairs<N: Into<String>, M: Into<String>>(pairs: impl IntoIterator<Item = (N, M)>) -> Self {
        let row = |(name, meaning): (N, M)| Row::from([name.into(), meaning.into()]);
        Self { header: Vec::new(), rows: pairs.into_iter().map(row).collect() }
    }

    /// For the terminal: columns as wide as they need.
    pub fn to_text(&self) -> String {
        let mut lines: Vec<Vec<String>> = Vec::new();
        if !self.header.is_empty() {
            lines.push(self.header.clone());
        }
        lines.extend(self.rows.iter().map(|row| row.cells.iter().map(Cell::to_text).collect()));
        let width =
            |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..).map_while(width).collect();
        let mut text = String::new();
        for line in &lines {
            let mut columns = String::new();
            for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ = match (at, self.header.is_empty()) {
                    (0, _) => write!(columns, "{cell:width$}"),
                    (_, true) => write!(columns, "{:GAP$}{cell}", ""),
                    (_, false) => write!(columns, "{:GAP$}{cell:>width$}", ""),
                };
            }
            let _ = writeln!(text, "{}", columns.trim_end());
        }
        text
    }
}

// === impl Row ===

impl Row {
    /// The same, as an arm's.
    #[must_use]
    pub fn of(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }
}

impl<T: Into<Cell>, const N: usize> From<[T; N]> for Row {
    fn from(cells: [T; N]) -> Self {
        cells.into_iter().collect()
    }
}

impl<T: Into<Cell>> FromIterator<T> for Row {
    fn from_iter<I: IntoIterator<Item = T>>(cells: I) -> Self {
        Self { role: None, cells: cells.into_iter().map(Into::into).collect() }
    }
}

// === impl Cell ===

impl Cell {
    /// A cell that stands out.
    pub fn new(text: impl Into<String>, mark: Mark) -> Self {
        Self { text: text.into(), mark }
    }

    fn to_text(&self) -> String {
        if self.mark == Mark::Best { format!("*{}", self.text) } else { self.text.clone() }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Mark::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_only_the_first_is_left_aligned() {
        let best = Row::from([Cell::from("b"), Cell::new("2", Mark::Best)]);
        let table = Table::new(["", "ms"], [Row::from(["long name", "1000"]), best]);
        assert_eq!(table.to_text(), "             ms\nlong name  1000\nb            *2\n");
        assert_eq!(Table::pairs([("a", "one"), ("bb", "two")]).to_text(), "a   one\nbb  two\n");
    }
}
