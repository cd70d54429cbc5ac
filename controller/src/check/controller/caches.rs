//! What engines report of their caches: whether it is followed, understood and right.
//!
//! Nothing is wrong with a pool that does not ask for it.

use super::engines::judge;
use crate::api::{EndpointState, KvState, PoolState, StatePage};
use crate::check::finding::{Check, Findings, Level};

/// The share of blocks with unknown tokens that a right tokenizer does not have: images have such tokens.
const UNKNOWN_SHARE_MAX: u64 = 4;

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
             with, and change the file or the configuration; the controller then tries again",
};

static FEED: Check = Check {
    id: "cache.feed",
    worst: Level::Warning,
    why: "the engine's KV events do not come: what it holds is learned",
    remedy: "start vLLM with --kv-events-config and SGLang with --kv-events-config as docs/cache-knowledge.md shows; without \
             /kv_event_sources set kv_events.source to ports; let the controller reach the ports",
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

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 6] = [&FILES, &TEMPLATE, &MATCH, &FEED, &TRUST, &TOKENS];

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
    let level = if prompt.is_mismatched { Level::Error } else { Level::Ok };
    to.add(
        &MATCH,
        level,
        &subject,
        if prompt.is_mismatched { "it does not" } else { "nothing speaks against it" }.to_owned(),
    );
    let followed: Vec<&EndpointState> =
        pool.endpoints.iter().filter(|endpoint| endpoint.kv.is_some()).collect();
    let is =
        |has: fn(&KvState) -> bool| move |endpoint: &EndpointState| endpoint.kv.as_ref().is_some_and(has);
    judge(&FEED, &subject, &followed, is(|kv| kv.sources.is_empty() || kv.connected < kv.sources.len()), to);
    let connected: Vec<&EndpointState> =
        followed.iter().copied().filter(|endpoint| is(|kv| kv.connected > 0)(endpoint)).collect();
    judge(&TRUST, &subject, &connected, is(|kv| kv.trust != "whole"), to);
    let is_foreign = is(|kv| kv.unknown_tokens > kv.stored / UNKNOWN_SHARE_MAX);
    judge(&TOKENS, &subject, &connected, is_foreign, to);
}
