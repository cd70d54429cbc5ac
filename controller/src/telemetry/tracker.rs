//! Outcomes of one endpoint's scrapes -> changes of its status, to be published.
//!
//! ```text
//!            good scrape                 n-th failure in a row
//!  Unknown ──────────────► Healthy ◄───────────────────────────► Unhealthy
//!                                        good scrape
//! ```
//!
//! Pure: time is an argument. Silent while nothing changes. Where every endpoint of a pool fails at once, the fault is more
//! likely the controller's own network than all of the engines: they are published as unknown then. If their hosts respond that nobody
//! listens, the network is well, and the engines do not run: they are published as absent, so that requests may wait for them.
//!
//! Failed scrapes alone say nothing about an engine's cache. Whether its process is another one is judged at the next good
//! scrape, by [`Tracker::is_renewed`], and published as a new incarnation.

use super::engine::Reading;
use super::latency::Latencies;
use std::net::SocketAddr;
use std::sync::Arc;
use warmpath_core::ids::EndpointId;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{EngineStatus, Health};

/// Difference of two start times that is still the same start, in milliseconds: the page prints seconds
/// with few digits.
const START_SLACK_MS: u64 = 1_000;
/// How long an engine may be unreachable and still be taken for the same process, in milliseconds, where its page names no
/// start: half of what a small model takes to load would do, but a controller's host may be cut off for that long.
const UNREACHABLE_MS_MAX: u64 = 60_000;
/// Failed scrapes in a row after which the load figures of the last page are no longer published.
const STATUS_FAILURES_MAX: u32 = 5;
/// Scrapes over one connection after which its replacement says something: the engine keeps connections open.
const CONNECTION_SCRAPES_MIN: u32 = 3;

/// The outcome of one scrape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// A metrics page.
    Page(Reading),
    /// No metrics, but the engine reports that it is healthy.
    Alive,
    /// Nothing usable.
    Failed(Failure),
}

/// Why a scrape failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody listens at the address.
    Refused,
    /// No connection for another reason, or a broken one.
    Unreachable,
    /// No response in time.
    Timeout,
    /// Neither a page nor a report of health: another status than 200.
    Status,
}

/// One scrape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scraped {
    /// What it came to.
    pub(super) outcome: Outcome,
    /// The local end of its connection, which names the connection.
    pub(super) connection: Option<SocketAddr>,
    /// What its page shows of the time between tokens, for [`super::Fleet`].
    pub(super) latencies: Option<Arc<Latencies>>,
}

/// What an outcome is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Failures in a row that make an endpoint unhealthy.
    pub(super) unhealthy_after: u32,
    /// Whether it fails alone: scrapes of others of its pool succeed.
    pub(super) is_alone: bool,
}

/// One endpoint's state.
#[derive(Clone, Debug)]
pub(super) struct Tracker {
    endpoint: EndpointId,
    /// The configured size of the tiers below the GPU; `None` to use the engine's report.
    kv_below_gpu_tokens: Option<u64>,
    failures: u32,
    /// How many of the last of those found that nobody listens.
    refusals: u32,
    /// The first of those failures.
    failing_since: Option<Timestamp>,
    /// The last status that was published.
    published: Option<EngineStatus>,
    is_seen: bool,
    started_ms: Option<u64>,
    work_done: Option<u64>,
    doubt: Doubt,
    connection: Option<SocketAddr>,
    /// Scrapes over that connection.
    connection_scrapes: u32,
    incarnation: u64,
    /// A number that no other tracker uses, for the next incarnation without a start time.
    fresh: u64,
}

/// What has happened since the last page that may have been a restart.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// Nobody listened, or the connection was replaced.
    is_cut: bool,
    /// It was unreachable for longer than [`UNREACHABLE_MS_MAX`].
    is_long: bool,
}

// === impl Tracker ===

impl Tracker {
    /// An endpoint that was not scraped yet. `fresh` is a random number.
    pub(super) fn new(endpoint: EndpointId, fresh: u64) -> Self {
        Self {
            endpoint,
            kv_below_gpu_tokens: None,
            failures: 0,
            refusals: 0,
            failing_since: None,
            published: None,
            is_seen: false,
            started_ms: None,
            work_done: None,
            doubt: Doubt::default(),
            connection: None,
            connection_scrapes: 0,
            incarnation: 0,
            fresh,
        }
    }

