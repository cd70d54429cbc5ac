//! The numbers of an arm, and the form in which reports tell them.

use super::{Answered, Call, Quantiles};
use crate::arm::Arm;
use serde::Serialize;

const MS_PER_S: f64 = 1_000.0;

/// An arm that was played.
#[derive(Clone, Debug)]
pub struct ArmRun {
    /// Which one.
    pub arm: Arm,
    /// All requests, lost ones included.
    pub calls: Vec<Call>,
    /// What ended the arm; `None`: its last request did.
    pub window: Option<Window>,
}

/// A stretch of an arm that would go on without end: the calls are those that ended in it, or were lost.
#[derive(Clone, Debug)]
pub struct Window {
    /// Its length, in milliseconds.
    pub ms: f64,
    /// Requests that were refused with the time after which to ask again, and were.
    pub refusals: usize,
    /// Of each request that has no first token at its end, how long it has waited, in milliseconds.
    pub waiting_ms: Vec<f64>,
}

/// An arm as reports tell it; times in model time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The arm's name.
    pub name: &'static str,
    /// Requests sent.
    pub requests: usize,
    /// Requests without a whole answer.
    pub lost: usize,
    /// Requests without a first token when the arm was ended. Their times so far count as times to the first token.
    pub waiting: usize,
    /// Whole answers over the time of the arm.
    pub requests_per_s: f64,
    /// Share of all prompt tokens that the engines' caches held.
    pub cached_share: f64,
    /// The same for one endless cache over the same requests in the same order.
    pub ideal_cached_share: f64,
    /// Time to the first text.
    pub ttft_ms: Quantiles,
    /// Time of a token after the first, a mean for each answer of more than one.
    pub tpot_ms: Quantiles,
    /// Time to the end of the answer.
    pub e2e_ms: Quantiles,
    /// Answer tokens over the time of the arm.
    pub output_tokens_per_s: f64,
}

// === impl ArmRun ===

impl ArmRun {
    /// The requests with whole answers.
    pub fn answered(&self) -> impl Iterator<Item = (&Call, &Answered)> {
        self.calls.iter().filter_map(|call| Some((call, call.outcome.as_ref().ok()?)))
    }

    /// An arm that its last request ended.
    pub fn whole(arm: Arm, calls: Vec<Call>) -> Self {
        Self { arm, calls, window: None }
    }

    /// From the first request to the last end of an answer, in milliseconds.
    pub fn span_ms(&self) -> f64 {
        let begin = self.calls.iter().map(|call| call.at_ms).fold(f64::INFINITY, f64::min);
        let end = self.answered().map(|(call, answer)| call.at_ms + answer.e2e_ms).fold(0.0, f64::max);
        (end - begin).max(0.0)
    }

    /// The arm's numbers.
    pub fn summary(&self) -> Summary {
        let answers = || self.answered().map(|(_, answer)| answer);
        let prompt_tokens: u64 = answers().map(|answer| answer.prompt_tokens).sum();
        let cached_tokens: u64 = answers().map(|answer| answer.cached_tokens).sum();
        let ideal_tokens: u64 = self.answered().map(|(call, _)| call.ideal_cached_tokens).sum();
        let output_tokens: u64 = answers().map(|answer| answer.output_tokens).sum();
        let waiting_ms = self.window.as_ref().map(|window| &window.waiting_ms[..]).unwrap_or_default();
        let span_s = self.window.as_ref().map_or_else(|| self.span_ms(), |window| window.ms) / MS_PER_S;
        Summary {
            name: self.arm.name(),
            requests: self.calls.len(),
            lost: self.calls.len() - answers().count(),
            waiting: waiting_ms.len(),
            requests_per_s: ratio(answers().count() as f64, span_s),
            cached_share: ratio(cached_tokens as f64, prompt_tokens as f64),
            ideal_cached_share: ratio(ideal_tokens as f64, prompt_tokens as f64),
            ttft_ms: Quantiles::of(answers().map(|answer| answer.ttft_ms).chain(waiting_ms.iter().copied())),
            tpot_ms: Quantiles::of(answers().filter_map(Answered::tpot_ms)),
            e2e_ms: Quantiles::of(answers().map(|answer| answer.e2e_ms)),
            output_tokens_per_s: ratio(output_tokens as f64, span_s),
        }
    }
}

/// A quotient, 0 when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Lost;
    use http::StatusCode;

    fn answered(at_ms: f64, e2e_ms: f64, cached_tokens: u64) -> Call {
        let answer = Answered {
            engine: Some(0),
            ttft_ms: 10.0,
            e2e_ms,
            prompt_tokens: 100,
            cached_tokens,
            output_tokens: 50,
        };
        Call { at_ms, late_ms: 0.0, ideal_cached_tokens: 60, has_image: false, outcome: Ok(answer) }
    }

    #[test]
    fn lost_requests_count_as_lost_and_for_nothing_else() {
        let lost = Call { outcome: Err(Lost::Status(StatusCode::BAD_GATEWAY)), ..answered(5_000.0, 0.0, 0) };
        let calls = vec![answered(1_000.0, 500.0, 80), lost, answered(2_000.0, 1_000.0, 0)];
        let summary = ArmRun::whole(Arm::Warmpath, calls).summary();
        assert_eq!((summary.requests, summary.lost), (3, 1));
        assert!((summary.cached_share - 0.4).abs() < 1e-12);
        assert!((summary.ideal_cached_share - 0.6).abs() < 1e-12);
        assert!((summary.output_tokens_per_s - 50.0).abs() < 1e-9, "100 tokens from second 1 to second 3");
        assert!((summary.e2e_ms.mean - 750.0).abs() < 1e-9);
        assert!((summary.requests_per_s - 1.0).abs() < 1e-9, "two from second 1 to second 3");
    }

    #[test]
    fn whoever_waits_at_the_end_of_a_window_counts_with_the_time_so_far() {
        let window = Some(Window { ms: 4_000.0, refusals: 0, waiting_ms: vec![70.0] });
        let summary =
            ArmRun { window, ..ArmRun::whole(Arm::Held, vec![answered(9_000.0, 500.0, 80)]) }.summary();
        assert_eq!((summary.requests, summary.lost, summary.waiting), (1, 0, 1));
        assert!((summary.ttft_ms.mean - 40.0).abs() < 1e-9, "10 ms of the response, 70 ms of who waits");
        assert!((summary.requests_per_s - 0.25).abs() < 1e-9, "one in four seconds");
    }

    #[test]
    fn an_arm_without_answers_has_no_numbers() {
        let summary = ArmRun::whole(Arm::RoundRobin, Vec::new()).summary();
        assert_eq!((summary.requests, summary.lost, summary.cached_share), (0, 0, 0.0));
        assert!(summary.output_tokens_per_s.abs() < f64::EPSILON);
    }
}
