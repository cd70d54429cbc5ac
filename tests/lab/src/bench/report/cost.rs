//! Requests: processor time, added latency, memory.

use super::compare::{against, chart, cheapest_peer, ranges, times};
use super::llm_d;
use crate::bench::figure::cost::{CostCase, CostSamples, Latencies, size};
use crate::bench::target::Target;
use serde_json::{Value, json};
use warmpath_report::{
    Goal, Limit, Row, Section, Spread, Table, Unit, chart::Group, difference, number, ratio,
};

/// Against the cheapest peer, and against llm-d.
const PEER_GOAL: f64 = 1.0 / 2.0;
const LLM_D_GOAL: f64 = 1.0 / 7.0;

const BYTES_PER_MB: f64 = 1e6;

fn cpu(samples: &CostSamples) -> &[f64] {
    &samples.cpu_us
}

pub(super) fn section(cases: &[CostCase]) -> Section {
    let header = [
        "",
        "body",
        "us/request",
        "times plain",
        "times buffer",
        "times cheapest peer",
        "added p50 us",
        "added p99 us",
        "MB (+ controller)",
        "controller us/request",
    ];
    let mut rows = Vec::new();
    for case in cases {
        rows.extend(case.targets.iter().map(|(target, samples)| row(case, *target, samples)));
        rows.extend(llm_d_row(case));
    }
    Section {
        title: "A request".to_owned(),
        notes: vec![
            "Processor time of every process on the request's path, for prompts that nobody has seen. Median and, in \
             brackets, least and most of the repetitions; ratios compare neighbours in time."
                .to_owned(),
            "Added: what clients wait longer than straight from an engine. The controller is not on the path: its time \
             is that of the clock, here divided by the requests."
                .to_owned(),
            "Times: that many times the processor time of plain, of buffer, and of the cheapest other router; lower is \
             better, and 1.0 is as cheap. MB: resident memory of the processes on the path, and behind the + that of \
             the controller."
                .to_owned(),
            "vllm-router asks all engines for the prompt's tokens first, as its cache_aware does where they offer it."
                .to_owned(),
        ],
        table: Table::new(header, rows),
        goals: cases.iter().flat_map(goals).collect(),
        charts: chart(
            "Processor time of a request",
            "microseconds a request, logarithmic; further left is cheaper",
            &groups(cases),
        ),
        ..Section::default()
    }
}

fn row(case: &CostCase, target: Target, samples: &CostSamples) -> Row {
    let to = |base: Target| times(&case.targets, cpu, (base != target).then_some([target, base]));
    let cheapest = cheapest_peer(&case.targets, cpu);
    let megabytes = |bytes: u64| format!("{:.0}", bytes as f64 / BYTES_PER_MB);
    let memory = megabytes(samples.memory_bytes);
    let memory = match samples.controller_memory_bytes {
        Some(controller) => format!("{memory} + {}", megabytes(controller)),
        None => memory,
    };
    let controller = Spread::of(samples.controller_cpu_us.iter().copied());
    Row::from([
        target.name().to_owned(),
        size(case.body_bytes),
        Spread::of(samples.cpu_us.iter().copied()).show(),
        to(Target::Plain),
        to(Target::Buffer),
        cheapest.map_or_else(String::new, to),
        added(samples, case, |latencies| &latencies.p50_us).show(),
        added(samples, case, |latencies| &latencies.p99_us).show(),
        memory,
        if samples.controller_cpu_us.is_empty() { String::new() } else { controller.show() },
    ])
}

fn added(samples: &CostSamples, case: &CostCase, part: fn(&Latencies) -> &[f64]) -> Spread {
    Spread::of_pairs(part(&samples.latencies), part(&case.direct), difference)
}

/// llm-d as it would be on this machine.
fn llm_d_us(case: &CostCase) -> Option<Spread> {
    let (times, buffer) = (llm_d::times_buffer(case.body_bytes)?, case.targets.get(&Target::Buffer)?);
    Some(Spread::of(buffer.cpu_us.iter().map(|us| us * times)))
}

