//! A service through hours of looks, in no time: what it asks for, and what it must not.

use super::super::look::{EndpointLook, HeldLook, Look, ReplicaLook};
use super::{Asked, Service, Takes};
use crate::publish::{Arrived, Firsts};
use crate::watch::EnginePod;
use std::collections::BTreeMap;
use warmpath_deploy::api::RoleName;
use warmpath_deploy::plan::Asleep;
use warmpath_scale::{Policy, RawBounds, RawPolicy};

const TICK_S: f64 = 5.0;

fn split(idle_s: f64) -> Asked {
    let bounds = RawBounds { min: 0, max: Some(8) };
    let roles = ["spec.roles.prefill", "spec.roles.decode"].map(|field| (field.to_owned(), bounds));
    let raw = RawPolicy {
        roles: roles.to_vec(),
        scale_to_zero: true,
        idle_s: Some(idle_s),
        ..RawPolicy::default()
    };
    Asked {
        roles: vec![RoleName::Prefill, RoleName::Decode],
        policy: Policy::of(&raw).unwrap(),
        sleep_level: None,
        is_external: false,
        identity: 1,
        engines: 1,
        ranks: BTreeMap::new(),
    }
}

/// As many ready pods of each role, each with an engine.
fn ready(count: usize) -> Look {
    let mut look = Look::default();
    for (role, takes) in [("prefill", Takes::Prefill), ("decode", Takes::Decode)] {
        for at in 0..count {
            let (name, address) = (format!("{role}-{at}"), format!("{role}-{at}:8000"));
            let replica = ReplicaLook { role: role.to_owned(), is_ready: true, ..ReplicaLook::default() };
            look.replicas.insert(name.clone(), replica);
            look.endpoints.push(EndpointLook {
                address,
                replica: Some(name),
                role: takes,
                ..EndpointLook::default()
            });
        }
    }
    look
}

fn starting(mut look: Look) -> Look {
    look.replicas.values_mut().for_each(|replica| replica.is_ready = false);
    look.endpoints.clear();
    look
}

fn held(requests: u64) -> Look {
    let tokens = 4_000.0 * f64::from(u32::try_from(requests).unwrap());
    let held = HeldLook { requests, tokens, all: requests };
    Look { held, output_tokens: 200.0, ..Look::default() }
}

fn replicas(service: &Service) -> Vec<i32> {
    service.scaling().unwrap().roles.values().map(|role| role.replicas).collect()
}

fn reason(service: &Service) -> &str {
    &service.scaling().unwrap().verdict.reason
}

/// Plans at each tick for so many seconds; returns when that ends.
fn pass(service: &mut Service, asked: &Asked, look: &Look, from_s: f64, seconds: f64) -> f64 {
    let mut now_s = from_s;
    while now_s < from_s + seconds {
        now_s += TICK_S;
        service.plan(asked, look, now_s);
    }
    now_s
}

#[test]
fn a_request_that_is_held_wakes_both_roles_at_once_and_silence_puts_both_to_sleep() {
    let (mut service, asked) = (Service::default(), split(120.0));
    service.plan(&asked, &Look::default(), 1_000.0);
    assert_eq!((replicas(&service), service.is_asleep()), (vec![0, 0], true));
    service.note_held(1.0);
    service.plan(&asked, &held(1), 1_000.2);
    assert_eq!((replicas(&service), reason(&service)), (vec![1, 1], "Wake"));
    // What keeps it awake is that requests wait, and then that they ran a moment ago.
    let mut look = starting(ready(1));
    look.held = held(1).held;
    let now_s = pass(&mut service, &asked, &look, 1_000.2, 60.0);
    assert_eq!(replicas(&service), [1, 1]);
    let now_s = pass(&mut service, &asked, &ready(1), now_s, 100.0);
    assert_eq!(replicas(&service), [1, 1], "it has been idle for less than 120 s");
    pass(&mut service, &asked, &ready(1), now_s, 600.0);
    assert_eq!((replicas(&service), reason(&service)), (vec![0, 0], "Idle"));
}

