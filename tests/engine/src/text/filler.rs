//! Filler words: the generated text.
//!
//! Each token is one word of three letters and a space, exactly [`TOKEN_BYTES`] bytes, so that `n`
//! output tokens are `n` prompt tokens when a client sends them back. The words follow from a fingerprint of the
//! prompt: equal prompts get equal words from every engine with the same seed. Plain lower-case ASCII needs
//! no escaping in JSON.
//!
//! An engine with a real tokenizer generates words of its vocabulary instead, each again one token.

use crate::model::TOKEN_BYTES;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const WORDS: [&str; 64] = [
    "act ", "add ", "age ", "air ", "and ", "any ", "ask ", "bag ", "bed ", "big ", "bit ", "box ", "bus ",
    "buy ", "can ", "car ", "cat ", "cow ", "cup ", "cut ", "day ", "dog ", "dry ", "ear ", "eat ", "end ",
    "eye ", "far ", "few ", "fly ", "for ", "fun ", "get ", "hat ", "her ", "him ", "hot ", "ice ", "ink ",
    "job ", "key ", "leg ", "let ", "low ", "map ", "mix ", "net ", "new ", "old ", "one ", "our ", "pen ",
    "put ", "red ", "run ", "sea ", "see ", "sky ", "sun ", "ten ", "top ", "use ", "way ", "you ",
];

/// A word of a real tokenizer's vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Lower-case letters after a space.
    pub text: Box<str>,
    /// Its only token.
    pub token: u32,
}

/// The words of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filler {
    fingerprint: u64,
    /// The vocabulary's words; `None`: those of four bytes.
    words: Option<Arc<[Word]>>,
}

// === impl Filler ===

impl Filler {
    /// The words that an engine with this seed generates for the prompt with this fingerprint.
    pub fn new(fingerprint: u64, seed: u64) -> Self {
        Self { fingerprint: xxh3_64_with_seed(&fingerprint.to_le_bytes(), seed), words: None }
    }

    /// The same from a vocabulary, which has at least one word.
    #[must_use]
    pub fn with_words(self, words: Arc<[Word]>) -> Self {
        Self { words: Some(words), ..self }
    }

    /// The text of tokens `range`.
    pub fn text(&self, range: std::ops::Range<usize>) -> String {
        let mut text = String::with_capacity(range.len() * TOKEN_BYTES);
        text.extend(range.map(|token| match &self.words {
            None => WORDS[self.pick(token, WORDS.len())],
            Some(words) => &words[self.pick(token, words.len())].text,
        }));
        text
    }

    /// The ids of tokens `range`, of a vocabulary.
    pub fn ids(&self, range: std::ops::Range<usize>) -> Vec<u32> {
        let Some(words) = &self.words else { return Vec::new() };
        range.map(|token| words[self.pick(token, words.len())].token).collect()
    }

    fn pick(&self, token: usize, of: usize) -> usize {
        xxh3_64_with_seed(&(token as u64).to_le_bytes(), self.fingerprint) as usize % of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_token() {
        assert!(WORDS.iter().all(|word| word.len() == TOKEN_BYTES && word.is_ascii()));
    }

    #[test]
    fn pieces_join_to_the_whole() {
        let filler = Filler::new(7, 0);
        assert_eq!(filler.text(0..3) + &filler.text(3..9), filler.text(0..9));
        assert_ne!(filler.text(0..9), Filler::new(8, 0).text(0..9));
        assert_ne!(filler.text(0..9), Filler::new(7, 1).text(0..9));
    }
}
