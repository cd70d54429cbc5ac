//! A table of published points: CSV with a head line, columns by name, those that are not needed in any number.

use super::Measured;
use std::str::FromStr;

const RATE: &str = "qps";
const ARM: &str = "scheduler";
const OUTPUT: &str = "Output_toks/s";
const TTFT_MEAN: &str = "TTFT_mean_(s)";
const TTFT_P90: &str = "TTFT_p90_(s)";

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The head line lacks a column.
    #[error("there is no column {0:?}")]
    NoColumn(&'static str),
    /// A field is missing or no number.
    #[error("line {line}: no number in column {column:?}")]
    NoNumber {
        /// Counted from 1.
        line: usize,
        /// The column.
        column: &'static str,
    },
}

/// All points of a table: rate, arm, what was measured.
pub(super) fn read(text: &str) -> Result<Vec<(f64, String, Measured)>, TableError> {
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let at = |name| head.iter().position(|column| *column == name).ok_or(TableError::NoColumn(name));
    let [rate, arm, output, mean, p90] = [at(RATE)?, at(ARM)?, at(OUTPUT)?, at(TTFT_MEAN)?, at(TTFT_P90)?];
    let mut points = Vec::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize, column| {
            let field = fields.get(at).and_then(|field| f64::from_str(field).ok());
            field.ok_or(TableError::NoNumber { line: number + 2, column })
        };
        let measured = Measured {
            output_tokens_per_s: number(output, OUTPUT)?,
            ttft_mean_s: number(mean, TTFT_MEAN)?,
            ttft_p90_s: number(p90, TTFT_P90)?,
        };
        points.push((number(rate, RATE)?, fields.get(arm).copied().unwrap_or_default().to_owned(), measured));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_what_is_wrong_is_named() {
        let head = "qps,other,scheduler,Output_toks/s,TTFT_p90_(s),TTFT_mean_(s)";
        let points = read(&format!("{head}\n3.0,x,random,1200.5,0.5,0.25\n")).unwrap();
        let measured = Measured { output_tokens_per_s: 1200.5, ttft_mean_s: 0.25, ttft_p90_s: 0.5 };
        assert_eq!(points, [(3.0, "random".to_owned(), measured)]);
        let error = read(&format!("{head}\n3.0,x,random,12,,1\n")).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("TTFT_p90"), "{error}");
        assert!(matches!(read("a,b\n"), Err(TableError::NoColumn(RATE))));
    }
}
