//! The state of one endpoint apart from its cache: its load, its speed, its health.
//!
//! Its load is known from two sources. The proxies report what they have *in flight*, per origin and absolute: exact
//! to the microsecond for traffic that comes through them. The engine's *status* is late by a scrape interval, but also
//! counts traffic that comes another way. A reader takes the larger.

use super::arrivals::Arrivals;
use super::drain::Drain;
use super::speed::Speed;
use crate::cost::PrefillWork;
use crate::hash::{SeededMap, seeded};
use crate::ids::{EndpointId, OriginId};
use crate::limits::{CAPACITY_TOKENS_DEFAULT, LOAD_REQUESTS_MAX, LOAD_TOKENS_MAX, ORIGIN_SILENCE_MS_MAX};
use crate::num::float;
use crate::time::Timestamp;
use crate::wire::{EngineStatus, Health, InFlightReport};

/// Share of the booked work that counts as remaining, however long ago it was sent: overdue work is about to end, but
/// has not ended.
const BACKLOG_SHARE_MIN: f64 = 0.05;
/// How much slower than its learned speed an engine may be before it counts as held up by something other than prefill.
/// Below that, it catches up with the estimate, however long it is busy.
const SLOWNESS_MAX: f64 = 2.0;
const MS_PER_S: f64 = 1_000.0;
/// Avoidance after the first failed attempt, in milliseconds; it doubles with each further failure.
const AVOID_MS_FIRST: u64 = 1_000;
/// Longest avoidance, in milliseconds: the longest that a recovered engine waits for its next request.
const AVOID_MS_MAX: u64 = 16_000;
/// For how long a first token is better evidence than the controller's failed scrapes, in milliseconds: a
/// scrape that a network policy blocks must not take down a pool that serves.
const SERVED_MS_FRESH: u64 = 10_000;

/// One endpoint as a view knows it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The same in every process.
    pub id: EndpointId,
    /// `ip:port`.
    pub address: String,
    /// KV capacity of its GPU in tokens, which bounds the running requests.
    pub capacity_tokens: u64,
    /// The health that the controller reports; `Unknown` until a scrape.
    pub health: Health,
    status: EngineStatus,
    in_flight: InFlight,
    origins: SeededMap<OriginId, InFlight>,
    speed: Speed,
    arrivals: Arrivals,
    /// Since when the request at the head of the queue is being prefilled.
    head_since: Timestamp,
    drain: Drain,
    failures: u32,
    avoid_until: Timestamp,
    served: Option<Timestamp>,
}

/// The work that was sent to an endpoint and has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Requests.
    pub requests: u32,
    /// Requests of those that still prefill.
    pub prefills: u32,
    /// Work of those prefills.
    pub prefill_work: PrefillWork,
    /// Prompt tokens of all of them.
    pub context_tokens: u64,
}

