//! The way between a process and the controller: messages that are late, and streams that break.

use super::clock::after;
use super::deployment::NetworkSpec;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use warmpath_core::time::Timestamp;

/// Decides what happens to each message.
#[derive(Debug)]
pub(super) struct Network {
    spec: NetworkSpec,
    random: StdRng,
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    /// When the message before arrives.
    arrives_at: Timestamp,
}

// === impl Network ===

impl Network {
    pub(super) fn new(spec: NetworkSpec, seed: u64) -> Self {
        Self { spec, random: StdRng::seed_from_u64(seed) }
    }

    /// When what is sent now arrives: not before what was sent before it.
    pub(super) fn arrival(&mut self, lane: &mut Lane, now: Timestamp) -> Timestamp {
        let late = self.spec.delay_s + self.spec.jitter_s * self.random.random::<f64>();
        lane.arrives_at = lane.arrives_at.max(after(now, late));
        lane.arrives_at
    }

    /// Whether the stream of the next message breaks with it.
    pub(super) fn breaks(&mut self) -> bool {
        self.random.random::<f64>() < self.spec.break_share
    }

    /// A moment within a span, evenly drawn.
    pub(super) fn within(&mut self, from: Timestamp, span_s: f64) -> Timestamp {
        after(from, span_s * self.random.random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_late_but_do_not_overtake_each_other() {
        let spec = NetworkSpec { delay_s: 0.01, jitter_s: 0.02, break_share: 0.3 };
        let (mut network, mut lane) = (Network::new(spec, 5), Lane::default());
        let sent: Vec<Timestamp> = (1_000..2_000).map(Timestamp::from_ms).collect();
        let arrived: Vec<Timestamp> = sent.iter().map(|at| network.arrival(&mut lane, *at)).collect();
        assert!(arrived.is_sorted());
        for (sent, arrived) in sent.iter().zip(&arrived) {
            assert!((10..=30).contains(&arrived.ms_since(*sent)), "{sent:?} {arrived:?}");
        }
        let broken = (0..1_000).filter(|_| network.breaks()).count();
        assert!((200..400).contains(&broken), "{broken} of 1,000 broke");
    }
}
