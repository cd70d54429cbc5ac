//! What changes in the engines' caches, for rules that follow them.

use super::{Flight, Run};
use crate::rules::Change;
use warmpath_engine::model::CacheChange;

// === impl Run ===

impl Run<'_> {
    /// Reports what changed in an engine's cache to a rule that follows caches.
    pub(super) fn report_changes(&mut self, now_s: f64, engine: usize) {
        if !self.rule.follows_caches() {
            return;
        }
        let engine_model = &mut self.fleet.node_mut(engine).engine;
        let tiers: Vec<usize> =
            engine_model.params().tiers.iter().map(|tier| 1 + tier.tier.index()).collect();
        let changes: Vec<CacheChange> = engine_model.take_changes().into_iter().flatten().collect();
        let change = |change: CacheChange| {
            let (block, tier, is_stored) = match change {
                CacheChange::Stored { request, at } => {
                    let Flight { session, turn, .. } = self.flights[request.0 as usize];
                    let job = &self.workload.sessions[session].turns[turn].job;
                    (*job.blocks.get(at)?, 0, true)
                }
                CacheChange::Removed(block) => (block, 0, false),
                CacheChange::Sunk { block, tier } => (block, tiers[tier], true),
                CacheChange::Dropped { block, tier } => (block, tiers[tier], false),
                // No engine is cleared here.
                CacheChange::Cleared => return None,
            };
            Some(Change { block, tier, is_stored })
        };
        let changes: Vec<Change> = changes.into_iter().filter_map(change).collect();
        if !changes.is_empty() {
            self.rule.changed(now_s, engine, changes);
        }
    }
}
