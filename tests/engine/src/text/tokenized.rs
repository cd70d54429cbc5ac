//! A prompt as tokens, and the output behind it.

use super::{filler::Filler, tokens::token_ids, vocabulary::Vocabulary};
use crate::{
    api::Prompt,
    model::{BlockHash, Root, TOKEN_BYTES, chain_of_bytes, chain_of_tokens, tokens_of_bytes},
};
use std::sync::Arc;

/// How an engine cuts text into tokens.
#[derive(Clone, Debug, Default)]
pub enum Cut {
    /// Every four bytes: costs nothing, and the next prompt of a conversation continues the last output within a token.
    #[default]
    FourBytes,
    /// As a model's tokenizer does.
    Model(Arc<Vocabulary>),
}

/// A sequence of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokenized {
    /// The bytes of the text; the last token may be shorter.
    FourBytes(Vec<u8>),
    /// Ids of a vocabulary.
    Ids(Vec<u32>),
}

// === impl Cut ===

impl Cut {
    /// A prompt as tokens.
    pub fn tokens(&self, prompt: Prompt) -> Tokenized {
        match (self, prompt) {
            (Self::FourBytes, prompt) => Tokenized::FourBytes(prompt.into_bytes()),
            (Self::Model(vocabulary), Prompt::Text(text)) => Tokenized::Ids(vocabulary.ids(&text)),
            (Self::Model(_), Prompt::Tokens(ids)) => Tokenized::Ids(ids),
        }
    }

    /// The words of an output.
    pub fn filler(&self, fingerprint: u64, seed: u64) -> Filler {
        let filler = Filler::new(fingerprint, seed);
        match self {
            Self::FourBytes => filler,
            Self::Model(vocabulary) => filler.with_words(vocabulary.words()),
        }
    }
}

// === impl Tokenized ===

impl Tokenized {
    /// How many tokens there are.
    pub fn count(&self) -> usize {
        match self {
            Self::FourBytes(text) => tokens_of_bytes(text.len()),
            Self::Ids(ids) => ids.len(),
        }
    }

    /// The tokens' ids.
    pub fn ids(&self) -> Vec<u32> {
        match self {
            Self::FourBytes(text) => token_ids(text),
            Self::Ids(ids) => ids.clone(),
        }
    }

    /// What an output follows from. A prompt that comes as its tokens, the last one filled with zeros, is the same.
    pub fn fingerprint(&self, root: Root) -> u64 {
        match self {
            Self::FourBytes(text) => {
                let mut whole = text.clone();
                whole.resize(tokens_of_bytes(text.len()) * TOKEN_BYTES, 0);
                root.fingerprint(&whole)
            }
            Self::Ids(ids) => {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                root.fingerprint(&bytes)
            }
        }
    }

    /// Appends the first `tokens` tokens of an output.
    pub fn append(&mut self, output: &Filler, tokens: usize) {
        match self {
            Self::FourBytes(text) => text.extend_from_slice(output.text(0..tokens).as_bytes()),
            Self::Ids(ids) => ids.extend(output.ids(0..tokens)),
        }
    }

    /// The hashes of the full blocks.
    pub fn chain(&self, root: Root, block_tokens: usize) -> Vec<BlockHash> {
        match self {
            Self::FourBytes(text) => chain_of_bytes(root, text, block_tokens),
            Self::Ids(ids) => chain_of_tokens(root, ids, block_tokens),
        }
    }
}
