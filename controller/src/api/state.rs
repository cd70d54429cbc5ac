//! `GET /state`: the view as a page of JSON.

use super::Api;
use crate::index::Index;
use crate::telemetry::Fleet;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use warmpath_core::ids::Slot;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Endpoint, View};
use warmpath_core::wire::Health;

/// The state of the controller.
#[derive(Debug, Serialize)]
pub(super) struct StatePage {
    instance: String,
    generation: u64,
    cell_bytes: usize,
    /// Distinct cells over all endpoints.
    cells: usize,
    pools: Vec<PoolState>,
}

#[derive(Debug, Serialize)]
struct PoolState {
    name: String,
    models: Vec<String>,
    adapters: Vec<String>,
    bytes_per_token: f64,
    endpoints: Vec<EndpointState>,
}

#[derive(Debug, Serialize)]
struct EndpointState {
    address: String,
    /// What the scrapes show. Proxies are sent `unknown` where those of the whole pool fail.
    health: &'static str,
    fitness: &'static str,
    /// From the engine's metrics page.
    running: u32,
    waiting: u32,
    kv_used_permille: u32,
    /// Of the GPU.
    capacity_tokens: u64,
    /// In addition to that, in tiers below: as configured, or as the engine reports.
    kv_below_gpu_tokens: u64,
    block_tokens: Option<u32>,
    /// The in-flight work of all proxies.
    requests: u32,
    prefills: u32,
    #[serde(rename = "prefill_tokens")]
    prefill_work: u64,
    context_tokens: u64,
    /// Cells that it holds, and that it can hold on its GPU and below.
    held_cells: usize,
    capacity_cells: usize,
    prefill_s_per_token: f64,
}

/// Responds with the state.
pub(super) async fn show(State(api): State<Api>) -> Json<StatePage> {
    Json(api.shared.with(|hub, now| StatePage::of(hub.index(), &api.fleet, now)))
}

// === impl StatePage ===

impl StatePage {
    fn of(index: &Index, fleet: &Fleet, now: Timestamp) -> Self {
        let view = index.view();
        let pools = view.pools().iter().map(|pool| PoolState {
            name: pool.name().to_owned(),
            models: pool.models().to_vec(),
            adapters: pool.adapters().to_vec(),
            bytes_per_token: pool.bytes_per_token(),
            endpoints: pool
                .slots()
                .iter()
                .filter_map(|slot| Some(EndpointState::of(view, *slot, view.endpoint(*slot)?, fleet, now)))
                .collect(),
        });
        Self {
            instance: index.instance().to_string(),
            generation: index.generation().0,
            cell_bytes: view.cell_bytes(),
            cells: view.prefixes().cells(),
            pools: pools.collect(),
        }
    }
}

// === impl EndpointState ===

impl EndpointState {
    fn of(view: &View, slot: Slot, endpoint: &Endpoint, fleet: &Fleet, now: Timestamp) -> Self {
        let (status, in_flight) = (endpoint.status(), endpoint.in_flight());
        let (held_cells, capacity_cells) = view.prefixes().held(slot);
        Self {
            address: endpoint.address.clone(),
            health: label(scraped(fleet, endpoint)),
            fitness: endpoint.fitness(now).label(),
            running: status.running,
            waiting: status.waiting,
            kv_used_permille: status.kv_used_permille,
            capacity_tokens: endpoint.capacity_tokens,
            kv_below_gpu_tokens: status.kv_below_gpu_tokens,
            block_tokens: status.block_tokens,
            requests: in_flight.requests,
            prefills: in_flight.prefills,
            prefill_work: in_flight.prefill_work.0,
            context_tokens: in_flight.context_tokens,
            held_cells,
            capacity_cells,
            prefill_s_per_token: endpoint.measured_speed().prefill_s_per_token(),
        }
    }
}

pub(super) fn scraped(fleet: &Fleet, endpoint: &Endpoint) -> Health {
    endpoint.address.parse().map_or(endpoint.health, |address| fleet.health(address))
}

/// A health's name in metrics and pages.
pub(super) fn label(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}
