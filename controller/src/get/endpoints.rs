//! `warmpath get endpoints`: the load, the cache and the speed of each engine.

use super::Rows;
use super::words::{UNKNOWN, age, or_unknown, per_second, share, short};
use crate::api::{EndpointState, PoolState, StatePage};
use serde::Serialize;
use warmpath_core::num::u64_len;

/// An endpoint with the name of its pool.
#[derive(Debug, Serialize)]
pub(super) struct InPool<'a> {
    pool: &'a str,
    #[serde(flatten)]
    endpoint: &'a EndpointState,
}

/// The endpoints of all pools.
pub(super) fn json(state: &StatePage) -> Vec<InPool<'_>> {
    all(state).map(|(pool, endpoint)| InPool { pool: &pool.name, endpoint }).collect()
}

pub(super) fn rows(state: &StatePage, is_wide: bool) -> Rows {
    let mut headings = vec![
        "ADDRESS", "POD", "POOL", "ROLE", "STATE", "RUNNING", "WAITING", "KV", "HELD", "CACHED", "PREFILL",
    ];
    if is_wide {
        headings.extend([
            "ENGINE",
            "REQUESTS",
            "PREFILLS",
            "CELLS",
            "CAPACITY",
            "BELOW-GPU",
            "TRUST",
            "SCRAPED",
        ]);
    }
    Rows { headings, rows: all(state).map(|(pool, endpoint)| row(pool, endpoint, is_wide)).collect() }
}

fn all(state: &StatePage) -> impl Iterator<Item = (&PoolState, &EndpointState)> {
    state.pools.iter().flat_map(|pool| pool.endpoints.iter().map(move |endpoint| (pool, endpoint)))
}

fn row(pool: &PoolState, endpoint: &EndpointState, is_wide: bool) -> Vec<String> {
    let mut row = vec![
        endpoint.address.clone(),
        or_unknown(endpoint.pod.as_deref()),
        pool.name.clone(),
        or_unknown(Some(&endpoint.role)),
        condition(endpoint).to_owned(),
        endpoint.running.to_string(),
        endpoint.waiting.to_string(),
        format!("{}%", endpoint.kv_used_permille / 10),
        held(endpoint),
        share(endpoint.cached_share),
        endpoint.prefill_s_per_token.map_or_else(|| UNKNOWN.to_owned(), per_second),
    ];
    if is_wide {
        row.extend([
            or_unknown(endpoint.engine.as_deref()),
            endpoint.requests.to_string(),
            endpoint.prefills.to_string(),
            short(u64_len(endpoint.held_cells)),
            short(endpoint.capacity_tokens),
            short(endpoint.kv_below_gpu_tokens),
            or_unknown(endpoint.kv.as_ref().map(|kv| kv.trust.as_str())),
            endpoint.scraped_ms.map_or_else(|| UNKNOWN.to_owned(), age),
        ]);
    }
    row
}

/// Health and fitness in one word. Fitness takes precedence, because it decides.
fn condition(endpoint: &EndpointState) -> &str {
    if endpoint.fitness == "fit" { &endpoint.health } else { &endpoint.fitness }
}

/// The share of its capacity that it is believed to hold.
fn held(endpoint: &EndpointState) -> String {
    match endpoint.capacity_cells {
        0 => UNKNOWN.to_owned(),
        capacity => format!("{}%", endpoint.held_cells.saturating_mul(100) / capacity),
    }
}
