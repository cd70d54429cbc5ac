//! From what was seen to replicas, step by step.
//!
//! More is decided at once, within a step; fewer when nothing of the break-even time asked for more. That time is the one of ski
//! rental: to keep an idle engine costs a second of it a second, to let it go and start it again costs its start and the prefixes that
//! it held. Whoever waits for just that long pays at most twice what somebody pays who knows the future, whatever the demand does. It
//! also bounds how often the number changes direction ([`reversals_per_hour_max`]).

use crate::correction::{Correction, More};
use crate::forecast::Series;
use crate::leaving::{coldest_tokens, order};
use crate::need::{Load, Loaded, Need};
use crate::policy::{Bounds, Policy};
use crate::reason::Reason;
use crate::seen::{Demand, EngineId, Legs, Role, Seen, Speeds};
use std::collections::VecDeque;
use warmpath_core::num::{count, index};

/// Bounds of the break-even time, in seconds.
const BREAK_EVEN_S_MIN: f64 = 60.0;
const BREAK_EVEN_S_MAX: f64 = 1_800.0;
/// Within this time, replicas at most double, or grow by so many, and shrink by a quarter, or by one.
const STEP_S: f64 = 30.0;
const STEP_UP_MIN: u32 = 4;
const STEP_DOWN_SHARE: u32 = 4;
/// Higher load by which fewer engines must be enough before one goes.
const HYSTERESIS: f64 = 0.05;
/// The stretch of the past that a forecast rests on, in times that an engine takes to start, and its bounds in seconds.
const SPAN_WAKES: f64 = 3.0;
const SPAN_S_MIN: f64 = 300.0;
const SPAN_S_MAX: f64 = 1_800.0;
/// After so many times of its usual start, and so many seconds, an engine that starts counts as stuck.
const STUCK_WAKES: f64 = 3.0;
const STUCK_S_MIN: f64 = 600.0;
/// Of so many engines that are ready, one may be stuck, by its node or its luck: it is made up for. If more are, more engines would
/// not come up either.
const READY_PER_STUCK: u32 = 4;
/// Bounds of a believable start, in seconds.
const WAKE_S_MIN: f64 = 1.0;
const WAKE_S_MAX: f64 = 3_600.0;

/// What a plan leaves for the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    roles: Vec<RoleState>,
    /// When something was requested, waited or ran last.
    busy_at_s: Option<f64>,
    requests: Series,
    work_tokens: Series,
    work_tokens_squared: Series,
    whole_work_tokens: Series,
    whole_work_tokens_squared: Series,
    output_tokens: Series,
    context_tokens: Series,
}

/// What it leaves for a role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleState {
    replicas: u32,
    /// What would have been enough, when; the later ones are less. Those older than the break-even time are gone.
    enough: VecDeque<(f64, u32)>,
    /// When the step began, and with how many replicas.
    step: Option<(f64, u32)>,
    grown_at_s: Option<f64>,
    prefill: Correction,
    decode: Correction,
}

/// What there should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Planned {
    /// For each role, in the order in which they were seen.
    pub roles: Vec<RolePlan>,
    /// For the next plan.
    pub state: State,
}

/// What there should be of a role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RolePlan {
    /// Engines.
    pub replicas: u32,
    /// Why so many.
    pub reason: Reason,
    /// What the load needs, before bounds, steps and cooling.
    pub need: Need,
    /// What was learned that the formulas are wrong by, of prompts and of responses: 1 is as computed, 2 twice as many.
    pub factors: [f64; 2],
    /// Engines in the order in which they should go, if any has to.
    pub order: Vec<EngineId>,
    /// Those of them that should go now.
    pub leaving: Vec<EngineId>,
}