    /// Sets the configured size of the tiers below the engine's GPU, in tokens. It overrides the metrics
    /// page, which may cover one tier only; `None` leaves it to the page.
    pub(super) fn configure(&mut self, kv_below_gpu_tokens: Option<u64>) {
        self.kv_below_gpu_tokens = kv_below_gpu_tokens;
    }

    /// Takes in an outcome and returns what to publish, in order.
    pub(super) fn step(&mut self, scraped: &Scraped, rules: Rules, now: Timestamp) -> Vec<EngineStatus> {
        let reading = match scraped.outcome {
            Outcome::Page(reading) => Some(reading),
            Outcome::Alive => None,
            Outcome::Failed(failure) => return self.fail(failure, rules, now).into_iter().collect(),
        };
        self.note_connection(scraped.connection);
        let failing_since = self.failing_since.take();
        self.doubt.is_long |= failing_since.is_some_and(|at| now.ms_since(at) >= UNREACHABLE_MS_MAX);
        (self.failures, self.refusals) = (0, 0);
        let mut changes = Vec::new();
        if self.is_renewed(reading) {
            changes.extend(self.renew(reading.and_then(|reading| reading.started_ms)));
        }
        if let Some(reading) = reading {
            self.started_ms = reading.started_ms.or(self.started_ms);
            self.work_done = reading.work_done;
            if self.incarnation == 0 {
                self.incarnation = reading.started_ms.unwrap_or(0);
            }
        }
        self.is_seen = true;
        let mut status = EngineStatus {
            endpoint: self.endpoint.0,
            health: Health::Healthy.into(),
            incarnation: self.incarnation,
            ..reading.unwrap_or_default().status
        };
        if let Some(tokens) = self.kv_below_gpu_tokens {
            status.kv_below_gpu_tokens = tokens;
        }
        changes.extend(self.change(status));
        changes
    }

    /// The present incarnation; zero if it is not known.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// What the engine has done, by its counters.
    pub(super) fn work_done(&self) -> Option<u64> {
        self.work_done
    }

    /// What the scrapes show after an outcome that [`Tracker::step`] has yet to take in, whatever is published.
    pub(super) fn health_with(&self, outcome: Outcome, unhealthy_after: u32) -> Health {
        match outcome {
            Outcome::Page(_) | Outcome::Alive => Health::Healthy,
            Outcome::Failed(_) if self.failures.saturating_add(1) >= unhealthy_after => Health::Unhealthy,
            Outcome::Failed(_) if self.is_seen => Health::Healthy,
            Outcome::Failed(_) => Health::Unknown,
        }
    }

    /// Whether the process is another one than at the last page. Its start decides, where the page names it. Else counters
    /// that have fallen back, or a long time out of reach; and where there are no counters either, any sign of an end.
    fn is_renewed(&mut self, reading: Option<Reading>) -> bool {
        let knows_process = self.started_ms.is_some() || self.work_done.is_some_and(|work| work > 0);
        if !self.is_seen || (reading.is_none() && knows_process) {
            // Without a page, the doubt stays for the next one.
            return false;
        }
        let doubt = std::mem::take(&mut self.doubt);
        let reading = reading.unwrap_or_default();
        if let Some((before_ms, now_ms)) = self.started_ms.zip(reading.started_ms) {
            return now_ms.abs_diff(before_ms) > START_SLACK_MS;
        }
        match self.work_done.filter(|work| *work > 0) {
            Some(work) => doubt.is_long || reading.work_done.unwrap_or(0) < work,
            None => doubt.is_long || doubt.is_cut,
        }
    }

    /// Begins another incarnation. A receiver forgets what it knows on a change between two known ones, so one that was
    /// not known gets a number first.
    fn renew(&mut self, started_ms: Option<u64>) -> Option<EngineStatus> {
        let mut first = None;
        if self.incarnation == 0
            && let Some(last) = self.published
        {
            let incarnation = self.next_fresh();
            first = self.change(EngineStatus { incarnation, ..last });
        }
        self.incarnation = started_ms.unwrap_or_else(|| self.next_fresh());
        first
    }

