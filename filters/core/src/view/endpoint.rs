//! The state of one endpoint apart from its cache: its load, its speed, its health.
//!
//! Its load is known from two sources. The proxies report what they have *in flight*, per origin and absolute: exact
//! to the microsecond for traffic that comes through them. The engine's *status* is late by a scrape interval, but also
//! counts traffic that comes another way. A reader takes the larger.

use super::adapters::Adapters;
use super::arrivals::Arrivals;
use super::drain::Drain;
use super::outcomes::Outcomes;
use super::speed::Speed;
use crate::hash::{SeededMap, seeded};
use crate::ids::{EndpointId, OriginId};
use crate::limits::{CAPACITY_TOKENS_DEFAULT, LOAD_REQUESTS_MAX, LOAD_TOKENS_MAX, ORIGIN_SILENCE_MS_MAX};
use crate::num::{count, float};
use crate::time::Timestamp;
use crate::wire::{EngineStatus, Health, InFlightReport, Outcome, OutcomeClass, Role, UsageSeen};
use crate::work::PrefillWork;

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
/// The same where clients see each trial fail, because Envoy does not retry it.
const AVOID_MS_FAULTY_MAX: u64 = 64_000;
/// How often an endpoint whose avoidance has ended gets a request until one succeeds, in milliseconds. It may be an engine
/// that fails fast, which would draw everything.
const TRIAL_MS: u64 = 1_000;
/// For how long a first token is better evidence than the controller's failed scrapes, in milliseconds: a
/// scrape that a network policy blocks must not take down a pool that serves.
const SERVED_MS_FRESH: u64 = 10_000;
/// Weight of the newest response in the share of expected tokens that the cache really had.
const HIT_WEIGHT: f64 = 0.1;
/// Tokens that must have been expected for a response to say something about that share.
const HIT_TOKENS_MIN: u64 = 256;
/// The share above which an endpoint's holdings count in full. A full cache evicts other prefixes than expected all the
/// time; to believe less of it then makes requests leave what is still there.
const HIT_SHARE_FULL: f64 = 0.3;

/// One endpoint as a view knows it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The same in every process.
    pub id: EndpointId,
    /// `ip:port`.
    pub address: String,
    /// What runs at that address, as [`crate::wire::PoolEndpoint::identity`].
    pub identity: u64,
    /// The legs that it takes.
    pub role: Role,
    /// The id that its KV connector gives it; empty where that is not known, or of no use.
    pub engine: String,
    /// KV capacity of its GPU in tokens, which bounds the running requests.
    pub capacity_tokens: u64,
    /// The health that the controller reports; `Unknown` until a scrape.
    pub health: Health,
    status: EngineStatus,
    in_flight: InFlight,
    origins: SeededMap<OriginId, InFlight>,
    /// Learned from responses whose usage confirms their tokens.
    speed: Speed,
    /// Learned from the other first tokens. Whoever pads prompts with text that makes few tokens can teach it anything, so
    /// it never sets one endpoint apart from the others.
    unconfirmed_speed: Speed,
    arrivals: Arrivals,
    /// Since when the request at the head of the queue is being prefilled.
    head_since: Timestamp,
    drain: Drain,
    failures: u32,
    /// When the last failure was seen.
    failed: Timestamp,
    avoid_until: Timestamp,
    /// Until when the one request that tries it after an avoidance is waited for.
    trial_until: Timestamp,
    /// The last first token.
    served: Option<Timestamp>,
    /// When the newest request that got its first token was sent.
    proved: Timestamp,
    outcomes: Outcomes,
    /// The LoRA adapters that it has used lately.
    pub(super) adapters: Adapters,
    /// Share of the tokens that were expected in its cache that were there.
    hit_share: f64,
}

