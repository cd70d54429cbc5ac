//! How many engines a load needs, for each of three demands.
//!
//! ```text
//!   P   prefill work, in engine-seconds a second = work tokens/s x seconds a token
//!   D   output tokens/s;  k = what one more request adds to a decode step, in seconds;  t0 = a step without requests
//!
//!   prefill  the 90th percentile of wait + own prefill <= objective, the wait by Sakasegawa's formula for M/G/n queues, where decode
//!            steps take k D of n engines
//!   decode   mean time between tokens I = t0 / (1 - P/n - k D/n): by Little's law D I / n requests run at an engine, a step of theirs
//!            takes t0 + k D I / n, and prefills take P / n of the time. Nine of ten responses meet the objective: the two shares are
//!            those that are exceeded in one case of ten by the requests and prefills that a response happens to run beside
//!   KV room  D I / n requests, I as it then is, and so many more as are exceeded in one case of ten, fit into a cache
//! ```
//!
//! A share of time or of memory that must not be exceeded would be simpler, and wrong for most pools: two engines at 60 % queue for
//! longer than twenty at 85 %.
//!
//! Caches of fewer engines hold less, and what they do not hold is computed again: P is that of the number that is asked about. A pool that
//! counted on the hits of all its engines would shrink to a number that has not these hits, and grow again.
//!
//! Where an engine has several ranks, each takes requests by itself: the formulas are theirs, and their number is divided at the end.

use crate::policy::{Objectives, REPLICAS_MAX};
use crate::reason::Reason;
use crate::seen::{Legs, Speeds};
use warmpath_core::num::count;
use warmpath_core::work::PrefillWork;

/// Busy share of engines that is never planned for, whatever the objective.
const BUSY_MAX: f64 = 0.95;
/// Share of requests that may miss an objective.
const LATE_SHARE: f64 = 0.1;
/// Standard deviations that a Poisson number exceeds in one case of ten.
const TENTH: f64 = 1.2816;
/// The mean square of contexts over the square of their mean: as of times that are distributed exponentially.
const CONTEXTS_UNEQUAL: f64 = 2.0;
/// Share of the KV cache that requests may fill: beyond, engines preempt.
const KV_SHARE: f64 = 0.9;
/// Objective of the time between tokens that can be planned for, in steps without requests: below, no number of engines is enough.
const INTER_TOKEN_STEPS_MIN: f64 = 1.5;

/// What is expected to arrive, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: f64,
    /// Prefill work of the role: engines for responses have that of whole requests.
    pub(crate) work_tokens: f64,
    pub(crate) work_tokens_squared: f64,
    pub(crate) output_tokens: f64,
    /// Tokens that an engine keeps, summed over the requests of a second.
    pub(crate) context_tokens: f64,
}

/// The engines that each demand needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// For the objective of first tokens.
    pub prefill: u32,
    /// For the objective of the time between tokens.
    pub decode: u32,
    /// For the contexts of the requests that are under way.
    pub kv_room: u32,
    /// Beyond the most of these, for what waits already.
    pub backlog: u32,
}

/// A role's load with all that its need depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded<'a> {
    pub(crate) legs: Legs,
    pub(crate) load: Load,
    pub(crate) speeds: &'a Speeds,
    /// Ranks of an engine.
    pub(crate) ranks: u32,
    pub(crate) objectives: &'a Objectives,
    /// What prefill is corrected by.
    pub(crate) prefill_factor: f64,
    /// What decode is corrected by.
    pub(crate) decode_factor: f64,
    /// Engines that take requests: the load's prefill work is what their caches leave.
    pub(crate) ready: u32,
}

/// What prompts take at an engine that has nothing else to do.
#[derive(Clone, Copy, Debug)]
struct Prompts {
    /// One and the square of the coefficient of variation.
    unequal: f64,
    /// The mean, in seconds.
    own_s: f64,
    /// What nine of ten take at most, about, in seconds.
    long_s: f64,
}

// === impl Need ===

impl Need {
    /// All together.
    pub fn replicas(self) -> u32 {
        let most = self.prefill.max(self.decode).max(self.kv_room);
        most.saturating_add(self.backlog).min(REPLICAS_MAX)
    }

