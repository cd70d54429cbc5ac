//! Where canonical text goes, and the marks between its parts.
//!
//! The marks follow ChatML, the most common template: what matters is only that they are the same for every
//! request and cannot be forged into another conversation's chain by much (a forged mark costs a wrong
//! preference, never a wrong answer).

use super::json;
use super::list::List;
use crate::limits::PROMPT_ITEMS_MAX;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

/// Takes text in pieces.
pub trait TextSink {
    /// Takes the next piece. `false`: the sink wants no more.
    fn push(&mut self, piece: &[u8]) -> bool;
}

impl TextSink for Vec<u8> {
    fn push(&mut self, piece: &[u8]) -> bool {
        self.extend_from_slice(piece);
        true
    }
}

/// Opens a message. `developer` is `system` under a newer name.
pub(super) fn open_message(role: &str, sink: &mut impl TextSink) -> bool {
    let role = if role == "developer" { "system" } else { role };
    sink.push(b"<|im_start|>") && sink.push(role.as_bytes()) && sink.push(b"\n")
}

/// Closes a message.
pub(super) fn close_message(sink: &mut impl TextSink) -> bool {
    sink.push(b"<|im_end|>\n")
}

/// The list of tools, as the client wrote it.
pub(super) fn tools(tools: Option<&RawValue>, sink: &mut impl TextSink) -> bool {
    match present(tools) {
        Some(tools) => marked("tools", tools.get().as_bytes(), sink),
        None => true,
    }
}

/// A raw piece under a mark of its own.
pub(super) fn marked(mark: &str, raw: &[u8], sink: &mut impl TextSink) -> bool {
    sink.push(b"<|") && sink.push(mark.as_bytes()) && sink.push(b"|>") && sink.push(raw)
}

/// A JSON string's text, or each item of a list, or any other JSON value as it stands.
pub(super) fn string_or_items<S: TextSink>(
    value: &RawValue,
    sink: &mut S,
    each: impl Fn(&RawValue, &mut S) -> bool,
) -> bool {
    // The string first: asked for a list, the parser would decode all of it for its error.
    let listed = if json::string_body(value).is_some() { None } else { items(value) };
    match listed {
        Some(items) => items.iter().all(|item| each(item, sink)),
        None => string_or_raw(value, sink),
    }
}

/// A JSON string's text, or any other JSON value as it stands.
pub(super) fn string_or_raw(value: &RawValue, sink: &mut impl TextSink) -> bool {
    match json::string_body(value) {
        Some(body) => json::unescape(body, &mut |piece| sink.push(piece)),
        None => sink.push(value.get().as_bytes()),
    }
}

/// Something that is not text (an image, a sound, a file): its hash, so that equal ones match and none is
/// walked through cell by cell.
pub(super) fn opaque(kind: &str, raw: &[u8], sink: &mut impl TextSink) -> bool {
    marked(kind, &xxh3_64(raw).to_le_bytes(), sink)
}

/// The items of a list, as many as a prompt's cells can be made of; `None` if the value is no list.
pub(super) fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str::<List<&RawValue, PROMPT_ITEMS_MAX>>(value.get()).ok().map(|list| list.items)
}

/// A field that is there and not `null`.
pub(super) fn present(value: Option<&RawValue>) -> Option<&RawValue> {
    value.filter(|value| value.get() != "null")
}
