//! Message content: a string, a list of parts, or nothing.
//!
//! A part of another kind than text is some number of tokens to an engine, whatever its data weighs: it becomes as many
//! filler words, which follow from its data, so that equal parts are equal prompt text and different ones are not.

use super::request::Reading;
use crate::{model::Root, text::Filler};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How many tokens a part becomes, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaTokens {
    /// A picture. Qwen2.5-VL makes about this many of one of 1,000 by 1,000 pixels.
    pub image: usize,
    /// A recording: Qwen2-Audio makes 25 a second, so this is half a minute.
    pub audio: usize,
    /// A film.
    pub video: usize,
    /// A document: some pages.
    pub file: usize,
}

// === impl MediaTokens ===

impl Default for MediaTokens {
    fn default() -> Self {
        Self { image: 1_200, audio: 750, video: 4_800, file: 2_400 }
    }
}

impl MediaTokens {
    /// The tokens of a part of this type in any of the protocols; `None`: it is no medium.
    fn of(self, kind: &str) -> Option<usize> {
        match kind {
            "image_url" | "input_image" | "image" => Some(self.image),
            "input_audio" | "audio_url" | "audio" => Some(self.audio),
            "video_url" | "input_video" | "video" => Some(self.video),
            "file" | "input_file" | "document" => Some(self.file),
            _ => None,
        }
    }
}

/// The `content` of a message, of a system prompt or of an `input`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Value>),
    Nothing(()),
}

// === impl Content ===

impl Default for Content {
    fn default() -> Self {
        Self::Nothing(())
    }
}

impl Content {
    /// All text in order; media as their words. Other parts (tool calls, tool results) count as their JSON, so that equal
    /// parts are equal prompt text.
    pub(super) fn into_text(self, Reading { media, template }: Reading) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| text_of_part(part, media)).collect();
                parts.join(template.between_parts())
            }
            Self::Nothing(()) => String::new(),
        }
    }
}

/// The text of one part or item; what a tool returned may hold media in a list of its own.
pub(super) fn text_of_part(part: &Value, media: MediaTokens) -> String {
    if let Some(text) = part.get("text").or(Some(part)).and_then(Value::as_str) {
        return text.to_owned();
    }
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    if let Some(tokens) = media.of(kind) {
        let words = Filler::new(Root::new(kind, "", "").fingerprint(part.to_string().as_bytes()), 0);
        return words.text(0..tokens);
    }
    for inner in ["content", "output"] {
        let Some(Value::Array(parts)) = part.get(inner) else { continue };
        let mut rest: Map<String, Value> = part.as_object().cloned().unwrap_or_default();
        rest.remove(inner);
        let parts: String = parts.iter().map(|part| text_of_part(part, media)).collect();
        return Value::Object(rest).to_string() + &parts;
    }
    part.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(content: &Value) -> String {
        serde_json::from_value::<Content>(content.clone()).unwrap().into_text(Reading::default())
    }

    #[test]
    fn parts_are_their_text_and_the_rest_is_json() {
        let content = json!([{"type": "text", "text": "a"}, "b", {"type": "tool_use"}]);
        assert_eq!(text(&content), r#"ab{"type":"tool_use"}"#);
    }

    #[test]
    fn null_is_nothing() {
        assert_eq!(text(&Value::Null), "");
    }

    #[test]
    fn an_image_is_as_many_tokens_however_much_its_data_weighs() {
        let image = |data: &str| json!({"type": "image_url", "image_url": {"url": data}});
        let (small, large) = (text(&json!([image("a")])), text(&json!([image(&"b".repeat(1_000_000))])));
        assert_eq!((small.len(), large.len()), (4_800, 4_800), "1,200 tokens");
        assert_ne!(small, large);
        assert_eq!(small, text(&json!([image("a")])));
    }

    #[test]
    fn media_inside_of_what_a_tool_returned_are_media() {
        let image = json!({"type": "image", "source": {"data": "x".repeat(100_000)}});
        let result = json!([{"type": "tool_result", "tool_use_id": "1", "content": [image]}]);
        assert!((4_800..5_000).contains(&text(&result).len()));
    }
}
