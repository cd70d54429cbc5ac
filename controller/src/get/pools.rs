//! `warmpath get pools`: what each pool serves, how many of its endpoints may be chosen, and how warm it is.

use super::Rows;
use super::words::{UNKNOWN, age, names, share, short};
use crate::api::{EndpointState, PoolState, StatePage};
use warmpath_core::num::u64_len;

pub(super) fn rows(state: &StatePage, is_wide: bool) -> Rows {
    let mut headings = vec!["NAME", "MODELS", "READY", "RUNNING", "WAITING", "CACHED", "SCRAPED"];
    if is_wide {
        headings.extend(["ADAPTERS", "REQUESTS", "HELD-CELLS", "BYTES/TOKEN"]);
    }
    Rows { headings, rows: state.pools.iter().map(|pool| row(pool, is_wide)).collect() }
}

fn row(pool: &PoolState, is_wide: bool) -> Vec<String> {
    let endpoints = &pool.endpoints;
    let sum = |of: fn(&EndpointState) -> u64| short(endpoints.iter().map(of).sum());
    let ready = endpoints.iter().filter(|endpoint| is_ready(endpoint)).count();
    let mut row = vec![
        pool.name.clone(),
        names(&pool.models),
        format!("{ready}/{}", endpoints.len()),
        sum(|endpoint| u64::from(endpoint.running)),
        sum(|endpoint| u64::from(endpoint.waiting)),
        share(pool.cached_share),
        oldest(endpoints),
    ];
    if is_wide {
        row.extend([
            names(&pool.adapters),
            sum(|endpoint| u64::from(endpoint.requests)),
            sum(|endpoint| u64_len(endpoint.held_cells)),
            format!("{:.1}", pool.bytes_per_token),
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
