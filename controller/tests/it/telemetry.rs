//! Scrapes of real HTTP servers -> the engine status that a proxy receives.

use crate::support::{Engine, Proxy, Reply, get, metric, settings, until};
use http::StatusCode;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath::run::{Running, start};
use warmpath_config::{Host, Member};
use warmpath_core::ids::EndpointId;
use warmpath_core::view::{Endpoint, View};
use warmpath_core::wire::{Health, Role, Transfer, TransferProtocol};

const TRTLLM: &str = include_str!("../fixtures/pages/trtllm.txt");

fn page(running: u32, started_s: u32) -> Reply {
    Reply::Page(format!(
        "process_start_time_seconds {started_s}\nvllm:num_requests_running{{engine=\"0\"}} {running}\n\
         vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"1000\"}} 1\n"
    ))
}

fn endpoint(view: &View, address: SocketAddr) -> &Endpoint {
    let slot = view.slot(EndpointId::of(&address.to_string())).expect("the endpoint is in a pool");
    view.endpoint(slot).unwrap()
}

async fn watch(engine: &Engine) -> (Running, Proxy) {
    let running = start(settings(&[engine.address])).await.unwrap();
    let proxy = Proxy::connect(running.grpc_addr(), 1).await;
    (running, proxy)
}

#[tokio::test]
async fn figures_reach_proxies_and_then_silence() {
    let engine = Engine::start(page(3, 100)).await;
    let (running, mut proxy) = watch(&engine).await;
    proxy.until("its status came", |view| endpoint(view, engine.address).status().running == 3).await;
    assert_eq!(endpoint(&proxy.view, engine.address).capacity_tokens, 16_000);
    assert_eq!(endpoint(&proxy.view, engine.address).health, Health::Healthy);
    let scrapes = metric(running.http_addr(), "scrapes_total{outcome=\"page\"}").await;
    let generation = metric(running.http_addr(), "generation").await;
    until("it was scraped again", async || {
        (metric(running.http_addr(), "scrapes_total{outcome=\"page\"}").await > scrapes + 3.0).then_some(())
    })
    .await;
    let later = metric(running.http_addr(), "generation").await;
    assert!((later - generation).abs() < 0.5, "scrapes without a change made {} events", later - generation);
    running.shutdown().await;
}

#[tokio::test]
async fn a_proxy_counts_on_the_tiers_that_the_configuration_names() {
    let engine = Engine::start(page(3, 100)).await;
    let mut settings = settings(&[engine.address]);
    settings.pools[0].kv_below_gpu_tokens = Some(5_000);
    let running = start(settings).await.unwrap();
    let mut proxy = Proxy::connect(running.grpc_addr(), 1).await;
    proxy.until("its status came", |view| endpoint(view, engine.address).status().running == 3).await;
    assert_eq!(endpoint(&proxy.view, engine.address).cache_tokens(), 21_000);
    let state: Value = serde_json::from_str(&get(running.http_addr(), "/state").await.1).unwrap();
    let shown = &state["pools"][0]["endpoints"][0];
    assert_eq!((&shown["capacity_tokens"], &shown["kv_below_gpu_tokens"]), (&json!(16_000), &json!(5_000)));
    assert_eq!(shown["capacity_cells"], 21_000 / 64, "four bytes a token, 256 bytes a cell");
    running.shutdown().await;
}

#[tokio::test]
async fn an_engine_that_breaks_is_unhealthy_until_it_responds() {
    let (engine, other) = (Engine::start(page(3, 100)).await, Engine::start(page(0, 100)).await);
    let running = start(settings(&[engine.address, other.address])).await.unwrap();
    let mut proxy = Proxy::connect(running.grpc_addr(), 1).await;
    proxy.until("it is healthy", |view| endpoint(view, engine.address).health == Health::Healthy).await;
    engine.reply_with(Reply::Broken);
    proxy.until("it is unhealthy", |view| endpoint(view, engine.address).health == Health::Unhealthy).await;
    engine.reply_with(page(1, 100));
    proxy.until("it is healthy again", |view| endpoint(view, engine.address).health == Health::Healthy).await;
    running.shutdown().await;
}

