//! How long the pools are held back while a watch has not listed its objects yet. Pure: time is an argument.
//!
//! A pool that is new, or whose selector has changed, has no pods until its watch has listed them. Published at once, it would
//! take its endpoints from every proxy.

use std::time::Duration;
use tokio::time::Instant;

/// How long one watch may hold back the pools of all others.
const HOLD: Duration = Duration::from_secs(5);

/// Whether the pools are held back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Hold {
    /// They are not, or no end is known: the first ones wait for as long as it takes.
    #[default]
    Open,
    /// Until then.
    Until(Instant),
    /// No longer, although a watch still fails.
    Over,
}

// === impl Hold ===

impl Hold {
    /// Whether the pools are held back now. The first ones are until all watches have settled: a controller that published
    /// none would take all of them from the proxies.
    pub(super) fn holds(&mut self, is_settled: bool, is_first: bool, now: Instant) -> bool {
        *self = match *self {
            _ if is_settled || is_first => Self::Open,
            Self::Open => Self::Until(now + HOLD),
            Self::Until(end) if now < end => Self::Until(end),
            Self::Until(_) | Self::Over => Self::Over,
        };
        !is_settled && !matches!(self, Self::Over)
    }

    /// When to look again although no watch reports anything: once, at the end of the hold.
    pub(super) fn ends_at(self) -> Option<Instant> {
        if let Self::Until(end) = self { Some(end) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{HOLD, Hold};
    use tokio::time::Instant;

    #[test]
    fn the_first_pools_wait_for_all_watches_and_later_ones_for_a_while() {
        let (mut hold, start) = (Hold::default(), Instant::now());
        assert!(hold.holds(false, true, start));
        assert!(hold.holds(false, true, start + 10 * HOLD));
        assert!(!hold.holds(true, true, start + 10 * HOLD));
        let later = start + 20 * HOLD;
        assert!(hold.holds(false, false, later));
        assert_eq!(hold.ends_at(), Some(later + HOLD));
        assert!(hold.holds(false, false, later + HOLD / 2));
        assert_eq!(hold.ends_at(), Some(later + HOLD), "a change does not prolong it");
        assert!(!hold.holds(false, false, later + HOLD));
    }

    #[test]
    fn a_hold_that_has_ended_wakes_nobody_while_a_watch_still_fails() {
        let (mut hold, start) = (Hold::default(), Instant::now());
        assert!(hold.holds(false, true, start));
        assert_eq!(hold.ends_at(), None, "nothing is new until a watch reports it");
        assert!(hold.holds(false, false, start));
        assert!(!hold.holds(false, false, start + HOLD));
        assert_eq!(hold.ends_at(), None, "the loop would spin");
    }
}
