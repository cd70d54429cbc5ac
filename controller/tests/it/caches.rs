//! From a simulated engine's cache to a proxy's view: what it stores, evicts and clears, over its own sockets.

use super::support::{Proxy, get, settings, until};
use serde_json::{Value, json};
use std::path::PathBuf;
use warmpath::run::{self, Running};
use warmpath_config::Prompt;
use warmpath_core::ids::{CellHash, EndpointId, FormatId};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::view::View;
use warmpath_core::wire::{Kind, Trust, UsageSeen};
use warmpath_engine::{EngineServer, KvEvents, ServerConfig};
use warmpath_http::Client;

fn model() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/engine/data/tiny-model"))
}

/// An engine, and a controller and a proxy that know all that it holds.
async fn followed() -> (EngineServer, Running, Proxy) {
    let config = ServerConfig {
        model_dir: Some(model()),
        events: Some(KvEvents::default()),
        time_scale: 0.0,
        ..ServerConfig::default()
    };
    let engine = EngineServer::start(config).await.unwrap();
    let mut settings = settings(&[engine.addr()]);
    let tokenizer = model().to_string_lossy().into_owned();
    settings.pools[0].prompt = Some(Prompt { tokenizer, ..Prompt::default() });
    let controller = run::start(settings).await.unwrap();
    let mut proxy = Proxy::connect(controller.grpc_addr(), 1).await;
    let id = EndpointId::of(&engine.addr().to_string());
    proxy.until("the engine is followed", |view| believed(view, id, &[]).0 == Trust::Whole).await;
    (engine, controller, proxy)
}

/// What a view believes of an engine, and how much of a prompt it has there.
fn believed(view: &View, engine: EndpointId, chain: &[CellHash]) -> (Trust, u32) {
    let slot = view.slot(engine).unwrap();
    let mut found = Vec::new();
    view.find(chain, &mut found);
    let cells = found.iter().find(|found| found.slot == slot).map_or(0, |found| found.cells);
    (view.reported().trust(slot), cells)
}

#[tokio::test]
async fn what_an_engine_holds_is_what_a_proxy_believes() {
    let (engine, controller, mut proxy) = followed().await;
    let id = EndpointId::of(&engine.addr().to_string());
    let format = proxy.view.pools()[0].prompt_format().map(FormatId::of).unwrap();

    let prompt = "The licence permits everybody to copy, modify and distribute the work. ".repeat(40);
    let body = json!({"model": "sim", "prompt": prompt, "max_tokens": 1});
    let text = body.to_string();
    let request = Request::parse(Api::Completions, text.as_bytes()).unwrap();
    let mut chain = Vec::new();
    cells_of(&request, Root::new("main", "", "").written(format), CELL_BYTES_DEFAULT, &mut chain);
    assert!(chain.len() > 8);
    let client = Client::http1(engine.addr());
    let post = async |path: &str, body: &Value| {
        let response = client.post_json(path, body).await.unwrap();
        assert!(response.status.is_success(), "{}", response.text());
    };
    post("/v1/completions", &body).await;
    let whole = u32::try_from(chain.len()).unwrap();
    // The last block of the prompt may not be full.
    let is_held = |view: &View| believed(view, id, &chain).1 + 1 >= whole;
    proxy.until("the prompt is reported", is_held).await;

    post("/reset_prefix_cache", &Value::Null).await;
    // vLLM publishes a clear with the next step.
    post("/v1/completions", &json!({"model": "sim", "prompt": "x"})).await;
    proxy.until("the clear is reported", |view| believed(view, id, &chain) == (Trust::Whole, 0)).await;

    post("/v1/completions", &body).await;
    proxy.until("it is there again", is_held).await;
    engine.shutdown().await;
    proxy.until("the engine is gone", |view| believed(view, id, &chain).0 != Trust::Whole).await;
    controller.shutdown().await;
}

#[tokio::test]
async fn a_pool_whose_text_is_not_its_engines_goes_back_to_what_is_learned() {
    let (engine, controller, mut proxy) = followed().await;
    let id = EndpointId::of(&engine.addr().to_string());
    assert!(proxy.view.pools()[0].prompt_format().is_some());
    // Of an engine that has reported nothing, it is not the text that is in doubt.
    let body = json!({"model": "sim", "prompt": "The licence permits everybody to copy. ".repeat(40), "max_tokens": 1});
    let stored = Client::http1(engine.addr()).post_json("/v1/completions", &body).await.unwrap();
    assert!(stored.status.is_success(), "{}", stored.text());
    let usage = UsageSeen {
        pool: "main".to_owned(),
        endpoint: id.0,
        prompt_bytes: 200_000,
        prompt_tokens: 50_000,
        cached_tokens: Some(30_000),
        ..UsageSeen::default()
    };
    proxy.report([Kind::UsageSeen(usage)]).await;
    let is_back =
        |view: &View| view.pools()[0].prompt_format().is_none() && believed(view, id, &[]).0 == Trust::None;
    proxy.until("the format is taken back", is_back).await;
    // What else there is to see of its engines is seen all the same.
    let seen = until("the engine is followed for people", async || {
        let (_, page) = get(controller.http_addr(), "/state").await;
        let page: Value = serde_json::from_str(&page).unwrap();
        let pool = page["pools"][0].clone();
        (pool["endpoints"][0]["kv"]["trust"] == "whole").then_some(pool)
    })
    .await;
    let mismatch = seen["prompt"]["mismatch"].as_str().unwrap();
    assert!(mismatch.starts_with("they found ") && mismatch.contains("reports showed 0;"), "{mismatch}");
    assert!(mismatch.ends_with("they are tried again in 15 min"), "{mismatch}");
    controller.shutdown().await;
    engine.shutdown().await;
}
