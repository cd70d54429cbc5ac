//! A configuration that Envoy refuses is heard of, and changes nothing.

use crate::backend::Backend;
use crate::stub::{PLUGIN_BYTES_MAX, StubWasm};
use http::StatusCode;
use serde_json::json;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{Filter, GATEWAY, Gateway, Policy, WasmFilter, engines, listener};
use warmpath_envoy::xds::{ControlPlane, Kind, XdsError};
use warmpath_http::Client;

#[tokio::test]
async fn a_refused_cluster_leaves_the_old_one() {
    let engine = Backend::start(StatusCode::OK).await;
    let plane = ControlPlane::start(Gateway::new(Filter::None, &[engine.addr()]).resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());

    let mut without_policies = engines(Policy::default());
    without_policies.load_balancing_policy.as_mut().unwrap().policies.clear();
    let refused = plane.push([without_policies.into()]);
    let rejection = plane.wait_rejected(Kind::Cluster, refused).await.unwrap();
    assert_eq!(rejection.node, "warmpath-test");
    assert!(rejection.reason.contains("engines"), "{}", rejection.reason);
    assert!(matches!(plane.wait_acked(Kind::Cluster, refused).await, Err(XdsError::Rejected(_))));
    assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK);

    plane.apply([engines(Policy::default()).into()]).await.unwrap();
    assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_plugin_configuration_changes_in_place_and_a_refused_one_leaves_the_old() {
    let engine = Backend::start(StatusCode::OK).await;
    let stub = StubWasm::new();
    let filter = |plugin| Filter::Wasm(WasmFilter::new(stub.path(), plugin));
    let gateway = Gateway::new(filter(json!({})), &[engine.addr()]);
    let plane = ControlPlane::start(gateway.resources()).await.unwrap();
    let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
    let address = envoy.listener(GATEWAY).await.unwrap();
    let client = Client::http1(address);
    assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK);

    plane.apply([listener(&filter(json!({ "pools": [] }))).into()]).await.unwrap();
    assert_eq!(envoy.listener(GATEWAY).await.unwrap(), address, "the port stays");
    assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK);

    let refusals = [
        filter(json!({ "long": "x".repeat(PLUGIN_BYTES_MAX) })),
        Filter::Wasm(WasmFilter::new("/nowhere/router.wasm", json!({}))),
    ];
    for refused in refusals {
        let version = plane.push([listener(&refused).into()]);
        let rejection = plane.wait_rejected(Kind::Listener, version).await.unwrap();
        assert!(rejection.reason.contains(GATEWAY), "{}", rejection.reason);
        assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK);
    }
}
