//! How long the tokens of each engine took since somebody looked last, for the scaler.
//!
//! Who looks keeps what it saw: pages count from the start of the process, and several may look at different times.

use super::Fleet;
use super::latency::{Histogram, Latencies};
use fnv::FnvHashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Tokens of a response, where a page counts tokens but no responses (SGLang): what chats have in the mean.
const RESPONSE_TOKENS: f64 = 256.0;

/// Looks at the engines' pages, and remembers what it saw.
#[derive(Debug)]
pub struct TokenTimes {
    fleet: Fleet,
    before: FnvHashMap<SocketAddr, Page>,
}

/// What a page showed.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) at: Instant,
    pub(super) latencies: Arc<Latencies>,
}

/// What came since the look before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ended {
    /// Responses that ended.
    pub ends: f64,
    /// Those of them whose mean time between tokens missed the objective.
    pub ends_late: f64,
    /// The mean time from a token to the next, in seconds; none where there were no tokens.
    pub step_s: Option<f64>,
    /// Responses that were generated at a time, in the mean of the time; none where the page counts no tokens (trtllm-serve).
    pub running: Option<f64>,
}

// === impl TokenTimes ===

impl TokenTimes {
    /// Looks at these engines' pages.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, before: FnvHashMap::default() }
    }

    /// What an engine's pages show since the last look at it. The first look shows nothing: nobody knows how old what it counts is.
    pub fn take(&mut self, address: SocketAddr, objective_s: f64) -> Ended {
        let Some(now) = self.fleet.page(address) else { return Ended::default() };
        let Some(before) = self.before.insert(address, now.clone()) else { return Ended::default() };
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        Ended::between(&before.latencies, &now.latencies, seconds, objective_s)
    }

    /// Forgets the engines that are gone.
    pub fn retain(&mut self, is_kept: impl Fn(&SocketAddr) -> bool) {
        self.before.retain(|address, _| is_kept(address));
    }
}

// === impl Ended ===

impl Ended {
    fn between(before: &Latencies, now: &Latencies, seconds: f64, objective_s: f64) -> Self {
        let tokens = now.tokens.since(&before.tokens);
        let responses = now.responses.since(&before.responses);
        let has_responses = now.responses != Histogram::default();
        let has_tokens = now.tokens != Histogram::default();
        let (of, share) = if has_responses { (&responses, 1.0) } else { (&tokens, 1.0 / RESPONSE_TOKENS) };
        Self {
            ends: of.count * share,
            ends_late: of.above(objective_s) * share,
            step_s: tokens.mean_s().or_else(|| responses.mean_s()),
            // The gaps that ended in a time add up to that time for each response that was generated.
            running: (has_tokens && seconds > 0.0).then(|| tokens.sum_s / seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, TokenTimes};
    use crate::config::Pool;
    use crate::metrics::Metrics;
    use crate::telemetry::{Fleet, Latencies, Reading};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use warmpath_core::num::count;

    const VLLM: &str = include_str!("../../tests/fixtures/pages/vllm.txt");

    /// A histogram whose values are 0.02 s, or 0.2 s if they are slow.
    fn histogram(name: &str, values: u32, slow: u32) -> String {
        let fast = values - slow;
        let sum_s = 0.02 * f64::from(fast) + 0.2 * f64::from(slow);
        format!(
            "{name}_bucket{{le=\"0.05\"}} {fast}\n{name}_bucket{{le=\"0.5\"}} {values}\n{name}_count {values}\n{name}_sum {sum_s}\n"
        )
    }

    fn vllm(tokens: u32, responses: u32, slow: u32) -> Latencies {
        let tokens = histogram("vllm:inter_token_latency_seconds", tokens, 0);
        let responses = histogram("vllm:request_time_per_output_token_seconds", responses, slow);
        Reading::with_latencies((tokens + &responses).as_bytes()).1
    }

    #[test]
    fn what_ended_between_two_pages_and_how_many_ran_meanwhile() {
        let ended = Ended::between(&vllm(1_000, 10, 1), &vllm(6_000, 30, 4), 10.0, 0.05);
        assert_eq!((ended.ends, ended.ends_late), (20.0, 3.0));
        assert!((ended.step_s.unwrap() - 0.02).abs() < 1e-9);
        assert!((ended.running.unwrap() - 10.0).abs() < 1e-9, "5,000 tokens of 20 ms in 10 s");
        let idle = Ended::between(&vllm(1_000, 10, 1), &vllm(1_000, 10, 1), 10.0, 0.05);
        assert_eq!(idle, Ended { running: Some(0.0), ..Ended::default() });
    }

    #[test]
    fn engines_that_count_only_tokens_or_only_responses() {
        let read = |page: String| Reading::with_latencies(page.as_bytes()).1;
        let sglang = |tokens, slow| read(histogram("sglang:inter_token_latency_seconds", tokens, slow));
        let ended = Ended::between(&sglang(0, 0), &sglang(2_560, 256), 1.0, 0.05);
        assert_eq!((ended.ends, ended.ends_late), (10.0, 1.0));
        let trtllm = |responses| read(histogram("trtllm_time_per_output_token_seconds", responses, 0));
        let ended = Ended::between(&trtllm(5), &trtllm(8), 1.0, 0.05);
        assert_eq!((ended.ends, ended.ends_late, ended.running), (3.0, 0.0, None));
        assert!((ended.step_s.unwrap() - 0.02).abs() < 1e-9);
    }

    #[test]
    fn each_look_shows_what_came_since_the_one_before() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let pool = Pool { name: "a".to_owned(), endpoints: vec![address.into()], ..Pool::default() };
        let fleet = Fleet::default();
        let mut times = TokenTimes::new(fleet.clone());
        assert_eq!(times.take(address, 0.05), Ended::default(), "it was not scraped");
        fleet.follow(&[pool], &Metrics::default());
        let mut take = |page: Latencies| {
            fleet.report_latencies(address, Arc::new(page));
            times.take(address, 0.05)
        };
        let old = Reading::with_latencies(VLLM.as_bytes()).1;
        let pages = [old, vllm(1_000, 10, 2), vllm(1_500, 15, 2), vllm(1_500, 15, 2)];
        let ends = pages.map(|page| count(take(page).ends));
        assert_eq!(ends, [0, 10, 5, 0], "it may be days old; another process; more; nothing");
    }
}
