//! Processor time and latency of a request, in two legs and whole, one after the other on one connection.

use super::way::{Route, Way};
use super::{Plan, progress};
use crate::cluster::MODEL;
use crate::measure::Quantiles;
use crate::workload::words;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use warmpath_engine::model::TOKEN_BYTES;
use warmpath_http::Client;

/// Where requests go.
pub(super) const PATH: &str = "/v1/chat/completions";
/// Tokens of a response: one would not be split.
const OUTPUT_TOKENS: usize = 4;

const US_PER_S: f64 = 1e6;

/// One way and one size of prompt, one value a repetition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples {
    /// Microseconds of processor time a request, of the processes on its path.
    pub(super) cpu_us: Vec<f64>,
    /// The median of what clients waited, in microseconds.
    pub(super) p50_us: Vec<f64>,
    /// What 99 of 100 requests do not exceed.
    pub(super) p99_us: Vec<f64>,
    /// Requests of all repetitions, and those of them that went in two legs.
    pub(super) requests: u64,
    pub(super) split: u64,
}

/// All that was measured, by size of prompt and way.
pub(super) type Costs = BTreeMap<usize, BTreeMap<Way, Samples>>;

/// A chat with a prompt that nobody has seen.
pub(super) fn body(number: u64, prompt_bytes: usize) -> Value {
    let content = words(number, prompt_bytes / TOKEN_BYTES);
    json!({"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": OUTPUT_TOKENS})
}

/// Measures all ways with all sizes; the ways take turns in each repetition.
pub(super) async fn measure(
    ways: &[Way],
    bodies: &[usize],
    plan: Plan,
    logs: &Path,
) -> anyhow::Result<Costs> {
    let mut routes = Vec::new();
    for way in ways {
        progress::step(format_args!("starting {way}"));
        routes.push(Route::start(*way, logs).await?);
    }
    let (mut costs, mut number) = (Costs::new(), 0);
    for prompt_bytes in bodies {
        let case = costs.entry(*prompt_bytes).or_default();
        for at in 0..plan.repetitions {
            progress::repetition(format_args!("cost, {prompt_bytes} B"), at, plan.repetitions);
            for route in &routes {
                let samples = case.entry(route.way).or_default();
                let measured = repeat(samples, route, plan.requests, *prompt_bytes, &mut number).await;
                measured.map_err(|failure| route.blame(failure))?;
            }
        }
    }
    Ok(costs)
}

async fn repeat(
    samples: &mut Samples,
    route: &Route,
    requests: usize,
    prompt_bytes: usize,
    number: &mut u64,
) -> anyhow::Result<()> {
    let client = Client::http1(route.gateway);
    // The connection, and whatever a router does once.
    one(&client, number, prompt_bytes).await?;
    let (before, legs) = (route.meter.read()?, route.engines.prefill_legs());
    let mut latency_us = Vec::with_capacity(requests);
    for _ in 0..requests {
        latency_us.push(one(&client, number, prompt_bytes).await?);
    }
    samples.cpu_us.push(route.meter.read()?.since(&before) / requests as f64);
    let quantiles = Quantiles::of(latency_us);
    samples.p50_us.push(quantiles.p50);
    samples.p99_us.push(quantiles.p99);
    samples.requests += requests as u64;
    samples.split += route.engines.prefill_legs() - legs;
    Ok(())
}

/// Microseconds of one request.
async fn one(client: &Client, number: &mut u64, prompt_bytes: usize) -> anyhow::Result<f64> {
    *number += 1;
    let body = body(*number, prompt_bytes);
    let sent = Instant::now();
    let response = client.post_json(PATH, &body).await.context("a request was lost")?;
    ensure!(response.status == 200, "a request got {}: {}", response.status, response.text());
    Ok(sent.elapsed().as_secs_f64() * US_PER_S)
}
