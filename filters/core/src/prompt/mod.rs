//! Request body -> prompt text -> cells.
//!
//! ```text
//!   path ─► Api ─┐
//!   body ────────┴─► Request (borrowed) ─► root (pool, adapter, salt) ─► canonical text ─► CellHasher ─► chain
//! ```
//!
//! The text is never built. The fields go to the hasher in the order in which chat templates put them, tools and system
//! first, so two requests that share a conversation share cells whatever the order of their JSON keys. `json` reads the
//! body: a `serde_json::Value` would copy every string and sort every map for fields that routing ignores.

mod anthropic;
mod cells;
mod chat;
mod completions;
mod content;
mod fingerprint;
mod generate;
mod inputs;
mod list;
mod omit;
mod opening;
mod pairs;
mod responses;
mod sink;
mod size;
mod text;
mod written;

pub use cells::{Root, cells_of, next_cell, session_cells};
pub use omit::OMITTED_PREFIXES_DEFAULT;
pub use size::{Measured, Media, MediaKind, MediaPart, Size};
pub use text::TextSink;
pub use written::{Format, Unwritten, written_cells};

use crate::ids::SessionKey;
use crate::json::{JsonError, KnownFields, Scanner};
use crate::limits::BODY_BYTES_MAX;
use crate::steering;
use omit::Omitted;
use opening::Opening;
use sink::Sink;
use std::borrow::Cow;
use std::fmt;

/// A request format, chosen by the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/messages` (Anthropic).
    Messages,
    /// `POST /v1/messages/count_tokens` (Anthropic): a prompt without a generated response.
    CountTokens,
    /// SGLang's `POST /generate` and `POST /encode`, and vLLM's `POST /inference/v1/generate`.
    Generate,
    /// `POST /v1/embeddings` and others that take text without generating any.
    Inputs,
    /// `POST /score` and `POST /rerank`: a query and documents.
    Pairs,
    /// Any other JSON request: only its `model` is read, to choose the pool.
    ModelOnly,
}

/// A request body, parsed and borrowed.
#[derive(Debug)]
pub struct Request<'a> {
    /// The requested model; empty when the body names none.
    pub model: Cow<'a, str>,
    /// Tenant separation: part of the root, as in vLLM.
    pub cache_salt: Option<Cow<'a, str>>,
    /// Whether the response is a stream of events.
    pub is_stream: bool,
    /// Whether a streamed response will report its usage.
    pub has_usage_in_stream: bool,
    /// The most tokens that the response may have, if the body limits them.
    pub output_tokens_max: Option<u64>,
    /// The model that replaces `model` in the engine's request.
    pub target: Option<String>,
    /// Whether it may have fields that only the router may set.
    pub is_steering: bool,
    /// The session that a header names.
    pub session: Option<SessionKey>,
    /// The proxy's cluster to which its route leads, where that decides between pools.
    pub cluster: Option<&'a str>,
    start: Start,
    prompt: Prompt<'a>,
    omitted: Omitted<'a>,
}

/// What an engine puts before the prompt of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The tokens that begin every text.
    Prefixed,
    /// Nothing.
    Plain,
    /// Not known: the prompt is cut to a number of tokens.
    Cut,
}

