//! Filler words: the generated text.
//!
//! Each token is one word of three letters and a space, exactly [`TOKEN_BYTES`] bytes, so that `n`
//! output tokens are `n` prompt tokens when a client sends them back. The words follow from a fingerprint of the
//! prompt: equal prompts get equal words from every engine with the same seed. Plain lower-case ASCII needs
//! no escaping in JSON.

use crate::model::TOKEN_BYTES;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const WORDS: [&str; 64] = [
    "act ", "add ", "age ", "air ", "and ", "any ", "ask ", "bag ", "bed ", "big ", "bit ", "box ", "bus ",
    "buy ", "can ", "car ", "cat ", "cow ", "cup ", "cut ", "day ", "dog ", "dry ", "ear ", "eat ", "end ",
    "eye ", "far ", "few ", "fly ", "for ", "fun ", "get ", "hat ", "her ", "him ", "hot ", "ice ", "ink ",
    "job ", "key ", "leg ", "let ", "low ", "map ", "mix ", "net ", "new ", "old ", "one ", "our ", "pen ",
    "put ", "red ", "run ", "sea ", "see ", "sky ", "sun ", "ten ", "top ", "use ", "way ", "you ",
];

/// The words of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filler {
    fingerprint: u64,
}

// === impl Filler ===

impl Filler {
    /// The words that an engine with this seed generates for the prompt with this fingerprint.
    pub fn new(fingerprint: u64, seed: u64) -> Self {
        Self { fingerprint: xxh3_64_with_seed(&fingerprint.to_le_bytes(), seed) }
    }

    /// The text of tokens `range`.
    pub fn text(self, range: std::ops::Range<usize>) -> String {
        let mut text = String::with_capacity(range.len() * TOKEN_BYTES);
        text.extend(range.map(|token| self.word(token)));
        text
    }

    fn word(self, token: usize) -> &'static str {
        let hash = xxh3_64_with_seed(&(token as u64).to_le_bytes(), self.fingerprint);
        WORDS[hash as usize % WORDS.len()]
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
