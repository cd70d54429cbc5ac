//! Where canonical text goes, and the marks between its parts.
//!
//! The marks follow ChatML, the most common template. They only have to be the same for every request. A client can
//! forge one in its text, and gains at most a wrong preference of an endpoint, never a wrong response.

use super::MediaKind;
use super::fingerprint::fingerprint;
use super::opening::MESSAGE_START;
use crate::json::{JsonError, KnownFields, Raw, Scanner, unescape};
use crate::limits::PROMPT_ITEMS_MAX;

/// Bytes that a part of an unknown kind counts as text at most: what an engine makes of it is unknown, and a client must
/// not make its prompt look long with a part that no engine reads.
const UNKNOWN_BYTES_MAX: usize = 4_096;

/// Takes text in pieces.
pub trait TextSink {
    /// Takes the next piece. Returns `false` when the sink is full.
    fn push(&mut self, piece: &[u8]) -> bool;

    /// Notes that what was pushed last stands for a part that is not text.
    fn note_media(&mut self, _kind: MediaKind) {}

    /// Notes text of the prompt that is not part of the chain, in bytes.
    fn note_text(&mut self, _bytes: usize) {}
}

impl TextSink for Vec<u8> {
    fn push(&mut self, piece: &[u8]) -> bool {
        self.extend_from_slice(piece);
        true
    }
}

/// Counts what is pushed as text beyond the chain.
pub(super) struct Beyond<'a, S>(pub(super) &'a mut S);

/// Counts the bytes of text.
#[derive(Default)]
pub(super) struct Length(pub(super) usize);

impl<S: TextSink> TextSink for Beyond<'_, S> {
    fn push(&mut self, piece: &[u8]) -> bool {
        self.note_text(piece.len());
        true
    }

    fn note_media(&mut self, kind: MediaKind) {
        self.0.note_media(kind);
    }

    fn note_text(&mut self, bytes: usize) {
        self.0.note_text(bytes);
    }
}

impl TextSink for Length {
    fn push(&mut self, piece: &[u8]) -> bool {
        self.0 = self.0.saturating_add(piece.len());
        true
    }
}

/// Opens a message. `developer` is `system` under a newer name.
pub(super) fn open_message(role: &str, sink: &mut impl TextSink) -> bool {
    let role = if role == "developer" { "system" } else { role };
    sink.push(MESSAGE_START) && sink.push(role.as_bytes()) && sink.push(b"\n")
}

/// Closes a message.
pub(super) fn close_message(sink: &mut impl TextSink) -> bool {
    sink.push(b"<|im_end|>\n")
}

/// Sends the list of tools as the client wrote it.
pub(super) fn tools(tools: Option<Raw<'_>>, sink: &mut impl TextSink) -> bool {
    tools.is_none_or(|tools| marked_json("tools", tools, sink))
}

/// Sends a piece behind a mark of its own.
pub(super) fn marked(mark: &str, raw: &[u8], sink: &mut impl TextSink) -> bool {
    sink.push(b"<|") && sink.push(mark.as_bytes()) && sink.push(b"|>") && sink.push(raw)
}

/// Sends JSON behind a mark of its own.
pub(super) fn marked_json(mark: &str, value: Raw<'_>, sink: &mut impl TextSink) -> bool {
    marked(mark, b"", sink) && json(value, sink)
}

/// Sends JSON as it is written, but for its escapes: engines write it again before they tokenize it, and text beyond
/// ASCII would be twice as long or more.
fn json(value: Raw<'_>, sink: &mut impl TextSink) -> bool {
    if value.has_escape() {
        return unescape(value.bytes(), &mut |piece| sink.push(piece));
    }
    sink.push(value.bytes())
}

/// Sends a JSON string's text, each item of a list, or any other JSON value. `each` receives an item
/// as it is written and as `read` parses it, `None` where it has another shape.
pub(super) fn string_or_items<'a, T, S: TextSink>(
    value: Raw<'a>,
    sink: &mut S,
    read: impl Fn(&mut Scanner<'a>) -> Result<T, JsonError>,
    each: impl Fn(Option<T>, Raw<'a>, &mut S) -> bool,
) -> bool {
    if !value.is_list() {
        return string_or_raw(value, sink);
    }
    let mut scanner = value.scanner();
    if scanner.open_list().is_err() {
        return true;
    }
    let mut left = PROMPT_ITEMS_MAX;
    while left > 0 && scanner.has_item() == Ok(true) {
        left -= 1;
        let Ok((item, raw)) = scanner.read_or_raw(&read) else { return true };
        if !each(item, raw, sink) {
            return false;
        }
    }
    true
}

/// The first byte of a value, or of the first item of a list; `None` for an empty list.
pub(super) fn first_byte(value: Raw<'_>) -> Option<u8> {
    let mut scanner = value.scanner();
    if value.is_list() {
        scanner.open_list().ok()?;
        scanner.has_item().ok().filter(|has_item| *has_item)?;
    }
    scanner.peek().ok()
}

/// Hands out each item of a list, or any other value itself. A list of token ids, or of the parts of a message's content,
/// is one value.
pub(super) fn each_or_one<'a, S: TextSink>(
    value: Raw<'a>,
    sink: &mut S,
    mut each: impl FnMut(Raw<'a>, &mut S) -> bool,
) -> bool {
    let mut scanner = value.scanner();
    let is_one = !value.is_list() || matches!(first_byte(value), Some(b'0'..=b'9')) || has_parts(value);
    if is_one || scanner.open_list().is_err() {
        return each(value, sink);
    }
    let mut left = PROMPT_ITEMS_MAX;
    while left > 0 && scanner.has_item() == Ok(true) {
        left -= 1;
        let Ok(raw) = scanner.raw() else { return true };
        if !each(raw, sink) {
            return false;
        }
    }
    true
}

/// Whether a list begins with an object that has a type, as the parts of a message's content do.
fn has_parts(list: Raw<'_>) -> bool {
    let mut scanner = list.scanner();
    if scanner.open_list().is_err() || scanner.has_item() != Ok(true) {
        return false;
    }
    let fields = KnownFields::open(&mut scanner, &["type"]);
    fields.is_ok_and(|mut fields| matches!(fields.next(&mut scanner), Ok(Some(_))))
}

/// Sends a JSON string's text, or any other JSON value.
pub(super) fn string_or_raw(value: Raw<'_>, sink: &mut impl TextSink) -> bool {
    match value.string_body() {
        Some(body) if value.has_escape() => unescape(body, &mut |piece| sink.push(piece)),
        Some(body) => body.is_empty() || sink.push(body),
        None => json(value, sink),
    }
}

/// Sends the hash of something that is not text (an image, audio, a file), so that equal ones match and none fills
/// many cells.
pub(super) fn opaque(kind: &str, raw: Raw<'_>, sink: &mut impl TextSink) -> bool {
    let wants_more = marked(kind, &fingerprint(raw).to_le_bytes(), sink);
    match MediaKind::of_part(kind) {
        Some(kind) => sink.note_media(kind),
        None => sink.note_text(raw.bytes().len().min(UNKNOWN_BYTES_MAX)),
    }
    wants_more
}
