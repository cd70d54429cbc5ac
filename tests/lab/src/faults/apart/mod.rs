//! Prefill and decode apart: long prompts beside chats, two engines for prompts and two for responses, and what clients notice when
//! one of them, both, the controller or the clients themselves go.
//!
//! Each scenario is its own yardstick: the same clients ask before anything fails, and the table says how long they waited for first
//! tokens then and afterwards.

mod traffic;

use super::setting::TIME_SCALE;
use super::traffic::Heard;
use super::verdict::Verdict;
use crate::arm::Arm;
use crate::cluster::{Cluster, Spec, params};
use anyhow::Context;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use traffic::{Asking, Clients, PATIENCE};
use warmpath_engine::{EngineServer, Fault, Nonsense, Preset};
use warmpath_envoy::until;

/// Engines: the first half computes prompts, the second half generates.
const ENGINES: usize = 4;
/// Before anything fails.
const HEALTHY: Duration = Duration::from_secs(8);
const HEALTHY_REQUESTS: usize = 500;
/// Afterwards.
const FAILING: Duration = Duration::from_secs(15);
/// How fast an engine fails that responds.
const AFTER_MS: u64 = 3;
/// Where the filter's counters of legs begin, in Envoy's stats.
const STATS: &str = "wasmcustom.warmpath.";
/// A line of the controller's metrics for each engine.
const IN_FLIGHT: &str = "warmpath_controller_engine_in_flight{";

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// One of two engines for prompts is killed.
    PrefillKilled,
    /// It no longer responds.
    PrefillStalled,
    /// It responds 500.
    PrefillError,
    /// It responds with nonsense.
    PrefillNonsense,
    /// One of two engines for responses is killed.
    DecodeKilled,
    /// Both engines for prompts are killed.
    PrefillGone,
    /// The controller is gone.
    Controller,
    /// A fifth of the clients leaves while its prompts are computed.
    Leaving,
}

// === impl Failing ===

impl Failing {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrefillKilled => "prefill-killed",
            Self::PrefillStalled => "prefill-stalled",
            Self::PrefillError => "prefill-error",
            Self::PrefillNonsense => "prefill-nonsense",
            Self::DecodeKilled => "decode-killed",
            Self::PrefillGone => "prefill-gone",
            Self::Controller => "apart-controller",
            Self::Leaving => "leaving",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::PrefillKilled => "one of two prefill engines killed",
            Self::PrefillStalled => "one of two prefill engines no longer responds",
            Self::PrefillError => "one of two prefill engines responds 500",
            Self::PrefillNonsense => "one of two prefill engines responds with a page of HTML",
            Self::DecodeKilled => "one of two decode engines killed, responses not streamed",
            Self::PrefillGone => "both prefill engines killed",
            Self::Controller => "controller gone",
            Self::Leaving => "a fifth of the clients leaves during prefill",
        }
    }

    /// A streamed response that has begun ends with its engine, which nobody can mend.
    const fn asking(self) -> Asking {
        match self {
            Self::DecodeKilled => Asking::Whole,
            _ => Asking::Streamed,
        }
    }

    async fn begin(self, cluster: &mut Cluster, clients: &Clients) -> anyhow::Result<()> {
        let every = NonZeroU32::MIN;
        let engines = |from: usize, count: usize| cluster.engines().iter().skip(from).take(count);
        let (failing, fault): (Vec<&EngineServer>, Fault) = match self {
            Self::PrefillKilled => (engines(0, 1).collect(), Fault::Die),
            Self::PrefillStalled => (engines(0, 1).collect(), Fault::Stall),
            Self::PrefillError => {
                let error = Fault::Status { code: 500, count: None, after_ms: AFTER_MS, every };
                (engines(0, 1).collect(), error)
            }
            Self::PrefillNonsense => {
                (engines(0, 1).collect(), Fault::Nonsense { what: Nonsense::Html, count: None, every })
            }
            Self::DecodeKilled => (engines(ENGINES / 2, 1).collect(), Fault::Die),
            Self::PrefillGone => (engines(0, ENGINES / 2).collect(), Fault::Die),
            Self::Controller => {
                cluster.stop_controller().await;
                return Ok(());
            }
            Self::Leaving => {
                clients.leave();
                return Ok(());
            }
        };
        for engine in failing {
            engine.fault(fault.clone()).await;
        }
        Ok(())
    }
}

