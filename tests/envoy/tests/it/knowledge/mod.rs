//! What engines publish of their caches decides where requests go, from the engine's block to the filter's choice: prompts that no
//! proxy has routed, so that nothing could be learned of them.

mod disturbed;
mod drawn;
mod gone;

use crate::stack::{EXPLAIN, MODEL, Setup, Stack, completion};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path};
use warmpath_engine::{KvEvents, Params, ServerConfig};
use warmpath_envoy::until;
use warmpath_http::{Client, Connection};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";
const ADAPTER: &str = "lora-a";
/// An engine that gets prompts past Envoy.
const HOLDER: usize = 1;
const BLOCK_TOKENS: usize = 16;
/// Room for three of the prompts here.
const BLOCKS: usize = 128;
/// Whole cells of [`text`].
const CELLS: u64 = 8;

fn model_dir() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/data/tiny-model");
    folder.canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// Three engines with small caches, a tokenizer, and KV events.
fn setup() -> Setup {
    setup_of(vec![KvEvents::default(); 3])
}

/// An engine for each way to publish them.
fn setup_of(events: Vec<KvEvents>) -> Setup {
    let params = Params {
        kv_tokens: BLOCKS * BLOCK_TOKENS,
        block_tokens: BLOCK_TOKENS,
        ..ServerConfig::instant().params
    };
    let kind = ServerConfig {
        params,
        adapters: vec![ADAPTER.to_owned()],
        model_dir: Some(model_dir().into()),
        ..ServerConfig::instant()
    };
    let kinds: Vec<_> =
        events.into_iter().map(|events| ServerConfig { events: Some(events), ..kind.clone() }).collect();
    let (engines, pools) = (kinds.len(), vec![(MODEL, 0..kinds.len())]);
    let pool_fields = json!({ "adapters": [ADAPTER], "prompt": { "tokenizer": model_dir() } });
    Setup { pools, engines, kinds, pool_fields, ..Setup::default() }
}

/// A text that begins like no other topic's; 2,100 bytes.
fn text(topic: &str) -> String {
    let mut text = format!("About {topic}. ");
    while text.len() < 2_100 {
        text.push_str("The copyright of this work belongs to its authors. ");
    }
    text
}

fn prompt_of(topic: &str) -> Value {
    completion(MODEL, &text(topic))
}

// === impl Stack ===

impl Stack {
    /// Sends a request to an engine past Envoy.
    async fn send_past(&self, at: usize, path: &str, body: &Value) {
        let response = Client::http1(self.engine(at).addr()).post_json(path, body).await.unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Waits until a worker of the first Envoy knows this much of what an engine has of a prompt, in cells.
    async fn held(&self, at: usize, path: &str, body: &Value, is_right: impl Fn(u64) -> bool) -> u64 {
        let mut worker = self.connections(0).await.remove(0);
        until("the filter to know what the engine holds", async || {
            let cells = cells(&mut worker, path, body).await?;
            let held = of(&cells, self.engine(at).addr());
            is_right(held).then_some(held)
        })
        .await
        .unwrap_or_else(|wait| panic!("{wait}"))
    }
}

/// What a worker believes each endpoint to have of a prompt, in cells.
async fn cells(worker: &mut Connection, path: &str, body: &Value) -> Option<Vec<(String, u64)>> {
    let headers = [("content-type", "application/json"), EXPLAIN];
    let sent = worker.send(http::Method::POST, path, &headers, body.to_string().into()).await;
    let explained = sent.ok()?.json();
    let cells =
        |candidate: &Value| Some((candidate["endpoint"].as_str()?.to_owned(), candidate["cells"].as_u64()?));
    explained.get("candidates")?.as_array()?.iter().map(cells).collect()
}

/// Of one endpoint.
fn of(cells: &[(String, u64)], endpoint: SocketAddr) -> u64 {
    cells.iter().find(|(at, _)| *at == endpoint.to_string()).map_or(0, |(_, cells)| *cells)
}
