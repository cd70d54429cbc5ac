//! Tiers below the GPU: what comes back from them, when, and when it is computed instead.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "test code: what is not there fails the test, and counts are small"
)]

mod common;

use common::{FINISHED, assert_s, cached, drain, kinds, request, request_for, when};
use warmpath_engine::{
    Engine, Params, Preset,
    model::{EventKind, LoadTime, RequestId, StepLoad, Tier, TierParams},
};

const PRESET: Preset = Preset::Qwen3On2;

/// An engine for one prompt of 1,600 tokens at a time, with tiers of so many tokens.
fn engine(tiers: &[(Tier, usize)]) -> Engine {
    let tiers = tiers.iter().map(|(tier, tokens)| TierParams::new(PRESET, *tier, *tokens)).collect();
    Engine::new(Params { kv_tokens: 2_048, tiers, ..Params::new(PRESET) })
}

/// Serves prompts of 1,600 tokens one after the other, each of which drives most of the last one out.
fn serve(engine: &mut Engine, texts: &[u64]) {
    for text in texts {
        engine.submit(*text as f64, request(1_000 + text, 1_600, 1)).unwrap();
        drain(engine);
    }
}

/// The text that `serve` knows under this number, asked again by a request with an id of its own.
fn again(id: u64, text: u64) -> warmpath_engine::model::Request {
    request_for(id, 1_000 + text, 1_600, 1)
}

fn prefill_s(engine: &Engine, new: usize, prefix: usize) -> f64 {
    let mut load = StepLoad::default();
    load.add_prefill(new, prefix);
    engine.params().step_time.seconds(&load)
}

#[test]
fn what_the_gpu_evicted_is_loaded_and_only_the_rest_is_computed() {
    let mut engine = engine(&[(Tier::Cpu, 10_000)]);
    serve(&mut engine, &[0, 1]);
    let request = again(0, 0);
    let held = engine.cached_tokens(1_600, &request.chain);
    let below = engine.tier_tokens(1_600, &request.chain);
    assert_eq!(
        (held, below),
        (448, [1_136, 0, 0]),
        "the head on the GPU, the tail below it, the last block nowhere"
    );
    engine.submit(10.0, request).unwrap();
    let events = drain(&mut engine);
    let loading = EventKind::Loading { tier: Tier::Cpu, tokens: 1_136 };
    let admitted = EventKind::Admitted { cached_tokens: 448 };
    assert_eq!(kinds(&events, 0), [admitted, loading, EventKind::Loaded, EventKind::FirstToken, FINISHED]);
    let loaded_s = 10.0 + LoadTime::pcie(PRESET).seconds(1_136.0 * 262_144.0);
    assert_s(when(&events, 0, EventKind::Loaded), loaded_s);
    assert_s(when(&events, 0, EventKind::FirstToken), loaded_s + prefill_s(&engine, 16, 1_584));
    let stats = engine.stats();
    assert_eq!(
        (stats.loads, stats.tier_tokens, stats.loading, stats.blocks_in_use),
        (1, [1_136, 0, 0], 0, 0)
    );
    assert_eq!((stats.prefix_cache_hits, stats.prefill_tokens_computed), (448, 3_216));
}

#[test]
fn the_gpu_finds_loaded_blocks_again() {
    let mut engine = engine(&[(Tier::Cpu, 10_000)]);
    serve(&mut engine, &[0, 1]);
    for id in 0..2 {
        engine.submit(10.0, again(id, 0)).unwrap();
        let events = drain(&mut engine);
        assert_eq!(cached(&events, id), [if id == 0 { 448 } else { 1_584 }]);
    }
    assert_eq!(engine.stats().loads, 1);
}

#[test]
fn others_are_served_while_a_load_is_under_way() {
    let slow = TierParams {
        tier: Tier::Remote,
        tokens: 10_000,
        load: LoadTime { fixed_s: 0.0, bytes_per_s: 5.5e9 },
    };
    let mut engine = Engine::new(Params { kv_tokens: 2_048, tiers: vec![slow], ..Params::new(PRESET) });
    serve(&mut engine, &[0, 1]);
    engine.submit(10.0, again(0, 0)).unwrap();
    engine.submit(10.0, request(2, 64, 1)).unwrap();
    let events = drain(&mut engine);
    assert_s(when(&events, 2, FINISHED), 10.0 + prefill_s(&engine, 64, 0));
    assert!(when(&events, 2, FINISHED) < when(&events, 0, EventKind::Loaded));
}

