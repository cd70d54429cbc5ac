//! An explanation as a table: a line for each candidate, a column for each term of its cost.

use serde::Deserialize;
use std::fmt;
use warmpath_core::cost::WAIT_WEIGHT;

/// Headings of the columns after the endpoint's.
const COLUMNS: [&str; 12] = [
    "fitness", "cells", "cached", "requests", "cost ms", "queue", "prefill", "rivals", "later", "stall",
    "decode", "evict",
];

/// The answer's JSON; the core's `Explanation`, owned.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pool: String,
    adapter: String,
    reason: String,
    prompt_tokens: u64,
    cells: u64,
    considered: u64,
    candidates: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    endpoint: String,
    fitness: String,
    cells: u64,
    cached_tokens: u64,
    requests: u64,
    cost_s: f64,
    queue_s: f64,
    prefill_s: f64,
    rivals_s: f64,
    later_s: f64,
    stall_s: f64,
    decode_s: f64,
    evict_s: f64,
}

// === impl Answer ===

impl Answer {
    pub(super) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}", self.pool)?;
        if !self.adapter.is_empty() {
            write!(f, ", adapter {}", self.adapter)?;
        }
        writeln!(
            f,
            ", {}: {} tokens in {} cells, {} considered",
            self.reason, self.prompt_tokens, self.cells, self.considered
        )?;
        let mut rows =
            vec![std::iter::once("endpoint").chain(COLUMNS).map(str::to_owned).collect::<Vec<_>>()];
        rows.extend(self.candidates.iter().map(Candidate::row));
        let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..=COLUMNS.len()).map(width).collect();
        for row in &rows {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(f, "{cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "cost = {WAIT_WEIGHT} x (queue + prefill + rivals) + later + stall + decode + evict, all in milliseconds; the \
             least wins"
        )
    }
}

// === impl Candidate ===

impl Candidate {
    fn row(&self) -> Vec<String> {
        let counts = [self.cells, self.cached_tokens, self.requests].map(|count| count.to_string());
        let terms = [
            self.cost_s,
            self.queue_s,
            self.prefill_s,
            self.rivals_s,
            self.later_s,
            self.stall_s,
            self.decode_s,
            self.evict_s,
        ];
        let names = [self.endpoint.clone(), self.fitness.clone()];
        let terms = terms.map(|seconds| format!("{:.1}", seconds * 1000.0));
        names.into_iter().chain(counts).chain(terms).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn columns_line_up() {
        let json = br#"{"pool":"llama","adapter":"sql","reason":"warm","prompt_tokens":900,"cells":14,
            "considered":2,"candidates":[
            {"endpoint":"10.0.0.1:8000","fitness":"fit","cells":12,"cached_tokens":768,"requests":3,
             "cost_s":0.0233,"queue_s":0.001,"prefill_s":0.0098,"rivals_s":0,"later_s":0.0002,"stall_s":0,"decode_s":0.0015,"evict_s":0},
            {"endpoint":"10.0.0.12:8000","fitness":"avoided","cells":0,"cached_tokens":0,"requests":0,
             "cost_s":5.0,"queue_s":0,"prefill_s":1.25,"rivals_s":1.25,"later_s":0,"stall_s":0,"decode_s":0,"evict_s":0}]}"#;
        let wanted = "\
pool llama, adapter sql, warm: 900 tokens in 14 cells, 2 considered
endpoint        fitness  cells  cached  requests  cost ms  queue  prefill  rivals  later  stall  decode  evict
10.0.0.1:8000       fit     12     768         3     23.3    1.0      9.8     0.0    0.2    0.0     1.5    0.0
10.0.0.12:8000  avoided      0       0         0   5000.0    0.0   1250.0  1250.0    0.0    0.0     0.0    0.0
cost = 2 x (queue + prefill + rivals) + later + stall + decode + evict, all in milliseconds; the least wins
";
        assert_eq!(Answer::parse(json).unwrap().to_string(), wanted);
    }
}