/// Plans a service at `now_s`, in seconds of a clock that only goes on. `state` is that of the plan before, or the default.
pub fn plan(policy: &Policy, seen: &Seen, state: State, now_s: f64) -> Planned {
    let mut state = state.noting(&seen.demand, now_s);
    if state.roles.len() != seen.roles.len() {
        state.roles = seen.roles.iter().map(|role| RoleState::beginning(role, now_s)).collect();
    }
    let is_busy = seen.is_partial
        || seen.demand.requests > 0.0
        || seen.backlog.held_requests > 0
        || seen.backlog.requests_in_flight > 0;
    if is_busy || state.busy_at_s.is_none() {
        state.busy_at_s = Some(now_s);
    }
    let is_idle = policy.idle_s.is_some_and(|idle_s| state.is_idle(policy, seen, idle_s, now_s));
    let asleep = state.roles.iter().all(|role| role.replicas == 0);
    let mode = match (is_idle, asleep) {
        (false, false) => Mode::Follow,
        (false, true) if is_busy || policy.idle_s.is_none() => Mode::Wake,
        _ => Mode::Sleep,
    };
    let mut roles = Vec::with_capacity(seen.roles.len());
    for (at, role) in seen.roles.iter().enumerate() {
        let bounds = policy.roles.get(at).copied().unwrap_or(Bounds { min: 1, max: 1 });
        let speeds = believable(&role.speeds);
        let load = state.load(role.legs, &speeds, now_s);
        let Some(of_role) = state.roles.get_mut(at) else { continue };
        let mut loaded = Loaded {
            legs: role.legs,
            load,
            speeds: &speeds,
            ranks: role.ranks,
            objectives: &policy.objectives,
            prefill_factor: 1.0,
            decode_factor: 1.0,
            ready: role.ready(),
        };
        of_role.learn(role, &seen.demand, &loaded, bounds, now_s);
        (loaded.prefill_factor, loaded.decode_factor) = (of_role.prefill.factor(), of_role.decode.factor());
        roles.push(of_role.plan(&Given { mode, bounds, seen, role, loaded, now_s }));
    }
    Planned { roles, state }
}

/// For how long an engine is kept that nobody needs, in seconds: its start, and the prefill of what the coldest one holds.
pub fn break_even_s(role: &Role) -> f64 {
    let speeds = believable(&role.speeds);
    let warm_tokens = coldest_tokens(&role.engines).max(0.0) / f64::from(role.ranks.max(1));
    let again_s = speeds.wake_s + warm_tokens * speeds.prefill_s_per_token;
    again_s.clamp(BREAK_EVEN_S_MIN, BREAK_EVEN_S_MAX)
}

/// Seconds after which an engine that starts is stuck.
fn stuck_s(role: &Role) -> f64 {
    (STUCK_WAKES * believable(&role.speeds).wake_s).max(STUCK_S_MIN)
}

/// How often a role's replicas change direction within any hour, at most, where an engine takes so long to start.
///
/// The number shrinks only if it has not grown for the break-even time, so between two turns downwards there is at least as much; and
/// between them lies one turn upwards.
pub fn reversals_per_hour_max(wake_s: f64) -> u32 {
    let speeds = believable(&Speeds { wake_s, ..Speeds::default() });
    let downwards = (3_600.0 / speeds.wake_s.clamp(BREAK_EVEN_S_MIN, BREAK_EVEN_S_MAX)).floor() + 1.0;
    u32::try_from(count(2.0 * downwards + 1.0)).unwrap_or(u32::MAX)
}

/// Bounds without which a number that was learned wrongly would make the plan endless or empty.
fn believable(speeds: &Speeds) -> Speeds {
    let or_default =
        |value: f64, default: f64| if value.is_finite() && value >= 0.0 { value } else { default };
    let usual = Speeds::default();
    Speeds {
        prefill_s_per_token: or_default(speeds.prefill_s_per_token, usual.prefill_s_per_token),
        step_s: or_default(speeds.step_s, usual.step_s),
        step_s_per_request: or_default(speeds.step_s_per_request, usual.step_s_per_request),
        step_s_per_context_token: or_default(speeds.step_s_per_context_token, usual.step_s_per_context_token),
        kv_tokens: if speeds.kv_tokens >= 1.0 { speeds.kv_tokens } else { usual.kv_tokens },
        wake_s: or_default(speeds.wake_s, usual.wake_s).clamp(WAKE_S_MIN, WAKE_S_MAX),
    }
}

/// What the service does as a whole: roles sleep and wake together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Sleep,
    Wake,
    Follow,
}

/// What a role's plan rests on.
struct Given<'a> {
    mode: Mode,
    bounds: Bounds,
    seen: &'a Seen,
    role: &'a Role,
    loaded: Loaded<'a>,
    now_s: f64,
}

// === impl State ===

impl State {
    fn noting(mut self, demand: &Demand, now_s: f64) -> Self {
        let window_s = demand.window_s;
        self.requests.note(demand.requests, window_s, now_s);
        self.work_tokens.note(demand.work_tokens, window_s, now_s);
        self.work_tokens_squared.note(demand.work_tokens_squared, window_s, now_s);
        self.whole_work_tokens.note(demand.whole_work_tokens, window_s, now_s);
        self.whole_work_tokens_squared.note(demand.whole_work_tokens_squared, window_s, now_s);
        self.output_tokens.note(demand.output_tokens, window_s, now_s);
        self.context_tokens.note(demand.context_tokens, window_s, now_s);
        self
    }

