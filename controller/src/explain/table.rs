//! An explanation as a table: a line for each candidate, a column for each term of its cost; and one for each leg, where the
//! request could be split.

use crate::columns::{Side, aligned};
use std::fmt;
use warmpath_core::cost::Term;
use warmpath_core::routing::{CandidateExplanation, Explanation, GateExplanation, SplitExplanation};

/// Headings of the columns between that of the endpoint and those of the terms.
const COLUMNS: [&str; 6] = ["fitness", "cells", "by", "cached", "requests", "cost ms"];

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
        if let Some(why) = explanation.text.as_deref().filter(|text| *text != "written") {
            writeln!(f, "its text is not known ({why}): what counts is what was learned")?;
        }
        if let Some(gate) = &explanation.gate {
            write_gate(gate, f)?;
        }
        if explanation.candidates.is_empty() {
            writeln!(f, "no endpoint takes it whole")?;
        } else {
            f.write_str(&table([("endpoint", &explanation.candidates)]))?;
        }
        if let Some(split) = &explanation.split {
            write_split(split, f)?;
        }
        writeln!(f, "cost = {}, all in milliseconds; the least wins", Term::ALL.map(summand).join(" + "))
    }
}

fn write_gate(gate: &GateExplanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let GateExplanation { verdict, endpoints, is_followed, needed_tokens, waiting, wait_s, wait_s_max } =
        gate;
    let which = if *is_followed { "its conversation is followed" } else { "a new conversation" };
    let needs = format!("{which}, and needs {needed_tokens} tokens");
    let said = match verdict.as_str() {
        "open" => "no room is short".to_owned(),
        "placed" => format!("it has a place at {}", endpoints.join(", ")),
        "room" => format!("it may take a place at {}", endpoints.join(", ")),
        _ => {
            let wait =
                wait_s.map_or_else(|| "nobody knows how long".to_owned(), |s| format!("about {s:.0} s"));
            format!("it has to wait, {wait} of {wait_s_max:.0} s")
        }
    };
    writeln!(f, "gate: {said} ({needs}; {waiting} wait)")
}

fn write_split(split: &SplitExplanation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(reason) = &split.reason {
        return writeln!(f, "in two legs: not possible, {reason}");
    }
    let SplitExplanation { cost_s, transfer_tokens, transfer_s, .. } = split;
    let result = if split.is_cheaper { "cheaper" } else { "not cheaper" };
    writeln!(
        f,
        "in two legs: {result}, {} ms, with {transfer_tokens} tokens passed on in {} ms",
        ms(*cost_s),
        ms(*transfer_s)
    )?;
    f.write_str(&table([("prefill", &split.prefill), ("decode", &split.decode)]))
}

/// A list of candidates below each heading, in common columns.
fn table<const N: usize>(lists: [(&str, &[CandidateExplanation]); N]) -> String {
    let mut rows = Vec::new();
    for (heading, candidates) in lists {
        let headings = std::iter::once(heading).chain(COLUMNS).chain(Term::ALL.map(Term::label));
        rows.push(headings.map(str::to_owned).collect::<Vec<_>>());
        rows.extend(candidates.iter().map(row));
    }
    aligned(&rows, GAP, |at| if at == 0 { Side::Left } else { Side::Right })
}

fn ms(seconds: f64) -> String {
    format!("{:.1}", seconds * 1000.0)
}

