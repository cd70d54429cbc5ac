//! The engine as a whole, on simulated time: batching, waiting, sharing, preemption, determinism.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod common;

use common::{FINISHED, cached, chain, drain, request, when};
use warmpath_engine::{
    Engine, Params, Preset,
    model::{Event, EventKind, Request, RequestId, StepLoad, SubmitError},
};

fn engine(kv_tokens: usize) -> Engine {
    Engine::new(Params { kv_tokens, ..Params::new(Preset::Qwen3On2) })
}

#[test]
fn a_lone_request_takes_its_prefill_and_its_decodes() {
    let mut engine = engine(100_000);
    engine.submit(5.0, request(0, 1_000, 3)).unwrap();
    let events = drain(&mut engine);
    let time = &engine.params().step_time;
    let mut expected_s = 5.0;
    let mut load = StepLoad::default();
    load.add_prefill(1_000, 0);
    expected_s += time.seconds(&load);
    assert!((when(&events, 0, EventKind::FirstToken) - expected_s).abs() < 1e-12);
    for context in [1_001, 1_002] {
        let mut load = StepLoad::default();
        load.add_decode(context);
        expected_s += time.seconds(&load);
    }
    assert!((when(&events, 0, FINISHED) - expected_s).abs() < 1e-12);
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let admitted = EventKind::Admitted { cached_tokens: 0 };
    assert_eq!(kinds, [admitted, EventKind::FirstToken, EventKind::Token, EventKind::Token, FINISHED]);
}

#[test]
fn a_long_prompt_is_cut_into_chunks_and_decodes_go_on_between() {
    let mut engine = engine(300_000);
    engine.submit(0.0, request(0, 100, 10)).unwrap();
    let first_s = engine.next_step_at().unwrap();
    engine.advance(first_s);
    engine.submit(first_s, request(1, 20_000, 1)).unwrap();
    let events = drain(&mut engine);
    let first_token_s = when(&events, 1, EventKind::FirstToken);
    let tokens_before =
        events.iter().filter(|event| event.kind == EventKind::Token && event.at_s <= first_token_s).count();
    assert_eq!(tokens_before, 3, "20,000 tokens are three steps of 8,192, each with the decode of the other");
}

#[test]
fn a_whole_prompt_in_the_cache_still_computes_its_last_block() {
    // The case of a real vLLM: the same 726 tokens three times give 0, 704, 704 with blocks of 32.
    let params = Params { block_tokens: 32, ..Params::new(Preset::Qwen3On2) };
    let mut engine = Engine::new(params);
    let mut hits = Vec::new();
    for id in 0..3 {
        let request = Request::new(RequestId(id), 726, 4, chain(100, 0, 22));
        engine.submit(0.0, request).unwrap();
        hits.extend(cached(&drain(&mut engine), id));
    }
    assert_eq!(hits, [0, 704, 704]);
    let stats = engine.stats();
    assert_eq!((stats.prefix_cache_queries, stats.prefix_cache_hits), (2_178, 1_408));

    let mut engine = Engine::new(Params::new(Preset::Qwen3On2));
    for id in 0..2 {
        let request = Request::new(RequestId(id), 64, 1, chain(4, 0, 4));
        engine.submit(0.0, request).unwrap();
        hits = cached(&drain(&mut engine), id);
    }
    assert_eq!(hits, [48], "a prompt of four full blocks is never all cached");
}

#[test]
fn the_response_is_cached_for_the_next_turn_except_its_last_token() {
    let mut engine = engine(100_000);
    let turn = Request::new(RequestId(0), 100, 60, chain(50, 0, 10));
    engine.submit(0.0, turn).unwrap();
    drain(&mut engine);
    // 159 tokens were computed: nine full blocks. The tenth lacks its last token.
    let next = Request::new(RequestId(1), 200, 1, chain(50, 1, 12));
    engine.submit(10.0, next).unwrap();
    assert_eq!(cached(&drain(&mut engine), 1), [144]);
}

