//! What a model's files say of prompts: the text of its tokens, and how engines write a request as text.
//!
//! ```text
//!   tokenizer.json ────────────────────┐
//!   tokenizer_config.json, config.json ┼─► Written ─► tokens, for blocks
//!   chat_template.jinja ───────────────┘       └────► PromptFormat, for proxies
//! ```
//!
//! The files are those that the engines load, by the rules of Hugging Face's `transformers` and of vLLM.

use super::tokens::{TOKENIZER_BYTES_MAX, TokenText, Tokenizer, TokenizerError};
use serde_json::{Map, Value};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;
use warmpath_config::Prompt;
use warmpath_config::prompt::ContentFormat;
use warmpath_core::ids::FormatId;
use warmpath_core::wire::{ChatProgram, PromptFormat};
use warmpath_jinja::{Source, Template, reduce};
use xxhash_rust::xxh3::xxh3_64;

/// The largest of the small files, in bytes: templates with all their tools have some 20 KB, configurations with each added token of a
/// large vocabulary some hundred.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Special tokens that are passed on.
const SPECIAL_TOKENS_MAX: usize = 64;
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const MODEL_CONFIG: &str = "config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// Mistral's own tokenizer. Where it is, vLLM takes it, and with it Mistral's own code for chats.
const MISTRAL_TOKENIZER: &str = "tekken.json";
/// All of them, for changes.
const FILES: [&str; 6] =
    [TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, MODEL_CONFIG, CHAT_TEMPLATE, MISTRAL_TOKENIZER];
/// Models whose chats vLLM writes with code of its own instead of their template, by `model_type`.
const CODED_TYPE: &str = "gpt_oss";
/// And by `architectures`.
const CODED_ARCHITECTURES: [&str; 7] = [
    "DeepseekV32ForCausalLM",
    "DeepseekV41ForCausalLM",
    "DeepseekV4ForCausalLM",
    "DeepseekV4ForConditionalGeneration",
    "InklingForCausalLM",
    "InklingForConditionalGeneration",
    "KimiK3ForConditionalGeneration",
];

/// How a model's prompts are written.
#[derive(Clone, Debug)]
pub struct Written {
    /// As proxies receive it.
    pub format: PromptFormat,
    /// The chat template; empty if there is none.
    pub template: String,
    /// The special tokens by their names in templates.
    pub special_tokens: Vec<(String, String)>,
    /// Its name.
    pub id: FormatId,
    /// The text of its tokens.
    pub tokens: TokenText,
    /// Another one for other files.
    pub revision: u64,
    /// What does not work with it.
    pub notes: Vec<Note>,
}

/// What does not work with a model, in words for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It has no chat template.
    NoTemplate,
    /// Its engines write chats with code of their own.
    Coded,
    /// Its template is not understood.
    Unreduced,
    /// Some of its tokens take the spaces beside them.
    Greedy,
}

/// Files that cannot be used.
#[derive(Debug, Error)]
pub enum FormatError {
    /// A file cannot be read.
    #[error("cannot read {path}: mount the model's tokenizer there")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is too large.
    #[error("{path} has more than {max} bytes: it is another file")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that are read.
        max: u64,
    },
    /// The tokenizer is of no use.
    #[error("{path} cannot be used: take the file of the model that the engines serve")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TokenizerError,
    },
    /// A file is no JSON object.
    #[error("{path} is not a JSON object")]
    NoObject {
        /// The file.
        path: PathBuf,
    },
    /// The template is no text.
    #[error("{path} is not UTF-8")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
}

/// When files were changed, and their sizes: a large tokenizer is not read to see whether it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64)>>);

// === impl Written ===