/// The fitness of an endpoint to be chosen; the larger, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fitness {
    /// It may be chosen.
    Fit,
    /// An attempt failed a moment ago.
    Avoided,
    /// The controller cannot reach it, and no recent request could: it is never chosen.
    Unhealthy,
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint of which only the address is known.
    pub fn new(address: String, seed: u64) -> Self {
        Self {
            id: EndpointId::of(&address),
            address,
            capacity_tokens: CAPACITY_TOKENS_DEFAULT,
            health: Health::Unknown,
            status: EngineStatus::default(),
            in_flight: InFlight::default(),
            origins: SeededMap::with_hasher(seeded(seed)),
            speed: Speed::default(),
            arrivals: Arrivals::default(),
            head_since: Timestamp::ZERO,
            drain: Drain::default(),
            failures: 0,
            avoid_until: Timestamp::ZERO,
            served: None,
        }
    }

    /// Takes over the state of the engine. One whose scrapes succeed again is given another chance at once.
    pub fn set_status(&mut self, status: &EngineStatus) {
        self.status = *status;
        self.capacity_tokens = status.capacity_tokens.unwrap_or(self.capacity_tokens);
        let health = status.health();
        if health == Health::Healthy && self.health == Health::Unhealthy {
            self.failures = 0;
            self.avoid_until = Timestamp::ZERO;
        }
        self.health = health;
    }

    /// The state of the engine as last reported.
    pub fn status(&self) -> &EngineStatus {
        &self.status
    }

    /// Replaces one origin's share of the load. Implausible values are clamped, so that the sum of all
    /// shares stays exact: a saturated sum would not recover.
    pub fn set_in_flight(&mut self, report: &InFlightReport, now: Timestamp) {
        let share = InFlight {
            requests: report.requests.min(LOAD_REQUESTS_MAX),
            prefills: report.prefills.min(LOAD_REQUESTS_MAX),
            prefill_work: PrefillWork(report.prefill_work.min(LOAD_TOKENS_MAX)),
            context_tokens: report.context_tokens.min(LOAD_TOKENS_MAX),
        };
        let origin = OriginId(report.origin);
        let old = if share == InFlight::default() {
            self.origins.remove(&origin)
        } else {
            self.origins.insert(origin, share)
        };
        let before = self.in_flight;
        self.in_flight.subtract(old.unwrap_or_default());
        self.in_flight.add(share);
        let mut new_work = PrefillWork::default();
        if self.in_flight.requests > before.requests {
            new_work = self.in_flight.prefill_work.minus(before.prefill_work);
            self.arrivals.note(self.in_flight.requests - before.requests, new_work, now);
        }
        self.drain.note(new_work, self.in_flight.prefill_work, self.slow_s_per_token(), now);
        if before.prefills == 0 || self.in_flight.prefills < before.prefills {
            self.head_since = now;
        }
    }

    /// Drops one origin's share of the load.
    pub fn drop_origin(&mut self, origin: OriginId) {
        if let Some(old) = self.origins.remove(&origin) {
            self.in_flight.subtract(old);
        }
    }

    /// Each origin's share, for a snapshot.
    pub fn in_flight_reports(&self) -> impl Iterator<Item = InFlightReport> + '_ {
        self.origins.iter().map(|(origin, share)| InFlightReport {
            origin: origin.0,
            endpoint: self.id.0,
            requests: share.requests,
            prefills: share.prefills,
            prefill_work: share.prefill_work.0,
            context_tokens: share.context_tokens,
        })
    }

    /// The in-flight work of all origins.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    /// Tokens of prompts that the engine can hold, on its GPU and in the tiers below: which bounds its cells.
    pub fn cache_tokens(&self) -> u64 {
        self.capacity_tokens.saturating_add(self.status.kv_below_gpu_tokens)
    }

    /// Requests at the engine, by whichever source shows more.
    pub fn requests(&self) -> u32 {
        self.in_flight.requests.max(self.status.running.saturating_add(self.status.waiting))
    }

    /// Requests that decode now, by whichever source shows more.
    pub fn decodes(&self) -> u32 {
        let booked = self.in_flight.requests.saturating_sub(self.in_flight.prefills);
        booked.max(self.status.running.saturating_sub(self.in_flight.prefills))
    }

    /// KV tokens in use by requests, by whichever source shows more.
    pub fn used_tokens(&self) -> u64 {
        let reported =
            self.capacity_tokens.saturating_mul(u64::from(self.status.kv_used_permille.min(1000))) / 1000;
        self.in_flight.context_tokens.max(reported)
    }

    /// Prefill work that was booked and is not done yet, in tokens' worth, at a speed: the part of its
    /// prefill that the request at the head of the queue has had no longer delays others.
    pub fn backlog_tokens(&self, prefill_s_per_token: f64, now: Timestamp) -> f64 {
        let booked = self.in_flight.prefill_work.tokens();
        let done = float(now.ms_since(self.head_since)) / MS_PER_S / prefill_s_per_token;
        (booked - done).max(booked * BACKLOG_SHARE_MIN)
    }

    /// Whether requests wait there for something other than prefill: the engine reports waiting requests, and at least one
    /// request without a first token would have it if the engine only prefilled, even at half its speed. Later requests
    /// may wait for the same reason, so their first tokens say nothing about speed. If they counted, the engine would look
    /// slow, and the others would get its work.
    pub fn is_held_up(&self, now: Timestamp) -> bool {
        let left_tokens = self.drain.left_tokens(self.slow_s_per_token(), now);
        let booked_tokens = self.in_flight.prefill_work.tokens();
        let mean_tokens = booked_tokens / f64::from(self.in_flight.prefills.max(1));
        self.status.waiting > 0 && self.in_flight.prefills > 0 && left_tokens <= booked_tokens - mean_tokens
    }

    fn slow_s_per_token(&self) -> f64 {
        SLOWNESS_MAX * self.speed.prefill_s_per_token()
    }

    /// Learned prefill speed.
    pub fn speed(&self) -> &Speed {
        &self.speed
    }

    /// The rate at which work arrives there.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Notes a first token, which ends failures, and learns the speed from how long it took, where prefill was all that
    /// it waited for.
    pub fn observe(&mut self, work_ahead: Option<PrefillWork>, ttft_us: u64, now: Timestamp) {
        self.served = Some(now);
        self.failures = 0;
        self.avoid_until = Timestamp::ZERO;
        if let Some(work) = work_ahead {
            self.speed.observe(work, ttft_us);
        }
    }

    /// Records a failed attempt: the endpoint is avoided, longer each time, until a first token arrives. A failure during
    /// an avoidance is the same failure, seen by several requests or reported twice.
    pub fn fail(&mut self, now: Timestamp) {
        self.served = None;
        if self.is_avoided(now) {
            return;
        }
        let avoid_ms = AVOID_MS_FIRST.checked_shl(self.failures).unwrap_or(AVOID_MS_MAX).min(AVOID_MS_MAX);
        self.failures = self.failures.saturating_add(1).min(16);
        self.avoid_until = now.plus_ms(avoid_ms);
    }

    /// Whether it may be chosen now.
    pub fn fitness(&self, now: Timestamp) -> Fitness {
        let has_served = self.served.is_some_and(|served| now.ms_apart(served) < SERVED_MS_FRESH);
        if self.health == Health::Unhealthy && !has_served {
            Fitness::Unhealthy
        } else if self.is_avoided(now) {
            Fitness::Avoided
        } else {
            Fitness::Fit
        }
    }

    /// A clock that is set back must not prolong an avoidance.
    fn is_avoided(&self, now: Timestamp) -> bool {
        now < self.avoid_until && self.avoid_until.ms_since(now) <= AVOID_MS_MAX
    }
}