#[test]
fn what_does_not_fit_waits_until_it_does() {
    let mut engine = engine(2_048);
    engine.submit(0.0, request(0, 1_500, 100)).unwrap();
    engine.submit(0.0, request(1, 1_000, 10)).unwrap();
    engine.submit(0.0, request(2, 16, 1)).unwrap();
    engine.advance(0.0);
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting), (1, 2), "the small one does not overtake");
    let events = drain(&mut engine);
    let admitted = EventKind::Admitted { cached_tokens: 0 };
    assert!((when(&events, 1, admitted) - when(&events, 0, FINISHED)).abs() < 1e-12);
    assert_eq!(engine.stats().preemptions, 0);
}

#[test]
fn shared_blocks_let_more_requests_run() {
    let prompts = |shared| {
        let mut engine = engine(4_096);
        for id in 0..8 {
            let chain = chain(shared, id + 1, 63);
            engine.submit(0.0, Request::new(RequestId(id), 1_000, 8, chain)).unwrap();
        }
        engine.advance(0.0);
        let stats = engine.stats();
        (stats.running, stats.blocks_in_use)
    };
    assert_eq!(prompts(0), (4, 4 * 63));
    assert_eq!(prompts(60), (8, 60 + 8 * 3), "60 blocks once, and three of its own for each");
}

#[test]
fn decodes_that_run_out_of_blocks_send_the_last_one_back() {
    let mut engine = engine(1_024);
    engine.submit(0.0, request(0, 500, 200)).unwrap();
    engine.submit(0.0, request(1, 400, 200)).unwrap();
    let events = drain(&mut engine);
    let preempted: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Preempted).collect();
    assert_eq!(preempted.iter().map(|event| event.id).collect::<Vec<_>>(), [RequestId(1)]);
    let lost_s = preempted[0].at_s;
    let made = |id: u64, kind: EventKind| {
        events.iter().filter(|event| event.id == RequestId(id) && event.kind == kind).count()
    };
    assert_eq!((made(1, EventKind::FirstToken), made(1, EventKind::Token)), (1, 199), "no token comes twice");
    assert!(when(&events, 0, FINISHED) < when(&events, 1, FINISHED));
    let admissions = events.iter().filter(|event| {
        event.id == RequestId(1) && matches!(event.kind, EventKind::Admitted { .. }) && event.at_s > lost_s
    });
    assert_eq!(admissions.count(), 1);
    let stats = engine.stats();
    assert_eq!((stats.preemptions, stats.finished, stats.blocks_in_use), (1, 2, 0));
    assert_eq!(
        (stats.prompt_tokens, stats.prefix_cache_queries),
        (900, 900),
        "recomputed prompts count once"
    );
}

#[test]
fn an_aborted_request_leaves_its_room_and_its_content() {
    let mut engine = engine(2_048);
    engine.submit(0.0, request(0, 1_500, 500)).unwrap();
    engine.submit(0.0, request(1, 1_500, 10)).unwrap();
    let prefilled_s = {
        engine.advance(0.0);
        engine.next_step_at().unwrap()
    };
    engine.advance(prefilled_s);
    assert!(engine.abort(prefilled_s, RequestId(0)));
    assert!(!engine.abort(prefilled_s, RequestId(0)), "it is gone");
    let again = request(0, 1_500, 500);
    assert_eq!(engine.cached_tokens(1_500, &again.chain), 1_488);
    let events = drain(&mut engine);
    assert!(events.iter().all(|event| event.id == RequestId(1)));
    let stats = engine.stats();
    assert_eq!((stats.aborted, stats.finished, stats.blocks_in_use), (1, 1, 0));
}

#[test]
fn what_can_never_fit_is_refused() {
    let mut engine = engine(1_000);
    let too_long = SubmitError::TooLong { tokens: 1_000, capacity: 992 };
    assert_eq!(engine.submit(0.0, request(0, 900, 100)), Err(too_long));
    assert_eq!(engine.submit(0.0, request(0, 0, 1)), Err(SubmitError::EmptyPrompt));
    assert_eq!(engine.submit(0.0, request(0, 1, 0)), Err(SubmitError::NoOutput));
    assert_eq!(engine.next_step_at(), None);
}

