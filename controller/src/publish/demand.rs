//! What arrives, at each endpoint and at pools that have none: the scaler's input, as sums since it was last taken.
//!
//! First tokens are judged as the client waits for them: those of a request in two legs from when its first leg was sent, at the engine
//! that generates. One that is overdue counts as late before it comes, for it may never come.
//!
//! Requests are counted by the events that proxies publish for each of them, which are never coalesced. Their work and contexts are
//! not in these events; they are taken from the loads that proxies report, where they rise. Several requests in one report, or a rise
//! that another's end hides, leave the mean right and the number wrong: so loads give means only.

use super::hub::Hub;
use super::latency::FirstTokens;
use fnv::FnvHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use warmpath_core::admission::HeldKey;
use warmpath_core::hash::{SeededMap, seeded};
use warmpath_core::ids::{EndpointId, OriginId, RequestKey};
use warmpath_core::num::float;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Endpoint, InFlight, View};
use warmpath_core::wire::{HeldFor, Kind, OutcomeClass};

/// Origins with requests that were released and not sent yet. What is lost beyond counts twice.
const RELEASED_MAX: usize = 4_096;

/// Requests without a first token that are followed: as many as a view remembers.
const AWAITED_MAX: usize = 16_384;

/// What arrived at an endpoint since it was last taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrived {
    /// Requests that were sent there, except those that were held: they arrived before.
    pub requests: f64,
    /// Those of them, and of others, whose work is known: the next three are their sums.
    pub booked: f64,
    /// Prefill work, in tokens' worth.
    pub work_tokens: f64,
    /// The squares of each one's work.
    pub work_tokens_squared: f64,
    /// Tokens of their prompts.
    pub context_tokens: f64,
    /// Responses of which the length is known.
    pub responses: f64,
    /// Their tokens.
    pub output_tokens: f64,
    /// First tokens of requests that it takes whole, and of prompts that it computes for other endpoints.
    pub first_tokens: Firsts,
    /// First tokens of requests whose prompts other endpoints compute.
    pub split_first_tokens: Firsts,
}

/// First tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Firsts {
    /// How long those took that came, except those that had counted as overdue.
    pub came: FirstTokens,
    /// Those that became overdue: later than the objective, and not there.
    pub overdue: f64,
}

/// A request without a first token.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    endpoint: EndpointId,
    since: Timestamp,
    /// Whether another endpoint computes its prompt.
    decodes: bool,
    is_overdue: bool,
}

/// All that arrived since it was last taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// By endpoint.
    pub endpoints: FnvHashMap<EndpointId, Arrived>,
    /// Requests that proxies began to hold, by pool.
    pub held: BTreeMap<String, f64>,
}

/// The sums.
#[derive(Debug)]
pub(super) struct Demand {
    /// Whether anybody takes them.
    is_wanted: bool,
    taken: Taken,
    /// Requests that were held and are on their way to an endpoint, by whoever held them.
    released: FnvHashMap<OriginId, u32>,
    awaited: SeededMap<RequestKey, Awaited>,
    woken: Arc<Notify>,
}

/// What an event says of the demand.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A request was sent to an endpoint.
    Sent { endpoint: EndpointId, key: RequestKey, decodes: bool },
    /// A load was reported; `before`, it was this.
    Load { endpoint: EndpointId, before: InFlight },
    /// A first token, or the end of a request of which only that is published.
    Came { endpoint: EndpointId, key: Option<RequestKey>, first_ms: Option<f64>, is_first_event: bool },
    /// A request is held that was not held before.
    Held { pool: String, held_for: HeldFor },
    /// It is held no more, and on its way to an endpoint.
    Released { origin: OriginId },
    /// A response has ended.
    Response { endpoint: EndpointId, output_tokens: f64 },
}

// === impl Arrival ===