#[test]
fn the_time_that_a_model_takes_to_wake_is_known_after_it_has_woken_once() {
    let (mut service, asked) = (Service::default(), split(60.0));
    service.plan(&asked, &Look::default(), 1_000.0);
    service.note_held(1.0);
    service.plan(&asked, &held(1), 1_000.2);
    assert_eq!(service.wake_time(1_000.2), None, "nothing is known of its starts");
    let mut look = starting(ready(1));
    look.held = held(1).held;
    let now_s = pass(&mut service, &asked, &look, 1_000.2, 40.0);
    let now_s = pass(&mut service, &asked, &ready(1), now_s, 200.0);
    let wake = service.wake_time(now_s).unwrap();
    assert_eq!((wake.usual_s, wake.passed_s), (40.0, None));
    let now_s = pass(&mut service, &asked, &Look::default(), now_s, 400.0);
    assert!(service.is_asleep());
    service.note_held(1.0);
    service.plan(&asked, &held(1), now_s);
    assert_eq!(service.wake_time(now_s + 10.0).unwrap().passed_s, Some(10.0));
}

/// Proxies then hold back what those would find to do.
#[test]
fn proxies_learn_whether_more_engines_are_about_to_come() {
    let (mut service, asked) = (Service::default(), split(600.0));
    service.plan(&asked, &Look::default(), 1_000.0);
    assert!(!service.is_growing());
    service.note_held(4_000.0);
    service.plan(&asked, &held(4_000), 1_005.0);
    assert!(service.is_growing(), "they are wanted, though no pod is there");
    let mut look = ready(4);
    let plan = |service: &mut Service, look: &Look, asked: &Asked| {
        service.plan(asked, look, 1_010.0);
        service.is_growing()
    };
    look.replicas.get_mut("decode-3").unwrap().is_ready = false;
    assert!(plan(&mut service, &look, &asked));
    let external = Asked { is_external: true, ..asked.clone() };
    assert!(plan(&mut service, &look, &external), "whoever has asked for it");
    look.replicas.get_mut("decode-3").unwrap().trouble = Some("no node has room".to_owned());
    assert!(!plan(&mut service, &look, &external), "it does not come");
    look.replicas.remove("decode-3");
    assert!(!plan(&mut service, &look, &external), "nobody may ask for what this plan wants");
}

/// A rollout of the controller is no reason to plan as for an engine of which nothing is known.
#[test]
fn a_controller_that_starts_takes_the_time_of_a_start_from_the_pods_that_are_there() {
    let (mut service, asked) = (Service::default(), split(600.0));
    let mut look = ready(1);
    look.replicas.get_mut("decode-0").unwrap().took_s = Some(240);
    service.plan(&asked, &look, 1_000.0);
    assert_eq!(service.wake_time(1_000.0).map(|wake| wake.usual_s), Some(240.0));
    service.plan(&asked, &Look::default(), 1_005.0);
    assert_eq!(service.wake_time(1_005.0).map(|wake| wake.usual_s), Some(240.0), "also when they are gone");
}

