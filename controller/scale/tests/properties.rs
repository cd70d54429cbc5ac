//! Plans over random demand: what holds whatever arrives.
//!
//! A service is played whose engines become ready when they have started, and go when the plan says so. The demand is drawn: levels,
//! ramps, bursts and pauses in any order, which is worse than traffic is.
#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop, and its numbers of engines and intervals are small"
)]

use proptest::prelude::*;
use std::collections::BTreeSet;
use warmpath_scale::{
    Backlog, Demand, Engine, EngineId, EngineState, Legs, Objectives, Planned, Policy, RawBounds, RawPolicy,
    Reason, Role, Seen, Speeds, State, break_even_s, plan, reversals_per_hour_max,
};

const TICK_S: f64 = 15.0;
const HOUR_S: f64 = 3_600.0;
/// Engines with a number from here on never become ready.
const NEVER: u64 = 1 << 32;

/// Requests per second for so many intervals.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    intervals: u32,
    from_per_s: f64,
    to_per_s: f64,
}

/// A service in play.
struct Play {
    policy: Policy,
    speeds: Speeds,
    legs: Vec<Legs>,
    /// Engines with the times at which they were made.
    engines: Vec<Vec<(EngineId, f64)>>,
    next: u64,
    /// Whether engines that are made from now on never become ready, as where a node pool is full.
    is_full: bool,
    /// Whether others ask, too, of whom nothing is known.
    is_partial: bool,
    /// The shares of requests that miss the objective of first tokens, and that of the time between tokens; none: nothing is said.
    late: Option<[f64; 2]>,
    now_s: f64,
    state: State,
}

impl Play {
    fn new(legs: &[Legs], max: i32, scale_to_zero: bool, wake_s: f64) -> Self {
        let min = i32::from(!scale_to_zero);
        let bounds = |_: &Legs| ("roles".to_owned(), RawBounds { min, max: Some(max) });
        let raw =
            RawPolicy { roles: legs.iter().map(bounds).collect(), scale_to_zero, ..RawPolicy::default() };
        let engines = legs.iter().enumerate().map(|(at, _)| vec![(EngineId(at as u64), -1e6)]).collect();
        Self {
            policy: Policy::of(&raw).unwrap(),
            speeds: Speeds { wake_s, ..Speeds::default() },
            legs: legs.to_vec(),
            engines,
            next: 100,
            is_full: false,
            is_partial: false,
            late: None,
            now_s: 0.0,
            state: State::default(),
        }
    }

    fn seen(&self, per_s: f64) -> Seen {
        let requests = per_s * TICK_S;
        let judged = if self.late.is_some() { requests } else { 0.0 };
        let [firsts_late, ends_late] = self.late.unwrap_or_default().map(|share| share * judged);
        let demand = Demand {
            window_s: TICK_S,
            requests,
            firsts: judged,
            firsts_late,
            ends: judged,
            ends_late,
            work_tokens: requests * 3_000.0,
            work_tokens_squared: requests * 3_000.0 * 3_000.0 * 2.0,
            output_tokens: requests * 300.0,
            context_tokens: requests * 4_000.0,
            ..Demand::default()
        };
        let engine = |(id, made_s): &(EngineId, f64)| {
            let for_s = self.now_s - made_s;
            let is_ready = for_s >= self.speeds.wake_s && id.0 < NEVER;
            let state = if is_ready { EngineState::Ready } else { EngineState::Starting { for_s } };
            // Anything that differs.
            let warm_tokens = f64::from(u32::try_from(id.0 * 7_919 % 1_000).unwrap()) * 100.0;
            Engine { id: *id, state, warm_tokens, requests: 0 }
        };
        let role = |(legs, engines): (&Legs, &Vec<(EngineId, f64)>)| Role {
            legs: *legs,
            speeds: self.speeds,
            ranks: 1,
            engines: engines.iter().map(engine).collect(),
        };
        let roles = self.legs.iter().zip(&self.engines).map(role).collect();
        Seen { demand, backlog: Backlog::default(), roles, is_partial: self.is_partial }
    }

    /// One interval: returns what was seen, and the plan that was carried out.
    fn tick(&mut self, per_s: f64) -> (Seen, Planned) {
        self.now_s += TICK_S;
        let seen = self.seen(per_s);
        let planned = plan(&self.policy, &seen, std::mem::take(&mut self.state), self.now_s);
        self.state = planned.state.clone();
        for (engines, of_role) in self.engines.iter_mut().zip(&planned.roles) {
            engines.retain(|(id, _)| !of_role.leaving.contains(id));
            while engines.len() < of_role.replicas as usize {
                self.next += 1;
                let id = if self.is_full { NEVER + self.next } else { self.next };
                engines.push((EngineId(id), self.now_s));
            }
        }
        (seen, planned)
    }
}

