//! The table itself: which slots hold a cell, each in which tier.
//!
//! ```text
//!   cell ─► shard, by its hash ─► one holder in place, or the number of a list of several
//! ```
//!
//! Flat, and not a tree as of learned prefixes: an engine evicts block by block, so removals name single cells. Most cells have
//! one holder, which takes no more room than the number of a list. Many small shards instead of one table: none takes long to grow, and
//! one can be swept at a time.

use crate::hash::{SeededMap, seeded};
use crate::ids::{CellHash, Slot};
use crate::limits::ENDPOINTS_MAX;
use crate::wire::Tier;
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hash, Hasher};

/// Shards, a power of two: with as many cells as there may be, each has some 5,000.
pub(super) const SHARDS: usize = 256;
/// The bit of a cell's hash from which its shard is taken: the maps in the shards use other ones.
const SHARD_BIT: u32 = 40;
/// Bits of a holder below those of its slot.
const SLOT_BIT: u32 = 18;
const TIER_BIT: u32 = 16;
/// Marks the number of a list.
const LIST: u32 = 1 << 31;

const _: () = assert!(ENDPOINTS_MAX <= 1 << (31 - SLOT_BIT), "a slot has thirteen bits");

/// One slot that holds a cell: its slot, the tier, and the epoch of its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder(u32);

/// Counts the times that all which a slot reported became void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epoch(pub(super) u16);

/// A cell, kept in bytes: twelve in all with the holder, where an aligned number would make it sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([u8; 8]);

type Shard = SeededMap<Key, Holder>;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Table {
    seed: u64,
    hasher: FixedState,
    /// None until the first cell.
    shards: Vec<Shard>,
    lists: Lists,
    holders: usize,
}

/// The holders of cells that have several, by slot.
#[derive(Clone, Debug, Default)]
struct Lists {
    lists: Vec<Vec<Holder>>,
    free: Vec<u32>,
}

// === impl Holder ===

impl Holder {
    pub(super) fn new(slot: Slot, tier: Tier, epoch: Epoch) -> Self {
        Self((u32::from(slot.0) << SLOT_BIT | u32::from(rank(tier)) << TIER_BIT | u32::from(epoch.0)) & !LIST)
    }

    pub(super) fn slot(self) -> Slot {
        Slot(low_bits((self.0 & !LIST) >> SLOT_BIT))
    }

    pub(super) fn tier(self) -> Tier {
        match (self.0 >> TIER_BIT) & 3 {
            0 => Tier::Gpu,
            1 => Tier::Cpu,
            2 => Tier::Disk,
            _ => Tier::Remote,
        }
    }

    pub(super) fn epoch(self) -> Epoch {
        Epoch(low_bits(self.0))
    }

    /// The list that it stands for, if it is no holder.
    fn list(self) -> Option<u32> {
        (self.0 & LIST != 0).then_some(self.0 & !LIST)
    }
}

fn low_bits(bits: u32) -> u16 {
    u16::try_from(bits & 0xffff).unwrap_or(u16::MAX)
}

/// The place of a tier: the lower, the later.
pub(super) fn rank(tier: Tier) -> u8 {
    match tier {
        Tier::Gpu => 0,
        Tier::Cpu => 1,
        Tier::Disk => 2,
        Tier::Remote => 3,
    }
}

// === impl Key ===

impl Key {
    fn of(cell: CellHash) -> Self {
        Self(cell.0.to_le_bytes())
    }

    fn cell(self) -> CellHash {
        CellHash(u64::from_le_bytes(self.0))
    }
}

impl Hash for Key {
    /// As a number: of bytes, the hash would take their length and a loop.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.cell().0);
    }
}

// === impl Table ===

impl Table {
    /// An empty one; `seed` is random bits that no client knows, as clients choose what is hashed.
    pub(super) fn new(seed: u64) -> Self {
        let (shards, lists) = (Vec::new(), Lists::default());
        Self { seed, hasher: seeded(seed), shards, lists, holders: 0 }
    }

