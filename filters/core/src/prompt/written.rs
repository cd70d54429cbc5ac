//! Prompts as their engines write them, where a pool's format is known: the cells of that text are those that engines report.
//!
//! ```text
//!   PromptFormat ─► Format (once for each pool) ─► chat, messages, responses: program ─┐
//!                                                  completion: prefix ─────────────────┴─► text ─► cells, under a root of the format
//! ```
//!
//! What has no text here keeps the canonical one, and with it what the router learns by itself.

use super::cells::cells_from;
use super::chat::ChatPrompt;
use super::completions::CompletionPrompt;
use super::responses::{self, ResponsesPrompt};
use super::text::string_or_raw;
use super::{Measured, Prompt, Request, Root, Start, TextSink, anthropic};
use crate::ids::{CellHash, FormatId};
use crate::json::Raw;
use crate::time::Timestamp;
use crate::wire::{ChatProgram, PromptFormat};
use warmpath_template::{Chat, Given, Program};

/// Before this moment, a clock is no clock of the wall: 2020. Tests and the simulator count from zero.
const WALL_CLOCK_FROM: Timestamp = Timestamp::from_ms(1_577_836_800_000);

/// How the engines of a pool write prompts, ready for use.
#[derive(Clone, Debug)]
pub struct Format {
    id: FormatId,
    text_prefix: String,
    /// Writes chats; `None`: nothing is known of them, or it is of a newer kind.
    chat: Option<Program>,
}

/// Why the text of a prompt is not known, although its pool has a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// Requests of this path are not converted.
    Api,
    /// It goes on from a response that only its engine has.
    Stored,
    /// The prompt is not given as text.
    Tokens,
    /// Nothing is known of how chats are written, or it is of a newer kind.
    NoTemplate,
    /// A part is not text.
    Media,
    /// The engine rejects the request, or would read it in some other way.
    Malformed,
    /// It brings a template or arguments of its own, or is cut to a number of tokens.
    Arguments,
    /// A message has a role, or a place of one, that the template's program does not know.
    Role,
    /// The program does not know messages in this order.
    Uncovered,
    /// A text has something in it that the template looks for.
    Guarded,
    /// The template writes the time, which is not known.
    NoClock,
}

/// Hashes the text that the engine computes for a request, as [`super::cells_of`] does the canonical one. `root` is that of the
/// canonical text.
pub fn written_cells(
    request: &Request<'_>,
    root: Root,
    format: &Format,
    (cell_bytes, now): (usize, Timestamp),
    chain: &mut Vec<CellHash>,
) -> Result<Measured, Unwritten> {
    cells_from(root.written(format.id), cell_bytes, chain, |sink| match &request.prompt {
        Prompt::Chat(prompt) => format.write_chat(prompt, now, sink),
        Prompt::Completions(CompletionPrompt::Text { first, others_bytes }) => {
            match request.start {
                Start::Prefixed => sink.push(format.text_prefix.as_bytes()),
                Start::Plain => true,
                Start::Cut => return Err(Unwritten::Arguments),
            };
            string_or_raw(*first, sink);
            sink.note_text(*others_bytes);
            Ok(())
        }
        Prompt::Completions(_) => Err(Unwritten::Tokens),
        Prompt::Messages(prompt) => {
            let program = format.program()?;
            format.write(anthropic::body(prompt).given(program)?, now, sink)
        }
        Prompt::Responses(prompt) => format.write_response(prompt, now, sink),
        Prompt::Generate(_) | Prompt::Inputs(_) | Prompt::Pairs(_) | Prompt::None => Err(Unwritten::Api),
    })
}

// === impl Format ===

impl Format {
    /// Of a pool's format.
    pub fn of(format: &PromptFormat) -> Self {
        let chat = format.chat.as_ref().and_then(ChatProgram::program);
        Self { id: FormatId::of(format), text_prefix: format.text_prefix.clone(), chat }
    }

    fn write_chat(
        &self,
        prompt: &ChatPrompt<'_>,
        now: Timestamp,
        sink: &mut impl TextSink,
    ) -> Result<(), Unwritten> {
        self.program()?;
        let fields = &prompt.template;
        let messages = fields.messages.ok_or(Unwritten::Api)?;
        if fields.is_special {
            return Err(Unwritten::Arguments);
        }
        let is = |field: Option<Raw<'_>>, value: bool| field.and_then(Raw::parsed) == Some(value);
        let chat = Chat {
            messages: messages.bytes(),
            tools: prompt.tools.map(Raw::bytes),
            documents: fields.documents.map(Raw::bytes),
            arguments: fields.arguments.map(Raw::bytes),
            reasoning_effort: fields.reasoning_effort.map(Raw::bytes),
            is_continued: is(fields.continued, true),
            has_no_generation_prompt: is(fields.generation_prompt, false),
        };
        if is(fields.special_tokens, true) {
            sink.push(self.text_prefix.as_bytes());
        }
        self.write(Given::of(&chat)?, now, sink)
    }

    fn write_response(
        &self,
        prompt: &ResponsesPrompt<'_>,
        now: Timestamp,
        sink: &mut impl TextSink,
    ) -> Result<(), Unwritten> {
        self.program()?;
        if prompt.previous.is_some() {
            return Err(Unwritten::Stored);
        }
        if prompt.is_special {
            return Err(Unwritten::Arguments);
        }
        // Unlike those of a chat, its tokens begin as those of any text do.
        sink.push(self.text_prefix.as_bytes());
        self.write(responses::body(prompt).given()?, now, sink)
    }

    fn program(&self) -> Result<&Program, Unwritten> {
        self.chat.as_ref().ok_or(Unwritten::NoTemplate)
    }

    fn write(&self, given: Given<'_>, now: Timestamp, sink: &mut impl TextSink) -> Result<(), Unwritten> {
        let now = Some(now).filter(|now| *now >= WALL_CLOCK_FROM).map(Timestamp::us);
        self.program()?.write_given(given, now, &mut |piece| sink.push(piece))?;
        Ok(())
    }
}

// === impl Unwritten ===

impl Unwritten {
    /// Its stable name, as in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Stored => "stored",
            Self::Tokens => "tokens",
            Self::NoTemplate => "no_template",
            Self::Media => "media",
            Self::Malformed => "malformed",
            Self::Arguments => "arguments",
            Self::Role => "role",
            Self::Uncovered => "uncovered",
            Self::Guarded => "guarded",
            Self::NoClock => "no_clock",
        }
    }
}

impl From<warmpath_template::Unwritten> for Unwritten {
    fn from(reason: warmpath_template::Unwritten) -> Self {
        use warmpath_template::Unwritten as Chat;
        match reason {
            Chat::Media => Self::Media,
            Chat::Malformed | Chat::TooLarge | Chat::Number => Self::Malformed,
            Chat::Arguments => Self::Arguments,
            Chat::Role => Self::Role,
            Chat::Guarded => Self::Guarded,
            Chat::NoClock => Self::NoClock,
            // The last three are of the template itself, which only the controller has.
            Chat::Uncovered | Chat::Refused | Chat::TooCostly | Chat::Failed => Self::Uncovered,
        }
    }
}
