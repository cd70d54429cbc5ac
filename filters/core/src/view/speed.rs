//! The prefill speed of an endpoint, learned from first tokens.
//!
//! Each first token gives seconds per token of work. Their logarithms are averaged, because disturbances (a step under
//! way, a preemption) multiply the time. The variance is learned as well, and a difference from the pool counts only as far
//! as it is significant: a plain average would find slow and fast engines in a pool of equal ones, and would move requests
//! away from their caches. First tokens that waited for more than prefill are left out
//! ([`super::Endpoint::is_held_up`]). A low quantile instead of the mean would not help: an engine whose batch stays full
//! produces no other first tokens.

use crate::num::float;
use crate::work::PrefillWork;

/// Prefill seconds per token before anything was observed: Qwen3-32B TP2 on H100, 17,009 tokens a second.
const PREFILL_S_PER_TOKEN_DEFAULT: f64 = 1.0 / 17_009.0;
/// Work that an observation must span to teach: below, fixed latency dominates.
const OBSERVED_WORK_MIN: PrefillWork = PrefillWork(512);
/// Tokens from which an observation has full weight: a full step of vLLM's default size. The time of a shorter one
/// consists as much of the wait for the step before.
const OBSERVED_TOKENS_FULL: f64 = 8_192.0;
/// Weight of the newest full observation, once there are many: about the last fifty count.
const WEIGHT_MIN: f64 = 0.02;
/// Variance of one observation's logarithm, until there are two: a factor of 1.6 either way.
const VARIANCE_FIRST: f64 = 0.25;
/// Standard errors that a difference from the pool must exceed to be significant. Two would be exceeded by one endpoint in twenty at any
/// moment if first tokens were independent of each other, and those of one busy minute are not: equal engines then differ for minutes, and
/// lose conversations to each other. A standard error is under a tenth once fifty count, so that four find an engine of another kind.
const STANDARD_ERRORS: f64 = 4.0;
/// Bounds of a believable speed, seconds per token.
const PREFILL_S_PER_TOKEN_MIN: f64 = 1e-8;
const PREFILL_S_PER_TOKEN_MAX: f64 = 1e-2;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Mean logarithm of seconds per token.
    log: f64,
    /// Variance of one observation about it.
    variance: f64,
    /// Observations that count, in full ones.
    seen: f64,
}

// === impl Speed ===

impl Default for Speed {
    fn default() -> Self {
        Self { log: PREFILL_S_PER_TOKEN_DEFAULT.ln(), variance: VARIANCE_FIRST, seen: 0.0 }
    }
}

impl Speed {
    /// Learns from a first token that took `ttft_us` microseconds behind so much work.
    pub(super) fn observe(&mut self, work: PrefillWork, ttft_us: u64) {
        if work < OBSERVED_WORK_MIN {
            return;
        }
        let s_per_token = float(ttft_us) / 1e6 / work.tokens();
        let log = s_per_token.clamp(PREFILL_S_PER_TOKEN_MIN, PREFILL_S_PER_TOKEN_MAX).ln();
        let weight = (work.tokens() / OBSERVED_TOKENS_FULL).min(1.0);
        let is_first = self.seen <= 0.0;
        self.seen = self.seen * (1.0 - WEIGHT_MIN * weight) + weight;
        if is_first {
            self.log = log;
            return;
        }
        let share = weight / self.seen;
        let off = log - self.log;
        self.log += share * off;
        self.variance += share * (off * off - self.variance);
    }

    /// The mean logarithm; `None` until something was observed.
    pub fn log(&self) -> Option<f64> {
        (self.seen > 0.0).then_some(self.log)
    }

    /// Seconds per token by its own observations alone.
    pub fn prefill_s_per_token(&self) -> f64 {
        self.log.exp()
    }

    /// As [`Self::prefill_s_per_token`]; `None` until something was observed.
    pub fn learned_s_per_token(&self) -> Option<f64> {
        (self.seen > 0.0).then(|| self.prefill_s_per_token())
    }

    /// Seconds per token, given the mean logarithm of the pool: the difference counts as far as it is significant (after
    /// the positive-part estimator of James and Stein). Without a mean, no endpoint has an observation.
    pub fn among(&self, pool_log: Option<f64>) -> f64 {
        let Some(pool_log) = pool_log else { return PREFILL_S_PER_TOKEN_DEFAULT };
        let off = self.log - pool_log;
        let chance = self.variance / self.seen.max(1.0);
        if self.seen <= 0.0 || off * off <= STANDARD_ERRORS * STANDARD_ERRORS * chance {
            return pool_log.exp();
        }
        (pool_log + off * (1.0 - chance / (off * off))).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observations whose times vary by a factor of two either way, with no random numbers: a fixed cycle.
    fn observed(us_per_token: u64, count: u64) -> Speed {
        let mut speed = Speed::default();
        for number in 0..count {
            let factor_percent = [50, 75, 100, 140, 200][usize::try_from(number % 5).unwrap_or(0)];
            speed.observe(PrefillWork(10_000), 10_000 * us_per_token * factor_percent / 100);
        }
        speed
    }

    fn mean(speeds: &[Speed]) -> f64 {
        speeds.iter().filter_map(Speed::log).sum::<f64>() / crate::num::float_len(speeds.len())
    }

    #[test]
    fn equal_engines_look_equal_though_their_times_vary() {
        let speeds = [observed(60, 5), observed(60, 8), observed(60, 11), observed(60, 23)];
        let pool = Some(mean(&speeds));
        let found: Vec<f64> = speeds.iter().map(|speed| speed.among(pool)).collect();
        let (least, most) =
            (found.iter().copied().fold(1.0, f64::min), found.iter().copied().fold(0.0, f64::max));
        assert!(most / least < 1.02, "{found:?}");
    }

    /// Twenty first tokens of a busy minute in a row, which took a third longer than usual.
    #[test]
    fn a_busy_minute_does_not_make_an_engine_a_slow_one() {
        let mut busy = observed(60, 40);
        for _ in 0..20 {
            busy.observe(PrefillWork(10_000), 10_000 * 80 * 5 / 4);
        }
        let speeds = [busy, observed(60, 60), observed(60, 60), observed(60, 60)];
        let pool = Some(mean(&speeds));
        assert!((busy.among(pool) / speeds[1].among(pool) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn slower_engine_is_found_out() {
        let speeds = [observed(60, 100), observed(60, 100), observed(60, 100), observed(120, 100)];
        let pool = Some(mean(&speeds));
        let ratio = speeds[3].among(pool) / speeds[0].among(pool);
        // The three are taken for the pool's mean, in which the fourth has its share.
        assert!((1.6..2.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn newcomer_is_taken_for_one_of_the_pool() {
        let speeds = [observed(30, 50), observed(30, 50)];
        let pool = Some(mean(&speeds));
        let newcomer = Speed::default().among(pool);
        assert!((newcomer / speeds[0].among(pool) - 1.0).abs() < 0.02, "{newcomer}");
        assert!((Speed::default().among(None) - PREFILL_S_PER_TOKEN_DEFAULT).abs() < 1e-12);
    }
}
