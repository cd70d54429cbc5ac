//! Charts as inline SVG: how long something took ([`ranges`]), how much of it there was ([`bars`]), how it depends on
//! something else ([`lines`]), how it went over time ([`areas`]).

mod areas;
mod axis;
mod bars;
mod lines;
mod ranges;
mod svg;

use crate::Role;
use maud::{Markup, Render};

pub use self::areas::{Area, areas};
pub use self::axis::{Axis, Scale};
pub use self::bars::{Bar, Panel, bars};
pub use self::lines::{Line, lines};
pub use self::ranges::{Group, Range, ranges};

/// A chart.
#[derive(Clone, Debug, Default)]
pub struct Chart(Markup);

/// Whose a row or a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// What it is in the comparison.
    pub role: Role,
}

// === impl Chart ===

impl Render for Chart {
    fn render(&self) -> Markup {
        self.0.clone()
    }
}

// === impl Arm ===

impl Arm {
    /// An arm of this name.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role }
    }

    /// The class of its name: ours stands out.
    fn name_class(&self) -> &'static str {
        if self.role == Role::Ours { self.role.class() } else { "" }
    }
}

#[cfg(test)]
mod tests;
