//! The text of tokens against the tokenizers of Hugging Face, which made the tokens.

use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;
use tokenizers::Tokenizer as Reference;
use warmpath::events::tokens::{Before, Tokenizer, TokenizerError, UnknownToken};

/// A byte-level BPE of 2,048 tokens, trained on licences.
const BYTE_LEVEL: &str = include_str!("../../../tests/engine/data/tiny-model/tokenizer.json");
/// Prompts as people and programs write them.
const TEXTS: [&str; 8] = [
    "What does a warm path cost?",
    "fn main() {\n    println!(\"{:?}\", [1, 2, 3]);\n}\n\n\n",
    "Příliš žluťoučký kůň úpěl ďábelské ódy. 中文也要. 🚀🇨🇿 e\u{301}",
    "tabs\tand   many    spaces \u{a0}\u{200b} and \r\n line ends",
    "<0x0A> is no byte here, ▁ is no space",
    "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n",
    "1234567890 3.14159 0x7fff_ffff",
    "x",
];

/// One tokenizer, as we read it and as the reference does.
struct Both {
    ours: Tokenizer,
    reference: Reference,
}

impl Both {
    fn new(json: &Value) -> Self {
        let json = json.to_string();
        Self {
            ours: Tokenizer::read(json.as_bytes()).unwrap(),
            reference: json.parse().expect("a tokenizer"),
        }
    }

    fn tokens(&self, text: &str, is_chat: bool) -> Vec<u32> {
        self.reference.encode(text, !is_chat).expect("tokens").get_ids().to_vec()
    }

    fn text(&self, tokens: &[u32]) -> String {
        let mut text = Vec::new();
        self.ours.tokens.append(tokens, Before::Nothing, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// The text of the tokens of a chat, which gets no prefix.
    fn check_chat(&self, text: &str) {
        assert_eq!(self.text(&self.tokens(text, true)), text, "as a chat");
    }

    /// The same of a prompt that the tokenizer puts a prefix before, too.
    fn check(&self, text: &str) {
        self.check_chat(text);
        let plain = format!("{}{text}", self.ours.prefix);
        assert_eq!(self.text(&self.tokens(text, false)), plain, "as a prompt");
    }
}

fn byte_level() -> Value {
    serde_json::from_str(BYTE_LEVEL).unwrap()
}

/// As Llama 3: cut by a pattern of its own before the bytes are written as characters, with a first token.
fn llama_3() -> Value {
    let mut json = byte_level();
    let pattern = r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]});
    let begin = "<|begin_of_text|>";
    json["added_tokens"].as_array_mut().unwrap().push(json!({
        "id": 2500, "content": begin, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    }));
    json["post_processor"] = json!({"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
        {"type": "TemplateProcessing",
         "single": [{"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
         "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
         "special_tokens": {begin: {"id": begin, "ids": [2500], "tokens": [begin]}}},
    ]});
    json["model"]["ignore_merges"] = json!(true);
    json
}

/// As Llama 2 and Mistral: spaces are `▁`, and bytes that no entry has fall back. `normalizer` and `pre_tokenizer` say where a
/// space is put that the text does not have.
fn sentence_piece(normalizer: &Value, pre_tokenizer: &Value) -> Value {
    let bytes = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>"));
    let words = ["▁w", "ar", "▁war", "m", "th", "▁▁", "pa", "at", "in", "er", "▁t", "he"];
    let letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789.,?!<>|_[]/INST".chars().map(String::from);
    let specials = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let mut vocabulary: Vec<String> = specials.into_iter().chain(bytes).collect();
    for entry in letters.chain(words.map(str::to_owned)) {
        if !vocabulary.contains(&entry) {
            vocabulary.push(entry);
        }
    }
    let ids: serde_json::Map<String, Value> =
        vocabulary.into_iter().enumerate().map(|(id, entry)| (entry, json!(id))).collect();
    let merges = ["▁ w", "a r", "▁w ar", "t h", "▁ ▁", "p a", "a t", "i n", "e r", "▁ t", "h e"];
    let special = |id: u64, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                  "vocab": ids, "merges": merges}
    })
}

/// Llama 2: a normalizer puts a space before every stretch of text.
fn llama_2() -> Value {
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    sentence_piece(&json!({"type": "Sequence", "normalizers": [prepend, replace]}), &Value::Null)
}

/// Mistral: only a prompt's own beginning gets a space.
fn mistral() -> Value {
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    sentence_piece(&Value::Null, &metaspace)
}