    /// What asks for most.
    pub(crate) fn reason(self) -> Reason {
        let most = self.prefill.max(self.decode).max(self.kv_room);
        match () {
            () if self.backlog > 0 => Reason::Backlog,
            () if most == 0 => Reason::Least,
            () if self.prefill == most => Reason::Prefill,
            () if self.decode == most => Reason::Decode,
            () => Reason::KvRoom,
        }
    }
}

// === impl Loaded ===

impl Loaded<'_> {
    /// The engines that it needs, with a backlog of so much work.
    pub(crate) fn need(&self, backlog_tokens: f64) -> Need {
        let has_prefill = self.legs != Legs::Decode || self.load.work_tokens > 0.0;
        let has_decode = self.legs != Legs::Prefill;
        Need {
            prefill: if has_prefill { self.least(|ranks| self.prefill_fits(ranks)) } else { 0 },
            decode: if has_decode { self.least(|ranks| self.decode_fits(ranks)) } else { 0 },
            kv_room: if has_decode { self.least(|ranks| self.contexts_fit(ranks)) } else { 0 },
            backlog: if self.legs == Legs::Decode { 0 } else { self.backlog(backlog_tokens) },
        }
    }

    /// The fewest engines of which the ranks are enough; none where none are. What is enough stays enough with more.
    fn least(&self, is_enough: impl Fn(f64) -> bool) -> u32 {
        if is_enough(0.0) {
            return 0;
        }
        let (mut few, mut enough) = (0, REPLICAS_MAX);
        while enough - few > 1 {
            let middle = few.midpoint(enough);
            if is_enough(self.ranks_of(middle)) { enough = middle } else { few = middle }
        }
        enough
    }

    fn ranks_of(&self, engines: u32) -> f64 {
        f64::from(engines) * f64::from(self.ranks.max(1))
    }

    /// The same with a load that is higher by a share.
    pub(crate) fn higher(mut self, share: f64) -> Self {
        let factor = 1.0 + share;
        let load = &mut self.load;
        for rate in [
            &mut load.requests,
            &mut load.work_tokens,
            &mut load.work_tokens_squared,
            &mut load.output_tokens,
            &mut load.context_tokens,
        ] {
            *rate *= factor;
        }
        self
    }

    /// Engine-seconds of prefill a second.
    fn prefill_busy(&self) -> f64 {
        self.load.work_tokens * self.speeds.prefill_s_per_token
    }

    /// By what factor it grows where so many ranks are to hold the prefixes of those that are there. What LRU caches find falls at most
    /// in proportion to the room that requests leave them, which is what is assumed; that new engines would find more is not.
    fn uncached(&self, ranks: f64) -> f64 {
        let seen = self.ranks_of(self.ready);
        // The requests that one role takes whole are not known in the other.
        if self.legs != Legs::Both || ranks >= seen || self.load.work_tokens <= 0.0 {
            return 1.0;
        }
        let prompt = self.context_tokens() - ratio(self.load.output_tokens, self.load.requests) / 2.0;
        let whole = PrefillWork::of(count(prompt.max(0.0)), 0).tokens() * self.load.requests;
        let hits = (whole - self.load.work_tokens).max(0.0);
        let lost = 1.0 - ratio(self.cache_tokens(ranks), self.cache_tokens(seen)).min(1.0);
        1.0 + hits * lost / self.load.work_tokens
    }

    /// Tokens of KV caches that requests leave to prefixes.
    fn cache_tokens(&self, ranks: f64) -> f64 {
        let running = self.load.output_tokens * self.likely_inter_token_s(ranks, self.prefill_busy());
        (ranks * self.speeds.kv_tokens - running * self.context_tokens()).max(0.0)
    }

    /// The time between tokens, as it is in the mean where so much prefill is to be done, in seconds.
    fn likely_inter_token_s(&self, ranks: f64, prefill_busy: f64) -> f64 {
        let free = 1.0 - (prefill_busy + self.decode_busy()) / ranks;
        if free > 0.0 { (self.speeds.step_s / free).min(self.inter_token_s()) } else { self.inter_token_s() }
    }

    /// Engine-seconds a second that requests add to decode steps.
    fn decode_busy(&self) -> f64 {
        if self.legs == Legs::Prefill { 0.0 } else { self.load.output_tokens * self.step_s_of_one() }
    }

    /// What one more request adds to a step.
    fn step_s_of_one(&self) -> f64 {
        self.speeds.step_s_per_request + self.speeds.step_s_per_context_token * self.context_tokens()
    }

    /// Tokens that a request keeps, in the mean.
    fn context_tokens(&self) -> f64 {
        ratio(self.load.context_tokens, self.load.requests)
    }

    fn prompts(&self) -> Prompts {
        let mean = ratio(self.load.work_tokens, self.load.requests);
        let unequal = ratio(self.load.work_tokens_squared, self.load.requests * mean * mean).max(1.0);
        let own_s = mean * self.speeds.prefill_s_per_token;
        Prompts { unequal, own_s, long_s: own_s * (1.0 + (unequal - 1.0).sqrt()) }
    }

    /// Whether enough engines meet the objective of first tokens: nine of ten prompts take less by themselves.
    pub(crate) fn can_meet_first_tokens(&self) -> bool {
        self.prompts().long_s < self.objectives.ttft_s
    }

    /// Whether enough engines meet the objective of the time between tokens.
    pub(crate) fn can_meet_inter_token(&self) -> bool {
        self.objectives.inter_token_s >= INTER_TOKEN_STEPS_MIN * self.speeds.step_s
    }

    fn prefill_fits(&self, engines: f64) -> bool {
        let uncached = self.uncached(engines);
        let busy = self.prefill_busy() * uncached * self.prefill_factor;
        let servers = engines - self.decode_busy();
        let share = if servers > 0.0 { busy / servers } else { f64::INFINITY };
        if busy <= 0.0 {
            return servers > 0.0 || self.decode_busy() <= 0.0;
        }
        if share >= BUSY_MAX {
            return false;
        }
        let Prompts { unequal, own_s, long_s } = self.prompts();
        let (own_s, long_s) = (own_s * uncached, long_s * uncached);
        // Where long prompts alone miss the objective, no number of engines helps: the wait may then be as long as a prefill.
        let wait_s = (self.objectives.ttft_s - long_s).max(own_s);
        let queues = share.powf((2.0 * (engines + 1.0)).sqrt() - 1.0);
        let decline = 2.0 * servers * (1.0 - share) / (own_s * unequal);
        queues * (-decline * wait_s).exp() <= LATE_SHARE
    }

    /// The objective of the time between tokens, as far as it can be planned for, in seconds.
    fn inter_token_s(&self) -> f64 {
        self.objectives.inter_token_s.max(INTER_TOKEN_STEPS_MIN * self.speeds.step_s)
    }

    fn decode_fits(&self, engines: f64) -> bool {
        if self.load.output_tokens <= 0.0 {
            return true;
        }
        let uncached = self.uncached(engines);
        let prefill = self.prefill_busy() * uncached * self.decode_factor / engines;
        let decode = self.decode_busy() * self.decode_factor / engines;
        let inter_token_s = self.inter_token_s();
        let lasts_s = ratio(self.load.output_tokens, self.load.requests) * inter_token_s;
        let squared_s =
            self.load.work_tokens_squared * (uncached * self.speeds.prefill_s_per_token).powi(2) / engines;
        let of_prefill = if prefill > 0.0 { ratio(squared_s, lasts_s) } else { 0.0 };
        let of_decode = ratio(decode * decode, self.load.output_tokens * inter_token_s / engines);
        let share = prefill + decode + TENTH * (of_prefill + of_decode).sqrt();
        share <= 1.0 - self.speeds.step_s / inter_token_s
    }

    fn contexts_fit(&self, engines: f64) -> bool {
        if self.load.output_tokens <= 0.0 {
            return true;
        }
        let prefill = self.prefill_busy() * self.uncached(engines);
        let free = 1.0 - (prefill + self.decode_busy()) * self.decode_factor / engines;
        if free <= 0.0 {
            return false;
        }
        // Requests that run at an engine, as fast as it then is.
        let inter_token_s = (self.speeds.step_s / free).min(self.inter_token_s());
        let running = self.load.output_tokens * inter_token_s / engines;
        let most = running + TENTH * (CONTEXTS_UNEQUAL * running).sqrt();
        most * self.context_tokens() <= KV_SHARE * self.speeds.kv_tokens
    }

    /// Engines that work off what waits within the time of a start, as much as it is when they are ready: until then it grows by what those
    /// that are there do not do.
    fn backlog(&self, tokens: f64) -> u32 {
        let ready = self.ranks_of(self.ready);
        let waits_s = tokens * self.speeds.prefill_s_per_token;
        // What the engines that are there do in the time that a first token may take is no backlog.
        let beyond_s = waits_s - ready * self.objectives.ttft_s;
        if beyond_s <= 0.0 {
            return 0;
        }
        // Where none is ready, the demand is known for moments: it may be a few requests that have waited together.
        let short =
            if ready > 0.0 { self.prefill_busy() + self.decode_busy() - BUSY_MAX * ready } else { 0.0 };
        let then_s = beyond_s + short.max(0.0) * self.speeds.wake_s;
        let drain_s = self.speeds.wake_s.max(self.objectives.ttft_s);
        let engines = count((then_s / drain_s / self.ranks_of(1)).max(0.0));
        u32::try_from(engines).unwrap_or(REPLICAS_MAX).min(REPLICAS_MAX)
    }
}

