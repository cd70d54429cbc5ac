//! What is to be seen of a service at one moment, as plain values: the only part that reads the hub and the cluster.

use super::pool_of;
use crate::config::ObjectName;
use crate::publish::Hub;
use crate::telemetry::Ended;
use crate::watch::EnginePod;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use warmpath_core::ids::Slot;
use warmpath_core::num::{float, u64_len};
use warmpath_core::view::{Endpoint, Pool};
use warmpath_core::wire::{HeldFor, Role};

/// What is to be seen of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Its engines that take requests.
    pub(super) endpoints: Vec<EndpointLook>,
    /// Its replicas, by the name of the pod that takes the requests, or of the first that does.
    pub(super) replicas: BTreeMap<String, ReplicaLook>,
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
    /// The replica that it is in, if that is known: several endpoints may be of one.
    pub(super) replica: Option<String>,
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

/// A replica of a service: a pod, or a group of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReplicaLook {
    /// The role's name.
    pub(super) role: String,
    /// Distinguishes it from an earlier one of the same name.
    pub(super) identity: u64,
    /// Whether all of it takes requests.
    pub(super) is_ready: bool,
    /// Whether its engine sleeps, or wakes.
    pub(super) is_asleep: bool,
    pub(super) is_leaving: bool,
    /// Its pods that take requests, or will.
    pub(super) endpoints: BTreeSet<String>,
    /// Why it does not come up, in words, with the pod.
    pub(super) trouble: Option<String>,
    /// How long the slowest of those pods took to become ready, in seconds, if that is known of all of them.
    pub(super) took_s: Option<u64>,
}

/// Requests that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct HeldLook {
    /// Those for which no engine is there.
    pub(super) requests: u64,
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
        hub: &Hub,
        addresses: &BTreeMap<SocketAddr, ObjectName>,
    ) -> Self {
        let view = hub.index().view();
        let name = pool_of(name);
        let pool = view.pools().iter().find(|pool| pool.name() == name);
        let slots = pool.into_iter().flat_map(|pool| pool.slots().iter().map(move |slot| (pool, *slot)));
        let replicas = replicas(pods);
        let pods_of = |(name, replica): (&'_ String, &'_ ReplicaLook)| -> Vec<(String, String)> {
            replica.endpoints.iter().map(|pod| (pod.clone(), name.clone())).collect()
        };
        let of_pod: BTreeMap<String, String> = replicas.iter().flat_map(pods_of).collect();
        let endpoint = |(pool, slot): (&Pool, Slot)| {
            let endpoint = view.endpoint(slot)?;
            let pod = endpoint.address.parse().ok().and_then(|address| addresses.get(&address));
            let replica = pod.and_then(|pod| of_pod.get(pod.name.as_str()));
            let (cells, _) = view.prefixes().held(slot);
            let cell_tokens =
                float(u64_len(view.cell_bytes())) / pool.bytes_per_token().max(f64::MIN_POSITIVE);
            let held_tokens = float(u64_len(cells)) * cell_tokens;
            Some(endpoint_look(endpoint, replica, held_tokens))
        };
        Self {
            endpoints: slots.filter_map(endpoint).collect(),
            held: pool.map(|pool| held(hub, pool)).unwrap_or_default(),
            output_tokens: pool.map(Pool::output_tokens).unwrap_or_default(),
            is_deaf: hub.is_deaf(),
            replicas,
        }
    }

    /// Whether replicas of a role are about to be ready: some start, or so many are `wanted` and nothing keeps them from it.
    pub(super) fn is_growing(&self, role: &str, wanted: u32) -> bool {
        let (mut there, mut starts) = (0, false);
        for replica in self.replicas.values().filter(|it| it.role == role && !it.is_leaving) {
            let is_stuck = replica.trouble.is_some();
            there += u32::from(replica.is_ready || is_stuck);
            starts |= !replica.is_ready && !replica.is_asleep && !is_stuck;
        }
        starts || there < wanted
    }
}

