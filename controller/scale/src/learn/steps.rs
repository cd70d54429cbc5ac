//! How long a decode step takes, by the requests in it and their contexts.
//!
//! ```text
//!   step = step_s + step_s_per_request x running + step_s_per_context_token x context tokens
//! ```
//!
//! The three are learned by least squares of relative errors, which forget. One number, the step that is seen now, would do for the
//! load that there is, but the plan asks how long a step takes with fewer engines or more.
//!
//! A load seldom distinguishes the three: where contexts are alike, tokens grow with requests. So each keeps its default's share of
//! the whole, as far as nothing speaks against it: the defaults, times the factor by which these engines are slower, count like
//! [`DEFAULTS_COUNT`] notes.

use crate::seen::Speeds;

/// What a note loses of its weight with the next one: a thousand count.
const KEPT: f64 = 0.999;
/// Notes that the defaults count like.
const DEFAULTS_COUNT: f64 = 3.0;
/// Weight of notes before which the defaults stay as they are.
const WEIGHT_MIN: f64 = 4.0;
/// Bounds of the three, in what the defaults and these engines' factor make of them. A slope may be far steeper than a large model's,
/// of which most is the reading of weights; none may be flat, or a batch of any size would be as fast as a small one.
const LEAST: [f64; 3] = [1.0 / 64.0; 3];
const MOST: [f64; 3] = [64.0, 4_096.0, 4_096.0];
/// The shortest and the longest step that is believed, in seconds.
const STEP_S_MIN: f64 = 1e-5;
const STEP_S_MAX: f64 = 60.0;
/// The most requests, and tokens in all their contexts, that are believed of one engine.
const RUNNING_MAX: f64 = 1e5;
const CONTEXT_TOKENS_MAX: f64 = 1e10;

/// What decode steps have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Steps {
    /// Weight of all notes.
    weight: f64,
    /// The moments of what each default makes of a step, as shares of how long it took.
    sums: [f64; 3],
    products: [[f64; 3]; 3],
}

/// `matrix * x = right`.
#[derive(Clone, Copy, Debug)]
struct Equations {
    matrix: [[f64; 3]; 3],
    right: [f64; 3],
}

// === impl Steps ===

impl Steps {
    /// An engine generated for so many requests at a time, with so many tokens of context in all of them together, both in the mean of
    /// a while, and a step took `step_s` in the mean. That is the mean time between tokens, without the share of the time in which
    /// the engine computed prompts.
    pub fn note(&mut self, running: f64, context_tokens: f64, step_s: f64) {
        let is_believed = running > 0.0
            && running <= RUNNING_MAX
            && (0.0..=CONTEXT_TOKENS_MAX).contains(&context_tokens)
            && (STEP_S_MIN..=STEP_S_MAX).contains(&step_s);
        if !is_believed {
            return;
        }
        let shares = zip(defaults(), [1.0, running, context_tokens], |default, of| default * of / step_s);
        self.weight = KEPT * self.weight + 1.0;
        self.sums = zip(self.sums, shares, |sum, share| KEPT * sum + share);
        self.products = zip(self.products, shares, |row, share| {
            zip(row, shares, |product, other| KEPT * product + share * other)
        });
    }

    /// Writes what was learned into the speeds, if that is enough.
    pub fn apply(&self, speeds: &mut Speeds) {
        if self.weight < WEIGHT_MIN {
            return;
        }
        let [step_s, per_request, per_token] = self.learned();
        speeds.step_s = step_s;
        speeds.step_s_per_request = per_request;
        speeds.step_s_per_context_token = per_token;
    }

    fn learned(&self) -> [f64; 3] {
        // The factor by which these engines are slower than the defaults as a whole.
        let whole: f64 = self.products.iter().flatten().sum();
        let slower = ratio(self.sums.iter().sum(), whole);
        let mut equations = self.equations(slower);
        for _ in 0..LEAST.len() {
            let Some(at) = equations.solved().iter().zip(LEAST).position(|(x, least)| *x < 0.999 * least)
            else {
                break;
            };
            equations.fix(at, LEAST);
        }
        let bounded = equations.solved().into_iter().zip(LEAST).zip(MOST);
        let mut factors =
            bounded.map(|((x, least), most)| if x.is_finite() { x.clamp(least, most) } else { 1.0 });
        defaults().map(|default| default * slower * factors.next().unwrap_or(1.0))
    }

    /// For what the three are, in defaults that are so much slower.
    fn equations(&self, slower: f64) -> Equations {
        let mut matrix = self.products.map(|row| row.map(|product| product * slower * slower));
        let mut right = self.sums.map(|sum| sum * slower);
        for (at, (row, right)) in matrix.iter_mut().zip(&mut right).enumerate() {
            if let Some(square) = row.get_mut(at) {
                // Of what never mattered, nothing is known but the default.
                let of_default = if *square > 0.0 { DEFAULTS_COUNT * *square / self.weight } else { 1.0 };
                *square += of_default;
                *right += of_default;
            }
        }
        Equations { matrix, right }
    }
}

// === impl Equations ===

impl Equations {
    /// Sets one of the unknowns to its value.
    fn fix(&mut self, at: usize, values: [f64; 3]) {
        let value = values.get(at).copied().unwrap_or_default();
        for (row, (cells, right)) in self.matrix.iter_mut().zip(&mut self.right).enumerate() {
            for (column, cell) in cells.iter_mut().enumerate() {
                if column == at {
                    *right -= *cell * value;
                }
                if column == at || row == at {
                    *cell = if column == row { 1.0 } else { 0.0 };
                }
            }
            if row == at {
                *right = value;
            }
        }
    }

    /// By Cramer's rule. Not finite where the matrix has no inverse.
    fn solved(&self) -> [f64; 3] {
        // Rows and columns are scaled to a diagonal of ones first: the three differ by factors of 1e6.
        let scale = [0, 1, 2]
            .map(|at| self.matrix.get(at).and_then(|row| row.get(at)).copied().unwrap_or(1.0).sqrt());
        let [first, second, third] =
            zip(self.matrix, scale, |row, of_row| zip(row, scale, |cell, of| cell / of / of_row));
        let right = zip(self.right, scale, |right, of| right / of);
        let cofactors = [cross(second, third), cross(third, first), cross(first, second)];
        let determinant = dot(first, cofactors[0]);
        let sums = zip(cofactors, right, |of, right| of.map(|cofactor| cofactor * right));
        let [one, two, three] = sums;
        let solved = zip(zip(one, two, |a, b| a + b), three, |a, b| (a + b) / determinant);
        zip(solved, scale, |x, of| x / of)
    }
}

fn defaults() -> [f64; 3] {
    let speeds = Speeds::default();
    [speeds.step_s, speeds.step_s_per_request, speeds.step_s_per_context_token]
}

fn zip<A, B, C>(left: [A; 3], right: [B; 3], join: impl Fn(A, B) -> C) -> [C; 3] {
    let ([first, second, third], [one, two, three]) = (left, right);
    [join(first, one), join(second, two), join(third, three)]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    zip(a, b, |a, b| a * b).into_iter().sum()
}

fn ratio(sum: f64, count: f64) -> f64 {
    if count > 0.0 { sum / count } else { 1.0 }
}
