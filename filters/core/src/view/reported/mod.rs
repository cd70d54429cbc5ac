//! What engines report of their caches by themselves: which cells each endpoint holds, and in which tier.
//!
//! ```text
//!   an engine's KV events ─► the controller, as cells ─► Reported, Reporting ─► the table
//!                                                                                  │
//!   learned prefixes ─────────────► by the endpoint's trust: ◄─────────────────────┘
//!   requests that were sent ──────► and what is expected ─► a match
//! ```
//!
//! It stands beside the tree of learned prefixes and does not replace it: that is what an endpoint falls back to at once when its
//! reports can no longer be relied on.
//!
//! A clear of one endpoint is a small change here however much it held: its epoch ends, nothing of which counts any more, and
//! the table is swept later, some shards a second. The table is bounded; of an endpoint whose cells have no room some are
//! unknown, so its reports count as partial until it is cleared.

mod export;
mod find;
mod table;

use super::{Applied, Match, View};
use crate::ids::{CellHash, EndpointId, Slot};
use crate::limits::REPORTED_CELLS_MAX;
use crate::wire::{self, Tier, Trust};
use table::{Epoch, Holder, SHARDS, Table, rank};

/// Shards swept each second while something is void: all of them in 16 s.
const SWEEP_SHARDS: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct Reported {
    table: Table,
    /// By slot.
    feeds: Vec<Feed>,
    /// How many slots are believed, wholly or in part.
    believed: usize,
    /// Slots of which cells had no room.
    cut: usize,
    /// Shards that may hold void cells, and the next one to sweep.
    unswept: usize,
    next_swept: usize,
    /// Whether the controller is silent, or events of it were missed: then nobody is believed.
    is_silent: bool,
    is_behind: bool,
}

/// The reports of one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Feed {
    trust: Trust,
    epoch: Epoch,
    /// Cells of this epoch, by tier.
    cells: [usize; 4],
    /// Whether cells of this epoch had no room.
    is_cut: bool,
}

// === impl Reported ===

impl Reported {
    /// Nothing reported; `seed` as in [`View::new`].
    pub(super) fn new(seed: u64) -> Self {
        Self {
            table: Table::new(seed),
            feeds: Vec::new(),
            believed: 0,
            cut: 0,
            unswept: 0,
            next_swept: 0,
            is_silent: false,
            is_behind: false,
        }
    }

    /// How far the reports of a slot can be relied on here and now.
    pub fn trust(&self, slot: Slot) -> Trust {
        match self.stated_trust(slot) {
            Trust::Whole | Trust::Partial if self.is_doubted() => Trust::Suspect,
            trust => trust,
        }
    }

    /// The same as the controller states it, as far as the cells had room.
    fn stated_trust(&self, slot: Slot) -> Trust {
        match self.feeds.get(slot.index()) {
            None => Trust::None,
            Some(feed) if feed.is_cut && feed.trust == Trust::Whole => Trust::Partial,
            Some(feed) => feed.trust,
        }
    }

    /// Cells that a slot has reported, in a tier.
    pub fn cells(&self, slot: Slot, tier: Tier) -> usize {
        let cells = self.feeds.get(slot.index()).and_then(|feed| feed.cells.get(usize::from(rank(tier))));
        cells.copied().unwrap_or_default()
    }

    /// Bytes of memory that the table takes.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Whether nobody is believed, so that there is nothing to look for.
    pub(super) fn is_idle(&self) -> bool {
        self.believed == 0 || self.is_doubted()
    }

    fn is_doubted(&self) -> bool {
        self.is_silent || self.is_behind
    }

    fn is_believed(&self, slot: Slot) -> bool {
        matches!(self.trust(slot), Trust::Whole | Trust::Partial)
    }

    /// Replaces what was learned of endpoints whose reports count by what they reported. `found` is sorted by slot.
    pub(super) fn refine(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        found.retain(|learned| self.trust(learned.slot) != Trust::Whole);
        let mut reported = Vec::new();
        self.follow(chain, &mut reported);
        if found.is_empty() {
            *found = reported;
            return;
        }
        // Reported ones first: of one slot, they say which tiers.
        reported.append(found);
        reported.sort_by_key(|found| found.slot);
        reported.dedup_by(|learned, reported| {
            let is_same = learned.slot == reported.slot;
            if is_same {
                reported.extend_to(learned.cells);
            }
            is_same
        });
        *found = reported;
    }

    /// A slot's cells changed. `false`: some had no room.
    fn change(&mut self, slot: Slot, tier: Tier, stored: &[u64], removed: &[u64]) -> bool {
        for cell in removed {
            let removed = self.table.remove(CellHash(*cell), slot);
            self.count_out(slot, removed);
        }
        let epoch = self.feed_mut(slot).epoch;
        for cell in stored {
            if !self.has_room() {
                self.set_cut(slot, true);
                return false;
            }
            let replaced = self.table.insert(CellHash(*cell), Holder::new(slot, tier, epoch));
            self.count_out(slot, replaced);
            if let Some(cells) = self.feed_mut(slot).cells.get_mut(usize::from(rank(tier))) {
                *cells += 1;
            }
        }
        true
    }

    fn set_cut(&mut self, slot: Slot, is_cut: bool) {
        let before = std::mem::replace(&mut self.feed_mut(slot).is_cut, is_cut);
        self.cut = self.cut + usize::from(is_cut) - usize::from(before);
    }