    /// Who holds a cell, by slot; some may be of an epoch that is over.
    pub(super) fn holders_of(&self, cell: CellHash) -> &[Holder] {
        let place = self.shards.get(self.shard_of(cell)).and_then(|shard| shard.get(&Key::of(cell)));
        match place.map(|place| (place, place.list())) {
            None => &[],
            Some((_, Some(list))) => self.lists.get(list),
            Some((place, None)) => std::slice::from_ref(place),
        }
    }

    /// Adds a holder, and returns the one that it had for that slot.
    pub(super) fn insert(&mut self, cell: CellHash, holder: Holder) -> Option<Holder> {
        if self.shards.is_empty() {
            self.shards.resize_with(SHARDS, || Shard::with_hasher(seeded(self.seed)));
        }
        let at = self.shard_of(cell);
        let place = self.shards.get_mut(at)?.entry(Key::of(cell)).or_insert(Holder(LIST | u32::MAX));
        let replaced = if *place == Holder(LIST | u32::MAX) {
            *place = holder;
            None
        } else if let Some(list) = place.list() {
            self.lists.insert(list, holder)
        } else if place.slot() == holder.slot() {
            Some(std::mem::replace(place, holder))
        } else {
            *place = Holder(LIST | self.lists.open(*place, holder));
            None
        };
        self.holders += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a slot's holder of a cell away.
    pub(super) fn remove(&mut self, cell: CellHash, slot: Slot) -> Option<Holder> {
        let at = self.shard_of(cell);
        let shard = self.shards.get_mut(at)?;
        let key = Key::of(cell);
        let place = shard.get_mut(&key)?;
        let removed = if let Some(list) = place.list() {
            let removed = self.lists.remove(list, slot)?;
            if let Some(last) = self.lists.close(list) {
                *place = last;
            }
            removed
        } else {
            let removed = Some(*place).filter(|place| place.slot() == slot)?;
            shard.remove(&key);
            removed
        };
        self.holders -= 1;
        Some(removed)
    }

    /// Drops the holders of one shard that are not kept.
    pub(super) fn sweep(&mut self, shard: usize, is_kept: impl Fn(Holder) -> bool) {
        let Self { shards, lists, holders, .. } = self;
        let Some(shard) = shards.get_mut(shard) else { return };
        shard.retain(|_, place| {
            let Some(list) = place.list() else {
                let is_kept = is_kept(*place);
                *holders -= usize::from(!is_kept);
                return is_kept;
            };
            *holders -= lists.retain(list, &is_kept);
            if lists.get(list).is_empty() {
                lists.free(list);
                return false;
            }
            if let Some(last) = lists.close(list) {
                *place = last;
            }
            true
        });
        if shard.capacity() > 4 * shard.len() {
            shard.shrink_to(2 * shard.len());
        }
    }

    /// Passes on every cell of one shard with each of its holders.
    pub(super) fn each_of(&self, shard: usize, mut each: impl FnMut(CellHash, Holder)) {
        for (key, place) in self.shards.get(shard).into_iter().flatten() {
            let cell = key.cell();
            match place.list() {
                Some(list) => self.lists.get(list).iter().for_each(|holder| each(cell, *holder)),
                None => each(cell, *place),
            }
        }
    }

    /// Holders of all cells, those of epochs that are over included.
    pub(super) fn holders(&self) -> usize {
        self.holders
    }

    /// Bytes of memory taken. A hash table's bucket is an entry and a control byte, and an eighth of the buckets stay empty.
    pub(super) fn bytes(&self) -> usize {
        let buckets: usize = self.shards.iter().map(|shard| shard.capacity() * 8 / 7).sum();
        let entry = size_of::<(Key, Holder)>() + 1;
        buckets * entry + self.shards.capacity() * size_of::<Shard>() + self.lists.bytes()
    }

    fn shard_of(&self, cell: CellHash) -> usize {
        let bits = self.hasher.hash_one(cell.0) >> SHARD_BIT;
        usize::from(u8::try_from(bits & 0xff).unwrap_or_default())
    }
}

// === impl Lists ===

impl Lists {
    fn get(&self, list: u32) -> &[Holder] {
        self.lists.get(crate::num::index(list)).map_or(&[], Vec::as_slice)
    }

    fn get_mut(&mut self, list: u32) -> Option<&mut Vec<Holder>> {
        self.lists.get_mut(crate::num::index(list))
    }

