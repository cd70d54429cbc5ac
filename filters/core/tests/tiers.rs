//! What a choice makes of KV that has to be loaded.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use warmpath_core::cost::{Term, Weights};
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::prompt::Size;
use warmpath_core::routing::{Candidate, Options, Query, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, View};
use warmpath_core::wire::{Event, Kind, Pool, PoolEndpoint, Pools, Reported, Reporting, Tier, Trust};

/// 1,600 tokens at the assumed ratio.
const CELLS: u64 = 25;
const CELL_BYTES: usize = 256;

fn address(at: usize) -> String {
    format!("10.0.0.{at}:8000")
}

/// Endpoints that report the first cells of the prompt, so many in a tier each.
fn view(held: &[&[(Tier, std::ops::Range<u64>)]]) -> View {
    let mut view = View::new(CELL_BYTES, 1);
    let mut apply =
        |kind: Kind| assert_eq!(view.apply(&Event::from(kind), Timestamp::ZERO), Applied::Changed);
    let endpoints =
        (0..held.len()).map(|at| PoolEndpoint { address: address(at), ..PoolEndpoint::default() });
    let pool = Pool {
        name: "p".into(),
        models: vec!["m".into()],
        endpoints: endpoints.collect(),
        ..Pool::default()
    };
    apply(Kind::Pools(Pools { pools: vec![pool] }));
    for (at, parts) in held.iter().enumerate() {
        let endpoint = EndpointId::of(&address(at)).0;
        apply(Kind::Reporting(Reporting { endpoint, trust: Trust::Whole.into(), is_cleared: true }));
        for (tier, cells) in *parts {
            let stored = cells.clone().collect();
            apply(Kind::Reported(Reported { endpoint, tier: (*tier).into(), stored, removed: vec![] }));
        }
    }
    view
}

/// All candidates of the choice, by address.
fn candidates(view: &View) -> Vec<Candidate> {
    let chain = (0..CELLS).map(CellHash).collect();
    let size = Size { text_bytes: CELLS * 256, ..Size::default() };
    let query = Query::of_chain(view, "m", chain, size, None, Timestamp::ZERO).unwrap();
    let now = Timestamp::from_ms(1);
    let options = Options { alternates: usize::MAX, nonce: 1, now, weights: Weights::default() };
    let decision = choose(&query, &options).unwrap();
    let mut all: Vec<Candidate> = decision.ranked().cloned().collect();
    all.sort_by(|one, other| one.address.cmp(&other.address));
    all
}

#[test]
fn a_hit_below_the_gpu_is_worth_the_prefill_that_it_saves_less_its_load() {
    let all = candidates(&view(&[
        &[(Tier::Gpu, 0..20)],
        &[(Tier::Gpu, 0..5), (Tier::Cpu, 5..20)],
        &[(Tier::Disk, 0..20)],
        &[],
    ]));
    let costs: Vec<f64> = all.iter().map(|one| one.cost_s).collect();
    assert!(costs.is_sorted_by(|better, worse| better < worse), "{costs:?}");
    let loaded: Vec<u64> = all.iter().map(|one| one.loaded_tokens).collect();
    assert_eq!(loaded, [0, 15 * 64, 20 * 64, 0]);
    for (one, cached) in all.iter().zip([20, 20, 20, 0]) {
        assert_eq!((one.cells, one.cached_tokens), (cached, u64::from(cached) * 64), "{}", one.address);
    }
    assert!(all[1].terms[Term::Load] > 0.0 && all[1].terms[Term::Load] < all[2].terms[Term::Load]);
    assert!((all[1].terms[Term::Prefill] - all[0].terms[Term::Prefill]).abs() < 1e-9);
}

#[test]
fn what_all_can_load_from_a_shared_store_is_nobodys_advantage() {
    let all = candidates(&view(&[&[(Tier::Remote, 0..20)], &[], &[(Tier::Gpu, 0..5)]]));
    assert!((all[0].cost_s - all[1].cost_s).abs() < 1e-9, "{} {}", all[0].cost_s, all[1].cost_s);
    assert_eq!((all[1].cells, all[1].loaded_tokens), (20, 20 * 64));
    assert_eq!((all[2].cells, all[2].loaded_tokens), (20, 15 * 64), "the rest is loaded");
    assert!(all[2].cost_s < all[0].cost_s);
}
