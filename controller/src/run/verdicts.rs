//! Which pools' text has turned out to be another one than their engines', and when each is tried again.
//!
//! A wrong text is found by its consequence, which can have another cause: a proxy that was cut off for a while, an engine that was
//! started with other arguments and has been replaced since. So no verdict is for good. Each later one of the same files holds for twice
//! as long, because a trial has a price: until it is over, the pool's prompts count as cold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the first verdict holds.
const HOLDS_MIN: Duration = Duration::from_mins(15);
/// How long the later ones do at most.
const HOLDS_MAX: Duration = Duration::from_hours(4);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    of: BTreeMap<String, Verdict>,
}

/// What showed that a pool's text is another one than its engines'.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The files of that time.
    revision: u64,
    seen: String,
    holds: Duration,
    until: Instant,
    /// Whether it still holds: the text is not used.
    is_held: bool,
}

// === impl Verdicts ===

impl Verdicts {
    /// What speaks against a pool's files; none if nothing does, or they are tried again.
    pub(super) fn of(&self, pool: &str, revision: u64) -> Option<&Verdict> {
        self.of.get(pool).filter(|verdict| verdict.is_held && verdict.revision == revision)
    }

    /// A pool's text is not its engines'.
    pub(super) fn add(&mut self, pool: &str, revision: u64, seen: String, now: Instant) {
        let before = self.of.get(pool).filter(|before| before.revision == revision);
        let holds = before.map_or(HOLDS_MIN, |before| (before.holds * 2).min(HOLDS_MAX));
        let verdict = Verdict { revision, seen, holds, until: now + holds, is_held: true };
        self.of.insert(pool.to_owned(), verdict);
    }

    /// Lets those be tried again that have held for long enough. Returns whether there are any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut is_any = false;
        for verdict in self.of.values_mut().filter(|verdict| verdict.is_held && verdict.until <= now) {
            (verdict.is_held, is_any) = (false, true);
        }
        is_any
    }

    /// Keeps those of these pools.
    pub(super) fn retain(&mut self, is_one: impl Fn(&str) -> bool) {
        self.of.retain(|pool, _| is_one(pool));
    }
}

// === impl Verdict ===

impl Verdict {
    /// What was seen, and when the text is tried again.
    pub(super) fn seen(&self) -> (String, Instant) {
        (self.seen.clone(), self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verdict_is_for_good_and_each_holds_for_longer() {
        let mut verdicts = Verdicts::default();
        let mut now = Instant::now();
        for hours in [0.25, 0.5, 1.0, 2.0, 4.0, 4.0] {
            let holds = Duration::from_hours(1).mul_f64(hours);
            verdicts.add("p", 1, "seen".into(), now);
            assert!(verdicts.of("p", 1).is_some());
            assert!(!verdicts.expire(now + holds.saturating_sub(Duration::from_secs(1))), "{hours} h");
            now += holds;
            assert!(verdicts.expire(now), "{hours} h");
            assert!(verdicts.of("p", 1).is_none() && !verdicts.expire(now));
        }
    }

    #[test]
    fn other_files_are_judged_anew() {
        let mut verdicts = Verdicts::default();
        let now = Instant::now();
        verdicts.add("p", 1, "seen".into(), now);
        assert!(verdicts.of("p", 2).is_none() && verdicts.of("q", 1).is_none());
        verdicts.expire(now + HOLDS_MIN);
        verdicts.add("p", 2, "they found 9".into(), now);
        assert_eq!(verdicts.of("p", 2).unwrap().seen(), ("they found 9".to_owned(), now + HOLDS_MIN));
        verdicts.retain(|pool| pool != "p");
        assert!(verdicts.of("p", 2).is_none());
    }
}
