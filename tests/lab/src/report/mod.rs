//! What was found, told three times: a table on the terminal, JSON for programs, one HTML page for people.

mod chart;
mod document;
mod headline;
mod json;

use crate::measure::{ArmRun, Summary};
use std::collections::BTreeMap;
use std::path::Path;
use warmpath_report::{Document, Table};

pub use self::json::{Kind, RunInfo};

/// A comparison that was played.
#[derive(Debug)]
pub struct Report {
    info: RunInfo,
    runs: Vec<ArmRun>,
    summaries: Vec<Summary>,
}

// === impl Report ===

impl Report {
    /// Of these arms, in this order.
    pub fn new(info: RunInfo, runs: Vec<ArmRun>) -> Self {
        let summaries = runs.iter().map(ArmRun::summary).collect();
        Self { info, runs, summaries }
    }

    /// The numbers of the arms.
    pub fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// The JSON.
    pub fn to_json(&self) -> anyhow::Result<serde_json::Value> {
        json::render(&self.info, &self.runs, &self.summaries)
    }

    /// What terminal and page show.
    pub fn document(&self) -> Document {
        document::document(&self.info, &self.runs, &self.summaries)
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("{}", self.document().to_text());
    }

    /// Writes `report.json` and `report.html`, and says where.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        for path in self.document().write(folder, &format!("{:#}\n", self.to_json()?))? {
            println!("{}", path.display());
        }
        Ok(())
    }
}

/// All numbers of all arms, with Warmpath beside the best plain one.
pub(crate) fn comparison(arms: &[Summary]) -> Table {
    document::all_numbers(arms, document::BESIDE_BEST_PLAIN)
}

/// Parameters of a run, by name.
pub fn parameters(described: &[(&str, String)]) -> BTreeMap<String, String> {
    described.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
