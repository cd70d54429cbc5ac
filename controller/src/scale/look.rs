//! What is to be seen of a service at one moment, as plain values: the only part that reads the hub and the cluster.

use super::pool_of;
use crate::config::ObjectName;
use crate::publish::Hub;
use crate::telemetry::Ended;
use crate::watch::EnginePod;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use warmpath_core::ids::Slot;
use warmpath_core::num::{float, u64_len};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Endpoint, Pool};
use warmpath_core::wire::{HeldFor, Role};

/// What is to be seen of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Its engines that take requests.
    pub(super) endpoints: Vec<EndpointLook>,
    /// Its pods that take requests, or will, by their names.
    pub(super) pods: BTreeMap<String, PodLook>,
    /// The requests that proxies hold for it.
    pub(super) held: HeldLook,
    /// Tokens of a response, as proxies expect it.
    pub(super) output_tokens: f64,
    /// Whether nothing of any proxy is received.
    pub(super) is_deaf: bool,
}

/// An engine that takes requests.
#[derive(Clone, Debug, Default)]
pub(super) struct EndpointLook {
    /// Where it listens.
    pub(super) address: String,
    /// The pod that it is in, if that is known.
    pub(super) pod: Option<String>,
    /// The legs that it takes.
    pub(super) role: Role,
    /// Requests at it, by whichever source shows more.
    pub(super) requests: u64,
    /// Those that it has by its own metrics.
    pub(super) reported: u64,
    /// Those that proxies have there.
    pub(super) in_flight: u64,
    /// Prefill work that was sent and has not ended.
    pub(super) work_tokens: f64,
    /// Seconds for a token's worth of prefill work, if that was learned.
    pub(super) prefill_s_per_token: Option<f64>,
    /// Tokens that its KV cache holds, if it says so.
    pub(super) kv_tokens: Option<f64>,
    /// Tokens of prefixes that it is believed to hold.
    pub(super) held_tokens: f64,
    /// What its responses took since the last look.
    pub(super) ended: Ended,
}

/// A pod of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodLook {
    /// The role's name.
    pub(super) role: String,
    pub(super) is_ready: bool,
    pub(super) is_leaving: bool,
    /// Why it does not come up, in words.
    pub(super) trouble: Option<String>,
}

/// Requests that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct HeldLook {
    /// Those for which no engine is there.
    pub(super) requests: u64,
    /// How long the oldest of these has waited, in seconds.
    pub(super) oldest_s: f64,
    /// Tokens that engines would keep for all that wait, also those that wait for room.
    pub(super) tokens: f64,
    /// How many those are.
    pub(super) all: u64,
}

// === impl Look ===

impl Look {
    /// Of a service with these pods.
    pub(super) fn of(
        name: &ObjectName,
        pods: &BTreeMap<&str, &EnginePod>,
        (hub, addresses): (&Hub, &BTreeMap<SocketAddr, ObjectName>),
        now: Timestamp,
    ) -> Self {
        let view = hub.index().view();
        let pool = view.pools().iter().find(|pool| pool.name() == pool_of(name));
        let slots = pool.into_iter().flat_map(|pool| pool.slots().iter().map(move |slot| (pool, *slot)));
        let endpoint = |(pool, slot): (&Pool, Slot)| {
            let endpoint = view.endpoint(slot)?;
            let pod = endpoint.address.parse().ok().and_then(|address| addresses.get(&address));
            let (cells, _) = view.prefixes().held(slot);
            let cell_tokens =
                float(u64_len(view.cell_bytes())) / pool.bytes_per_token().max(f64::MIN_POSITIVE);
            Some(endpoint_look(endpoint, pod, float(u64_len(cells)) * cell_tokens))
        };
        let pod = |(name, pod): (&&str, &&EnginePod)| {
            let look = PodLook {
                role: pod.role.clone(),
                is_ready: pod.is_ready,
                is_leaving: pod.is_leaving,
                trouble: pod.trouble.clone(),
            };
            ((*name).to_owned(), look)
        };
        Self {
            endpoints: slots.filter_map(endpoint).collect(),
            pods: pods.iter().filter(|(_, pod)| pod.is_endpoint).map(pod).collect(),
            held: pool.map(|pool| held(hub, pool, now)).unwrap_or_default(),
            output_tokens: pool.map(Pool::output_tokens).unwrap_or_default(),
            is_deaf: hub.is_deaf(),
        }
    }
}

fn endpoint_look(endpoint: &Endpoint, pod: Option<&ObjectName>, held_tokens: f64) -> EndpointLook {
    let (status, in_flight) = (endpoint.status(), endpoint.in_flight());
    let speed = endpoint.measured_speed();
    EndpointLook {
        address: endpoint.address.clone(),
        pod: pod.map(|pod| pod.name.clone()),
        role: endpoint.role,
        requests: u64::from(endpoint.requests()),
        reported: u64::from(status.running.saturating_add(status.waiting)),
        in_flight: u64::from(in_flight.requests),
        work_tokens: in_flight.prefill_work.tokens(),
        prefill_s_per_token: speed.learned_s_per_token(),
        kv_tokens: status.capacity_tokens.map(float),
        held_tokens,
        ended: Ended::default(),
    }
}

fn held(hub: &Hub, pool: &Pool, now: Timestamp) -> HeldLook {
    let queue = hub.index().view().admission(pool.name()).into_iter().flat_map(|gate| gate.queue().iter());
    queue.fold(HeldLook::default(), |sum, one| {
        let waits = one.held_for == HeldFor::Endpoint;
        HeldLook {
            requests: sum.requests + u64::from(waits),
            oldest_s: if waits {
                sum.oldest_s.max(float(now.ms_since(one.since)) / 1e3)
            } else {
                sum.oldest_s
            },
            tokens: sum.tokens + float(one.asked.own_tokens()),
            all: sum.all + 1,
        }
    })
}
