//! Prompts that an engine got past Envoy draw the next request there.

use super::{ADAPTER, CELLS, CHAT, COMPLETIONS, HOLDER, cells, of, prompt_of, setup, text};
use crate::stack::{MODEL, Setup, Stack, cached_tokens, engine_of};
use serde_json::{Value, json};
use warmpath_envoy::until;

fn chat(model: &str, topic: &str) -> Value {
    let user = json!([{ "type": "text", "text": text(topic) }, { "type": "text", "text": "Be brief." }]);
    let messages =
        json!([{ "role": "system", "content": "You know licences." }, { "role": "user", "content": user }]);
    json!({ "model": model, "messages": messages, "max_tokens": 4 })
}

#[tokio::test]
async fn a_prompt_that_came_past_envoy_draws_the_next_request_in_every_worker() {
    let two = Setup { envoys: 2, workers: 2, ..setup() };
    let stack = Stack::start(two).await;
    let body = prompt_of("trees");
    stack.send_past(HOLDER, COMPLETIONS, &body).await;
    let mut workers = stack.connections(0).await;
    workers.extend(stack.connections(1).await);
    for worker in &mut workers {
        until("a worker to know what the engine holds", async || {
            let cells = cells(worker, COMPLETIONS, &body).await?;
            (of(&cells, stack.engine(HOLDER).addr()) >= CELLS - 1).then_some(())
        })
        .await
        .unwrap();
    }
    let response = stack.client().await.post_json(COMPLETIONS, &body).await.unwrap();
    assert_eq!(engine_of(&response), stack.engine(HOLDER).name());
    assert!(cached_tokens(&response) > 0);
}

#[tokio::test]
async fn a_chat_is_found_by_the_text_that_the_engine_made_of_it() {
    let stack = Stack::start(setup()).await;
    let body = chat(MODEL, "rivers");
    stack.send_past(HOLDER, CHAT, &body).await;
    let held = stack.held(HOLDER, CHAT, &body, |cells| cells >= CELLS - 1).await;
    let response = stack.client().await.post_json(CHAT, &body).await.unwrap();
    assert_eq!(engine_of(&response), stack.engine(HOLDER).name(), "{held} cells");
    // The next turn, with the response in it, which blocks that were generated continue.
    let said = response.json()["choices"][0]["message"]["content"].clone();
    let mut next = body;
    let messages = next["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": said }));
    messages.push(json!({ "role": "user", "content": "Go on." }));
    stack.held(HOLDER, CHAT, &next, |cells| cells >= held).await;
}

#[tokio::test]
async fn adapters_and_salts_draw_only_their_own() {
    let stack = Stack::start(setup()).await;
    let plain = chat(MODEL, "stones");
    let adapted = chat(ADAPTER, "stones");
    let mut salted = plain.clone();
    salted["cache_salt"] = json!("tenant-7");
    stack.send_past(HOLDER, CHAT, &salted).await;
    stack.held(HOLDER, CHAT, &salted, |cells| cells >= CELLS - 1).await;
    assert_eq!(stack.held(HOLDER, CHAT, &plain, |_| true).await, 0);
    stack.send_past(HOLDER, CHAT, &adapted).await;
    stack.held(HOLDER, CHAT, &adapted, |cells| cells >= CELLS - 1).await;
    assert_eq!(stack.held(HOLDER, CHAT, &plain, |_| true).await, 0);
    let response = stack.client().await.post_json(CHAT, &adapted).await.unwrap();
    assert_eq!(engine_of(&response), stack.engine(HOLDER).name());
}
