//! Rows of cells as a table whose columns line up.

use std::fmt::Write;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers that are compared.
    Right,
}

/// The rows as lines, with `gap` spaces between columns and none at the end. `side` is the alignment of each column.
pub(crate) fn aligned(rows: &[Vec<String>], gap: usize, side: impl Fn(usize) -> Side) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at > 0 {
                line.push_str(&" ".repeat(gap));
            }
            // Writing into a String cannot fail.
            let _ = match side(at) {
                Side::Left => write!(line, "{cell:<width$}"),
                Side::Right => write!(line, "{cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Side, aligned};

    #[test]
    fn columns_line_up_without_spaces_at_the_end() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [row(&["NAME", "N", "X"]), row(&["größer", "10", ""])];
        let side = |at| if at == 1 { Side::Right } else { Side::Left };
        assert_eq!(aligned(&rows, 2, side), "NAME     N  X\ngrößer  10\n");
        assert_eq!(aligned(&[], 2, side), "");
    }
}
