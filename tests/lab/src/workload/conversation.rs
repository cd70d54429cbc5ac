//! Conversations from a seed.

use super::{ANSWER_TOKENS, FIRST_TOKENS, NEXT_TOKENS, SYSTEM_TOKENS, THINK_S, TURNS, words};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::sync::Arc;

/// A conversation: what the user brings to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// The system prompt, shared by its group.
    pub system: Arc<str>,
    /// The user's side, turn by turn.
    pub turns: Vec<Turn>,
}

/// One turn of the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Pause before it, in seconds of model time.
    pub think_s: f64,
    /// What is said.
    pub text: String,
    /// Length of the answer.
    pub answer_tokens: usize,
}

/// The conversations of all groups, in an order that mixes the groups. The same for the same arguments.
pub fn conversations(seed: u64, groups: usize, per_group: usize) -> Vec<Conversation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = Vec::with_capacity(groups * per_group);
    for _ in 0..groups {
        let tokens = SYSTEM_TOKENS.draw_whole(&mut random);
        let system: Arc<str> = words(random.random(), tokens).into();
        for _ in 0..per_group {
            all.push(Conversation { system: Arc::clone(&system), turns: turns(&mut random) });
        }
    }
    all.shuffle(&mut random);
    all
}

fn turns(random: &mut StdRng) -> Vec<Turn> {
    let count = random.random_range(TURNS.0..=TURNS.1);
    let turn = |number| {
        let length = if number == 0 { FIRST_TOKENS } else { NEXT_TOKENS };
        let tokens = length.draw_whole(random);
        Turn {
            think_s: THINK_S.draw(random),
            text: words(random.random(), tokens),
            answer_tokens: ANSWER_TOKENS.draw_whole(random),
        }
    };
    (0..count).map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let one = conversations(1, 3, 4);
        assert_eq!(one, conversations(1, 3, 4));
        assert_ne!(one, conversations(2, 3, 4));
    }

    #[test]
    fn groups_share_a_system_prompt_and_nothing_else() {
        let all = conversations(1, 3, 4);
        let mut groups = BTreeMap::new();
        for conversation in &all {
            *groups.entry(Arc::clone(&conversation.system)).or_insert(0) += 1;
        }
        assert_eq!(groups.into_values().collect::<Vec<_>>(), [4, 4, 4]);
        let mut texts: Vec<_> = all.iter().flat_map(|one| &one.turns).map(|turn| &turn.text[..16]).collect();
        let count = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), count, "no turn begins like another");
    }
}
