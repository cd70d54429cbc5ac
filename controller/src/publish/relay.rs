//! Applies what other replicas relay from their proxies.
//!
//! Each replica has a stream to every other one, on which it is sent what the other's own proxies report, and nothing that came
//! from a third: so events cannot loop. Each scrapes the engines and follows the cluster by itself. The obvious alternative, a
//! leader that all proxies report to, would be one more thing that fails.

use super::hub::Hub;
use super::usage::Report;
use crate::index::{Author, Dropped};
use warmpath_core::ids::ProcessId;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Event, Kind, PrefixDecoder};

// === impl Hub ===

impl Hub {
    /// A stream to another replica is open.
    pub fn replica_joined(&mut self, replica: ProcessId) {
        self.rejoin(Author::Replica(replica));
    }

    /// It has ended. The requests of its proxies count for as long as those may take to connect here.
    pub fn replica_left(&mut self, replica: ProcessId, now: Timestamp) {
        self.depart(Author::Replica(replica), now);
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
            let usage = if let Kind::UsageSeen(usage) = &kind { Report::of(usage) } else { None };
            let accepted = match kind {
                Kind::Proxies(proxies) => {
                    self.routing.note_elsewhere(replica, &proxies);
                    Ok(None)
                }
                Kind::Prefix(prefix) => match prefixes.decode(&prefix) {
                    Ok(whole) => self.learn(replica, whole, now).map(|()| None),
                    Err(_) => Err(Dropped::Broken),
                },
                kind if self.index.has(&kind) => Err(Dropped::Known),
                kind => self.index.accept(Author::Replica(replica), kind, now).map(Some),
            };
            match accepted {
                Ok(Some(delta)) => {
                    if let Some(usage) = usage {
                        self.usage.note(usage, self.index.view(), now);
                    }
                    self.broadcast(&delta);
                }
                Ok(None) => {}
                Err(dropped) => self.count_dropped(dropped),
            }
        }
    }
}
