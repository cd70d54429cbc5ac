//! How far what an endpoint holds follows a prompt, and in which tiers that is.

use super::View;
use crate::ids::{CellHash, Slot};
use crate::wire::Tier;

/// Tiers below the GPU.
const LOWER_TIERS: usize = 3;

/// How far one endpoint's holdings follow a chain.
///
/// Engines need a prefix from its beginning, so what counts is the lowest tier on the way to a cell: the cells of each tier stand
/// behind those of the tiers above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The endpoint.
    pub slot: Slot,
    /// Cells from the first that it holds without a gap.
    pub cells: u32,
    /// Those of them that have to be loaded, by the tier they come from: the host's memory, the disk, the shared store.
    lower: [u32; LOWER_TIERS],
}

// === impl View ===

impl View {
    /// How far each endpoint follows `chain`, as reported or else as learned, with what requests in flight will add: by slot. `found`
    /// is cleared first.
    pub fn find(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        self.prefixes.find(chain, found);
        if !self.reported.is_idle() {
            self.reported.refine(chain, found);
        }
        self.expected.raise(chain, found);
    }

    /// As [`View::find`], by what was learned alone: for a chain that is not over the text that engines compute. Reports are of that
    /// text, so none of them has such a chain, whatever the engine holds.
    pub fn find_learned(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        self.prefixes.find(chain, found);
        self.expected.raise(chain, found);
    }
}

// === impl Match ===

impl Match {
    /// The first `cells` cells, all of them on the GPU.
    pub fn on_gpu(slot: Slot, cells: u32) -> Self {
        Self { slot, cells, lower: [0; LOWER_TIERS] }
    }

    /// With so many cells in each tier, the GPU first.
    pub(super) fn in_tiers(slot: Slot, [gpu, cpu, disk, remote]: [u32; 1 + LOWER_TIERS]) -> Self {
        let lower = [cpu, disk, remote];
        Self { slot, cells: lower.iter().fold(gpu, |sum, cells| sum.saturating_add(*cells)), lower }
    }

    /// Cells of the chain in one tier.
    pub fn cells_in(&self, tier: Tier) -> u32 {
        let [cpu, disk, remote] = self.lower;
        match tier {
            Tier::Gpu => self.cells.saturating_sub(cpu.saturating_add(disk).saturating_add(remote)),
            Tier::Cpu => cpu,
            Tier::Disk => disk,
            Tier::Remote => remote,
        }
    }

    /// The same with the first `cells` cells, which it can load from a store that all share.
    pub(crate) fn with_shared(self, cells: u32) -> Self {
        let [cpu, disk, remote] = self.lower;
        let added = cells.saturating_sub(self.cells);
        Self { cells: self.cells + added, lower: [cpu, disk, remote + added], ..self }
    }

    /// The first `cells` cells are about to be on the GPU.
    pub(super) fn raise_to(&mut self, cells: u32) {
        let mut raised = cells.saturating_sub(self.cells_in(Tier::Gpu));
        self.cells = self.cells.max(cells);
        for lower in &mut self.lower {
            let moved = raised.min(*lower);
            *lower -= moved;
            raised -= moved;
        }
    }

    /// It holds `cells` cells at least; those that are not known to be in a tier are in that of the last one that is.
    pub(super) fn extend_to(&mut self, cells: u32) {
        let added = cells.saturating_sub(self.cells);
        self.cells += added;
        if let Some(last) = self.lower.iter_mut().rev().find(|lower| **lower > 0) {
            *last += added;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(found: &Match) -> [u32; 4] {
        [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote].map(|tier| found.cells_in(tier))
    }

    #[test]
    fn what_is_computed_again_comes_to_the_gpu_from_the_first_cell_on() {
        let held = Match::in_tiers(Slot(0), [10, 20, 0, 5]);
        let raised = |cells| {
            let mut found = held;
            found.raise_to(cells);
            tiers(&found)
        };
        assert_eq!(raised(7), [10, 20, 0, 5]);
        assert_eq!(raised(12), [12, 18, 0, 5]);
        assert_eq!(raised(33), [33, 0, 0, 2]);
        assert_eq!(raised(50), [50, 0, 0, 0]);
    }

    #[test]
    fn what_is_believed_beyond_the_reports_is_in_the_tier_of_the_last_reported_cell() {
        let mut found = Match::in_tiers(Slot(0), [10, 20, 0, 0]);
        found.extend_to(40);
        assert_eq!(tiers(&found), [10, 30, 0, 0]);
        found.extend_to(3);
        assert_eq!(found.cells, 40);
        let mut cold = Match::in_tiers(Slot(0), [4, 0, 0, 0]);
        cold.extend_to(9);
        assert_eq!(tiers(&cold), [9, 0, 0, 0]);
    }
}
