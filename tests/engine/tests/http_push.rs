//! Requests that two engines serve together as vLLM's do with Mooncake: both at once, under one name.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{essence, eventually, legs, open, post};
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_engine::{EngineServer, Fault, LoadFailure, Role, ServerConfig, Transfer, TransferProtocol};
use warmpath_http::Connection;

const COMPLETIONS: &str = "/v1/completions";

fn transfer(role: Role) -> Transfer {
    Transfer::new(TransferProtocol::Mooncake).with_role(role)
}

async fn start(transfer: Transfer) -> EngineServer {
    EngineServer::start(ServerConfig { transfer: Some(transfer), ..ServerConfig::instant() }).await.unwrap()
}

fn prompt() -> Value {
    json!({"prompt": "abcd".repeat(100), "max_tokens": 8})
}

fn with(body: &Value, params: &Value) -> Value {
    let mut body = body.clone();
    body["kv_transfer_params"] = params.clone();
    body
}

fn prefill(name: &str) -> Value {
    let mut body =
        with(&prompt(), &json!({"do_remote_decode": true, "do_remote_prefill": false, "transfer_id": name}));
    body["max_tokens"] = json!(1);
    body
}

/// The id that the prefill engine's bootstrap server shows.
async fn engine_id(engine: &EngineServer) -> String {
    let mut connection = Connection::open(engine.side_addr()).await.unwrap();
    let page = connection.send(Method::GET, "/query", &[], "".into()).await.unwrap().json();
    page["0"]["engine_id"].as_str().unwrap().to_owned()
}

async fn decode(engine: &EngineServer, name: &str) -> Value {
    let params = json!({
        "do_remote_decode": false, "do_remote_prefill": true, "transfer_id": name,
        "remote_bootstrap_addr": format!("http://{}", engine.side_addr()), "remote_engine_id": engine_id(engine).await,
    });
    with(&prompt(), &params)
}

#[tokio::test]
async fn legs_of_one_name_have_the_response_of_the_whole_request_whoever_comes_first() {
    let (p, d) = (start(transfer(Role::Prefill)).await, start(transfer(Role::Decode)).await);
    let expected = essence(&post(&d, COMPLETIONS, prompt()).await);
    let (first, body) = (prefill("xfer-1"), decode(&p, "xfer-1").await);
    let (first, second) = tokio::join!(post(&p, COMPLETIONS, first), post(&d, COMPLETIONS, &body));
    assert_eq!((first.status.as_u16(), &first.json()["kv_transfer_params"]), (200, &Value::Null));
    assert_eq!(essence(&second), expected);
    d.reset_cold();
    assert_eq!(
        post(&p, COMPLETIONS, prefill("xfer-2")).await.status,
        200,
        "it does not wait for its partner"
    );
    let second = post(&d, COMPLETIONS, decode(&p, "xfer-2").await).await;
    assert_eq!(essence(&second), expected);
    assert_eq!(second.json()["usage"]["prompt_tokens_details"]["cached_tokens"], 99);
    assert_eq!((legs(&p).prompts_handed_over, legs(&p).prompts_held, legs(&d).prompts_fetched), (2, 0, 2));
}

#[tokio::test]
async fn a_role_that_does_not_fit_ends_the_process() {
    let (p, d) = (start(transfer(Role::Prefill)).await, start(transfer(Role::Decode)).await);
    let to_fetch = decode(&p, "xfer-1").await;
    assert!(open(p.addr(), COMPLETIONS, to_fetch).await.is_err());
    assert!(open(d.addr(), COMPLETIONS, prefill("xfer-1")).await.is_err());
    for engine in [&p, &d] {
        eventually(engine, |state| state.legs.killing == 1).await;
    }
}

#[tokio::test]
async fn a_prompt_that_does_not_come_is_the_policys() {
    let hasty = Transfer { partner_time_max: Duration::from_millis(20), ..transfer(Role::Decode) };
    let p = start(transfer(Role::Prefill)).await;
    let (fails, recomputes) =
        (start(hasty.clone()).await, Transfer { load_failure: LoadFailure::Recompute, ..hasty });
    let recomputes = start(recomputes).await;
    let expected = essence(&post(&recomputes, COMPLETIONS, prompt()).await);
    let mut foreign = decode(&p, "xfer-1").await;
    foreign["kv_transfer_params"]["remote_engine_id"] = json!("another");
    let alone = decode(&p, "xfer-2").await;
    for body in [&foreign, &alone] {
        assert_eq!(post(&fails, COMPLETIONS, body).await.status, 500);
        assert_eq!(essence(&post(&recomputes, COMPLETIONS, body).await), expected);
    }
    p.fault(Fault::Die).await;
    assert_eq!(post(&fails, COMPLETIONS, &alone).await.status, 500);
    assert_eq!((legs(&fails).fetches_failed, legs(&recomputes).prompts_recomputed), (3, 2));
}

#[tokio::test]
async fn parameters_without_a_name_are_refused() {
    let (p, d) = (start(transfer(Role::Prefill)).await, start(transfer(Role::Decode)).await);
    let nameless = with(&prompt(), &json!({"do_remote_decode": true}));
    assert_eq!(post(&p, COMPLETIONS, nameless).await.status, 400);
    let mut nowhere = decode(&p, "xfer-1").await;
    nowhere["kv_transfer_params"].as_object_mut().unwrap().remove("remote_bootstrap_addr");
    assert_eq!(post(&d, COMPLETIONS, nowhere).await.status, 400);
}
