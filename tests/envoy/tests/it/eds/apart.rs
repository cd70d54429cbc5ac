//! Engines for one leg of a request, from the controller's file to Envoy's cluster.

use super::{addresses, gateway, shipped, start, wait_connected, wait_hosts};
use crate::stack::{Controller, MODEL};
use serde_json::{Value, json};
use warmpath_engine::{EngineServer, LoadFailure, ServerConfig, Transfer, TransferProtocol};
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_http::Client;

/// Responses that the computation of a prompt at the decode engine would hold up.
const BUSY: usize = 12;
/// Length of a prompt that is worth a leg of its own.
const LONG_BYTES: usize = 40_000;

async fn engine(name: &str) -> EngineServer {
    let nixl = Transfer { load_failure: LoadFailure::Recompute, ..Transfer::new(TransferProtocol::Nixl) };
    let (name, model) = (name.to_owned(), MODEL.to_owned());
    let config = ServerConfig { name, model, transfer: Some(nixl), ..ServerConfig::default() };
    EngineServer::start(config).await.unwrap()
}

/// The priority of each host of the engines' cluster; zero is not shown.
async fn priorities(envoy: &Envoy) -> Vec<u64> {
    let clusters = envoy.admin().clusters().await.unwrap();
    let clusters = clusters["cluster_statuses"].as_array().unwrap();
    let engines = clusters.iter().find(|cluster| cluster["name"] == "engines").unwrap();
    let hosts = engines["host_statuses"].as_array().unwrap().iter();
    hosts.map(|host| host["priority"].as_u64().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_prefill_leg_finds_its_engine_though_envoys_own_policy_does_not_take_it() {
    let engines = [engine("prefill").await, engine("decode").await];
    let [prefill, decode] = &addresses(&engines)[..] else { panic!() };
    let transfer = json!({ "protocol": "nixl" });
    let pools: Value = json!([{ "name": "main", "models": [MODEL], "prefill": [prefill], "decode": [decode],
                                "transfer": transfer }]);
    let controller = Controller::start(&pools).await;
    let envoy = start(&shipped(&[controller.addr()]), &Launch::default()).await;
    wait_hosts(&envoy, &addresses(&engines)).await;
    wait_connected(&envoy).await;
    let mut found = priorities(&envoy).await;
    found.sort_unstable();
    assert_eq!(found, [0, 1]);

    let client = Client::http1(gateway(&envoy).await);
    let mut busy = Vec::new();
    for number in 0..BUSY {
        let prompt = format!("{number} a long story");
        let body = json!({ "model": MODEL, "prompt": prompt, "max_tokens": 20_000, "stream": true });
        let mut stream = client.stream_json("/v1/completions", &body).await.unwrap();
        assert!(stream.next().await.unwrap().is_some());
        busy.push(stream);
    }
    let body = json!({ "model": MODEL, "prompt": "whales ".repeat(LONG_BYTES / 7), "max_tokens": 4 });
    let response = client.post_json("/v1/completions", &body).await.unwrap();
    let decision = response.header("x-warmpath-decision").unwrap_or_default();
    assert!(decision.contains(&format!("prefill={prefill}")), "{}: {decision}", response.status);
    let [at_prefill, at_decode] = [0, 1].map(|at: usize| engines[at].state().legs);
    assert_eq!((at_prefill.prefills, at_prefill.whole), (1, 0), "{at_prefill:?}");
    assert_eq!((at_decode.decodes, at_decode.prompts_fetched), (1, 1), "{at_decode:?}");
}
