//! What a chat template was reduced to: the text between two fields, by what the fields are.
//!
//! A table holds for requests with tools or without, and for some arguments of the template. Where a table has no text between
//! two fields, or no form for a field, the request has no text here: what the controller has not seen the template do is not
//! guessed.

use crate::slots::slots_of;
use crate::{Chat, Field, Form, Given, Key, Kind, Shape, Slot, Unwritten, strftime};
use memchr::memchr;
use std::borrow::Cow;
use warmpath_json::Scanner;

/// A text, at most, in bytes. An engine's context is far smaller.
const TEXT_BYTES_MAX: usize = 1 << 26;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The order of fields.
    pub shape: Shape,
    /// Names of arguments that decide which table holds, if they are booleans.
    pub switches: Vec<String>,
    /// Names of arguments that change the text in other ways. A request that gives one has no text.
    pub arguments: Vec<String>,
    /// Text that the template looks for in contents. A request that has it has no text.
    pub guards: Vec<String>,
    /// The texts between fields.
    pub literals: Vec<Vec<Piece>>,
    /// See [`Table`].
    pub tables: Vec<Table>,
    /// Whether engines move the system messages between others to the head, where a format has such.
    pub merges_system: bool,
}

/// A piece of text between fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text.
    Text(String),
    /// The time, in a format of `strftime`.
    Now(String),
}

/// What is written for some requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Whether the request has tools.
    pub has_tools: bool,
    /// What it gives for each switch.
    pub switches: Vec<Option<bool>>,
    /// The forms of fields, in the order of their keys.
    pub forms: Vec<(Key, Form)>,
    /// The texts between fields, in the order of the keys.
    pub joints: Vec<Joint>,
    /// The kinds whose fields may be empty, by number.
    pub empty: Vec<u8>,
    /// The circumstances that matter, by kind.
    pub kept: Vec<u32>,
}

/// What stands between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The field before it.
    pub from: Key,
    /// The field after it.
    pub to: Key,
    /// Which of the literals.
    pub literal: u32,
}

/// A field that is written, and the text before it.
struct Step<'a> {
    key: Key,
    before: &'a [Piece],
    form: Form,
    field: Field<'a>,
}

// === impl Program ===

