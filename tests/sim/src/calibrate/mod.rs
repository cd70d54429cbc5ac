//! The simulator against reality: published ladders of real clusters, played with the same stages.
//!
//! All stages of a ladder run one after the other on the same engines, as they did in the cluster, so that a stage
//! finds the caches as the one before left them. Two arms each: round-robin for the one that looks at nothing, and
//! llm-d's blend for the one that looks at caches. What does not fit is told, not tuned away: the engine has no
//! knob but the age of its vLLM, stated with each ladder.

mod play;
mod published;
mod table;

use serde::Serialize;

pub use play::play;
pub use published::{Published, PublishedArm, Stand, published};
pub use table::TableError;

/// One ladder, published and simulated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ladder {
    /// Its name: the file that has the published numbers.
    pub name: &'static str,
    /// Cluster and workload.
    pub about: &'static str,
    /// Factor on all step times of the engine model.
    pub slower: f64,
    /// Why, and what else was assumed.
    pub note: &'static str,
    /// Its arms.
    pub arms: Vec<ArmRun>,
}

/// One arm of a ladder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmRun {
    /// The arm's name where it was published.
    pub published: &'static str,
    /// The rule that stands for it here.
    pub rule: &'static str,
    /// By rate.
    pub points: Vec<Point>,
    /// Mean of the absolute errors of output tokens/s, as a share.
    pub output_error_mean: f64,
    /// The same of the mean time to first token, over the stages where the published one is below a second.
    pub ttft_error_mean: Option<f64>,
    /// Over the same stages, simulated less published, in seconds. What stands before an engine in a cluster
    /// (client, proxy, tokenizer: 60 to 80 ms for such prompts) is no part of the simulator.
    pub ttft_difference_mean_s: Option<f64>,
    /// The mean of the signed errors of output tokens/s: above 0 the simulator is too fast.
    pub output_bias: f64,
}

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Requests a second.
    pub rate: f64,
    /// As published.
    pub published: Measured,
    /// As simulated.
    pub simulated: Measured,
    /// Simulated over published, less 1, of output tokens/s.
    pub output_error: f64,
    /// The same of the mean time to first token.
    pub ttft_error: f64,
}

/// What was measured of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Answer tokens of the stage over the time from its first request to its last answer's end.
    pub output_tokens_per_s: f64,
    /// Mean time to first token, in seconds.
    pub ttft_mean_s: f64,
    /// Ninth decile of it.
    pub ttft_p90_s: f64,
}

/// Above this mean time to first token, in seconds, a stage is one long queue whose length depends on how much
/// faster requests came than they went: errors of it say nothing of the engine.
const QUEUE_S: f64 = 1.0;

// === impl ArmRun ===

impl ArmRun {
    fn new(published: &'static str, rule: &'static str, points: Vec<Point>) -> Self {
        let errors = || points.iter().map(|point| point.output_error);
        let calm = || points.iter().filter(|point| point.published.ttft_mean_s < QUEUE_S);
        let difference = |point: &Point| point.simulated.ttft_mean_s - point.published.ttft_mean_s;
        Self {
            published,
            rule,
            output_error_mean: mean(errors().map(f64::abs)).unwrap_or_default(),
            ttft_error_mean: mean(calm().map(|point| point.ttft_error.abs())),
            ttft_difference_mean_s: mean(calm().map(difference)),
            output_bias: mean(errors()).unwrap_or_default(),
            points,
        }
    }
}

// === impl Point ===

impl Point {
    /// The cells of its row in a table: the rate; output tokens/s as published, as simulated, and the error; the same of
    /// the mean time to first token.
    pub fn cells(&self) -> [String; 7] {
        let (theirs, ours) = (&self.published, &self.simulated);
        [
            self.rate.to_string(),
            format!("{:.0}", theirs.output_tokens_per_s),
            format!("{:.0}", ours.output_tokens_per_s),
            format!("{:+.1} %", self.output_error * 100.0),
            format!("{:.2} s", theirs.ttft_mean_s),
            format!("{:.2} s", ours.ttft_mean_s),
            format!("{:+.0} %", self.ttft_error * 100.0),
        ]
    }

    fn new(rate: f64, published: Measured, simulated: Measured) -> Self {
        let error = |of: fn(&Measured) -> f64| of(&simulated) / of(&published) - 1.0;
        Self {
            rate,
            published,
            simulated,
            output_error: error(|measured| measured.output_tokens_per_s),
            ttft_error: error(|measured| measured.ttft_mean_s),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shares_of_what_was_published() {
        let measured =
            |output_tokens_per_s, ttft_mean_s| Measured { output_tokens_per_s, ttft_mean_s, ttft_p90_s: 1.0 };
        let points = vec![
            Point::new(3.0, measured(100.0, 0.5), measured(120.0, 0.4)),
            Point::new(9.0, measured(200.0, 50.0), measured(180.0, 90.0)),
        ];
        let arm = ArmRun::new("random", "round-robin", points);
        assert!((arm.output_error_mean - 0.15).abs() < 1e-12 && (arm.output_bias - 0.05).abs() < 1e-12);
        assert!(
            (arm.ttft_error_mean.unwrap() - 0.2).abs() < 1e-12,
            "a queue's length is not the engine's speed"
        );
    }

    #[test]
    fn all_published_ladders_can_be_read_and_have_a_stage_for_each_point() {
        for ladder in published().unwrap() {
            for arm in &ladder.arms {
                assert!(!arm.points.is_empty(), "{} has no {}", ladder.name, arm.published);
                for (rate, _) in &arm.points {
                    let stage = ladder.stages.iter().skip(1).find(|stage| stage.0.total_cmp(rate).is_eq());
                    assert!(stage.is_some(), "{}: no stage of rate {rate}", ladder.name);
                }
            }
        }
    }
}