impl Arrival {
    /// What an event says, given the view before it.
    pub(super) fn of(kind: &Kind, view: &View) -> Option<Self> {
        Some(match kind {
            Kind::Routed(routed) if routed.request != 0 => {
                let key = RequestKey { origin: OriginId(routed.origin), request: routed.request };
                Self::Sent { endpoint: EndpointId(routed.endpoint), key, decodes: routed.decodes }
            }
            Kind::InFlight(report) => {
                let endpoint = EndpointId(report.endpoint);
                let known = view.slot(endpoint).and_then(|slot| view.endpoint(slot));
                Self::Load { endpoint, before: known?.in_flight() }
            }
            Kind::Outcome(outcome) => {
                let is_first = outcome.class() == OutcomeClass::Served;
                let key = RequestKey { origin: OriginId(outcome.origin), request: outcome.request };
                Self::Came {
                    endpoint: EndpointId(outcome.endpoint),
                    key: (outcome.request != 0).then_some(key),
                    first_ms: (is_first && outcome.ttft_us > 0).then(|| float(outcome.ttft_us) / 1e3),
                    // A prompt of less than a cell is not published when it is sent.
                    is_first_event: is_first && outcome.request == 0,
                }
            }
            Kind::Held(held) => {
                let key = HeldKey { origin: OriginId(held.origin), number: held.number };
                if view.admission(&held.pool)?.queue().get(key).is_some() {
                    return None;
                }
                Self::Held { pool: held.pool.clone(), held_for: held.held_for() }
            }
            Kind::Released(released) if released.is_sent => {
                Self::Released { origin: OriginId(released.origin) }
            }
            Kind::UsageSeen(usage) => Self::Response {
                endpoint: EndpointId(usage.endpoint),
                // None: embeddings and the like.
                output_tokens: float(usage.output_tokens.unwrap_or_default()),
            },
            _ => return None,
        })
    }
}

// === impl Demand ===

impl Demand {
    /// Without any. `seed` is random bits that no client knows.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            is_wanted: false,
            taken: Taken::default(),
            released: FnvHashMap::default(),
            awaited: SeededMap::with_hasher(seeded(seed)),
            woken: Arc::default(),
        }
    }

    /// Adds what an event said, given the view after it.
    pub(super) fn note(&mut self, arrival: Arrival, view: &View, now: Timestamp) {
        if let Arrival::Held { held_for: HeldFor::Endpoint, .. } = &arrival {
            self.woken.notify_one();
        }
        if !self.is_wanted {
            return;
        }
        match arrival {
            Arrival::Sent { endpoint, key, decodes } => {
                // One that was sent before is tried at another endpoint, and its client waits on.
                let before = self.awaited.remove(&key);
                let is_first = before.is_none();
                let Awaited { since, is_overdue, .. } =
                    before.unwrap_or(Awaited { endpoint, since: now, decodes, is_overdue: false });
                if self.awaited.len() < AWAITED_MAX {
                    self.awaited.insert(key, Awaited { endpoint, since, decodes, is_overdue });
                }
                if is_first && !self.was_held(key.origin) {
                    self.at(endpoint).requests += 1.0;
                }
            }
            Arrival::Load { endpoint, before } => {
                let after = view.slot(endpoint).and_then(|slot| view.endpoint(slot)).map(Endpoint::in_flight);
                let Some(after) = after.filter(|after| after.requests > before.requests) else { return };
                let requests = f64::from(after.requests - before.requests);
                let work = after.prefill_work.minus(before.prefill_work).tokens();
                let context = after.context_tokens.saturating_sub(before.context_tokens);
                let sum = self.at(endpoint);
                sum.booked += requests;
                sum.work_tokens += work;
                sum.work_tokens_squared += work * work / requests;
                sum.context_tokens += float(context);
            }
            Arrival::Came { endpoint, key, first_ms, is_first_event } => {
                let awaited = key.and_then(|key| self.awaited.remove(&key));
                let sum = self.at(endpoint);
                sum.requests += f64::from(u8::from(is_first_event));
                match (first_ms, awaited) {
                    (None, _) | (_, Some(Awaited { is_overdue: true, .. })) => {}
                    (Some(_), Some(Awaited { decodes: true, since, .. })) => {
                        sum.split_first_tokens.came.note(float(now.ms_since(since)));
                    }
                    (Some(ms), _) => sum.first_tokens.came.note(ms),
                }
            }
            Arrival::Held { pool, .. } => *self.taken.held.entry(pool).or_default() += 1.0,
            Arrival::Released { origin } => {
                if self.released.len() < RELEASED_MAX {
                    *self.released.entry(origin).or_default() += 1;
                }
            }
            Arrival::Response { endpoint, output_tokens } => {
                let sum = self.at(endpoint);
                sum.responses += 1.0;
                sum.output_tokens += output_tokens;
            }
        }
    }

    /// Counts the requests that wait for longer than the objective of their endpoint, in milliseconds.
    fn note_overdue(&mut self, objectives: &FnvHashMap<EndpointId, f64>, view: &View, now: Timestamp) {
        let Self { awaited, taken, .. } = self;
        awaited.retain(|key, _| view.awaits(*key));
        for one in awaited.values_mut().filter(|one| !one.is_overdue) {
            let Some(objective_ms) = objectives.get(&one.endpoint) else { continue };
            if float(now.ms_since(one.since)) > *objective_ms {
                one.is_overdue = true;
                let sum = taken.endpoints.entry(one.endpoint).or_default();
                let firsts = if one.decodes { &mut sum.split_first_tokens } else { &mut sum.first_tokens };
                firsts.overdue += 1.0;
            }
        }
    }

    /// Drops endpoints and pools that are no more.
    pub(super) fn retain(&mut self, view: &View) {
        self.taken.endpoints.retain(|endpoint, _| view.slot(*endpoint).is_some());
        self.taken.held.retain(|name, _| view.pools().iter().any(|pool| pool.name() == name));
    }

    /// Whether the request that was just sent is one that was held: what is released is sent at once.
    fn was_held(&mut self, origin: OriginId) -> bool {
        let Some(left) = self.released.get_mut(&origin) else { return false };
        *left -= 1;
        if *left == 0 {
            self.released.remove(&origin);
        }
        true
    }

    fn at(&mut self, endpoint: EndpointId) -> &mut Arrived {
        self.taken.endpoints.entry(endpoint).or_default()
    }
}

