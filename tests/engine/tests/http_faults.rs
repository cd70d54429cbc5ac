//! Each failure on demand, as a client sees it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{Open, eventually, get, open, post};
use http::Method;
use serde_json::json;
use std::{num::NonZeroU32, time::Duration};
use tokio::net::TcpStream;
use warmpath_engine::{EngineServer, Fault, Scrape, ServerConfig};
use warmpath_http::{Connection, JSON};

const COMPLETIONS: &str = "/v1/completions";

async fn instant() -> EngineServer {
    EngineServer::start(ServerConfig::instant()).await.unwrap()
}

fn prompt() -> serde_json::Value {
    json!({"prompt": "abcd".repeat(100), "max_tokens": 8})
}

async fn status(engine: &EngineServer) -> u16 {
    post(engine, COMPLETIONS, prompt()).await.status.as_u16()
}

/// Starts a response that never ends by itself.
async fn endless(engine: &EngineServer) -> Open {
    let body = json!({"prompt": "abcd", "max_tokens": 100_000, "stream": true});
    open(engine.addr(), COMPLETIONS, body).await.unwrap()
}

#[tokio::test]
async fn refuse_closes_the_port_and_lets_responses_end() {
    let engine =
        EngineServer::start(ServerConfig { time_scale: 100.0, ..ServerConfig::default() }).await.unwrap();
    let body = json!({"prompt": "abcd", "max_tokens": 20, "stream": true});
    let stream = open(engine.addr(), COMPLETIONS, body).await.unwrap();
    engine.fault(Fault::Refuse).await;
    let refused = TcpStream::connect(engine.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!stream.rest().await.is_cut, "the response under way continues");
    engine.fault(Fault::Clear).await;
    assert_eq!(status(&engine).await, 200);
}

#[tokio::test]
async fn an_engine_that_drains_lets_responses_end_and_waits_for_no_longer_than_it_may() {
    let engine =
        EngineServer::start(ServerConfig { time_scale: 100.0, ..ServerConfig::default() }).await.unwrap();
    let body = json!({"prompt": "abcd", "max_tokens": 500, "stream": true});
    let stream = open(engine.addr(), COMPLETIONS, body).await.unwrap();
    let rest = tokio::spawn(stream.rest());
    engine.drain(Duration::from_mins(1)).await;
    engine.shutdown().await;
    assert!(!rest.await.unwrap().is_cut, "the response under way ends");
    let slow = EngineServer::start(ServerConfig::default()).await.unwrap();
    let stream = endless(&slow).await;
    slow.drain(Duration::from_millis(10)).await;
    slow.shutdown().await;
    assert!(stream.rest().await.is_cut);
}

#[tokio::test]
async fn refuse_closes_idle_connections() {
    let engine = instant().await;
    let mut connection = Connection::open(engine.addr()).await.unwrap();
    connection.send(Method::POST, COMPLETIONS, &[JSON], prompt().to_string().into()).await.unwrap();
    engine.fault(Fault::Refuse).await;
    connection.closed().await.unwrap();
}

#[tokio::test]
async fn a_stalled_engine_accepts_and_responds_later() {
    let engine = instant().await;
    engine.fault(Fault::Stall).await;
    let addr = engine.addr();
    let stalled = tokio::spawn(async move { open(addr, COMPLETIONS, prompt()).await.unwrap() });
    eventually(&engine, |state| state.requests.contains_key(COMPLETIONS)).await;
    assert_eq!(get(&engine, "/sim/state").await.status, 200, "orders are accepted while stalled");
    assert!(!stalled.is_finished());
    assert_eq!(engine.state().prompt_tokens, 0);
    engine.fault(Fault::Clear).await;
    assert_eq!(stalled.await.unwrap().rest().await.status, 200);
}

#[tokio::test]
async fn statuses_last_for_their_count_or_until_cleared() {
    let engine = instant().await;
    engine.fault(Fault::status(503, Some(2))).await;
    let statuses = [status(&engine).await, status(&engine).await, status(&engine).await];
    assert_eq!(statuses, [503, 503, 200]);
    engine.fault(Fault::status(429, None)).await;
    assert_eq!([status(&engine).await, status(&engine).await], [429, 429]);
    assert_eq!(get(&engine, "/health").await.status, 200, "only inference fails");
    engine.fault(Fault::Clear).await;
    assert_eq!((status(&engine).await, engine.state().faulted), (200, 4));
}

#[tokio::test]
async fn a_cut_stream_breaks_after_its_pieces() {
    let engine = instant().await;
    engine.fault(Fault::Cut { after_chunks: 3, count: Some(1) }).await;
    let body = json!({"prompt": "abcd", "max_tokens": 8, "stream": true});
    let cut = post(&engine, COMPLETIONS, &body).await;
    assert_eq!((cut.status.as_u16(), cut.is_cut, cut.events().len()), (200, true, 3));
    let whole = post(&engine, COMPLETIONS, &body).await;
    assert_eq!((whole.is_cut, whole.events().len()), (false, 8));
}

#[tokio::test]
async fn a_dead_engine_loses_all_and_comes_back_cold() {
    let engine =
        EngineServer::start(ServerConfig { time_scale: 100.0, ..ServerConfig::default() }).await.unwrap();
    assert_eq!(status(&engine).await, 200);
    let stream = endless(&engine).await;
    engine.fault(Fault::Die).await;
    assert!(stream.rest().await.is_cut);
    assert!(TcpStream::connect(engine.addr()).await.is_err());
    let state = engine.state();
    assert_eq!((state.running, state.aborted, state.blocks_cached), (0, 1, 0));
    engine.fault(Fault::Clear).await;
    let reply = post(&engine, COMPLETIONS, prompt()).await;
    assert_eq!(reply.header("x-engine-cached-tokens"), "0");
}

