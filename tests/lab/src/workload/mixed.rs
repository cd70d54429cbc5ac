//! Long prompts beside short ones: documents with short answers, and chats with long ones.
//!
//! The traffic for which prefill and decode apart is made: a document holds up the chats that the engine generates for.

use super::{Conversation, Length, Turn, words};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::sync::Arc;

/// Of so many conversations one is a document.
const DOCUMENT_EVERY: usize = 3;
/// Questions about a document, and turns of a chat.
const DOCUMENT_TURNS: usize = 2;
const CHAT_TURNS: usize = 4;
/// Tokens of a document. All lengths here are chosen, not measured: two kinds that are clearly apart.
const DOCUMENT_TOKENS: Length = Length { median: 8_000.0, sigma: 0.5, min: 2_000.0, max: 24_000.0 };
/// Tokens of a question about it, and of its answer.
const QUESTION_TOKENS: Length = Length { median: 40.0, sigma: 0.5, min: 8.0, max: 200.0 };
const SUMMARY_TOKENS: Length = Length { median: 60.0, sigma: 0.4, min: 8.0, max: 200.0 };
/// Tokens of a chat's message, and of its answer.
const CHAT_TOKENS: Length = Length { median: 150.0, sigma: 0.8, min: 16.0, max: 1_500.0 };
const CHAT_ANSWER_TOKENS: Length = Length { median: 220.0, sigma: 0.4, min: 32.0, max: 600.0 };
/// A user's pause before the next turn, in seconds.
const THINK_S: Length = Length { median: 2.0, sigma: 0.5, min: 0.5, max: 8.0 };

/// The conversations, `count` of them, in an order that mixes both kinds. The same for the same arguments.
pub fn mixed(seed: u64, count: usize) -> Vec<Conversation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all: Vec<Conversation> = (0..count)
        .map(|number| {
            let is_document = number % DOCUMENT_EVERY == 0;
            let system = if is_document { "Answer from the document." } else { "Chat." };
            let turns = if is_document { DOCUMENT_TURNS } else { CHAT_TURNS };
            Conversation {
                system: Arc::from(system),
                turns: (0..turns).map(|turn| turn_of(is_document, turn, &mut random)).collect(),
                image_seed: None,
            }
        })
        .collect();
    all.shuffle(&mut random);
    all
}

/// The parameters in words, for reports.
pub fn describe_mixed() -> Vec<(&'static str, String)> {
    let length =
        |length: Length| format!("log-normal, median {}, {} to {}", length.median, length.min, length.max);
    vec![
        ("documents", format!("one of {DOCUMENT_EVERY} conversations, {DOCUMENT_TURNS} questions each")),
        ("turns of a chat", CHAT_TURNS.to_string()),
        ("document tokens", length(DOCUMENT_TOKENS)),
        ("question tokens", length(QUESTION_TOKENS)),
        ("answer tokens about a document", length(SUMMARY_TOKENS)),
        ("chat message tokens", length(CHAT_TOKENS)),
        ("chat answer tokens", length(CHAT_ANSWER_TOKENS)),
        ("think seconds", length(THINK_S)),
    ]
}

fn turn_of(is_document: bool, number: usize, random: &mut StdRng) -> Turn {
    let (said, answer) = match (is_document, number) {
        (true, 0) => (DOCUMENT_TOKENS, SUMMARY_TOKENS),
        (true, _) => (QUESTION_TOKENS, SUMMARY_TOKENS),
        (false, _) => (CHAT_TOKENS, CHAT_ANSWER_TOKENS),
    };
    let tokens = said.draw_whole(random);
    Turn {
        think_s: THINK_S.draw(random),
        text: words(random.random(), tokens),
        answer_tokens: answer.draw_whole(random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_mix() {
        let one = mixed(1, 30);
        assert_eq!(one, mixed(1, 30));
        assert_ne!(one, mixed(2, 30));
        assert_eq!(one.iter().filter(|one| one.turns.len() == DOCUMENT_TURNS).count(), 10);
    }
}
