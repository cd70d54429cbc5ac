//! What a real Envoy shows of the filter: the feed, its size, its start.

use crate::bench::figure::feed::Feed;
use crate::bench::figure::wasm::Wasm;
use crate::measure::Quantiles;
use serde_json::{Value, json};
use warmpath_report::{Goal, Limit, Row, Section, Spread, Table, Unit, difference, number};

const FEED_SHARE_PERCENT_GOAL: f64 = 5.0;
const USABLE_MS_GOAL: f64 = 10.0;
const WASM_MB_GOAL: f64 = 1.5;
const START_MS_GOAL: f64 = 100.0;

const BYTES_PER_MB: f64 = 1e6;
const PERCENT: f64 = 100.0;

/// The thread that the changes cost most, in percent of a core.
fn worst_percent(feed: &Feed) -> f64 {
    feed.threads.iter().map(|thread| thread.more() * PERCENT).fold(0.0, f64::max)
}

pub(super) fn feed(found: &Feed) -> Section {
    let usable = Quantiles::of(found.usable_ms.iter().copied());
    let rows = found.threads.iter().map(|thread| {
        let percent = |share: f64| number(share * PERCENT);
        Row::from([thread.thread.clone(), percent(thread.idle), percent(thread.fed), percent(thread.more())])
    });
    let goal =
        |name, found, most, unit| Goal::new(name, Spread::of([found]), Limit::most(most), Unit::Of(unit));
    Section {
        title: "Changes through the feed".to_owned(),
        notes: vec![
            format!(
                "{:.0} new cells a second from a made-up proxy through the controller into an Envoy with two workers, \
                 prompts of 20 cells. Percent of a core for each thread with a VM, without and with them.",
                found.cells_per_s
            ),
            format!(
                "From sending a prefix until the last worker used it, {} probes meanwhile: p50 {} ms, p90 {} ms, p99 {} \
                 ms.",
                found.usable_ms.len(),
                number(usable.p50),
                number(usable.p90),
                number(usable.p99)
            ),
        ],
        table: Table::new(["thread", "idle %", "fed %", "more %"], rows),
        goals: vec![
            goal("feed, most of a worker", worst_percent(found), FEED_SHARE_PERCENT_GOAL, "%"),
            goal("feed, usable in every worker, p99", usable.p99, USABLE_MS_GOAL, "ms"),
        ],
        ..Section::default()
    }
}

pub(super) fn feed_json(found: &Feed) -> Value {
    let usable = Quantiles::of(found.usable_ms.iter().copied());
    json!({
        "cells_per_s": found.cells_per_s,
        "threads": found.threads,
        "worker_share": worst_percent(found) / PERCENT,
        "usable_ms": usable,
        "probes": found.usable_ms.len(),
    })
}

fn start_ms(found: &Wasm) -> Spread {
    Spread::of_pairs(&found.with_ms, &found.without_ms, difference)
}

pub(super) fn wasm(found: &Wasm) -> Section {
    let spread = |values: &[f64]| Spread::of(values.iter().copied());
    let goal = |name, found, most, unit| Goal::new(name, found, Limit::most(most), Unit::Of(unit));
    let megabytes = found.bytes as f64 / BYTES_PER_MB;
    let rows = [
        ("size, MB", number(megabytes)),
        ("Envoy's initialization without the filter, ms", spread(&found.without_ms).show()),
        ("Envoy's initialization with the filter, ms", spread(&found.with_ms).show()),
        ("the filter's part, ms", start_ms(found).show()),
        ("a compiled VM in the test host, ms", spread(&found.instance_ms).show()),
    ];
    Section {
        title: "The filter itself".to_owned(),
        notes: vec![
            "Envoy tells how long its initialization took; the filter's part is the difference, most of it V8's \
             compilation, once a process. A VM that is compiled already, as that of every worker, is started in the \
             test host."
                .to_owned(),
        ],
        table: Table::new(["", "found"], rows.map(|(name, value)| Row::from([name, value.as_str()]))),
        goals: vec![
            goal(".wasm size", Spread::of([megabytes]), WASM_MB_GOAL, "MB"),
            goal("start of the first VM in Envoy, with compilation", start_ms(found), START_MS_GOAL, "ms"),
            goal("start of a compiled VM, test host", spread(&found.instance_ms), START_MS_GOAL, "ms"),
        ],
        ..Section::default()
    }
}

pub(super) fn wasm_json(found: &Wasm) -> Value {
    let spread = |values: &[f64]| Spread::of(values.iter().copied());
    json!({
        "bytes": found.bytes,
        "start_ms": start_ms(found),
        "envoy_initialization_ms": { "with": spread(&found.with_ms), "without": spread(&found.without_ms) },
        "instance_ms": spread(&found.instance_ms),
    })
}
