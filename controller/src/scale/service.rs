//! One ModelService: what it was asked, what was learned of it, and its last plan. Pure: a look and a time go in.

use super::asked::Asked;
use super::look::{EndpointLook, Look, ReplicaLook};
use super::means::Mean;
use super::pods::Ages;
use super::scaled::{RoleScaling, Scaling, Verdict};
use super::sleepers::{Sleepers, WakeSeconds};
use super::sums::Sums;
use crate::publish::Arrived;
use crate::telemetry::Ended;
use crate::watch::EnginePod;
use std::collections::BTreeMap;
use warmpath_core::ids::EndpointId;
use warmpath_core::num::{count, float, float_len};
use warmpath_core::wire::Role as Takes;
use warmpath_core::work::PrefillWork;
use warmpath_deploy::api::RoleName;
use warmpath_scale::{
    Backlog, Demand, Engine, EngineId, EngineState, Legs, Reason, Role, RolePlan, Seen, Speeds, State, Steps,
    Wake, plan,
};

/// After this time a token that was routed to an engine counts half for the warmth of its cache, in seconds.
const WARM_HALF_LIFE_S: f64 = 600.0;
/// Plans in a row with engines that work for somebody of whom no proxy reports, until that counts: a scrape may be late.
const STRANGE_PLANS: u32 = 3;
/// Engines that report so many times the requests that proxies have there, and so many for each engine beyond, have some of others: a
/// scrape is of another moment, and half of the proxies may be unseen.
const STRANGE_TIMES: f64 = 1.5;
const STRANGE_PER_ENGINE: f64 = 2.0;
/// A model that has had no engine ready for so many times of its usual start does not wake.
const WAKES_MAX: f64 = 2.0;
/// The least time before that is said, in seconds.
const WAKE_S_MIN: f64 = 60.0;
/// The shortest time that what has arrived is taken for, in seconds.
const WINDOW_S_MIN: f64 = 5.0;
/// A reason that changes without the replicas is shown at most this often, in seconds: each one is a write of the status.
const SHOWN_S_MIN: f64 = 60.0;

/// What the requests of a service bring.
#[derive(Clone, Copy, Debug, Default)]
struct Means {
    work_tokens: Mean,
    work_tokens_squared: Mean,
    /// Of requests at engines for responses, which have none of those that are split.
    whole_work_tokens: Mean,
    whole_work_tokens_squared: Mean,
    context_tokens: Mean,
    output_tokens: Mean,
}

/// What was learned of a role's engines, also of those that are gone.
#[derive(Clone, Debug, Default)]
struct Learned {
    speeds: Speeds,
    steps: Steps,
    wake: Wake,
}

/// One ModelService.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Which ModelService it is, and what its engines are.
    identity: u64,
    engines: u64,
    sums: Sums,
    means: Means,
    /// Tokens that were routed to each engine lately, by its address.
    warmth: BTreeMap<String, f64>,
    ages: Ages,
    /// What was learned of each role's engines.
    learned: BTreeMap<RoleName, Learned>,
    /// When the last plan was made; `None`: there is none.
    planned_s: Option<f64>,
    /// Whether nothing was known since.
    is_blind: bool,
    state: State,
    plans: Vec<RolePlan>,
    /// Engines that sleep at zero, where that was chosen.
    sleepers: Sleepers,
    /// Since when replicas are wanted and none has been ready; `None`: not so.
    waking_since_s: Option<f64>,
    /// Whether more engines are about to be ready.
    is_growing: bool,
    strange_plans: u32,
    scaling: Option<Scaling>,
    shown_s: f64,
    objective_ms: f64,
}

// === impl Means ===

impl Means {
    /// So many seconds pass.
    fn fade(&mut self, seconds: f64) {
        let Self {
            work_tokens,
            work_tokens_squared,
            whole_work_tokens,
            whole_work_tokens_squared,
            context_tokens,
            output_tokens,
        } = self;
        for mean in [
            work_tokens,
            work_tokens_squared,
            whole_work_tokens,
            whole_work_tokens_squared,
            context_tokens,
            output_tokens,
        ] {
            mean.fade(seconds);
        }
    }
}

// === impl Service ===

impl Service {
    /// Nothing is known of it yet.
    pub(super) fn of(asked: &Asked) -> Self {
        Self { identity: asked.identity, engines: asked.engines, ..Self::default() }
    }

