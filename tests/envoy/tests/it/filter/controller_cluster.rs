//! The stream to the controller through a cluster of any name, and what the log says when it fails.

use crate::stack::{Build, Controller};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use serde_json::json;
use std::net::SocketAddr;
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{Filter, Gateway, WasmFilter, controller, endpoints};
use warmpath_envoy::until;
use warmpath_envoy::xds::ControlPlane;

/// As Istio names it: no server accepts this as an authority.
const ISTIO: &str = "outbound|18000||warmpath.llm.svc.cluster.local";

struct Named {
    envoy: Envoy,
    _plane: ControlPlane,
}

impl Named {
    /// An Envoy whose filter has its controller behind a cluster of this name.
    async fn start(name: &str, controller_at: Option<SocketAddr>) -> Self {
        let filter = WasmFilter::new(Build::Shipped.path(), json!({ "controller": { "cluster": name } }));
        let mut resources = Gateway::new(Filter::Wasm(filter), &[]).resources();
        if let Some(address) = controller_at {
            resources.push(Cluster { name: name.to_owned(), ..controller() }.into());
            resources.push(endpoints(name, &[address]).into());
        }
        let plane = ControlPlane::start(resources).await.unwrap();
        let envoy = Envoy::from_control_plane(&plane, &Launch::default()).await.unwrap();
        Self { envoy, _plane: plane }
    }

    async fn logs(&self, parts: &[&str]) {
        until("a line about the stream", async || {
            let text = self.envoy.log().text();
            text.lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
        })
        .await
        .unwrap_or_else(|wait| panic!("{wait}: {parts:?}"));
    }
}

#[tokio::test]
async fn the_stream_opens_through_a_cluster_whose_name_is_no_authority() {
    let controller =
        Controller::start(&json!([{ "name": "default", "models": ["*"], "endpoints": [] }])).await;
    // Short, as long as the encoding of names goes, and longer.
    for name in ["c", ISTIO, &"a".repeat(103), &"a".repeat(104), &"a".repeat(160)] {
        let named = Named::start(name, Some(controller.addr())).await;
        until("the stream", async || {
            let connected = named.envoy.admin().stat("wasmcustom.warmpath.feed.connected").await.unwrap();
            (connected == 1).then_some(())
        })
        .await
        .unwrap_or_else(|wait| panic!("{wait}: {name}"));
    }
}

#[tokio::test]
async fn the_log_names_the_cluster_and_the_cause() {
    let nowhere = Named::start(ISTIO, None).await;
    nowhere.logs(&["[warning]", ISTIO, "does not exist or has no endpoint"]).await;

    let engine = EngineServer::start(ServerConfig::instant()).await.unwrap();
    let wrong = Named::start(ISTIO, Some(engine.addr())).await;
    wrong.logs(&["[warning]", ISTIO, "gRPC status 14 (unavailable)", "reset reason"]).await;
}
