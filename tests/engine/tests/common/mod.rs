//! What the tests of the engine on simulated time share: requests, and reading what became of them.
#![allow(dead_code, reason = "no test file uses all of it")]

use warmpath_engine::{
    Engine,
    model::{BlockHash, Event, EventKind, FinishReason, Request, RequestId, Root, chain_of_ids},
};

/// The end of every request that is not taken back.
pub(crate) const FINISHED: EventKind = EventKind::Finished(FinishReason::Length);

/// A chain whose first `shared` blocks every chain has, and whose other blocks only `own` has.
pub(crate) fn chain(shared: u64, own: u64, blocks: u64) -> Vec<BlockHash> {
    let ids = (0..blocks).map(|at| if at < shared { at } else { own * 1_000_000 + at });
    chain_of_ids(Root::new("m", "", ""), ids)
}

/// A request whose blocks no other request has.
pub(crate) fn request(id: u64, prompt_tokens: usize, output_tokens: usize) -> Request {
    request_for(id, id, prompt_tokens, output_tokens)
}

/// A request with the prompt and the output of another one's `text`, as far as both go.
pub(crate) fn request_for(id: u64, text: u64, prompt_tokens: usize, output_tokens: usize) -> Request {
    let blocks = u64::try_from((prompt_tokens + output_tokens) / 16).unwrap();
    Request::new(RequestId(id), prompt_tokens, output_tokens, chain(0, text + 1, blocks))
}

/// Runs until idle; steps through each moment at which something happens.
pub(crate) fn drain(engine: &mut Engine) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(at_s) = engine.next_step_at() {
        events.extend(engine.advance(at_s));
    }
    events
}

/// When a request first reached an event.
#[track_caller]
pub(crate) fn when(events: &[Event], id: u64, kind: EventKind) -> f64 {
    let found = events.iter().find(|event| event.id == RequestId(id) && event.kind == kind);
    found.unwrap_or_else(|| panic!("request {id} never reached {kind:?}")).at_s
}

/// The events of a request, in order.
pub(crate) fn kinds(events: &[Event], id: u64) -> Vec<EventKind> {
    events.iter().filter(|event| event.id == RequestId(id)).map(|event| event.kind).collect()
}

/// Tokens that the GPU held, for each admission of a request.
pub(crate) fn cached(events: &[Event], id: u64) -> Vec<usize> {
    let admitted = kinds(events, id).into_iter().filter_map(|kind| match kind {
        EventKind::Admitted { cached_tokens } => Some(cached_tokens),
        _ => None,
    });
    admitted.collect()
}

#[track_caller]
pub(crate) fn assert_s(is_s: f64, expected_s: f64) {
    assert!((is_s - expected_s).abs() < 1e-9, "{is_s} s, expected {expected_s} s");
}
