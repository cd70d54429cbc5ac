//! Prefixes that proxies teach a controller that knows nothing, and who of them need not be sent which.
//!
//! A proxy that meets a new controller sends it everything that it has learned, and so do all others, in the same seconds:
//! nearly all of it is known to everybody. The obvious way, to pass each prefix on as it comes, from its root, sends every
//! proxy ten times what all of them know. Here a round of teaching is awaited, and then each proxy is sent what the others
//! taught and it did not, as one chain of continuations.

use super::hub::Hub;
use std::collections::BTreeMap;
use warmpath_core::hash::{SeededMap, seeded};
use warmpath_core::ids::{CellHash, EndpointId, ProcessId};
use warmpath_core::limits::CELLS_PER_VIEW_MAX;
use warmpath_core::num::{index, u32_len};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Match, View};
use warmpath_core::wire::{Event, Prefix, PrefixEncoder};

/// A round ends when nothing new was taught for this long, in milliseconds.
const QUIET_MS: u64 = 2_000;
/// A round ends after this long in any case, in milliseconds.
const ROUND_MS_MAX: u64 = 30_000;
/// Cells of endpoints that one round keeps apart; more are not passed on. 16 bytes each and the map's slack.
const PAIRS_MAX: usize = CELLS_PER_VIEW_MAX;

/// One round of teaching.
#[derive(Clone, Debug)]
pub(super) struct Taught {
    /// Who knows that an endpoint holds a cell: one bit for each process.
    pairs: SeededMap<(u64, u64), u64>,
    /// The bit of each process, as long as there are bits.
    bits: BTreeMap<ProcessId, u64>,
    first: Timestamp,
    last: Timestamp,
    found: Vec<Match>,
}

// === impl Taught ===

impl Taught {
    /// A round in which nothing was taught yet.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            pairs: SeededMap::with_hasher(seeded(seed)),
            bits: BTreeMap::new(),
            first: Timestamp::ZERO,
            last: Timestamp::ZERO,
            found: Vec::new(),
        }
    }

    /// Notes a whole prefix that a process teaches, before `view` learns it. Returns whether any of it is new to the view.
    pub(super) fn note(&mut self, process: ProcessId, prefix: &Prefix, view: &View, now: Timestamp) -> bool {
        let chain: Vec<CellHash> = prefix.cells.iter().map(|cell| CellHash(*cell)).collect();
        view.prefixes().find(&chain, &mut self.found);
        let bit = self.bit(process);
        let mut is_new = false;
        for (endpoint, held) in prefix.endpoints.iter().zip(&prefix.held) {
            let Some(slot) = view.slot(EndpointId(*endpoint)) else { continue };
            let known = self.found.iter().find(|entry| entry.slot == slot).map_or(0, |entry| entry.cells);
            is_new |= *held > known;
            for (at, cell) in (0_u32..).zip(&prefix.cells).take(index(*held)) {
                if let Some(knowing) = self.pairs.get_mut(&(*cell, *endpoint)) {
                    *knowing |= bit;
                } else if at >= known && self.pairs.len() < PAIRS_MAX {
                    self.pairs.insert((*cell, *endpoint), bit);
                }
            }
        }
        if is_new {
            self.last = now;
            if self.first == Timestamp::ZERO {
                self.first = now;
            }
        }
        is_new
    }

    /// Notes that a process is sent the whole view.
    pub(super) fn note_snapshot(&mut self, process: ProcessId) {
        if !self.pairs.is_empty() {
            let bit = self.bit(process);
            self.pairs.values_mut().for_each(|knowing| *knowing |= bit);
        }
    }

    /// Whether the round has ended.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        !self.pairs.is_empty()
            && (now.ms_since(self.last) >= QUIET_MS || now.ms_since(self.first) >= ROUND_MS_MAX)
    }

    /// What `process` was not taught or sent, as far as the view still has it.
    pub(super) fn unknown_to(&self, process: ProcessId, view: &View) -> Vec<Event> {
        let bit = self.bits.get(&process).copied().unwrap_or(0);
        let mut chain: Vec<u64> = Vec::new();
        let mut encoder = PrefixEncoder::default();
        let mut events = Vec::new();
        view.prefixes().walk(|visit| {
            chain.truncate(visit.depth);
            chain.extend(visit.cells);
            let mut part = Prefix { depth: 0, cells: Vec::new(), endpoints: Vec::new(), held: Vec::new() };
            for holder in visit.holders {
                let Some(endpoint) = view.endpoint(holder.slot) else { continue };
                let is_unknown = |cell: &u64| {
                    self.pairs.get(&(*cell, endpoint.id.0)).is_some_and(|knowing| knowing & bit == 0)
                };
                let held = visit.cells.get(..usize::from(holder.held)).unwrap_or(visit.cells);
                if let Some(last) = held.iter().rposition(is_unknown) {
                    part.endpoints.push(endpoint.id.0);
                    part.held.push(u32_len(visit.depth + last + 1));
                }
            }
            let longest = index(part.held.iter().copied().max().unwrap_or(0));
            if let Some(cells) = chain.get(..longest).filter(|cells| !cells.is_empty()) {
                part.cells = cells.to_vec();
                events.push(encoder.encode(&part).into());
            }
        });
        events
    }

    fn bit(&mut self, process: ProcessId) -> u64 {
        let next = 1_u64.checked_shl(u32_len(self.bits.len())).unwrap_or(0);
        *self.bits.entry(process).or_insert(next)
    }
}

// === impl Hub ===

impl Hub {
    /// Ends a round of teaching: from now on, [`Hub::take`] has what each proxy lacks.
    pub(super) fn end_round(&mut self, now: Timestamp) {
        // A proxy that still lacks the last round's rest would lose it.
        if self.taught.has_ended(now) && self.passed_on.is_none() {
            let next = Taught::new(self.index().seed());
            self.passed_on = Some(std::mem::replace(&mut self.taught, next));
            self.mark_taught();
        }
    }
}
