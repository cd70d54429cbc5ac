//! Outcomes of one endpoint's scrapes -> changes of its status, to be published.
//!
//! ```text
//!            good scrape                 n-th failure in a row
//!  Unknown ──────────────► Healthy ◄───────────────────────────► Unhealthy
//!                                        good scrape
//! ```
//!
//! Pure. Silent while nothing changes.

use super::engine::Reading;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{EngineStatus, Health};

/// Difference of two start times that is still the same start, in milliseconds: the page prints seconds
/// with few digits.
const START_SLACK_MS: u64 = 1_000;

/// The outcome of one scrape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// A metrics page.
    Page(Reading),
    /// No metrics, but the engine reports that it is healthy.
    Alive,
    /// Nothing usable.
    Failed(Failure),
}

/// Why a scrape failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or a broken one.
    Unreachable,
    /// No response in time.
    Timeout,
    /// A response other than 200.
    Status,
    /// A page beyond the limit.
    TooLarge,
}

/// One endpoint's state.
#[derive(Clone, Debug)]
pub struct Tracker {
    endpoint: EndpointId,
    /// The configured size of the tiers below the GPU; `None` to use the engine's report.
    kv_below_gpu_tokens: Option<u64>,
    failures: u32,
    /// The last status that was published.
    published: Option<EngineStatus>,
    started_ms: Option<u64>,
}

// === impl Tracker ===

impl Tracker {
    /// An endpoint that was not scraped yet.
    pub fn new(endpoint: EndpointId) -> Self {
        Self { endpoint, kv_below_gpu_tokens: None, failures: 0, published: None, started_ms: None }
    }

    /// Sets the configured size of the tiers below the engine's GPU, in tokens. It overrides the metrics
    /// page, which may cover one tier only; `None` leaves it to the page.
    pub fn configure(&mut self, kv_below_gpu_tokens: Option<u64>) {
        self.kv_below_gpu_tokens = kv_below_gpu_tokens;
    }

    /// Takes in an outcome and returns what to publish, in order. An engine that restarted between two scrapes is
    /// published as unhealthy for an instant, which is what makes receivers drop its cells.
    pub fn step(&mut self, outcome: Outcome, unhealthy_after: u32) -> Vec<EngineStatus> {
        let reading = match outcome {
            Outcome::Page(reading) => reading,
            Outcome::Alive => Reading::default(),
            Outcome::Failed(_) => return self.fail(unhealthy_after).into_iter().collect(),
        };
        self.failures = 0;
        let mut changes = Vec::new();
        if self.has_restarted(&reading) {
            changes.extend(self.set_health(Health::Unhealthy));
        }
        self.started_ms = reading.started_ms;
        let mut status =
            EngineStatus { endpoint: self.endpoint.0, health: Health::Healthy.into(), ..reading.status };
        if let Some(tokens) = self.kv_below_gpu_tokens {
            status.kv_below_gpu_tokens = tokens;
        }
        changes.extend(self.change(status));
        changes
    }

