//! Clients that talk to the gateway until they are told to stop, and what they heard.
//!
//! They run until a test has seen what it wants in the middle, not for a time or a number that is used up before.

use super::{MODEL, PATH, completion, prompt};
use http::StatusCode;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use warmpath_envoy::DEADLINE;
use warmpath_http::Client;

/// Conversations that each client comes back to. Every other request is about something new, because only what
/// is new goes to an engine that has just come.
const TOPICS: usize = 8;

/// Clients at work.
pub(crate) struct Traffic {
    answered: watch::Receiver<usize>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Outcome>>,
}

/// What clients heard.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Answers with 200, by the engine that gave them.
    pub(crate) by_engine: BTreeMap<String, usize>,
    /// Everything else, in words.
    pub(crate) failures: Vec<String>,
}

// === impl Traffic ===

impl Traffic {
    /// Starts this many clients of each gateway.
    pub(crate) fn start(gateways: &[SocketAddr], clients: usize) -> Self {
        let (count, answered) = watch::channel(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let all = gateways.iter().flat_map(|gateway| (0..clients).map(move |at| (*gateway, at)));
        let clients = all
            .map(|(gateway, at)| tokio::spawn(talk(gateway, at, count.clone(), Arc::clone(&is_over))))
            .collect();
        Self { answered, is_over, clients }
    }

    /// Waits until this many more requests were answered.
    pub(crate) async fn more(&mut self, requests: usize) {
        let enough = *self.answered.borrow() + requests;
        let waited = timeout(DEADLINE, self.answered.wait_for(|answered| *answered >= enough)).await;
        waited.unwrap_or_else(|_| panic!("no {requests} answers in {DEADLINE:?}")).unwrap();
    }

    /// Lets every client finish its request, and tells what all of them heard.
    pub(crate) async fn finish(self) -> Outcome {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for client in self.clients {
            let heard = client.await.unwrap();
            all.failures.extend(heard.failures);
            for (engine, answers) in heard.by_engine {
                *all.by_engine.entry(engine).or_default() += answers;
            }
        }
        all
    }
}

// === impl Outcome ===

impl Outcome {
    /// Fails unless there were this many answers and all of them 200.
    pub(crate) fn assert_nothing_lost(&self, at_least: usize) {
        assert!(self.failures.is_empty(), "{} lost: {:#?}", self.failures.len(), self.failures);
        let answers: usize = self.by_engine.values().sum();
        assert!(answers >= at_least, "{answers} answers only");
    }
}

async fn talk(
    gateway: SocketAddr,
    at: usize,
    count: watch::Sender<usize>,
    is_over: Arc<AtomicBool>,
) -> Outcome {
    let client = Client::http1(gateway);
    let mut heard = Outcome::default();
    for turn in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let topic = if turn % 2 == 0 { turn % TOPICS } else { turn };
        let body = completion(MODEL, &prompt(&format!("client {at} topic {topic}")));
        match client.post_json(PATH, &body).await {
            Ok(response) if response.status == StatusCode::OK => {
                let engine = response.header("x-engine").unwrap().to_owned();
                *heard.by_engine.entry(engine).or_default() += 1;
            }
            Ok(response) => heard.failures.push(format!("{}: {}", response.status, response.text())),
            Err(error) => heard.failures.push(format!("{error:?}")),
        }
        count.send_modify(|count| *count += 1);
    }
    heard
}