#[test]
fn engines_that_sleep_are_woken_by_requests_and_not_by_a_controller_that_starts() {
    let (mut service, mut asked) = (Service::default(), split(60.0));
    asked.policy.sleeps = true;
    let mut asleep = starting(ready(1));
    asleep.replicas.values_mut().for_each(|replica| replica.is_asleep = true);
    let pods = |asleep: Option<Asleep>| {
        let pod = EnginePod { asleep, is_endpoint: true, is_ready: true, ..EnginePod::default() };
        BTreeMap::from([("prefill-0", pod.clone()), ("decode-0", pod)])
    };
    let note = |service: &mut Service, of: &BTreeMap<&'static str, EnginePod>, now_s| {
        service.note_sleepers(&of.iter().map(|(name, pod)| (*name, pod)).collect(), now_s);
    };
    note(&mut service, &pods(Some(Asleep::at(1))), 1_000.0);
    let now_s = pass(&mut service, &asked, &asleep, 1_000.0, 3_600.0);
    assert_eq!((replicas(&service), service.wake_time(now_s)), (vec![0, 0], None));
    service.note_held(1.0);
    asleep.held = held(1).held;
    service.plan(&asked, &asleep, now_s);
    assert_eq!((replicas(&service), reason(&service)), (vec![1, 1], "Wake"));
    note(&mut service, &pods(None), now_s + 3.0);
    pass(&mut service, &asked, &ready(1), now_s + 3.0, 10.0);
    pass(&mut service, &asked, &ready(1), now_s + 13.0, 65.0);
    assert_eq!(replicas(&service), [0, 0], "not as long as a start takes");
    note(&mut service, &pods(Some(Asleep::at(1))), now_s + 700.0);
    assert_eq!(
        service.wake_time(now_s + 700.0).map(|wake| wake.usual_s),
        Some(3.0),
        "no start takes so little"
    );
}

#[test]
fn the_first_wake_may_take_as_long_as_a_start_and_an_engine_that_does_not_wake_is_stuck() {
    let (mut service, asked) = (Service::default(), split(60.0));
    let mut asleep = starting(ready(1));
    asleep.replicas.values_mut().for_each(|replica| replica.is_asleep = true);
    let pod = EnginePod { asleep: Some(Asleep::at(2)), is_endpoint: true, ..EnginePod::default() };
    service.note_sleepers(&BTreeMap::from([("decode-0", &pod)]), 1_000.0);
    asleep.held = held(1).held;
    let woken_s = pass(&mut service, &asked, &asleep, 1_000.0, 100.0);
    assert_ne!(reason(&service), "DoesNotWake", "no wake was timed yet");
    pass(&mut service, &asked, &asleep, woken_s, 1_000.0);
    assert_eq!((replicas(&service), reason(&service)), (vec![1, 1], "DoesNotWake"));
}

#[test]
fn many_requests_at_once_wake_as_many_engines_as_they_need() {
    let (mut service, asked) = (Service::default(), split(600.0));
    service.plan(&asked, &Look::default(), 1_000.0);
    service.note_held(4_000.0);
    service.plan(&asked, &held(4_000), 1_005.0);
    let woken = replicas(&service);
    assert!(woken.iter().all(|count| (2..=8).contains(count)), "{woken:?}");
}

#[test]
fn requests_that_were_routed_count_and_the_coldest_pods_leave_first() {
    let (mut service, asked) = (Service::default(), split(100_000.0));
    let mut look = ready(4);
    for endpoint in &mut look.endpoints {
        endpoint.held_tokens = 1e9;
    }
    let mut now_s = 1_000.0;
    let busy = Arrived {
        requests: 50.0,
        booked: 50.0,
        work_tokens: 50.0 * 3_000.0,
        work_tokens_squared: 50.0 * 3_000.0 * 3_000.0,
        context_tokens: 50.0 * 4_000.0,
        ..Arrived::default()
    };
    for _ in 0..120 {
        for role in ["prefill", "decode"] {
            let takes = if role == "prefill" { Takes::Prefill } else { Takes::Decode };
            for at in 0..4_u8 {
                // The third one is used least.
                let share = if at == 2 { 0.1 } else { 1.0 };
                let arrived = Arrived {
                    requests: busy.requests * share,
                    context_tokens: busy.context_tokens * share,
                    ..busy.clone()
                };
                service.note_arrived(takes, &format!("{role}-{at}:8000"), &arrived);
            }
        }
        now_s += TICK_S;
        service.plan(&asked, &look, now_s);
    }
    let grown = replicas(&service);
    assert!(grown[0] > 1, "30 requests a second of 3,000 tokens: {grown:?}");
    // The demand ends. Nobody is removed before what it costs to start one again.
    now_s = pass(&mut service, &asked, &look, now_s, 30.0);
    assert_eq!(replicas(&service), grown);
    for _ in 0..600 {
        now_s += TICK_S;
        service.plan(&asked, &look, now_s);
        let prefill = &service.scaling().unwrap().roles[&RoleName::Prefill];
        assert_eq!(prefill.order.first().map(String::as_str), Some("prefill-2"));
        if prefill.replicas < grown[0] {
            return;
        }
    }
    panic!("nothing has left: {:?}", service.scaling());
}

