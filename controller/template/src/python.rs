//! Values as Python writes them: `str`, `repr` and `json.dumps`.

use minijinja::value::{Value, ValueKind};
use std::fmt::{self, Write};

/// Lists and objects around a value, at most.
const DEPTH_MAX: usize = 96;

/// The options of `json.dumps` that templates give.
#[derive(Clone, Debug)]
pub(crate) struct Dumps {
    /// Text of one level of indentation; `None`: all in one line.
    pub(crate) indent: Option<String>,
    /// Between items.
    pub(crate) item: String,
    /// Between a key and its value.
    pub(crate) key: String,
    /// Whether keys are sorted.
    pub(crate) is_sorted: bool,
    /// Whether all beyond ASCII is escaped.
    pub(crate) is_ascii: bool,
}

impl Default for Dumps {
    fn default() -> Self {
        Self { indent: None, item: ", ".into(), key: ": ".into(), is_sorted: false, is_ascii: false }
    }
}

/// Writes a value as `str` does.
pub(crate) fn write_str(out: &mut impl Write, value: &Value) -> fmt::Result {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None => write_repr(out, value, DEPTH_MAX),
    }
}

fn write_repr(out: &mut impl Write, value: &Value, depth: usize) -> fmt::Result {
    let depth = depth.checked_sub(1).ok_or(fmt::Error)?;
    match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Map => {
            out.write_char('{')?;
            let mut is_first = true;
            for (key, value) in pairs(value)? {
                separate(out, &mut is_first, ", ")?;
                write_repr(out, &key, depth)?;
                out.write_str(": ")?;
                write_repr(out, &value, depth)?;
            }
            out.write_char('}')
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let (opener, closer) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.write_char(opener)?;
            let mut is_first = true;
            let mut count = 0;
            for item in value.try_iter().map_err(|_| fmt::Error)? {
                separate(out, &mut is_first, ", ")?;
                write_repr(out, &item, depth)?;
                count += 1;
            }
            if value.is_tuple() && count == 1 {
                out.write_char(',')?;
            }
            out.write_char(closer)
        }
        _ => write!(out, "{value}"),
    }
}

/// Writes a value as `json.dumps` does. Fails where Python does: on what JSON cannot hold.
pub(crate) fn dump(out: &mut impl Write, value: &Value, how: &Dumps) -> fmt::Result {
    dump_at(out, value, how, 0)
}

