//! The share of prompts that each endpoint has recently found in its cache, by the usage that engines report.
//!
//! The sums decay, so that people see the last minutes rather than the mean since the start.

use fnv::FnvHashMap;
use warmpath_core::ids::EndpointId;
use warmpath_core::num::float;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::UsageSeen;

/// After this time a token counts half, in milliseconds: long enough for some hundred reports of a busy engine, of whose streams
/// the filter reads one in eight.
pub(super) const HALF_LIFE_MS: f64 = 300_000.0;

/// Cached tokens from which on it means something that they were not expected: those of some long prompts.
const UNEXPECTED_TOKENS_MIN: f64 = 20_000.0;

/// Prompt tokens, and those of them that were cached; both fade.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cached {
    /// Tokens of prompts.
    pub prompt_tokens: f64,
    /// Those that the engine had in its cache.
    pub cached_tokens: f64,
    /// Those that the proxy expected there.
    pub expected_tokens: f64,
    /// Tokens of prompts of which the engine does not say how many were cached; not among the others.
    pub unsaid_tokens: f64,
}

/// What one response reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    endpoint: EndpointId,
    seen: Cached,
}

/// The sums of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Usage {
    sums: FnvHashMap<EndpointId, (Timestamp, Cached)>,
}

// === impl Cached ===

impl Cached {
    /// The cached share; none where no usage was reported.
    pub fn share(self) -> Option<f64> {
        (self.prompt_tokens >= 1.0).then(|| self.cached_tokens / self.prompt_tokens)
    }

    /// Whether the engine says how many tokens were cached; none where no usage was reported.
    pub fn is_said(self) -> Option<bool> {
        (self.prompt_tokens + self.unsaid_tokens >= 1.0).then_some(self.prompt_tokens >= self.unsaid_tokens)
    }

    /// Whether engines find much more in their caches than proxies expect there. Where all that engines hold is reported, the
    /// text of the prompts is then another one than that of the engines' tokens.
    pub fn is_unexpected(self) -> bool {
        self.cached_tokens >= UNEXPECTED_TOKENS_MIN && self.expected_tokens * 2.0 < self.cached_tokens
    }

    /// The sums of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            expected_tokens: self.expected_tokens + other.expected_tokens,
            unsaid_tokens: self.unsaid_tokens + other.unsaid_tokens,
        }
    }

    fn faded(self, ms: u64) -> Self {
        let share = (-float(ms) / HALF_LIFE_MS).exp2();
        Self {
            prompt_tokens: self.prompt_tokens * share,
            cached_tokens: self.cached_tokens * share,
            expected_tokens: self.expected_tokens * share,
            unsaid_tokens: self.unsaid_tokens * share,
        }
    }
}

// === impl Report ===

impl Report {
    /// A report.
    pub(super) fn of(usage: &UsageSeen) -> Self {
        let prompt_tokens = float(usage.prompt_tokens);
        let seen = usage.cached_tokens.map_or_else(
            || Cached { unsaid_tokens: prompt_tokens, ..Cached::default() },
            |cached_tokens| Cached {
                prompt_tokens,
                cached_tokens: float(cached_tokens.min(usage.prompt_tokens)),
                expected_tokens: float(usage.expected_cached_tokens.min(usage.prompt_tokens)),
                ..Cached::default()
            },
        );
        Self { endpoint: EndpointId(usage.endpoint), seen }
    }
}

// === impl Usage ===

impl Usage {
    /// Takes in a report, if its endpoint is in a pool.
    pub(super) fn note(&mut self, report: Report, view: &View, now: Timestamp) {
        if view.slot(report.endpoint).is_some() {
            self.add(report, now);
        }
    }

    fn add(&mut self, Report { endpoint, seen }: Report, now: Timestamp) {
        let sum = self.of(endpoint, now).and(seen);
        self.sums.insert(endpoint, (now, sum));
    }

    /// The sums of an endpoint as of now.
    pub(super) fn of(&self, endpoint: EndpointId, now: Timestamp) -> Cached {
        let (at, sum) = self.sums.get(&endpoint).copied().unwrap_or_default();
        sum.faded(now.ms_since(at))
    }

    /// Drops endpoints that are in no pool any more.
    pub(super) fn retain(&mut self, view: &View) {
        self.sums.retain(|endpoint, _| view.slot(*endpoint).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Usage};
    use warmpath_core::ids::EndpointId;
    use warmpath_core::time::Timestamp;
    use warmpath_core::wire::UsageSeen;

    fn seen(prompt_tokens: u64, cached_tokens: Option<u64>) -> UsageSeen {
        UsageSeen { endpoint: 7, prompt_tokens, cached_tokens, ..UsageSeen::default() }
    }

    #[test]
    fn prompts_that_engines_find_and_proxies_do_not_are_unexpected() {
        let of = |cached: u64, expected: u64| {
            let seen = UsageSeen { expected_cached_tokens: expected, ..seen(40_000, Some(cached)) };
            Report::of(&seen).seen.is_unexpected()
        };
        assert!(of(30_000, 10_000));
        assert!(!of(30_000, 20_000));
        assert!(!of(10_000, 0), "too few to say");
        assert!(!of(0, 40_000));
    }

    #[test]
    fn an_engine_that_does_not_say_what_was_cached_is_known_as_one() {
        let of = |cached_tokens| Report::of(&seen(100, cached_tokens)).seen;
        assert_eq!(super::Cached::default().is_said(), None);
        assert_eq!(of(None).is_said(), Some(false));
        assert_eq!(of(Some(0)).is_said(), Some(true));
        assert_eq!(of(None).and(of(None)).and(of(Some(10))).is_said(), Some(false));
    }

    #[test]
    fn what_was_reported_lately_outweighs_what_was_before() {
        let mut usage = Usage::default();
        let mut share = |ms, usage_seen: UsageSeen| {
            usage.add(Report::of(&usage_seen), Timestamp::from_ms(ms));
            usage.of(EndpointId(7), Timestamp::from_ms(ms)).share()
        };
        assert_eq!(share(0, seen(100, None)), None, "an engine that does not report it");
        assert_eq!(share(0, seen(300, Some(0))), Some(0.0));
        assert_eq!(share(300_000, seen(150, Some(150))), Some(0.5));
        assert_eq!(share(300_000, seen(300, Some(900))), Some(0.75), "no more than all");
    }
}
