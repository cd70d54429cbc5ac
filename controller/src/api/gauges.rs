//! The gauges that show the present state, set when the metrics page is requested.

use super::held::{REASONS, Waiting, waiting};
use super::state::{label, scraped};
use crate::events::knowledge::Knowledge;
use crate::metrics::{EndpointLabels, Metrics};
use crate::publish::Hub;
use crate::telemetry::Fleet;
use warmpath_core::ids::Slot;
use warmpath_core::num::{float, u64_len};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Endpoint, Pool};
use warmpath_core::wire::Health;

/// Sets all of them.
pub(super) fn set(hub: &Hub, fleet: &Fleet, metrics: &Metrics, now: Timestamp) {
    let view = hub.index().view();
    metrics.generation.set(signed(hub.index().generation().0));
    metrics.view_cells.set(signed(u64_len(view.prefixes().cells())));
    metrics.endpoints.clear();
    metrics.engines.clear();
    metrics.held.clear();
    for pool in view.pools() {
        let endpoints: Vec<_> =
            pool.slots().iter().filter_map(|slot| Some((*slot, view.endpoint(*slot)?))).collect();
        for health in [Health::Unknown, Health::Healthy, Health::Unhealthy] {
            let count = endpoints.iter().filter(|(_, endpoint)| scraped(fleet, endpoint) == health).count();
            let labels = [("pool", pool.name().to_owned()), ("health", label(health).to_owned())];
            metrics.endpoints.get_or_create(&labels).set(signed(u64_len(count)));
        }
        set_held(hub, metrics, pool, now);
        for (slot, endpoint) in endpoints {
            set_endpoint(hub, fleet, metrics, pool, (slot, endpoint));
        }
    }
}

fn set_held(hub: &Hub, metrics: &Metrics, pool: &Pool, now: Timestamp) {
    let Some(gate) = hub.index().view().admission(pool.name()) else { return };
    if gate.hold().room_ms_max > 0 {
        let labels = [("pool", pool.name().to_owned())];
        metrics.held.gate_on.get_or_create(&labels).set(i64::from(gate.is_on()));
        metrics.held.gate_lost.get_or_create(&labels).set(gate.lost_share());
    }
    for (reason, label) in REASONS {
        let Waiting { requests, oldest_ms, body_bytes } =
            waiting(hub.index().view(), pool.name(), reason, now);
        let labels = [("pool", pool.name().to_owned()), ("reason", label.to_owned())];
        metrics.held.requests.get_or_create(&labels).set(signed(u64_len(requests)));
        metrics.held.oldest_seconds.get_or_create(&labels).set(float(oldest_ms) / 1000.0);
        metrics.held.body_bytes.get_or_create(&labels).set(signed(body_bytes));
    }
}

fn set_endpoint(
    hub: &Hub,
    fleet: &Fleet,
    metrics: &Metrics,
    pool: &Pool,
    (slot, endpoint): (Slot, &Endpoint),
) {
    let engines = &metrics.engines;
    let labels: EndpointLabels = [("pool", pool.name().to_owned()), ("endpoint", endpoint.address.clone())];
    let (status, in_flight) = (endpoint.status(), endpoint.in_flight());
    let (held, _) = hub.index().view().prefixes().held(slot);
    let health = i64::from(scraped(fleet, endpoint) == Health::Healthy);
    engines.healthy.get_or_create(&labels).set(health);
    engines.running.get_or_create(&labels).set(i64::from(status.running));
    engines.waiting.get_or_create(&labels).set(i64::from(status.waiting));
    engines.kv_used.get_or_create(&labels).set(float(u64::from(status.kv_used_permille)) / 1000.0);
    engines.capacity_tokens.get_or_create(&labels).set(signed(endpoint.cache_tokens()));
    engines.in_flight.get_or_create(&labels).set(i64::from(in_flight.requests));
    engines.held_cells.get_or_create(&labels).set(signed(u64_len(held)));
    for (class, count) in hub.outcomes_of(endpoint.id) {
        let [pool, endpoint] = labels.clone();
        let labels = [pool, endpoint, ("class", class.to_owned())];
        engines.outcomes.get_or_create(&labels).inc_by(count);
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Sets the gauges of what is known of engines' caches.
pub(super) fn set_knowledge(knowledge: &Knowledge, metrics: &Metrics) {
    let counts = knowledge.caches().counts();
    let fates = [
        ("stored", counts.stored),
        ("removed", counts.removed),
        ("orphan", counts.orphans),
        ("lost", counts.lost),
        ("unknown_tokens", counts.unknown_tokens),
        ("opaque", counts.opaque),
        ("beyond", counts.beyond),
    ];
    for (fate, count) in fates {
        metrics.kv.blocks.get_or_create(&[("fate", fate)]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    metrics.kv.formats.clear();
    for (pool, prompt) in knowledge.prompts() {
        metrics.kv.formats.get_or_create(&[("pool", pool)]).set(i64::from(prompt.is_written));
    }
}
