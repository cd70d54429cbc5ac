//! Two hundred prompts of 220 KB at the same moment: how much later than straight from the engines the first byte of
//! each answer comes, and how many such requests a core could take.

use std::collections::BTreeMap;
use std::time::Instant;

use warmpath_demo::measure::Quantiles;

use crate::load::{Burst, Numbers};
use crate::plan::Plan;
use crate::target::{Fleet, Target};

/// Requests at the same moment, and the size of each prompt: the case in which llm-d adds 1.45 s.
pub const BURST: Burst = Burst { count: 200, prompt_bytes: 220_000 };

/// All repetitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BurstCase {
    /// Straight to the engines; it has no processor time.
    pub direct: BurstSamples,
    /// Through each target.
    pub targets: BTreeMap<Target, BurstSamples>,
}

/// One way, one value a repetition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BurstSamples {
    /// The median time to the first byte, in milliseconds.
    pub ttft_ms_p50: Vec<f64>,
    /// What 99 of 100 do not exceed.
    pub ttft_ms_p99: Vec<f64>,
    /// Microseconds of processor time a request.
    pub cpu_us: Vec<f64>,
    /// Requests without an answer, of all repetitions.
    pub lost: usize,
    /// Requests, of all repetitions.
    pub requests: usize,
}

/// Measures in front of engines that answer at once.
pub async fn measure(fleet: &Fleet, plan: &Plan, numbers: &mut Numbers) -> anyhow::Result<BurstCase> {
    let mut case = BurstCase::default();
    for _ in 0..plan.repetitions {
        burst(&mut case.direct, fleet.engines(), plan, numbers, || Ok(None)).await?;
        for runner in fleet.runners() {
            let samples = case.targets.entry(runner.target).or_default();
            let read = || runner.meter.read().map(Some);
            let gateways = [runner.gateway];
            burst(samples, &gateways, plan, numbers, read).await.map_err(|failure| runner.blame(failure))?;
        }
    }
    Ok(case)
}

/// One repetition: a burst that warms up, then those that count. A slow target has fewer.
async fn burst(
    samples: &mut BurstSamples,
    gateways: &[std::net::SocketAddr],
    plan: &Plan,
    numbers: &mut Numbers,
    read: impl Fn() -> anyhow::Result<Option<crate::process::Cpu>>,
) -> anyhow::Result<()> {
    let mut crowd = BURST.gather(gateways, numbers).await?;
    crowd.send(crowd.bodies(numbers)).await;
    let (mut latency_us, mut cpu_us, mut answered) = (Vec::new(), 0.0, 0);
    let begun = Instant::now();
    for _ in 0..plan.burst_rounds {
        let bodies = crowd.bodies(numbers);
        let before = read()?;
        let sent = crowd.send(bodies).await;
        if let (Some(before), Some(after)) = (before, read()?) {
            cpu_us += after.since(&before);
        }
        samples.lost += sent.lost;
        samples.requests += sent.units + sent.lost;
        answered += sent.units;
        latency_us.extend(sent.latency_us);
        if begun.elapsed() > plan.repetition_time_max {
            break;
        }
    }
    let quantiles = Quantiles::of(latency_us.into_iter().map(|us| us / 1_000.0));
    samples.ttft_ms_p50.push(quantiles.p50);
    samples.ttft_ms_p99.push(quantiles.p99);
    samples.cpu_us.push(if answered == 0 { 0.0 } else { cpu_us / answered as f64 });
    Ok(())
}
