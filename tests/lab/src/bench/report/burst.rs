//! Many long prompts at once: added time to the first byte, and requests a core could take.

use super::compare::against;
use crate::bench::figure::burst::{BURST, BurstCase, BurstSamples};
use crate::bench::target::Target;
use serde_json::{Value, json};
use warmpath_report::{Goal, Limit, Row, Section, Spread, Table, Unit, difference};

const ADDED_MS_GOAL: f64 = 10.0;
const REQUESTS_PER_S_GOAL: f64 = 1_500.0;

const US_PER_S: f64 = 1e6;

fn ttft(samples: &BurstSamples) -> &[f64] {
    &samples.ttft_ms_p50
}

/// Requests in a second of processor time.
fn requests_per_core_s(samples: &BurstSamples) -> Spread {
    Spread::of(samples.cpu_us.iter().filter(|us| **us > 0.0).map(|us| US_PER_S / us))
}

fn added(case: &BurstCase, samples: &BurstSamples) -> Spread {
    Spread::of_pairs(&samples.ttft_ms_p50, &case.direct.ttft_ms_p50, difference)
}

pub(super) fn section(cases: &[BurstCase]) -> Section {
    let header = [
        "",
        "arrive",
        "TTFT p50 ms",
        "p99 ms",
        "added p50 ms",
        "over buffer ms",
        "us/request",
        "requests/s a core",
        "lost",
    ];
    Section {
        title: "Many long prompts".to_owned(),
        notes: vec![
            format!(
                "{} prompts of {} KB, each on a connection of its own that stands already, engines that answer at once. \
                 At the same moment, and as many a second as llm-d's picker was seen to take.",
                BURST.count,
                BURST.prompt_bytes / 1_000
            ),
            "Client and engines share the machine with the target: on few cores, most of the time at once is the queue \
             for them."
                .to_owned(),
            "TTFT: until the first byte of the answer. Added: later than straight from the engines (direct)."
                .to_owned(),
        ],
        table: Table::new(header, cases.iter().flat_map(rows)),
        goals: cases.iter().flat_map(goals).collect(),
        ..Section::default()
    }
}

fn rows(case: &BurstCase) -> Vec<Row> {
    let spread = |values: &[f64]| Spread::of(values.iter().copied()).show();
    let row = |name: &str, samples: &BurstSamples, compared: [String; 4]| {
        let mut row = vec![name.to_owned(), case.arrivals.label()];
        row.extend([spread(&samples.ttft_ms_p50), spread(&samples.ttft_ms_p99)]);
        row.extend(compared);
        row.push(format!("{} of {}", samples.lost, samples.requests));
        Row::from_iter(row)
    };
    let mut rows = vec![row("direct", &case.direct, Default::default())];
    for (target, samples) in &case.targets {
        let buffer = against(&case.targets, ttft, [*target, Target::Buffer], difference);
        let compared = [
            added(case, samples).show(),
            buffer.filter(|_| *target != Target::Buffer).map_or_else(String::new, Spread::show),
            spread(&samples.cpu_us),
            requests_per_core_s(samples).show(),
        ];
        rows.push(row(target.name(), samples, compared));
    }
    rows
}

fn goals(case: &BurstCase) -> Vec<Goal> {
    let Some(ours) = case.targets.get(&Target::Warmpath) else { return Vec::new() };
    let goal = |what: &str, found, limit, unit| {
        Goal::new(
            format!("many long prompts, {}, {what}", case.arrivals.label()),
            found,
            limit,
            Unit::Of(unit),
        )
    };
    vec![
        goal("added TTFT p50", added(case, ours), Limit::most(ADDED_MS_GOAL), "ms"),
        goal("requests/s a core", requests_per_core_s(ours), Limit::AtLeast(REQUESTS_PER_S_GOAL), "/s"),
    ]
}

pub(super) fn json(cases: &[BurstCase]) -> Value {
    let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
    let row = |case: &BurstCase, name: &str, samples: &BurstSamples, is_target: bool| {
        json!({
            "target": name,
            "arrivals": case.arrivals.label(),
            "prompt_bytes": BURST.prompt_bytes,
            "count": BURST.count,
            "ttft_ms": { "p50": median(&samples.ttft_ms_p50), "p99": median(&samples.ttft_ms_p99) },
            "added_ttft_ms_p50": is_target.then(|| added(case, samples).median),
            "cpu_us_per_request": is_target.then(|| median(&samples.cpu_us)),
            "requests_per_core_s": is_target.then(|| requests_per_core_s(samples).median),
            "requests": samples.requests,
            "lost": samples.lost,
        })
    };
    let all = |case: &BurstCase| {
        let targets = case.targets.iter().map(|(target, samples)| row(case, target.name(), samples, true));
        std::iter::once(row(case, "direct", &case.direct, false)).chain(targets).collect::<Vec<_>>()
    };
    cases.iter().flat_map(all).collect()
}
