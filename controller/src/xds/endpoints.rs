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
    let endpoints: Vec<LbEndpoint> = addresses.into_iter().map(lb_endpoint).collect();
    // No locality rather than an empty one: Envoy counts and balances localities.
    let localities = (!endpoints.is_empty())
        .then(|| LocalityLbEndpoints { lb_endpoints: endpoints, ..LocalityLbEndpoints::default() });
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: localities.into_iter().collect(),
        ..ClusterLoadAssignment::default()
    }
}

/// Lists endpoints whatever their role and health: the filter decides which of them a request may go to.
fn resources(pools: &[Pool]) -> Vec<Resource> {
    let sorted = |pools: &[Pool]| -> BTreeSet<SocketAddr> {
        pools.iter().flat_map(|pool| &pool.endpoints).map(|member| member.address).collect()
    };
    let of_pool = |pool: &Pool| assignment(&pool.name, sorted(std::slice::from_ref(pool))).into();
    // A pool may have the name `engines`, too: then the resource with all endpoints is the safe one.
    let others = pools.iter().filter(|pool| pool.name != ENGINES);
    let all: Resource = assignment(ENGINES, sorted(pools)).into();
    std::iter::once(all).chain(others.map(of_pool)).collect()
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
