//! Sessions of coding agents in a closed loop: a fixed number under way, each request after the answer to the
//! one before.
//!
//! Played by the recorded timestamps instead, a rule that is slow would get the same requests at the same times
//! as one that is fast, which no agent would send; it changes which rule wins.

use super::text::mix;
use super::{Group, Session, Texts, Turn, Workload};
use crate::trace::{RecordedSession, SESSION_BLOCK_TOKENS};
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};

/// Keeps the ids of one session apart from those of all others.
const SESSION_SALT: u64 = 0x5e55_1011;
/// Seed of a session's tail that fills no block.
const TAIL_ID: u64 = u64::MAX;

/// Which sessions, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgenticSpec {
    /// Sessions under way at once.
    pub slots: usize,
    /// The first of them begin within so many seconds, evenly.
    pub ramp_s: f64,
    /// Sessions in all.
    pub sessions: usize,
    /// Requests of a session at most; later ones are left out.
    pub turns_max: usize,
    /// A session ends before its first prompt that is longer.
    pub input_tokens_max: usize,
    /// A longer pause is cut to this, in seconds.
    pub think_s_max: f64,
}

/// Sessions drawn by `seed`, in the order in which they begin.
pub fn agentic(recorded: &[RecordedSession], spec: AgenticSpec, seed: u64, texts: &mut Texts) -> Workload {
    let mut order: Vec<usize> = (0..recorded.len()).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut sessions = Vec::with_capacity(spec.sessions);
    for at in order {
        let turns = turns(&recorded[at], at as u64, spec, seed, texts);
        if !turns.is_empty() {
            sessions.push(Session { group: 0, start_s: 0.0, turns });
        }
        if sessions.len() == spec.sessions {
            break;
        }
    }
    let group = Group { slots: Some(spec.slots), ramp_s: spec.ramp_s, ..Group::default() };
    Workload { groups: vec![group], ..Workload::by_clock(sessions) }
}

fn turns(
    session: &RecordedSession,
    number: u64,
    spec: AgenticSpec,
    seed: u64,
    texts: &mut Texts,
) -> Vec<Turn> {
    let shared = (u64::from(session.shared.0) << 32) | u64::from(session.shared.1);
    let shared_blocks = session.shared_blocks();
    let seed_of = |id: u64| {
        let owner = if id <= shared_blocks { mix(shared) } else { mix(number ^ (SESSION_SALT << 32)) };
        mix(seed ^ mix(owner ^ id))
    };
    let fits = session.turns.iter().take_while(|turn| turn.input_tokens <= spec.input_tokens_max);
    let mut turns: Vec<Turn> = fits
        .take(spec.turns_max)
        .map(|turn| {
            let whole = turn.blocks.iter().map(|id| (seed_of(*id), SESSION_BLOCK_TOKENS));
            let rest = turn.input_tokens - turn.blocks.len() * SESSION_BLOCK_TOKENS;
            let tail = (seed_of(TAIL_ID ^ turn.input_tokens as u64), rest);
            let mut job = texts.job(whole.chain([tail]), turn.output_tokens);
            job.form.program = u32::try_from(number).ok();
            Turn { think_s: turn.think_s.min(spec.think_s_max), job }
        })
        .collect();
    if let Some(last) = turns.last_mut() {
        last.job.form.is_last = true;
    }
    turns
}
