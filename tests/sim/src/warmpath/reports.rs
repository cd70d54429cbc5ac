//! What engines report of their caches: their own changes, a while later, as the cells that the controller makes of them.
//!
//! ```text
//!   engine ── changes of a step ──► on the way ──► what the controller knows of each engine ──► Reported ──► Hub
//! ```
//!
//! As in the controller, a cell is reported only while all before it in its chain are held, and with the lowest tier on the way. That
//! blocks and cells end at the same bytes here makes a cell of each block; the controller's own code for tokens and text is tested where
//! it stands.

use crate::rules::Change;
use crate::workload::Job;
use fnv::FnvHashMap;
use std::collections::VecDeque;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Kind, Reported, Reporting, Tier, Trust};
use warmpath_engine::model::BlockHash;

/// Where KV is, the nearest first.
const TIERS: [Tier; 4] = [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote];

/// See the module.
#[derive(Debug)]
pub(super) struct Reports {
    /// How late what an engine reports is, in seconds.
    delay_s: f64,
    /// Blocks of every prompt.
    chains: FnvHashMap<BlockHash, Place>,
    engines: Vec<Engine>,
    on_the_way: VecDeque<(Timestamp, usize, Vec<Change>)>,
}

/// Where a block stands in its chain.
#[derive(Clone, Copy, Debug)]
struct Place {
    cell: CellHash,
    parent: Option<BlockHash>,
}

/// What the controller knows of one engine.
#[derive(Debug)]
struct Engine {
    endpoint: EndpointId,
    /// Whether it is listed: before, nothing can be said of it.
    is_listed: bool,
    blocks: FnvHashMap<BlockHash, Block>,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// The tiers that hold it, a bit for each.
    tiers: u8,
    /// The tier in which it is reported.
    reported: Option<usize>,
    /// Those behind it that are known of this engine.
    children: Vec<BlockHash>,
}

// === impl Reports ===

impl Reports {
    /// Of engines at these addresses, which report `delay_s` later.
    pub(super) fn new(addresses: &[String], delay_s: f64) -> Self {
        let engine = |address: &String| Engine {
            endpoint: EndpointId::of(address),
            is_listed: false,
            blocks: FnvHashMap::default(),
        };
        let engines = addresses.iter().map(engine).collect();
        Self { delay_s, chains: FnvHashMap::default(), engines, on_the_way: VecDeque::new() }
    }

    /// How late reports are, in seconds.
    pub(super) fn delay_s(&self) -> f64 {
        self.delay_s
    }

    /// Notes which cells the blocks of a prompt stand for.
    pub(super) fn note(&mut self, job: &Job) {
        let mut parent = None;
        for (block, cell) in job.blocks.iter().zip(job.cells.iter()) {
            self.chains.entry(*block).or_insert(Place { cell: *cell, parent });
            parent = Some(*block);
        }
    }

    /// An engine's cache has changed: that is known at `at`.
    pub(super) fn send(&mut self, at: Timestamp, engine: usize, changes: Vec<Change>) {
        self.on_the_way.push_back((at, engine, changes));
    }

    /// What has arrived by now, as events.
    pub(super) fn receive(&mut self, now: Timestamp) -> Vec<Kind> {
        let mut events = Vec::new();
        while let Some((_, engine, changes)) = self.on_the_way.pop_front_if(|(at, ..)| *at <= now) {
            let engine = &mut self.engines[engine];
            let mut changed = Changed::default();
            for change in changes {
                engine.apply(&self.chains, change, &mut changed);
            }
            if engine.is_listed {
                events.extend(changed.events(engine.endpoint));
            }
        }
        events
    }

    /// The first `open` engines and those behind `decoding` are listed from now on: what is known of those that were not before.
    pub(super) fn list(&mut self, is_listed: impl Fn(usize) -> bool) -> Vec<Kind> {
        let mut events = Vec::new();
        for (at, engine) in self.engines.iter_mut().enumerate() {
            if is_listed(at) && !std::mem::replace(&mut engine.is_listed, true) {
                events.extend(engine.all(&self.chains));
            }
        }
        events
    }

