//! Applies what other replicas relay from their proxies.
//!
//! Each replica has a stream to every other one, on which it is sent what the other's own proxies report, and nothing that came
//! from a third: so events cannot loop. Each scrapes the engines and follows the cluster by itself. The obvious alternative, a
//! leader that all proxies report to, would be one more thing that fails.

use super::hub::{Hub, whole};
use crate::index::Author;
use warmpath_core::ids::ProcessId;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Event, Kind, PrefixDecoder};

// === impl Hub ===

impl Hub {
    /// A stream to another replica is open.
    pub fn replica_joined(&mut self, replica: ProcessId) {
        self.links.insert(replica);
        self.rejoin(Author::Replica(replica));
    }

    /// It has ended. The requests of its proxies count for as long as those may take to connect here.
    pub fn replica_left(&mut self, replica: ProcessId, now: Timestamp) {
        self.links.remove(&replica);
        self.depart(Author::Replica(replica), now);
    }

    /// Whether nothing of any proxy is received: none is connected here, and no other replica either.
    pub(crate) fn is_deaf(&self) -> bool {
        self.links.is_empty() && self.proxies().next().is_none()
    }

    /// Applies events of another replica, in the order of its stream, whose decoder is `prefixes`.
    pub fn relay(
        &mut self,
        replica: ProcessId,
        events: Vec<Event>,
        prefixes: &mut PrefixDecoder,
        now: Timestamp,
    ) {
        for kind in events.into_iter().filter_map(|event| event.kind) {
            match kind {
                Kind::Proxies(proxies) => self.turns.note_elsewhere(replica, &proxies),
                kind => match whole(prefixes, kind) {
                    Ok(kind) => self.accept(Author::Replica(replica), kind, now),
                    Err(dropped) => self.count_dropped(dropped),
                },
            }
        }
    }
}
