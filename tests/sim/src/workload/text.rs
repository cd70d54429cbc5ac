//! From block ids to what router and engine see: text is made from the ids, cut and hashed by the code of
//! each side, and forgotten.
//!
//! Hashing the ids themselves would be quicker and would skip the very cutting whose errors are to be seen:
//! the router's cells and the engine's blocks are different stretches of the same text.

use super::{Form, Job};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_engine::model::{self, BASE_ADAPTER, TOKEN_BYTES, chain_of_bytes};

/// The model's name in every request.
const MODEL: &str = "sim";

/// Letters of the text: 64, so that six bits make one, none of which JSON escapes.
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// The body around the prompt.
const HEAD: &str = r#"{"model":"sim","prompt":""#;
const TAIL: &str = r#""}"#;

/// Makes jobs from blocks of text.
#[derive(Debug)]
pub struct Texts {
    block_tokens: usize,
    body: Vec<u8>,
}

// === impl Texts ===

impl Texts {
    /// For engines with blocks of `block_tokens` tokens.
    pub fn new(block_tokens: usize) -> Self {
        Self { block_tokens, body: Vec::new() }
    }

    /// The job of a prompt made of `parts`: the seed of each stretch of text, and its tokens.
    pub fn job(&mut self, parts: impl IntoIterator<Item = (u64, usize)>, output_tokens: usize) -> Job {
        self.job_for(BASE_ADAPTER, parts, output_tokens)
    }

    /// The same for an adapter, under which equal text is another prompt to both sides.
    pub fn job_for(
        &mut self,
        adapter: u32,
        parts: impl IntoIterator<Item = (u64, usize)>,
        output_tokens: usize,
    ) -> Job {
        let name = if adapter == BASE_ADAPTER { String::new() } else { format!("adapter-{adapter}") };
        self.body.clear();
        self.body.extend_from_slice(HEAD.as_bytes());
        for (seed, tokens) in parts {
            write(&mut self.body, seed, tokens * TOKEN_BYTES);
        }
        let prompt = &self.body[HEAD.len()..];
        let prompt_tokens = prompt.len() / TOKEN_BYTES;
        let blocks = chain_of_bytes(model::Root::new(MODEL, &name, ""), prompt, self.block_tokens).into();
        self.body.extend_from_slice(TAIL.as_bytes());
        let mut cells = Vec::new();
        let request = Request::parse(Api::Completions, &self.body).expect("the body is the one made above");
        cells_of(&request, Root::new(MODEL, &name, ""), CELL_BYTES_DEFAULT, &mut cells);
        Job {
            cells: cells.into(),
            blocks,
            adapter,
            prompt_tokens,
            output_tokens,
            output_tokens_max: None,
            form: Form::default(),
        }
    }
}

/// Appends the text that belongs to a seed; a shorter one is the beginning of a longer one.
fn write(text: &mut Vec<u8>, seed: u64, bytes: usize) {
    let end = text.len() + bytes;
    let mut state = seed;
    while text.len() < end {
        state = mix(state);
        let letters = state.to_le_bytes().map(|byte| LETTERS[usize::from(byte & 63)]);
        text.extend_from_slice(&letters[..letters.len().min(end - text.len())]);
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_beginnings_are_equal_for_both_sides() {
        let mut texts = Texts::new(64);
        let one = texts.job([(1, 512), (2, 512)], 1);
        let two = texts.job([(1, 512), (3, 200)], 1);
        assert_eq!((one.prompt_tokens, one.blocks.len(), one.cells.len()), (1024, 16, 16));
        assert_eq!((two.prompt_tokens, two.blocks.len(), two.cells.len()), (712, 11, 11));
        assert_eq!((&one.cells[..8], &one.blocks[..8]), (&two.cells[..8], &two.blocks[..8]));
        assert!(one.cells[8] != two.cells[8] && one.blocks[8] != two.blocks[8]);
    }

    #[test]
    fn nothing_is_shared_between_adapters() {
        let mut texts = Texts::new(64);
        let jobs = [BASE_ADAPTER, 1, 2, 1].map(|adapter| texts.job_for(adapter, [(1, 512)], 1));
        let [base, one, two, again] = &jobs;
        for (job, other) in [(base, one), (one, two)] {
            assert!(job.cells[0] != other.cells[0] && job.blocks[0] != other.blocks[0]);
        }
        assert_eq!((&one.cells, &one.blocks, again.adapter), (&again.cells, &again.blocks, 1));
        assert_eq!(base.blocks, texts.job([(1, 512)], 1).blocks);
    }

    #[test]
    fn a_shorter_text_is_the_beginning_of_a_longer_one() {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        write(&mut short, 5, 13);
        write(&mut long, 5, 40);
        assert_eq!((short.len(), long.len()), (13, 40));
        assert_eq!(short, long[..13]);
    }
}
