//! The paged cache and its tiers against a naive model, over generated sequences of operations.
//!
//! The model keeps every block in one vector in eviction order and searches it, and so for each tier; the cache
//! threads lists through arrays and keeps indexes. They must agree on every hit, every refusal and every
//! eviction, in the cache and out of each tier.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: what is not there fails the test; the seed is printed"
)]

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};
use warmpath_engine::model::{BlockHash, BlockId, PagedCache};

const SEED: u64 = 0x5eed;
const CASES: u32 = 512;
/// Above all names of chains of at most five letters.
const NAMES_END: u64 = 1 << 6;

/// What a generated step does.
#[derive(Clone, Debug)]
enum Action {
    /// Take a chain with `extra` blocks after it, and fill what is not held.
    Take { chain: Vec<u64>, extra: usize },
    /// Give one more block to a holder.
    Grow { holder: usize },
    /// A holder leaves.
    Leave { holder: usize },
    /// A chain's blocks in a tier are read.
    Touch { chain: Vec<u64>, tier: usize },
    /// All content is forgotten.
    Forget,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (letters(), 0_usize..3).prop_map(|(letters, extra)| Action::Take { chain: names(&letters), extra }),
        3 => any::<usize>().prop_map(|holder| Action::Grow { holder }),
        6 => any::<usize>().prop_map(|holder| Action::Leave { holder }),
        2 => (letters(), 0_usize..2).prop_map(|(letters, tier)| Action::Touch { chain: names(&letters), tier }),
        1 => Just(Action::Forget),
    ]
}

/// Chains over two letters share beginnings often.
fn letters() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0_u64..2, 0..6)
}

/// A block's name is its whole chain, as with real hashes.
fn names(letters: &[u64]) -> Vec<u64> {
    let chained = letters.iter().scan(1, |name, letter| {
        *name = *name * 2 + letter;
        Some(*name)
    });
    chained.collect()
}

/// A block of the model: its content's name if it can be found, and its users.
#[derive(Clone, Copy, Debug)]
struct Block {
    serial: usize,
    name: Option<u64>,
    users: usize,
}

/// Free blocks are in eviction order, oldest first; the order of used blocks has no meaning.
#[derive(Debug)]
struct Model {
    blocks: Vec<Block>,
    tiers: Vec<Tier>,
}

/// The names in a tier, oldest first, and how many may be there.
#[derive(Debug)]
struct Tier {
    names: Vec<u64>,
    max: usize,
}

// === impl Model ===

impl Model {
    fn new(blocks: usize, tiers: &[usize]) -> Self {
        Self {
            blocks: (0..blocks).map(|serial| Block { serial, name: None, users: 0 }).collect(),
            tiers: tiers.iter().map(|max| Tier { names: Vec::new(), max: *max }).collect(),
        }
    }

    fn find(&self, name: u64) -> Option<usize> {
        self.blocks.iter().find(|block| block.name == Some(name)).map(|block| block.serial)
    }

    fn at(&mut self, serial: usize) -> &mut Block {
        self.blocks.iter_mut().find(|block| block.serial == serial).unwrap()
    }

    fn grow(&mut self) -> Option<usize> {
        let block = self.blocks.iter_mut().find(|block| block.users == 0)?;
        block.users = 1;
        let (evicted, serial) = (block.name.take(), block.serial);
        if let Some(name) = evicted {
            self.sink(name, 0);
        }
        Some(serial)
    }

    /// The block becomes the youngest of the tier; the oldest one goes on if there are too many.
    fn sink(&mut self, name: u64, to: usize) {
        let Some(tier) = self.tiers.get_mut(to) else { return };
        tier.names.retain(|held| *held != name);
        tier.names.push(name);
        if tier.names.len() > tier.max {
            let oldest = tier.names.remove(0);
            self.sink(oldest, to + 1);
        }
    }

    fn touch(&mut self, name: u64, tier: usize) {
        let Some(tier) = self.tiers.get_mut(tier) else { return };
        if tier.names.contains(&name) {
            tier.names.retain(|held| *held != name);
            tier.names.push(name);
        }
    }

    /// Serials of the blocks taken, and how many of them were hits.
    fn take(&mut self, chain: &[u64], blocks: usize) -> Option<(Vec<usize>, usize)> {
        let mut taken: Vec<usize> = chain.iter().map_while(|name| self.find(*name)).take(blocks).collect();
        let hits = taken.len();
        let free = self.blocks.iter().filter(|block| block.users == 0 && !taken.contains(&block.serial));
        if free.count() < blocks - hits {
            return None;
        }
        for serial in &taken {
            self.at(*serial).users += 1;
        }
        taken.extend((hits..blocks).map(|_| self.grow().unwrap()));
        Some((taken, hits))
    }

