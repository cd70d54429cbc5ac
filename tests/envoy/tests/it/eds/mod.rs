//! Envoy with the shipped file, and its endpoints from a real controller.

mod apart;
mod follows;
mod secured;

use crate::stack::{Build, Controller, MODEL};
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{CONTROLLER, GATEWAY};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_envoy::until;

/// Engines, some of which are in pools.
pub(crate) async fn engines(count: usize) -> Vec<EngineServer> {
    let mut engines = Vec::new();
    for at in 0..count {
        let config =
            ServerConfig { name: format!("engine-{at}"), model: MODEL.to_owned(), ..ServerConfig::instant() };
        engines.push(EngineServer::start(config).await.unwrap());
    }
    engines
}

/// One pool of these endpoints, as the controller's file has it.
fn pool(endpoints: &[String]) -> Value {
    json!([{ "name": "main", "models": [MODEL], "endpoints": endpoints }])
}

pub(crate) fn addresses(engines: &[EngineServer]) -> Vec<String> {
    engines.iter().map(|engine| engine.addr().to_string()).collect()
}

/// The shipped file with the built filter, and with nothing of the engines in it.
pub(crate) fn shipped(controllers: &[SocketAddr]) -> ShippedConfig {
    let plugin = json!({ "controller": { "cluster": CONTROLLER }, "explain": true });
    ShippedConfig::new()
        .listener_port(0)
        .admin_port(0)
        .controllers(controllers)
        .wasm(Build::Shipped.path())
        .plugin(plugin)
        .eds()
}

pub(crate) async fn start(config: &ShippedConfig, launch: &Launch) -> Envoy {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    config.write(&file).unwrap();
    Envoy::from_file(&file, launch).await.unwrap()
}

/// The hosts of the engines' cluster, sorted.
async fn hosts(envoy: &Envoy) -> Vec<String> {
    let clusters = envoy.admin().clusters().await.unwrap();
    let clusters = clusters["cluster_statuses"].as_array().unwrap();
    let engines = clusters.iter().find(|cluster| cluster["name"] == "engines").unwrap();
    let hosts = engines["host_statuses"].as_array().into_iter().flatten();
    let address = |host: &Value| {
        let address = &host["address"]["socket_address"];
        let ip = address["address"].as_str().unwrap().parse().unwrap();
        SocketAddr::new(ip, address["port_value"].as_u64().unwrap().try_into().unwrap()).to_string()
    };
    let mut hosts: Vec<_> = hosts.map(address).collect();
    hosts.sort();
    hosts
}

pub(crate) async fn wait_hosts(envoy: &Envoy, wanted: &[String]) {
    let mut wanted = wanted.to_vec();
    wanted.sort();
    let seen = until("the hosts", async || (hosts(envoy).await == wanted).then_some(())).await;
    if let Err(wait) = seen {
        panic!("{wait}: {wanted:?}, but {:?}", hosts(envoy).await);
    }
}

/// Whether the filter has a stream to the controller.
pub(crate) async fn wait_connected(envoy: &Envoy) {
    until("the filter's stream", async || {
        (envoy.admin().stat("wasmcustom.warmpath.feed.connected").await.unwrap() == 1).then_some(())
    })
    .await
    .unwrap();
}

pub(crate) async fn gateway(envoy: &Envoy) -> SocketAddr {
    envoy.listener(GATEWAY).await.unwrap()
}

async fn controller(engines: &[EngineServer]) -> Controller {
    Controller::start(&pool(&addresses(engines))).await
}
