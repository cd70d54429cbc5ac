//! Requests that two engines serve together, over real sockets: vLLM's NIXL connector, its failures, and what its pages show.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{essence, eventually, get, legs, open, post};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use tokio::net::TcpStream;
use warmpath_engine::{
    EngineServer, Fault, Legs, LoadFailure, Nonsense, Params, Preset, ServerConfig, Transfer,
    TransferProtocol, model::LoadTime,
};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// What the filter puts into a prefill leg.
fn keep() -> Value {
    json!({
        "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": null, "remote_block_ids": null,
        "remote_host": null, "remote_port": null,
    })
}

fn config(name: &str) -> ServerConfig {
    let transfer = Some(Transfer::new(TransferProtocol::Nixl));
    ServerConfig { name: name.to_owned(), transfer, ..ServerConfig::instant() }
}

fn recomputing(name: &str) -> ServerConfig {
    let transfer = Transfer { load_failure: LoadFailure::Recompute, ..Transfer::new(TransferProtocol::Nixl) };
    ServerConfig { transfer: Some(transfer), ..config(name) }
}

async fn start(config: ServerConfig) -> EngineServer {
    EngineServer::start(config).await.unwrap()
}

async fn pair() -> (EngineServer, EngineServer) {
    (start(config("prefill")).await, start(config("decode")).await)
}

fn prompt() -> Value {
    json!({"prompt": "abcd".repeat(100), "max_tokens": 8})
}

fn with(body: &Value, params: &Value) -> Value {
    let mut body = body.clone();
    body["kv_transfer_params"] = params.clone();
    body
}

/// The prefill leg as the filter sends it: one token, no stream.
fn first_leg(body: &Value) -> Value {
    let mut body = with(body, &keep());
    for limit in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
        if body.get(limit).is_some() {
            body[limit] = json!(1);
        }
    }
    body["stream"] = json!(false);
    body
}

