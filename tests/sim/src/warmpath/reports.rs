//! What engines report of their caches: their own changes, a while later, as the cells that the controller makes of them.
//!
//! ```text
//!   engine ── changes of a step ──► on the way ──► what the controller knows of each engine ──► Reported ──► Hub
//! ```
//!
//! Batches of changes may be lost. As in the controller, the number of the next batch shows that: the engine is suspect from then on, and
//! proxies use what they learned until a replay has brought what was missed, one way there and one back later.
//!
//! As in the controller, a cell is reported only while all before it in its chain are held, and with the lowest tier on the way. That
//! blocks and cells end at the same bytes here makes a cell of each block; the controller's own code for tokens and text is tested where
//! it stands.

use super::clock::after;
use super::deployment::ReportsSpec;
use crate::rules::Change;
use crate::workload::{Job, mix};
use fnv::FnvHashMap;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Kind, Reported, Reporting, Tier, Trust};
use warmpath_engine::model::BlockHash;

/// Where KV is, the nearest first.
const TIERS: [Tier; 4] = [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote];

/// Keeps the losses apart from what else a seed decides.
const LOSS_SALT: u64 = 0x105e;

/// See the module.
#[derive(Debug)]
pub(super) struct Reports {
    spec: ReportsSpec,
    /// Decides which batches are lost.
    random: StdRng,
    /// Blocks of every prompt.
    chains: FnvHashMap<BlockHash, Place>,
    engines: Vec<Engine>,
    on_the_way: VecDeque<Batch>,
}

/// What changed in a step of an engine.
#[derive(Debug)]
struct Batch {
    /// When it arrives, or would.
    at: Timestamp,
    engine: usize,
    changes: Vec<Change>,
    is_lost: bool,
}

/// What has arrived by a moment.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// What the controller makes of it.
    pub(super) events: Vec<Kind>,
    /// When replays arrive that it has asked for.
    pub(super) replays: Vec<Timestamp>,
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
    /// What is missing, from the first batch that was lost on.
    gap: Option<Gap>,
}

/// Batches that a replay brings: those that were lost, and those behind them, which wait for it.
#[derive(Debug)]
struct Gap {
    missing: Vec<Change>,
    /// When the replay arrives; `None` until a batch has shown that one is needed.
    replay_at: Option<Timestamp>,
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
    /// Of engines at these addresses; `seed` decides what is lost.
    pub(super) fn new(addresses: &[String], spec: ReportsSpec, seed: u64) -> Self {
        let engine = |address: &String| Engine {
            endpoint: EndpointId::of(address),
            is_listed: false,
            blocks: FnvHashMap::default(),
            gap: None,
        };
        Self {
            spec,
            random: StdRng::seed_from_u64(mix(seed ^ LOSS_SALT)),
            chains: FnvHashMap::default(),
            engines: addresses.iter().map(engine).collect(),
            on_the_way: VecDeque::new(),
        }
    }

    /// Notes which cells the blocks of a prompt stand for.
    pub(super) fn note(&mut self, job: &Job) {
        let mut parent = None;
        for (block, cell) in job.blocks.iter().zip(job.cells.iter()) {
            self.chains.entry(*block).or_insert(Place { cell: *cell, parent });
            parent = Some(*block);
        }
    }

    /// An engine's cache has changed. Returns when that is known.
    pub(super) fn send(&mut self, now: Timestamp, engine: usize, changes: Vec<Change>) -> Timestamp {
        let at = after(now, self.spec.delay_s);
        let is_lost = self.random.random::<f64>() < self.spec.lost_share;
        self.on_the_way.push_back(Batch { at, engine, changes, is_lost });
        at
    }

    /// What has arrived by now.
    pub(super) fn receive(&mut self, now: Timestamp) -> Received {
        let mut received = Received::default();
        while let Some(batch) = self.on_the_way.pop_front_if(|batch| batch.at <= now) {
            let engine = &mut self.engines[batch.engine];
            if let Some(changes) = engine.take(batch, self.spec.delay_s, &mut received) {
                received.events.extend(engine.change(&self.chains, changes));
            }
        }
        for engine in &mut self.engines {
            received.events.extend(engine.close_gap(&self.chains, now));
        }
        received
    }