impl Program {
    /// Writes a chat's text to `sink` until it returns `false`. Nothing is written of a chat that has no text. `now`:
    /// microseconds since 1970, if they are known.
    pub fn write(
        &self,
        chat: &Chat<'_>,
        now: Option<u64>,
        sink: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Unwritten> {
        self.write_given(Given::of(chat)?, now, sink)
    }

    /// The same of a chat of any format.
    pub fn write_given(
        &self,
        given: Given<'_>,
        now: Option<u64>,
        sink: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), Unwritten> {
        let table = self.table(&given)?;
        let is_continued = given.is_continued;
        if is_continued && !given.has_no_generation_prompt {
            return Err(Unwritten::Malformed);
        }
        let slots = slots_of(given, self.shape)?;
        let mut steps = Vec::with_capacity(slots.len());
        let mut bytes = 0_usize;
        let mut from = None;
        for slot in slots {
            self.check(&slot, table)?;
            let key = slot.key.masked(&table.kept);
            let form = table.form(key).ok_or(Unwritten::Uncovered)?;
            if form == Form::Dropped {
                continue;
            }
            let before = match from {
                Some(from) => self.between(table, from, key).ok_or(Unwritten::Uncovered)?,
                None => &[],
            };
            if now.is_none() && before.iter().any(|piece| matches!(piece, Piece::Now(_))) {
                return Err(Unwritten::NoClock);
            }
            from = Some(key);
            let field = formed(slot.field, form)?;
            bytes = bytes.saturating_add(match &field {
                Field::Text(text) => text.len(),
                Field::Json(json) => json.len(),
                Field::Nothing => 0,
            });
            steps.push(Step { key, before, form, field });
        }
        if is_continued {
            end_in_content(&mut steps)?;
        }
        if bytes > TEXT_BYTES_MAX {
            return Err(Unwritten::TooLarge);
        }
        for step in &steps {
            if !step.write(now.unwrap_or_default(), sink) {
                break;
            }
        }
        Ok(())
    }

    fn table(&self, given: &Given<'_>) -> Result<&Table, Unwritten> {
        let mut switches = vec![None; self.switches.len()];
        if let Some(effort) = given.reasoning_effort {
            if self.arguments.iter().any(|name| name == "reasoning_effort") {
                return Err(Unwritten::Arguments);
            }
            let is_enabled = effort != br#""none""#;
            self.switch(&mut switches, "enable_thinking", Some(is_enabled))?;
        }
        if let Some(arguments) = given.arguments {
            let mut scanner = Scanner::new(arguments);
            scanner.open_object()?;
            while let Some(name) = scanner.next_key()? {
                let value = scanner.raw()?;
                let is_absent = value.is_null() || value.string_body() == Some(b"auto");
                let name = &*name;
                if matches!(
                    name,
                    "messages" | "conversation" | "tools" | "chat_template" | "tokenize" | "documents"
                ) {
                    return Err(Unwritten::Arguments);
                }
                if !is_absent {
                    self.switch(&mut switches, name, value.parsed())?;
                }
            }
        }
        let has_tools = !given.tools.is_empty();
        let fits = |table: &&Table| table.has_tools == has_tools && table.switches == switches;
        self.tables.iter().find(fits).ok_or(Unwritten::Arguments)
    }

    /// Takes an argument of a request into account. One that the template does not name changes nothing.
    fn switch(
        &self,
        switches: &mut [Option<bool>],
        name: &str,
        value: Option<bool>,
    ) -> Result<(), Unwritten> {
        if self.arguments.iter().any(|known| known == name) {
            return Err(Unwritten::Arguments);
        }
        let place = self.switches.iter().position(|known| known == name);
        let Some(switch) = place.and_then(|at| switches.get_mut(at)) else { return Ok(()) };
        *switch = Some(value.ok_or(Unwritten::Arguments)?);
        Ok(())
    }

    fn check(&self, slot: &Slot<'_>, table: &Table) -> Result<(), Unwritten> {
        let Field::Text(text) = &slot.field else { return Ok(()) };
        if text.chars().all(crate::is_space) {
            // What a template makes of mere space depends on how it looks.
            let is_known = text.is_empty() && table.empty.contains(&slot.key.kind());
            return if is_known { Ok(()) } else { Err(Unwritten::Uncovered) };
        }
        if self.guards.iter().any(|guard| contains(text.as_bytes(), guard.as_bytes())) {
            return Err(Unwritten::Guarded);
        }
        Ok(())
    }

    fn between(&self, table: &Table, from: Key, to: Key) -> Option<&[Piece]> {
        let at = table.joints.binary_search_by_key(&(from, to), |joint| (joint.from, joint.to)).ok()?;
        let literal = table.joints.get(at)?.literal;
        self.literals.get(usize::try_from(literal).ok()?).map(Vec::as_slice)
    }
}

// === impl Table ===

impl Table {
    fn form(&self, key: Key) -> Option<Form> {
        let at = self.forms.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.forms.get(at).map(|(_, form)| *form)
    }
}

// === impl Step ===

impl Step<'_> {
    fn write(&self, now: u64, sink: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        for piece in self.before {
            let wants_more = match piece {
                Piece::Text(text) => sink(text.as_bytes()),
                Piece::Now(format) => sink(strftime(now, format).unwrap_or_default().as_bytes()),
            };
            if !wants_more {
                return false;
            }
        }
        match &self.field {
            Field::Nothing => true,
            Field::Text(text) => sink(self.form.text(text).as_bytes()),
            Field::Json(json) => sink(json),
        }
    }
}

/// Ends a chat in its last content, which is to be continued. Engines mark that place with text that ends in a space, render,
/// and cut the text at the mark: where the mark's space is still there, they keep the content's own, too.
fn end_in_content(steps: &mut Vec<Step<'_>>) -> Result<(), Unwritten> {
    let end = steps.pop().ok_or(Unwritten::Uncovered)?;
    let last = steps.last_mut().ok_or(Unwritten::Uncovered)?;
    let is_content = last.key.is(Kind::User) || last.key.is(Kind::Assistant);
    let is_empty = matches!(&last.field, Field::Text(text) if text.is_empty());
    if !is_content || is_empty {
        return Err(Unwritten::Uncovered);
    }
    let is_spaced = matches!(end.before.first(), Some(Piece::Text(text)) if text.starts_with(' '));
    last.form = match last.form {
        Form::TrimLines => Form::TrimStartLines,
        Form::Trim if is_spaced => Form::TrimStart,
        Form::TrimEnd if is_spaced => Form::AsIs,
        form @ (Form::AsIs | Form::Trim | Form::TrimStart | Form::TrimEnd | Form::TrimStartLines) => form,
        Form::Dropped | Form::Quoted | Form::Json | Form::Compact | Form::Indented2 | Form::Indented4 => {
            return Err(Unwritten::Uncovered);
        }
    };
    Ok(())
}

/// JSON is written again before anything else is, because only then is it known to be JSON.
fn formed(field: Field<'_>, form: Form) -> Result<Field<'_>, Unwritten> {
    let Field::Json(json) = field else { return Ok(field) };
    let json = form.json(&json).ok_or(Unwritten::Malformed)?;
    Ok(Field::Json(Cow::Owned(json.into_bytes())))
}

fn contains(text: &[u8], guard: &[u8]) -> bool {
    let Some(first) = guard.first() else { return false };
    let mut rest = text;
    while let Some(at) = memchr(*first, rest) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(guard) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}
