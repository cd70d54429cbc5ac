//! The prefix tree against a model that keeps, for each endpoint, one list of cells in the order of their use.

#![allow(clippy::indexing_slicing, clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::hash::Hasher;
use warmpath_core::ids::{CellHash, Slot};
use warmpath_core::limits::CELLS_PER_PROMPT_MAX;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Match, Prefixes};

const SLOTS: u16 = 4;

#[derive(Clone, Debug)]
enum Action {
    Learn(u16, Vec<u8>),
    Resize(u16, usize),
    Forget(u16),
}

/// Cells of one endpoint, least recently used first.
#[derive(Clone, Debug, Default)]
struct Naive {
    cells: Vec<u64>,
    capacity: usize,
}

impl Naive {
    fn learn(&mut self, chain: &[CellHash]) {
        for cell in chain.iter().rev() {
            self.cells.retain(|held| *held != cell.0);
            self.cells.push(cell.0);
        }
        self.evict();
    }

    fn evict(&mut self) {
        let excess = self.cells.len().saturating_sub(self.capacity);
        self.cells.drain(..excess);
    }

    fn run_of(&self, chain: &[CellHash]) -> usize {
        chain.iter().take_while(|cell| self.cells.contains(&cell.0)).count()
    }
}

/// One cell for each letter, each naming all letters up to it.
fn chain(text: &[u8]) -> Vec<CellHash> {
    let mut hasher = fnv::FnvHasher::default();
    let cell = |letter: &u8| {
        hasher.write_u8(*letter);
        CellHash(hasher.finish())
    };
    text.iter().map(cell).collect()
}

/// Chains over two letters: nearly every one leaves another one in the middle of a node.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..2, 0..14)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (0..SLOTS, text()).prop_map(|(slot, text)| Action::Learn(slot, text)),
        2 => (0..SLOTS, 0_usize..40).prop_map(|(slot, cells)| Action::Resize(slot, cells)),
        1 => (0..SLOTS).prop_map(Action::Forget),
    ]
}

fn found(tree: &Prefixes, chain: &[CellHash]) -> Vec<(u16, usize)> {
    let mut found: Vec<Match> = Vec::new();
    tree.find(chain, &mut found);
    found.iter().map(|entry| (entry.slot.0, usize::try_from(entry.cells).unwrap())).collect()
}

/// Letters of a text up to the last one behind which another text of the tree goes on differently.
fn shared_by_hand(text: &[u8], cells: &BTreeSet<u64>) -> usize {
    let has = |text: &[u8]| chain(text).last().is_some_and(|cell| cells.contains(&cell.0));
    let is_branch = |length: &usize| {
        let next = text.get(*length);
        let others = (0..2).filter(|letter| has(&[&text[..*length], &[*letter]].concat()));
        let others = others.filter(|letter| Some(letter) != next).count();
        has(&text[..*length]) && others > usize::from(next.is_none())
    };
    (1..=text.len()).rev().find(is_branch).unwrap_or(0)
}

fn cells_by_walk(tree: &Prefixes) -> Vec<BTreeSet<u64>> {
    let mut cells = vec![BTreeSet::new(); usize::from(SLOTS)];
    let mut depths: Vec<u64> = Vec::new();
    tree.walk(|visit| {
        depths.truncate(visit.depth);
        assert_eq!(depths.len(), visit.depth, "a node is visited after its parent");
        depths.extend(visit.cells);
        for holder in visit.holders {
            assert!(usize::from(holder.held) <= visit.cells.len() && holder.held > 0);
            cells[holder.slot.index()].extend(&visit.cells[..usize::from(holder.held)]);
        }
    });
    cells
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn equals_exact_lists_of_cells(actions in prop::collection::vec(action(), 1..80), asked in prop::collection::vec(text(), 8)) {
        let mut tree = Prefixes::new(7);
        let mut naive = vec![Naive::default(); usize::from(SLOTS)];
        for slot in 0..SLOTS {
            tree.set_capacity(Slot(slot), 20);
            naive[usize::from(slot)].capacity = 20;
        }
        for action in &actions {
            match action {
                Action::Learn(slot, text) => {
                    tree.learn(Slot(*slot), &chain(text), Timestamp::ZERO);
                    naive[usize::from(*slot)].learn(&chain(text));
                }
                Action::Resize(slot, cells) => {
                    tree.set_capacity(Slot(*slot), *cells);
                    naive[usize::from(*slot)].capacity = *cells;
                    naive[usize::from(*slot)].evict();
                }
                Action::Forget(slot) => {
                    tree.forget(Slot(*slot));
                    naive[usize::from(*slot)].cells.clear();
                }
            }
            for (slot, naive) in (0..).zip(&naive) {
                prop_assert_eq!(tree.held(Slot(slot)), (naive.cells.len(), naive.capacity));
            }
            let distinct: BTreeSet<u64> = naive.iter().flat_map(|naive| naive.cells.iter().copied()).collect();
            prop_assert_eq!(tree.cells(), distinct.len());
            let learned = match action { Action::Learn(_, text) => Some(text), _ => None };
            for text in asked.iter().chain(learned) {
                let chain = chain(text);
                let expected: Vec<(u16, usize)> =
                    (0..).zip(&naive).map(|(slot, naive)| (slot, naive.run_of(&chain))).filter(|(_, cells)| *cells > 0).collect();
                prop_assert_eq!(found(&tree, &chain), expected);
                prop_assert_eq!(usize::try_from(tree.shared(&chain)).unwrap(), shared_by_hand(text, &distinct));
            }
        }
        let expected: Vec<BTreeSet<u64>> = naive.iter().map(|naive| naive.cells.iter().copied().collect()).collect();
        prop_assert_eq!(cells_by_walk(&tree), expected);
    }

    /// Hashes that are no chain (a collision, a broken sender) may match wrongly, but cost nothing else.
    #[test]
    fn survives_what_is_no_chain(actions in prop::collection::vec((0..SLOTS, prop::collection::vec(0_u64..5, 0..9)), 1..60)) {
        let mut tree = Prefixes::new(7);
        for slot in 0..SLOTS {
            tree.set_capacity(Slot(slot), 12);
        }
        for (slot, cells) in &actions {
            let cells: Vec<CellHash> = cells.iter().copied().map(CellHash).collect();
            tree.learn(Slot(*slot), &cells, Timestamp::ZERO);
            for (_, cells_found) in found(&tree, &cells) {
                prop_assert!(cells_found <= cells.len());
            }
            prop_assert!(tree.held(Slot(*slot)).0 <= 12);
        }
        cells_by_walk(&tree);
        for slot in 0..SLOTS {
            tree.forget(Slot(slot));
            prop_assert_eq!(tree.held(Slot(slot)).0, 0);
        }
        prop_assert_eq!(tree.cells(), 0);
    }
}

