//! A pool's `prompt`: what makes the text that its engines compute of a request, and of tokens. A controller reads the files.

use crate::fault::Problem;
use crate::reader::{Entry, Reader};

/// How a chat template takes the content of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentFormat {
    /// By what the template does with it, as engines find out.
    #[default]
    Auto,
    /// As one string.
    String,
    /// As a list of parts.
    Parts,
}

/// The formats of contents, by the names that vLLM gives them.
const FORMATS: [(&str, ContentFormat); 3] =
    [("auto", ContentFormat::Auto), ("string", ContentFormat::String), ("openai", ContentFormat::Parts)];
const FORMAT_NAMES: [&str; 3] = [FORMATS[0].0, FORMATS[1].0, FORMATS[2].0];

/// How engines write prompts, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The directory of the model's tokenizer, or its `tokenizer.json`.
    pub tokenizer: String,
    /// The file of the chat template; `None` takes the one beside the tokenizer.
    pub chat_template: Option<String>,
    /// How the template takes contents.
    pub content_format: ContentFormat,
    /// Arguments of the template, as a JSON object; empty for none.
    pub template_arguments: String,
}

/// Reads the map.
pub fn read(entry: &Entry<'_>, reader: &mut Reader) -> Prompt {
    let mut fields = reader.fields(entry);
    let tokenizer = fields.required("tokenizer", reader).and_then(|entry| reader.name(&entry));
    let chat_template = fields.optional("chat_template").and_then(|entry| reader.name(&entry));
    let content_format = fields.optional("content_format").and_then(|entry| {
        let name = reader.name(&entry)?;
        let format = FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
        if format.is_none() {
            reader.report(&entry.place, Problem::Choice { text: name, choices: &FORMAT_NAMES });
        }
        format
    });
    let arguments = fields.optional("template_arguments").and_then(|entry| {
        let text = reader.name(&entry)?;
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_err() {
            reader.report(&entry.place, Problem::NoObject { text: text.clone() });
        }
        Some(text)
    });
    fields.finish(reader);
    Prompt {
        tokenizer: tokenizer.unwrap_or_default(),
        chat_template,
        content_format: content_format.unwrap_or_default(),
        template_arguments: arguments.unwrap_or_default(),
    }
}
