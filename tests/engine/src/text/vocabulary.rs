//! A model's own tokenizer, read from its folder as vLLM reads it.

use super::{
    filler::Word,
    template::{CHAT_ML, Template},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokenizers::Tokenizer;

/// Fewest words that outputs are made of; with fewer, different outputs would often begin alike.
const WORDS_MIN: usize = 16;

/// Shortest word, with its space. The shortest tokens are pieces of words.
const WORD_BYTES_MIN: usize = 4;

/// Why a model's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `tokenizer.json` is no tokenizer.
    #[error("{path} is no tokenizer: {reason}")]
    Tokenizer {
        /// Which.
        path: PathBuf,
        /// The library's reason.
        reason: String,
    },
    /// The model renders chats otherwise than this engine can.
    #[error("{path} has another chat_template than the one that the engine renders")]
    Template {
        /// Where.
        path: PathBuf,
    },
    /// Too few words are one token.
    #[error("only {found} words are one token each, at least {WORDS_MIN} are needed")]
    Words {
        /// How many are.
        found: usize,
    },
}

/// The tokenizer, and words that it keeps whole.
#[derive(Debug)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    words: Arc<[Word]>,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// Reads `tokenizer.json` and the template in `tokenizer_config.json`.
    pub fn read(folder: &Path) -> Result<Self, VocabularyError> {
        let path = folder.join("tokenizer.json");
        let bytes = read(&path)?;
        let tokenizer = Tokenizer::from_bytes(bytes)
            .map_err(|error| VocabularyError::Tokenizer { path, reason: error.to_string() })?;
        let path = folder.join("tokenizer_config.json");
        let config: Value = serde_json::from_slice(&read(&path)?).unwrap_or_default();
        if config.get("chat_template").and_then(Value::as_str) != Some(CHAT_ML) {
            return Err(VocabularyError::Template { path });
        }
        let words = words(&tokenizer);
        if words.len() < WORDS_MIN {
            return Err(VocabularyError::Words { found: words.len() });
        }
        Ok(Self { tokenizer, words: words.into() })
    }

    /// The tokens of a text, which special tokens that it spells are part of.
    pub fn ids(&self, text: &str) -> Vec<u32> {
        let encoded = self.tokenizer.encode_fast(text, false);
        encoded.map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
    }

    /// The text of tokens.
    pub fn text(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, false).unwrap_or_default()
    }

    /// Words that are one token each, wherever they stand behind another word.
    pub fn words(&self) -> Arc<[Word]> {
        Arc::clone(&self.words)
    }

    /// The template that chats are rendered with.
    pub const TEMPLATE: Template = Template::ChatMl;
}

fn read(path: &Path) -> Result<Vec<u8>, VocabularyError> {
    fs::read(path).map_err(|source| VocabularyError::Read { path: path.to_owned(), source })
}

/// In the order of their ids.
fn words(tokenizer: &Tokenizer) -> Vec<Word> {
    let size = u32::try_from(tokenizer.get_vocab_size(true)).unwrap_or(u32::MAX);
    let is_word = |text: &str| {
        let letters = text.strip_prefix(' ')?;
        let is_plain = text.len() >= WORD_BYTES_MIN && letters.bytes().all(|byte| byte.is_ascii_lowercase());
        is_plain.then_some(())
    };
    let word = |token| {
        let text = tokenizer.decode(&[token], false).ok()?;
        is_word(&text)?;
        let encoded = tokenizer.encode_fast(text.as_str(), false).ok()?;
        (encoded.get_ids() == [token]).then(|| Word { text: text.into(), token })
    };
    (0..size).filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Filler;

    fn tiny() -> Vocabulary {
        Vocabulary::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-model")).unwrap()
    }

    #[test]
    fn generated_words_are_as_many_tokens_when_a_client_sends_them_back() {
        let vocabulary = tiny();
        let filler = Filler::new(7, 0).with_words(vocabulary.words());
        let chat = "<|im_start|>assistant\n";
        let text = format!("{chat}{}<|im_end|>", filler.text(0..50));
        let mut ids = vocabulary.ids(chat);
        ids.extend(filler.ids(0..50));
        assert_eq!(vocabulary.ids(&text)[..ids.len()], ids);
        assert_eq!(vocabulary.text(&vocabulary.ids(&text)), text);
    }

    #[test]
    fn another_template_is_refused() {
        let folder = std::env::temp_dir().join(format!("warmpath-engine-template-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny-model/tokenizer.json");
        fs::copy(tiny, folder.join("tokenizer.json")).unwrap();
        fs::write(folder.join("tokenizer_config.json"), r#"{"chat_template": "{{ messages }}"}"#).unwrap();
        let refused = Vocabulary::read(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(refused, Err(VocabularyError::Template { .. })), "{refused:?}");
    }
}