pub(super) async fn play(failing: Failing) -> anyhow::Result<Verdict> {
    let spec = Spec {
        tokens_per_chunk: 4,
        ..Spec::new(Arm::Apart, ENGINES, params(Preset::Qwen3On2, None), TIME_SCALE)
    };
    let mut cluster = Cluster::start(&spec).await?;
    let begun = Instant::now();
    let mut clients = Clients::start(cluster.gateway()?, failing.asking());
    clients.go_on(HEALTHY, HEALTHY_REQUESTS).await?;
    let healthy_legs = counters(&cluster).await?;
    let failing_at = Instant::now();
    failing.begin(&mut cluster, &clients).await?;
    let requests = clients.requests();
    clients.go_on(FAILING, requests + super::verdict::REQUESTS_MIN).await?;
    let (heard, left) = clients.finish().await?;
    if failing == Failing::Controller {
        cluster.start_controller().await?;
    }
    let promises = promises_left(&cluster).await;
    let legs = counters(&cluster).await?;
    cluster.shutdown().await;
    let count = |name: &str, of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or_default();
    let split = count("split", &healthy_legs);
    let waits = |since, until| Waits::of(&heard, since, until).to_string();
    let note = format!(
        "{}; first token of long prompts p50/p90/max: healthy {}, then {}; {left} left; split {} then {}; legs that failed: {}; \
         replaced by local {}, decode legs rescued {}; a client gives up after {} s",
        failing.what(),
        waits(begun, failing_at),
        waits(failing_at, Instant::now()),
        split,
        count("split", &legs) - split,
        failed(&legs),
        count("prefill_leg.replaced_by_local", &legs),
        count("decode_leg.rescued", &legs),
        PATIENCE.as_secs(),
    );
    let wrong = match promises {
        Err(left) => Some(format!("promises left behind: {left}")),
        Ok(()) if split == 0 => Some("no request was split".to_owned()),
        Ok(()) => None,
    };
    Ok(Verdict { wrong, ..Verdict::new(failing.name(), heard, note) })
}

/// The filter's counters, without what their names have in common.
async fn counters(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, u64>> {
    let envoy = cluster.envoys().first().context("there is no envoy")?;
    let stats = envoy.admin().stats(STATS).await?;
    Ok(stats.into_iter().map(|(name, count)| (name.replacen(STATS, "", 1), count)).collect())
}

/// Legs by the reason for which they failed.
fn failed(legs: &BTreeMap<String, u64>) -> String {
    let reasons = legs.iter().filter_map(|(name, count)| {
        let reason = name.strip_prefix("prefill_leg.")?;
        let is_reason = !matches!(reason, "retried" | "replaced_by_local");
        (is_reason && *count > 0).then(|| format!("{count} {reason}"))
    });
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") }
}

/// Waits until the controller knows of no request any more; what it still knows of if that never comes.
async fn promises_left(cluster: &Cluster) -> Result<(), String> {
    let booked = async || {
        let address = cluster.controller()?.http_addr();
        let page = warmpath_http::Client::http1(address).get("/metrics").await.ok()?.text();
        let lines = page.lines().filter(|line| line.starts_with(IN_FLIGHT));
        let booked: Vec<_> = lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect();
        let are_known = page.contains(IN_FLIGHT);
        are_known.then_some(booked)
    };
    let none = until("no promise to be left", async || booked().await.filter(Vec::is_empty)).await;
    match none {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(booked().await.map_or("the controller says nothing".to_owned(), |left| left.join(", ")))
        }
    }
}

/// How long clients waited for the first tokens of long prompts.
struct Waits(Vec<Duration>);

// === impl Waits ===

impl Waits {
    fn of(heard: &Heard, since: Instant, until: Instant) -> Self {
        let is_within = |came: Instant| since <= came && came <= until;
        let mut waits: Vec<_> = heard
            .answers
            .iter()
            .filter(|answer| answer.is_return && is_within(answer.first_token_at))
            .map(|answer| answer.waited)
            .collect();
        waits.sort();
        Self(waits)
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(waits) = self;
        let at = |share: f64| {
            let at = (waits.len().saturating_sub(1) as f64 * share) as usize;
            waits.get(at).map_or(0, Duration::as_millis)
        };
        write!(f, "{}/{}/{} ms", at(0.5), at(0.9), at(1.0))
    }
}
