//! What the VMs of this process have said and the controller has not been told yet.
//!
//! Bounded in number and in bytes: while the controller is away, the newest are dropped and counted. What is
//! dropped heals: loads are told again every second, and a new controller is sent all prefixes.

use crate::metrics::{Count, Metrics};
use prost::Message;
use warmpath_core::wire::Event;

/// Events that may wait.
const EVENTS_MAX: usize = 4096;
/// Bytes of events that may wait, encoded.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// See the module. Closed in the VMs that do not hold the stream.
#[derive(Default)]
pub(crate) struct Outbox {
    events: Option<Vec<Event>>,
    bytes: usize,
}

// === impl Outbox ===

impl Outbox {
    /// Starts or stops collecting.
    pub(crate) fn set_open(&mut self, is_open: bool) {
        if is_open != self.events.is_some() {
            self.events = is_open.then(Vec::new);
            self.bytes = 0;
        }
    }

    /// Adds an event, if it is open and has room.
    pub(crate) fn push(&mut self, event: Event, metrics: &mut Metrics) {
        let Some(events) = &mut self.events else { return };
        let bytes = event.encoded_len();
        if events.len() < EVENTS_MAX && self.bytes + bytes <= BYTES_MAX {
            self.bytes += bytes;
            events.push(event);
        } else {
            metrics.count(Count::FeedDropped);
        }
    }

    /// Takes all that waits.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.bytes = 0;
        self.events.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
