//! When an engine is scraped again.
//!
//! Once an interval; sooner, down to the configured minimum, while traffic runs and what was seen is stale: the requests that
//! the proxies have at the engine are other than at the last scrape by more than a quarter, or it could not be reached. Under
//! steady load, the page says nothing new, and an engine that responds late is not asked more often.

use crate::config::Scrape;
use std::time::Duration;

/// The share of the requests by which they must differ for the page to be stale: one in this many.
const STALE_SHARE: u32 = 4;
/// Requests by which they must differ at least.
const STALE_REQUESTS_MIN: u32 = 2;
/// By how much the interval varies in either direction, so that controllers and engines do not fall into step.
const JITTER_PERMILLE: u32 = 100;

/// What decides on the next scrape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) scrape: Scrape,
    /// Requests at the engine when it was scraped.
    pub(super) in_flight: u32,
    /// Whether it could not be reached.
    pub(super) is_cut: bool,
    pub(super) random: u64,
}

// === impl Pace ===

impl Pace {
    /// How long to wait for the next look, this long after the start of the last scrape.
    pub(super) fn wait(&self, elapsed: Duration) -> Duration {
        self.interval().saturating_sub(elapsed).min(self.scrape.interval_min)
    }

    /// Whether to scrape now, this long after the start of the last scrape.
    pub(super) fn is_due(&self, elapsed: Duration, in_flight: u32) -> bool {
        elapsed >= self.interval() || (elapsed >= self.scrape.interval_min && self.is_stale(in_flight))
    }

    fn is_stale(&self, in_flight: u32) -> bool {
        let difference = in_flight.abs_diff(self.in_flight);
        let is_other = difference >= STALE_REQUESTS_MIN && difference > self.in_flight / STALE_SHARE;
        is_other || (self.is_cut && in_flight > 0)
    }

    fn interval(&self) -> Duration {
        let spread = u32::try_from(self.random % u64::from(2 * JITTER_PERMILLE)).unwrap_or(0);
        self.scrape.interval * (1000 - JITTER_PERMILLE + spread) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::config::Scrape;
    use std::time::Duration;

    const MIN: Duration = Duration::from_millis(200);

    fn pace(in_flight: u32, is_cut: bool) -> Pace {
        let interval = Duration::from_secs(1);
        let scrape = Scrape { interval, interval_min: MIN, ..Scrape::default() };
        Pace { scrape, in_flight, is_cut, random: 100 }
    }

    #[test]
    fn an_engine_is_scraped_more_often_only_while_the_page_is_stale() {
        assert!(!pace(0, false).is_due(MIN, 0), "nothing runs");
        assert!(!pace(20, false).is_due(MIN, 24), "steady load");
        assert!(pace(20, false).is_due(MIN, 26));
        assert!(pace(20, false).is_due(MIN, 0), "it is idle, and the page says busy");
        assert!(!pace(0, false).is_due(MIN / 2, 50), "never below the minimum");
        assert!(!pace(0, true).is_due(MIN, 0));
        assert!(pace(1, true).is_due(MIN, 1), "requests run, and it could not be reached");
        assert!(pace(0, false).is_due(Duration::from_secs(1), 0));
    }

    #[test]
    fn it_waits_in_steps_of_the_minimum_and_no_longer_than_the_interval() {
        let pace = pace(0, false);
        assert_eq!(pace.wait(Duration::ZERO), MIN);
        assert_eq!(pace.wait(Duration::from_millis(900)), Duration::from_millis(100));
        assert_eq!(pace.wait(Duration::from_secs(3)), Duration::ZERO, "a slow scrape");
    }

    #[test]
    fn intervals_differ_by_a_tenth() {
        let interval = |random| Pace { random, ..pace(0, false) }.interval();
        assert_eq!(interval(0), Duration::from_millis(900));
        assert_eq!(interval(199), Duration::from_millis(1_099));
    }
}