fn row(candidate: &CandidateExplanation) -> Vec<String> {
    let mut row = vec![
        candidate.endpoint.clone(),
        candidate.fitness.clone(),
        candidate.cells.to_string(),
        candidate.cells_by.clone(),
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
            {"endpoint":"10.0.0.1:8000","fitness":"fit","cells":12,"cells_by":"reported","cached_tokens":768,"requests":3,
             "cost_s":0.0233,"terms_s":{"queue":0.001,"prefill":0.0098,"later":0.0002,"decode":0.0015}},
            {"endpoint":"10.0.0.12:8000","fitness":"avoided","cells":0,"cells_by":"learned","cached_tokens":0,"requests":0,
             "cost_s":5.0,"terms_s":{"prefill":1.25,"contention":1.25}}]}"#;
        let wanted = "\
pool llama, adapter sql, warm: 900 tokens in 14 cells, 2 considered
endpoint        fitness  cells        by  cached  requests  cost ms  queue  prefill  load  adapter  transfer  contention  later  stall  decode  evict
10.0.0.1:8000       fit     12  reported     768         3     23.3    1.0      9.8   0.0      0.0       0.0         0.0    0.2    0.0     1.5    0.0
10.0.0.12:8000  avoided      0   learned       0         0   5000.0    0.0   1250.0   0.0      0.0       0.0      1250.0    0.0    0.0     0.0    0.0
cost = 2 x queue + 2 x prefill + 2 x load + 2 x adapter + 2 x transfer + 2 x contention + later + stall + decode + evict, all in milliseconds; the least wins
";
        assert_eq!(Table(&serde_json::from_slice(json).unwrap()).to_string(), wanted);
    }

    #[test]
    fn the_gate_comes_first() {
        let gated = |gate: &str| {
            let json = format!(
                r#"{{"pool":"llama","model":"","is_adapter":false,"reason":"cold","prompt_tokens":9000,"cells":140,
                    "considered":0,"candidates":[],"gate":{gate}}}"#
            );
            let table = Table(&serde_json::from_str(&json).unwrap()).to_string();
            table.lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(
            gated(
                r#"{"verdict":"placed","endpoints":["10.0.0.1:8000"],"is_followed":true,"needed_tokens":9500,"waiting":3,"wait_s_max":300}"#
            ),
            "gate: it has a place at 10.0.0.1:8000 (its conversation is followed, and needs 9500 tokens; 3 wait)"
        );
        assert_eq!(
            gated(
                r#"{"verdict":"full","endpoints":[],"is_followed":false,"needed_tokens":9500,"waiting":3,"wait_s":41.2,"wait_s_max":300}"#
            ),
            "gate: it has to wait, about 41 s of 300 s (a new conversation, and needs 9500 tokens; 3 wait)"
        );
    }

    #[test]
    fn both_legs_follow() {
        let candidate = |endpoint: &str, terms: &str| {
            format!(
                r#"{{"endpoint":"{endpoint}","fitness":"fit","cells":0,"cells_by":"both","cached_tokens":0,"requests":1,"cost_s":0.5,
                    "terms_s":{terms}}}"#
            )
        };
        let explained = |split: &str| {
            let json = format!(
                r#"{{"pool":"llama","model":"","is_adapter":false,"reason":"cold","prompt_tokens":9000,"cells":140,
                    "considered":0,"candidates":[],"split":{split}}}"#
            );
            Table(&serde_json::from_str(&json).unwrap()).to_string()
        };
        let (prefill, decode) = (
            candidate("10.0.0.1:8000", r#"{"prefill":0.25}"#),
            candidate("10.0.0.12:8000", r#"{"transfer":0.05}"#),
        );
        let split = format!(
            r#"{{"is_cheaper":true,"cost_s":0.75,"transfer_tokens":8800,"transfer_s":0.05,"prefill":[{prefill}],
                "decode":[{decode}]}}"#
        );
        let wanted = "\
pool llama, cold: 9000 tokens in 140 cells, 0 considered
no endpoint takes it whole
in two legs: cheaper, 750.0 ms, with 8800 tokens passed on in 50.0 ms
prefill         fitness  cells    by  cached  requests  cost ms  queue  prefill  load  adapter  transfer  contention  later  stall  decode  evict
10.0.0.1:8000       fit      0  both       0         1    500.0    0.0    250.0   0.0      0.0       0.0         0.0    0.0    0.0     0.0    0.0
decode          fitness  cells    by  cached  requests  cost ms  queue  prefill  load  adapter  transfer  contention  later  stall  decode  evict
10.0.0.12:8000      fit      0  both       0         1    500.0    0.0      0.0   0.0      0.0      50.0         0.0    0.0    0.0     0.0    0.0
cost = 2 x queue + 2 x prefill + 2 x load + 2 x adapter + 2 x transfer + 2 x contention + later + stall + decode + evict, all in milliseconds; the least wins
";
        assert_eq!(explained(&split), wanted);
        let none = r#"{"is_cheaper":false,"reason":"no_decode_endpoint","cost_s":0,"transfer_tokens":0,"transfer_s":0,
            "prefill":[],"decode":[]}"#;
        assert_eq!(explained(none).lines().nth(2), Some("in two legs: not possible, no_decode_endpoint"));
    }
}
