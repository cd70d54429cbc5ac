//! The state of one endpoint apart from its cache: its load, its speed, its health.
//!
//! Load has two witnesses. *Promises* are what proxies booked, per origin and absolute: exact to the
//! microsecond for traffic that comes through us. *Facts* are the engine's own figures: late by a scrape
//! interval, but they also count traffic that comes another way. A reader takes the larger.

use super::arrivals::Arrivals;
use super::drain::Drain;
use super::speed::Speed;
use crate::ids::{EndpointId, OriginId};
use crate::limits::{CAPACITY_TOKENS_DEFAULT, LOAD_REQUESTS_MAX, LOAD_TOKENS_MAX, ORIGIN_SILENCE_MS_MAX};
use crate::num::float;
use crate::time::Timestamp;
use crate::wire::{Facts, Health, Load};
use fnv::FnvHashMap;

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
    /// KV capacity of its GPU in tokens: what bounds the requests that run.
    pub capacity_tokens: u64,
    /// The health that the controller reports; `Unknown` until a scrape.
    pub health: Health,
    facts: Facts,
    promised: Promised,
    origins: FnvHashMap<OriginId, Promised>,
    speed: Speed,
    arrivals: Arrivals,
    /// Since when the request at the head of the queue is being prefilled.
    head_since: Timestamp,
    drain: Drain,
    failures: u32,
    avoid_until: Timestamp,
    served: Option<Timestamp>,
}

