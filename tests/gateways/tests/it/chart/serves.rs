//! The chart's Envoy in front of simulated engines, with endpoints from a real controller.

use super::envoy::write;
use super::render;
use crate::gateway::{
    Backends, RunningGateway, conversations_stay_together, forged_headers_are_ignored,
    full_engines_are_retried, long_requests_pass,
};
use http::StatusCode;
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use warmpath::proxy::{Admin, NotReady, drain, ready};
use warmpath_envoy::until;
use warmpath_http::Client;

/// The listener for the kubelet and Prometheus.
const PROBES: &str = "probes";
/// Longer than any test runs.
const PATIENT: Duration = Duration::from_mins(10);

fn place<'a>(config: &'a mut Value, list: &str, name: &str) -> &'a mut Value {
    let list = config["static_resources"][list].as_array_mut().unwrap();
    list.iter_mut().find(|element| element["name"] == name).unwrap()
}

/// What a pod has to itself, ports and names of Services, and a test has not.
fn moved(mut config: Value, controller: SocketAddr, admin: &str) -> Value {
    for listener in ["gateway", PROBES] {
        place(&mut config, "listeners", listener)["address"]["socket_address"] =
            json!({ "address": "127.0.0.1", "port_value": 0 });
    }
    config["admin"]["address"]["socket_address"]["address"] = json!(admin);
    let lb = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    *place(&mut config, "clusters", "admin").pointer_mut(lb).unwrap() =
        json!({ "address": admin, "port_value": 9901 });
    let address = place(&mut config, "clusters", "warmpath_controller").pointer_mut(lb).unwrap();
    assert_eq!(*address, json!({ "address": "warmpath-controller.llm.svc", "port_value": 18000 }));
    *address = json!({ "address": controller.ip().to_string(), "port_value": controller.port() });
    config
}

/// A loopback address for the admin page, whose port is fixed: one for each test of each run.
fn admin_address(test: u8) -> String {
    let process = std::process::id();
    format!("127.{}.{}.{test}", 100 + process / 250 % 100, 1 + process % 250)
}

fn admin(test: u8) -> Admin {
    Admin::new(&format!("http://{}:9901", admin_address(test)))
}

/// The volumes of the gateway's pod with these values.
fn volumes(test: u8, values: &str, backends: &Backends) -> TempDir {
    let controller = backends.controller.grpc_addr();
    let folder = tempfile::tempdir().unwrap();
    write(&render(values), folder.path(), |config| moved(config, controller, &admin_address(test)));
    folder
}

struct Pod {
    gateway: RunningGateway,
    admin: Admin,
    _folder: TempDir,
}

// === impl Pod ===

impl Pod {
    async fn start(test: u8) -> Self {
        let backends = Backends::start().await;
        let folder = volumes(test, "", &backends);
        Self::over(test, folder, backends).await
    }

    /// The pod with these volumes.
    async fn over(test: u8, folder: TempDir, backends: Backends) -> Self {
        let gateway = RunningGateway::over(&folder.path().join("envoy.json"), "gateway", backends).await;
        Self { gateway, admin: admin(test), _folder: folder }
    }

    async fn wait_ready(&self) {
        until("readiness", async || ready(&self.admin, PATIENT).await.ok()).await.unwrap();
    }

    async fn probe(&self, path: &str) -> StatusCode {
        let probes = Client::http1(self.gateway.envoy.listener(PROBES).await.unwrap());
        probes.get(path).await.unwrap().status
    }
}

#[tokio::test]
async fn the_charts_envoy_routes_by_cache_to_endpoints_from_the_controller() {
    let pod = Pod::start(1).await;
    pod.wait_ready().await;
    let gateway = &pod.gateway;
    for client in [gateway.http1().await, gateway.http2().await] {
        long_requests_pass(&client).await;
    }
    let client = gateway.http1().await;
    conversations_stay_together(gateway, &client).await;
    forged_headers_are_ignored(gateway, &client).await;
    assert_eq!(gateway.wrong().await, Vec::<String>::new());
    full_engines_are_retried(gateway, &client).await;
    assert_eq!(gateway.metric("decision.fallback").await, 0, "ready means that the filter knows its engines");
}

