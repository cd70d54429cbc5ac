//! What clients lose while one of two engines of a leg is killed, and stays dead.

use super::cost::{PATH, body};
use super::way::{Route, Way};
use super::{Plan, progress};
use crate::measure::Quantiles;
use futures::future::join_all;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};
use warmpath_engine::{EngineServer, Fault, ServerConfig};
use warmpath_http::Client;

/// Requests under way at the same time.
const CLIENTS: usize = 8;
/// Bytes of the prompts.
const PROMPT_BYTES: usize = 8 << 10;
/// When a client gives a request up.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a run ends, even if fewer were sent: a router that hangs must not take the whole evening.
const TIME_MAX: Duration = Duration::from_mins(2);
/// The part of the requests that is served before the engine is killed, as a divisor.
const BEFORE: usize = 4;

const US_PER_S: f64 = 1e6;

/// Whose engine is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Prefill,
    Decode,
}

/// What became of one run.
#[derive(Clone, Debug)]
pub(super) struct Kill {
    pub(super) way: Way,
    pub(super) victim: Victim,
    /// Requests that were sent.
    pub(super) sent: usize,
    /// Those without a whole response of status 200.
    pub(super) lost: usize,
    /// Those of them in the second half of the run, long after the kill.
    pub(super) lost_late: usize,
    /// Those with another text than an engine gives by itself.
    pub(super) wrong: usize,
    /// What clients waited before the kill, and from then on, in microseconds: the median, and the longest.
    pub(super) before_us: (f64, f64),
    pub(super) after_us: (f64, f64),
    /// How the first lost one ended.
    pub(super) example: Option<String>,
}

// === impl Victim ===

impl Victim {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// Kills an engine of each leg, behind each way that splits requests.
pub(super) async fn measure(ways: &[Way], plan: Plan, logs: &Path) -> anyhow::Result<Vec<Kill>> {
    let reference = EngineServer::start(ServerConfig {
        model: crate::cluster::MODEL.to_owned(),
        ..ServerConfig::instant()
    })
    .await?;
    let mut kills = Vec::new();
    for way in ways.iter().filter(|way| way.is_split()) {
        for victim in [Victim::Prefill, Victim::Decode] {
            progress::step(format_args!("{way}, a {} engine is killed", victim.name()));
            let route = Route::start(*way, logs).await?;
            kills.push(kill(&route, victim, plan.requests_at_kill, &reference).await);
        }
    }
    Ok(kills)
}

/// What is counted while requests run, all on one thread.
#[derive(Default)]
struct Count {
    next: Cell<usize>,
    lost: Cell<usize>,
    lost_late: Cell<usize>,
    wrong: Cell<usize>,
    example: RefCell<Option<String>>,
    /// Microseconds, and whether the engine was dead by then.
    waits: RefCell<Vec<(f64, bool)>>,
}

async fn kill(route: &Route, victim: Victim, requests: usize, reference: &EngineServer) -> Kill {
    let count = Count::default();
    let (begun, is_dead) = (Instant::now(), Cell::new(false));
    let engines = match victim {
        Victim::Prefill => &route.engines.prefill,
        Victim::Decode => &route.engines.decode,
    };
    let client = async || {
        let gateway = Client::http1(route.gateway).with_time_max(PATIENCE);
        let direct = Client::http1(reference.addr());
        while count.next.get() < requests && begun.elapsed() < TIME_MAX {
            let number = count.next.replace(count.next.get() + 1);
            if number == requests / BEFORE {
                if let Some(engine) = engines.first() {
                    engine.fault(Fault::Die).await;
                }
                is_dead.set(true);
            }
            // Other numbers than those of the cost, which the engines have seen.
            let body = body((1 << 40) + number as u64, PROMPT_BYTES);
            let (sent, was_dead) = (Instant::now(), is_dead.get());
            let response = gateway.post_json(PATH, &body).await;
            count.waits.borrow_mut().push((sent.elapsed().as_secs_f64() * US_PER_S, was_dead));
            match response {
                Ok(response) if response.status == 200 => {
                    let text = |json: serde_json::Value| json.pointer("/choices/0/message/content").cloned();
                    let expected =
                        direct.post_json(PATH, &body).await.ok().and_then(|right| text(right.json()));
                    if text(response.json()) != expected {
                        count.wrong.set(count.wrong.get() + 1);
                    }
                }
                other => {
                    count.lost.set(count.lost.get() + 1);
                    count.lost_late.set(count.lost_late.get() + usize::from(number >= requests / 2));
                    count.example.borrow_mut().get_or_insert_with(|| match other {
                        Ok(response) => format!("{}: {}", response.status, response.text()),
                        Err(error) => error.to_string(),
                    });
                }
            }
        }
    };
    join_all((0..CLIENTS).map(|_| client())).await;
    let waits = count.waits.into_inner();
    let of = |dead: bool| {
        let all = waits.iter().filter(|(_, was_dead)| *was_dead == dead).map(|(us, _)| *us);
        let longest = all.clone().fold(0.0, f64::max);
        (Quantiles::of(all).p50, longest)
    };
    Kill {
        way: route.way,
        victim,
        sent: waits.len(),
        lost: count.lost.get(),
        lost_late: count.lost_late.get(),
        wrong: count.wrong.get() + usize::try_from(route.engines.stale()).unwrap_or(usize::MAX),
        before_us: of(false),
        after_us: of(true),
        example: count.example.into_inner(),
    }
}
