//! Streamed pieces: processor time.

use serde_json::{Value, json};

use super::chart::{self, Group};
use super::compare::{against, cheapest_peer, times};
use super::llm_d;
use super::section::{Bound, Goal, Section, Table};
use crate::figure::chunk::ChunkCase;
use crate::spread::{Spread, difference, ratio};
use crate::target::Target;

/// Over plain Envoy in microseconds, and against the cheapest peer.
const OVER_PLAIN_US_GOAL: f64 = 1.0;
const PEER_GOAL: f64 = 1.0 / 2.0;

fn cpu(values: &Vec<f64>) -> &[f64] {
    values
}

/// The case in a few words.
fn label(case: &ChunkCase) -> String {
    let usage = if case.has_usage { "usage asked" } else { "usage not asked" };
    let plural = if case.streams == 1 { "" } else { "s" };
    format!("{} stream{plural}, {usage}", case.streams)
}

pub(super) fn section(cases: &[ChunkCase]) -> Section {
    let mut rows = Vec::new();
    for case in cases {
        let cheapest = cheapest_peer(&case.targets, cpu);
        for (target, us) in &case.targets {
            let other = |base: &Target| base != target;
            let more = against(&case.targets, cpu, [*target, Target::Plain], difference);
            rows.push(vec![
                target.name().to_owned(),
                label(case),
                Spread::of(us.iter().copied()).show(),
                more.filter(|_| other(&Target::Plain)).map_or_else(String::new, Spread::show),
                times(&case.targets, cpu, cheapest.filter(other).map(|base| [*target, base])),
            ]);
        }
        if let Some(us) = llm_d_us(case) {
            let row = ["llm-d, scaled".to_owned(), label(case), us.show(), String::new(), String::new()];
            rows.push(row.to_vec());
        }
    }
    let groups = cases.iter().map(|case| Group {
        label: label(case),
        ranges: case.targets.iter().map(|(target, us)| (*target, Spread::of(us.iter().copied()))).collect(),
    });
    Section {
        title: "A streamed piece",
        notes: vec![
            "Streams of one engine, which sends a piece of each every 2 ms or so, those of one step together. The \
             requests that open them are counted with their pieces."
                .to_owned(),
        ],
        table: Table { header: vec!["", "case", "us/piece", "over plain us", "cheapest peer"], rows },
        goals: cases.iter().flat_map(goals).collect(),
        chart: chart::ranges("Processor time of a streamed piece, microseconds", &groups.collect::<Vec<_>>()),
    }
}

fn llm_d_us(case: &ChunkCase) -> Option<Spread> {
    let plain = case.targets.get(&Target::Plain)?;
    Some(Spread::of(plain.iter().map(|us| us * llm_d::times_plain_chunk())))
}

fn goals(case: &ChunkCase) -> Vec<Goal> {
    let goal = |what: String, found, most, unit| Goal {
        name: format!("warmpath, {}, {what}", label(case)),
        found,
        bound: Bound::AtMost(most),
        unit,
    };
    let plain = against(&case.targets, cpu, [Target::Warmpath, Target::Plain], difference)
        .map(|found| goal("over plain Envoy".to_owned(), found, OVER_PLAIN_US_GOAL, "us"));
    let peer = cheapest_peer(&case.targets, cpu).and_then(|peer| {
        let found = against(&case.targets, cpu, [Target::Warmpath, peer], ratio)?;
        Some(goal(format!("against the cheapest peer, {peer}"), found, PEER_GOAL, "x"))
    });
    plain.into_iter().chain(peer).collect()
}

pub(super) fn json(cases: &[ChunkCase]) -> Value {
    let all = cases.iter().flat_map(|case| case.targets.iter().map(move |(target, us)| (case, target, us)));
    let row = |(case, target, us): (&ChunkCase, &Target, &Vec<f64>)| {
        let spread = Spread::of(us.iter().copied());
        let more = against(&case.targets, cpu, [*target, Target::Plain], difference);
        json!({
            "target": target,
            "streams": case.streams,
            "has_usage": case.has_usage,
            "cpu_us_per_chunk": spread.median,
            "cpu_us_per_chunk_spread": spread,
            "over_plain_us": more.map(|more| more.median),
        })
    };
    all.map(row).collect()
}