#[test]
fn what_is_cheaper_to_compute_is_computed() {
    let tcp = TierParams { tier: Tier::Remote, tokens: 10_000, load: LoadTime::TCP_25G };
    let mut engine = Engine::new(Params { kv_tokens: 2_048, tiers: vec![tcp], ..Params::new(PRESET) });
    serve(&mut engine, &[0, 1]);
    engine.submit(10.0, again(0, 0)).unwrap();
    let events = drain(&mut engine);
    assert_eq!(
        kinds(&events, 0),
        [EventKind::Admitted { cached_tokens: 448 }, EventKind::FirstToken, FINISHED]
    );
    assert_eq!(engine.stats().loads, 0);
}

#[test]
fn a_short_stretch_is_not_worth_a_long_way() {
    // 16 tokens take about 0.8 ms to compute.
    for (fixed_s, loads) in [(7e-4, 1), (9e-4, 0)] {
        let load = LoadTime { fixed_s, bytes_per_s: 1e12 };
        let tiers = vec![TierParams { tier: Tier::Disk, tokens: 10_000, load }];
        let mut engine = Engine::new(Params { kv_tokens: 2_048, tiers, ..Params::new(PRESET) });
        engine.submit(0.0, request(0, 48, 1)).unwrap();
        drain(&mut engine);
        // All blocks but the first one of three are driven out: the last has no free way back, the second one has.
        engine.submit(1.0, request(1, 2_031, 1)).unwrap();
        drain(&mut engine);
        let again = request_for(2, 0, 48, 1);
        assert_eq!(engine.tier_tokens(48, &again.chain), [0, 16, 0]);
        engine.submit(2.0, again).unwrap();
        drain(&mut engine);
        assert_eq!(engine.stats().loads, loads, "{fixed_s} s");
    }
}

#[test]
fn what_falls_out_of_one_tier_is_in_the_next() {
    let mut engine = engine(&[(Tier::Cpu, 480), (Tier::Disk, 10_000)]);
    serve(&mut engine, &[0, 1]);
    let below = engine.tier_tokens(1_600, &again(0, 0).chain);
    assert_eq!(below, [480, 656, 0], "the tail was evicted first and fell deepest");
    engine.submit(10.0, again(0, 0)).unwrap();
    let events = drain(&mut engine);
    let loading =
        [(Tier::Cpu, 480), (Tier::Disk, 656)].map(|(tier, tokens)| EventKind::Loading { tier, tokens });
    assert_eq!(kinds(&events, 0)[1..3], loading);
    let disk_s = LoadTime::NVME.seconds(656.0 * 262_144.0);
    assert_s(when(&events, 0, EventKind::Loaded), 10.0 + disk_s);
}

#[test]
fn loads_wait_for_each_other_on_one_link() {
    let tiers = vec![TierParams::new(PRESET, Tier::Cpu, 100_000)];
    let mut engine = Engine::new(Params { kv_tokens: 4_096, tiers, ..Params::new(PRESET) });
    serve(&mut engine, &[0, 1, 2, 3]);
    engine.submit(10.0, again(0, 0)).unwrap();
    engine.submit(10.0, again(1, 1)).unwrap();
    let events = drain(&mut engine);
    let tokens = |id: u64| match kinds(&events, id)[1] {
        EventKind::Loading { tokens, .. } => tokens as f64,
        other => panic!("{other:?}"),
    };
    let load = LoadTime::pcie(PRESET);
    assert_s(when(&events, 0, EventKind::Loaded), 10.0 + load.seconds(tokens(0) * 262_144.0));
    assert_s(when(&events, 1, EventKind::Loaded), 10.0 + load.seconds((tokens(0) + tokens(1)) * 262_144.0));
}

#[test]
fn a_request_taken_back_while_it_loads_leaves_nothing_behind() {
    let mut engine = engine(&[(Tier::Cpu, 10_000)]);
    serve(&mut engine, &[0, 1]);
    engine.submit(10.0, again(0, 0)).unwrap();
    engine.submit(10.0, again(1, 1)).unwrap();
    engine.advance(10.0);
    let stats = engine.stats();
    assert_eq!((stats.loading, stats.waiting, stats.running), (1, 1, 0), "the second one has no room");
    assert!(engine.abort(10.0, RequestId(0)));
    let events = drain(&mut engine);
    assert_s(when(&events, 1, EventKind::Admitted { cached_tokens: cached(&events, 1)[0] }), 10.0);
    assert_eq!((engine.stats().loading, engine.stats().blocks_in_use), (0, 0));
}

#[test]
fn a_cold_engine_has_cold_tiers() {
    let mut engine = engine(&[(Tier::Cpu, 10_000)]);
    serve(&mut engine, &[0, 1]);
    assert!(engine.stats().blocks_below[Tier::Cpu.index()] > 0);
    engine.forget();
    assert_eq!(engine.stats().blocks_below, [0; 3]);
    assert_eq!(engine.tier_tokens(1_600, &again(0, 0).chain), [0; 3]);
}