fn ratio(sum: f64, count: f64) -> f64 {
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::{Load, Loaded, Need};
    use crate::policy::Objectives;
    use crate::reason::Reason;
    use crate::seen::{Legs, Speeds};

    const OBJECTIVES: Objectives = Objectives { ttft_s: 2.0, inter_token_s: 0.05 };

    fn load(per_s: f64, work: f64, output: f64, context: f64) -> Load {
        Load {
            requests: per_s,
            work_tokens: per_s * work,
            work_tokens_squared: per_s * work * work * 2.0,
            output_tokens: per_s * output,
            context_tokens: per_s * context,
        }
    }

    /// Engines of one rank that do both, none of them ready, and formulas that nothing corrects.
    fn loaded(load: Load, speeds: &Speeds) -> Loaded<'_> {
        Loaded {
            legs: Legs::Both,
            load,
            speeds,
            ranks: 1,
            objectives: &OBJECTIVES,
            prefill_factor: 1.0,
            decode_factor: 1.0,
            ready: 0,
        }
    }

    fn need_of(legs: Legs, load: Load) -> Need {
        Loaded { legs, ..loaded(load, &Speeds::default()) }.need(0.0)
    }

    #[test]
    fn nothing_needs_nothing() {
        for legs in [Legs::Both, Legs::Prefill, Legs::Decode] {
            assert_eq!(need_of(legs, Load::default()), Need::default());
        }
        assert_eq!(Need::default().reason(), Reason::Least);
    }

    #[test]
    fn each_demand_asks_for_its_own_engines() {
        // 4,000 tokens of prompt take 0.24 s: twenty a second fill 4.7 engines.
        let prompts = need_of(Legs::Prefill, load(20.0, 4_000.0, 200.0, 4_100.0));
        assert_eq!((prompts.decode, prompts.kv_room), (0, 0));
        assert!((5..=7).contains(&prompts.prefill), "{prompts:?}");
        let responses = need_of(Legs::Decode, load(20.0, 0.0, 1_000.0, 4_500.0));
        assert_eq!(responses.prefill, 0);
        assert!(responses.decode >= 5, "20,000 tokens a second of contexts of 4,500: {responses:?}");
        let contexts = need_of(Legs::Decode, load(1.0, 0.0, 1_000.0, 100_000.0));
        assert!(contexts.kv_room >= contexts.decode && contexts.kv_room > 5, "{contexts:?}");
        assert_eq!(contexts.reason(), Reason::KvRoom);
    }

    #[test]
    fn engines_for_responses_that_take_requests_whole_need_as_many_as_engines_for_both() {
        let whole = load(20.0, 4_000.0, 200.0, 4_100.0);
        let need = need_of(Legs::Decode, whole);
        assert_eq!(need, need_of(Legs::Both, whole));
        assert!(
            need.prefill > need_of(Legs::Decode, Load { work_tokens: 0.0, ..whole }).replicas(),
            "{need:?}"
        );
    }

    #[test]
    fn an_engine_of_eight_ranks_does_what_eight_engines_do() {
        let speeds = Speeds::default();
        let of =
            |ranks, ready| Loaded { ranks, ready, ..loaded(load(200.0, 4_000.0, 400.0, 4_200.0), &speeds) };
        let waits = 4_000.0 / speeds.prefill_s_per_token;
        let (one, eight) = (of(1, 8).need(waits), of(8, 1).need(waits));
        assert_eq!((eight.prefill, eight.decode), (one.prefill.div_ceil(8), one.decode.div_ceil(8)));
        assert_eq!(eight.kv_room, one.kv_room.div_ceil(8));
        assert!(eight.backlog.abs_diff(one.backlog / 8) <= 1 && eight.backlog > 0, "{eight:?} {one:?}");
        assert!(one.replicas() > 40, "{one:?}");
    }

    /// With 24 engines, caches held half of all prompts, and 16 seemed enough. These 16 held a fifth, and missed the objectives.
    #[test]
    fn fewer_engines_do_not_count_on_hits_that_their_caches_would_not_have() {
        let speeds = Speeds::default();
        let as_busy = loaded(load(12.2, 7_300.0, 510.0, 11_800.0), &speeds);
        let need = |ready| Loaded { ready, ..as_busy }.need(0.0).replicas();
        let as_seen = need(0);
        assert_eq!(need(as_seen), as_seen, "as many as there are have the hits that were seen");
        assert!(need(24) > as_seen && need(24) < 24, "{as_seen} {}", need(24));
    }

    #[test]
    fn large_pools_run_fuller_than_small_ones() {
        let of = |per_s: f64| {
            f64::from(need_of(Legs::Prefill, load(per_s, 4_000.0, 1.0, 4_000.0)).prefill) / per_s
        };
        assert!(of(200.0) < of(4.0), "{} {}", of(200.0), of(4.0));
    }

    #[test]
    fn an_objective_that_no_number_of_engines_reaches_asks_for_a_bounded_number() {
        let speeds = Speeds::default();
        let strict = Objectives { ttft_s: 1e-6, inter_token_s: 1e-6 };
        let loaded = Loaded { objectives: &strict, ..loaded(load(10.0, 4_000.0, 200.0, 4_100.0), &speeds) };
        assert!(loaded.need(0.0).replicas() < 30, "{:?}", loaded.need(0.0));
    }

    #[test]
    fn an_objective_that_nine_of_ten_prompts_meet_by_themselves_is_one_that_engines_can_meet() {
        let speeds = Speeds::default();
        // The standard deviation is the mean: nine of ten take twice the mean at most, about.
        let can_meet = |own_s: f64| {
            let load = load(10.0, own_s / speeds.prefill_s_per_token, 200.0, 4_100.0);
            loaded(load, &speeds).can_meet_first_tokens()
        };
        assert!(can_meet(0.9 * OBJECTIVES.ttft_s / 2.0) && !can_meet(1.1 * OBJECTIVES.ttft_s / 2.0));
    }

    #[test]
    fn what_waits_asks_for_engines_that_come_in_time_to_help() {
        let speeds = Speeds { wake_s: 100.0, ..Speeds::default() };
        let idle = loaded(Load::default(), &speeds);
        let of =
            |seconds: f64, ready| Loaded { ready, ..idle }.need(seconds / speeds.prefill_s_per_token).backlog;
        assert_eq!((of(2.0, 1), of(90.0, 1), of(600.0, 0), of(600.0, 100)), (0, 1, 6, 4));
        // 2.35 engine-seconds a second come to one engine: when others are ready, 140 s more wait.
        let short = Loaded { load: load(10.0, 4_000.0, 1.0, 4_000.0), ready: 1, ..idle };
        let backlog = |seconds: f64| short.need(seconds / speeds.prefill_s_per_token).backlog;
        assert_eq!((backlog(1.0), backlog(90.0)), (0, 2));
    }
}
