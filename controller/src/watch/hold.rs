//! How long the pools are held back while a watch has not listed its objects yet. Pure: time is an argument.
//!
//! A pool that is new, or whose selector has changed, has no pods until its watch has listed them. Published at once, it would
//! take its endpoints from every proxy.

use super::facts::Settled;
use std::time::Duration;
use tokio::time::Instant;

/// How long one watch may hold back the pools of all others.
const HOLD: Duration = Duration::from_secs(5);
/// The same for the first pools of a controller: one that published too few would take the others from the proxies.
const FIRST_HOLD: Duration = Duration::from_mins(1);

/// Whether the pools are held back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Hold {
    /// They are not.
    #[default]
    Open,
    /// Until then.
    Until(Instant),
    /// No longer, although a watch still fails.
    Over,
}

// === impl Hold ===

impl Hold {
    /// Whether the pools are held back now: the first ones for a longer while, and then only as long as a watch may still list its
    /// objects. One that is refused, as in a namespace that is gone, must not keep a controller from serving all others.
    pub(super) fn holds(&mut self, settled: Settled, is_first: bool, now: Instant) -> bool {
        let most = if is_first { FIRST_HOLD } else { HOLD };
        *self = match *self {
            _ if settled == Settled::All => Self::Open,
            Self::Open => Self::Until(now + most),
            Self::Until(end) if now < end => Self::Until(end),
            Self::Until(_) | Self::Over => Self::Over,
        };
        match (settled, *self) {
            (Settled::All, _) | (Settled::ButRefused, Self::Over) => false,
            (Settled::Pending, Self::Over) => is_first,
            _ => true,
        }
    }

    /// When to look again although no watch reports anything: once, at the end of the hold.
    pub(super) fn ends_at(self) -> Option<Instant> {
        if let Self::Until(end) = self { Some(end) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST_HOLD, HOLD, Hold, Settled};
    use tokio::time::Instant;

    #[test]
    fn the_first_pools_wait_for_all_watches_and_later_ones_for_a_while() {
        let (mut hold, start) = (Hold::default(), Instant::now());
        assert!(hold.holds(Settled::Pending, true, start));
        assert!(hold.holds(Settled::Pending, true, start + 10 * FIRST_HOLD));
        assert!(!hold.holds(Settled::All, true, start + 10 * FIRST_HOLD));
        let later = start + 20 * FIRST_HOLD;
        assert!(hold.holds(Settled::Pending, false, later));
        assert_eq!(hold.ends_at(), Some(later + HOLD));
        assert!(hold.holds(Settled::ButRefused, false, later + HOLD / 2));
        assert_eq!(hold.ends_at(), Some(later + HOLD), "a change does not prolong it");
        assert!(!hold.holds(Settled::Pending, false, later + HOLD));
    }

    #[test]
    fn a_namespace_that_is_gone_holds_the_first_pools_for_a_minute() {
        let (mut hold, start) = (Hold::default(), Instant::now());
        assert!(hold.holds(Settled::ButRefused, true, start));
        assert_eq!(hold.ends_at(), Some(start + FIRST_HOLD));
        assert!(hold.holds(Settled::ButRefused, true, start + FIRST_HOLD / 2));
        assert!(!hold.holds(Settled::ButRefused, true, start + FIRST_HOLD));
    }

    #[test]
    fn a_hold_that_has_ended_wakes_nobody_while_a_watch_still_fails() {
        let (mut hold, start) = (Hold::default(), Instant::now());
        assert!(hold.holds(Settled::Pending, false, start));
        assert!(!hold.holds(Settled::Pending, false, start + HOLD));
        assert_eq!(hold.ends_at(), None, "the loop would spin");
    }
}