/// What has been sent to an endpoint and has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    /// Requests.
    pub requests: u32,
    /// Requests of those that still prefill.
    pub prefills: u32,
    /// Tokens that those still have to prefill.
    pub prefill_tokens: u64,
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
    pub fn new(address: String) -> Self {
        Self {
            id: EndpointId::of(&address),
            address,
            capacity_tokens: CAPACITY_TOKENS_DEFAULT,
            health: Health::Unknown,
            facts: Facts::default(),
            promised: Promised::default(),
            origins: FnvHashMap::default(),
            speed: Speed::default(),
            arrivals: Arrivals::default(),
            head_since: Timestamp::ZERO,
            drain: Drain::default(),
            failures: 0,
            avoid_until: Timestamp::ZERO,
            served: None,
        }
    }

    /// Takes over what the engine said of itself. An engine whose scrape succeeds again gets another
    /// chance at once.
    pub fn set_facts(&mut self, facts: &Facts) {
        self.facts = *facts;
        if facts.capacity_tokens > 0 {
            self.capacity_tokens = facts.capacity_tokens;
        }
        let health = facts.health();
        if health == Health::Healthy && self.health == Health::Unhealthy {
            self.failures = 0;
            self.avoid_until = Timestamp::ZERO;
        }
        self.health = health;
    }

    /// The engine's own figures, as last received.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Replaces one origin's share of the load. What is beyond belief is cut, so that the sum of all shares
    /// stays exact: a sum that once saturated would not come back.
    pub fn set_load(&mut self, load: &Load, now: Timestamp) {
        let share = Promised {
            requests: load.requests.min(LOAD_REQUESTS_MAX),
            prefills: load.prefills.min(LOAD_REQUESTS_MAX),
            prefill_tokens: load.prefill_tokens.min(LOAD_TOKENS_MAX),
            context_tokens: load.context_tokens.min(LOAD_TOKENS_MAX),
        };
        let origin = OriginId(load.origin);
        let old = if share == Promised::default() {
            self.origins.remove(&origin)
        } else {
            self.origins.insert(origin, share)
        };
        let before = self.promised;
        self.promised.subtract(old.unwrap_or_default());
        self.promised.add(share);
        let mut new_tokens = 0;
        if self.promised.requests > before.requests {
            new_tokens = self.promised.prefill_tokens.saturating_sub(before.prefill_tokens);
            self.arrivals.note(self.promised.requests - before.requests, new_tokens, now);
        }
        self.drain.note(new_tokens, self.promised.prefill_tokens, self.slow_s_per_token(), now);
        if before.prefills == 0 || self.promised.prefills < before.prefills {
            self.head_since = now;
        }
    }

    /// Drops one origin's share of the load.
    pub fn drop_origin(&mut self, origin: OriginId) {
        if let Some(old) = self.origins.remove(&origin) {
            self.promised.subtract(old);
        }
    }

    /// Each origin's share, for a snapshot.
    pub fn loads(&self) -> impl Iterator<Item = Load> + '_ {
        self.origins.iter().map(|(origin, share)| Load {
            origin: origin.0,
            endpoint: self.id.0,
            requests: share.requests,
            prefills: share.prefills,
            prefill_tokens: share.prefill_tokens,
            context_tokens: share.context_tokens,
        })
    }

    /// What all origins together have promised it.
    pub fn promised(&self) -> Promised {
        self.promised
    }

    /// Tokens of prompts that the engine can hold, on its GPU and in the tiers below: what bounds its cells.
    pub fn cache_tokens(&self) -> u64 {
        self.capacity_tokens.saturating_add(self.facts.kv_below_gpu_tokens)
    }

    /// Requests at the engine, by whichever witness sees more.
    pub fn requests(&self) -> u32 {
        self.promised.requests.max(self.facts.running.saturating_add(self.facts.waiting))
    }

    /// Requests that decode now, by whichever witness sees more.
    pub fn decodes(&self) -> u32 {
        let promised = self.promised.requests.saturating_sub(self.promised.prefills);
        promised.max(self.facts.running.saturating_sub(self.promised.prefills))
    }

    /// KV tokens in use by requests, by whichever witness sees more.
    pub fn used_tokens(&self) -> u64 {
        let reported =
            self.capacity_tokens.saturating_mul(u64::from(self.facts.kv_used_permille.min(1000))) / 1000;
        self.promised.context_tokens.max(reported)
    }

    /// Prefill work that was promised and is not done yet, in tokens' worth, at a speed: what the request at the
    /// head of the queue has had of its prefill is no longer in anybody's way.
    pub fn backlog_tokens(&self, prefill_s_per_token: f64, now: Timestamp) -> f64 {
        let promised = float(self.promised.prefill_tokens);
        let done = float(now.ms_since(self.head_since)) / MS_PER_S / prefill_s_per_token;
        (promised - done).max(promised * BACKLOG_SHARE_MIN)
    }

    /// Whether requests wait there for something other than prefill: the engine reports waiting requests, and at least one
    /// request without a first token would have it if the engine only prefilled, even at half its speed. Later requests
    /// may wait for the same reason, so their first tokens say nothing about speed. If they counted, the engine would look
    /// slow, and the others would get its work.
    pub fn is_held_up(&self, now: Timestamp) -> bool {
        let left_tokens = self.drain.left_tokens(self.slow_s_per_token(), now);
        let promised_tokens = float(self.promised.prefill_tokens);
        let mean_tokens = promised_tokens / f64::from(self.promised.prefills.max(1));
        self.facts.waiting > 0 && self.promised.prefills > 0 && left_tokens <= promised_tokens - mean_tokens
    }

    fn slow_s_per_token(&self) -> f64 {
        SLOWNESS_MAX * self.speed.prefill_s_per_token()
    }

    /// Learned prefill speed.
    pub fn speed(&self) -> &Speed {
        &self.speed
    }

    /// What arrives there.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Learns from a first token that took `ttft_us` microseconds behind `tokens` tokens of prefill.
    pub fn observe(&mut self, tokens: u64, ttft_us: u64, now: Timestamp) {
        self.served = Some(now);
        self.failures = 0;
        self.avoid_until = Timestamp::ZERO;
        self.speed.observe(tokens, ttft_us);
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

// === impl Promised ===

impl Promised {
    /// Adds a share.
    pub fn add(&mut self, share: Self) {
        self.requests = self.requests.saturating_add(share.requests);
        self.prefills = self.prefills.saturating_add(share.prefills);
        self.prefill_tokens = self.prefill_tokens.saturating_add(share.prefill_tokens);
        self.context_tokens = self.context_tokens.saturating_add(share.context_tokens);
    }

    /// Takes a share away.
    pub fn subtract(&mut self, share: Self) {
        self.requests = self.requests.saturating_sub(share.requests);
        self.prefills = self.prefills.saturating_sub(share.prefills);
        self.prefill_tokens = self.prefill_tokens.saturating_sub(share.prefill_tokens);
        self.context_tokens = self.context_tokens.saturating_sub(share.context_tokens);
    }
}

/// Whether an origin's loads no longer count, given the time of its last event.
pub(super) fn is_silent(last_event: Timestamp, now: Timestamp) -> bool {
    // In either direction: a clock that is set back must not keep a dead origin's loads until it catches up.
    now.ms_apart(last_event) > ORIGIN_SILENCE_MS_MAX
}
