//! How long conversations of a pool pause between a response and their next request, and the lease that follows.
//!
//! To keep an idle place costs its share of the engine for as long; to give it away, the time to compute its prefix again if the
//! conversation comes back. Both grow with the footprint, so the break-even pause is the same for all: the time in which the engine
//! computes all that it holds. That is ski rental. With nothing known of the pauses, a lease as long as the break-even costs at most
//! twice what hindsight would; with the pauses that were seen, it is the lease that would have cost least for them. A quantile of the
//! pauses, the obvious lease, keeps places for hours where one conversation in twenty comes back after lunch.

use crate::num::{count, float};

/// The first bound between the pauses that are distinguished, in milliseconds.
const GAP_MS_FIRST: f64 = 250.0;
/// From one bound to the next.
const GAP_FACTOR: f64 = 1.25;
/// Pauses that are distinguished: the last bound is at five minutes.
const GAPS: usize = 33;
/// After how long a conversation counts as one that does not come back, in milliseconds: more than any bound.
pub(super) const GONE_MS: u64 = 330_000;
/// Conversations that must have come back or gone for their pauses to say something.
const SEEN_MIN: f64 = 30.0;
/// What is left of the earlier pauses' weight after another one: about the last five hundred count.
const KEEP: f64 = 0.998;

/// The pauses that were seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    /// How many ended below each bound, and above the one before.
    counts: [f64; GAPS],
    gone: f64,
}

// === impl Gaps ===

impl Default for Gaps {
    fn default() -> Self {
        Self { counts: [0.0; GAPS], gone: 0.0 }
    }
}

impl Gaps {
    /// A conversation came back.
    pub(super) fn note(&mut self, gap_ms: u64) {
        self.fade();
        let at = bounds().position(|bound_ms| float(gap_ms) <= bound_ms);
        match at.and_then(|at| self.counts.get_mut(at)) {
            Some(seen) => *seen += 1.0,
            None => self.gone += 1.0,
        }
    }

    /// A conversation did not come back for [`GONE_MS`].
    pub(super) fn note_gone(&mut self) {
        self.fade();
        self.gone += 1.0;
    }

    /// How long to keep a place that is idle, in milliseconds, where `break_even_ms` is what a place is worth.
    pub(super) fn lease_ms(&self, break_even_ms: u64) -> u64 {
        let all = self.counts.iter().sum::<f64>() + self.gone;
        if all < SEEN_MIN {
            return break_even_ms;
        }
        let break_even = float(break_even_ms);
        // No lease at all: every pause loses the place.
        let mut later = all - self.gone;
        let (mut best, mut least) = (0.0, break_even * later);
        let (mut ended_ms, mut from_ms) = (0.0, 0.0);
        for (bound_ms, seen) in bounds().zip(&self.counts) {
            later -= seen;
            ended_ms += seen * f64::midpoint(from_ms, bound_ms);
            from_ms = bound_ms;
            let cost = ended_ms + bound_ms * (later + self.gone) + break_even * later;
            if cost < least {
                (best, least) = (bound_ms, cost);
            }
        }
        count(best)
    }

    fn fade(&mut self) {
        self.gone *= KEEP;
        for seen in &mut self.counts {
            *seen *= KEEP;
        }
    }
}

fn bounds() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(GAP_MS_FIRST), |bound_ms| Some(bound_ms * GAP_FACTOR)).take(GAPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAK_EVEN_MS: u64 = 20_000;

    fn seen(gaps_ms: &[u64], gone: usize) -> Gaps {
        let mut gaps = Gaps::default();
        for _ in 0..100 {
            for gap_ms in gaps_ms {
                gaps.note(*gap_ms);
            }
            (0..gone).for_each(|_| gaps.note_gone());
        }
        gaps
    }

    #[test]
    fn the_last_bound_is_before_a_conversation_counts_as_gone() {
        let last = bounds().last().unwrap();
        assert!((280_000.0..float(GONE_MS)).contains(&last), "{last}");
    }

    #[test]
    fn the_lease_is_the_break_even_until_pauses_were_seen() {
        assert_eq!(Gaps::default().lease_ms(BREAK_EVEN_MS), BREAK_EVEN_MS);
    }

    #[test]
    fn the_lease_reaches_just_beyond_the_pauses() {
        let lease_ms = seen(&[4_000, 8_000, 20_000, 24_000], 0).lease_ms(BREAK_EVEN_MS);
        assert!((24_000..31_000).contains(&lease_ms), "{lease_ms}");
    }

    #[test]
    fn rare_long_pauses_do_not_keep_places() {
        let lease_ms = seen(&[4_000, 5_000, 6_000, 7_000, 8_000, 8_000, 8_000, 8_000, 250_000], 1)
            .lease_ms(BREAK_EVEN_MS);
        assert!((8_000..10_000).contains(&lease_ms), "{lease_ms}");
    }

    #[test]
    fn who_never_comes_back_has_no_lease() {
        assert_eq!(seen(&[], 1).lease_ms(BREAK_EVEN_MS), 0);
        assert_eq!(seen(&[30_000], 9).lease_ms(BREAK_EVEN_MS), 0);
    }
}
