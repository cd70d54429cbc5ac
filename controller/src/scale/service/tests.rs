//! A service through hours of looks, in no time: what it asks for, and what it must not.

use super::super::look::{EndpointLook, HeldLook, Look, PodLook};
use super::{Asked, Service, Takes};
use crate::publish::Arrived;
use warmpath_deploy::api::RoleName;
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
        is_external: false,
    }
}

/// As many ready pods of each role, each with an engine.
fn ready(count: usize) -> Look {
    let mut look = Look::default();
    for (role, takes) in [("prefill", Takes::Prefill), ("decode", Takes::Decode)] {
        for at in 0..count {
            let (name, address) = (format!("{role}-{at}"), format!("{role}-{at}:8000"));
            let pod = PodLook { role: role.to_owned(), is_ready: true, ..PodLook::default() };
            look.pods.insert(name.clone(), pod);
            look.endpoints.push(EndpointLook {
                address,
                pod: Some(name),
                role: takes,
                ..EndpointLook::default()
            });
        }
    }
    look
}

fn starting(mut look: Look) -> Look {
    look.pods.values_mut().for_each(|pod| pod.is_ready = false);
    look.endpoints.clear();
    look
}

fn held(requests: u64) -> Look {
    let tokens = 4_000.0 * f64::from(u32::try_from(requests).unwrap());
    let held = HeldLook { requests, oldest_s: 0.1, tokens, all: requests };
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
    look.pods.values_mut().for_each(|pod| pod.trouble = Some("no node has room for it".to_owned()));
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
