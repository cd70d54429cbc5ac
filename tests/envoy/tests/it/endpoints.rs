//! Endpoints come and go while Envoy runs.

use crate::backend::Backend;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use http::{Method, StatusCode};
use std::net::SocketAddr;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{
    DESTINATION_HEADER, ENGINES, Filter, GATEWAY, Gateway, Lb, Policy, endpoints, engines,
};
use warmpath_envoy::until;
use warmpath_envoy::xds::{ControlPlane, Kind};
use warmpath_http::Client;

#[tokio::test]
async fn an_added_endpoint_is_reached_and_a_removed_one_is_not() {
    let (first, second) = (Backend::start(StatusCode::OK).await, Backend::start(StatusCode::OK).await);
    let plane = ControlPlane::start(Gateway::new(Filter::None, &[first.addr()]).resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    // Who serves a request that asks for this endpoint.
    let served_by = async |wanted: &Backend| -> SocketAddr {
        let wanted = wanted.addr().to_string();
        let headers = [(DESTINATION_HEADER, wanted.as_str())];
        let response = client.send(Method::GET, "/v1/models", &headers, bytes::Bytes::new()).await.unwrap();
        response.json().get("served_by").unwrap().as_str().unwrap().parse().unwrap()
    };

    assert_eq!(served_by(&second).await, first.addr(), "not added yet");

    // The ACK comes from Envoy's main thread; its workers hear of the change a moment later.
    plane.apply([endpoints(ENGINES, &[first.addr(), second.addr()]).into()]).await.unwrap();
    until("the added endpoint", async || (served_by(&second).await == second.addr()).then_some(()))
        .await
        .unwrap();
    assert_eq!(served_by(&first).await, first.addr());

    plane.apply([endpoints(ENGINES, &[second.addr()]).into()]).await.unwrap();
    until("the removal", async || (served_by(&first).await == second.addr()).then_some(())).await.unwrap();
}

#[tokio::test]
async fn a_cluster_added_or_replaced_gets_its_endpoints() {
    let (first, second) = (Backend::start(StatusCode::OK).await, Backend::start(StatusCode::OK).await);
    let gateway = Gateway::new(Filter::None, &[first.addr(), second.addr()]);
    let plane = ControlPlane::start(gateway.resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());

    let added = Cluster { name: "added".to_owned(), ..engines(Policy::default()) };
    plane.apply([added.into(), endpoints("added", &[first.addr()]).into()]).await.unwrap();
    let members = "cluster.added.membership_total";
    let has_one = async || (envoy.admin().stat(members).await.unwrap() == 1).then_some(());
    until("the endpoint of the added cluster", has_one).await.unwrap();

    // Without the policy that reads it, the header chooses nothing.
    plane.apply([engines(Policy::Plain(Lb::RoundRobin)).into()]).await.unwrap();
    let first = first.addr().to_string();
    until("the other policy", async || {
        let headers = [(DESTINATION_HEADER, first.as_str())];
        let response = client.send(Method::GET, "/v1/models", &headers, bytes::Bytes::new()).await.unwrap();
        (response.json().get("served_by").unwrap() != &first).then_some(())
    })
    .await
    .unwrap();
    plane.remove(Kind::Cluster, "added");
    let is_gone = async || (!envoy.admin().stats(members).await.unwrap().contains_key(members)).then_some(());
    until("the removal of the added cluster", is_gone).await.unwrap();
}
