//! The part of a prefix that the view does not know: what is passed on to other proxies.
//!
//! A proxy that meets a new controller sends every prefix that it has learned, and so do all others: most of them are
//! known after the first.

use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::num::index;
use warmpath_core::view::{Match, View};
use warmpath_core::wire::Prefix;

/// Cuts a whole prefix down to what the view does not know. `None`: it knows all of it.
pub fn unknown_part(view: &View, prefix: &Prefix) -> Option<Prefix> {
    let chain: Vec<CellHash> = prefix.cells.iter().map(|cell| CellHash(*cell)).collect();
    let mut found: Vec<Match> = Vec::new();
    view.prefixes().find(&chain, &mut found);
    let mut part = Prefix { depth: 0, cells: Vec::new(), endpoints: Vec::new(), held: Vec::new() };
    for (endpoint, held) in prefix.endpoints.iter().zip(&prefix.held) {
        let Some(slot) = view.slot(EndpointId(*endpoint)) else { continue };
        let known = found.iter().find(|entry| entry.slot == slot).map_or(0, |entry| entry.cells);
        if *held > known {
            part.endpoints.push(*endpoint);
            part.held.push(*held);
        }
    }
    let longest = index(*part.held.iter().max()?);
    part.cells = prefix.cells.iter().take(longest).copied().collect();
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::unknown_part;
    use warmpath_core::ids::EndpointId;
    use warmpath_core::time::Timestamp;
    use warmpath_core::view::View;
    use warmpath_core::wire::{Kind, Pool, PoolEndpoint, Pools, Prefix};

    fn prefix(cells: &[u64], held: u32) -> Prefix {
        let endpoint = EndpointId::of("10.0.0.1:8000").0;
        Prefix { depth: 0, cells: cells.to_vec(), endpoints: vec![endpoint], held: vec![held] }
    }

    fn view() -> View {
        let mut view = View::default();
        let endpoints = vec![PoolEndpoint { address: "10.0.0.1:8000".to_owned() }];
        let pool =
            Pool { name: "p".to_owned(), models: vec![], adapters: vec![], endpoints, ..Pool::default() };
        view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
        view
    }

    #[test]
    fn only_the_unknown_part_is_left() {
        let mut view = view();
        let known = prefix(&[1, 2, 3], 2);
        assert_eq!(
            unknown_part(&view, &known),
            Some(prefix(&[1, 2], 2)),
            "cells that nobody holds are left out"
        );
        view.apply(&known.clone().into(), Timestamp::ZERO);
        assert_eq!(unknown_part(&view, &known), None);
        assert_eq!(unknown_part(&view, &prefix(&[1, 2, 3], 3)), Some(prefix(&[1, 2, 3], 3)));
    }
}
