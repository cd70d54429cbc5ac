//! A pool that sleeps and wakes again and again, and clients who ask while it sleeps: their requests are held in the proxy until
//! endpoints come. In between, clients leave, the plugin is configured anew, the controller is away, or a VM traps.
//!
//! Nothing may be lost but what is held in a VM that traps: Envoy calls nobody for a paused request, and no other VM has it.

mod set;

use super::traffic::{self, Answer, Heard, ask_on, body};
use super::verdict::Verdict;
use crate::client::{Client, Lost, path};
use anyhow::{Context, ensure};
use futures::future::join_all;
use http::{Method, StatusCode};
use set::{Set, Setup};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use warmpath_engine::api::Protocol;
use warmpath_http::JSON;

/// How often the pool sleeps, and how many clients ask each time and stay.
const ROUNDS: usize = 5;
const STAYING: usize = 220;
/// Of ten clients, so many leave where some do.
const LEAVING_OF_TEN: usize = 3;
/// A client gives up after this, and its request counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Workers where one traps, the one that does, and how many requests each of them holds then.
const WORKERS: usize = 4;
const TRAPPED: usize = 0;
const HELD_EACH: usize = 74;
/// Makes the faulty build trap.
const TRAP: (&str, &str) = ("x-warmpath-test-trap", "1");

/// What happens while requests are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Endpoints come, and nothing else.
    Wake,
    /// Three of ten clients leave.
    Leave,
    /// The plugin is configured anew.
    Reload,
    /// The VM of one worker traps.
    Trap,
    /// The controller is away, and another one comes with the endpoints.
    Controller,
}

// === impl Holding ===

impl Holding {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wake => "held-wake",
            Self::Leave => "held-leave",
            Self::Reload => "held-reload",
            Self::Trap => "held-trap",
            Self::Controller => "held-controller",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Wake => "endpoints came",
            Self::Leave => "three of ten clients left, then endpoints came",
            Self::Reload => "the plugin was configured anew, then endpoints came",
            Self::Trap => "the VM of one of four workers trapped, then endpoints came",
            Self::Controller => "the controller went, and another one came with endpoints",
        }
    }
}

pub(super) async fn play(holding: Holding) -> anyhow::Result<Verdict> {
    let is_trap = holding == Holding::Trap;
    let workers = if is_trap { WORKERS as u32 } else { 2 };
    let mut set =
        Set::start(Setup { workers, is_faulty: is_trap, has_plane: holding == Holding::Reload }).await?;
    let (mut heard, mut waits, mut left, mut stuck) = (Heard::default(), Vec::new(), 0, 0);
    let mut held = 0;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let (staying, paused) = if is_trap {
            ask_workers(&set, round, &mut held).await?
        } else {
            (ask(&set, round, STAYING), Vec::new())
        };
        held += staying.len() * usize::from(!is_trap);
        let leaving =
            if holding == Holding::Leave { STAYING * LEAVING_OF_TEN / (10 - LEAVING_OF_TEN) } else { 0 };
        let leavers = ask(&set, ROUNDS + round, leaving);
        held += leaving;
        set.wait_held(held).await?;
        left += leavers.len();
        leavers.iter().for_each(JoinHandle::abort);
        disturb(holding, &mut set).await?;
        set.wake()?;
        let woken = Instant::now();
        if holding == Holding::Controller {
            set.start_controller().await?;
        }
        for end in join_all(staying).await {
            match end.context("a client failed")? {
                Ok(answer) => {
                    waits.push(answer.first_token_at.saturating_duration_since(woken));
                    heard.answers.push(answer);
                }
                Err(lost) => *heard.lost.entry(lost.label()).or_default() += 1,
            }
        }
        stuck += paused.iter().filter(|request| !request.is_finished()).count();
        paused.iter().for_each(JoinHandle::abort);
        heard.asked_from(begun);
        set.sleep().await?;
    }
    let (counters, finished, left_behind) = (set.counters().await?, set.finished(), set.left_behind().await);
    set.shutdown().await;
    Ok(verdict(holding, heard, Seen { waits, left, stuck, counters, finished, left_behind }))
}