#[test]
fn a_split_by_another_endpoint_does_not_make_a_part_outlive_what_comes_before_it() {
    let mut tree = Prefixes::new(7);
    tree.set_capacity(Slot(0), 6);
    tree.set_capacity(Slot(1), 6);
    tree.learn(Slot(0), &chain(&[0]), Timestamp::ZERO);
    tree.learn(Slot(0), &chain(&[0, 0, 0, 0]), Timestamp::ZERO);
    tree.learn(Slot(1), &chain(&[0, 0, 1]), Timestamp::ZERO);
    tree.learn(Slot(0), &chain(&[1, 1, 1, 1, 1]), Timestamp::ZERO);
    assert_eq!(found(&tree, &chain(&[0, 0, 0, 0])), [(0, 1), (1, 2)]);
}

fn hashes(cells: impl IntoIterator<Item = u64>) -> Vec<CellHash> {
    cells.into_iter().map(CellHash).collect()
}

#[test]
fn a_cell_that_was_made_to_equal_a_prompts_first_does_not_keep_the_prompt_from_being_learned() {
    let mut tree = Prefixes::new(7);
    tree.set_capacity(Slot(0), 100);
    // A client's cell with the hash of another's first one, which a second prompt makes the head of a node.
    tree.learn(Slot(0), &hashes([1, 500]), Timestamp::ZERO);
    tree.learn(Slot(0), &hashes([1, 2]), Timestamp::ZERO);
    let prompt = hashes(500..550);
    tree.learn(Slot(0), &prompt, Timestamp::ZERO);
    assert_eq!(found(&tree, &prompt), [(0, 50)]);
}

#[test]
fn a_chain_is_cut_to_the_longest_prompt() {
    let mut tree = Prefixes::new(7);
    tree.set_capacity(Slot(0), usize::MAX);
    let long = chain(&vec![7; 70_000]);
    tree.learn(Slot(0), &long, Timestamp::ZERO);
    assert_eq!(tree.held(Slot(0)).0, CELLS_PER_PROMPT_MAX);
    assert_eq!(found(&tree, &long), [(0, CELLS_PER_PROMPT_MAX)]);
}

/// Conversations of ten turns of 2 KiB behind a shared system prompt, over 64 endpoints.
fn conversations(tree: &mut Prefixes, from: u32, count: u32) {
    for conversation in from..from + count {
        let slot = Slot(u16::try_from(conversation % 64).unwrap());
        let mut text = vec![9_u8; 16];
        for turn in 0_u8..10 {
            text.extend_from_slice(&conversation.to_le_bytes());
            text.extend_from_slice(&[turn; 4]);
            tree.learn(slot, &chain(&text), Timestamp::ZERO);
        }
    }
}

#[test]
fn a_million_cells_take_less_than_32_mb() {
    let mut tree = Prefixes::new(7);
    for slot in 0..64 {
        tree.set_capacity(Slot(slot), usize::MAX);
    }
    conversations(&mut tree, 0, 12_500);
    let bytes_per_cell = tree.bytes() / tree.cells();
    println!("{} cells, {bytes_per_cell} bytes each", tree.cells());
    assert!(tree.cells() > 980_000 && bytes_per_cell <= 32);
}

