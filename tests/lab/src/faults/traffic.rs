//! Clients that talk to the gateway for as long as a scenario lasts, and what they received.
//!
//! Each client comes back to a few conversations of its own and brings new ones, so that there is something to find in
//! caches and something that has to be placed anew.

use crate::client::{Client, Lost, Stream, path};
use crate::cluster::MODEL;
use crate::workload::words;
use http::{Method, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use warmpath_engine::api::Protocol;
use warmpath_http::{Connection, JSON};

/// Clients of a scenario.
pub(super) const CLIENTS: usize = 12;

/// A client's pause between two requests: together they send some eighty a second.
const THINK: Duration = Duration::from_millis(120);

/// Conversations that each client comes back to.
const TOPICS: u64 = 6;

/// Length of a prompt and of a response.
const PROMPT_TOKENS: usize = 600;
const ANSWER_TOKENS: usize = 8;

/// A client gives up a request after this, and it counts as lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Clients at work.
pub(super) struct Traffic {
    count: watch::Receiver<usize>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Heard>>,
}

/// What clients heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Whole responses.
    pub(super) answers: Vec<Answer>,
    /// Requests without one, by reason.
    pub(super) lost: BTreeMap<String, usize>,
    /// From when to when clients asked: one entry for each time that there was traffic.
    asked: Vec<(Instant, Instant)>,
}

/// One whole response.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When its first token came.
    pub(super) first_token_at: Instant,
    /// How long the client had waited for it.
    pub(super) waited: Duration,
    /// Who gave it.
    pub(super) engine: String,
    /// Whether the client had asked the same before.
    pub(super) is_return: bool,
    /// Tokens that the engine had cached.
    pub(super) cached_tokens: u64,
}

// === impl Traffic ===

impl Traffic {
    /// Starts the clients.
    pub(super) fn start(gateway: SocketAddr, seed: u64) -> Self {
        let (count, counted) = watch::channel(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let seed = seed.wrapping_mul(1_000).wrapping_add(number as u64).wrapping_mul(1_000_000);
            tokio::spawn(talk(gateway, seed, count.clone(), Arc::clone(&is_over)))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { count: counted, is_over, clients }
    }

    /// Starts a client on each of these connections, which stays with the worker thread that took it.
    pub(super) fn on_connections(connections: Vec<Connection>, seed: u64) -> Self {
        let (_, count) = watch::channel(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |(number, connection): (usize, Connection)| {
            let end = End::Flag(Arc::clone(&is_over));
            let seed = seed.wrapping_mul(1_000).wrapping_add(number as u64).wrapping_mul(1_000_000);
            tokio::spawn(async move { talk_on(connection, seed, &end).await.0 })
        };
        let clients = connections.into_iter().enumerate().map(client).collect();
        Self { count, is_over, clients }
    }

    /// Waits for this long, and on until so many requests have ended in all.
    pub(super) async fn go_on(&mut self, time: Duration, requests: usize) -> anyhow::Result<()> {
        sleep(time).await;
        self.count.wait_for(|count| *count >= requests).await?;
        Ok(())
    }

    /// Lets every client finish its request, and returns what all of them heard.
    pub(super) async fn finish(self) -> anyhow::Result<Heard> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Heard::default();
        for client in self.clients {
            all.add(client.await?);
        }
        all.join_times();
        Ok(all)
    }
}

// === impl Heard ===

impl Heard {
    /// Requests of any end.
    pub(super) fn requests(&self) -> usize {
        self.answers.len() + self.lost.values().sum::<usize>()
    }

    /// Adds what was heard at other times or by others.
    pub(super) fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.asked.extend(other.asked);
        for (reason, count) in other.lost {
            *self.lost.entry(reason).or_default() += count;
        }
    }

    /// A client has asked from then until now.
    pub(super) fn asked_from(&mut self, begun: Instant) {
        self.asked.push((begun, Instant::now()));
    }

    /// Makes one time of those in which each client asked.
    pub(super) fn join_times(&mut self) {
        let begin = self.asked.iter().map(|(begin, _)| *begin).min();
        let end = self.asked.iter().map(|(_, end)| *end).max();
        self.asked = begin.zip(end).into_iter().collect();
    }

    /// The longest time without a first token for anybody, within the times in which clients asked.
    pub(super) fn pause(&self) -> Duration {
        let pause_within = |(begin, end): &(Instant, Instant)| {
            let within = |moment: &Instant| begin <= moment && moment <= end;
            let mut moments: Vec<Instant> =
                self.answers.iter().map(|answer| answer.first_token_at).filter(within).collect();
            moments.extend([*begin, *end]);
            moments.sort();
            moments
                .windows(2)
                .filter_map(|pair| Some(*pair.get(1)? - *pair.first()?))
                .max()
                .unwrap_or_default()
        };
        self.asked.iter().map(pause_within).max().unwrap_or_default()
    }

    /// The longest that anybody waited for a first token.
    pub(super) fn wait(&self) -> Duration {
        self.answers.iter().map(|answer| answer.waited).max().unwrap_or_default()
    }

