//! The log when it has run round: old records are gone, nothing else is.

use crate::support::{
    Controller, LOG_PAGES, chat, chosen, counted, destinations, endpoints, explain, pools, serve,
    static_config, step, text, vm, with_controller,
};
use crate::support::{Host, Vm};
use std::time::Duration;

/// Prompt that fills a page: its chain alone is longer than 4 KiB.
const PROMPT_BYTES: usize = 140_000;

/// Bytes that the ring may take: pages of 4 KiB and the record that went over it, with keys.
const RING_BYTES_MAX: usize = 1024 * (2 * 4 * 1024 + 512);

/// Sends long prompts until the ring has gone round.
fn fill_ring(vm: &Vm) {
    for page in 0..=LOG_PAGES {
        serve(vm, &chat(&text(&format!("page {page}"), PROMPT_BYTES))).finish();
    }
}

#[test]
fn vm_that_slept_through_a_whole_ring_reads_on_and_routes() {
    let host = Host::default();
    let (awake, asleep) = (vm(&host, &static_config(3)), vm(&host, &static_config(3)));
    serve(&asleep, &chat("hello")).finish();
    fill_ring(&awake);
    let stored: usize = host.shared().iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(stored <= RING_BYTES_MAX, "{stored} bytes");
    let last = chat(&text("last", 2000));
    let stream = serve(&awake, &last);
    assert_eq!(explain(&asleep, &last).holders(), [chosen(&stream)], "the newest records are there");
    assert_eq!(counted(&host, &[&asleep], "warmpath.log.overrun"), 1);
    let routed = serve(&asleep, &chat(&text("asleep", 2000)));
    assert_eq!(
        explain(&awake, &chat(&text("asleep", 2000))).holders(),
        [chosen(&routed)],
        "and its siblings see its records again"
    );
    stream.finish();
    routed.finish();
    step(&host, &[&awake, &asleep]);
    assert_eq!(explain(&asleep, &last).sum("requests"), 0);
}

#[test]
fn vm_that_starts_over_a_full_ring_reads_it_from_its_oldest_page() {
    let host = Host::default();
    let old = vm(&host, &static_config(3));
    fill_ring(&old);
    let last = chat(&text("last", 2000));
    let stream = serve(&old, &last);
    let fresh = vm(&host, &static_config(3));
    assert_eq!(explain(&fresh, &last).holders(), [chosen(&stream)]);
    assert_eq!(counted(&host, &[&old, &fresh], "warmpath.log.overrun"), 0);
    stream.finish();
}

#[test]
fn pools_that_changed_while_a_vm_slept_through_the_ring_are_known_to_it() {
    let host = Host::default();
    let config = with_controller();
    let (holder, asleep) = (vm(&host, &config), vm(&host, &config));
    let mut controller = Controller::accept(&host, &[&holder]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    serve(&asleep, &chat("hello")).finish();
    controller.delta(vec![pools(&["10.9.9.9:80".to_owned()])]);
    fill_ring(&holder);
    let stream = serve(&asleep, &chat("hello"));
    assert_eq!(destinations(&stream), ["10.9.9.9:80"]);
    stream.finish();
}

/// An append that found the ring gone round read on, and nothing took in what was lost.
#[test]
fn pools_that_changed_before_a_vm_that_slept_appends_are_known_to_it() {
    let host = Host::default();
    let config = with_controller();
    let (holder, asleep) = (vm(&host, &config), vm(&host, &config));
    let mut controller = Controller::accept(&host, &[&holder]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    let stream = serve(&asleep, &chat("hello"));
    controller.delta(vec![pools(&["10.9.9.9:80".to_owned()])]);
    fill_ring(&holder);
    // Long enough after its last append for what its end publishes not to wait.
    host.advance(Duration::from_secs(1));
    stream.finish();
    assert_eq!(host.metric("warmpath.log.overrun"), 1, "found by the append");
    let stream = serve(&asleep, &chat("hello"));
    assert_eq!(destinations(&stream), ["10.9.9.9:80"]);
    stream.finish();
}
