//! The way between proxies: messages that are late, lost, or overtaken.

use prost::Message as _;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use warmpath_core::wire::{Event, Up};

/// What happens to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkSpec {
    /// How late each message is, in seconds.
    pub delay_s: f64,
    /// How much later it may be beyond that, evenly; messages overtake each other.
    pub jitter_s: f64,
    /// Share of messages that never come.
    pub loss_share: f64,
}

/// When it arrives (the bits of the second), its number, to whom, and what.
type UnderWay = (u64, u64, usize, Arc<[u8]>);

/// Messages on their way.
#[derive(Debug)]
pub(super) struct Network {
    spec: NetworkSpec,
    random: StdRng,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    sent: u64,
}

/// One that has arrived.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) to: usize,
    pub(super) bytes: Arc<[u8]>,
}

// === impl Network ===

impl Network {
    pub(super) fn new(spec: NetworkSpec, seed: u64) -> Self {
        Self { spec, random: StdRng::seed_from_u64(seed), under_way: BinaryHeap::new(), sent: 0 }
    }

    pub(super) fn send(&mut self, now_s: f64, to: usize, bytes: &Arc<[u8]>) {
        let (late, lost) = (self.random.random::<f64>(), self.random.random::<f64>());
        if lost < self.spec.loss_share {
            return;
        }
        let at_s = now_s + self.spec.delay_s + self.spec.jitter_s * late;
        self.put(at_s, to, bytes);
    }

    /// Sends what is sent again until it comes, as a stream that breaks begins with a snapshot.
    pub(super) fn insist(&mut self, now_s: f64, to: usize, bytes: &Arc<[u8]>) {
        self.put(now_s + self.spec.delay_s + self.spec.jitter_s, to, bytes);
    }

    fn put(&mut self, at_s: f64, to: usize, bytes: &Arc<[u8]>) {
        self.sent += 1;
        self.under_way.push(Reverse((at_s.to_bits(), self.sent, to, Arc::clone(bytes))));
    }

    /// The next message that has arrived by now.
    pub(super) fn receive(&mut self, now_s: f64) -> Option<Message> {
        let Reverse((at, ..)) = self.under_way.peek()?;
        if f64::from_bits(*at) > now_s {
            return None;
        }
        let Reverse((_, _, to, bytes)) = self.under_way.pop()?;
        Some(Message { to, bytes })
    }
}

/// Events as they stand on the wire.
pub(super) fn encode(events: &[Event]) -> Arc<[u8]> {
    Up { hello: None, events: events.to_vec() }.encode_to_vec().into()
}

/// And back.
pub(super) fn decode(bytes: &[u8]) -> Vec<Event> {
    Up::decode(bytes).expect("the message was encoded above").events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(spec: NetworkSpec, messages: usize) -> Vec<usize> {
        let mut network = Network::new(spec, 5);
        for number in 0..messages {
            network.send(0.0, number, &encode(&[]));
        }
        let early = network.receive(spec.delay_s - 1e-9);
        assert!(early.is_none(), "nothing comes before the delay");
        let late_s = spec.delay_s + spec.jitter_s;
        std::iter::from_fn(|| network.receive(late_s)).map(|message| message.to).collect()
    }

    #[test]
    fn messages_are_late_lost_and_overtaken_as_asked() {
        let exact = NetworkSpec { delay_s: 0.01, jitter_s: 0.0, loss_share: 0.0 };
        let in_order: Vec<usize> = (0..1_000).collect();
        assert_eq!(arrived(exact, 1_000), in_order);
        let mut disordered = arrived(NetworkSpec { jitter_s: 0.02, ..exact }, 1_000);
        assert_ne!(disordered, in_order);
        disordered.sort_unstable();
        assert_eq!(disordered, in_order, "late, but all of them");
        let lossy = arrived(NetworkSpec { loss_share: 0.3, ..exact }, 1_000).len();
        assert!((600..800).contains(&lossy), "{lossy} of 1,000 came");
    }
}