#[tokio::test]
async fn an_engine_that_is_gone_is_unhealthy() {
    let (engine, other) = (Engine::start(page(3, 100)).await, Engine::start(page(0, 100)).await);
    let address = engine.address;
    let running = start(settings(&[address, other.address])).await.unwrap();
    let mut proxy = Proxy::connect(running.grpc_addr(), 1).await;
    proxy.until("it is healthy", |view| endpoint(view, address).health == Health::Healthy).await;
    drop(engine);
    proxy.until("it is unhealthy", |view| endpoint(view, address).health == Health::Unhealthy).await;
    running.shutdown().await;
}

#[tokio::test]
async fn where_no_engine_can_be_scraped_proxies_go_on_as_if_nothing_were_known() {
    let engines = [Engine::start(page(3, 100)).await, Engine::start(page(0, 100)).await];
    let running = start(settings(&[engines[0].address, engines[1].address])).await.unwrap();
    let mut proxy = Proxy::connect(running.grpc_addr(), 1).await;
    let all = |view: &View, health| engines.iter().all(|e| endpoint(view, e.address).health == health);
    proxy.until("they are healthy", |view| all(view, Health::Healthy)).await;
    for engine in &engines {
        engine.reply_with(Reply::Broken);
    }
    proxy.until("they are unknown", |view| all(view, Health::Unknown)).await;
    assert_eq!(endpoint(&proxy.view, engines[0].address).status().running, 0, "the figures are old");
    let blind = metric(running.http_addr(), "pool_unscrapable{pool=\"main\"}").await;
    assert!(blind > 0.5);
    let state: Value = serde_json::from_str(&get(running.http_addr(), "/state").await.1).unwrap();
    assert_eq!(state["pools"][0]["endpoints"][0]["health"], "unhealthy", "people see what the scrapes show");
    running.shutdown().await;
}

