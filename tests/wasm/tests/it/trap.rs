//! What is left after a VM trapped: its siblings, the log, and what a rebuilt VM finds at its first request.
//! These run the filter that is built to trap on demand.

use crate::support::{
    CLUSTER, Controller, chat, chosen, complete, destinations, endpoints, explain, filter_that_traps, pools,
    serve, static_config, step, text,
};
use serde_json::{Value, json};
use warmpath_core::wire::{Hold, Kind, ResumePoint};
use warmpath_host::{Host, Vm};

fn vm(host: &Host, configuration: &Value) -> Vm {
    let vm = host.vm(&filter_that_traps()).unwrap();
    assert!(vm.configure(configuration.to_string().as_bytes()).unwrap());
    vm
}

fn trap(vm: &Vm) {
    let mut stream = vm.request();
    let headers = [(":method", "GET"), (":path", "/"), ("x-warmpath-test-trap", "1")];
    stream.headers(&headers, true).unwrap_err();
    assert_eq!(stream.local_response().unwrap().status, 503);
    assert!(vm.violations().is_empty());
}

fn with_controller() -> Value {
    json!({"controller": {"cluster": CLUSTER}, "explain": true})
}

#[test]
fn rebuilt_vm_knows_recent_prefixes_at_its_first_request() {
    let host = Host::default();
    let one = vm(&host, &static_config(16));
    let prompt = chat(&text("whales", 2000));
    let first = serve(&one, &prompt);
    let there = chosen(&first);
    complete(first);
    // The next tick sends the end; a trap before it would leave the booking for some seconds.
    one.tick().unwrap();
    trap(&one);
    let fresh = host.rebuild(&one).unwrap();
    let stream = serve(&fresh, &prompt);
    assert_eq!(chosen(&stream), there);
    stream.finish().unwrap();
    assert!(fresh.violations().is_empty());
}

#[test]
fn rebuilt_vm_knows_the_controllers_endpoints_at_its_first_request() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    controller.snapshot(vec![pools(&endpoints(3))]);
    let prompt = chat(&text("whales", 2000));
    let first = serve(&two, &prompt);
    let holder = chosen(&first);
    for lost in [&two, &one] {
        trap(lost);
        let fresh = host.rebuild(lost).unwrap();
        assert_eq!(destinations(&serve(&fresh, &chat("hello"))).len(), 3);
        assert_eq!(explain(&fresh, &prompt).holders(), std::slice::from_ref(&holder));
        assert!(fresh.violations().is_empty());
    }
}

#[test]
fn rebuilt_vm_knows_the_endpoints_of_a_large_fleet() {
    const ENDPOINTS: usize = 4200;
    let host = Host::default();
    let one = vm(&host, &with_controller());
    let mut controller = Controller::accept(&host, &[&one]);
    let names = endpoints(ENDPOINTS);
    controller.snapshot(vec![pools(&names)]);
    for names in names.chunks(1000) {
        controller.delta(
            names
                .iter()
                .map(|name| crate::support::status_of(name, warmpath_core::wire::Health::Healthy))
                .collect(),
        );
    }
    for _ in 0..5 {
        step(&host, &[&one]);
    }
    trap(&one);
    let fresh = host.rebuild(&one).unwrap();
    assert_eq!(destinations(&serve(&fresh, &chat("hello"))).len(), 4);
    assert_eq!(
        crate::support::counted(&host, &[&fresh], "warmpath.malformed"),
        0,
        "what was stored can be read"
    );
    assert!(fresh.violations().is_empty());
}

#[test]
fn promises_of_a_trapped_vm_are_dropped_by_its_siblings() {
    let host = Host::default();
    let (lost, stays) = (vm(&host, &static_config(2)), vm(&host, &static_config(2)));
    let _never_ends = serve(&lost, &chat("hello"));
    assert_eq!(explain(&stays, &chat("hello")).sum("requests"), 1);
    trap(&lost);
    let fresh = host.rebuild(&lost).unwrap();
    for _ in 0..40 {
        step(&host, &[&stays, &fresh]);
    }
    for vm in [&stays, &fresh] {
        assert_eq!(explain(vm, &chat("hello")).sum("requests"), 0);
        assert!(vm.violations().is_empty());
    }
}

#[test]
fn lease_of_a_trapped_vm_is_taken_over_where_it_ended() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept_as(&host, &[&one, &two], 42);
    controller.snapshot(vec![pools(&endpoints(3))]);
    controller.delta(Vec::new());
    let (holder, other) = if controller.vm.worker() == one.worker() { (&one, &two) } else { (&two, &one) };
    trap(holder);
    let process = controller.received()[0].hello.clone().unwrap().process;
    let next = Controller::accept(&host, &[other]);
    let hello = next.received()[0].hello.clone().expect("the first message is a hello");
    let resume = Some(ResumePoint { instance: 42, generation: 2 });
    assert_eq!((hello.resume, hello.process), (resume, process));
    serve(other, &chat("hello")).finish().unwrap();
    assert!(other.violations().is_empty());
}

/// The rebuilt VM does not know the streams of the one before it, and Envoy does not end them.
#[test]
fn requests_held_in_a_trapped_vm_wait_for_their_clients_and_block_nobody() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    let waking = |names: &[String]| {
        let mut event = pools(names);
        if let Some(Kind::Pools(pools)) = &mut event.kind {
            pools.pools[0].hold = Some(Hold { endpoint_ms_max: 600_000, ..Hold::default() });
        }
        event
    };
    controller.snapshot(vec![waking(&[])]);
    step(&host, &[&one, &two]);
    let stuck = serve(&two, &chat("hello"));
    trap(&two);
    let fresh = host.rebuild(&two).unwrap();
    let waits = [serve(&one, &chat("hello")), serve(&fresh, &chat("hello"))];
    for _ in 0..24 {
        step(&host, &[&one, &fresh]);
    }
    let Some(Kind::Pools(awake)) = waking(&endpoints(2)).kind else { panic!("these are pools") };
    controller.delta(awake.pools.into_iter().map(|pool| Kind::Pool(pool).into()).collect());
    step(&host, &[&one, &fresh]);
    for stream in waits {
        assert_eq!(destinations(&stream).len(), 2);
        complete(stream);
    }
    assert!(stuck.upstream().headers.is_none() && stuck.local_response().is_none());
    assert!(one.violations().is_empty() && fresh.violations().is_empty());
}
