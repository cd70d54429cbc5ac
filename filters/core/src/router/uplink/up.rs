//! What the controller is sent: who this is, what is in flight and held, what was done, and what was learned.

use super::State;
use crate::num::u32_len;
use crate::router::Router;
use crate::router::io::{Notice, Output, UplinkId};
use crate::router::shared::SharedMap;
use crate::time::Timestamp;
use crate::wire::{Event, Hello, Kind, MessageChunker, ResumePoint, Up};
use prost::Message;

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// The first messages of a stream: who opens it, where it goes on, what is in flight and what is held.
    pub(super) fn introduce(&mut self, uplink: UplinkId, now: Timestamp, out: &mut Vec<Output>) {
        let resume = self
            .uplink
            .followed
            .map(|followed| ResumePoint { instance: followed.instance.0, generation: followed.generation.0 });
        let plugin = self.plugins.iter().find(|plugin| Some(plugin.id) == self.uplink.plugin);
        let node = plugin.map(|plugin| plugin.node.clone()).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let cell_bytes = u32_len(self.view.cell_bytes());
        let process = self.process().0;
        let hello = Hello { process, node, version, resume, cell_bytes, replica: false, takes_reports: true };
        send(uplink, &Up { hello: Some(hello), events: Vec::new() }, out);
        let held = self.process_holds(now).into_iter().map(Kind::Held);
        send_all(uplink, self.ledger.loads().into_iter().chain(held).map(Event::from), out);
    }

    /// Sends the controller what this process did.
    pub(super) fn send_pending(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let State::Open(open) = &self.uplink.state else { return };
        let events = self.outbox.take();
        // With the round of a second comes little else that is new.
        let is_round = events.iter().any(|event| matches!(event.kind, Some(Kind::Alive(_))));
        if !events.is_empty() && !is_round {
            self.busy_at = now;
        }
        send_all(open.id, events, out);
    }

    /// Sends a controller that has just started what this process has learned.
    pub(super) fn teach(&mut self, id: UplinkId, now: Timestamp, out: &mut Vec<Output>) {
        out.push(Output::Notice(Notice::TeachingController { cells: self.view.prefixes().cells() }));
        // Pools and statuses are the controller's own; what is in flight each VM reports within the second.
        let learned = self.view.export(now);
        let is_learned = |event: &Event| {
            matches!(event.kind, Some(Kind::Prefix(_) | Kind::Stored(_) | Kind::Conversation(_)))
        };
        send_all(id, learned.into_iter().filter(is_learned), out);
    }
}

fn send(uplink: UplinkId, up: &Up, out: &mut Vec<Output>) {
    out.push(Output::SendUplink { uplink, message: up.encode_to_vec() });
}

fn send_all(uplink: UplinkId, events: impl IntoIterator<Item = Event>, out: &mut Vec<Output>) {
    let mut messages = MessageChunker::default();
    for event in events {
        messages.push(event);
    }
    for events in messages.finish() {
        send(uplink, &Up { hello: None, events }, out);
    }
}