    /// For so many seconds nothing was known: they count neither as demand nor as silence, and nothing has become older by them.
    #[must_use]
    pub fn after_gap(mut self, seconds: f64) -> Self {
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        let later = |at_s: &mut f64| *at_s += seconds;
        self.busy_at_s.iter_mut().for_each(later);
        for role in &mut self.roles {
            role.enough.iter_mut().for_each(|(at_s, _)| *at_s += seconds);
            role.step.iter_mut().for_each(|(at_s, _)| *at_s += seconds);
            role.grown_at_s.iter_mut().for_each(later);
        }
        for series in [
            &mut self.requests,
            &mut self.work_tokens,
            &mut self.work_tokens_squared,
            &mut self.whole_work_tokens,
            &mut self.whole_work_tokens_squared,
            &mut self.output_tokens,
            &mut self.context_tokens,
        ] {
            series.later(seconds);
        }
        self
    }

    /// What is expected when an engine that is started now is ready.
    fn load(&self, legs: Legs, speeds: &Speeds, now_s: f64) -> Load {
        let span_s = (SPAN_WAKES * speeds.wake_s).clamp(SPAN_S_MIN, SPAN_S_MAX);
        let ahead = |series: &Series| series.forecast(span_s, now_s).ahead(speeds.wake_s);
        let (work_tokens, work_tokens_squared) = match legs {
            Legs::Both | Legs::Prefill => (&self.work_tokens, &self.work_tokens_squared),
            Legs::Decode => (&self.whole_work_tokens, &self.whole_work_tokens_squared),
        };
        Load {
            requests: ahead(&self.requests),
            work_tokens: ahead(work_tokens),
            work_tokens_squared: ahead(work_tokens_squared),
            output_tokens: ahead(&self.output_tokens),
            context_tokens: ahead(&self.context_tokens),
        }
    }

    /// Whether nothing has been requested for so long that all roles may go to zero.
    fn is_idle(&self, policy: &Policy, seen: &Seen, idle_s: f64, now_s: f64) -> bool {
        let quiet_s = self.busy_at_s.map_or(0.0, |busy_at_s| now_s - busy_at_s);
        let may_go = |at: usize, role: &Role, of_role: &RoleState| {
            // To wake an engine that sleeps costs next to nothing; those beyond would have to start.
            let sleep_at_most = policy.roles.get(at).map_or(1, |bounds| bounds.min.max(1));
            let break_even_s = break_even_s(role);
            policy.sleeps && of_role.replicas <= sleep_at_most
                || quiet_s >= break_even_s
                    && of_role.grown_at_s.is_none_or(|at_s| now_s - at_s >= break_even_s)
        };
        let mut roles = seen.roles.iter().zip(&self.roles).enumerate();
        quiet_s >= idle_s && roles.all(|(at, (role, of_role))| may_go(at, role, of_role))
    }
}

// === impl RoleState ===

impl RoleState {
    /// Of a role that was not planned before: its engines stay for the break-even time.
    fn beginning(role: &Role, now_s: f64) -> Self {
        let replicas = role.ready() + role.starting(0.0);
        Self { replicas, enough: VecDeque::from([(now_s, replicas)]), ..Self::default() }
    }

    fn learn(&mut self, role: &Role, demand: &Demand, loaded: &Loaded<'_>, bounds: Bounds, now_s: f64) {
        let break_even_s = break_even_s(role);
        self.enough.retain(|(at_s, _)| now_s - at_s <= break_even_s);
        // Whoever waits for engines that start says nothing of how many are enough.
        let starting = role.starting(0.0) - role.starting(stuck_s(role));
        let (ready, starting) = (f64::from(role.ready()), f64::from(starting));
        let weight = if ready > 0.0 { (1.0 - starting / ready).max(0.0) } else { 0.0 };
        let wakes = demand.window_s / believable(&role.speeds).wake_s;
        let (firsts, late) = match role.legs {
            Legs::Both | Legs::Prefill => (demand.firsts, demand.firsts_late),
            Legs::Decode => (demand.whole_firsts, demand.whole_firsts_late),
        };
        let is_at_most = self.replicas >= bounds.max || role.ready() + role.starting(0.0) < self.replicas;
        let more = |can_meet: bool| match (can_meet, is_at_most || role.starting(stuck_s(role)) > 0) {
            (false, _) => More::Useless,
            (true, true) => More::Missing,
            (true, false) => More::Help,
        };
        self.prefill = self.prefill.learn(firsts, late, weight, wakes, more(loaded.can_meet_first_tokens()));
        if role.legs != Legs::Prefill {
            let Demand { ends, ends_late, .. } = *demand;
            self.decode =
                self.decode.learn(ends, ends_late, weight, wakes, more(loaded.can_meet_inter_token()));
        }
    }