impl Written {
    /// Reads the files.
    pub fn read(prompt: &Prompt) -> Result<Self, FormatError> {
        let (tokenizer_path, directory) = places(prompt);
        let json = required(&tokenizer_path, TOKENIZER_BYTES_MAX)?;
        let tokenizer = Tokenizer::read(&json)
            .map_err(|source| FormatError::Tokenizer { path: tokenizer_path.clone(), source })?;
        let digest = xxh3_64(&json);
        drop(json);
        let config = object(&directory.join(TOKENIZER_CONFIG))?;
        let specials = object(&directory.join(SPECIAL_TOKENS))?;
        let mut special_tokens = special_tokens(&config);
        for token in self::special_tokens(&specials) {
            if special_tokens.iter().all(|(known, _)| *known != token.0) {
                special_tokens.push(token);
            }
        }
        special_tokens.truncate(SPECIAL_TOKENS_MAX);
        let mut notes = Vec::new();
        let template = template(prompt, &directory, &config, &mut notes)?;
        if !tokenizer.greedy.is_empty() {
            notes.push(Note::Greedy);
        }
        let text_prefix = prefix(&tokenizer, &config, &special_tokens);
        let chat = program(prompt, &template, &special_tokens, &mut notes);
        let format = PromptFormat { text_prefix, chat };
        let id = FormatId::of(&format);
        let revision = digest ^ id.0;
        Ok(Self { id, format, template, special_tokens, tokens: tokenizer.tokens, revision, notes })
    }
}

// === impl Note ===

impl Note {
    /// What it means, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoTemplate => {
                "no chat template was found: chats are routed by what was learned (set prompt.chat_template)"
            }
            Self::Coded => {
                "the engines write this model's chats without a template: chats are routed by what was learned (if yours use one, set prompt.chat_template)"
            }
            Self::Unreduced => {
                "the chat template is not understood: chats are routed by what was learned (check that it is the engines' own)"
            }
            Self::Greedy => {
                "some of the tokenizer's special tokens take the spaces beside them: prompts with such spaces are not found"
            }
        }
    }
}

// === impl Stamp ===

impl Stamp {
    /// Of the files as they are now.
    pub fn of(prompt: &Prompt) -> Self {
        let (tokenizer, directory) = places(prompt);
        let template = prompt.chat_template.as_ref().map(PathBuf::from);
        let files = FILES.iter().map(|name| directory.join(name)).chain([tokenizer]).chain(template);
        let stamp = |path: PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len()))
        };
        Self(files.map(stamp).collect())
    }
}

/// Lets the volume bring the tokenizer, by far the largest of the files, and keeps nothing of it. What fails here fails again when it is
/// read.
pub(super) fn fetch(prompt: &Prompt) {
    if let Ok(file) = std::fs::File::open(places(prompt).0) {
        let _ = io::copy(&mut file.take(TOKENIZER_BYTES_MAX), &mut io::sink());
    }
}

/// The tokenizer, and the directory of the others.
fn places(prompt: &Prompt) -> (PathBuf, PathBuf) {
    let path = PathBuf::from(&prompt.tokenizer);
    if path.is_dir() {
        return (path.join(TOKENIZER), path);
    }
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    (path, directory)
}

fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, FormatError> {
    let unreadable = |source| FormatError::Unreadable { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut content = Vec::new();
    let read = file.take(max + 1).read_to_end(&mut content).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > max) {
        return Err(FormatError::TooLarge { path: path.to_owned(), max });
    }
    Ok(Some(content))
}

