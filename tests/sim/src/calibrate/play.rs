//! One arm of a ladder in the simulator.

use super::{ArmRun, Measured, Point, Published, Stand};
use crate::measure::Summary;
use crate::pool::BLOCK_TOKENS;
use crate::rules::{Random, Rule};
use crate::run::{Played, Spec, play_stages};
use crate::warmpath::{Proxies, ProxiesSpec};
use crate::workload::{LadderStage, Texts, Workload, ladder_stage};
use warmpath_engine::model::Params;

/// Seconds between the last answer of a stage and the first request of the next (`interval` of the profile).
const PAUSE_S: f64 = 30.0;

const MS_PER_S: f64 = 1_000.0;

/// Plays all stages of a ladder with one of its arms.
pub fn play(published: &Published, arm: usize, seed: u64) -> ArmRun {
    let arm = &published.arms[arm];
    let params = Params::new(published.preset);
    let engine = Params {
        block_tokens: BLOCK_TOKENS,
        emits_tokens: false,
        step_time: params.step_time.clone().slower(published.slower),
        ..params
    };
    let engines = vec![engine; published.engines];
    let spec = Spec::new(engines);
    let mut rule: Box<dyn Rule> = match arm.rule {
        Stand::Random => Box::new(Random::new(seed)),
        Stand::Rule(rule) => {
            let ours = || Box::new(Proxies::new(ProxiesSpec::exact(seed), &spec));
            rule.other().unwrap_or_else(|| ours())
        }
    };
    let stages = stages(published, seed);
    let played = play_stages(&spec, &stages, PAUSE_S, rule.as_mut());
    let simulated: Vec<(f64, Measured)> = published
        .stages
        .iter()
        .zip(&played)
        .skip(1)
        .map(|(stage, played)| (stage.0, measured(played)))
        .collect();
    let point = |(rate, found): &(f64, Measured)| {
        let (_, ours) = simulated.iter().find(|(at, _)| at.total_cmp(rate).is_eq())?;
        Some(Point::new(*rate, *found, *ours))
    };
    ArmRun::new(arm.published, arm.rule.name(), arm.points.iter().filter_map(point).collect())
}

/// The stages in their order; each goes on with the prompts where the one before ended.
fn stages(published: &Published, seed: u64) -> Vec<Workload> {
    let prompts = published.shape.prompts(seed, &mut Texts::new(BLOCK_TOKENS));
    let mut requests_before = 0;
    let stage = |(rate, length_s): &(f64, f64)| {
        let stage = LadderStage { rate: *rate, length_s: *length_s, requests_before };
        let workload = ladder_stage(&prompts, stage, seed);
        requests_before += workload.sessions.len();
        workload
    };
    published.stages.iter().map(stage).collect()
}

fn measured(played: &Played) -> Measured {
    let summary = Summary::of(played);
    Measured {
        output_tokens_per_s: summary.output_tokens_per_s,
        ttft_mean_s: summary.ttft_ms.mean / MS_PER_S,
        ttft_p90_s: summary.ttft_ms.p90 / MS_PER_S,
    }
}
