//! Blocks of several ranks, and how far they can be relied on together.

use crate::blocks::{TEXT, chains, stored, tokens_of};
use warmpath::events::blocks::{Blocks, Changes};
use warmpath::events::{Batch, KvEvent, Step};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Tier, Trust};

#[test]
fn a_clear_is_one_message_where_one_rank_holds_all() {
    let tokens = tokens_of(TEXT);
    let store = |rank: u32, blocks: &mut Blocks| {
        let events = vec![KvEvent::Stored(stored(&[1, 2, 3, 4], None, &tokens[..32], Tier::Gpu))];
        blocks.step(rank, &Step::Apply(Batch { events }), &chains(), Timestamp::ZERO);
        blocks.drain()
    };
    let clear = Step::Trust { trust: Trust::Whole, is_cleared: true };
    let mut blocks = Blocks::new(1);
    assert!(!store(0, &mut blocks).stored.is_empty());
    blocks.step(0, &clear, &chains(), Timestamp::ZERO);
    assert_eq!(blocks.drain(), Changes { is_cleared: true, ..Changes::default() });
    store(0, &mut blocks);
    assert_eq!(store(1, &mut blocks), Changes::default(), "the other rank has the same");
    blocks.step(0, &clear, &chains(), Timestamp::ZERO);
    assert_eq!(blocks.drain(), Changes::default());
    assert_eq!(blocks.trust(), Trust::None, "nothing can be relied on of the other rank");
}

fn step(blocks: &mut Blocks, rank: u32, event: KvEvent, now: Timestamp) {
    blocks.step(rank, &Step::Apply(Batch { events: vec![event] }), &chains(), now);
}

/// New prompts counted as cold for good: what was dropped looked like what is not there.
#[test]
fn a_rank_of_which_blocks_were_dropped_is_known_in_part() {
    let tokens = tokens_of(TEXT);
    let mut blocks = Blocks::new(1);
    let whole = Step::Trust { trust: Trust::Whole, is_cleared: true };
    blocks.step(0, &whole, &chains(), Timestamp::ZERO);
    let orphan = |hash| KvEvent::Stored(stored(&[hash], Some(99), &tokens[..8], Tier::Gpu));
    step(&mut blocks, 0, orphan(1), Timestamp::ZERO);
    assert_eq!(blocks.trust(), Trust::Whole, "its parent may follow");
    step(&mut blocks, 0, orphan(2), Timestamp::from_ms(60_000));
    assert_eq!((blocks.counts().lost, blocks.trust()), (1, Trust::Partial));
    step(&mut blocks, 0, KvEvent::Cleared, Timestamp::from_ms(60_000));
    assert_eq!(blocks.trust(), Trust::Whole);
}

#[test]
fn a_rank_that_is_no_more_holds_up_none() {
    let mut blocks = Blocks::new(1);
    for (rank, trust) in [(0, Trust::Whole), (1, Trust::None)] {
        blocks.step(rank, &Step::Trust { trust, is_cleared: true }, &chains(), Timestamp::ZERO);
    }
    assert_eq!((blocks.trust(), blocks.bound(100)), (Trust::None, 50));
    blocks.step(1, &Step::Gone, &chains(), Timestamp::ZERO);
    assert_eq!((blocks.trust(), blocks.bound(100)), (Trust::Whole, 100));
}
