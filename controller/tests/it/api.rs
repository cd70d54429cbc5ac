//! The HTTP side: state, metrics, explanations.

use crate::support::{Proxy, get, metric, post, quiet_settings, until};
use http::StatusCode;
use serde_json::Value;
use warmpath::args::ExplainArgs;
use warmpath::explain;
use warmpath::run::start;
use warmpath_core::ids::EndpointId;
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::wire::{InFlightReport, Kind, Outcome, OutcomeClass, Routed};

const HOLDER: &str = "127.0.0.1:2";

/// A request whose prompt fills several cells.
fn body() -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "all of it again ".repeat(400)
    )
}

/// The cells of [`body`], as a proxy would report them.
fn cells() -> Vec<u64> {
    let body = body();
    let request = Request::parse(Api::Chat, body.as_bytes()).unwrap();
    let mut chain = Vec::new();
    cells_of(&request, Root::new("main", "m", ""), 256, &mut chain);
    assert!(chain.len() > 10, "the prompt is too short for this test");
    chain.iter().map(|cell| cell.0).collect()
}

async fn warm_controller() -> (warmpath::run::Running, Proxy) {
    let running = start(quiet_settings()).await.unwrap();
    let proxy = Proxy::connect(running.grpc_addr(), 1).await;
    let endpoint = EndpointId::of(HOLDER).0;
    let load = InFlightReport { origin: 11, endpoint, requests: 2, ..InFlightReport::default() };
    proxy
        .report([
            Kind::InFlight(load),
            Kind::Routed(Routed { endpoint, cells: cells(), ..Routed::default() }),
        ])
        .await;
    let http = running.http_addr();
    until("the events were taken in", async || {
        let state: Value = serde_json::from_str(&get(http, "/state").await.1).unwrap();
        (state["generation"].as_u64() >= Some(3)).then_some(())
    })
    .await;
    (running, proxy)
}

#[tokio::test]
async fn state_shows_what_is_known() {
    let (running, _proxy) = warm_controller().await;
    let (_, page) = get(running.http_addr(), "/state").await;
    let state: Value = serde_json::from_str(&page).unwrap();
    let pool = &state["pools"][0];
    assert_eq!(pool["name"], "main");
    let holder = &pool["endpoints"][1];
    assert_eq!(holder["address"], HOLDER);
    assert_eq!(holder["requests"], 2);
    assert_eq!(holder["held_cells"], cells().len());
    assert_eq!(holder["fitness"], "fit");
    running.shutdown().await;
}

#[tokio::test]
async fn explain_names_the_holder_and_why() {
    let (running, _proxy) = warm_controller().await;
    let (status, page) = post(running.http_addr(), "/explain?path=/v1/chat/completions", &body()).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let reply: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(reply["reason"], "warm");
    assert_eq!(reply["candidates"][0]["endpoint"], HOLDER);
    assert_eq!(reply["candidates"][0]["cells"], cells().len());
    assert_eq!(reply["candidates"][1]["cells"], 0);
    running.shutdown().await;
}

#[tokio::test]
async fn explain_says_why_it_cannot() {
    let running = start(quiet_settings()).await.unwrap();
    let (status, page) = post(running.http_addr(), "/explain", "{\"model\":").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let reply: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(reply["error"]["code"], "truncated");
    running.shutdown().await;
}

#[tokio::test]
async fn the_explain_command_prints_a_table() {
    let (running, _proxy) = warm_controller().await;
    let args = ExplainArgs {
        controller: format!("http://{}", running.http_addr()),
        proxy: None,
        path: "/v1/chat/completions".to_owned(),
        token: None,
        json: false,
    };
    let reply = explain::ask(&args, body()).await.unwrap();
    let mut table = Vec::new();
    explain::print(&mut table, &reply, false).unwrap();
    let table = String::from_utf8(table).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("pool main, model m, warm: "), "{table}");
    assert!(lines[2].starts_with(HOLDER), "{table}");
    assert_eq!(lines.len(), 5, "{table}");
    running.shutdown().await;
}

#[tokio::test]
async fn metrics_are_a_page_with_an_end() {
    let running = start(quiet_settings()).await.unwrap();
    let (_, page) = get(running.http_addr(), "/metrics").await;
    assert!(page.contains("warmpath_controller_endpoints{pool=\"main\",health=\"unknown\"} 2\n"), "{page}");
    assert!(page.contains("warmpath_controller_proxies 0\n"), "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    running.shutdown().await;
}

#[tokio::test]
async fn explanations_are_not_for_everybody_who_reaches_the_address() {
    let mut settings = quiet_settings();
    settings.explain_token = Some("secret".to_owned());
    let running = start(settings).await.unwrap();
    let ask = async |token: Option<&str>| {
        let args = ExplainArgs {
            controller: format!("http://{}", running.http_addr()),
            proxy: None,
            path: "/v1/chat/completions".to_owned(),
            token: token.map(str::to_owned),
            json: true,
        };
        explain::ask(&args, body()).await.map_err(|error| error.to_string())
    };
    assert!(ask(None).await.unwrap_err().contains("403"));
    assert!(ask(Some("secreT")).await.unwrap_err().contains("403"));
    assert!(ask(Some("secret")).await.is_ok());
    running.shutdown().await;

    let mut settings = quiet_settings();
    settings.listen.http = "0.0.0.0:0".parse().unwrap();
    let running = start(settings).await.unwrap();
    let http = ([127, 0, 0, 1], running.http_addr().port()).into();
    let (status, page) = post(http, "/explain", &body()).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "no token is set, and the address is open to all");
    assert!(page.contains("set explain_token"), "{page}");
    running.shutdown().await;
}

#[tokio::test]
async fn every_engine_has_its_series() {
    let (running, proxy) = warm_controller().await;
    let outcome = Outcome { endpoint: EndpointId::of(HOLDER).0, origin: 11, ..Outcome::default() };
    let faulty = Outcome { class: OutcomeClass::Faulty.into(), ..outcome };
    proxy.report([Kind::Outcome(faulty), Kind::Outcome(faulty)]).await;
    let of = |name: &str, more: &str| format!("{name}{{pool=\"main\",endpoint=\"{HOLDER}\"{more}}}");
    let http = running.http_addr();
    until("both are counted", async || {
        let count = metric(http, &of("engine_outcomes_total", ",class=\"faulty\"")).await;
        ((count - 2.0).abs() < 0.5).then_some(())
    })
    .await;
    assert!((metric(http, &of("engine_in_flight", "")).await - 2.0).abs() < 0.5);
    assert!(metric(http, &of("engine_held_cells", "")).await > 10.0);
    let (_, page) = get(http, "/metrics").await;
    for name in ["healthy", "running", "waiting", "kv_used_ratio", "capacity_tokens"] {
        assert!(page.contains(&of(&format!("engine_{name}"), "")), "{name} is not on the page");
        assert!(page.contains(&format!("# HELP warmpath_controller_engine_{name} ")), "{name} has no HELP");
    }
    running.shutdown().await;
}