#[tokio::test]
async fn a_timed_fault_ends_by_itself() {
    let engine = instant().await;
    engine.fault_for(Fault::Refuse, Duration::from_millis(1)).await;
    let reopened = async {
        while TcpStream::connect(engine.addr()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reopened).await.unwrap();
    assert_eq!(status(&engine).await, 200);
}

#[tokio::test]
async fn a_cold_engine_has_forgotten() {
    let engine = instant().await;
    let cached =
        async || post(&engine, COMPLETIONS, prompt()).await.header("x-engine-cached-tokens").to_owned();
    assert_eq!([cached().await, cached().await], ["0", "96"]);
    engine.reset_cold();
    assert_eq!([cached().await, cached().await], ["0", "96"]);
    engine.fault(Fault::Cold).await;
    assert_eq!(cached().await, "0");
}

#[tokio::test]
async fn faults_are_ordered_over_http() {
    let engine = instant().await;
    let order = async |body: serde_json::Value| post(&engine, "/sim/fault", body).await.status.as_u16();
    assert_eq!(order(json!({"fault": "status", "code": 503, "count": 1})).await, 200);
    assert_eq!([status(&engine).await, status(&engine).await], [503, 200]);
    assert_eq!(order(json!({"fault": "cut", "after_chunks": 1})).await, 200);
    assert_eq!(order(json!({"fault": "clear"})).await, 200);
    assert_eq!(order(json!({"fault": "cold"})).await, 200);
    assert_eq!(order(json!({"fault": "flood"})).await, 400);
    assert_eq!(order(json!({"fault": "refuse"})).await, 400, "nobody could order its end");
    let state = get(&engine, "/sim/state").await.json();
    assert_eq!((&state["faulted"], &state["requests"][COMPLETIONS]), (&json!(1), &json!(2)));
    assert_eq!(order(json!({"fault": "die", "for_ms": 1})).await, 200, "the order itself gets a response");
    let reopened = async {
        while TcpStream::connect(engine.addr()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reopened).await.unwrap();
    assert_eq!(status(&engine).await, 200);
}

#[tokio::test]
async fn an_engine_is_silent_while_its_metrics_come() {
    let engine = instant().await;
    engine.fault(Fault::Silent { count: Some(1), every: NonZeroU32::MIN }).await;
    let addr = engine.addr();
    let silent = tokio::spawn(async move { open(addr, COMPLETIONS, prompt()).await.map(|_| ()) });
    eventually(&engine, |state| state.faulted == 1).await;
    assert_eq!(get(&engine, "/metrics").await.status.as_u16(), 200);
    assert_eq!(status(&engine).await, 200, "only one was to be met with silence");
    assert!(!silent.is_finished());
    silent.abort();
}

#[tokio::test]
async fn a_response_can_end_without_a_token() {
    let engine = instant().await;
    engine.fault(Fault::Empty { count: None, after_ms: 1, every: NonZeroU32::MIN }).await;
    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let reply = post(&engine, "/v1/chat/completions", body).await;
    assert_eq!((reply.status.as_u16(), reply.events().len()), (200, 1), "the role");
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
    let whole = post(&engine, COMPLETIONS, prompt()).await.json();
    assert_eq!((&whole["choices"][0]["text"], &whole["usage"]["completion_tokens"]), (&json!(""), &json!(0)));
}

#[tokio::test]
async fn metrics_fail_come_late_or_stay_as_they_were() {
    let engine = instant().await;
    let page = async || get(&engine, "/metrics").await;
    engine.fault(Fault::Scrape(Scrape::Status { code: 500 })).await;
    assert_eq!((page().await.status.as_u16(), status(&engine).await), (500, 200));
    engine.fault(Fault::Scrape(Scrape::Cut)).await;
    let mut connection = Connection::open(engine.addr()).await.unwrap();
    assert!(connection.send(Method::GET, "/metrics", &[], "".into()).await.is_err());
    engine.fault(Fault::Scrape(Scrape::Frozen)).await;
    let before = page().await;
    status(&engine).await;
    assert_eq!(before.text(), page().await.text());
    engine.fault(Fault::Scrape(Scrape::Late { ms: 1 })).await;
    assert_ne!(before.text(), page().await.text());
    engine.fault(Fault::Scrape(Scrape::Busy { running: 500 })).await;
    assert!(
        page().await.text().contains("vllm:num_requests_running{engine=\"0\",model_name=\"sim\"} 500.0\n")
    );
}

#[tokio::test]
async fn a_restarted_engine_counts_from_zero_and_has_another_start_time() {
    let engine = instant().await;
    let line = async |start: &str| {
        let page = get(&engine, "/metrics").await;
        page.text().lines().find(|line| line.starts_with(start)).unwrap().to_owned()
    };
    status(&engine).await;
    let (started, counted) = (line("process_start_time").await, line("vllm:prompt_tokens_total").await);
    engine.fault(Fault::Restart).await;
    assert_ne!(started, line("process_start_time").await);
    assert_ne!(counted, line("vllm:prompt_tokens_total").await);
    assert!(engine.state().prompt_tokens > 0, "what tests read counts on");
}

#[tokio::test]
async fn shutdown_closes_the_port_and_ends_responses() {
    let engine = EngineServer::start(ServerConfig::default()).await.unwrap();
    let stream = endless(&engine).await;
    let addr = engine.addr();
    engine.shutdown().await;
    assert!(stream.rest().await.is_cut);
    assert!(TcpStream::connect(addr).await.is_err());
}
