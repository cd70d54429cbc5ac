//! `warmpath check` of the shipped file in a real Envoy, with a controller and engines.
//!
//! The controller's tests check on the file alone that each fault is found. These check that a real Envoy's pages are understood.

use super::{config, start};
use crate::stack::{Controller, MODEL, PATH, completion, prompt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath::args::{CheckArgs, CheckOutput};
use warmpath::check::finding::{Finding, Level};
use warmpath::check::{self, report};
use warmpath::web::{self, Bounds};
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::Envoy;
use warmpath_envoy::resources::GATEWAY;
use warmpath_envoy::until;
use warmpath_http::Client;

fn args(envoy: &Envoy, controller: &Controller) -> CheckArgs {
    CheckArgs {
        controller: Some(controller.http_addr().to_string()),
        envoy: vec![envoy.admin().addr().to_string()],
        kubernetes: false,
        namespace: Vec::new(),
        output: CheckOutput::Text,
        quiet: false,
    }
}

/// Level, id and what was seen of all that is wrong.
fn wrong(findings: &[Finding]) -> Vec<String> {
    let wrong = findings.iter().filter(|finding| finding.level > Level::Ok);
    wrong.map(|finding| format!("{} {} {}", finding.level.label(), finding.check.id, finding.seen)).collect()
}

/// The check's report, once the filter has its endpoints and the controller has scraped them.
async fn report_of(envoy: &Envoy, controller: &Controller) -> report::Report {
    until("the filter's endpoints", async || {
        (envoy.admin().stat("wasmcustom.warmpath.view.endpoints").await.unwrap() > 0).then_some(())
    })
    .await
    .unwrap();
    let http = controller.http_addr().to_string();
    let is_ready = async || web::page(&http, "/readyz", Bounds::bytes(1024)).await.ok();
    until("the first scrapes", is_ready).await.unwrap();
    check::run(&args(envoy, controller)).await
}

async fn engine() -> EngineServer {
    let config = ServerConfig { model: MODEL.to_owned(), ..ServerConfig::instant() };
    EngineServer::start(config).await.unwrap()
}

fn pools(engines: &[SocketAddr]) -> Value {
    let engines: Vec<String> = engines.iter().map(ToString::to_string).collect();
    json!([{ "name": "default", "models": [MODEL], "endpoints": engines }])
}

fn plugin() -> Value {
    json!({ "pools": [{ "name": "default", "models": ["*"] }], "controller": { "cluster": "warmpath_controller" } })
}

#[tokio::test]
async fn the_shipped_file_passes_all_checks_in_a_real_envoy() {
    let engines = [engine().await, engine().await];
    let addresses = engines.each_ref().map(EngineServer::addr);
    let controller = Controller::start(&pools(&addresses)).await;
    let envoy = start(&config(&addresses).controller(controller.addr()).plugin(plugin())).await;
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    let response = client.post_json(PATH, &completion(MODEL, &prompt("whales"))).await.unwrap();
    assert!(response.status.is_success(), "{}", response.text());
    // Envoy's policy places requests until then, and their responses are endpoints, too.
    until("the stream to the controller", async || {
        (envoy.admin().stat("wasmcustom.warmpath.feed.connected").await.unwrap() > 0).then_some(())
    })
    .await
    .unwrap();
    let report = report_of(&envoy, &controller).await;
    assert_eq!(wrong(&report.findings), Vec::<String>::new());
    assert_eq!((report.status(), report.unchecked.len()), (report::STATUS_FINE, 0));
    for id in [
        "envoy.version",
        "filter.headers-stop",
        "cluster.override-host",
        "cluster.endpoints",
        "feed.connected",
    ] {
        assert!(report.findings.iter().any(|finding| finding.check.id == id), "{id} was not checked");
    }
}

#[tokio::test]
async fn what_envoy_and_controller_do_not_have_in_common_is_found() {
    let engines = [engine().await, engine().await];
    let addresses = engines.each_ref().map(EngineServer::addr);
    let controller = Controller::start(&pools(&addresses[..1])).await;
    let other_cells = {
        let mut plugin = plugin();
        plugin["cell_bytes"] = json!(64);
        plugin["pools"][0]["endpoints"] = json!([addresses[0].to_string()]);
        plugin
    };
    let envoy = start(&config(&addresses).controller(controller.addr()).plugin(other_cells)).await;
    until("a refused stream", async || {
        let state = warmpath::get::state(&controller.http_addr().to_string()).await.unwrap();
        (!state.refused.is_empty()).then_some(())
    })
    .await
    .unwrap();
    let report = report_of(&envoy, &controller).await;
    let found = report.findings.iter().filter(|finding| finding.level > Level::Ok);
    let found: Vec<&str> = found.map(|finding| finding.check.id).collect();
    assert_eq!(found, ["proxy.connected", "proxy.refused", "cluster.endpoints", "feed.connected"]);
    assert_eq!(report.status(), report::STATUS_ERRORS);
}
