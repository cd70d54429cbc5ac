//! The state stream as one process sees it: what is sent, what arrives, and what happens when it breaks.

use crate::support::{
    Controller, chat, chosen, counted, destinations, endpoints, explain, load_of, pools, routed, serve,
    static_config, status_of, step, text, vm, with_controller,
};
use crate::support::{Host, UplinkState};
use serde_json::Value;
use std::time::Duration;
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::wire::{Event, Health, Kind, OutcomeClass, Phase, Proxies, ResumePoint};

/// A chat's chain, as another proxy would compute it.
fn chain(body: &Value) -> Vec<CellHash> {
    let bytes = body.to_string();
    let request = Request::parse(Api::Chat, bytes.as_bytes()).unwrap();
    let mut chain = Vec::new();
    cells_of(&request, Root::new("llama", "", ""), CELL_BYTES_DEFAULT, &mut chain);
    chain
}

#[test]
fn hello_says_who_opens_the_stream() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let controller = Controller::accept(&host, &[&vm]);
    let hello = controller.received().remove(0).hello.expect("the first message is a hello");
    assert_eq!((hello.node.as_str(), hello.resume), ("gateway-1", None));
    assert_eq!(hello.version, env!("CARGO_PKG_VERSION"));
    assert_ne!(hello.process, 0);
    assert!(controller.received().iter().skip(1).all(|up| up.hello.is_none()), "one hello a stream");
}

#[test]
fn snapshot_is_applied_and_siblings_see_it() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    let names = endpoints(3);
    let prompt = chat(&text("whales", 2000));
    controller.snapshot(vec![pools(&names), routed(&names[1], &chain(&prompt)), load_of(5, &names[2], 4)]);
    for vm in [&one, &two] {
        let decision = explain(vm, &prompt);
        assert_eq!(decision.candidates().len(), 3);
        assert_eq!(decision.holders(), [names[1].clone()], "the filter's cells are the core's");
        assert_eq!(decision.of(&names[2], "requests"), 4);
    }
    assert_eq!(counted(&host, &[&one, &two], "warmpath.feed.snapshot"), 1);
}

#[test]
fn delta_changes_what_the_snapshot_said() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    let names = endpoints(3);
    controller.snapshot(vec![pools(&names)]);
    controller.delta(vec![status_of(&names[0], Health::Unhealthy), load_of(5, &names[1], 9)]);
    for vm in [&one, &two] {
        let stream = serve(vm, &chat("hello"));
        assert!(!destinations(&stream).contains(&names[0]));
        assert_eq!(chosen(&stream), names[2]);
        stream.finish();
    }
    controller.delta(vec![pools(&names[..1])]);
    controller.delta(vec![status_of(&names[0], Health::Healthy)]);
    for vm in [&one, &two] {
        let stream = serve(vm, &chat("hello"));
        assert_eq!(destinations(&stream), names[..1]);
        stream.finish();
    }
}

#[test]
fn what_all_vms_of_the_process_did_goes_up_and_nothing_comes_back() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    let names = endpoints(4);
    controller.snapshot(vec![pools(&names), load_of(5, &names[0], 3), routed(&names[0], &[CellHash(77)])]);
    let before = controller.events().len();
    let streams = [serve(&one, &chat(&text("whales", 2000))), serve(&two, &chat(&text("sharks", 2000)))];
    controller.delta(vec![load_of(5, &names[0], 2), routed(&names[0], &[CellHash(78)])]);
    step(&host, &[&one, &two]);
    let events = controller.events().split_off(before);
    let sent_to: Vec<u64> = events
        .iter()
        .filter_map(|kind| if let Kind::Routed(routed) = kind { Some(routed.endpoint) } else { None })
        .collect();
    let mut wanted: Vec<u64> = streams.iter().map(|stream| EndpointId::of(&chosen(stream)).0).collect();
    let mut seen = sent_to.clone();
    wanted.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, wanted, "both, once each, and none of the controller's own");
    assert!(!events.iter().any(|kind| matches!(kind, Kind::InFlight(load) if load.origin == 5)));
    assert!(!events.iter().any(|kind| matches!(kind, Kind::Pools(_) | Kind::EngineStatus(_))));
    for mut stream in streams {
        stream.response_headers(&[(":status", "503")], true);
        stream.finish();
    }
    step(&host, &[&one, &two]);
    step(&host, &[&one, &two]);
    let events = controller.events();
    let failures = events
        .iter()
        .filter(|kind| matches!(kind, Kind::Outcome(of) if of.class() == OutcomeClass::Full))
        .count();
    assert_eq!(failures, 2);
    let last_load =
        events.iter().rev().find_map(|kind| if let Kind::InFlight(load) = kind { Some(*load) } else { None });
    assert_eq!(last_load.unwrap().requests, 0, "the end goes up too");
}

