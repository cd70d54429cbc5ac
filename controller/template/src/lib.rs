//! The text of a chat as engines compute it: the model's chat template, rendered over the messages of a request.
//!
//! ```text
//!   messages, tools (JSON) ─► chat: as the engine hands them to its template ─┐
//!   template, special tokens ─► source ─► minijinja ──────────────────────────┴─► text
//!   probes, rendered ─► reduce ─► the program that the filter runs
//! ```
//!
//! Engines hash tokens, and tokens come from this text. A canonical text of the router's own serves to recognise prompts that it
//! has seen; only the engine's text says what an engine's events stand for.
//!
//! Templates are Jinja as Hugging Face's `transformers` renders it, in Python. What differs in Rust is done here as Python does
//! it; golden cases compare the two byte for byte.

mod chat;
mod content;
mod environment;
mod guards;
mod probes;
mod python;
mod reduce;
mod source;
mod value;

pub use content::ContentFormat;
pub use reduce::reduce;

use environment::{NOW, NoClock, PROBED, Refusal, TEMPLATE};
use minijinja::value::DynObject;
use minijinja::{Environment, Error, ErrorKind, Value};
use std::collections::BTreeSet;
use std::fmt;
use warmpath_template::{Chat, Unwritten};

/// A template's source, at most, in bytes.
const SOURCE_BYTES_MAX: usize = 256 * 1024;

/// How an engine writes chats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// The chat template.
    pub template: &'a str,
    /// The special tokens by their names in templates.
    pub special_tokens: &'a [(&'a str, &'a str)],
    /// The arguments that the engine was started with, as a JSON object; empty: none.
    pub arguments: &'a str,
    /// How the template takes contents; `None`: as its source shows.
    pub content_format: Option<ContentFormat>,
}

/// A template, compiled.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    /// Special tokens and the engine's arguments.
    variables: Vec<(String, Value)>,
    content_format: ContentFormat,
    has_developer: bool,
    source: String,
}

/// Why a template cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Longer than a template may be.
    TooLong,
    /// Its source is not understood.
    Syntax,
    /// The engine's arguments are no JSON object.
    Arguments,
}

/// Why a rendering failed.
fn unwritten(error: &Error) -> Unwritten {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Refusal>() {
            return Unwritten::Refused;
        }
        if error.is::<NoClock>() {
            return Unwritten::NoClock;
        }
        if error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return Unwritten::TooCostly;
        }
        cause = error.source();
    }
    Unwritten::Failed
}

// === impl Unusable ===

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the chat template is too long",
            Self::Syntax => "the chat template is not understood",
            Self::Arguments => "the arguments of the chat template are no JSON object",
        })
    }
}

impl std::error::Error for Unusable {}

// === impl Template ===

