//! Clients that send requests without a pause while a test changes the cluster, and the results of their requests.

use crate::wait::until;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use warmpath_http::Client;

/// Conversations of each client before it begins anew, each with a prompt of its own.
const TURNS: usize = 4;

/// The text that all prompts of a client share.
const WORDS: usize = 300;

/// A request that takes longer is lost: clients give up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Clients under way. Dropping them ends them.
pub struct Traffic {
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Responses with a success.
    pub served: usize,
    /// Of them, those that found most of their prompt in the engine's cache.
    pub warm: usize,
    /// The tokens of their prompts, and how many of those the engines had in their caches.
    pub prompt_tokens: usize,
    /// See `prompt_tokens`.
    pub cached_tokens: usize,
    /// The time that all of them took together, one after the other.
    pub waited: Duration,
    /// The longest time that one of them took.
    pub slowest: Duration,
    /// Why others were lost, in words.
    pub lost: Vec<String>,
    /// What each engine served, by its name.
    pub by_engine: BTreeMap<String, Span>,
    /// How many requests of each client have ended.
    ended: Vec<usize>,
}

/// The requests that an engine served.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// How many.
    pub served: usize,
    /// When the first of them was sent.
    pub first: Instant,
    /// When the last of them was sent.
    pub last: Instant,
}

// === impl Traffic ===

impl Traffic {
    /// Starts so many clients of `gateway`, each with one request at a time. Those of another topic share no text with them.
    pub fn start(gateway: SocketAddr, model: &str, topic: &str, count: usize) -> Self {
        let tally = Arc::new(Mutex::new(Tally { ended: vec![0; count], ..Tally::default() }));
        let mut clients = JoinSet::new();
        for number in 0..count {
            clients.spawn(talk(gateway, model.to_owned(), topic.to_owned(), number, Arc::clone(&tally)));
        }
        Self { tally, clients }
    }

    /// What became of the requests so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more requests have ended, and of each client all that are under way now.
    pub async fn more(&self, count: usize) -> anyhow::Result<()> {
        let before = self.tally().ended;
        let has_ended = || {
            let now = self.tally().ended;
            let all_went_on = before.iter().zip(&now).all(|(before, now)| now > before);
            all_went_on && now.iter().sum::<usize>() >= before.iter().sum::<usize>() + count
        };
        until(&format!("{count} more requests"), async || has_ended().then_some(())).await
    }

    /// Waits until so many more requests have ended, and at least this time has passed.
    pub async fn more_during(&self, count: usize, time: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.more(count).await?;
        until(&format!("{} s of requests", time.as_secs()), async || (begun.elapsed() >= time).then_some(()))
            .await?;
        // Those that are under way have begun in this time, too.
        self.more(1).await
    }

    /// Ends the clients, and returns what became of all requests.
    pub async fn stop(mut self) -> Tally {
        self.clients.shutdown().await;
        self.tally()
    }
}

// === impl Span ===

impl Span {
    fn extend(&mut self, sent: Instant) {
        let Self { served, first, last } = *self;
        // Requests end in another order than they were sent in.
        *self = Self { served: served + 1, first: first.min(sent), last: last.max(sent) };
    }
}

impl From<Instant> for Span {
    fn from(sent: Instant) -> Self {
        Self { served: 0, first: sent, last: sent }
    }
}

/// One client: conversations one after the other, each turn with all that was said before.
async fn talk(gateway: SocketAddr, model: String, topic: String, number: usize, tally: Arc<Mutex<Tally>>) {
    let client = Client::http1(gateway).with_time_max(PATIENCE);
    for conversation in 0_usize.. {
        let prompt: Vec<String> = (0..WORDS).map(|word| format!("{number}.{conversation}.{word}")).collect();
        let begin = format!("{topic} {}", prompt.join(" "));
        let mut messages = vec![json!({"role": "system", "content": begin})];
        for turn in 0..TURNS {
            messages.push(json!({"role": "user", "content": format!("turn {turn}")}));
            let body = json!({"model": model, "max_tokens": 8, "messages": messages});
            let sent = Instant::now();
            let response = ask(&client, &body).await;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ended) = tally.ended.get_mut(number) {
                *ended += 1;
            }
            match response {
                Ok(Response { engine, text, prompt_tokens, cached_tokens }) => {
                    let took = sent.elapsed();
                    tally.served += 1;
                    tally.waited += took;
                    tally.slowest = tally.slowest.max(took);
                    tally.prompt_tokens += prompt_tokens;
                    tally.cached_tokens += cached_tokens;
                    tally.warm += usize::from(cached_tokens * 2 > prompt_tokens);
                    tally.by_engine.entry(engine).or_insert(Span::from(sent)).extend(sent);
                    messages.push(json!({"role": "assistant", "content": text}));
                }
                Err(why) => {
                    tally.lost.push(why);
                    break;
                }
            }
        }
    }
}

/// A response, with what the engine says of itself and of the prompt.
struct Response {
    engine: String,
    text: String,
    prompt_tokens: usize,
    cached_tokens: usize,
}

/// One request.
async fn ask(client: &Client, body: &Value) -> Result<Response, String> {
    let sent = client.post_json("/v1/chat/completions", body).await;
    let response = sent.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    if !response.status.is_success() {
        return Err(format!("{}: {text}", response.status));
    }
    let header =
        |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let number = |name: &str| header(name).parse::<usize>().unwrap_or_default();
    let page: Value = serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
    let said = page.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default();
    Ok(Response {
        engine: header("x-engine").to_owned(),
        text: said.to_owned(),
        prompt_tokens: number("x-engine-prompt-tokens"),
        cached_tokens: number("x-engine-cached-tokens"),
    })
}
