//! Endpoints come and go while Envoy runs.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use warmpath_envoy::client::Client;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{DESTINATION_HEADER, ENGINES, Filter, GATEWAY, Gateway, endpoints};
use warmpath_envoy::until;
use warmpath_envoy::xds::ControlPlane;

use crate::backend::Backend;

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
        let response = client.send(Method::GET, "/", &headers, bytes::Bytes::new()).await.unwrap();
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