/// A mixed load on a small cache: hits, waiting, preemptions and aborts all happen.
fn mixed_load(jitter: f64, seed: u64) -> (Vec<Event>, warmpath_engine::model::Stats) {
    let params = Params { kv_tokens: 6_000, jitter, seed, ..Params::new(Preset::Llama8On1) };
    let mut engine = Engine::new(params);
    let mut events = Vec::new();
    let mut at_s = 0.0;
    for id in 0..200 {
        at_s += 0.02;
        let prompt_tokens = usize::try_from(200 + id * 37 % 900).unwrap();
        let output_tokens = usize::try_from(1 + id * 53 % 300).unwrap();
        let blocks = u64::try_from((prompt_tokens + output_tokens) / 16).unwrap();
        let chain = chain(10 * (id % 3), id + 1, blocks);
        engine.submit(at_s, Request::new(RequestId(id), prompt_tokens, output_tokens, chain)).unwrap();
        if id % 17 == 0 {
            engine.abort(at_s, RequestId(id / 2));
        }
    }
    events.extend(drain(&mut engine));
    (events, engine.stats())
}

#[test]
fn equal_inputs_give_equal_events() {
    let (events, stats) = mixed_load(0.1, 1);
    assert!(stats.preemptions > 0 && stats.aborted > 0 && stats.prefix_cache_hits > 0, "{stats:?}");
    assert_eq!((stats.finished + stats.aborted, stats.blocks_in_use, stats.running), (200, 0, 0));
    assert!(events.is_sorted_by(|one, two| one.at_s <= two.at_s));
    assert_eq!((events, stats), mixed_load(0.1, 1));
}

#[test]
fn only_the_seed_changes_the_jitter() {
    assert_ne!(mixed_load(0.1, 1).0, mixed_load(0.1, 2).0);
    assert_eq!(mixed_load(0.0, 1), mixed_load(0.0, 2));
}

#[test]
fn without_token_events_all_other_events_stay() {
    let run = |emits_tokens| {
        let mut engine =
            Engine::new(Params { kv_tokens: 2_048, emits_tokens, ..Params::new(Preset::Qwen3On2) });
        engine.submit(0.0, request(0, 900, 300)).unwrap();
        engine.submit(0.0, request(1, 900, 200)).unwrap();
        (drain(&mut engine), engine.stats())
    };
    let ((mut all, stats), (some, same_stats)) = (run(true), run(false));
    all.retain(|event| event.kind != EventKind::Token);
    assert_eq!((all, stats), (some, same_stats));
}

#[test]
fn requests_to_a_starting_engine_wait_for_it() {
    let params = Params { startup_s: 60.0, ..Params::new(Preset::Qwen3On2) };
    let mut engine = Engine::starting_at(100.0, params.clone());
    assert!((engine.ready_at() - 160.0).abs() < 1e-9);
    engine.submit(120.0, request(0, 100, 1)).unwrap();
    engine.submit(130.0, request(1, 100, 1)).unwrap();
    assert_eq!(engine.next_step_at(), Some(160.0));
    assert_eq!(engine.stats().waiting, 2);
    let events = drain(&mut engine);
    let admitted = EventKind::Admitted { cached_tokens: 0 };
    assert!([0, 1].map(|id| when(&events, id, admitted)).iter().all(|at_s| (at_s - 160.0).abs() < 1e-9));
    engine.submit(200.0, request(2, 100, 1)).unwrap();
    assert_eq!(engine.next_step_at(), Some(200.0), "it starts only once");
    let mut ready = Engine::new(params);
    ready.submit(0.0, request(0, 100, 1)).unwrap();
    assert_eq!(ready.next_step_at(), Some(0.0));
}

#[test]
fn how_often_the_driver_looks_changes_nothing() {
    let run = |step_s: f64| {
        let mut engine = engine(2_048);
        engine.submit(0.0, request(0, 1_500, 30)).unwrap();
        engine.submit(0.0, request(1, 700, 30)).unwrap();
        let mut events = Vec::new();
        let mut now_s = 0.0;
        while engine.next_step_at().is_some() {
            events.extend(engine.advance(now_s));
            now_s += step_s;
        }
        events
    };
    assert_eq!(run(0.001), run(5.0));
}
