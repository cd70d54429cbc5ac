//! Measures how long it takes to find who holds how much of a prompt: where engines report their cells, and where the same was learned.
//!
//! `cargo run --release -p warmpath-core --example following`
//!
//! So many endpoints share a prompt's beginning, and some of them hold all of it, in a table that holds as many cells as a
//! busy pool's. Each look is for another prompt, as the caches of the processor would serve it otherwise.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a measurement takes the time, prints it, and ends where something is not as it must be"
)]

use std::hint::black_box;
use std::time::Instant;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    EngineStatus, Event, Kind, Pool, PoolEndpoint, Pools, Reported, Reporting, Routed, Trust,
};

const ENDPOINTS: u64 = 1_000;
/// Cells of all prompts, each of which all of its sharers hold.
const HOLDINGS: u64 = 600_000;
/// What each engine can hold: more than it does.
const CAPACITY_TOKENS: u64 = 10_000_000;
const ROUNDS: usize = 20;
const LOOKS: usize = 50;

/// How far the sharers of a prompt hold it.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// All of them to its end.
    Whole,
    /// The first eighth of it, but for one, which holds all but the last eighth.
    System,
    /// Each to another cell.
    Spread,
}

fn main() {
    println!("ns a look: sharers, cells, ends: reported, learned");
    for ends in [Ends::Whole, Ends::System, Ends::Spread] {
        for cells in [64, 512] {
            for sharers in [1, 8, 100, ENDPOINTS] {
                let [reported, learned] =
                    [true, false].map(|is_reported| measure(sharers, cells, ends, is_reported));
                println!("{sharers:5} {cells:5} {ends:?}: {reported:7} {learned:7}");
            }
        }
    }
}

/// Nanoseconds a look.
fn measure(sharers: u64, cells: u64, ends: Ends, is_reported: bool) -> u128 {
    let mut view = view(is_reported);
    let prompts = (HOLDINGS / (sharers * cells)).max(1);
    for prompt in 0..prompts {
        for sharer in 0..sharers {
            // In turn, so that all hold as much.
            let endpoint = id((prompt * sharers + sharer) % ENDPOINTS);
            let held = (0..ends.held((sharer, sharers), cells)).map(|cell| name(prompt, cell).0).collect();
            view.apply(&holding(endpoint, held, is_reported), Timestamp::ZERO);
        }
    }
    let chain = |prompt| (0..cells).map(|cell| name(prompt, cell)).collect();
    let chains: Vec<Vec<CellHash>> = (0..prompts).map(chain).collect();
    let mut found = Vec::new();
    let mut round = || {
        let begin = Instant::now();
        for look in 0..LOOKS {
            view.find(&chains[look % chains.len()], &mut found);
            black_box(&found);
        }
        begin.elapsed()
    };
    // The quickest: what else the machine does only makes it slower.
    let quickest = (0..ROUNDS).map(|_| round()).min().unwrap();
    // Of what was learned, some may have had no room.
    assert!(!is_reported || found.len() == usize::try_from(sharers).unwrap(), "{} are found", found.len());
    quickest.as_nanos() / u128::try_from(LOOKS).unwrap()
}

/// A view of one pool, whose engines all report, or none of them.
fn view(is_reported: bool) -> View {
    let endpoints =
        (0..ENDPOINTS).map(|at| PoolEndpoint { address: address(at), ..PoolEndpoint::default() }).collect();
    let pool = Pool { name: "p".into(), models: vec!["m".into()], endpoints, ..Pool::default() };
    let mut view = View::default();
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
    for at in 0..ENDPOINTS {
        let capacity_tokens = Some(CAPACITY_TOKENS);
        let status = EngineStatus { endpoint: id(at), capacity_tokens, ..EngineStatus::default() };
        view.apply(&Kind::EngineStatus(status).into(), Timestamp::ZERO);
        if !is_reported {
            continue;
        }
        let trust = Trust::Whole.into();
        let reporting = Reporting { endpoint: id(at), trust, ..Reporting::default() };
        view.apply(&Kind::Reporting(reporting).into(), Timestamp::ZERO);
    }
    view
}

/// An endpoint holds cells from a prompt's first on.
fn holding(endpoint: u64, cells: Vec<u64>, is_reported: bool) -> Event {
    if is_reported {
        Kind::Reported(Reported { endpoint, stored: cells, ..Reported::default() }).into()
    } else {
        Kind::Routed(Routed { endpoint, cells, ..Routed::default() }).into()
    }
}

fn address(at: u64) -> String {
    format!("10.0.{}.{}:8000", at / 256, at % 256)
}

fn id(at: u64) -> u64 {
    EndpointId::of(&address(at)).0
}

/// The hash of a prompt's cell (the mixing of splitmix64, so that all bits differ).
fn name(prompt: u64, cell: u64) -> CellHash {
    let mut hash = (prompt << 32 | cell).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    CellHash(hash ^ (hash >> 27))
}

// === impl Ends ===

impl Ends {
    /// How many of a prompt's cells one of its sharers holds.
    fn held(self, (sharer, sharers): (u64, u64), cells: u64) -> u64 {
        match self {
            Self::Whole => cells,
            Self::System if sharer == 0 => cells - cells / 8,
            Self::System => cells / 8,
            Self::Spread => 1 + sharer * (cells - 1) / sharers,
        }
    }
}
