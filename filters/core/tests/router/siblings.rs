//! VMs of one process: what one does the others know before they next choose.

use crate::support::{Host, Stream, Vm};
use crate::support::{
    chat, chosen, counted, explain, finish_all, get, records, serve, static_config, step, text, vm,
};
use serde_json::json;
use std::collections::BTreeMap;
use warmpath_core::wire::{Kind, Source};

#[test]
fn sibling_routes_by_what_was_routed_a_moment_before_without_a_tick() {
    let host = Host::default();
    let (one, two) = (vm(&host, &static_config(16)), vm(&host, &static_config(16)));
    for topic in ["whales", "sharks", "squids", "corals"] {
        let prompt = chat(&text(topic, 2000));
        let first = serve(&one, &prompt);
        let holder = chosen(&first);
        let decision = explain(&two, &prompt);
        assert_eq!((decision.holders(), decision.of(&holder, "requests")), (vec![holder.clone()], &json!(1)));
        first.complete();
        one.tick();
        let second = serve(&two, &prompt);
        assert_eq!(chosen(&second), holder, "{topic}");
        second.finish();
    }
    assert_eq!(counted(&host, &[&one, &two], "warmpath.decision.warm"), 4);
}

#[test]
fn in_flight_requests_of_siblings_count() {
    let host = Host::default();
    let vms: Vec<Vm> = (0..3).map(|_| vm(&host, &static_config(6))).collect();
    let streams: Vec<Stream> = (0..12).map(|at| get(&vms[at % 3], "/v1/models")).collect();
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    for stream in &streams {
        *there.entry(chosen(stream)).or_default() += 1;
    }
    assert_eq!(there.into_values().collect::<Vec<_>>(), [2; 6], "as one VM would spread them");
    for vm in &vms {
        assert_eq!(explain(vm, &chat("hello")).sum("requests"), 12);
    }
    finish_all(streams);
    let all: Vec<&Vm> = vms.iter().collect();
    step(&host, &all);
    step(&host, &all);
    for vm in &vms {
        assert_eq!(explain(vm, &chat("hello")).sum("requests"), 0);
    }
}

#[test]
fn failure_seen_by_one_is_avoided_by_all_at_once() {
    let host = Host::default();
    let (one, two) = (vm(&host, &static_config(2)), vm(&host, &static_config(2)));
    let mut stream = serve(&one, &chat("hello"));
    let there = chosen(&stream);
    stream.response_headers(&[(":status", "503")], true);
    assert_eq!(explain(&two, &chat("hello")).of(&there, "fitness"), "avoided");
    stream.finish();
}

#[test]
fn interleaved_requests_lose_no_booking() {
    const ROUNDS: usize = 40;
    let host = Host::default();
    let vms: Vec<Vm> = (0..4).map(|_| vm(&host, &static_config(5))).collect();
    let mut open: Vec<Stream> = Vec::new();
    for round in 0..ROUNDS {
        for (at, vm) in vms.iter().enumerate() {
            let mut stream = serve(vm, &chat(&text(&format!("{round} of {at}"), 600)));
            stream.response_headers(&[(":status", "200")], false);
            open.push(stream);
        }
        // The oldest ones end in VMs that have read nothing since.
        if round % 3 == 2 {
            finish_all(open.drain(..4));
        }
        vms[round % 4].tick();
    }
    let published: Vec<_> =
        records(&host).into_iter().filter(|record| record.source == Source::Local).collect();
    let routed = published.iter().filter(|record| matches!(record.event.kind, Some(Kind::Routed(_)))).count();
    assert_eq!(routed, ROUNDS * 4, "each request's chain was published once");
    let all: Vec<&Vm> = vms.iter().collect();
    step(&host, &all);
    let open_count = u64::try_from(open.len()).unwrap();
    for vm in &vms {
        vm.tick();
        assert_eq!(explain(vm, &chat("hello")).sum("requests"), open_count, "every VM sees the same");
    }
    finish_all(open);
    assert_eq!(counted(&host, &all, "warmpath.malformed"), 0);
}

#[test]
fn vm_that_starts_later_knows_what_its_siblings_know() {
    let host = Host::default();
    let old = vm(&host, &static_config(8));
    let prompt = chat(&text("whales", 2000));
    let stream = serve(&old, &prompt);
    let fresh = vm(&host, &static_config(8));
    let decision = explain(&fresh, &prompt);
    assert_eq!(decision.holders(), [chosen(&stream)]);
    assert_eq!(decision.sum("requests"), 1);
    stream.finish();
}

#[test]
fn promises_of_a_vm_that_fell_silent_are_dropped_and_those_of_a_slow_request_are_not() {
    let host = Host::default();
    let (alive, silent, watcher) =
        (vm(&host, &static_config(2)), vm(&host, &static_config(2)), vm(&host, &static_config(2)));
    let slow = serve(&alive, &chat("hello"));
    let lost = serve(&silent, &chat("hello"));
    assert_eq!(explain(&watcher, &chat("hello")).sum("requests"), 2);
    for _ in 0..40 {
        step(&host, &[&alive, &watcher]);
    }
    assert_eq!(explain(&watcher, &chat("hello")).sum("requests"), 1);
    silent.tick();
    assert_eq!(explain(&watcher, &chat("hello")).sum("requests"), 2, "it was only slow");
    slow.finish();
    lost.finish();
}

#[test]
fn strange_values_in_shared_data_do_not_trap() {
    let host = Host::default();
    let config = static_config(2);
    let (one, two) = (vm(&host, &config), vm(&host, &config));
    for value in [b"".as_slice(), b"short", &[0; 8], b"\0\0\0\0\0\0\0\0\x05\0\0\0\0\xff\xff\xff\xff\xff"] {
        for (key, _) in host.shared() {
            host.set_shared(&key, value);
        }
        serve(&one, &chat("hello")).finish();
        step(&host, &[&one, &two]);
        serve(&two, &chat("hello")).finish();
    }
    let fresh = vm(&host, &config);
    serve(&fresh, &chat("hello")).finish();
    assert!(counted(&host, &[&one, &two, &fresh], "warmpath.malformed") > 0);
}

/// A VM that starts reads minutes of events at once. Taken for now, an old failure would avoid its endpoint anew.
#[test]
fn what_a_vm_reads_late_is_as_old_as_it_is() {
    let host = Host::default();
    let old = vm(&host, &static_config(2));
    let mut stream = serve(&old, &chat("hello"));
    let failed = chosen(&stream);
    stream.response_headers(&[(":status", "503")], true);
    stream.finish();
    let fitness = |vm: &Vm| explain(vm, &chat("hello")).of(&failed, "fitness").as_str().unwrap().to_owned();
    assert_eq!(fitness(&vm(&host, &static_config(2))), "avoided");
    host.advance(std::time::Duration::from_mins(10));
    assert_eq!(fitness(&vm(&host, &static_config(2))), "fit");
}
