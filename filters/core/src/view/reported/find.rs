//! How far the reports of each endpoint follow a chain, and in which tiers.
//!
//! An endpoint that reports a cell holds all before it, and none of those in a lower tier. So the ends can be searched for by
//! halving, for all endpoints at once: each look at the table divides those that are left into two groups. A chain of 4,096 cells takes a
//! dozen looks, where a walk would take as many as it has cells.
//!
//! Many endpoints often end at the same cell, where the beginning of prompts ends that all share. Cells that have as many holders have
//! the same ones, as nobody holds a cell and not those before it: counting shows that a group need not be divided. That holds as long as
//! every cell had room.

use super::Reported;
use super::table::{Holder, rank};
use crate::ids::{CellHash, Slot};
use crate::num::u32_len;
use crate::view::Match;
use crate::wire::Tier;

/// An endpoint whose end is searched for, in order of slots.
#[derive(Clone, Copy)]
struct Candidate {
    slot: Slot,
    /// The tier of the chain's first cell; `None`: whatever it holds is on the GPU.
    first: Option<Tier>,
}

/// The cells between which the candidates' ends are: they hold the one at `held` and not the one at `lacking`.
#[derive(Clone, Copy)]
struct Range {
    held: Place,
    lacking: Place,
}

/// A cell of the chain, by its place, and how many slots hold it, void or not. None holds what is behind the last one.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    holders: usize,
}

// === impl Reported ===

impl Reported {
    /// How far each endpoint that is believed follows `chain`: one entry for each that holds its first cell, by slot. `found` is
    /// cleared first.
    pub(super) fn follow(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        found.clear();
        let Some(first) = chain.first() else { return };
        let holders = self.table.holders_of(*first);
        let mut candidates = Vec::with_capacity(holders.len());
        candidates.extend(holders.iter().filter_map(|holder| self.candidate(*holder)));
        if !candidates.is_empty() {
            found.reserve(candidates.len());
            let held = Place { at: 0, holders: holders.len() };
            let lacking = Place { at: chain.len(), holders: 0 };
            self.halve(chain, Range { held, lacking }, candidates, found);
            // Groups are sorted in themselves, which this sort, and no unstable one, makes use of.
            found.sort_by_key(|found| found.slot);
        }
    }

    /// A holder of the first cell, if it is believed.
    fn candidate(&self, holder: Holder) -> Option<Candidate> {
        let slot = holder.slot();
        let feed = self.feeds.get(slot.index()).filter(|feed| feed.epoch == holder.epoch())?;
        let [_, lower @ ..] = feed.cells;
        let first = (lower != [0; 3]).then_some(holder.tier());
        self.is_believed(slot).then_some(Candidate { slot, first })
    }

    /// Finds the ends of candidates. No deeper than a chain can be halved: only those that end before the middle are left to a
    /// call of their own.
    fn halve(
        &self,
        chain: &[CellHash],
        mut range: Range,
        mut candidates: Vec<Candidate>,
        found: &mut Vec<Match>,
    ) {
        while range.lacking.at - range.held.at > 1 {
            let at = range.held.at + (range.lacking.at - range.held.at) / 2;
            let Some(cell) = chain.get(at) else { break };
            let middle = Place { at, holders: self.table.holders_of(*cell).len() };
            // A void holder says nothing of the cells before its own, some of which may be swept. Nor does one of which cells had no room.
            let is_counted = self.unswept == 0 && self.cut == 0;
            if middle.holders == 0 || is_counted && middle.holders == range.lacking.holders {
                range.lacking = middle;
                continue;
            }
            if is_counted && middle.holders == range.held.holders {
                range.held = middle;
                continue;
            }
            let (further, ended) = self.divide(*cell, &candidates);
            if further.is_empty() {
                range.lacking = middle;
                continue;
            }
            if !ended.is_empty() {
                self.halve(chain, Range { lacking: middle, ..range }, ended, found);
            }
            candidates = further;
            range.held = middle;
        }
        let cells = range.held.at + 1;
        found.extend(candidates.into_iter().map(|candidate| self.matched(chain, cells, candidate)));
    }

    /// The candidates that hold a cell, and the others. Both lists are sorted by slot, so one walk along them is enough.
    fn divide(&self, cell: CellHash, candidates: &[Candidate]) -> (Vec<Candidate>, Vec<Candidate>) {
        let mut holders = self.holders_of(cell).map(|holder| holder.slot()).peekable();
        candidates.iter().partition(|candidate| {
            while holders.next_if(|slot| *slot < candidate.slot).is_some() {}
            holders.peek() == Some(&candidate.slot)
        })
    }

    /// A candidate's match, whose end is known: what is left are the ends of its tiers.
    fn matched(&self, chain: &[CellHash], cells: usize, candidate: Candidate) -> Match {
        let Some(first) = candidate.first else { return Match::on_gpu(candidate.slot, u32_len(cells)) };
        let last = self.tier_of(chain.get(cells - 1), candidate.slot).unwrap_or(first);
        let mut tiers = [0_u32; 4];
        let mut begin = 0;
        for (tier, count) in (0_u8..).zip(&mut tiers) {
            let end = if tier >= rank(last) {
                cells
            } else if tier < rank(first) {
                begin
            } else {
                self.end_of_tier(chain, begin..cells, candidate.slot, tier)
            };
            *count = u32_len(end - begin);
            begin = end;
        }
        Match::in_tiers(candidate.slot, tiers)
    }

    /// Where in `range`, of which a slot holds all cells, those in a tier or above it end.
    fn end_of_tier(&self, chain: &[CellHash], range: std::ops::Range<usize>, slot: Slot, tier: u8) -> usize {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.tier_of(chain.get(middle), slot).is_some_and(|held| rank(held) <= tier) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// In which tier a slot holds a cell.
    fn tier_of(&self, cell: Option<&CellHash>, slot: Slot) -> Option<Tier> {
        let holders = self.table.holders_of(*cell?);
        let at = holders.binary_search_by_key(&slot, |holder| holder.slot()).ok()?;
        holders.get(at).filter(|holder| self.is_current(**holder)).map(|holder| holder.tier())
    }
}