    fn next_fresh(&mut self) -> u64 {
        self.fresh = self.fresh.wrapping_add(1).max(1);
        self.fresh
    }

    fn note_connection(&mut self, connection: Option<SocketAddr>) {
        if connection == self.connection {
            self.connection_scrapes = self.connection_scrapes.saturating_add(1);
            return;
        }
        self.doubt.is_cut |= self.connection_scrapes >= CONNECTION_SCRAPES_MIN;
        self.connection = connection;
        self.connection_scrapes = 1;
    }

    fn fail(&mut self, failure: Failure, rules: Rules, now: Timestamp) -> Option<EngineStatus> {
        self.failures = self.failures.saturating_add(1);
        let is_refused = failure == Failure::Refused;
        self.doubt.is_cut |= is_refused;
        self.refusals = if is_refused { self.refusals.saturating_add(1) } else { 0 };
        let is_unhealthy = self.failures >= rules.unhealthy_after;
        let is_absent = self.refusals >= rules.unhealthy_after;
        let since = self.failing_since.get_or_insert(now);
        if is_unhealthy && !rules.is_alone {
            // Whatever keeps the controller from the whole pool says nothing about this engine.
            *since = now;
        }
        match (is_unhealthy, rules.is_alone) {
            (true, true) => self.set_health(Health::Unhealthy),
            (true, false) if is_absent => self.set_health(Health::Absent),
            (true, false) => self.set_health(Health::Unknown),
            (false, _) if self.failures >= STATUS_FAILURES_MAX => self.set_health(self.published?.health()),
            (false, _) => None,
        }
    }

    /// The last status under a health, without the load figures, which are too old by now.
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
}

// === impl Outcome ===

