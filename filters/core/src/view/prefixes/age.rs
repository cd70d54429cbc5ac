//! When a node was last used, and how long it takes until one is used again.

use crate::num::float;

/// Milliseconds of a tick. Four bytes a holder count 13 years of them before they run round.
const TICK_MS: u64 = 100;
const TICKS_PER_S: f64 = 10.0;
/// Seconds until a prefix is used again, until that was seen: the median of the Mooncake conversation trace is 114.
const GAP_S_DEFAULT: f64 = 120.0;
/// What is left of the earlier uses' weight after another one.
const GAP_KEEP: f64 = 0.998;

/// A time in ticks, kept small: every holder has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment(u32);

/// The mean time between two uses of a cell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gaps {
    sum_s: f64,
    cells: f64,
}

// === impl Moment ===

impl Moment {
    pub(super) fn of(now_ms: u64) -> Self {
        // The low half alone: differences stay right when it runs round.
        let ticks = (now_ms / TICK_MS) & u64::from(u32::MAX);
        Self(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Seconds since an earlier moment; none since a later one, as after a clock that was set back.
    pub(super) fn seconds_since(self, earlier: Self) -> f64 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > u32::MAX / 2 { 0.0 } else { f64::from(ticks) / TICKS_PER_S }
    }
}

// === impl Gaps ===

impl Gaps {
    /// Notes that `cells` cells were used again after `gap_s` seconds.
    pub(super) fn note(&mut self, gap_s: f64, cells: u16) {
        let cells = float(u64::from(cells));
        self.sum_s = self.sum_s * GAP_KEEP + gap_s * cells;
        self.cells = self.cells * GAP_KEEP + cells;
    }

    /// The mean, in seconds; never zero.
    pub(super) fn mean_s(&self) -> f64 {
        if self.cells > 0.0 { (self.sum_s / self.cells).max(1.0 / TICKS_PER_S) } else { GAP_S_DEFAULT }
    }
}

#[cfg(test)]
mod tests {
    use super::{Gaps, Moment, TICK_MS};

    #[test]
    fn moments_differ_rightly_where_the_counter_runs_round() {
        let end_ms = (u64::from(u32::MAX) + 1) * TICK_MS;
        assert!((Moment::of(end_ms + 500).seconds_since(Moment::of(end_ms - 500)) - 1.0).abs() < 1e-9);
        assert!(Moment::of(0).seconds_since(Moment::of(9_000)).abs() < 1e-9, "a clock that was set back");
    }

    #[test]
    fn gaps_count_by_cells() {
        let mut gaps = Gaps::default();
        gaps.note(10.0, 300);
        gaps.note(100.0, 100);
        assert!((gaps.mean_s() - 32.5).abs() < 0.5, "{}", gaps.mean_s());
    }
}
