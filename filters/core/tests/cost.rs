//! What a request costs in the core: allocations, by count. A change that needs more must raise the number, and say why
//! it is worth it.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unsafe_code,
    reason = "a test may panic, and count what is allocated"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use warmpath_core::cost::Weights;
use warmpath_core::ids::{CellHash, EndpointId, OriginId};
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::router::{Booking, Ledger};
use warmpath_core::routing::{Options, Query, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Event, Kind, Pool, PoolEndpoint, Pools, Routed};

/// To parse a chat: the list of its messages.
const PARSE_MAX: u64 = 1;
/// To hash it: the chain, the open cell.
const HASH_MAX: u64 = 2;
/// To choose: the matches, the endpoints weighed, the alternates, the addresses of four.
const CHOOSE_MAX: u64 = 7;
/// To book: the event's cells, the list of events, the ledger.
const BOOK_MAX: u64 = 4;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: it is the system's allocator; the count is this thread's own and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: handed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: handed on as it came.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: handed on as it came.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    let made = work();
    (made, COUNT.get() - before)
}

fn body(prompt_bytes: usize) -> String {
    let text = "whales sing ".repeat(prompt_bytes / 12);
    format!(
        r#"{{"model":"m","messages":[{{"role":"system","content":"Be brief.\n"}},{{"role":"user","content":"{text}"}}],"stream":true,"max_tokens":7}}"#
    )
}

/// A view of eight endpoints, one of which holds a whole prompt.
fn view(chain: &[CellHash]) -> View {
    let mut view = View::default();
    let addresses: Vec<String> = (1..=8).map(|at| format!("10.0.0.{at}:8000")).collect();
    let endpoints = addresses
        .iter()
        .map(|address| PoolEndpoint { address: address.clone(), ..PoolEndpoint::default() })
        .collect();
    let pool = Pool {
        name: "p".into(),
        models: vec!["m".into()],
        adapters: Vec::new(),
        endpoints,
        ..Pool::default()
    };
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
    let endpoint = EndpointId::of(&addresses[3]).0;
    let cells = chain.iter().map(|cell| cell.0).collect();
    view.apply(&Event::from(Kind::Routed(Routed { endpoint, cells, ..Routed::default() })), Timestamp::ZERO);
    view
}

#[test]
fn allocations_do_not_grow() {
    for prompt_bytes in [1 << 10, 128 << 10] {
        let body = body(prompt_bytes);
        let parse = || Request::parse(Api::Chat, body.as_bytes()).unwrap();
        let mut chain = Vec::new();
        cells_of(&parse(), Root::new("p", "", ""), 256, &mut chain);
        let view = view(&chain);
        let mut ledger = Ledger::new(OriginId(1));

        let (request, parsed) = counted(parse);
        let (query, hashed) = counted(|| {
            Query::of_request(&view, Api::Chat, Some(&request), body.len(), Timestamp::ZERO).unwrap()
        });
        let options = Options { alternates: 3, nonce: 7, now: Timestamp::ZERO, weights: Weights::default() };
        let (decision, chosen) = counted(|| choose(&query, &options).unwrap());
        let (_, booked) = counted(|| {
            Booking::new(&mut ledger, &decision.chosen, query.chain, query.prompt_tokens, Timestamp::ZERO)
        });
        assert!(parsed <= PARSE_MAX, "{parsed} to parse {prompt_bytes} bytes");
        assert!(hashed <= HASH_MAX, "{hashed} to hash {prompt_bytes} bytes");
        assert!(chosen <= CHOOSE_MAX, "{chosen} to choose for {prompt_bytes} bytes");
        assert!(booked <= BOOK_MAX, "{booked} to book {prompt_bytes} bytes");
    }
}
