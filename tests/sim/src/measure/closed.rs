//! The numbers of a run that is cut off: who waits then counts with what they have waited.
//!
//! Without them, a rule that lets half of its clients wait forever would be the fastest.

use super::{Quantiles, Record, summary::ratio};
use crate::run::Played;
use crate::workload::Workload;
use serde::Serialize;
use warmpath_report::percentile;

const MS_PER_S: f64 = 1_000.0;
/// A first token within so many seconds is a quick one.
const QUICK_S: f64 = 30.0;

/// The numbers of one run that is cut off.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Closed {
    /// All groups together, and then each, if there are several.
    pub groups: Vec<GroupClosed>,
}

/// Those of one group of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GroupClosed {
    /// Its name; empty: all groups.
    pub name: &'static str,
    /// Responses that ended, by second.
    pub requests_per_s: f64,
    /// Those of them whose first token came within 30 s.
    pub quick_per_s: f64,
    /// Share of the prompt tokens that an engine began with and had cached.
    pub cached_share: f64,
    /// Time to the first token, of all that came: of those without one, the time that they have waited.
    pub ttft_ms: Quantiles,
    /// Time to the last token, of those that ended.
    pub e2e_ms: Quantiles,
    /// Time of a token after the first, by request.
    pub tpot_ms: Quantiles,
    /// Responses that ended of the client of a closed loop that got fewest of them.
    pub agent_requests_min: f64,
    /// And of the one in the middle.
    pub agent_requests_p50: f64,
    /// How often a request was refused and came again.
    pub refusals: f64,
}

// === impl Closed ===

impl Closed {
    /// Of a run; `None` if it was not cut off.
    pub fn of(workload: &Workload, played: &Played) -> Option<Self> {
        workload.ends_s?;
        let of = |group: Option<usize>| GroupClosed::of(workload, played, group);
        let each = (0..workload.groups.len()).filter(|_| workload.groups.len() > 1).map(Some);
        Some(Self { groups: std::iter::once(None).chain(each).map(of).collect() })
    }
}

// === impl GroupClosed ===

impl GroupClosed {
    fn of(workload: &Workload, played: &Played, group: Option<usize>) -> Self {
        let is_mine = |record: &&Record| group.is_none_or(|group| record.group == group);
        let ended: Vec<&Record> = played.records.iter().filter(is_mine).collect();
        let open: Vec<&Record> = played.open.iter().filter(is_mine).collect();
        let all = || ended.iter().chain(&open).copied();
        let ttft_s = |record: &Record| record.first_s.unwrap_or(played.end_s) - record.sent_s;
        let admitted: Vec<&Record> = all().filter(|record| record.is_admitted()).collect();
        let sum = |of: fn(&Record) -> usize| admitted.iter().map(|one| of(one)).sum::<usize>() as f64;
        let long = ended.iter().filter(|record| record.output_tokens > 1);
        let tpot = |record: &&Record| {
            (record.e2e_s() - record.ttft_s()) * MS_PER_S / (record.output_tokens - 1) as f64
        };
        let quick = ended.iter().filter(|record| ttft_s(record) <= QUICK_S).count();
        let by_agent = by_agent(workload, &ended, group);
        Self {
            name: group.map_or("", |group| workload.groups[group].name),
            requests_per_s: ratio(ended.len() as f64, played.end_s),
            quick_per_s: ratio(quick as f64, played.end_s),
            cached_share: ratio(sum(|one| one.cached_tokens), sum(|one| one.prompt_tokens)),
            ttft_ms: Quantiles::of(all().map(|record| ttft_s(record) * MS_PER_S)),
            e2e_ms: Quantiles::of(ended.iter().map(|record| record.e2e_s() * MS_PER_S)),
            tpot_ms: Quantiles::of(long.map(tpot)),
            agent_requests_min: percentile(by_agent.iter().copied(), 0),
            agent_requests_p50: percentile(by_agent, 50),
            refusals: all().map(|record| f64::from(record.refusals)).sum(),
        }
    }

    /// Means over runs of the same group.
    pub fn mean(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len().max(1) as f64;
        let quantiles = |of: fn(&Self) -> &Quantiles| {
            let mean = |part: fn(&Quantiles) -> f64| {
                runs.iter().map(|run| part(of(run))).sum::<f64>() / runs.len().max(1) as f64
            };
            Quantiles {
                p50: mean(|one| one.p50),
                p90: mean(|one| one.p90),
                p99: mean(|one| one.p99),
                mean: mean(|one| one.mean),
            }
        };
        Self {
            name: runs.first().map_or("", |run| run.name),
            requests_per_s: mean(|one| one.requests_per_s),
            quick_per_s: mean(|one| one.quick_per_s),
            cached_share: mean(|one| one.cached_share),
            ttft_ms: quantiles(|one| &one.ttft_ms),
            e2e_ms: quantiles(|one| &one.e2e_ms),
            tpot_ms: quantiles(|one| &one.tpot_ms),
            agent_requests_min: mean(|one| one.agent_requests_min),
            agent_requests_p50: mean(|one| one.agent_requests_p50),
            refusals: mean(|one| one.refusals),
        }
    }
}

/// Responses that ended by client of the closed loops; those that got none are among them.
fn by_agent(workload: &Workload, ended: &[&Record], group: Option<usize>) -> Vec<f64> {
    let mut counts = Vec::new();
    let mut agent = 0;
    for (number, slots) in workload.groups.iter().map(|group| group.slots.unwrap_or(0)).enumerate() {
        if group.is_none_or(|group| group == number) {
            let count = |agent| ended.iter().filter(|record| record.agent == Some(agent)).count() as f64;
            counts.extend((agent..agent + slots).map(count));
        }
        agent += slots;
    }
    counts
}
