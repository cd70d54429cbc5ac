//! Requests that two engines serve together as SGLang's do: both at once, in a room of the prefill engine's bootstrap server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{Reply, essence, eventually, legs, open, post};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use warmpath_engine::{
    EngineServer, Fault, Params, Preset, Role, ServerConfig, Transfer, TransferProtocol, model::LoadTime,
};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn transfer(role: Role) -> Transfer {
    Transfer::new(TransferProtocol::Sglang).with_role(role)
}

fn config(name: &str, transfer: Transfer) -> ServerConfig {
    ServerConfig { name: name.to_owned(), transfer: Some(transfer), ..ServerConfig::instant() }
}

async fn start(config: ServerConfig) -> EngineServer {
    EngineServer::start(config).await.unwrap()
}

async fn pair() -> (EngineServer, EngineServer) {
    (
        start(config("prefill", transfer(Role::Prefill))).await,
        start(config("decode", transfer(Role::Decode))).await,
    )
}

fn prompt() -> Value {
    json!({"prompt": "abcd".repeat(100), "max_tokens": 8})
}

/// A request with a room of this prefill engine.
fn in_room(body: &Value, engine: &EngineServer, room: u64) -> Value {
    let mut body = body.clone();
    body["bootstrap_host"] = engine.side_addr().ip().to_string().into();
    body["bootstrap_port"] = engine.side_addr().port().into();
    body["bootstrap_room"] = room.into();
    body
}

async fn both(p: &EngineServer, d: &EngineServer, path: &str, body: &Value) -> (Reply, Reply) {
    tokio::join!(post(p, path, body), post(d, path, body))
}

