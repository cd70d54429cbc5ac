//! Reads `tokenizer.json`, the file that Hugging Face's tokenizers are stored in.
//!
//! Read here rather than by the `tokenizers` crate: only the vocabulary counts, and not how text is cut into it, which is most of that
//! crate, of its time to load a large file, and of what it depends on.

use super::vocabulary::Writing;
use super::{Space, TokenText};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;
use thiserror::Error;

/// The largest file that is read, in bytes: the largest known one, of 260,000 tokens, has 35 MB.
pub const TOKENIZER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Tokens of a vocabulary. A larger id than that is a mistake, and would be a large table.
const TOKENS_MAX: usize = 1 << 21;
/// Depth of lists of parts in lists of parts.
const DEPTH_MAX: usize = 8;

/// A tokenizer, as far as it decides about text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    /// The text of its tokens.
    pub tokens: TokenText,
    /// Text that it puts before a prompt that is not a chat, with the space that it puts before the prompt itself.
    pub prefix: String,
    /// Added tokens that take the spaces beside them, which are in no token then. One that chats contain makes their text another
    /// than that of the tokens.
    pub greedy: Vec<String>,
}

/// Why a file is of no use.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// It is no tokenizer.
    #[error("it is not a tokenizer.json of Hugging Face's tokenizers")]
    NotRead(#[source] serde_json::Error),
    /// The kind of model is not supported.
    #[error("its model is a {kind}, supported are BPE and Unigram")]
    Model {
        /// Its name in the file.
        kind: String,
    },
    /// It changes text beyond recognition.
    #[error("its normalizer {kind} changes the text of prompts, so that it cannot be had from tokens")]
    Normalizer {
        /// Its name in the file.
        kind: String,
    },
    /// It writes its vocabulary in an unknown way.
    #[error("its vocabulary is written neither as bytes (ByteLevel) nor as SentencePiece does (Metaspace)")]
    Writing,
    /// An entry is not written as the others.
    #[error("the entry {entry:?} of its vocabulary is not written as bytes")]
    Entry {
        /// The entry.
        entry: String,
    },
    /// An id is too large.
    #[error("its vocabulary has token {id}, and may have {TOKENS_MAX} tokens")]
    Id {
        /// The id.
        id: u64,
    },
}

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Added {
    id: u64,
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Debug, Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    vocab: Vocabulary,
}

/// Entries with their ids: a map of ids, or a list of entries with their scores.
#[derive(Debug)]
struct Vocabulary(Vec<(String, u64)>);

/// The parts of a normalizer, a pre-tokenizer and so on: itself, or those of a sequence.
struct Parts<'a>(Vec<&'a Value>);

// === impl Tokenizer ===

impl Tokenizer {
    /// Reads a file's content.
    pub fn read(json: &[u8]) -> Result<Self, TokenizerError> {
        let raw: Raw = serde_json::from_slice(json).map_err(TokenizerError::NotRead)?;
        let kind = raw.model.kind.as_deref().unwrap_or("BPE");
        if !matches!(kind, "BPE" | "Unigram") {
            return Err(TokenizerError::Model { kind: kind.to_owned() });
        }
        let (writing, space) = (raw.writing()?, raw.space()?);
        let greedy = raw.added_tokens.iter().filter(|added| added.lstrip || added.rstrip);
        let greedy = greedy.map(|added| added.content.clone()).collect();
        let tokens = raw.table(writing, space)?;
        let mut prefix = raw.prefix(&tokens);
        if space == Space::First && !prefix.is_empty() {
            prefix.push(' ');
        }
        Ok(Self { tokens, prefix, greedy })
    }
}

// === impl Raw ===

impl Raw {
    fn writing(&self) -> Result<Writing, TokenizerError> {
        let has = |of: &Option<Value>, kind: &str| Parts::of(of.as_ref()).any(|part| part == kind);
        if has(&self.pre_tokenizer, "ByteLevel") || has(&self.decoder, "ByteLevel") {
            return Ok(Writing::ByteLevel);
        }
        let replaces = |of: &Option<Value>| {
            Parts::of(of.as_ref()).0.iter().any(|part| {
                let mut texts = ["/content", "/pattern/String"].iter().filter_map(|at| part.pointer(at));
                texts.any(|text| text.as_str() == Some("▁"))
            })
        };
        let is_spaced = [&self.pre_tokenizer, &self.decoder].into_iter().any(|of| has(of, "Metaspace"))
            || [&self.normalizer, &self.decoder].into_iter().any(replaces);
        let has_bytes = self.model.byte_fallback;
        if is_spaced { Ok(Writing::SentencePiece { has_bytes }) } else { Err(TokenizerError::Writing) }
    }

