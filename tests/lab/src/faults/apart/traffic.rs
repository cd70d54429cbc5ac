//! Two kinds of clients: those that ask about long texts, and those that chat. Without the chats a prompt would be best computed where
//! its response is: there would be nobody whom it holds up.

use super::super::traffic::{Answer, Heard};
use crate::client::{Client, Lost, path};
use crate::cluster::MODEL;
use crate::workload::words;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use warmpath_engine::api::Protocol;
use warmpath_http::JSON;

/// Clients of each kind.
const READERS: usize = 6;
const CHATTERS: usize = 12;
/// A reader's and a chatter's pause between two requests.
const READER_PAUSE: Duration = Duration::from_millis(120);
const CHATTER_PAUSE: Duration = Duration::from_millis(20);
/// Lengths of prompts and responses, in tokens.
const LONG_TOKENS: usize = 6_000;
const SUMMARY_TOKENS: usize = 8;
const SHORT_TOKENS: usize = 60;
const CHAT_TOKENS: usize = 200;
/// Every which long prompt a client leaves, and after how long: when its prompt is computed.
const LEAVES_EVERY: u64 = 5;
const LEAVES_AFTER: Duration = Duration::from_millis(15);

/// A client gives up a request after this, and it counts as lost. Nobody knows sooner than after ten seconds that an engine waits in
/// vain for the KV of another one.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How responses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Token by token.
    Streamed,
    /// In one piece.
    Whole,
}

/// Clients at work.
pub(super) struct Clients {
    count: watch::Receiver<usize>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Heard>>,
}

/// What clients are told.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Readers leave every so often.
    leave: AtomicBool,
    left: AtomicUsize,
}

/// One client.
struct Talker {
    client: Client,
    http: warmpath_http::Client,
    asking: Asking,
    is_reader: bool,
    seed: u64,
    count: watch::Sender<usize>,
    shared: Arc<Shared>,
}

// === impl Clients ===

impl Clients {
    pub(super) fn start(gateway: SocketAddr, asking: Asking) -> Self {
        let (count, counted) = watch::channel(0);
        let shared = Arc::new(Shared::default());
        let talker = |number: usize| {
            let talker = Talker {
                client: Client::new(gateway),
                http: warmpath_http::Client::http1(gateway).with_time_max(PATIENCE),
                asking,
                is_reader: number < READERS,
                seed: number as u64 * 1_000_000,
                count: count.clone(),
                shared: Arc::clone(&shared),
            };
            tokio::spawn(talker.talk())
        };
        let tasks = (0..READERS + CHATTERS).map(talker).collect();
        Self { count: counted, shared, tasks }
    }

    /// Requests that have ended.
    pub(super) fn requests(&self) -> usize {
        *self.count.borrow()
    }

    /// From now on a share of the readers leaves.
    pub(super) fn leave(&self) {
        self.shared.leave.store(true, Ordering::Relaxed);
    }

    /// Waits for this long, and on until so many requests have ended in all.
    pub(super) async fn go_on(&mut self, time: Duration, requests: usize) -> anyhow::Result<()> {
        sleep(time).await;
        self.count.wait_for(|count| *count >= requests).await?;
        Ok(())
    }

    /// Lets every client finish its request; what all of them heard, and how many requests were left.
    pub(super) async fn finish(self) -> anyhow::Result<(Heard, usize)> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut all = Heard::default();
        for task in self.tasks {
            all.add(task.await?);
        }
        all.join_times();
        Ok((all, self.shared.left.load(Ordering::Relaxed)))
    }
}

// === impl Talker ===

impl Talker {
    async fn talk(self) -> Heard {
        let mut heard = Heard::default();
        let begun = Instant::now();
        for turn in 0.. {
            if self.shared.is_over.load(Ordering::Relaxed) {
                break;
            }
            let leaves =
                self.is_reader && turn % LEAVES_EVERY == 0 && self.shared.leave.load(Ordering::Relaxed);
            let asked = if leaves {
                let asked = timeout(LEAVES_AFTER, self.ask(self.seed + turn)).await;
                asked.map_err(|_| self.shared.left.fetch_add(1, Ordering::Relaxed)).ok()
            } else {
                Some(self.ask(self.seed + turn).await)
            };
            match asked {
                // What is asked about a long text counts for the waits.
                Some(Ok(answer)) => heard.answers.push(Answer { is_return: self.is_reader, ..answer }),
                Some(Err(lost)) => *heard.lost.entry(lost.label()).or_default() += 1,
                None => {}
            }
            self.count.send_modify(|count| *count += 1);
            sleep(if self.is_reader { READER_PAUSE } else { CHATTER_PAUSE }).await;
        }
        heard.asked_from(begun);
        heard
    }

    async fn ask(&self, topic: u64) -> Result<Answer, Lost> {
        let body = self.body(topic);
        let sent = Instant::now();
        let (waited, engine, cached_tokens) = match self.asking {
            Asking::Streamed => {
                let heard = timeout(PATIENCE, self.client.ask(Protocol::Chat, body));
                let heard = heard.await.map_err(|_| Lost::NoResponse)??;
                (heard.ttft, heard.engine, heard.usage.cached_tokens)
            }
            Asking::Whole => {
                let response = self.http.send(Method::POST, path(Protocol::Chat), &[JSON], body).await;
                let response = response.map_err(|_| Lost::NoResponse)?;
                if response.status != StatusCode::OK {
                    return Err(Lost::Status(response.status));
                }
                let body: Value = serde_json::from_str(&response.text()).map_err(|_| Lost::Incomplete)?;
                body.pointer("/choices/0/message/content").ok_or(Lost::Incomplete)?;
                (sent.elapsed(), response.header("x-engine").unwrap_or_default().to_owned(), 0)
            }
        };
        Ok(Answer { first_token_at: sent + waited, waited, engine, is_return: false, cached_tokens })
    }

    fn body(&self, topic: u64) -> Bytes {
        let (prompt, answer) =
            if self.is_reader { (LONG_TOKENS, SUMMARY_TOKENS) } else { (SHORT_TOKENS, CHAT_TOKENS) };
        let is_streamed = self.asking == Asking::Streamed;
        let body = json!({
            "model": MODEL,
            "messages": [{ "role": "user", "content": words(topic, prompt) }],
            "max_tokens": answer,
            "stream": is_streamed,
            "stream_options": is_streamed.then(|| json!({ "include_usage": true })),
        });
        body.to_string().into()
    }
}