fn required(path: &Path, max: u64) -> Result<Vec<u8>, FormatError> {
    let missing =
        || FormatError::Unreadable { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    read(path, max)?.ok_or_else(missing)
}

/// A JSON object; an empty one where there is no file.
fn object(path: &Path) -> Result<Map<String, Value>, FormatError> {
    let Some(content) = read(path, FILE_BYTES_MAX)? else { return Ok(Map::new()) };
    serde_json::from_slice(&content).map_err(|_| FormatError::NoObject { path: path.to_owned() })
}

/// Those that are named, as templates name them.
fn special_tokens(config: &Map<String, Value>) -> Vec<(String, String)> {
    let named = config.iter().filter(|(name, _)| name.ends_with("_token"));
    let tokens = named.filter_map(|(name, value)| {
        let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
        Some((name.clone(), text.to_owned()))
    });
    tokens.collect()
}

/// Whether engines write this model's chats with code of their own, by the rules of vLLM 0.32.
fn is_coded(model: &Map<String, Value>) -> bool {
    let architectures = model.get("architectures").and_then(Value::as_array);
    let mut architectures = architectures.into_iter().flatten().filter_map(Value::as_str);
    model.get("model_type").and_then(Value::as_str) == Some(CODED_TYPE)
        || architectures.any(|name| CODED_ARCHITECTURES.contains(&name))
}

fn template(
    prompt: &Prompt,
    directory: &Path,
    config: &Map<String, Value>,
    notes: &mut Vec<Note>,
) -> Result<String, FormatError> {
    let text = |path: &Path, content: Vec<u8>| {
        String::from_utf8(content).map_err(|_| FormatError::NotUtf8 { path: path.to_owned() })
    };
    if let Some(path) = prompt.chat_template.as_ref().map(PathBuf::from) {
        return text(&path, required(&path, FILE_BYTES_MAX)?);
    }
    if directory.join(MISTRAL_TOKENIZER).exists() || is_coded(&object(&directory.join(MODEL_CONFIG))?) {
        notes.push(Note::Coded);
        return Ok(String::new());
    }
    let path = directory.join(CHAT_TEMPLATE);
    if let Some(content) = read(&path, FILE_BYTES_MAX)? {
        return text(&path, content);
    }
    // Of several ones, engines take the default, unless a request says otherwise.
    let named = |list: &Vec<Value>| {
        let default = list.iter().find(|one| one.get("name").and_then(Value::as_str) == Some("default"))?;
        default.get("template")?.as_str().map(str::to_owned)
    };
    let template = config.get("chat_template").and_then(|template| match template {
        Value::String(template) => Some(template.clone()),
        Value::Array(list) => named(list),
        _ => None,
    });
    if template.is_none() {
        notes.push(Note::NoTemplate);
    }
    Ok(template.unwrap_or_default())
}

/// What the template is reduced to; none without one, and where nothing of it can be.
fn program(
    prompt: &Prompt,
    template: &str,
    special_tokens: &[(String, String)],
    notes: &mut Vec<Note>,
) -> Option<ChatProgram> {
    if template.is_empty() {
        return None;
    }
    let special_tokens: Vec<(&str, &str)> =
        special_tokens.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let content_format = match prompt.content_format {
        ContentFormat::Auto => None,
        ContentFormat::String => Some(warmpath_jinja::ContentFormat::Text),
        ContentFormat::Parts => Some(warmpath_jinja::ContentFormat::Parts),
    };
    let source = Source {
        template,
        special_tokens: &special_tokens,
        arguments: &prompt.template_arguments,
        content_format,
    };
    let program = Template::compile(&source).ok().and_then(|template| reduce(&template));
    if program.is_none() {
        notes.push(Note::Unreduced);
    }
    program.as_ref().map(ChatProgram::of)
}

/// What the tokenizer puts before a prompt. Llama's and Gemma's tokenizers take their configuration's word for it.
fn prefix(tokenizer: &Tokenizer, config: &Map<String, Value>, special_tokens: &[(String, String)]) -> String {
    let adds = config.get("add_bos_token").and_then(Value::as_bool);
    let first = special_tokens.iter().find(|(name, _)| name == "bos_token").map(|(_, text)| text);
    let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    match (adds, first) {
        (Some(true), Some(first)) if tokenizer.prefix.is_empty() => first.clone(),
        (Some(false), Some(first)) if ["Llama", "Gemma"].iter().any(|kind| class.contains(kind)) => {
            tokenizer.prefix.strip_prefix(first).unwrap_or(&tokenizer.prefix).trim_start().to_owned()
        }
        _ => tokenizer.prefix.clone(),
    }
}