fn llm_d_row(case: &CostCase) -> Option<Row> {
    let mut row = vec![llm_d::NAME.to_owned(), size(case.body_bytes), llm_d_us(case)?.show()];
    row.push(String::new());
    row.push(format!("{}x", number(llm_d::times_buffer(case.body_bytes)?)));
    row.resize(10, String::new());
    Some(row.into_iter().collect())
}

fn goals(case: &CostCase) -> Vec<Goal> {
    let goal = |against: String, found: Spread, most: f64| {
        let name = format!("processor time of a request, {}, against {against}", size(case.body_bytes));
        Goal::new(name, found, Limit::most(most), Unit::Ratio)
    };
    let peer = cheapest_peer(&case.targets, cpu).and_then(|peer| {
        let found = against(&case.targets, cpu, [Target::Warmpath, peer], ratio)?;
        Some(goal(format!("the cheapest peer ({peer})"), found, PEER_GOAL))
    });
    let llm_d = llm_d::times_buffer(case.body_bytes).and_then(|times| {
        let scaled = |ours, base| ratio(ours, base * times);
        let found = against(&case.targets, cpu, [Target::Warmpath, Target::Buffer], scaled)?;
        Some(goal(llm_d::NAME.to_owned(), found, LLM_D_GOAL))
    });
    peer.into_iter().chain(llm_d).collect()
}

fn groups(cases: &[CostCase]) -> Vec<Group> {
    let group = |case: &CostCase| Group {
        label: size(case.body_bytes),
        ranges: ranges(&case.targets, cpu, llm_d_us(case)),
    };
    cases.iter().map(group).collect()
}

pub(super) fn json(cases: &[CostCase]) -> Value {
    let all = cases
        .iter()
        .flat_map(|case| case.targets.iter().map(move |(target, samples)| (case, target, samples)));
    let row = |(case, target, samples): (&CostCase, &Target, &CostSamples)| {
        let cpu_us = Spread::of(samples.cpu_us.iter().copied());
        let to = |base: Option<Target>| {
            base.and_then(|base| against(&case.targets, cpu, [*target, base], ratio))
                .map(|ratio| ratio.median)
        };
        let controller = Spread::of(samples.controller_cpu_us.iter().copied());
        json!({
            "target": target,
            "body_bytes": case.body_bytes,
            "cpu_us_per_request": cpu_us.median,
            "cpu_us_per_request_spread": cpu_us,
            "controller_cpu_us_per_request": (!samples.controller_cpu_us.is_empty()).then_some(controller.median),
            "latency_us": latency(&samples.latencies),
            "added_latency_us": {
                "p50": added(samples, case, |latencies| &latencies.p50_us).median,
                "p99": added(samples, case, |latencies| &latencies.p99_us).median,
            },
            "memory_bytes": samples.memory_bytes,
            "controller_memory_bytes": samples.controller_memory_bytes,
            "over_plain": to(Some(Target::Plain)),
            "over_buffer": to(Some(Target::Buffer)),
            "over_cheapest_peer": to(cheapest_peer(&case.targets, cpu)),
            "requests": samples.requests,
        })
    };
    all.map(row).collect()
}

/// What has no processor time of its own: straight to an engine, and llm-d as scaled.
pub(super) fn references_json(cases: &[CostCase]) -> Value {
    let row = |case: &CostCase| {
        json!({
            "body_bytes": case.body_bytes,
            "direct_latency_us": latency(&case.direct),
            "llm_d_scaled_cpu_us_per_request": llm_d_us(case).map(|us| us.median),
        })
    };
    cases.iter().map(row).collect()
}

fn latency(latencies: &Latencies) -> Value {
    let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
    json!({ "p50": median(&latencies.p50_us), "p99": median(&latencies.p99_us) })
}
