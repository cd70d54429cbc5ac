//! The stream to the controller through a cluster of any name, and what the log says when it fails.

use crate::stack::{Build, Controller};
use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{Filter, Gateway, WasmFilter, controller, endpoints};
use warmpath_envoy::xds::ControlPlane;
use warmpath_envoy::{DEADLINE, until};

/// As Istio names it: no server accepts this as an authority.
const ISTIO: &str = "outbound|18000||warmpath.llm.svc.cluster.local";

const TOKEN: &str = "a-token-of-a-test";

struct Named {
    envoy: Envoy,
    _plane: ControlPlane,
}

impl Named {
    /// An Envoy whose filter has its controller behind a cluster of this name.
    async fn start(name: &str, controller_at: Option<SocketAddr>) -> Self {
        Self::start_with(&json!({ "cluster": name }), controller_at).await
    }

    /// The same with more fields of the `controller`, and a token in the VM's environment.
    async fn start_with(fields: &Value, controller_at: Option<SocketAddr>) -> Self {
        let name = fields["cluster"].as_str().unwrap();
        let environment = vec![("WARMPATH_TOKEN".to_owned(), TOKEN.to_owned())];
        let plugin = json!({ "controller": fields });
        let filter = WasmFilter { environment, ..WasmFilter::new(Build::Shipped.path(), plugin) };
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

#[tokio::test]
async fn the_stream_presents_its_token_and_the_log_says_when_it_is_not_accepted() {
    let (sent, mut received) = unbounded_channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    // Accepts nobody, and writes down what it was shown.
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sent = sent.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let _ = sent.send(request.headers().get("authorization").cloned());
                let response = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "16")
                    .body(Empty::<Bytes>::new());
                ready(response)
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    let fields = json!({ "cluster": "c", "token_env": "WARMPATH_TOKEN" });
    let named = Named::start_with(&fields, Some(address)).await;
    let shown = timeout(DEADLINE, received.recv()).await.unwrap().unwrap().expect("it shows a token");
    assert_eq!(shown.to_str().unwrap(), format!("Bearer {TOKEN}"));
    named.logs(&["[warning]", "gRPC status 16", "`controller.token` is missing"]).await;
    assert!(!named.envoy.log().text().contains(TOKEN));
    server.abort();
}