/// The parts of a body that reach the engine's prompt, by format.
#[derive(Debug)]
enum Prompt<'a> {
    Chat(chat::ChatPrompt<'a>),
    Completions(completions::CompletionPrompt<'a>),
    Responses(responses::ResponsesPrompt<'a>),
    Messages(anthropic::MessagesPrompt<'a>),
    Generate(generate::GeneratePrompt<'a>),
    Inputs(inputs::InputsPrompt<'a>),
    Pairs(pairs::PairsPrompt<'a>),
    None,
}

/// Why a body's prompt could not be read. The request is then routed by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptError {
    /// No bytes.
    Empty,
    /// More than [`BODY_BYTES_MAX`].
    TooLarge,
    /// The JSON ends early.
    Truncated,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON.
    NotJson,
    /// JSON of another shape: a field has the wrong type.
    WrongShape,
    /// JSON that is nested deeper than any engine reads it.
    TooDeep,
}

// === impl Api ===

impl Api {
    /// The ends of the paths whose requests have a prompt, as README lists them. Engines serve most of the last ones with
    /// and without a version.
    pub const PATHS: [(&str, Self); 14] = [
        ("/v1/chat/completions", Self::Chat),
        ("/v1/completions", Self::Completions),
        ("/v1/responses", Self::Responses),
        ("/v1/messages", Self::Messages),
        ("/v1/messages/count_tokens", Self::CountTokens),
        ("/generate", Self::Generate),
        ("/encode", Self::Generate),
        ("/v1/embeddings", Self::Inputs),
        ("/v2/embed", Self::Inputs),
        ("/pooling", Self::Inputs),
        ("/classify", Self::Inputs),
        ("/tokenize", Self::Inputs),
        ("/score", Self::Pairs),
        ("/rerank", Self::Pairs),
    ];

    /// The format of `path`, whose query string is ignored. A prefix is allowed: gateways often mount engines below one.
    pub fn of_path(path: &str) -> Self {
        let path = path.split_once('?').map_or(path, |(path, _)| path).trim_end_matches('/');
        let known = Self::PATHS.into_iter().find(|(known, _)| path.ends_with(known));
        known.map_or(Self::ModelOnly, |(_, api)| api)
    }

    /// Whether an engine computes the prompt, and so holds it afterwards. Counting tokens computes nothing: an agent then sends the
    /// prompt itself, perhaps to another engine.
    pub fn is_computed(self) -> bool {
        self != Self::CountTokens
    }

    /// Whether requests of this format have a prompt that an engine caches.
    pub fn has_prompt(self) -> bool {
        self != Self::ModelOnly
    }
}

// === impl Request ===

impl<'a> Request<'a> {
    /// Parses a body in one pass; strings are borrowed.
    pub fn parse(api: Api, body: &'a [u8]) -> Result<Self, PromptError> {
        if body.is_empty() {
            return Err(PromptError::Empty);
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(PromptError::TooLarge);
        }
        let mut scanner = Scanner::new(body).watching(&steering::FIELDS);
        let parsed = match api {
            Api::Chat => chat::parse(&mut scanner),
            Api::Completions => completions::parse(&mut scanner),
            Api::Responses => responses::parse(&mut scanner),
            Api::Messages | Api::CountTokens => anthropic::parse(&mut scanner),
            Api::Generate => generate::parse(&mut scanner),
            Api::Inputs => inputs::parse(&mut scanner),
            Api::Pairs => pairs::parse(&mut scanner),
            Api::ModelOnly => Self::parse_model(&mut scanner),
        };
        let ended = parsed.and_then(|request| scanner.end().map(|()| request));
        let is_steering = scanner.has_watched();
        ended.map(|request| Self { is_steering, ..request }).map_err(|error| PromptError::of(error, body))
    }

    /// Of a request of which no more than the model is known.
    pub fn of_model(model: impl Into<Cow<'a, str>>, is_stream: bool) -> Self {
        Self { model: model.into(), is_stream, ..Self::new(Prompt::None) }
    }

    /// Parses any JSON object for its `model` alone.
    fn parse_model(scanner: &mut Scanner<'a>) -> Result<Self, JsonError> {
        let mut request = Self::new(Prompt::None);
        let mut fields = KnownFields::open(scanner, &["model"])?;
        while let Some(name) = fields.next(scanner)? {
            request.read(name, scanner)?;
        }
        Ok(request)
    }

    fn new(prompt: Prompt<'a>) -> Self {
        Self {
            model: Cow::default(),
            cache_salt: None,
            is_stream: false,
            has_usage_in_stream: false,
            output_tokens_max: None,
            target: None,
            is_steering: false,
            session: None,
            cluster: None,
            start: Start::Prefixed,
            prompt,
            omitted: Omitted::Default,
        }
    }

    /// Leaves out the parts of its system prompt that begin with one of `prefixes`, in place of
    /// [`OMITTED_PREFIXES_DEFAULT`].
    #[must_use]
    pub fn omitting(self, prefixes: &'a [String]) -> Self {
        Self { omitted: Omitted::These(prefixes), ..self }
    }

    /// Reads a field that all formats have. A setting outside the prompt counts as absent if its type is unexpected:
    /// the engine may accept it, and the prompt is still worth reading.
    fn read(&mut self, name: &str, scanner: &mut Scanner<'a>) -> Result<(), JsonError> {
        match name {
            "model" => self.model = scanner.string()?.unwrap_or_default(),
            "cache_salt" => self.cache_salt = scanner.string()?,
            "stream" => self.is_stream = scanner.raw()?.is_true(),
            _ => scanner.skip()?,
        }
        Ok(())
    }

    /// Sends the prompt's canonical text to `sink`, until the sink is full.
    pub fn text(&self, sink: &mut impl TextSink) {
        match &self.prompt {
            Prompt::Chat(prompt) => chat::text(prompt, self.omitted, sink),
            Prompt::Completions(prompt) => completions::text(prompt, sink),
            Prompt::Responses(prompt) => responses::text(prompt, sink),
            Prompt::Messages(prompt) => anthropic::text(prompt, self.omitted, sink),
            Prompt::Generate(prompt) => generate::text(prompt, sink),
            Prompt::Inputs(prompt) => inputs::text(prompt, sink),
            Prompt::Pairs(prompt) => pairs::text(prompt, sink),
            Prompt::None => {}
        }
    }

    /// A number that all turns of its conversation share: its session's key, or a hash of its opening.
    pub fn conversation(&self) -> u64 {
        if let Some(SessionKey(key)) = self.session {
            return key;
        }
        let has_messages =
            matches!(self.prompt, Prompt::Chat(_) | Prompt::Responses(_) | Prompt::Messages(_));
        let mut opening = Opening::new(has_messages);
        self.text(&mut Sink::Opening(&mut opening));
        opening.finish()
    }

    /// The id of the stored response that it continues.
    pub fn previous_response(&self) -> Option<&str> {
        match &self.prompt {
            Prompt::Responses(prompt) => prompt.previous.as_deref(),
            _ => None,
        }
    }

    /// The prompt's tokens if the body gives them as token ids, else `None`.
    pub fn exact_tokens(&self) -> Option<u64> {
        match &self.prompt {
            Prompt::Completions(prompt) => completions::exact_tokens(prompt),
            Prompt::Generate(generate) => completions::exact_tokens(&generate.prompt),
            _ => None,
        }
    }
}

// === impl PromptError ===

impl PromptError {
    fn of(error: JsonError, body: &[u8]) -> Self {
        if std::str::from_utf8(body).is_err() { Self::NotUtf8 } else { error.into() }
    }

    /// Its stable name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::WrongShape => "wrong_shape",
            Self::TooDeep => "too_deep",
        }
    }
}

impl From<JsonError> for PromptError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Truncated => Self::Truncated,
            JsonError::NotUtf8 => Self::NotUtf8,
            JsonError::Shape => Self::WrongShape,
            JsonError::TooDeep => Self::TooDeep,
            JsonError::Syntax => Self::NotJson,
        }
    }
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for PromptError {}