#[tokio::test]
async fn the_kubelet_sees_readiness_and_metrics_and_nothing_else_of_the_admin_page() {
    let pod = Pod::start(2).await;
    pod.wait_ready().await;
    for path in ["/live", "/ready", "/stats/prometheus"] {
        assert_eq!(pod.probe(path).await, StatusCode::OK, "{path}");
    }
    for path in ["/", "/stats", "/config_dump", "/quitquitquit", "/server_info"] {
        assert_eq!(pod.probe(path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_drain_waits_for_the_requests_that_run_and_fails_the_readiness() {
    let pod = Pod::start(3).await;
    pod.wait_ready().await;
    let client = pod.gateway.http1().await;
    let body = json!({ "model": "sim", "prompt": "a long response", "max_tokens": 200, "stream": true });
    let mut stream = client.stream_json("/v1/completions", &body).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let admin = pod.admin.clone();
    let drained = tokio::spawn(async move { drain(&admin, Duration::ZERO, PATIENT).await });
    until("the readiness to fail", async || {
        (pod.probe("/ready").await == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(pod.probe("/live").await, StatusCode::OK);
    assert!(matches!(ready(&pod.admin, PATIENT).await, Err(NotReady::Envoy { .. })));
    // Still served, and the client learns that this connection ends.
    let late =
        client.post_json("/v1/completions", &json!({ "prompt": "late", "max_tokens": 1 })).await.unwrap();
    assert_eq!(late.status, StatusCode::OK);
    assert_eq!(late.header("connection"), Some("close"));
    let rest = stream.rest().await.unwrap();
    assert!(!rest.is_empty());
    assert_eq!(drained.await.unwrap().unwrap(), Some(0), "no request is cut");
}

#[tokio::test]
async fn a_drain_ends_with_its_time_where_a_request_does_not() {
    let pod = Pod::start(4).await;
    pod.wait_ready().await;
    let engines = &pod.gateway.backends.engines;
    for engine in engines {
        let every = std::num::NonZeroU32::MIN;
        engine.fault(warmpath_engine::Fault::Silent { count: None, every }).await;
    }
    let client = pod.gateway.http1().await;
    let request = tokio::spawn(async move {
        client.post_json("/v1/completions", &json!({ "prompt": "silence", "max_tokens": 1 })).await
    });
    until("the request to run", async || {
        let active = pod.admin.stat("http.gateway.downstream_rq_active").await.unwrap();
        (active == Some(1)).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(drain(&pod.admin, Duration::ZERO, Duration::from_millis(300)).await.unwrap(), Some(1));
    request.abort();
}

/// A file of a Secret's volume, changed as the kubelet does.
fn renew(folder: &Path, name: &str, content: &str) {
    let part = folder.join(name).with_extension("part");
    fs::write(&part, content).unwrap();
    fs::rename(part, folder.join(name)).unwrap();
}

#[tokio::test]
async fn token_and_authority_are_presented_checked_and_read_again() {
    let right = generate_simple_self_signed(["warmpath-controller.llm.svc".to_owned()]).unwrap();
    let wrong = generate_simple_self_signed(["warmpath-controller.llm.svc".to_owned()]).unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let path = |name: &str| secrets.path().join(name).display().to_string();
    fs::write(path("tls.crt"), right.cert.pem()).unwrap();
    fs::write(path("tls.key"), right.key_pair.serialize_pem()).unwrap();
    fs::write(path("token"), "the-right-token").unwrap();
    let identity =
        json!({ "tls": { "cert": path("tls.crt"), "key": path("tls.key") }, "token_file": path("token") });
    let backends = Backends::with(identity).await;
    let folder = volumes(5, "tls: {secret: certificate}", &backends);
    let volume = folder.path().to_owned();
    renew(&volume, "tls/ca.crt", &wrong.cert.pem());
    renew(&volume, "token/token", "another-token");
    let admin = admin(5);
    let renewals = async {
        counted(&admin, "cluster.warmpath_controller.ssl.fail_verify_error").await;
        renew(&volume, "tls/ca.crt", &right.cert.pem());
        counted(&admin, "cluster.warmpath_controller.ssl.handshake").await;
        let is_ready = ready(&admin, PATIENT).await;
        assert!(matches!(is_ready, Err(NotReady::Envoy { .. })), "it has learned nothing: {is_ready:?}");
        renew(&volume, "token/token", "the-right-token");
    };
    let (pod, ()) = tokio::join!(Pod::over(5, folder, backends), renewals);
    pod.wait_ready().await;
    conversations_stay_together(&pod.gateway, &pod.gateway.http1().await).await;
}

async fn counted(admin: &Admin, name: &str) {
    until(name, async || admin.stat(name).await.ok()?.filter(|count| *count > 0)).await.unwrap();
}