static BYTE_LEVEL_BOTH: LazyLock<Both> = LazyLock::new(|| Both::new(&byte_level()));
static LLAMA_3_BOTH: LazyLock<Both> = LazyLock::new(|| Both::new(&llama_3()));
static LLAMA_2_BOTH: LazyLock<Both> = LazyLock::new(|| Both::new(&llama_2()));
static MISTRAL_BOTH: LazyLock<Both> = LazyLock::new(|| Both::new(&mistral()));

#[test]
fn the_text_of_real_prompts_is_that_of_their_tokens() {
    for text in TEXTS {
        BYTE_LEVEL_BOTH.check(text);
        LLAMA_3_BOTH.check(text);
        if !text.contains('▁') {
            LLAMA_2_BOTH.check(text);
            MISTRAL_BOTH.check(text);
        }
    }
}

#[test]
fn a_prompt_has_the_first_token_that_the_tokenizer_gives_it() {
    assert_eq!(BYTE_LEVEL_BOTH.ours.prefix, "");
    assert_eq!(LLAMA_3_BOTH.ours.prefix, "<|begin_of_text|>");
    assert_eq!(LLAMA_2_BOTH.ours.prefix, "<s>");
    assert_eq!(MISTRAL_BOTH.ours.prefix, "<s> ", "the space is in the tokens, and not in the prompt");
}

#[test]
fn a_chat_keeps_the_spaces_that_its_template_writes() {
    MISTRAL_BOTH.check_chat("<s> [INST] a warm path [/INST] there</s> [INST] x [/INST]");
    LLAMA_2_BOTH.check_chat("<s>[INST] a warm path [/INST] there</s>[INST] x [/INST]");
}

#[test]
fn a_block_may_end_in_the_middle_of_a_character() {
    let both = &*BYTE_LEVEL_BOTH;
    let text = "中文🚀";
    let tokens = both.tokens(text, true);
    assert!(tokens.len() > 3, "each is several tokens");
    let (mut bytes, mut before) = (Vec::new(), Before::Nothing);
    for token in tokens {
        before = both.ours.tokens.append(&[token], before, &mut bytes).unwrap();
    }
    assert_eq!(bytes, text.as_bytes());
}

#[test]
fn tokens_of_another_vocabulary_are_unknown() {
    let both = &*LLAMA_3_BOTH;
    let mut text = Vec::new();
    for token in [2400, 2501, u32::MAX] {
        let read = both.ours.tokens.append(&[1, token], Before::Nothing, &mut text);
        assert_eq!(read, Err(UnknownToken(token)));
    }
}

#[test]
fn a_tokenizer_that_changes_text_is_refused() {
    let refused = |at: &str, value: Value| {
        let mut json = byte_level();
        json[at] = value;
        Tokenizer::read(json.to_string().as_bytes()).expect_err("refused").to_string()
    };
    let sequence = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]});
    assert!(refused("normalizer", sequence).contains("normalizer Lowercase changes the text"));
    let model = json!({"type": "WordPiece", "vocab": {"a": 0}});
    assert!(refused("model", model).contains("its model is a WordPiece"));
    let far = json!({"type": "BPE", "vocab": {"a": 1_u64 << 40}});
    assert!(refused("model", far).contains("has token 1099511627776"));
    let entry = json!({"type": "BPE", "vocab": {"a b": 9}});
    assert!(refused("model", entry).contains("entry \"a b\""));
    let mut unmarked = byte_level();
    unmarked["pre_tokenizer"] = Value::Null;
    unmarked["decoder"] = Value::Null;
    let unmarked = Tokenizer::read(unmarked.to_string().as_bytes());
    assert!(matches!(unmarked, Err(TokenizerError::Writing)), "{unmarked:?}");
    assert!(matches!(Tokenizer::read(b"{}"), Err(TokenizerError::NotRead(_))));
}

#[test]
fn a_unigram_is_read_by_its_order() {
    let mut json = mistral();
    json["model"] = json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false,
                           "vocab": [["<unk>", 0.0], ["▁warm", -1.5], ["th", -2.0]]});
    json["added_tokens"] = json!([]);
    let ours = Tokenizer::read(json.to_string().as_bytes()).unwrap();
    let mut text = Vec::new();
    ours.tokens.append(&[1, 2, 1], Before::Nothing, &mut text).unwrap();
    assert_eq!(text, b"warmth warm");
}

proptest! {
    #[test]
    fn any_text_is_that_of_its_tokens(text in "\\PC{1,200}") {
        BYTE_LEVEL_BOTH.check(&text);
        LLAMA_3_BOTH.check(&text);
        // A prompt's own ▁ is read as a space, and one that begins with a space has the tokens of one that does not.
        let plain = text.replace('▁', "").trim_start().to_owned();
        if !plain.is_empty() {
            LLAMA_2_BOTH.check(&plain);
            MISTRAL_BOTH.check(&plain);
        }
    }
}
