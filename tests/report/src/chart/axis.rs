//! From values to places, and the round values between.

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero, in proportion.
    Linear,
    /// Factors are distances: for what differs by factors, where the worst would squeeze all others.
    Logarithmic,
}

/// What an axis is of.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What is on it, in words.
    pub label: &'static str,
    /// How values become places.
    pub scale: Scale,
    /// How a value is shown.
    pub show: fn(f64) -> String,
}

/// An axis between two places.
pub(super) struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

/// Round steps of a linear axis, at most.
const STEPS: f64 = 6.0;

/// Room beyond the least and the most of a logarithmic axis, as a factor.
const ROOM: f64 = 1.15;

// === impl Axis ===

impl Axis {
    /// Over all values that it can show; `None` where there are none.
    pub(super) fn ruler(&self, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Ruler> {
        let is_shown = |value: &f64| value.is_finite() && (*value > 0.0 || self.scale == Scale::Linear);
        let (low, high) = values
            .filter(is_shown)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match self.scale {
            Scale::Linear => (0.0, high),
            Scale::Logarithmic => (low / ROOM, high * ROOM),
        };
        (high > 0.0).then_some(Ruler { scale: self.scale, low, high, from, to })
    }
}

// === impl Ruler ===

impl Ruler {
    /// The place of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Logarithmic => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// Round values, few enough for their labels.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_up(self.high / STEPS);
                (0..=10)
                    .map(|tick| f64::from(tick) * step)
                    .take_while(|at| *at <= self.high * 1.0001)
                    .collect()
            }
            Scale::Logarithmic => {
                let steps: &[f64] = match (self.high / self.low).log10() {
                    decades if decades > 3.0 => &[1.0],
                    decades if decades > 1.6 => &[1.0, 3.0],
                    _ => &[1.0, 2.0, 5.0],
                };
                let first = self.low.log10().floor() as i32;
                let decades = (first..=first + 16).map(|decade| 10_f64.powi(decade));
                let all = decades.flat_map(|decade| steps.iter().map(move |step| step * decade));
                all.filter(|value| (self.low..=self.high).contains(value)).collect()
            }
        }
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * decade);
    steps.into_iter().find(|step| *step >= value).unwrap_or(value)
}