#[test]
fn a_controller_without_proxies_or_without_some_of_them_changes_nothing() {
    let (mut service, asked) = (Service::default(), split(60.0));
    let look = ready(2);
    service.plan(&asked, &look, 1_000.0);
    assert_eq!(replicas(&service), [2, 2]);
    let deaf = Look { is_deaf: true, ..look.clone() };
    let now_s = pass(&mut service, &asked, &deaf, 1_000.0, 7_200.0);
    assert_eq!((replicas(&service), reason(&service)), (vec![2, 2], "NoProxies"));
    // Nor does it count as silence what it did not receive.
    service.plan(&asked, &look, now_s + TICK_S);
    assert_eq!(replicas(&service), [2, 2]);
    // Engines work, and no proxy says for whom.
    let mut strange = look;
    strange.endpoints[0].reported = 3;
    let (mut service, mut now_s) = (Service::default(), now_s);
    for _ in 0..1_000 {
        now_s += TICK_S;
        service.plan(&asked, &strange, now_s);
    }
    assert_eq!((replicas(&service), reason(&service)), (vec![2, 2], "OtherClients"));
}

#[test]
fn a_model_that_does_not_wake_is_said_to_and_its_pods_stay() {
    let (mut service, asked) = (Service::default(), split(600.0));
    service.plan(&asked, &Look::default(), 1_000.0);
    service.note_held(1.0);
    let mut look = starting(ready(1));
    look.held = held(1).held;
    service.plan(&asked, &look, 1_000.2);
    let now_s = pass(&mut service, &asked, &look, 1_000.2, 200.0);
    assert!(service.scaling().unwrap().verdict.is_fine, "it may take 135 s, and has had 200");
    pass(&mut service, &asked, &look, now_s, 1_800.0);
    assert_eq!((replicas(&service), reason(&service)), (vec![1, 1], "DoesNotWake"));
    assert!(!service.scaling().unwrap().verdict.is_fine);
    // What its pods say is said at once.
    let mut service = Service::default();
    service.plan(&asked, &Look::default(), 1_000.0);
    service.note_held(1.0);
    service.plan(&asked, &held(1), 1_000.2);
    look.replicas
        .values_mut()
        .for_each(|replica| replica.trouble = Some("pod decode-0: no node has room for it".to_owned()));
    service.plan(&asked, &look, 1_005.0);
    assert_eq!((replicas(&service), reason(&service)), (vec![1, 1], "DoesNotWake"));
    assert!(service.scaling().unwrap().verdict.message.starts_with("pod decode-0: no node has room for it"));
}

#[test]
fn a_reason_that_changes_back_and_forth_is_shown_once_a_minute() {
    let (mut service, asked) = (Service::default(), split(600.0));
    let (mut shown, mut now_s) = (Vec::new(), 1_000.0);
    for tick in 0..120_u32 {
        let arrived = Arrived {
            requests: if tick % 2 == 0 { 5.0 } else { 0.0 },
            booked: 1.0,
            work_tokens: 100.0,
            work_tokens_squared: 10_000.0,
            ..Arrived::default()
        };
        service.note_arrived(Takes::Prefill, "prefill-0:8000", &arrived);
        now_s += TICK_S;
        service.plan(&asked, &ready(3), now_s);
        let scaling = service.scaling().unwrap().clone();
        if shown.last().is_none_or(|(_, before)| *before != scaling) {
            shown.push((now_s, scaling));
        }
    }
    let quick = shown.windows(2).filter(|pair| {
        let replicas =
            |at: &(f64, super::Scaling)| at.1.roles.values().map(|role| role.replicas).collect::<Vec<_>>();
        pair[1].0 - pair[0].0 < 60.0
            && replicas(&pair[0]) == replicas(&pair[1])
            && pair[0].1.verdict != pair[1].1.verdict
    });
    assert_eq!(quick.count(), 0, "{shown:?}");
}