#[tokio::test]
async fn another_process_at_an_engines_address_is_another_incarnation() {
    let engine = Engine::start(page(3, 100)).await;
    let (running, mut proxy) = watch(&engine).await;
    let incarnation = |view: &View| endpoint(view, engine.address).status().incarnation;
    proxy.until("its start is known", |view| incarnation(view) == 100_000).await;
    engine.reply_with(page(3, 900));
    proxy.until("its new start is known", |view| incarnation(view) == 900_000).await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_redirect_of_the_page_is_followed_on_the_same_host_only() {
    let moved =
        |location: &str| Reply::Moved(location.to_owned(), "vllm:num_requests_running 7\n".to_owned());
    let engine = Engine::start(moved("/metrics/")).await;
    let (running, mut proxy) = watch(&engine).await;
    proxy.until("its page was read", |view| endpoint(view, engine.address).status().running == 7).await;
    running.shutdown().await;
    for elsewhere in ["http://127.0.0.1:1/metrics/", "/metrics"] {
        let engine = Engine::start(moved(elsewhere)).await;
        let (running, mut proxy) = watch(&engine).await;
        proxy.until("its health", |view| endpoint(view, engine.address).health == Health::Healthy).await;
        let pages = metric(running.http_addr(), "scrapes_total{outcome=\"page\"}").await;
        assert!(pages < 0.5, "{elsewhere} was followed to a page");
        running.shutdown().await;
    }
}

#[tokio::test]
async fn an_engine_without_metrics_is_asked_for_its_health() {
    let engine = Engine::start(Reply::HealthOnly).await;
    let (running, mut proxy) = watch(&engine).await;
    proxy.until("it is healthy", |view| endpoint(view, engine.address).health == Health::Healthy).await;
    assert_eq!(endpoint(&proxy.view, engine.address).status().capacity_tokens, None);
    running.shutdown().await;
}

#[tokio::test]
async fn trtllm_shows_its_page_elsewhere() {
    let engine = Engine::start(Reply::Trtllm(TRTLLM.to_owned())).await;
    let (running, mut proxy) = watch(&engine).await;
    proxy.until("its status came", |view| endpoint(view, engine.address).status().running == 5).await;
    running.shutdown().await;
}

#[tokio::test]
async fn the_controller_is_ready_once_every_engine_was_asked() {
    let engine = Engine::start(page(0, 100)).await;
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let running = start(settings(&[engine.address, nobody])).await.unwrap();
    let http = running.http_addr();
    until("it is ready", async || (get(http, "/readyz").await.0 == StatusCode::OK).then_some(())).await;
    let seen = metric(http, "scrapes_total{outcome=\"page\"}").await
        * metric(http, "scrapes_total{outcome=\"unreachable\"}").await;
    assert!(seen > 0.0, "ready before both were asked");
    running.shutdown().await;
}

#[tokio::test]
async fn what_engines_list_as_models_reaches_proxies_where_there_are_several_pools() {
    let engine = Engine::start(page(3, 100)).await;
    let mut two = settings(&[engine.address]);
    let mut other = settings(&["127.0.0.1:1".parse().unwrap()]).pools.remove(0);
    (other.name, other.models) = ("other".to_owned(), vec!["other".to_owned()]);
    two.pools.push(other);
    let running = start(two).await.unwrap();
    let mut proxy = Proxy::connect(running.grpc_addr(), 1).await;
    proxy.until("the list came", |view| !view.pools()[0].listed().is_empty()).await;
    assert_eq!(proxy.view.pools()[0].listed(), [r#"{"created":1,"id":"m","max_model_len":4096}"#]);
    running.shutdown().await;
}

#[tokio::test]
async fn an_engine_that_is_named_by_its_host_is_scraped_and_published() {
    let engine = Engine::start(page(3, 100)).await;
    let mut settings = settings(&[]);
    let host: Host = format!("localhost:{}", engine.address.port()).parse().unwrap();
    settings.pools[0].hosts = vec![host.into()];
    let running = start(settings).await.unwrap();
    let mut proxy = Proxy::connect(running.grpc_addr(), 1).await;
    proxy.until("its status came", |view| endpoint(view, engine.address).status().running == 3).await;
    running.shutdown().await;
}

#[tokio::test]
async fn the_bootstrap_servers_of_engines_that_prefill_are_tried() {
    let engine = Engine::start(page(3, 100)).await;
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let transfer = |bootstrap_port: u16| Transfer {
        protocol: TransferProtocol::Bootstrap.into(),
        bootstrap_port: bootstrap_port.into(),
        ..Transfer::default()
    };
    for (role, port, wanted) in
        [(Role::Prefill, port, Some(true)), (Role::Prefill, 1, Some(false)), (Role::Decode, port, None)]
    {
        let mut settings = settings(&[]);
        settings.pools[0].endpoints = vec![Member { role, ..Member::from(engine.address) }];
        settings.pools[0].transfer = Some(transfer(port));
        let running = start(settings).await.unwrap();
        let seen = until("it was scraped and tried", async || {
            let state = warmpath::get::state(&running.http_addr().to_string()).await.unwrap();
            let [endpoint] = &state.pools[0].endpoints[..] else { return None };
            let is_done = endpoint.scrape.is_some() && (endpoint.bootstrap.is_some() || wanted.is_none());
            let protocol = state.pools[0].transfer.as_ref().map(|transfer| transfer.protocol.clone());
            is_done.then_some((endpoint.bootstrap, endpoint.nixl, protocol))
        })
        .await;
        assert_eq!(seen, (wanted, Some(false), Some("sglang".to_owned())), "{role:?} {port}");
        running.shutdown().await;
    }
}
