//! The conversations of the demo: several turns each, in groups that share a system prompt.
//!
//! Made from a seed and nothing else, so that every arm plays the same. The distributions follow published traces
//! (constants below), with shorter answers, so that a run takes a minute and not an hour. The answers are not
//! part of it: they are what the engine really said, appended turn by turn.

mod agents;
mod conversation;
mod mixed;
mod sample;
mod words;

pub use agents::{Agent, AgentTurn, agents, describe_agents};
pub use conversation::{Conversation, Turn, conversations, image, with_images};
pub use mixed::{describe_mixed, mixed};
pub use words::words;

/// System prompts. Chosen, not measured: published traces lie on both sides. All of Mooncake's conversation trace
/// begins with the same block; the Claude Code sessions of callanjfox/kv-cache-tester have 343 in 710 sessions.
pub const GROUPS: usize = 24;

/// Conversations with each system prompt.
pub const CONVERSATIONS_PER_GROUP: usize = 14;

/// With images, every so many-th conversation has one.
pub const IMAGE_EVERY: usize = 3;

/// Length of an image's base64: a photograph of 600 kB.
pub const IMAGE_BYTES: usize = 800_000;

/// Fewest and most turns of a conversation.
const TURNS: (usize, usize) = (3, 7);

/// System prompts in tokens. The toolagent trace of Mooncake (FAST'25) begins with 12 or 5 shared blocks of 512
/// tokens, its conversation trace with one: in between.
const SYSTEM_TOKENS: Length = Length { median: 3_000.0, sigma: 0.5, min: 512.0, max: 8_192.0 };

/// What a user brings along at first, in tokens: questions with documents. With the system prompt and the turns
/// before, prompts have a median of 6.4k and a 90th percentile of 13.7k tokens (seed 1); Mooncake's conversation
/// trace has 6.9k and 27.4k.
const FIRST_TOKENS: Length = Length { median: 1_800.0, sigma: SIGMA_INPUT, min: 32.0, max: 24_000.0 };

/// What a user says later, in tokens.
const NEXT_TOKENS: Length = Length { median: 250.0, sigma: SIGMA_INPUT, min: 16.0, max: 8_000.0 };

/// Answers in tokens: a quarter of the median of Mooncake's conversation trace, 350.
const ANSWER_TOKENS: Length = Length { median: 88.0, sigma: 0.42, min: 8.0, max: 500.0 };

/// A user's pause before the next turn, in seconds: a third of the median of the Claude Code sessions, 10 s.
const THINK_S: Length = Length { median: 3.0, sigma: 0.6, min: 0.5, max: 20.0 };

/// Spread of input lengths on a logarithmic scale: ln(27.4k / 6.9k) / 1.28, from the 90th percentile and the
/// median of Mooncake's conversation trace. The answers' follows from 597 and 350 in the same way.
const SIGMA_INPUT: f64 = 1.08;

/// A log-normal distribution, cut off at both ends.
#[derive(Clone, Copy, Debug)]
struct Length {
    median: f64,
    sigma: f64,
    min: f64,
    max: f64,
}

/// The parameters in words, for reports.
pub fn describe() -> Vec<(&'static str, String)> {
    let length = |length: Length| {
        format!(
            "log-normal, median {}, sigma {}, {} to {}",
            length.median, length.sigma, length.min, length.max
        )
    };
    vec![
        ("turns of a conversation", format!("{} to {}", TURNS.0, TURNS.1)),
        ("system prompt tokens", length(SYSTEM_TOKENS)),
        ("first message tokens", length(FIRST_TOKENS)),
        ("later message tokens", length(NEXT_TOKENS)),
        ("answer tokens", length(ANSWER_TOKENS)),
        ("think seconds", length(THINK_S)),
    ]
}