// === impl Hub ===

impl Hub {
    /// Takes what has arrived since the last call. Before the first one, nothing is counted. A first token that has not come at an
    /// endpoint within its objective, in milliseconds, counts as late.
    pub(crate) fn take_demand(
        &mut self,
        objectives_ms: &FnvHashMap<EndpointId, f64>,
        now: Timestamp,
    ) -> Taken {
        self.demand.is_wanted = true;
        self.demand.note_overdue(objectives_ms, self.index.view(), now);
        // Those whose clients have left are never sent.
        self.demand.released.clear();
        std::mem::take(&mut self.demand.taken)
    }

    /// Notified when a request is held because its pool has no endpoint.
    pub(crate) fn woken(&self) -> Arc<Notify> {
        Arc::clone(&self.demand.woken)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrival, Demand, Firsts};
    use fnv::FnvHashMap;
    use warmpath_core::ids::{EndpointId, OriginId, RequestKey};
    use warmpath_core::time::Timestamp;
    use warmpath_core::view::View;
    use warmpath_core::wire::{
        Event, Held, Hold, InFlightReport, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools, Released,
        Routed,
    };

    const ADDRESS: &str = "10.0.0.1:8000";
    const NOW: Timestamp = Timestamp::from_ms(1_000);

    /// A demand that is taken, and the view of a pool with one endpoint.
    fn begun() -> (Demand, View) {
        let endpoint = PoolEndpoint { address: ADDRESS.to_owned(), ..PoolEndpoint::default() };
        let hold = Some(Hold { endpoint_ms_max: 60_000, ..Hold::default() });
        let pool = Pool { name: "p".to_owned(), endpoints: vec![endpoint], hold, ..Pool::default() };
        let mut view = View::new(1_024, 7);
        view.apply(&Event { kind: Some(Kind::Pools(Pools { pools: vec![pool] })) }, NOW);
        (Demand { is_wanted: true, ..Demand::new(7) }, view)
    }

    fn note(demand: &mut Demand, view: &mut View, kind: Kind) {
        let arrival = Arrival::of(&kind, view);
        view.apply(&Event { kind: Some(kind) }, NOW);
        if let Some(arrival) = arrival {
            demand.note(arrival, view, NOW);
        }
    }

    fn id() -> EndpointId {
        EndpointId::of(ADDRESS)
    }

    fn routed(request: u64) -> Kind {
        Kind::Routed(Routed { endpoint: id().0, cells: vec![1], origin: 5, request, ..Routed::default() })
    }

    #[test]
    fn a_request_that_was_held_is_counted_when_it_arrives_and_not_again_when_it_is_sent() {
        let (mut demand, mut view) = begun();
        let held = || Kind::Held(Held { origin: 5, number: 1, pool: "p".to_owned(), ..Held::default() });
        // Whoever holds it repeats it every few seconds.
        let released = |is_sent| Kind::Released(Released { origin: 5, number: 1, is_sent });
        // The first client has left; the second request goes on, and is tried at two endpoints; the third was never held.
        for kind in [held(), held(), released(false), held(), released(true), routed(8), routed(8), routed(9)]
        {
            note(&mut demand, &mut view, kind);
        }
        assert_eq!(demand.taken.held.get("p"), Some(&2.0));
        let requests = demand.taken.endpoints[&id()].requests;
        assert!((requests - 1.0).abs() < 1e-9, "only the last one was not held: {requests}");
    }

