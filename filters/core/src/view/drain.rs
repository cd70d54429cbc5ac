//! Prefill work as it would drain if an endpoint did nothing but prefill, without a pause.
//!
//! Booked work that should have been done long ago is held up by something else: no slot for an adapter in the batch, no
//! room in the KV cache, no free sequence. First tokens alone do not reveal that: while later requests overtake one that
//! waits, first tokens keep arriving, and the time since the last one stays short.

use crate::num::float;
use crate::time::Timestamp;
use crate::work::PrefillWork;

const MS_PER_S: f64 = 1_000.0;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drain {
    /// Work that was left then, in tokens' worth.
    tokens: f64,
    at: Timestamp,
}

// === impl Drain ===

impl Drain {
    /// The remaining work at a given speed, in tokens' worth.
    pub(super) fn left_tokens(&self, prefill_s_per_token: f64, now: Timestamp) -> f64 {
        let done = float(now.ms_since(self.at)) / MS_PER_S / prefill_s_per_token;
        (self.tokens - done).max(0.0)
    }

    /// Notes work that came, and what is booked in all: more than that is not left, however slow it seems.
    pub(super) fn note(
        &mut self,
        new: PrefillWork,
        booked: PrefillWork,
        prefill_s_per_token: f64,
        now: Timestamp,
    ) {
        let left = self.left_tokens(prefill_s_per_token, now) + new.tokens();
        *self = Self { tokens: left.min(booked.tokens()), at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::Drain;
    use crate::time::Timestamp;
    use crate::work::PrefillWork;

    const S_PER_TOKEN: f64 = 1e-3;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn work_drains_without_events_and_idle_time_is_not_credited() {
        let mut drain = Drain::default();
        drain.note(PrefillWork(4_000), PrefillWork(4_000), S_PER_TOKEN, at(0));
        assert!((drain.left_tokens(S_PER_TOKEN, at(1_000)) - 3_000.0).abs() < 1e-9);
        drain.note(PrefillWork(500), PrefillWork(4_500), S_PER_TOKEN, at(60_000));
        assert!((drain.left_tokens(S_PER_TOKEN, at(60_000)) - 500.0).abs() < 1e-9, "only what came last");
    }

    #[test]
    fn what_got_its_first_token_is_no_longer_left() {
        let mut drain = Drain::default();
        drain.note(PrefillWork(4_000), PrefillWork(4_000), S_PER_TOKEN, at(0));
        drain.note(PrefillWork(0), PrefillWork(600), S_PER_TOKEN, at(10));
        assert!((drain.left_tokens(S_PER_TOKEN, at(10)) - 600.0).abs() < 1e-9);
    }

    #[test]
    fn a_clock_that_was_set_back_does_no_harm() {
        let mut drain = Drain::default();
        drain.note(PrefillWork(4_000), PrefillWork(4_000), S_PER_TOKEN, at(9_000));
        assert!((drain.left_tokens(S_PER_TOKEN, at(1_000)) - 4_000.0).abs() < 1e-9);
    }
}