    /// Those engines are listed from now on: what they hold, of those that were not before.
    pub(super) fn list(&mut self, is_listed: impl Fn(usize) -> bool) -> Vec<Kind> {
        let mut events = Vec::new();
        for (at, engine) in self.engines.iter_mut().enumerate() {
            if is_listed(at) && !std::mem::replace(&mut engine.is_listed, true) {
                events.extend(engine.replay(&self.chains));
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
    pub(super) fn replay(&mut self) -> Vec<Kind> {
        let listed = self.engines.iter_mut().filter(|engine| engine.is_listed);
        listed.flat_map(|engine| engine.replay(&self.chains)).collect()
    }
}

// === impl Engine ===

impl Engine {
    /// Takes a batch. Returns the changes that can be made now: none while something before them is missing.
    fn take(&mut self, batch: Batch, delay_s: f64, received: &mut Received) -> Option<Vec<Change>> {
        if self.gap.is_none() && !batch.is_lost {
            return Some(batch.changes);
        }
        let gap = self.gap.get_or_insert_with(|| Gap { missing: Vec::new(), replay_at: None });
        gap.missing.extend(batch.changes);
        if gap.replay_at.is_none() && !batch.is_lost {
            let replay_at = after(batch.at, 2.0 * delay_s);
            gap.replay_at = Some(replay_at);
            received.replays.push(replay_at);
            if self.is_listed {
                received.events.push(self.reporting(Trust::Suspect, false));
            }
        }
        None
    }

    /// Makes the changes that were missing, if their replay has arrived by now. Those that come later are not in it.
    fn close_gap(&mut self, chains: &FnvHashMap<BlockHash, Place>, now: Timestamp) -> Vec<Kind> {
        let is_due = |gap: &mut Gap| gap.replay_at.is_some_and(|at| at <= now);
        let Some(gap) = self.gap.take_if(is_due) else { return Vec::new() };
        let mut events = self.change(chains, gap.missing);
        if self.is_listed {
            events.push(self.reporting(Trust::Whole, false));
        }
        events
    }

    /// Makes changes. Returns the events of them, if it is listed.
    fn change(&mut self, chains: &FnvHashMap<BlockHash, Place>, changes: Vec<Change>) -> Vec<Kind> {
        let mut changed = Changed::default();
        for change in changes {
            self.apply(chains, change, &mut changed);
        }
        if self.is_listed { changed.events(self.endpoint) } else { Vec::new() }
    }

    fn reporting(&self, trust: Trust, is_cleared: bool) -> Kind {
        Kind::Reporting(Reporting { endpoint: self.endpoint.0, trust: trust.into(), is_cleared })
    }

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

    /// All that it holds, what was missing included.
    fn replay(&mut self, chains: &FnvHashMap<BlockHash, Place>) -> Vec<Kind> {
        let missing = self.gap.take().map_or_else(Vec::new, |gap| gap.missing);
        self.change(chains, missing);
        self.all(chains)
    }

    /// All that is known of it.
    fn all(&self, chains: &FnvHashMap<BlockHash, Place>) -> Vec<Kind> {
        let mut changed = Changed::default();
        for (hash, block) in self.blocks.iter().filter(|(_, block)| block.reported.is_some()) {
            changed.note(chains[hash].cell, block.reported);
        }
        std::iter::once(self.reporting(Trust::Whole, true)).chain(changed.events(self.endpoint)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{BASE_ADAPTER, Form};

    const DELAY_S: f64 = 0.005;
    const BLOCKS: u64 = 2;

    fn job() -> Job {
        let blocks: Vec<BlockHash> = (0..BLOCKS).map(|block| BlockHash(mix(block))).collect();
        let cells: Vec<CellHash> = (0..BLOCKS).map(CellHash).collect();
        Job {
            cells: cells.into(),
            blocks: blocks.into(),
            adapter: BASE_ADAPTER,
            prompt_tokens: 129,
            output_tokens: 1,
            output_tokens_max: None,
            form: Form::default(),
        }
    }

    fn trusts(received: &Received) -> Vec<Trust> {
        let stated = received.events.iter().filter_map(|event| match event {
            Kind::Reporting(reporting) => Some(reporting.trust()),
            _ => None,
        });
        stated.collect()
    }

    #[test]
    fn a_lost_batch_makes_its_engine_suspect_until_a_replay_has_brought_it() {
        let (job, at) = (job(), Timestamp::from_ms);
        let spec = ReportsSpec { delay_s: DELAY_S, lost_share: 1.0 };
        let mut reports = Reports::new(&["10.0.0.1:8000".to_owned()], spec, 1);
        reports.list(|_| true);
        reports.note(&job);
        let stored = |block: usize| vec![Change { block: job.blocks[block], tier: 0, is_stored: true }];
        reports.send(at(0), 0, stored(0));
        reports.spec.lost_share = 0.0;
        reports.send(at(100), 0, stored(1));
        let unaware = reports.receive(at(100));
        assert!(unaware.events.is_empty() && unaware.replays.is_empty(), "nobody knows of it yet");
        let suspect = reports.receive(at(105));
        assert_eq!((trusts(&suspect), suspect.replays), (vec![Trust::Suspect], vec![at(115)]));
        assert_eq!(reports.held(0, &job), (0, 0));
        let whole = reports.receive(at(115));
        assert_eq!(trusts(&whole), [Trust::Whole]);
        assert_eq!(reports.held(0, &job), (2, 2));
    }
}