impl Outcome {
    /// Whether there was no connection: no work for the engine, so that the next scrape may come soon.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Self::Failed(Failure::Refused | Failure::Unreachable))
    }

    /// Its name in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Page(_) => "page",
            Self::Alive => "alive",
            Self::Failed(Failure::Refused | Failure::Unreachable) => "unreachable",
            Self::Failed(Failure::Timeout) => "timeout",
            Self::Failed(Failure::Status) => "status",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Outcome, Rules, Scraped, Tracker, UNREACHABLE_MS_MAX};
    use crate::telemetry::Reading;
    use warmpath_core::ids::EndpointId;
    use warmpath_core::time::Timestamp;
    use warmpath_core::wire::{EngineStatus, Health};

    const LATE: Outcome = Outcome::Failed(Failure::Timeout);
    const REFUSED: Outcome = Outcome::Failed(Failure::Refused);
    const RULES: Rules = Rules { unhealthy_after: 3, is_alone: true };

    fn page(running: u32, started_ms: u64) -> Outcome {
        let status = EngineStatus { running, capacity_tokens: Some(1000), ..EngineStatus::default() };
        let started_ms = Some(started_ms).filter(|ms| *ms > 0);
        Outcome::Page(Reading { status, started_ms, ..Reading::default() })
    }

    fn work(work_done: u64) -> Outcome {
        Outcome::Page(Reading { work_done: Some(work_done), ..Reading::default() })
    }

    fn tracker() -> Tracker {
        Tracker::new(EndpointId(7), 1 << 40)
    }

    fn step_by(tracker: &mut Tracker, outcome: Outcome, rules: Rules, ms: u64) -> Vec<EngineStatus> {
        tracker.step(&Scraped { outcome, connection: None, latencies: None }, rules, Timestamp::from_ms(ms))
    }

    fn step(tracker: &mut Tracker, outcome: Outcome) -> Vec<(Health, u32)> {
        let statuses = step_by(tracker, outcome, RULES, 0);
        statuses.iter().map(|status| (status.health(), status.running)).collect()
    }

    /// Whether a receiver of all statuses would forget the cells.
    fn is_forgotten(outcomes: &[(u64, Outcome)], rules: Rules) -> bool {
        let mut tracker = tracker();
        let statuses = outcomes.iter().flat_map(|(ms, outcome)| step_by(&mut tracker, *outcome, rules, *ms));
        let known: Vec<u64> = statuses.map(|status| status.incarnation).filter(|of| *of != 0).collect();
        known.windows(2).any(|pair| pair[0] != pair[1])
    }

    #[test]
    fn only_changes_are_published() {
        let mut tracker = tracker();
        assert_eq!(step(&mut tracker, page(1, 0)), [(Health::Healthy, 1)]);
        assert_eq!(step(&mut tracker, page(1, 0)), []);
        assert_eq!(step(&mut tracker, page(2, 0)), [(Health::Healthy, 2)]);
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_once() {
        let mut tracker = tracker();
        step(&mut tracker, page(4, 0));
        step(&mut tracker, LATE);
        step(&mut tracker, LATE);
        step(&mut tracker, page(4, 0));
        assert_eq!(step(&mut tracker, LATE), []);
        assert_eq!(step(&mut tracker, LATE), []);
        let last = step_by(&mut tracker, LATE, RULES, 0);
        assert_eq!((last[0].health(), last[0].running), (Health::Unhealthy, 0));
        assert_eq!(last[0].capacity_tokens, Some(1000), "what the engine can hold is not forgotten");
        assert_eq!(step(&mut tracker, LATE), []);
        assert_eq!(step(&mut tracker, page(4, 0)), [(Health::Healthy, 4)]);
    }

    #[test]
    fn an_endpoint_that_was_never_reached_is_published_too() {
        let mut tracker = tracker();
        let rules = Rules { unhealthy_after: 1, ..RULES };
        assert_eq!(step_by(&mut tracker, LATE, rules, 0)[0].health(), Health::Unhealthy);
        assert_eq!(step(&mut tracker, Outcome::Alive), [(Health::Healthy, 0)]);
    }

    #[test]
    fn where_the_whole_pool_fails_nobody_is_unhealthy() {
        let mut tracker = tracker();
        let rules = Rules { unhealthy_after: 1, is_alone: false };
        step(&mut tracker, page(4, 0));
        assert_eq!(step_by(&mut tracker, LATE, rules, 0)[0].health(), Health::Unknown);
        assert_eq!(tracker.health_with(LATE, 1), Health::Unhealthy, "for people, the scrapes fail");
        let rules = Rules { is_alone: true, ..rules };
        assert_eq!(step_by(&mut tracker, LATE, rules, 0)[0].health(), Health::Unhealthy, "others are back");
    }

    #[test]
    fn where_nobody_listens_at_any_address_of_the_pool_it_is_absent() {
        let mut tracker = tracker();
        let rules = Rules { unhealthy_after: 2, is_alone: false };
        let mut health =
            |outcome, rules| step_by(&mut tracker, outcome, rules, 0).last().map(EngineStatus::health);
        assert_eq!(health(LATE, rules), None);
        assert_eq!(health(REFUSED, rules), Some(Health::Unknown), "one of two");
        assert_eq!(health(REFUSED, rules), Some(Health::Absent));
        assert_eq!(health(LATE, rules), Some(Health::Unknown), "it may be the network");
        assert_eq!(health(REFUSED, rules), None);
        assert_eq!(health(REFUSED, rules), Some(Health::Absent));
        assert_eq!(
            health(REFUSED, Rules { is_alone: true, ..rules }),
            Some(Health::Unhealthy),
            "others are there"
        );
        assert_eq!(health(page(1, 0), rules), Some(Health::Healthy));
    }

    #[test]
    fn load_figures_that_cannot_be_refreshed_are_dropped() {
        let mut tracker = tracker();
        let rules = Rules { unhealthy_after: 100, is_alone: true };
        step_by(&mut tracker, page(4, 0), rules, 0);
        let mut late = || step_by(&mut tracker, LATE, rules, 0);
        let published = [late(), late(), late(), late(), late(), late()].concat();
        assert_eq!(published.len(), 1);
        assert_eq!((published[0].health(), published[0].running), (Health::Healthy, 0));
    }

    #[test]
    fn the_configured_tiers_override_those_of_the_page() {
        let below = |statuses: &[EngineStatus]| {
            statuses.iter().map(|status| status.kv_below_gpu_tokens).collect::<Vec<_>>()
        };
        let page = {
            let status = EngineStatus { kv_below_gpu_tokens: 300, ..EngineStatus::default() };
            Outcome::Page(Reading { status, ..Reading::default() })
        };
        let mut tracker = tracker();
        let rules = Rules { unhealthy_after: 1, is_alone: true };
        let step = |tracker: &mut Tracker, outcome| step_by(tracker, outcome, rules, 0);
        assert_eq!(below(&step(&mut tracker, page)), [300]);
        tracker.configure(Some(5_000));
        assert_eq!(below(&step(&mut tracker, page)), [5_000], "published though the page is the same");
        assert!(step(&mut tracker, Outcome::Alive).is_empty(), "an engine without metrics has its tiers too");
        assert_eq!(below(&step(&mut tracker, LATE)), [5_000], "and one that is gone comes back with them");
        tracker.configure(None);
        assert_eq!(below(&step(&mut tracker, page)), [300]);
    }

    #[test]
    fn failed_scrapes_alone_forget_nothing() {
        let (lost, long) = ((10, LATE), UNREACHABLE_MS_MAX);
        let with_start = |end: u64| [(0, page(1, 9_000)), (9, REFUSED), lost, lost, (end, page(1, 9_300))];
        assert!(!is_forgotten(&with_start(20), RULES), "the same start");
        assert!(!is_forgotten(&with_start(9 * long), RULES), "the same start, however late");
        assert!(!is_forgotten(&[(0, work(50)), (9, REFUSED), lost, lost, (20, work(50))], RULES));
        assert!(!is_forgotten(&[(0, page(1, 0)), lost, lost, lost, (20, page(1, 0))], RULES));
        let page_fails = [(0, work(50)), (5, Outcome::Alive), (9, work(60))];
        assert!(!is_forgotten(&page_fails, RULES), "a page that cannot be had is no counter that fell back");
        let blind = [(0, work(50)), (9, LATE), (long, LATE), (long + 9, work(60))];
        assert!(
            !is_forgotten(&blind, Rules { unhealthy_after: 1, is_alone: false }),
            "the controller's fault"
        );
    }

    #[test]
    fn another_process_at_the_same_address_holds_nothing() {
        assert!(is_forgotten(&[(0, page(1, 10_000)), (200, page(1, 20_000))], RULES), "another start");
        assert!(is_forgotten(&[(0, work(50)), (200, work(3))], RULES), "counters that fell back");
        assert!(
            is_forgotten(&[(0, work(50)), (200, Outcome::Page(Reading::default()))], RULES),
            "or are gone"
        );
        let silent = [(0, work(50)), (9, LATE), (UNREACHABLE_MS_MAX + 9, work(60))];
        assert!(is_forgotten(&silent, RULES), "out of reach for a minute");
        assert!(is_forgotten(&[(0, page(1, 0)), (9, REFUSED), (20, page(1, 0))], RULES), "nobody listened");
        assert!(is_forgotten(&[(0, Outcome::Alive), (9, REFUSED), (20, Outcome::Alive)], RULES));
    }

    #[test]
    fn a_replaced_connection_is_a_sign_where_there_is_no_other() {
        let over = |port: u16, outcome| Scraped {
            outcome,
            connection: Some(([127, 0, 0, 1], port).into()),
            latencies: None,
        };
        let incarnation = |outcome: Outcome| {
            let mut tracker = tracker();
            let ports = [1, 1, 1, 2];
            let steps = ports.map(|port| tracker.step(&over(port, outcome), RULES, Timestamp::ZERO));
            steps.concat().last().unwrap().incarnation
        };
        assert_ne!(incarnation(page(1, 0)), 0);
        assert_eq!(incarnation(page(1, 9_000)), 9_000, "the start says that it is the same");
        assert_eq!(incarnation(work(50)), 0, "and so do counters");
    }
}