    /// Responses by engine, of those whose first token came within a time.
    pub(super) fn by_engine(&self, since: Instant, until: Instant) -> BTreeMap<&str, usize> {
        let mut engines = BTreeMap::new();
        let is_within = |answer: &&Answer| since <= answer.first_token_at && answer.first_token_at <= until;
        for answer in self.answers.iter().filter(is_within) {
            *engines.entry(answer.engine.as_str()).or_default() += 1;
        }
        engines
    }

    /// The share of requests asked before whose prompt was found in the engine's cache, of those within a time.
    pub(super) fn found_again(&self, since: Instant, until: Instant) -> f64 {
        let returns = self.answers.iter().filter(|answer| {
            answer.is_return && since <= answer.first_token_at && answer.first_token_at <= until
        });
        let (mut all, mut found) = (0, 0);
        for answer in returns {
            all += 1;
            found += usize::from(answer.cached_tokens > PROMPT_TOKENS as u64 / 2);
        }
        found as f64 / f64::from(all.max(1))
    }
}

/// One client.
async fn talk(
    gateway: SocketAddr,
    seed: u64,
    count: watch::Sender<usize>,
    is_over: Arc<AtomicBool>,
) -> Heard {
    let client = Client::new(gateway);
    let mut heard = Heard::default();
    let begun = Instant::now();
    for turn in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        // Every other request comes back to an old conversation, once all of them have begun.
        let topic = if turn % 2 == 0 { turn / 2 % TOPICS } else { TOPICS + turn };
        let is_return = turn % 2 == 0 && turn / 2 >= TOPICS;
        match ask(&client, seed + topic, PATIENCE).await {
            Ok(answer) => heard.answers.push(Answer { is_return, ..answer }),
            Err(lost) => *heard.lost.entry(lost.label()).or_default() += 1,
        }
        count.send_modify(|count| *count += 1);
        sleep(THINK).await;
    }
    heard.asked.push((begun, Instant::now()));
    heard
}

/// When a client on a connection stops.
pub(super) enum End {
    /// When this is set.
    Flag(Arc<AtomicBool>),
    /// After so many requests.
    Count(usize),
}

/// A client on one connection; returns it as well, unless it broke.
pub(super) async fn talk_on(mut connection: Connection, seed: u64, end: &End) -> (Heard, Option<Connection>) {
    let mut heard = Heard::default();
    let begun = Instant::now();
    let mut is_open = true;
    for turn in 0.. {
        let is_over = match end {
            End::Flag(flag) => flag.load(Ordering::Relaxed),
            End::Count(count) => turn >= *count as u64,
        };
        if is_over || !is_open {
            break;
        }
        match ask_on(&mut connection, seed + turn % (2 * TOPICS)).await {
            Ok(answer) => heard.answers.push(answer),
            Err(lost) => {
                // A connection that broke cannot show more.
                is_open = matches!(lost, Lost::Status(_) | Lost::Incomplete);
                *heard.lost.entry(lost.label()).or_default() += 1;
            }
        }
        if matches!(end, End::Flag(_)) {
            sleep(THINK).await;
        }
    }
    heard.asked.push((begun, Instant::now()));
    (heard, is_open.then_some(connection))
}

/// One request on a connection.
pub(super) async fn ask_on(connection: &mut Connection, topic: u64) -> Result<Answer, Lost> {
    let sent = Instant::now();
    let body = body(topic, ANSWER_TOKENS).into();
    let response = connection.send(Method::POST, path(Protocol::Chat), &[JSON], body).await;
    let response = response.map_err(|_| Lost::NoResponse)?;
    if response.status != StatusCode::OK {
        return Err(Lost::Status(response.status));
    }
    let mut stream = Stream::default();
    stream.feed(&response.body);
    let engine = response.header("x-engine").unwrap_or_default().to_owned();
    let (_, usage) = stream.finish().ok_or(Lost::Incomplete)?;
    let waited = sent.elapsed();
    Ok(Answer {
        first_token_at: sent + waited,
        waited,
        engine,
        is_return: false,
        cached_tokens: usage.cached_tokens,
    })
}

/// One request, on which the client gives up after so long.
pub(super) async fn ask(client: &Client, topic: u64, patience: Duration) -> Result<Answer, Lost> {
    let body = body(topic, ANSWER_TOKENS);
    let sent = Instant::now();
    let asked = timeout(patience, client.ask(Protocol::Chat, body.into()));
    let heard = asked.await.map_err(|_| Lost::NoResponse)??;
    Ok(Answer {
        first_token_at: sent + heard.ttft,
        waited: heard.ttft,
        engine: heard.engine,
        is_return: false,
        cached_tokens: heard.usage.cached_tokens,
    })
}

/// A chat about a topic.
pub(super) fn body(topic: u64, answer_tokens: usize) -> String {
    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": words(topic, PROMPT_TOKENS) }],
        "max_tokens": answer_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    body.to_string()
}
