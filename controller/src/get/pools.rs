//! `warmpath get pools`: what each pool serves, how many of its endpoints may be chosen, and how warm it is.

use super::Rows;
use super::words::{UNKNOWN, age, names, or_unknown, share, short};
use crate::api::{EndpointState, PoolState, StatePage};
use warmpath_core::num::u64_len;

pub(super) fn rows(state: &StatePage, is_wide: bool) -> Rows {
    let mut headings = vec![
        "NAME", "MODELS", "READY", "RUNNING", "WAITING", "HELD", "OLDEST", "CACHED", "TRANSFER", "SCRAPED",
    ];
    if is_wide {
        headings.extend([
            "ADAPTERS",
            "REQUESTS",
            "HELD-CELLS",
            "BYTES/TOKEN",
            "PREFILL",
            "DECODE",
            "NO-ROOM",
            "NO-ENDPOINT",
        ]);
    }
    Rows { headings, rows: state.pools.iter().map(|pool| row(pool, is_wide)).collect() }
}

fn row(pool: &PoolState, is_wide: bool) -> Vec<String> {
    let endpoints = &pool.endpoints;
    let sum = |of: fn(&EndpointState) -> u64| short(endpoints.iter().map(of).sum());
    let ready = |is_in: &dyn Fn(&EndpointState) -> bool| {
        let (ready, all) = endpoints
            .iter()
            .filter(|endpoint| is_in(endpoint))
            .fold((0, 0), |(ready, all), endpoint| (ready + usize::from(is_ready(endpoint)), all + 1));
        format!("{ready}/{all}")
    };
    // Where no request may wait, zero would say that none had to.
    let held = |count: usize| pool.hold.as_ref().map_or_else(|| UNKNOWN.to_owned(), |_| count.to_string());
    let mut row = vec![
        pool.name.clone(),
        names(&pool.models),
        ready(&|_| true),
        sum(|endpoint| u64::from(endpoint.running)),
        sum(|endpoint| u64::from(endpoint.waiting)),
        held(pool.held_for_room.requests + pool.held_for_endpoint.requests),
        waited(pool),
        share(pool.cached_share),
        or_unknown(pool.transfer.as_ref().map(|transfer| transfer.protocol.as_str())),
        oldest(endpoints),
    ];
    if is_wide {
        row.extend([
            names(&pool.adapters),
            sum(|endpoint| u64::from(endpoint.requests)),
            sum(|endpoint| u64_len(endpoint.held_cells)),
            format!("{:.1}", pool.bytes_per_token),
            ready(&|endpoint| endpoint.role == "prefill"),
            ready(&|endpoint| endpoint.role == "decode"),
            held(pool.held_for_room.requests),
            held(pool.held_for_endpoint.requests),
        ]);
    }
    row
}

/// Whether it may get requests.
pub(super) fn is_ready(endpoint: &EndpointState) -> bool {
    endpoint.fitness == "fit" && endpoint.health != "unhealthy"
}

/// The age of the oldest of the endpoints' last successful scrapes.
fn oldest(endpoints: &[EndpointState]) -> String {
    let ages: Option<Vec<u64>> = endpoints.iter().map(|endpoint| endpoint.scraped_ms).collect();
    ages.and_then(|ages| ages.into_iter().max()).map_or_else(|| UNKNOWN.to_owned(), age)
}

/// How long the oldest held request has waited.
fn waited(pool: &PoolState) -> String {
    let held = [pool.held_for_room, pool.held_for_endpoint];
    let ages = held.iter().filter(|held| held.requests > 0).map(|held| held.oldest_ms);
    ages.max().map_or_else(|| UNKNOWN.to_owned(), age)
}
