//! Requests in two legs, by real Envoy: its call of the prefill engine, and the request that is paused meanwhile.
//!
//! The engines here keep what they get, to the byte.

mod engine;
mod failing;
mod leaving;
mod passing;
mod rescuing;

use self::engine::{ENDLESS, Engine, Received};
use crate::stack::{Build, EXPLAIN};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::resources::{Filter, GATEWAY, Gateway, WasmFilter};
use warmpath_envoy::until;
use warmpath_envoy::xds::ControlPlane;
use warmpath_http::{Client, JSON, RawConnection, Response};

/// What the prefill engines hand over; letters and spaces that printing JSON again would change.
const HANDOVER: &str = r#"{"do_remote_prefill":true, "remote_block_ids":[[1,2]], "remote_engine_id":"\u0065", "remote_request_id":"r", "remote_host":"127.0.0.1","remote_port":1e0}"#;

const CHAT: &str = "/v1/chat/completions";

/// Requests at each decode engine that the computation of a prompt there would hold up. Without any, a prompt is best
/// computed where its response is.
const BUSY: usize = 12;
/// Length of a prompt that is worth a leg of its own.
const LONG_BYTES: usize = 40_000;

/// An Envoy, prefill engines and decode engines.
struct Apart {
    // First, so that it goes first.
    envoy: Envoy,
    plane: ControlPlane,
    prefill: Vec<Engine>,
    decode: Vec<Engine>,
    gateway: SocketAddr,
    busy: Vec<RawConnection>,
}

// === impl Apart ===

impl Apart {
    /// So many engines of each kind, the decode engines busy.
    async fn start(prefill: usize, decode: usize) -> Self {
        Self::start_with(prefill, decode, &[]).await
    }

    /// The same with prefill engines that are no engines.
    async fn start_with(prefill: usize, decode: usize, dead: &[SocketAddr]) -> Self {
        let (prefill, decode) = (engines(prefill).await, engines(decode).await);
        let names = |engines: &[Engine]| engines.iter().map(Engine::addr).collect::<Vec<_>>();
        let (of_prefill, of_decode) = ([&names(&prefill), dead].concat(), names(&decode));
        let text =
            |addresses: &[SocketAddr]| json!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
        let pool = json!({
            "name": "sim", "models": ["sim"], "prefill": text(&of_prefill), "decode": text(&of_decode),
            "transfer": { "protocol": "nixl" },
        });
        let plugin = json!({ "explain": true, "pools": [pool] });
        let filter = Filter::Wasm(WasmFilter::new(Build::Shipped.path(), plugin));
        let gateway = Gateway::new(filter, &[of_prefill, of_decode].concat());
        let plane = ControlPlane::start(gateway.resources()).await.unwrap();
        let launch = Launch { component_log_level: Some("main:warning".to_owned()), ..Launch::default() };
        let envoy = Envoy::from_control_plane(&plane, &launch).await.unwrap();
        let gateway = envoy.listener(GATEWAY).await.unwrap();
        let busy = makebusy(gateway, decode.len() * BUSY).await;
        Self { envoy, plane, prefill, decode, gateway, busy }
    }

    fn clients(&self) -> [Client; 2] {
        [Client::http1(self.gateway), Client::h2c(self.gateway)]
    }

    /// Sends a request of JSON.
    async fn send(&self, client: &Client, path: &str, body: &str) -> Response {
        client.send(Method::POST, path, &[JSON], Bytes::from(body.to_owned())).await.unwrap()
    }

    /// The prefill engine at this address.
    fn prefill_at(&self, address: &str) -> &Engine {
        self.prefill.iter().find(|engine| engine.addr().to_string() == address).unwrap()
    }

    /// What all engines of a kind have received since the last time.
    fn received(engines: &[Engine]) -> Vec<Received> {
        engines.iter().flat_map(Engine::take_received).collect()
    }

    /// A counter of the filter.
    async fn metric(&self, name: &str) -> u64 {
        self.envoy.admin().stat(&format!("wasmcustom.warmpath.{name}")).await.unwrap()
    }

    /// Waits until a counter of the filter has come this far: a VM tells on its tick.
    async fn counted(&self, name: &str, at_least: u64) {
        until(name, async || (self.metric(name).await >= at_least).then_some(())).await.unwrap();
    }

    /// Waits until no prompt is booked anywhere, and no request beside those that have no end.
    async fn rests(&self) {
        let client = Client::http1(self.gateway);
        until("the bookings to end", async || {
            let short = json!({ "model": "sim", "messages": [{ "role": "user", "content": "" }] });
            let explanation = client.post_json_with(CHAT, &[EXPLAIN], &short).await.ok()?.json();
            let requests = |candidate: &Value| candidate.get("requests").and_then(Value::as_u64);
            // Whole requests go to engines that decode; the legs of clients that left stay at the others until they should be over.
            let (decode, prefill) = (explanation.get("candidates")?, explanation.pointer("/split/prefill")?);
            let engines = decode.as_array()?.iter().chain(prefill.as_array()?);
            let booked = engines.map(requests).sum::<Option<u64>>()?;
            (booked == u64::try_from(self.busy.len()).unwrap()).then_some(())
        })
        .await
        .unwrap();
        let log = self.envoy.log().text();
        let wrong: Vec<_> =
            log.lines().filter(|line| line.contains("[error]") || line.contains("[critical]")).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

async fn engines(count: usize) -> Vec<Engine> {
    futures::future::join_all((0..count).map(|_| Engine::start())).await
}

/// Begins responses that have no end.
async fn makebusy(gateway: SocketAddr, count: usize) -> Vec<RawConnection> {
    let mut busy = Vec::new();
    for number in 0..count {
        let content = format!("{number} {ENDLESS}");
        let body =
            json!({ "model": "sim", "stream": true, "messages": [{ "role": "user", "content": content }] });
        let body = body.to_string();
        let mut connection = RawConnection::open(gateway).await.unwrap();
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.send(head + &body).await.unwrap();
        connection.read_until(|text| text.contains("data: ")).await.unwrap();
        busy.push(connection);
    }
    busy
}

/// A long prompt of its own, the same for equal topics.
fn long(topic: &str) -> String {
    format!("{topic} ").repeat(LONG_BYTES / (topic.len() + 1))
}

/// A chat as its client wrote it: nothing here is as a library would print it.
fn chat(topic: &str, is_stream: bool) -> String {
    let (content, stream) = (long(topic), if is_stream { r#""stream":true, "# } else { "" });
    format!(
        "{{ \"model\" : \"sim\",\n {stream}\"temperature\":1e-1,\"seed\": 7e0,\"max_tokens\":16 ,\r\n\
         \"messages\":[ {{\"role\":\"user\",\"content\":\"{content}\\u00e9\"}} ] ,\"user\":\"\\/\" }}"
    )
}

/// What the decode engine has to get.
fn with_handover(body: &str) -> String {
    body.replacen('{', &format!(r#"{{"kv_transfer_params":{HANDOVER},"#), 1)
}

/// The prefill and the decode engine that a response says were chosen.
fn chosen(response: &Response) -> (String, String) {
    let decision = response
        .header("x-warmpath-decision")
        .unwrap_or_else(|| panic!("{}: {}", response.status, response.text()));
    let part = |name: &str| {
        let found = decision
            .split(' ')
            .find_map(|part| part.strip_prefix(name))
            .unwrap_or_else(|| panic!("{decision}"));
        found.split(',').next().unwrap().to_owned()
    };
    (part("prefill="), part("endpoints="))
}
