//! The demand of a day: conversations that begin by the day's shape, and their turns.

use super::setting::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A day, three times as fast as a real one: engines start as slowly as they do, so policies have less time.
pub(super) const DAY_S: f64 = 28_800.0;
const HOUR_S: f64 = DAY_S / 24.0;
/// Turns of a conversation, in the mean.
const TURNS: f64 = 3.0;
const TURNS_MAX: u32 = 20;
/// Mean pause between a response and the next turn.
const THINK_S: f64 = 40.0;
/// The first prompt, what a turn adds, and a response: median in tokens, and the deviation of the logarithm.
const FIRST: (f64, f64) = (6_000.0, 0.9);
const MORE: (f64, f64) = (400.0, 0.8);
const OUTPUT: (f64, f64) = (400.0, 0.7);
/// Tokens that no prompt or response exceeds.
const TOKENS_MAX: f64 = 60_000.0;
/// How often bursts begin in the shape that has them, how long they last, and how much more comes then.
const BURST_EVERY_S: f64 = 3_600.0;
const BURST_S: (f64, f64) = (300.0, 1_200.0);
const BURST_FACTOR: (f64, f64) = (2.0, 4.0);

/// How demand runs over a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A wave: a twelfth of the peak at night, the peak in the afternoon.
    Wave,
    /// Bursts of five to twenty minutes on a low level.
    Bursts,
    /// Office hours, with a steep begin, a lunch and nothing at night.
    Office,
}

/// A conversation: when it begins, and its turns.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) begin_s: f64,
    pub(super) turns: Vec<Turn>,
}

/// A turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Seconds after the response before.
    pub(super) think_s: f64,
    /// Tokens that it adds to all before.
    pub(super) new_tokens: f64,
    pub(super) output_tokens: f64,
}

// === impl Shape ===

impl Shape {
    pub(super) const ALL: [Self; 3] = [Self::Wave, Self::Bursts, Self::Office];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wave => "wave",
            Self::Bursts => "bursts",
            Self::Office => "office",
        }
    }

    /// Share of the peak at a time of the day, without bursts.
    fn share(self, at_s: f64) -> f64 {
        let hour = at_s / HOUR_S;
        match self {
            Self::Wave => {
                let wave = 0.5 - 0.5 * ((hour - 3.0) / 24.0 * std::f64::consts::TAU).cos();
                (1.0 + 11.0 * wave) / 12.0
            }
            Self::Bursts => 0.25,
            Self::Office => {
                let between = |from: f64, to: f64| ((hour - from) / (to - from)).clamp(0.0, 1.0);
                let open = between(8.0, 9.0) * (1.0 - between(17.0, 19.0));
                open * (1.0 - 0.5 * between(11.75, 12.25) * (1.0 - between(13.0, 13.5)))
            }
        }
    }
}

/// The conversations of `until_s` seconds from `from_s` of the day on, by their begin.
pub(super) fn conversations(
    shape: Shape,
    model: &Model,
    seed: u64,
    (from_s, until_s): (f64, f64),
) -> Vec<Conversation> {
    let mut random = StdRng::seed_from_u64(seed);
    let bursts = if shape == Shape::Bursts { bursts(&mut random) } else { Vec::new() };
    let most = model.peak_per_s / TURNS;
    let mut found = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s += exponential(&mut random, 1.0 / most);
        if at_s >= until_s {
            return found;
        }
        let burst = bursts.iter().find(|(from, to, _)| (*from..*to).contains(&at_s));
        let share = shape.share(from_s + at_s) * burst.map_or(1.0, |(_, _, factor)| *factor);
        if random.random::<f64>() < share {
            found.push(Conversation { begin_s: at_s, turns: turns(&mut random) });
        }
    }
}

fn bursts(random: &mut StdRng) -> Vec<(f64, f64, f64)> {
    let mut found = Vec::new();
    let mut at_s = 0.0;
    loop {
        at_s += exponential(random, BURST_EVERY_S);
        if at_s >= DAY_S {
            return found;
        }
        let length_s = random.random_range(BURST_S.0..BURST_S.1);
        found.push((at_s, at_s + length_s, random.random_range(BURST_FACTOR.0..BURST_FACTOR.1)));
        at_s += length_s;
    }
}

fn turns(random: &mut StdRng) -> Vec<Turn> {
    let mut found = Vec::new();
    loop {
        let is_first = found.is_empty();
        found.push(Turn {
            think_s: if is_first { 0.0 } else { exponential(random, THINK_S) },
            new_tokens: lognormal(random, if is_first { FIRST } else { MORE }),
            output_tokens: lognormal(random, OUTPUT),
        });
        if found.len() >= TURNS_MAX as usize || random.random::<f64>() < 1.0 / TURNS {
            return found;
        }
    }
}

fn exponential(random: &mut StdRng, mean: f64) -> f64 {
    -mean * (1.0 - random.random::<f64>()).ln()
}

fn lognormal(random: &mut StdRng, (median, deviation): (f64, f64)) -> f64 {
    let (one, other) = (1.0 - random.random::<f64>(), random.random::<f64>());
    let normal = (-2.0 * one.ln()).sqrt() * (other * std::f64::consts::TAU).cos();
    (median * (deviation * normal).exp()).clamp(2.0, TOKENS_MAX).round()
}
