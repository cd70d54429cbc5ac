//! The KV events that an engine publishes, as a subscriber gets them over ZMQ.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test, as the tests themselves do"
)]

mod client;

use client::{eventually, get, post};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use warmpath_engine::{EngineServer, EventFault, Fault, Hashes, KvEvents, Params, ServerConfig};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

const BLOCK_TOKENS: usize = 16;
/// Longest that a message may take; far above what it takes.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(20);

fn config() -> ServerConfig {
    let params = Params { kv_tokens: 8 * BLOCK_TOKENS, ..ServerConfig::instant().params };
    ServerConfig {
        model_dir: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-model")),
        adapters: vec!["lora-a".to_owned()],
        events: Some(KvEvents::default()),
        params,
        ..ServerConfig::instant()
    }
}

/// A subscriber, and the engine that it is subscribed to.
struct Setting {
    engine: EngineServer,
    socket: SubSocket,
    /// Messages that came before the one that was looked for.
    published: u64,
}

/// One message, its payload as JSON if it is msgpack.
#[derive(Debug)]
struct Message {
    number: Option<u64>,
    payload: Option<Value>,
}

// === impl Message ===

impl Message {
    fn new(message: ZmqMessage) -> Self {
        let frames = message.into_vec();
        assert_eq!(frames[0], "kv-events");
        let number =
            frames.get(1).and_then(|number| Some(u64::from_be_bytes(number.as_ref().try_into().ok()?)));
        Self { number, payload: frames.get(2).and_then(|payload| decode(payload)) }
    }

    fn events(&self) -> &[Value] {
        self.payload.as_ref().unwrap()[1].as_array().unwrap()
    }

    fn types(&self) -> Vec<&str> {
        self.events().iter().map(|event| event["type"].as_str().unwrap()).collect()
    }
}

fn decode(mut bytes: &[u8]) -> Option<Value> {
    let value = rmpv::decode::read_value(&mut bytes).ok()?;
    let value = serde_json::to_value(value).ok()?;
    value.is_array().then_some(value)
}

// === impl Setting ===

impl Setting {
    async fn start(config: ServerConfig) -> Self {
        let engine = EngineServer::start(config).await.unwrap();
        let mut setting = Self { socket: subscribed(&engine).await, engine, published: 0 };
        setting.wait_subscribed().await;
        setting
    }

    /// A subscription takes a moment: makes the engine publish until something arrives.
    async fn wait_subscribed(&mut self) {
        for attempt in 0..1_000 {
            self.complete(&format!("attempt {attempt} {}", "x ".repeat(40)), json!({})).await;
            self.published += 1;
            if tokio::time::timeout(Duration::from_millis(20), self.socket.recv()).await.is_ok() {
                return;
            }
        }
        panic!("no event arrives");
    }