    /// Whether this is the ModelService, and no earlier one of its name.
    pub(super) fn is_of(&self, asked: &Asked) -> bool {
        self.identity == asked.identity
    }

    /// Adds requests that proxies began to hold.
    pub(super) fn note_held(&mut self, requests: f64) {
        self.sums.requests += requests;
        self.sums.held += requests;
    }

    /// Adds what has arrived at an engine.
    pub(super) fn note_arrived(&mut self, takes: Takes, address: &str, arrived: &Arrived) {
        let Self { sums, means, warmth, .. } = self;
        if takes != Takes::Prefill {
            sums.requests += arrived.requests;
            means.context_tokens.add(arrived.context_tokens, arrived.booked);
            means.output_tokens.add(arrived.output_tokens, arrived.responses);
        }
        if takes != Takes::Decode {
            sums.prompts += arrived.requests;
            means.work_tokens.add(arrived.work_tokens, arrived.booked);
            means.work_tokens_squared.add(arrived.work_tokens_squared, arrived.booked);
        }
        sums.note_firsts(takes, arrived, self.objective_ms);
        if takes == Takes::Decode {
            sums.responses += arrived.requests;
            means.whole_work_tokens.add(arrived.work_tokens, arrived.booked);
            means.whole_work_tokens_squared.add(arrived.work_tokens_squared, arrived.booked);
        }
        *warmth.entry(address.to_owned()).or_default() += arrived.context_tokens;
    }

    /// Whether no replica is wanted.
    pub(super) fn is_asleep(&self) -> bool {
        self.plans.iter().all(|plan| plan.replicas == 0)
    }

    /// What is asked for; `None`: nothing yet.
    pub(super) fn scaling(&self) -> Option<&Scaling> {
        self.scaling.as_ref()
    }

    /// Takes in which pods sleep.
    pub(super) fn note_sleepers(&mut self, pods: &BTreeMap<&str, &EnginePod>, now_s: f64) {
        self.sleepers.note(pods, self.waking_since_s.map(|since_s| now_s - since_s));
    }

    /// How long it takes to wake, if that has been learned: that of engines that sleep, or that of a start. Roles wake together: the
    /// slowest one counts.
    pub(super) fn wake_time(&self, now_s: f64) -> Option<WakeSeconds> {
        let started = || self.learned.values().filter_map(|learned| learned.wake.wake_s()).reduce(f64::max);
        let usual_s = if self.sleepers.any() { self.sleepers.wake_s() } else { started() }?;
        Some(WakeSeconds { usual_s, passed_s: self.waking_since_s.map(|since_s| (now_s - since_s).max(0.0)) })
    }

    /// Whether more engines are about to be ready.
    pub(super) fn is_growing(&self) -> bool {
        self.is_growing
    }

    /// The objective of first tokens, in milliseconds; `None`: it was not planned yet.
    pub(super) fn objective_ms(&self) -> Option<f64> {
        (self.objective_ms > 0.0).then_some(self.objective_ms)
    }

    /// The last plan of each role.
    pub(super) fn plans(&self) -> &[RolePlan] {
        &self.plans
    }

    /// Plans anew.
    pub(super) fn plan(&mut self, asked: &Asked, look: &Look, now_s: f64) {
        self.objective_ms = asked.policy.objectives.ttft_s * 1e3;
        self.sleepers.are_of(asked.sleep_level, self.engines == asked.engines);
        if self.engines != asked.engines {
            (self.engines, self.learned) = (asked.engines, BTreeMap::new());
        }
        if look.is_deaf {
            self.blind();
            return;
        }
        if std::mem::take(&mut self.is_blind) {
            // Neither demand nor silence: what was known then is known now, and one interval has passed.
            let gap_s = self.planned_s.map_or(0.0, |at_s| (now_s - at_s - WINDOW_S_MIN).max(0.0));
            self.state = std::mem::take(&mut self.state).after_gap(gap_s);
            self.planned_s = self.planned_s.map(|at_s| at_s + gap_s);
            self.sums = Sums::default();
        }
        self.learn(asked, look, now_s);
        let is_partial = self.is_partial(look);
        // The request that wakes a model comes a moment after a plan: that is no five of them a second.
        let window_s = self.planned_s.map_or(0.0, |at_s| (now_s - at_s).max(WINDOW_S_MIN));
        let seen = self.seen(asked, look, is_partial, window_s, now_s);
        let planned = plan(&asked.policy, &seen, std::mem::take(&mut self.state), now_s);
        (self.state, self.planned_s, self.sums) = (planned.state, Some(now_s), Sums::default());
        self.plans = planned.roles;
        self.is_growing = asked.roles.iter().zip(&self.plans).any(|(role, plan)| {
            let wanted = if asked.is_external { 0 } else { plan.replicas };
            plan.reason != Reason::Stuck && look.is_growing(role.as_str(), wanted)
        });
        let verdict = self.verdict(asked, look, &seen, now_s);
        self.sleepers.note_plan(!self.is_asleep(), self.waking_since_s.is_some(), now_s);
        self.show(asked, look, verdict, now_s);
    }

