//! Whether the gate pays: it lets everything pass until two things are seen at once.
//!
//! *Hits are lost to capacity*: turns that come back within the lease do not find what their conversations' last turns left. And
//! *requests wait at the engines*: where they do not, to compute again costs time that nobody else needs. Either alone is no reason to
//! hold anybody: full caches are the normal state of a pool that runs for long, and queues of one-shot prompts get shorter in no
//! cache. Turns that come later do not count, because the gate would not have kept their places either.

use crate::num::float;
use crate::time::Timestamp;

/// Share of the prompts' tokens, as far as an earlier turn computed them, that no engine has any more.
const LOST_SHARE_MIN: f64 = 0.08;
/// Prefill that waits at the mean engine, as a share of the time in which it computes all that it holds. Shorter queues come and go
/// with each long prompt. A share, because what a lost prefix costs grows with that time, too: a fixed time would be reached early by
/// slow engines, and late by fast ones. The simulated engines compute what they hold in eighteen seconds, and of the queues tried
/// there, one of half a second gave most: a thirty-sixth.
const BACKLOG_SHARE_MIN: f64 = 1.0 / 36.0;
/// What is left of the earlier turns' weight after another one: about the last hundred count.
const TURN_KEEP: f64 = 0.99;
/// Turns that must have been seen.
const TURNS_MIN: f64 = 20.0;
/// Weight of the newest look at the engines, one a second.
const BACKLOG_WEIGHT: f64 = 0.1;
/// How long nobody must have had to wait until the gate lets everything pass again, in milliseconds.
const UNUSED_MS_MAX: u64 = 60_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Switch {
    kept_cells: f64,
    lost_cells: f64,
    turns: f64,
    backlog_ms: f64,
    /// When somebody last had to wait; `None`: the gate lets everything pass.
    used: Option<Timestamp>,
}

// === impl Switch ===

impl Switch {
    pub(super) fn is_on(&self) -> bool {
        self.used.is_some()
    }

    /// A turn within the lease follows one of `cells` cells, of which an engine still has `found`.
    pub(super) fn note_turn(&mut self, cells: u32, found: u32) {
        let kept = cells.min(found);
        self.kept_cells = self.kept_cells * TURN_KEEP + f64::from(kept);
        self.lost_cells = self.lost_cells * TURN_KEEP + f64::from(cells - kept);
        self.turns = self.turns * TURN_KEEP + 1.0;
    }

    /// The share of what earlier turns computed that is lost.
    pub(super) fn lost_share(&self) -> f64 {
        self.lost_cells / (self.kept_cells + self.lost_cells).max(1.0)
    }

    /// A second has passed, in which work of `backlog_ms` waited at the mean engine, which computes all that it holds in `refill_ms`,
    /// and somebody was held or not. `keeps` is whether a place is worth keeping at all.
    pub(super) fn observe(
        &mut self,
        (backlog_ms, refill_ms): (u64, u64),
        (is_used, keeps): (bool, bool),
        now: Timestamp,
    ) {
        self.backlog_ms += BACKLOG_WEIGHT * (float(backlog_ms) - self.backlog_ms);
        let pays = keeps
            && self.turns >= TURNS_MIN
            && self.lost_share() >= LOST_SHARE_MIN
            && self.backlog_ms >= float(refill_ms) * BACKLOG_SHARE_MIN;
        match self.used {
            Some(_) if !keeps => self.used = None,
            Some(_) if is_used => self.used = Some(now),
            Some(used) if now.ms_apart(used) > UNUSED_MS_MAX => self.used = pays.then_some(now),
            None if pays => self.used = Some(now),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a gate is used after two minutes of such a backlog at engines of such a speed, where all prefixes are lost.
    fn is_used(backlog_ms: u64, refill_ms: u64) -> bool {
        let mut switch = Switch::default();
        (0..100).for_each(|_| switch.note_turn(100, 0));
        for second in 0..120 {
            switch.observe((backlog_ms, refill_ms), (false, true), Timestamp::from_ms(second * 1_000));
        }
        switch.is_on()
    }

    #[test]
    fn a_queue_counts_by_how_fast_the_engines_are() {
        assert!(is_used(300, 1_800));
        assert!(!is_used(300, 18_000));
        assert!(is_used(3_000, 18_000));
        assert!(!is_used(3_000, 180_000), "slow ones have such a queue with every long prompt");
    }
}
