//! Failures on demand: the kinds, and those in effect.

use serde::Deserialize;
use std::{num::NonZeroU32, time::Duration};
use tokio::sync::watch;

/// A failure that a test orders, by [`super::EngineServer::fault`] or by `POST /sim/fault`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Ends all faults; a dead engine comes back.
    Clear,
    /// Closes the listening socket and idle connections: new ones are refused. Responses under way continue.
    Refuse,
    /// Accepts requests, but responds to none outside `/sim/*` until the fault ends.
    Stall,
    /// Responds to inference requests with an error status.
    Status {
        /// The status, for example 429 or 503.
        code: u16,
        /// For how many requests; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// How long the engine takes for it.
        #[serde(default)]
        after_ms: u64,
        /// Every which request fails, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Accepts inference requests and never responds to them; everything else works.
    Silent {
        /// For how many requests; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// Every which request, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Responds to inference requests with 200 and no token.
    Empty {
        /// For how many requests; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// How long the engine takes for it.
        #[serde(default)]
        after_ms: u64,
        /// Every which request, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Responds to inference requests with 200 and something else than a response.
    Nonsense {
        /// What comes instead.
        what: Nonsense,
        /// For how many requests; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// Every which request, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Breaks the connection in the middle of the body of responses that are not streams.
    Half {
        /// For how many responses; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// Every which response, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Does its work and keeps the response back for a while.
    Late {
        /// For how long.
        ms: u64,
        /// For how many responses; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// Every which response, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Something is wrong with `/metrics` and with nothing else.
    Scrape(Scrape),
    /// Something is wrong with the next batches of KV events and with nothing else.
    Events {
        /// What.
        what: EventFault,
        /// For how many batches; `None`: until cleared.
        #[serde(default)]
        count: Option<u32>,
        /// Every which batch, from 1, which is all.
        #[serde(default = "all")]
        every: NonZeroU32,
    },
    /// Breaks the connection of streams in the middle, without an end of the chunked body.
    Cut {
        /// The number of chunks that arrive before.
        after_chunks: usize,
        /// For how many streams; `None`: until cleared.
        count: Option<u32>,
    },
    /// Breaks all connections, loses all requests and the cache, and refuses connections until the fault ends.
    Die,
    /// Breaks all connections, loses all requests and the cache, and is back at once as a new process.
    Restart,
    /// Empties the cache and changes nothing else.
    Cold,
}

/// What comes instead of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nonsense {
    /// A page for people, as of a proxy in between.
    Html,
    /// An empty object.
    Json,
    /// The response of a prefill leg, its prompt held, and nothing handed over: an engine without a connector.
    NoHandover,
    /// The same with a handover that names nothing.
    EmptyHandover,
}

/// What is wrong with a batch of KV events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventFault {
    /// It is not sent; a replay has it.
    Gap,
    /// It is not sent, and no replay has it.
    Lost,
    /// It is not even numbered: nobody can see that it is missing.
    Silence,
    /// It is sent after the next one.
    Reorder,
    /// It is sent twice.
    Repeat,
    /// Its payload is no msgpack.
    Garbage,
    /// Its payload ends in the middle.
    Truncated,
    /// It has two frames instead of three.
    Frames,
}

/// What is wrong with `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "scrape", rename_all = "snake_case")]
pub enum Scrape {
    /// The page comes late.
    Late {
        /// By how much.
        ms: u64,
    },
    /// An error comes instead of the page.
    Status {
        /// The status.
        code: u16,
    },
    /// The connection breaks instead.
    Cut,
    /// The page stays as it was when the fault began.
    Frozen,
    /// The page says that so many requests run.
    Busy {
        /// How many.
        running: u32,
    },
}

/// The default of `every`.
const fn all() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl Fault {
    /// The next `count` inference requests get this status at once; `None`: until cleared.
    pub const fn status(code: u16, count: Option<u32>) -> Self {
        Self::Status { code, count, after_ms: 0, every: NonZeroU32::MIN }
    }

    /// The next `count` batches of KV events are spoilt like this; `None`: until cleared.
    pub const fn events(what: EventFault, count: Option<u32>) -> Self {
        Self::Events { what, count, every: NonZeroU32::MIN }
    }
}

/// A [`Fault`] as `POST /sim/fault` takes it.
#[derive(Debug, Deserialize)]
pub(super) struct FaultOrder {
    #[serde(flatten)]
    pub(super) fault: Fault,
    /// After how many milliseconds it ends by itself.
    pub(super) for_ms: Option<u64>,
}

// === impl FaultOrder ===

impl FaultOrder {
    /// A closed socket cannot receive the order that reopens it, so such a fault must come with its end.
    pub(super) fn is_a_trap(&self) -> bool {
        matches!(self.fault, Fault::Refuse | Fault::Die) && self.for_ms.is_none()
    }
}

/// The faults in force, one of a kind; a new order replaces the old one of its kind.
#[derive(Clone, Debug, Default)]
pub(super) struct InForce {
    /// Names orders, so that the end of one does not end its successor.
    orders: u64,
    closed: Option<u64>,
    /// The process is gone, and with it the side channel.
    dead: Option<u64>,
    stalled: Option<u64>,
    status: Option<Counted<(u16, Duration)>>,
    silent: Option<Counted<()>>,
    empty: Option<Counted<Duration>>,
    nonsense: Option<Counted<Nonsense>>,
    half: Option<Counted<()>>,
    late: Option<Counted<Duration>>,
    pub(super) scrape: Option<(u64, Scrape)>,
    events: Option<Counted<EventFault>>,
    cut: Option<Counted<usize>>,
    /// How often the engine died.
    pub(super) deaths: u64,
}

#[derive(Clone, Copy, Debug)]
struct Counted<T> {
    order: u64,
    what: T,
    left: Option<u32>,
    every: NonZeroU32,
    /// Requests since the last that the fault met.
    passed: u32,
}

// === impl Counted ===

impl<T> Counted<T> {
    const fn new(order: u64, what: T, left: Option<u32>, every: NonZeroU32) -> Self {
        Self { order, what, left, every, passed: 0 }
    }
}

// === impl InForce ===

impl InForce {
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.dead.is_none()
    }

    /// The last order that was put.
    pub(super) fn orders(&self) -> u64 {
        self.orders
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Puts a fault into force and returns the order's name.
    fn put(&mut self, fault: &Fault) -> u64 {
        self.orders += 1;
        let order = self.orders;
        match *fault {
            Fault::Clear => *self = Self { orders: order, deaths: self.deaths, ..Self::default() },
            Fault::Refuse => self.closed = Some(order),
            Fault::Stall => self.stalled = Some(order),
            Fault::Status { code, count, after_ms, every } => {
                let what = (code, Duration::from_millis(after_ms));
                self.status = Some(Counted::new(order, what, count, every));
            }
            Fault::Silent { count, every } => self.silent = Some(Counted::new(order, (), count, every)),
            Fault::Empty { count, after_ms, every } => {
                self.empty = Some(Counted::new(order, Duration::from_millis(after_ms), count, every));
            }
            Fault::Nonsense { what, count, every } => {
                self.nonsense = Some(Counted::new(order, what, count, every));
            }
            Fault::Half { count, every } => self.half = Some(Counted::new(order, (), count, every)),
            Fault::Late { ms, count, every } => {
                self.late = Some(Counted::new(order, Duration::from_millis(ms), count, every));
            }
            Fault::Scrape(scrape) => self.scrape = Some((order, scrape)),
            Fault::Events { what, count, every } => {
                self.events = Some(Counted::new(order, what, count, every));
            }
            Fault::Cut { after_chunks, count } => {
                self.cut = Some(Counted::new(order, after_chunks, count, all()));
            }
            Fault::Restart => self.deaths += 1,
            Fault::Die => {
                self.closed = Some(order);
                self.dead = Some(order);
                self.deaths += 1;
            }
            Fault::Cold => {}
        }
        order
    }

    fn lift(&mut self, order: u64) {
        self.closed = self.closed.filter(|other| *other != order);
        self.dead = self.dead.filter(|other| *other != order);
        self.stalled = self.stalled.filter(|other| *other != order);
        self.status = self.status.filter(|other| other.order != order);
        self.silent = self.silent.filter(|other| other.order != order);
        self.empty = self.empty.filter(|other| other.order != order);
        self.nonsense = self.nonsense.filter(|other| other.order != order);
        self.half = self.half.filter(|other| other.order != order);
        self.late = self.late.filter(|other| other.order != order);
        self.scrape = self.scrape.filter(|(other, _)| *other != order);
        self.events = self.events.filter(|other| other.order != order);
        self.cut = self.cut.filter(|other| other.order != order);
    }
}

/// The faults of one engine, watched by its listener and its connections.
#[derive(Debug)]
pub(super) struct Faults {
    in_force: watch::Sender<InForce>,
    /// The last order that the listener has acted on.
    applied: watch::Sender<u64>,
}

// === impl Faults ===

impl Faults {
    pub(super) fn new() -> Self {
        Self { in_force: watch::Sender::new(InForce::default()), applied: watch::Sender::new(0) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Puts a fault into force. The returned order ends it in [`Self::lift_after`].
    pub(super) fn put(&self, fault: &Fault) -> u64 {
        let mut order = 0;
        self.in_force.send_modify(|in_force| order = in_force.put(fault));
        order
    }

    /// How often the engine died.
    pub(super) fn deaths(&self) -> u64 {
        self.in_force.borrow().deaths
    }

    /// Waits until the listener has acted on an order.
    pub(super) async fn applied(&self, order: u64) {
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= order).await;
    }

    /// The listener has acted on all orders up to this one.
    pub(super) fn set_applied(&self, order: u64) {
        self.applied.send_replace(order);
    }

    /// Ends one order after a time; one that was replaced or cleared meanwhile stays as it is.
    pub(super) async fn lift_after(&self, order: u64, time: Duration) {
        tokio::time::sleep(time).await;
        self.in_force.send_modify(|in_force| in_force.lift(order));
    }

    /// Waits while the engine is stalled.
    pub(super) async fn unstalled(&self) {
        let mut watch = self.watch();
        let _ = watch.wait_for(|in_force| !in_force.is_stalled()).await;
    }

    /// Whether the engine keeps silent on the next inference request; counts it.
    pub(super) fn take_silent(&self) -> bool {
        self.take(|in_force| &mut in_force.silent).is_some()
    }

    /// The status that the next inference request must get, and after which time, if any; counts it.
    pub(super) fn take_status(&self) -> Option<(u16, Duration)> {
        self.take(|in_force| &mut in_force.status)
    }

    /// After which time the next inference request must end without a token, if it must; counts it.
    pub(super) fn take_empty(&self) -> Option<Duration> {
        self.take(|in_force| &mut in_force.empty)
    }

    /// What the next inference request gets instead of a response, if it is not `of_legs`, or the next prefill leg, if it is;
    /// counts it.
    pub(super) fn take_nonsense(&self, of_legs: bool) -> Option<Nonsense> {
        let is_of_leg = |what| matches!(what, Nonsense::NoHandover | Nonsense::EmptyHandover);
        let nonsense = self.in_force.borrow().nonsense;
        nonsense.filter(|fault| is_of_leg(fault.what) == of_legs)?;
        self.take(|in_force| &mut in_force.nonsense)
    }

    /// Whether the next whole response breaks in the middle; counts it.
    pub(super) fn take_half(&self) -> bool {
        self.take(|in_force| &mut in_force.half).is_some()
    }

    /// How long the next response is kept back; counts it.
    pub(super) fn take_late(&self) -> Option<Duration> {
        self.take(|in_force| &mut in_force.late)
    }

    /// After how many pieces the next stream must break, if it must; counts it.
    pub(super) fn take_cut(&self) -> Option<usize> {
        self.take(|in_force| &mut in_force.cut)
    }

    /// What is wrong with the next batch of KV events, if anything; counts it.
    pub(super) fn take_event_fault(&self) -> Option<EventFault> {
        self.take(|in_force| &mut in_force.events)
    }

    /// What is wrong with `/metrics`, and the order's name.
    pub(super) fn scrape(&self) -> Option<(u64, Scrape)> {
        self.in_force.borrow().scrape
    }

    fn take<T: Copy>(&self, kind: impl Fn(&mut InForce) -> &mut Option<Counted<T>>) -> Option<T> {
        let mut taken = None;
        // What is counted here changes nothing for those who watch.
        self.in_force.send_if_modified(|in_force| {
            let slot = kind(in_force);
            let Some(fault) = slot else { return false };
            fault.passed += 1;
            if fault.passed < fault.every.get() {
                return false;
            }
            fault.passed = 0;
            taken = Some(fault.what);
            let Some(left) = &mut fault.left else { return false };
            *left = left.saturating_sub(1);
            if *left == 0 {
                *slot = None;
            }
            false
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_ends_with_its_count() {
        let faults = Faults::new();
        faults.put(&Fault::status(503, Some(2)));
        let taken: Vec<_> = (0..3).map(|_| faults.take_status().map(|(code, _)| code)).collect();
        assert_eq!(taken, [Some(503), Some(503), None]);
    }

    #[test]
    fn a_share_of_the_requests_fails() {
        let faults = Faults::new();
        faults.put(&Fault::Silent { count: Some(2), every: NonZeroU32::new(3).unwrap() });
        let taken: Vec<_> = (0..9).map(|_| faults.take_silent()).collect();
        assert_eq!(taken, [false, false, true, false, false, true, false, false, false]);
    }

    #[test]
    fn the_end_of_an_order_spares_its_successor() {
        let mut in_force = InForce::default();
        let first = in_force.put(&Fault::Refuse);
        in_force.put(&Fault::Refuse);
        in_force.lift(first);
        assert!(!in_force.is_open());
        in_force.put(&Fault::Clear);
        assert!(in_force.is_open());
    }
}