    /// How many blocks of a prompt an engine has reported from the first, and on its GPU.
    #[cfg(test)]
    pub(super) fn held(&self, engine: usize, job: &Job) -> (usize, usize) {
        let tiers =
            |block: &BlockHash| self.engines[engine].blocks.get(block).and_then(|block| block.reported);
        let held: Vec<usize> = job.blocks.iter().map_while(tiers).collect();
        (held.len(), held.iter().filter(|tier| **tier == 0).count())
    }

    /// The controller starts anew and has all engines replay what they hold.
    pub(super) fn replay(&self) -> Vec<Kind> {
        let listed = self.engines.iter().filter(|engine| engine.is_listed);
        listed.flat_map(|engine| engine.all(&self.chains)).collect()
    }
}

// === impl Engine ===

impl Engine {
    fn apply(&mut self, chains: &FnvHashMap<BlockHash, Place>, change: Change, changed: &mut Changed) {
        let Some(place) = chains.get(&change.block) else { return };
        if !self.blocks.contains_key(&change.block)
            && let Some(parent) = place.parent
        {
            self.blocks.entry(parent).or_default().children.push(change.block);
        }
        let block = self.blocks.entry(change.block).or_default();
        let bit = 1 << change.tier;
        block.tiers = if change.is_stored { block.tiers | bit } else { block.tiers & !bit };
        self.settle(chains, change.block, changed);
    }

    /// Finds out in which tier a block and those behind it can be had now.
    fn settle(&mut self, chains: &FnvHashMap<BlockHash, Place>, from: BlockHash, changed: &mut Changed) {
        let mut open = vec![from];
        while let Some(hash) = open.pop() {
            let place = chains[&hash];
            let before = match place.parent {
                None => Some(0),
                Some(parent) => self.blocks.get(&parent).and_then(|parent| parent.reported),
            };
            let Some(block) = self.blocks.get_mut(&hash) else { continue };
            let own = (block.tiers != 0).then(|| block.tiers.trailing_zeros() as usize);
            let now = before.zip(own).map(|(before, own)| before.max(own));
            if now != block.reported {
                block.reported = now;
                changed.note(place.cell, now);
                open.extend(&block.children);
            }
        }
    }

    /// All that is known of it.
    fn all(&self, chains: &FnvHashMap<BlockHash, Place>) -> Vec<Kind> {
        let reporting = |is_cleared| {
            let (endpoint, trust) = (self.endpoint.0, Trust::Whole.into());
            Kind::Reporting(Reporting { endpoint, trust, is_cleared })
        };
        let mut changed = Changed::default();
        for (hash, block) in self.blocks.iter().filter(|(_, block)| block.reported.is_some()) {
            changed.note(chains[hash].cell, block.reported);
        }
        std::iter::once(reporting(true)).chain(changed.events(self.endpoint)).collect()
    }
}

/// What changed of one engine, each cell as it was last.
#[derive(Debug, Default)]
struct Changed(FnvHashMap<CellHash, Option<usize>>);

// === impl Changed ===

impl Changed {
    fn note(&mut self, cell: CellHash, tier: Option<usize>) {
        self.0.insert(cell, tier);
    }

    fn events(self, endpoint: EndpointId) -> Vec<Kind> {
        let endpoint = endpoint.0;
        let of = |tier| self.0.iter().filter(move |(_, now)| **now == tier).map(|(cell, _)| cell.0);
        let removed: Vec<u64> = of(None).collect();
        let mut events = Vec::new();
        if !removed.is_empty() {
            let tier = Tier::Gpu.into();
            events.push(Kind::Reported(Reported { endpoint, tier, stored: Vec::new(), removed }));
        }
        for (rank, tier) in TIERS.into_iter().enumerate() {
            let stored: Vec<u64> = of(Some(rank)).collect();
            if !stored.is_empty() {
                let tier = tier.into();
                events.push(Kind::Reported(Reported { endpoint, tier, stored, removed: Vec::new() }));
            }
        }
        events
    }
}