    #[test]
    fn prompts_too_short_to_be_published_are_counted_by_their_first_token() {
        let (mut demand, mut view) = begun();
        let outcome = |request| Outcome {
            endpoint: id().0,
            class: OutcomeClass::Served.into(),
            request,
            ttft_us: 5_000,
            ..Outcome::default()
        };
        for kind in [routed(1), Kind::Outcome(outcome(1)), Kind::Outcome(outcome(0))] {
            note(&mut demand, &mut view, kind);
        }
        let at = &demand.taken.endpoints[&id()];
        let came = &at.first_tokens.came;
        assert_eq!((at.requests, came.count()), (2.0, 2.0));
        assert_eq!((came.later_than(1.0), came.later_than(50.0)), (2.0, 0.0));
    }

    #[test]
    fn a_first_token_that_does_not_come_counts_as_late_and_once() {
        let (mut demand, mut view) = begun();
        let objectives = FnvHashMap::from_iter([(id(), 2_000.0)]);
        let outcome = |request, class: OutcomeClass| {
            let (endpoint, origin, ttft_us) = (id().0, 5, 30_000_000);
            Kind::Outcome(Outcome {
                endpoint,
                origin,
                request,
                class: class.into(),
                ttft_us,
                ..Outcome::default()
            })
        };
        let overdue = |demand: &mut Demand, view: &View, ms| {
            demand.note_overdue(&objectives, view, NOW.plus_ms(ms));
            demand.taken.endpoints[&id()].first_tokens.overdue
        };
        for request in 1..=3 {
            note(&mut demand, &mut view, routed(request));
        }
        note(&mut demand, &mut view, outcome(3, OutcomeClass::Full));
        let found: Vec<f64> = [1_000, 5_000, 30_000].map(|ms| overdue(&mut demand, &view, ms)).to_vec();
        assert_eq!(found, [0.0, 2.0, 2.0], "the third one was refused");
        // One comes after all, the other one is tried elsewhere: neither counts again.
        note(&mut demand, &mut view, outcome(1, OutcomeClass::Served));
        note(&mut demand, &mut view, routed(2));
        assert!((overdue(&mut demand, &view, 60_000) - 2.0).abs() < 1e-9);
        assert!(demand.taken.endpoints[&id()].first_tokens.came.count() < 0.5);
    }

    #[test]
    fn the_first_token_of_two_legs_is_timed_from_the_first_one() {
        let (mut demand, mut view) = begun();
        let sent = Kind::Routed(Routed {
            endpoint: id().0,
            cells: vec![1],
            origin: 5,
            request: 1,
            decodes: true,
            ..Routed::default()
        });
        note(&mut demand, &mut view, sent);
        // The decode leg took 20 ms, after a prefill leg of 4 s.
        let arrival = Arrival::Came {
            endpoint: id(),
            key: Some(RequestKey { origin: OriginId(5), request: 1 }),
            first_ms: Some(20.0),
            is_first_event: false,
        };
        demand.note(arrival, &view, NOW.plus_ms(4_020));
        let at = &demand.taken.endpoints[&id()];
        assert_eq!(at.first_tokens, Firsts::default());
        assert!((at.split_first_tokens.came.later_than(3_000.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn loads_give_the_work_of_requests_as_they_rise() {
        let (mut demand, mut view) = begun();
        let load = |requests, prefill_work, context_tokens| {
            Kind::InFlight(InFlightReport {
                origin: 5,
                endpoint: id().0,
                requests,
                prefills: requests,
                prefill_work,
                context_tokens,
            })
        };
        for kind in [load(1, 1_000, 2_000), load(3, 5_000, 9_000), load(2, 1_000, 6_000), load(0, 0, 0)] {
            note(&mut demand, &mut view, kind);
        }
        let at = &demand.taken.endpoints[&id()];
        assert_eq!((at.booked, at.work_tokens, at.context_tokens), (3.0, 5_000.0, 9_000.0));
        let expected = 1_000.0 * 1_000.0 + 4_000.0 * 4_000.0 / 2.0;
        assert!((at.work_tokens_squared - expected).abs() < 1e-3, "{}", at.work_tokens_squared);
    }
}
