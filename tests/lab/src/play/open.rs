//! Open loop: requests are sent when the trace says, whatever became of those before.
//!
//! A client that is itself late would make every arm look better than it is; how late it was is measured and told.

use super::{Question, Stage};
use crate::cluster::MODEL;
use crate::prompt::prompt;
use anyhow::Context;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use warmpath_engine::api::Protocol;
use warmpath_sim::trace::Recorded;

/// How long before its time a request's text is made, in milliseconds of model time.
const PREPARE_MS: f64 = 2_000.0;

/// Plays a trace. Returns when the last answer has come.
pub async fn replay(stage: &Arc<Stage>, trace: &Arc<[Recorded]>, seed: u64) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (number, request) in trace.iter().enumerate() {
        sleep_until(stage.moment((request.at_ms - PREPARE_MS).max(0.0)).into()).await;
        let (stage, trace) = (Arc::clone(stage), Arc::clone(trace));
        tasks.spawn(async move {
            let request = trace.get(number).context("a request that the trace does not have")?;
            let question = Question::new(Protocol::Completions, body(request, seed))?;
            let due = stage.moment(request.at_ms);
            sleep_until(due.into()).await;
            stage.ask(number, question, Some(due)).await?;
            anyhow::Ok(())
        });
        while let Some(end) = tasks.try_join_next() {
            end.context("a request failed")??;
        }
    }
    while let Some(end) = tasks.join_next().await {
        end.context("a request failed")??;
    }
    Ok(())
}

fn body(request: &Recorded, seed: u64) -> String {
    let body = json!({
        "model": MODEL,
        "prompt": prompt(request, seed),
        "max_tokens": request.output_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    body.to_string()
}
