//! A view as a list of events: the snapshot for a proxy that connects, and the checkpoint for a VM that
//! starts. Applied to an empty view in order, they rebuild it except for recency, failures, and learned speeds and
//! ratios, which a few requests restore. Ages are those of the moment of the export.

use super::{Endpoint, Pool, View, Wake};
use crate::limits::EVENTS_PER_MESSAGE_MAX;
use crate::time::Timestamp;
use crate::wire::{self, Current, Event, Kind, Pools, Prefix, Proxies, Routed, Stored};

impl View {
    /// The events that rebuild this view. Each prefix continues the one before it: a receiver reads them through a
    /// [`crate::wire::PrefixDecoder`].
    pub fn export(&self, now: Timestamp) -> Vec<Event> {
        let mut events = self.export_endpoints();
        self.export_learned(now, |event| events.push(event));
        self.admissions.export_held(now, |held| events.push(Kind::Held(held).into()));
        events
    }

    /// What [`View::export`] has of prefixes, reports, what is expected, stored responses, conversations and how pools wake, one by
    /// one. The requests that wait are not among it: they are published again every few seconds, and what is stored of them for longer is wrong.
    pub fn export_learned(&self, now: Timestamp, mut each: impl FnMut(Event)) {
        self.prefixes.walk(|visit| {
            let (endpoints, held) = visit
                .holders
                .iter()
                .filter_map(|holder| Some((self.endpoint(holder.slot)?.id.0, u32::from(holder.held))))
                .unzip();
            let depth = crate::num::u32_len(visit.depth);
            each(Prefix { depth, cells: visit.cells.to_vec(), endpoints, held }.into());
        });
        for (key, (slot, adapter), chain) in self.expected.iter() {
            let Some(endpoint) = self.endpoint(slot) else { continue };
            let cells = chain.iter().map(|cell| cell.0).collect();
            let (endpoint, origin, request) = (endpoint.id.0, key.origin.0, key.request);
            let routed =
                Routed { endpoint, cells, origin, request, turn: None, adapter: adapter.0, decodes: false };
            each(Kind::Routed(routed).into());
        }
        self.export_reported(&mut each);
        for (response, endpoint) in self.stored.iter() {
            each(Kind::Stored(Stored { response: response.0, endpoint: endpoint.0 }).into());
        }
        for pool in &self.pools {
            // Also that nothing is known: whoever was away may have it that the pool wakes.
            let wake = pool.wake().or_else(|| pool.hold().map(|_| Wake::default()));
            if let Some(wake) = wake {
                each(Kind::WakeTime(wake.export(pool.name(), now)).into());
            }
        }
        self.admissions
            .export_conversations(now, |conversation| each(Kind::Conversation(conversation).into()));
    }

    /// The part of [`View::export`] without which no request can be routed: pools, proxies, engine status and requests in flight.
    pub fn export_endpoints(&self) -> Vec<Event> {
        let mut events = Vec::with_capacity(EVENTS_PER_MESSAGE_MAX.min(1 + 2 * self.endpoints.len()));
        events.push(
            Kind::Pools(Pools { pools: self.pools.iter().map(|pool| self.export_pool(pool)).collect() })
                .into(),
        );
        if !self.proxies.is_empty() {
            events.push(
                Kind::Proxies(Proxies { processes: self.proxies.iter().map(|process| process.0).collect() })
                    .into(),
            );
        }
        for (_, endpoint) in self.endpoints() {
            let status = *endpoint.status();
            if status.endpoint != 0 {
                events.push(Kind::EngineStatus(status).into());
            }
            events.extend(endpoint.in_flight_reports().map(|report| Event::from(Kind::InFlight(report))));
        }
        if self.statuses_at.is_some() {
            events.push(Kind::Current(Current {}).into());
        }
        events
    }

    pub(super) fn export_pool(&self, pool: &Pool) -> wire::Pool {
        let endpoints = pool.slots().iter().filter_map(|slot| self.endpoint(*slot));
        wire::Pool {
            name: pool.name().to_owned(),
            models: pool.models().to_vec(),
            adapters: pool.adapters().to_vec(),
            endpoints: endpoints.map(export_endpoint).collect(),
            listed: pool.listed().to_vec(),
            rewrites: pool.rewrites().to_vec(),
            objectives: pool.objectives().to_vec(),
            weight: pool.weight(),
            transfer: pool.transfer().cloned(),
            hold: pool.hold().cloned(),
            prompt_format: pool.prompt_format().cloned().map(Box::new),
        }
    }
}

fn export_endpoint(endpoint: &Endpoint) -> wire::PoolEndpoint {
    wire::PoolEndpoint {
        address: endpoint.address.clone(),
        identity: endpoint.identity,
        role: endpoint.role.into(),
        engine: endpoint.engine.clone(),
    }
}
