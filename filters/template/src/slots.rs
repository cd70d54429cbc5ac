//! The fields of a chat in the order in which a template writes them, each with what its place is.

use crate::messages::{Call, Message};
use crate::tools::Tool;
use crate::{Chat, Given, Key, Kind, Unwritten};
use std::borrow::Cow;

/// In which order a template writes what a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own about a template")]
pub struct Shape {
    /// Whether parts of a content are fields of their own.
    pub has_parts: bool,
    /// Whether it knows the role of developers.
    pub has_developer: bool,
    /// Where the tools stand.
    pub tools_place: ToolsPlace,
    /// What of a tool it writes.
    pub tools_as: ToolsAs,
    /// Where a system message at the head stands.
    pub system_place: SystemPlace,
    /// The order of a call's fields.
    pub call: [CallPart; 3],
    /// Whether the id of a result stands before its content.
    pub is_result_id_first: bool,
    /// Whether it reads the names of messages.
    pub reads_names: bool,
    /// Whether it writes calls.
    pub has_calls: bool,
    /// Whether it writes reasoning.
    pub has_reasoning: bool,
}

/// Where the tools stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolsPlace {
    /// Before all messages.
    First,
    /// After a system message at the head.
    AfterSystem,
    /// Before the content of the first message after that.
    BeforeFirst,
    /// Before the content of the last message of a user.
    BeforeLastUser,
}

/// What of a tool is one piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolsAs {
    /// The JSON of all of it.
    Whole,
    /// The JSON of its function.
    Function,
    /// Name, description and parameters, each for itself.
    Fields,
}

/// Where a system message at the head stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemPlace {
    /// At the head.
    Head,
    /// Before the content of the last message, if that is a user's.
    BeforeLast,
}

/// A field of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallPart {
    /// The function's name.
    Name,
    /// Its arguments.
    Arguments,
    /// The call's id.
    Id,
}

/// A field and its place.
#[derive(Clone, Debug)]
pub struct Slot<'a> {
    /// What its place is.
    pub key: Key,
    /// What the request has there.
    pub field: Field<'a>,
}

/// A field of a request.
#[derive(Clone, Debug)]
pub enum Field<'a> {
    /// Nothing: an end of the chat.
    Nothing,
    /// Text.
    Text(Cow<'a, str>),
    /// JSON.
    Json(Cow<'a, [u8]>),
}

impl Shape {
    /// The most common one.
    pub const COMMON: Self = Self {
        has_parts: false,
        has_developer: false,
        tools_place: ToolsPlace::AfterSystem,
        tools_as: ToolsAs::Whole,
        system_place: SystemPlace::Head,
        call: [CallPart::Name, CallPart::Arguments, CallPart::Id],
        is_result_id_first: false,
        reads_names: false,
        has_calls: true,
        has_reasoning: true,
    };

    /// All orders of a call's fields, in the order of their numbers on the wire.
    pub const CALLS: [[CallPart; 3]; 6] = {
        use CallPart::{Arguments, Id, Name};
        [
            [Name, Arguments, Id],
            [Name, Id, Arguments],
            [Arguments, Name, Id],
            [Arguments, Id, Name],
            [Id, Name, Arguments],
            [Id, Arguments, Name],
        ]
    };
}

impl ToolsPlace {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] = [Self::First, Self::AfterSystem, Self::BeforeFirst, Self::BeforeLastUser];
}

impl ToolsAs {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Function, Self::Fields];
}

impl SystemPlace {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [Self; 2] = [Self::Head, Self::BeforeLast];
}

/// What of the whole chat decides about the place of one message.
struct Places {
    last: usize,
    first_user: Option<usize>,
    last_user: Option<usize>,
    first_result: Option<usize>,
    has_system: bool,
}

struct Writer<'a> {
    shape: Shape,
    places: Places,
    tools: Vec<Tool<'a>>,
    system: Option<Message<'a>>,
    slots: Vec<Slot<'a>>,
}

/// The fields of a chat.
pub fn slots<'a>(chat: &Chat<'a>, shape: Shape) -> Result<Vec<Slot<'a>>, Unwritten> {
    slots_of(Given::of(chat)?, shape)
}