    /// Opens a list of two.
    fn open(&mut self, one: Holder, other: Holder) -> u32 {
        let list = self.free.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            crate::num::u32_len(self.lists.len() - 1)
        });
        if let Some(holders) = self.get_mut(list) {
            holders.extend([one.min(other), one.max(other)]);
        }
        list
    }

    fn insert(&mut self, list: u32, holder: Holder) -> Option<Holder> {
        let holders = self.get_mut(list)?;
        match holders.binary_search_by_key(&holder.slot(), |one| one.slot()) {
            Ok(at) => holders.get_mut(at).map(|place| std::mem::replace(place, holder)),
            Err(at) => {
                holders.insert(at, holder);
                None
            }
        }
    }

    fn remove(&mut self, list: u32, slot: Slot) -> Option<Holder> {
        let holders = self.get_mut(list)?;
        let at = holders.binary_search_by_key(&slot, |one| one.slot()).ok()?;
        Some(holders.remove(at))
    }

    /// Returns how many were dropped.
    fn retain(&mut self, list: u32, is_kept: impl Fn(Holder) -> bool) -> usize {
        let Some(holders) = self.get_mut(list) else { return 0 };
        let before = holders.len();
        holders.retain(|holder| is_kept(*holder));
        before - holders.len()
    }

    /// Takes the last holder out of a list that has no other, which needs none then.
    fn close(&mut self, list: u32) -> Option<Holder> {
        let [only] = *self.get(list) else { return None };
        self.free(list);
        Some(only)
    }

    fn free(&mut self, list: u32) {
        if let Some(holders) = self.get_mut(list) {
            *holders = Vec::new();
            self.free.push(list);
        }
    }

    fn bytes(&self) -> usize {
        let held: usize = self.lists.iter().map(Vec::capacity).sum();
        held * size_of::<Holder>() + self.lists.capacity() * size_of::<Vec<Holder>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_holder_is_read_as_it_was_written() {
        for tier in [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote] {
            let holder = Holder::new(Slot(8191), tier, Epoch(u16::MAX));
            assert_eq!((holder.slot(), holder.tier(), holder.epoch()), (Slot(8191), tier, Epoch(u16::MAX)));
            assert_eq!(holder.list(), None);
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(
            actions in prop::collection::vec((0_u8..4, 0_u64..12, 0_u16..4, 0_u16..2), 1..120),
        ) {
            let mut table = Table::new(1);
            let mut naive: BTreeMap<(u64, u16), u16> = BTreeMap::new();
            for (action, cell, slot, epoch) in actions {
                if action == 0 {
                    table.remove(CellHash(cell), Slot(slot));
                    naive.remove(&(cell, slot));
                } else if action == 1 && cell == 0 {
                    (0..SHARDS).for_each(|shard| table.sweep(shard, |holder| holder.epoch() == Epoch(epoch)));
                    naive.retain(|_, of| *of == epoch);
                } else {
                    table.insert(CellHash(cell), Holder::new(Slot(slot), Tier::Cpu, Epoch(epoch)));
                    naive.insert((cell, slot), epoch);
                }
                prop_assert_eq!(table.holders(), naive.len());
            }
            let mut all = BTreeMap::new();
            for shard in 0..SHARDS {
                table.each_of(shard, |cell, holder| {
                    all.insert((cell.0, holder.slot().0), holder.epoch().0);
                });
            }
            prop_assert_eq!(all, naive);
            for cell in 0..12 {
                prop_assert!(table.holders_of(CellHash(cell)).is_sorted());
            }
        }
    }

    #[test]
    fn a_cell_with_one_holder_takes_thirty_bytes_at_most() {
        let mut table = Table::new(1);
        for cell in 0..300_000 {
            table.insert(CellHash(cell), Holder::new(Slot(1), Tier::Gpu, Epoch(0)));
        }
        let bytes = table.bytes() / table.holders();
        assert!((14..=30).contains(&bytes), "{bytes}");
        (0..SHARDS).for_each(|shard| table.sweep(shard, |_| false));
        assert!(table.bytes() < 100_000, "{}", table.bytes());
    }
}