#[test]
fn first_tokens_are_judged_where_their_client_waits_for_them() {
    let mut service = Service::default();
    let (asked, look) = (split(100_000.0), ready(1));
    service.plan(&asked, &look, 1_000.0);
    let overdue = |overdue| Firsts { overdue, ..Firsts::default() };
    let prompt = Arrived { first_tokens: overdue(3.0), ..Arrived::default() };
    service.note_arrived(Takes::Prefill, "prefill-0:8000", &prompt);
    assert!(service.sums.firsts < 0.5, "its client has nothing of a prefill leg");
    let response =
        Arrived { first_tokens: overdue(2.0), split_first_tokens: overdue(1.0), ..Arrived::default() };
    service.note_arrived(Takes::Decode, "decode-0:8000", &response);
    let sums = service.sums;
    assert_eq!((sums.firsts, sums.firsts_late), (1.0, 1.0), "engines for prompts are late with it");
    assert_eq!((sums.whole_firsts, sums.whole_firsts_late), (2.0, 2.0));
}

#[test]
fn prompts_that_are_not_split_ask_for_engines_for_responses() {
    let of = |work_tokens: f64| {
        let (mut service, asked, look) = (Service::default(), split(100_000.0), ready(1));
        let mut now_s = 1_000.0;
        for _ in 0..60 {
            now_s += TICK_S;
            let arrived = Arrived {
                requests: 50.0,
                booked: 50.0,
                work_tokens: 50.0 * work_tokens,
                work_tokens_squared: 50.0 * work_tokens * work_tokens,
                context_tokens: 50.0 * 8_000.0,
                responses: 50.0,
                output_tokens: 50.0 * 100.0,
                ..Arrived::default()
            };
            service.note_arrived(Takes::Decode, "decode-0:8000", &arrived);
            service.plan(&asked, &look, now_s);
        }
        replicas(&service)
    };
    // Ten prompts a second of 8,000 tokens keep nearly five engines busy.
    let (split, whole) = (of(0.0), of(8_000.0));
    assert_eq!(split[0], whole[0], "prompts that are not split ask for no engines for prompts");
    assert!(whole[1] >= split[1] + 4, "{split:?} {whole:?}");
}

/// Plans with so many requests a second at each engine that does prompts, for so many seconds.
fn load(service: &mut Service, asked: &Asked, look: &Look, per_s: f64, from_s: f64, seconds: f64) -> f64 {
    let mut now_s = from_s;
    while now_s < from_s + seconds {
        now_s += TICK_S;
        let requests = per_s * TICK_S;
        let arrived = Arrived {
            requests,
            booked: requests,
            work_tokens: requests * 4_000.0,
            work_tokens_squared: requests * 4_000.0 * 4_000.0,
            context_tokens: requests * 4_000.0,
            ..Arrived::default()
        };
        let split = Arrived { work_tokens: 0.0, work_tokens_squared: 0.0, ..arrived.clone() };
        for endpoint in &look.endpoints {
            let arrived = if endpoint.role == Takes::Prefill { &arrived } else { &split };
            service.note_arrived(endpoint.role, &endpoint.address, arrived);
        }
        service.plan(asked, look, now_s);
    }
    now_s
}

#[test]
fn an_engine_that_restarts_does_not_stop_growth() {
    let (mut service, asked, mut look) = (Service::default(), split(100_000.0), ready(4));
    let now_s = load(&mut service, &asked, &look, 1.0, 1_000.0, 3_600.0);
    let before = replicas(&service);
    look.replicas.get_mut("prefill-0").unwrap().is_ready = false;
    load(&mut service, &asked, &look, 5.0, now_s, 60.0);
    assert!(replicas(&service)[0] > before[0].max(4), "{before:?} {:?}", service.scaling());
}

