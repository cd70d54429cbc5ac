//! An explanation as a table: a line for each candidate, a column for each term of its cost.

use crate::columns::{Side, aligned};
use std::fmt;
use warmpath_core::cost::Term;
use warmpath_core::routing::{CandidateExplanation, Explanation};

/// Headings of the columns before those of the terms.
const COLUMNS: [&str; 6] = ["endpoint", "fitness", "cells", "cached", "requests", "cost ms"];

/// Spaces between two columns.
const GAP: usize = 2;

/// Shows an explanation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a>(pub(super) &'a Explanation);

// === impl Table ===

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(explanation) = self;
        let Explanation { pool, model, reason, prompt_tokens, cells, considered, .. } = explanation;
        write!(f, "pool {pool}")?;
        if !model.is_empty() {
            let target = explanation.target.as_deref();
            let kind = if explanation.is_adapter { "adapter" } else { "model" };
            write!(f, ", {kind} {}", target.unwrap_or(model))?;
            if target.is_some() {
                write!(f, " in place of {model}")?;
            }
        }
        writeln!(f, ", {reason}: {prompt_tokens} tokens in {cells} cells, {considered} considered")?;
        let headings = COLUMNS.into_iter().chain(Term::ALL.map(Term::label));
        let mut rows = vec![headings.map(str::to_owned).collect::<Vec<_>>()];
        rows.extend(explanation.candidates.iter().map(row));
        let side = |at| if at == 0 { Side::Left } else { Side::Right };
        f.write_str(&aligned(&rows, GAP, side))?;
        writeln!(f, "cost = {}, all in milliseconds; the least wins", Term::ALL.map(summand).join(" + "))
    }
}

fn row(candidate: &CandidateExplanation) -> Vec<String> {
    let ms = |seconds: f64| format!("{:.1}", seconds * 1000.0);
    let mut row = vec![
        candidate.endpoint.clone(),
        candidate.fitness.clone(),
        candidate.cells.to_string(),
        candidate.cached_tokens.to_string(),
        candidate.requests.to_string(),
        ms(candidate.cost_s),
    ];
    row.extend(Term::ALL.map(|term| ms(candidate.terms_s[term])));
    row
}

/// A term as it counts in the sum.
fn summand(term: Term) -> String {
    if (term.weight() - 1.0).abs() < f64::EPSILON {
        term.label().to_owned()
    } else {
        format!("{} x {}", term.weight(), term.label())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let json = br#"{"pool":"llama","model":"sql","is_adapter":true,"reason":"warm","prompt_tokens":900,"cells":14,
            "considered":2,"candidates":[
            {"endpoint":"10.0.0.1:8000","fitness":"fit","cells":12,"cached_tokens":768,"requests":3,
             "cost_s":0.0233,"terms_s":{"queue":0.001,"prefill":0.0098,"later":0.0002,"decode":0.0015}},
            {"endpoint":"10.0.0.12:8000","fitness":"avoided","cells":0,"cached_tokens":0,"requests":0,
             "cost_s":5.0,"terms_s":{"prefill":1.25,"contention":1.25}}]}"#;
        let wanted = "\
pool llama, adapter sql, warm: 900 tokens in 14 cells, 2 considered
endpoint        fitness  cells  cached  requests  cost ms  queue  prefill  contention  later  stall  decode  evict
10.0.0.1:8000       fit     12     768         3     23.3    1.0      9.8         0.0    0.2    0.0     1.5    0.0
10.0.0.12:8000  avoided      0       0         0   5000.0    0.0   1250.0      1250.0    0.0    0.0     0.0    0.0
cost = 2 x queue + 2 x prefill + 2 x contention + later + stall + decode + evict, all in milliseconds; the least wins
";
        assert_eq!(Table(&serde_json::from_slice(json).unwrap()).to_string(), wanted);
    }
}
