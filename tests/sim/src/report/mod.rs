//! What was found, told three times: tables on the terminal, JSON for programs, one HTML page for people.
//!
//! ```text
//!  cells ─► group (by workload, means over seeds) ─┬─► goals ──┬─► text, html
//!                                                  └─► charts ─┘
//!  cells ────────────────────────────────────────────────────────► json
//! ```

mod ablation;
mod chart;
mod goals;
mod group;
mod html;
mod joining;
mod json;
mod overall;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::calibrate::Ladder;
use crate::sweep::{Cell, Swept};

pub use goals::{Goal, Limit, Unit, Verdict};
pub use group::{Figures, Group, Line, WorkloadInfo};
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

    /// The tables.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The JSON; the same seeds give the same bytes.
    pub fn to_json(&self) -> anyhow::Result<String> {
        json::render(self)
    }

    /// The page. It needs nothing but itself.
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// Writes `report.json` and `report.html`; returns where they are.
    pub fn write(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut paths = Vec::new();
        for (name, text) in [("report.json", self.to_json()?), ("report.html", self.to_html())] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests;
