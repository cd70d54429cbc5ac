//! The ledger against a list of the requests in flight.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use warmpath_core::cost::Terms;
use warmpath_core::ids::{AdapterId, CellHash, EndpointId, OriginId};
use warmpath_core::router::{Booking, Ledger};
use warmpath_core::routing::Candidate;
use warmpath_core::time::Timestamp;
use warmpath_core::view::Fitness;
use warmpath_core::wire::{InFlightReport, Kind, OutcomeClass, Trust};
use warmpath_core::work::PrefillWork;

#[derive(Clone, Debug)]
enum Action {
    Book { endpoint: u64, work_tokens: u64, context_tokens: u64 },
    Move { which: prop::sample::Index, to: u64 },
    FirstByte { which: prop::sample::Index, has_ttft: bool },
    End { which: prop::sample::Index },
}

/// A request in flight as the model keeps it.
#[derive(Clone, Copy, Debug)]
struct Flight {
    endpoint: u64,
    work_tokens: u64,
    context_tokens: u64,
    has_first_byte: bool,
}

fn action() -> impl Strategy<Value = Action> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0_u64..3, 0_u64..100, 0_u64..100).prop_map(|(endpoint, work_tokens, context_tokens)| Action::Book { endpoint, work_tokens, context_tokens }),
        1 => (which(), 0_u64..3).prop_map(|(which, to)| Action::Move { which, to }),
        3 => (which(), any::<bool>()).prop_map(|(which, has_ttft)| Action::FirstByte { which, has_ttft }),
        3 => which().prop_map(|which| Action::End { which }),
    ]
}

fn candidate(endpoint: u64, work_tokens: u64) -> Candidate {
    Candidate {
        id: EndpointId(endpoint),
        address: String::new(),
        fitness: Fitness::Fit,
        cells: 0,
        held_tokens: 0,
        cached_tokens: 0,
        loaded_tokens: 0,
        trust: Trust::None,
        adapter: AdapterId::BASE,
        work: PrefillWork(work_tokens),
        work_ahead: Some(PrefillWork(work_tokens)),
        requests: 0,
        prefill_s_per_token: 1e-4,
        terms: Terms::default(),
        cost_s: 0.0,
    }
}

fn expected(flights: &[Flight], endpoint: u64) -> InFlightReport {
    let mut load = InFlightReport { origin: 7, endpoint, ..InFlightReport::default() };
    for flight in flights.iter().filter(|flight| flight.endpoint == endpoint) {
        load.requests += 1;
        load.context_tokens += flight.context_tokens;
        load.prefills += u32::from(!flight.has_first_byte);
        load.prefill_work += if flight.has_first_byte { 0 } else { flight.work_tokens };
    }
    load
}

fn loads(kinds: &[Kind]) -> impl Iterator<Item = InFlightReport> {
    kinds.iter().filter_map(|kind| if let Kind::InFlight(load) = kind { Some(*load) } else { None })
}

proptest! {
    #[test]
    fn published_work_equals_work_in_flight(actions in prop::collection::vec(action(), 1..80)) {
        let mut ledger = Ledger::new(OriginId(7));
        let mut bookings: Vec<Booking> = Vec::new();
        let mut flights: Vec<Flight> = Vec::new();
        let mut published: BTreeMap<u64, InFlightReport> = BTreeMap::new();
        for action in actions {
            let kinds = match action {
                Action::Book { endpoint, work_tokens, context_tokens } => {
                    let (booking, kinds) =
                        Booking::new(&mut ledger, &candidate(endpoint, work_tokens), vec![CellHash(1)], context_tokens, Timestamp::ZERO);
                    bookings.push(booking);
                    flights.push(Flight { endpoint, work_tokens, context_tokens, has_first_byte: false });
                    kinds
                }
                _ if bookings.is_empty() => continue,
                Action::Move { which, to } => {
                    let at = which.index(bookings.len());
                    flights[at].endpoint = to;
                    bookings[at].moved(&mut ledger, EndpointId(to))
                }
                Action::FirstByte { which, has_ttft } => {
                    let at = which.index(bookings.len());
                    let time = has_ttft.then(|| bookings[at].first_token_time(Timestamp::from_us(9)));
                    let kinds = bookings[at].served(&mut ledger, time, Timestamp::from_us(9));
                    prop_assert_eq!(kinds.is_empty(), flights[at].has_first_byte, "a second first token says nothing");
                    flights[at].has_first_byte = true;
                    kinds
                }
                Action::End { which } => {
                    let at = which.index(bookings.len());
                    flights.swap_remove(at);
                    bookings.swap_remove(at).end(&mut ledger, Timestamp::ZERO)
                }
            };
            published.extend(loads(&kinds).map(|load| (load.endpoint, load)));
            for (endpoint, load) in &published {
                prop_assert_eq!(*load, expected(&flights, *endpoint));
            }
            prop_assert_eq!(usize::try_from(ledger.requests()).unwrap(), flights.len());
        }
        for booking in bookings {
            booking.end(&mut ledger, Timestamp::ZERO);
        }
        prop_assert_eq!(ledger.requests(), 0);
        prop_assert!(ledger.loads().is_empty());
    }
}

fn serve(booking: &mut Booking, ledger: &mut Ledger, now: Timestamp) -> Vec<Kind> {
    let time = booking.first_token_time(now);
    booking.served(ledger, Some(time), now)
}

#[test]
fn a_retry_blames_the_first_and_books_the_second() {
    let mut ledger = Ledger::new(OriginId(7));
    let (mut booking, _) =
        Booking::new(&mut ledger, &candidate(1, 600), vec![CellHash(4)], 800, Timestamp::ZERO);
    let failed = booking.failed(Timestamp::ZERO);
    assert_eq!((failed.endpoint, failed.class()), (1, OutcomeClass::Unreachable));
    let kinds = booking.moved(&mut ledger, EndpointId(2));
    assert!(matches!(&kinds[2], Kind::Routed(routed) if routed.endpoint == 2 && routed.cells == [4]));
    // It serves, but its time holds that of the first attempt.
    let kinds = serve(&mut booking, &mut ledger, Timestamp::from_us(9_000));
    assert!(
        matches!(&kinds[1], Kind::Outcome(seen) if seen.class() == OutcomeClass::Served && seen.endpoint == 2 && seen.work_ahead.is_none())
    );
}

#[test]
fn a_first_token_teaches_the_work_in_front_of_it() {
    let mut ledger = Ledger::new(OriginId(7));
    let busy = Candidate { work_ahead: Some(PrefillWork(1_600)), ..candidate(1, 600) };
    let (mut booking, _) = Booking::new(&mut ledger, &busy, Vec::new(), 800, Timestamp::from_us(2_000));
    let kinds = serve(&mut booking, &mut ledger, Timestamp::from_us(9_000));
    assert!(
        matches!(&kinds[1], Kind::Outcome(seen) if seen.work_ahead == Some(1_600) && seen.ttft_us == 7_000)
    );
}

#[test]
fn a_wait_that_is_not_prefill_does_not_make_an_engine_look_slow() {
    let mut ledger = Ledger::new(OriginId(7));
    let full = Candidate { work_ahead: None, ..candidate(1, 600) };
    let (mut booking, _) = Booking::new(&mut ledger, &full, Vec::new(), 800, Timestamp::ZERO);
    let kinds = serve(&mut booking, &mut ledger, Timestamp::from_us(20_000_000));
    assert!(
        matches!(&kinds[1], Kind::Outcome(seen) if seen.class() == OutcomeClass::Served && seen.endpoint == 1 && seen.work_ahead.is_none())
    );
}
