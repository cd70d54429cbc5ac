//! Closed loop: each client has one conversation at a time, waits for the answer, thinks, goes on.
//!
//! A slow arm gets fewer requests a second, as slow services do; an open loop would heap up requests that no user
//! would have sent yet.

use super::{Question, Stage};
use crate::workload::{Conversation, IMAGE_BYTES, Turn, image};
use anyhow::Context;
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::{sleep, sleep_until};
use warmpath_engine::api::Protocol;

/// The clients start one after the other within this time, in milliseconds of model time: cold engines that get
/// all conversations in the same moment would measure that moment.
const START_SPREAD_MS: f64 = 10_000.0;

const MS_PER_S: f64 = 1_000.0;

/// Plays all conversations with `clients` clients. Returns when the last answer has come.
pub async fn converse(
    stage: &Arc<Stage>,
    conversations: &Arc<[Conversation]>,
    clients: usize,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let client = |number: usize| {
        let (stage, conversations, next) = (Arc::clone(stage), Arc::clone(conversations), Arc::clone(&next));
        tokio::spawn(async move {
            let start_ms = START_SPREAD_MS * number as f64 / clients as f64;
            sleep_until(stage.moment(start_ms).into()).await;
            while let Some(conversation) = conversations.get(next.fetch_add(1, Ordering::Relaxed)) {
                play(&stage, conversation, number).await?;
            }
            anyhow::Ok(())
        })
    };
    let ends = try_join_all((0..clients).map(client)).await.context("a client failed")?;
    ends.into_iter().collect()
}

/// One conversation; it ends early when an answer is lost, because the next turn would lack it.
async fn play(stage: &Stage, conversation: &Conversation, client: usize) -> anyhow::Result<()> {
    let mut messages = vec![json!({ "role": "system", "content": &*conversation.system })];
    for (number, turn) in conversation.turns.iter().enumerate() {
        if number > 0 {
            sleep(stage.wall(turn.think_s * MS_PER_S)).await;
        }
        let content = match conversation.image_seed.filter(|_| number == 0) {
            None => json!(turn.text),
            Some(seed) => json!([
                { "type": "image_url", "image_url": { "url": image(seed, IMAGE_BYTES) } },
                { "type": "text", "text": turn.text },
            ]),
        };
        messages.push(json!({ "role": "user", "content": content }));
        let mut question = Question::new(Protocol::Chat, body(stage.model(), &messages, turn))?;
        question.has_image = conversation.image_seed.is_some();
        let Some(answer) = stage.ask(client, question, None).await? else { return Ok(()) };
        messages.push(json!({ "role": "assistant", "content": answer }));
    }
    Ok(())
}

fn body(model: &str, messages: &[Value], turn: &Turn) -> String {
    let body = json!({
        "model": model,
        "messages": messages,
        "max_tokens": turn.answer_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    body.to_string()
}