impl Template {
    /// Compiles a template.
    pub fn compile(source: &Source<'_>) -> Result<Self, Unusable> {
        if source.template.len() > SOURCE_BYTES_MAX {
            return Err(Unusable::TooLong);
        }
        let mut environment = environment::environment().map_err(|_| Unusable::Syntax)?;
        let prepared = source::prepared(source.template).into_owned();
        environment.add_template_owned(TEMPLATE, prepared).map_err(|_| Unusable::Syntax)?;
        let mut variables: Vec<(String, Value)> = source
            .special_tokens
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Value::from(*text)))
            .collect();
        if !source.arguments.is_empty() {
            let arguments = value::from_json(source.arguments.as_bytes()).map_err(|_| Unusable::Arguments)?;
            extend(&mut variables, &arguments).map_err(|_| Unusable::Arguments)?;
        }
        let has_developer =
            ["\"developer\"", "'developer'"].iter().any(|role| source.template.contains(role));
        let content_format = source.content_format.unwrap_or_else(|| ContentFormat::of(source.template));
        Ok(Self { environment, variables, content_format, has_developer, source: source.template.to_owned() })
    }

    /// How the template takes contents.
    pub fn content_format(&self) -> ContentFormat {
        self.content_format
    }

    /// The text of a chat. `now`: microseconds since 1970, if they are known.
    pub fn render(&self, chat: &Chat<'_>, now: Option<u64>) -> Result<String, Unwritten> {
        self.render_at(chat, now.map(Value::from))
    }

    /// The text of a probe, with the formats of times in their places.
    fn render_probe(&self, chat: &Chat<'_>) -> Result<String, Unwritten> {
        self.render_at(chat, Some(Value::from(PROBED)))
    }

    fn render_at(&self, chat: &Chat<'_>, now: Option<Value>) -> Result<String, Unwritten> {
        if chat.is_continued {
            // The engine marks where the last message goes on, renders, and cuts the text at the mark.
            return Err(Unwritten::Arguments);
        }
        let context = self.context(chat, now)?;
        let template = self.environment.get_template(TEMPLATE).map_err(|error| unwritten(&error))?;
        template.render(context).map_err(|error| unwritten(&error))
    }

    /// Whether engines move the system messages of `/v1/messages` to the head: where the template fails with one between two
    /// messages of a user, which vLLM tries as it starts. It tries it with nothing else that templates need, so one that calls for the
    /// date fails, too.
    pub fn merges_system(&self) -> bool {
        let chat: Vec<Value> = ["system", "user", "system", "user"]
            .into_iter()
            .map(|role| Value::from_pairs([("role", role), ("content", "t")]))
            .collect();
        let context = Value::from_pairs([
            ("messages", Value::from(chat)),
            ("add_generation_prompt", Value::from(false)),
        ]);
        let rendered = environment::bare_environment()
            .and_then(|environment| environment.render_str(&self.source, context));
        rendered.is_err()
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn has_developer(&self) -> bool {
        self.has_developer
    }

    /// The variables that the template reads.
    fn variables(&self) -> BTreeSet<String> {
        let template = self.environment.get_template(TEMPLATE);
        template
            .map(|template| template.undeclared_variables(false).into_iter().collect())
            .unwrap_or_default()
    }

    fn context(&self, chat: &Chat<'_>, now: Option<Value>) -> Result<Value, Unwritten> {
        let none = || Value::from(());
        let mut variables = self.variables.clone();
        if let Some(arguments) = chat.arguments {
            let arguments = value::from_json(arguments)?;
            extend(&mut variables, &arguments)?;
        }
        if let Some(effort) = chat.reasoning_effort {
            let effort = value::from_json(effort)?;
            if !variables_has(chat.arguments, "enable_thinking")? {
                set(&mut variables, "enable_thinking", Value::from(effort.as_str() != Some("none")));
            }
            set(&mut variables, "reasoning_effort", effort);
        }
        let documents = chat.documents.map(value::from_json).transpose()?;
        let tools = chat.tools.map(chat::tools).transpose()?;
        set(
            &mut variables,
            "messages",
            chat::messages(chat.messages, self.content_format, self.has_developer)?,
        );
        set(&mut variables, "tools", tools.unwrap_or_else(none));
        set(&mut variables, "documents", documents.unwrap_or_else(none));
        set(&mut variables, "add_generation_prompt", Value::from(!chat.has_no_generation_prompt));
        if let Some(now) = now {
            set(&mut variables, NOW, now);
        }
        Ok(Value::from_pairs(variables))
    }
}

/// Whether the arguments of a request name one.
fn variables_has(arguments: Option<&[u8]>, name: &str) -> Result<bool, Unwritten> {
    let Some(arguments) = arguments else { return Ok(false) };
    let arguments = value::from_json(arguments)?;
    Ok(arguments.get_attr(name).is_ok_and(|value| !value.is_undefined()))
}

fn set(variables: &mut Vec<(String, Value)>, name: &str, value: Value) {
    variables.retain(|(known, _)| known != name);
    variables.push((name.to_owned(), value));
}

/// Adds arguments to the variables. `null` and `"auto"` count as absent, as they do for vLLM.
fn extend(variables: &mut Vec<(String, Value)>, arguments: &Value) -> Result<(), Unwritten> {
    let fields = arguments.as_object().and_then(DynObject::try_iter_pairs).ok_or(Unwritten::Malformed)?;
    for (name, value) in fields {
        let name = name.as_str().ok_or(Unwritten::Malformed)?;
        if matches!(
            name,
            "messages" | "conversation" | "tools" | "chat_template" | "tokenize" | "continue_final_message"
        ) {
            return Err(Unwritten::Arguments);
        }
        if !value.is_none() && value.as_str() != Some("auto") {
            set(variables, name, value);
        }
    }
    Ok(())
}
