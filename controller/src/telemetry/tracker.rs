//! Outcomes of one endpoint's scrapes -> the facts that others must hear.
//!
//! ```text
//!            good scrape                 n-th failure in a row
//!  Unknown ──────────────► Healthy ◄───────────────────────────► Unhealthy
//!                                        good scrape
//! ```
//!
//! Pure. Silent while nothing changes.

use super::engine::Figures;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{Facts, Health};

/// Difference of two start times that is still the same start, in milliseconds: the page prints seconds
/// with few digits.
const START_SLACK_MS: u64 = 1_000;

/// What one scrape brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// A metrics page.
    Page(Figures),
    /// No metrics, but the engine says that it is well.
    Alive,
    /// Nothing usable.
    Failed(Failure),
}

/// Why a scrape failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// An answer that is not 200.
    Status,
    /// A page beyond the limit.
    TooLarge,
}

/// One endpoint's state.
#[derive(Clone, Debug)]
pub struct Tracker {
    endpoint: EndpointId,
    /// What the configuration says of the tiers below the GPU; zero when it leaves that to the engine.
    kv_below_gpu_tokens: u64,
    failures: u32,
    told: Option<Facts>,
    started_ms: u64,
}

// === impl Tracker ===

impl Tracker {
    /// An endpoint of which nothing was heard.
    pub fn new(endpoint: EndpointId) -> Self {
        Self { endpoint, kv_below_gpu_tokens: 0, failures: 0, told: None, started_ms: 0 }
    }

    /// Takes over what the configuration says of the tiers below the engine's GPU, in tokens. It goes before
    /// what the engine says, who may know of one tier only; zero leaves it to the engine.
    pub fn configure(&mut self, kv_below_gpu_tokens: u64) {
        self.kv_below_gpu_tokens = kv_below_gpu_tokens;
    }

    /// Takes in an outcome and returns what to tell, in order. An engine that restarted between two scrapes
    /// is told as unhealthy for an instant, which is what makes receivers drop its cells.
    pub fn step(&mut self, outcome: Outcome, unhealthy_after: u32) -> Vec<Facts> {
        let figures = match outcome {
            Outcome::Page(figures) => figures,
            Outcome::Alive => Figures::default(),
            Outcome::Failed(_) => return self.fail(unhealthy_after).into_iter().collect(),
        };
        self.failures = 0;
        let mut told = Vec::new();
        if self.has_restarted(&figures) {
            told.extend(self.tell(Health::Unhealthy));
        }
        self.started_ms = figures.started_ms;
        let mut facts = figures.facts(self.endpoint, Health::Healthy.into());
        if self.kv_below_gpu_tokens > 0 {
            facts.kv_below_gpu_tokens = self.kv_below_gpu_tokens;
        }
        told.extend(self.change(facts));
        told
    }

    fn fail(&mut self, unhealthy_after: u32) -> Option<Facts> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < unhealthy_after { None } else { self.tell(Health::Unhealthy) }
    }

    /// The last facts under another health. An engine that is gone runs nothing.
    fn tell(&mut self, health: Health) -> Option<Facts> {
        let last = self.told.unwrap_or(Facts { endpoint: self.endpoint.0, ..Facts::default() });
        let health = health.into();
        self.change(Facts { health, running: 0, waiting: 0, kv_used_permille: 0, ..last })
    }

    fn change(&mut self, facts: Facts) -> Option<Facts> {
        (self.told != Some(facts)).then(|| {
            self.told = Some(facts);
            facts
        })
    }

    fn has_restarted(&self, figures: &Figures) -> bool {
        self.started_ms > 0 && figures.started_ms > self.started_ms + START_SLACK_MS
    }
}

// === impl Outcome ===

impl Outcome {
    /// Its name in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Page(_) => "page",
            Self::Alive => "alive",
            Self::Failed(Failure::Unreachable) => "unreachable",
            Self::Failed(Failure::Timeout) => "timeout",
            Self::Failed(Failure::Status) => "status",
            Self::Failed(Failure::TooLarge) => "too_large",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Outcome, Tracker};
    use crate::telemetry::Figures;
    use warmpath_core::ids::EndpointId;
    use warmpath_core::wire::{Facts, Health};

    const FAILED: Outcome = Outcome::Failed(Failure::Timeout);

    fn page(running: u32, started_ms: u64) -> Outcome {
        Outcome::Page(Figures { running, started_ms, capacity_tokens: 1000, ..Figures::default() })
    }

    fn told(facts: &[Facts]) -> Vec<(Health, u32)> {
        facts.iter().map(|facts| (facts.health(), facts.running)).collect()
    }

    #[test]
    fn only_changes_are_told() {
        let mut tracker = Tracker::new(EndpointId(7));
        assert_eq!(told(&tracker.step(page(1, 0), 3)), [(Health::Healthy, 1)]);
        assert_eq!(told(&tracker.step(page(1, 0), 3)), []);
        assert_eq!(told(&tracker.step(page(2, 0), 3)), [(Health::Healthy, 2)]);
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_once() {
        let mut tracker = Tracker::new(EndpointId(7));
        tracker.step(page(4, 0), 3);
        tracker.step(FAILED, 3);
        tracker.step(FAILED, 3);
        tracker.step(page(4, 0), 3);
        assert_eq!(told(&tracker.step(FAILED, 3)), []);
        assert_eq!(told(&tracker.step(FAILED, 3)), []);
        let facts = tracker.step(FAILED, 3);
        assert_eq!(told(&facts), [(Health::Unhealthy, 0)]);
        assert_eq!(facts[0].capacity_tokens, 1000, "what the engine can hold is not forgotten");
        assert_eq!(told(&tracker.step(FAILED, 3)), []);
        assert_eq!(told(&tracker.step(page(4, 0), 3)), [(Health::Healthy, 4)]);
    }

    #[test]
    fn an_endpoint_that_never_answered_is_told_too() {
        let mut tracker = Tracker::new(EndpointId(7));
        assert_eq!(told(&tracker.step(FAILED, 1)), [(Health::Unhealthy, 0)]);
        assert_eq!(told(&tracker.step(Outcome::Alive, 1)), [(Health::Healthy, 0)]);
    }

    #[test]
    fn what_the_configuration_says_of_tiers_goes_before_what_the_engine_says() {
        let below = |facts: &[Facts]| facts.iter().map(|facts| facts.kv_below_gpu_tokens).collect::<Vec<_>>();
        let page = Outcome::Page(Figures { kv_below_gpu_tokens: 300, ..Figures::default() });
        let mut tracker = Tracker::new(EndpointId(7));
        assert_eq!(below(&tracker.step(page, 1)), [300]);
        tracker.configure(5_000);
        assert_eq!(below(&tracker.step(page, 1)), [5_000], "told though the page is the same");
        assert!(tracker.step(Outcome::Alive, 1).is_empty(), "an engine without metrics has its tiers too");
        assert_eq!(below(&tracker.step(FAILED, 1)), [5_000], "and one that is gone comes back with them");
        tracker.configure(0);
        assert_eq!(below(&tracker.step(page, 1)), [300]);
    }

    #[test]
    fn a_restart_between_two_scrapes_is_told() {
        let mut tracker = Tracker::new(EndpointId(7));
        tracker.step(page(1, 10_000), 3);
        assert_eq!(told(&tracker.step(page(1, 10_300), 3)), [], "rounding is no restart");
        assert_eq!(told(&tracker.step(page(1, 20_000), 3)), [(Health::Unhealthy, 0), (Health::Healthy, 1)]);
    }
}
