//! The pools: whether each has endpoints and models of its own.

use crate::api::{PoolState, StatePage};
use crate::check::finding::{Check, Findings, Level};
use std::collections::BTreeMap;
use warmpath_core::view::ANY_MODEL;

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
    remedy: "start engines; in a cluster, see that pods with the labels of the pool's selector are ready",
};

static USABLE: Check = Check {
    id: "pool.usable",
    worst: Level::Error,
    why: "no engine of the pool can be scraped: requests go to any of them, without knowledge of their load",
    remedy: "see that the controller reaches the engines' ports and /metrics: a NetworkPolicy, STRICT mTLS (a \
             PeerAuthentication with portLevelMtls PERMISSIVE), or a wrong port",
};

static MODELS: Check = Check {
    id: "pool.models",
    worst: Level::Error,
    why: "no request can name the pool",
    remedy: "name models in the pool, in the annotation warmpath.dev/models, or see why its engines list none on /v1/models",
};

static UNIQUE: Check = Check {
    id: "pool.model-unique",
    worst: Level::Error,
    why: "the first of these pools gets all requests for the model, the others none",
    remedy: "let each model be in one pool, or weigh two names in an InferenceModelRewrite",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 5] = [&SOME, &ENDPOINTS, &USABLE, &MODELS, &UNIQUE];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    to.judge(&SOME, !state.pools.is_empty(), "", format!("{} pools", state.pools.len()));
    for pool in &state.pools {
        check_pool(pool, to);
    }
    let mut pools_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pool in &state.pools {
        for model in pool.models.iter().chain(&pool.adapters).filter(|model| *model != ANY_MODEL) {
            pools_of.entry(model).or_default().push(&pool.name);
        }
    }
    for (model, pools) in pools_of.iter().filter(|(_, pools)| pools.len() > 1) {
        to.bad(&UNIQUE, format!("model {model}"), format!("in {}", pools.join(", ")));
    }
    if pools_of.values().all(|pools| pools.len() < 2) {
        to.ok(&UNIQUE, "", format!("{} names", pools_of.len()));
    }
}

fn check_pool(pool: &PoolState, to: &mut Findings) {
    let subject = format!("pool {}", pool.name);
    let all = pool.endpoints.len();
    to.judge(&ENDPOINTS, all > 0, &subject, format!("{all} endpoints"));
    let models = if pool.models.is_empty() { "none".to_owned() } else { pool.models.join(", ") };
    to.judge(&MODELS, !pool.models.is_empty() || !pool.adapters.is_empty(), &subject, models);
    if all > 0 {
        let failing = pool.endpoints.iter().filter(|endpoint| endpoint.health == "unhealthy").count();
        to.judge(&USABLE, failing < all, &subject, format!("the scrapes of {failing} of {all} fail"));
    }
}
