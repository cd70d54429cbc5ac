//! The policies for Envoy Gateway: the patches are applied to what its server generates from the other policies, and run.

use crate::chart::render;
use crate::gateway::{
    Clusters, RunningGateway, conversations_stay_together, forged_headers_are_ignored,
    full_engines_are_retried, long_requests_pass,
};
use serde_json::{Value, json};
use warmpath_gateways::envoy_gateway::{PatchPolicyError, apply};
use warmpath_gateways::{Captured, Manifests};

fn manifests(more: &str) -> Manifests {
    let sum = "0".repeat(64);
    render(&format!(
        "auth: {{enabled: false}}\ngateway: {{kind: envoy-gateway, wasm: {{sha256: \"{sum}\"}}, envoyGateway: {{gateway: eg, route: llm{more}}}}}"
    ))
}

fn policy(of: &Manifests) -> &Value {
    of.of_kind("EnvoyPatchPolicy").next().unwrap()
}

/// What the server makes of `failOpen`, which Envoy rejects together with a policy for failures.
fn fail_open(captured: &mut Captured, manifests: &Manifests) {
    let extension = &manifests.of_kind("EnvoyExtensionPolicy").next().unwrap()["spec"]["wasm"][0];
    let filter =
        &mut captured.listeners[0]["default_filter_chain"]["filters"][0]["typed_config"]["http_filters"][0];
    filter["typed_config"]["config"]["fail_open"] = extension["failOpen"].clone();
}

/// While the code cannot be fetched, the server puts the status 500 in place of the route, and leaves it there until
/// something changes.
#[test]
fn requests_go_without_the_filter_where_the_server_cannot_fetch_it() {
    let manifests = manifests("");
    assert_eq!(
        manifests.of_kind("EnvoyExtensionPolicy").next().unwrap()["spec"]["wasm"][0]["failOpen"],
        true
    );
}

#[tokio::test]
async fn envoy_gateway_routes_by_cache() {
    let manifests = manifests("");
    let mut captured = Captured::load("envoy-gateway").unwrap();
    fail_open(&mut captured, &manifests);
    apply(&mut captured, policy(&manifests)).unwrap();
    let clusters = Clusters {
        engines: "httproute/llm/llm/rule/0",
        controller: "warmpath_controller",
        other: "httproute/llm/other/rule/0",
    };
    let gateway = RunningGateway::start(&captured, &clusters).await;
    gateway.wait_routing().await;
    for client in [gateway.http1().await, gateway.http2().await] {
        long_requests_pass(&client).await;
    }
    let client = gateway.http1().await;
    conversations_stay_together(&gateway, &client).await;
    forged_headers_are_ignored(&gateway, &client).await;
    assert_eq!(gateway.wrong().await, Vec::<String>::new());
    full_engines_are_retried(&gateway, &client).await;
}

#[test]
fn the_filters_configuration_is_the_same_as_what_the_server_has_made_of_it() {
    let manifests = manifests("");
    let config = &manifests.of_kind("EnvoyExtensionPolicy").next().unwrap()["spec"]["wasm"][0]["config"];
    let captured = Captured::load("envoy-gateway").unwrap();
    let filter =
        &captured.listeners[0]["default_filter_chain"]["filters"][0]["typed_config"]["http_filters"][0];
    let made = filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap();
    let mut made: Value = serde_json::from_str(made).unwrap();
    // The trial's own.
    made.as_object_mut().unwrap().remove("explain");
    assert_eq!(*config, made);
}

#[test]
fn a_patch_for_a_listener_or_a_filter_of_another_name_is_an_error() {
    let mut captured = Captured::load("envoy-gateway").unwrap();
    let error = apply(&mut captured, policy(&manifests(", listener: https"))).unwrap_err();
    assert!(matches!(&error, PatchPolicyError::Nowhere { name, .. } if name == "llm/eg/https"), "{error}");

    let mut bare = Captured::load("envoy-gateway-bare").unwrap();
    let error = apply(&mut bare, policy(&manifests(""))).unwrap_err();
    assert!(matches!(error, PatchPolicyError::Nowhere { .. }), "without the filter: {error}");
}

#[test]
fn policies_name_what_they_are_for() {
    let manifests = manifests("");
    let of = |kind: &str| manifests.of_kind(kind).next().unwrap()["spec"].clone();
    let route = json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "llm" }]);
    assert_eq!(of("EnvoyExtensionPolicy")["targetRefs"], route);
    assert_eq!(of("BackendTrafficPolicy")["targetRefs"], route);
    assert_eq!(of("ClientTrafficPolicy")["targetRefs"][0]["name"], "eg");
    assert_eq!(of("EnvoyPatchPolicy")["targetRef"]["name"], "eg");
}
