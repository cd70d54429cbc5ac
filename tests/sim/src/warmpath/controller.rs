//! The controller: its own hub over its own index, without the servers around them.
//!
//! What `controller/src/{run/serve,publish/session}.rs` do by timers and sockets is done here by the agenda.

use crate::workload::mix;
use bytes::Bytes;
use fnv::FnvHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use warmpath::index::Index;
use warmpath::metrics::Metrics;
use warmpath::publish::{Hub, StreamId};
use warmpath_core::ids::InstanceId;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::router::UplinkId;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{EngineStatus, Kind, Pools, decode_up};

/// Time between two ticks of the hub, in milliseconds.
pub(super) const TICK_MS: u64 = 250;
/// How long a restart takes, in milliseconds.
pub(super) const RESTART_MS: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    /// `None` while it restarts.
    hub: Option<Hub>,
    instance: InstanceId,
    pools: Pools,
    /// The last status of each engine that was published.
    statuses: FnvHashMap<u64, EngineStatus>,
    /// In the order in which they were opened.
    sessions: BTreeMap<u32, StreamId>,
}

// === impl Controller ===

impl Controller {
    /// A controller whose file names these pools.
    pub(super) fn new(pools: Pools, now: Timestamp) -> Self {
        let mut controller = Self {
            hub: None,
            instance: InstanceId(0),
            pools,
            statuses: FnvHashMap::default(),
            sessions: BTreeMap::new(),
        };
        controller.start(now);
        controller
    }

    /// Starts as a new instance that knows nothing but its file.
    pub(super) fn start(&mut self, now: Timestamp) {
        self.instance.0 += 1;
        let index = Index::new(self.instance, CELL_BYTES_DEFAULT, mix(self.instance.0));
        let mut hub = Hub::new(index, Arc::new(Metrics::default()));
        hub.publish(Kind::Pools(self.pools.clone()), now);
        self.hub = Some(hub);
        self.statuses.clear();
    }

    /// Stops. Returns the streams that end.
    pub(super) fn stop(&mut self) -> Vec<UplinkId> {
        self.hub = None;
        std::mem::take(&mut self.sessions).into_keys().map(UplinkId).collect()
    }

    /// Its file names other pools.
    pub(super) fn set_pools(&mut self, pools: Pools, now: Timestamp) {
        self.pools = pools;
        if let Some(hub) = &mut self.hub {
            hub.publish(Kind::Pools(self.pools.clone()), now);
        }
    }

    /// What it makes of its engines' reports.
    pub(super) fn publish(&mut self, events: Vec<Kind>, now: Timestamp) {
        let Some(hub) = &mut self.hub else { return };
        for event in events {
            hub.publish(event, now);
        }
    }

    /// An engine's metrics were read.
    pub(super) fn scraped(&mut self, status: EngineStatus, now: Timestamp) {
        let Some(hub) = &mut self.hub else { return };
        if self.statuses.insert(status.endpoint, status) != Some(status) {
            hub.publish(Kind::EngineStatus(status), now);
        }
    }

    /// A message of a proxy; the first of a stream opens it. `false`: nobody takes it, and the stream ends.
    pub(super) fn receive(&mut self, uplink: UplinkId, message: &[u8], now: Timestamp) -> bool {
        let Some(hub) = &mut self.hub else { return false };
        let up = decode_up(message).expect("routers send what the controller reads");
        let stream = match (self.sessions.get(&uplink.0), &up.hello) {
            (Some(stream), None) => *stream,
            (None, Some(hello)) => hub.join(hello).expect("few proxies are simulated").0,
            // A stream whose beginning came before the restart.
            (None, None) => return false,
            (Some(_), Some(_)) => unreachable!("a router introduces itself once"),
        };
        self.sessions.insert(uplink.0, stream);
        hub.receive(stream, up.events, now);
        true
    }

    /// A stream has ended.
    pub(super) fn closed(&mut self, uplink: UplinkId, now: Timestamp) {
        if let (Some(hub), Some(stream)) = (&mut self.hub, self.sessions.remove(&uplink.0)) {
            hub.leave(stream, now);
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        if let Some(hub) = &mut self.hub {
            hub.tick(now);
        }
    }

    /// The hub; `None` while it restarts.
    #[cfg(test)]
    pub(super) fn hub(&self) -> Option<&Hub> {
        self.hub.as_ref()
    }

    /// All that is to be sent now.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<(UplinkId, Bytes)> {
        let mut messages = Vec::new();
        let Some(hub) = &mut self.hub else { return messages };
        for (id, stream) in &self.sessions {
            while let Some(batch) = hub.take(*stream, now) {
                messages.extend(batch.messages().map(|message| (UplinkId(*id), message)));
            }
        }
        messages
    }
}
