//! LoRA adapters in the batch: how many at once, the cost of a load, and which requests wait.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "test code: what is not there fails the test, and counts are small"
)]

mod common;

use common::{FINISHED, assert_s, drain, request, when};
use warmpath_engine::{
    Engine, Params, Preset,
    model::{Request, RequestId, StepLoad, SubmitError},
};

const LOAD_S: f64 = 0.5;

fn engine(adapters_max: usize) -> Engine {
    Engine::new(Params { adapters_max, adapter_load_s: LOAD_S, ..Params::new(Preset::Qwen3On2) })
}

fn with(adapter: u32, id: u64) -> Request {
    Request { adapter, ..request(id, 100, 1) }
}

fn prefill_s(engine: &Engine, requests: usize) -> f64 {
    let mut load = StepLoad::default();
    (0..requests).for_each(|_| load.add_prefill(100, 0));
    engine.params().step_time.seconds(&load)
}

#[test]
fn only_the_first_request_of_an_adapter_waits_for_its_load() {
    let mut engine = engine(1);
    let once_s = prefill_s(&engine, 1);
    for (id, load_s) in [(0, LOAD_S), (1, 0.0)] {
        engine.submit(10.0 * id as f64, with(7, id)).unwrap();
        assert_s(when(&drain(&mut engine), id, FINISHED), 10.0 * id as f64 + once_s + load_s);
    }
    assert_eq!(engine.stats().adapter_loads, 1);
}

#[test]
fn the_adapter_unused_for_the_longest_goes() {
    let mut engine = engine(2);
    for (id, adapter) in [1, 2, 1, 3, 1, 2].into_iter().enumerate() {
        let id = u64::try_from(id).unwrap();
        engine.submit(10.0 * id as f64, with(adapter, id)).unwrap();
        drain(&mut engine);
    }
    assert_eq!(engine.stats().adapter_loads, 4, "1, 2, 3 in place of 2, 2 in place of 3");
    assert_eq!(engine.adapters().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_batch_mixes_so_many_adapters_and_others_pass_those_that_wait() {
    let mut engine = engine(2);
    for (id, adapter) in [1, 2, 3, 0, 2].into_iter().enumerate() {
        engine.submit(0.0, with(adapter, u64::try_from(id).unwrap())).unwrap();
    }
    engine.advance(0.0);
    assert_eq!((engine.stats().running, engine.stats().waiting), (4, 1), "all but the third");
    let events = drain(&mut engine);
    let first_s = prefill_s(&engine, 4) + 2.0 * LOAD_S;
    for id in [0, 1, 3, 4] {
        assert_s(when(&events, id, FINISHED), first_s);
    }
    assert_s(when(&events, 2, FINISHED), first_s + prefill_s(&engine, 1) + LOAD_S);
}

#[test]
fn a_request_taken_back_gives_up_its_adapters_place() {
    let mut engine = engine(1);
    engine.submit(0.0, with(1, 0)).unwrap();
    engine.submit(0.0, with(2, 1)).unwrap();
    engine.advance(0.0);
    engine.abort(0.0, RequestId(0));
    let events = drain(&mut engine);
    when(&events, 1, FINISHED);
}

#[test]
fn an_engine_without_adapters_refuses_them() {
    let mut engine = engine(0);
    assert_eq!(engine.submit(0.0, with(1, 0)), Err(SubmitError::NoAdapters));
    assert_eq!(engine.submit(0.0, with(0, 1)), Ok(()));
}
