//! Prefill and decode apart: blocks that wait for their fetch, and prompts whose blocks come over the network.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "test code: what is not there fails the test, and counts are small"
)]

mod common;

use common::{FINISHED, assert_s, drain, kinds, request, request_for, when};
use warmpath_engine::{
    Engine, Params, Preset,
    model::{EventKind, Leg, LoadTime, Request, RequestId, StepLoad},
};

fn engine(kv_tokens: usize) -> Engine {
    Engine::new(Params { kv_tokens, ..Params::new(Preset::Qwen3On2) })
}

fn prefill(id: u64, prompt_tokens: usize) -> Request {
    Request { leg: Leg::Prefill, ..request(id, prompt_tokens, 1) }
}

fn decode(id: u64, prompt_tokens: usize, output_tokens: usize) -> Request {
    Request { leg: Leg::Decode { remote_tokens: prompt_tokens }, ..request(id, prompt_tokens, output_tokens) }
}

fn transfer_s(tokens: usize) -> f64 {
    LoadTime::RDMA_200G.seconds(f64::from(u32::try_from(tokens).unwrap()) * 262_144.0)
}

fn decode_s(engine: &Engine, context: usize) -> f64 {
    let mut load = StepLoad::default();
    load.add_decode(context);
    engine.params().step_time.seconds(&load)
}

#[test]
fn a_prefills_blocks_stay_until_they_are_fetched() {
    let mut engine = engine(2_048);
    engine.submit(0.0, prefill(0, 1_600)).unwrap();
    engine.submit(0.0, request(1, 1_000, 1)).unwrap();
    let ended_s = {
        engine.advance(0.0);
        engine.next_step_at().unwrap()
    };
    let events = engine.advance(ended_s);
    assert_s(when(&events, 0, FINISHED), ended_s);
    let stats = engine.stats();
    assert_eq!((stats.held, stats.running, stats.waiting, stats.blocks_in_use), (1, 0, 1, 100));
    assert!(engine.release_held(ended_s + 1.0, RequestId(0)));
    assert!(!engine.release_held(ended_s + 1.0, RequestId(0)), "only once");
    let events = drain(&mut engine);
    assert_s(when(&events, 1, EventKind::Admitted { cached_tokens: 0 }), ended_s + 1.0);
    assert_eq!((engine.stats().held, engine.stats().blocks_in_use), (0, 0));
}

#[test]
fn blocks_that_nobody_fetches_are_free_after_the_lease() {
    let mut engine = engine(2_048);
    engine.submit(0.0, prefill(0, 1_600)).unwrap();
    engine.submit(0.0, request(1, 1_000, 1)).unwrap();
    let events = drain(&mut engine);
    let lease_ends_s = when(&events, 0, FINISHED) + engine.params().held_s_max;
    assert_s(when(&events, 0, EventKind::HoldExpired), lease_ends_s);
    assert_s(when(&events, 1, EventKind::Admitted { cached_tokens: 0 }), lease_ends_s);
    assert_eq!((engine.stats().holds_expired, engine.stats().blocks_in_use), (1, 0));
    assert!(engine.cached_tokens(1_600, &request(0, 1_600, 1).chain) > 0, "the content outlives the lease");
}

#[test]
fn a_transferred_prompt_is_decoded_at_once() {
    let mut engine = engine(100_000);
    engine.submit(5.0, decode(0, 1_000, 2)).unwrap();
    let events = drain(&mut engine);
    let loaded_s = 5.0 + transfer_s(1_000);
    assert_s(when(&events, 0, EventKind::Loaded), loaded_s);
    let first_s = loaded_s + decode_s(&engine, 1_000);
    assert_s(when(&events, 0, EventKind::FirstToken), first_s);
    assert_s(when(&events, 0, FINISHED), first_s + decode_s(&engine, 1_001));
    let stats = engine.stats();
    assert_eq!((stats.prefill_tokens_computed, stats.transfer_tokens, stats.transfers), (0, 1_000, 1));
    assert_eq!(engine.cached_tokens(1_000, &request(0, 1_000, 1).chain), 992, "others share it from now on");
}

#[test]
fn only_what_the_cache_lacks_is_transferred() {
    let mut engine = engine(100_000);
    engine.submit(0.0, request(0, 640, 1)).unwrap();
    drain(&mut engine);
    let next = Request { leg: Leg::Decode { remote_tokens: 1_000 }, ..request_for(1, 0, 1_000, 1) };
    engine.submit(10.0, next).unwrap();
    let events = drain(&mut engine);
    let expected = [
        EventKind::Admitted { cached_tokens: 640 },
        EventKind::Transferring { tokens: 360 },
        EventKind::Loaded,
        EventKind::FirstToken,
        FINISHED,
    ];
    assert_eq!(kinds(&events, 1), expected);
}

#[test]
fn the_rest_of_a_part_that_was_transferred_is_computed() {
    let mut engine = engine(100_000);
    let half = Request { leg: Leg::Decode { remote_tokens: 512 }, ..request(0, 1_000, 1) };
    engine.submit(0.0, half).unwrap();
    let events = drain(&mut engine);
    assert_s(when(&events, 0, EventKind::Loaded), transfer_s(512));
    assert_eq!(engine.stats().prefill_tokens_computed, 488);
}

#[test]
fn after_a_preemption_the_prompt_is_computed_here() {
    let mut engine = engine(1_024);
    engine.submit(0.0, request(0, 500, 200)).unwrap();
    engine.submit(0.0, decode(1, 400, 200)).unwrap();
    let events = drain(&mut engine);
    let met = kinds(&events, 1);
    assert!(met.contains(&EventKind::Preempted));
    assert_eq!(met.iter().filter(|kind| matches!(kind, EventKind::Transferring { .. })).count(), 1);
    assert!(engine.stats().prefill_tokens_computed > 500);
    assert_eq!((engine.stats().finished, engine.stats().blocks_in_use), (2, 0));
}

#[test]
fn decodes_go_on_while_a_prompt_is_transferred() {
    let mut engine = engine(100_000);
    engine.submit(0.0, request(0, 100, 50)).unwrap();
    engine.submit(0.0, decode(1, 16_000, 1)).unwrap();
    let events = drain(&mut engine);
    let loaded_s = when(&events, 1, EventKind::Loaded);
    assert_s(loaded_s, transfer_s(16_000));
    let meanwhile = events.iter().filter(|event| event.kind == EventKind::Token && event.at_s < loaded_s);
    assert!(meanwhile.count() > 20);
}
