//! Held requests: whether their waits can end well.

use super::engines::judge;
use crate::api::{EndpointState, HeldState, PoolState, StatePage};
use crate::check::finding::{Check, Findings, Level};

const MS_PER_S: u64 = 1_000;
/// Hundredths of the longest wait from which a request has waited for nearly all of it.
const NEARLY_PERCENT: u64 = 90;

static ENDPOINT: Check = Check {
    id: "hold.endpoint",
    worst: Level::Warning,
    why: "the pool has no endpoint now, and requests do not wait for one: a client that comes while the pool is scaled to zero, \
          or while its pods start, gets 503",
    remedy: "if that is meant to happen, set the pool's hold.endpoint_s (or the annotation warmpath.dev/hold-endpoint) to the \
             time that an engine takes to start, and some more",
};

static CAPACITY: Check = Check {
    id: "hold.room-capacity",
    worst: Level::Warning,
    why: "requests wait for room in KV caches of which nobody knows how large they are: the engine reports no capacity, and \
          300,000 tokens are assumed",
    remedy: "enable the engine's metrics (engine.metrics), or remove the pool's hold.room_s",
};

static OLDEST: Check = Check {
    id: "hold.oldest",
    worst: Level::Warning,
    why: "requests wait for nearly as long as they may: more conversations come than the engines can hold, or the pool does \
          not wake",
    remedy: "add engines; for requests that wait for an endpoint, find out why none becomes ready. A longer wait helps only \
             against a peak",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 3] = [&ENDPOINT, &CAPACITY, &OLDEST];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    for pool in &state.pools {
        check_pool(pool, to);
    }
}

fn check_pool(pool: &PoolState, to: &mut Findings) {
    let subject = format!("pool {}", pool.name);
    let (room_s, endpoint_s) = pool.hold.as_ref().map_or((0, 0), |hold| (hold.room_s, hold.endpoint_s));
    if pool.endpoints.is_empty() {
        let seen = match endpoint_s {
            0 => "requests do not wait".to_owned(),
            seconds => format!("requests wait for up to {seconds} s"),
        };
        to.judge(&ENDPOINT, endpoint_s > 0, &subject, seen);
    }
    if room_s > 0 {
        let scraped = pool.endpoints.iter().filter(|endpoint| endpoint.health == "healthy");
        let scraped: Vec<&EndpointState> = scraped.collect();
        judge(&CAPACITY, &subject, &scraped, |endpoint| endpoint.capacity_is_known == Some(false), to);
    }
    for (held, seconds, what) in
        [(pool.held_for_room, room_s, "room"), (pool.held_for_endpoint, endpoint_s, "an endpoint")]
    {
        check_oldest(held, seconds, (&subject, what), to);
    }
}

fn check_oldest(held: HeldState, seconds: u32, (subject, what): (&str, &str), to: &mut Findings) {
    if held.requests > 0 && seconds > 0 {
        let is_ok = held.oldest_ms.saturating_mul(100) < u64::from(seconds) * MS_PER_S * NEARLY_PERCENT;
        let oldest_s = held.oldest_ms / MS_PER_S;
        let seen = format!("{} wait for {what}, the oldest for {oldest_s} s of {seconds} s", held.requests);
        to.judge(&OLDEST, is_ok, subject, seen);
    }
}