/// What an outcome calls for beyond what the endpoint itself has made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing.
    Done,
    /// A comparison with the others of the pool: if it is the endpoint's own fault, it has failed.
    Compare,
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
            identity: 0,
            role: Role::Both,
            engine: String::new(),
            capacity_tokens: CAPACITY_TOKENS_DEFAULT,
            health: Health::Unknown,
            status: EngineStatus::default(),
            in_flight: InFlight::default(),
            origins: SeededMap::with_hasher(seeded(seed)),
            speed: Speed::default(),
            unconfirmed_speed: Speed::default(),
            arrivals: Arrivals::default(),
            head_since: Timestamp::ZERO,
            drain: Drain::default(),
            failures: 0,
            failed: Timestamp::ZERO,
            avoid_until: Timestamp::ZERO,
            trial_until: Timestamp::ZERO,
            served: None,
            proved: Timestamp::ZERO,
            outcomes: Outcomes::default(),
            adapters: Adapters::default(),
            hit_share: 1.0,
        }
    }

    /// Takes over the state of the engine. One whose scrapes succeed again is given another chance at once. Returns whether
    /// its process is another one than before: its cache is cold.
    pub fn set_status(&mut self, status: &EngineStatus) -> bool {
        let (before, after) = (self.status.incarnation, status.incarnation);
        let has_restarted = before != 0 && after != 0 && before != after;
        self.status = EngineStatus { incarnation: if after == 0 { before } else { after }, ..*status };
        if has_restarted {
            self.forgive();
            self.outcomes = Outcomes::default();
            self.adapters = Adapters::default();
            self.hit_share = 1.0;
        }
        self.capacity_tokens = status.capacity_tokens.unwrap_or(self.capacity_tokens);
        let health = status.health();
        if health == Health::Healthy && matches!(self.health, Health::Unhealthy | Health::Absent) {
            self.forgive();
        }
        self.health = health;
        has_restarted
    }

    /// Drops the load and the health that the controller has published: they are too old to be believed. Its capacity stays: it changes
    /// with the process only.
    pub(super) fn expire_status(&mut self) {
        self.status = EngineStatus {
            running: 0,
            waiting: 0,
            kv_used_permille: 0,
            health: Health::Unknown.into(),
            ..self.status
        };
        self.health = Health::Unknown;
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
            if self.failures > 0 {
                self.trial_until = now.plus_ms(TRIAL_MS);
            }
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
        SLOWNESS_MAX * self.measured_speed().prefill_s_per_token()
    }

    /// The best that is known of its own speed, for those who look at it.
    pub fn measured_speed(&self) -> &Speed {
        if self.speed.log().is_some() { &self.speed } else { &self.unconfirmed_speed }
    }

    /// Learned prefill speed.
    pub fn speed(&self) -> &Speed {
        &self.speed
    }

    /// What first tokens show of it whose responses report no usage: good for the pool as a whole only.
    pub fn unconfirmed_speed(&self) -> &Speed {
        &self.unconfirmed_speed
    }

    /// Tokens of those that it should hold that it will find: as many, unless responses show that its cache lacks them.
    pub fn believed_tokens(&self, held: u64) -> u64 {
        if self.hit_share >= HIT_SHARE_FULL { held } else { count(float(held) * self.hit_share) }
    }

    /// Share of the tokens that were expected in its cache that were there, by the usage of its responses.
    pub fn hit_share(&self) -> f64 {
        self.hit_share
    }

    /// The LoRA adapters that it has used lately.
    pub fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// The rate at which work arrives there.
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Takes what one of its requests came to. A first token ends failures, if its request was sent after them: older ones
    /// get theirs from a full engine too.
    pub(super) fn take_outcome(&mut self, outcome: &Outcome, now: Timestamp) -> Judgement {
        match outcome.class() {
            OutcomeClass::None | OutcomeClass::Refused => {}
            OutcomeClass::Served => {
                let sent = now.minus_ms(outcome.age_ms);
                self.served = Some(now);
                self.proved = self.proved.max(sent);
                self.outcomes.note_good(now);
                if sent >= self.failed {
                    self.forgive();
                }
                if let Some(work) = outcome.work_ahead {
                    self.unconfirmed_speed.observe(PrefillWork(work), outcome.ttft_us);
                }
            }
            OutcomeClass::Full | OutcomeClass::Unreachable => self.fail(AVOID_MS_MAX, now),
            OutcomeClass::Rejected | OutcomeClass::Faulty | OutcomeClass::Empty => {
                self.outcomes.note_bad(now);
                return Judgement::Compare;
            }
            OutcomeClass::Silent => return Judgement::Compare,
        }
        Judgement::Done
    }

    /// Learns from the usage of one of its responses: its speed, and how much of what it should hold it really holds.
    pub(super) fn learn_usage(&mut self, usage: &UsageSeen) {
        if let Some(work) = usage.work_ahead {
            self.speed.observe(PrefillWork(work), usage.ttft_us);
        }
        if let Some(cached) = usage.cached_tokens
            && usage.expected_cached_tokens >= HIT_TOKENS_MIN
        {
            // As shares of the prompt: the estimate of its tokens may be off.
            let found = float(cached) / float(usage.prompt_tokens.max(1));
            let expected = float(usage.expected_cached_tokens) / float(usage.expected_prompt_tokens.max(1));
            self.hit_share += HIT_WEIGHT * ((found / expected).min(1.0) - self.hit_share);
        }
    }

    /// What its requests came to.
    pub(super) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Whether a request that was sent at `sent` or later has got its first token.
    pub(super) fn has_proved(&self, sent: Timestamp) -> bool {
        self.proved >= sent && self.proved > Timestamp::ZERO
    }

    /// Whether any request has got its first token since `sent`, whenever that one was sent.
    pub(super) fn has_served_since(&self, sent: Timestamp) -> bool {
        self.has_proved(sent) || self.served.is_some_and(|served| served >= sent)
    }

    fn forgive(&mut self) {
        self.failures = 0;
        self.avoid_until = Timestamp::ZERO;
        self.trial_until = Timestamp::ZERO;
    }

    /// Records that what its requests come to is its own fault: clients see each trial fail, so there are few.
    pub(super) fn fail_by_fault(&mut self, now: Timestamp) {
        self.fail(AVOID_MS_FAULTY_MAX, now);
    }

    /// Records a failed attempt: the endpoint is avoided, longer each time, until a first token arrives. A failure during
    /// an avoidance is the same failure, seen by several requests or reported twice.
    fn fail(&mut self, avoid_ms_max: u64, now: Timestamp) {
        self.served = None;
        if is_pending(self.avoid_until, now, AVOID_MS_FAULTY_MAX) {
            return;
        }
        self.failed = now;
        self.trial_until = Timestamp::ZERO;
        let avoid_ms = AVOID_MS_FIRST.checked_shl(self.failures).unwrap_or(avoid_ms_max).min(avoid_ms_max);
        self.failures = self.failures.saturating_add(1).min(16);
        self.avoid_until = now.plus_ms(avoid_ms);
    }

    /// Whether it may be chosen now.
    pub fn fitness(&self, now: Timestamp) -> Fitness {
        if matches!(self.health, Health::Unhealthy | Health::Absent) && !self.has_served(now) {
            Fitness::Unhealthy
        } else if self.is_avoided(now) {
            Fitness::Avoided
        } else {
            Fitness::Fit
        }
    }

    /// Whether nobody listens there, as far as the controller and recent requests show.
    pub fn is_absent(&self, now: Timestamp) -> bool {
        self.health == Health::Absent && !self.has_served(now)
    }

    fn has_served(&self, now: Timestamp) -> bool {
        self.served.is_some_and(|served| now.ms_apart(served) < SERVED_MS_FRESH)
    }

    fn is_avoided(&self, now: Timestamp) -> bool {
        is_pending(self.avoid_until, now, AVOID_MS_FAULTY_MAX) || is_pending(self.trial_until, now, TRIAL_MS)
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

/// Whether `until` is still to come, at most `ms_max` from now: a clock that is set back must not prolong it.
fn is_pending(until: Timestamp, now: Timestamp, ms_max: u64) -> bool {
    now < until && until.ms_since(now) <= ms_max
}

/// Whether an origin's loads no longer count, given the time of its last event.
pub(super) fn is_silent(last_event: Timestamp, now: Timestamp) -> bool {
    // In either direction: a clock that is set back must not keep a dead origin's loads until it catches up.
    now.ms_apart(last_event) > ORIGIN_SILENCE_MS_MAX
}
