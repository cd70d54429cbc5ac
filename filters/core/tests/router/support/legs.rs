//! Pools whose engines pass KV on, and requests in two legs.

use crate::support::{Host, Stream, Vm, chat_with, static_config, text, vm};
use serde_json::{Value, json};
use warmpath_core::config::Config;
use warmpath_core::wire::{PoolEndpoint, Role, Transfer, TransferProtocol};

pub(crate) const PATH: &str = "/v1/chat/completions";
pub(crate) const DESTINATION: &str = "x-gateway-destination-endpoint";
pub(crate) const HANDOVER: &str = r#"{"remote_block_ids":[[1,2]],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":1}"#;

/// The first token of a stream.
pub(crate) const TOKEN: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

/// Prefill engines 10.1.0.n and decode engines 10.2.0.n.
pub(crate) fn apart(prefill: usize, decode: usize, protocol: TransferProtocol) -> Config {
    let mut config = static_config(0);
    let engines = |net: usize, count: usize, role: Role| {
        (1..=count).map(move |at| {
            let mut endpoint =
                PoolEndpoint { address: format!("10.{net}.0.{at}:8000"), ..PoolEndpoint::default() };
            endpoint.set_role(role);
            endpoint
        })
    };
    let pool = &mut config.pools.pools[0];
    pool.endpoints = engines(1, prefill, Role::Prefill).chain(engines(2, decode, Role::Decode)).collect();
    pool.transfer =
        Some(Transfer { protocol: protocol.into(), bootstrap_port: 8998, cluster: String::new() });
    config
}

/// The response of a prefill engine.
pub(crate) fn handed_over() -> String {
    format!(
        r#"{{"choices":[],"usage":{{"prompt_tokens":5000,"completion_tokens":1,"prompt_tokens_details":{{"cached_tokens":0}}}},"kv_transfer_params":{HANDOVER}}}"#
    )
}

pub(crate) fn long(topic: &str) -> Value {
    chat_with(&text(topic, 40_000), &json!({"stream": true, "max_tokens": 50}))
}

pub(crate) fn send(vm: &Vm, body: &str) -> Stream {
    let mut stream = vm.request();
    stream.cluster = Some("engines".to_owned());
    let length = body.len().to_string();
    let headers = [
        (":method", "POST"),
        (":path", PATH),
        (":authority", "llm"),
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
        ("authorization", "Bearer key"),
        ("accept-encoding", "gzip"),
        ("x-data-parallel-rank", "1"),
    ];
    stream.headers(&headers, false);
    stream.body(body.as_bytes(), true);
    stream
}

/// Requests at the decode engine that a prefill there would hold up: without any, a prompt is best computed where its response is.
pub(crate) const BUSY: u32 = 4;

pub(crate) fn busy(vm: &Vm) -> Vec<Stream> {
    (0..BUSY).map(|number| send(vm, &chat_with(&format!("hi {number}"), &json!({})).to_string())).collect()
}

pub(crate) fn header<'a>(stream: &'a Stream, name: &str) -> &'a str {
    let call = stream.calls.last().expect("a call was made");
    let found = call.headers.iter().filter(|(header, _)| header == name);
    let values: Vec<_> = found.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect();
    assert!(values.len() <= 1, "{name}: {values:?}");
    values.first().copied().unwrap_or_default()
}

pub(crate) fn in_flight(vm: &Vm, address: &str) -> (u32, u32) {
    let load = vm.endpoint(address).in_flight();
    (load.requests, load.prefills)
}

/// One prefill engine and two decode engines, both of which are busy.
pub(crate) fn two_that_decode() -> (Host, Vm, Vec<Stream>) {
    let host = Host::default();
    let vm = vm(&host, &apart(1, 2, TransferProtocol::Pull));
    let others: Vec<Stream> = (0..2).flat_map(|_| busy(&vm)).collect();
    (host, vm, others)
}
