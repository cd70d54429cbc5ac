//! Text that means nothing and never repeats by chance: three random letters and a space are one token of the
//! simulated engine. Plain ASCII needs no escaping in JSON.

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The text of `tokens` tokens that belongs to a seed; equal seeds give equal beginnings.
pub fn words(seed: u64, tokens: usize) -> String {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut text = String::with_capacity(tokens * 4);
    for _ in 0..tokens {
        let mut bits = random.random::<u32>();
        for _ in 0..3 {
            text.push(char::from(b'a' + (bits % 26) as u8));
            bits /= 26;
        }
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_text_is_the_beginning_of_a_longer_one() {
        let text = words(7, 100);
        assert_eq!(text.len(), 400);
        assert!(text.starts_with(&words(7, 30)));
        assert_ne!(text, words(8, 100));
    }
}