/// The replicas that pods are of.
fn replicas(pods: &BTreeMap<&str, &EnginePod>) -> BTreeMap<String, ReplicaLook> {
    let mut groups: BTreeMap<(&str, Result<&str, &str>), ReplicaLook> = BTreeMap::new();
    for (name, pod) in pods {
        let key = (pod.role.as_str(), pod.group.as_deref().ok_or(*name));
        let replica = groups.entry(key).or_insert_with(|| ReplicaLook {
            role: pod.role.clone(),
            is_ready: true,
            ..ReplicaLook::default()
        });
        replica.is_leaving |= pod.is_leaving;
        if let (None, Some(trouble)) = (&replica.trouble, &pod.trouble) {
            replica.trouble = Some(format!("pod {name}: {trouble}"));
        }
        if pod.is_endpoint {
            replica.is_ready &= pod.is_ready && pod.asleep.is_none();
            replica.is_asleep |= pod.asleep.is_some();
            replica.identity ^= pod.identity;
            let is_first = replica.endpoints.is_empty();
            replica.took_s = if is_first {
                pod.took_s
            } else {
                replica.took_s.zip(pod.took_s).map(|(one, other)| one.max(other))
            };
            replica.endpoints.insert((*name).to_owned());
        }
    }
    // Workers without the pod that they work for serve nobody, and are soon gone.
    let named = groups.into_values().filter_map(|it| Some((it.endpoints.first()?.clone(), it)));
    named.collect()
}

fn endpoint_look(endpoint: &Endpoint, replica: Option<&String>, held_tokens: f64) -> EndpointLook {
    let (status, in_flight) = (endpoint.status(), endpoint.in_flight());
    let speed = endpoint.measured_speed();
    EndpointLook {
        address: endpoint.address.clone(),
        replica: replica.cloned(),
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

fn held(hub: &Hub, pool: &Pool) -> HeldLook {
    let queue = hub.index().view().admission(pool.name()).into_iter().flat_map(|gate| gate.queue().iter());
    queue.fold(HeldLook::default(), |sum, one| HeldLook {
        requests: sum.requests + u64::from(one.held_for == HeldFor::Endpoint),
        tokens: sum.tokens + float(one.asked.own_tokens()),
        all: sum.all + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::replicas;
    use crate::watch::EnginePod;
    use std::collections::BTreeMap;

    #[test]
    fn a_group_of_pods_is_one_replica_and_ready_with_the_last_of_those_that_take_requests() {
        let pod = |group: Option<&str>, is_endpoint, is_ready| EnginePod {
            role: "decode".to_owned(),
            group: group.map(str::to_owned),
            is_endpoint,
            is_ready,
            ..EnginePod::default()
        };
        let worker =
            EnginePod { trouble: Some("no node has room for it".to_owned()), ..pod(Some("1"), false, false) };
        let took = |took_s, pod| EnginePod { took_s: Some(took_s), ..pod };
        let pods = [
            ("x-0", took(20, pod(Some("0"), true, true))),
            ("x-0-1", pod(Some("0"), true, false)),
            ("x-1", took(90, pod(Some("1"), true, true))),
            ("x-1-1", worker),
            ("alone", pod(None, true, true)),
            ("x-2-1", pod(Some("2"), false, true)),
        ];
        let found = replicas(&pods.iter().map(|(name, pod)| (*name, pod)).collect::<BTreeMap<_, _>>());
        let ready: Vec<(&str, bool)> = found.iter().map(|(name, it)| (name.as_str(), it.is_ready)).collect();
        assert_eq!(ready, [("alone", true), ("x-0", false), ("x-1", true)]);
        assert_eq!(found["x-1"].trouble.as_deref(), Some("pod x-1-1: no node has room for it"));
        assert_eq!(found["x-0"].endpoints.len(), 2);
        assert_eq!(
            (found["x-0"].took_s, found["x-1"].took_s),
            (None, Some(90)),
            "its second pod starts still"
        );
    }
}
