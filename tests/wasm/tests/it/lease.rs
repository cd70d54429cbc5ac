//! Which VM of a process holds the stream to the controller, and how that changes.

use crate::support::{CLUSTER, Controller, assert_clean, counted, endpoints, pools, step, vm};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_host::{GrpcState, Host, Vm};

const HOUR_NS: u64 = 3_600_000_000_000;

fn config() -> Value {
    json!({"controller": {"cluster": CLUSTER}})
}

fn open_streams(vms: &[&Vm]) -> usize {
    let all = vms.iter().flat_map(|vm| vm.grpc_streams());
    all.filter(|stream| stream.state == GrpcState::Open).count()
}

#[test]
fn one_vm_of_a_process_holds_the_stream() {
    let host = Host::default();
    let vms: Vec<Vm> = (0..4).map(|_| vm(&host, &config())).collect();
    let all: Vec<&Vm> = vms.iter().collect();
    let controller = Controller::accept(&host, &all);
    let holder = controller.vm.worker();
    for _ in 0..20 {
        step(&host, &all);
        assert_eq!(open_streams(&all), 1);
    }
    assert_eq!(Controller::accept(&host, &all).vm.worker(), holder, "it stays where it is");
    assert_eq!(counted(&host, &all, "warmpath.uplink.opened"), 1);
    assert_eq!(host.metric("warmpath.uplink.connected"), Some(1));
    assert_clean(&host, &all);
}

#[test]
fn ticks_in_any_order_give_one_holder() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]] {
        let host = Host::default();
        let vms: Vec<Vm> = (0..3).map(|_| vm(&host, &config())).collect();
        for _ in 0..12 {
            host.advance(Duration::from_millis(83));
            for at in order {
                vms[at].tick().unwrap();
            }
        }
        let all: Vec<&Vm> = vms.iter().collect();
        assert_eq!(open_streams(&all), 1, "{order:?}");
        assert_clean(&host, &all);
    }
}

/// Configured at once, VMs would look at one moment, and nobody in the time between.
#[test]
fn vms_without_the_lease_look_for_it_at_different_times() {
    let host = Host::default();
    let (one, two) = (vm(&host, &config()), vm(&host, &config()));
    let holder = Controller::accept(&host, &[&one, &two]).vm;
    let other = if std::ptr::eq(holder, &raw const one) { &two } else { &one };
    let mut looked_ms = Vec::new();
    for now_ms in (0..10_000_u64).step_by(5) {
        host.advance(Duration::from_millis(5));
        holder.tick().unwrap();
        other.reset_counts();
        other.tick().unwrap();
        // Each tick reads the log; the rounds of a second are at their own time and read more.
        if other.counts().of("proxy_get_shared_data") == 2 {
            looked_ms.push(now_ms);
        }
    }
    let waits: Vec<u64> = looked_ms.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(waits.len() > 40, "{waits:?}");
    assert!(
        waits.iter().all(|wait_ms| (125..=500).contains(wait_ms)),
        "half an interval at least: {waits:?}"
    );
    let different: std::collections::BTreeSet<u64> =
        waits.into_iter().filter(|wait_ms| *wait_ms < 250).collect();
    assert!(different.len() > 5, "{different:?}");
    assert_clean(&host, &[&one, &two]);
}

#[test]
fn configuration_without_a_controller_opens_no_stream() {
    let host = Host::default();
    let vm = vm(&host, &crate::support::static_config(2));
    for _ in 0..8 {
        step(&host, &[&vm]);
    }
    assert_eq!(vm.grpc_streams(), []);
    assert_clean(&host, &[&vm]);
}

#[test]
fn holder_that_stalls_loses_the_lease_and_gives_up_its_stream() {
    let host = Host::default();
    let (one, two) = (vm(&host, &config()), vm(&host, &config()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (stalled, other) = if controller.vm.worker() == one.worker() { (&one, &two) } else { (&two, &one) };
    for _ in 0..8 {
        step(&host, &[other]);
    }
    assert_eq!(open_streams(&[other]), 1, "the other took over");
    step(&host, &[stalled, other]);
    assert_eq!(open_streams(&[stalled]), 0, "two streams would count every event twice");
    assert_eq!(open_streams(&[other]), 1);
    assert_eq!(host.metric("warmpath.uplink.connected"), Some(1));
    assert_clean(&host, &[&one, &two]);
}

#[test]
fn configuration_that_is_taken_away_hands_the_lease_on_at_once() {
    let host = Host::default();
    let (one, two) = (vm(&host, &config()), vm(&host, &config()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (holder, other) = if controller.vm.worker() == one.worker() { (&one, &two) } else { (&two, &one) };
    assert!(holder.retire(holder.roots()[0]).unwrap());
    assert_eq!(open_streams(&[holder]), 0);
    step(&host, &[other]);
    assert_eq!(open_streams(&[other]), 1);
    assert_clean(&host, &[&one, &two]);
}

#[test]
fn renewed_configuration_goes_on_with_a_stream_of_its_own() {
    let host = Host::default();
    let vm = vm(&host, &config());
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    let old = vm.roots()[0];
    assert!(vm.configure(config().to_string().as_bytes()).unwrap());
    assert!(vm.retire(old).unwrap());
    let next = Controller::accept(&host, &[&vm]);
    assert_ne!(next.stream, controller.stream);
    assert_eq!(next.received()[0].hello.clone().unwrap().generation, 1, "it goes on where the old one ended");
    assert_clean(&host, &[&vm]);
}

#[test]
fn clock_that_is_set_back_does_not_stop_the_feed() {
    let host = Host::default();
    let (one, two) = (vm(&host, &config()), vm(&host, &config()));
    let controller = Controller::accept(&host, &[&one, &two]);
    let (holder, other) = if controller.vm.worker() == one.worker() { (&one, &two) } else { (&two, &one) };
    controller.close();
    host.set_now_ns(host.now_ns() - HOUR_NS);
    let again = Controller::accept(&host, &[holder, other]);
    assert_eq!(again.vm.worker(), holder.worker(), "the retry does not wait for an hour");

    host.set_now_ns(host.now_ns() - HOUR_NS);
    for _ in 0..8 {
        step(&host, &[other]);
    }
    assert_eq!(open_streams(&[other]), 1, "nor does the lease of one that is gone");
    assert_clean(&host, &[&one, &two]);
}