    fn plan(&mut self, given: &Given<'_>) -> RolePlan {
        let Given { mode, bounds, seen, role, loaded, now_s } = *given;
        let need = loaded.need(seen.backlog.work_tokens);
        let reason = match mode {
            Mode::Sleep => {
                self.replicas = 0;
                self.enough.clear();
                Reason::Idle
            }
            Mode::Wake => {
                self.grow(need.replicas().clamp(bounds.min, bounds.max), now_s);
                Reason::Wake
            }
            Mode::Follow => {
                let enough = loaded.higher(HYSTERESIS).need(seen.backlog.work_tokens);
                self.follow(need, enough.replicas().max(need.replicas()), given)
            }
        };
        let order = order(&role.engines);
        let leaving = order.len().saturating_sub(index(self.replicas));
        RolePlan {
            replicas: self.replicas,
            reason,
            need,
            factors: [self.prefill.factor(), self.decode.factor()],
            leaving: order.iter().take(leaving).copied().collect(),
            order,
        }
    }

    fn follow(&mut self, need: Need, enough: u32, given: &Given<'_>) -> Reason {
        let Given { bounds, seen, role, now_s, .. } = *given;
        let needed = need.replicas();
        let enough =
            enough.max(if seen.is_partial { self.replicas } else { 0 }).clamp(bounds.min, bounds.max);
        let stuck = role.starting(stuck_s(role));
        // Those that do not come up are made up for as long as they are the exception.
        let wanted = needed.saturating_add(if needed > role.ready() { stuck } else { 0 });
        let wanted = wanted.clamp(bounds.min, bounds.max);
        self.replicas = self.replicas.clamp(bounds.min, bounds.max);
        let from =
            self.step.filter(|(at_s, _)| now_s - at_s < STEP_S).map_or(self.replicas, |(_, from)| from);
        let reason = if needed <= bounds.min { Reason::Least } else { need.reason() };
        if wanted > self.replicas {
            if stuck > role.ready().div_ceil(READY_PER_STUCK) {
                self.note_enough(self.replicas, now_s);
                return Reason::Stuck;
            }
            let most = from.saturating_mul(2).max(from.saturating_add(STEP_UP_MIN));
            let replicas = wanted.min(most).max(self.replicas);
            self.note_step(from, now_s);
            self.grow(replicas, now_s);
            return match () {
                () if replicas < wanted => Reason::Step,
                () if needed > bounds.max => Reason::Most,
                () => reason,
            };
        }
        self.note_enough(enough, now_s);
        let kept = self.enough.iter().map(|(_, enough)| *enough).max().unwrap_or(enough);
        if kept < self.replicas {
            let least = from.saturating_sub((from / STEP_DOWN_SHARE).max(1));
            let replicas = kept.max(least).min(self.replicas);
            self.note_step(from, now_s);
            self.replicas = replicas;
            return if replicas > kept { Reason::Step } else { reason };
        }
        match () {
            () if needed > bounds.max => Reason::Most,
            () if enough < self.replicas => Reason::Cooling,
            () => reason,
        }
    }

    fn grow(&mut self, replicas: u32, now_s: f64) {
        if replicas > self.replicas {
            self.grown_at_s = Some(now_s);
        }
        self.replicas = replicas;
        self.note_enough(replicas, now_s);
    }

    /// Notes what is enough at `now_s`. What was less before says nothing any more.
    fn note_enough(&mut self, enough: u32, now_s: f64) {
        while self.enough.back().is_some_and(|(_, before)| *before <= enough) {
            self.enough.pop_back();
        }
        self.enough.push_back((now_s, enough));
    }

    fn note_step(&mut self, from: u32, now_s: f64) {
        if self.step.is_none_or(|(at_s, _)| now_s - at_s >= STEP_S) {
            self.step = Some((now_s, from));
        }
    }
}
