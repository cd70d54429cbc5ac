//! The arms in charts.

use crate::measure::{ArmRun, Summary};
use warmpath_report::chart::{self, Area, Axis, Bar, Chart, Line, Panel, Scale};
use warmpath_report::{Role, percent, time_ms, times};

/// Points of a line: more would not be seen.
const POINTS: usize = 200;

/// Parts of the time of a run.
const BINS: usize = 60;

const TIME: Axis = Axis {
    label: "time to first token, logarithmic; further left is faster",
    scale: Scale::Logarithmic,
    show: time_ms,
};
const SHARE: Axis = Axis { label: "share of requests", scale: Scale::Linear, show: percent };

fn arm(name: &str) -> chart::Arm {
    let role = match name {
        "warmpath" | "apart" | "held" => Role::Ours,
        "least-request" | "either" => Role::Other,
        _ => Role::Plain,
    };
    chart::Arm::new(name, role)
}

/// Which share of the requests had their first token by when.
pub(super) fn distribution(runs: &[ArmRun]) -> Chart {
    let line = |run: &ArmRun| {
        let mut sample: Vec<f64> = run.answered().map(|(_, answer)| answer.ttft_ms).collect();
        sample.sort_by(f64::total_cmp);
        let point = |point: usize| {
            let rank = (sample.len() * point).div_ceil(POINTS);
            let ms = sample.get(rank.saturating_sub(1))?;
            Some([*ms, point as f64 / POINTS as f64])
        };
        Line { arm: arm(run.arm.name()), points: (0..=POINTS).filter_map(point).collect(), dots: Vec::new() }
    };
    let lines: Vec<Line> = runs.iter().map(line).collect();
    chart::lines("Share of requests that had their first token by a time, by arm", [&TIME, &SHARE], &lines)
}

/// The share of prompt tokens that were cached; a mark shows what one endless cache would give.
pub(super) fn cached(arms: &[Summary]) -> Chart {
    let names: Vec<_> = arms.iter().map(|summary| arm(summary.name)).collect();
    let bar =
        |summary: &Summary| Some(Bar { value: summary.cached_share, mark: Some(summary.ideal_cached_share) });
    let head = "prompt tokens cached; mark: one endless cache";
    let panel = Panel { head, show: percent, is_cut: false, bars: arms.iter().map(bar).collect() };
    chart::bars("Share of prompt tokens found in a cache, by arm", &names, &[panel])
}

/// Requests over time, at the engine that got most and at the mean of all.
pub(super) fn engines(runs: &[ArmRun], engines: usize) -> Chart {
    let span_ms = runs.iter().map(ArmRun::span_ms).fold(1.0, f64::max);
    let area = |run: &ArmRun| {
        let mut counts = vec![vec![0_u32; engines.max(1)]; BINS];
        for (call, answer) in run.answered() {
            let bin = ((call.at_ms / span_ms * BINS as f64) as usize).min(BINS - 1);
            let count = answer.engine.and_then(|engine| counts.get_mut(bin)?.get_mut(engine));
            if let Some(count) = count {
                *count += 1;
            }
        }
        let bin = |(at, counts): (usize, &Vec<u32>)| {
            let most = counts.iter().max().copied().unwrap_or_default();
            let at_s = span_ms / 1_000.0 * at as f64 / (BINS - 1) as f64;
            [at_s, f64::from(most), f64::from(counts.iter().sum::<u32>()) / counts.len() as f64]
        };
        let bins: Vec<[f64; 3]> = counts.iter().enumerate().map(bin).collect();
        let sum = |part: usize| bins.iter().filter_map(|bin| bin.get(part)).sum::<f64>();
        let (most, mean) = (sum(1), sum(2));
        let note = if mean > 0.0 { format!("most over mean: {}", times(most / mean)) } else { String::new() };
        Area { arm: arm(run.arm.name()), note, bins }
    };
    let unit = format!("requests of an engine in {:.1} s", span_ms / 1_000.0 / BINS as f64);
    let areas: Vec<Area> = runs.iter().map(area).collect();
    chart::areas("Requests of an engine over time, by arm", &unit, &areas)
}