fn dump_at(out: &mut impl Write, value: &Value, how: &Dumps, depth: usize) -> fmt::Result {
    if depth > DEPTH_MAX {
        return Err(fmt::Error);
    }
    match value.kind() {
        ValueKind::None => out.write_str("null"),
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => match f64_of(value) {
            Some(number) if number.is_nan() => out.write_str("NaN"),
            Some(number) if number.is_infinite() => {
                out.write_str(if number > 0.0 { "Infinity" } else { "-Infinity" })
            }
            _ => write_number(out, value),
        },
        ValueKind::String => write_json_string(out, value.as_str().unwrap_or_default(), how.is_ascii),
        ValueKind::Map => {
            let mut fields = pairs(value)?;
            if how.is_sorted {
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            out.write_char('{')?;
            let mut is_first = true;
            let is_empty = fields.is_empty();
            for (key, value) in fields {
                next_item(out, &mut is_first, how, depth + 1)?;
                dump_key(out, &key, how)?;
                out.write_str(&how.key)?;
                dump_at(out, &value, how, depth + 1)?;
            }
            end_items(out, is_empty, how, depth)?;
            out.write_char('}')
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.write_char('[')?;
            let mut is_first = true;
            for item in value.try_iter().map_err(|_| fmt::Error)? {
                next_item(out, &mut is_first, how, depth + 1)?;
                dump_at(out, &item, how, depth + 1)?;
            }
            end_items(out, is_first, how, depth)?;
            out.write_char(']')
        }
        _ => Err(fmt::Error),
    }
}

fn dump_key(out: &mut impl Write, key: &Value, how: &Dumps) -> fmt::Result {
    match key.kind() {
        ValueKind::String => write_json_string(out, key.as_str().unwrap_or_default(), how.is_ascii),
        ValueKind::None | ValueKind::Bool | ValueKind::Number => {
            out.write_char('"')?;
            dump_at(out, key, how, 0)?;
            out.write_char('"')
        }
        _ => Err(fmt::Error),
    }
}

fn next_item(out: &mut impl Write, is_first: &mut bool, how: &Dumps, depth: usize) -> fmt::Result {
    separate(out, is_first, &how.item)?;
    new_line(out, how, depth)
}

fn end_items(out: &mut impl Write, is_empty: bool, how: &Dumps, depth: usize) -> fmt::Result {
    if is_empty { Ok(()) } else { new_line(out, how, depth) }
}

fn new_line(out: &mut impl Write, how: &Dumps, depth: usize) -> fmt::Result {
    let Some(indent) = &how.indent else { return Ok(()) };
    out.write_char('\n')?;
    (0..depth).try_for_each(|_| out.write_str(indent))
}

fn separate(out: &mut impl Write, is_first: &mut bool, separator: &str) -> fmt::Result {
    if std::mem::replace(is_first, false) { Ok(()) } else { out.write_str(separator) }
}

/// The fields of a mapping in order.
fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, fmt::Error> {
    let object = value.as_object().ok_or(fmt::Error)?;
    Ok(object.try_iter_pairs().ok_or(fmt::Error)?.collect())
}

/// A number that is no integer.
fn f64_of(value: &Value) -> Option<f64> {
    if value.is_integer() { None } else { f64::try_from(value.clone()).ok() }
}

fn write_number(out: &mut impl Write, value: &Value) -> fmt::Result {
    match f64_of(value) {
        Some(number) => write_float(out, number),
        None => write!(out, "{value}"),
    }
}

/// The shortest digits that read as the same number, in Python's notation: with an exponent below 1e-4 and from 1e16.
pub(crate) fn write_float(out: &mut impl Write, number: f64) -> fmt::Result {
    if number.is_nan() {
        return out.write_str("nan");
    }
    if number.is_infinite() {
        return out.write_str(if number > 0.0 { "inf" } else { "-inf" });
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        out.write_str(&plain)?;
        return if plain.contains('.') { Ok(()) } else { out.write_str(".0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs())
}

fn write_json_string(out: &mut impl Write, text: &str, is_ascii: bool) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    let is_special = |character: char| {
        matches!(character, '"' | '\\' | '\0'..='\x1f') || is_ascii && !character.is_ascii()
    };
    while let Some(at) = rest.find(is_special) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => out.write_str("\\\"")?,
            Some('\\') => out.write_str("\\\\")?,
            Some('\n') => out.write_str("\\n")?,
            Some('\r') => out.write_str("\\r")?,
            Some('\t') => out.write_str("\\t")?,
            Some('\x08') => out.write_str("\\b")?,
            Some('\x0c') => out.write_str("\\f")?,
            Some(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// Writes text as `repr` does.
fn write_quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for character in text.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            _ if character == quote => write!(out, "\\{quote}")?,
            _ if is_printable(character) => out.write_char(character)?,
            _ => match u32::from(character) {
                point @ 0..=0xFF => write!(out, "\\x{point:02x}")?,
                point @ 0x100..=0xFFFF => write!(out, "\\u{point:04x}")?,
                point => write!(out, "\\U{point:08x}")?,
            },
        }
    }
    out.write_char(quote)
}

/// Whether `repr` leaves a character as it is: all but separators, formats, controls and private characters. Those that no
/// version of Unicode names yet count as printable here.
fn is_printable(character: char) -> bool {
    character == ' '
        || !(character.is_control()
            || character.is_whitespace()
            || matches!(character,
                '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
                | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..))
}
