//! Streamed pieces: processor time.

use super::compare::{against, chart, cheapest_peer, ranges, times};
use super::llm_d;
use crate::bench::figure::chunk::ChunkCase;
use crate::bench::target::Target;
use serde_json::{Value, json};
use warmpath_report::{Goal, Limit, Row, Section, Spread, Table, Unit, chart::Group, difference, ratio};

/// Over plain Envoy in microseconds, and against the cheapest peer.
const OVER_PLAIN_US_GOAL: f64 = 1.0;
const PEER_GOAL: f64 = 1.0 / 2.0;

fn cpu(values: &Vec<f64>) -> &[f64] {
    values
}

pub(super) fn section(cases: &[ChunkCase]) -> Section {
    let mut rows = Vec::new();
    for case in cases {
        let cheapest = cheapest_peer(&case.targets, cpu);
        for (target, us) in &case.targets {
            let other = |base: &Target| base != target;
            let more = against(&case.targets, cpu, [*target, Target::Plain], difference);
            rows.push(Row::from([
                target.name().to_owned(),
                case.label(),
                Spread::of(us.iter().copied()).show(),
                more.filter(|_| other(&Target::Plain)).map_or_else(String::new, Spread::show),
                times(&case.targets, cpu, cheapest.filter(other).map(|base| [*target, base])),
            ]));
        }
        if let Some(us) = llm_d_us(case) {
            let row = [llm_d::NAME.to_owned(), case.label(), us.show(), String::new(), String::new()];
            rows.push(Row::from(row));
        }
    }
    let group =
        |case: &ChunkCase| Group { label: case.label(), ranges: ranges(&case.targets, cpu, llm_d_us(case)) };
    let groups: Vec<Group> = cases.iter().map(group).collect();
    Section {
        title: "A streamed piece".to_owned(),
        notes: vec![
            "Processor time of every process on the stream's path. All streams are of one engine, which sends a piece of \
             each every 2 ms or so, those of one step together. The requests that open them are counted with their \
             pieces."
                .to_owned(),
        ],
        table: Table::new(["", "case", "us/piece", "over plain us", "times cheapest peer"], rows),
        goals: cases.iter().flat_map(goals).collect(),
        charts: chart(
            "Processor time of a streamed piece",
            "microseconds a piece, logarithmic; further left is cheaper",
            &groups,
        ),
        ..Section::default()
    }
}

fn llm_d_us(case: &ChunkCase) -> Option<Spread> {
    let plain = case.targets.get(&Target::Plain)?;
    Some(Spread::of(plain.iter().map(|us| us * llm_d::times_plain_chunk())))
}

fn goals(case: &ChunkCase) -> Vec<Goal> {
    let goal = |what: String, found, most, unit| {
        let name = format!("processor time of a streamed piece, {}, {what}", case.label());
        Goal::new(name, found, Limit::most(most), unit)
    };
    let plain = against(&case.targets, cpu, [Target::Warmpath, Target::Plain], difference)
        .map(|found| goal("over plain Envoy".to_owned(), found, OVER_PLAIN_US_GOAL, Unit::Of("us")));
    let peer = cheapest_peer(&case.targets, cpu).and_then(|peer| {
        let found = against(&case.targets, cpu, [Target::Warmpath, peer], ratio)?;
        Some(goal(format!("against the cheapest peer ({peer})"), found, PEER_GOAL, Unit::Ratio))
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
