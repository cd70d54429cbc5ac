//! How far the reports of each endpoint follow a chain, and in which tiers.
//!
//! An endpoint that reports a cell holds all before it, and none of those in a lower tier. So the ends can be searched for by
//! halving, for all endpoints at once: each look at the table divides those that are left into two groups. A chain of 4,096 cells takes a
//! dozen looks, where a walk would take as many as it has cells.

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
    /// The tier of the chain's first cell.
    first: Tier,
    /// The tier of the last cell that it is known to hold.
    last: Tier,
}

/// The cells between which the candidates' ends are: they hold the one at `held` and not the one at `lacking`.
#[derive(Clone, Copy)]
struct Range {
    held: usize,
    lacking: usize,
}

// === impl Reported ===

impl Reported {
    /// How far each endpoint that is believed follows `chain`: one entry for each that holds its first cell, by slot. `found` is
    /// cleared first.
    pub(super) fn follow(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        found.clear();
        let Some(first) = chain.first() else { return };
        let candidate =
            |holder: &Holder| Candidate { slot: holder.slot(), first: holder.tier(), last: holder.tier() };
        let candidates: Vec<Candidate> =
            self.holders_of(*first).filter(|holder| self.is_believed(holder.slot())).map(candidate).collect();
        if !candidates.is_empty() {
            self.halve(chain, Range { held: 0, lacking: chain.len() }, candidates, found);
            found.sort_unstable_by_key(|found| found.slot);
        }
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
        while range.lacking - range.held > 1 {
            let middle = range.held + (range.lacking - range.held) / 2;
            let Some(cell) = chain.get(middle) else { break };
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
        let cells = range.held + 1;
        found.extend(candidates.into_iter().map(|candidate| self.matched(chain, cells, candidate)));
    }

    /// The candidates that hold a cell, and the others. Both lists are sorted by slot, so one walk along them is enough.
    fn divide(&self, cell: CellHash, candidates: &[Candidate]) -> (Vec<Candidate>, Vec<Candidate>) {
        let mut holders = self.holders_of(cell).peekable();
        if holders.peek().is_none() {
            return (Vec::new(), Vec::new());
        }
        let (mut further, mut ended) = (Vec::with_capacity(candidates.len()), Vec::new());
        for candidate in candidates {
            while holders.next_if(|holder| holder.slot() < candidate.slot).is_some() {}
            match holders.next_if(|holder| holder.slot() == candidate.slot) {
                Some(holder) => further.push(Candidate { last: holder.tier(), ..*candidate }),
                None => ended.push(*candidate),
            }
        }
        (further, ended)
    }

    /// A candidate's match, whose end is known: what is left are the ends of its tiers.
    fn matched(&self, chain: &[CellHash], cells: usize, candidate: Candidate) -> Match {
        let mut tiers = [0_u32; 4];
        let mut begin = 0;
        for (tier, count) in (0_u8..).zip(&mut tiers) {
            let end = if tier >= rank(candidate.last) {
                cells
            } else if tier < rank(candidate.first) {
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
            let holder = chain
                .get(middle)
                .and_then(|cell| self.holders_of(*cell).find(|holder| holder.slot() == slot));
            if holder.is_some_and(|holder| rank(holder.tier()) <= tier) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}
