//! What a request in two legs costs a router, and what its clients lose when an engine dies: ours beside the routers of other
//! projects that split requests, with the same engines.
//!
//! ```text
//!  load ─► way (Envoy with the filter + controller | sglang-router | vllm-router) ─► two prefill and two decode engines
//!            │                                                                     └─► or four that take whole requests
//!            ├─► cost: processor time and latency of a request in two legs, and of a whole one
//!            └─► kill: requests lost while one engine is killed
//! ```
//!
//! Each way has engines of its own, which respond at once, so that what is measured is the router. Our rule splits only where
//! that pays, which it never does between engines that respond at once: the decode engines report a crowd of running requests, which
//! a prompt there would hold up. The share of requests that were split is in the table.

mod cost;
mod engines;
mod kill;
mod report;
mod way;

pub use self::way::Way;

use crate::bench::progress;
use crate::paths;
use anyhow::ensure;
use std::path::PathBuf;

/// `bench-pd`
#[derive(Clone, Debug, clap::Args)]
pub struct BenchPdArgs {
    /// Few requests and repetitions: shows that all of it works, and the rough size of each figure.
    #[arg(long)]
    pub quick: bool,
    /// Who is measured, in which protocol.
    #[arg(long, value_delimiter = ',', default_values_t = Way::ALL)]
    pub ways: Vec<Way>,
    /// Bytes of the prompts.
    #[arg(long, value_delimiter = ',', default_values_t = [1 << 10, 8 << 10, 32 << 10, 128 << 10])]
    pub bodies: Vec<usize>,
    /// Where the report goes, instead of the target folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    repetitions: usize,
    /// Requests of one repetition.
    requests: usize,
    /// Requests while an engine is killed.
    requests_at_kill: usize,
}

// === impl Plan ===

impl Plan {
    const USUAL: Self = Self { repetitions: 5, requests: 300, requests_at_kill: 1_000 };
    const QUICK: Self = Self { repetitions: 2, requests: 60, requests_at_kill: 200 };
}

/// Measures, prints, and writes the report. A router that does not start ends the run with an error.
pub async fn run(args: &BenchPdArgs) -> anyhow::Result<()> {
    ensure!(!args.ways.is_empty() && !args.bodies.is_empty(), "there is nothing to measure");
    let plan = if args.quick { Plan::QUICK } else { Plan::USUAL };
    let out = args.out.clone().unwrap_or_else(|| paths::report_folder("bench-pd"));
    let logs = out.join("logs");
    let costs = cost::measure(&args.ways, &args.bodies, plan, &logs).await?;
    let kills = kill::measure(&args.ways, plan, &logs).await?;
    report::write(args.quick, &costs, &kills, &out)
}