/// What was seen beside what clients heard.
struct Seen {
    /// From the pool's waking to first tokens.
    waits: Vec<Duration>,
    left: usize,
    stuck: usize,
    counters: BTreeMap<String, u64>,
    finished: u64,
    left_behind: Option<String>,
}

fn verdict(holding: Holding, heard: Heard, seen: Seen) -> Verdict {
    let Seen { mut waits, left, stuck, counters, finished, left_behind } = seen;
    waits.sort();
    let at = |share: f64| {
        let at = (waits.len().saturating_sub(1) as f64 * share) as usize;
        waits.get(at).map_or(0, Duration::as_millis)
    };
    let served = heard.answers.len() as u64;
    let counters: Vec<_> = counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let note = format!(
        "{ROUNDS} times {}; first tokens after the pool woke p50/p90/max {}/{}/{} ms; {left} left while held; stuck until \
         their clients left {stuck}; {}",
        holding.what(),
        at(0.5),
        at(0.9),
        at(1.0),
        counters.join(", "),
    );
    let wrong = left_behind.map(|left| format!("left behind: {left}")).or_else(|| {
        (finished > served).then(|| format!("engines finished {finished} requests for {served}"))
    });
    Verdict { wrong, ..Verdict::new(holding.name(), heard, note) }
}

async fn disturb(holding: Holding, set: &mut Set) -> anyhow::Result<()> {
    match holding {
        Holding::Wake | Holding::Leave | Holding::Trap => {}
        Holding::Reload => set.configure_anew().await?,
        Holding::Controller => set.stop_controller().await,
    }
    Ok(())
}

/// A request under way.
type Asked = JoinHandle<Result<Answer, Lost>>;

/// Clients of their own, each with one request.
fn ask(set: &Set, round: usize, clients: usize) -> Vec<Asked> {
    let gateway = set.gateway;
    (0..clients)
        .map(|number| {
            let (client, topic) = (Client::new(gateway), (round * 10_000 + number) as u64);
            tokio::spawn(async move { traffic::ask(&client, topic, PATIENCE).await })
        })
        .collect()
}

/// Connections to each worker, one request on each; then one worker's VM traps. Returns the requests of the other workers, and
/// those that were held in it.
async fn ask_workers(set: &Set, round: usize, held: &mut usize) -> anyhow::Result<(Vec<Asked>, Vec<Asked>)> {
    let (mut staying, mut paused) = (Vec::new(), Vec::new());
    for number in 0..HELD_EACH {
        let connections = set.envoy.connection_of_each_worker(WORKERS).await?;
        for (worker, connection) in connections.into_iter().enumerate() {
            // The worker that traps holds a few: what becomes of one becomes of all.
            if worker == TRAPPED && number >= HELD_EACH / 10 {
                continue;
            }
            let topic = (round * 10_000 + number * WORKERS + worker) as u64;
            let mut connection = connection.with_time_max(PATIENCE);
            let request = tokio::spawn(async move { ask_on(&mut connection, topic).await });
            if worker == TRAPPED {
                paused.push(request);
            } else {
                staying.push(request);
            }
            *held += 1;
        }
    }
    set.wait_held(*held).await?;
    let mut worker = set.envoy.connection_of_each_worker(WORKERS).await?.swap_remove(TRAPPED);
    let trapped = worker.send(Method::POST, path(Protocol::Chat), &[JSON, TRAP], body(0, 1).into()).await;
    let status = trapped.map(|response| response.status);
    ensure!(
        !matches!(status, Ok(StatusCode::OK)),
        "the filter does not trap: WARMPATH_WASM_FAULTY is not the faulty build"
    );
    Ok((staying, paused))
}