    fn leave(&mut self, serials: &[usize]) {
        for serial in serials.iter().rev() {
            let at = self.blocks.iter().position(|block| block.serial == *serial).unwrap();
            self.blocks[at].users -= 1;
            if self.blocks[at].users == 0 {
                let block = self.blocks.remove(at);
                self.blocks.push(block);
            }
        }
    }
}

/// Runs the same actions on both and compares after each. Returns how many actions had no one to act on.
fn compare(blocks: usize, tiers: &[usize], actions: &[Action]) -> Result<usize, TestCaseError> {
    let mut cache = PagedCache::with_tiers(blocks, tiers.iter().copied());
    let mut model = Model::new(blocks, tiers);
    let mut holders: Vec<(Vec<BlockId>, Vec<usize>)> = Vec::new();
    let mut skipped = 0;
    for action in actions {
        match action {
            Action::Take { chain, extra } => {
                let hashes: Vec<_> = chain.iter().copied().map(BlockHash).collect();
                let wanted = chain.len() + extra;
                let (real, naive) = (cache.acquire(&hashes, wanted), model.take(chain, wanted));
                prop_assert_eq!(real.is_some(), naive.is_some(), "one refused and one did not");
                let (Some(real), Some((serials, hits))) = (real, naive) else { continue };
                prop_assert_eq!(real.hits, hits);
                for at in hits..chain.len() {
                    cache.publish(real.blocks[at], hashes[at]);
                    if model.find(chain[at]).is_none() {
                        model.at(serials[at]).name = Some(chain[at]);
                    }
                }
                holders.push((real.blocks, serials));
            }
            Action::Grow { holder } if !holders.is_empty() => {
                let at = holder % holders.len();
                let (real, naive) = (cache.grow(), model.grow());
                prop_assert_eq!(real.is_some(), naive.is_some());
                holders[at].0.extend(real);
                holders[at].1.extend(naive);
            }
            Action::Leave { holder } if !holders.is_empty() => {
                let (ids, serials) = holders.swap_remove(holder % holders.len());
                cache.release(&ids);
                model.leave(&serials);
            }
            Action::Grow { .. } | Action::Leave { .. } => skipped += 1,
            Action::Touch { chain, tier } => {
                let hashes: Vec<_> = chain.iter().copied().map(BlockHash).collect();
                cache.touch_below(*tier, &hashes);
                chain.iter().rev().for_each(|name| model.touch(*name, *tier));
            }
            Action::Forget => {
                cache.forget();
                model.tiers.iter_mut().for_each(|tier| tier.names.clear());
                model.blocks.iter_mut().for_each(|block| block.name = None);
            }
        }
        agree(&cache, &model, &holders)?;
    }
    Ok(skipped)
}

fn agree(
    cache: &PagedCache,
    model: &Model,
    holders: &[(Vec<BlockId>, Vec<usize>)],
) -> Result<(), TestCaseError> {
    let in_use = model.blocks.iter().filter(|block| block.users > 0).count();
    prop_assert_eq!(cache.blocks_in_use(), in_use);
    let named: Vec<_> = model.blocks.iter().filter_map(|block| block.name).collect();
    prop_assert_eq!(cache.blocks_cached(), named.len());
    for name in named {
        prop_assert_eq!(cache.hit_blocks(&[BlockHash(name)]), 1, "the cache lost {}", name);
    }
    for (at, tier) in model.tiers.iter().enumerate() {
        prop_assert_eq!(cache.blocks_below(at), tier.names.len());
    }
    for name in 2..NAMES_END {
        let tier = model.tiers.iter().position(|tier| tier.names.contains(&name));
        prop_assert_eq!(cache.tier_of(BlockHash(name)), tier, "block {}", name);
    }
    for (ids, serials) in holders {
        for (id, serial) in ids.iter().zip(serials) {
            let users = model.blocks.iter().find(|block| block.serial == *serial).map(|block| block.users);
            prop_assert_eq!(usize::try_from(cache.refs(*id)).ok(), users);
        }
    }
    Ok(())
}

#[test]
fn agrees_with_the_naive_model() {
    println!("seed {SEED:#x}, {CASES} cases");
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Config::default()
    };
    let tiers = prop::collection::vec(0_usize..8, 0..3);
    let input = (1_usize..12, tiers, prop::collection::vec(action(), 1..60));
    let (mut all, mut skipped) = (0, 0);
    let run = |(blocks, tiers, actions): (usize, Vec<usize>, Vec<Action>)| {
        all += actions.len();
        skipped += compare(blocks, &tiers, &actions)?;
        Ok(())
    };
    let run = std::cell::RefCell::new(run);
    TestRunner::new(config).run(&input, |case| (run.borrow_mut())(case)).unwrap();
    println!("{all} actions, {skipped} skipped");
    assert!(skipped * 4 < all, "most actions must act: {skipped} of {all} did not");
}