    fn space(&self) -> Result<Space, TokenizerError> {
        let mut space = Space::Never;
        for part in Parts::of(self.normalizer.as_ref()).0 {
            let kind = kind_of(part);
            space = space.and(match kind {
                "Prepend" => Space::Each,
                // Prompts are rarely written otherwise than NFC has them.
                "NFC" => Space::Never,
                "Replace" if part.pointer("/pattern/String").and_then(Value::as_str) == Some(" ") => {
                    Space::Never
                }
                _ => return Err(TokenizerError::Normalizer { kind: kind.to_owned() }),
            });
        }
        for part in Parts::of(self.pre_tokenizer.as_ref()).0 {
            let prepends = part.get("add_prefix_space").and_then(Value::as_bool);
            let scheme = part.get("prepend_scheme").and_then(Value::as_str);
            space = space.and(match (kind_of(part), scheme, prepends) {
                ("Metaspace", Some("never"), _) => Space::Never,
                ("Metaspace", Some("first"), _) => Space::First,
                ("Metaspace", _, None | Some(true)) | ("ByteLevel", _, Some(true)) => Space::Each,
                _ => Space::Never,
            });
        }
        Ok(space)
    }

    fn table(&self, writing: Writing, space: Space) -> Result<TokenText, TokenizerError> {
        let mut texts: Vec<Option<(Vec<u8>, bool)>> = Vec::new();
        let mut put = |id: u64, text: Vec<u8>, is_added: bool| {
            let at = usize::try_from(id).ok().filter(|at| *at < TOKENS_MAX);
            let at = at.ok_or(TokenizerError::Id { id })?;
            if texts.len() <= at {
                texts.resize(at + 1, None);
            }
            if let Some(place) = texts.get_mut(at) {
                *place = Some((text, is_added));
            }
            Ok(())
        };
        let is_added = |id: u64| self.added_tokens.iter().any(|added| added.id == id);
        for (entry, id) in &self.model.vocab.0 {
            match writing.read(entry) {
                Some(text) => put(*id, text, false)?,
                // Special tokens are in the vocabulary of some models as they are.
                None if is_added(*id) => {}
                None => return Err(TokenizerError::Entry { entry: entry.clone() }),
            }
        }
        for added in &self.added_tokens {
            put(added.id, added.content.clone().into_bytes(), true)?;
        }
        let mut table = TokenText::new(space);
        for text in &texts {
            let (text, is_added) = text.as_ref().map_or((None, false), |(text, is)| (Some(&**text), *is));
            table.push(text, is_added);
        }
        Ok(table)
    }

    /// The text of what the post-processor puts before a single prompt.
    fn prefix(&self, tokens: &TokenText) -> String {
        let mut prefix = String::new();
        for part in Parts::of(self.post_processor.as_ref()).0 {
            match kind_of(part) {
                "TemplateProcessing" => {
                    let items = part.get("single").and_then(Value::as_array);
                    let specials = items.into_iter().flatten().map_while(|item| item.get("SpecialToken"));
                    for id in specials.filter_map(|special| special.get("id")).filter_map(Value::as_str) {
                        let ids =
                            part.get("special_tokens").and_then(|of| of.get(id)?.get("ids")?.as_array());
                        for token in ids.into_iter().flatten().filter_map(Value::as_u64) {
                            let text = u32::try_from(token).ok().and_then(|token| tokens.of(token));
                            prefix.push_str(&String::from_utf8_lossy(text.unwrap_or_default()));
                        }
                    }
                }
                "BertProcessing" | "RobertaProcessing" => {
                    prefix.push_str(part.pointer("/cls/0").and_then(Value::as_str).unwrap_or_default());
                }
                _ => {}
            }
        }
        prefix
    }
}

// === impl Vocabulary ===

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map of ids or a list of entries")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocabulary(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut entries = Vec::new();
                while let Some((entry, IgnoredAny)) = list.next_element::<(String, IgnoredAny)>()? {
                    let id = u64::try_from(entries.len()).map_err(A::Error::custom)?;
                    entries.push((entry, id));
                }
                Ok(Vocabulary(entries))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn of(value: Option<&'a Value>) -> Self {
        let mut parts = Vec::new();
        collect(value, DEPTH_MAX, &mut parts);
        Self(parts)
    }

    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|part| is(kind_of(part)))
    }
}

fn collect<'a>(value: Option<&'a Value>, depth: usize, into: &mut Vec<&'a Value>) {
    let Some(value) = value.filter(|value| value.is_object()) else { return };
    let lists = ["normalizers", "pretokenizers", "processors", "decoders"];
    let list = lists.iter().find_map(|name| value.get(name)?.as_array());
    match list {
        Some(list) if depth > 0 => list.iter().for_each(|part| collect(Some(part), depth - 1, into)),
        _ => into.push(value),
    }
}

fn kind_of(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}
