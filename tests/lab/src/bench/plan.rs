//! How much is measured: what `--quick` leaves out, in one place.

use crate::bench::args::BenchArgs;
use std::time::Duration;

/// Amounts of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How often each measurement is repeated, targets in turn.
    pub repetitions: usize,
    /// Requests of one repetition, and of the warm-up before the first.
    pub requests: usize,
    /// See [`Plan::requests`].
    pub warm_up_requests: usize,
    /// A repetition ends early after this time, so that a slow target does not take the whole run.
    pub repetition_time_max: Duration,
    /// Pieces of each stream. Many, because the request that opens a stream counts with its pieces.
    pub stream_chunks: usize,
    /// Bursts of one repetition.
    pub burst_rounds: usize,
    /// Decisions of one repetition and view.
    pub decisions: usize,
    /// Prefixes whose way into every worker is timed.
    pub feed_probes: usize,
    /// How long the processor time of the feed is measured.
    pub feed_time: Duration,
    /// Envoys started with the filter, and as many without.
    pub starts: usize,
}

// === impl Plan ===

impl Plan {
    /// As the arguments want it.
    pub fn new(args: &BenchArgs) -> Self {
        let mut plan = if args.quick { Self::quick() } else { Self::usual() };
        plan.repetitions = args.repetitions.unwrap_or(plan.repetitions);
        plan
    }

    fn usual() -> Self {
        Self {
            repetitions: 5,
            requests: 1_000,
            warm_up_requests: 300,
            repetition_time_max: Duration::from_secs(2),
            stream_chunks: 500,
            burst_rounds: 3,
            decisions: 20_000,
            feed_probes: 300,
            feed_time: Duration::from_secs(10),
            starts: 5,
        }
    }

    fn quick() -> Self {
        Self {
            repetitions: 2,
            requests: 150,
            warm_up_requests: 50,
            repetition_time_max: Duration::from_millis(500),
            stream_chunks: 250,
            burst_rounds: 1,
            decisions: 5_000,
            feed_probes: 60,
            feed_time: Duration::from_secs(3),
            starts: 2,
        }
    }
}
