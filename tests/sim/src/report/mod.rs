//! What was found, told three times: tables on the terminal, JSON for programs, one HTML page for people.
//!
//! ```text
//!  cells ─► group (by workload, means over seeds) ─► goals, overall, ablation, workload ─► document ─► text, html
//!  cells ──────────────────────────────────────────────────────────────────────────────────────────► json
//! ```

mod ablation;
mod calibration;
mod document;
mod goals;
mod group;
mod held;
mod held_goals;
mod joining;
mod json;
mod overall;
mod workload;

use crate::calibrate::Ladder;
use crate::sweep::{Cell, Swept};
use std::path::{Path, PathBuf};
use warmpath_report::{Document, Goal};

pub use group::{Figures, Group, Line, SplitLoad, WorkloadInfo};
pub use json::{Info, OwnTrace};
pub use overall::{Behind, Overall};

/// All that was found.
#[derive(Debug)]
pub struct Report {
    info: Info,
    cells: Vec<Cell>,
    groups: Vec<Group>,
    overall: Vec<Overall>,
    ladders: Vec<Ladder>,
    goals: Vec<Goal>,
}

// === impl Report ===

impl Report {
    /// Of what was played.
    pub fn new(info: Info, swept: Swept) -> Self {
        let groups = group::groups(&info.workloads, &swept.cells);
        // Of a part of each workload, verdicts would mean nothing.
        let is_whole = info.requests_max.is_none();
        let goals = if is_whole { goals::goals(&groups, &swept.ladders) } else { Vec::new() };
        let overall = overall::overall(&groups);
        Self { info, cells: swept.cells, groups, overall, ladders: swept.ladders, goals }
    }

    /// The goals, with what was found.
    pub fn goals(&self) -> &[Goal] {
        &self.goals
    }

    /// What terminal and page show.
    pub fn document(&self) -> Document {
        document::document(self)
    }

    /// The JSON; the same seeds give the same bytes.
    pub fn to_json(&self) -> anyhow::Result<String> {
        json::render(self)
    }

    /// Writes `report.json` and `report.html`; returns where they are.
    pub fn write(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        self.document().write(folder, &self.to_json()?)
    }
}

#[cfg(test)]
mod tests;
