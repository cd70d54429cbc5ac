//! Processor time of a request on its whole path, and the time that the path adds to it.
//!
//! Beside the targets the same requests go straight to an engine: what a target adds is the difference to that, in the
//! same repetition.

use crate::bench::load::{Numbers, Requests, Sent};
use crate::bench::plan::Plan;
use crate::bench::progress;
use crate::bench::target::{Fleet, Runner, Target};
use crate::measure::Quantiles;
use std::collections::BTreeMap;

/// All repetitions with one size of body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostCase {
    /// Bytes of the prompts.
    pub body_bytes: usize,
    /// Straight to an engine.
    pub direct: Latencies,
    /// Through each target.
    pub targets: BTreeMap<Target, CostSamples>,
}

/// What clients waited for, one value a repetition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latencies {
    /// The median of a repetition, in microseconds.
    pub p50_us: Vec<f64>,
    /// What 99 of 100 requests do not exceed, in microseconds.
    pub p99_us: Vec<f64>,
}

/// One target, one value a repetition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostSamples {
    /// Microseconds of processor time a request, of the processes on its path.
    pub cpu_us: Vec<f64>,
    /// The same of the controller, which is not on the path; empty where there is none.
    pub controller_cpu_us: Vec<f64>,
    /// What clients waited for.
    pub latencies: Latencies,
    /// Resident memory after the last repetition.
    pub memory_bytes: u64,
    /// The same of the controller.
    pub controller_memory_bytes: Option<u64>,
    /// Requests of all repetitions.
    pub requests: usize,
}

// === impl Latencies ===

impl Latencies {
    fn add(&mut self, sent: &Sent) {
        let quantiles = Quantiles::of(sent.latency_us.iter().copied());
        self.p50_us.push(quantiles.p50);
        self.p99_us.push(quantiles.p99);
    }
}

/// What a body of so many bytes is called.
pub fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 10) { format!("{} KB", bytes >> 10) } else { format!("{bytes} B") }
}

/// Measures one size of body.
pub async fn measure(
    fleet: &Fleet,
    plan: &Plan,
    connections: usize,
    body_bytes: usize,
    numbers: &mut Numbers,
) -> anyhow::Result<CostCase> {
    let load = Requests {
        count: plan.requests,
        connections,
        prompt_bytes: body_bytes,
        time_max: plan.repetition_time_max,
    };
    let warm_up = Requests { count: plan.warm_up_requests, ..load };
    let mut case = CostCase { body_bytes, ..CostCase::default() };
    for gateway in fleet.runners().iter().map(|runner| runner.gateway).chain(fleet.engines().first().copied())
    {
        warm_up.run(gateway, numbers).await?;
    }
    for at in 0..plan.repetitions {
        progress::repetition(format_args!("cost, {}", size(body_bytes)), at, plan.repetitions);
        for engine in fleet.engines().iter().take(1) {
            case.direct.add(&load.run(*engine, numbers).await?);
        }
        for runner in fleet.runners() {
            let samples = case.targets.entry(runner.target).or_default();
            repeat(samples, runner, load, numbers).await.map_err(|failure| runner.blame(failure))?;
        }
    }
    Ok(case)
}

async fn repeat(
    samples: &mut CostSamples,
    runner: &Runner,
    load: Requests,
    numbers: &mut Numbers,
) -> anyhow::Result<()> {
    let controller = runner.controller.map(|meter| meter.read()).transpose()?;
    let before = runner.meter.read()?;
    let sent = load.run(runner.gateway, numbers).await?;
    let units = sent.units as f64;
    samples.cpu_us.push(runner.meter.read()?.since(&before) / units);
    if let (Some(meter), Some(before)) = (runner.controller, controller) {
        samples.controller_cpu_us.push(meter.read()?.since(&before) / units);
        samples.controller_memory_bytes = Some(meter.resident_bytes()?);
    }
    samples.latencies.add(&sent);
    samples.memory_bytes = runner.meter.resident_bytes()?;
    samples.requests += sent.units;
    Ok(())
}