    fn fail(&mut self, unhealthy_after: u32) -> Option<EngineStatus> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < unhealthy_after { None } else { self.set_health(Health::Unhealthy) }
    }

    /// The last status under another health. An engine that is gone runs nothing.
    fn set_health(&mut self, health: Health) -> Option<EngineStatus> {
        let unknown = EngineStatus { endpoint: self.endpoint.0, ..EngineStatus::default() };
        let last = self.published.unwrap_or(unknown);
        let health = health.into();
        self.change(EngineStatus { health, running: 0, waiting: 0, kv_used_permille: 0, ..last })
    }

    fn change(&mut self, status: EngineStatus) -> Option<EngineStatus> {
        (self.published != Some(status)).then(|| {
            self.published = Some(status);
            status
        })
    }

    fn has_restarted(&self, reading: &Reading) -> bool {
        let both = self.started_ms.zip(reading.started_ms);
        both.is_some_and(|(before_ms, now_ms)| now_ms > before_ms + START_SLACK_MS)
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
    use crate::telemetry::Reading;
    use warmpath_core::ids::EndpointId;
    use warmpath_core::wire::{EngineStatus, Health};

    const FAILED: Outcome = Outcome::Failed(Failure::Timeout);

    fn page(running: u32, started_ms: u64) -> Outcome {
        let status = EngineStatus { running, capacity_tokens: Some(1000), ..EngineStatus::default() };
        Outcome::Page(Reading { status, started_ms: Some(started_ms).filter(|ms| *ms > 0) })
    }

    fn changes(statuses: &[EngineStatus]) -> Vec<(Health, u32)> {
        statuses.iter().map(|status| (status.health(), status.running)).collect()
    }

    #[test]
    fn only_changes_are_published() {
        let mut tracker = Tracker::new(EndpointId(7));
        assert_eq!(changes(&tracker.step(page(1, 0), 3)), [(Health::Healthy, 1)]);
        assert_eq!(changes(&tracker.step(page(1, 0), 3)), []);
        assert_eq!(changes(&tracker.step(page(2, 0), 3)), [(Health::Healthy, 2)]);
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_once() {
        let mut tracker = Tracker::new(EndpointId(7));
        tracker.step(page(4, 0), 3);
        tracker.step(FAILED, 3);
        tracker.step(FAILED, 3);
        tracker.step(page(4, 0), 3);
        assert_eq!(changes(&tracker.step(FAILED, 3)), []);
        assert_eq!(changes(&tracker.step(FAILED, 3)), []);
        let last = tracker.step(FAILED, 3);
        assert_eq!(changes(&last), [(Health::Unhealthy, 0)]);
        assert_eq!(last[0].capacity_tokens, Some(1000), "what the engine can hold is not forgotten");
        assert_eq!(changes(&tracker.step(FAILED, 3)), []);
        assert_eq!(changes(&tracker.step(page(4, 0), 3)), [(Health::Healthy, 4)]);
    }

    #[test]
    fn an_endpoint_that_was_never_reached_is_published_too() {
        let mut tracker = Tracker::new(EndpointId(7));
        assert_eq!(changes(&tracker.step(FAILED, 1)), [(Health::Unhealthy, 0)]);
        assert_eq!(changes(&tracker.step(Outcome::Alive, 1)), [(Health::Healthy, 0)]);
    }

    #[test]
    fn the_configured_tiers_override_those_of_the_page() {
        let below = |statuses: &[EngineStatus]| {
            statuses.iter().map(|status| status.kv_below_gpu_tokens).collect::<Vec<_>>()
        };
        let page = {
            let status = EngineStatus { kv_below_gpu_tokens: 300, ..EngineStatus::default() };
            Outcome::Page(Reading { status, started_ms: None })
        };
        let mut tracker = Tracker::new(EndpointId(7));
        assert_eq!(below(&tracker.step(page, 1)), [300]);
        tracker.configure(Some(5_000));
        assert_eq!(below(&tracker.step(page, 1)), [5_000], "published though the page is the same");
        assert!(tracker.step(Outcome::Alive, 1).is_empty(), "an engine without metrics has its tiers too");
        assert_eq!(below(&tracker.step(FAILED, 1)), [5_000], "and one that is gone comes back with them");
        tracker.configure(None);
        assert_eq!(below(&tracker.step(page, 1)), [300]);
    }

    #[test]
    fn a_restart_between_two_scrapes_is_published() {
        let mut tracker = Tracker::new(EndpointId(7));
        tracker.step(page(1, 10_000), 3);
        assert_eq!(changes(&tracker.step(page(1, 10_300), 3)), [], "rounding is no restart");
        assert_eq!(
            changes(&tracker.step(page(1, 20_000), 3)),
            [(Health::Unhealthy, 0), (Health::Healthy, 1)]
        );
    }
}