#[test]
fn memory_stays_bounded_while_conversations_come_and_go() {
    let mut tree = Prefixes::new(7);
    for slot in 0..64 {
        tree.set_capacity(Slot(slot), 300);
    }
    conversations(&mut tree, 0, 640);
    let bytes = tree.bytes();
    conversations(&mut tree, 640, 6_400);
    assert!(tree.bytes() <= bytes * 3 / 2, "{} bytes grew to {}", bytes, tree.bytes());
    assert!(tree.cells() <= 64 * 300);
}

#[test]
fn nothing_is_lost_while_there_is_room_and_old_runs_are_lost_for_less() {
    let mut tree = Prefixes::new(7);
    tree.set_capacity(Slot(0), 8);
    tree.set_capacity(Slot(1), 8);
    // Both are full; what the first one would evict has not been used for an hour.
    tree.learn(Slot(0), &chain(&[1; 8]), Timestamp::ZERO);
    tree.learn(Slot(1), &chain(&[2; 8]), Timestamp::from_ms(3_600_000));
    let loss =
        |tree: &Prefixes, slot, cells| tree.loss(Slot(slot), cells, Timestamp::from_ms(3_600_000), |_| 1.0);
    assert!(loss(&tree, 0, 4) < 1e-3, "{}", loss(&tree, 0, 4));
    assert!((loss(&tree, 1, 4) - 4.0).abs() < 1e-9, "{}", loss(&tree, 1, 4));
    tree.set_capacity(Slot(1), 12);
    assert!(loss(&tree, 1, 4).abs() < 1e-9, "there is room for four more");
    assert!((loss(&tree, 1, 5) - 1.0).abs() < 1e-9);
}

proptest! {
    /// The loss is that of the very cells that would go, at their depth.
    #[test]
    fn loss_counts_the_cells_that_an_insertion_evicts(
        texts in prop::collection::vec(text(), 1..6),
        capacity in 1_usize..20,
        cells in 0_usize..20,
    ) {
        let mut tree = Prefixes::new(7);
        tree.set_capacity(Slot(0), capacity);
        for text in &texts {
            tree.learn(Slot(0), &chain(text), Timestamp::from_ms(5_000));
        }
        let (held, _) = tree.held(Slot(0));
        let evicted = (held + cells).saturating_sub(capacity).min(held);
        // Chance is one at once after use; weighing each cell by one counts them.
        let loss = tree.loss(Slot(0), cells, Timestamp::from_ms(5_000), |_| 1.0);
        // Only some nodes are looked at; the texts here make fewer than that seldom, so it is an upper bound.
        prop_assert!(loss <= warmpath_core::num::float_len(evicted) + 1e-9, "{} of {}", loss, evicted);
        if tree.cells() <= 8 {
            prop_assert!((loss - warmpath_core::num::float_len(evicted)).abs() < 1e-9, "{} of {}", loss, evicted);
        }
    }
}

#[test]
fn a_run_that_was_cut_is_lost_at_the_depth_at_which_it_was() {
    let mut tree = Prefixes::new(7);
    for slot in 0..2 {
        tree.set_capacity(Slot(slot), 8);
    }
    let depths = |tree: &Prefixes| tree.loss(Slot(0), 2, Timestamp::ZERO, f64::from);
    tree.learn(Slot(0), &chain(&[1; 8]), Timestamp::ZERO);
    // Two cells from the end of eight.
    assert!((depths(&tree) - 16.0).abs() < 1e-9, "{}", depths(&tree));
    tree.learn(Slot(1), &chain(&[1, 1, 1, 1, 2]), Timestamp::ZERO);
    assert!((depths(&tree) - 16.0).abs() < 1e-9, "{} after another endpoint cut the node", depths(&tree));
}

#[test]
fn short_prompts_take_no_more_memory_than_long_ones() {
    const BYTES: usize = 4 * 1024 * 1024;
    for cells in [1, 3, 60] {
        let mut prefixes = Prefixes::new(1);
        for slot in 0..4 {
            prefixes.set_capacity(Slot(slot), usize::MAX);
        }
        prefixes.set_bytes_max(BYTES / 4);
        for number in 0..200_000 / cells {
            let chain: Vec<CellHash> = (0..cells).map(|cell| CellHash(number * 1_000 + cell)).collect();
            prefixes.learn(Slot(u16::try_from(number % 4).unwrap()), &chain, Timestamp::ZERO);
        }
        let held: usize = (0..4).map(|slot| prefixes.held(Slot(slot)).0).sum();
        assert!(held > 20_000, "{cells}: {held}");
        // A table doubles when it grows.
        assert!(prefixes.bytes() < 2 * BYTES, "{cells}: {} bytes", prefixes.bytes());
    }
}
