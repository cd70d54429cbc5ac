//! What engines report of their caches: whether it is followed, understood and right.
//!
//! Nothing is wrong with a pool that does not ask for it.

use super::engines::{describe, judge, judge_each};
use crate::api::{EndpointState, KvState, PoolState, StatePage};
use crate::check::finding::{Check, Findings, Level};

/// The share of blocks with unknown tokens that a right tokenizer does not have: images have such tokens.
const UNKNOWN_SHARE_MAX: u64 = 4;

/// Blocks of which a right tokenizer makes at least one cell, whatever the prompts are.
const WITHOUT_CELLS_MAX: usize = 64;

static FILES: Check = Check {
    id: "cache.files",
    worst: Level::Error,
    why: "the files of the pool's tokenizer cannot be used: what its engines report is no text, and what they hold is learned",
    remedy: "let prompt.tokenizer name the directory of the model that the engines load, and mount it in every replica of the \
             controller",
};

static TEMPLATE: Check = Check {
    id: "cache.template",
    worst: Level::Warning,
    why: "some prompts of the pool are not written as its engines do; what engines hold of these is learned",
    remedy: "name the engines' own chat template in prompt.chat_template; docs/cache-knowledge.md says which ones cannot be used",
};

static MATCH: Check = Check {
    id: "cache.match",
    worst: Level::Error,
    why: "engines find prompts in their caches that their reports do not show: tokenizer or template are not those of the \
          engines, so the pool is routed by what is learned",
    remedy: "compare prompt.tokenizer, chat_template, template_arguments and content_format with what the engines were started \
             with, and change the file or the configuration; the controller tries again then, and by itself after a while",
};

static FEED: Check = Check {
    id: "cache.feed",
    worst: Level::Warning,
    why: "the engine's KV events do not come: what it holds is learned",
    remedy: "start the engine with --kv-events-config as docs/cache-knowledge.md shows; where it lists no sockets at \
             /kv_event_sources, set kv_events.source to ports; compare ports and topic, and let the controller reach the ports",
};

static TRUST: Check = Check {
    id: "cache.trust",
    worst: Level::Warning,
    why: "some of the engine's KV events are missing: what it holds is learned until they have come, or known in part",
    remedy: "if it stays so, set the engine's replay_endpoint and kv_events.replay_port, and its buffer_steps and hwm to more; \
             a part becomes the whole when the engine's cache has filled up or is cleared",
};

static TOKENS: Check = Check {
    id: "cache.tokens",
    worst: Level::Error,
    why: "the engine's tokens are not in the pool's tokenizer, which is another model's",
    remedy: "let prompt.tokenizer name the directory of the model that the engines load",
};

static USAGE: Check = Check {
    id: "cache.usage",
    worst: Level::Warning,
    why: "the engine's responses do not say how much of a prompt was cached, so nobody notices if tokenizer or template are not \
          the engine's",
    remedy: "start vLLM with --enable-prompt-tokens-details, and SGLang with --enable-cache-report",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 7] = [&FILES, &TEMPLATE, &MATCH, &FEED, &TRUST, &TOKENS, &USAGE];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    for pool in &state.pools {
        check_pool(pool, to);
    }
}

fn check_pool(pool: &PoolState, to: &mut Findings) {
    let Some(prompt) = &pool.prompt else { return };
    let subject = format!("pool {}", pool.name);
    let files = prompt.fault.as_ref().map_or((Level::Ok, &prompt.tokenizer), |fault| (Level::Error, fault));
    to.add(&FILES, files.0, &subject, files.1.clone());
    let is_whole = prompt.notes.is_empty();
    let level = if is_whole { Level::Ok } else { Level::Warning };
    to.add(&TEMPLATE, level, &subject, if is_whole { "all are".to_owned() } else { prompt.notes.join("; ") });
    let mismatch = prompt.mismatch.as_ref().map(|seen| (Level::Error, seen.clone()));
    let (level, seen) = mismatch.unwrap_or_else(|| (Level::Ok, "nothing speaks against it".to_owned()));
    to.add(&MATCH, level, &subject, seen);
    let followed: Vec<&EndpointState> =
        pool.endpoints.iter().filter(|endpoint| endpoint.kv.is_some()).collect();
    let with = |fault: fn(&KvState) -> Option<String>| {
        move |endpoint: &EndpointState| {
            let fault = fault(endpoint.kv.as_ref()?)?;
            Some(format!("{} ({fault})", describe(endpoint)))
        }
    };
    judge_each(&FEED, &subject, &followed, with(not_coming), to);
    let connected: Vec<&EndpointState> =
        followed.into_iter().filter(|endpoint| with(not_coming)(endpoint).is_none()).collect();
    judge_each(&TRUST, &subject, &connected, with(|kv| (kv.trust != "whole").then(|| kv.trust.clone())), to);
    judge_each(&TOKENS, &subject, &connected, with(foreign), to);
    let asked: Vec<&EndpointState> =
        pool.endpoints.iter().filter(|endpoint| endpoint.says_cached.is_some()).collect();
    judge(&USAGE, &subject, &asked, |endpoint| endpoint.says_cached == Some(false), to);
}

/// Why an engine's events do not come, if they do not.
fn not_coming(kv: &KvState) -> Option<String> {
    if kv.sources.is_empty() {
        return Some("it lists no sockets".to_owned());
    }
    if kv.connected == kv.sources.len() && kv.problem.is_none() {
        return None;
    }
    let topic = kv.topic.as_ref().map(|topic| format!("it publishes under another topic, {topic:?}"));
    let why = match kv.problem.as_deref() {
        None => "no connection yet",
        Some("connection") => "it refuses the connection, or ends it",
        Some("silent") => "no sign of life",
        Some("topic") => topic.as_deref().unwrap_or("it publishes under another topic"),
        Some("no_events") => "it works, and publishes nothing",
        Some("protocol" | "socket") => "no socket that publishes is there",
        Some("mechanism") => "it wants encryption or credentials",
        Some(other) => other,
    };
    let at: Vec<&str> = kv.sources.iter().map(String::as_str).filter(|at| !at.is_empty()).collect();
    Some(if at.is_empty() { why.to_owned() } else { format!("{}: {why}", at.join(", ")) })
}

/// How many of an engine's blocks have tokens that the tokenizer does not know, if these are too many. What stands behind such a
/// block in a prompt is not counted, so a prompt that begins with one makes no cell at all.
fn foreign(kv: &KvState) -> Option<String> {
    let is_void = kv.unknown_tokens > 0 && kv.cells == 0 && kv.blocks >= WITHOUT_CELLS_MAX;
    let is_foreign = is_void || kv.unknown_tokens > kv.stored / UNKNOWN_SHARE_MAX;
    is_foreign.then(|| format!("blocks {}, unknown {}, cells {}", kv.stored, kv.unknown_tokens, kv.cells))
}
