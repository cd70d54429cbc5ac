//! What was reported, as events: for a proxy that connects and for a VM that starts.
//!
//! They begin with a reset of all endpoints, and each endpoint is believed only when its last cell has been named: until then, what was
//! learned counts.

use super::table::{Holder, SHARDS, rank};
use super::{Reported, View};
use crate::ids::{CellHash, Slot};
use crate::wire::{self, Event, Kind, Reporting, Tier, Trust};

/// Cells that are gathered before they are sorted by endpoint, to be named in few events: 1 MiB.
const GATHERED_CELLS: usize = 65_536;
/// Cells of one event: 4 KiB, as a page of the log.
const EVENT_CELLS_MAX: usize = 512;

// === impl View ===

impl View {
    /// The events that make another view know the same of reports. None while this one lacks some itself.
    pub(in crate::view) fn export_reported(&self, each: &mut impl FnMut(Event)) {
        if self.reported.is_behind {
            return;
        }
        each(Kind::Reporting(Reporting { endpoint: 0, trust: Trust::None.into(), is_cleared: true }).into());
        self.reported.each_group(|slot, tier, cells| {
            let Some(endpoint) = self.endpoint(slot) else { return };
            let (endpoint, stored) = (endpoint.id.0, cells.collect());
            each(
                Kind::Reported(wire::Reported { endpoint, tier: tier.into(), stored, removed: vec![] })
                    .into(),
            );
        });
        for (slot, endpoint) in self.endpoints() {
            let trust = self.reported.stated_trust(slot);
            if trust != Trust::None {
                let endpoint = endpoint.id.0;
                each(Kind::Reporting(Reporting { endpoint, trust: trust.into(), is_cleared: false }).into());
            }
        }
    }
}

// === impl Reported ===

impl Reported {
    /// Passes on all cells, in groups of one slot and tier.
    fn each_group(&self, mut each: impl FnMut(Slot, Tier, &mut dyn Iterator<Item = u64>)) {
        let mut gathered: Vec<(Holder, CellHash)> = Vec::new();
        for shard in 0..SHARDS {
            self.table.each_of(shard, |cell, holder| {
                if self.is_current(holder) {
                    gathered.push((holder, cell));
                }
            });
            if gathered.len() < GATHERED_CELLS && shard + 1 < SHARDS {
                continue;
            }
            gathered.sort_unstable_by_key(|(holder, cell)| (holder.slot(), rank(holder.tier()), *cell));
            let is_same = |(one, _): &(Holder, _), (other, _): &(Holder, _)| one == other;
            for group in gathered.chunk_by(is_same).flat_map(|group| group.chunks(EVENT_CELLS_MAX)) {
                let Some((holder, _)) = group.first() else { continue };
                each(holder.slot(), holder.tier(), &mut group.iter().map(|(_, cell)| cell.0));
            }
            gathered.clear();
        }
    }
}
