//! Who is connected: at this replica, and at the others, because a proxy has a stream to one of them only.
//!
//! ```text
//!   GET /proxies   those of this replica
//!   GET /state     those of all: this replica asks the others ─► GET /proxies
//! ```
//!
//! The others are asked when somebody looks. Replicas could keep each other informed instead, but routing does not need it, and
//! most of the time nobody looks. Commands that ask every replica would need a way to each pod, which users rarely have.

use super::Api;
use super::page::{ProxiesPage, ProxyState, RefusedState, ReplicaState};
use crate::publish::{ConnectedProxy, Hub, RefusedProxy};
use crate::watch::Followed;
use crate::web::{self, Bounds};
use axum::Json;
use axum::extract::State;
use futures::future::join_all;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath_core::time::Timestamp;

/// Most replicas that are asked. Nobody runs more.
const REPLICAS_MAX: usize = 16;
/// A replica is near: it responds at once, or it is gone. A proxy is some 300 bytes.
const BOUNDS: Bounds = Bounds { time_max: Duration::from_secs(1), bytes_max: 4 * 1024 * 1024 };

/// Responds with those of this replica.
pub(super) async fn show(State(api): State<Api>) -> Json<ProxiesPage> {
    Json(api.shared.with(|hub, now| own(hub, now)))
}

/// Those of this replica.
pub(super) fn own(hub: &Hub, now: Timestamp) -> ProxiesPage {
    let replica = std::env::var("HOSTNAME").unwrap_or_default();
    let requests = hub.index().requests_in_flight();
    let held = hub.index().requests_held();
    let connected = |proxy: &ConnectedProxy| ProxyState {
        replica: replica.clone(),
        process: proxy.process.to_string(),
        node: proxy.node.clone(),
        version: proxy.version.clone(),
        cell_bytes: Some(proxy.cell_bytes).filter(|bytes| *bytes > 0),
        takes_reports: Some(proxy.takes_reports),
        connected_ms: now.ms_since(proxy.since),
        requests: requests.get(&proxy.process).copied().unwrap_or_default(),
        held: held.get(&proxy.process).copied().unwrap_or_default(),
    };
    let refused = |refused: &RefusedProxy| RefusedState {
        process: refused.process.to_string(),
        node: refused.node.clone(),
        version: refused.version.clone(),
        reason: refused.refusal.label().to_owned(),
        message: refused.refusal.to_string(),
        age_ms: now.ms_since(refused.at),
    };
    ProxiesPage {
        instance: hub.index().instance().to_string(),
        proxies: hub.proxies().map(connected).collect(),
        refused: hub.refused().map(refused).collect(),
        replica,
    }
}

/// Where replicas serve `/proxies`: at the same port as this one, which may be among them.
pub(super) fn addresses(followed: &Followed, port: u16) -> Vec<SocketAddr> {
    followed.replicas.iter().take(REPLICAS_MAX).map(|replica| SocketAddr::new(replica.ip(), port)).collect()
}

/// Adds the proxies of the replicas at these addresses to the page of this one. Returns those replicas, without this one.
pub(super) async fn add_others(addresses: &[SocketAddr], page: &mut ProxiesPage) -> Vec<ReplicaState> {
    let ask = async |address: &SocketAddr| {
        let base = format!("http://{address}");
        (*address, web::json::<ProxiesPage>(&base, "/proxies", BOUNDS, "a controller").await)
    };
    let mut replicas = Vec::new();
    for (address, asked) in join_all(addresses.iter().map(ask)).await {
        let mut replica = ReplicaState { address: address.to_string(), ..ReplicaState::default() };
        match asked {
            Ok(other) if other.instance == page.instance => continue,
            Ok(other) => {
                replica.name = other.replica;
                page.proxies.extend(other.proxies);
                page.refused.extend(other.refused);
            }
            Err(error) => replica.problem = Some(error.to_string()),
        }
        replicas.push(replica);
    }
    // One that was refused here and is served there is not refused.
    let proxies = &page.proxies;
    page.refused.retain(|refused| proxies.iter().all(|proxy| proxy.process != refused.process));
    replicas
}

#[cfg(test)]
mod tests {
    use super::{ProxiesPage, ProxyState, RefusedState, add_others};
    use axum::routing::get;
    use axum::{Json, Router};
    use std::net::SocketAddr;
    use tokio::net::TcpListener;

    fn page(replica: &str, proxy: &str) -> ProxiesPage {
        let process = proxy.to_owned();
        let proxy = ProxyState { process, node: proxy.to_owned(), ..ProxyState::default() };
        ProxiesPage {
            instance: format!("instance of {replica}"),
            replica: replica.to_owned(),
            proxies: vec![proxy],
            refused: Vec::new(),
        }
    }

    async fn replica(page: ProxiesPage) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/proxies", get(async || Json(page)));
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    }

    #[tokio::test]
    async fn the_proxies_of_all_replicas_are_shown_by_each() {
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let mut own = page("a", "envoy-1");
        let refused = |process: &str| RefusedState { process: process.to_owned(), ..RefusedState::default() };
        own.refused = vec![refused("envoy-2"), refused("envoy-3")];
        let addresses = [replica(own.clone()).await, replica(page("b", "envoy-2")).await, gone];
        let replicas = add_others(&addresses, &mut own).await;
        let nodes: Vec<&str> = own.proxies.iter().map(|proxy| proxy.node.as_str()).collect();
        assert_eq!(nodes, ["envoy-1", "envoy-2"], "this replica's once, and the other's");
        assert_eq!(own.refused, [refused("envoy-3")], "envoy-2 is served by the other one");
        let names: Vec<_> = replicas.iter().map(|it| (it.name.as_str(), it.problem.is_some())).collect();
        assert_eq!(names, [("b", false), ("", true)]);
    }
}
