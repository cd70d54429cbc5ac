//! The learner of decode steps against engines whose steps are known, and against least squares of all notes at once.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use proptest::prelude::*;
use warmpath_scale::{Speeds, Steps};

/// An engine: the three parts of its step.
#[derive(Clone, Copy, Debug)]
struct Engine {
    step_s: f64,
    per_request: f64,
    per_token: f64,
}

// === impl Engine ===

impl Engine {
    fn learned(steps: &Steps) -> Self {
        let mut speeds = Speeds::default();
        steps.apply(&mut speeds);
        Self {
            step_s: speeds.step_s,
            per_request: speeds.step_s_per_request,
            per_token: speeds.step_s_per_context_token,
        }
    }

    fn step_s(self, (running, context): (f64, f64)) -> f64 {
        self.step_s + running * (self.per_request + self.per_token * context)
    }
}

fn note(steps: &mut Steps, (running, context): (f64, f64), seconds: f64) {
    steps.note(running, running * context, seconds);
}

fn engines() -> impl Strategy<Value = Engine> {
    // From a tiny model to one on a CPU; slopes from next to nothing to most of the step.
    (1e-4..0.3_f64, 1e-4..0.02_f64, 1e-7..4e-6_f64).prop_map(|(step_s, request, token)| Engine {
        step_s,
        per_request: step_s * request,
        per_token: step_s * token,
    })
}

fn batches(many: usize) -> impl Strategy<Value = Vec<(f64, f64)>> {
    proptest::collection::vec((1.0..250.0_f64, 100.0..16_000.0_f64), many)
}

/// All that may be, in any order.
fn varied() -> impl Strategy<Value = Vec<(f64, f64)>> {
    let grid = |at: u32| (f64::from(1 + 13 * (at % 20)), f64::from(100 + 800 * (at / 20)));
    Just((0..400).map(grid).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #[test]
    fn steps_of_any_batch_are_predicted_after_a_while(engine in engines(), seen in varied(), asked in batches(20)) {
        let mut steps = Steps::default();
        for batch in seen {
            note(&mut steps, batch, engine.step_s(batch));
        }
        let learned = Engine::learned(&steps);
        for batch in asked {
            let (predicted, is) = (learned.step_s(batch), engine.step_s(batch));
            prop_assert!((predicted / is - 1.0).abs() < 0.15, "{batch:?}: {predicted} for {is}: {learned:?}");
        }
    }

    #[test]
    fn a_load_that_never_changes_is_predicted_and_half_of_it_is_between_a_half_and_all(
        engine in engines(), batch in (1.0..250.0_f64, 100.0..16_000.0_f64), times in 5_usize..50,
    ) {
        let mut steps = Steps::default();
        for _ in 0..times {
            note(&mut steps, batch, engine.step_s(batch));
        }
        let learned = Engine::learned(&steps);
        let (predicted, is) = (learned.step_s(batch), engine.step_s(batch));
        prop_assert!((predicted / is - 1.0).abs() < 1e-6, "{predicted} for {is}");
        let half = learned.step_s((batch.0 / 2.0, batch.1));
        prop_assert!((is / 2.0..=is).contains(&half), "{half} of {is}");
    }

    #[test]
    fn it_is_the_least_squares_of_all_notes_at_once(engine in engines(), seen in batches(60), noise in proptest::collection::vec(0.8..1.25_f64, 60)) {
        let mut steps = Steps::default();
        let noted: Vec<_> = seen.iter().zip(&noise).map(|(batch, noise)| (*batch, engine.step_s(*batch) * noise)).collect();
        for (batch, step_s) in &noted {
            note(&mut steps, *batch, *step_s);
        }
        let learned = Engine::learned(&steps);
        let best = cost(&noted, learned);
        // No small change of one of the three makes it better, unless it is at its bound.
        for factor in [0.99, 1.01] {
            for changed in [
                Engine { step_s: learned.step_s * factor, ..learned },
                Engine { per_request: learned.per_request * factor, ..learned },
                Engine { per_token: learned.per_token * factor, ..learned },
            ] {
                let is_bounded = factor < 1.0 && cost(&noted, changed) < best;
                prop_assert!(cost(&noted, changed) >= best || (is_bounded && is_least(&noted, learned)), "{learned:?}");
            }
        }
    }

    #[test]
    fn nothing_that_is_seen_makes_a_speed_that_cannot_be_planned_with(
        notes in proptest::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 0..40),
        plausible in proptest::collection::vec((0.0..1e6_f64, 0.0..1e9_f64, 1e-6..100.0_f64), 0..40),
    ) {
        let mut steps = Steps::default();
        for (running, context, step_s) in notes.into_iter().chain(plausible) {
            steps.note(running, context, step_s);
            let learned = Engine::learned(&steps);
            for part in [learned.step_s, learned.per_request, learned.per_token] {
                prop_assert!(part.is_finite() && part > 0.0, "{learned:?}");
            }
        }
    }
}

/// How many times slower than the defaults the notes are as a whole.
fn slower(noted: &[((f64, f64), f64)]) -> f64 {
    let default = Engine::learned(&Steps::default());
    let shares =
        || weighted(noted).map(move |(weight, batch, step_s)| (weight, default.step_s(batch) / step_s));
    let sum: f64 = shares().map(|(weight, share)| weight * share).sum();
    sum / shares().map(|(weight, share)| weight * share * share).sum::<f64>()
}

fn weighted(noted: &[((f64, f64), f64)]) -> impl Iterator<Item = (f64, (f64, f64), f64)> {
    let last = noted.len() - 1;
    noted.iter().enumerate().map(move |(at, (batch, step_s))| {
        (0.999_f64.powi(i32::try_from(last - at).unwrap()), *batch, *step_s)
    })
}

/// What is to be small, by its definition.
fn cost(noted: &[((f64, f64), f64)], engine: Engine) -> f64 {
    let default = Engine::learned(&Steps::default());
    let slower = slower(noted);
    let errors =
        weighted(noted).map(|(weight, batch, step_s)| weight * (engine.step_s(batch) / step_s - 1.0).powi(2));
    let errors: f64 = errors.sum();
    let weight: f64 = weighted(noted).map(|(weight, ..)| weight).sum();
    let kept = |learned: f64, default: f64, of: fn((f64, f64)) -> f64| {
        let squares = weighted(noted)
            .map(|(weight, batch, step_s)| weight * (slower * default * of(batch) / step_s).powi(2));
        3.0 / weight * squares.sum::<f64>() * (learned / slower / default - 1.0).powi(2)
    };
    errors
        + kept(engine.step_s, default.step_s, |_| 1.0)
        + kept(engine.per_request, default.per_request, |(running, _)| running)
        + kept(engine.per_token, default.per_token, |(running, context)| running * context)
}

/// Whether one of the three is at its lower bound.
fn is_least(noted: &[((f64, f64), f64)], learned: Engine) -> bool {
    let default = Engine::learned(&Steps::default());
    let least = slower(noted) / 64.0;
    [
        (learned.step_s, default.step_s),
        (learned.per_request, default.per_request),
        (learned.per_token, default.per_token),
    ]
    .into_iter()
    .any(|(learned, default)| learned <= least * default * 1.02)
}
