//! The uplink of one VM: its gauge, its plugins, what is sent when.

use crate::support::{Contended, PLUGIN, SoloVm, controlled, fixed};
use warmpath_core::config::{Config, ControllerConfig};
use warmpath_core::router::{Gauge, Input, Output, PluginId, UplinkId};
use warmpath_core::time::Timestamp;

const NEXT: PluginId = PluginId(2);

/// Wakes a VM until it wants a stream; the time then, and the cluster.
fn until_it_opens(vm: &mut SoloVm, plugin: PluginId, mut now: Timestamp) -> (Timestamp, String) {
    for _ in 0..200 {
        now = now.plus_ms(25);
        let out = vm.handle(now, Input::Tick { plugin });
        let opens = out.iter().find_map(|output| match output {
            Output::OpenUplink { cluster, .. } => Some(cluster.clone()),
            _ => None,
        });
        if let Some(cluster) = opens {
            return (now, cluster);
        }
    }
    panic!("it opens no stream");
}

/// The last value of the gauge that all VMs of a process share.
fn connected(vms: &[&SoloVm], gauge: &mut u64) -> u64 {
    for output in vms.iter().flat_map(|vm| &vm.out) {
        if let Output::Show(Gauge::UplinkConnected, value) = output {
            *gauge = *value;
        }
    }
    *gauge
}

fn open(vm: &mut SoloVm, uplink: u32, now: Timestamp) {
    vm.handle(now, Input::UplinkOpened { uplink: Some(UplinkId(uplink)) });
}

#[test]
fn the_gauge_of_the_connection_follows_the_holder_of_the_lease() {
    let (map, mut now) = (Contended::default(), Timestamp::from_ms(1_000_000));
    let mut gauge = 7;
    let mut one = SoloVm::new(&map, controlled(), 1, now);
    (now, _) = until_it_opens(&mut one, PLUGIN, now);
    assert_eq!(connected(&[&one], &mut gauge), 0, "it holds the lease and has no stream");
    open(&mut one, 1, now);
    assert_eq!(connected(&[&one], &mut gauge), 1);

    // It stalls, another VM takes the lease and fails to open a stream: nobody is connected.
    let mut two = SoloVm::new(&map, controlled(), 2, now);
    (now, _) = until_it_opens(&mut two, PLUGIN, now.plus_ms(1_100));
    assert_eq!(connected(&[&two], &mut gauge), 0);
    two.handle(now, Input::UplinkOpened { uplink: None });
    now = now.plus_ms(300);
    one.handle(now, Input::Tick { plugin: PLUGIN });
    assert!(one.out.contains(&Output::CancelUplink { uplink: UplinkId(1) }), "{:?}", one.out);
    assert_eq!(connected(&[&two, &one], &mut gauge), 0);

    // The other connects; the first finds out late that it has lost, and must not say otherwise.
    (now, _) = until_it_opens(&mut two, PLUGIN, now);
    open(&mut two, 2, now);
    assert_eq!(connected(&[&two], &mut gauge), 1);
    one.handle(now.plus_ms(300), Input::Tick { plugin: PLUGIN });
    assert_eq!(connected(&[&one], &mut gauge), 1);
}

/// The old plugin drains for minutes, with the lease and a stream of its own.
#[test]
fn a_plugin_that_drains_does_not_keep_the_uplink_from_its_successor() {
    let (map, mut now) = (Contended::default(), Timestamp::from_ms(1_000_000));
    let mut vm = SoloVm::new(&map, controlled(), 1, now);
    (now, _) = until_it_opens(&mut vm, PLUGIN, now);
    open(&mut vm, 1, now);
    vm.configure(
        NEXT,
        Config {
            controller: Some(ControllerConfig { cluster: "other".to_owned(), token: None }),
            ..controlled()
        },
        now,
    );
    let (opened, cluster) = until_it_opens(&mut vm, NEXT, now);
    assert_eq!((opened.ms_since(now), cluster.as_str()), (25, "other"), "at its first tick");
    open(&mut vm, 2, opened);
    let out = vm.handle(opened, Input::Tick { plugin: PLUGIN });
    assert!(out.contains(&Output::CancelUplink { uplink: UplinkId(1) }), "in its own context: {out:?}");
    assert!(
        !out.iter().any(|output| matches!(output, Output::SendUplink { .. } | Output::OpenUplink { .. }))
    );

    // If the newer one goes first, the older one, which is still there, gets it back.
    let out = vm.handle(opened, Input::Retire { plugin: NEXT });
    assert!(out.contains(&Output::CancelUplink { uplink: UplinkId(2) }), "{out:?}");
    assert_eq!(until_it_opens(&mut vm, PLUGIN, opened).1, "controller");
}

/// A VM that started later replayed the old pools out of the log over those of its configuration.
#[test]
fn pools_of_a_controller_that_was_taken_away_do_not_come_back() {
    let (map, mut now) = (Contended::default(), Timestamp::from_ms(1_000_000));
    let mut vm = SoloVm::new(&map, controlled(), 1, now);
    (now, _) = until_it_opens(&mut vm, PLUGIN, now);
    open(&mut vm, 1, now);
    let events = vec![warmpath_core::wire::Kind::Pools(crate::support::pools_of(5..8)).into()];
    let down = warmpath_core::wire::Down { instance: 1, generation: 1, events, ..Default::default() };
    let message = prost::Message::encode_to_vec(&down);
    vm.handle(now, Input::UplinkMessage { uplink: UplinkId(1), message: &message });
    let endpoints = |vm: &SoloVm| vm.router.view().endpoints().count();
    assert_eq!(endpoints(&vm), 3);

    vm.configure(NEXT, fixed(2), now);
    let later = SoloVm::new(&map, fixed(2), 2, now);
    assert_eq!((endpoints(&vm), endpoints(&later)), (2, 2));
}
