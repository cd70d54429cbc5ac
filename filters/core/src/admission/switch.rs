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

    /// What the engines need to compute all that they hold, and a queue that counts.
    const REFILL_MS: u64 = 18_000;
    const BACKLOG_MS: u64 = 1_000;

    /// Whether a gate is used after two minutes of such a backlog at engines of such a speed, where all prefixes are lost.
    fn is_used(backlog_ms: u64, refill_ms: u64) -> bool {
        let mut switch = with_turns(100, 0);
        for second in 0..120 {
            switch.observe((backlog_ms, refill_ms), (false, true), at(second));
        }
        switch.is_on()
    }

    /// So many turns of a hundred cells, of which an engine still had some.
    fn with_turns(turns: usize, found: u32) -> Switch {
        let mut switch = Switch::default();
        (0..turns).for_each(|_| switch.note_turn(100, found));
        switch
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_ms(1_000_000 + second * 1_000)
    }

    #[test]
    fn a_queue_counts_by_how_fast_the_engines_are() {
        assert!(is_used(300, 1_800));
        assert!(!is_used(300, 18_000));
        assert!(is_used(3_000, 18_000));
        assert!(!is_used(3_000, 180_000), "slow ones have such a queue with every long prompt");
    }

    #[test]
    fn both_must_be_seen_and_often_enough() {
        let is_used = |mut switch: Switch, backlog_ms| {
            (0..60).for_each(|second| switch.observe((backlog_ms, REFILL_MS), (false, true), at(second)));
            switch.is_on()
        };
        assert!(is_used(with_turns(30, 0), BACKLOG_MS));
        assert!(!is_used(with_turns(10, 0), BACKLOG_MS), "too few turns");
        assert!(!is_used(with_turns(30, 95), BACKLOG_MS), "nearly all was found");
        assert!(!is_used(with_turns(30, 0), 0), "nobody waits at the engines");
    }

    #[test]
    fn it_is_left_when_nobody_had_to_wait_for_a_minute() {
        let mut switch = with_turns(30, 0);
        switch.observe((BACKLOG_MS * 10, REFILL_MS), (false, true), at(0));
        (1..100).for_each(|second| switch.observe((0, REFILL_MS), (true, true), at(second)));
        assert!(switch.is_on(), "somebody waits");
        (100..160).for_each(|second| switch.observe((0, REFILL_MS), (false, true), at(second)));
        assert!(switch.is_on());
        switch.observe((0, REFILL_MS), (false, true), at(160));
        assert!(!switch.is_on());
    }

    #[test]
    fn it_is_left_at_once_when_no_place_is_worth_keeping() {
        let mut switch = with_turns(30, 0);
        switch.observe((BACKLOG_MS * 10, REFILL_MS), (true, true), at(0));
        switch.observe((BACKLOG_MS * 10, REFILL_MS), (true, false), at(1));
        assert!(!switch.is_on());
        switch.observe((BACKLOG_MS * 10, REFILL_MS), (true, false), at(2));
        assert!(!switch.is_on(), "whoever waits still");
    }
}
