//! The text of a recorded prompt.

use crate::workload::words;
use warmpath_sim::trace::{BLOCK_TOKENS, Recorded};

/// Bytes of a token of the simulated engine.
const TOKEN_BYTES: usize = warmpath_engine::model::TOKEN_BYTES;

/// The prompt of a request, made when it is needed: a whole trace would be hundreds of megabytes.
pub fn prompt(request: &Recorded, seed: u64) -> String {
    let mut text = String::with_capacity(request.input_tokens * TOKEN_BYTES);
    for (number, id) in request.blocks.iter().enumerate() {
        let tokens = (request.input_tokens - number * BLOCK_TOKENS).min(BLOCK_TOKENS);
        text.push_str(&words(block_seed(seed, *id), tokens));
    }
    text
}

/// Every id of every seed gets words of its own; the factor is the golden ratio of 64 bits.
fn block_seed(seed: u64, id: u64) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(input_tokens: usize, blocks: &[u64]) -> Recorded {
        Recorded { at_ms: 0.0, input_tokens, output_tokens: 1, blocks: blocks.to_vec() }
    }

    #[test]
    fn equal_ids_are_equal_bytes_and_the_last_block_is_cut() {
        let one = prompt(&recorded(1_100, &[1, 2, 3]), 0);
        let two = prompt(&recorded(1_024, &[1, 4]), 0);
        assert_eq!((one.len(), two.len()), (4_400, 4_096));
        assert_eq!(one[..2_048], two[..2_048]);
        assert_ne!(one[2_048..2_064], two[2_048..2_064]);
        assert_ne!(one, prompt(&recorded(1_100, &[1, 2, 3]), 1));
    }
}
