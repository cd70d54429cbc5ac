//! A part of the report: a figure as a table, and its goals. The terminal and the page show the same.

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::bench::spread::{Spread, show};

/// One figure.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Section {
    /// What was measured.
    pub(super) title: &'static str,
    /// What must be known to read the table.
    pub(super) notes: Vec<String>,
    /// The table.
    pub(super) table: Table,
    /// What was to be reached.
    pub(super) goals: Vec<Goal>,
    /// A chart in SVG; empty for none.
    pub(super) chart: String,
}

/// Rows of text, the first column left-aligned.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    /// The columns' names.
    pub(super) header: Vec<&'static str>,
    /// As many cells each as there are columns.
    pub(super) rows: Vec<Vec<String>>,
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A figure beside what it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    /// Which figure.
    pub(super) name: String,
    /// What was found; its median counts.
    pub(super) found: Spread,
    /// What it is to be.
    pub(super) bound: Bound,
    /// The unit of both; "x" for a ratio.
    pub(super) unit: &'static str,
}

impl Goal {
    /// Whether it is reached.
    pub(super) fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.found.median <= most,
            Bound::AtLeast(least) => self.found.median >= least,
        }
    }

    /// In words, but for the name.
    pub(super) fn verdict(&self) -> [String; 3] {
        let bound = match self.bound {
            Bound::AtMost(most) => format!("<= {}", show(most)),
            Bound::AtLeast(least) => format!(">= {}", show(least)),
        };
        let found = format!("{} {}", self.found.show(), self.unit);
        let word = if self.is_met() { "met" } else { "missed" };
        [found, format!("{bound} {}", self.unit), word.to_owned()]
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, bound) = match self.bound {
            Bound::AtMost(most) => ("at_most", most),
            Bound::AtLeast(least) => ("at_least", least),
        };
        let mut fields = serializer.serialize_struct("Goal", 5)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("unit", self.unit)?;
        fields.serialize_field("found", &self.found)?;
        fields.serialize_field(kind, &bound)?;
        fields.serialize_field("is_met", &self.is_met())?;
        fields.end()
    }
}
