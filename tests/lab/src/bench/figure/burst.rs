//! Two hundred prompts of 220 KB: how much later than straight from the engines the first byte of each answer comes,
//! and how many such requests a core could take.
//!
//! At the same moment, the queue before one worker is most of what is seen: whoever needs half a millisecond of
//! processor time for each lets the hundredth wait for fifty. At the rate at which llm-d's picker was seen to stand
//! still, it is what a request by itself takes.

use crate::bench::load::{Burst, Numbers};
use crate::bench::plan::Plan;
use crate::bench::process::Cpu;
use crate::bench::progress;
use crate::bench::target::{Fleet, Target};
use crate::measure::Quantiles;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Requests, and the size of each prompt: the case in which llm-d adds 1.45 s.
pub const BURST: Burst = Burst { count: 200, prompt_bytes: 220_000 };

/// Requests a second beyond which llm-d's picker does not come with such prompts (llm-d-router, issue 1109).
const LLM_D_RATE_PER_S: f64 = 129.0;

/// When the requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// All at the same moment.
    #[default]
    AtOnce,
    /// One after the other, as many a second as llm-d's picker can take.
    Spaced,
}

/// All repetitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BurstCase {
    /// When they came.
    pub arrivals: Arrivals,
    /// Straight to the engines; it has no processor time.
    pub direct: BurstSamples,
    /// Through each target.
    pub targets: BTreeMap<Target, BurstSamples>,
}

/// One way, one value a repetition.
#[derive(Clone, Debug, Default, PartialEq)]
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

// === impl Arrivals ===

impl Arrivals {
    /// Both.
    pub const ALL: [Self; 2] = [Self::AtOnce, Self::Spaced];

    /// In a few words.
    pub fn label(self) -> String {
        match self {
            Self::AtOnce => "at once".to_owned(),
            Self::Spaced => format!("{LLM_D_RATE_PER_S} a second"),
        }
    }

    fn spacing(self) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::Spaced => Duration::from_secs_f64(1.0 / LLM_D_RATE_PER_S),
        }
    }
}

/// Measures in front of engines that answer at once.
pub async fn measure(
    fleet: &Fleet,
    plan: &Plan,
    arrivals: Arrivals,
    numbers: &mut Numbers,
) -> anyhow::Result<BurstCase> {
    let mut case = BurstCase { arrivals, ..BurstCase::default() };
    let how = (plan, arrivals);
    for at in 0..plan.repetitions {
        progress::repetition(format_args!("burst, {}", arrivals.label()), at, plan.repetitions);
        burst(&mut case.direct, fleet.engines(), how, numbers, || Ok(None)).await?;
        for runner in fleet.runners() {
            let samples = case.targets.entry(runner.target).or_default();
            let read = || runner.meter.read().map(Some);
            let gateways = [runner.gateway];
            burst(samples, &gateways, how, numbers, read).await.map_err(|failure| runner.blame(failure))?;
        }
    }
    Ok(case)
}

/// One repetition: a burst that warms up, then those that count; fewer where they take long. Spaced requests come
/// after those at once and find everybody warm.
async fn burst(
    samples: &mut BurstSamples,
    gateways: &[SocketAddr],
    (plan, arrivals): (&Plan, Arrivals),
    numbers: &mut Numbers,
    read: impl Fn() -> anyhow::Result<Option<Cpu>>,
) -> anyhow::Result<()> {
    let mut crowd = BURST.gather(gateways, numbers).await?;
    if arrivals == Arrivals::AtOnce {
        crowd.send(crowd.bodies(numbers), arrivals.spacing()).await;
    }
    let (mut latency_us, mut cpu_us, mut answered) = (Vec::new(), 0.0, 0);
    let begun = Instant::now();
    for _ in 0..plan.burst_rounds {
        let bodies = crowd.bodies(numbers);
        let before = read()?;
        let sent = crowd.send(bodies, arrivals.spacing()).await;
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
