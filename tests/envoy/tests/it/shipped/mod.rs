//! The configuration that users get is one that Envoy accepts and that serves.

mod check;
mod clients;
mod metrics;
mod paths;
mod raw_engine;
mod retries;

use crate::backend::Backend;
use crate::stack::Build;
use crate::stub::StubWasm;
use http::StatusCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_envoy::process::{Envoy, EnvoyError, Launch, validate};
use warmpath_envoy::resources::{CONTROLLER, ENGINES, GATEWAY, Lb};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_http::Client;

#[tokio::test]
async fn the_shipped_file_serves_with_the_filter_and_without() {
    let engine = Backend::start(StatusCode::OK).await;
    let stub = StubWasm::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    let shipped = ShippedConfig::new()
        .listener_port(0)
        .admin_port(0)
        .engines(&[engine.addr()])
        .controller(engine.addr())
        .wasm(stub.path());
    let variants = [
        (shipped.clone(), true),
        (shipped.clone().plugin(json!({ "pools": [] })), true),
        (shipped.clone().without_filter(Lb::RoundRobin), false),
        (shipped.clone().without_filter(Lb::LeastRequest), false),
    ];
    for (config, has_filter) in variants {
        config.write(&file).unwrap();
        let envoy = Envoy::from_file(&file, &Launch::default()).await.unwrap();
        let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
        assert_eq!(
            client.get("/v1/models").await.unwrap().json().get("served_by"),
            Some(&json!(engine.addr().to_string()))
        );
        let vms = envoy.admin().stat("wasm.envoy.wasm.runtime.v8.active").await.unwrap();
        assert_eq!(vms > 0, has_filter);
    }
}

#[test]
fn the_shipped_file_is_valid_and_only_lacks_the_filter() {
    let stub = StubWasm::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");

    ShippedConfig::new().wasm(stub.path()).write(&file).unwrap();
    validate(&file).unwrap();

    ShippedConfig::new().wasm("/nowhere/router.wasm").write(&file).unwrap();
    let Err(EnvoyError::Refused { reason, .. }) = validate(&file) else { panic!("valid without its filter") };
    assert!(reason.contains("/nowhere/router.wasm"), "{reason}");
}

#[test]
fn the_controllers_file_has_the_engines_and_the_address_of_envoys() {
    let settings =
        warmpath::config::Settings::parse(include_str!("../../../../../envoy/controller.yaml")).unwrap();
    let envoy = ShippedConfig::new().to_json().unwrap();
    let addresses_of = |name: &str| -> Vec<String> {
        let clusters = envoy.pointer("/static_resources/clusters").unwrap().as_array().unwrap();
        let cluster = clusters.iter().find(|cluster| cluster.get("name").unwrap() == name).unwrap();
        let endpoints =
            cluster.pointer("/load_assignment/endpoints/0/lb_endpoints").unwrap().as_array().unwrap();
        let address = |endpoint: &Value| {
            let address = endpoint.pointer("/endpoint/address/socket_address").unwrap();
            format!("{}:{}", address["address"].as_str().unwrap(), address["port_value"])
        };
        endpoints.iter().map(address).collect()
    };
    let engines: Vec<_> =
        settings.pools[0].endpoints.iter().map(|engine| engine.address.to_string()).collect();
    assert_eq!(engines, addresses_of(ENGINES));
    assert_eq!([settings.listen.grpc.to_string()], *addresses_of(CONTROLLER));
}

/// The shipped file with the built filter, in front of these engines.
fn config(engines: &[SocketAddr]) -> ShippedConfig {
    let addresses: Vec<_> = engines.iter().map(ToString::to_string).collect();
    ShippedConfig::new()
        .listener_port(0)
        .admin_port(0)
        .engines(engines)
        .wasm(Build::Shipped.path())
        .plugin(json!({ "pools": [{ "name": "default", "models": ["*"], "endpoints": addresses }] }))
}

/// Envoy with such a file.
async fn start(config: &ShippedConfig) -> Envoy {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    config.write(&file).unwrap();
    Envoy::from_file(&file, &Launch::default()).await.unwrap()
}
