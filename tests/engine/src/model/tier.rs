//! A store of blocks below the GPU: what the GPU evicts goes here, and from here to the next store.
//!
//! A tier holds copies. A block that is loaded stays, as in vLLM's offloading and LMCache, and becomes the
//! youngest: evicting it from the GPU later costs nothing more than making it young again. Since the GPU
//! evicts chains from their tail, a tier does so too. Writing into a tier is free: it happens beside the
//! steps and nobody waits for it.

use super::{
    chain::{BlockHash, BlockMap},
    free_list::FreeList,
    load::LoadTime,
    params::Preset,
};

/// Where blocks can be below the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The host's memory.
    Cpu,
    /// A drive of the host.
    Disk,
    /// A store over the network.
    Remote,
}

// === impl Tier ===

impl Tier {
    /// All tiers, the nearest first.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Disk, Self::Remote];

    /// Its place in [`Self::ALL`] and in a [`PerTier`].
    pub const fn index(self) -> usize {
        match self {
            Self::Cpu => 0,
            Self::Disk => 1,
            Self::Remote => 2,
        }
    }
}

/// One number for each tier, see [`Tier::index`].
pub type PerTier<T> = [T; Tier::ALL.len()];

/// One tier of an engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierParams {
    /// Which.
    pub tier: Tier,
    /// Capacity in tokens; rounded down to whole blocks.
    pub tokens: usize,
    /// How long a load from it takes.
    pub load: LoadTime,
}

// === impl TierParams ===

impl TierParams {
    /// A tier as the engine of `preset` would have it: host memory over PCIe, one NVMe drive, RDMA at 200 Gbit/s.
    pub fn new(preset: Preset, tier: Tier, tokens: usize) -> Self {
        let load = match tier {
            Tier::Cpu => LoadTime::pcie(preset),
            Tier::Disk => LoadTime::NVME,
            Tier::Remote => LoadTime::RDMA_200G,
        };
        Self { tier, tokens, load }
    }
}

/// The blocks of one tier by age.
#[derive(Debug)]
pub(super) struct TierStore {
    slots: Vec<Option<BlockHash>>,
    order: FreeList,
    index: BlockMap<u32>,
}

// === impl TierStore ===

impl TierStore {
    pub(super) fn new(blocks: usize) -> Self {
        Self { slots: vec![None; blocks], order: FreeList::full(blocks), index: BlockMap::default() }
    }

    pub(super) fn holds(&self, hash: BlockHash) -> bool {
        self.index.contains_key(&hash)
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Takes a block in as the youngest; returns the block that falls out for it.
    pub(super) fn put(&mut self, hash: BlockHash) -> Option<BlockHash> {
        if self.touch(hash) {
            return None;
        }
        let Some(slot) = self.order.pop_oldest() else { return Some(hash) };
        self.order.push_newest(slot);
        self.index.insert(hash, slot);
        let out = self.slots[slot as usize].replace(hash);
        if let Some(out) = out {
            self.index.remove(&out);
        }
        out
    }

    /// Makes a block the youngest, if it is here.
    pub(super) fn touch(&mut self, hash: BlockHash) -> bool {
        let slot = self.index.get(&hash).copied();
        if let Some(slot) = slot {
            self.order.remove(slot);
            self.order.push_newest(slot);
        }
        slot.is_some()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.slots.len());
    }
}
