//! What was found, told three times: a table on the terminal, JSON for programs, one HTML page for people.

pub mod chart;
mod headline;
mod html;
mod json;
pub mod page;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::measure::{ArmRun, Summary};

pub use self::json::{Kind, RunInfo};

/// A comparison that was played.
#[derive(Debug)]
pub struct Report {
    info: RunInfo,
    runs: Vec<ArmRun>,
    summaries: Vec<Summary>,
}

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

    /// The page. It needs nothing but itself.
    pub fn to_html(&self) -> String {
        html::render(&self.info, &self.runs, &self.summaries)
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}", table::render(&self.info, &self.runs, &self.summaries));
    }

    /// Writes `report.json` and `report.html`, and says where.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let json = format!("{:#}\n", self.to_json()?);
        for (name, text) in [("report.json", json), ("report.html", self.to_html())] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }
}

/// Parameters of a run, by name.
pub fn parameters(described: &[(&str, String)]) -> BTreeMap<String, String> {
    described.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
