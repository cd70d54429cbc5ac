//! `report.json`: the numbers of the arms, and how they came about.

use crate::measure::{ArmRun, Quantiles, Summary};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Conversations, closed loop.
    Demo,
    /// A recorded trace, open loop.
    Replay,
    /// Long and short prompts, closed loop, with prefill and decode together and apart.
    Pd,
    /// Coding agents, closed loop, with and without waiting in the proxy.
    Agents,
}

/// How a comparison was made.
#[derive(Clone, Debug, Serialize)]
pub struct RunInfo {
    /// What was played.
    pub kind: Kind,
    /// The seed of everything random in the workload.
    pub seed: u64,
    /// How many times faster than real the engines ran.
    pub time_scale: f64,
    /// How many engines.
    pub engines: usize,
    /// How many Envoys.
    pub envoys: usize,
    /// Worker threads of each Envoy.
    pub workers: u32,
    /// Hardware and model of the engines.
    pub preset: &'static str,
    /// KV-cache capacity of each engine.
    pub kv_tokens: usize,
    /// Tokens of each streamed piece.
    pub tokens_per_chunk: usize,
    /// Version of this repository.
    pub warmpath_version: &'static str,
    /// Version of Envoy.
    pub envoy_version: String,
    /// Measures with goals of their own, and what each is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<(String, String)>,
    /// Everything else, in words.
    pub parameters: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct File<'a> {
    arms: &'a [Summary],
    run: Run<'a>,
}

#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    info: &'a RunInfo,
    /// All times and rates are in this time.
    time: &'static str,
    /// How much later than planned requests were sent, in model time: the client's own fault. By arm.
    client_late_ms_p99: BTreeMap<&'static str, f64>,
    /// Lost requests by reason, by arm.
    lost: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

/// The file's content.
pub(super) fn render(info: &RunInfo, runs: &[ArmRun], arms: &[Summary]) -> anyhow::Result<Value> {
    let run = Run {
        info,
        time: "model time: wall time multiplied by time_scale",
        client_late_ms_p99: runs.iter().map(|run| (run.arm.name(), late_ms_p99(run))).collect(),
        lost: runs.iter().map(|run| (run.arm.name(), lost(run))).collect(),
    };
    Ok(serde_json::to_value(File { arms, run })?)
}

/// How late the client was with 99 of 100 requests, in model time.
pub(super) fn late_ms_p99(run: &ArmRun) -> f64 {
    Quantiles::of(run.calls.iter().map(|call| call.late_ms)).p99
}

/// Lost requests by reason.
pub(super) fn lost(run: &ArmRun) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for lost in run.calls.iter().filter_map(|call| call.outcome.err()) {
        *reasons.entry(lost.label()).or_default() += 1;
    }
    reasons
}
