//! The numbers of a run, in the form in which reports tell them.

use super::Quantiles;
use crate::run::Played;
use serde::Serialize;

const MS_PER_S: f64 = 1_000.0;

/// The numbers of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Requests that were answered.
    pub requests: usize,
    /// Requests that were not.
    pub lost: usize,
    /// Share of all prompt tokens that the engines' caches held.
    pub cached_share: f64,
    /// The same for one endless cache over the same requests in the same order.
    pub bound_cached_share: f64,
    /// Share of the requests that one engine prefilled and another decoded.
    pub split_share: f64,
    /// Time to the first token.
    pub ttft_ms: Quantiles,
    /// Time to the last token.
    pub e2e_ms: Quantiles,
    /// Time of a token after the first, by request.
    pub tpot_ms: Quantiles,
    /// Answer tokens over the time from the first request to the last end.
    pub output_tokens_per_s: f64,
    /// Requests that lost their blocks and were computed again.
    pub preemptions: u64,
    /// Most requests at one engine over the mean of all, averaged over time.
    pub imbalance: f64,
}

// === impl Summary ===

impl Summary {
    /// Of a run.
    pub fn of(played: &Played) -> Self {
        let records = &played.records;
        let sum = |of: fn(&crate::measure::Record) -> usize| records.iter().map(of).sum::<usize>() as f64;
        let prompt_tokens = sum(|record| record.prompt_tokens);
        let begin_s = records.iter().map(|record| record.sent_s).fold(f64::INFINITY, f64::min);
        let end_s = records.iter().filter_map(|record| record.end_s).fold(0.0, f64::max);
        let long = records.iter().filter(|record| record.output_tokens > 1);
        let spread = played.samples.spread();
        let (most, mean) = spread.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.most, sum.1 + bin.mean));
        Self {
            requests: records.len(),
            lost: played.lost,
            cached_share: ratio(sum(|record| record.cached_tokens), prompt_tokens),
            bound_cached_share: ratio(sum(|record| record.bound_tokens), prompt_tokens),
            split_share: ratio(sum(|record| usize::from(record.is_split)), records.len() as f64),
            ttft_ms: Quantiles::of(records.iter().map(|record| record.ttft_s() * MS_PER_S)),
            e2e_ms: Quantiles::of(records.iter().map(|record| record.e2e_s() * MS_PER_S)),
            tpot_ms: Quantiles::of(long.map(|record| {
                (record.e2e_s() - record.ttft_s()) * MS_PER_S / (record.output_tokens - 1) as f64
            })),
            output_tokens_per_s: ratio(sum(|record| record.output_tokens), end_s - begin_s),
            preemptions: played.preemptions,
            imbalance: ratio(most, mean),
        }
    }

    /// Share of the endless cache's hits that were found.
    pub fn part_of_bound(&self) -> f64 {
        ratio(self.cached_share, self.bound_cached_share)
    }
}

/// A quotient, 0 when there is nothing to divide by.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