async fn prefill(engine: &EngineServer, path: &str, body: &Value) -> Value {
    let reply = post(engine, path, first_leg(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["kv_transfer_params"].clone()
}

/// A request in each protocol, with prompts that end within a token.
fn requests() -> Vec<(&'static str, Value)> {
    let text = |more: &str| format!("{}{more}", "Why is the sky blue? ".repeat(40));
    let user = |more: &str| json!([{"role": "user", "content": text(more)}]);
    let tool = json!([{"type": "function", "function": {"name": "look"}}]);
    vec![
        (COMPLETIONS, json!({"prompt": text("a"), "max_tokens": 7})),
        (CHAT, json!({"messages": user("bc"), "max_completion_tokens": 9})),
        (CHAT, json!({"messages": user("d"), "tools": tool, "tool_choice": "required", "max_tokens": 5})),
        ("/v1/responses", json!({"input": text("efg"), "max_output_tokens": 6})),
        ("/v1/messages", json!({"messages": user("h"), "max_tokens": 4})),
    ]
}

#[tokio::test]
async fn a_split_request_has_the_response_of_the_whole_one_in_every_protocol() {
    let (p, d) = pair().await;
    let whole = start(config("whole")).await;
    for (path, mut body) in requests() {
        for stream in [false, true] {
            body["stream"] = json!(stream);
            let params = prefill(&p, path, &body).await;
            let split = post(&d, path, with(&body, &params)).await;
            assert_eq!(essence(&split), essence(&post(&whole, path, &body).await), "{path} stream={stream}");
        }
    }
    assert_eq!(legs(&whole).whole, 10);
    assert_eq!((legs(&p).prefills, legs(&p).prompts_handed_over, legs(&p).prompts_held), (10, 10, 0));
    assert_eq!((legs(&d).decodes, legs(&d).prompts_fetched, legs(&d).fetches_failed), (10, 10, 0));
    assert_eq!(p.state().blocks_in_use + d.state().blocks_in_use, 0);
}

#[tokio::test]
async fn a_prefill_leg_hands_over_what_vllm_does() {
    let (p, _) = pair().await;
    post(&p, COMPLETIONS, prompt()).await;
    let reply = post(&p, COMPLETIONS, first_leg(&prompt())).await.json();
    assert_eq!(reply["usage"]["completion_tokens"], 1);
    let mut params = reply["kv_transfer_params"].clone();
    let blocks = params["remote_block_ids"][0].as_array().unwrap().len();
    assert_eq!(blocks, 7, "100 tokens in blocks of 16");
    let id = params["remote_request_id"].as_str().unwrap();
    assert!(id.starts_with(reply["id"].as_str().unwrap()), "{id}");
    assert_eq!(params["remote_engine_id"].as_str().unwrap().len(), 36);
    assert_eq!(params["remote_port"], p.side_addr().port());
    for moving in ["remote_block_ids", "remote_request_id", "remote_engine_id", "remote_port"] {
        params.as_object_mut().unwrap().remove(moving);
    }
    let fixed = json!({
        "do_remote_prefill": true, "do_remote_decode": false, "remote_host": "127.0.0.1", "tp_size": 1,
        "dcp_size": 1, "pp_size": 1, "remote_num_tokens": 100, "remote_blocks_expiry_time": null,
        "transfer_mode": "pull", "remote_prefill_cached_tokens": 96,
    });
    assert_eq!(params, fixed);
    assert_eq!(legs(&p).prompts_held, 1);
}

#[tokio::test]
async fn a_streamed_prefill_leg_hands_nothing_over() {
    let (p, _) = pair().await;
    let mut body = first_leg(&prompt());
    body["stream"] = json!(true);
    let reply = post(&p, COMPLETIONS, body).await;
    assert!(!reply.text().contains("kv_transfer_params"), "{}", reply.text());
    assert_eq!(legs(&p).prompts_held, 1, "the blocks are held all the same");
}

#[tokio::test]
async fn the_pages_say_where_prompts_came_from() {
    let (p, d) = pair().await;
    post(&p, COMPLETIONS, prompt()).await;
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    let reply = post(&d, COMPLETIONS, with(&prompt(), &params)).await;
    let cached = &reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert_eq!(*cached, 96, "the prefill engine's cache had them");
    let sample = async |engine: &EngineServer, name: &str, labels: &str| {
        let page = get(engine, "/metrics").await;
        let found = page.text().lines().find(|line| line.starts_with(name) && line.contains(labels));
        found.unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    let sources = async |engine: &EngineServer| {
        let of = async |source| sample(engine, "vllm:prompt_tokens_by_source_total", source).await;
        [of("local_compute").await, of("local_cache_hit").await, of("external_kv_transfer").await]
    };
    assert_eq!(sources(&p).await, ["104.0", "96.0", "0.0"]);
    assert_eq!(sources(&d).await, ["0.0", "0.0", "100.0"]);
    assert_eq!(sample(&d, "vllm:prompt_tokens_cached_by_source_total", "p2p").await, "100.0");
    assert_eq!(sample(&d, "vllm:external_prefix_cache_hits_total", "").await, "100.0");
    assert_eq!(sample(&d, "vllm:nixl_xfer_time_seconds_count", "").await, "1.0");
    assert_eq!(sample(&d, "vllm:nixl_bytes_transferred_sum", "").await, "26214400.0");
    assert_eq!(sample(&d, "vllm:nixl_num_failed_transfers_total", "").await, "0.0");
}

#[tokio::test]
async fn a_prompt_to_fetch_without_blocks_ends_the_decode_engine() {
    for params in [
        json!({"do_remote_prefill": true}),
        json!({"do_remote_prefill": true, "remote_block_ids": null}),
        json!({"do_remote_prefill": true, "remote_block_ids": []}),
        json!({"do_remote_prefill": true, "remote_block_ids": [[1, 2]]}),
    ] {
        let d = start(recomputing("decode")).await;
        let sent = open(d.addr(), COMPLETIONS, with(&prompt(), &params)).await;
        assert!(sent.is_err(), "no response comes");
        eventually(&d, |state| state.legs.killing == 1).await;
        while TcpStream::connect(d.addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(TcpStream::connect(d.side_addr()).await.is_err());
    }
}

#[tokio::test]
async fn an_engine_without_a_connector_overlooks_the_parameters() {
    let engine = start(ServerConfig::instant()).await;
    for params in [keep(), json!({"do_remote_prefill": true})] {
        let reply = post(&engine, COMPLETIONS, with(&prompt(), &params)).await.json();
        assert_eq!(reply["kv_transfer_params"], Value::Null);
    }
    assert_eq!((legs(&engine), engine.state().finished), (Legs::default(), 2));
}

/// Parameters that lead nowhere, each for another reason.
async fn lost(p: &EngineServer) -> Vec<(&'static str, Value)> {
    let params = prefill(p, COMPLETIONS, &prompt()).await;
    let changed = |name: &str, value: Value| {
        let mut params = params.clone();
        params[name] = value;
        params
    };
    let gone = start(config("gone")).await;
    let of_gone = prefill(&gone, COMPLETIONS, &prompt()).await;
    gone.fault(Fault::Die).await;
    let restarted = start(config("restarted")).await;
    let before = prefill(&restarted, COMPLETIONS, &prompt()).await;
    restarted.fault(Fault::Restart).await;
    let mut of_restarted = before;
    of_restarted["remote_port"] = json!(p.side_addr().port());
    vec![
        ("another engine", changed("remote_engine_id", json!("58097e15-4457-4f6f-8515-94f01d7364fa"))),
        ("a killed engine", of_gone),
        ("an engine of another life", of_restarted),
        ("an address that is null", changed("remote_host", Value::Null)),
    ]
}

#[tokio::test]
async fn a_prompt_that_cannot_be_fetched_fails_the_request() {
    let (p, d) = pair().await;
    let error = json!({"error": {
        "message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500,
    }});
    for (why, params) in lost(&p).await {
        let reply = post(&d, COMPLETIONS, with(&prompt(), &params)).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (500, error.clone()), "{why}");
    }
    assert_eq!((legs(&d).fetches_failed, legs(&d).prompts_recomputed), (4, 0));
    assert!(d.state().fetch_error.is_some());
}

#[tokio::test]
async fn a_stream_whose_prompt_cannot_be_fetched_is_200_with_an_error_in_it() {
    let d = start(config("decode")).await;
    let p = start(config("prefill")).await;
    let params = lost(&p).await.remove(0).1;
    for (path, mut body) in requests() {
        body["stream"] = json!(true);
        let reply = post(&d, path, with(&body, &params)).await;
        assert_eq!((reply.status.as_u16(), reply.is_cut), (200, path == "/v1/responses"), "{path}");
        let events = reply.events();
        let (before, last) = (events.len() - 1, events.last().unwrap());
        let opening = usize::from(path == CHAT || path == "/v1/responses");
        assert_eq!(before, opening, "{path}: no token: {events:?}");
        assert!(reply.is_cut || last.get("error").is_some(), "{path}: {last}");
    }
}

#[tokio::test]
async fn a_prompt_that_cannot_be_fetched_is_computed_where_the_policy_says_so() {
    let p = start(config("prefill")).await;
    let whole = start(config("whole")).await;
    let d = start(recomputing("decode")).await;
    let expected = essence(&post(&whole, COMPLETIONS, prompt()).await);
    for (why, params) in lost(&p).await {
        let reply = post(&d, COMPLETIONS, with(&prompt(), &params)).await;
        assert_eq!(essence(&reply), expected, "{why}");
    }
    assert_eq!((legs(&d).fetches_failed, legs(&d).prompts_recomputed), (4, 4));
    assert_eq!(d.state().blocks_in_use, 0);
}

#[tokio::test]
async fn a_prompt_is_lost_when_its_lease_is_over_and_not_while_it_is_renewed() {
    let short = |name: &str, held_s_max: f64| {
        let slow = LoadTime { fixed_s: 0.5, bytes_per_s: f64::INFINITY };
        let params = Params { held_s_max, transfer: slow, ..Params::new(Preset::Instant) };
        ServerConfig { params, time_scale: 1.0, ..config(name) }
    };
    let (p, d) = (start(short("prefill", 0.1)).await, start(short("decode", 0.1)).await);
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    assert_eq!(post(&d, COMPLETIONS, with(&prompt(), &params)).await.status, 200, "longer than the lease");
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    eventually(&p, |state| state.legs.prompts_expired == 1 && state.blocks_in_use == 0).await;
    let expected = essence(&post(&d, COMPLETIONS, prompt()).await);
    let reply = post(&d, COMPLETIONS, with(&prompt(), &params)).await;
    assert_ne!(essence(&reply), expected, "other keys and values, and 200");
    assert_eq!((legs(&d).prompts_stale, legs(&p).fetches_unexpected), (1, 1));
    let page = get(&p, "/metrics").await;
    for family in ["nixl_num_kv_expired_reqs_total", "nixl_num_notifications_after_expiry_total"] {
        let sample = format!("vllm:{family}{{engine=\"0\",model_name=\"sim\"}} 1.0\n");
        assert!(page.text().contains(&sample), "{family}");
    }
}

#[tokio::test]
async fn a_second_fetch_and_changed_parameters_give_another_output_and_are_counted() {
    let (p, d) = pair().await;
    let expected = essence(&post(&p, COMPLETIONS, prompt()).await);
    let used = prefill(&p, COMPLETIONS, &prompt()).await;
    assert_eq!(essence(&post(&d, COMPLETIONS, with(&prompt(), &used)).await), expected);
    let mut blocks = prefill(&p, COMPLETIONS, &prompt()).await;
    blocks["remote_block_ids"] = json!([[1, 2, 3]]);
    for params in [used, blocks] {
        let reply = post(&d, COMPLETIONS, with(&prompt(), &params)).await;
        assert_ne!(essence(&reply), expected);
    }
    assert_eq!((legs(&d).prompts_fetched, legs(&d).prompts_stale, legs(&d).fetches_failed), (3, 2, 0));
}

#[tokio::test]
async fn a_prefill_engine_that_is_stopped_lets_the_decode_engine_wait() {
    let (p, d) = pair().await;
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    p.fault(Fault::Stall).await;
    let addr = d.addr();
    let waiting =
        tokio::spawn(
            async move { open(addr, COMPLETIONS, with(&prompt(), &params)).await.unwrap().rest().await },
        );
    eventually(&d, |state| state.legs.decodes == 1).await;
    assert_eq!(post(&d, COMPLETIONS, prompt()).await.status, 200, "it serves others meanwhile");
    assert!(!waiting.is_finished());
    p.fault(Fault::Clear).await;
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_decode_engine_that_refuses_or_loses_its_client_gives_the_prompt_up() {
    let p = start(config("prefill")).await;
    let never = LoadTime { fixed_s: 1e6, bytes_per_s: f64::INFINITY };
    let slow = Params { transfer: never, ..Params::new(Preset::Instant) };
    let d = start(ServerConfig { params: slow, time_scale: 1.0, ..config("decode") }).await;
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    let refused = post(&d, COMPLETIONS, json!({"prompt": 7, "kv_transfer_params": params})).await;
    assert_eq!(refused.status, 400);
    eventually(&p, |state| state.legs.prompts_given_up == 1 && state.blocks_in_use == 0).await;

    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    let addr = d.addr();
    let leaving =
        tokio::spawn(async move { open(addr, COMPLETIONS, with(&prompt(), &params)).await.map(drop) });
    eventually(&d, |state| state.blocks_in_use > 0).await;
    leaving.abort();
    eventually(&p, |state| state.legs.prompts_given_up == 2 && state.blocks_in_use == 0).await;

    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    let other = params.clone();
    let dying =
        tokio::spawn(async move { open(addr, COMPLETIONS, with(&prompt(), &params)).await.map(drop) });
    eventually(&d, |state| state.blocks_in_use > 0).await;
    d.fault(Fault::Die).await;
    assert!(dying.await.unwrap().is_err());
    assert_eq!(legs(&p).prompts_given_up, 2, "a killed engine says nothing");
    let another = start(config("another")).await;
    assert_eq!(
        post(&another, COMPLETIONS, with(&prompt(), &other)).await.status,
        200,
        "the same prompt, elsewhere"
    );
}

#[tokio::test]
async fn parameters_that_the_filter_must_not_send_are_refused() {
    let (p, _) = pair().await;
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    let mut of_both = params.clone();
    of_both["do_remote_decode"] = json!(true);
    let mut unknown = params.clone();
    unknown["remote_blocks"] = json!(1);
    let mut mooncake = keep();
    mooncake["transfer_id"] = json!("xfer-1");
    for params in [of_both, unknown, mooncake, json!({"do_remote_decode": "yes"})] {
        let reply = post(&p, COMPLETIONS, with(&prompt(), &params)).await;
        assert_eq!(reply.status, 400, "{params}: {}", reply.text());
    }
    assert_eq!(legs(&p).refused, 4);
    let two = json!({"prompt": ["a", "b"], "kv_transfer_params": keep()});
    assert_eq!(post(&p, COMPLETIONS, two).await.status, 400);
}

#[tokio::test]
async fn a_decode_leg_with_the_prompt_of_another_generates_anothers_output() {
    let (p, d) = pair().await;
    let params = prefill(&p, COMPLETIONS, &prompt()).await;
    let other = json!({"prompt": "efgh".repeat(100), "max_tokens": 8});
    let split = post(&d, COMPLETIONS, with(&other, &params)).await;
    assert_ne!(essence(&split), essence(&post(&d, COMPLETIONS, &other).await));
}

#[tokio::test]
async fn a_prefill_leg_fails_in_every_way_that_is_ordered() {
    let p = start(config("prefill")).await;
    let leg = async || open(p.addr(), COMPLETIONS, first_leg(&prompt())).await.unwrap().rest().await;
    p.fault(Fault::status(429, Some(1))).await;
    assert_eq!(leg().await.status, 429);
    let nonsense = async |what| {
        p.fault(Fault::Nonsense { what, count: Some(1), every: NonZeroU32::MIN }).await;
        leg().await
    };
    assert_eq!(nonsense(Nonsense::Html).await.header("content-type"), "text/html");
    assert_eq!(nonsense(Nonsense::Json).await.json(), json!({}));
    assert_eq!(nonsense(Nonsense::NoHandover).await.json()["kv_transfer_params"], Value::Null);
    let empty = nonsense(Nonsense::EmptyHandover).await.json()["kv_transfer_params"].clone();
    assert_eq!((&empty["remote_block_ids"], &empty["do_remote_prefill"]), (&json!([]), &json!(true)));
    p.fault(Fault::Half { count: Some(1), every: NonZeroU32::MIN }).await;
    let half = leg().await;
    assert_eq!((half.status.as_u16(), half.is_cut, half.body.is_empty()), (200, true, false));
    p.fault(Fault::Late { ms: 1, count: Some(1), every: NonZeroU32::MIN }).await;
    assert_eq!(leg().await.json()["kv_transfer_params"]["do_remote_prefill"], true);
    assert_eq!((legs(&p).prompts_held, p.state().faulted), (4, 7), "what was computed is held");
}

#[tokio::test]
async fn a_fault_of_legs_leaves_whole_requests_alone() {
    let p = start(config("prefill")).await;
    p.fault(Fault::Nonsense { what: Nonsense::NoHandover, count: Some(1), every: NonZeroU32::MIN }).await;
    assert_eq!(post(&p, COMPLETIONS, prompt()).await.status, 200);
    assert_eq!(p.state().faulted, 0);
    assert_eq!(prefill(&p, COMPLETIONS, &prompt()).await, Value::Null);
}

/// What two real engines exchanged, with our bodies.
fn captures() -> Vec<(String, Value)> {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/core/tests/captures/vllm-nixl");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    files.map(read).collect()
}

#[tokio::test]
async fn what_real_engines_were_sent_is_served_and_has_a_handover_of_the_same_fields() {
    let of_model = |name| ServerConfig { model: "tiny".to_owned(), ..config(name) };
    let (p, d) = (start(of_model("prefill")).await, start(of_model("decode")).await);
    let kinds = |params: &Value| -> Vec<(String, bool)> {
        let fields = params.as_object().unwrap();
        let mut kinds: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), value.is_null())).collect();
        kinds.sort();
        kinds
    };
    let parsed = |capture: &Value, name: &str| -> Value {
        serde_json::from_str(capture[name].as_str().unwrap_or("null")).unwrap_or_default()
    };
    let mut compared = 0;
    for (name, capture) in captures() {
        let real = parsed(&capture, "prefill_response")["kv_transfer_params"].clone();
        if capture["decode_status"] != 200 || real.is_null() {
            continue;
        }
        let path = capture["path"].as_str().unwrap();
        let ours = post(&p, path, parsed(&capture, "prefill_request")).await;
        assert_eq!(ours.status, 200, "{name}: {}", ours.text());
        let params = ours.json()["kv_transfer_params"].clone();
        assert_eq!(kinds(&params), kinds(&real), "{name}");
        let decode = with(&parsed(&capture, "decode_request"), &params);
        let split = post(&d, path, decode).await;
        let whole = post(&d, path, parsed(&capture, "body")).await;
        assert_eq!(essence(&split), essence(&whole), "{name}");
        compared += 1;
    }
    assert!(compared > 8, "{compared}");
    assert_eq!((legs(&d).fetches_failed, legs(&d).prompts_stale), (0, 0));
}
