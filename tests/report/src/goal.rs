//! A figure beside what it is to be. Goals are a project's own aims: a missed one is a finding, and no failure of a run.

use crate::number::{decimals, number};
use crate::{Mark, Spread};

/// Digits after the point at most.
const DIGITS_MAX: usize = 6;

/// A figure beside what it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What it was measured on, where the same figure is measured on several; empty otherwise.
    pub group: String,
    /// Which figure.
    pub name: String,
    /// What was found; its median counts.
    pub found: Spread,
    /// What it is to be.
    pub limit: Limit,
    /// The unit of both.
    pub unit: Unit,
    /// What it is compared with, where that is not in the name.
    pub against: Option<String>,
    /// What the best that is possible would reach.
    pub bound: Option<f64>,
}

/// What a goal demands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At most the first, and in no case more than the second.
    AtMost(f64, f64),
    /// At least this.
    AtLeast(f64),
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One over another.
    Ratio,
    /// A part of 1, shown in percent.
    Share,
    /// Anything with a unit's name.
    Of(&'static str),
}

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was.
    Met,
    /// It was not, but what must never be worse is not worse.
    Short,
    /// It was not.
    Missed,
}

// === impl Goal ===

impl Goal {
    /// Of one thing alone, and against nothing that its name does not say.
    pub fn new(name: impl Into<String>, found: Spread, limit: Limit, unit: Unit) -> Self {
        Self { group: String::new(), name: name.into(), found, limit, unit, against: None, bound: None }
    }

    /// Whether it was reached.
    pub fn verdict(&self) -> Verdict {
        self.limit.verdict(self.found.median)
    }

    /// What was found, as people read it: one value with so many digits that it is on the same side of the goal as it was.
    pub fn shown(&self) -> String {
        if !self.found.is_single() {
            return format!("{} {}", self.found.show(), self.unit.name());
        }
        let (least, moved) = self.unit.digits(self.found.median);
        let is_faithful = |digits: &usize| {
            let scale = 10_f64.powi(i32::try_from(digits + moved).unwrap_or_default());
            self.limit.verdict((self.found.median * scale).round() / scale) == self.verdict()
        };
        let digits = (least..=DIGITS_MAX).find(is_faithful).unwrap_or(DIGITS_MAX);
        self.unit.show(self.found.median, digits)
    }

    /// What was to be reached, in words.
    pub fn demanded(&self) -> String {
        let plain = |goal: f64| match self.unit {
            Unit::Ratio => format!("{}x", number(goal).trim_end_matches('0').trim_end_matches('.')),
            Unit::Share => format!("{:.0} %", goal * 100.0),
            Unit::Of(unit) => format!("{} {unit}", number(goal)),
        };
        match self.limit {
            Limit::AtMost(goal, _) => format!("<= {}", plain(goal)),
            Limit::AtLeast(goal) => format!(">= {}", plain(goal)),
        }
    }
}

// === impl Limit ===

impl Limit {
    /// At most this, with nothing to spare.
    pub const fn most(goal: f64) -> Self {
        Self::AtMost(goal, goal)
    }

    fn verdict(self, found: f64) -> Verdict {
        match self {
            Self::AtMost(goal, _) if found <= goal => Verdict::Met,
            Self::AtMost(_, worst) if found <= worst => Verdict::Short,
            Self::AtLeast(goal) if found >= goal => Verdict::Met,
            Self::AtMost(..) | Self::AtLeast(_) => Verdict::Missed,
        }
    }
}

// === impl Unit ===

impl Unit {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ratio => "x",
            Self::Share => "%",
            Self::Of(name) => name,
        }
    }

    fn show(self, value: f64, digits: usize) -> String {
        match self {
            Self::Ratio => format!("{value:.digits$}x"),
            Self::Share => format!("{:.digits$} %", value * 100.0),
            Self::Of(name) => format!("{value:.digits$} {name}"),
        }
    }

    /// Digits after the point that usually suffice, and by how many places the value is moved before.
    fn digits(self, value: f64) -> (usize, usize) {
        match self {
            Self::Ratio => (2, 0),
            Self::Share => (1, 2),
            Self::Of(_) => (decimals(value), 0),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Short => "short",
            Self::Missed => "missed",
        }
    }

    /// One character for tables.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Met => "✓",
            Self::Short => "~",
            Self::Missed => "✗",
        }
    }

    pub(crate) const fn mark(self) -> Mark {
        match self {
            Self::Met => Mark::Good,
            Self::Short => Mark::Fair,
            Self::Missed => Mark::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_is_missed_by_little_does_not_look_met() {
        let shown = |found, limit, unit| {
            let goal = Goal::new("", Spread::of([found]), limit, unit);
            (goal.shown(), goal.verdict())
        };
        assert_eq!(shown(1.003, Limit::most(1.0), Unit::Ratio), ("1.003x".to_owned(), Verdict::Missed));
        assert_eq!(
            shown(0.899_96, Limit::AtMost(0.9, 1.02), Unit::Ratio),
            ("0.90x".to_owned(), Verdict::Met)
        );
        assert_eq!(
            shown(0.969_6, Limit::AtLeast(0.97), Unit::Share),
            ("96.96 %".to_owned(), Verdict::Missed)
        );
        assert_eq!(shown(200.0, Limit::most(200.0), Unit::Of("ms")), ("200 ms".to_owned(), Verdict::Met));
    }

    #[test]
    fn what_is_tolerated_is_short_and_not_missed() {
        let goal = Goal::new("", Spread::of([0.95]), Limit::AtMost(0.9, 1.02), Unit::Ratio);
        assert_eq!((goal.verdict(), goal.demanded()), (Verdict::Short, "<= 0.9x".to_owned()));
    }

    #[test]
    fn repetitions_are_judged_by_their_median_and_shown_with_their_spread() {
        let goal = Goal::new("", Spread::of([0.4, 0.42, 0.6]), Limit::most(0.5), Unit::Ratio);
        assert_eq!((goal.verdict(), goal.shown()), (Verdict::Met, "0.420 (0.400 to 0.600) x".to_owned()));
    }
}