/// Needs before requests are late, and after half a day of that. Engines for them may be missing meanwhile.
fn needs(objectives: Objectives, late: [f64; 2], max: u32) -> (f64, f64) {
    let mut play = Play::new(&[Legs::Both], 64, false, 100.0);
    play.policy.objectives = objectives;
    let need = |play: &mut Play| f64::from(play.tick(10.0).1.roles[0].need.replicas());
    let before = (0..100).map(|_| need(&mut play)).last().unwrap();
    play.policy.roles[0].max = max;
    play.late = Some(late);
    (0..3_000).for_each(|_| drop(play.tick(10.0)));
    play.policy.roles[0].max = 64;
    (before, need(&mut play))
}

#[test]
fn requests_that_more_engines_would_not_serve_in_time_ask_for_none() {
    let reachable = Objectives { ttft_s: 2.0, inter_token_s: 0.05 };
    let learned = needs(reachable, [1.0, 1.0], 64);
    assert!(learned.1 > 1.5 * learned.0, "what can be mended is learned: {learned:?}");
    for (objectives, late, max) in [
        (Objectives { ttft_s: 0.1, ..reachable }, [1.0, 0.05], 64),
        (Objectives { inter_token_s: 0.01, ..reachable }, [0.05, 1.0], 64),
        (reachable, [1.0, 1.0], 1),
    ] {
        let (before, after) = needs(objectives, late, max);
        assert!(after <= 1.1 * before, "{objectives:?} with {max} engines at most: {before}, then {after}");
    }
}

fn stretches() -> impl Strategy<Value = Vec<Stretch>> {
    let per_s = prop_oneof![Just(0.0), 0.0..60.0_f64];
    let stretch =
        (1..60_u32, per_s.clone(), per_s, any::<bool>()).prop_map(|(intervals, from, to, is_ramp)| Stretch {
            intervals,
            from_per_s: from,
            to_per_s: if is_ramp { to } else { from },
        });
    prop::collection::vec(stretch, 1..16)
}

/// The demand of each interval.
fn demand(stretches: &[Stretch]) -> Vec<f64> {
    let of = |stretch: &Stretch| {
        let Stretch { intervals, from_per_s, to_per_s } = *stretch;
        let at = move |interval: u32| {
            from_per_s + (to_per_s - from_per_s) * f64::from(interval) / f64::from(intervals)
        };
        (0..intervals).map(at).collect::<Vec<f64>>()
    };
    stretches.iter().flat_map(of).collect()
}