    async fn complete(&self, prompt: &str, fields: Value) -> Value {
        let mut body = json!({"model": "sim", "prompt": prompt, "max_tokens": 1});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let reply = post(&self.engine, "/v1/completions", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    async fn next(&mut self) -> Message {
        let message = tokio::time::timeout(MESSAGE_TIME_MAX, self.socket.recv()).await;
        Message::new(message.expect("no message comes").unwrap())
    }

    /// The next message about a prompt that was just completed.
    async fn stored(&mut self, prompt: &str, fields: Value) -> Value {
        self.complete(prompt, fields).await;
        loop {
            let message = self.next().await;
            if let Some(event) = message.events().iter().find(|event| event["type"] == "BlockStored") {
                return event.clone();
            }
        }
    }

    async fn replay(&self, from: u64) -> Vec<Message> {
        let sources = get(&self.engine, "/kv_event_sources").await.json();
        let mut socket = DealerSocket::new();
        socket.connect(sources["0"]["replay_endpoint"].as_str().unwrap()).await.unwrap();
        let mut request = ZmqMessage::from(Vec::new());
        request.push_back(from.to_be_bytes().to_vec().into());
        socket.send(request).await.unwrap();
        let mut messages = Vec::new();
        loop {
            let message = tokio::time::timeout(MESSAGE_TIME_MAX, socket.recv()).await.unwrap().unwrap();
            let mut frames = message.into_vecdeque();
            assert_eq!(frames.pop_front().unwrap().len(), 0, "the empty frame of a request");
            if frames[1] == [0xff_u8; 8][..] {
                assert_eq!((frames[0].len(), frames[2].len()), (0, 0));
                return messages;
            }
            messages.push(Message::new(ZmqMessage::try_from(frames).unwrap()));
        }
    }
}

async fn subscribed(engine: &EngineServer) -> SubSocket {
    let mut socket = SubSocket::new();
    socket.subscribe("").await.unwrap();
    socket.connect(&engine.events_endpoint().await.unwrap()).await.unwrap();
    socket
}

/// A text of many tokens that no other number has.
fn text(number: usize) -> String {
    format!("{number}: {}", "the licence of this program says so. ".repeat(6))
}

#[tokio::test]
async fn a_prompt_is_published_in_the_tokens_that_the_engine_says_it_has() {
    let mut setting = Setting::start(config()).await;
    let prompt = text(1);
    let event = setting.stored(&prompt, json!({})).await;
    let tokens = post(&setting.engine, "/tokenize", json!({"prompt": prompt})).await.json()["tokens"].clone();
    let full = tokens.as_array().unwrap().len() / BLOCK_TOKENS;
    assert!(full >= 2);
    assert_eq!(event["block_hashes"].as_array().unwrap().len(), full);
    assert_eq!(event["token_ids"].as_array().unwrap()[..], tokens.as_array().unwrap()[..full * BLOCK_TOKENS]);
    let said = post(&setting.engine, "/detokenize", json!({"tokens": event["token_ids"]})).await.json();
    assert!(prompt.starts_with(said["prompt"].as_str().unwrap()));
    assert_eq!((&event["medium"], &event["parent_block_hash"]), (&json!("GPU"), &Value::Null));
}

#[tokio::test]
async fn a_chat_is_published_as_the_template_renders_it() {
    let mut setting = Setting::start(config()).await;
    let parts = json!([{"type": "text", "text": text(2)}, {"type": "text", "text": "and more"}]);
    let chat = json!({"model": "sim", "max_tokens": 1, "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]});
    assert_eq!(post(&setting.engine, "/v1/chat/completions", &chat).await.status, 200);
    let message = setting.next().await;
    let event = message.events().iter().find(|event| event["type"] == "BlockStored").unwrap();
    let said = post(&setting.engine, "/detokenize", json!({"tokens": event["token_ids"]})).await.json();
    let rendered = format!(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{}\nand more<|im_end|>\n<|im_start|>assistant\n",
        text(2)
    );
    assert!(rendered.starts_with(said["prompt"].as_str().unwrap()), "{said}");
}

#[tokio::test]
async fn adapters_and_salts_have_blocks_of_their_own() {
    let mut setting = Setting::start(config()).await;
    let prompt = text(3);
    let plain = setting.stored(&prompt, json!({})).await;
    let salted = setting.stored(&prompt, json!({"cache_salt": "tenant-7"})).await;
    let adapted = setting.stored(&prompt, json!({"model": "lora-a", "cache_salt": "tenant-7"})).await;
    assert_eq!(plain["extra_keys"][0], Value::Null);
    assert_eq!((&salted["extra_keys"][0], &salted["extra_keys"][1]), (&json!(["tenant-7"]), &Value::Null));
    assert_eq!(adapted["extra_keys"][0], json!(["lora-a", "tenant-7"]));
    assert_eq!((&adapted["extra_keys"][1], &adapted["lora_name"]), (&json!(["lora-a"]), &json!("lora-a")));
    assert_eq!(plain["token_ids"], adapted["token_ids"]);
    assert!(
        plain["block_hashes"] != salted["block_hashes"] && salted["block_hashes"] != adapted["block_hashes"]
    );
}

#[tokio::test]
async fn what_is_evicted_and_cleared_is_published_with_the_next_step() {
    let mut setting = Setting::start(config()).await;
    let first = setting.stored(&text(1), json!({})).await;
    let mut gone = Vec::new();
    for number in 2..10 {
        setting.complete(&text(number), json!({})).await;
        let message = setting.next().await;
        gone.extend(message.events().iter().filter(|event| event["type"] == "BlockRemoved").cloned());
    }
    let names: Vec<_> = gone.iter().map(|event| event["block_hashes"][0].clone()).collect();
    assert!(first["block_hashes"].as_array().unwrap().iter().all(|hash| names.contains(hash)));

    let reset = post(&setting.engine, "/reset_prefix_cache", "").await;
    assert_eq!(reset.json(), json!({"success": true}));
    setting.complete(&text(1), json!({})).await;
    assert_eq!(setting.next().await.types(), ["AllBlocksCleared", "BlockStored"]);
}

#[tokio::test]
async fn a_replay_has_all_batches_from_a_number_on() {
    let mut setting = Setting::start(config()).await;
    setting.engine.fault(Fault::events(EventFault::Gap, Some(2))).await;
    for number in 0..4 {
        setting.complete(&text(number), json!({})).await;
    }
    let seen = [setting.next().await, setting.next().await].map(|message| message.number.unwrap());
    let first = setting.published;
    assert_eq!(seen, [first + 2, first + 3], "two were not sent");
    let replayed: Vec<_> =
        setting.replay(first).await.iter().map(|message| message.number.unwrap()).collect();
    assert_eq!(replayed, [first, first + 1, first + 2, first + 3]);
    assert!(setting.replay(first + 9).await.is_empty());
}

#[tokio::test]
async fn faults_make_batches_late_doubled_unreadable_or_none() {
    let mut setting = Setting::start(config()).await;
    let first = setting.published;
    let mut at = 0;
    for (fault, messages) in [
        (EventFault::Reorder, vec![Some(first + 1), Some(first)]),
        (EventFault::Repeat, vec![Some(first + 2), Some(first + 2), Some(first + 3)]),
        (EventFault::Lost, vec![Some(first + 5)]),
        (EventFault::Silence, vec![Some(first + 6)]),
        (EventFault::Garbage, vec![Some(first + 7), Some(first + 8)]),
        (EventFault::Frames, vec![None, Some(first + 10)]),
    ] {
        setting.engine.fault(Fault::events(fault, Some(1))).await;
        for _ in 0..2 {
            at += 1;
            setting.complete(&text(at), json!({})).await;
        }
        let mut numbers = Vec::new();
        for _ in &messages {
            let message = setting.next().await;
            assert_eq!(
                message.payload.is_none(),
                fault == EventFault::Garbage && numbers.is_empty() || message.number.is_none()
            );
            numbers.push(message.number);
        }
        assert_eq!(numbers, messages, "{fault:?}");
    }
}

#[tokio::test]
async fn a_restarted_engine_publishes_from_zero_and_forgets_what_it_had() {
    let mut setting = Setting::start(config()).await;
    setting.complete(&text(1), json!({})).await;
    setting.engine.fault(Fault::Restart).await;
    eventually(&setting.engine, |state| state.blocks_cached == 0).await;
    setting.socket = subscribed(&setting.engine).await;
    setting.published = 0;
    setting.wait_subscribed().await;
    assert_eq!(u64::try_from(setting.replay(0).await.len()).unwrap(), setting.published);
}

#[tokio::test]
async fn an_engine_can_connect_to_its_subscriber() {
    let mut socket = SubSocket::new();
    socket.subscribe("").await.unwrap();
    let endpoint = socket.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let events = KvEvents { endpoint, hashes: Hashes::Bytes, ..KvEvents::default() };
    let engine = EngineServer::start(ServerConfig { events: Some(events), ..config() }).await.unwrap();
    let mut setting = Setting { engine, socket, published: 0 };
    setting.wait_subscribed().await;
    let event = setting.stored(&text(1), json!({})).await;
    assert_eq!(event["block_hashes"][0].as_array().map(Vec::len), Some(32), "{event}");
}

#[tokio::test]
async fn without_the_setting_there_are_no_sources() {
    let engine = EngineServer::start(ServerConfig::instant()).await.unwrap();
    assert_eq!(get(&engine, "/kv_event_sources").await.json(), json!({}));
    assert_eq!(engine.events_endpoint().await, None);
}
