//! Agents in a closed loop without an end: as many sessions as there are clients are under way, until the time is over.
//!
//! With a last request, as in [`super::converse`], the sessions that are left at the end would have the caches for themselves,
//! and whoever has waited longest would hardly count.

use super::{Question, Stage};
use crate::client::Lost;
use crate::cluster::MODEL;
use crate::measure::{ArmRun, Window};
use crate::workload::{Agent, AgentTurn};
use anyhow::Context;
use futures::future::try_join_all;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::time::{sleep, sleep_until};
use warmpath_engine::api::Protocol;

const MS_PER_S: f64 = 1_000.0;

/// When agents are played, in milliseconds of model time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The clients start one after the other until then. What ends before does not count.
    pub counts_from_ms: f64,
    /// The end.
    pub ends_ms: f64,
}

/// Plays the sessions with `clients` clients.
pub async fn work(
    stage: &Arc<Stage>,
    agents: &Arc<[Agent]>,
    clients: usize,
    span: Span,
) -> anyhow::Result<ArmRun> {
    let next = Arc::new(AtomicUsize::new(0));
    let client = |number: usize| {
        let (stage, agents, next) = (Arc::clone(stage), Arc::clone(agents), Arc::clone(&next));
        let starts = stage.moment(span.counts_from_ms * number as f64 / clients as f64);
        let ends = stage.moment(span.ends_ms);
        tokio::spawn(async move {
            // Of the request that has no first token at the end.
            let asked = std::sync::Mutex::new(None);
            let sessions = async {
                sleep_until(starts.into()).await;
                while let Some(agent) = agents.get(next.fetch_add(1, Ordering::Relaxed)) {
                    play(&stage, agent, number, &asked).await?;
                }
                anyhow::bail!("there are too few sessions for so much time")
            };
            tokio::select! {
                end = sessions => end,
                () = sleep_until(ends.into()) => anyhow::Ok(()),
            }?;
            let asked = asked.into_inner().ok().flatten();
            Ok(asked.filter(|(_, first): &Asked| first.get().is_none()).map(|(since, _)| ends - since))
        })
    };
    let mut waiting = Vec::new();
    for waits in try_join_all((0..clients).map(client)).await.context("a client failed")? {
        let waits: anyhow::Result<Option<Duration>> = waits;
        waiting.extend(waits?);
    }
    let mut run = stage.finish();
    let (refused, calls): (Vec<_>, Vec<_>) =
        run.calls.into_iter().partition(|call| matches!(call.outcome, Err(Lost::Refused(..))));
    run.calls = calls;
    let ended = |at_ms: f64| (span.counts_from_ms..span.ends_ms).contains(&at_ms);
    run.calls.retain(|call| call.outcome.as_ref().map_or(true, |answer| ended(call.at_ms + answer.e2e_ms)));
    run.window = Some(Window {
        refusals: refused.len(),
        ms: span.ends_ms - span.counts_from_ms,
        waiting_ms: waiting.into_iter().map(|wall| stage.model_ms(wall)).collect(),
    });
    Ok(run)
}

/// When a request was sent, and whether its first token has come.
type Asked = (Instant, Arc<OnceLock<()>>);

/// One session; it ends when a request is lost.
async fn play(
    stage: &Stage,
    agent: &Agent,
    client: usize,
    asked: &std::sync::Mutex<Option<Asked>>,
) -> anyhow::Result<()> {
    let note = |of: Option<Asked>| {
        if let Ok(mut asked) = asked.lock() {
            *asked = of;
        }
    };
    for (number, turn) in agent.turns.iter().enumerate() {
        if number > 0 {
            sleep(stage.wall(turn.think_s * MS_PER_S)).await;
        }
        let first = Arc::new(OnceLock::new());
        let since = Instant::now();
        note(Some((since, Arc::clone(&first))));
        let answer = loop {
            let question = Question::new(Protocol::Completions, body(turn))?.waiting_since(since);
            match stage.ask_noting(client, question, None, &first).await? {
                // As client libraries do.
                Err(Lost::Refused(_, seconds)) => sleep(Duration::from_secs(seconds.into())).await,
                ended => break ended,
            }
        };
        note(None);
        if answer.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn body(turn: &AgentTurn) -> String {
    let body = json!({
        "model": MODEL,
        "prompt": turn.prompt(),
        "max_tokens": turn.answer_tokens,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    body.to_string()
}
