//! What an engine has no more draws nothing, soon after it says so.

use super::{CELLS, COMPLETIONS, HOLDER, prompt_of, setup};
use crate::stack::Stack;
use serde_json::json;
use warmpath_engine::Fault;
use warmpath_http::Client;

/// A stack whose holder has a prompt.
async fn holding(topic: &str) -> Stack {
    let stack = Stack::start(setup()).await;
    let body = prompt_of(topic);
    stack.send_past(HOLDER, COMPLETIONS, &body).await;
    stack.held(HOLDER, COMPLETIONS, &body, |cells| cells >= CELLS - 1).await;
    stack
}

#[tokio::test]
async fn what_is_evicted_is_found_no_more() {
    let stack = holding("trees").await;
    for topic in ["rivers", "stones", "clouds", "birds"] {
        stack.send_past(HOLDER, COMPLETIONS, &prompt_of(topic)).await;
    }
    stack.held(HOLDER, COMPLETIONS, &prompt_of("trees"), |cells| cells == 0).await;
    stack.held(HOLDER, COMPLETIONS, &prompt_of("birds"), |cells| cells >= CELLS - 1).await;
}

#[tokio::test]
async fn what_a_reset_took_is_found_no_more_once_the_engine_has_said_so() {
    let stack = holding("trees").await;
    let client = Client::http1(stack.engine(HOLDER).addr());
    let reset = client.post_json("/reset_prefix_cache", &json!({})).await.unwrap();
    assert_eq!(reset.json()["success"], true);
    // It says so with its next step.
    stack.send_past(HOLDER, COMPLETIONS, &prompt_of("rivers")).await;
    stack.held(HOLDER, COMPLETIONS, &prompt_of("trees"), |cells| cells == 0).await;
    stack.held(HOLDER, COMPLETIONS, &prompt_of("rivers"), |cells| cells >= CELLS - 1).await;
}

#[tokio::test]
async fn what_a_process_had_is_forgotten_when_another_takes_its_place() {
    let stack = holding("trees").await;
    stack.engine(HOLDER).fault(Fault::Restart).await;
    stack.held(HOLDER, COMPLETIONS, &prompt_of("trees"), |cells| cells == 0).await;
    stack.send_past(HOLDER, COMPLETIONS, &prompt_of("rivers")).await;
    stack.held(HOLDER, COMPLETIONS, &prompt_of("rivers"), |cells| cells >= CELLS - 1).await;
    assert_eq!(stack.held(HOLDER, COMPLETIONS, &prompt_of("trees"), |_| true).await, 0);
}