/// One VM books, the other sends: without other proxies or without traffic there is no hurry.
#[test]
fn feed_hurries_only_while_others_route_and_something_is_booked() {
    let host = Host::default();
    let (holder, worker) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&holder, &worker]);
    let names = endpoints(2);
    controller.snapshot(vec![pools(&names)]);
    let process = controller.received()[0].hello.as_ref().unwrap().process;
    let worker = if std::ptr::eq(controller.vm, &raw const holder) { &worker } else { &holder };
    let pace = |moment_ms| {
        let body = chat(&text("whales", 200));
        let stream = serve(worker, &body);
        controller.vm.tick();
        host.advance(Duration::from_millis(moment_ms));
        controller.vm.tick();
        stream.finish();
        controller.vm.tick_ms()
    };
    assert_eq!((pace(10), pace(2_000)), (25, 100), "alone");
    let proxies = |processes| Event::from(Kind::Proxies(Proxies { processes }));
    controller.down(Phase::Delta, 2, vec![proxies(vec![process])]);
    assert_eq!(pace(10), 25, "it alone routes");
    controller.down(Phase::Delta, 3, vec![proxies(vec![process, process ^ 1])]);
    assert_eq!((pace(10), pace(2_000)), (5, 100), "another routes, too");
}

#[test]
fn stream_that_ends_is_opened_again_later_each_time_and_goes_on_where_it_was() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = Controller::accept_as(&host, &[&vm], 42);
    controller.snapshot(vec![pools(&endpoints(2))]);
    controller.delta(Vec::new());
    controller.close();
    assert_eq!(host.metric("warmpath.feed.connected"), 0);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let mut waited_ms = 0;
        let controller = loop {
            host.advance(Duration::from_millis(10));
            waited_ms += 10;
            vm.tick();
            if vm.uplinks().last().unwrap().state == UplinkState::Open {
                break Controller::accept(&host, &[&vm]);
            }
            assert!(waited_ms < 10_000, "it gave up");
        };
        let hello = controller.received()[0].hello.clone().unwrap();
        assert_eq!(hello.resume, Some(ResumePoint { instance: 42, generation: 2 }));
        controller.close();
        waits.push(waited_ms);
    }
    let longest = [50, 100, 200, 400, 800, 1600, 2000, 2000];
    for (waited, longest) in waits.iter().zip(longest) {
        // In the end it leaves the lease to others for a while, and finds that there are none.
        let longest_ms = if longest < 1600 { longest } else { longest + 1_500 };
        assert!((longest / 2..=longest_ms).contains(waited), "{waits:?}");
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.feed.closed"), 9);
}

#[test]
fn snapshot_that_breaks_off_is_not_taken_for_whole() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = Controller::accept_as(&host, &[&vm], 42);
    controller.snapshot(vec![pools(&endpoints(2))]);
    controller.down(Phase::Begin, 0, Vec::new());
    controller.down(Phase::Item, 0, vec![pools(&endpoints(3))]);
    controller.close();
    let next = Controller::accept(&host, &[&vm]);
    assert_eq!(next.received()[0].hello.clone().unwrap().resume, None, "a whole one is needed");
}

#[test]
fn a_new_controller_receives_the_learned_prefixes_after_its_snapshot() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let names = endpoints(3);
    let mut controller = Controller::accept_as(&host, &[&vm], 1);
    controller.snapshot(vec![pools(&names)]);
    let prompt = chat(&text("whales", 2000));
    let stream = serve(&vm, &prompt);
    let holder = EndpointId::of(&chosen(&stream)).0;
    stream.complete();
    step(&host, &[&vm]);
    controller.close();

    let mut same = Controller::accept_as(&host, &[&vm], 1);
    same.snapshot(vec![pools(&names)]);
    step(&host, &[&vm]);
    assert!(!same.events().iter().any(|kind| matches!(kind, Kind::Prefix(_))), "it knows them already");
    same.close();

    let mut new = Controller::accept_as(&host, &[&vm], 2);
    assert!(!new.events().iter().any(|kind| matches!(kind, Kind::Prefix(_))), "not before its snapshot");
    new.snapshot(vec![pools(&names)]);
    step(&host, &[&vm]);
    let cells = chain(&prompt).iter().map(|cell| cell.0).collect::<Vec<_>>();
    let prefixes = new.events();
    let sent =
        prefixes.iter().filter_map(|kind| if let Kind::Prefix(prefix) = kind { Some(prefix) } else { None });
    let sent: Vec<_> = sent.filter(|prefix| prefix.cells == cells && prefix.endpoints == [holder]).collect();
    assert_eq!(sent.len(), 1, "{prefixes:?}");
}

#[test]
fn garbage_closes_the_stream_and_nothing_else() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    for garbage in [b"\xff\xff\xff\xff".as_slice(), b"\x22\x7f", b"hello"] {
        let controller = Controller::accept(&host, &[&vm]);
        vm.uplink_message(controller.stream, garbage);
        assert_eq!(controller.state(), UplinkState::Cancelled);
        serve(&vm, &chat("hello")).finish();
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.malformed"), 3);
    let mut again = Controller::accept(&host, &[&vm]);
    again.delta(vec![pools(&endpoints(3))]);
    assert_eq!(explain(&vm, &chat("hello")).candidates().len(), 3);
}

