//! The events of this process's VMs that have not been sent to the controller.
//!
//! Bounded in number and in bytes: while the controller is away, the newest events are dropped and counted. The view
//! recovers from that: in-flight work is reported again every second, and the controller receives all prefixes afterwards.

use super::io::Output;
use super::metrics::Counter;
use crate::wire::Event;
use prost::Message;

/// Events that may be pending.
const EVENTS_MAX: usize = 4096;
/// Bytes of events that may be pending, encoded.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// See the module. Closed in the VMs that do not hold the uplink.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    events: Option<Vec<Event>>,
    bytes: usize,
    has_dropped: bool,
}

// === impl Outbox ===

impl Outbox {
    /// Starts or stops collecting.
    pub(super) fn set_open(&mut self, is_open: bool) {
        if is_open != self.events.is_some() {
            self.events = is_open.then(Vec::new);
            self.bytes = 0;
        }
    }

    /// Adds an event, if it is open and has room.
    pub(super) fn push(&mut self, event: Event, out: &mut Vec<Output>) {
        let Some(events) = &mut self.events else { return };
        let bytes = event.encoded_len();
        if events.len() < EVENTS_MAX && self.bytes + bytes <= BYTES_MAX {
            self.bytes += bytes;
            events.push(event);
        } else {
            self.has_dropped = true;
            out.push(Output::Count(Counter::UplinkDropped, 1));
        }
    }

    /// Whether events were dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> bool {
        std::mem::take(&mut self.has_dropped)
    }

    /// Takes all pending events.
    pub(super) fn take(&mut self) -> Vec<Event> {
        self.bytes = 0;
        self.events.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Alive, Kind};

    #[test]
    fn closed_it_takes_nothing_and_open_no_more_than_its_bound() {
        let alive = || Event::from(Kind::Alive(Alive { origin: 7 }));
        let (mut outbox, mut out) = (Outbox::default(), Vec::new());
        outbox.push(alive(), &mut out);
        assert!(outbox.take().is_empty());
        outbox.set_open(true);
        for _ in 0..EVENTS_MAX + 3 {
            outbox.push(alive(), &mut out);
        }
        assert_eq!(outbox.take().len(), EVENTS_MAX);
        assert_eq!(out, [(); 3].map(|()| Output::Count(Counter::UplinkDropped, 1)));
        outbox.push(alive(), &mut out);
        outbox.set_open(true);
        assert_eq!(outbox.take().len(), 1, "opened again, it keeps what it has");
    }
}
