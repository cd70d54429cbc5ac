//! What both engines get of a request, to the byte.

use super::{Apart, CHAT, Received, chat, chosen, long, with_handover};
use crate::stack::Build;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use http::StatusCode;
use serde_json::{Value, json};
use warmpath_envoy::resources::{ENGINES, Filter, Policy, WasmFilter, endpoints, engines, listener};
use warmpath_envoy::until;

/// A prompt of some mebibytes.
const LARGE_BYTES: usize = 6 << 20;

#[tokio::test]
async fn both_legs_reach_the_chosen_engines_with_the_clients_own_bytes() {
    let apart = Apart::start(3, 2).await;
    for (number, client) in apart.clients().iter().enumerate() {
        for (path, body) in [
            (CHAT, chat(&format!("chat {number}"), true)),
            (CHAT, chat(&format!("whole chat {number}"), false)),
            (
                "/v1/completions",
                format!(r#"{{"prompt":"{}", "model":"sim","max_tokens":9}}"#, long(&format!("c{number}"))),
            ),
            (
                "/v1/responses",
                format!(r#"{{"input":"{}", "model":"sim","stream":true}}"#, long(&format!("r{number}"))),
            ),
            (
                "/v1/messages",
                format!(
                    r#"{{"model":"sim", "max_tokens":9,"messages":[{{"role":"user","content":"{}"}}]}}"#,
                    long(&format!("m{number}"))
                ),
            ),
        ] {
            let response = apart.send(client, path, &body).await;
            assert_eq!(response.status, StatusCode::OK, "{path}: {}", response.text());
            let (prefill, decode) = chosen(&response);
            let [leg] = &apart.prefill_at(&prefill).take_received()[..] else { panic!("{path}: one leg") };
            assert_leg(leg, path, &body);
            assert!(Apart::received(&apart.prefill).is_empty(), "{path}: no other engine computes it");
            let at_decode = apart.decode.iter().find(|engine| engine.addr().to_string() == decode).unwrap();
            let [own] = &at_decode.take_received()[..] else { panic!("{path}: one request") };
            let expected = with_handover(&body);
            assert!(own.body == expected.as_bytes(), "{path}: {}", String::from_utf8_lossy(&own.body));
            assert_eq!(own.headers["content-length"], expected.len().to_string(), "{path}");
            assert!(Apart::received(&apart.decode).is_empty(), "{path}: nobody else generates");
        }
    }
    apart.counted("split", 10).await;
    apart.rests().await;
}

/// A copy with one token and no stream.
fn assert_leg(leg: &Received, path: &str, body: &str) {
    let (leg_body, own): (Value, Value) =
        (serde_json::from_slice(&leg.body).unwrap(), serde_json::from_str(body).unwrap());
    assert_eq!(leg.path, path);
    for field in ["model", "messages", "prompt", "input", "temperature"] {
        assert_eq!(leg_body.get(field), own.get(field), "{path}: {field}");
    }
    let limit = if path == "/v1/responses" { "max_output_tokens" } else { "max_tokens" };
    assert_eq!(leg_body[limit], json!(1), "{path}");
    assert_ne!(leg_body["stream"], json!(true), "{path}");
    assert_eq!(leg.headers["content-length"], leg.body.len().to_string(), "{path}");
}

#[tokio::test]
async fn a_body_of_some_mebibytes_goes_both_ways() {
    let apart = Apart::start(1, 1).await;
    for client in apart.clients() {
        let body = format!(
            r#"{{"model":"sim","stream":true,"messages":[{{"role":"user","content":"{}"}}]}}"#,
            "whales ".repeat(LARGE_BYTES / 7)
        );
        let response = apart.send(&client, CHAT, &body).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        assert_eq!(Apart::received(&apart.prefill).len(), 1);
        let [own] = &Apart::received(&apart.decode)[..] else { panic!("one request") };
        assert!(own.body == with_handover(&body).as_bytes(), "{} bytes", own.body.len());
    }
    apart.rests().await;
}

#[tokio::test]
async fn what_clients_say_of_transfers_reaches_no_engine() {
    let apart = Apart::start(1, 1).await;
    let client = &apart.clients()[0];
    for prompt in ["hi".to_owned(), long("forged")] {
        let body = json!({
            "model": "sim", "messages": [{ "role": "user", "content": prompt }],
            "kv_transfer_params": { "do_remote_prefill": true }, "bootstrap_room": 1, "disaggregated_params": {},
        });
        let response = apart.send(client, CHAT, &body.to_string()).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        for own in Apart::received(&apart.decode) {
            let own: Value = serde_json::from_slice(&own.body).unwrap();
            assert!(own.get("bootstrap_room").is_none() && own.get("disaggregated_params").is_none());
            let params = own.get("kv_transfer_params");
            assert!(params.is_none_or(|params| params.get("remote_engine_id").is_some()), "{own}");
        }
        for leg in Apart::received(&apart.prefill) {
            assert!(leg.is_prefill(), "{}", String::from_utf8_lossy(&leg.body));
        }
    }
}

/// The engines that compute prompts as a cluster of their own.
const PREFILLERS: &str = "prefillers";

#[tokio::test]
async fn a_call_goes_to_the_cluster_that_the_pool_names() {
    let apart = Apart::start(2, 1).await;
    let of = |engines: &[super::Engine]| engines.iter().map(super::Engine::addr).collect::<Vec<_>>();
    let text =
        |engines: &[super::Engine]| json!(of(engines).iter().map(ToString::to_string).collect::<Vec<_>>());
    let pool = json!({
        "name": "sim", "models": ["sim"], "prefill": text(&apart.prefill), "decode": text(&apart.decode),
        "transfer": { "protocol": "nixl", "cluster": PREFILLERS },
    });
    let plugin = json!({ "explain": true, "pools": [pool] });
    let filter = Filter::Wasm(WasmFilter::new(Build::Shipped.path(), plugin));
    let cluster = Cluster { name: PREFILLERS.to_owned(), ..engines(Policy::default()) };
    apart
        .plane
        .apply([
            cluster.into(),
            endpoints(PREFILLERS, &of(&apart.prefill)).into(),
            // Where the request itself goes there is nobody who computes prompts.
            endpoints(ENGINES, &of(&apart.decode)).into(),
            listener(&filter).into(),
        ])
        .await
        .unwrap();
    until("the cluster to be used", async || {
        let stat = apart.envoy.admin().stat(&format!("cluster.{PREFILLERS}.membership_total")).await.ok()?;
        (stat == 2).then_some(())
    })
    .await
    .unwrap();
    let served = until("a call to it", async || {
        // A connection of its own: those that are open keep the configuration that they began with.
        let client = warmpath_http::Client::http1(apart.gateway);
        let response = apart.send(&client, CHAT, &chat("cluster", true)).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        let calls =
            apart.envoy.admin().stat(&format!("cluster.{PREFILLERS}.upstream_rq_total")).await.ok()?;
        (calls > 0).then_some(response)
    })
    .await
    .unwrap();
    let (prefill, _) = chosen(&served);
    assert!(!apart.prefill_at(&prefill).take_received().is_empty());
}
