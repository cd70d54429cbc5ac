//! Which VM of a process holds the stream to the controller, and how that changes.

use crate::support::{Controller, chat, counted, endpoints, pools, serve, step, text, vm, with_controller};
use crate::support::{Host, UplinkState, Vm};
use std::time::Duration;
use warmpath_core::wire::Kind;

const HOUR: Duration = Duration::from_hours(1);

fn open_streams(vms: &[&Vm]) -> usize {
    let all = vms.iter().flat_map(|vm| vm.uplinks());
    all.filter(|stream| stream.state == UplinkState::Open).count()
}

#[test]
fn one_vm_of_a_process_holds_the_stream() {
    let host = Host::default();
    let vms: Vec<Vm> = (0..4).map(|_| vm(&host, &with_controller())).collect();
    let all: Vec<&Vm> = vms.iter().collect();
    let controller = Controller::accept(&host, &all);
    let holder = controller.vm.number();
    for _ in 0..20 {
        step(&host, &all);
        assert_eq!(open_streams(&all), 1);
    }
    assert_eq!(Controller::accept(&host, &all).vm.number(), holder, "it stays where it is");
    assert_eq!(counted(&host, &all, "warmpath.feed.opened"), 1);
    assert_eq!(host.metric("warmpath.feed.connected"), 1);
}

#[test]
fn ticks_in_any_order_give_one_holder() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        let host = Host::default();
        let vms: Vec<Vm> = (0..3).map(|_| vm(&host, &with_controller())).collect();
        for _ in 0..12 {
            host.advance(Duration::from_millis(83));
            for at in order {
                vms[at].tick();
            }
        }
        let all: Vec<&Vm> = vms.iter().collect();
        assert_eq!(open_streams(&all), 1, "{order:?}");
    }
}

#[test]
fn configuration_without_a_controller_opens_no_stream() {
    let host = Host::default();
    let vm = vm(&host, &crate::support::static_config(2));
    for _ in 0..8 {
        step(&host, &[&vm]);
    }
    assert!(vm.uplinks().is_empty());
}

#[test]
fn holder_that_stalls_loses_the_lease_and_gives_up_its_stream() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (stalled, other) = if controller.vm.number() == one.number() { (&one, &two) } else { (&two, &one) };
    for _ in 0..8 {
        step(&host, &[other]);
    }
    assert_eq!(open_streams(&[other]), 1, "the other took over");
    step(&host, &[stalled, other]);
    assert_eq!(open_streams(&[stalled]), 0, "two streams would count every event twice");
    assert_eq!(open_streams(&[other]), 1);
    assert_eq!(host.metric("warmpath.feed.connected"), 1);
}

#[test]
fn configuration_that_is_taken_away_hands_the_lease_on_at_once() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (holder, other) = if controller.vm.number() == one.number() { (&one, &two) } else { (&two, &one) };
    holder.retire(holder.plugins()[0]);
    assert_eq!(open_streams(&[holder]), 0);
    step(&host, &[other]);
    assert_eq!(open_streams(&[other]), 1);
}

#[test]
fn renewed_configuration_goes_on_with_a_stream_of_its_own() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    let old = vm.plugins()[0];
    vm.configure(&with_controller());
    vm.retire(old);
    let next = Controller::accept(&host, &[&vm]);
    assert_ne!(next.stream, controller.stream);
    assert_eq!(
        next.received()[0].hello.clone().unwrap().resume.unwrap().generation,
        1,
        "it goes on where the old one ended"
    );
}

#[test]
fn clock_that_is_set_back_does_not_stop_the_uplink() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (holder, other) = if controller.vm.number() == one.number() { (&one, &two) } else { (&two, &one) };
    controller.close();
    host.set_back(HOUR);
    let again = Controller::accept(&host, &[holder, other]);
    assert_eq!(again.vm.number(), holder.number(), "the retry does not wait for an hour");

    host.set_back(HOUR);
    for _ in 0..8 {
        step(&host, &[other]);
    }
    assert_eq!(open_streams(&[other]), 1, "nor does the lease of one that is gone");
}

#[test]
fn a_holder_that_finds_no_controller_leaves_the_lease_to_another_and_nothing_is_lost() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let mut controller = Controller::accept(&host, &[&one, &two]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    let (holder, other) = if controller.vm.number() == one.number() { (&one, &two) } else { (&two, &one) };
    controller.close();
    host.set_cluster_down(true);
    let prompt = chat(&text("whales", 4000));
    serve(holder, &prompt).complete();
    let has_tried = (0..40).any(|_| {
        step(&host, &[holder, other]);
        other.holds_lease()
    });
    assert!(has_tried);
    host.set_cluster_down(false);
    // Whoever holds the lease now: the controller receives what was learned meanwhile.
    let mut back = Controller::accept(&host, &[&one, &two]);
    back.resume();
    step(&host, &[&one, &two]);
    step(&host, &[&one, &two]);
    let is_known = |kind: &Kind| match kind {
        Kind::Routed(routed) => routed.cells.len() > 10,
        Kind::Prefix(prefix) => prefix.cells.len() > 10,
        _ => false,
    };
    assert!(back.events().iter().any(is_known), "{:?}", back.events());
}