    /// Keeps what is there, because nothing is known.
    fn blind(&mut self) {
        self.is_blind = true;
        self.sums = Sums::default();
        if let Some(scaling) = &mut self.scaling {
            scaling.verdict = verdict(
                "NoProxies",
                "no proxy is connected to the controller, so that the demand is not known: the replicas stay as they are",
            );
        }
    }

    /// Whether engines have requests of which no proxy reports: other clients', or those of proxies of which nothing is received.
    fn is_partial(&mut self, look: &Look) -> bool {
        let sum = |of: fn(&EndpointLook) -> u64| float(look.endpoints.iter().map(of).sum::<u64>());
        let (reported, in_flight) = (sum(|it| it.reported), sum(|it| it.in_flight));
        let is_unseen = reported > 0.0 && in_flight <= 0.0 && self.sums.requests <= 0.0;
        let most = STRANGE_TIMES * in_flight + STRANGE_PER_ENGINE * float_len(look.endpoints.len());
        let is_strange = is_unseen || reported > most;
        self.strange_plans = if is_strange { self.strange_plans.saturating_add(1) } else { 0 };
        self.strange_plans >= STRANGE_PLANS
    }

    fn learn(&mut self, asked: &Asked, look: &Look, now_s: f64) {
        let passed_s = self.planned_s.map_or(0.0, |at_s| now_s - at_s);
        self.means.fade(passed_s);
        let share = (-passed_s / WARM_HALF_LIFE_S).exp2();
        self.warmth.retain(|address, tokens| {
            *tokens *= share;
            look.endpoints.iter().any(|endpoint| endpoint.address == *address)
        });
        let replicas = look.replicas.iter().map(|(name, replica)| (name.as_str(), replica));
        let started = self.ages.note(replicas, now_s);
        let context_tokens = self.means.context_tokens.get().unwrap_or_default()
            + self.means.output_tokens.get().unwrap_or(look.output_tokens) / 2.0;
        for role in &asked.roles {
            let learned = self.learned.entry(*role).or_default();
            let of_role: Vec<&EndpointLook> =
                look.endpoints.iter().filter(|endpoint| legs_of(endpoint.role) == legs(*role)).collect();
            if let Some(mean) = mean(of_role.iter().filter_map(|endpoint| endpoint.prefill_s_per_token)) {
                learned.speeds.prefill_s_per_token = mean;
            }
            if let Some(mean) = mean(of_role.iter().filter_map(|endpoint| endpoint.kv_tokens)) {
                learned.speeds.kv_tokens = mean;
            }
            for (_, took_s) in started.iter().filter(|(name, _)| is_of(look, name, *role)) {
                learned.wake.note(*took_s);
            }
            let there = look.replicas.values().filter(|it| it.role == role.as_str());
            there.filter_map(|it| it.took_s).for_each(|took_s| learned.wake.suppose(float(took_s)));
            if let Some(wake_s) = learned.wake.wake_s() {
                learned.speeds.wake_s = wake_s;
            }
            if *role == RoleName::Prefill {
                continue;
            }
            // Of engines that compute prompts as well, the time between tokens has these in it.
            let work = match role {
                RoleName::Decode => {
                    self.sums.responses * self.means.whole_work_tokens.get().unwrap_or_default()
                }
                _ => self.sums.prompts * self.means.work_tokens.get().unwrap_or_default(),
            };
            let busy = work * learned.speeds.prefill_s_per_token / (passed_s * float_len(of_role.len()));
            let free = if busy.is_finite() { (1.0 - busy).max(0.0) } else { 1.0 };
            for endpoint in of_role {
                let Ended { ends, ends_late, step_s, running } = endpoint.ended;
                self.sums.ends += ends;
                self.sums.ends_late += ends_late;
                let running = running.unwrap_or(float(endpoint.reported));
                if let Some(step_s) = step_s {
                    learned.steps.note(running, running * context_tokens, step_s * free);
                }
            }
            learned.steps.apply(&mut learned.speeds);
        }
    }

