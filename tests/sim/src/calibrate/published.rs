//! The published ladders, and what is known of how they were made.

use super::table::TableError;
use super::{ArmRun, Ladder, Measured, table};
use crate::rules::RuleName;
use crate::workload::{LADDER_RATES, LadderShape};
use warmpath_engine::Preset;

/// Stages of the Llama runs (its README's workload profile): (requests a second, seconds). The first warms up.
const LLAMA_STAGES: [(f64, f64); 10] = [
    (10.0, 25.0),
    (3.0, 210.0),
    (4.0, 180.0),
    (5.0, 120.0),
    (6.0, 120.0),
    (8.0, 90.0),
    (10.0, 70.0),
    (12.0, 60.0),
    (15.0, 50.0),
    (20.0, 50.0),
];

/// Step times of vLLM of 2025-09 over those of the engine model, which is of 2026. A fit to the Qwen ladder of that
/// time, made before this simulator, and used for both ladders of that time.
const SLOWER_2025: f64 = 1.4;

/// One published ladder.
#[derive(Clone, Debug)]
pub struct Published {
    /// See [`Ladder`].
    pub name: &'static str,
    /// See [`Ladder`].
    pub about: &'static str,
    /// See [`Ladder`].
    pub note: &'static str,
    /// See [`Ladder`].
    pub slower: f64,
    /// Model and GPUs of an engine.
    pub preset: Preset,
    /// How many engines there were.
    pub engines: usize,
    /// The prompts.
    pub shape: LadderShape,
    /// Requests a second and seconds, warm-up first.
    pub stages: &'static [(f64, f64)],
    /// Its arms.
    pub arms: Vec<PublishedArm>,
}

/// One arm of it.
#[derive(Clone, Debug)]
pub struct PublishedArm {
    /// Its name in the table.
    pub published: &'static str,
    /// What stands for it here.
    pub rule: Stand,
    /// Rate, and what was measured.
    pub points: Vec<(f64, Measured)>,
}

/// What stands for a published arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// A rule of the comparison.
    Rule(RuleName),
    /// Any engine.
    Random,
}

/// All of them. Fails only when the tables in `data` are broken.
pub fn published() -> Result<Vec<Published>, TableError> {
    Ok(vec![
        Published {
            name: "llmd_v0.8_qwen3-32b_8x_tp2_h100",
            about: "Qwen3-32B on 8 engines of 2 H100, 150 groups of 5 prompts, llm-d 0.8 (2026)",
            note: "the engine model as it is",
            slower: 1.0,
            preset: Preset::Qwen3On2,
            engines: 8,
            shape: LadderShape::QWEN,
            stages: &LADDER_RATES,
            arms: arms(
                include_str!("../../data/ladders/llmd_v0.8_qwen3-32b_8x_tp2_h100.csv"),
                "k8s",
                "llm-d",
            )?,
        },
        Published {
            name: "llmd_73cap_qwen3-32b_8x_tp2_h100",
            about: "Qwen3-32B on 8 engines of 2 H100, 150 groups of 5 prompts, 2025-09",
            note: "an older vLLM: all steps take 1.4 times as long, a fit to this ladder",
            slower: SLOWER_2025,
            preset: Preset::Qwen3On2,
            engines: 8,
            shape: LadderShape::QWEN,
            stages: &LADDER_RATES,
            arms: arms(
                include_str!("../../data/ladders/llmd_73cap_qwen3-32b_8x_tp2_h100.csv"),
                "random-scheduling",
                "precise-scheduling",
            )?,
        },
        Published {
            name: "llmd_37cap_llama70b_4x_tp4_h100",
            about: "Llama-3.1-70B on 4 engines of 4 H100, 83 groups of 3 prompts, 2025-09",
            note: "an older vLLM: all steps take 1.4 times as long, as fitted to the other ladder of its time; stage \
                   lengths are those that its repository states for an earlier run of the same workload",
            slower: SLOWER_2025,
            preset: Preset::Llama70On4,
            engines: 4,
            shape: LadderShape::LLAMA,
            stages: &LLAMA_STAGES,
            arms: arms(
                include_str!("../../data/ladders/llmd_37cap_llama70b_4x_tp4_h100.csv"),
                "random-scheduling",
                "precise-scheduling",
            )?,
        },
    ])
}

fn arms(text: &str, blind: &'static str, affine: &'static str) -> Result<Vec<PublishedArm>, TableError> {
    let table = table::read(text)?;
    let arm = |(published, rule): (&'static str, Stand)| {
        let points = table.iter().filter(|(_, arm, _)| arm == published);
        PublishedArm {
            published,
            rule,
            points: points.map(|(rate, _, measured)| (*rate, *measured)).collect(),
        }
    };
    let rule = Stand::Rule;
    Ok([(blind, rule(RuleName::RoundRobin)), (blind, Stand::Random), (affine, rule(RuleName::LlmdBlend))]
        .map(arm)
        .into())
}

// === impl Stand ===

impl Stand {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.name(),
            Self::Random => "random",
        }
    }
}

// === impl Published ===

impl Published {
    /// The same with what the simulator found.
    pub fn with(&self, arms: Vec<ArmRun>) -> Ladder {
        Ladder { name: self.name, about: self.about, slower: self.slower, note: self.note, arms }
    }
}