/// The fields of a chat of any format.
pub(crate) fn slots_of(given: Given<'_>, shape: Shape) -> Result<Vec<Slot<'_>>, Unwritten> {
    let Given { mut messages, tools, has_no_generation_prompt, has_names_first, .. } = given;
    let writes_arguments_first = || {
        let first = shape.call.iter().find(|part| **part != CallPart::Id);
        shape.has_calls && first == Some(&CallPart::Arguments)
    };
    if has_names_first && messages.iter().any(|message| !message.calls.is_empty()) && writes_arguments_first()
    {
        return Err(Unwritten::Uncovered);
    }
    for (at, message) in messages.iter_mut().enumerate() {
        if shape.reads_names && (message.has_more || message.name.is_some() && message.role != "tool") {
            return Err(Unwritten::Uncovered);
        }
        let is_system = match &*message.role {
            "system" | "user" | "assistant" | "tool" => continue,
            "developer" => at == 0 && !shape.has_developer,
            _ => false,
        };
        if !is_system {
            return Err(Unwritten::Role);
        }
        message.role = Cow::Borrowed("system");
    }
    // With a developer among them, the engine would make one of several.
    let position = |role: &str| messages.iter().position(|message| message.role == role);
    let last_user = messages.iter().rposition(|message| message.role == "user");
    let places = Places {
        last: messages.len().saturating_sub(1),
        first_user: position("user"),
        last_user,
        first_result: position("tool"),
        has_system: position("system") == Some(0),
    };
    let slots = Vec::with_capacity(2 + 2 * messages.len());
    let mut writer = Writer { shape, places, tools, system: None, slots };
    writer.write(messages);
    let end = if has_no_generation_prompt { Kind::EndOfChat } else { Kind::End };
    writer.push(end, 0, Field::Nothing);
    Ok(writer.slots)
}

impl<'a> Writer<'a> {
    fn push(&mut self, kind: Kind, circumstances: u32, field: Field<'a>) {
        self.slots.push(Slot { key: Key::new(kind, circumstances), field });
    }

    fn write(&mut self, messages: Vec<Message<'a>>) {
        let place = self.shape.tools_place;
        self.push(Kind::Start, if self.places.has_system { Key::SYSTEM } else { 0 }, Field::Nothing);
        if place == ToolsPlace::First {
            self.write_tools();
        }
        let has_system = self.places.has_system;
        if !has_system && place == ToolsPlace::AfterSystem {
            self.write_tools();
        }
        let waits = self.shape.system_place == SystemPlace::BeforeLast
            && self.places.last_user == Some(self.places.last);
        for (at, message) in messages.into_iter().enumerate() {
            if at == usize::from(has_system) && place == ToolsPlace::BeforeFirst
                || self.places.last_user == Some(at) && place == ToolsPlace::BeforeLastUser
            {
                self.write_tools();
            }
            if at == 0 && has_system {
                if waits {
                    self.system = Some(message);
                } else {
                    self.write_content(Kind::System, Key::FIRST, message.parts);
                }
                if place == ToolsPlace::AfterSystem {
                    self.write_tools();
                }
                continue;
            }
            if at == self.places.last
                && let Some(system) = self.system.take()
            {
                self.write_content(Kind::System, Key::FIRST | Key::LAST, system.parts);
            }
            self.write_message(at, message);
        }
    }

    fn write_message(&mut self, at: usize, message: Message<'a>) {
        let mut circumstances = if at == self.places.last { Key::LAST } else { 0 };
        if self.places.last_user.is_none_or(|last| at > last) {
            circumstances |= Key::LATE;
        }
        match &*message.role {
            "system" => self.write_content(Kind::System, circumstances, message.parts),
            "user" => {
                circumstances |= if self.places.first_user == Some(at) { Key::FIRST } else { 0 };
                circumstances |= if self.places.last_user == Some(at) { Key::LAST_USER } else { 0 };
                self.write_content(Kind::User, circumstances, message.parts);
            }
            "tool" => {
                circumstances |= if self.places.first_result == Some(at) { Key::FIRST } else { 0 };
                self.write_result(circumstances, message);
            }
            _ => self.write_assistant(circumstances, message),
        }
    }

    fn write_assistant(&mut self, mut circumstances: u32, message: Message<'a>) {
        let reasoning = message.reasoning.filter(|text| self.shape.has_reasoning && !text.is_empty());
        let calls = if self.shape.has_calls { message.calls } else { Vec::new() };
        let has_content = message.parts.iter().any(|part| !part.is_empty());
        circumstances |= if reasoning.is_some() { Key::REASONED } else { 0 };
        circumstances |= if calls.is_empty() { 0 } else { Key::CALLS };
        if let Some(reasoning) = reasoning {
            let bare = if has_content { 0 } else { Key::BARE };
            self.push(Kind::Reasoning, circumstances | bare, Field::Text(reasoning));
        }
        if has_content || calls.is_empty() {
            self.write_content(Kind::Assistant, circumstances, message.parts);
        } else {
            circumstances |= Key::BARE;
        }
        for (at, call) in calls.into_iter().enumerate() {
            let first = if at == 0 { Key::FIRST } else { 0 };
            self.write_call(circumstances | first, call);
        }
    }

    fn write_call(&mut self, circumstances: u32, mut call: Call<'a>) {
        for part in self.shape.call {
            let (kind, field) = match part {
                CallPart::Name => (Kind::CallName, Field::Text(std::mem::take(&mut call.name))),
                CallPart::Id => (Kind::CallId, Field::Text(std::mem::take(&mut call.id))),
                CallPart::Arguments => {
                    let arguments = match std::mem::take(&mut call.arguments) {
                        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                    };
                    (Kind::CallArguments, Field::Json(arguments))
                }
            };
            self.push(kind, circumstances, field);
        }
    }

    fn write_result(&mut self, circumstances: u32, message: Message<'a>) {
        let id = message.call_id.map(Field::Text);
        let (before, after) = if self.shape.is_result_id_first { (id, None) } else { (None, id) };
        if let Some(id) = before {
            self.push(Kind::ResultId, circumstances, id);
        }
        let content = Field::Text(joined(message.parts));
        self.push(Kind::Result, circumstances, content);
        if let Some(id) = after {
            self.push(Kind::ResultId, circumstances, id);
        }
        if let Some(name) = message.name {
            self.push(Kind::ResultName, circumstances, Field::Text(name));
        }
    }

    fn write_content(&mut self, kind: Kind, circumstances: u32, parts: Vec<Cow<'a, str>>) {
        if !self.shape.has_parts || parts.len() < 2 {
            return self.push(kind, circumstances, Field::Text(joined(parts)));
        }
        for (at, part) in parts.into_iter().enumerate() {
            let further = if at == 0 { 0 } else { Key::PART };
            self.push(kind, circumstances | further, Field::Text(part));
        }
    }

    fn write_tools(&mut self) {
        let system = if self.places.has_system { Key::SYSTEM } else { 0 };
        for (at, tool) in std::mem::take(&mut self.tools).into_iter().enumerate() {
            let mut circumstances = system | if at == 0 { Key::FIRST } else { 0 };
            match self.shape.tools_as {
                ToolsAs::Whole => self.push(Kind::Tool, circumstances, Field::Json(tool.whole().into())),
                ToolsAs::Function => {
                    self.push(Kind::ToolFunction, circumstances, Field::Json(tool.function().into()));
                }
                ToolsAs::Fields => {
                    circumstances |= if tool.description.is_some() { Key::DESCRIBED } else { 0 };
                    circumstances |= if tool.parameters.is_some() { Key::PARAMETERS } else { 0 };
                    circumstances |= if tool.is_deferred { Key::DEFERRED } else { 0 };
                    circumstances |= match tool.strict {
                        Some(true) => Key::STRICT,
                        Some(false) => Key::LENIENT,
                        None => 0,
                    };
                    self.push(Kind::ToolName, circumstances, Field::Text(tool.name));
                    if let Some(description) = tool.description {
                        self.push(Kind::ToolDescription, circumstances, Field::Text(description));
                    }
                    if let Some(parameters) = tool.parameters {
                        self.push(Kind::ToolParameters, circumstances, Field::Json(parameters));
                    }
                }
            }
        }
    }
}

fn joined(mut parts: Vec<Cow<'_, str>>) -> Cow<'_, str> {
    match parts.len() {
        0 => Cow::Borrowed(""),
        1 => parts.swap_remove(0),
        _ => Cow::Owned(parts.join("\n")),
    }
}
