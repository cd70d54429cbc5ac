//! Recorded sessions of coding agents: tools and a system prompt that many share, and then one prompt after the other, most often
//! the one before with its response and what a tool returned.
//!
//! The same sessions in the same order as the simulator's, so that both can be compared. The recording has lengths and which
//! blocks repeat; the text is made of that, when it is needed: all of it would be gigabytes.

use super::words;
use anyhow::{Context, bail};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::path::Path;
use warmpath_sim::trace::{self, RecordedSession, RecordedTurn, SESSION_BLOCK_TOKENS, Trace};

/// Requests of a session at most; later ones are left out.
const TURNS_MAX: usize = 40;
/// A session ends before its first prompt that is longer.
const INPUT_TOKENS_MAX: usize = 128_000;
/// A longer pause, such as a person's, is cut to this.
const THINK_S_MAX: f64 = 30.0;

/// Keeps the blocks that sessions share apart from those of their own.
const SHARED: u64 = 1 << 63;
/// Id of the text after the last whole block; no block has it.
const TAIL: u64 = 1 << 62;

/// One session.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Its requests.
    pub turns: Vec<AgentTurn>,
}

/// One request of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentTurn {
    /// Pause before it, in seconds of model time.
    pub think_s: f64,
    /// Length of the response.
    pub answer_tokens: usize,
    /// Seed and tokens of each stretch of the prompt.
    parts: Vec<(u64, usize)>,
}

/// The sessions that come with the simulator, in the order in which they begin.
pub fn agents(seed: u64) -> anyhow::Result<Vec<Agent>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/data/traces/agentic_sessions.jsonl.gz");
    let recorded =
        trace::load(&path, usize::MAX).with_context(|| format!("cannot read {}", path.display()))?;
    let Trace::Sessions(recorded) = recorded else { bail!("{} has no sessions", path.display()) };
    Ok(of(&recorded, seed))
}

fn of(recorded: &[RecordedSession], seed: u64) -> Vec<Agent> {
    let mut numbered: Vec<(u64, &RecordedSession)> = (0..).zip(recorded).collect();
    numbered.shuffle(&mut StdRng::seed_from_u64(seed));
    let agent = |(number, session): (u64, &RecordedSession)| {
        let fits = session.turns.iter().take_while(|turn| turn.input_tokens <= INPUT_TOKENS_MAX);
        Agent { turns: fits.take(TURNS_MAX).map(|turn| turn_of(session, number, turn, seed)).collect() }
    };
    numbered.into_iter().map(agent).filter(|agent| !agent.turns.is_empty()).collect()
}

fn turn_of(session: &RecordedSession, number: u64, turn: &RecordedTurn, seed: u64) -> AgentTurn {
    let shared = SHARED | (u64::from(session.shared.0) << 32) | u64::from(session.shared.1);
    let shared_blocks = session.shared_blocks();
    let block = |id: &u64| {
        let owner = if *id <= shared_blocks { shared } else { number };
        (mix(seed ^ mix(owner) ^ id), SESSION_BLOCK_TOKENS)
    };
    let rest = turn.input_tokens - turn.blocks.len() * SESSION_BLOCK_TOKENS;
    let tail = (mix(seed ^ mix(number) ^ TAIL ^ turn.input_tokens as u64), rest);
    AgentTurn {
        think_s: turn.think_s.min(THINK_S_MAX),
        answer_tokens: turn.output_tokens,
        parts: turn.blocks.iter().map(block).chain([tail]).collect(),
    }
}

/// The parameters in words, for reports.
pub fn describe_agents() -> Vec<(&'static str, String)> {
    vec![
        (
            "sessions",
            "coding agents, recorded; all requests of one have its tools and system prompt".to_owned(),
        ),
        ("requests of a session", format!("at most {TURNS_MAX}")),
        ("prompt tokens at most", INPUT_TOKENS_MAX.to_string()),
        ("think seconds", format!("as recorded, at most {THINK_S_MAX}")),
    ]
}

/// The finalizer of splitmix64: neighbouring numbers become unlike.
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

// === impl AgentTurn ===

impl AgentTurn {
    /// The text of the prompt.
    pub fn prompt(&self) -> String {
        self.parts.iter().map(|(seed, tokens)| words(*seed, *tokens)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(inputs: &[usize]) -> RecordedSession {
        let turn = |input_tokens: &usize| RecordedTurn {
            think_s: 50.0,
            input_tokens: *input_tokens,
            output_tokens: 7,
            blocks: (1..=(*input_tokens / SESSION_BLOCK_TOKENS) as u64).collect(),
        };
        RecordedSession { shared: (64, 64), turns: inputs.iter().map(turn).collect() }
    }

    #[test]
    fn a_prompt_continues_the_one_before_and_shares_only_the_tools_with_other_sessions() {
        let all = of(&[session(&[200, 330]), session(&[200])], 1);
        let of_turns = |count: usize| all.iter().find(|one| one.turns.len() == count).unwrap();
        let [first, second] = &of_turns(2).turns[..] else { panic!("{all:?}") };
        let other = &of_turns(1).turns[0];
        let [first_text, second_text, other_text] = [first, second, other].map(AgentTurn::prompt);
        assert_eq!((first_text.len(), second_text.len()), (800, 1_320));
        assert_eq!(first_text[..768], second_text[..768], "three whole blocks");
        assert_ne!(first_text[768..], second_text[768..800], "then each goes on by itself");
        assert_eq!(first_text[..512], other_text[..512], "tools and system prompt");
        assert_ne!(first_text[512..768], other_text[512..768]);
        assert!((first.think_s - THINK_S_MAX).abs() < f64::EPSILON);
    }

    #[test]
    fn a_session_ends_before_a_prompt_that_is_too_long() {
        let all = of(&[session(&[200, INPUT_TOKENS_MAX + 1, 200]), session(&[INPUT_TOKENS_MAX + 1])], 1);
        assert_eq!(all.iter().map(|one| one.turns.len()).collect::<Vec<_>>(), [1]);
    }
}
