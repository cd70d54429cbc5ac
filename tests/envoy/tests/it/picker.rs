//! The controller's endpoint picker behind the `ext_proc` filter of a real Envoy, as gateways without Warmpath's filter ask it: requests
//! and responses pass unchanged, whatever the gateway shows of them.

use crate::eds::{addresses, engines};
use crate::stack::{Controller, MODEL};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{DESTINATION_HEADER, GATEWAY, Lb};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_http::{Client, JSON};

/// The filter's name in Envoy, and the cluster's that it asks.
const NAME: &str = "picker";

/// A prompt that comes in several pieces.
const LONG: usize = 300_000;

/// What gateways show: all of it, as the extension's protocol has it; whole bodies; headers only.
fn modes() -> [Value; 3] {
    let mode = |body: &str, trailers: &str| {
        json!({
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": body,
            "response_body_mode": body,
            "request_trailer_mode": trailers,
            "response_trailer_mode": trailers,
        })
    };
    [mode("FULL_DUPLEX_STREAMED", "SEND"), mode("BUFFERED", "SKIP"), mode("NONE", "SKIP")]
}

/// The shipped configuration with the picker's filter in the place of ours. A picker that fails would fail the request.
fn config(engines: &[SocketAddr], controller: SocketAddr, mode: &Value) -> Value {
    let shipped = ShippedConfig::new().listener_port(0).admin_port(0).engines(engines);
    let mut config = shipped.without_filter(Lb::RoundRobin).to_json().unwrap();
    let filters = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
    let filter = json!({
        "name": NAME,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": NAME}},
            "failure_mode_allow": false,
            "processing_mode": mode,
            "message_timeout": "10s",
        },
    });
    config.pointer_mut(filters).unwrap().as_array_mut().unwrap().insert(0, filter);
    let address = json!({"address": controller.ip(), "port_value": controller.port()});
    let cluster = json!({
        "name": NAME,
        "type": "STATIC",
        "load_assignment": {"cluster_name": NAME, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]},
        ]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }},
    });
    config.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap().push(cluster);
    config
}

/// What an engine says of a request, but for what differs from one to the next.
async fn said(client: &Client, body: &Value) -> String {
    let body = Bytes::from(body.to_string());
    let response = client.send(Method::POST, "/v1/chat/completions", &[JSON], body).await.unwrap();
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    assert_eq!(response.header(DESTINATION_HEADER), None);
    let text = response.text();
    let lines = text.lines().map(|line| {
        let Ok(mut value) = serde_json::from_str::<Value>(line.trim_start_matches("data: ")) else {
            return line.to_owned();
        };
        for field in ["id", "created"] {
            value[field].take();
        }
        value["usage"]["prompt_tokens_details"].take();
        value.to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_gateway_with_the_picker_serves_what_the_engine_says() {
    let engines = engines(1).await;
    let controller = Controller::start(&json!([])).await;
    let engine: SocketAddr = addresses(&engines)[0].parse().unwrap();
    let direct = Client::http1(engine);
    for mode in modes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.json");
        std::fs::write(&file, config(&[engine], controller.addr(), &mode).to_string()).unwrap();
        let envoy = Envoy::from_file(&file, &Launch::default()).await.unwrap();
        let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
        for (words, stream) in [(1, false), (1, true), (LONG / 6, false), (LONG / 6, true)] {
            let prompt = "words ".repeat(words);
            let messages = json!([{"role": "user", "content": prompt}]);
            let body = json!({"model": MODEL, "messages": messages, "max_tokens": 8, "stream": stream});
            assert_eq!(said(&client, &body).await, said(&direct, &body).await, "{mode}");
        }
        // One without a body.
        assert_eq!(client.get("/v1/models").await.unwrap().status, StatusCode::OK, "{mode}");
        let asked = envoy.admin().stat(&format!("http.{GATEWAY}.ext_proc.streams_started")).await.unwrap();
        assert_eq!(asked, 5, "{mode}");
        let failed = envoy.admin().stat(&format!("http.{GATEWAY}.ext_proc.streams_failed")).await.unwrap();
        assert_eq!(failed, 0, "{mode}");
    }
}