#[test]
fn messages_of_newer_controllers_are_taken_as_far_as_they_are_understood() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![Event { kind: None }, pools(&endpoints(2))]);
    vm.uplink_message(controller.stream, b"");
    // Field 4 (an event) with an unknown field 31, and an unknown field 30 of the message itself.
    vm.uplink_message(controller.stream, b"\x22\x04\xfa\x01\x01x\xf0\x01\x07");
    assert_eq!(controller.state(), UplinkState::Open);
    assert_eq!(explain(&vm, &chat("hello")).candidates().len(), 2);
}

#[test]
fn routing_goes_on_without_the_controller() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    controller.snapshot(vec![pools(&endpoints(8))]);
    controller.close();
    host.set_cluster_down(true);
    let prompt = chat(&text("whales", 2000));
    for _ in 0..40 {
        step(&host, &[&one, &two]);
        let first = serve(&one, &prompt);
        let holder = chosen(&first);
        first.complete();
        one.tick();
        let second = serve(&two, &prompt);
        assert_eq!(chosen(&second), holder);
        second.finish();
    }
    host.set_cluster_down(false);
    let mut back = Controller::accept(&host, &[&one, &two]);
    step(&host, &[&one, &two]);
    back.resume();
    step(&host, &[&one, &two]);
    let cells = chain(&prompt).iter().map(|cell| cell.0).collect::<Vec<_>>();
    let knows = |kind: &Kind| matches!(kind, Kind::Prefix(prefix) if prefix.cells == cells);
    assert!(back.events().iter().any(knows), "what was learned meanwhile is sent");
}

#[test]
fn fallback_pools_serve_until_the_controller_names_others() {
    let host = Host::default();
    let mut config = with_controller();
    config.pools = static_config(1).pools;
    config.pools.pools[0].endpoints[0].address = "10.9.9.9:80".to_owned();
    let vm = vm(&host, &config);
    let before = serve(&vm, &chat("hello"));
    assert_eq!(destinations(&before), ["10.9.9.9:80"]);
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    let after = serve(&vm, &chat("hello"));
    assert_eq!(destinations(&after).len(), 2);
    before.finish();
    after.finish();
    assert_eq!(explain(&vm, &chat("hello")).sum("requests"), 0);
}

#[test]
fn events_that_wait_for_the_controller_are_bounded_and_the_rest_is_counted() {
    const OUTBOX_EVENTS_MAX: usize = 4096;
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    let sibling = if controller.vm.number() == one.number() { &two } else { &one };
    controller.close();
    host.set_cluster_down(true);
    for round in 0..OUTBOX_EVENTS_MAX / 2 {
        serve(sibling, &chat(&text(&format!("round {round}"), 400))).complete();
        if round % 20 == 0 {
            host.advance(Duration::from_millis(25));
            one.tick();
            two.tick();
        }
    }
    step(&host, &[&one, &two]);
    let dropped = counted(&host, &[&one, &two], "warmpath.feed.dropped");
    assert!(dropped > 0);
    host.set_cluster_down(false);
    let mut back = Controller::accept(&host, &[&one, &two]);
    let sent = back.received().iter().skip(1).map(|up| up.events.len()).sum::<usize>();
    assert!(sent <= OUTBOX_EVENTS_MAX);
    back.resume();
    step(&host, &[&one, &two]);
    let events = back.events();
    let cells =
        events.iter().map(|kind| if let Kind::Prefix(prefix) = kind { prefix.cells.len() } else { 0 });
    assert_eq!(cells.sum::<usize>(), back.vm.cells(), "what was dropped is made up for");
}

#[test]
fn what_comes_late_over_a_stalled_holders_stream_is_left_to_its_successor() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut old = Controller::accept(&host, &[&one, &two]);
    let names = endpoints(2);
    old.snapshot(vec![pools(&names)]);
    let successor = if old.vm.number() == one.number() { &two } else { &one };
    let mut next = Controller::accept(&host, &[successor]);
    next.resume();
    let events = || vec![load_of(5, &names[0], 2), routed(&names[0], &[CellHash(78)])];
    old.delta(events());
    step(&host, &[successor]);
    assert_eq!(explain(successor, &chat("hello")).sum("requests"), 0, "it may be older than what is known");
    next.delta(events());
    step(&host, &[successor]);
    assert_eq!(explain(successor, &chat("hello")).sum("requests"), 2, "the event was applied");
    let came_back = |kind: &Kind| {
        matches!(kind, Kind::Routed(_)) || matches!(kind, Kind::InFlight(load) if load.origin == 5)
    };
    assert!(!next.events().iter().any(came_back), "{:?}", next.events());
}