#[test]
fn a_moment_without_a_proxy_forgets_nothing() {
    let of = |gap_s: f64| {
        let (mut service, asked, look) = (Service::default(), split(120.0), ready(4));
        let now_s = load(&mut service, &asked, &look, 4.0, 1_000.0, 600.0);
        let deaf = Look { is_deaf: true, ..look.clone() };
        let now_s = pass(&mut service, &asked, &deaf, now_s, gap_s);
        // Of what is known then, half of the idle time is over.
        let quiet_s = pass(&mut service, &asked, &look, now_s, 60.0);
        let halfway = replicas(&service);
        let now_s = pass(&mut service, &asked, &deaf, quiet_s, gap_s);
        pass(&mut service, &asked, &look, now_s, 1_200.0);
        (halfway, replicas(&service))
    };
    let (halfway, asleep) = of(0.0);
    assert!(halfway[0] > 1 && asleep == [0, 0], "{halfway:?} {asleep:?}");
    assert_eq!(of(30.0), (halfway, asleep));
}

#[test]
fn engines_with_far_more_requests_than_proxies_report_take_nothing_away() {
    let (mut service, asked, mut look) = (Service::default(), split(100_000.0), ready(4));
    for endpoint in &mut look.endpoints {
        (endpoint.reported, endpoint.in_flight) = (40, 20);
    }
    let now_s = load(&mut service, &asked, &look, 0.1, 1_000.0, 7_200.0);
    assert_eq!((replicas(&service), reason(&service)), (vec![4, 4], "OtherClients"));
    for endpoint in &mut look.endpoints {
        endpoint.reported = 20;
    }
    load(&mut service, &asked, &look, 0.1, now_s, 7_200.0);
    assert!(replicas(&service)[0] < 4, "half of them were enough");
}

#[test]
fn a_replica_of_eight_ranks_counts_as_one() {
    let (mut one, mut eight) = (Service::default(), Service::default());
    let (asked, look) = (split(100_000.0), ready(8));
    load(&mut one, &asked, &look, 4.0, 1_000.0, 600.0);
    let with_ranks = Asked { ranks: asked.roles.iter().map(|role| (*role, 8)).collect(), ..asked };
    let mut of_one = look.clone();
    of_one.replicas.retain(|name, _| name.ends_with("-0"));
    for endpoint in &mut of_one.endpoints {
        endpoint.replica =
            endpoint.replica.as_ref().and_then(|name| Some(format!("{}-0", name.split_once('-')?.0)));
    }
    load(&mut eight, &with_ranks, &of_one, 4.0, 1_000.0, 600.0);
    let (ranks, groups) = (replicas(&one)[0], replicas(&eight)[0]);
    assert!(ranks >= 8 && groups == (ranks + 7) / 8, "{ranks} engines of one rank, {groups} of eight");
}

#[test]
fn a_role_without_which_nobody_is_served_does_not_wake() {
    let (mut service, asked, mut look) = (Service::default(), split(600.0), ready(1));
    service.plan(&asked, &Look::default(), 1_000.0);
    service.note_held(1.0);
    let decode = look.replicas.get_mut("decode-0").unwrap();
    (decode.is_ready, decode.trouble) = (false, Some("pod decode-0: ImagePullBackOff".to_owned()));
    look.held = held(1).held;
    service.plan(&asked, &look, 1_000.2);
    assert_eq!(reason(&service), "DoesNotWake");
    let decode = look.replicas.get_mut("decode-0").unwrap();
    decode.trouble = Some("pod decode-0: no node has room for it".to_owned());
    pass(&mut service, &asked, &look, 1_000.2, 120.0);
    assert!(service.scaling().unwrap().verdict.message.contains("no node"), "{:?}", service.scaling());
}
