//! Bodies with text that is embedded, classified, pooled or counted: `/v1/embeddings`, `/classify`, `/pooling`,
//! `/tokenize`, and Cohere's `/v2/embed`.
//!
//! Engines read them as the prompt of a completion or of a chat, so they have the cells of one. Inputs with images are
//! objects, whose fields differ from engine to engine. A list is matched by its first input.

use super::chat::{self, ChatPrompt, TemplateFields};
use super::completions;
use super::content::{self, content_text, parts_text};
use super::text::Beyond;
use super::{Prompt, Request, TextSink, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};

/// An input that is neither text nor token ids: an object, or a list of objects.
#[derive(Debug)]
pub(super) struct InputsPrompt<'a>(Raw<'a>);

/// The fields of an input that is an object.
#[derive(Default)]
struct Input<'a> {
    instruction: Option<Raw<'a>>,
    text: Option<Raw<'a>>,
    content: Option<Raw<'a>>,
    image: Option<Raw<'a>>,
}

/// Parses a body of any of these formats.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(Prompt::None);
    let (mut tools, mut messages, mut input) = (None, None, None);
    let mut fields = KnownFields::open(
        scanner,
        &["model", "tools", "messages", "prompt", "input", "texts", "inputs", "images", "cache_salt"],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "tools" => tools = scanner.present()?,
            "messages" => {
                (messages, _) = scanner.read_or_raw(|scanner| content::messages(scanner, chat::message))?;
            }
            "prompt" | "input" | "texts" | "inputs" | "images" => input = scanner.present()?.or(input),
            _ => request.read(name, scanner)?,
        }
    }
    request.prompt = match (messages, input) {
        (Some(messages), _) => {
            Prompt::Chat(ChatPrompt { tools, messages, template: TemplateFields::default() })
        }
        (None, Some(input)) if text::first_byte(input) == Some(b'{') => Prompt::Inputs(InputsPrompt(input)),
        (None, Some(input)) => Prompt::Completions(completions::lenient_prompt_of(input)),
        (None, None) => Prompt::None,
    };
    Ok(request)
}

/// Sends the canonical text.
pub(super) fn text(prompt: &InputsPrompt<'_>, sink: &mut impl TextSink) {
    let mut is_first = true;
    text::each_or_one(prompt.0, sink, |raw, sink| {
        if std::mem::take(&mut is_first) { input_text(raw, sink) } else { input_text(raw, &mut Beyond(sink)) }
    });
}

/// One input: a string, an object, or a list of a message's parts.
pub(super) fn input_text(raw: Raw<'_>, sink: &mut impl TextSink) -> bool {
    let Ok(input) = input(&mut raw.scanner()) else { return parts_text(raw, sink) };
    let texts = [input.instruction, input.text];
    texts.into_iter().flatten().all(|value| text::string_or_raw(value, sink))
        && input.content.is_none_or(|content| content_text(content, sink))
        && input.image.is_none_or(|image| text::opaque("image", image, sink))
}

fn input<'a>(scanner: &mut Scanner<'a>) -> Result<Input<'a>, JsonError> {
    let mut input = Input::default();
    let mut fields = KnownFields::open(scanner, &["instruction", "text", "content", "image"])?;
    while let Some(name) = fields.next(scanner)? {
        let target = match name {
            "instruction" => &mut input.instruction,
            "text" => &mut input.text,
            "content" => &mut input.content,
            _ => &mut input.image,
        };
        *target = scanner.present()?;
    }
    Ok(input)
}
