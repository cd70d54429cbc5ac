//! The pools as endpoints of Envoy's clusters.

use super::{Kind, Resource, Resources};
use crate::config::Pool;
use envoy_types::pb::envoy::config::core::v3::address::Address as AnyAddress;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::sync::watch;
use warmpath_core::wire::Role;

/// The name of the resource with the endpoints of all pools. Each pool also has a resource of its own name.
pub const ENGINES: &str = "engines";

/// Publishes the endpoints to all streams. Dropping it ends them.
#[derive(Debug, Default)]
pub struct Publisher {
    resources: watch::Sender<Resources>,
}

// === impl Publisher ===

impl Publisher {
    /// What streams follow.
    pub fn subscribe(&self) -> watch::Receiver<Resources> {
        self.resources.subscribe()
    }

    /// Publishes the endpoints of these pools. Streams are sent nothing until the pools have been complete once: a controller
    /// that has just started, and does not know all of them yet, must not empty Envoy's clusters.
    pub fn publish(&self, pools: &[Pool], is_complete: bool) {
        let of_pools = resources(pools);
        self.resources.send_if_modified(|resources| {
            let is_first = is_complete && !resources.is_complete();
            if is_first {
                resources.complete();
            }
            resources.replace(Kind::Endpoints, of_pools) || is_first
        });
    }
}

/// All endpoints of a cluster, in Envoy's terms.
pub fn assignment(cluster: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> ClusterLoadAssignment {
    by_priority(cluster, [addresses.into_iter().collect()])
}

/// Endpoints of a cluster, the preferred ones first. Envoy's own policy takes those of a later set only as far as the earlier ones
/// fail; an endpoint that the filter names is found in any of them.
fn by_priority<const N: usize>(cluster: &str, sets: [BTreeSet<SocketAddr>; N]) -> ClusterLoadAssignment {
    // No locality rather than an empty one: Envoy counts and balances localities.
    let filled = sets.into_iter().filter(|set| !set.is_empty());
    let locality = |(priority, set): (u32, BTreeSet<SocketAddr>)| LocalityLbEndpoints {
        lb_endpoints: set.into_iter().map(lb_endpoint).collect(),
        priority,
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: (0..).zip(filled).map(locality).collect(),
        ..ClusterLoadAssignment::default()
    }
}

/// Lists endpoints whatever their role and health: the filter decides which of them a request may go to. Those that only prefill
/// come last, for requests that the filter leaves to Envoy are whole.
fn resources(pools: &[Pool]) -> Vec<Resource> {
    let sorted = |name: &str, pools: &[Pool]| -> Resource {
        let members = || pools.iter().flat_map(|pool| &pool.endpoints);
        let of = |takes: fn(&Role) -> bool| -> BTreeSet<SocketAddr> {
            members().filter(|member| takes(&member.role)).map(|member| member.address).collect()
        };
        let serving = of(|role| *role != Role::Prefill);
        let prefilling = of(|role| *role == Role::Prefill).difference(&serving).copied().collect();
        by_priority(name, [serving, prefilling]).into()
    };
    // A pool may have the name `engines`, too: then the resource with all endpoints is the safe one.
    let others = pools.iter().filter(|pool| pool.name != ENGINES);
    let of_pool = |pool: &Pool| sorted(&pool.name, std::slice::from_ref(pool));
    std::iter::once(sorted(ENGINES, pools)).chain(others.map(of_pool)).collect()
}

fn lb_endpoint(address: SocketAddr) -> LbEndpoint {
    let address = SocketAddress {
        address: address.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
        ..SocketAddress::default()
    };
    let address = Address { address: Some(AnyAddress::SocketAddress(address)) };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}
