//! Ten thousand cell changes a second through the state stream into a real Envoy: what they cost its threads, and how
//! soon every worker can use what came.
//!
//! ```text
//!  sender (a made-up proxy) ═ Up ═► controller ═ Down ═► Envoy: the VM with the lease ─► log ─► the others
//!                                                          ▲ questions over a connection to each worker
//! ```
//!
//! The controller passes on what one proxy tells to all others; so a made-up proxy is all it takes. The clock of a
//! probe runs from before it is sent until the last worker names its holder when asked, so the way of the last
//! question is in it.

mod probe;
mod sender;

use self::probe::Probes;
use self::sender::Sender;
use crate::bench::plan::Plan;
use crate::bench::process::{Meter, controller, engines};
use crate::bench::target::{ENGINES, EnvoySpec, Target};
use anyhow::{Context, ensure};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use warmpath_envoy::process::Envoy;

/// New cells that are sent in a second.
pub const CELLS_PER_S: f64 = 10_000.0;

/// Workers of the Envoy: one that may hold the stream, and one that must hear of it from its sibling.
const WORKERS: u32 = 2;

/// How long Envoy rests before its idle time is measured: the snapshot, and the first compilations.
const REST: Duration = Duration::from_secs(1);

/// The filter's count of cells, in Envoy's stats.
const CELLS_STAT: &str = "wasmcustom.warmpath.view.cells";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feed {
    /// New cells a second that were sent.
    pub cells_per_s: f64,
    /// Shares of a core that each thread with a VM used because of them.
    pub threads: Vec<ThreadShare>,
    /// Milliseconds from sending a prefix until the last worker used it, one for each probe.
    pub usable_ms: Vec<f64>,
}

/// One thread of Envoy.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ThreadShare {
    /// The thread's name.
    pub thread: String,
    /// Its share of a core without the changes.
    pub idle: f64,
    /// Its share with them.
    pub fed: f64,
}

// === impl ThreadShare ===

impl ThreadShare {
    /// What the changes cost.
    pub fn more(&self) -> f64 {
        self.fed - self.idle
    }
}

/// Measures.
pub async fn measure(plan: &Plan) -> anyhow::Result<Feed> {
    let engines = engines::start(ENGINES, 0.0)?;
    let controller = controller::start(engines.addresses())?;
    let address = controller.addresses().first().copied().context("no controller")?;
    let folder = tempfile::tempdir().context("cannot make a folder for envoy's configuration")?;
    let spec = EnvoySpec {
        target: Target::Warmpath,
        engines: engines.addresses(),
        controller: Some(address),
        workers: WORKERS,
        explains: true,
    };
    let envoy = spec.start(folder.path()).await?;
    let sender = Sender::connect(address, engines.addresses()).await?;
    let mut probes = Probes::new(&envoy, WORKERS, engines.addresses()).await?;

    sleep(REST).await;
    let idle = shares(&envoy, plan.feed_time).await?;
    let cells_before = envoy.admin().stat(CELLS_STAT).await?;
    let sending = sender.keep_sending(CELLS_PER_S);
    sleep(REST).await;
    let sent_before = (sender.cells_sent(), Instant::now());
    let fed = shares(&envoy, plan.feed_time).await?;
    let cells_per_s = (sender.cells_sent() - sent_before.0) as f64 / sent_before.1.elapsed().as_secs_f64();
    let mut usable_ms = Vec::new();
    for _ in 0..plan.feed_probes {
        usable_ms.push(probes.probe(&sender).await?.as_secs_f64() * 1_000.0);
    }
    sending.abort();
    let cells = envoy.admin().stat(CELLS_STAT).await? - cells_before;
    ensure!(cells > 0, "no cell has come through the feed");
    let threads = idle.into_iter().zip(fed);
    let threads = threads.map(|((thread, idle), (_, fed))| ThreadShare { thread, idle, fed }).collect();
    Ok(Feed { cells_per_s, threads, usable_ms })
}

/// The share of a core that each thread with a VM uses, by name; the main thread has one, too.
async fn shares(envoy: &Envoy, time: Duration) -> anyhow::Result<Vec<(String, f64)>> {
    let meter = Meter::of(envoy.pid());
    let (before, begun) = (meter.read()?, Instant::now());
    sleep(time).await;
    let after = meter.read()?;
    let wall_us = begun.elapsed().as_secs_f64() * 1e6;
    let has_vm = |name: &str| name.starts_with("wrk:") || name == "envoy";
    let threads = after.by_thread(&before).filter(|(name, _)| has_vm(name));
    Ok(threads.map(|(name, us)| (name.to_owned(), us / wall_us)).collect())
}