// === impl Fitness ===

impl Fitness {
    /// Its stable name in explanations.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Avoided => "avoided",
            Self::Unhealthy => "unhealthy",
        }
    }
}

// === impl InFlight ===

impl InFlight {
    /// Adds a share.
    pub fn add(&mut self, share: Self) {
        self.requests = self.requests.saturating_add(share.requests);
        self.prefills = self.prefills.saturating_add(share.prefills);
        self.prefill_work = self.prefill_work.plus(share.prefill_work);
        self.context_tokens = self.context_tokens.saturating_add(share.context_tokens);
    }

    /// Takes a share away.
    pub fn subtract(&mut self, share: Self) {
        self.requests = self.requests.saturating_sub(share.requests);
        self.prefills = self.prefills.saturating_sub(share.prefills);
        self.prefill_work = self.prefill_work.minus(share.prefill_work);
        self.context_tokens = self.context_tokens.saturating_sub(share.context_tokens);
    }
}

/// Whether an origin's loads no longer count, given the time of its last event.
pub(super) fn is_silent(last_event: Timestamp, now: Timestamp) -> bool {
    // In either direction: a clock that is set back must not keep a dead origin's loads until it catches up.
    now.ms_apart(last_event) > ORIGIN_SILENCE_MS_MAX
}
