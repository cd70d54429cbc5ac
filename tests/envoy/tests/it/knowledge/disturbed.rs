//! Batches that do not come as they should, and engines that publish otherwise.

use super::{CELLS, COMPLETIONS, prompt_of, setup, setup_of};
use crate::stack::Stack;
use warmpath_engine::{Encoding, EventFault, Fault, Hashes, KvEvents};

/// Spoils the batch of a prompt at an engine, then has another one published.
async fn spoil(stack: &Stack, at: usize, what: EventFault) {
    stack.send_past(at, COMPLETIONS, &prompt_of("clouds")).await;
    stack.held(at, COMPLETIONS, &prompt_of("clouds"), |cells| cells >= CELLS - 1).await;
    stack.engine(at).fault(Fault::events(what, Some(1))).await;
    stack.send_past(at, COMPLETIONS, &prompt_of("trees")).await;
    stack.send_past(at, COMPLETIONS, &prompt_of("rivers")).await;
    stack.held(at, COMPLETIONS, &prompt_of("rivers"), |cells| cells >= CELLS - 1).await;
}

#[tokio::test]
async fn a_replay_has_what_a_gap_left_out() {
    let stack = Stack::start(setup()).await;
    for (at, what) in [EventFault::Gap, EventFault::Reorder, EventFault::Repeat].into_iter().enumerate() {
        spoil(&stack, at, what).await;
        stack.held(at, COMPLETIONS, &prompt_of("trees"), |cells| cells >= CELLS - 1).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_replayed_or_missed_but_nothing_else_is() {
    let stack = Stack::start(setup()).await;
    for (at, what) in [EventFault::Garbage, EventFault::Truncated, EventFault::Frames].into_iter().enumerate()
    {
        spoil(&stack, at, what).await;
        stack.held(at, COMPLETIONS, &prompt_of("trees"), |cells| cells == 0 || cells >= CELLS - 1).await;
    }
}

#[tokio::test]
async fn after_a_loss_that_no_replay_mends_what_is_stored_later_counts() {
    let stack = Stack::start(setup()).await;
    spoil(&stack, 0, EventFault::Lost).await;
    stack.held(0, COMPLETIONS, &prompt_of("trees"), |cells| cells == 0).await;
    stack.send_past(0, COMPLETIONS, &prompt_of("birds")).await;
    stack.held(0, COMPLETIONS, &prompt_of("birds"), |cells| cells >= CELLS - 1).await;
}

#[tokio::test]
async fn every_encoding_of_events_is_understood() {
    let encodings = [Encoding::Map, Encoding::ListWithGroup, Encoding::ListWithKeys, Encoding::List];
    let kinds = encodings.into_iter().flat_map(|encoding| {
        let of = |hashes| KvEvents { encoding, hashes, ..KvEvents::default() };
        [Hashes::Integers, Hashes::Bytes].map(of)
    });
    let kinds: Vec<_> = kinds.collect();
    let stack = Stack::start(setup_of(kinds.clone())).await;
    for at in 0..kinds.len() {
        stack.send_past(at, COMPLETIONS, &prompt_of("trees")).await;
        stack.held(at, COMPLETIONS, &prompt_of("trees"), |cells| cells >= CELLS - 1).await;
    }
}
