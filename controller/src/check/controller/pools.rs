//! The pools: whether each has endpoints and models.

use crate::api::{PoolState, StatePage};
use crate::check::finding::{Check, Findings, Level};

static SOME: Check = Check {
    id: "pool.some",
    worst: Level::Error,
    why: "without a pool there is nothing to route to",
    remedy: "name the engines in the controller's file; in a cluster, create an InferencePool, or name labels in \
             kubernetes.pools",
};

static ENDPOINTS: Check = Check {
    id: "pool.endpoints",
    worst: Level::Error,
    why: "requests for the pool's models get 503",
    remedy: "start engines; in a cluster, check that pods with the labels of the pool's selector are ready",
};

static USABLE: Check = Check {
    id: "pool.usable",
    worst: Level::Error,
    why: "no engine of the pool can be scraped: requests go to any of them, without knowledge of their load",
    remedy: "check that the controller reaches the engines' ports and /metrics: the cause may be a NetworkPolicy, STRICT \
             mTLS (use a PeerAuthentication with portLevelMtls PERMISSIVE), or a wrong port",
};

static MODELS: Check = Check {
    id: "pool.models",
    worst: Level::Error,
    why: "no request can name the pool",
    remedy: "name models in the pool or in the annotation warmpath.dev/models, or find out why its engines list none on \
             /v1/models",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 4] = [&SOME, &ENDPOINTS, &USABLE, &MODELS];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    to.judge(&SOME, !state.pools.is_empty(), "", format!("pools: {}", state.pools.len()));
    for pool in &state.pools {
        check_pool(pool, to);
    }
}

fn check_pool(pool: &PoolState, to: &mut Findings) {
    let subject = format!("pool {}", pool.name);
    let all = pool.endpoints.len();
    let waits = pool.hold.as_ref().is_some_and(|hold| hold.endpoint_s > 0);
    let (level, seen) = match all {
        // It may be scaled to zero.
        0 if waits => (Level::Ok, ", and requests wait for one"),
        0 => (Level::Error, ""),
        _ => (Level::Ok, ""),
    };
    to.add(&ENDPOINTS, level, &subject, format!("endpoints: {all}{seen}"));
    let models = if pool.models.is_empty() { "none".to_owned() } else { pool.models.join(", ") };
    to.judge(&MODELS, !pool.models.is_empty() || !pool.adapters.is_empty(), &subject, models);
    if all > 0 {
        let failing = pool.endpoints.iter().filter(|endpoint| endpoint.health == "unhealthy").count();
        to.judge(&USABLE, failing < all, &subject, format!("the scrapes of {failing} of {all} fail"));
    }
}
