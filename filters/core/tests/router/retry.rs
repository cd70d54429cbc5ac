//! Requests, retries and responses in any order: what is in flight is exactly what the host has open.

use crate::support::{Contended, SoloVm, address, fixed};
use proptest::prelude::*;
use std::collections::BTreeMap;
use warmpath_core::ids::EndpointId;
use warmpath_core::router::{Counter, ExchangeId, Histogram, Input, Output};
use warmpath_core::time::Timestamp;
use warmpath_core::view::Fitness;

const ENDPOINTS: usize = 4;
const EXCHANGES: u32 = 5;

/// Where a response comes from.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The chosen endpoint.
    Chosen,
    /// One that Envoy took instead.
    Other(usize),
    /// None: the proxy responds itself.
    Nobody,
}

#[derive(Clone, Debug)]
enum Op {
    Send { exchange: u32, prompt: u64 },
    Head { exchange: u32, status: u16, from: From, ends: bool },
    Chunk { exchange: u32, bytes: usize, ends: bool },
    Ended { exchange: u32 },
    Pass { ms: u64 },
}

/// An open request, as simply as it can be put.
#[derive(Clone, Debug)]
struct Open {
    endpoint: String,
    status: Option<u16>,
    is_prefilling: bool,
    has_byte: bool,
}

struct World {
    vm: SoloVm,
    now: Timestamp,
    open: BTreeMap<u32, Open>,
    skipped: usize,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let now = Timestamp::from_ms(1_000_000);
        let vm = SoloVm::new(&Contended::default(), fixed(ENDPOINTS), 7, now);
        Self { vm, now, open: BTreeMap::new(), skipped: 0 }
    }

    fn perform(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Send { exchange, prompt } => self.send(exchange, prompt),
            Op::Head { exchange, status, from, ends } => self.head(exchange, status, from, ends)?,
            Op::Chunk { exchange, bytes, ends } => self.chunk(exchange, bytes, ends)?,
            Op::Ended { exchange } => {
                let was_open = self.open.remove(&exchange).is_some();
                self.vm.handle(self.now, Input::Ended { exchange: ExchangeId(exchange) });
                prop_assert_eq!(self.vm.counted(Counter::Aborted), u64::from(was_open));
            }
            Op::Pass { ms } => self.now = self.now.plus_ms(ms),
        }
        self.check()
    }

    fn send(&mut self, exchange: u32, prompt: u64) {
        // A host does not reuse a number that is in use.
        if self.open.contains_key(&exchange) {
            self.skipped += 1;
            return;
        }
        let named = self.vm.send(self.now, ExchangeId(exchange), &[prompt, prompt + 100]);
        let endpoint = named.first().expect("an endpoint that is avoided is better than none").clone();
        let open = Open { endpoint, status: None, is_prefilling: true, has_byte: false };
        self.open.insert(exchange, open);
    }

    fn head(&mut self, exchange: u32, status: u16, from: From, ends: bool) -> Result<(), TestCaseError> {
        // A second head for the same request is not one that a host sends, and changes nothing.
        let fresh = self.open.get_mut(&exchange).filter(|open| open.status.is_none());
        let is_fresh = fresh.is_some();
        let served_by = match (from, &fresh) {
            (From::Other(number), _) => Some(address(number)),
            (From::Chosen, Some(open)) => Some(open.endpoint.clone()),
            (From::Chosen, None) | (From::Nobody, _) => None,
        };
        let mut failed = Vec::new();
        let mut has_moved = false;
        if let Some(open) = fresh {
            // Without an upstream host, it is no response of an endpoint, whatever its status.
            let is_endpoints = served_by.is_some();
            open.status = Some(if is_endpoints { status } else { 0 });
            if let Some(served_by) = served_by.as_ref().filter(|served_by| **served_by != open.endpoint) {
                failed.push(std::mem::replace(&mut open.endpoint, served_by.clone()));
                has_moved = true;
            }
            if is_endpoints && matches!(status, 429 | 502 | 503 | 504) {
                failed.push(open.endpoint.clone());
            }
            // No first token will come.
            open.is_prefilling &= is_endpoints && is_success(status);
        }
        let refused = failed.len() - usize::from(has_moved);
        if ends && is_fresh {
            self.open.remove(&exchange);
        }
        self.vm.handle(
            self.now,
            Input::ResponseHead {
                exchange: ExchangeId(exchange),
                status: Some(status),
                headers: &[],
                served_by: served_by.as_deref(),
                ends,
            },
        );
        prop_assert_eq!(self.vm.counted(Counter::Retried), u64::from(has_moved));
        prop_assert_eq!(self.vm.counted(Counter::Failed), refused as u64);
        for address in failed {
            let view = self.vm.router.view();
            let endpoint = view.slot(EndpointId::of(&address)).and_then(|slot| view.endpoint(slot)).unwrap();
            prop_assert_eq!(endpoint.fitness(self.now), Fitness::Avoided, "{} failed a moment ago", address);
        }
        Ok(())
    }

    fn chunk(&mut self, exchange: u32, bytes: usize, ends: bool) -> Result<(), TestCaseError> {
        let mut times_to_first_token = 0;
        if let Some(open) = self.open.get_mut(&exchange)
            && let Some(status) = open.status
        {
            if bytes > 0 && !open.has_byte {
                open.has_byte = true;
                times_to_first_token = usize::from(is_success(status));
                open.is_prefilling = false;
            }
            if ends {
                self.open.remove(&exchange);
            }
        }
        let out = self.vm.handle(
            self.now,
            Input::ResponseChunk { exchange: ExchangeId(exchange), bytes, tail: &[], ends },
        );
        let recorded = out.iter().filter(|output| matches!(output, Output::Record(Histogram::TtftMs, _)));
        prop_assert_eq!(recorded.count(), times_to_first_token);
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for address in (0..ENDPOINTS).map(address) {
            let there = self.open.values().filter(|open| open.endpoint == address);
            let (requests, prefills) = there.fold((0, 0), |(requests, prefills), open| {
                (requests + 1, prefills + u32::from(open.is_prefilling))
            });
            prop_assert_eq!(self.vm.in_flight(&address), (requests, prefills), "{}", address);
        }
        prop_assert_eq!(self.vm.router.ledger().requests() as usize, self.open.len());
        Ok(())
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        4 => Just(From::Chosen),
        3 => (0..ENDPOINTS).prop_map(From::Other),
        1 => Just(From::Nobody),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let exchange = || 0..EXCHANGES;
    let status = prop_oneof![
        6 => Just(200_u16),
        4 => prop::sample::select(vec![204, 400, 404, 429, 500, 502, 503, 504]),
    ];
    prop_oneof![
        4 => (exchange(), 0_u64..6).prop_map(|(exchange, prompt)| Op::Send { exchange, prompt }),
        4 => (exchange(), status, from(), prop::bool::weighted(0.1))
            .prop_map(|(exchange, status, from, ends)| Op::Head { exchange, status, from, ends }),
        4 => (exchange(), 0_usize..3, prop::bool::weighted(0.3))
            .prop_map(|(exchange, bytes, ends)| Op::Chunk { exchange, bytes, ends }),
        2 => exchange().prop_map(|exchange| Op::Ended { exchange }),
        2 => (0_u64..3_000).prop_map(|ms| Op::Pass { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn in_flight_is_exactly_what_is_open(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.perform(op)?;
        }
        prop_assert!(world.skipped < ops.len(), "some of the sequence was played");
        for exchange in 0..EXCHANGES {
            world.perform(&Op::Ended { exchange })?;
        }
        prop_assert_eq!(world.vm.router.ledger().requests(), 0);
    }
}