    fn set_trust(&mut self, slot: Slot, trust: Trust, is_cleared: bool) {
        if is_cleared {
            self.clear(slot);
        }
        let before = std::mem::replace(&mut self.feed_mut(slot).trust, trust);
        let count = |trust| usize::from(matches!(trust, Trust::Whole | Trust::Partial));
        self.believed = self.believed + count(trust) - count(before);
    }

    /// Begins again: nothing that any slot has reported counts.
    fn reset(&mut self, trust: Trust) {
        for slot in (0..=u16::MAX).map(Slot).take(self.feeds.len()) {
            self.set_trust(slot, trust, true);
        }
        self.is_behind = false;
    }

    /// The slot is another endpoint's from now on.
    pub(super) fn forget(&mut self, slot: Slot) {
        if self.feeds.get(slot.index()).is_some() {
            self.set_trust(slot, Trust::None, true);
        }
    }

    /// Whether events were missed since all endpoints were last reset.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Whether the controller, from which all reports come, has fallen silent. What it sends when it is back begins with what was
    /// missed.
    pub(super) fn set_silent(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
    }

    /// All that a slot has reported is void.
    fn clear(&mut self, slot: Slot) {
        self.set_cut(slot, false);
        let feed = self.feed_mut(slot);
        if feed.cells == [0; 4] {
            return;
        }
        feed.cells = [0; 4];
        let has_wrapped = feed.epoch.0 == u16::MAX;
        feed.epoch = Epoch(feed.epoch.0.wrapping_add(1));
        if has_wrapped {
            // An epoch's number comes again, so nothing of it may be left.
            (0..SHARDS).for_each(|shard| self.table.sweep(shard, |holder| holder.slot() != slot));
        } else {
            self.unswept = SHARDS;
        }
    }

    /// Drops some of what is void.
    pub(super) fn sweep(&mut self) {
        for _ in 0..SWEEP_SHARDS.min(self.unswept) {
            self.sweep_one();
        }
    }

    fn sweep_one(&mut self) {
        let Self { table, feeds, unswept, next_swept, .. } = self;
        let is_current = |holder: Holder| {
            feeds.get(holder.slot().index()).is_some_and(|feed| feed.epoch == holder.epoch())
        };
        table.sweep(*next_swept, is_current);
        *next_swept = (*next_swept + 1) % SHARDS;
        *unswept = unswept.saturating_sub(1);
    }

    /// Whether the table may take in another cell, after a shard is swept if that may help.
    fn has_room(&mut self) -> bool {
        if self.table.holders() >= REPORTED_CELLS_MAX && self.unswept > 0 {
            self.sweep_one();
        }
        self.table.holders() < REPORTED_CELLS_MAX
    }

    /// Who holds a cell now, by slot.
    fn holders_of(&self, cell: CellHash) -> impl Iterator<Item = &Holder> {
        self.table.holders_of(cell).iter().filter(|holder| self.is_current(**holder))
    }

    fn is_current(&self, holder: Holder) -> bool {
        self.feeds.get(holder.slot().index()).is_some_and(|feed| feed.epoch == holder.epoch())
    }

    fn count_out(&mut self, slot: Slot, holder: Option<Holder>) {
        let feed = self.feed_mut(slot);
        if let Some(holder) = holder.filter(|holder| holder.epoch() == feed.epoch)
            && let Some(cells) = feed.cells.get_mut(usize::from(rank(holder.tier())))
        {
            *cells -= 1;
        }
    }

    fn feed_mut(&mut self, slot: Slot) -> &mut Feed {
        if self.feeds.len() <= slot.index() {
            self.feeds.resize_with(slot.index() + 1, Feed::default);
        }
        #[expect(clippy::indexing_slicing, reason = "the table was just grown to hold the slot")]
        &mut self.feeds[slot.index()]
    }
}

// === impl View ===

impl View {
    /// What engines reported.
    pub fn reported(&self) -> &Reported {
        &self.reported
    }

    /// Events were missed. Reports count only from the next reset of all endpoints on, as removals may have been among them.
    pub(crate) fn fall_behind(&mut self) {
        self.reported.is_behind = true;
    }

    /// What a proxy knows of reports comes from a controller, which itself receives none.
    pub(super) fn note_silence(&mut self) {
        self.reported.set_silent(self.process.is_some() && self.statuses_at.is_none());
    }

    /// KV came to an engine or left it.
    pub(super) fn report(&mut self, reported: &wire::Reported) -> Applied {
        let Some(slot) = self.slot(EndpointId(reported.endpoint)) else { return Applied::Unknown };
        // A tier that this version does not know is certainly none of the fast ones.
        let tier = Tier::try_from(reported.tier).unwrap_or(Tier::Remote);
        let has_room = self.reported.change(slot, tier, &reported.stored, &reported.removed);
        if has_room { Applied::Changed } else { Applied::Cut }
    }

    /// Takes how far the reports of an engine can be relied on.
    pub(super) fn set_trust(&mut self, reporting: &wire::Reporting) -> Applied {
        if reporting.endpoint == 0 {
            self.reported.reset(reporting.trust());
            return Applied::Changed;
        }
        let Some(slot) = self.slot(EndpointId(reporting.endpoint)) else { return Applied::Unknown };
        self.reported.set_trust(slot, reporting.trust(), reporting.is_cleared);
        Applied::Changed
    }
}