    fn seen(&self, asked: &Asked, look: &Look, is_partial: bool, window_s: f64, now_s: f64) -> Seen {
        let Sums { requests, prompts, responses, held, ends, ends_late, .. } = self.sums;
        let Sums { firsts, firsts_late, whole_firsts, whole_firsts_late, .. } = self.sums;
        let whole = |mean: Mean| responses * mean.get().unwrap_or_default();
        let output_tokens = self.means.output_tokens.get().unwrap_or(look.output_tokens);
        let held_prompt = look.held.tokens / float(look.held.all.max(1)) - look.output_tokens;
        let held_work = PrefillWork::of(count(held_prompt.max(0.0)), 0).tokens();
        let work = self.means.work_tokens.get().unwrap_or(held_work);
        let work_squared = self.means.work_tokens_squared.get().unwrap_or(held_work * held_work);
        let context = self.means.context_tokens.get().unwrap_or(held_prompt.max(0.0)) + output_tokens / 2.0;
        let prompts = prompts + held;
        let demand = Demand {
            window_s,
            requests,
            work_tokens: prompts * work,
            work_tokens_squared: prompts * work_squared,
            whole_work_tokens: whole(self.means.whole_work_tokens),
            whole_work_tokens_squared: whole(self.means.whole_work_tokens_squared),
            output_tokens: requests * output_tokens,
            context_tokens: requests * context,
            firsts,
            firsts_late,
            whole_firsts,
            whole_firsts_late,
            ends,
            ends_late,
        };
        let takes_prompts = look.endpoints.iter().filter(|endpoint| endpoint.role != Takes::Decode);
        let backlog = Backlog {
            held_requests: look.held.requests,
            work_tokens: takes_prompts.map(|endpoint| endpoint.work_tokens).sum::<f64>()
                + float(look.held.all) * work,
            requests_in_flight: look.endpoints.iter().map(|endpoint| endpoint.requests).sum(),
        };
        let roles = asked.roles.iter().map(|role| Role {
            legs: legs(*role),
            speeds: self.learned.get(role).map(|learned| learned.speeds).unwrap_or_default(),
            ranks: asked.ranks.get(role).copied().unwrap_or(1),
            engines: self.engines(*role, look, now_s),
        });
        Seen { demand, backlog, roles: roles.collect(), is_partial }
    }

    fn engines(&self, role: RoleName, look: &Look, now_s: f64) -> Vec<Engine> {
        let of_role = look.replicas.iter().filter(|(_, replica)| replica.role == role.as_str());
        let engine = |(name, replica): (&String, &ReplicaLook)| {
            let ranks = || look.endpoints.iter().filter(|endpoint| endpoint.replica.as_ref() == Some(name));
            let warm = |endpoint: &EndpointLook| {
                let routed = self.warmth.get(&endpoint.address).copied().unwrap_or_default();
                routed.min(endpoint.held_tokens)
            };
            Engine {
                id: id(name),
                state: match (replica.is_leaving, replica.is_asleep, replica.is_ready) {
                    (true, _, _) => EngineState::Draining,
                    (false, true, _) => self.sleepers.state(now_s),
                    (false, false, true) => EngineState::Ready,
                    (false, false, false) => EngineState::Starting { for_s: self.ages.of(name, now_s) },
                },
                warm_tokens: ranks().map(warm).sum(),
                requests: ranks().map(|endpoint| endpoint.requests).sum(),
            }
        };
        of_role.map(engine).collect()
    }

