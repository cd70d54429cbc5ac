//! Makes each `Prefix` of a proxy's stream whole.
//!
//! In a snapshot a `Prefix` continues the one before it. Passed on to others, between other proxies'
//! events, it would continue a stranger's: so the controller keeps each stream's chain and passes on the
//! prefix from its first cell. That is longer, but only what the view does not know yet is passed on.

use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::limits::CELLS_PER_PROMPT_MAX;
use warmpath_core::num::{index, u32_len};
use warmpath_core::view::{Match, View};
use warmpath_core::wire::Prefix;

/// One stream's chain.
#[derive(Debug, Default)]
pub struct Chain {
    cells: Vec<u64>,
}

// === impl Chain ===

impl Chain {
    /// Follows `prefix` and returns it from the first cell. `None`: it does not continue this chain, or it
    /// is longer than a prompt may be.
    pub fn follow(&mut self, prefix: &Prefix) -> Option<Prefix> {
        let depth = index(prefix.depth);
        if depth > self.cells.len() || depth + prefix.cells.len() > CELLS_PER_PROMPT_MAX {
            return None;
        }
        self.cells.truncate(depth);
        self.cells.extend(&prefix.cells);
        let length = u32_len(self.cells.len());
        let held = prefix.held.iter().map(|held| prefix.depth.saturating_add(*held).min(length)).collect();
        Some(Prefix { depth: 0, cells: self.cells.clone(), endpoints: prefix.endpoints.clone(), held })
    }
}

/// Cuts a whole prefix down to what the view does not know. `None`: it knows all of it.
pub fn news(view: &View, prefix: &Prefix) -> Option<Prefix> {
    let chain: Vec<CellHash> = prefix.cells.iter().map(|cell| CellHash(*cell)).collect();
    let mut found: Vec<Match> = Vec::new();
    view.prefixes().find(&chain, &mut found);
    let mut news = Prefix { depth: 0, cells: Vec::new(), endpoints: Vec::new(), held: Vec::new() };
    for (endpoint, held) in prefix.endpoints.iter().zip(&prefix.held) {
        let Some(slot) = view.slot(EndpointId(*endpoint)) else { continue };
        let known = found.iter().find(|entry| entry.slot == slot).map_or(0, |entry| entry.cells);
        if *held > known {
            news.endpoints.push(*endpoint);
            news.held.push(*held);
        }
    }
    let longest = index(*news.held.iter().max()?);
    news.cells = prefix.cells.iter().take(longest).copied().collect();
    Some(news)
}

#[cfg(test)]
mod tests {
    use super::{Chain, news};
    use warmpath_core::ids::EndpointId;
    use warmpath_core::time::Timestamp;
    use warmpath_core::view::View;
    use warmpath_core::wire::{Kind, Pool, PoolEndpoint, Pools, Prefix};

    fn prefix(depth: u32, cells: &[u64], held: u32) -> Prefix {
        let endpoint = EndpointId::of("10.0.0.1:8000").0;
        Prefix { depth, cells: cells.to_vec(), endpoints: vec![endpoint], held: vec![held] }
    }

    fn view() -> View {
        let mut view = View::default();
        let endpoints = vec![PoolEndpoint { address: "10.0.0.1:8000".to_owned() }];
        let pool = Pool { name: "p".to_owned(), models: vec![], adapters: vec![], endpoints };
        view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
        view
    }

    #[test]
    fn a_prefix_is_made_whole_from_those_before_it() {
        let mut chain = Chain::default();
        assert_eq!(chain.follow(&prefix(0, &[1, 2], 2)), Some(prefix(0, &[1, 2], 2)));
        assert_eq!(chain.follow(&prefix(2, &[3, 4], 1)), Some(prefix(0, &[1, 2, 3, 4], 3)));
        assert_eq!(chain.follow(&prefix(1, &[5], 1)), Some(prefix(0, &[1, 5], 2)));
        assert_eq!(chain.follow(&prefix(3, &[6], 1)), None, "the chain has two cells");
    }

    #[test]
    fn only_what_is_not_known_is_news() {
        let mut view = view();
        let known = prefix(0, &[1, 2, 3], 2);
        assert_eq!(news(&view, &known), Some(prefix(0, &[1, 2], 2)), "cells that nobody holds are left out");
        view.apply(&known.clone().into(), Timestamp::ZERO);
        assert_eq!(news(&view, &known), None);
        assert_eq!(news(&view, &prefix(0, &[1, 2, 3], 3)), Some(prefix(0, &[1, 2, 3], 3)));
    }
}
