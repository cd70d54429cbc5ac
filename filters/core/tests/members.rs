//! The endpoints of a view's pools: whether they come one pool at a time or all at once, the view is the same.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use warmpath_core::ids::EndpointId;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, View};
use warmpath_core::wire::{Event, Kind, Pool, PoolEndpoint, Pools, Routed};

const POOLS: usize = 3;
const ENDPOINTS: usize = 8;

fn address(at: usize) -> String {
    format!("10.0.0.{at}:8000")
}

/// A pool of the endpoints whose bits are set, which may be in others as well.
fn pool(at: usize, members: u8) -> Pool {
    let endpoints = (0..ENDPOINTS)
        .filter(|bit| members & (1 << bit) != 0)
        .map(|bit| PoolEndpoint { address: address(bit), ..PoolEndpoint::default() });
    Pool {
        name: format!("p{at}"),
        models: vec![format!("m{at}")],
        endpoints: endpoints.collect(),
        ..Pool::default()
    }
}

fn all(members: [u8; POOLS]) -> Event {
    let pools = members.iter().enumerate().map(|(at, members)| pool(at, *members)).collect();
    Kind::Pools(Pools { pools }).into()
}

fn learned(endpoint: usize, cell: u64) -> Event {
    let endpoint = EndpointId::of(&address(endpoint)).0;
    Kind::Routed(Routed { endpoint, cells: vec![cell], ..Routed::default() }).into()
}

/// The pools and the prefixes, in an order that does not depend on slots.
fn content(view: &View) -> Vec<Event> {
    let mut events = view.export(Timestamp::ZERO);
    for event in &mut events {
        if let Some(Kind::Prefix(prefix)) = &mut event.kind {
            prefix.endpoints.sort_unstable();
        }
    }
    events.sort_by_key(|event| format!("{event:?}"));
    events
}

proptest! {
    #[test]
    fn pools_that_change_one_by_one_are_the_pools_that_come_all_at_once(
        first in any::<[u8; POOLS]>(),
        steps in prop::collection::vec((0..POOLS, any::<u8>(), 0..ENDPOINTS, any::<u64>()), 1..20),
    ) {
        let (mut one_by_one, mut at_once) = (View::default(), View::default());
        let mut members = first;
        for view in [&mut one_by_one, &mut at_once] {
            view.apply(&all(members), Timestamp::ZERO);
        }
        for (at, changed, endpoint, cell) in steps {
            members[at] = changed;
            prop_assert_eq!(one_by_one.apply(&Kind::Pool(pool(at, changed)).into(), Timestamp::ZERO), Applied::Changed);
            at_once.apply(&all(members), Timestamp::ZERO);
            for view in [&mut one_by_one, &mut at_once] {
                view.apply(&learned(endpoint, cell), Timestamp::ZERO);
            }
            prop_assert_eq!(content(&one_by_one), content(&at_once));
        }
    }
}

#[test]
fn a_pool_that_is_not_there_is_not_added() {
    let mut view = View::default();
    view.apply(&all([1, 2, 4]), Timestamp::ZERO);
    assert_eq!(view.apply(&Kind::Pool(pool(9, 1)).into(), Timestamp::ZERO), Applied::Unknown);
    assert_eq!(view.pools().len(), POOLS);
}