/// When the direction of the number changed.
fn reversals(replicas: &[u32]) -> Vec<f64> {
    let mut direction = None;
    let mut found = Vec::new();
    for (at, pair) in replicas.windows(2).enumerate() {
        let is_up = match pair[1].cmp(&pair[0]) {
            std::cmp::Ordering::Equal => continue,
            order => order.is_gt(),
        };
        if direction.replace(is_up).is_some_and(|before| before != is_up) {
            found.push(at as f64 * TICK_S);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_hour_has_more_reversals_than_the_stated_bound(
        stretches in stretches(), wake_s in 20.0..500.0_f64, scale_to_zero: bool, sleeps: bool,
    ) {
        let mut play = Play::new(&[Legs::Both], 40, scale_to_zero, wake_s);
        play.policy.sleeps = scale_to_zero && sleeps;
        let replicas: Vec<u32> =
            demand(&stretches).into_iter().map(|per_s| play.tick(per_s).1.roles[0].replicas).collect();
        let found = reversals(&replicas);
        let most = reversals_per_hour_max(wake_s) as usize;
        for start in &found {
            let within = found.iter().filter(|at| (*start..*start + HOUR_S).contains(*at)).count();
            prop_assert!(within <= most, "{within} of at most {most} within an hour: {replicas:?}");
        }
    }

    #[test]
    fn replicas_stay_within_bounds_and_the_coldest_go(stretches in stretches(), scale_to_zero: bool) {
        let mut play = Play::new(&[Legs::Both], 12, scale_to_zero, 60.0);
        for per_s in demand(&stretches) {
            let (seen, planned) = play.tick(per_s);
            let of_role = &planned.roles[0];
            prop_assert!(of_role.replicas <= 12 && (scale_to_zero || of_role.replicas >= 1));
            let engines = &seen.roles[0].engines;
            prop_assert_eq!(of_role.leaving.len(), engines.len().saturating_sub(of_role.replicas as usize));
            let leaving: BTreeSet<EngineId> = of_role.leaving.iter().copied().collect();
            let ready = engines.iter().filter(|engine| engine.state == EngineState::Ready);
            let (gone, kept): (Vec<&Engine>, Vec<&Engine>) = ready.partition(|engine| leaving.contains(&engine.id));
            let warmest_gone = gone.iter().map(|engine| engine.warm_tokens).fold(0.0, f64::max);
            prop_assert!(kept.iter().all(|engine| engine.warm_tokens >= warmest_gone));
        }
    }

    #[test]
    fn roles_sleep_and_wake_together(stretches in stretches()) {
        let mut play = Play::new(&[Legs::Prefill, Legs::Decode], 12, true, 60.0);
        let mut was_asleep = false;
        for per_s in demand(&stretches) {
            let (_, planned) = play.tick(per_s);
            let asleep: Vec<bool> = planned.roles.iter().map(|role| role.replicas == 0).collect();
            prop_assert_eq!(asleep[0], asleep[1]);
            prop_assert!(!(was_asleep && per_s > 0.0 && asleep[0]), "a request wakes both at once");
            was_asleep = asleep[0];
        }
    }

    #[test]
    fn whatever_numbers_come_a_plan_comes_of_them(
        odd in prop::collection::vec(prop_oneof![
            Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), Just(0.0), Just(1e300), 0.0..1e6_f64,
        ], 20),
        held in any::<u64>(),
    ) {
        let policy = Play::new(&[Legs::Both], 7, false, 60.0).policy;
        let demand = Demand {
            window_s: odd[0], requests: odd[1], work_tokens: odd[2], work_tokens_squared: odd[3],
            output_tokens: odd[4], context_tokens: odd[5], firsts: odd[6], firsts_late: odd[7], ends: odd[8],
            ends_late: odd[9], whole_work_tokens: odd[16], whole_work_tokens_squared: odd[17],
            whole_firsts: odd[18], whole_firsts_late: odd[19],
        };
        let speeds = Speeds {
            prefill_s_per_token: odd[10], step_s: odd[11], step_s_per_request: odd[12],
            step_s_per_context_token: odd[13], kv_tokens: odd[14], wake_s: odd[15],
        };
        let engine =
            Engine { id: EngineId(1), state: EngineState::Ready, warm_tokens: odd[3], requests: held };
        let backlog = Backlog { held_requests: held, work_tokens: odd[5], requests_in_flight: held };
        let seen = Seen { demand, backlog, roles: vec![Role { legs: Legs::Both, speeds, ranks: 1, engines: vec![engine] }], is_partial: false };
        let mut state = State::default();
        for at in 1..4 {
            let planned = plan(&policy, &seen, state, f64::from(at) * TICK_S);
            prop_assert!((1..=7).contains(&planned.roles[0].replicas));
            state = planned.state;
        }
    }
}

#[test]
fn demand_that_stays_the_same_settles_and_more_of_it_needs_more() {
    let settled = |per_s: f64| {
        let mut play = Play::new(&[Legs::Both], 200, false, 60.0);
        let replicas: Vec<u32> = (0..240).map(|_| play.tick(per_s).1.roles[0].replicas).collect();
        assert_eq!(reversals(&replicas), Vec::<f64>::new(), "{replicas:?}");
        *replicas.last().unwrap()
    };
    let all: Vec<u32> = [1.0, 5.0, 20.0, 60.0].map(settled).into();
    assert!(all.is_sorted() && all[0] < all[1] && all[2] < all[3], "{all:?}");
}

#[test]
fn a_service_that_is_not_requested_sleeps_after_the_idle_time_and_not_before() {
    let mut play = Play::new(&[Legs::Both], 4, true, 60.0);
    let first_zero = (0..100).find(|_| play.tick(0.0).1.roles[0].replicas == 0).unwrap();
    assert_eq!(first_zero, 40, "600 s of quiet after the first interval");
}

/// Seven engines of eight were deleted after half a minute of silence, and had to start for the next request.
#[test]
fn where_engines_sleep_those_that_would_have_to_start_again_stay_for_the_break_even_time() {
    let mut play = Play::new(&[Legs::Both], 40, true, 200.0);
    (play.policy.sleeps, play.policy.idle_s) = (true, Some(30.0));
    let settled = (0..60).map(|_| play.tick(40.0).1.roles[0].replicas).last().unwrap();
    assert!(settled > 4, "{settled}");
    let quiet: Vec<u32> = (0..100).map(|_| play.tick(0.0).1.roles[0].replicas).collect();
    let stays = quiet.iter().filter(|replicas| **replicas == settled).count();
    assert_eq!((stays, quiet.last()), (13, Some(&0)), "195 s of silence: {quiet:?}");
    let single = (0..4).map(|_| play.tick(0.1).1.roles[0].replicas).last();
    assert_eq!(single, Some(1), "one is enough, and it sleeps again after the idle time alone");
    let again: Vec<u32> = (0..4).map(|_| play.tick(0.0).1.roles[0].replicas).collect();
    assert_eq!(again.last(), Some(&0), "{again:?}");
}

#[test]
fn engines_that_never_become_ready_are_not_multiplied() {
    let mut play = Play::new(&[Legs::Both], 100, false, 60.0);
    let settled = (0..120).map(|_| play.tick(20.0).1.roles[0].replicas).last().unwrap();
    play.is_full = true;
    let after: Vec<(u32, Reason)> = (0..120)
        .map(|at| {
            let of_role = &play.tick(if at < 60 { 40.0 } else { 80.0 }).1.roles[0];
            (of_role.replicas, of_role.reason)
        })
        .collect();
    let (asked, _) = after[50];
    assert!(asked > settled, "{after:?}");
    assert_eq!(after[110], (asked, Reason::Stuck), "{after:?}");
}

#[test]
fn an_engine_on_a_broken_node_is_made_up_for() {
    let mut play = Play::new(&[Legs::Both], 100, false, 60.0);
    let settled = (0..120).map(|_| play.tick(20.0).1.roles[0].replicas).last().unwrap();
    assert!(settled > 4, "{settled}");
    // One of them never becomes ready.
    play.engines[0].pop();
    play.engines[0].push((EngineId(NEVER), play.now_s));
    let after: Vec<u32> = (0..60).map(|_| play.tick(20.0).1.roles[0].replicas).collect();
    assert_eq!(after.iter().max(), Some(&(settled + 1)), "{after:?}");
    let grown = (0..60).map(|_| play.tick(60.0).1.roles[0].replicas).last().unwrap();
    assert!(grown > 2 * settled, "{settled} engines for 20 a second, {grown} for 60");
}

#[test]
fn demand_of_which_only_a_part_is_seen_takes_no_engine_away_and_does_not_sleep() {
    let mut play = Play::new(&[Legs::Both], 100, true, 60.0);
    let settled = (0..120).map(|_| play.tick(40.0).1.roles[0].replicas).last().unwrap();
    play.is_partial = true;
    let least = (0..400).map(|_| play.tick(0.0).1.roles[0].replicas).min().unwrap();
    assert_eq!(least, settled);
    let most = (0..100).map(|_| play.tick(80.0).1.roles[0].replicas).max().unwrap();
    assert!(most > settled, "what is seen still asks for more");
}

#[test]
fn a_gap_in_what_is_known_is_as_if_it_had_not_been() {
    let (mut whole, mut broken) =
        (Play::new(&[Legs::Both], 100, true, 60.0), Play::new(&[Legs::Both], 100, true, 60.0));
    for at in 0..200_u32 {
        let per_s = if at < 100 { 20.0 } else { 0.0 };
        if at == 90 || at == 120 {
            broken.now_s += 3_000.0;
            broken.state = std::mem::take(&mut broken.state).after_gap(3_000.0);
            broken.engines[0].iter_mut().for_each(|(_, made_s)| *made_s += 3_000.0);
        }
        let (whole, broken) = (whole.tick(per_s).1.roles, broken.tick(per_s).1.roles);
        assert_eq!(whole[0].replicas, broken[0].replicas, "in interval {at}");
    }
}

#[test]
fn the_break_even_time_is_the_start_and_the_prefixes_of_whoever_goes_first() {
    let speeds = Speeds { wake_s: 100.0, prefill_s_per_token: 1e-3, ..Speeds::default() };
    let engine =
        |id, warm_tokens| Engine { id: EngineId(id), state: EngineState::Ready, warm_tokens, requests: 0 };
    let role = |engines| Role { legs: Legs::Both, speeds, ranks: 1, engines };
    assert!((break_even_s(&role(vec![])) - 100.0).abs() < 1e-9);
    assert!((break_even_s(&role(vec![engine(1, 90_000.0), engine(2, 50_000.0)])) - 150.0).abs() < 1e-9);
    assert_eq!(
        (reversals_per_hour_max(10.0), reversals_per_hour_max(100.0), reversals_per_hour_max(420.0)),
        (123, 75, 19)
    );
}