    fn verdict(&mut self, asked: &Asked, look: &Look, seen: &Seen, now_s: f64) -> Verdict {
        // One role without an engine is enough for nobody to be served: prompts go to engines for responses where there are none of
        // their own, and nobody else generates.
        let serves = |role: &Role| role.legs == Legs::Prefill || role.ready() > 0;
        let is_waking = !self.is_asleep() && !seen.roles.iter().all(serves);
        self.waking_since_s = is_waking.then(|| self.waking_since_s.unwrap_or(now_s));
        let start_s = seen.roles.iter().map(|role| role.speeds.wake_s).fold(0.0, f64::max);
        let wake_s = if self.sleepers.any() { self.sleepers.wake_s().unwrap_or(start_s) } else { start_s };
        let for_s = self.waking_since_s.map_or(0.0, |since_s| now_s - since_s);
        let is_stuck = self.plans.iter().any(|plan| plan.reason == Reason::Stuck);
        let mut starting = look.replicas.values().filter(|it| !it.is_leaving && !it.is_ready);
        let trouble = starting.find_map(|replica| replica.trouble.as_deref());
        let late = for_s > (WAKES_MAX * wake_s).max(WAKE_S_MIN);
        if is_waking && (late || trouble.is_some()) {
            let why = trouble.map_or_else(
                || format!("no replica is ready after {WAKES_MAX} times of the usual start of {wake_s:.0} s"),
                str::to_owned,
            );
            let message = format!("{why}; requests wait as long as spec.router.hold allows, then get a 503");
            return verdict("DoesNotWake", &message);
        }
        if seen.is_partial {
            return verdict(
                "OtherClients",
                "engines have requests of which no proxy reports, so that only part of the demand is known: the replicas do not become fewer",
            );
        }
        if is_stuck {
            let why = trouble.unwrap_or("engines that start do not become ready");
            return verdict("Stuck", &format!("{why}: more replicas would not come up either"));
        }
        let plans = asked.roles.iter().zip(&self.plans);
        let words: Vec<String> = plans
            .clone()
            .map(|(role, plan)| {
                format!("{role} {}: {} (needs {})", plan.replicas, plan.reason.words(), plan.need.replicas())
            })
            .collect();
        let main = plans.max_by_key(|(_, plan)| plan.reason).map(|(_, plan)| plan.reason).unwrap_or_default();
        Verdict { is_fine: true, reason: camel(main.label()), message: words.join("; ") }
    }

    /// Shows the plan, if anybody should see it.
    fn show(&mut self, asked: &Asked, look: &Look, verdict: Verdict, now_s: f64) {
        let role = |(role, plan): (&RoleName, &RolePlan)| {
            let name = |engine: &EngineId| look.replicas.keys().find(|name| id(name) == *engine).cloned();
            let replicas = i32::try_from(plan.replicas).unwrap_or(i32::MAX);
            (*role, RoleScaling { replicas, order: plan.order.iter().filter_map(name).collect() })
        };
        let roles: BTreeMap<RoleName, RoleScaling> = asked.roles.iter().zip(&self.plans).map(role).collect();
        let before = self.scaling.as_ref();
        // A condition that is no longer true must not stay; words that only differ may, for a minute.
        let is_kept = before.is_some_and(|before| {
            same_replicas(before, &roles)
                && before.verdict.is_fine == verdict.is_fine
                && now_s - self.shown_s < SHOWN_S_MIN
        });
        let verdict = match before {
            Some(before) if is_kept => before.verdict.clone(),
            _ => {
                self.shown_s = now_s;
                verdict
            }
        };
        self.scaling = Some(Scaling { roles, verdict });
    }
}

/// What is not as it should be.
fn verdict(reason: &str, message: &str) -> Verdict {
    Verdict { is_fine: false, reason: reason.to_owned(), message: message.to_owned() }
}

fn is_of(look: &Look, replica: &str, role: RoleName) -> bool {
    look.replicas.get(replica).is_some_and(|replica| replica.role == role.as_str())
}

fn same_replicas(before: &Scaling, roles: &BTreeMap<RoleName, RoleScaling>) -> bool {
    roles.len() == before.roles.len()
        && roles.iter().all(|(role, of)| before.roles.get(role).is_some_and(|it| it.replicas == of.replicas))
}

fn legs(role: RoleName) -> Legs {
    match role {
        RoleName::Serve => Legs::Both,
        RoleName::Prefill => Legs::Prefill,
        RoleName::Decode => Legs::Decode,
    }
}

fn legs_of(takes: Takes) -> Legs {
    match takes {
        Takes::Both => Legs::Both,
        Takes::Prefill => Legs::Prefill,
        Takes::Decode => Legs::Decode,
    }
}

/// An engine's name for the plan: its pod's.
fn id(pod: &str) -> EngineId {
    EngineId(EndpointId::of(pod).0)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// A condition's reason: `kv_room` as `KvRoom`.
fn camel(label: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    label.split('_').map(capital).collect()
}

#[cfg(test)]
mod tests;
