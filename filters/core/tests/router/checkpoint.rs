//! What a VM knows that starts, or that the log has overtaken: all that its siblings know.

use crate::support::{
    Controller, LOG_PAGES, chat, chosen, counted, endpoints, explain, pools, serve, static_config, step,
    text, vm, with_controller,
};
use crate::support::{Host, Vm};
use std::time::Duration;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{EngineStatus, Event, Kind, Phase, Prefix, PrefixEncoder};

/// Prompt that fills a page: its chain alone is longer than 4 KiB.
const PROMPT_BYTES: usize = 140_000;

/// Sends long prompts, of which nothing is learned, until the ring has gone round; time passes, so that ticks come by.
fn fill_ring(host: &Host, vm: &Vm) {
    for page in 0..=LOG_PAGES {
        serve(vm, &chat(&text(&format!("page {page}"), PROMPT_BYTES))).finish();
        if page % 16 == 0 {
            vm.tick();
        }
    }
    host.advance(Duration::from_secs(2));
    vm.tick();
}

#[test]
fn a_vm_that_starts_when_the_log_has_gone_round_knows_what_came_before() {
    let host = Host::default();
    let old = vm(&host, &static_config(3));
    let prompt = chat(&text("whales", 8000));
    let stream = serve(&old, &prompt);
    let holder = chosen(&stream);
    stream.complete();
    fill_ring(&host, &old);
    let fresh = vm(&host, &static_config(3));
    assert_eq!(explain(&fresh, &prompt).holders(), [holder]);
    assert_eq!(counted(&host, &[&fresh], "warmpath.checkpoint.read"), 1);
}

#[test]
fn a_vm_that_the_log_has_overtaken_learns_what_it_has_lost() {
    let host = Host::default();
    let (awake, asleep) = (vm(&host, &static_config(3)), vm(&host, &static_config(3)));
    let prompt = chat(&text("whales", 8000));
    let stream = serve(&awake, &prompt);
    let holder = chosen(&stream);
    stream.complete();
    fill_ring(&host, &awake);
    asleep.tick();
    assert_eq!(counted(&host, &[&asleep], "warmpath.log.overrun"), 1);
    assert_eq!(explain(&asleep, &prompt).holders(), [holder]);
}

#[test]
fn an_idle_sibling_knows_a_snapshot_that_is_larger_than_the_log() {
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let names = endpoints(8);
    let controller = Controller::accept(&host, &[&one, &two]);
    controller.down(Phase::Begin, 0, Vec::new());
    let mut events = vec![pools(&names)];
    // 6,000 conversations of 120 cells behind a system prompt of as many: 5.8 MB, more than the ring holds.
    for name in &names {
        let (endpoint, capacity_tokens) = (EndpointId::of(name).0, Some(20_000_000));
        events.push(
            Kind::EngineStatus(EngineStatus { endpoint, capacity_tokens, ..EngineStatus::default() }).into(),
        );
    }
    let mut encoder = PrefixEncoder::default();
    for conversation in 0..6_000_u64 {
        let own = (0..120).map(|cell| 1_000_000 + conversation * 1_000 + cell);
        let cells: Vec<u64> = (0..120).chain(own).collect();
        let endpoint = EndpointId::of(&names[usize::try_from(conversation % 8).unwrap()]).0;
        let whole = Prefix { depth: 0, cells, endpoints: vec![endpoint], held: vec![240] };
        events.push(Event::from(encoder.encode(&whole)));
    }
    for events in events.chunks(1_000) {
        controller.down(Phase::Item, 0, events.to_vec());
    }
    controller.down(Phase::Done, 1, Vec::new());
    for _ in 0..20 {
        step(&host, &[&one, &two]);
        host.advance(Duration::from_millis(300));
    }
    let cells = |vm: &Vm| vm.cells();
    assert!(cells(&one) > 700_000, "{} cells", cells(&one));
    assert!(cells(&two) * 100 >= cells(&one) * 99, "{} of {}", cells(&two), cells(&one));
    let fresh = vm(&host, &with_controller());
    assert!(cells(&fresh) * 100 >= cells(&one) * 99, "{} of {}", cells(&fresh), cells(&one));
}

/// The VMs that knew it are gone: those that are left must not wait for each other for ever.
#[test]
fn vms_that_all_lack_something_write_what_they_have() {
    let host = Host::default();
    let gone = vm(&host, &static_config(3));
    for page in 0..=LOG_PAGES {
        serve(&gone, &chat(&text(&format!("page {page}"), PROMPT_BYTES))).finish();
    }
    let (one, two) = (vm(&host, &static_config(3)), vm(&host, &static_config(3)));
    let prompt = chat(&text("whales", 8000));
    let stream = serve(&one, &prompt);
    let holder = chosen(&stream);
    stream.complete();
    for _ in 0..30 {
        step(&host, &[&one, &two]);
    }
    assert_eq!(counted(&host, &[&one, &two], "warmpath.checkpoint.written"), 1);
    fill_ring(&host, &one);
    assert_eq!(explain(&vm(&host, &static_config(3)), &prompt).holders(), [holder]);
}
