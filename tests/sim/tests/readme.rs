//! What the README says of rules and of traces, held against the code: its examples load, its table is whole.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails is a failed test")]

use std::path::Path;
use warmpath_sim::rules::RuleName;
use warmpath_sim::trace::{self, Trace};

const README: &str = include_str!("../README.md");

/// The trace in the block of the README that opens with these words, read from a file with this ending.
fn example(opening: &str, ending: &str) -> Trace {
    let (_, rest) = README.split_once(&format!("```{opening}\n")).unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("readme-{}.{ending}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let trace = trace::load(&path, usize::MAX).unwrap();
    std::fs::remove_file(&path).unwrap();
    trace
}

#[test]
fn the_examples_of_traces_load_as_they_are_explained() {
    let Trace::Requests(mooncake) = example("jsonl mooncake", "mooncake.jsonl") else {
        panic!("no requests")
    };
    assert_eq!(mooncake.iter().map(|one| one.input_tokens).collect::<Vec<_>>(), [1_200, 1_500]);
    let Trace::Requests(azure) = example("csv azure", "csv") else { panic!("no requests") };
    let times: Vec<f64> = azure.iter().map(|one| one.at_ms.round()).collect();
    assert_eq!(times, [0.0, 20.0, 520.0]);
    let Trace::Sessions(sessions) = example("jsonl sessions", "sessions.jsonl") else {
        panic!("no sessions")
    };
    assert_eq!(sessions.len(), 2);
    let first = sessions.first().unwrap();
    assert_eq!(first.shared_blocks(), 3);
    let blocks: Vec<&[u64]> = first.turns.iter().map(|turn| turn.blocks.as_slice()).collect();
    assert_eq!(blocks, [&[1, 2, 3, 4, 5, 6][..], &[1, 2, 3, 4, 5, 6, 20, 21, 22, 23]]);
    assert_eq!(first.turns.iter().map(|turn| turn.think_s).collect::<Vec<_>>(), [0.0, 2.5]);
}

#[test]
fn every_other_rule_is_in_the_table() {
    for rule in RuleName::ALL.into_iter().filter(|rule| *rule != RuleName::Warmpath) {
        assert!(README.contains(&format!("\n| `{rule}` | ")), "{rule} is missing");
    }
}