fn message(reply: &Reply) -> String {
    reply.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn legs_that_meet_have_the_response_of_the_whole_request() {
    let (p, d) = pair().await;
    let whole = start(config("whole", transfer(Role::Both))).await;
    let user = json!([{"role": "user", "content": "Why is the sky blue?".repeat(30)}]);
    let requests = [
        (COMPLETIONS, json!({"prompt": format!("{}e", "abcd".repeat(90)), "max_tokens": 7})),
        (CHAT, json!({"messages": user, "max_completion_tokens": 9})),
    ];
    let mut room = 7;
    for (path, mut body) in requests {
        for stream in [false, true] {
            body["stream"] = json!(stream);
            room += 1;
            let (first, second) = both(&p, &d, path, &in_room(&body, &p, room)).await;
            assert_eq!(essence(&second), essence(&post(&whole, path, &body).await), "{path} stream={stream}");
            assert_eq!(first.status, 200, "{}", first.text());
            if !stream {
                assert_eq!(first.json()["usage"]["completion_tokens"], 1, "a copy of the first token");
            }
        }
    }
    assert_eq!((legs(&p).prefills, legs(&p).prompts_handed_over, legs(&p).prompts_held), (4, 4, 0));
    assert_eq!((legs(&d).decodes, legs(&d).prompts_fetched, legs(&d).fetches_failed), (4, 4, 0));
    assert_eq!(legs(&whole).whole, 4, "an engine without a mode overlooks rooms");
}

#[tokio::test]
async fn several_prompts_have_a_room_each() {
    let (p, d) = pair().await;
    let body = json!({"prompt": ["abcd".repeat(40), "efgh".repeat(40)], "max_tokens": 3});
    let whole = start(ServerConfig::instant()).await;
    let expected = essence(&post(&whole, COMPLETIONS, &body).await);
    let mut listed = in_room(&body, &p, 0);
    listed["bootstrap_room"] = json!([17, 4]);
    listed["bootstrap_host"] = json!(["127.0.0.1", "127.0.0.1"]);
    listed["bootstrap_port"] = json!([p.side_addr().port(), p.side_addr().port()]);
    for body in [listed, in_room(&body, &p, 30)] {
        let (first, second) = both(&p, &d, COMPLETIONS, &body).await;
        assert_eq!(first.status, 200, "{}", first.text());
        assert_eq!(essence(&second), expected);
    }
    let mut short = in_room(&body, &p, 0);
    short["bootstrap_room"] = json!([1]);
    assert_eq!(post(&d, COMPLETIONS, short).await.status, 400);
}

#[tokio::test]
async fn an_engine_of_one_mode_serves_nothing_without_a_room() {
    let (p, d) = pair().await;
    for engine in [&p, &d] {
        let reply = post(engine, COMPLETIONS, prompt()).await;
        assert_eq!(reply.status, 400);
        let expected = "Invalid request: Disaggregated request received without bootstrap room id.";
        assert_eq!((message(&reply).as_str(), &reply.json()["object"]), (expected, &json!("error")));
    }
    let responses = in_room(&json!({"input": "hi", "max_output_tokens": 3}), &p, 1);
    assert_eq!(post(&d, "/v1/responses", responses).await.status, 400, "this API drops the room");
    let mut foreign = in_room(&prompt(), &p, 2);
    foreign["kv_transfer_params"] = json!({"do_remote_decode": true});
    assert_eq!(post(&p, COMPLETIONS, foreign).await.status, 400);
}

#[tokio::test]
async fn a_leg_whose_partner_never_comes_fails() {
    let hasty = |role| Transfer { partner_time_max: Duration::from_millis(20), ..transfer(role) };
    let p = start(config("prefill", hasty(Role::Prefill))).await;
    let d = start(config("decode", hasty(Role::Decode))).await;
    let body = in_room(&prompt(), &p, 1);
    let alone = post(&d, COMPLETIONS, &body).await;
    assert_eq!(alone.status, 500);
    assert!(message(&alone).contains("KVPoll.WaitingForInput"), "{}", alone.text());
    let alone = post(&p, COMPLETIONS, &body).await;
    assert_eq!(alone.status, 500);
    assert!(message(&alone).contains("KVPoll.Bootstrapping"), "{}", alone.text());
    assert_eq!(p.state().prompt_tokens, 0, "it does not begin before its partner has come");
}

#[tokio::test]
async fn a_stream_that_fails_is_200_with_an_error_in_it() {
    let (p, d) = pair().await;
    let mut body = in_room(&prompt(), &p, 1);
    body["stream"] = json!(true);
    p.fault(Fault::Die).await;
    let reply = post(&d, COMPLETIONS, &body).await;
    assert_eq!(reply.status, 200);
    let error = &reply.events()[0]["error"];
    assert!(error["message"].as_str().unwrap().starts_with("Decode handshake failed"), "{error}");
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_prefill_engine_that_dies_while_its_partner_waits_fails_the_partner() {
    let (p, d) = pair().await;
    let body = in_room(&prompt(), &p, 1);
    let addr = d.addr();
    let waiting = tokio::spawn(async move { open(addr, COMPLETIONS, body).await.unwrap().rest().await });
    eventually(&p, |state| state.legs.prompts_awaited == 1).await;
    p.fault(Fault::Die).await;
    let reply = waiting.await.unwrap();
    assert_eq!(reply.status, 500);
    assert!(message(&reply).ends_with("it might be dead"), "{}", reply.text());
    assert_eq!(d.state().blocks_in_use, 0);
}

#[tokio::test]
async fn a_prefill_engine_is_free_again_when_its_partner_has_left() {
    let p = start(config("prefill", transfer(Role::Prefill))).await;
    let never = LoadTime { fixed_s: 1e6, bytes_per_s: f64::INFINITY };
    let slow = Params { transfer: never, ..Params::new(Preset::Instant) };
    let d = start(ServerConfig { params: slow, time_scale: 1.0, ..config("decode", transfer(Role::Decode)) })
        .await;
    let body = in_room(&prompt(), &p, 1);
    let (addr, other) = (d.addr(), body.clone());
    let leaving = tokio::spawn(async move { open(addr, COMPLETIONS, other).await.map(drop) });
    let addr = p.addr();
    let prefill = tokio::spawn(async move { open(addr, COMPLETIONS, body).await.unwrap().rest().await });
    eventually(&d, |state| state.blocks_in_use > 0).await;
    leaving.abort();
    let reply = prefill.await.unwrap();
    assert_eq!(reply.status, 500);
    assert!(message(&reply).starts_with("Prefill transfer failed"), "{}", reply.text());
    assert_eq!((p.state().blocks_in_use, legs(&p).prompts_held), (0, 0));
}

#[tokio::test]
async fn a_request_without_a_port_means_that_of_the_engines_flags() {
    let on = |host: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
    let p = start(ServerConfig { listen: on(2), ..config("prefill", transfer(Role::Prefill)) }).await;
    let same = Transfer { side_port: p.side_addr().port(), ..transfer(Role::Decode) };
    let d = start(ServerConfig { listen: on(3), ..config("decode", same) }).await;
    let mut body = in_room(&prompt(), &p, 1);
    body["bootstrap_port"] = Value::Null;
    let (first, second) = both(&p, &d, COMPLETIONS, &body).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200), "{}", second.text());
}
