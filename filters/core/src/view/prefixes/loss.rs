//! What an endpoint would lose by taking in more: the cells at the old end of its list, by how likely they are
//! to be asked for again.
//!
//! A prefix that has not been used for longer than prefixes usually wait is probably done with: the session has
//! ended. So a cold request costs least where the oldest garbage is, and the age of the oldest node says where.

use super::Prefixes;
use super::age::Moment;
use super::nodes::NO_NODE;
use crate::ids::Slot;
use crate::num::float_len;
use crate::time::Timestamp;

/// Nodes looked at from the old end; a prompt pushes out a few nodes, seldom more.
const NODES_MAX: usize = 8;
/// Mean gaps after which the chance to be asked for again has fallen to 1/e. Two, because the gaps that were seen are
/// those of prefixes that lived long enough.
const GAPS_PER_DECAY: f64 = 2.0;

// === impl Prefixes ===

impl Prefixes {
    /// What `slot` loses if it takes in `cells` new ones, in cells that would have to be computed again, each by
    /// the chance that it is asked for and by `work_of(depth)`, its work at that depth in its chain. Nothing while
    /// there is room.
    pub fn loss(&self, slot: Slot, cells: usize, now: Timestamp, work_of: impl Fn(u32) -> f64) -> f64 {
        let (held, capacity) = self.held(slot);
        let mut excess = cells.saturating_sub(capacity.saturating_sub(held));
        let now = Moment::of(now.ms());
        let decay_s = GAPS_PER_DECAY * self.gaps.mean_s();
        let mut loss = 0.0;
        let mut next = self.oldest(slot);
        for _ in 0..NODES_MAX {
            let Some(node) = next.filter(|_| excess > 0).and_then(|id| self.nodes.get(id)) else { break };
            let Some(holder) = node.holder(slot) else { break };
            let taken = usize::from(holder.held).min(excess);
            excess -= taken;
            let chance = (-now.seconds_since(holder.touched) / decay_s).exp();
            loss += float_len(taken) * chance * work_of(node.depth() + u32::from(holder.held));
            next = Some(holder.newer).filter(|id| *id != NO_NODE);
        }
        loss
    }
}
