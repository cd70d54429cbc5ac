//! Which paths of the engines are public.

use super::raw_engine::{OK, RawEngine};
use super::{config, start};
use bytes::Bytes;
use http::{Method, StatusCode};
use warmpath_envoy::resources::{DESTINATION_HEADER, GATEWAY};
use warmpath_envoy::shipped::PRIVATE;
use warmpath_http::{Client, RawConnection};

const PUBLIC: [&str; 22] = [
    "POST /v1/chat/completions",
    "POST /v1/completions?x=1",
    "POST /v1/responses",
    "GET /v1/responses/resp_1",
    "POST /v1/responses/resp_1/cancel",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /v1/embeddings",
    "POST /v1/audio/transcriptions",
    "GET /v1/models",
    "GET /v1/models/org%2Fname",
    "GET /v1/models/load_lora_adapter",
    "POST /inference/v1/generate",
    "POST /generate",
    "POST /tokenize",
    "POST /detokenize",
    "POST /rerank",
    "POST /v2/rerank",
    "POST /score",
    "POST /pooling",
    "GET /health",
    "GET /version",
];

const PRIVATE_PATHS: [&str; 23] = [
    "GET /",
    "GET /metrics",
    "GET /metrics/",
    "GET //metrics",
    "GET /metrics/v1/models",
    "GET /v1/../metrics",
    "GET /v1/%2e%2e/metrics",
    "GET /%6detrics",
    "GET /docs",
    "GET /openapi.json",
    "GET /load",
    "GET /v1/loads?include=all",
    "GET /server_info",
    "POST /sleep?level=1",
    "POST /wake_up",
    "POST /reset_prefix_cache",
    "POST /collective_rpc",
    "POST /start_profile",
    "POST /v1/load_lora_adapter",
    "POST /v1/unload_lora_adapter?x=1",
    "POST /v1//load_lora_adapter/",
    "POST /v1/%6coad_lora_adapter",
    "POST /v1/load_lora_adapter%2f",
];

#[tokio::test]
async fn only_the_apis_for_inference_are_public() {
    let engine = RawEngine::start(|_| OK).await;
    let envoy = start(&config(&[engine.addr()])).await;
    let gateway = envoy.listener(GATEWAY).await.unwrap();
    for (paths, status) in [(&PUBLIC[..], "200 OK"), (&PRIVATE_PATHS[..], "404 Not Found")] {
        for path in paths {
            // Bytes, because a client would write the path in another way.
            let mut client = RawConnection::open(gateway).await.unwrap();
            let request = format!("{path} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 0\r\n\r\n");
            client.send(request).await.unwrap();
            let response = client.read_until(|text| text.contains("\r\n\r\n")).await.unwrap();
            assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {response}");
        }
    }
    assert_eq!(engine.heads().len(), PUBLIC.len());

    let refused = Client::http1(gateway).get("/metrics").await.unwrap();
    assert_eq!(refused.header("content-type"), Some("application/json"));
    assert_eq!(refused.json().pointer("/error/code").unwrap(), "path_not_public");
}

#[tokio::test]
async fn operators_reach_every_path_of_the_engine_that_they_name() {
    let engines = [RawEngine::start(|_| OK).await, RawEngine::start(|_| OK).await];
    let addresses = engines.each_ref().map(RawEngine::addr);
    let envoy = start(&config(&addresses).private_port(0)).await;
    let private = Client::http1(envoy.listener(PRIVATE).await.unwrap());
    for (engine, address) in engines.iter().zip(addresses) {
        let named = [(DESTINATION_HEADER, address.to_string())];
        let named = named.each_ref().map(|(name, value)| (*name, value.as_str()));
        let response = private.send(Method::GET, "/metrics", &named, Bytes::new()).await.unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert!(engine.heads()[0].starts_with("get /metrics http"), "{:?}", engine.heads());
    }
    assert_eq!(private.get("/metrics").await.unwrap().status, StatusCode::NOT_FOUND, "of which engine?");
}
