//! Conversations from a seed.

use super::{ANSWER_TOKENS, FIRST_TOKENS, NEXT_TOKENS, SYSTEM_TOKENS, THINK_S, TURNS, words};
use rand::{
    Rng, SeedableRng,
    rngs::{SmallRng, StdRng},
    seq::SliceRandom,
};
use std::sync::Arc;

/// Keeps the images of one seed apart from those of others; odd, the fraction of the golden ratio.
const IMAGE_SEEDS: u64 = 0x9E37_79B9_7F4A_7C15;

/// A conversation: what the user brings to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// The system prompt, shared by its group.
    pub system: Arc<str>,
    /// The user's side, turn by turn.
    pub turns: Vec<Turn>,
    /// What the data of the image in the first turn follows from; `None`: there is no image.
    pub image_seed: Option<u64>,
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
            all.push(Conversation {
                system: Arc::clone(&system),
                turns: turns(&mut random),
                image_seed: None,
            });
        }
    }
    all.shuffle(&mut random);
    all
}

/// Gives every `every`-th conversation an image of its own; the texts stay as they are.
pub fn with_images(all: &mut [Conversation], seed: u64, every: usize) {
    for (number, conversation) in all.iter_mut().enumerate().step_by(every) {
        conversation.image_seed = Some(seed.wrapping_mul(IMAGE_SEEDS).wrapping_add(number as u64));
    }
}

/// The data URL of an image whose base64 is `bytes` long.
pub fn image(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = SmallRng::seed_from_u64(seed);
    let mut url = String::with_capacity(bytes + 32);
    url.push_str("data:image/jpeg;base64,");
    let mut letters = vec![0_u8; bytes];
    random.fill(letters.as_mut_slice());
    url.extend(
        letters
            .into_iter()
            .filter_map(|byte| LETTERS.get(usize::from(byte % 64)))
            .map(|letter| char::from(*letter)),
    );
    url
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
    fn images_are_added_to_the_same_texts_and_differ() {
        let text = conversations(1, 3, 4);
        let mut all = text.clone();
        with_images(&mut all, 1, 3);
        let seeds: Vec<u64> = all.iter().filter_map(|conversation| conversation.image_seed).collect();
        assert_eq!(seeds.len(), 4);
        assert!(all.iter().zip(&text).all(|(one, other)| one.turns == other.turns));
        let images: Vec<_> = seeds.iter().map(|seed| image(*seed, 400)).collect();
        assert!(images[0].len() > 400 && images[0] != images[1] && images[0] == image(seeds[0], 400));
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
